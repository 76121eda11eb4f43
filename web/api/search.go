package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// SpanSearch is a page of spans that match a query.
type SpanSearch struct {
	Spans []Span     `json:"spans"`
	Next  *string    `json:"next"` // value of cursor for the next page
	From  Nanos      `json:"from"`
	To    Nanos      `json:"to"` // a page that follows keeps both
	Read  SearchWork `json:"read"`
}

// HopSearch is a page of deliveries that match a query.
type HopSearch struct {
	Hops []Hop      `json:"hops"`
	Next *string    `json:"next"` // value of cursor for the next page
	From Nanos      `json:"from"`
	To   Nanos      `json:"to"` // a page that follows keeps both
	Read SearchWork `json:"read"`
}

// SearchWork is what the store did for an answer.
type SearchWork struct {
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"`
	Ns    int64  `json:"ns"`
}

// SearchHistogram counts over time what a query finds.
type SearchHistogram struct {
	Finding finding.Finding `json:"finding"`
	From    Nanos           `json:"from"`   // of the first bucket
	StepNs  int64           `json:"stepNs"` // of each; zero when nothing was found in all time
	Rows    []uint64        `json:"rows"`
	Failed  []uint64        `json:"failed"`
	Total   uint64          `json:"total"`
	Errors  uint64          `json:"errors"` // of the total
	Read    SearchWork      `json:"read"`
	// Unknown hops are not among them, because a part that is asked for was not
	// measured; null when none is asked for.
	Unknown *SearchUnknown `json:"unknown"`
}

// SearchUnknown is what a query leaves out because nobody knows it.
type SearchUnknown struct {
	Part  string `json:"part"`
	Rows  uint64 `json:"rows"`
	Query string `json:"query"` // finds them
}

func (h *Handler) searchRoutes() {
	h.handle("/api/v1/search/spans", []string{"from", "to", "q", "order", "cursor", "limit", "format"}, h.searchSpans)
	h.handle("/api/v1/search/hops", []string{"from", "to", "q", "order", "cursor", "limit", "format"}, h.searchHops)
	h.handle("/api/v1/search/spans/histogram", []string{"from", "to", "q", "buckets"}, h.histogram(search.Spans))
	h.handle("/api/v1/search/hops/histogram", []string{"from", "to", "q", "buckets"}, h.histogram(search.Hops))
	h.handle("/api/v1/search/complete", []string{"from", "to", "subject", "q", "at"}, h.completeQuery)
	h.queryRoutes()
}

func (h *Handler) hasSearch() error {
	if h.deps.Search == nil {
		return errorf(http.StatusNotImplemented, "no_search", "ask a server of hoptrace", "this server has no store that can be searched")
	}
	return nil
}

// rowQuery reads what both searches take.
func (h *Handler) rowQuery(q *query, subject search.Subject) (exporters.RowQuery, error) {
	out := exporters.RowQuery{Project: q.project.ID, Range: q.timeRange(), Limit: q.limit(100)}
	if out.Range.To.IsZero() {
		out.Range.To = q.now // one now for all pages
	}
	var err error
	if out.Where, err = parseRows(subject, q.text("q"), "q"); err != nil {
		return out, err
	}
	out.Sort = q.text("order")
	out.Sort, out.Ascending = strings.CutPrefix(cmp.Or(out.Sort, "-"+search.RowTime), "-")
	out.Ascending = !out.Ascending
	if out.Sort == search.RowTime {
		out.Sort = ""
	} else if f := search.FieldOf(subject, out.Sort); f == nil || !f.Sort {
		q.refuse("order", q.text("order"), strings.Join(orders(subject), ", ")+"; with - before it for largest first")
	} else {
		out.Sort = f.Name
	}
	if s := q.text("cursor"); s != "" && !readCursor(s, &out) {
		q.refuse("cursor", s, "what the last page of the same order gave as next")
	}
	return out, q.fault
}

func orders(s search.Subject) []string {
	out := []string{search.RowTime}
	for _, f := range search.RowFields(s) {
		if f.Sort {
			out = append(out, f.Name)
		}
	}
	return out
}

