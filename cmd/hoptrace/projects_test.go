package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters/metadata"
)

// projectsHouse is a data directory with a server's store, which stays open as
// that of a server that runs.
func projectsHouse(t *testing.T) (dir string, store *metadata.Store) {
	t.Helper()
	dir = t.TempDir()
	store, err := metadata.Open(t.Context(), "sqlite:"+filepath.Join(dir, "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.EnsureProject(t.Context(), "default", "Default"); err != nil {
		t.Fatal(err)
	}
	return dir, store
}

func projectsCommand(dir, stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = runProjects(append(args, "--data", dir, "--collector.http=127.0.0.1:4318"), nil, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestProjectsAndKeysByCommand(t *testing.T) {
	dir, store := projectsHouse(t)
	do := func(stdin string, args ...string) string {
		t.Helper()
		code, stdout, stderr := projectsCommand(dir, stdin, args...)
		if code != 0 {
			t.Fatalf("hoptrace projects %s ended with %d: %s", args, code, stderr)
		}
		return stdout
	}
	decode := func(text string, into any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	var p projectJSON
	decode(do(`{"filters":{"releases":["0.*"]}}`, "create", "shop", "--name", "The shop", "--settings", "-", "--json"), &p)
	if p.Slug != "shop" || p.Name != "The shop" || len(p.DSNs) != 1 || !strings.HasSuffix(p.DSNs[0], "@127.0.0.1:4318/2") || p.Settings.Filters.Releases[0] != "0.*" {
		t.Fatalf("made %+v", p)
	}
	if list := do("", "list"); !strings.Contains(list, "default") || !strings.Contains(list, p.DSNs[0]) {
		t.Errorf("the list is\n%s", list)
	}
	decode(do("", "set", "shop", "filters.localhost=true", `scrubbing.sensitiveFields=["pin"]`, "groupingRules=stack.module:b +app", "--disable", "--json"), &p)
	if !p.Settings.Filters.Localhost || p.Settings.Scrubbing.SensitiveFields[0] != "pin" || p.Settings.GroupingRules != "stack.module:b +app" || p.Settings.Filters.Releases[0] != "0.*" || !p.Disabled {
		t.Errorf("set %+v", p)
	}
	stored, err := store.Project(t.Context(), p.ID)
	if err != nil || !stored.Disabled || !stored.Settings.Filters.Localhost {
		t.Errorf("the server's store has %+v, %v", stored, err)
	}
	if out := do("", "set", "2", "--enable"); !strings.Contains(out, "shop (project 2, active)") || !strings.Contains(out, `"localhost": true`) {
		t.Errorf("set by id:\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "s.json")
	if err := os.WriteFile(file, []byte(`{"retentionDays":7}`), 0o600); err != nil {
		t.Fatal(err)
	}
	decode(do("", "set", "shop", "--settings="+file, "--json"), &p)
	if p.Settings.RetentionDays != 7 || p.Settings.Filters.Localhost {
		t.Errorf("all settings from a file: %+v", p.Settings)
	}

	var k, next keyJSON
	decode(do("", "key-create", "shop", "--label=staging", "--limit", "100/60", "--json"), &k)
	if k.Label != "staging" || !k.Active || k.Limit == nil || k.Limit.Count != 100 || k.Limit.Window != 60 {
		t.Fatalf("made %+v", k)
	}
	if keys := do("", "keys", "shop"); !strings.Contains(keys, "100/60s") || !strings.Contains(keys, k.DSN) {
		t.Errorf("keys\n%s", keys)
	}
	decode(do("", "key-disable", "shop", k.DSN, "--json"), &k)
	if k.Active || k.Limit == nil {
		t.Errorf("disabled %+v", k)
	}
	decode(do("", "key-enable", "shop", strings.ToUpper(k.Public), "--json"), &k)
	decode(do("", "key-set", "shop", k.Public, "--limit", "none", "--label", "x", "--json"), &k)
	if !k.Active || k.Limit != nil || k.Label != "x" {
		t.Errorf("set %+v", k)
	}
	decode(do("", "key-rotate", "shop", k.Public, "--json"), &next)
	if next.Public == k.Public || !next.Active || next.Label != "x" {
		t.Errorf("rotated %+v", next)
	}
	do("", "key-delete", "shop", k.Public)
	if keys := do("", "keys", "shop", "--json"); strings.Contains(keys, k.Public) || !strings.Contains(keys, next.Public) {
		t.Errorf("keys after deleting\n%s", keys)
	}
}

func TestProjectsCommandsSayWhatIsWrong(t *testing.T) {
	dir, _ := projectsHouse(t)
	f := func(wantCode int, args []string, wants ...string) {
		t.Helper()
		code, stdout, stderr := projectsCommand(dir, `{"colour":1,"retentionDays":-1}`, args...)
		if code != wantCode || stdout != "" {
			t.Errorf("hoptrace projects %s ended with %d, want %d:\n%s%s", args, code, wantCode, stdout, stderr)
		}
		for _, want := range wants {
			if !strings.Contains(stderr, want) {
				t.Errorf("hoptrace projects %s does not say %q:\n%s", args, want, stderr)
			}
		}
	}
	f(2, []string{"lst"}, `no command "lst"`, "hoptrace projects list")
	f(2, []string{"show"}, "show needs a project")
	f(2, []string{"key-disable", "default"}, "needs a project and a key")
	f(2, []string{"list", "default"}, `does not take "default"`)
	f(2, []string{"list", "--label=x"}, "list takes no --label")
	f(2, []string{"list", "--no.such.setting=1"}, "no.such.setting")
	f(2, []string{"set", "default", "--enable", "--disable"}, "--enable and --disable")
	f(1, []string{"show", "shop"}, `no project "shop"`, "default")
	f(1, []string{"create", "default"}, "exists already")
	f(1, []string{"create", "No Slug"}, "No Slug", "a-z")
	f(1, []string{"create", "x", "--settings", "-"}, "settings.colour is unknown", "settings.retentionDays is -1")
	f(1, []string{"create", "x", "--settings", "/nowhere.json"}, "/nowhere.json")
	f(1, []string{"set", "default"}, "nothing to set", "KEY=VALUE")
	f(1, []string{"set", "default", "filters.localhost=maybe"}, "settings.filters.localhost is a text, want true or false")
	f(1, []string{"set", "default", "filter.localhost=true"}, `no group "filter"`)
	f(1, []string{"set", "default", "localhost"}, "no KEY=VALUE")
	f(1, []string{"key-create", "default", "--limit", "many"}, "1000/60")
	f(1, []string{"key-create", "default", "--limit", "5/0"}, "window is 0")
	f(1, []string{"key-delete", "default", strings.Repeat("0", 32)}, "has no key", "projects keys default")

	empty := t.TempDir()
	if code, _, stderr := projectsCommand(empty, "", "list"); code != 1 || !strings.Contains(stderr, "no metadata store") || !strings.Contains(stderr, "--data") {
		t.Errorf("without a store: %d, %s", code, stderr)
	}
	if left, _ := os.ReadDir(empty); len(left) > 0 {
		t.Errorf("a store was made: %v", left)
	}
}
