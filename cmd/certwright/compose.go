package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/reconcile"
)

// composeFile is the part of a Compose file that an override needs. It has no version: `docker stack deploy` takes that
// for the newest.
type composeFile struct {
	Services map[string]composeOverride `yaml:"services"`
	Volumes  map[string]composeExternal `yaml:"volumes,omitempty"`
	Secrets  map[string]composeExternal `yaml:"secrets,omitempty"`
	Configs  map[string]composeExternal `yaml:"configs,omitempty"`
}

type composeOverride struct {
	Volumes []composeMount `yaml:"volumes,omitempty"`
	// Environment points at roots that are mounted.
	Environment map[string]string `yaml:"environment,omitempty"`
	Secrets     []composeSecret   `yaml:"secrets,omitempty"`
	Configs     []composeSecret   `yaml:"configs,omitempty"`
}

type composeMount struct {
	Type     string `yaml:"type"`
	Source   string `yaml:"source"`
	Target   string `yaml:"target"`
	ReadOnly bool   `yaml:"read_only"`
}

type composeSecret struct {
	Source string `yaml:"source"`
	Target string `yaml:"target"`
	UID    string `yaml:"uid"`
	GID    string `yaml:"gid"`
	Mode   octal  `yaml:"mode"`
}

type composeExternal struct {
	External bool   `yaml:"external"`
	Name     string `yaml:"name"`
}

// octal is a mode as people write it. It stays a number, as `docker stack deploy` wants it.
type octal fs.FileMode

func (o octal) MarshalYAML() (any, error) {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprintf("%04o", o)}, nil
}

func (a *app) composeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compose [STACK]",
		Short: "Print the override that mounts what the bindings place",
		Long: "Print the override that mounts what the bindings place.\n\n" +
			"A container that mounts a place already keeps it where it is; others get it at /certs. Volumes are external:\n" +
			"they have to be there. Keep what is missing, in compose.override.yaml. What has a binding of trust alone also gets the\n" +
			"variables by which programs find the roots.\n\n" +
			"With STACK it gives the services of that stack the secrets and configs they have now, so that `docker stack\n" +
			"deploy` changes nothing about them: print it anew for every deploy. STACK may be left out where it is the only\n" +
			"one, and no container is bound. Secrets of bindings that name no service are there under names that stay the\n" +
			"same, for any service to mount.",
		Example: "  certwright compose > compose.override.yaml\n" +
			"  certwright compose shop > override.yml",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			w, err := reconcile.Observe(cmd.Context(), s.applier.Providers, s.spec, reconcile.Look{Now: a.now()})
			if err != nil {
				return a.lost(err)
			}
			f, warnings, err := override(reconcile.Mounting(s.spec, w), reconcile.Stacks(s.spec, w), strings.Join(args, ""))
			for _, text := range warnings {
				fmt.Fprintf(a.err, "certwright: warning: %s\n", text)
			}
			if err != nil {
				return err
			}
			e := yaml.NewEncoder(a.out)
			e.SetIndent(2)
			if err := e.Encode(f); err != nil {
				return fmt.Errorf("print the override: %w", err)
			}
			return e.Close()
		},
	}
}

// override is the override of a stack, or of the containers if none is named. Where there are no containers it is that
// of the only stack.
func override(mounted []reconcile.Mounted, stacked []reconcile.Stacked, stack string) (f composeFile, warnings []string, err error) {
	var stacks []string
	for _, x := range stacked {
		if x.Stack != "" && !slices.Contains(stacks, x.Stack) {
			stacks = append(stacks, x.Stack)
		}
	}
	slices.Sort(stacks)
	switch {
	case stack == "" && len(mounted) > 0:
		for _, name := range stacks {
			warnings = append(warnings, fmt.Sprintf("this is for containers; `certwright compose %s` prints what is for stack %s", name, name))
		}
		return containerOverride(mounted), warnings, nil
	case stack == "" && len(stacks) > 1:
		return f, nil, hinted{
			fmt.Errorf("the bindings are of services of several stacks: %s", strings.Join(stacks, ", ")),
			"name the one that is to be deployed: `certwright compose " + stacks[0] + "`",
		}
	case stack == "" && len(stacks) == 1:
		stack = stacks[0]
	}
	return stackOverride(stacked, stacks, stack)
}

func containerOverride(mounted []reconcile.Mounted) composeFile {
	f := composeFile{Services: map[string]composeOverride{}, Volumes: map[string]composeExternal{}}
	for _, m := range mounted {
		mount := composeMount{Type: "bind", Source: m.At.Dir, Target: m.Target, ReadOnly: true}
		if m.At.Volume != "" {
			mount.Type, mount.Source = "volume", m.At.Volume
			f.Volumes[m.At.Volume] = composeExternal{External: true, Name: m.At.Volume}
		}
		service := f.Services[m.Service]
		service.Volumes = append(service.Volumes, mount)
		for name, value := range m.Variables {
			if service.Environment == nil {
				service.Environment = map[string]string{}
			}
			if _, taken := service.Environment[name]; !taken { // the first binding's; a program reads one file
				service.Environment[name] = strings.ReplaceAll(value, "$", "$$")
			}
		}
		f.Services[m.Service] = service
	}
	return f
}

// stackOverride is the override of a stack. A service that is not there yet is left out. One whose secrets are not there,
// or not known, is an error: without them the next deploy would take from it what it has.
func stackOverride(stacked []reconcile.Stacked, stacks []string, stack string) (f composeFile, warnings []string, err error) {
	f = composeFile{Services: map[string]composeOverride{}, Secrets: map[string]composeExternal{}, Configs: map[string]composeExternal{}}
	for _, x := range stacked {
		switch r := x.Refused; {
		case r == nil && (x.Stack == stack || x.Service == ""):
			f.add(x)
		case x.Stack != stack && x.Stack != "":
		case !r.State.Settled():
			return f, warnings, hinted{fmt.Errorf("%s: %s", r.Subject, r.Reason), r.Hint}
		case stack == "" || strings.HasPrefix(x.Service, stack+"_"):
			warnings = append(warnings, fmt.Sprintf("%s is left out: %s", r.Subject, r.Reason))
		}
	}
	if len(f.Services)+len(f.Secrets)+len(f.Configs) == 0 && len(warnings) == 0 && stack != "" {
		return f, nil, hinted{
			fmt.Errorf("no binding is of a service of stack %q", stack),
			"the stacks of bound services: " + cmp.Or(strings.Join(stacks, ", "), "none"),
		}
	}
	return f, warnings, nil
}

// add gives a service its secrets and configs; where none is named, it gives their names alone. `docker stack deploy` looks
// for variables in the values of a file, and takes $$ for $.
func (f composeFile) add(x reconcile.Stacked) {
	service := f.Services[x.Service]
	for _, r := range x.Secrets {
		of, all, dir := &service.Secrets, f.Secrets, ""
		if r.Config {
			of, all, dir = &service.Configs, f.Configs, reconcile.SecretsDir
		}
		*of = append(*of, composeSecret{
			Source: r.Key, Target: dir + strings.ReplaceAll(r.Target, "$", "$$"),
			UID: strconv.Itoa(r.UID), GID: strconv.Itoa(r.GID), Mode: octal(r.Mode.Perm()),
		})
		all[r.Key] = composeExternal{External: true, Name: r.Name}
	}
	if x.Service != "" {
		f.Services[x.Service] = service
	}
}
