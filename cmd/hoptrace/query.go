package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/web/api"
)

const queryUsage = `hoptrace query asks a running server for anything that its UI shows.

  hoptrace query spans 'service:payments duration>1s' --from -1h
  hoptrace query hops 'topic:orders backlog>2s' --order -backlog --format csv > slow.csv
  hoptrace query issues 'is:unresolved (level:error OR level:fatal)' --order freq
  hoptrace query logs 'level:error "card declined"'
  hoptrace query traces 'status:error http.route:/orders'      traces with a span that matches
  hoptrace query messages 'topic:orders backlog>1s'
  hoptrace query topics | lag | topology | ledger | releases | monitors | clocks | feedback | metrics | discarded
  hoptrace query traces/ID                one trace with all that hangs together with it
  hoptrace query records/TOPIC/PARTITION/OFFSET
  hoptrace query health | dead-letters | projects | members | audit    as JSON
  hoptrace query find q=orders/3@812      what a name, id, key or place leads to
  hoptrace query saved                    saved queries;  saved/NAME runs one
  hoptrace query lag state=not-ok         parameters of the route (docs: web/api/openapi.yaml)
  hoptrace query /api/v1/PATH name=value  any route of the API, as JSON

  --from, --to TIME    RFC 3339, Unix ns, or before now as -1h30m (default: -24h for spans, hops and logs)
  --format FORM        table, json, csv or ndjson (default: table; JSON of one thing, whose list
                       table, csv and ndjson give: issues/1 its events, traces/ID its hops, lag/GROUP its
                       partitions, topics/TOPIC its steps, topics/TOPIC/heatmap its cells)
  --limit N            rows (default 50 of a table; else all that the server gives, at most 50,000)
  --order FIELD        of spans and hops: time, duration, age, backlog …; with - before it largest first;
                       of messages: newest, slowest, sent; of issues: date, new, freq, users;
                       of topics: topic, read, failed, wait, behind, done
  --project ID
  --server URL         default http://127.0.0.1:8090
  --token TOKEN        an API token, or in the environment HOPTRACE_TOKEN

The language of spans, hops, logs, traces, messages and issues: docs/search.md. It ends with 1 when the server does not
answer or refuses, with 2 when the command is wrong, with 130 when it was interrupted, which
ends the question in the engine, too.
`

// queryView is what a word of the command asks for.
type queryView struct {
	path    string
	text    string   // parameter of the query
	columns []string // of a table; of its CSV
	timed   bool     // the last 24 hours unless a time is given
	streams bool     // its limit is not told to the server, which sends all pages
	pages   bool     // the list has pages when it is asked for each delivery
	order   string   // parameter of --order; empty: the same
	within  []string // columns of the list of one of them, as traces/ID
}

var hopColumns = []string{"end", "topic", "partition", "offset", "producer.service", "group", "endToEnd_ns", "backlog_ns", "processing_ns", "failed"}

var queryViews = map[string]queryView{
	"spans":     {path: "/search/spans", text: "q", timed: true, streams: true, columns: []string{"start", "service", "name", "took", "status", "traceId"}},
	"hops":      {path: "/search/hops", text: "q", timed: true, streams: true, columns: hopColumns},
	"logs":      {path: "/logs", text: "q", timed: true, columns: []string{"time", "level", "service", "body"}},
	"issues":    {path: "/issues", text: "query", order: "sort", columns: []string{"id", "status", "level", "title", "culprit", "events", "lastSeen"}, within: []string{"time", "level", "type", "value", "topic", "partition", "offset", "group", "release", "id"}},
	"traces":    {path: "/traces", text: "q", timed: true, columns: []string{"start", "traceId", "root", "service", "durationNs", "spans", "errors"}, within: hopColumns},
	"messages":  {path: "/hops", text: "q", pages: true, timed: true, columns: hopColumns},
	"topics":    {path: "/topics", order: "sort", columns: []string{"topic", "group", "produced", "consumed", "failed", "lagNs", "residence.p50Ns", "residence.p99Ns", "processing.p99Ns", "end_to_end.p99Ns", "lastSeen"}, within: []string{"partition", "from", "side", "group", "messages", "part", "stat", "valueNs", "owners", "failed", "bytes", "residence.p50Ns", "residence.p99Ns", "processing.p99Ns"}},
	"lag":       {path: "/lag", columns: []string{"cluster", "group", "topic", "state", "lag", "behindNs"}, within: []string{"topic", "partition", "state", "owner", "committed", "logEnd", "lag", "behindNs", "reason"}},
	"topology":  {path: "/topology"},
	"ledger":    {path: "/ledger"},
	"releases":  {path: "/releases"},
	"monitors":  {path: "/monitors"},
	"metrics":   {path: "/metrics"},
	"clocks":    {path: "/clocks"},
	"feedback":  {path: "/feedback"},
	"discarded": {path: "/discarded"},
}

