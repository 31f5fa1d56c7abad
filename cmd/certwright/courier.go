package main

import (
	"crypto/rand"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/acmeca"
	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/files"
)

// courierCommand is what runs inside a courier.
func (a *app) courierCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "courier files | dial ADDRESS | listen KIND PORT | signal NAME | wait",
		Hidden: true,
		Args:   cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case args[0] == "files" && len(args) == 1:
				return docker.ServeFiles(cmd.Context(), a.in, a.out, &files.Local{Rand: rand.Reader})
			case args[0] == "dial" && len(args) == 2:
				return docker.ServeDial(cmd.Context(), args[1], a.in, a.out)
			case args[0] == "listen" && len(args) == 3:
				return acmeca.Listen(args[1], args[2], a.in, a.out)
			case args[0] == "signal" && len(args) == 2:
				return docker.ServeSignal(args[1], a.out)
			case args[0] == "wait" && len(args) == 1:
				return docker.ServeWait(cmd.Context())
			}
			return fmt.Errorf("courier files, courier dial ADDRESS, courier listen KIND PORT, courier signal NAME, or courier wait")
		},
	}
}