// parseRows reads a query; what is wrong with it is said by characters.
func parseRows(subject search.Subject, s, param string) (search.Expr, error) {
	e, err := search.ParseRows(subject, s)
	if err == nil {
		return e, nil
	}
	var bad *search.Error
	if !errors.As(err, &bad) {
		return e, err
	}
	return e, errorf(http.StatusBadRequest, "bad_query", bad.Hint, "at %d: %s", len([]rune(s[:bad.Pos]))+1, bad.Message).of(param)
}

// cursor is a place as a page gives it: what the row is sorted by, its time, its
// ids, and the range and order that the pages share.
func cursor(q exporters.RowQuery, k exporters.RowKey) *string {
	from := int64(0)
	if !q.Range.From.IsZero() {
		from = q.Range.From.UnixNano()
	}
	s := fmt.Sprintf("%d.%d.%s.%s.%x.%d.%d.%s", k.By, k.Time, k.Trace, k.Span, k.Tie, from, q.Range.To.UnixNano(), orderText(q))
	return &s
}

func orderText(q exporters.RowQuery) string {
	s := cmp.Or(q.Sort, search.RowTime)
	if !q.Ascending {
		s = "-" + s
	}
	return s
}

func readCursor(s string, q *exporters.RowQuery) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 8 || parts[7] != orderText(*q) {
		return false
	}
	var k exporters.RowKey
	var from, to int64
	ok := true
	for i, v := range []*int64{&k.By, &k.Time, nil, nil, nil, &from, &to} {
		if v != nil {
			n, err := strconv.ParseInt(parts[i], 10, 64)
			*v, ok = n, ok && err == nil
		}
	}
	var err [3]error
	k.Trace, err[0] = schemas.ParseTraceID(parts[2])
	k.Span, err[1] = schemas.ParseSpanID(parts[3])
	k.Tie, err[2] = strconv.ParseUint(parts[4], 16, 64)
	if !ok || errors.Join(err[:]...) != nil || from < 0 || to <= from {
		return false
	}
	q.After, q.Range = &k, exporters.Range{To: time.Unix(0, to)}
	if from > 0 {
		q.Range.From = time.Unix(0, from)
	}
	return true
}

func rangeText(r exporters.Range) (from, to Nanos) {
	from = "0"
	if !r.From.IsZero() {
		from = nanos(r.From.UnixNano())
	}
	return from, nanos(r.To.UnixNano())
}

func workOf(w *exporters.Work, began time.Time) SearchWork {
	return SearchWork{Rows: w.Rows.Load(), Bytes: w.Bytes.Load(), Ns: int64(time.Since(began))}
}

// searchSpans answers /search/spans.
func (h *Handler) searchSpans(ctx context.Context, q *query) (any, error) {
	if err := h.hasSearch(); err != nil {
		return nil, err
	}
	rq, err := h.rowQuery(q, search.Spans)
	if err != nil {
		return nil, err
	}
	if format := q.format(); format != "" {
		return exportOf(q, "spans", format, func(ctx context.Context, limit int) ([]Span, error) {
			rq.Limit = limit
			found, err := h.deps.Search.SearchSpans(ctx, rq)
			out := make([]Span, len(found))
			for i := range found {
				out[i] = spanJSON(&found[i].Span)
				rq.After = &found[i].Key
			}
			return out, err
		})
	}
	began, work := time.Now(), new(exporters.Work)
	found, err := h.deps.Search.SearchSpans(exporters.WithWork(ctx, work), rq)
	if err != nil {
		return nil, err
	}
	out := SpanSearch{Spans: make([]Span, len(found)), Read: workOf(work, began)}
	out.From, out.To = rangeText(rq.Range)
	for i := range found {
		out.Spans[i] = spanJSON(&found[i].Span)
	}
	if len(found) > 0 && len(found) == rq.Limit {
		out.Next = cursor(rq, found[len(found)-1].Key)
	}
	return out, nil
}

