package formats_test

import (
	"testing"

	"github.com/certwright/certwright/providers/formats"
	"github.com/certwright/certwright/spec"
)

// FuzzDecodePEM holds that what can be read can be written, and then reads the same.
func FuzzDecodePEM(f *testing.F) {
	fuzz(f, func(c spec.Content) bool { return !c.Keystore() })
}

// FuzzDecodeKeystore holds the same of keystores.
func FuzzDecodeKeystore(f *testing.F) {
	fuzz(f, spec.Content.Keystore)
}

func fuzz(f *testing.F, wanted func(spec.Content) bool) {
	m := newMaterial(f, newECDSA(f))
	for i, c := range contents {
		if wanted(c) {
			f.Add(i, encode(f, c, m.holding(c)))
		}
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i < 0 || i >= len(contents) || !wanted(contents[i]) {
			return
		}
		c := contents[i]
		h, err := formats.Formats{}.Decode(c, data, password)
		if err != nil {
			return
		}
		again, err := formats.Formats{}.Encode(c, h, alias, password)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if got, err := (formats.Formats{}).Decode(c, again, password); err != nil || !same(c, h, got) {
			t.Fatalf("written and read again it is something else (error %v)", err)
		}
	})
}
