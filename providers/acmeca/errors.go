package acmeca

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/certwright/certwright/reconcile"
)

const (
	// A server that limits and does not say for how long means an hour: that is what the limits of public ones count by.
	limited = time.Hour
	// Public servers take five failed proofs of a name an hour, and then none.
	afterFailedProof = 15 * time.Minute
)

// refusals are the answers (RFC 8555 section 6.7) that another try gets again, until somebody changes something.
var refusals = []string{
	acme.ProblemTypeRejectedIdentifier, acme.ProblemTypeUnsupportedIdentifier, acme.ProblemTypeCAA, acme.ProblemTypeBadCSR,
	acme.ProblemTypeBadPublicKey, acme.ProblemTypeExternalAccountRequired, acme.ProblemTypeInvalidContact,
	acme.ProblemTypeUnsupportedContact, acme.ProblemTypeUserActionRequired, acme.ProblemTypeUnauthorized, acme.ProblemTypeMalformed,
	acme.ProblemTypeBadSignatureAlgorithm,
}

// unproved is a name that the server looked for, and did not find proved.
type unproved struct {
	name string
	err  error
}

func (e unproved) Error() string { return e.name + " is not proved: " + e.err.Error() }
func (e unproved) Unwrap() error { return e.err }

// explain turns what went wrong into what the core knows: when to ask again, and whether to.
func (s *signing) explain(err error) error {
	var name unproved
	said, failedProof := s.wire.errorSaid(), errors.As(err, &name)
	p, answered := problem(err)
	if answered {
		err = words(p, name.name)
	}
	switch {
	case failedProof:
		said = max(said, afterFailedProof)
	case !answered:
	case p.Type == acme.ProblemTypeRateLimited && said == 0:
		said = limited
	case slices.Contains(refusals, p.Type) && said == 0:
		return fmt.Errorf("%w: %w", reconcile.ErrRefused, err)
	}
	if said > 0 {
		// A limit may be one of a name or of a set of them, and often is for days.
		one := failedProof || answered && p.Status < http.StatusInternalServerError
		return reconcile.RetryAfter{Err: err, Wait: said, One: one}
	}
	return err
}

// words are what a server says, which is untrusted, of a name if there is one.
func words(p acme.Problem, name string) error {
	said := fmt.Sprintf("the server says %q (%s)", p.Detail, strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace))
	if name != "" {
		said = name + " is not proved: " + said
	}
	for _, sub := range p.Subproblems {
		said += fmt.Sprintf("; of %q %q", sub.Identifier.Value, sub.Detail)
	}
	return errors.New(said)
}

// problem finds what the server said is wrong (RFC 8555 section 6.7).
func problem(err error) (acme.Problem, bool) {
	var p acme.Problem
	if errors.As(err, &p) {
		return p, true
	}
	var order *acme.Problem // an order has it so
	if errors.As(err, &order) && order != nil {
		return *order, true
	}
	return p, false
}

func isProblem(err error, types ...string) bool {
	p, ok := problem(err)
	return ok && slices.Contains(types, p.Type)
}
