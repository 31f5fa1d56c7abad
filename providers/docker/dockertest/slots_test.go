package dockertest

import (
	"slices"
	"testing"
	"testing/synctest"
)

// part is a test of another name, which ends when it is told to.
type part struct {
	testing.TB
	name string
	ends []func()
}

func (p *part) Name() string     { return p.name }
func (p *part) Helper()          {}
func (p *part) Cleanup(f func()) { p.ends = append(p.ends, f) }

func (p *part) end() {
	for _, f := range slices.Backward(p.ends) {
		f()
	}
}

// TestReserve has a test wait for the engines of another one, which itself gets more without waiting.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, more, other := &part{TB: t, name: "TestOne"}, &part{TB: t, name: "TestOne/more"}, &part{TB: t, name: "TestOther"}
		Reserve(one, maxEngines-1)
		got := false
		go func() {
			Reserve(other, 2)
			got = true
		}()
		synctest.Wait()
		Reserve(more, 2)
		more.end()
		synctest.Wait()
		if got {
			t.Error("there are more engines than a machine bears")
		}
		one.end()
		synctest.Wait()
		if !got {
			t.Error("it waits for ever")
		}
		other.end()
	})
}
