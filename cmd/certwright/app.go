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

	"github.com/certwright/certwright/providers/acmeca"
	"github.com/certwright/certwright/providers/child"
	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/dockerd"
	"github.com/certwright/certwright/providers/execca"
	"github.com/certwright/certwright/providers/files"
	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/providers/localca"
	"github.com/certwright/certwright/providers/probe"
	"github.com/certwright/certwright/providers/step"
	"github.com/certwright/certwright/providers/store"
	"github.com/certwright/certwright/providers/truststore"
	"github.com/certwright/certwright/providers/vault"
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
	strays        bool // certificates that stand beside those of bindings are looked at
	courierBinary string
	hidden        []string // variables that hold passwords, by the spec
	within        *within  // nil but for run
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
		a.initCommand(), a.importCommand(), a.validateCommand(), a.planCommand(), a.applyCommand(), a.watchCommand(), a.runCommand(), a.healthCommand(), a.statusCommand(), a.verifyCommand(), a.lintCommand(), a.whyCommand(),
		a.rotateCommand(), a.revokeCommand(), a.signCommand(), a.trustCommand(), a.adoptCommand(), a.forgetCommand(), a.showCommand(), a.composeCommand(), a.envCommand(), a.backupCommand(), a.restoreCommand(), a.sealCommand(),
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
	if a.within != nil {
		if err := a.within.narrow(s); err != nil {
			return nil, err
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
	spec       *spec.Spec
	applier    reconcile.Applier
	store      *store.Store
	passphrase []byte         // of the store; nil when it has none
	engines    docker.Engines // nil where none is asked
	places     docker.Places
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
	var engine *docker.Engine
	var engines docker.Engines
	if a.within == nil {
		engines = a.engines(s)
		engine = engines[spec.LocalHost]
	}
	st, err := a.openStore(ctx, s, engine, passphrase, writer)
	if err != nil {
		return nil, err
	}
	places := docker.Places{Local: &files.Local{Disk: disk.Disk{Around: a.logged()}, Rand: rand.Reader, Now: a.now}, Engines: engines, Stores: truststore.Stores{Keystores: formats.Cacerts{}}}
	applier := reconcile.Applier{
		Providers: reconcile.Providers{
			Store: st, Authority: &localca.CA{Passphrase: a.secret, Now: a.now}, Formats: formats.Formats{},
			Places: places, Engines: engines, Swarms: engines, Daemons: dockerd.Hosts{Machine: dockerd.Machine{Disk: disk.Disk{Around: a.logged()}}, Others: engines}, Prober: probe.Prober{}, Outside: a.outside(engine),
			Secret: a.secret, Roots: formats.Roots, Log: a.logger(slog.LevelWarn), Built: builtAt(),
		},
		Spec: s, Clock: a.now, Settle: a.settle, Couriers: !a.noCouriers,
	}
	if a.within != nil {
		applier.Engines, applier.Daemons = child.Engines{Child: a.within.child}, nil
	}
	return &session{spec: s, applier: applier, store: st, passphrase: passphrase, engines: engines, places: places}, nil
}

// outside are the kinds of CAs that are asked to sign. engine is where names can be proved in the network of a container; nil
// for none.
func (a *app) outside(engine *docker.Engine) map[string]reconcile.Outside {
	byACME := &acmeca.CA{Environ: a.environ(), Secret: a.secret, Around: a.logged()}
	if engine != nil && !a.noCouriers {
		byACME.Courier = engine.Inside
	}
	return map[string]reconcile.Outside{
		"acme":  byACME,
		"exec":  execca.CA{Environ: a.environ(), Around: a.logged()},
		"step":  &step.CA{Secret: a.secret, Now: a.now, Around: a.logged()},
		"vault": &vault.CA{Secret: a.secret, Now: a.now, Around: a.logged()},
	}
}

// engines are those of a spec: that of the environment, and one for each host.
func (a *app) engines(s *spec.Spec) docker.Engines {
	all := docker.Engines{spec.LocalHost: a.engine(s)}
	for _, h := range s.Hosts {
		o := a.engineOptions(s)
		o.Endpoint, o.Context, o.TLS = h.Endpoint, h.Context, true
		all[h.Name] = docker.New(h.Name, o)
	}
	return all
}

// engine is the one of the environment.
func (a *app) engine(s *spec.Spec) *docker.Engine {
	o := a.engineOptions(s)
	o.Endpoint, o.Context = a.host, a.dockerContext
	return docker.New(spec.LocalHost, o)
}

func (a *app) engineOptions(s *spec.Spec) docker.Options {
	return docker.Options{
		Getenv: a.getenv, Environ: a.environ(), Project: s.Project, CourierBinary: a.courierBinary,
		ForceCourier: a.couriers, LookOnly: a.noCouriers, Secret: a.secret, Around: a.logged(), Now: a.now,
	}
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
