package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFile bounds a file: 4 MiB hold about 20,000 identities.
const maxFile = 4 << 20

// Input is a file of a spec: its name, as errors print it and as the folder of its paths, and what it holds.
type Input struct {
	Name string
	Data []byte
}

// Equal reports whether two are the same file.
func (in Input) Equal(other Input) bool {
	return in.Name == other.Name && bytes.Equal(in.Data, other.Data)
}

// Load reads the spec in files and directories. env looks up the variables of ${NAME}, as os.LookupEnv does. The error is
// a *multierror.Error of *Error: everything that is wrong with any file. No file that the spec names is opened.
func Load(paths []string, env func(string) (string, bool)) (*Spec, error) {
	inputs, err := Read(paths)
	if err != nil {
		return nil, err
	}
	here, _ := os.Getwd() // without one, paths are compared as they are written
	return parse(inputs, env, resolver{here, map[string]string{}}.real)
}

// Read reads files and directories (of a directory: its *.yaml and *.yml, sorted by name). The error is as Load's.
func Read(paths []string) ([]Input, error) {
	names, errs := expand(paths)
	var inputs []Input
	for _, name := range names {
		data, err := read(name)
		if err != nil {
			errs = append(errs, &Error{Pos: Pos{File: name}, Msg: err.Error()})
			continue
		}
		inputs = append(inputs, Input{name, data})
	}
	if len(errs) > 0 {
		return nil, join(errs)
	}
	return inputs, nil
}

// resolver finds where paths lead on this machine, through links, as far as they exist. Places have their parents in
// common, so each directory is looked at once in a load.
type resolver struct {
	here  string            // what paths that are not absolute begin at
	known map[string]string // by absolute path
}

func (r resolver) real(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.here, path)
	}
	up := filepath.Dir(path)
	if up == path {
		return path
	}
	if found, ok := r.known[path]; ok {
		return found
	}
	found := filepath.Join(r.real(up), filepath.Base(path))
	if info, err := os.Lstat(found); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err := filepath.EvalSymlinks(found); err == nil {
			found = target
		}
	}
	r.known[path] = found
	return found
}

// expand names the files that paths stand for.
func expand(paths []string) (names []string, errs []*Error) {
	fail := func(path, format string, args ...any) {
		errs = append(errs, &Error{Pos: Pos{File: path}, Msg: fmt.Sprintf(format, args...)})
	}
	seen := make(map[string]bool)
	add := func(path string) {
		path = filepath.Clean(path)
		if seen[path] {
			fail(path, "given twice")
			return
		}
		seen[path] = true
		names = append(names, path)
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			add(path)
			continue
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			fail(path, "%v", cause(err))
			continue
		}
		before := len(names)
		for _, e := range entries {
			ext := filepath.Ext(e.Name())
			if (ext == ".yaml" || ext == ".yml") && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				add(filepath.Join(path, e.Name()))
			}
		}
		if len(names) == before && len(errs) == 0 {
			fail(path, "no *.yaml or *.yml in this directory")
		}
	}
	return names, errs
}

// read returns at most maxFile bytes, so that neither a device nor a huge file is read to its end.
func read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, cause(err)
	}
	return data, nil
}

// cause takes the path off an error of the file system: it is printed in front already.
func cause(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no such file (certwright init writes one)")
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// parser gathers a Spec and what is wrong with it.
type parser struct {
	env  func(string) (string, bool)
	spec Spec
	errs []*Error
	// tooMany is set when errors were left out.
	tooMany bool
	// partial is set when a file could not be read as YAML: names it may define are then not missed.
	partial bool
	guesses int // comparisons left for "did you mean", so that a huge broken file stays linear

	defaults   defaults
	hosts      index
	cas        index
	caNodes    []*mapping // the definition of spec.CAs[i]
	identities index
	bindings   index
	places     map[string]value // which binding has a place already
	real       func(path string) string
	storeReal  string // of the store's directory; "" when it has none
}

// Parse is Load over bytes: it touches no file, and so takes two spellings of one directory for two.
func Parse(inputs []Input, env func(string) (string, bool)) (*Spec, error) {
	return parse(inputs, env, filepath.Clean)
}

func parse(inputs []Input, env func(string) (string, bool), real func(string) string) (*Spec, error) {
	p := &parser{
		env:        env,
		real:       real,
		guesses:    100_000,
		hosts:      newIndex("host"),
		cas:        newIndex("CA"),
		identities: newIndex("identity"),
		bindings:   newIndex("binding"),
		places:     make(map[string]value),
	}
	var roots []*mapping
	for _, in := range inputs {
		p.spec.Files = append(p.spec.Files, in.Name)
		if root := p.root(in); root != nil {
			roots = append(roots, root)
		} else {
			p.partial = true
		}
	}
	if len(inputs) == 0 {
		return nil, join([]*Error{{Pos: Pos{File: "tls.yaml"}, Msg: "no file was given"}})
	}
	p.sections(roots)
	if err := p.finish(); err != nil {
		return nil, err
	}
	s := p.spec // alone: the parser has the whole tree
	return &s, nil
}

// sections reads what can be named before what names it, so that every reference is checked where it stands.
func (p *parser) sections(roots []*mapping) {
	for _, root := range roots {
		p.version(root.get("version"))
	}
	p.project(p.once(roots, "project"), roots)
	p.store(p.once(roots, "store"))
	if dir := p.spec.Store.Directory; dir != "" {
		p.storeReal = p.real(dir)
	}
	p.readDefaults(p.once(roots, "defaults"))
	p.swarm(p.once(roots, "swarm"))
	for _, v := range p.named(roots, "hosts", &p.hosts) {
		p.host(v.key, v)
	}
	for _, v := range p.named(roots, "cas", &p.cas) {
		p.ca(v.key, v)
	}
	p.checkCAs()
	identities := p.named(roots, "identities", &p.identities)
	p.spec.Identities = slices.Grow(p.spec.Identities, len(identities))
	for _, v := range identities {
		p.identity(v.key, v)
	}
	bindings := p.named(roots, "bindings", &p.bindings)
	p.spec.Bindings = slices.Grow(p.spec.Bindings, len(bindings))
	for _, v := range bindings {
		p.binding(v.key, v)
	}
}

func (p *parser) version(v value) {
	if v.node != nil {
		p.integer(v, 1, 1)
	}
}

// once returns what stands under key, which only one file may have.
func (p *parser) once(roots []*mapping, key string) value {
	var first value
	for _, root := range roots {
		v := root.get(key)
		switch {
		case v.node == nil:
		case first.node != nil:
			p.errorf(v, "stands in two files, first at %s", first.pos())
		default:
			first = v
		}
	}
	return first
}

// named defines the entries of a section over all files and returns them. A name that comes twice is refused.
func (p *parser) named(roots []*mapping, key string, ix *index) []value {
	var values []value
	for _, root := range roots {
		entries := p.open(root.get(key))
		if entries == nil {
			continue
		}
		for _, pr := range entries.pairs {
			v := entries.entry(pr)
			if first, taken := ix.pos[v.key]; taken {
				p.errorf(v, "defined twice, first at %s", first)
			} else {
				ix.define(v)
			}
			if !isName(v.key) {
				p.errorf(v, `a name has letters, digits, "_", "." and "-", starts with a letter or digit, and is no longer than 63`)
			}
			values = append(values, v)
		}
	}
	return values
}
