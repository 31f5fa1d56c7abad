package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certwright/certwright/providers/command"
	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
)

// The labels of couriers and of their image.
const (
	labelCourier = "certwright.courier" // 1
	labelProject = "certwright.project"
)

// courierName is what the names of couriers and outposts begin with.
const courierName = "certwright-courier-"

// leftoverAge is how old a courier that does not run must be before it is nobody's: another certwright may be
// about to start it.
const leftoverAge = time.Minute

// createTimeout is enough for an engine that is busy to make a container.
const createTimeout = 20 * time.Second

// job is what a courier is hired for.
type job struct {
	args    []string // after `certwright courier`
	network string   // the engine's network mode
	mounts  []mount.Mount
	binds   []string // in place of mounts: a directory that is absent is made
	listens bool     // at a port of that network, which may be one below 1024
	// processes is the engine's PID mode of a courier that signals the first process of a container; "" for those of its own.
	processes string
}

// hire starts a courier and returns its standard input and output. It is a container of certwright's own binary
// that sees only what the job mounts. It ends when its input does, and the engine removes it then, so that a
// certwright that is killed leaves nothing behind.
func (e *Engine) hire(ctx context.Context, j job) (*stream, error) {
	s, image, err := e.tryHire(ctx, j)
	if errdefs.IsNotFound(err) && image != "" && strings.Contains(err.Error(), image) {
		// Another certwright, or a prune, tidied the image away since it was looked for.
		s, _, err = e.tryHire(ctx, j)
	}
	if err != nil {
		return nil, fmt.Errorf("courier: %w", err)
	}
	return s, nil
}

func (e *Engine) tryHire(ctx context.Context, j job) (s *stream, image string, err error) {
	if image, err = e.courierImage(ctx); err != nil {
		return nil, "", err
	}
	starting, cancel := limited(ctx, time.Minute)
	defer cancel()
	e.sweep(starting)
	name := courierName + randomName()
	if s, err = e.start(starting, name, image, j); err != nil {
		// Whatever of it did happen: also a container whose creation was never answered.
		e.discard(starting, name, err)
		return nil, image, err
	}
	s.end = func() { e.awaitEnd(ctx, name) }
	return s, image, nil
}

func (e *Engine) start(ctx context.Context, name, image string, j job) (*stream, error) {
	err := e.o.Around.Do("POST /containers/create", func() error {
		config, host := e.courierConfig(image, j)
		ctx, cancel := limited(ctx, createTimeout)
		defer cancel()
		_, err := e.cli.ContainerCreate(ctx, config, host, nil, nil, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	s := &stream{name: name, stderr: command.First(outputMax)}
	err = e.o.Around.Do("POST /containers/{id}/attach", func() (err error) {
		ctx, cancel := limited(ctx, answerTimeout)
		defer cancel()
		began := time.Now()
		s.HijackedResponse, err = hijack(ctx, func() (types.HijackedResponse, error) {
			return e.cli.ContainerAttach(ctx, name, container.AttachOptions{
				Stream: true, Stdin: true, Stdout: true, Stderr: true,
			})
		})
		if err != nil && toBlame(ctx, began) {
			return away(e.name(), "POST /containers/{id}/attach")
		}
		return e.refused.streamRefused("POST /containers/{id}/attach", err)
	})
	if err != nil {
		return nil, err
	}
	s.out = &demux{r: s.Reader, stderr: s.stderr}
	err = e.o.Around.Do("POST /containers/{id}/start", func() error {
		return e.cli.ContainerStart(ctx, name, container.StartOptions{})
	})
	if err != nil {
		_ = s.Conn.Close()
		return nil, err
	}
	return s, nil
}

// courierConfig is a container that may read what is mounted and, where that may be written to, change owners and
// modes of it, or listen or signal where its job is that, and nothing else.
func (e *Engine) courierConfig(image string, j job) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image:     image,
		Cmd:       append([]string{"courier"}, j.args...),
		User:      "0:0",
		Labels:    map[string]string{labelCourier: "1", labelProject: e.o.Project},
		OpenStdin: true, StdinOnce: true,
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}
	host := &container.HostConfig{
		NetworkMode:    container.NetworkMode(j.network),
		PidMode:        container.PidMode(j.processes),
		Mounts:         j.mounts,
		Binds:          j.binds,
		AutoRemove:     true,
		ReadonlyRootfs: true,
		CapDrop:        []string{"ALL"},
		// Without it the engine would keep what goes through the output, keys too, in a file.
		LogConfig: container.LogConfig{Type: "none"},
		// Host directories carry no label that a confined container may touch (SELinux).
		SecurityOpt: []string{"no-new-privileges", "label=disable"},
	}
	switch {
	case len(j.binds) > 0 || slices.ContainsFunc(j.mounts, func(m mount.Mount) bool { return !m.ReadOnly }):
		host.CapAdd = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER"}
	case len(j.mounts) > 0:
		host.CapAdd = []string{"DAC_OVERRIDE"}
	case j.listens:
		host.CapAdd = []string{"NET_BIND_SERVICE"}
	case j.processes != "":
		host.CapAdd = []string{"KILL"}
	}
	return config, host
}

// awaitEnd returns when the engine has removed a courier whose input has ended; one that does not end is removed.
func (e *Engine) awaitEnd(ctx context.Context, name string) {
	ctx, cancel := farewell(ctx, nil)
	defer cancel()
	gone, failed := e.cli.ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-gone:
	case err := <-failed:
		if !errdefs.IsNotFound(err) {
			e.discard(ctx, name, err)
		}
	}
}

// discard removes a courier of ours, whatever it is doing, because of an error. It runs also when the context has ended.
func (e *Engine) discard(ctx context.Context, name string, why error) {
	ctx, cancel := farewell(ctx, why)
	defer cancel()
	// An error means that it is not there or is being removed; what is left over all the same is swept later.
	_ = e.o.Around.Do("DELETE /containers/{id}", func() error {
		return e.cli.ContainerRemove(ctx, name, container.RemoveOptions{Force: true})
	})
}

// sweep removes couriers of this project that were created and never started: their certwright was killed in
// between. It looks at most once a minute, as nothing younger is removed.
func (e *Engine) sweep(ctx context.Context) {
	now := e.o.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.swept.IsZero() && now.Sub(e.swept) < leftoverAge {
		return
	}
	list, err := e.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
		filters.Arg("label", labelCourier+"=1"), filters.Arg("label", labelProject+"="+e.o.Project),
	)})
	if err != nil {
		return // whoever hires next is told by its own requests
	}
	e.swept = now
	for _, c := range list {
		if c.State == container.StateRunning || now.Sub(time.Unix(c.Created, 0)) < leftoverAge {
			continue
		}
		// Without force: the engine itself refuses if it runs by now.
		_ = e.o.Around.Do("DELETE /containers/{id}", func() error {
			return e.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{})
		})
	}
}

func randomName() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return hex.EncodeToString(b)
}
