package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"sync/atomic"
)

// server is where the files are and what to do when they change.
type server struct {
	cert, key, ca string
	clientAuth    string
	reload        string
	firstSeen     string
	serving       atomic.Pointer[tls.Config]
}

// start checks the flags and reads the files for the first time.
func (s *server) start() error {
	switch s.reload {
	case "hot", "hup", "restart", "lying", "http":
	default:
		return fmt.Errorf("-reload %q: want hot, hup, restart, lying or http", s.reload)
	}
	config, err := s.read()
	if err != nil {
		return err
	}
	if s.firstSeen != "" {
		if err := s.crashOnNew(config.Certificates[0].Certificate[0]); err != nil {
			return err
		}
	}
	s.serving.Store(config)
	return nil
}

// config gives every handshake what the server serves: with -reload hot, what the files hold at that moment. The two
// of a pair are read one after the other, and may be of two generations if both are swapped in between: it looks again.
func (s *server) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	if s.reload != "hot" {
		return s.serving.Load(), nil
	}
	config, err := s.read()
	if err != nil {
		config, err = s.read()
	}
	return config, err
}

// hup takes a SIGHUP. Files that do not fit together change nothing, as in nginx and PostgreSQL.
func (s *server) hup() {
	if s.reload == "lying" {
		log.Print("reloaded")
		return
	}
	config, err := s.read()
	if err != nil {
		log.Printf("not reloaded: %v", err)
		return
	}
	s.serving.Store(config)
	log.Print("reloaded")
}

// reloading answers /reload with -reload http, and leaves everything else to next.
func (s *server) reloading(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.reload != "http" || r.URL.Path != "/reload":
			next(w, r)
			return
		case r.Method != http.MethodPost && r.Method != http.MethodPut:
			http.Error(w, "ask with POST or PUT", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1000))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		config, err := s.read()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s.serving.Store(config)
		log.Printf("reloaded by %s %q", r.Method, body)
	}
}

func (s *server) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	switch s.clientAuth {
	case "none":
		return config, nil
	case "optional":
		config.ClientAuth = tls.VerifyClientCertIfGiven
	case "required":
		config.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return nil, fmt.Errorf("-client-auth %q: want none, optional or required", s.clientAuth)
	}
	data, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: no certificate in it", s.ca)
	}
	return config, nil
}

// crashOnNew refuses every certificate but the first it ever saw.
func (s *server) crashOnNew(leaf []byte) error {
	sum := sha256.Sum256(leaf)
	now := hex.EncodeToString(sum[:])
	first, err := os.ReadFile(s.firstSeen)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.WriteFile(s.firstSeen, []byte(now), 0o600)
	case err != nil:
		return err
	case string(first) != now:
		return errors.New("this certificate is not the first: going down")
	}
	return nil
}
