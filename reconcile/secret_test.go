package reconcile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/certwright/certwright/reconcile"
)

// TestKeysAreNotPrinted prints a key in every way there is, alone and inside of other values.
func TestKeysAreNotPrinted(t *testing.T) {
	key := reconcile.NewPrivateKey([]byte("secretive"))
	issued := reconcile.Issued{Key: key}
	hidden := struct{ issued reconcile.Issued }{issued}
	var said bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{key, &key, issued, &issued, hidden, &hidden, []any{hidden}, map[string]any{"": hidden}} {
			fmt.Fprintf(&said, verb+"\n", v)
		}
	}
	doc, err := json.Marshal([]any{key, issued, hidden})
	if err != nil {
		t.Fatal(err)
	}
	said.Write(doc)
	slog.New(slog.NewTextHandler(&said, nil)).Error("x", "key", key, "issued", issued, "hidden", hidden)
	slog.New(slog.NewJSONHandler(&said, nil)).Error("x", "key", key, "issued", issued, "hidden", hidden)
	der := key.PKCS8()
	for _, form := range []string{
		string(der), fmt.Sprintf("%x", der), fmt.Sprintf("%X", der), strings.Trim(fmt.Sprint(der), "[]"), "0x73, 0x65", "c2VjcmV0aXZl",
	} {
		if strings.Contains(said.String(), form) {
			t.Errorf("the key is printed, as %s", form)
		}
	}
	if !strings.Contains(said.String(), "[redacted]") || (reconcile.PrivateKey{}).PKCS8() != nil {
		t.Error("a key is not what it is said to be")
	}
}
