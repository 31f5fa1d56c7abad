package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/certwright/certwright/reconcile"
)

// Load implements reconcile.Store. It gives everybody the same, and finds out who changes it.
func (w *World) Load(ctx context.Context) (reconcile.State, error) {
	if err := ctx.Err(); err != nil {
		return reconcile.State{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == nil {
		return reconcile.State{}, reconcile.ErrNoStore
	}
	w.checkLent()
	if w.lent == nil {
		lent := deepCopy(*w.state)
		w.lent = &lent
	}
	return *w.lent, nil
}

// checkLent holds that nobody changes what Load gave.
func (w *World) checkLent() {
	if w.lent != nil && !equal(reflect.ValueOf(*w.lent), reflect.ValueOf(*w.state)) {
		w.breaks("what Load gave was changed")
		w.lent = nil
	}
}

// ReadBack implements reconcile.Store.
func (w *World) ReadBack(ctx context.Context) (reconcile.State, error) { return w.Load(ctx) }

// Commit implements reconcile.Store. It keeps a copy of its own; after LoseStore a first state is of another
// installation.
func (w *World) Commit(ctx context.Context, s reconcile.State) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	if w.committing {
		w.breaks("two writers commit at once")
	}
	w.committing = true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.committing = false
	}()
	return w.effect("commit state", func() error {
		c := deepCopy(s)
		if w.state != nil {
			c.Installation = cmp.Or(c.Installation, w.state.Installation)
			if c.Installation != w.state.Installation || c.Project != w.state.Project {
				return errors.New("the store is of another installation or project")
			}
			w.checkGenerations(*w.state, c)
		}
		if c.Installation == "" {
			w.ids++
			c.Installation = fmt.Sprintf("%032x", w.ids)
		}
		w.checkLent()
		w.state, w.lent = &c, nil
		return nil
	})
}

// LoseStore makes the store as if it had never been.
func (w *World) LoseStore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state, w.lent = nil, nil
}

// checkGenerations holds that no generation of a CA vanishes or changes its key or certificate.
func (w *World) checkGenerations(old, next reconcile.State) {
	for name, ca := range old.CAs {
		for _, g := range ca.Generations {
			kept := false
			for _, n := range next.CAs[name].Generations {
				// The key of a brought-along CA is not kept here, and its owner may renew its certificate.
				brought := len(g.Key.PKCS8()) == 0
				kept = kept || n.ID == g.ID && n.KeyID == g.KeyID &&
					bytes.Equal(n.Key.PKCS8(), g.Key.PKCS8()) && (brought || bytes.Equal(n.Certificate, g.Certificate))
			}
			if !kept {
				w.breaks(fmt.Sprintf("generation %d of CA %s was lost or changed its key", g.ID, name))
			}
		}
	}
}

// deepCopy returns a value that shares no memory with v that anyone could change.
func deepCopy[T any](v T) T {
	return copyOf(reflect.ValueOf(&v).Elem()).Interface().(T)
}

func copyOf(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	if k, ok := v.Interface().(reconcile.PrivateKey); ok {
		out.Set(reflect.ValueOf(reconcile.NewPrivateKey(bytes.Clone(k.PKCS8()))))
		return out
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			out.Set(reflect.New(v.Type().Elem()))
			out.Elem().Set(copyOf(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			if v.Type().Elem().Kind() == reflect.Uint8 { // certificates, of which there are many
				reflect.Copy(out, v)
				return out
			}
			for i := range v.Len() {
				out.Index(i).Set(copyOf(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			out.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
			for i := v.MapRange(); i.Next(); {
				out.SetMapIndex(i.Key(), copyOf(i.Value()))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() { // the others are values: times, prefixes
				out.Field(i).Set(copyOf(v.Field(i)))
			}
		}
	}
	return out
}

// equal reports whether a copy is as what it was made of still is.
func equal(a, b reflect.Value) bool {
	if k, ok := a.Interface().(reconcile.PrivateKey); ok {
		return bytes.Equal(k.PKCS8(), b.Interface().(reconcile.PrivateKey).PKCS8())
	}
	switch a.Kind() {
	case reflect.Pointer:
		return a.IsNil() == b.IsNil() && (a.IsNil() || equal(a.Elem(), b.Elem()))
	case reflect.Slice:
		if a.Type().Elem().Kind() == reflect.Uint8 {
			return bytes.Equal(a.Bytes(), b.Bytes())
		}
		for i := range min(a.Len(), b.Len()) {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Map:
		for i := a.MapRange(); i.Next(); {
			if other := b.MapIndex(i.Key()); !other.IsValid() || !equal(i.Value(), other) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Struct:
		if !a.Type().Field(0).IsExported() { // a value: a time, a prefix
			return a.Interface() == b.Interface()
		}
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	}
	return a.Interface() == b.Interface()
}
