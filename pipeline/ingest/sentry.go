package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
)

// SentryDecoder decodes what Sentry SDKs send besides events into the same forms
// as OTLP: spans, log records, metric points. It is not safe for concurrent use.
type SentryDecoder struct {
	limits Limits
	doc    document.Document
}

// NewSentryDecoder makes a decoder. Zero fields of limits take their defaults.
func NewSentryDecoder(limits Limits) *SentryDecoder {
	return &SentryDecoder{limits: NewSpanDecoder(limits).limits}
}

// items gives the elements of a container, {"items": [...]}; a bare array and a
// single object are taken for what they are.
func (d *SentryDecoder) items(payload []byte, what string) (first *document.Node, err error) {
	root, err := d.doc.Parse(payload)
	if err != nil {
		return nil, fmt.Errorf("container of %s: %w", what, err)
	}
	list := root
	if root.Is('{') {
		if list = root.Get("items"); list == nil {
			one := d.doc.Array()
			one.Append(d.doc.Copy(root))
			list = one
		}
	}
	if !list.Is('[') {
		return nil, fmt.Errorf("container of %s: items is no array", what)
	}
	if n := list.Len() + list.Dropped(); n > d.limits.Spans || list.Dropped() > 0 {
		return nil, fmt.Errorf("container of %s has %d items, more than %d", what, n, min(d.limits.Spans, document.MaxNodes))
	}
	return list.First(), nil
}

// Spans appends the spans of a container of version 2. Position.Index is a span's
// place in it; the caller sets Project, Source and Position.Offset. Spans alias
// payload. On error dst is returned with what it had.
func (d *SentryDecoder) Spans(dst []schemas.Span, payload []byte) ([]schemas.Span, error) {
	item, err := d.items(payload, "spans")
	if err != nil {
		return dst, err
	}
	out := dst
	for i := uint32(0); item != nil; item, i = item.Next(), i+1 {
		out = append(out, d.span(item, i))
	}
	return out, nil
}

func (d *SentryDecoder) span(n *document.Node, index uint32) schemas.Span {
	s := schemas.Span{
		TraceID: traceOf(n.Get("trace_id")), SpanID: spanOf(n.Get("span_id")), ParentID: spanOf(n.Get("parent_span_id")),
		Name:  firstOf(n.Get("name").Scalar(), n.Get("description").Scalar()), // v1 has descriptions
		Start: nanosOf(n.Get("start_timestamp")), End: nanosOf(firstNode(n.Get("end_timestamp"), n.Get("timestamp"))),
		Position: schemas.Position{Index: index},
	}
	status := n.Get("status").Scalar()
	s.Status = statusOf(status)
	a := attributes{d: d}
	a.typed(n.Get("attributes"))
	a.plain(n.Get("data")) // of v1
	if op := n.Get("op").Scalar(); op != "" {
		a.set("sentry.op", op)
	}
	if origin := n.Get("origin").Scalar(); origin != "" {
		a.set("sentry.origin", origin)
	}
	if segment := n.Get("is_segment"); segment.Scalar() == "true" {
		a.set("sentry.is_segment", "true")
	}
	if s.Status == schemas.StatusError && status != "error" {
		s.StatusMessage = status
	}
	for l := n.Get("links").First(); l != nil; l = l.Next() {
		if len(s.Links) == d.limits.Links {
			a.set(AttrDroppedLinks, strconv.Itoa(n.Get("links").Len()-len(s.Links)))
			break
		}
		s.Links = append(s.Links, d.link(l))
	}
	s.Attributes = a.done()
	s.Service = service(s.Attributes, "")
	s.Kind = kindOf(s.Attributes)
	if s.Name == "" {
		s.Name = lookup(s.Attributes, "sentry.op")
	}
	return s
}

func (d *SentryDecoder) link(n *document.Node) schemas.Link {
	a := attributes{d: d}
	if v := n.Get("attributes"); v.First().Is('{') {
		a.typed(v)
	} else {
		a.plain(v)
	}
	return schemas.Link{TraceID: traceOf(n.Get("trace_id")), SpanID: spanOf(n.Get("span_id")), Attributes: a.done()}
}

