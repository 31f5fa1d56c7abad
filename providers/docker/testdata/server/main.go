// Command server answers HTTP on the address of its only argument, for the tests: /echo with the body, /fail with
// status 500, anything else with the method, the Host header and the path.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	http.HandleFunc("/fail", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "cannot load key", 500) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, " ", r.Host, r.URL.Path) })
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], nil))
	os.Exit(1)
}
