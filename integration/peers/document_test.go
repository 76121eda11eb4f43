package peers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
)

// conformanceDocument lays the spans of every scenario out against the
// conventions. A required attribute that is missing, or a conditional one whose
// condition is true, fails the test.
func conformanceDocument(t *testing.T, all played) string {
	t.Helper()
	names := make([]string, 0, len(all))
	for _, p := range pairs(t) {
		names = append(names, p.name)
	}
	var doc strings.Builder
	fmt.Fprintf(&doc, documentHead, strings.Join(names, ", "))
	fmt.Fprint(&doc, "| attribute | of spans that | level | if left out |\n|---|---|---|---|\n")
	for _, c := range conventions {
		ops := strings.Join(c.operations, ", ")
		if len(c.operations) == len(allOps) {
			ops = "all"
		}
		fmt.Fprintf(&doc, "| `%s` | %s | %s | %s |\n", c.key, ops, levelText(&c), c.why)
	}
	for _, sc := range Scenarios() {
		fmt.Fprintf(&doc, "\n## %s\n\n%s\n\n", sc.Name, sc.Says)
		writeSpans(&doc, names, all, sc.Name)
		writeAttributes(t, &doc, names, all, sc)
	}
	return doc.String()
}

func levelText(c *convention) string {
	if c.when == "" {
		return c.level
	}
	return c.level + " (" + c.when + ")"
}

// writeSpans writes names, kinds, parents and links; wrappers that agree share a
// line.
func writeSpans(doc *strings.Builder, names []string, all played, scenario string) {
	lines := map[string][]string{}
	var order []string
	for _, n := range names {
		spans, ok := all[n][scenario]
		if !ok {
			continue
		}
		var parts []string
		for i := range spans {
			s := spans[i].Span
			part := fmt.Sprintf("`%s` %s", s.Name, kindOf(s))
			part += ", " + relation(spans, s.ParentSpanId, "child of ", "root")
			for _, l := range s.Links {
				part += ", " + relation(spans, l.SpanId, "linked to ", "")
			}
			if s.Status.GetCode() != 0 {
				part += ", an error"
			}
			if k := slices.IndexFunc(parts, func(p string) bool { return strings.HasSuffix(p, part) }); k >= 0 && len(s.Links) == 0 {
				count := 1
				_, _ = fmt.Sscanf(parts[k], "%d × ", &count)
				parts[k] = fmt.Sprintf("%d × %s", count+1, part)
				continue
			}
			parts = append(parts, part)
		}
		if len(parts) == 0 {
			parts = []string{"no spans"}
		}
		text := "- " + strings.Join(parts, "\n- ")
		if lines[text] == nil {
			order = append(order, text)
		}
		lines[text] = append(lines[text], n)
	}
	for _, text := range order {
		if len(order) > 1 {
			fmt.Fprintf(doc, "%s:\n\n", strings.Join(lines[text], ", "))
		}
		fmt.Fprintf(doc, "%s\n\n", text)
	}
}

func relation(spans []Normal, id []byte, prefix, none string) string {
	if len(id) == 0 {
		return none
	}
	n := name(id)
	switch {
	case n == "app":
		return prefix + "the program's span"
	case n == "given":
		return prefix + "the context in the message"
	case strings.HasPrefix(n, "remote"):
		return prefix + "the producer's span"
	}
	for i := range spans {
		if string(spans[i].Span.SpanId) == string(id) {
			return prefix + "`" + spans[i].Span.Name + "`"
		}
	}
	return prefix + "a span that is not exported"
}

const missing = "–"

