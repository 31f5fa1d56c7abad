// Command tlsserver serves "ok" over HTTPS and treats a new certificate the way it is told: the servers that no
// package holds, for tests. It is one static binary, the whole of the tlsserver image.
//
// Over HTTPS on -listen every path answers "ok" and the client's common name. Over plain HTTP on -health, /health
// answers 200 when the server is up. With -check URL it is its own health check. With -reload http both answer
// /reload.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var s server
	flag.StringVar(&s.cert, "cert", "/certs/cert.pem", "certificate and chain, `PEM`")
	flag.StringVar(&s.key, "key", "/certs/key.pem", "private key, `PEM`")
	flag.StringVar(&s.ca, "ca", "/certs/ca.pem", "CAs of client certificates, `PEM`; read only with -client-auth")
	flag.StringVar(&s.clientAuth, "client-auth", "none", "none, optional or required")
	flag.StringVar(&s.reload, "reload", "restart", "hot: read per handshake; hup: read on SIGHUP; restart: read once, SIGHUP kills; lying: take SIGHUP, keep the old; http: read on POST or PUT /reload")
	flag.StringVar(&s.firstSeen, "crash-on-new", "", "remember the first certificate in `FILE` and exit with 1 when started with another")
	listen := flag.String("listen", ":8443", "`address` of HTTPS")
	health := flag.String("health", ":8080", "`address` of plain HTTP for health checks")
	slow := flag.Duration("slow-health", 0, "answer 503 to health checks this long after the start")
	check := flag.String("check", "", "only ask `URL`: exit with 0 if it answers 200, else with 1")
	flag.Parse()
	log.SetFlags(0)
	if *check != "" {
		os.Exit(ask(*check))
	}
	log.Fatal(s.run(*listen, *health, *slow))
}

// run serves until something breaks.
func (s *server) run(listen, health string, slow time.Duration) error {
	if err := s.start(); err != nil {
		return err
	}
	if s.reload == "hup" || s.reload == "lying" {
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		go func() {
			for range hup {
				s.hup()
			}
		}()
	}
	ready := time.Now().Add(slow)
	ended := make(chan error, 2)
	go func() {
		ended <- http.ListenAndServe(health, s.reloading(func(w http.ResponseWriter, _ *http.Request) {
			if time.Now().Before(ready) {
				http.Error(w, "starting", http.StatusServiceUnavailable)
			}
		}))
	}()
	go func() {
		https := http.Server{Addr: listen, Handler: s.reloading(answer), TLSConfig: &tls.Config{GetConfigForClient: s.config}}
		ended <- https.ListenAndServeTLS("", "")
	}()
	return <-ended
}

func answer(w http.ResponseWriter, r *http.Request) {
	if peers := r.TLS.PeerCertificates; len(peers) > 0 {
		fmt.Fprintf(w, "ok %s\n", peers[0].Subject.CommonName)
		return
	}
	fmt.Fprintln(w, "ok")
}

// ask returns the exit code of -check.
func ask(url string) int {
	client := http.Client{Timeout: 3 * time.Second}
	reply, err := client.Get(url)
	if err != nil {
		log.Print(err)
		return 1
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		_, _ = io.Copy(os.Stderr, io.LimitReader(reply.Body, 200))
		return 1
	}
	return 0
}
