package docker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/swarm"

	"github.com/certwright/certwright/reconcile"
)

// swarmRoot is the common name of every root that Swarm makes itself (swarmkit, ca.rootCN).
const swarmRoot = "swarm-ca"

// SwarmCA asks the Swarm about its CA and its nodes in two requests. The answer to the first has join tokens in it; they
// go no further than here.
func (e *Engine) SwarmCA(ctx context.Context) reconcile.SwarmCA {
	if e.err != nil {
		return reconcile.SwarmCA{Err: e.err.Error()}
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	is, err := e.cli.SwarmInspect(ctx)
	if err != nil {
		return reconcile.SwarmCA{Err: e.noManager(err)}
	}
	nodes, err := e.cli.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return reconcile.SwarmCA{Err: e.noManager(err)}
	}
	root, err := firstCertificate(is.TLSInfo.TrustRoot)
	if err != nil {
		return reconcile.SwarmCA{Err: fmt.Sprintf("engine %s: the root of its Swarm: %v", e.host, err)}
	}
	ca := reconcile.SwarmCA{
		Root: fingerprint(root.Raw), NotAfter: root.NotAfter, Certificate: root.Raw, Issuer: issuer(is.TLSInfo), Lifetime: is.Spec.CAConfig.NodeCertExpiry,
		Autolock: is.Spec.EncryptionConfig.AutoLockManagers, Rotating: is.RootRotationInProgress, Forced: is.Spec.CAConfig.ForceRotate, Labels: is.Spec.Labels,
	}
	for _, x := range is.Spec.CAConfig.ExternalCAs {
		with := ca.Root // which is meant where it says nothing (swarmkit, getNormalizedExtCAs)
		if c, err := firstCertificate(x.CACert); err == nil {
			with = fingerprint(c.Raw)
		}
		ca.External = append(ca.External, reconcile.ExternalCA{URL: shown(x.URL), Root: with})
	}
	if len(ca.Signers()) == 0 && root.Subject.CommonName != swarmRoot {
		ca.Foreign = "its root was given to it, and Swarm would replace it by one of its own"
	}
	for _, n := range nodes {
		x := reconcile.SwarmNode{
			Name: cmp.Or(n.Description.Hostname, n.ID), State: string(n.Status.State), Issuer: issuer(n.Description.TLSInfo),
		}
		if n.ManagerStatus != nil {
			x.Address = n.ManagerStatus.Addr
		}
		if trusted, err := firstCertificate(n.Description.TLSInfo.TrustRoot); err == nil {
			x.Root = fingerprint(trusted.Raw)
		}
		ca.Nodes = append(ca.Nodes, x)
	}
	slices.SortFunc(ca.Nodes, func(a, b reconcile.SwarmNode) int { return strings.Compare(a.Name, b.Name) })
	return ca
}

// shown is an address without the password that whoever gave it to the Swarm may have put there.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is none"
	}
	return u.Redacted()
}

func firstCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("it is no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// rootOf is the fingerprint of the root that is trusted, or "".
func rootOf(t swarm.TLSInfo) string {
	c, err := firstCertificate(t.TrustRoot)
	if err != nil {
		return ""
	}
	return fingerprint(c.Raw)
}

// issuer stands for a name and a key that sign, or is "".
func issuer(t swarm.TLSInfo) string {
	if len(t.CertIssuerSubject) == 0 || len(t.CertIssuerPublicKey) == 0 {
		return ""
	}
	return reconcile.IssuerOf(t.CertIssuerSubject, t.CertIssuerPublicKey)
}

// UpdateSwarm changes the CA's part of the Swarm's spec. That is read first and updated under the version that was read,
// so that nobody's change is lost and nobody's rotation is repeated.
func (e *Engine) UpdateSwarm(ctx context.Context, u reconcile.SwarmUpdate) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := limited(ctx, answerTimeout)
	defer cancel()
	is, err := e.cli.SwarmInspect(ctx)
	if err != nil {
		return errors.New(e.noManager(err))
	}
	switch {
	case is.Spec.CAConfig.ForceRotate != u.Forced || is.RootRotationInProgress && !u.Rotating:
		return fmt.Errorf("nothing was changed: somebody else has begun to rotate the Swarm's root: %w", reconcile.ErrChanged)
	case rootOf(is.TLSInfo) != u.Root:
		return fmt.Errorf("nothing was changed: the Swarm's root is another one by now: %w", reconcile.ErrChanged)
	case !is.RootRotationInProgress && u.Rotating:
		return fmt.Errorf("nothing was changed: the Swarm's root is not being rotated any more: %w", reconcile.ErrChanged)
	}
	changed := is.Spec
	changed.Labels = maps.Clone(changed.Labels)
	if changed.Labels == nil {
		changed.Labels = map[string]string{}
	}
	maps.Copy(changed.Labels, u.Labels)
	changed.CAConfig.NodeCertExpiry = cmp.Or(u.Lifetime, changed.CAConfig.NodeCertExpiry)
	switch ca := &changed.CAConfig; {
	case u.Rotate:
		// No certificate is named, since none is shown. An external CA stays, as it has to sign the next root too.
		ca.ForceRotate++
	case u.External != nil:
		root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.External.Root}))
		ca.SigningCACert = root
		ca.ExternalCAs = []*swarm.ExternalCA{{Protocol: swarm.ExternalCAProtocolCFSSL, URL: u.External.URL, CACert: root}}
	}
	err = e.o.Around.Do("POST /swarm/update", func() error {
		return e.cli.SwarmUpdate(ctx, is.Version, changed, swarm.UpdateFlags{})
	})
	if outOfSequence(err) {
		return fmt.Errorf("nothing was changed: %w: %w", err, reconcile.ErrChanged)
	}
	return err
}
