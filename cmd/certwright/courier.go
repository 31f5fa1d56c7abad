package main

import (
	"crypto/rand"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/providers/acmeca"
	"github.com/certwright/certwright/providers/disk"
	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/dockerd"
	"github.com/certwright/certwright/providers/files"
)

// courierCommand is what runs inside a courier.
func (a *app) courierCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "courier files | dial ADDRESS | engine look | engine settle | engine reconfigure | listen KIND PORT | signal NAME | wait",
		Hidden: true,
		Args:   cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case args[0] == "files" && len(args) == 1:
				return docker.ServeFiles(cmd.Context(), a.in, a.out, &files.Local{Rand: rand.Reader})
			case args[0] == "dial" && len(args) == 2:
				return docker.ServeDial(cmd.Context(), args[1], a.in, a.out)
			case args[0] == "engine" && len(args) == 2:
				signal.Ignore(syscall.SIGPIPE) // a connection that breaks is no reason to leave dockerd between two configurations
				return dockerd.Machine{Disk: disk.Disk{}}.Serve(cmd.Context(), args[1], a.in, a.out)
			case args[0] == "listen" && len(args) == 3:
				return acmeca.Listen(args[1], args[2], a.in, a.out)
			case args[0] == "signal" && len(args) == 2:
				return docker.ServeSignal(args[1], a.out)
			case args[0] == "wait" && len(args) == 1:
				return docker.ServeWait(cmd.Context())
			}
			return fmt.Errorf("courier files, courier dial ADDRESS, courier engine look, settle or reconfigure, courier listen KIND PORT, courier signal NAME, or courier wait")
		},
	}
}
