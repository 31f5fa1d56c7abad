package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/files"
)

// courierCommand is what runs inside a courier.
func (a *app) courierCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "courier files | dial ADDRESS | wait",
		Hidden: true,
		Args:   cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case args[0] == "files" && len(args) == 1:
				return docker.ServeFiles(cmd.Context(), a.in, a.out, &files.Local{Rand: rand.Reader})
			case args[0] == "dial" && len(args) == 2:
				return docker.ServeDial(cmd.Context(), args[1], a.in, a.out)
			case args[0] == "wait" && len(args) == 1:
				return docker.ServeWait(cmd.Context())
			}
			return fmt.Errorf("courier files, courier dial ADDRESS, or courier wait")
		},
	}
}
