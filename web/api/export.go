package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/deadletter"
)

// maxExport bounds the rows of one export.
const maxExport = 50_000

// exportPage is how many rows of an export are in memory at a time.
const exportPage = 500

// exportTime bounds an export as a whole.
const exportTime = 2 * time.Minute

// maxExports bounds the exports that are sent at the same time.
const maxExports = 4

// tables are the lists that can be had as CSV and JSON, by the name of their rows in
// the answer. All pages are sent, unless limit asks for one.
var tables = map[string]string{
	"/api/v1/traces": "traces", "/api/v1/hops": "hops", "/api/v1/topics": "topics", "/api/v1/lag": "lines", "/api/v1/logs": "logs", "/api/v1/issues": "issues",
	"/api/v1/ledger": "lines", "/api/v1/topology": "edges", "/api/v1/feedback": "feedback", "/api/v1/releases": "releases", "/api/v1/monitors": "monitors",
	"/api/v1/metrics": "metrics", "/api/v1/clocks": "clocks", "/api/v1/discarded": "discarded", "/api/v1/dead-letters": "letters",
	"/api/v1/lag/{group}": "partitions", "/api/v1/traces/{id}": "hops", "/api/v1/traces/{id}/spans/{span}/batch": "messages", "/api/v1/find": "records",
	"/api/v1/issues/{id}": "events", "/api/v1/items": "files", "/api/v1/audit": "entries", "/api/v1/topics/{topic}": "steps", "/api/v1/topics/{topic}/heatmap": "cells",
}

// tabular is an answer whose table is no list of its own.
type tabular interface {
	table(q *query) tableRows
}

type tableRows struct {
	rows   any  // a slice of structs
	listed int  // how many of Total they are of
	more   bool // the answer leaves some out that no page has
}

// pageSizes are the largest limits of lists whose pages have fewer rows than most.
var pageSizes = map[string]int{"/api/v1/dead-letters": deadletter.MaxLetters}

// format is csv, json or ndjson when the answer is wanted as a table.
func (q *query) format() string {
	switch s := q.text("format"); s {
	case "", "csv", "json", "ndjson":
		return s
	default:
		q.refuse("format", s, "csv, json or ndjson")
		return ""
	}
}

// export is a table that is sent as it is read. Rows are structs of one type.
type export struct {
	name, format string
	at           time.Time
	row          reflect.Type
	// next gives at most so many more rows; none is the end.
	next func(ctx context.Context, limit int) (reflect.Value, error)
	most int
	more bool // behind what next gives there is more that this export does not have
}

// exportOf makes an export of rows that come in pages. Its first page is read at once,
// so that a question which fails is answered with what is wrong.
func exportOf[T any](q *query, name, format string, page func(ctx context.Context, limit int) ([]T, error)) (any, error) {
	if q.fault != nil {
		return nil, q.fault
	}
	ended := false
	return &export{
		name: name, format: format, at: q.now, row: reflect.TypeFor[T](), most: maxExport,
		next: func(ctx context.Context, limit int) (reflect.Value, error) {
			if ended {
				return reflect.ValueOf([]T(nil)), nil
			}
			rows, err := page(ctx, limit)
			ended = len(rows) < limit
			return reflect.ValueOf(rows), err
		},
	}, nil
}

