package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/mount"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// carryTimeout bounds the work of one courier after it has started.
const carryTimeout = 2 * time.Minute

func (e *Engine) read(ctx context.Context, queries []reconcile.PlaceQuery) []reconcile.PlaceContent {
	return carry(ctx, e, queries, reading)
}

func (e *Engine) write(ctx context.Context, units []reconcile.Unit) []error {
	return carry(ctx, e, units, writing)
}

func (e *Engine) remove(ctx context.Context, removals []reconcile.Removal) []error {
	return carry(ctx, e, removals, removing)
}

func contents(r response) []reconcile.PlaceContent {
	all := make([]reconcile.PlaceContent, len(r.Contents))
	for i, c := range r.Contents {
		all[i] = c.PlaceContent
		all[i].Err = c.Err.err()
	}
	return all
}

func faults(r response) []error {
	all := make([]error, len(r.Faults))
	for i, f := range r.Faults {
		all[i] = f.err()
	}
	return all
}

// errand is one call of reconcile.Places as a courier carries it out.
type errand[Q, A any] struct {
	at     func(*Q) *reconcile.Location
	ask    func([]Q) request
	answer func(response) []A
	refuse func(error) A
	absent func(Q) A // the answer for a directory that does not exist; nil when it is made
	look   bool      // nothing is written
	make   bool      // directories are made
}

var (
	reading = errand[reconcile.PlaceQuery, reconcile.PlaceContent]{
		at:     func(q *reconcile.PlaceQuery) *reconcile.Location { return &q.At },
		ask:    func(qs []reconcile.PlaceQuery) request { return request{Read: qs} },
		answer: contents,
		refuse: func(err error) reconcile.PlaceContent { return reconcile.PlaceContent{Err: err} },
		absent: nothing,
		look:   true,
	}
	writing = errand[reconcile.Unit, error]{
		at:     func(u *reconcile.Unit) *reconcile.Location { return &u.At },
		ask:    func(us []reconcile.Unit) request { return request{Write: us} },
		answer: faults,
		refuse: func(err error) error { return err },
		make:   true,
	}
	removing = errand[reconcile.Removal, error]{
		at:     func(r *reconcile.Removal) *reconcile.Location { return &r.At },
		ask:    func(rs []reconcile.Removal) request { return request{Remove: rs} },
		answer: faults,
		refuse: func(err error) error { return err },
		absent: func(reconcile.Removal) error { return nil },
	}
)

// carry lets one courier carry out all items of one engine. If it cannot be started for all of them, because one
// volume or directory cannot be mounted, each half is tried on its own, so that one failure stops no other.
func carry[Q, A any](ctx context.Context, e *Engine, items []Q, c errand[Q, A]) []A {
	mounted, places := mountAll(items, c.at)
	s, gone, err := e.hireFor(ctx, places, c.look, c.make)
	if err != nil {
		if half := len(items) / 2; len(places) > 1 && half > 0 && ctx.Err() == nil && !errors.Is(err, reconcile.ErrNotHere) && !isAway(err) {
			return append(carry(ctx, e, items[:half], c), carry(ctx, e, items[half:], c)...)
		}
		return repeat(len(items), c.refuse(err))
	}
	answers := make([]A, len(items))
	var asked []Q
	var index []int
	for i, item := range items {
		if gone[mounted[i]] {
			answers[i] = c.absent(item)
			continue
		}
		l := c.at(&item)
		*l = reconcile.Location{Host: spec.LocalHost, Dir: mountPoint(mounted[i]), Sub: l.Sub}
		asked, index = append(asked, item), append(index, i)
	}
	if s == nil {
		return answers
	}
	defer s.Close()
	got := c.send(ctx, s, asked)
	for n, i := range index {
		answers[i] = got[n]
	}
	return answers
}

