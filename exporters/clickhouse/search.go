package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

const (
	// maxFound bounds a page of a search.
	maxFound = 1000
	// maxFoundRows bounds the rows at the places of a page, of which some may be stored
	// twice.
	maxFoundRows = 20 * maxFound
)

// SearchSpans gives a page of spans. The places of the rows are found first, from
// the columns that the query asks; the rows follow, so that a wide row is read
// only where it is shown.
func (s *Store) SearchSpans(ctx context.Context, q exporters.RowQuery) ([]exporters.FoundSpan, error) {
	var found []exporters.FoundSpan
	keys, err := s.searchKeys(ctx, q, s.spanKeys)
	if err == nil && len(keys) > 0 {
		found, err = s.spansAt(ctx, q.Project, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot search spans: %w", err)
	}
	return found, nil
}

// SearchHops gives a page of deliveries.
func (s *Store) SearchHops(ctx context.Context, q exporters.RowQuery) ([]exporters.FoundHop, error) {
	var found []exporters.FoundHop
	keys, err := s.searchKeys(ctx, q, s.hopKeys)
	if err == nil && len(keys) > 0 {
		found, err = s.hopsAt(ctx, q.Project, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot search hops: %w", err)
	}
	return found, nil
}

// rowPlace is a row's place and where it lies.
type rowPlace struct {
	exporters.RowKey
	record schemas.RecordRef // of hops
}

type keysFunc func(ctx context.Context, q exporters.RowQuery, from, to int64, limit int64) ([]rowPlace, error)

// searchKeys finds places. By time it looks at a short stretch first, and at ever
// longer ones until the page is full: most pages are of the latest minutes.
func (s *Store) searchKeys(ctx context.Context, q exporters.RowQuery, find keysFunc) ([]rowPlace, error) {
	limit := limited(q.Limit, 50, maxFound)
	from, to := nanos(q.Range)
	if q.Sort != "" || wholeRange(q.Where) {
		return find(ctx, q, from, to, limit)
	}
	if a := q.After; a != nil {
		if q.Ascending {
			from = max(from, a.Time)
		} else if a.Time < to-1 {
			to = a.Time + 1
		}
	}
	var out []rowPlace
	growth := int64(windowGrowth)
	if needsJoin(q) { // each step asks thrice
		growth *= windowGrowth
	}
	for width := int64(firstWindow); from < to && int64(len(out)) < limit; width *= growth {
		low, high := from, to
		if width < int64(lastWindow) && width < to-from {
			if q.Ascending {
				high = from + width
			} else {
				low = to - width
			}
		}
		more, err := find(ctx, q, low, high, limit-int64(len(out)))
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
		if q.Ascending {
			from = high
		} else {
			to = low
		}
	}
	return out, nil
}

// wholeRange tells that a query finds hops by another table, which is then asked
// once and not for each stretch.
func wholeRange(e search.Expr) bool {
	return slices.ContainsFunc(e.Terms(), func(t search.RowTerm) bool {
		return t.Field == nil || ofRecord(t) || t.Field.Name == search.RowProducer
	})
}

// after is the condition for what comes behind a place; sorted is what it is
// sorted by, and time the row's.
func (p *params) after(q exporters.RowQuery, sorted, time, trace, span, tie string) string {
	a := q.After
	if a == nil {
		return "1"
	}
	p.int("after_by", a.By)
	p.int("after_time", a.Time)
	p.text("after_trace", a.Trace.String())
	p.text("after_span", a.Span.String())
	p.uint("after_tie", a.Tie)
	sign := "<"
	if q.Ascending {
		sign = ">"
	}
	return "(" + sorted + ", " + time + ", " + trace + ", " + span + ", " + tie + ") " + sign +
		" ({after_by:Int64}, {after_time:Int64}, toFixedString(unhex({after_trace:String}), 16), toFixedString(unhex({after_span:String}), 8), {after_tie:UInt64})"
}

// order ends a statement whose columns are called as placeResults has them.
func order(q exporters.RowQuery) string {
	down := " DESC"
	if q.Ascending {
		down = ""
	}
	out := " ORDER BY"
	for i, c := range []string{"by", "t", "trace", "span", "tie"} {
		if i > 0 {
			out += ","
		}
		out += " " + c + down
	}
	return out + " LIMIT 1 BY by, t, trace, span, tie LIMIT {limit:UInt64}"
}

// placeResults holds a block of places.
type placeResults struct {
	results   proto.Results
	by, t     proto.ColInt64
	trace     proto.ColFixedStr16
	span      proto.ColFixedStr8
	tie       proto.ColUInt64
	topic     *proto.ColStr
	partition proto.ColInt32
	offset    proto.ColInt64
}

func newPlaceResults(hops bool) *placeResults {
	c := &placeResults{topic: new(proto.ColStr)}
	c.results = proto.Results{{Name: "by", Data: &c.by}, {Name: "t", Data: &c.t}, {Name: "trace", Data: &c.trace}, {Name: "span", Data: &c.span}, {Name: "tie", Data: &c.tie}}
	if hops {
		c.results = append(c.results, proto.ResultColumn{Name: "of_topic", Data: c.topic}, proto.ResultColumn{Name: "of_partition", Data: &c.partition}, proto.ResultColumn{Name: "of_offset", Data: &c.offset})
	}
	return c
}

func (s *Store) places(ctx context.Context, body string, ps params, hops bool) (out []rowPlace, err error) {
	c := newPlaceResults(hops)
	err = s.query(ctx, body, ps, c.results,
		func() { out = nil },
		func() {
			for i := range c.t {
				p := rowPlace{RowKey: exporters.RowKey{By: c.by[i], Time: c.t[i], Trace: c.trace[i], Span: c.span[i], Tie: c.tie[i]}}
				if hops {
					p.record = schemas.RecordRef{Topic: c.topic.Row(i), Partition: c.partition[i], Offset: c.offset[i]}
				}
				out = append(out, p)
			}
		})
	return out, err
}

func bounds(ps *params, project uint64, from, to int64) string {
	ps.uint("project", project)
	ps.int("from", from)
	ps.int("to", to)
	return "project = {project:UInt64} AND " + inStretch
}

const (
	spanTime = "toUnixTimestamp64Nano(time)"
	spanTie  = "cityHash64(kind, name)"
	hopTie   = "cityHash64(topic, partition, offset, consumer_group)"
)

func (s *Store) spanKeys(ctx context.Context, q exporters.RowQuery, from, to, limit int64) ([]rowPlace, error) {
	var ps params
	where := bounds(&ps, q.Project, from, to)
	ps.int("limit", limit)
	c := rowSQL{params: &ps, subject: search.Spans}
	by := spanTime
	if q.Sort != "" {
		by = "duration"
	}
	where += " AND " + c.expr(q.Where) + " AND " + ps.after(q, by, spanTime, "trace_id", "span_id", spanTie)
	return s.places(ctx, "SELECT "+by+" AS by, "+spanTime+" AS t, trace_id AS trace, span_id AS span, "+spanTie+" AS tie FROM spans WHERE "+where+order(q), ps, false)
}

// spansAt reads the spans at places.
func (s *Store) spansAt(ctx context.Context, project uint64, keys []rowPlace) ([]exporters.FoundSpan, error) {
	from, to := keys[0].Time, keys[0].Time
	traces := make(map[schemas.TraceID]struct{}, len(keys))
	times := make([]int64, len(keys))
	for i, k := range keys {
		from, to = min(from, k.Time), max(to, k.Time)
		traces[k.Trace] = struct{}{}
		times[i] = k.Time
	}
	ids := make([]schemas.TraceID, 0, len(traces))
	for id := range traces {
		ids = append(ids, id)
	}
	var ps params
	where := bounds(&ps, project, from, to+1)
	ps.traces(ids)
	list(&ps, "times", times, func(b *strings.Builder, t int64) { b.WriteString(strconv.FormatInt(t, 10)) })
	c := newSpanResults()
	tie := new(proto.ColUInt64)
	resources := make(map[string][]schemas.Attribute)
	type place struct {
		t     int64
		trace schemas.TraceID
		span  schemas.SpanID
		tie   uint64
	}
	found := make(map[place]schemas.Span, len(keys))
	// Times go by the index of each granule's, and with the traces say which row.
	err := s.query(ctx, "SELECT "+c.names+", "+spanTie+" AS tie FROM spans PREWHERE time IN (SELECT fromUnixTimestamp64Nano(arrayJoin({times:Array(Int64)}))) AND trace_id IN ("+traceSet+") WHERE "+where+" LIMIT "+strconv.Itoa(maxFoundRows), ps,
		append(c.results, proto.ResultColumn{Name: "tie", Data: tie}),
		func() { clear(found) },
		func() {
			for i := range c.project {
				p := c.row(i, resources)
				found[place{p.Start, p.TraceID, p.SpanID, (*tie)[i]}] = p
			}
		})
	if err != nil {
		return nil, err
	}
	out := make([]exporters.FoundSpan, 0, len(keys))
	for _, k := range keys {
		if p, ok := found[place{k.Time, k.Trace, k.Span, k.Tie}]; ok { // retention may have come between
			out = append(out, exporters.FoundSpan{Span: p, Key: k.RowKey})
		}
	}
	return out, nil
}

// hopRows is the rows of hops that fulfil a query, as a FROM and a WHERE, with the
// names of the columns that both forms have. by is what is sorted by.
type hopRows struct {
	params
	from, where                   string
	by, time, trace, span, failed string
}

// hopRows puts the question together. What asks nothing of the sender's row is
// asked of the reader's alone.
func (s *Store) hopRows(ctx context.Context, q exporters.RowQuery, from, to int64) (hopRows, error) {
	var h hopRows
	reader := bounds(&h.params, q.Project, from, to) + " AND side IN (2, 3)"
	h.int("span_reach", max(from-senderReach, 0))
	c := rowSQL{params: &h.params, subject: search.Hops}
	sorted, sortedHere := readerValues[q.Sort]
	if !needsJoin(q) {
		h.from, h.by, h.time, h.trace, h.span, h.failed = "messages", "end_time", "end_time", "trace_id", "span_id", "failed = 1"
		h.where = reader + " AND " + c.expr(q.Where)
		if sortedHere {
			h.by = sorted.value
			h.where += " AND " + sorted.known
		}
		return h, nil
	}
	j := hopJoin{producers: allProducers, settings: rowsOnly}
	here, there := splitBySender(q.Where)
	j.consumers = reader + " AND " + c.expr(here)
	c.joined = true
	h.where = c.expr(there)
	h.by, h.time, h.trace, h.span, h.failed = "c_end", "c_end", "c_trace_id", "c_span_id", "c_failed = 1"
	if sortedHere {
		j.consumers += " AND " + sorted.known
		j.by, h.by = sorted.value, "k_by"
	} else if v, ok := joinValues[q.Sort]; ok {
		h.by = v.value
		h.where += " AND " + v.known
	}
	j.params, j.extra = h.params, c.extra
	low, err := s.reach(ctx, j, exporters.Range{From: time.Unix(0, from)})
	if err != nil {
		return h, err
	}
	j.params.int("reach", low)
	if j.lost, err = s.lost(ctx, j, low); err != nil {
		return h, err
	}
	h.params, h.from = j.params, "("+j.sql()+")"
	return h, nil
}

// splitBySender parts what the reader's row answers alone from the rest; both must hold.
func splitBySender(e search.Expr) (here, there search.Expr) {
	kids := e.Kids
	if e.Logic != search.All {
		kids = []search.Expr{e}
	}
	for _, k := range kids {
		if slices.ContainsFunc(k.Terms(), asksSender) {
			there.Kids = append(there.Kids, k)
		} else {
			here.Kids = append(here.Kids, k)
		}
	}
	return here, there
}

func (s *Store) hopKeys(ctx context.Context, q exporters.RowQuery, from, to, limit int64) ([]rowPlace, error) {
	h, err := s.hopRows(ctx, q, from, to)
	if err != nil {
		return nil, err
	}
	h.int("limit", limit)
	return s.places(ctx, "SELECT "+h.by+" AS by, "+h.time+" AS t, "+h.trace+" AS trace, "+h.span+" AS span, "+hopTie+" AS tie, CAST(topic, 'String') AS of_topic, partition AS of_partition, offset AS of_offset FROM "+
		h.from+" WHERE "+h.where+" AND "+h.after(q, h.by, h.time, h.trace, h.span, hopTie)+order(q)+rowsOnly, h.params, true)
}

// hopsAt reads the hops at places.
func (s *Store) hopsAt(ctx context.Context, project uint64, keys []rowPlace) ([]exporters.FoundHop, error) {
	named := make([]deliveryKey, len(keys))
	byKey := make(map[deliveryKey][]exporters.RowKey, len(keys))
	for i, k := range keys {
		named[i] = deliveryKey{k.record, schemas.SpanRef{TraceID: k.Trace, SpanID: k.Span}}
		byKey[named[i]] = append(byKey[named[i]], k.RowKey)
	}
	rows, sides, err := s.deliveries(ctx, exporters.HopQuery{Project: project}, named)
	if err != nil {
		return nil, err
	}
	hops, err := s.withProducers(ctx, project, rows, sides)
	if err != nil {
		return nil, err
	}
	out := make([]exporters.FoundHop, 0, len(hops))
	for i := range hops {
		c := hops[i].Consume
		k := deliveryKey{c.Record(), schemas.SpanRef{TraceID: c.TraceID, SpanID: c.SpanID}}
		out = append(out, exporters.FoundHop{Hop: hops[i], Key: byKey[k][0]})
	}
	return out, nil
}

// steps are the widths of a histogram's buckets that people read easily.
var steps = []time.Duration{
	time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// CountRows counts rows over time.
func (s *Store) CountRows(ctx context.Context, subject search.Subject, q exporters.RowQuery, buckets int) (exporters.RowHistogram, error) {
	h, err := s.countRows(ctx, subject, q, int64(min(max(buckets, 1), exporters.MaxHistogram)))
	if err != nil {
		return exporters.RowHistogram{}, fmt.Errorf("cannot count %s: %w", subject, err)
	}
	return h, nil
}

func (s *Store) countRows(ctx context.Context, subject search.Subject, q exporters.RowQuery, buckets int64) (out exporters.RowHistogram, err error) {
	from, to := nanos(q.Range)
	q.Sort, q.After = "", nil
	if q.Range.From.IsZero() {
		if from, err = s.first(ctx, subject, q.Project, to); err != nil || from == 0 {
			return out, err
		}
	}
	out.From = from
	if from >= to {
		return out, nil
	}
	out.Step = steps[len(steps)-1]
	if i := slices.IndexFunc(steps, func(d time.Duration) bool { return (to-from)/int64(d) < buckets-1 }); i >= 0 {
		out.Step = steps[i]
	} else {
		out.Step *= time.Duration((to-from)/int64(out.Step)/(buckets-1) + 1)
	}
	out.From -= out.From % int64(out.Step)
	h := hopRows{from: "spans", time: spanTime, failed: "status = 2"}
	if subject == search.Hops {
		if h, err = s.hopRows(ctx, q, from, to); err != nil {
			return out, err
		}
	} else {
		h.where = bounds(&h.params, q.Project, from, to)
		c := rowSQL{params: &h.params, subject: search.Spans}
		h.where += " AND " + c.expr(q.Where)
	}
	h.int("begin", out.From)
	h.int("step", int64(out.Step))
	var (
		bucket    proto.ColInt64
		n, failed proto.ColUInt64
	)
	count := (to-out.From-1)/int64(out.Step) + 1
	err = s.query(ctx, "SELECT toInt64(intDiv("+h.time+" - {begin:Int64}, {step:Int64})) AS bucket, count() AS n, countIf("+h.failed+") AS bad FROM "+h.from+" WHERE "+h.where+" GROUP BY bucket"+rowsOnly, h.params,
		proto.Results{{Name: "bucket", Data: &bucket}, {Name: "n", Data: &n}, {Name: "bad", Data: &failed}},
		func() { out.Buckets = make([]exporters.RowCount, count) },
		func() {
			for i, b := range bucket {
				if b >= 0 && b < count {
					out.Buckets[b] = exporters.RowCount{Rows: n[i], Failed: failed[i]}
				}
			}
		})
	return out, err
}

// first is the time of the first row of a project; zero without one.
func (s *Store) first(ctx context.Context, subject search.Subject, project uint64, to int64) (at int64, err error) {
	var ps params
	where := bounds(&ps, project, 0, to)
	var n proto.ColUInt64
	var t proto.ColInt64
	err = s.query(ctx, "SELECT count() AS n, toUnixTimestamp64Nano(min(time)) AS t FROM "+rowTable(subject)+" WHERE "+where, ps,
		proto.Results{{Name: "n", Data: &n}, {Name: "t", Data: &t}},
		func() { at = 0 },
		func() {
			for i := range n {
				if n[i] > 0 {
					at = t[i]
				}
			}
		})
	return at, err
}

func rowTable(s search.Subject) string {
	switch s {
	case search.Hops:
		return "messages"
	case search.Logs:
		return "logs"
	}
	return "spans"
}

// sampleRows is how many of the latest rows are looked at for attributes.
const sampleRows = 50_000

// attributeTable is where the attributes of a subject's rows lie.
func attributeTable(s search.Subject) string {
	if s == search.Logs {
		return "logs"
	}
	return "spans"
}

// latest is when the latest rows begin, sampleRows of them at least if there are so many.
func (s *Store) latest(ctx context.Context, table string, project uint64, r exporters.Range) (low int64, err error) {
	from, to := nanos(r)
	for width := int64(firstWindow); ; width *= windowGrowth {
		low = max(from, to-width)
		var ps params
		where := bounds(&ps, project, low, to)
		var n proto.ColUInt64
		total := uint64(0)
		err := s.query(ctx, "SELECT count() AS n FROM "+table+" WHERE "+where, ps, proto.Results{{Name: "n", Data: &n}},
			func() { total = 0 },
			func() {
				for _, v := range n {
					total += v
				}
			})
		if err != nil || total >= sampleRows || low <= from || width >= int64(lastWindow) {
			return low, err
		}
	}
}

// KeysOf gives the keys of attributes of the latest rows.
func (s *Store) KeysOf(ctx context.Context, project uint64, subject search.Subject, r exporters.Range) (exporters.SeenValues, error) {
	table := attributeTable(subject)
	low, err := s.latest(ctx, table, project, r)
	if err != nil {
		return exporters.SeenValues{}, fmt.Errorf("cannot list the keys of attributes: %w", err)
	}
	_, to := nanos(r)
	var ps params
	where := bounds(&ps, project, low, to)
	ps.int("sample", 4*sampleRows)
	rows := "(SELECT attributes, resource FROM " + table + " WHERE " + where + " LIMIT {sample:UInt64})"
	body := "SELECT CAST(key, 'String') AS value, count() AS n FROM (SELECT arrayJoin(mapKeys(attributes)) AS key FROM " + rows + ") WHERE key != '' GROUP BY value" +
		" UNION ALL SELECT concat('" + search.ResourcePrefix + "', key) AS value, sum(c) AS n FROM (SELECT arrayJoin(JSONExtractKeys(CAST(resource, 'String'))) AS key, c FROM (SELECT resource, count() AS c FROM " + rows + " GROUP BY resource)) WHERE key != '' GROUP BY value"
	seen, err := s.seen(ctx, "SELECT value, sum(n) AS n FROM ("+body+") GROUP BY value ORDER BY n DESC, value LIMIT 500", ps)
	if err != nil {
		return exporters.SeenValues{}, fmt.Errorf("cannot list the keys of attributes: %w", err)
	}
	return exporters.SeenValues{Values: seen, Since: low}, nil
}

func (s *Store) seen(ctx context.Context, body string, ps params) (out []exporters.ValueSeen, err error) {
	value, n := new(proto.ColStr), proto.ColUInt64{}
	err = s.query(ctx, body, ps, proto.Results{{Name: "value", Data: value}, {Name: "n", Data: &n}},
		func() { out = nil },
		func() {
			for i := range n {
				out = append(out, exporters.ValueSeen{Text: value.Row(i), Rows: n[i]})
			}
		})
	return out, err
}

// valueColumns are the columns of fields that have few values.
var valueColumns = map[search.Subject]map[string]string{
	search.Spans: {search.RowService: "service", search.RowName: "name", search.RowSaid: "status_message", search.RowScope: "scope"},
	search.Hops: {
		search.FieldTopic: "topic", search.FieldGroup: "consumer_group", search.FieldPartition: "toString(partition)", search.RowService: "service", search.RowProducer: "service",
		search.RowClient: "client_id", search.FieldRelease: "release",
	},
	search.Logs: {search.RowService: "service", search.RowScope: "scope"},
}

// ValuesOf gives the values of a field, or of an attribute of the latest rows.
func (s *Store) ValuesOf(ctx context.Context, q exporters.ValueQuery) (exporters.SeenValues, error) {
	from, to := nanos(q.Range)
	table := attributeTable(q.Subject)
	var column, and string
	var err error
	switch {
	case q.Field != nil:
		table, column = rowTable(q.Subject), valueColumns[q.Subject][q.Field.Name]
		if c, ok := valueColumns[search.Hops][q.Field.Name]; column == "" && ok && q.Subject == search.Spans {
			table, column = "messages", c // a span's record
		}
		if column == "" {
			return exporters.SeenValues{Since: from}, nil // as many values as rows
		}
		if table == "messages" {
			and = " AND side IN (2, 3)"
			if q.Field.Name == search.RowProducer {
				and = " AND side = 1"
			}
		}
	case q.Resource:
		column = "JSONExtractString(resource, {key:String})"
		from, err = s.latest(ctx, table, q.Project, q.Range)
	default:
		column = "attributes[{key:String}]"
		from, err = s.latest(ctx, table, q.Project, q.Range)
	}
	if err != nil {
		return exporters.SeenValues{}, fmt.Errorf("cannot list values: %w", err)
	}
	var ps params
	where := bounds(&ps, q.Project, from, to) + and
	ps.text("key", q.Key)
	ps.text("contains", q.Contains)
	ps.int("limit", limited(q.Limit, 20, 100))
	sample := ""
	if q.Field == nil {
		ps.int("sample", 4*sampleRows)
		sample = " LIMIT {sample:UInt64}"
	}
	seen, err := s.seen(ctx, "SELECT CAST(v, 'String') AS value, count() AS n FROM (SELECT "+column+" AS v FROM "+table+" WHERE "+where+sample+
		") WHERE v != '' AND (empty({contains:String}) OR positionCaseInsensitiveUTF8(v, {contains:String}) > 0) GROUP BY value"+
		" ORDER BY startsWith(lowerUTF8(value), lowerUTF8({contains:String})) DESC, n DESC, value LIMIT {limit:UInt64}", ps)
	if err != nil {
		return exporters.SeenValues{}, fmt.Errorf("cannot list values: %w", err)
	}
	return exporters.SeenValues{Values: seen, Since: from}, nil
}