// queryObjects are words whose answer is printed as the JSON that it is.
var queryObjects = []string{"records", "saved", "status", "names", "advice", "health", "dead-letters", "find", "projects", "members", "audit"}

// takesPairs tells that what follows may be parameters of the route: where no query
// is, which may hold = itself.
func takesPairs(what string) bool {
	word, rest, _ := strings.Cut(what, "/")
	return rest != "" || queryViews[word].text == ""
}

type queryFlags struct {
	server, token, project, format, order, from, to string
	limit                                           int
	what, text                                      string
	params                                          url.Values
}

func parseQuery(args []string) (f queryFlags, err error) {
	f = queryFlags{server: "http://127.0.0.1:8090", params: url.Values{}}
	limit := ""
	if err := (flags{
		values: map[string]*string{"--server": &f.server, "--token": &f.token, "--project": &f.project, "--format": &f.format, "--order": &f.order, "--from": &f.from, "--to": &f.to, "--limit": &limit},
		word: func(w string) error {
			switch name, value, pair := strings.Cut(w, "="); {
			case f.what == "":
				f.what = w
			case pair && takesPairs(f.what):
				f.params.Add(name, value)
			case f.text == "":
				f.text = w
			default:
				return fmt.Errorf("%q follows the query; put the whole query in quotes", w)
			}
			return nil
		},
	}).read(args); err != nil {
		return f, err
	}
	f.server = strings.TrimRight(f.server, "/")
	if f.project != "" {
		if f.project, err = projectID(f.project); err != nil {
			return f, err
		}
	}
	if limit != "" {
		if f.limit, err = strconv.Atoi(limit); err != nil || f.limit < 1 {
			return f, fmt.Errorf("--limit is %q, want a whole number of rows", limit)
		}
	}
	if f.format != "" && !slices.Contains([]string{"table", "json", "csv", "ndjson"}, f.format) {
		return f, fmt.Errorf("--format is %q, want table, json, csv or ndjson", f.format)
	}
	if f.what == "" {
		return f, errors.New("what shall be asked for?")
	}
	word, rest, _ := strings.Cut(f.what, "/")
	_, known := queryViews[word]
	if !strings.HasPrefix(f.what, "/") && !known && !slices.Contains(queryObjects, word) {
		return f, fmt.Errorf("there is nothing called %q; it knows %s, or a path as /api/v1/status", f.what, strings.Join(slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(queryObjects), maps.Keys(queryViews)))), ", "))
	}
	if word == "records" && strings.Count(rest, "/") != 2 {
		return f, fmt.Errorf("%q names no record; write records/TOPIC/PARTITION/OFFSET, with %%2F for a slash in the topic", f.what)
	}
	if v := queryViews[word]; f.text != "" && (rest != "" || v.text == "") {
		return f, fmt.Errorf("%s takes no query", f.what)
	}
	return f, nil
}

