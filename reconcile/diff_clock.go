package reconcile

import (
	"fmt"
	"time"
)

// Certificates are dated back by up to an hour, for peers whose clocks are behind. Ours may be as far behind what it was
// (RELIABILITY.md I26), as after a correction.
const clockSlack = time.Hour

// clock blocks what would be issued by a clock that cannot be right, as that of a machine that wakes in 1970: what it dates
// is dead. It is behind what the store has seen issued, or behind this program. A clock that is ahead renews everything
// once, which costs nothing but work; no root ever goes because of the time.
func (d *differ) clock() {
	newest, what, hint := d.w.Built, "certwright was built", "set the clock of this machine"
	for name, ca := range Sorted(d.w.State.CAs) {
		for _, g := range ca.Generations {
			if g.Created.After(newest) {
				newest, what = g.Created, "CA "+name+" was made"
				hint = "set the clock of this machine; if it is right now, and was not then, give the CA another name in the spec"
			}
		}
	}
	for name, i := range Sorted(d.w.State.Identities) {
		if i.IssuedAt.After(newest) {
			newest, what = i.IssuedAt, "identity "+name+" was issued"
			hint = setClock(name)
		}
	}
	if newest.Sub(d.w.Now) > clockSlack {
		d.refuse(Blocked, "clock", fmt.Sprintf("it is before %s, when %s: nothing is issued", stamp(newest), what), hint)
	}
}

// setClock is what to do where an identity is newer than the clock.
func setClock(identity string) string {
	return "set the clock of this machine; if it is right now, and was not then, `certwright rotate identity/" + identity + "` issues that one again"
}