// asTable gives the list of an answer as a table when its format is asked for. known
// are the parameters that the route takes.
func asTable(route string, known []string, answer func(context.Context, *query) (any, error)) func(context.Context, *query) (any, error) {
	return func(ctx context.Context, q *query) (any, error) {
		format := q.format()
		if format == "" || q.fault != nil {
			return answer(ctx, q)
		}
		size := cmp.Or(pageSizes[route], most)
		pages := tablePages{route: route, q: *q, answer: answer, whole: q.text("limit") == "" && slices.Contains(known, "limit")}
		if pages.whole {
			pages.q.params = q.with("limit", strconv.Itoa(size))
		}
		first, err := pages.page(ctx)
		if err != nil {
			return nil, err
		}
		out := &export{name: cmp.Or(fileNames[route], route[strings.LastIndexByte(route, '/')+1:]), format: format, at: q.now, row: first.Type().Elem(), most: maxExport}
		if !pages.whole {
			out.most, out.more = first.Len(), pages.next != nil || pages.more
		} else if pages.next == nil {
			out.more = pages.more || !pages.tabular && first.Len() == size // a full page of a list that has one only
		}
		out.next = func(ctx context.Context, limit int) (reflect.Value, error) {
			for first.Len() == 0 && pages.whole && pages.next != nil {
				pages.q.params = pages.next
				var err error
				if first, err = pages.page(exporters.OneLook(ctx)); err != nil {
					return first, err
				}
			}
			n := min(limit, first.Len())
			page := first.Slice(0, n)
			first = first.Slice(n, first.Len())
			return page, nil
		}
		return out, nil
	}
}

// fileNames are what the rows of a route are called in a file's name, where it is
// not the last word of the route.
var fileNames = map[string]string{
	"/api/v1/traces/{id}": "journey", "/api/v1/traces/{id}/spans/{span}/batch": "batch", "/api/v1/lag/{group}": "lag-of-group", "/api/v1/issues/{id}": "events",
	"/api/v1/topics/{topic}": "topic",
}

// tablePages asks for the pages of a list one after another.
type tablePages struct {
	route  string
	q      query
	answer func(context.Context, *query) (any, error)
	whole  bool
	next   *params // nil behind the last page
	// What the last answer said of itself as a table.
	tabular, more bool
}

// page gives the rows of a page and notes what asks for the one behind it.
func (p *tablePages) page(ctx context.Context) (reflect.Value, error) {
	out, err := p.answer(ctx, &p.q)
	if err == nil {
		err = p.q.fault
	}
	if err != nil {
		return reflect.Value{}, err
	}
	v, rows := reflect.Indirect(reflect.ValueOf(out)), reflect.Value{}
	p.next = nil
	listed := -1
	if t, ok := out.(tabular); ok {
		table := t.table(&p.q)
		rows, listed = reflect.ValueOf(table.rows), table.listed
		p.tabular, p.more = true, table.more
	}
	for i := range v.NumField() {
		switch name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name {
		case tables[p.route]:
			if !rows.IsValid() {
				rows = v.Field(i)
			}
		case "next", "nextEvents":
			switch next := v.Field(i).Interface().(type) {
			case *string:
				if next != nil {
					p.next = p.q.with("before", *next)
				}
			case *Nanos:
				if next != nil {
					p.next = p.q.with("before", string(*next))
				}
			case *int:
				if next != nil {
					p.next = p.q.with("skip", strconv.Itoa(*next))
				}
			case *LogCursor:
				if next != nil {
					p.next = p.q.with("before", string(next.Before), "skip", strconv.Itoa(next.Skip))
				}
			case *FileCursor:
				if next != nil {
					p.next = p.q.with("before", string(next.Before), "skip", strconv.Itoa(next.Skip))
				}
			default:
				return rows, fmt.Errorf("route %s pages by %T, which an export cannot follow", p.route, next)
			}
		}
	}
	if !rows.IsValid() {
		return rows, fmt.Errorf("route %s has no list %s", p.route, tables[p.route])
	}
	for _, name := range []string{"Total", "Records"} { // pages by how many were skipped
		if total := v.FieldByName(name); p.next == nil && total.IsValid() && total.CanInt() {
			if listed < 0 {
				listed = rows.Len()
			}
			skip, _ := strconv.Atoi(p.q.text("skip")) // the route read it
			if at := skip + listed; int64(at) < total.Int() && listed > 0 {
				p.next = p.q.with("skip", strconv.Itoa(at))
			}
		}
	}
	return rows, nil
}

var exportTypes = map[string]string{"csv": "text/csv; charset=utf-8; header=present", "json": "application/json", "ndjson": "application/x-ndjson"}

