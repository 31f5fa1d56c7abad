package acmeca

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// serverName is what the server asks for: an address has no name but that of its reverse record (RFC 8738 section 6).
func serverName(id acme.Identifier) string {
	addr, err := netip.ParseAddr(id.Value)
	if err != nil {
		return id.Value
	}
	var labels []string
	if addr.Is4() {
		for _, b := range addr.AsSlice() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, b := range addr.AsSlice() {
		labels = append(labels, strconv.FormatUint(uint64(b>>4), 16), strconv.FormatUint(uint64(b&15), 16))
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}

// serveTLS speaks no other protocol than the challenge's, and nothing over it.
func (l *listening) serveTLS(ln net.Listener) (end func() error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 8737 section 3
		NextProtos: []string{acmez.ACMETLS1Protocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if answer, ok := l.asked(hello.ServerName).(*tls.Certificate); ok && slices.Contains(hello.SupportedProtos, acmez.ACMETLS1Protocol) {
				return answer, nil
			}
			return nil, errors.New("nothing is to be proved of that name")
		},
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				_ = tls.Server(conn, config).Handshake()
			}()
		}
	}()
	return ln.Close
}
