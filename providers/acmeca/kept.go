package acmeca

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// kept is what is kept of an ACME server. Later versions must read it.
type kept struct {
	Directory string               `json:"directory"` // another server knows nothing of all this
	External  string               `json:"external,omitempty"`
	Account   keptAccount          `json:"account"`
	Orders    map[string]keptOrder `json:"orders,omitempty"` // by name of the identity
}

type keptAccount struct {
	Key      []byte `json:"key"` // PKCS#8
	Location string `json:"location,omitempty"`
	Contact  string `json:"contact,omitempty"`
}

// keptOrder is an order, and the key it is for: once the server has the CSR, no other key will do.
type keptOrder struct {
	Location string   `json:"location"`
	Key      []byte   `json:"key"` // PKCS#8
	For      []string `json:"for"` // what the spec wanted
	// Replaces is the serial of what the identity had. When it has something else, the order is over.
	Replaces string    `json:"replaces,omitempty"`
	Made     time.Time `json:"made"`
}

// read decodes what is kept of the server that the spec names, or nothing.
func (s *signing) read() (kept, error) {
	now := kept{Directory: s.ca.ACME.Directory, External: external(s.ca), Orders: map[string]keptOrder{}}
	data := s.q.Kept()
	if len(data) == 0 {
		return now, nil
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return kept{}, errors.New("what the store keeps of its account cannot be read: restore a backup, or give the CA another name")
	}
	if k.Directory != now.Directory || k.External != now.External {
		return now, nil
	}
	if k.Orders == nil {
		k.Orders = now.Orders
	}
	return k, nil
}

// change makes a change of what is kept durable.
func (s *signing) change(do func(*kept)) error {
	return s.locked(func() error {
		k, err := s.read()
		if err != nil {
			return err
		}
		maps.DeleteFunc(k.Orders, func(_ string, o keptOrder) bool { return o.old(s.q.Now) })
		do(&k)
		return s.write(k)
	})
}

func (s *signing) write(k kept) error {
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := s.q.Keep(data); err != nil {
		return fmt.Errorf("keep the account and the orders: %w", err)
	}
	return nil
}

// wanted is what an order is for. Another wish is another order.
func wanted(id spec.Identity) []string {
	words := []string{string(id.Key), fmt.Sprint(id.ReuseKey, id.Usages, id.Lifetime)}
	for _, n := range id.Names {
		words = append(words, n.Value)
	}
	slices.Sort(words[2:])
	return words
}

// slack is how far clocks are off that are set right later.
const slack = time.Hour

// old reports whether an order was made so long ago that whatever came of it is not what is needed.
func (o keptOrder) old(now time.Time) bool {
	const keptFor = 24 * time.Hour
	return now.Sub(o.Made) > keptFor || o.Made.Sub(now) > slack
}

// over reports whether an order has nothing more to give: another is wanted, what came of it is in the store, or it is
// old.
func (o keptOrder) over(q reconcile.SigningRequest) bool {
	return o.old(q.Now) || !slices.Equal(o.For, wanted(q.Identity)) || (q.Current != nil && q.Current.Serial != o.Replaces)
}
