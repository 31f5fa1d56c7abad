package docker

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

// TestCreateVolume makes a volume twice, the first time with its reply lost, and finds it with its labels.
func TestCreateVolume(t *testing.T) {
	lose := true
	e, cli := engine(t, func(o *Options) {
		o.Around = func(_ string, do func() error) error {
			err := do()
			if lose {
				return errors.New("reply lost")
			}
			return err
		}
	})
	engines := Engines{"local": e}
	name := "certwright-test-" + randomName()
	labels := map[string]string{"com.docker.compose.project": "shop", dockertest.Label: t.Name()}
	t.Cleanup(func() { removeVolume(t, name) })
	expect(t, engines.CreateVolume(soon(t), "local", name, labels), "create volume "+name+" on local: reply lost")
	lose = false
	expect(t, engines.CreateVolume(soon(t), "local", name, labels), "")
	v, err := cli.VolumeInspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(labels, v.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	expect(t, engines.CreateVolume(soon(t), "nowhere", name, labels), `no host named "nowhere"`)
}