// Transaction appends the spans of one transaction event: its own, and those that
// it holds. See [SentryDecoder.Spans].
func (d *SentryDecoder) Transaction(dst []schemas.Span, payload []byte) ([]schemas.Span, error) {
	root, err := d.doc.Parse(payload)
	if err != nil {
		return dst, fmt.Errorf("transaction: %w", err)
	}
	if !root.Is('{') {
		return dst, errors.New("transaction is no JSON object")
	}
	list := root.Get("spans")
	if list.Dropped() > 0 || list.Len() >= d.limits.Spans {
		return dst, fmt.Errorf("transaction has %d spans, more than %d", list.Len()+list.Dropped(), min(d.limits.Spans, document.MaxNodes))
	}
	trace := root.Get("contexts").Get("trace")
	shared := attributes{d: d} // by all spans of the process: a resource
	for _, f := range [...][2]string{
		{"release", "sentry.release"}, {"environment", "sentry.environment"}, {"dist", "sentry.dist"}, {"server_name", "host.name"}, {"platform", "sentry.platform"},
	} {
		if v := root.Get(f[0]).Scalar(); v != "" {
			shared.set(f[1], v)
		}
	}
	if v := root.Get("sdk").Get("name").Scalar(); v != "" {
		shared.set("sentry.sdk.name", v)
		shared.set("sentry.sdk.version", root.Get("sdk").Get("version").Scalar())
	}
	resource := shared.done()
	s := schemas.Span{
		TraceID: traceOf(trace.Get("trace_id")), SpanID: spanOf(trace.Get("span_id")), ParentID: spanOf(trace.Get("parent_span_id")),
		Name: firstOf(root.Get("transaction").Scalar(), trace.Get("op").Scalar()), Resource: resource,
		Start: nanosOf(root.Get("start_timestamp")), End: nanosOf(root.Get("timestamp")),
	}
	d.old(&s, trace, root.Get("tags"))
	for l := trace.Get("links").First(); l != nil && len(s.Links) < d.limits.Links; l = l.Next() {
		s.Links = append(s.Links, d.link(l))
	}
	name := service(s.Attributes, lookup(resource, "sentry.release"))
	s.Service = name
	dst = append(dst, s)
	for n, i := list.First(), uint32(1); n != nil; n, i = n.Next(), i+1 {
		child := schemas.Span{
			TraceID: traceOf(n.Get("trace_id")), SpanID: spanOf(n.Get("span_id")), ParentID: spanOf(n.Get("parent_span_id")),
			Name: firstOf(n.Get("description").Scalar(), n.Get("op").Scalar()), Resource: resource,
			Start: nanosOf(n.Get("start_timestamp")), End: nanosOf(firstNode(n.Get("timestamp"), n.Get("end_timestamp"))),
			Position: schemas.Position{Index: i},
		}
		d.old(&child, n, n.Get("tags"))
		child.Service = name
		dst = append(dst, child)
	}
	return dst, nil
}

// old reads what a trace context and a span of a transaction have alike.
func (d *SentryDecoder) old(s *schemas.Span, n, tags *document.Node) {
	a := attributes{d: d}
	a.plain(n.Get("data"))
	for _, f := range [...][2]string{{"op", "sentry.op"}, {"origin", "sentry.origin"}, {"description", "sentry.description"}} {
		if v := n.Get(f[0]).Scalar(); v != "" {
			a.set(f[1], v)
		}
	}
	if tags.Is('[') {
		for t := tags.First(); t != nil; t = t.Next() {
			if key := t.First().Scalar(); key != "" {
				a.set(key, t.First().Next().Scalar())
			}
		}
	} else {
		a.plain(tags)
	}
	status := n.Get("status").Scalar()
	if s.Status = statusOf(status); s.Status == schemas.StatusError {
		s.StatusMessage = status
	}
	s.Attributes = a.done()
	s.Kind = kindOf(s.Attributes)
}

