package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestMembersAreMadeAndLookedAfterByTheCommand(t *testing.T) {
	dir := t.TempDir()
	store, err := metadata.Open(t.Context(), "sqlite:"+filepath.Join(dir, "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := func(code int, stdin, want string, args ...string) {
		t.Helper()
		in, err := os.CreateTemp(t.TempDir(), "stdin")
		if err == nil {
			_, err = in.WriteString(stdin)
		}
		if err == nil {
			_, err = in.Seek(0, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var out bytes.Buffer
		if got := runMembers(append(args, "--data", dir), nil, in, &out, &out); got != code || !strings.Contains(out.String(), want) {
			t.Errorf("members %v ends with %d; want %d and %q:\n%s", args, got, code, want, out.String())
		}
		if strings.Contains(out.String(), "four words") {
			t.Errorf("members %v prints the password", args)
		}
	}
	const password = "four words are best\n"
	f(2, "", `no command "ad"`, "ad")
	f(2, "", "say whom by --email", "create")
	f(2, "", "there are viewer", "create", "--email", "a@example.com", "--role", "root")
	f(1, password, "must be an owner", "create", "--email", "a@example.com")
	f(1, "short\n", "at least 12", "create", "--email", "a@example.com", "--role", "owner")
	f(1, "", "no password on stdin", "create", "--email", "a@example.com", "--role", "owner")
	f(0, password, "a@example.com is owner", "create", "--email", "A@example.com", "--role=owner", "--name", "Ann")
	f(1, password, "is there already", "create", "--email", "a@example.com", "--role", "owner")
	f(1, "", "the last owner stays", "remove", "--email", "a@example.com")
	f(1, "", "the last owner stays", "role", "--email", "a@example.com", "--role", "viewer")
	f(0, password, "b@example.com is viewer", "create", "--email", "b@example.com")
	f(0, "", "b@example.com is admin", "role", "--email", "b@example.com", "--role", "admin")
	f(0, "another four words\n", "0 sessions ended", "password", "--email", "b@example.com")
	f(0, "", "admin  password     ", "list")
	f(0, "", "b@example.com is removed", "remove", "--email", "b@example.com")
	f(1, "", "there is no member b@example.com", "remove", "--email", "b@example.com")
	entries, err := store.Audit(t.Context(), 0, 10)
	if err != nil || len(entries) != 5 || entries[0].Action != "member.remove" {
		t.Errorf("the audit has %+v, %v; want the five changes", entries, err)
	}
	var out bytes.Buffer
	if code := runTokens([]string{"create", "prom", "--role", "viewer", "--days", "30", "--data", dir}, nil, &out, &out); code != 0 || !strings.HasPrefix(out.String(), "hpt_") {
		t.Errorf("tokens create --role ends with %d: %s", code, out.String())
	}
	out.Reset()
	if code := runTokens([]string{"list", "--data", dir}, nil, &out, &out); code != 0 || !strings.Contains(out.String(), "viewer  -       ") {
		t.Errorf("tokens list ends with %d: %s", code, out.String())
	}
}

// The fake of the API's tests keeps the contract, so that what holds over it holds
// over a store. Here, because only cmd may know both.
func TestTheFakeOfAccountsPassesTheContract(t *testing.T) {
	exportertest.Accounts(t, func(*testing.T) exportertest.AccountStore { return &fakestore.Accounts{} })
}

func TestCommandsShowTheirToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got == "Bearer hpt_flag" || got == "Bearer hpt_environment" {
			_, _ = w.Write([]byte(`{}`))
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"code":"sign_in_required","detail":"only who is signed in","wayOut":"sign in"}`))
	}))
	defer server.Close()
	commands := map[string]func(args ...string) (string, int){
		"lag": func(args ...string) (string, int) {
			var b bytes.Buffer
			c := runLag(args, &b, &b)
			return b.String(), c
		},
		"ledger": func(args ...string) (string, int) {
			var b bytes.Buffer
			c := runLedger(args, &b, &b)
			return b.String(), c
		},
		"record": func(args ...string) (string, int) {
			var b bytes.Buffer
			c := runRecord(append(args, "t/0@1"), &b, &b)
			return b.String(), c
		},
		"grouping": func(args ...string) (string, int) {
			var b bytes.Buffer
			c := runGrouping(append([]string{"preview"}, args...), &b, &b)
			return b.String(), c
		},
	}
	for name, run := range commands {
		t.Setenv("HOPTRACE_TOKEN", "")
		if out, code := run("--server", server.URL); code != 1 || !strings.Contains(out, "HOPTRACE_TOKEN or --token") {
			t.Errorf("%s without a token ends with %d: %s", name, code, out)
		}
		if out, _ := run("--server", server.URL, "--token", "hpt_flag"); strings.Contains(out, "signed in") {
			t.Errorf("%s --token: %s", name, out)
		}
		t.Setenv("HOPTRACE_TOKEN", "hpt_environment")
		if out, _ := run("--server", server.URL); strings.Contains(out, "signed in") {
			t.Errorf("%s with HOPTRACE_TOKEN: %s", name, out)
		}
	}
}
