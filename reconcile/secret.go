package reconcile

import (
	"fmt"
	"io"
	"log/slog"
)

// PrivateKey is a private key as PKCS#8 DER (RFC 5958). However it is printed, logged or encoded, it says
// "[redacted]"; only PKCS8 gives the bytes. Where it stands in a field that is not exported, package fmt asks no method
// and goes through the value: there it finds a function, which it cannot look into.
type PrivateKey struct{ der func() []byte }

// NewPrivateKey wraps PKCS#8 DER. The bytes are kept, not copied.
func NewPrivateKey(pkcs8 []byte) PrivateKey { return PrivateKey{func() []byte { return pkcs8 }} }

// PKCS8 returns the key's DER; nil when there is none. The caller must not change it.
func (k PrivateKey) PKCS8() []byte {
	if k.der == nil {
		return nil
	}
	return k.der()
}

const redacted = "[redacted]"

func (k PrivateKey) String() string               { return redacted }
func (k PrivateKey) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, redacted) }
func (k PrivateKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (k PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
