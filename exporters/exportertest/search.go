package exportertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Search is what SearchStore tests.
type Search interface {
	exporters.SpanWriter
	exporters.SearchReader
	Logs
}

// SearchStore is the suite of SearchReader, and of queries for logs. open gives an
// empty store.
func SearchStore(t *testing.T, open func(t *testing.T) Search) {
	run := func(name string, f func(t *testing.T, s Search)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("SpansAreFoundByEachConditionAndCounted", searchSpans)
	run("HopsAreFoundByEachConditionAndCounted", searchHops)
	run("PagesGiveEachRowOnceWhileMoreArrives", searchPages)
	run("HostileTextIsAText", searchHostile)
	run("KeysAndValuesAreThoseThatAreStored", searchSeen)
	run("LogsAreFoundByEachCondition", searchLogs)
	run("CancelledSearchesFail", searchCancelled)
}

func parse(t testing.TB, s search.Subject, q string) search.Expr {
	t.Helper()
	e, err := search.ParseRows(s, q)
	noError(t, "ParseRows("+q+")", err)
	return e
}

// searchWorld is a world whose spans have attributes, errors and events.
func searchWorld(n int, start time.Time) *world {
	w := newWorld(77)
	w.traces(n, start)
	for i := range w.spans {
		s := &w.spans[i]
		s.Kind = cmp.Or(s.Kind, schemas.KindServer)
		s.Scope = "lib-" + strconv.Itoa(i%2)
		s.Resource = []schemas.Attribute{{Key: "host.name", Value: "web-" + strconv.Itoa(i%4)}, {Key: `odd "key"`, Value: "x"}}
		s.Attributes = []schemas.Attribute{{Key: "http.route", Value: "/orders/" + strconv.Itoa(i%7)}, {Key: "http.status_code", Value: strconv.Itoa(200 + i%4*100)}}
		if i%5 == 0 {
			s.Attributes = append(s.Attributes, schemas.Attribute{Key: "order.id", Value: strconv.Itoa(i)}, schemas.Attribute{Key: "empty", Value: ""})
		}
		if s.Status == schemas.StatusError {
			s.StatusMessage = "card Declined"
			s.Events = []schemas.SpanEvent{{Time: s.Start, Name: "exception", Attributes: []schemas.Attribute{{Key: "exception.message", Value: `the bank said "no"`}}}}
		}
	}
	for i := range w.rows {
		m := &w.rows[i]
		m.KeyHash, m.BodySize, m.ClientID, m.Attempts = uint64(i%5), int64(i%9)-1, "client-"+strconv.Itoa(i%3), uint16(i%3) //nolint:gosec // small
		m.HighWatermark = m.Offset + int64(i%6)
		m.RecordTime = w.rows[i-i%2].Start / 1e6 * 1e6 // the sender's
		if m.Side == schemas.SideProcess && i%8 == 1 {
			m.BootID, m.RetryAttempt = "elsewhere", 2
		}
		if i%7 == 0 && m.Start-m.RecordTime < int64(time.Minute) { // by it the sender is looked for
			m.RecordTime, m.HighWatermark = 0, schemas.Unknown
		}
	}
	return w
}

// textHolds is what a term asks of a text.
func textHolds(t search.RowTerm, s string) bool {
	return t.Op == search.Has && s != "" || slices.ContainsFunc(t.Values, func(v search.Value) bool { return v.Matches(s) })
}

func numberHolds(t search.RowTerm, n int64, known bool) bool {
	return known && (t.Op == search.Has || t.Compare(n))
}

func wordHolds(t search.RowTerm, first, n int) bool {
	return slices.ContainsFunc(t.Values, func(v search.Value) bool { return first+slices.Index(t.Field.Words, v.Text) == n })
}

func inText(v search.Value, s string) bool {
	if v.Pattern {
		v.Text = "*" + strings.ToLower(v.Text) + "*"
		return v.Matches(strings.ToLower(s))
	}
	return strings.Contains(strings.ToLower(s), strings.ToLower(v.Text))
}

func attributeHolds(t search.RowTerm, resource, attrs []schemas.Attribute) bool {
	if t.Resource {
		attrs = resource
	}
	v, ok := schemas.Lookup(attrs, t.Key)
	switch {
	case !ok || t.Op == search.Has:
		return ok
	case t.Op == search.Eq:
		return textHolds(t, v)
	}
	n, err := strconv.ParseFloat(v, 64)
	bound, _ := strconv.ParseFloat(t.Values[0].Text, 64)
	return err == nil && (t.Op == search.Lt && n < bound || t.Op == search.Le && n <= bound || t.Op == search.Gt && n > bound || t.Op == search.Ge && n >= bound)
}

func spanSays(s *schemas.Span, v search.Value) bool {
	if inText(v, s.Name) || inText(v, s.StatusMessage) {
		return true
	}
	for _, e := range s.Events {
		for _, a := range e.Attributes {
			if e.Name == "exception" && inText(v, a.Value) {
				return true
			}
		}
	}
	return false
}

func (w *world) spanHolds(s *schemas.Span, e search.Expr) bool {
	if e.Logic == search.All { // what is asked of the record is asked of one record
		var record, rest []search.Expr
		for _, k := range e.Kids {
			if k.Logic == search.Is && k.Term.Field != nil && slices.Contains([]string{"topic", "partition", "offset", "group", "key"}, k.Term.Field.Name) {
				record = append(record, k)
			} else {
				rest = append(rest, k)
			}
		}
		if len(record) > 0 && !slices.ContainsFunc(w.rows, func(m schemas.Message) bool {
			return m.SpanID == s.SpanID && m.TraceID == s.TraceID && !slices.ContainsFunc(record, func(k search.Expr) bool { return !rowHolds(&m, k.Term) })
		}) {
			return false
		}
		return !slices.ContainsFunc(rest, func(k search.Expr) bool { return !w.spanHolds(s, k) })
	}
	if e.Logic != search.Is {
		if e.Logic == search.Not {
			return !w.spanHolds(s, e.Kids[0])
		}
		return slices.ContainsFunc(e.Kids, func(k search.Expr) bool { return w.spanHolds(s, k) })
	}
	t := e.Term
	if t.Field == nil {
		if t.Key == "" {
			return spanSays(s, t.Values[0])
		}
		return attributeHolds(t, s.Resource, s.Attributes)
	}
	switch t.Field.Name {
	case "service":
		return textHolds(t, s.Service)
	case "name":
		return textHolds(t, s.Name)
	case "status.message":
		return textHolds(t, s.StatusMessage)
	case "scope":
		return textHolds(t, s.Scope)
	case "duration":
		return numberHolds(t, s.End-s.Start, true)
	case "status":
		return wordHolds(t, 0, int(s.Status))
	case "kind":
		return wordHolds(t, 1, int(s.Kind))
	case "trace":
		return textHolds(t, s.TraceID.String())
	case "span":
		return textHolds(t, s.SpanID.String())
	case "parent":
		return !s.ParentID.IsZero() && textHolds(t, s.ParentID.String())
	case "root":
		return s.ParentID.IsZero() == (t.Values[0].Number == 1)
	}
	return slices.ContainsFunc(w.rows, func(m schemas.Message) bool {
		return m.SpanID == s.SpanID && m.TraceID == s.TraceID && rowHolds(&m, t)
	})
}

func rowHolds(m *schemas.Message, t search.RowTerm) bool {
	switch t.Field.Name {
	case "topic":
		return textHolds(t, m.Topic)
	case "group":
		return textHolds(t, m.Group)
	case "partition":
		return numberHolds(t, int64(m.Partition), m.Partition >= 0)
	case "offset":
		return numberHolds(t, m.Offset, m.Offset >= 0)
	}
	if t.Op == search.Has {
		return m.KeyHash != 0
	}
	return textHolds(t, fmt.Sprintf("%016x", m.KeyHash))
}

func (w *world) hopHolds(h schemas.Hop, t search.RowTerm) bool {
	c := h.Consume
	spans := func(f func(s *schemas.Span) bool) bool {
		return slices.ContainsFunc(w.spans, func(s schemas.Span) bool {
			return (s.TraceID == c.TraceID && s.SpanID == c.SpanID || s.TraceID == c.CreationTrace && s.SpanID == c.CreationSpan) && f(&s)
		})
	}
	if t.Field == nil {
		if t.Key == "" {
			v := t.Values[0]
			return inText(v, c.Topic) || inText(v, c.Group) || inText(v, c.Service) || spans(func(s *schemas.Span) bool { return spanSays(s, v) })
		}
		return spans(func(s *schemas.Span) bool { return attributeHolds(t, s.Resource, s.Attributes) })
	}
	p := h.Parts()
	of := func(q schemas.Part) bool { return numberHolds(t, int64(q.Duration), q.Known) }
	switch t.Field.Name {
	case "service":
		return textHolds(t, c.Service)
	case "producer":
		return h.Produce != nil && textHolds(t, h.Produce.Service)
	case "client":
		return textHolds(t, c.ClientID)
	case "status":
		n := 0
		if c.Failed {
			n = 1
		}
		return wordHolds(t, 0, n)
	case "trace":
		return textHolds(t, c.TraceID.String()) || textHolds(t, c.CreationTrace.String())
	case "span":
		return textHolds(t, c.SpanID.String())
	case "age":
		return numberHolds(t, c.Handed-c.RecordTime, c.RecordTime != 0)
	case "batch_queue":
		return of(p.BatchQueue)
	case "retry":
		return of(p.Retry)
	case "ack":
		return of(p.Ack)
	case "residence":
		return numberHolds(t, int64(p.Backlog.Duration+p.LongPoll.Duration), p.Backlog.Known && p.LongPoll.Known)
	case "backlog":
		return of(p.Backlog)
	case "long_poll":
		return of(p.LongPoll)
	case "fetch_queue":
		return of(p.FetchQueue)
	case "processing":
		return of(p.Processing)
	case "end_to_end":
		return of(p.EndToEnd)
	case "size":
		return numberHolds(t, c.BodySize, c.BodySize >= 0)
	case "behind":
		return numberHolds(t, c.HighWatermark-c.Offset-1, c.HighWatermark > c.Offset)
	case "attempt":
		return numberHolds(t, int64(c.RetryAttempt), c.RetryAttempt > 0)
	case "attempts":
		return h.Produce != nil && numberHolds(t, int64(h.Produce.Attempts), h.Produce.Attempts > 0)
	}
	return rowHolds(c, t)
}

func searchSpans(t *testing.T, s Search) {
	ctx := testContext(t)
	start := base()
	w := searchWorld(200, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	again := slices.Clone(w.spans[:3]) // sent twice
	for i := range again {
		again[i].Position.Offset += 1 << 20
	}
	some := exporters.Range{From: start.Add(20 * time.Minute), To: start.Add(50 * time.Minute)}
	all := exporters.Range{From: start.Add(-time.Hour), To: start.Add(6 * time.Hour)}
	f := func(query string, r exporters.Range, change ...func(*exporters.RowQuery)) {
		t.Helper()
		q := exporters.RowQuery{Project: 1, Range: r, Where: parse(t, search.Spans, query), Limit: 1000}
		for _, c := range change {
			c(&q)
		}
		from, to := bounds(r)
		var want []schemas.Span
		for i := range w.spans {
			if p := &w.spans[i]; p.Start >= from && p.Start < to && w.spanHolds(p, q.Where) {
				want = append(want, *p)
			}
		}
		slices.SortFunc(want, func(a, b schemas.Span) int {
			by := 0
			if q.Sort != "" {
				by = cmp.Compare(b.End-b.Start, a.End-a.Start)
			}
			c := cmp.Or(by, cmp.Compare(b.Start, a.Start), bytes.Compare(b.TraceID[:], a.TraceID[:]), bytes.Compare(b.SpanID[:], a.SpanID[:]))
			if q.Ascending {
				return -c
			}
			return c
		})
		h, err := s.CountRows(ctx, search.Spans, q, 100)
		noError(t, "CountRows("+query+")", err)
		total, failed := uint64(0), uint64(0)
		for _, b := range h.Buckets {
			total, failed = total+b.Rows, failed+b.Failed
		}
		wantFailed := uint64(0)
		for _, p := range want {
			if p.Status == schemas.StatusError {
				wantFailed++
			}
		}
		if total != uint64(len(want)) || failed != wantFailed || len(h.Buckets) > exporters.MaxHistogram {
			t.Errorf("CountRows(%s) = %d rows, %d failed; want %d, %d", query, total, failed, len(want), wantFailed)
		}
		if len(want) == 0 && !strings.Contains(query, "nothing") {
			t.Errorf("%s finds nothing in the test's data, so it tests nothing", query)
		}
		got, err := s.SearchSpans(ctx, q)
		noError(t, "SearchSpans("+query+")", err)
		spans := make([]schemas.Span, len(got))
		for i := range got {
			spans[i] = got[i].Span
		}
		equal(t, "SearchSpans("+query+")", spans, want[:min(len(want), q.Limit)])
	}
	one := w.spans[slices.IndexFunc(w.spans, func(p schemas.Span) bool {
		_, ok := schemas.Lookup(p.Attributes, "order.id")
		return ok && p.Start >= some.From.UnixNano() && p.Start < some.To.UnixNano()
	})]
	order, _ := schemas.Lookup(one.Attributes, "order.id")
	for _, q := range []string{
		"", "service:shop-1", "service:[shop-0,shop-2]", "service:shop*", "service:*-1", "-service:shop-1", "service:nothing", "service:SHOP-nothing",
		`name:"send topic-1"`, "name:send*", "duration>250ms", "duration<=250ms", "duration>=0", "duration<0 nothing", "status:error", "status:[ok,unset]", "-status:error",
		"kind:consumer", "kind:[server,producer]", `status.message:"card Declined"`, "has:status.message", "scope:lib-1", "has:scope", "root:true", "root:false", "has:parent",
		"trace:" + one.TraceID.String(), "span:" + one.SpanID.String(), "parent:" + one.SpanID.String() + " OR service:shop-1",
		"topic:topic-1", "topic:topic-1 partition:2 offset>5 group:group-1", "topic:topic-1 -group:group-1", "has:topic", "-has:topic", "partition:[0,1]", "offset<3", "key:0000000000000003", "has:key",
		"http.route:/orders/3", "http.route:/orders/*", "order.id:" + order, "order.id:[" + order + ",35]", "-order.id:" + order, "has:order.id", "-has:order.id", "http.status_code>=400", "http.status_code<300", "-http.status_code>=400",
		"http.route>5 nothing", "empty:\"\"", "nothing:\"\"", "resource.host.name:web-2", "resource.host.name:web*", "has:resource.host.name", `"resource.odd \"key\"":x`, "has:resource.nothing",
		"declined", "PROCESS", "topic-2", `"said \"no\""`, "card*lined", "nothing at all", "-send", "service:shop-1 OR (status:error duration>500ms)", "NOT (service:shop-1 OR status:error) http.status_code<300",
		"(topic:topic-0 OR topic:topic-1) (duration>100ms OR has:order.id)",
	} {
		f(q, some)
	}
	f("", exporters.Range{})
	f("status:error", all)
	asc := func(q *exporters.RowQuery) { q.Ascending = true }
	by := func(q *exporters.RowQuery) { q.Sort = "duration" }
	few := func(q *exporters.RowQuery) { q.Limit = 7 }
	f("", all, few)
	f("", all, few, asc)
	f("", all, asc)
	f("service:shop*", all, by)
	f("service:shop*", all, by, asc, few)
	noError(t, "WriteSpans again", s.WriteSpans(ctx, again, nil))
	got, err := s.SearchSpans(ctx, exporters.RowQuery{Project: 1, Range: all, Limit: 1000})
	noError(t, "SearchSpans", err)
	if len(got) != len(w.spans) {
		t.Errorf("%d spans are found after three were stored twice, want %d", len(got), len(w.spans))
	}
	if got, err := s.SearchSpans(ctx, exporters.RowQuery{Project: 2, Range: all}); err != nil || len(got) != 0 {
		t.Errorf("another project finds %d spans, error %v", len(got), err)
	}
}

func searchHops(t *testing.T, s Search) {
	ctx := testContext(t)
	start := base()
	w := searchWorld(200, start)
	for i := range 20 { // deliveries that repeat, each a row of its own
		again := w.rows[2*i+1]
		again.Start, again.End, again.Handed, again.Failed = again.Start+1e9+int64(i), again.End+2e9, again.Handed+1e9, !again.Failed
		again.SpanID, again.Position = w.span(), w.position()
		w.rows = append(w.rows, again)
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	all := exporters.Range{From: start.Add(-time.Hour), To: start.Add(6 * time.Hour)}
	producers := map[schemas.RecordRef]*schemas.Message{}
	for i := range w.rows {
		if m := &w.rows[i]; m.Side == schemas.SideProduce {
			producers[m.Record()] = m
		}
	}
	sorted := map[string]func(h schemas.Hop) (int64, bool){
		"": func(h schemas.Hop) (int64, bool) { return h.Consume.End, true },
		"end_to_end": func(h schemas.Hop) (int64, bool) {
			p := h.Parts().EndToEnd
			return int64(p.Duration), p.Known
		},
		"processing": func(h schemas.Hop) (int64, bool) {
			p := h.Parts().Processing
			return int64(p.Duration), p.Known
		},
		"age": func(h schemas.Hop) (int64, bool) {
			return h.Consume.Handed - h.Consume.RecordTime, h.Consume.RecordTime != 0
		},
	}
	f := func(query string, r exporters.Range, change ...func(*exporters.RowQuery)) {
		t.Helper()
		q := exporters.RowQuery{Project: 1, Range: r, Where: parse(t, search.Hops, query), Limit: 1000}
		for _, c := range change {
			c(&q)
		}
		from, to := bounds(r)
		var want []schemas.Hop
		counted, failed := uint64(0), uint64(0)
		for i := range w.rows {
			c := &w.rows[i]
			if !c.Side.Reads() || c.End < from || c.End >= to {
				continue
			}
			h := schemas.Hop{Produce: producers[c.Record()], Consume: c}
			if !q.Where.Holds(func(t search.RowTerm) bool { return w.hopHolds(h, t) }) {
				continue
			}
			counted++
			if c.Failed {
				failed++
			}
			if _, ok := sorted[q.Sort](h); ok {
				want = append(want, h)
			}
		}
		slices.SortFunc(want, func(a, b schemas.Hop) int {
			x, _ := sorted[q.Sort](a)
			y, _ := sorted[q.Sort](b)
			c := cmp.Or(cmp.Compare(y, x), cmp.Compare(b.Consume.End, a.Consume.End), bytes.Compare(b.Consume.TraceID[:], a.Consume.TraceID[:]), bytes.Compare(b.Consume.SpanID[:], a.Consume.SpanID[:]))
			if q.Ascending {
				return -c
			}
			return c
		})
		h, err := s.CountRows(ctx, search.Hops, q, 100)
		noError(t, "CountRows("+query+")", err)
		total, bad := uint64(0), uint64(0)
		for _, b := range h.Buckets {
			total, bad = total+b.Rows, bad+b.Failed
		}
		if total != counted || bad != failed {
			t.Errorf("CountRows(%s) = %d rows, %d failed; want %d, %d", query, total, bad, counted, failed)
		}
		if counted == 0 && !strings.Contains(query, "nothing") {
			t.Errorf("%s finds nothing in the test's data, so it tests nothing", query)
		}
		got, err := s.SearchHops(ctx, q)
		noError(t, "SearchHops("+query+")", err)
		hops := make([]schemas.Hop, len(got))
		for i := range got {
			hops[i] = got[i].Hop
		}
		equal(t, "SearchHops("+query+")", hops, want[:min(len(want), q.Limit)])
	}
	one := w.rows[9]
	for _, q := range []string{
		"", "topic:topic-1", "topic:topic*", "topic:topic-1 partition:2 offset>5 group:group-1", "group:[group-0,group-1]", "-group:group-1", "key:0000000000000003", "service:group-1-service", "producer:shop-1",
		"-producer:shop-1", "producer:shop*", "client:client-1", "has:client", "status:error", "status:ok", "trace:" + one.TraceID.String(), "span:" + one.SpanID.String(),
		"age>1h", "age<500ms", "has:age", "-has:age", "batch_queue>=0", "has:batch_queue", "retry<=0", "ack>50ms", "residence>10m", "backlog>2s", "-backlog>2s", "has:backlog", "backlog<=2s", "long_poll>=0", "fetch_queue<1s", "processing>500ms",
		"end_to_end>1h", "size>3", "size:0", "has:size", "behind>=3", "has:behind", "attempt>=2", "attempts>1",
		"http.route:/orders/3", "order.id:5", "-has:order.id", "http.status_code>=400", "resource.host.name:web-2", "declined", "group-0", "nothing here",
		"backlog>2s OR service:group-1-service", "backlog>2s order.id:5 OR status:error", "NOT (backlog>2s OR status:error) topic:topic-2 age>10ms", "producer:shop-1 end_to_end>1s",
	} {
		f(q, all)
	}
	some := exporters.Range{From: start.Add(20 * time.Minute), To: start.Add(90 * time.Minute)}
	f("", some)
	f("backlog>2s", some)
	f("order.id:5 OR topic:topic-1", some)
	f("", exporters.Range{})
	for _, by := range []string{"end_to_end", "processing", "age"} {
		f("", all, func(q *exporters.RowQuery) { q.Sort = by })
		f("backlog>1s OR topic:topic-1", all, func(q *exporters.RowQuery) { q.Sort, q.Limit = by, 20 })
		f("topic:topic-1", all, func(q *exporters.RowQuery) { q.Sort, q.Ascending, q.Limit = by, true, 20 })
	}
	noError(t, "WriteSpans again", s.WriteSpans(ctx, nil, w.rows[:40]))
	for _, q := range []string{"topic:topic*", "ack>=0"} {
		got, err := s.SearchHops(ctx, exporters.RowQuery{Project: 1, Range: all, Where: parse(t, search.Hops, q), Limit: 1000})
		noError(t, "SearchHops", err)
		if len(got) != 220 {
			t.Errorf("%s: %d hops are found after some were stored twice, want 220", q, len(got))
		}
	}
}

func searchPages(t *testing.T, s Search) {
	ctx := testContext(t)
	start := base()
	w := searchWorld(150, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	later := searchWorld(20, start.Add(2*time.Hour))
	for i := range later.spans {
		later.spans[i].TraceID[0]++
		later.spans[i].Position.Offset += 1 << 20
	}
	r := exporters.Range{From: start.Add(-time.Hour), To: start.Add(6 * time.Hour)}
	added := false
	for _, q := range []exporters.RowQuery{
		{}, {Ascending: true}, {Sort: "duration"}, {Sort: "duration", Ascending: true}, {Where: parse(t, search.Spans, "topic:topic-1")},
	} {
		q.Project, q.Range, q.Limit = 1, r, 37
		want, err := s.SearchSpans(ctx, exporters.RowQuery{Project: 1, Range: r, Where: q.Where, Sort: q.Sort, Ascending: q.Ascending, Limit: 1000})
		noError(t, "SearchSpans", err)
		var got []exporters.FoundSpan
		for {
			page, err := s.SearchSpans(ctx, q)
			noError(t, "SearchSpans", err)
			got = append(got, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = &page[len(page)-1].Key
			if !added && q.Sort == "" && !q.Ascending {
				added = true
				noError(t, "WriteSpans", s.WriteSpans(ctx, later.spans, nil))
			}
		}
		equal(t, fmt.Sprintf("pages of %+v", q), got, want)
	}
	for _, q := range []exporters.RowQuery{{}, {Ascending: true}, {Sort: "end_to_end"}, {Sort: "processing", Ascending: true}, {Where: parse(t, search.Hops, "ack>50ms OR topic:topic-1")}} {
		q.Project, q.Range, q.Limit = 1, r, 17
		want, err := s.SearchHops(ctx, exporters.RowQuery{Project: 1, Range: r, Where: q.Where, Sort: q.Sort, Ascending: q.Ascending, Limit: 1000})
		noError(t, "SearchHops", err)
		var got []exporters.FoundHop
		for {
			page, err := s.SearchHops(ctx, q)
			noError(t, "SearchHops", err)
			got = append(got, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = &page[len(page)-1].Key
		}
		equal(t, fmt.Sprintf("pages of %+v", q), got, want)
	}
}

// searchHostile puts odd texts in every place of a query, and asks for them.
func searchHostile(t *testing.T, s Search) {
	ctx := testContext(t)
	at := base().UnixNano()
	var spans []schemas.Span
	var rows []schemas.Message
	texts := append([]string{"x' OR 1=1 --", "{q1:String}", "a*b", `\`, "%", "_", "') UNION ALL SELECT 1 --"}, odd...)
	for i, text := range texts {
		if len(text) > 180 {
			text = text[:180]
		}
		spans = append(spans, schemas.Span{
			Project: 1, TraceID: traceID(i), SpanID: spanID(i), Name: text, Service: text, StatusMessage: text, Scope: text, Start: at + int64(i), End: at + int64(i) + 5,
			Resource: []schemas.Attribute{{Key: text, Value: text}}, Attributes: []schemas.Attribute{{Key: text, Value: text}}, Source: 1, Position: schemas.Position{Offset: int64(i)},
		})
		rows = append(rows, schemas.Message{Project: 1, Side: schemas.SideProcess, Topic: text, Group: text, Service: text, TraceID: traceID(i), SpanID: spanID(i), Start: at + int64(i), End: at + int64(i) + 5, Source: 1, Position: schemas.Position{Offset: int64(i), Index: 1}})
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, spans, rows))
	r := exporters.Range{From: base().Add(-time.Hour), To: base().Add(time.Hour)}
	ask := func(subject search.Subject, term search.RowTerm) (out []schemas.SpanID) {
		t.Helper()
		q := exporters.RowQuery{Project: 1, Range: r, Where: search.Expr{Logic: search.Is, Term: term}, Limit: 1000}
		if subject == search.Spans {
			found, err := s.SearchSpans(ctx, q)
			noError(t, fmt.Sprintf("SearchSpans(%+v)", term), err)
			for i := range found {
				out = append(out, found[i].SpanID)
			}
			return out
		}
		found, err := s.SearchHops(ctx, q)
		noError(t, fmt.Sprintf("SearchHops(%+v)", term), err)
		for i := range found {
			out = append(out, found[i].Consume.SpanID)
		}
		return out
	}
	for i := range spans {
		text := spans[i].Name
		var want []schemas.SpanID
		for k := len(spans) - 1; k >= 0; k-- {
			if spans[k].Name == text {
				want = append(want, spans[k].SpanID)
			}
		}
		is := []search.Value{{Text: text}}
		for _, subject := range []search.Subject{search.Spans, search.Hops} {
			for _, name := range []string{"service", "topic", "group", "name", "status.message", "scope"} {
				if field := search.FieldOf(subject, name); field != nil {
					equal(t, fmt.Sprintf("%s of %s is %q", subject, name, text), ask(subject, search.RowTerm{Field: field, Values: is}), want)
				}
			}
			if text != "" {
				equal(t, fmt.Sprintf("%s of attribute %q", subject, text), ask(subject, search.RowTerm{Key: text, Values: is}), want)
				equal(t, fmt.Sprintf("%s of resource %q", subject, text), ask(subject, search.RowTerm{Key: text, Resource: true, Values: is}), want)
				equal(t, fmt.Sprintf("%s that have %q", subject, text), ask(subject, search.RowTerm{Key: text, Op: search.Has}), want)
			}
			got := ask(subject, search.RowTerm{Values: is})
			for _, id := range want {
				if !slices.Contains(got, id) {
					t.Errorf("%s: the text %q does not find itself", subject, text)
				}
			}
		}
		escaped := search.Value{Text: text + "*", Pattern: true}
		if strings.Contains(text, "*") {
			continue
		}
		var like []schemas.SpanID
		for k := len(spans) - 1; k >= 0; k-- {
			if strings.HasPrefix(spans[k].Name, text) {
				like = append(like, spans[k].SpanID)
			}
		}
		equal(t, fmt.Sprintf("names like %q*", text), ask(search.Spans, search.RowTerm{Field: search.FieldOf(search.Spans, "name"), Values: []search.Value{escaped}}), like)
	}
}

func searchSeen(t *testing.T, s Search) {
	ctx := testContext(t)
	start := base()
	w := searchWorld(100, start)
	noError(t, "WriteSpans", s.WriteSpans(ctx, w.spans, w.rows))
	r := exporters.Range{From: start.Add(-time.Hour), To: start.Add(6 * time.Hour)}
	keys := map[string]uint64{}
	values := map[string]uint64{}
	services := map[string]uint64{}
	for _, p := range w.spans {
		for _, a := range p.Attributes {
			keys[a.Key]++
			if a.Key == "http.route" {
				values[a.Value]++
			}
		}
		for _, a := range p.Resource {
			keys["resource."+a.Key]++
		}
		services[p.Service]++
	}
	counted := func(what string, got exporters.SeenValues, err error, want map[string]uint64) {
		t.Helper()
		noError(t, what, err)
		m := map[string]uint64{}
		for i, v := range got.Values {
			m[v.Text] = v.Rows
			if i > 0 && v.Rows > got.Values[i-1].Rows {
				t.Errorf("%s: %s has more than the one before", what, v.Text)
			}
		}
		equal(t, what, m, want)
	}
	got, err := s.KeysOf(ctx, 1, search.Spans, r)
	counted("KeysOf", got, err, keys)
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Spans, Range: r, Key: "http.route"})
	counted("ValuesOf http.route", got, err, values)
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Spans, Range: r, Field: search.FieldOf(search.Spans, "service")})
	counted("ValuesOf service", got, err, services)
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Spans, Range: r, Key: "host.name", Resource: true, Contains: "B-2"})
	counted("ValuesOf resource.host.name", got, err, map[string]uint64{"web-2": uint64(len(w.spans)+1) / 4})
	topics := map[string]uint64{}
	groups := map[string]uint64{}
	for _, m := range w.rows {
		if m.Side.Reads() {
			topics[m.Topic]++
			groups[m.Group]++
		}
	}
	for _, subject := range []search.Subject{search.Spans, search.Hops} {
		got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: subject, Range: r, Field: search.FieldOf(subject, "topic")})
		counted("ValuesOf topic", got, err, topics)
	}
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Hops, Range: r, Field: search.FieldOf(search.Hops, "group")})
	counted("ValuesOf group", got, err, groups)
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Hops, Range: r, Field: search.FieldOf(search.Hops, "topic"), Limit: 1})
	noError(t, "ValuesOf", err)
	if len(got.Values) != 1 {
		t.Errorf("%d values, want 1", len(got.Values))
	}
	got, err = s.ValuesOf(ctx, exporters.ValueQuery{Project: 2, Subject: search.Spans, Range: r, Key: "http.route"})
	counted("ValuesOf another project", got, err, nil)
}

func searchLogs(t *testing.T, s Search) {
	ctx := testContext(t)
	var all []schemas.Log
	for i := range 60 {
		l := logRecord(i, base().Add(time.Duration(i)*time.Second))
		l.Severity, l.Level = uint8(1+i%24), []string{"trace", "debug", "info", "warn", "error", "fatal"}[i%24/4] //nolint:gosec // small
		l.Service, l.Scope, l.TraceID, l.SpanID = fmt.Sprint("shop-", i%3), "cart", traceID(i%5), spanID(i%7)
		l.Attributes = []schemas.Attribute{{Key: "order.id", Value: strconv.Itoa(i)}}
		l.Resource = []schemas.Attribute{{Key: "host.name", Value: fmt.Sprint("web-", i%2)}}
		if i%2 == 1 {
			l.Origin = schemas.OriginOTel
		}
		all = append(all, l)
	}
	noError(t, "WriteLogs", s.WriteLogs(ctx, all))
	f := func(query string) {
		t.Helper()
		where := parse(t, search.Logs, query)
		var want []schemas.Log
		for _, l := range slices.Backward(all) {
			if where.Holds(func(t search.RowTerm) bool {
				if t.Field == nil {
					if t.Key == "" {
						return inText(t.Values[0], l.Body)
					}
					return attributeHolds(t, l.Resource, l.Attributes)
				}
				switch t.Field.Name {
				case "service":
					return textHolds(t, l.Service)
				case "level":
					return textHolds(t, l.Level)
				case "severity":
					return numberHolds(t, int64(l.Severity), true)
				case "message":
					return slices.ContainsFunc(t.Values, func(v search.Value) bool { return inText(v, l.Body) })
				case "trace":
					return textHolds(t, l.TraceID.String())
				case "span":
					return textHolds(t, l.SpanID.String())
				case "scope":
					return textHolds(t, l.Scope)
				}
				return textHolds(t, string(l.Origin))
			}) {
				want = append(want, l)
			}
		}
		if len(want) == 0 {
			t.Errorf("%s finds nothing in the test's data, so it tests nothing", query)
		}
		got, err := s.Logs(ctx, exporters.LogQuery{Project: 1, Where: where, Limit: 500})
		noError(t, "Logs("+query+")", err)
		equal(t, "Logs("+query+")", got, want)
	}
	for _, q := range []string{
		"", "level:warn", "level:[error,fatal]", "severity>=17", "service:shop-1 -level:info", "LINE", "message:\"line 1\"", "line*2", "trace:" + traceID(2).String(), "span:" + spanID(3).String(), "has:trace",
		"scope:cart", "origin:otel", "order.id:7", "order.id>50", "resource.host.name:web-1 OR level:fatal",
	} {
		f(q)
	}
}

func searchCancelled(t *testing.T, s Search) {
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	q := exporters.RowQuery{Project: 1}
	_, spans := s.SearchSpans(ctx, q)
	_, hops := s.SearchHops(ctx, q)
	_, counts := s.CountRows(ctx, search.Spans, q, 10)
	_, keys := s.KeysOf(ctx, 1, search.Spans, exporters.Range{})
	_, values := s.ValuesOf(ctx, exporters.ValueQuery{Project: 1, Subject: search.Spans, Key: "x"})
	for name, err := range map[string]error{"SearchSpans": spans, "SearchHops": hops, "CountRows": counts, "KeysOf": keys, "ValuesOf": values} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s of a cancelled context: %v", name, err)
		}
	}
}
