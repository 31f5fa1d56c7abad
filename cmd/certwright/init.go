package main

import (
	_ "embed" // the example
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/spec"
)

//go:embed tls.yaml.example
var exampleSpec []byte

// Compose's own names for its file, in the order in which it looks for them (docs.docker.com/compose, "The
// Compose file").
var composeNames = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// initial are the flags of init.
type initial struct {
	compose string
	running bool
	example bool
	output  string
}

func (a *app) initCommand() *cobra.Command {
	var f initial
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a first tls.yaml: from a Compose file, the running containers, or an example",
		Long: "Write a first tls.yaml, and never over one that is there.\n\n" +
			"Without a flag it is made from the Compose file in this folder, else it is the example. What could only be\n" +
			"guessed is marked in the file by a comment.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.initialise(cmd, f) },
	}
	c.Flags().StringVar(&f.compose, "compose", "", "from this Compose file")
	c.Flags().BoolVar(&f.running, "running", false, "from the running containers of the engine")
	c.Flags().BoolVar(&f.example, "example", false, "the example")
	c.Flags().StringVarP(&f.output, "output", "o", "tls.yaml", "the file to write")
	c.MarkFlagsMutuallyExclusive("compose", "running", "example")
	return c
}

func (a *app) initialise(cmd *cobra.Command, f initial) error {
	if _, err := os.Lstat(f.output); err == nil { // before anything is asked of an engine
		return overwriting(f.output)
	}
	from, text, err := a.firstSpec(cmd, f)
	if err != nil {
		return err
	}
	// What init writes has to be good: what it was made from may hold anything.
	s, err := spec.Parse([]spec.Input{{Name: f.output, Data: text}}, lookup(a.getenv))
	if err != nil {
		return hinted{fmt.Errorf("no tls.yaml can be made from %s: %w", from, err), "`certwright init --example` writes one to start from"}
	}
	if err := writeNew(f.output, text); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: written from %s: %s.\n", f.output, from, counts(s))
	fmt.Fprintf(a.out, "Read it, then see what it would do: certwright%s plan\n", fileFlag(f.output))
	return nil
}

// firstSpec makes the text of the spec and says from what.
func (a *app) firstSpec(cmd *cobra.Command, f initial) (from string, text []byte, err error) {
	folder, err := filepath.Abs(filepath.Dir(f.output))
	if err != nil {
		return "", nil, err
	}
	if f.running {
		e := docker.New(spec.LocalHost, docker.Options{Endpoint: a.host, Context: a.dockerContext, Getenv: a.getenv, Environ: a.environ(), Now: a.now})
		d, err := fromRunning(cmd.Context(), e, filepath.Base(folder))
		return "the running containers", d.render(), err
	}
	if f.compose == "" && !f.example {
		f.compose = composeHere()
	}
	if f.compose == "" {
		return "the example", exampleSpec, nil
	}
	d, err := fromCompose(f.compose, folder, a.getenv)
	return f.compose, d.render(), err
}

// composeHere names the Compose file of this folder, or "".
func composeHere() string {
	for _, name := range composeNames {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

// writeNew writes a file that is not there yet.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return overwriting(name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func overwriting(name string) error {
	return hinted{fmt.Errorf("%s is there already, and init overwrites nothing", name), "-o names another file"}
}

// fileFlag is what a command needs to read that file.
func fileFlag(name string) string {
	if name == "tls.yaml" {
		return ""
	}
	return " -f " + name
}

// counts says how much a spec holds.
func counts(s *spec.Spec) string {
	return strings.Join([]string{
		count(len(s.CAs), "CA", "CAs"), count(len(s.Identities), "identity", "identities"), count(len(s.Bindings), "binding", "bindings"),
	}, ", ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