// runQuery is `hoptrace query`; it returns the exit code as run does.
func runQuery(args []string, stdout, stderr io.Writer) int {
	f, err := parseQuery(args)
	if err != nil {
		fmt.Fprintf(stderr, "hoptrace query: %v\n\n%s", err, queryUsage)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := answerQuery(ctx, f, stdout, stderr); {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "hoptrace query: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "hoptrace query:", err)
		return 1
	}
	return 0
}

func answerQuery(ctx context.Context, f queryFlags, stdout, stderr io.Writer) error {
	word, rest, _ := strings.Cut(f.what, "/")
	if word == "saved" && rest != "" {
		var err error
		if f, err = savedAs(ctx, f, rest); err != nil {
			return err
		}
		word, rest = f.what, ""
	}
	set := func(name, value string) {
		if value != "" {
			f.params.Set(name, value)
		}
	}
	set("project", f.project)
	set("from", f.from)
	set("to", f.to)
	v, list := queryViews[word]
	if rest != "" || !list {
		path := f.what
		switch {
		case strings.HasPrefix(path, "/"):
		case word == "saved":
			path = "/api/v1/queries"
		default:
			path = "/api/v1/" + path
		}
		set("order", f.order)
		if f.limit > 0 {
			f.params.Set("limit", strconv.Itoa(f.limit))
		}
		switch f.format {
		case "csv", "ndjson":
			f.params.Set("format", f.format)
		case "table":
			return f.printPath(ctx, path, stdout, stderr)
		}
		return f.copyJSON(ctx, path, stdout)
	}
	if v.timed && f.from == "" {
		f.params.Set("from", "-24h")
	}
	if f.text != "" {
		f.params.Set(v.text, f.text)
	}
	set(cmp.Or(v.order, "order"), f.order)
	table := f.format == "" || f.format == "table"
	if table && f.limit == 0 {
		f.limit = 50
	}
	if v.pages {
		f.params.Set("each", "true")
	}
	if f.limit > 0 && f.limit <= 500 && !v.streams && slices.Contains([]string{"/logs", "/issues", "/traces", "/hops", "/lag", "/feedback", "/releases", "/discarded"}, v.path) {
		f.params.Set("limit", strconv.Itoa(f.limit)) // more are cut from all pages
	}
	f.params.Set("format", f.format)
	if table {
		f.params.Set("format", "csv")
	}
	resp, err := f.ask(ctx, "/api/v1"+v.path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if table {
		if err := printRows(resp.Body, v.columns, f.limit, stdout, stderr); err != nil || word != "hops" || f.text == "" {
			return err
		}
		return f.tellUnknown(ctx, stderr)
	}
	if f.format == "csv" && f.limit > 0 {
		return cutCSV(resp.Body, f.limit, stdout)
	}
	if f.limit > 0 {
		return cutJSON(resp.Body, f.limit, f.format == "ndjson", stdout)
	}
	if _, err := io.Copy(stdout, resp.Body); err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", f.server, err)
	}
	if resp.Trailer.Get("X-Hoptrace-More") == "true" {
		fmt.Fprintf(stderr, "hoptrace query: there are more than these %s rows; narrow the time or the query\n", resp.Trailer.Get("X-Hoptrace-Rows"))
	}
	return nil
}

// tellUnknown says how many hops a query cannot judge, because a part that it asks for
// was not measured.
func (f queryFlags) tellUnknown(ctx context.Context, stderr io.Writer) error {
	f.params = maps.Clone(f.params)
	for _, name := range []string{"format", "limit", "order", "cursor"} {
		f.params.Del(name)
	}
	f.params.Set("buckets", "2")
	resp, err := f.ask(ctx, "/api/v1/search/hops/histogram")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var found struct{ Unknown *api.SearchUnknown }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found); err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", f.server, err)
	}
	if u := found.Unknown; u != nil && u.Rows > 0 {
		fmt.Fprintf(stderr, "hoptrace query: of %d hops more the %s is unknown; hops '%s' lists them\n", u.Rows, u.Part, u.Query)
	}
	return nil
}

