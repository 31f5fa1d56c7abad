package reload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/certwright/certwright/providers/command"
	"github.com/certwright/certwright/providers/mysql"
)

// mysql logs in to MySQL or MariaDB and sends it one statement, such as FLUSH SSL. Files that cannot be used are refused by
// the server, and the old ones stay. Connections that are open keep what they have.
func (t talk) mysql(ctx context.Context, statement string) error {
	seed, err := mysql.StartTLS(t.conn)
	if err != nil {
		return said(err)
	}
	conn, err := t.secure(ctx)
	if err != nil {
		return err
	}
	user := t.user
	if user == "" {
		user = "root"
	}
	session, err := mysql.Login(conn, mysql.Account{User: user, Password: t.password}, seed)
	var no *mysql.Refusal
	switch {
	case errors.As(err, &no) && no.Code == 1045 && t.env.Client == nil:
		return fmt.Errorf("it refused the user %s (no client certificate could be offered): set username and password of the preset", user)
	case errors.As(err, &no) && no.Code == 1045: // its words can hold more than the name
		return fmt.Errorf("it refused the user %s: set username and password of the preset", user)
	case err != nil:
		return said(err)
	}
	defer session.Quit()
	return t.Around.Do(statement, func() error { return said(session.Do(statement)) })
}

// said makes a server's words fit for an error of ours.
func said(err error) error {
	var no *mysql.Refusal
	if !errors.As(err, &no) {
		return err
	}
	words := command.First(maxSaid)
	_, _ = io.WriteString(words, strings.TrimSpace(no.Text))
	return fmt.Errorf("the server answered error %d: %s", no.Code, words)
}
