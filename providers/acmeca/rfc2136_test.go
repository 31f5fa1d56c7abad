package acmeca

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	"github.com/miekg/dns"

	"github.com/certwright/certwright/spec"
)

const tsigSecret = "bm90IHRoaXMgb25lLCBhbm90aGVyIG9uZQ=="

// nameServer answers what a test says, to those who sign. It keeps what it was asked.
type nameServer struct {
	answer func(asked, answer *dns.Msg)

	mu    sync.Mutex
	asked []*dns.Msg
}

func (n *nameServer) ServeDNS(w dns.ResponseWriter, asked *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, asked)
	r := new(dns.Msg).SetReply(asked)
	if w.TsigStatus() != nil {
		r.Rcode = dns.RcodeServerFailure
	}
	r.SetTsig("acme.", dns.HmacSHA256, 300, time.Now().Unix())
	n.answer(asked, r)
	_ = w.WriteMsg(r)
}

// updating is how names are proved at that server.
func updating(t *testing.T, n *nameServer) update {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{Listener: ln, Handler: n, TsigSecret: map[string]string{"acme.": tsigSecret, "other.": tsigSecret}, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	go func() { _ = srv.ActivateAndServe() }()
	t.Cleanup(func() { _ = srv.Shutdown() })
	secret := func(spec.Source) ([]byte, error) { return []byte(tsigSecret), nil }
	return update{&signing{CA: &CA{Secret: secret}}, spec.DNSUpdate{
		Server: ln.Addr().String(), Zone: "shop.test", Key: "acme", Algorithm: spec.TSIGAlgorithms[0], Secret: &spec.Source{},
	}}
}

var ofShop = acme.Challenge{Token: "one", KeyAuthorization: "one.key", Identifier: acme.Identifier{Type: "dns", Value: "shop.test"}}

// TestUpdate looks at what is sent (RFC 2136 sections 2.3, 2.5.1 and 2.5.4), and has the record show late.
func TestUpdate(t *testing.T) {
	questions := 0
	n := &nameServer{answer: func(asked, r *dns.Msg) {
		if asked.Opcode != dns.OpcodeQuery {
			return
		}
		r.Answer = []dns.RR{record(acme.Challenge{KeyAuthorization: "other", Identifier: ofShop.Identifier})}
		if questions++; questions > 1 {
			r.Answer = append(r.Answer, record(ofShop))
		}
	}}
	u := updating(t, n)
	if err := u.set(t.Context(), ofShop); err != nil {
		t.Fatal(err)
	}
	if err := u.unset(t.Context(), ofShop); err != nil {
		t.Fatal(err)
	}
	if questions != 2 || len(n.asked) != 4 {
		t.Fatalf("%d messages, of which %d ask", len(n.asked), questions)
	}
	value := ofShop.DNS01KeyAuthorization()
	for i, want := range map[int]string{
		0: "_acme-challenge.shop.test.\t60\tIN\tTXT\t\"" + value + "\"",
		3: "_acme-challenge.shop.test.\t0\tNONE\tTXT\t\"" + value + "\"",
	} {
		m := n.asked[i]
		if m.Opcode != dns.OpcodeUpdate || m.Question[0] != (dns.Question{Name: "shop.test.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) || len(m.Answer) > 0 {
			t.Errorf("message %d: %v", i, m)
		}
		if len(m.Ns) != 1 || m.Ns[0].String() != want {
			t.Errorf("message %d has %v, want %s", i, m.Ns, want)
		}
	}
}

// TestUpdateFails wants the reason for each answer that is not what it should be.
func TestUpdateFails(t *testing.T) {
	for _, row := range []struct {
		name, want string
		answer     func(asked, r *dns.Msg)
	}{
		{"no signature", errUnsigned.Error() + " (NOERROR)", func(_, r *dns.Msg) { r.Extra = nil }},
		{"another key", "no secrets defined", func(_, r *dns.Msg) {
			r.Extra = nil
			r.SetTsig("other.", dns.HmacSHA256, 300, time.Now().Unix())
		}},
		{"an old signature", "bad time", func(_, r *dns.Msg) {
			r.Extra = nil
			r.SetTsig("acme.", dns.HmacSHA256, 300, time.Now().Add(-time.Hour).Unix())
		}},
		{"another clock", "(BADTIME): set them right", func(_, r *dns.Msg) {
			r.Rcode = dns.RcodeNotAuth
			r.IsTsig().Error = dns.RcodeBadTime
		}},
		{"trouble", "does not change shop.test: SERVFAIL", func(_, r *dns.Msg) { r.Rcode = dns.RcodeServerFailure }},
		{"it does not show", "does not answer with it: context deadline exceeded", func(_, _ *dns.Msg) {}},
		{"it answers nobody", "does not answer with it: REFUSED", func(asked, r *dns.Msg) {
			if asked.Opcode == dns.OpcodeQuery {
				r.Rcode = dns.RcodeRefused
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := updating(t, &nameServer{answer: row.answer})
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			err := u.set(ctx, ofShop)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
			if row.name == "no signature" && !errors.Is(err, errUnsigned) {
				t.Errorf("%v", err)
			}
		})
	}
}
