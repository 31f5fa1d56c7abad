// Command tlsload keeps connecting to a server until it is ended, and prints every second how many connections it made
// and how many of them failed, and why. It looks the server's name up for each. It is for tests, in a container.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/certwright/certwright/providers/probe/load"
)

func main() {
	address := flag.String("address", "", "`NAME:PORT` of the server")
	name := flag.String("name", "", "the `name` its certificate has to hold")
	folder := flag.String("files", "/run/secrets", "`directory` of ca.pem, cert.pem and key.pem")
	rate := flag.Int("rate", 100, "connections a second")
	flag.Parse()
	config, err := files(*name, *folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlsload:", err)
		os.Exit(1)
	}
	run(load.Config{
		Dial:     func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", *address) },
		Protocol: "tls", TLS: config, RatePerSecond: *rate, Clients: 8, Timeout: 10 * time.Second,
	})
}

// files is a client with the certificate in a folder that trusts the ca.pem there.
func files(name, folder string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(folder+"/cert.pem", folder+"/key.pem")
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(folder + "/ca.pem")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	return &tls.Config{ServerName: name, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

func run(config load.Config) {
	for made, failed := 0, 0; ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		ledger := load.Run(ctx, config)
		cancel()
		sum := ledger.Total()
		made, failed = made+sum.OK+sum.Failed, failed+sum.Failed
		if sum.Failed > 0 {
			fmt.Println(ledger)
		}
		fmt.Printf("made %d failed %d\n", made, failed)
	}
}