// writeAttributes writes which attributes the spans of each operation have.
func writeAttributes(t *testing.T, doc *strings.Builder, names []string, all played, sc Scenario) {
	t.Helper()
	for _, op := range allOps {
		var has []string
		values := map[string]map[string]string{} // by wrapper, by key
		for _, n := range names {
			if v := attributesOf(all[n][sc.Name], op); v != nil {
				has = append(has, n)
				values[n] = v
			}
		}
		if len(has) == 0 {
			continue
		}
		fmt.Fprintf(doc, "| %s | level | %s |\n|---|---|%s\n", op, strings.Join(has, " | "), strings.Repeat("---|", len(has)))
		ours := map[string][]string{}
		for i := range conventions {
			c := &conventions[i]
			if !c.applies(op) {
				continue
			}
			row, some := "", false
			for _, n := range has {
				v, ok := values[n][c.key]
				some = some || ok
				if !ok {
					v = missing
				}
				row += " " + v + " |"
				if !ok && c.needed != nil && c.needed(sc.Facts, op, linksOf(all[n][sc.Name], op)) {
					t.Errorf("%s, %s: a %s span has no %s, which is %s", n, sc.Name, op, c.key, levelText(c))
				}
			}
			if some {
				fmt.Fprintf(doc, "| `%s` | %s |%s\n", c.key, levelText(c), row)
			}
		}
		for _, n := range has {
			var beside []string
			for _, k := range slices.Sorted(maps.Keys(values[n])) {
				if !slices.ContainsFunc(conventions, func(c convention) bool { return c.key == k && c.applies(op) }) {
					beside = append(beside, "`"+k+"`")
				}
			}
			text := strings.Join(beside, ", ")
			ours[text] = append(ours[text], n)
		}
		fmt.Fprintln(doc)
		for _, text := range slices.Sorted(maps.Keys(ours)) {
			who := ""
			if len(ours) > 1 {
				who = " (" + strings.Join(ours[text], ", ") + ")"
			}
			fmt.Fprintf(doc, "Beside them%s: %s.\n\n", who, orElse(text, "none"))
		}
	}
}

// linksOf returns the most messages that a span of the operation links to. The
// program's span is none, and earlier attempts at the same message are no others.
func linksOf(spans []Normal, op string) (n int) {
	for i := range spans {
		if operationOf(spans[i]) == op {
			links := slices.DeleteFunc(slices.Clone(spans[i].Span.Links), func(l *traces.Span_Link) bool {
				return name(l.SpanId) == "app" || slices.ContainsFunc(l.Attributes, func(a *common.KeyValue) bool { return a.Key == "hoptrace.retry.earlier" })
			})
			n = max(n, len(links))
		}
	}
	return n
}

func operationOf(n Normal) string {
	for _, a := range n.Span.Attributes {
		if a.Key == "messaging.operation.type" {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// attributesOf returns the attributes of the spans of an operation: their one
// value, or that it differs. It is nil when there is no such span.
func attributesOf(spans []Normal, op string) map[string]string {
	var out map[string]string
	count := map[string]int{}
	n := 0
	for i := range spans {
		if operationOf(spans[i]) != op {
			continue
		}
		n++
		if out == nil {
			out = map[string]string{}
		}
		for _, a := range spans[i].Span.Attributes {
			v := textOf(a.Value)
			if v != "<port>" {
				v = "`" + v + "`"
			} else {
				v = "set"
			}
			if was, ok := out[a.Key]; ok && was != v {
				v = "differs"
			}
			out[a.Key] = v
			count[a.Key]++
		}
	}
	for k, c := range count {
		if c < n {
			out[k] += fmt.Sprintf(" (on %d of %d)", c, n)
		}
	}
	return out
}

const documentHead = `# Our spans against OpenTelemetry's messaging conventions, v1.43

Written by ` + "`go test -run Golden . -update`" + ` in ` + "`integration/peers`" + ` from the spans that the wrappers (%s) export; do not
edit it by hand. Each scenario is played against a broker within the test's process, under our own Init and under a
provider of OpenTelemetry's SDK; the two must export the same, record for record, and as the files in
` + "`integration/peers/testdata/golden`" + ` have it. A required attribute that is missing, or a conditionally required one
whose condition is true, fails the test.

What the conventions ask for, and why something is left out:

`
