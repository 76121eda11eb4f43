package exportertest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// sameTraces compares lists; what began at one time may come in any order.
func sameTraces(t *testing.T, what string, got, want []exporters.TraceSummary) {
	t.Helper()
	if !slices.IsSortedFunc(got, func(a, b exporters.TraceSummary) int { return cmp.Compare(b.Start, a.Start) }) {
		t.Errorf("%s: the traces are not newest first", what)
	}
	slices.SortFunc(got, func(a, b exporters.TraceSummary) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), slices.Compare(b.TraceID[:], a.TraceID[:]))
	})
	equal(t, what, got, want)
}

func findTraces(t *testing.T, s Spans) {
	ctx := testContext(t)
	w := newWorld(11)
	start := base()
	w.traces(300, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	f := func(q exporters.TraceQuery) {
		t.Helper()
		q.Project, q.Limit = 1, 500
		got, err := s.FindTraces(ctx, q)
		what := fmt.Sprintf("FindTraces(%+v)", q)
		noError(t, what, err)
		want := w.find(q)
		sameTraces(t, fmt.Sprintf("%s, of %d traces", what, len(want)), got, want)
	}
	some := exporters.Range{From: start.Add(20 * time.Minute), To: start.Add(40 * time.Minute)}
	f(exporters.TraceQuery{})
	f(exporters.TraceQuery{Range: some})
	f(exporters.TraceQuery{Range: exporters.Range{From: start.Add(50 * time.Minute)}})
	f(exporters.TraceQuery{Range: exporters.Range{To: start}})
	f(exporters.TraceQuery{Range: exporters.Range{From: some.To, To: some.From}})
	f(exporters.TraceQuery{Service: "shop-1"})
	f(exporters.TraceQuery{Service: "group-0-service", Range: some})
	f(exporters.TraceQuery{Service: "nobody"})
	f(exporters.TraceQuery{Topic: "topic-1"})
	f(exporters.TraceQuery{Group: "group-1"})
	f(exporters.TraceQuery{Topic: "topic-2", Group: "group-0", Range: some})
	f(exporters.TraceQuery{Topic: "topic-2", Group: "nobody"})
	f(exporters.TraceQuery{ErrorsOnly: true})
	f(exporters.TraceQuery{MinLatency: time.Second})
	f(exporters.TraceQuery{MinLatency: time.Hour, Range: some})
	f(exporters.TraceQuery{MinLatency: 500 * time.Millisecond, ErrorsOnly: true, Service: "shop-0", Topic: "topic-0", Group: "group-1"})
	f(exporters.TraceQuery{Before: start.Add(30 * time.Minute).UnixNano(), ErrorsOnly: true})
	// A query of spans finds what the filters of the same meaning do.
	same := func(query string, as exporters.TraceQuery) {
		t.Helper()
		where, err := search.ParseRows(search.Spans, query)
		noError(t, query, err)
		as.Project, as.Limit = 1, 500
		asked := exporters.TraceQuery{Project: 1, Limit: 500, Range: as.Range, Where: where}
		got, err := s.FindTraces(ctx, asked)
		noError(t, query, err)
		sameTraces(t, "traces of "+query, got, w.find(as))
	}
	same("service:shop-1", exporters.TraceQuery{Service: "shop-1"})
	same("service:nobody", exporters.TraceQuery{Service: "nobody"})
	same("status:error", exporters.TraceQuery{ErrorsOnly: true})
	same("status:error OR status:error", exporters.TraceQuery{ErrorsOnly: true, Range: some})
	same("topic:topic-1", exporters.TraceQuery{Topic: "topic-1"})
	same("topic:topic-2 group:group-0", exporters.TraceQuery{Topic: "topic-2", Group: "group-0", Range: some})
	for _, odd := range odd {
		f(exporters.TraceQuery{Service: odd + "x", Topic: odd + "x", Group: odd + "x"})
	}
}

func pageTraces(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base()
	// Starts that differ, over stretches of milliseconds, minutes and hours;
	// and many long traces, whose spans lie where others begin.
	w := newWorld(1)
	for i := range 200 {
		at := start.Add(time.Duration(i) * time.Millisecond)
		if i >= 100 {
			at = start.Add(time.Duration(i*i) * 100 * time.Millisecond)
		}
		root := schemas.Span{Project: 1, TraceID: w.trace(), SpanID: w.span(), Name: "r", Service: "s", Start: at.UnixNano(), End: at.UnixNano() + 5, Source: 1, Position: w.position()}
		w.spans = append(w.spans, root)
		if i%2 == 0 {
			late := root
			late.SpanID, late.ParentID, late.Name = w.span(), root.SpanID, "late"
			late.Start = start.Add(5 * time.Hour).UnixNano()
			late.End = late.Start + 5
			late.Position = w.position()
			w.spans = append(w.spans, late)
		}
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, nil))
	for _, limit := range []int{7, 50} {
		for _, latency := range []time.Duration{0, time.Minute} {
			q := exporters.TraceQuery{Project: 1, Limit: limit, MinLatency: latency}
			var got []exporters.TraceSummary
			for len(got) <= 200 {
				page, err := s.FindTraces(ctx, q)
				noError(t, "FindTraces", err)
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				q.Before = page[len(page)-1].Start
			}
			sameTraces(t, fmt.Sprintf("pages of %d, latency %v", limit, latency), got, w.find(exporters.TraceQuery{Project: 1, Limit: 500, MinLatency: latency}))
		}
	}
}

