package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/reconcile"
)

// composeFile is the part of a Compose file that an override of mounts needs.
type composeFile struct {
	Services map[string]composeServiceMounts `yaml:"services"`
	Volumes  map[string]composeExternal      `yaml:"volumes,omitempty"`
}

type composeServiceMounts struct {
	Volumes []composeMount `yaml:"volumes"`
}

type composeMount struct {
	Type     string `yaml:"type"`
	Source   string `yaml:"source"`
	Target   string `yaml:"target"`
	ReadOnly bool   `yaml:"read_only"`
}

type composeExternal struct {
	External bool   `yaml:"external"`
	Name     string `yaml:"name"`
}

func (a *app) composeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compose",
		Short: "Print the Compose override that mounts what the bindings place",
		Long: "Print the Compose override that mounts what the bindings place.\n\n" +
			"A container that mounts a place already keeps it where it is; others get it at /certs. Volumes are external:\n" +
			"they have to be there. Keep what is missing, in compose.override.yaml.",
		Example: "  certwright compose > compose.override.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer s.close()
			w, err := reconcile.Observe(cmd.Context(), s.applier.Providers, s.spec, reconcile.Look{Now: a.now()})
			if err != nil {
				return a.lost(err)
			}
			f := composeFile{Services: map[string]composeServiceMounts{}, Volumes: map[string]composeExternal{}}
			for _, m := range reconcile.Mounting(s.spec, w) {
				mount := composeMount{Type: "bind", Source: m.At.Dir, Target: m.Target, ReadOnly: true}
				if m.At.Volume != "" {
					mount.Type, mount.Source = "volume", m.At.Volume
					f.Volumes[m.At.Volume] = composeExternal{External: true, Name: m.At.Volume}
				}
				service := f.Services[m.Service]
				service.Volumes = append(service.Volumes, mount)
				f.Services[m.Service] = service
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
