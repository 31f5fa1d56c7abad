package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/certwright/certwright/providers/docker/dockertest"
)

const (
	soakLife = 2 * time.Minute  // of a certificate
	soakRate = 5                // connections a second to each server
	soakTurn = 40 * time.Second // for each disturbance; files altered more than three times in ten minutes are left alone
	soakDown = 30 * time.Second // of the engine
)

// TestSoak keeps watch at work for nginx and a Go server whose certificates live two minutes, while their containers and
// their engine are restarted, placed files altered and the spec edited. No certificate expires, nobody is turned away but
// by a restart, and watch needs no more in the end than in the beginning. CERTWRIGHT_TEST_SOAK says how long it takes, and
// CERTWRIGHT_TEST_SEED the order of things.
func TestSoak(t *testing.T) {
	t.Parallel()
	lasts, err := time.ParseDuration(cmp.Or(os.Getenv("CERTWRIGHT_TEST_SOAK"), "5m"))
	if err != nil {
		t.Fatal(err)
	}
	seed := fromEnv(t, "CERTWRIGHT_TEST_SEED", int(time.Now().UnixNano()))
	t.Logf("CERTWRIGHT_TEST_SEED=%d", seed)
	s := newSoak(t, rand.New(rand.NewPCG(uint64(seed), 0)))
	var used []usage
	var deck []disturbance
	for turns, end := time.NewTicker(soakTurn), time.Now().Add(lasts); time.Now().Before(end); deck = deck[1:] {
		<-turns.C
		used = append(used, s.use()) // at rest, since the one before is over
		if len(deck) == 0 {          // each comes once before any comes again
			deck = s.disturbances()
			s.rand.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		began := time.Now()
		deck[0].do()
		s.settled(deck[0].what)
		t.Logf("%s: %s; %s: all is well after %s", began.Format(time.TimeOnly), used[len(used)-1], deck[0].what, time.Since(began).Round(time.Millisecond))
	}
	s.nginx.judge(lasts, s.renamed)
	s.server.judge(lasts, 0)

	n := len(used)
	early, late := memory(used[n/4:n/2]), memory(used[n*3/4:])
	t.Logf("memory: %.1f MiB in the second quarter, %.1f MiB in the last", early, late)
	if late > early*1.1+1 {
		t.Errorf("memory grows: %.1f MiB in the second quarter, %.1f MiB in the last", early, late)
	}
	dockertest.Poll(t, time.Minute, "watch to be at rest as in the beginning", func() error {
		if now := s.use(); now.goroutines > used[0].goroutines+2 || now.files > used[0].files+2 || !now.converged {
			return fmt.Errorf("%s; in the beginning %s", now, used[0])
		}
		return nil
	})
}

// memory is the median of what was used, in MiB.
func memory(used []usage) float64 {
	all := make([]float64, len(used))
	for i, u := range used {
		all[i] = u.memory
	}
	slices.Sort(all)
	return all[len(all)/2]
}
