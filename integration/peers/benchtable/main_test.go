package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const want = `### Broker: stub

| produce | sampled, 1 a call | sampled, 100 a call | unsampled, 1 a call | unsampled, 100 a call |
|---|---|---|---|---|
| franz-go | 3.24 µs, 2.43 allocs, 2098 B | – | – | – |
| kotel | +15.52 µs, +43.11 allocs, +7072 B | – | – | – |

- missing: nothing

Measured with broker: stub, go: 1.26.8, kotel: v1.7.1, goos: linux, cpu: Some CPU @ 2: GHz.

### Broker: embedded

| consume | sampled, 1 a call | sampled, 100 a call | unsampled, 1 a call | unsampled, 100 a call |
|---|---|---|---|---|
| franz-go | – | – | – | 2.00 µs, 1.00 allocs, 3 B |

Measured with broker: embedded, go: 1.26.8.

`

func TestTablesOfARun(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{filepath.Join("testdata", "run.txt")}, "", &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Fatal(d)
	}
}

func TestDocumentKeepsWhatIsAroundTheTables(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("before\n"+beginMark+"\nold\n"+endMark+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice gives the same
		if err := run([]string{filepath.Join("testdata", "run.txt")}, doc, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("before\n"+beginMark+"\n\n"+want+"\n"+endMark+"\nafter\n", string(got)); d != "" {
		t.Fatal(d)
	}
}

func TestWhatIsNoRunIsRefused(t *testing.T) {
	f := func(content, wantErr string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "x.txt")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := run([]string{path}, "", &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Fatalf("run of %q: %v; want %q", content, err, wantErr)
		}
	}
	f("", "names a broker")
	f("broker: stub\nBenchmarkProduce/x 1 2 allocs/msg\n", "is not like")
	f("broker: stub\nBenchmarkProduce/x/sampled/1 1 two allocs/msg\n", "is no number")
}
