package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/web/api"
)

const findUsage = `hoptrace find looks one message up by what one has in hand.

  hoptrace find QUERY [--from TIME] [--to TIME] [--project ID] [--json]

QUERY is orders/3@918273, orders-3@918273 or "orders 3 918273", a trace id, a span
id, a W3C traceparent, a message's id, a conversation's id, a key or a key's hash.
A word is looked for as each of these that it may be; one of trace: span: id:
conversation: key: record: before it chooses. A key behind key: is hashed here: it
is neither sent nor stored. TIME is RFC 3339, or as -24h; without it all times are
looked at. It asks a running server: --server http://127.0.0.1:8090, with --token or
HOPTRACE_TOKEN where one must sign in. It ends with 1 when nothing answers.
`

type findFlags struct {
	server, token, project, text, from, to string
	json                                   bool
}

func parseFind(args []string) (f findFlags, err error) {
	f.server = "http://127.0.0.1:8090"
	var words []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--json" {
			f.json = true
			continue
		}
		if !strings.HasPrefix(args[i], "--") {
			words = append(words, args[i])
			continue
		}
		name, value, hasValue := strings.Cut(args[i], "=")
		to := map[string]*string{"--server": &f.server, "--token": &f.token, "--project": &f.project, "--from": &f.from, "--to": &f.to}[name]
		if to == nil {
			return f, fmt.Errorf("no flag %q", args[i])
		}
		if !hasValue {
			if value, err = nextValue(args, &i); err != nil {
				return f, err
			}
		}
		*to = value
	}
	if f.project != "" {
		if f.project, err = projectID(f.project); err != nil {
			return f, err
		}
	}
	f.server = strings.TrimRight(f.server, "/")
	if f.text = strings.Join(words, " "); f.text == "" {
		return f, errors.New("what is looked for?")
	}
	_, err = find.Parse(f.text)
	return f, err
}

// asked is the query as the server gets it: of a key its hash.
func (f findFlags) asked() string {
	q, err := find.Parse(f.text)
	if kind, _, ok := strings.Cut(f.text, ":"); err == nil && ok && strings.EqualFold(strings.TrimSpace(kind), "key") && len(q.Keys) == 1 {
		return fmt.Sprintf("key:%016x", q.Keys[0])
	}
	return f.text
}

func askFind(f findFlags) (r api.Found, raw []byte, err error) {
	values := url.Values{"q": {f.asked()}}
	for name, v := range map[string]string{"project": f.project, "from": f.from, "to": f.to} {
		if v != "" {
			values.Set(name, v)
		}
	}
	raw, err = askServer(f.server, f.token, "/api/v1/find?"+values.Encode(), &r)
	return r, raw, err
}

// runFind is `hoptrace find`; it returns the exit code as run does.
func runFind(args []string, stdout, stderr io.Writer) int {
	f, err := parseFind(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace find: %v\n\n%s", err, findUsage)
		return 2
	}
	r, raw, err := askFind(f)
	if err != nil {
		fmt.Fprintln(stderr, "hoptrace find:", err)
		return 1
	}
	if f.json {
		_, _ = stdout.Write(append(raw, '\n'))
	} else {
		printFound(stdout, f, &r)
	}
	if len(r.Records)+len(r.Traces)+len(r.Spans) == 0 {
		return 1
	}
	return 0
}

func printFound(w io.Writer, f findFlags, r *api.Found) {
	fmt.Fprintln(w, strings.ReplaceAll(r.Finding.String(), " | ", "\n"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, x := range r.Records {
		name, at := x.Topic+", offset unknown", ""
		if x.Partition != nil && x.Offset != nil {
			name = fmt.Sprintf("%s/%d@%d", x.Topic, *x.Partition, *x.Offset)
		}
		if x.Last != "0" {
			at = timeText(x.Last)
		}
		failed, trace := "", ""
		if x.Failed {
			failed = "failed"
		}
		if x.TraceID != "" {
			trace = "\ttrace " + x.TraceID
		}
		fmt.Fprintf(t, "record\t%s\t%s\t%s → %s\t%s\t%s%s\n", name, at, x.Producer, strings.Join(x.Groups, ", "), failed, f.server+withProject(x.Href, f.project), trace)
	}
	for _, id := range r.Traces {
		fmt.Fprintf(t, "trace\t%s\t\t\t\t%s\n", id, f.server+withProject("/traces/"+id, f.project))
	}
	for _, s := range r.Spans {
		fmt.Fprintf(t, "span\t%s\t%s\t%s\t%s\t%s\n", s.Name, timeText(s.Start), s.Service, time.Duration(s.DurationNs), f.server+withProject(s.Href, f.project))
	}
	_ = t.Flush()
	if r.Next != nil {
		fmt.Fprintln(w, "and more: --from and --to narrow it")
	}
}
