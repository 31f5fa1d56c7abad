package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/certwright/certwright/spec"
)

// A provisioner's key is decrypted once for what is issued within this time: that takes a tenth of a second.
const keyKept = time.Minute

// maxPages bounds how long a CA may go on to list provisioners, a hundred a page.
const maxPages = 100

// What step encrypts a provisioner's key with, and what else RFC 7518 has of that kind.
var (
	keyEncryptions     = []jose.KeyAlgorithm{jose.PBES2_HS256_A128KW, jose.PBES2_HS384_A192KW, jose.PBES2_HS512_A256KW}
	contentEncryptions = []jose.ContentEncryption{jose.A256GCM, jose.A192GCM, jose.A128GCM}
)

// opened is a provisioner whose key was decrypted.
type opened struct {
	mu    sync.Mutex
	by    *provisioner
	until time.Time
}

// provisioner returns the one that the spec names.
func (c *CA) provisioner(ctx context.Context, to client, ca spec.CA) (*provisioner, error) {
	if ca.Step.Password == nil {
		return birth(ca.Step)
	}
	c.mu.Lock()
	if c.keys == nil {
		c.keys = map[string]*opened{}
	}
	if c.keys[ca.Name] == nil {
		c.keys[ca.Name] = &opened{}
	}
	o := c.keys[ca.Name]
	c.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := c.Now(); o.by == nil || now.After(o.until) {
		by, err := c.open(ctx, to, ca.Step)
		if err != nil {
			return nil, err
		}
		o.by, o.until = by, now.Add(keyKept)
	}
	return o.by, nil
}

// open fetches the key of a JWK provisioner, and decrypts it.
func (c *CA) open(ctx context.Context, to client, ca *spec.StepCA) (*provisioner, error) {
	encrypted, err := to.encryptedKey(ctx, ca.Provisioner)
	if err != nil {
		return nil, err
	}
	password, err := c.Secret(*ca.Password)
	if err != nil {
		return nil, fmt.Errorf("the password of the provisioner %q: %w", ca.Provisioner, err)
	}
	jwe, err := jose.ParseEncryptedCompact(encrypted, keyEncryptions, contentEncryptions)
	if err != nil {
		return nil, fmt.Errorf("the key of the provisioner %q: %w", ca.Provisioner, err)
	}
	plain, err := jwe.Decrypt(password)
	if err != nil {
		return nil, fmt.Errorf("%s: the password does not decrypt the key of the provisioner %q", ca.Password.Pos, ca.Provisioner)
	}
	var key jose.JSONWebKey
	if json.Unmarshal(plain, &key) != nil || key.IsPublic() || !key.Valid() {
		return nil, fmt.Errorf("the key of the provisioner %q is no private JWK", ca.Provisioner)
	}
	with, err := algorithm(key.Key)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: with, Key: key}, nil)
	if err != nil {
		return nil, err
	}
	return &provisioner{ca: ca, signer: signer}, nil
}

// encryptedKey looks a JWK provisioner up among those of the CA.
func (c client) encryptedKey(ctx context.Context, name string) (string, error) {
	cursor := ""
	for range maxPages {
		var page struct {
			Provisioners []struct {
				Type, Name, EncryptedKey string
			}
			NextCursor string
		}
		if err := c.get(ctx, "/provisioners", "/provisioners?limit=100&cursor="+url.QueryEscape(cursor), &page); err != nil {
			return "", err
		}
		for _, p := range page.Provisioners {
			switch {
			case p.Name != name:
			case p.Type != "JWK":
				return "", fmt.Errorf("the provisioner %q is of the type %q, and a password is for one of the type JWK", name, p.Type)
			case p.EncryptedKey == "":
				return "", fmt.Errorf("the CA does not give out the key of the provisioner %q", name)
			default:
				return p.EncryptedKey, nil
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return "", fmt.Errorf("the CA has no provisioner %q", name)
		}
	}
	return "", errors.New("the CA lists provisioners without end")
}
