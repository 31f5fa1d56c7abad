package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// loggedIn is what every auth method and the renewal of a token answer.
type loggedIn struct {
	Auth struct {
		Token     string `json:"client_token"`
		Seconds   int64  `json:"lease_duration"`
		Renewable bool   `json:"renewable"`
	} `json:"auth"`
}

func (a loggedIn) lease(now time.Time) (lease, error) {
	if a.Auth.Token == "" {
		return lease{}, errors.New("the answer to the login holds no token")
	}
	return leased(a.Auth.Token, a.Auth.Seconds, a.Auth.Seconds, a.Auth.Renewable, now), nil
}

// leased is a token that lives for so many seconds, of which so many are left. Without any left it has no end.
func leased(token string, life, left int64, renewable bool, now time.Time) lease {
	l := lease{token: token, renewable: renewable, life: time.Duration(life) * time.Second}
	if left > 0 {
		l.end = now.Add(time.Duration(left) * time.Second)
	}
	return l
}

// login gets a token in the way that the spec says.
func (c *CA) login(ctx context.Context, to client) (lease, error) {
	var path string
	question := map[string]any{}
	secret := func(from *spec.Source, key string) error {
		value, err := c.Secret(*from)
		if err != nil {
			return err
		}
		to.hidden = string(value)
		question[key] = to.hidden
		return nil
	}
	var err error
	switch ca := to.ca; {
	case ca.Token != nil:
		return c.given(ctx, to)
	case ca.AppRole != nil:
		path, question["role_id"] = ca.AppRole.Mount, ca.AppRole.RoleID
		err = secret(ca.AppRole.SecretID, "secret_id")
	case ca.JWT != nil:
		path, question["role"] = ca.JWT.Mount, ca.JWT.Role
		err = secret(ca.JWT.Token, "jwt")
	default:
		path, question["name"] = ca.Certificate.Mount, ca.Certificate.Role
	}
	if err != nil {
		return lease{}, fmt.Errorf("log in to %s: %w", to.ca.Address, err)
	}
	path = "auth/" + path + "/login"
	var answer loggedIn
	if err := to.post(ctx, path, question, &answer); err != nil {
		return lease{}, fmt.Errorf("log in by %s: %w", path, err)
	}
	return answer.lease(c.Now())
}

// given is the token that the spec gives, with what the server says of it. One that may not look at itself is used as it is:
// nobody knows when it ends.
func (c *CA) given(ctx context.Context, to client) (lease, error) {
	value, err := c.Secret(*to.ca.Token)
	if err != nil {
		return lease{}, fmt.Errorf("the token of %s: %w", to.ca.Address, err)
	}
	token := string(value)
	var answer struct {
		Data struct {
			Life      int64 `json:"creation_ttl"`
			Left      int64 `json:"ttl"`
			Renewable bool  `json:"renewable"`
		} `json:"data"`
	}
	err = to.as(token).get(ctx, "auth/token/lookup-self", &answer)
	if err != nil && !errors.Is(err, reconcile.ErrRefused) {
		return lease{}, err
	}
	return leased(token, answer.Data.Life, answer.Data.Left, answer.Data.Renewable, c.Now()), nil
}
