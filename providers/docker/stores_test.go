package docker

import (
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/providers/truststore"
	"github.com/certwright/certwright/reconcile"
)

// TestStoresContract holds the trust stores of real containers to what the world in memory is held to.
func TestStoresContract(t *testing.T) {
	e, _ := engine(t)
	places := Places{Engines: Engines{"local": e}, Stores: truststore.Stores{Keystores: formats.Cacerts{}}}
	for kind, sub := range map[dockertest.Kind]string{dockertest.Debian: "system", dockertest.Bundle: "system", dockertest.Java: "java", dockertest.NSS: "nss/etc/pki/nssdb"} {
		t.Run(string(kind), func(t *testing.T) {
			contract.StoresContract(t, places, func() reconcile.Location {
				c := dockertest.Run(t, dockertest.Container{Image: dockertest.Image(t, kind), Start: true})
				if kind == dockertest.NSS {
					dockertest.Poll(t, 20*time.Second, "the database", func() error {
						_, err := contained{e, c.ID}.Run(t.Context(), "certutil", "-L", "-d", "sql:/etc/pki/nssdb")
						return err
					})
				}
				return reconcile.Location{Host: "local", Container: c.ID, Sub: sub}
			})
		})
	}
}

// TestStoreOfAContainerThatIsGone wants nothing to be there, and nothing to be left to remove.
func TestStoreOfAContainerThatIsGone(t *testing.T) {
	e, _ := engine(t)
	places := Places{Engines: Engines{"local": e}}
	at := reconcile.Location{Host: "local", Container: "0123456789abcdef", Sub: "system"}
	got := places.Read(t.Context(), []reconcile.PlaceQuery{{At: at, Files: []string{"ca.pem"}}}, false)[0]
	if got.Err != nil || got.Exists {
		t.Errorf("it exists: %v, error %v", got.Exists, got.Err)
	}
	if err := places.Remove(t.Context(), []reconcile.Removal{{At: at}})[0]; err != nil {
		t.Error(err)
	}
	if err := places.Write(t.Context(), []reconcile.Unit{{At: at}})[0]; err == nil {
		t.Error("what is not there is written")
	}
}