// send has a courier carry out items. Where they, or what is found, are too much for one message, each half goes by
// itself, so that a container that fills its files stops no other.
func (c errand[Q, A]) send(ctx context.Context, s *stream, items []Q) []A {
	r, err := s.ask(ctx, c.ask(items))
	if half := len(items) / 2; half > 0 && errors.Is(err, errTooLarge) {
		return append(c.send(ctx, s, items[:half]), c.send(ctx, s, items[half:])...)
	}
	got := c.answer(r)
	if err == nil && len(got) != len(items) {
		err = fmt.Errorf("courier: %d answers to %d questions", len(got), len(items))
	}
	if err != nil {
		return repeat(len(items), c.refuse(err))
	}
	return got
}

// mountAll numbers the volumes and directories that the items are in: for each item the number of its mount, and
// what each number stands for.
func mountAll[Q any](items []Q, at func(*Q) *reconcile.Location) (mounted []int, places []reconcile.Location) {
	numbers := map[reconcile.Location]int{}
	for i := range items {
		place := *at(&items[i])
		place.Sub = ""
		n, known := numbers[place]
		if !known {
			n = len(places)
			numbers[place] = n
			places = append(places, place)
		}
		mounted = append(mounted, n)
	}
	return mounted, places
}

func mountPoint(n int) string { return "/mnt/" + strconv.Itoa(n) }

// hireFor hires a courier with the places mounted. gone says which of them are directories that do not exist; if
// all are, there is no courier.
func (e *Engine) hireFor(ctx context.Context, places []reconcile.Location, look, makeDirs bool) (s *stream, gone map[int]bool, err error) {
	gone = map[int]bool{}
	for len(gone) < len(places) {
		j := job{args: []string{"files"}, network: "none"}
		for n, p := range places {
			if !gone[n] {
				j.mount(p, mountPoint(n), look, makeDirs)
			}
		}
		if s, err = e.hire(ctx, j); err == nil {
			return s, gone, nil
		}
		n := missing(err, places)
		if makeDirs || n < 0 || gone[n] {
			return nil, nil, err
		}
		gone[n] = true
	}
	return nil, gone, nil
}

// mount adds a volume or a directory. Only the old form of a mount makes the directory, and it cannot name one
// with a colon.
func (j *job) mount(p reconcile.Location, target string, look, makeDirs bool) {
	switch {
	case p.Volume != "":
		j.mounts = append(j.mounts, mount.Mount{
			Type: mount.TypeVolume, Source: p.Volume, Target: target, ReadOnly: look,
			VolumeOptions: &mount.VolumeOptions{NoCopy: true},
		})
	case makeDirs && !strings.Contains(p.Dir, ":"):
		j.binds = append(j.binds, p.Dir+":"+target)
	default:
		j.mounts = append(j.mounts, mount.Mount{Type: mount.TypeBind, Source: p.Dir, Target: target, ReadOnly: look})
	}
}

// missing finds the directory whose absence the engine gave as the reason not to create a container, or -1.
func missing(err error, places []reconcile.Location) int {
	_, dir, said := strings.Cut(err.Error(), "bind source path does not exist: ")
	if !said {
		return -1
	}
	for n, p := range places {
		if p.Volume == "" && p.Dir == strings.TrimSpace(dir) {
			return n
		}
	}
	return -1
}

// ask sends one request to a courier and reads its answer.
func (s *stream) ask(ctx context.Context, r request) (response, error) {
	r.Protocol = protocol
	_ = s.SetDeadline(deadline(ctx, carryTimeout))
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var a response
	if err := writeFrame(s, r); err != nil {
		return a, s.explain(fmt.Errorf("courier: %w", err))
	}
	if err := readFrame(s, &a); err != nil {
		return response{}, s.explain(fmt.Errorf("courier: %w", err))
	}
	switch {
	case a.TooLarge:
		return response{}, fmt.Errorf("courier: its answer: %w", errTooLarge)
	case a.Error != "":
		return response{}, fmt.Errorf("courier: %s", a.Error)
	}
	return a, nil
}