// Headers of an export. How many rows there are is known at its end only, so the
// last two are trailers.
const (
	headerMost = "X-Hoptrace-Rows-At-Most"
	headerRows = "X-Hoptrace-Rows"
	headerMore = "X-Hoptrace-More" // true: there are more rows than this export has
)

// sendExport writes a table, and returns the status code.
func (h *Handler) sendExport(w http.ResponseWriter, r *http.Request, e *export) int {
	select {
	case h.exports <- struct{}{}:
		defer func() { <-h.exports }()
	default:
		return h.write(w, r, nil, errorf(http.StatusServiceUnavailable, "busy", "try again when one has ended", "%d exports are being sent already", cap(h.exports)).after(5*time.Second))
	}
	ctx, cancel := context.WithTimeout(r.Context(), exportTime)
	defer cancel()
	rows, err := e.next(ctx, min(exportPage, e.most))
	if err != nil {
		return h.write(w, r, nil, err)
	}
	header := w.Header()
	header.Set("Content-Type", exportTypes[e.format])
	header.Set("Content-Disposition", disposition("hoptrace-"+e.name+"-"+e.at.UTC().Format("20060102T150405Z")+"."+e.format))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set(headerMost, strconv.Itoa(e.most))
	header.Set("Trailer", headerRows+", "+headerMore)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return http.StatusOK
	}
	n, more, err := e.send(ctx, w, rows)
	if err != nil {
		if r.Context().Err() == nil {
			h.log.Warn("web: an export was sent in part", "path", r.URL.Path, "rows", n, "err", err)
		}
		panic(http.ErrAbortHandler) // the status is out: a cut connection is what is left to tell it with
	}
	header.Set(headerRows, strconv.Itoa(n))
	header.Set(headerMore, strconv.FormatBool(more))
	return http.StatusOK
}

// send writes rows and the pages behind them.
func (e *export) send(ctx context.Context, w http.ResponseWriter, rows reflect.Value) (n int, more bool, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	t := tableWriter{format: e.format, out: out}
	if err := t.begin(e.row); err != nil {
		return 0, false, err
	}
	for {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(chunkTime)); err != nil && !isUnsupported(err) {
			return n, false, err
		}
		for i := range rows.Len() {
			if err := t.row(rows.Index(i)); err != nil {
				return n, false, err
			}
			n++
		}
		if n >= e.most && e.most < maxExport {
			more = e.more
			break
		}
		limit := min(exportPage, e.most-n)
		if rows, err = e.next(ctx, max(limit, 1)); err != nil {
			return n, false, err
		}
		if rows.Len() == 0 || limit == 0 {
			more = e.more || rows.Len() > 0
			break
		}
	}
	return n, more, cmp.Or(t.end(), out.Flush())
}

func isUnsupported(err error) bool {
	return strings.Contains(err.Error(), http.ErrNotSupported.Error())
}

// tableWriter writes rows in one format.
type tableWriter struct {
	format string
	out    io.Writer
	csv    *csv.Writer
	cells  []string
	rows   int
}

func (t *tableWriter) begin(row reflect.Type) error {
	switch t.format {
	case "csv":
		t.csv = csv.NewWriter(t.out)
		t.csv.UseCRLF = true // RFC 4180
		return t.csv.Write(columnsOf(row, "", nil))
	case "json":
		_, err := io.WriteString(t.out, "[")
		return err
	}
	return nil
}

func (t *tableWriter) row(v reflect.Value) error {
	t.rows++
	if t.csv != nil {
		t.cells = cellsOf(v, t.cells[:0])
		return t.csv.Write(t.cells)
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return err
	}
	if t.format == "ndjson" {
		b = append(b, '\n')
	} else if t.rows > 1 {
		b = append([]byte(",\n"), b...)
	}
	_, err = t.out.Write(b)
	return err
}

func (t *tableWriter) end() error {
	if t.csv != nil {
		t.csv.Flush()
		return t.csv.Error()
	}
	if t.format == "json" {
		_, err := io.WriteString(t.out, "]\n")
		return err
	}
	return nil
}

