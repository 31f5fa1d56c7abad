package docker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/reconcile"
)

// maxAccounts bounds the /etc/passwd and /etc/group that are read.
const maxAccounts = 1 << 20

// Owner finds the user and group that user stands for in a container, as the engine does when it starts one: a
// name or number, optionally with :GROUP. "" is the user the container runs as. A number that is not in the
// container's /etc/passwd has group 0. The container need not run.
func (e *Engine) Owner(ctx context.Context, container, user string) (reconcile.Owner, error) {
	if e.err != nil {
		return reconcile.Owner{}, e.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	if user == "" {
		c, err := e.cli.ContainerInspect(ctx, container)
		if err != nil {
			return reconcile.Owner{}, fmt.Errorf("user of container %s: %w", container, err)
		}
		if c.Config == nil || c.Config.User == "" {
			return reconcile.Owner{}, nil
		}
		user = c.Config.User
	}
	o, err := owner(user, func(p string) ([]byte, error) { return e.containerFile(ctx, container, p) })
	if err != nil {
		return reconcile.Owner{}, fmt.Errorf("user %q of container %s: %w", user, container, err)
	}
	return o, nil
}

// maxStarts bounds what is remembered of starts: a watch sees containers come and go for years.
const maxStarts = 1 << 12

// Started is when a container started last, or when it did once where that is not before since: so a watch does not ask in
// every pass.
func (e *Engine) Started(ctx context.Context, container string, since time.Time) (time.Time, error) {
	if e.err != nil {
		return time.Time{}, e.err
	}
	e.mu.Lock()
	once, asked := e.starts[container]
	e.mu.Unlock()
	if asked && !once.Before(since) {
		return once, nil
	}
	at, err := e.started(ctx, container)
	if err != nil {
		return time.Time{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.starts == nil || len(e.starts) == maxStarts {
		e.starts = map[string]time.Time{}
	}
	e.starts[container] = at
	return at, nil
}

func (e *Engine) started(ctx context.Context, container string) (time.Time, error) {
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	c, err := e.cli.ContainerInspect(ctx, container)
	if err != nil {
		return time.Time{}, fmt.Errorf("start of container %s: %w", container, err)
	}
	if c.ContainerJSONBase == nil || c.State == nil {
		return time.Time{}, fmt.Errorf("the engine says nothing about the state of container %s", container)
	}
	return time.Parse(time.RFC3339Nano, c.State.StartedAt)
}

// owner resolves USER[:GROUP] with the account files that read gives.
func owner(user string, read func(path string) ([]byte, error)) (reconcile.Owner, error) {
	user, group, grouped := strings.Cut(user, ":")
	uid, uidErr := strconv.Atoi(user)
	gid, gidErr := strconv.Atoi(group)
	if uidErr == nil && grouped && gidErr == nil {
		return reconcile.Owner{UID: uid, GID: gid}, nil
	}
	passwd, err := read("/etc/passwd")
	if err != nil {
		return reconcile.Owner{}, err
	}
	o := reconcile.Owner{UID: uid}
	if entry := account(passwd, user, 4); entry != nil {
		o = reconcile.Owner{UID: entry[0], GID: entry[1]}
	} else if uidErr != nil {
		return o, errors.New("no such user in its /etc/passwd")
	}
	if !grouped || group == "" {
		return o, nil
	}
	if gidErr == nil {
		o.GID = gid
		return o, nil
	}
	groups, err := read("/etc/group")
	if err != nil {
		return o, err
	}
	entry := account(groups, group, 3)
	if entry == nil {
		return o, fmt.Errorf("no group %q in its /etc/group", group)
	}
	o.GID = entry[0]
	return o, nil
}

// account finds a name or number in a passwd (4 fields: name, password, uid, gid) or group file (3 fields) and
// returns its numbers.
func account(data []byte, who string, fields int) []int {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < fields || f[0] != who && f[2] != who {
			continue
		}
		numbers := make([]int, 0, 2)
		for _, s := range f[2:fields] {
			n, err := strconv.Atoi(s)
			if err != nil {
				break
			}
			numbers = append(numbers, n)
		}
		if len(numbers) == fields-2 {
			return numbers
		}
	}
	return nil
}

// containerFile reads a small file out of a container that may never have run. An absent one is empty.
func (e *Engine) containerFile(ctx context.Context, container, name string) ([]byte, error) {
	f, err := e.fileIn(ctx, container, name, maxAccounts)
	return f.Data, err
}
