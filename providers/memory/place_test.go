package memory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/memory"
	"github.com/certwright/certwright/providers/memory/contract"
	"github.com/certwright/certwright/reconcile"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newWorld() *memory.World { return memory.New(func() time.Time { return now }) }

func TestPlacesContract(t *testing.T) {
	n := 0
	t.Run("directories", func(t *testing.T) {
		contract.PlacesContract(t, newWorld(), func() reconcile.Location {
			n++
			return reconcile.Location{Host: "local", Dir: fmt.Sprintf("/srv/%d", n)}
		})
	})
	t.Run("volumes", func(t *testing.T) {
		w := newWorld()
		contract.PlacesContract(t, w, func() reconcile.Location {
			n++
			name := fmt.Sprintf("certs-%d", n)
			w.AddVolume("local", name, nil)
			return reconcile.Location{Host: "local", Volume: name, Sub: "tls"}
		})
	})
}
