package wire

import (
	"errors"
	"fmt"
	"net"

	"github.com/certwright/certwright/providers/mysql"
	"github.com/certwright/certwright/reconcile"
)

// The errors of MySQL that are about one account, and the two that come once it is logged in (MySQL, "Server Error
// Message Reference"; MariaDB has the same numbers).
const (
	accessDenied   = 1045
	databaseDenied = 1044
	noDatabase     = 1049
)

// ErrLogin is the refusal of an account. It is one of the client's certificate only if another certificate is let in
// with the same account: an account that wants a password is refused in the same words.
var ErrLogin = errors.New("the probe needs a user who logs in without a password")

func startMySQL(conn net.Conn) error {
	_, err := mysql.StartTLS(conn)
	if errors.As(err, new(*mysql.Refusal)) {
		err = mysqlError(err) // such as "too many connections"
	}
	return err
}

// askMySQL logs in, without a password. The server looks at what an account demands of a certificate (REQUIRE X509, ISSUER,
// SUBJECT) after the password, and answers both with error 1045; a certificate of a CA it does not trust it refuses in the
// handshake.
func askMySQL(conn net.Conn, q Question) (reconcile.Answer, error) {
	session, err := mysql.Login(conn, mysql.Account{User: q.User, Database: q.Database}, nil)
	var no *mysql.Refusal
	switch {
	case err == nil:
		session.Quit()
		return reconcile.LetIn, nil
	case !errors.As(err, &no):
		return reconcile.NotAsked, err
	case no.Code == databaseDenied, no.Code == noDatabase:
		return reconcile.LetIn, nil
	case no.Code == accessDenied:
		return reconcile.Refused, fmt.Errorf("%w; %w", mysqlError(err), ErrLogin)
	}
	return reconcile.NotAsked, mysqlError(err)
}

// mysqlError makes the server's words fit for a report.
func mysqlError(err error) error { return errors.New(Printable(err.Error())) }
