package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/certwright/certwright/providers/truststore"
	"github.com/certwright/certwright/reconcile"
)

const (
	// maxBundle bounds a file of roots; that of Debian has 220 kB.
	maxBundle = 8 << 20
	// toolTimeout bounds one run of the tool of a trust store: seconds on a busy machine.
	toolTimeout = 2 * time.Minute
	// maxSaid is how much of what a tool says is read: a list of some thousand certificates.
	maxSaid = 1 << 20
	// insideAtOnce is in how many containers of one engine is worked at once.
	insideAtOnce = 8
)

// within calls do for each of n items that are about containers, several at once.
func within(n int, do func(i int)) {
	limit := make(chan struct{}, insideAtOnce)
	var all sync.WaitGroup
	for i := range n {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			do(i)
		})
	}
	all.Wait()
}

func (p Places) readStores(ctx context.Context, e *Engine, queries []reconcile.PlaceQuery) []reconcile.PlaceContent {
	contents := make([]reconcile.PlaceContent, len(queries))
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	within(len(queries), func(i int) {
		c := contained{e, queries[i].At.Container}
		contents[i] = p.Stores.Read(ctx, c, queries[i].At.TrustStore(), queries[i].Files)
		if isAway(contents[i].Err) {
			giveUp(contents[i].Err)
		} else if contents[i].Err != nil && c.gone(ctx) {
			contents[i] = nothing(queries[i])
		}
	})
	return contents
}

func (p Places) writeStores(ctx context.Context, e *Engine, units []reconcile.Unit) []error {
	errs := make([]error, len(units))
	within(len(units), func(i int) {
		errs[i] = p.Stores.Write(ctx, contained{e, units[i].At.Container}, units[i].At.TrustStore(), units[i])
	})
	return errs
}

func (p Places) removeStores(ctx context.Context, e *Engine, removals []reconcile.Removal) []error {
	errs := make([]error, len(removals))
	within(len(removals), func(i int) {
		c := contained{e, removals[i].At.Container}
		errs[i] = p.Stores.Remove(ctx, c, removals[i].At.TrustStore(), removals[i].Mark)
		if errs[i] != nil && c.gone(ctx) {
			errs[i] = nil
		}
	})
	return errs
}

// contained is a container by its id, from outside: files go by the archive endpoint, commands by exec. It implements
// truststore.Container.
type contained struct {
	*Engine
	id string
}

var _ truststore.Container = contained{}

// gone reports whether the engine has no such container.
func (c contained) gone(ctx context.Context) bool {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	_, err := c.cli.ContainerInspect(ctx, c.id)
	return errdefs.IsNotFound(err)
}

// Has implements truststore.Container.
func (c contained) Has(ctx context.Context, name string) (bool, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	_, err := c.cli.ContainerStatPath(ctx, c.id, name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Get implements truststore.Container.
func (c contained) Get(ctx context.Context, name string) (truststore.File, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	return c.fileIn(ctx, c.id, name, maxBundle)
}

// linked is where a link leads.
func linked(from, to string) string {
	if !path.IsAbs(to) {
		to = path.Join(path.Dir(from), to)
	}
	return path.Clean(to)
}

// Put implements truststore.Container.
func (c contained) Put(ctx context.Context, files ...truststore.File) error {
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	for _, f := range files {
		h := c.header(f)
		h.Size = int64(len(f.Data))
		if err := archive.WriteHeader(h); err != nil {
			return err
		}
		if _, err := archive.Write(f.Data); err != nil {
			return err
		}
	}
	if len(files) == 0 {
		return nil
	}
	return c.unpack(ctx, archive, &b)
}

// Replace implements truststore.Container. The file is written beside the one it is for, and moved there. In an image that has
// no mv the engine gives it that name as well, and the other stays, until the next one takes its place.
func (c contained) Replace(ctx context.Context, file truststore.File) error {
	beside := file
	beside.Path = path.Join(path.Dir(file.Path), ".certwright-"+path.Base(file.Path))
	if err := c.Put(ctx, beside); err != nil {
		return err
	}
	if _, err := c.Run(ctx, "mv", "-f", beside.Path, file.Path); err == nil {
		return nil
	}
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	h := c.header(file)
	h.Typeflag, h.Linkname = tar.TypeLink, strings.TrimPrefix(beside.Path, "/")
	if err := archive.WriteHeader(h); err != nil {
		return err
	}
	if err := c.unpack(ctx, archive, &b); err == nil {
		return nil
	}
	// The engine may have taken the old one away, and then a file that is not whole for a moment is better than none.
	return c.Put(ctx, file)
}

func (c contained) header(f truststore.File) *tar.Header {
	return &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Typeflag: tar.TypeReg, Mode: int64(f.Mode.Perm()), Uid: f.UID, Gid: f.GID, ModTime: c.o.Now()}
}

// unpack has the engine unpack an archive in the container.
func (c contained) unpack(ctx context.Context, archive *tar.Writer, b *bytes.Buffer) error {
	if err := archive.Close(); err != nil {
		return err
	}
	ctx, cancel := limited(ctx, carryTimeout)
	defer cancel()
	return c.o.Around.Do("PUT /containers/{id}/archive", func() error {
		return c.cli.CopyToContainer(ctx, c.id, "/", b, container.CopyToContainerOptions{})
	})
}

// Run implements truststore.Container.
func (c contained) Run(ctx context.Context, argv ...string) (string, error) {
	return c.command(ctx, toolTimeout, c.id, "0", argv, maxSaid)
}

// Describe implements truststore.Container.
func (c contained) Describe(ctx context.Context) (d truststore.Description, err error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	is, err := c.cli.ContainerInspect(ctx, c.id)
	if err != nil {
		return d, err
	}
	if is.ContainerJSONBase != nil && is.HostConfig != nil {
		d.ReadOnly = is.HostConfig.ReadonlyRootfs
	}
	if is.Config != nil {
		d.Env = is.Config.Env
	}
	for _, m := range is.Mounts {
		d.Mounts = append(d.Mounts, m.Destination)
	}
	return d, nil
}

// fileIn reads a file of a container, at the end of links; nothing where there is none.
func (e *Engine) fileIn(ctx context.Context, id, name string, most int64) (truststore.File, error) {
	for range 5 {
		h, data, err := e.member(ctx, id, name, most)
		switch {
		case err != nil:
			return truststore.File{}, err
		case h == nil:
			return truststore.File{}, nil
		case h.Typeflag != tar.TypeSymlink:
			return truststore.File{Path: name, Data: data, Mode: h.FileInfo().Mode().Perm(), UID: h.Uid, GID: h.Gid}, nil
		}
		name = linked(name, h.Linkname)
	}
	return truststore.File{}, fmt.Errorf("%s: too many links", name)
}

// member reads one file through the archive endpoint: its header, and its content where it is a file; nil where there is none.
func (e *Engine) member(ctx context.Context, id, name string, most int64) (*tar.Header, []byte, error) {
	body, _, err := e.cli.CopyFromContainer(ctx, id, name)
	if errdefs.IsNotFound(err) {
		if _, gone := e.cli.ContainerInspect(ctx, id); gone != nil {
			return nil, nil, gone
		}
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	archive := tar.NewReader(body)
	h, err := archive.Next()
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	case h.Typeflag == tar.TypeSymlink:
		return h, nil, nil
	case h.Typeflag != tar.TypeReg:
		return nil, nil, fmt.Errorf("%s is no file", name)
	case h.Size > most:
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	data, err := io.ReadAll(io.LimitReader(archive, most))
	return h, data, err
}
