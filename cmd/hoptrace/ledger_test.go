package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheLedgerIsPrintedAndTellsByItsCodeWhetherItBalances(t *testing.T) {
	balanced := "true"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); (q.Get("all") == "true") == q.Has("project") {
			t.Errorf("asked for %s; want one project or all", r.URL)
		}
		if r.URL.Query().Get("project") == "9" {
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"code":"project_not_found","detail":"there is no project 9","wayOut":"see status"}`))
			return
		}
		_, _ = w.Write([]byte(`{"lines":[{"category":"error","received":12,"stored":7,"filtered":5,"reasons":[{"outcome":"filtered","reason":"localhost","quantity":5}]}],"backlog":[],"balanced":` + balanced + `,"verdict":"it adds up"}`))
	}))
	defer server.Close()
	f := func(code int, want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := runLedger(args, &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("%v ends with %d; want %d and %q:\n%s", args, got, code, want, out.String())
		}
	}
	f(0, "it adds up", "--server", server.URL)
	f(0, "error filtered localhost: 5", "--server="+server.URL, "--reasons")
	f(0, `"verdict":"it adds up"`, "--server", server.URL, "--json")
	f(1, "there is no project 9 (see status)", "--server", server.URL, "--project", "9")
	balanced = "false"
	f(1, "it adds up", "--server", server.URL)
	f(2, `--since is "yesterday"`, "--since", "yesterday")
	f(2, `--project is "x"`, "--project=x")
	f(2, `no flag or word "now"`, "now")
	f(2, "--since needs a value", "--since")
	f(1, "cannot ask http://127.0.0.1:1", "--server", "http://127.0.0.1:1")
}
