package formats

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certwright/certwright/reconcile"
)

// The labels of RFC 7468 sections 5 and 10.
const (
	certificateLabel = "CERTIFICATE"
	privateKeyLabel  = "PRIVATE KEY"
)

func encodePEM(h reconcile.Holding) []byte {
	var b bytes.Buffer
	key := func() {
		if der := h.Key.PKCS8(); der != nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: privateKeyLabel, Bytes: der}))
		}
	}
	if h.KeyFirst {
		key()
	}
	for _, der := range h.Certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certificateLabel, Bytes: der}))
	}
	if !h.KeyFirst {
		key()
	}
	return b.Bytes()
}

// decodePEM reads all blocks of a file. Only blank lines and lines that begin with # may stand between them.
func decodePEM(data []byte) (reconcile.Holding, error) {
	var h reconcile.Holding
	for n := 1; ; n++ {
		data = skipComments(data)
		if len(data) == 0 {
			return h, nil
		}
		block, rest, err := nextBlock(data)
		if err != nil {
			return reconcile.Holding{}, fmt.Errorf("PEM block %d: %w", n, err)
		}
		data = rest
		switch {
		case block.Type == certificateLabel && h.Key.PKCS8() != nil && len(h.Certificates) > 0 && !h.KeyFirst:
			return reconcile.Holding{}, fmt.Errorf("PEM block %d: a certificate after the private key", n)
		case block.Type == certificateLabel:
			h.Certificates = append(h.Certificates, block.Bytes)
		case block.Type == privateKeyLabel && h.Key.PKCS8() == nil:
			h.Key = reconcile.NewPrivateKey(block.Bytes)
			h.KeyFirst = len(h.Certificates) == 0 && len(skipComments(data)) > 0
		case block.Type == privateKeyLabel:
			return reconcile.Holding{}, fmt.Errorf("PEM block %d: a second private key", n)
		default:
			return reconcile.Holding{}, fmt.Errorf("PEM block %d: neither a certificate nor a PKCS#8 private key", n)
		}
	}
}

func skipComments(data []byte) []byte {
	for {
		data = bytes.TrimLeft(data, " \t\r\n")
		if len(data) == 0 || data[0] != '#' {
			return data
		}
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
}

var (
	beginMark = []byte("-----BEGIN ")
	endOfLine = []byte("\n")
)

// nextBlock reads the block data begins with. pem.Decode alone would pass over what it cannot read, and a torn
// block in front of a whole one would go unseen.
func nextBlock(data []byte) (*pem.Block, []byte, error) {
	if !bytes.HasPrefix(data, beginMark) {
		return nil, nil, errors.New("something that is no PEM stands before it")
	}
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, nil, errors.New("it is cut off or damaged")
	}
	text := data[:len(data)-len(rest)]
	switch {
	case bytes.Count(text, beginMark) != 1:
		return nil, nil, errors.New("it is cut off by another")
	case !bytes.HasSuffix(text, endOfLine):
		return nil, nil, errors.New("its last line is cut off")
	case len(block.Headers) > 0:
		return nil, nil, errors.New("it has headers, as encrypted keys have; only plain blocks are read")
	case len(block.Bytes) == 0:
		return nil, nil, errors.New("it is empty")
	}
	return block, rest, nil
}

// isCertificate reports whether der is one certificate as far as its outermost ASN.1 shows (RFC 5280 section 4.1).
func isCertificate(der []byte) bool {
	file, body := cryptobyte.String(der), cryptobyte.String(nil)
	return file.ReadASN1(&body, asn1.SEQUENCE) && file.Empty() &&
		body.SkipASN1(asn1.SEQUENCE) && body.SkipASN1(asn1.SEQUENCE) && body.SkipASN1(asn1.BIT_STRING) && body.Empty()
}

// isPKCS8 reports whether der is one private key as far as its outermost ASN.1 shows (RFC 5958 section 2).
func isPKCS8(der []byte) bool {
	file, body := cryptobyte.String(der), cryptobyte.String(nil)
	return file.ReadASN1(&body, asn1.SEQUENCE) && file.Empty() &&
		body.SkipASN1(asn1.INTEGER) && body.SkipASN1(asn1.SEQUENCE) && body.SkipASN1(asn1.OCTET_STRING)
}
