package acmeca

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/certwright/certwright/spec"
)

const (
	recordTTL     = time.Minute      // nobody needs a record after its proof
	updateTimeout = 10 * time.Second // of one request
	showTimeout   = time.Minute      // until the server has what it took
	// clockSkew is how far apart the clocks may be (RFC 8945 section 10 recommends five minutes).
	clockSkew = 5 * time.Minute
)

// update has the zone's name server set a record (RFC 8555 section 8.4) by an update (RFC 2136) that a key signs (RFC 8945).
// It adds one value and takes that one away: others of the name stay.
type update struct {
	*signing
	at spec.DNSUpdate
}

func (u update) set(ctx context.Context, c acme.Challenge) error {
	err := u.Around.Do("set a DNS record of CA "+u.ca.Name, func() error {
		return u.change(ctx, func(m *dns.Msg) { m.Insert([]dns.RR{record(c)}) })
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, showTimeout)
	defer cancel()
	for {
		if shown, err := u.shows(ctx, c); shown || err != nil {
			return err
		}
		if err := wait(ctx, time.Second); err != nil {
			return fmt.Errorf("%s took %s and does not answer with it: %w", u.at.Server, c.DNS01TXTRecordName(), err)
		}
	}
}

func (u update) unset(ctx context.Context, c acme.Challenge) error {
	return u.Around.Do("unset a DNS record of CA "+u.ca.Name, func() error {
		return u.change(ctx, func(m *dns.Msg) { m.Remove([]dns.RR{record(c)}) })
	})
}

func record(c acme.Challenge) *dns.TXT {
	return &dns.TXT{
		Hdr: dns.RR_Header{Name: dns.Fqdn(c.DNS01TXTRecordName()), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(recordTTL / time.Second)},
		Txt: []string{c.DNS01KeyAuthorization()},
	}
}

func (u update) change(ctx context.Context, what func(*dns.Msg)) error {
	m := new(dns.Msg).SetUpdate(dns.Fqdn(u.at.Zone))
	what(m)
	r, err := u.ask(ctx, m)
	switch {
	case err != nil:
		return err
	case r.Rcode == dns.RcodeRefused:
		return fmt.Errorf("%s refuses to change %s: let the key %s change TXT records there (BIND: update-policy)", u.at.Server, u.at.Zone, u.at.Key)
	case r.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("%s does not change %s: %s", u.at.Server, u.at.Zone, dns.RcodeToString[r.Rcode])
	}
	return nil
}

// shows reports whether the server answers with the record.
func (u update) shows(ctx context.Context, c acme.Challenge) (bool, error) {
	want := record(c)
	r, err := u.ask(ctx, new(dns.Msg).SetQuestion(want.Hdr.Name, dns.TypeTXT))
	if err != nil {
		return false, err
	}
	if r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError {
		return false, fmt.Errorf("%s took %s and does not answer with it: %s", u.at.Server, want.Hdr.Name, dns.RcodeToString[r.Rcode])
	}
	return slices.ContainsFunc(r.Answer, func(rr dns.RR) bool {
		got, ok := rr.(*dns.TXT)
		return ok && slices.Equal(got.Txt, want.Txt)
	}), nil
}

// ask sends a message that the key signs. The answer is signed by it too, or it is an error.
func (u update) ask(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	secret, err := u.Secret(*u.at.Secret)
	if err != nil {
		return nil, err
	}
	if _, err := base64.StdEncoding.DecodeString(string(secret)); err != nil {
		return nil, fmt.Errorf("%s: the secret of the key %s is not base64", u.at.Secret.Pos, u.at.Key)
	}
	key := dns.Fqdn(u.at.Key)
	m.SetTsig(key, dns.Fqdn(string(u.at.Algorithm)), uint16(clockSkew/time.Second), time.Now().Unix())
	client := dns.Client{Net: "tcp", Timeout: updateTimeout, TsigSecret: map[string]string{key: string(secret)}}
	r, _, err := client.ExchangeContext(ctx, m, u.at.Server)
	if r != nil && r.IsTsig() != nil {
		// What is wrong with a signature is said without one, or with one that is wrong here as well.
		switch r.IsTsig().Error {
		case dns.RcodeBadKey:
			return nil, fmt.Errorf("%s knows no key %s for %s (BADKEY): name it, and its algorithm, as they are there", u.at.Server, u.at.Key, u.at.Algorithm)
		case dns.RcodeBadSig:
			return nil, fmt.Errorf("%s has another secret for the key %s (BADSIG)", u.at.Server, u.at.Key)
		case dns.RcodeBadTime:
			return nil, fmt.Errorf("the clock of %s is more than %s from this one (BADTIME): set them right", u.at.Server, clockSkew)
		}
	}
	switch {
	case errors.Is(err, dns.ErrAuth): // what it says of NOTAUTH, signed or not
		return nil, fmt.Errorf("%s has no zone %s of its own (NOTAUTH): name the zone as it is there, and its primary server", u.at.Server, u.at.Zone)
	case err != nil:
		return nil, fmt.Errorf("name server %s: %w", u.at.Server, err)
	case r.IsTsig() == nil:
		return nil, fmt.Errorf("name server %s: %w (%s)", u.at.Server, errUnsigned, dns.RcodeToString[r.Rcode])
	}
	return r, nil
}

// errUnsigned: anybody may have answered (RFC 8945 section 5.3).
var errUnsigned = errors.New("the answer is not signed")
