package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// pair is one wrapper of ours by both ways.
type pair struct {
	name      string
	init, sdk Subject
}

func pairs(t *testing.T) []pair {
	t.Helper()
	var out []pair
	for _, s := range subjects() {
		if !s.Ours {
			continue
		}
		name, _, _ := strings.Cut(s.Name, ",")
		if i := slices.IndexFunc(out, func(p pair) bool { return p.name == name }); i >= 0 {
			out[i].sdk = s
			continue
		}
		out = append(out, pair{name: name, init: s})
	}
	for _, p := range out {
		if p.init.Way != "init" || p.sdk.Way != "sdk" {
			t.Fatalf("%s does not go both ways", p.name)
		}
	}
	return out
}

// played is what each scenario gave, by wrapper and scenario.
type played map[string]map[string][]Normal

// whole tells that no wrapper and no scenario was left out by -run.
func (all played) whole(t *testing.T) bool {
	t.Helper()
	for _, p := range pairs(t) {
		for _, sc := range Scenarios() {
			if _, ok := all[p.name][sc.Name]; !ok && sc.applies(p.init) {
				return false
			}
		}
	}
	return true
}

// TestGoldenSpans plays every scenario with every wrapper of ours, both ways. The
// two must be equal record for record, and as testdata/golden has them.
func TestGoldenSpans(t *testing.T) {
	all := played{}
	for _, p := range pairs(t) {
		t.Run(p.name, func(t *testing.T) {
			all[p.name] = map[string][]Normal{}
			var text strings.Builder
			for _, sc := range Scenarios() {
				if !sc.applies(p.init) {
					continue
				}
				t.Run(sc.Name, func(t *testing.T) {
					spans := playBoth(t, p, sc)
					all[p.name][sc.Name] = spans
					fmt.Fprintf(&text, "== %s\n%s\n", sc.Name, Render(spans))
				})
			}
			if n := len(all[p.name]); n == applicable(p.init) {
				compareGolden(t, filepath.Join("testdata", "golden", p.name+".txt"), text.String())
			}
		})
	}
	if t.Failed() || !all.whole(t) {
		return // the document is of what the golden files say, and of all of them
	}
	compareGolden(t, filepath.FromSlash("../../docs/conformance.md"), conformanceDocument(t, all))
}

func applicable(s Subject) (n int) {
	for _, sc := range Scenarios() {
		if sc.applies(s) {
			n++
		}
	}
	return n
}

func (sc *Scenario) applies(s Subject) bool {
	return sc.Only == "" || strings.Contains(sc.Only, s.Client)
}

func playBoth(t *testing.T, p pair, sc Scenario) []Normal {
	t.Helper()
	play := func(s Subject) []Normal {
		spans, faults, err := Play(t.Context(), s, sc)
		for again := 0; err == nil && again < 9 && !strings.Contains(Render(spans), sc.Until); again++ {
			spans, faults, err = Play(t.Context(), s, sc)
		}
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		for _, f := range faults {
			t.Errorf("%s: %s", s.Name, f)
		}
		for _, n := range spans {
			if !strings.HasSuffix(n.Scope, "/"+p.name+" 0.1.0 https://opentelemetry.io/schemas/1.43.0") {
				t.Errorf("%s: a span is of the scope %q", s.Name, n.Scope)
			}
		}
		return spans
	}
	a, b := play(p.init), play(p.sdk)
	if d := cmp.Diff(Render(b), Render(a)); d != "" {
		t.Errorf("the two ways differ (-SDK +Init):\n%s", d)
		return a
	}
	for i := range a {
		if !proto.Equal(a[i].Span, b[i].Span) {
			t.Errorf("the two ways differ in what the text does not show:\nSDK  %v\nInit %v", b[i].Span, a[i].Span)
		}
	}
	return a
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if t.Failed() {
			t.Errorf("%s is not written, since the test failed before", path)
			return
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("cannot read %s: %v; write it by: go test -run Golden . -update", path, err)
		return
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got); if that is meant: go test -run Golden . -update\n%s", path, d)
	}
}