// searchHops answers /search/hops.
func (h *Handler) searchHops(ctx context.Context, q *query) (any, error) {
	if err := h.hasSearch(); err != nil {
		return nil, err
	}
	rq, err := h.rowQuery(q, search.Hops)
	if err != nil {
		return nil, err
	}
	if format := q.format(); format != "" {
		return exportOf(q, "hops", format, func(ctx context.Context, limit int) ([]Hop, error) {
			rq.Limit = limit
			found, err := h.deps.Search.SearchHops(ctx, rq)
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				rq.After = &found[len(found)-1].Key
			}
			return h.foundHops(ctx, q.project.ID, found)
		})
	}
	began, work := time.Now(), new(exporters.Work)
	ctx = exporters.WithWork(ctx, work)
	found, err := h.deps.Search.SearchHops(ctx, rq)
	if err != nil {
		return nil, err
	}
	out := HopSearch{}
	if out.Hops, err = h.foundHops(ctx, q.project.ID, found); err != nil {
		return nil, err
	}
	out.From, out.To = rangeText(rq.Range)
	out.Read = workOf(work, began)
	if len(found) > 0 && len(found) == rq.Limit {
		out.Next = cursor(rq, found[len(found)-1].Key)
	}
	return out, nil
}

func (h *Handler) foundHops(ctx context.Context, project uint64, found []exporters.FoundHop) ([]Hop, error) {
	out := make([]Hop, 0, len(found))
	for some := range slices.Chunk(found, most) {
		hops := make([]joined, len(some))
		for i := range some {
			hops[i] = joined{Hop: some[i].Hop, delivery: 1}
		}
		if err := h.complete(ctx, project, hops, nil); err != nil {
			return nil, err
		}
		for _, j := range hops {
			out = append(out, hopJSON(j))
		}
	}
	return out, nil
}

// unmeasured counts the hops that a query leaves out because a part is unknown.
func (h *Handler) unmeasured(ctx context.Context, query string, rq exporters.RowQuery) (*SearchUnknown, error) {
	part, asked, where := search.Unmeasured(query)
	if part == nil {
		return nil, nil //nolint:nilnil // nothing is left out
	}
	rq.Where = where
	found, err := h.deps.Search.CountRows(ctx, search.Hops, rq, 2)
	if err != nil {
		return nil, err
	}
	out := &SearchUnknown{Part: part.Name, Query: asked}
	for _, b := range found.Buckets {
		out.Rows += b.Rows
	}
	return out, nil
}

// histogram answers /search/spans/histogram and /search/hops/histogram.
func (h *Handler) histogram(subject search.Subject) func(context.Context, *query) (any, error) {
	return func(ctx context.Context, q *query) (any, error) {
		if err := h.hasSearch(); err != nil {
			return nil, err
		}
		rq, err := h.rowQuery(q, subject)
		buckets := 60
		if s := q.text("buckets"); s != "" {
			if buckets, _ = strconv.Atoi(s); buckets < 2 || buckets > exporters.MaxHistogram {
				q.refuse("buckets", s, "a whole number from 2 to "+strconv.Itoa(exporters.MaxHistogram))
			}
		}
		if err = cmp.Or(err, q.fault); err != nil {
			return nil, err
		}
		began, work := time.Now(), new(exporters.Work)
		ctx = exporters.WithWork(ctx, work)
		found, err := h.deps.Search.CountRows(ctx, subject, rq, buckets)
		if err != nil {
			return nil, err
		}
		n := len(found.Buckets)
		out := SearchHistogram{From: nanos(found.From), StepNs: int64(found.Step), Rows: make([]uint64, n), Failed: make([]uint64, n)}
		facts := finding.Search{Subject: string(subject), Query: q.text("q"), Step: found.Step, Asked: !rq.Where.Empty()}
		for i, b := range found.Buckets {
			out.Rows[i], out.Failed[i] = b.Rows, b.Failed
			out.Total, out.Errors = out.Total+b.Rows, out.Errors+b.Failed
			if b.Rows > 0 {
				facts.Busy++
			}
			if b.Failed > facts.WorstFailed {
				facts.WorstFailed, facts.WorstFrom = b.Failed, found.From+int64(i)*int64(found.Step)
			}
		}
		facts.Total, facts.Failed = out.Total, out.Errors
		if subject == search.Hops {
			if out.Unknown, err = h.unmeasured(ctx, q.text("q"), rq); err != nil {
				return nil, err
			}
		}
		if u := out.Unknown; u != nil {
			facts.Unknown, facts.UnknownPart, facts.UnknownQuery = u.Rows, u.Part, u.Query
		}
		out.Finding, out.Read = finding.ForSearch(facts), workOf(work, began)
		return out, nil
	}
}
