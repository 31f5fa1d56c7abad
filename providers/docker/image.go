package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/certwright/certwright/reconcile"
)

const (
	courierRepository = "certwright-courier"
	// courierMax bounds the binary with its libraries.
	courierMax = 512 << 20
	// importTimeout is enough for some ten megabytes over a slow line.
	importTimeout = 5 * time.Minute
	// oldImage is how old the image of another binary must be to be removed: two versions may be in use side by
	// side, and one that is removed is imported again.
	oldImage = time.Hour
	// libraryDir is where the libraries of a dynamically linked binary lie in the image.
	libraryDir = "lib/certwright"
)

// courierImage is the name of an image that holds certwright's binary and, if it needs them, its loader and
// libraries. It is named after its content, so an image of that name is the right one; else it is imported.
func (e *Engine) courierImage(ctx context.Context) (string, error) {
	ctx, cancel := limited(ctx, importTimeout)
	defer cancel()
	f, err := e.about(ctx)
	if err != nil {
		return "", err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.image != "" {
		if there, err := e.hasImage(ctx, e.image); there || err != nil {
			return e.image, err
		}
	}
	binary, err := readCourier(e.o.CourierBinary)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(binary)
	ref := courierRepository + ":" + hex.EncodeToString(sum[:6])
	there, err := e.hasImage(ctx, ref)
	if err == nil && !there {
		err = e.importCourier(ctx, ref, binary, f.arch)
	}
	if err != nil {
		return "", err
	}
	e.image = ref
	return ref, nil
}

// readCourier reads the binary. The running one is read through the kernel, which has it even after an upgrade
// has replaced the file.
func readCourier(path string) ([]byte, error) {
	if path == "" {
		path = "/proc/self/exe"
		if runtime.GOOS != "linux" {
			return nil, unfit("this certwright is no linux binary")
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, unfit(err.Error())
	}
	defer f.Close()
	binary, err := io.ReadAll(io.LimitReader(f, courierMax+1))
	if err == nil && len(binary) > courierMax {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, unfit(err.Error())
	}
	return binary, nil
}

// unfit says why a binary cannot be a courier, and what helps.
func unfit(why string) error {
	return fmt.Errorf("%w: %s; name a static linux binary of certwright for the engine's architecture with --courier-binary",
		reconcile.ErrNotHere, why)
}

func (e *Engine) hasImage(ctx context.Context, ref string) (bool, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	_, err := e.cli.ImageInspect(ctx, ref)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// importCourier makes the image from an archive in memory, and removes those of other binaries that no container
// uses.
func (e *Engine) importCourier(ctx context.Context, ref string, binary []byte, arch string) error {
	libraries, loader, err := needs(binary, arch)
	if err != nil {
		return err
	}
	archive, err := pack(binary, libraries, loader)
	if err != nil {
		return err
	}
	changes := []string{`ENTRYPOINT ["/certwright"]`, "LABEL " + labelCourier + "=1"}
	if loader != "" {
		changes = append(changes, "ENV LD_LIBRARY_PATH=/"+libraryDir)
	}
	err = e.o.Around.Do("POST /images/create", func() error {
		answer, err := e.cli.ImageImport(ctx, image.ImportSource{Source: archive, SourceName: "-"}, ref,
			image.ImportOptions{Changes: changes})
		if err != nil {
			return err
		}
		defer answer.Close()
		return importResult(answer)
	})
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	e.removeOlder(ctx, ref)
	return nil
}

// importResult reads the messages of an import, whose failures come after the status 200.
func importResult(r io.Reader) error {
	messages := json.NewDecoder(io.LimitReader(r, 1<<20))
	for {
		var m struct{ Error string }
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}

// removeOlder is tidying: the engine refuses what is in use, and nothing depends on it.
func (e *Engine) removeOlder(ctx context.Context, ref string) {
	list, err := e.cli.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", labelCourier+"=1"), filters.Arg("reference", courierRepository))})
	if err != nil {
		return
	}
	for _, i := range list {
		if e.o.Now().Sub(time.Unix(i.Created, 0)) < oldImage {
			continue
		}
		for _, tag := range i.RepoTags {
			if tag == ref {
				continue
			}
			_ = e.o.Around.Do("DELETE /images/{name}", func() error {
				_, err := e.cli.ImageRemove(ctx, tag, image.RemoveOptions{PruneChildren: true})
				return err
			})
		}
	}
}

// pack makes the image's only layer. Directories are named, since an engine makes those that are not with modes of its
// own, and a courier has no right to enter what is not its user's.
func pack(binary []byte, libraries map[string][]byte, loader string) (io.Reader, error) {
	files := map[string][]byte{"certwright": binary}
	for name, data := range libraries {
		if name != loader {
			name = libraryDir + "/" + name
		}
		files[strings.TrimPrefix(name, "/")] = data
	}
	dirs := map[string]bool{}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, Format: tar.FormatPAX}); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name])), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}
