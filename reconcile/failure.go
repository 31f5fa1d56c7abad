package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certwright/certwright/spec"
)

// Failure is the record of a step that failed and has not succeeded since. Reloads and updates of services have none:
// they have their Load.
type Failure struct {
	Count   int         // of the tries that failed for this cause, one after the other
	At      time.Time   // the last of them
	Next    time.Time   // watch tries again then, apply at once
	Refused bool        // by a CA
	About   Fingerprint // what the spec wanted; when it wants something else, that is tried at once
	Error   string      // the last one, shortened
}

// What may pass by itself is tried again within seconds, what a CA has refused within hours: it would refuse it again, and
// count the tries (cert-manager has the same, and its users waited an hour for what was over in seconds).
const (
	firstRetry   = time.Second
	lastRetry    = 5 * time.Minute
	firstRefused = time.Hour
	lastRefused  = 32 * time.Hour
	// A CA that names a later time than this is asked once a week.
	longestWait = 7 * 24 * time.Hour
	// What was to be tried again so long ago, and was not, is history.
	failureKept = 24 * time.Hour
	// errorKept is how much of an error is kept, in bytes.
	errorKept = 500
)

// doubled is the wait after the n-th failure: the first, twice that, and so on, up to the last.
func doubled(first, last time.Duration, n int) time.Duration {
	for ; n > 1 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

// wait is how long watch waits after the failure: as its cause wants, at most so long, but never less than the CA said.
func (f Failure) wait(err error, most time.Duration) time.Duration {
	wait, said := doubled(firstRetry, lastRetry, f.Count), saidWait(err)
	if f.Refused && said == 0 {
		wait = doubled(firstRefused, lastRefused, f.Count)
	}
	return min(max(min(wait, most), said), longestWait)
}

func saidWait(err error) time.Duration {
	var said RetryAfter
	errors.As(err, &said)
	return said.Wait
}

// again is the record after one more failure. One that came before its time, because a person wanted the step tried, does
// not count: apply does not make watch wait longer.
func (f Failure) again(now time.Time, about Fingerprint, installation string, most time.Duration, err error) Failure {
	next := Failure{Count: 1, At: now, Refused: errors.Is(err, ErrRefused), About: about, Error: shortened(err.Error())}
	known := f.current(now) && f.About == about && f.Refused == next.Refused
	if known {
		next.Count = f.Count + 1
	}
	if early := known && now.Before(f.Next); early {
		next.Count, next.At, next.Next = f.Count, f.At, f.Next
		if said := now.Add(saidWait(err)); said.After(f.Next) {
			next.Next = said
		}
		return next
	}
	wait := next.wait(err, most)
	next.Next = aligned(now.Add(wait), wait/10, installation)
	return next
}

// aligned is the next moment at or after at of a grid: what failed at different times is tried again in one pass, also when
// ten thousand certificates fall due one after the other and their CA is down. Each installation has a grid of its own, so
// that those which met one outage do not all come back at once.
func aligned(at time.Time, grid time.Duration, installation string) time.Time {
	since := at.UnixNano() - int64(share(installation)*float64(grid))
	return at.Add((grid - time.Duration(since)%grid) % grid)
}

// share is a number in [0, 1) that is always the same for the same words.
func share(words ...string) float64 {
	h := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return float64(binary.BigEndian.Uint32(h[:4])) / (1 << 32)
}

// current reports whether the record still counts. One from the future is of a clock that has been set right since.
func (f Failure) current(now time.Time) bool {
	return f.Count > 0 && !f.At.After(now) && now.Sub(f.Next) < failureKept
}

// hint says what to do about an action that failed, and when it is tried again.
func (f Failure) hint(of Action) string {
	var at Location
	switch a := of.(type) {
	case Place:
		at = a.At
	case Remove:
		at = a.At
	}
	mend := "mend what it says: "
	if way := inTheWay(at, f.Error); at != (Location{}) && way != "" {
		mend = way + "; "
	}
	return mend + "a running watch tries again " + f.when() + ", `certwright apply` at once"
}

// when is when watch tries again.
func (f Failure) when() string {
	if f.Next.IsZero() {
		return "now"
	}
	return "after " + stamp(f.Next)
}

func shortened(s string) string {
	if len(s) <= errorKept {
		return s
	}
	cut := errorKept
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// failureKey tells a step from all others, in this plan and in later ones; "" for those that have no Failure.
func failureKey(a Action) string {
	key := a.Subject() + " " + a.Kind()
	switch a := a.(type) {
	case Reload:
		return ""
	case CreateVolume:
		return key + " " + a.Host
	case Place:
		return key + " " + a.At.String()
	case Remove:
		return key + " " + a.At.String()
	case RemoveSecret:
		return key + " " + a.Host
	case Revoke:
		return key + " " + a.Serial
	}
	return key
}

// about is a digest of what the spec and people want of a step.
func (v *view) about(a Action) Fingerprint {
	h := sha256.New()
	write := func(part any) { digestOf(h, reflect.ValueOf(part)) }
	write(v.w.State.Wishes[a.Subject()])
	switch a := a.(type) {
	case CreateCA:
		write(v.cas[a.CA])
	case Revoke:
		write(v.cas[a.CA])
	case TakeIn:
		write(v.ids[a.Identity])
	case Issue:
		write(v.ids[a.Identity])
		write(v.cas[v.ids[a.Identity].CA.Name])
	case Place:
		write(v.bindings[a.Binding])
	case RecordRotation, SetNodeLifetime, RotateSwarm, SetNodeCA, AwaitRotation:
		write(v.s.Swarm)
	}
	return Fingerprint(hex.EncodeToString(h.Sum(nil)))
}

// digestOf writes a part of a spec, wherever in its file it stands.
func digestOf(h hash.Hash, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		fmt.Fprint(h, "nil\x00")
	case v.Kind() == reflect.Pointer:
		digestOf(h, v.Elem())
	case v.Kind() == reflect.Slice:
		fmt.Fprint(h, v.Len(), "\x00")
		for i := range v.Len() {
			digestOf(h, v.Index(i))
		}
	case v.Type() == reflect.TypeFor[spec.Pos]():
	case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Type().PkgPath() == reflect.TypeFor[spec.Spec]().PkgPath():
		for i := range v.NumField() {
			digestOf(h, v.Field(i))
		}
	default:
		fmt.Fprint(h, v.Interface(), "\x00")
	}
}
