package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api"
)

const recordUsage = `hoptrace record tells what became of one Kafka record: its way, its traces, and what failed on it.

  hoptrace record TOPIC/PARTITION@OFFSET [--project ID] [--json]

It takes the forms that hoptrace find takes, too, where they name one record.

It asks a running server: --server http://127.0.0.1:8090, with --token or HOPTRACE_TOKEN where one must sign in. It ends with 1 when
nothing is stored about the record.
`

type recordFlags struct {
	server, token, project string
	json                   bool
	text                   string
	query                  find.Query
	record                 schemas.RecordRef // when the query names it
}

func parseRecord(args []string) (f recordFlags, err error) {
	f.server = "http://127.0.0.1:8090"
	named := false
	for i := 0; i < len(args); i++ {
		if args[i] == "--json" {
			f.json = true
			continue
		}
		if !strings.HasPrefix(args[i], "--") && !named {
			named = true
			if f.query, err = find.Parse(args[i]); err != nil {
				return f, err
			}
			if f.text = args[i]; f.query.Record != nil {
				f.record = *f.query.Record
			}
			continue
		}
		name, value, hasValue := strings.Cut(args[i], "=")
		if name != "--server" && name != "--token" && name != "--project" {
			return f, fmt.Errorf("no flag or word %q", args[i])
		}
		if !hasValue {
			if value, err = nextValue(args, &i); err != nil {
				return f, err
			}
		}
		switch name {
		case "--server":
			f.server = strings.TrimRight(value, "/")
		case "--token":
			f.token = value
		case "--project":
			if f.project, err = projectID(value); err != nil {
				return f, err
			}
		}
	}
	if !named {
		return f, errors.New("which record? name it as TOPIC/PARTITION@OFFSET")
	}
	return f, nil
}

// runRecord is `hoptrace record`; it returns the exit code as run does.
func runRecord(args []string, stdout, stderr io.Writer) int {
	f, err := parseRecord(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace record: %v\n\n%s", err, recordUsage)
		return 2
	}
	if f.query.Record == nil {
		if f.record, err = recordOf(f); err != nil {
			fmt.Fprintln(stderr, "hoptrace record:", err)
			return 1
		}
	}
	r, raw, err := askRecord(f)
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace record:", err)
		return 1
	}
	if f.json {
		_, _ = stdout.Write(append(raw, '\n'))
		return 0
	}
	printRecord(stdout, f, r)
	return 0
}

// recordOf looks up which record is meant.
func recordOf(f recordFlags) (schemas.RecordRef, error) {
	found, _, err := askFind(findFlags{server: f.server, token: f.token, project: f.project, text: f.text})
	if err != nil {
		return schemas.RecordRef{}, err
	}
	if len(found.Records) == 1 && found.Next == nil {
		if r := found.Records[0]; r.Partition != nil && r.Offset != nil {
			return schemas.RecordRef{Topic: r.Topic, Partition: *r.Partition, Offset: *r.Offset}, nil
		}
	}
	if len(found.Records) > 1 {
		return schemas.RecordRef{}, fmt.Errorf("several records answer to %q: `hoptrace find` lists them", f.text)
	}
	return schemas.RecordRef{}, fmt.Errorf("no record answers to %q: %s", f.text, found.Finding)
}

func askRecord(f recordFlags) (r api.RecordDetail, raw []byte, err error) {
	path := "/api/v1/records/" + url.PathEscape(f.record.Topic) + "/" + strconv.Itoa(int(f.record.Partition)) + "/" + strconv.FormatInt(f.record.Offset, 10)
	if f.project != "" {
		path += "?project=" + f.project
	}
	raw, err = askServer(f.server, f.token, path, &r)
	return r, raw, err
}

// shownEvents is how many of a record's events are printed.
const shownEvents = 10

func printRecord(w io.Writer, f recordFlags, r api.RecordDetail) {
	server := f.server
	fmt.Fprintf(w, "record %s/%d@%d\n", r.Topic, r.Partition, r.Offset)
	for i := range r.Hops {
		printHop(w, &r.Hops[i])
	}
	if len(r.Hops) == 0 {
		fmt.Fprintln(w, "\nno span about it is stored")
	}
	if r.Journey != "" {
		fmt.Fprintf(w, "\ntrace %s\n  %s%s\n", r.Traces[0], server, withProject(r.Journey, f.project))
		for _, id := range r.Traces[1:] {
			fmt.Fprintln(w, "trace", id)
		}
	}
	if len(r.Issues) == 0 {
		fmt.Fprintln(w, "\nno error is known to have happened on it")
		return
	}
	for i := range r.Issues {
		issue := &r.Issues[i]
		n := 0
		for _, e := range r.Events {
			if e.Issue == issue.ID {
				n++
			}
		}
		fmt.Fprintf(w, "\nissue %s %s: %s\n  %s%s\n  events on this record: %d; in all: %d", issue.ID, issue.Status, issue.Title, server, withProject("/issues/"+issue.ID, f.project), n, issue.Events)
		if issue.Records > 0 { // that events name themselves
			fmt.Fprintf(w, " from %d records", issue.Records)
		}
		fmt.Fprintln(w)
		shown := 0
		for _, e := range r.Events {
			if e.Issue != issue.ID {
				continue
			}
			if shown++; shown > shownEvents {
				fmt.Fprintf(w, "  and %d more\n", n-shownEvents)
				break
			}
			fmt.Fprintf(w, "  %s event %s, found by its %s\n", timeText(e.Event.Time), e.Event.ID, map[string]string{"event": "own word", "span": "span"}[e.FoundBy])
		}
	}
}

// withProject makes a page's path one of a project. Without it is of the first.
func withProject(path, project string) string {
	switch {
	case project == "":
		return path
	case strings.Contains(path, "?"):
		return path + "&project=" + project
	}
	return path + "?project=" + project
}

func printHop(w io.Writer, h *api.Hop) {
	from, to := "a producer that is not instrumented", "nobody yet"
	if h.Producer != nil {
		from = h.Producer.Service
	}
	if h.Consumer != nil {
		to = h.Consumer.Service
		if h.Group != "" {
			to += " (group " + h.Group + ")"
		}
	}
	fmt.Fprintf(w, "\n%s → %s → %s", from, h.Topic, to)
	if h.Delivery > 1 {
		fmt.Fprintf(w, ", delivery %d", h.Delivery)
	}
	if h.Retry != nil && h.Retry.Attempt > 0 {
		fmt.Fprintf(w, ", after %d failures", h.Retry.Attempt)
	}
	if h.Failed {
		fmt.Fprint(w, ", failed")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range h.Parts {
		if p.Known {
			fmt.Fprintf(t, "  %s\t%s\n", strings.ReplaceAll(p.Name, "_", " "), time.Duration(p.Ns))
		} else {
			fmt.Fprintf(t, "  %s\tunknown\n", strings.ReplaceAll(p.Name, "_", " "))
		}
	}
	if h.EndToEnd.Known {
		fmt.Fprintf(t, "  end to end\t%s\n", time.Duration(h.EndToEnd.Ns))
	}
	_ = t.Flush()
}

// timeText is a time of the API as people read it.
func timeText(n api.Nanos) string {
	ns, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		return string(n)
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000Z")
}