// Logs appends the records of a container of logs. See [SentryDecoder.Spans].
func (d *SentryDecoder) Logs(dst []schemas.Log, payload []byte) ([]schemas.Log, error) {
	item, err := d.items(payload, "logs")
	if err != nil {
		return dst, err
	}
	out := dst
	for i := uint32(0); item != nil; item, i = item.Next(), i+1 {
		a := attributes{d: d}
		a.typed(item.Get("attributes"))
		l := schemas.Log{
			Time: nanosOf(item.Get("timestamp")), TraceID: traceOf(item.Get("trace_id")), SpanID: spanOf(item.Get("span_id")),
			Level: strings.ToLower(item.Get("level").Scalar()), Body: cutString(item.Get("body").Scalar(), d.limits.ValueBytes),
			Origin: schemas.OriginSentry, Position: schemas.Position{Index: i},
		}
		if n, err := strconv.ParseUint(item.Get("severity_number").Scalar(), 10, 8); err == nil {
			l.Severity = uint8(n)
		}
		if l.Attributes = a.done(); l.SpanID.IsZero() {
			l.SpanID = schemas.SpanID{}
			if v := lookup(l.Attributes, "sentry.trace.parent_span_id"); v != "" {
				l.SpanID, _ = schemas.ParseSpanID(v) // else it stays unknown
			}
		}
		l.Service = service(l.Attributes, lookup(l.Attributes, "sentry.release"))
		out = append(out, l)
	}
	return out, nil
}

// TraceMetrics appends the points of a container of trace metrics: a counter is a
// sum of what happened, a distribution a histogram of one value. See
// [SentryDecoder.Spans].
func (d *SentryDecoder) TraceMetrics(dst []schemas.MetricPoint, payload []byte) ([]schemas.MetricPoint, error) {
	item, err := d.items(payload, "trace metrics")
	if err != nil {
		return dst, err
	}
	out := dst
	for i := uint32(0); item != nil; item, i = item.Next(), i+1 {
		v, err := strconv.ParseFloat(item.Get("value").Scalar(), 64)
		if err != nil || !item.Get("value").Is('0') {
			return dst, fmt.Errorf("container of trace metrics: items[%d].value: want a number, got %.40q", i, item.Get("value").Scalar())
		}
		a := attributes{d: d}
		a.typed(item.Get("attributes"))
		p := schemas.MetricPoint{
			Name: item.Get("name").Scalar(), Unit: item.Get("unit").Scalar(), Time: nanosOf(item.Get("timestamp")),
			Scope: "sentry", Partition: schemas.Unknown, Attributes: a.done(), Position: schemas.Position{Index: i},
		}
		p.Service = service(p.Attributes, lookup(p.Attributes, "sentry.release"))
		p.Series = seriesOf(p.Attributes)
		if trace := traceOf(item.Get("trace_id")); !trace.IsZero() {
			p.Exemplars = []schemas.Exemplar{{Time: p.Time, Value: v, TraceID: trace, SpanID: spanOf(item.Get("span_id"))}}
		}
		switch kind := item.Get("type").Scalar(); kind {
		case "counter":
			p.Kind, p.Temporality, p.Monotonic, p.Value = schemas.MetricSum, schemas.TemporalityDelta, true, v
		case "gauge":
			p.Kind, p.Value = schemas.MetricGauge, v
		case "distribution":
			p.Kind, p.Temporality = schemas.MetricHistogram, schemas.TemporalityDelta
			p.Histogram = schemas.Distribution{Count: 1, Sum: v, Min: v, Max: v, Explicit: []uint64{1}}
		default:
			return dst, fmt.Errorf("container of trace metrics: items[%d].type: want counter, gauge or distribution, got %.40q", i, kind)
		}
		out = append(out, p)
	}
	return out, nil
}

// attributes collects those of one thing, within the limits.
type attributes struct {
	d       *SentryDecoder
	list    []schemas.Attribute
	dropped int
	cut     int
}

// set keeps an attribute; the later of two with one key wins.
func (a *attributes) set(key, value string) {
	key = cutString(key, a.d.limits.KeyBytes)
	if len(value) > a.d.limits.ValueBytes {
		value = cutString(value, a.d.limits.ValueBytes)
		a.cut++
	}
	for i := range a.list {
		if a.list[i].Key == key {
			a.list[i].Value = value
			return
		}
	}
	if n := len(a.list); n >= a.d.limits.Attributes && (n >= 2*a.d.limits.Attributes || !isOurs(key)) {
		a.dropped++
		return
	}
	a.list = append(a.list, schemas.Attribute{Key: key, Value: value})
}

