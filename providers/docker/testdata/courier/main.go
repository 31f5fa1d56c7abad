// Command courier is certwright's `courier` command alone, for the tests.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/certwright/certwright/providers/docker"
	"github.com/certwright/certwright/providers/files"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[1] == "files":
		return docker.ServeFiles(context.Background(), os.Stdin, os.Stdout, files.Local{Rand: rand.Reader})
	case len(args) == 3 && args[1] == "dial":
		return docker.ServeDial(context.Background(), args[2], os.Stdin, os.Stdout)
	case len(args) == 3 && args[1] == "signal":
		return docker.ServeSignal(args[2], os.Stdout)
	case len(args) == 2 && args[1] == "wait":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		return docker.ServeWait(ctx)
	}
	return errors.New("usage: courier files | courier dial ADDRESSES | courier signal NAME | courier wait")
}