// partNames are the columns that the parts of a hop make.
var partNames = []string{"batch_queue", "retry", "ack", "backlog", "long_poll", "fetch_queue", "processing"}

// hasPartNames tells that a list has an element for each part that is known of several messages.
func hasPartNames(list reflect.Type) bool {
	return list == reflect.TypeFor[[]Quantiles]() || list == reflect.TypeFor[[]PartStep]()
}

// columnsOf names the columns of a row: a struct within it is spread out, the parts
// of a hop are a column each, what is told by part has its columns for each, and any
// other list is one column of JSON.
func columnsOf(t reflect.Type, prefix string, out []string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		typ := f.Type
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch {
		case typ == reflect.TypeFor[[]HopPart]():
			for _, p := range partNames {
				out = append(out, prefix+p+"_ns")
			}
		case hasPartNames(typ):
			for _, part := range topicParts {
				out = append(out, columnsOf(typ.Elem(), prefix+string(part)+".", nil)[1:]...) // without its name
			}
		case typ == reflect.TypeFor[Part]():
			out = append(out, prefix+name+"_ns")
		case typ.Kind() == reflect.Struct:
			out = columnsOf(typ, prefix+name+".", out)
		default:
			out = append(out, prefix+name)
		}
	}
	return out
}

// cellsOf gives a row's cells, in the order of columnsOf. What is unknown is empty.
func cellsOf(v reflect.Value, out []string) []string {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := v.Field(i)
		typ := f.Type()
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		for f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		switch nothing := f.Kind() == reflect.Pointer; {
		case typ == reflect.TypeFor[[]HopPart]():
			known := map[string]string{}
			if !nothing {
				for _, p := range f.Interface().([]HopPart) {
					if p.Known {
						known[p.Name] = strconv.FormatInt(p.Ns, 10)
					}
				}
			}
			for _, p := range partNames {
				out = append(out, known[p])
			}
		case hasPartNames(typ):
			for _, part := range topicParts {
				at := 0
				for at < f.Len() && f.Index(at).Field(0).String() != string(part) {
					at++
				}
				if at < f.Len() {
					out = append(out, cellsOf(f.Index(at), nil)[1:]...)
					continue
				}
				for range typ.Elem().NumField() - 1 {
					out = append(out, "")
				}
			}
		case typ == reflect.TypeFor[Part]():
			cell := ""
			if !nothing {
				if p := f.Interface().(Part); p.Known {
					cell = strconv.FormatInt(p.Ns, 10)
				}
			}
			out = append(out, cell)
		case typ.Kind() == reflect.Struct && nothing:
			for range columnsOf(typ, "", nil) {
				out = append(out, "")
			}
		case typ.Kind() == reflect.Struct:
			out = cellsOf(f, out)
		case nothing:
			out = append(out, "")
		default:
			out = append(out, cell(f))
		}
	}
	return out
}

// cell writes one value. A text that a spreadsheet would take for a formula gets an
// apostrophe, as OWASP advises; numbers stay numbers.
func cell(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		if v.Type() == reflect.TypeFor[Nanos]() {
			return s
		}
		if s != "" && strings.ContainsRune("=+-@\t\r\n|%", rune(s[0])) {
			return "'" + s
		}
		return s
	case reflect.Slice, reflect.Array, reflect.Map:
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			return ""
		}
		if attrs, ok := v.Interface().([]Attribute); ok {
			return attributesCell(attrs)
		}
		b, _ := json.Marshal(v.Interface()) // what was sent as JSON can be
		return string(b)
	default:
		return fmt.Sprint(v.Interface())
	}
}

// attributesCell is a JSON object, in order.
func attributesCell(attrs []Attribute) string {
	var b strings.Builder
	for i, a := range attrs {
		b.WriteByte("{,"[min(i, 1)])
		key, _ := json.Marshal(a.Key)
		value, _ := json.Marshal(a.Value)
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	return b.String() + "}"
}