func pagesOfOneStart(t *testing.T, s Spans) {
	ctx := testContext(t)
	at := base().Add(-time.Hour).UnixNano()
	spans := make([]schemas.Span, 0, 120)
	for n := range cap(spans) {
		spans = append(spans, schemas.Span{
			Project: 9, TraceID: traceID(n + 1), SpanID: spanID(n + 1), Service: "a", Name: "b", Start: at, End: at + 5,
			Source: 9, Position: schemas.Position{Offset: int64(n)},
		})
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, spans, nil))
	seen := map[schemas.TraceID]bool{}
	q := exporters.TraceQuery{Project: 9, Limit: 50}
	for range 10 {
		page, err := s.FindTraces(ctx, q)
		noError(t, "FindTraces", err)
		if len(page) == 0 {
			break
		}
		for _, found := range page {
			if seen[found.TraceID] {
				t.Fatalf("trace %s comes on two pages", found.TraceID)
			}
			seen[found.TraceID] = true
		}
		q.Before, q.BeforeTrace = page[len(page)-1].Start, page[len(page)-1].TraceID
	}
	if len(seen) != len(spans) {
		t.Fatalf("the pages have %d of %d traces that began at one time", len(seen), len(spans))
	}
}

func names(t *testing.T, s Spans) {
	ctx := testContext(t)
	start := base()
	at := func(after time.Duration, service, topic, group string, n int) (schemas.Span, schemas.Message) {
		ns := start.Add(after).UnixNano()
		return schemas.Span{Project: 1, TraceID: traceID(n), SpanID: spanID(n), Service: service, Start: ns, End: ns, Source: 1, Position: schemas.Position{Offset: int64(n)}},
			schemas.Message{Project: 1, Side: schemas.SideProcess, Topic: topic, Offset: int64(n), Group: group, TraceID: traceID(n), SpanID: spanID(n), Start: ns, End: ns, Source: 1, Position: schemas.Position{Offset: int64(n)}}
	}
	s1, m1 := at(0, "b", "t2", "g", 1)
	s2, m2 := at(time.Minute, "a", "t1", "", 2)
	s3, m3 := at(time.Minute, "a", "t1", "ünï", 3)
	s4, m4 := at(time.Hour, "later", "later", "later", 4)
	noError(t, "WriteSpans", s.WriteSpans(ctx, []schemas.Span{s1, s2, s3, s4}, []schemas.Message{m1, m2, m3, m4}))
	f := func(r exporters.Range, want exporters.Names) {
		t.Helper()
		got, err := s.Names(ctx, 1, r)
		noError(t, "Names", err)
		equal(t, fmt.Sprintf("names of %v", r), got, want)
	}
	f(exporters.Range{}, exporters.Names{Services: []string{"a", "b", "later"}, Topics: []string{"later", "t1", "t2"}, Groups: []string{"g", "later", "ünï"}})
	f(exporters.Range{From: start, To: start.Add(30 * time.Minute)}, exporters.Names{Services: []string{"a", "b"}, Topics: []string{"t1", "t2"}, Groups: []string{"g", "ünï"}})
	f(exporters.Range{From: start.Add(2 * time.Hour)}, exporters.Names{})
}
