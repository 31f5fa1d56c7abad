// Package localca is certwright's own CA: it makes CAs and signs leaves with crypto/x509, takes in CAs and
// certificates that were made elsewhere, and proves that what it hands out belongs together.
//
// A CA is its key. Every key has a generation with its own subject, so that the wire shows which one signed.
// Nothing is written and nothing is remembered but parsed issuers, which are found by their content alone. No
// method returns a certificate that was not read back and compared with what was asked for.
package localca

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"sync"
	"time"

	"github.com/certwright/certwright/reconcile"
	"github.com/certwright/certwright/spec"
)

// CA implements reconcile.Authority. Its zero value works for everything but encrypted keys. It may be used by
// many goroutines at once, and must not be copied.
type CA struct {
	// Rand is where serial numbers come from; nil is crypto/rand. Keys and signatures always use the system's
	// own source, whatever is set here.
	Rand io.Reader
	// Passphrase resolves where the passphrase of a brought-along key is kept. It gives the passphrase alone,
	// without the end of its line. It is called for encrypted keys only.
	Passphrase func(spec.Source) ([]byte, error)
	// Now tells Bring and Read what has expired; nil is time.Now. Everything else is given the time.
	Now func() time.Time

	mu      sync.Mutex
	issuers map[[sha256.Size]byte]*issuer
}

var _ reconcile.Authority = (*CA)(nil)

// Check proves that g can sign at that moment: its key opens and belongs to its certificate, the certificate is
// a CA's and leads to its root, none of them has expired, and what the key signs verifies with the certificate.
func (c *CA) Check(g reconcile.Generation, now time.Time) error {
	by, err := openIssuer(g)
	if err != nil {
		return err
	}
	if err := by.validAt(now); err != nil {
		return err
	}
	return by.testSign()
}

// keptIssuers bounds how many parsed issuers are kept. There are about two for each CA of a spec.
const keptIssuers = 256

// open is openIssuer, once for each content: parsing an issuer and verifying its chain costs as much as signing
// a leaf, and a pass may sign a thousand by the same one. What is kept cannot be out of date, as the whole
// content is its name.
func (c *CA) open(g reconcile.Generation) (*issuer, error) {
	sum := sha256.New()
	for _, part := range append([][]byte{[]byte(g.KeyID), g.Key.PKCS8(), g.Certificate}, g.Chain...) {
		_ = binary.Write(sum, binary.BigEndian, uint64(len(part)))
		sum.Write(part)
	}
	name := [sha256.Size]byte(sum.Sum(nil))

	c.mu.Lock()
	defer c.mu.Unlock()
	if by, ok := c.issuers[name]; ok {
		return by, nil
	}
	by, err := openIssuer(g)
	if err != nil {
		return nil, err
	}
	if c.issuers == nil || len(c.issuers) >= keptIssuers {
		c.issuers = map[[sha256.Size]byte]*issuer{}
	}
	c.issuers[name] = by
	return by, nil
}

// serial gives 127 random bits: positive, and within the 20 octets of RFC 5280 section 4.1.2.2.
func (c *CA) serial() (*big.Int, error) {
	source := c.Rand
	if source == nil {
		source = rand.Reader
	}
	var b [16]byte
	if _, err := io.ReadFull(source, b[:]); err != nil {
		return nil, fmt.Errorf("no random serial number: %w", err)
	}
	b[0] &= 0x7f
	n := new(big.Int).SetBytes(b[:])
	if n.Sign() == 0 {
		return nil, fmt.Errorf("the random serial number is zero: the source of randomness is broken")
	}
	return n, nil
}

func (c *CA) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
