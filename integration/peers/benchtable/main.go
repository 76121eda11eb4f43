// Command benchtable writes the figures of `make bench-instrumentation` into
// docs/bench-instrumentation.md, between its two marks:
//
//	go run ./benchtable -doc ../../docs/bench-instrumentation.md artefacts/bench-instrumentation.txt
//
// It measures nothing and judges nothing.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	beginMark = "<!-- figures: written by benchtable -->"
	endMark   = "<!-- end of figures -->"
)

func main() {
	doc := flag.String("doc", "", "the document to write into; empty prints the tables")
	flag.Parse()
	if err := run(flag.Args(), *doc, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
}

func run(args []string, doc string, stdout io.Writer) error {
	if len(args) != 1 {
		return errors.New("name one file with the output of make bench-instrumentation")
	}
	f, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("cannot read the figures: %w", err)
	}
	defer f.Close()
	all, err := parse(f)
	if err != nil {
		return fmt.Errorf("cannot read the figures in %s: %w", args[0], err)
	}
	var tables bytes.Buffer
	write(&tables, all)
	if doc == "" {
		_, err := stdout.Write(tables.Bytes())
		return err
	}
	old, err := os.ReadFile(doc)
	if err != nil {
		return fmt.Errorf("cannot read the document: %w", err)
	}
	before, rest, ok1 := strings.Cut(string(old), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has not the marks %q and %q", doc, beginMark, endMark)
	}
	if err := os.WriteFile(doc, []byte(before+beginMark+"\n\n"+tables.String()+"\n"+endMark+after), 0o644); err != nil { //nolint:gosec // a document for all to read
		return fmt.Errorf("cannot write the document: %w", err)
	}
	return nil
}

// figures of one line.
type figures struct {
	benchmark, client, way string // way is sampled/1
	value                  map[string]float64
}

// block is what one process printed: configuration, then lines.
type block struct {
	config []string // key: value
	notes  []string
	lines  []figures
}

func (b *block) is(key string) string {
	for _, c := range b.config {
		if k, v, _ := strings.Cut(c, ": "); k == key {
			return v
		}
	}
	return ""
}

// parse reads Go's benchmark format. A change of the broker begins another block.
func parse(r io.Reader) (out []*block, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimRight(s.Text(), " ")
		key, value, isConfig := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, "broker: "):
			if len(out) == 0 || out[len(out)-1].is("broker") != value {
				out = append(out, &block{})
			}
		case len(out) == 0:
			continue
		}
		b := out[len(out)-1]
		switch {
		case strings.HasPrefix(line, "# "):
			b.notes = appendNew(b.notes, strings.TrimPrefix(line, "# "))
		case strings.HasPrefix(line, "Benchmark"):
			f, err := parseLine(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			b.lines = append(b.lines, f)
		case isConfig && key == strings.ToLower(key) && !strings.ContainsAny(key, " \t"):
			b.config = appendNew(b.config, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("there is no line that names a broker")
	}
	return out, nil
}

func appendNew(all []string, s string) []string {
	if slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

func parseLine(line string) (f figures, err error) {
	fields := strings.Fields(line)
	name := strings.TrimPrefix(fields[0], "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i > strings.LastIndexByte(name, '/') {
		name = name[:i] // GOMAXPROCS
	}
	parts := strings.Split(name, "/")
	if len(parts) != 4 || len(fields) < 4 || len(fields)%2 != 0 {
		return f, fmt.Errorf("%q is not like BenchmarkProduce/client/sampled/1 and its figures", line)
	}
	f = figures{benchmark: parts[0], client: parts[1], way: parts[2] + "/" + parts[3], value: map[string]float64{}}
	for i := 2; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return f, fmt.Errorf("%q is no number", fields[i])
		}
		f.value[fields[i+1]] = v
	}
	return f, nil
}

var ways = []string{"sampled/1", "sampled/100", "unsampled/1", "unsampled/100"}

func write(w io.Writer, all []*block) {
	for _, b := range all {
		fmt.Fprintf(w, "### Broker: %s\n\n", b.is("broker"))
		for _, benchmark := range []string{"Produce", "Consume"} {
			var clients []string
			for _, l := range b.lines {
				if l.benchmark == benchmark {
					clients = appendNew(clients, l.client)
				}
			}
			if len(clients) == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | sampled, 1 a call | sampled, 100 a call | unsampled, 1 a call | unsampled, 100 a call |\n|---|---|---|---|---|\n", strings.ToLower(benchmark))
			for _, c := range clients {
				fmt.Fprintf(w, "| %s |", c)
				for _, way := range ways {
					fmt.Fprintf(w, " %s |", b.cell(benchmark, c, way))
				}
				fmt.Fprintln(w)
			}
			fmt.Fprintln(w)
		}
		for _, n := range b.notes {
			fmt.Fprintf(w, "- %s\n", n)
		}
		if len(b.notes) > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "Measured with %s.\n\n", strings.Join(b.config, ", "))
	}
}

// cell tells a raw client's own figures, and what another adds to them.
func (b *block) cell(benchmark, client, way string) string {
	for _, l := range b.lines {
		if l.benchmark != benchmark || l.client != client || l.way != way {
			continue
		}
		if isRaw(client) {
			return fmt.Sprintf("%.2f µs, %.2f allocs, %.0f B", l.value["cpu-us/msg"], l.value["allocs/msg"], l.value["B/msg"])
		}
		return fmt.Sprintf("%+.2f µs, %+.2f allocs, %+.0f B", l.value["over-raw-us/msg"], l.value["over-raw-allocs/msg"], l.value["over-raw-B/msg"])
	}
	return "–"
}

func isRaw(client string) bool {
	return client == "kafka-go" || client == "franz-go" || client == "sarama"
}
