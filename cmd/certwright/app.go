package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/files"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/providers/probe"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// app is the program with its global flags.
type app struct {
	env
	files         []string
	host          string
	dockerContext string
	logFormat     string
	verbose       bool
	noColor       bool
	noCouriers    bool
	courierBinary string
	hidden        []string // variables that hold passwords, by the spec
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "certwright",
		Short: "Keep the TLS of Docker as tls.yaml says, proven on the wire",
		Long: "Keep the TLS of Docker as tls.yaml says, proven on the wire.\n\n" +
			"Begin with `certwright init`; `plan` shows what `apply` would do. Where something is not as it should be,\n" +
			"`certwright why BINDING` says what comes first.\n\n" +
			"It exits with 0 when all is done, 1 when nothing was, 3 when something failed or is blocked, and\n" +
			"`plan --exit-code` with 2 when there are steps.",
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.logFormat != "text" && a.logFormat != "json" {
				return fmt.Errorf("--log-format is text or json, not %q", a.logFormat)
			}
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringArrayVarP(&a.files, "file", "f", []string{"tls.yaml"}, "the spec: a file or a directory, may be given several times")
	f.StringVarP(&a.host, "host", "H", "", "the Docker engine, as docker has it")
	f.StringVarP(&a.dockerContext, "context", "c", "", "the Docker context, as docker has it")
	root.MarkFlagsMutuallyExclusive("host", "context")
	f.StringVar(&a.logFormat, "log-format", "text", "text or json")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log every effect")
	f.BoolVar(&a.noColor, "no-color", false, "no colour, also where the output is a terminal")
	f.StringVar(&a.courierBinary, "courier-binary", "", "a static certwright of the engine's architecture, for couriers")
	root.AddCommand(
		a.initCommand(), a.validateCommand(), a.planCommand(), a.applyCommand(), a.watchCommand(), a.healthCommand(), a.statusCommand(), a.verifyCommand(), a.whyCommand(),
		a.rotateCommand(), a.adoptCommand(), a.showCommand(), a.composeCommand(), a.backupCommand(), a.restoreCommand(), a.sealCommand(),
		a.versionCommand(), a.schemaCommand(), a.courierCommand(),
	)
	a.complete(root)
	return root
}

// load reads the spec.
func (a *app) load() (*spec.Spec, error) {
	s, err := spec.Load(a.files, lookup(a.getenv))
	if err != nil {
		return nil, err
	}
	a.hidden = variables(s)
	here, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	for i := range s.Bindings {
		if p := &s.Bindings[i].Place; p.Directory != "" && !filepath.IsAbs(p.Directory) {
			p.Directory = filepath.Join(here, p.Directory)
		}
	}
	return s, nil
}

func lookup(getenv func(string) string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v := getenv(name)
		return v, v != ""
	}
}

// session is a spec with everything a pass over it needs.
type session struct {
	spec    *spec.Spec
	applier reconcile.Applier
	store   *store.Store
	engine  *docker.Engine
	places  docker.Places
}

func (s *session) close() error { return s.store.Close() }

// open wires the providers. A writer holds the store's lock until it is closed.
func (a *app) open(ctx context.Context, writer bool) (*session, error) {
	if !writer {
		// Looking takes a tenth of a second and little memory: collecting garbage would be a fifth of it.
		debug.SetGCPercent(1000)
	}
	s, err := a.load()
	if err != nil {
		return nil, err
	}
	passphrase, err := a.passphrase(s.Store)
	if err != nil {
		return nil, err
	}
	engine := a.engine(s)
	st, err := a.openStore(ctx, s, engine, passphrase, writer)
	if err != nil {
		return nil, err
	}
	engines := docker.Engines{spec.LocalHost: engine}
	places := docker.Places{Local: &files.Local{Disk: disk.Disk{Around: a.logged()}, Rand: rand.Reader}, Engines: engines}
	applier := reconcile.Applier{
		Providers: reconcile.Providers{
			Store: st, Authority: &localca.CA{Passphrase: a.secret, Now: a.now}, Formats: formats.Formats{},
			Places: places, Engines: engines, Swarms: engines, Prober: probe.Prober{},
			Secret: a.secret, Roots: formats.Roots, Log: a.logger(slog.LevelWarn), Built: builtAt(),
		},
		Spec: s, Clock: a.now, Settle: a.settle, Couriers: !a.noCouriers,
	}
	return &session{spec: s, applier: applier, store: st, engine: engine, places: places}, nil
}

// engine is the one of the environment.
func (a *app) engine(s *spec.Spec) *docker.Engine {
	return docker.New(spec.LocalHost, docker.Options{
		Endpoint: a.host, Context: a.dockerContext, Getenv: a.getenv, Environ: a.environ(), Project: s.Project, CourierBinary: a.courierBinary,
		ForceCourier: a.couriers, LookOnly: a.noCouriers, Secret: a.secret, Around: a.logged(), Now: a.now,
	})
}

// openStore opens the store of a spec, wherever it lies.
func (a *app) openStore(ctx context.Context, s *spec.Spec, engine *docker.Engine, passphrase []byte, writer bool) (*store.Store, error) {
	o := store.Options{Passphrase: passphrase, Writer: writer, Project: s.Project, Disk: disk.Disk{Around: a.logged()}}
	if s.Store.Swarm {
		return store.InSwarm(docker.Configs{Engine: engine}, o)
	}
	return store.Open(ctx, s.Store.Directory, o)
}

// one wants exactly one argument.
func one(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%s wants one %s, not %d: `%s`", c.Name(), what, len(args), strings.TrimSuffix(c.UseLine(), " [flags]"))
		}
		return nil
	}
}

// only checks the bindings a command was given.
func only(s *spec.Spec, names []string) error {
	for _, n := range names {
		if s.BindingByName(n) == nil {
			return unknown("binding", n, bindingNames(s))
		}
	}
	return nil
}

func unknown(kind, name string, known []string) error {
	if len(known) == 0 {
		return hinted{fmt.Errorf("no %s named %q", kind, name), "the spec has none"}
	}
	return hinted{fmt.Errorf("no %s named %q", kind, name), "the spec has " + strings.Join(known, ", ")}
}
