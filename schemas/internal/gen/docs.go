package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

const docsFile = "docs/formats/topics.md"

// docs is the page about the topics.
func docs(ts []topics.Topic) []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("<!-- Made by `go generate ./schemas/...` of schemas/topics/*.yaml; do not edit. -->")
	p("# Topics")
	p("")
	p("What lies on the bus between the stations. Names and shapes are those of Sentry's topics where those are public knowledge, so that a")
	p("reader of the one can read the other. Each topic is a file in [schemas/topics](../../schemas/topics), each version of what it carries a")
	p("JSON Schema in [schemas/json](../../schemas/json) or a protobuf message; the Go types in `schemas/wire` are made of the former.")
	p("")
	p("* `hoptrace topics list` prints this table, `plan` and `apply` compare it with your brokers, `decode` prints a record.")
	p("* `kafka.topics` gives topics other names at the brokers.")
	p("* The record header `schema` tells the version; all records have it. The other headers of ingest records are `project`, `received`")
	p("  (Unix ns), `count`, `category` and, where there is one, `event-id`.")
	p("* Each topic has a topic `<name>-dlq` beside it: records that no stage could take, unchanged, with headers that say why and where they")
	p("  came from.")
	p("* Schemas of msgpack describe its rendering in JSON. Bytes are an object there: `{\"$bytes\": \"text\"}` or `{\"$base64\": \"…\"}`.")
	p("* Readers pass over fields that they do not know, and refuse a record that breaks its schema, with the path of the fault.")
	p("")
	p("| topic | carries (header `schema`) | from | to | key | partitions | kept | largest record |")
	p("|---|---|---|---|---|---|---|---|")
	for _, t := range ts {
		if t.IsDLQ() {
			continue
		}
		schemas := make([]string, len(t.Schemas))
		for i, s := range t.Schemas {
			schemas[i] = fmt.Sprintf("%s (`%s`)", s.Type, s.Header)
			if s.Type != "protobuf" {
				schemas[i] = fmt.Sprintf("[%s](../../schemas/json/%s) (`%s`)", s.Type, s.Resource, s.Header)
			}
		}
		p("| `%s` | %s | %s | %s | %s | %d | %s | %s |", t.Name, strings.Join(schemas, "<br>"), strings.Join(t.Producers, ", "), strings.Join(t.Consumers, ", "),
			t.Key, t.Partitions, days(t), size(t.MaxMessageBytes))
	}
	for _, t := range ts {
		if t.IsDLQ() {
			continue
		}
		p("")
		p("## %s", t.Name)
		p("")
		p("%s Owner: %s.", t.Description, t.Owner)
		p("")
		for _, s := range t.Schemas {
			what := "`" + s.Resource + "`"
			if s.Type != "protobuf" {
				what = fmt.Sprintf("[%s](../../schemas/json/%s)", s.Resource, s.Resource)
			}
			p("* Version %d: %s, %s, header `%s`, compatibility %s.", s.Version, s.Type, what, s.Header, s.Compatibility)
		}
	}
	return b.Bytes()
}

func days(t topics.Topic) string {
	if n := t.Retention().Hours() / 24; n != 1 {
		return fmt.Sprintf("%g days", n)
	}
	return "1 day"
}

func size(n int32) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
