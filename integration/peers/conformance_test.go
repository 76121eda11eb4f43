package peers

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs and golden files anew")

func subjects() []Subject {
	all := append(KafkaGoSubjects(), FranzSubjects()...)
	return append(all, SaramaSubjects()...)
}

func TestConformanceOfOurs(t *testing.T) {
	for _, s := range subjects() {
		if !s.Ours {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			for _, c := range Cases() {
				t.Run(c.Name, func(t *testing.T) {
					text, err := Examine(t.Context(), s, c)
					if err != nil {
						t.Fatal(err)
					}
					if text != "" {
						t.Errorf("%s Here: %s", c.Says, text)
					}
				})
			}
		})
	}
}

const conformanceDoc = "../../docs/conformance-peers.md"

// TestConformanceTableIsUpToDate checks the rows of ours against the cases. The
// peers are examined, and their columns written, with -update only: they are
// told, not judged.
func TestConformanceTableIsUpToDate(t *testing.T) {
	if *update {
		writeConformanceTable(t)
		return
	}
	doc, err := os.ReadFile(filepath.FromSlash(conformanceDoc))
	if err != nil {
		t.Fatalf("cannot read the table: %v; write it by: go test -run Conformance . -update", err)
	}
	var rows, want []string
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| case") {
			cells := strings.Split(line, "|")
			rows = append(rows, strings.TrimSpace(cells[1]))
			for i, s := range subjects() {
				if s.Ours && (len(cells) <= i+2 || strings.TrimSpace(cells[i+2]) != passes) {
					t.Errorf("the row %q does not say that %s passes", strings.TrimSpace(cells[1]), s.Name)
				}
			}
		}
	}
	for _, c := range Cases() {
		want = append(want, c.Name)
		if !strings.Contains(string(doc), c.Says) {
			t.Errorf("the table does not say what %q means", c.Name)
		}
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("the table's rows differ (-want +got); write it anew by: go test -run Conformance . -update\n%s", d)
	}
}

const passes = "pass"

func writeConformanceTable(t *testing.T) {
	t.Helper()
	all := subjects()
	var rows, notes strings.Builder
	fmt.Fprint(&rows, "| case |")
	for _, s := range all {
		fmt.Fprintf(&rows, " %s |", s.Name)
	}
	fmt.Fprintf(&rows, "\n|---|%s\n", strings.Repeat("---|", len(all)))
	footnotes := map[string]int{}
	for _, c := range Cases() {
		fmt.Fprintf(&rows, "| %s |", c.Name)
		for _, s := range all {
			text, err := Examine(t.Context(), s, c)
			if err != nil && s.Ours {
				t.Errorf("%s, %s: %v", s.Name, c.Name, err)
			}
			if err != nil {
				text = "it could not be examined: " + plain(err)
			}
			switch text {
			case "":
				text = passes
			case errNotApplicable.Error():
			default:
				n := footnotes[text]
				if n == 0 {
					n = len(footnotes) + 1
					footnotes[text] = n
					fmt.Fprintf(&notes, "%d. %s\n", n, text)
				}
				text = fmt.Sprintf("**no** (%d)", n)
			}
			fmt.Fprintf(&rows, " %s |", text)
		}
		fmt.Fprintln(&rows)
	}
	var says strings.Builder
	for _, c := range Cases() {
		fmt.Fprintf(&says, "- **%s**: %s\n", c.Name, c.Says)
	}
	for _, s := range all {
		if s.Note != "" {
			fmt.Fprintf(&notes, "\n%s: %s.\n", s.Name, s.Note)
		}
	}
	doc := fmt.Sprintf(conformanceText, versionsOf(t), rows.String(), notes.String(), says.String())
	if err := os.WriteFile(filepath.FromSlash(conformanceDoc), []byte(doc), 0o644); err != nil {
		t.Fatalf("cannot write the table: %v", err)
	}
}

const conformanceText = `# What instrumentation does to a program's messages, ours and its peers'

Written by ` + "`go test -run Conformance . -update`" + ` in ` + "`integration/peers`" + `; do not edit it by hand. Every case runs against
a broker within the test's process, one subject after the other. For ours every case must pass, under our own Init and
under a provider of OpenTelemetry's SDK; the tests fail otherwise. What the cases show of the peers is told here and
fails nothing.

Examined: %s

%s
– : there is no such thing in that library.

%s
## The cases

%s`

func versionsOf(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range []string{
		"github.com/segmentio/kafka-go", "github.com/twmb/franz-go", "github.com/IBM/sarama", "github.com/twmb/franz-go/plugin/kotel",
		"github.com/dnwe/otelsarama", "github.com/Trendyol/otel-kafka-konsumer", "github.com/DataDog/dd-trace-go/v2",
		"github.com/DataDog/dd-trace-go/contrib/segmentio/kafka-go/v2", "github.com/DataDog/dd-trace-go/contrib/IBM/sarama/v2",
	} {
		for line := range strings.Lines(string(mod)) {
			if f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require ")); len(f) >= 2 && f[0] == m {
				out = append(out, strings.TrimPrefix(m, "github.com/")+" "+f[1])
			}
		}
	}
	return strings.Join(out, ", ") + "."
}
