package store

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// unspoken fails the test if data has a part of a key of the states, raw, in hexadecimal or in base64 (so in PEM).
func unspoken(t *testing.T, name string, data []byte, states ...reconcile.State) {
	t.Helper()
	for _, state := range states {
		keys := [][]byte{state.Identities["web"].Key.PKCS8(), state.CAs["internal"].Generations[0].Key.PKCS8()}
		for _, key := range keys {
			for form, s := range forms(key) {
				if bytes.Contains(data, []byte(s)) {
					t.Errorf("%s holds a key (%s)", name, form)
				}
			}
		}
	}
}

func forms(key []byte) map[string]string {
	part := key[:45] // a line of PEM has 48
	m := map[string]string{
		"raw": string(part), "hex": hex.EncodeToString(part), "HEX": strings.ToUpper(hex.EncodeToString(part)),
		"decimal": strings.Trim(fmt.Sprint(part), "[]"),
	}
	for skip := range 3 {
		m[fmt.Sprintf("base64+%d", skip)] = base64.StdEncoding.EncodeToString(part[skip : skip+42])
	}
	return m
}

// TestTheScanSeesKeys shows that unspoken could find something.
func TestTheScanSeesKeys(t *testing.T) {
	key := with(1).Identities["web"].Key.PKCS8()
	texts := map[string]string{
		"raw": content(t, made(t, kinds["plain"]))["state"], "PEM": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"hex": fmt.Sprintf("%x", key), "HEX": fmt.Sprintf("%X", key), "decimal": fmt.Sprint(key),
		"base64+1": base64.StdEncoding.EncodeToString(key[1:]),
	}
	for name, s := range texts {
		found := 0
		for _, form := range forms(key) {
			if strings.Contains(s, form) {
				found++
			}
		}
		if found == 0 {
			t.Errorf("a key is not seen (%s)", name)
		}
	}
}
