// Vault is a Vault server for tests: the core, the HTTP API and the TCP listener, with the engine and the auth methods that they
// need, and its memory as storage. The server's own command has all its engines, and is built from far more. As that does, it has
// the listener read its files again on HUP.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/command/server"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

var (
	engines = registry{"pki": pki.Factory}
	methods = registry{"approle": approle.Factory, "cert": cert.Factory, "jwt": jwt.Factory}
)

// registry is the plugins of a type that are built in.
type registry map[string]logical.Factory

// builtin implements the core's registry of all types.
type builtin struct{}

func (builtin) of(kind consts.PluginType) registry {
	switch kind {
	case consts.PluginTypeSecrets:
		return engines
	case consts.PluginTypeCredential:
		return methods
	}
	return nil
}

func (b builtin) Contains(name string, kind consts.PluginType) bool { return b.of(kind)[name] != nil }

func (b builtin) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	factory, ok := b.of(kind)[name]
	return func() (any, error) { return factory, nil }, ok
}

func (b builtin) Keys(kind consts.PluginType) (names []string) {
	for name := range b.of(kind) {
		names = append(names, name)
	}
	return names
}

func (b builtin) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func (builtin) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	listener := &configutil.Listener{Type: "tcp"}
	flag.StringVar(&listener.Address, "address", "127.0.0.1:8200", "HOST:PORT to listen at")
	flag.StringVar(&listener.TLSCertFile, "certificate", "", "the file of the server's certificate")
	flag.StringVar(&listener.TLSKeyFile, "key", "", "the file of its key")
	flag.StringVar(&listener.TLSClientCAFile, "clients", "", "the file of the CA whose clients are let in; else everybody is")
	flag.Parse()
	listener.TLSRequireAndVerifyClientCert = listener.TLSClientCAFile != ""
	if err := serve(listener); err != nil {
		log.Fatal(err)
	}
}

func serve(listener *configutil.Listener) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage, BuiltinRegistry: builtin{}, LogicalBackends: engines, CredentialBackends: methods,
		DisableMlock: true, RedirectAddr: "https://" + listener.Address, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("core: %w", err)
	}
	tcp, _, reload, err := server.NewListener(listener, nil, nil)
	if err != nil {
		return fmt.Errorf("listener: %w", err)
	}
	api := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: listener})}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	go func() {
		for <-signals == syscall.SIGHUP {
			if err := reload(); err != nil {
				log.Print(err)
			}
		}
		_ = api.Close()
	}()
	if err := api.Serve(tcp); err != http.ErrServerClosed {
		return err
	}
	return nil
}
