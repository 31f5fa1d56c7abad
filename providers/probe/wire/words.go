package wire

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Alert returns the name of the TLS alert the server sent, "" when err is none.
func Alert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// Closed reports whether err means that the server ended the connection without a word.
func Closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Words says what went wrong on a connection so that a person can act on it.
func Words(err error) string {
	var header tls.RecordHeaderError
	switch alert := Alert(err); {
	case alert == "protocol version not supported":
		return "the server speaks no TLS 1.2 or newer"
	case alert == "unrecognized name":
		return "the server has no certificate for this name (alert: unrecognized name)"
	case alert != "":
		return "the server sent the alert: " + alert
	case errors.As(err, &header) && text(header.RecordHeader[:]):
		return "the server speaks plain text, not TLS"
	case errors.As(err, &header):
		return "the server answers with something that is not TLS"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server reset the connection"
	case Closed(err):
		return "the server closed the connection"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there"
	case strings.Contains(err.Error(), "invalid signature by the server certificate"):
		return "the server does not hold the key of the certificate it presents"
	case strings.Contains(err.Error(), "server selected unsupported protocol version"):
		return "the server speaks no TLS 1.2 or newer"
	}
	return Printable(err.Error())
}

// text reports whether the first bytes of an answer are characters and not a protocol's numbers.
func text(b []byte) bool {
	for _, c := range b {
		if (c < ' ' && c != '\r' && c != '\n' && c != '\t') || c > '~' {
			return false
		}
	}
	return true
}
