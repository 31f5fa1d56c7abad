package docker

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/certwright/certwright/providers/servertest"
	"github.com/certwright/certwright/reconcile"
)

// TestStraysByCourier has a courier find the certificate that stands beside a key, and bring the certificate alone.
func TestStraysByCourier(t *testing.T) {
	e, cli := engine(t)
	device, old := t.TempDir(), servertest.NewIssuer(t, "old", nil)
	if err := os.WriteFile(filepath.Join(device, "old.pem"), append(old.KeyPEM(t), old.PEM()...), 0o600); err != nil {
		t.Fatal(err)
	}
	at := reconcile.Location{Host: "local", Volume: volumeOn(t, cli, device)}
	places := Places{Engines: Engines{"local": e}}
	got := places.Read(soon(t), []reconcile.PlaceQuery{{At: at, Files: []string{"cert.pem"}, Strays: true}}, true)[0]
	if got.Err != nil || len(got.Strays) != 1 || got.Strays[0].Name != "old.pem" || len(got.Strays[0].Certificates) != 1 || !bytes.Equal(got.Strays[0].Certificates[0], old.Certificate.Raw) {
		t.Errorf("%d strays, %v", len(got.Strays), got.Err)
	}
}