// typed reads {"key": {"type": …, "value": …}}.
func (a *attributes) typed(n *document.Node) {
	for c := n.First(); c != nil; c = c.Next() {
		if v := c.Get("value"); v != nil {
			a.node(c.Key(), v)
		} else if !c.Is('{') {
			a.node(c.Key(), c)
		}
	}
}

// plain reads {"key": value}.
func (a *attributes) plain(n *document.Node) {
	if !n.Is('{') {
		return
	}
	for c := n.First(); c != nil; c = c.Next() {
		a.node(c.Key(), c)
	}
}

func (a *attributes) node(key string, n *document.Node) {
	switch n.Kind() {
	case 'n', 0:
	case '{', '[':
		a.set(key, string(n.AppendJSON(nil)))
	default:
		a.set(key, n.Scalar())
	}
}

func (a *attributes) done() []schemas.Attribute {
	if a.dropped > 0 {
		a.list = append(a.list, schemas.Attribute{Key: AttrDropped, Value: strconv.Itoa(a.dropped)})
	}
	if a.cut > 0 {
		a.list = append(a.list, schemas.Attribute{Key: AttrCut, Value: strconv.Itoa(a.cut)})
	}
	return a.list
}

func lookup(attrs []schemas.Attribute, key string) string {
	v, _ := schemas.Lookup(attrs, key)
	return v
}

// service is what the program calls itself; SDKs of Sentry have no name for that
// but the package of the release ("shop@1.2.3").
func service(attrs []schemas.Attribute, release string) string {
	if name := lookup(attrs, serviceName); name != "" {
		return name
	}
	name, _, isPackage := strings.Cut(firstOf(release, lookup(attrs, "sentry.release")), "@")
	if !isPackage {
		return ""
	}
	return name
}

// kindOf reads the kind, or finds it by the operation.
func kindOf(attrs []schemas.Attribute) schemas.SpanKind {
	switch strings.ToLower(firstOf(lookup(attrs, "sentry.kind"), lookup(attrs, "otel.kind"))) {
	case "internal":
		return schemas.KindInternal
	case "server":
		return schemas.KindServer
	case "client":
		return schemas.KindClient
	case "producer":
		return schemas.KindProducer
	case "consumer":
		return schemas.KindConsumer
	}
	switch op := lookup(attrs, "sentry.op"); {
	case op == "queue.publish", op == "queue.create":
		return schemas.KindProducer
	case op == "queue.process":
		return schemas.KindConsumer
	case op == "queue.receive", op == "queue.settle", op == "http.client", strings.HasPrefix(op, "db"), op == "rpc.client", op == "grpc.client":
		return schemas.KindClient
	case op == "http.server", op == "rpc.server", op == "grpc.server":
		return schemas.KindServer
	}
	return schemas.KindInternal
}

// statusOf reads a status in Sentry's words: those of gRPC, and "ok" or "error".
func statusOf(status string) schemas.StatusCode {
	switch status {
	case "":
		return schemas.StatusUnset
	case "ok":
		return schemas.StatusOK
	case "unknown", "unset", "cancelled":
		return schemas.StatusUnset
	}
	return schemas.StatusError
}

func traceOf(n *document.Node) schemas.TraceID {
	id, _ := schemas.ParseTraceID(strings.ReplaceAll(n.Scalar(), "-", "")) // zero: none
	return id
}

func spanOf(n *document.Node) schemas.SpanID {
	id, _ := schemas.ParseSpanID(n.Scalar()) // zero: none
	return id
}

func nanosOf(n *document.Node) int64 { return ParseTime(n.Scalar()) }

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func firstNode(nodes ...*document.Node) *document.Node {
	for _, n := range nodes {
		if n != nil {
			return n
		}
	}
	return nil
}

// seriesOf is equal for points of one set of attributes, whatever their order.
func seriesOf(attrs []schemas.Attribute) uint64 {
	var sum uint64
	for i := range attrs {
		if attrs[i].Key != "sentry.timestamp.sequence" { // differs from point to point
			sum += xxhash.Sum64String(attrs[i].Key + "\x00" + attrs[i].Value)
		}
	}
	return sum
}