// printPath prints the list of a route as a table.
func (f queryFlags) printPath(ctx context.Context, path string, stdout, stderr io.Writer) error {
	f.params.Set("format", "csv")
	resp, err := f.ask(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	word, _, _ := strings.Cut(f.what, "/")
	return printRows(resp.Body, queryViews[word].within, cmp.Or(f.limit, 50), stdout, stderr)
}

// savedAs is the question that a saved query stands for.
func savedAs(ctx context.Context, f queryFlags, name string) (queryFlags, error) {
	one := f
	one.params = url.Values{}
	if f.project != "" {
		one.params.Set("project", f.project)
	}
	resp, err := one.ask(ctx, "/api/v1/queries")
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	var list struct {
		Queries []struct{ Name, Subject, Query, View string }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&list); err != nil {
		return f, fmt.Errorf("cannot read the saved queries of %s: %w", f.server, err)
	}
	for _, q := range list.Queries {
		if q.Name != name {
			continue
		}
		view, _ := url.ParseQuery(q.View) // as the server took it
		f.what, f.text = q.Subject, q.Query
		for at, v := range map[*string]string{&f.from: view.Get("from"), &f.to: view.Get("to"), &f.order: view.Get("order")} {
			if *at == "" && v != "all" {
				*at = v
			}
		}
		return f, nil
	}
	return f, fmt.Errorf("no query is saved as %q; `hoptrace query saved` lists them", name)
}

// ask gives an answer whose status is good.
func (f queryFlags) ask(ctx context.Context, path string) (*http.Response, error) {
	if f.params.Get("format") == "" {
		f.params.Del("format")
	}
	sign := "?"
	if strings.Contains(path, "?") {
		sign = "&"
	}
	if encoded := f.params.Encode(); encoded != "" {
		path += sign + encoded
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.server+path, nil)
	if err != nil {
		return nil, fmt.Errorf("--server is %q: %w", f.server, err)
	}
	showToken(req, f.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s: %w (is `hoptrace all` or `hoptrace web` running there? --server names another)", f.server, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what it says, if anything
	return nil, refusal(f.server, resp, body)
}

func (f queryFlags) copyJSON(ctx context.Context, path string, w io.Writer) error {
	resp, err := f.ask(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		_, err = io.Copy(w, resp.Body)
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", f.server, err)
	}
	var out any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return fmt.Errorf("%s answers no JSON: %w", f.server, err)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func cutCSV(r io.Reader, limit int, w io.Writer) error {
	in, out := csv.NewReader(r), csv.NewWriter(w)
	out.UseCRLF = true
	for range limit + 1 {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func cutJSON(r io.Reader, limit int, lines bool, w io.Writer) error {
	d := json.NewDecoder(r)
	if !lines {
		if _, err := d.Token(); err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
	}
	rows := []string{}
	for len(rows) < limit && d.More() {
		var row json.RawMessage
		if err := d.Decode(&row); err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		rows = append(rows, string(row))
	}
	text := strings.Join(rows, "\n") + "\n"
	if !lines {
		text = "[" + strings.Join(rows, ",\n") + "]\n"
	} else if len(rows) == 0 {
		text = ""
	}
	_, err := io.WriteString(w, text)
	return err
}

// widest bounds a cell of a table in characters.
const widest = 60

// printRows prints columns of a CSV; without columns all of them.
func printRows(r io.Reader, columns []string, limit int, stdout, stderr io.Writer) error {
	in := csv.NewReader(r)
	names, err := in.Read()
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	names = slices.Clone(names)
	if len(columns) == 0 {
		columns = names[:min(len(names), 10)]
	}
	at := map[string]int{}
	for i, n := range names {
		at[n] = i
	}
	columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		_, ok := at[c]
		return !ok && c != "took"
	})
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	head := make([]string, len(columns))
	for i, c := range columns {
		c = strings.TrimSuffix(strings.TrimSuffix(c, "_ns"), "Ns")
		head[i] = strings.ToUpper(strings.ReplaceAll(c, ".", " "))
	}
	fmt.Fprintln(t, strings.Join(head, "\t"))
	n := 0
	for ; n < limit; n++ {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		cells := make([]string, len(columns))
		for i, c := range columns {
			if c == "took" {
				start, _ := strconv.ParseInt(row[at["start"]], 10, 64)
				end, _ := strconv.ParseInt(row[at["end"]], 10, 64)
				cells[i] = time.Duration(end - start).String()
				continue
			}
			cells[i] = cellText(c, row[at[c]])
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if n == limit {
		if _, err := in.Read(); err == nil {
			fmt.Fprintf(stderr, "hoptrace query: the first %d; --limit gives more\n", n)
		}
	}
	if n == 0 {
		fmt.Fprintln(stderr, "hoptrace query: nothing is there; ask for a longer time (--from -168h) or for less")
	}
	return nil
}

// timeColumns hold Unix ns; in some tables a count has the same name.
var timeColumns = []string{"start", "end", "time", "at", "received", "firstSeen", "lastSeen", "created", "changed", "from", "to"}

// firstTime is the least Unix ns that a time of ours has: 1973.
const firstTime = 1e17

// cellText is a value of a CSV as people read it.
func cellText(column, v string) string {
	ns, err := strconv.ParseInt(v, 10, 64)
	switch {
	case v == "":
		return "-"
	case err == nil && slices.Contains(timeColumns, column[strings.LastIndexByte(column, '.')+1:]) && ns >= firstTime:
		return time.Unix(0, ns).UTC().Format("2006-01-02 15:04:05.000Z")
	case err == nil && (strings.HasSuffix(column, "_ns") || strings.HasSuffix(column, "Ns")):
		return time.Duration(ns).String()
	case strings.HasSuffix(strings.ToLower(column), "persecond"):
		if rate, err := strconv.ParseFloat(v, 64); err == nil {
			if rate >= 1000 {
				return strconv.FormatFloat(rate, 'f', 0, 64)
			}
			return strconv.FormatFloat(rate, 'g', 3, 64)
		}
	}
	if len(v) > 1 && v[0] == '\'' && strings.ContainsRune("=+-@|%", rune(v[1])) {
		v = v[1:] // no spreadsheet reads it
	}
	v = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, v)
	if r := []rune(v); len(r) > widest {
		v = string(r[:widest-1]) + "…"
	}
	return v
}
