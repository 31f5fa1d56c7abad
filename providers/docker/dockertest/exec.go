package dockertest

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// Exec runs a command in a running container, as its user, and returns its exit code and outputs.
func Exec(t testing.TB, id string, argv ...string) (exit int, stdout, stderr string) {
	t.Helper()
	cli := Engine(t)
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("exec %s in container %.12s: %v", argv[0], id, err)
		}
	}
	made, err := cli.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: argv, AttachStdout: true, AttachStderr: true})
	fail(err)
	stream, err := cli.ContainerExecAttach(t.Context(), made.ID, container.ExecAttachOptions{})
	fail(err)
	defer stream.Close()
	var out, errs bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &errs, stream.Reader)
	fail(err)
	end, err := cli.ContainerExecInspect(t.Context(), made.ID)
	fail(err)
	return end.ExitCode, out.String(), errs.String()
}

// Logs returns everything a container has written so far, both outputs together.
func Logs(t testing.TB, id string) string {
	t.Helper()
	return logs(t.Context(), Engine(t), id, "all")
}

// privateKey is a key in PEM form, or what is left of one at the end of a log.
var privateKey = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)

// logs returns the last lines of a container's log without keys, or why there are none.
func logs(ctx context.Context, cli *client.Client, id, tail string) string {
	stream, err := cli.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: tail})
	if err != nil {
		return fmt.Sprintf("no log: %v", err)
	}
	defer stream.Close()
	var all bytes.Buffer
	if _, err := stdcopy.StdCopy(&all, &all, stream); err != nil {
		fmt.Fprintf(&all, "the log broke off: %v", err)
	}
	return privateKey.ReplaceAllString(all.String(), "(a private key)")
}
