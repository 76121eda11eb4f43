package messaging

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Processing is what an application does with one record, or with several at
// once. It tells what is known of the record while it goes on, by
// [RecordFromContext].
type Processing struct {
	parent   context.Context
	consumer *Consumer
	delivery facts // of a batch: of its oldest record
	rare     *rare // nil: nothing of it
	start    int64
	live     *record.Live // our way and sampled: one allocation with the rest
	plain    unrecorded   // our way and not sampled
	span     trace.Span
	sc       trace.SpanContext
	count    int32
	ended    atomic.Bool
}

// rare is what few Processings have. There is one for each record: the smaller
// the better.
type rare struct {
	batch  []facts         // of each record, when there are several
	hooks  []*ProcessHook  // those that saw it start
	hooked context.Context // what they made of the context; nil without hooks
}

func (p *Processing) hooked() context.Context {
	if p.rare == nil {
		return nil
	}
	return p.rare.hooked
}

// facts are what a Processing keeps of a Delivery, which is five times as large.
type facts struct {
	partition  *Partition
	offset     int64
	recordTime int64
	answered   int64
	handed     int64
	keyHash    uint64
	hasKey     bool
	logAppend  bool
	lineage    *Lineage
	pathway    *pathwayState // nil: none
}

func (d *Delivery) facts() facts {
	f := facts{
		partition: d.Partition, offset: d.Offset, recordTime: d.RecordTime, answered: d.Answered, handed: d.Handed,
		keyHash: d.KeyHash, hasKey: d.HasKey, logAppend: d.LogAppend, lineage: d.lineage,
	}
	if d.pathway.hash != 0 {
		state := d.pathway
		f.pathway = &state
	}
	return f
}

// recorded is a Processing whose span is ours and sampled.
type recorded struct {
	Processing
	live record.Live
}

// unrecorded is the span of a Processing that is ours and not sampled.
type unrecorded struct {
	embedded.Span
	p *Processing
}

var _ trace.Span = (*unrecorded)(nil)

// SpanContext is that of the process span.
func (u *unrecorded) SpanContext() trace.SpanContext { return u.p.sc }

// IsRecording returns false: what the methods below are told is not kept.
func (*unrecorded) IsRecording() bool { return false }

// End does nothing.
func (*unrecorded) End(...trace.SpanEndOption) {}

// AddEvent does nothing.
func (*unrecorded) AddEvent(string, ...trace.EventOption) {}

// AddLink does nothing.
func (*unrecorded) AddLink(trace.Link) {}

// RecordError does nothing.
func (*unrecorded) RecordError(error, ...trace.EventOption) {}

// SetStatus does nothing.
func (*unrecorded) SetStatus(codes.Code, string) {}

// SetName does nothing.
func (*unrecorded) SetName(string) {}

// SetAttributes does nothing.
func (*unrecorded) SetAttributes(...attribute.KeyValue) {}

// TracerProvider is the one that spans below this are made from.
func (u *unrecorded) TracerProvider() trace.TracerProvider {
	return u.p.consumer.core.config.TracerProvider
}

type processingKey struct{}

// Deadline is that of the parent context.
func (p *Processing) Deadline() (time.Time, bool) { return p.parent.Deadline() }

// Done is that of the parent context.
func (p *Processing) Done() <-chan struct{} { return p.parent.Done() }

// Err is that of the parent context.
func (p *Processing) Err() error { return p.parent.Err() }

// Value returns the process span under OpenTelemetry's key, or else the value of
// the parent context.
func (p *Processing) Value(key any) any {
	if _, ok := key.(processingKey); ok {
		return p
	}
	if p.live != nil {
		return p.live.Value(key)
	}
	if p.plain.p != nil && record.IsSpanKey(key) {
		return trace.Span(&p.plain)
	}
	return p.parent.Value(key)
}

// String describes the context, as those of the standard library do; it keeps fmt
// from reading the span while others change it.
func (p *Processing) String() string { return "messaging.Processing(" + p.sc.SpanID().String() + ")" }

// RecordFromContext returns what is known of the record that is processed in ctx.
func RecordFromContext(ctx context.Context) (*Processing, bool) {
	p, ok := ctx.Value(processingKey{}).(*Processing)
	return p, ok
}

// StartProcess starts the process span of a record at the time at, in Unix
// nanoseconds, and returns the context for the application: it carries the span,
// the record's baggage and the Processing.
func (c *Consumer) StartProcess(ctx context.Context, d *Delivery, at int64) (context.Context, *Processing) {
	ambient := trace.SpanContextFromContext(ctx)
	ctx = d.into(ctx)
	parent, config := ambient, &c.core.config
	switch {
	case config.Parent && d.creation.IsValid():
		parent = d.creation
	case d.received.IsValid():
		parent = d.received
	}
	var links []trace.Link
	if ambient.IsValid() && !ambient.Equal(parent) && !ambient.Equal(d.creation) &&
		// What is above the receive span is found from it, unless the creation is the parent of both.
		(parent.Equal(d.creation) || !ambient.Equal(d.received) && !ambient.Equal(d.ambient)) {
		links = append(links, trace.Link{SpanContext: ambient})
	}
	var extra []attribute.KeyValue
	if d.lineage != nil {
		extra = d.lineage.attributes()
		links = append(links, d.lineage.links()...)
	}
	if d.keyText != "" {
		extra = append(extra, attribute.String(AttrKafkaKey, d.keyText))
	}
	r := record.Span{Start: at}
	linked := d.creation.IsValid() && (!config.WithoutLinks || !parent.Equal(d.creation))
	p := c.begin(ctx, d.Partition.at.get(d.Broker).process, &r, d, parent, linked, d.creation, links, nil, extra)
	p.delivery, p.count, p.start = d.facts(), 1, at
	return p.hook(), p
}

// begin starts the span, which tells of d unless that is nil. The link to the
// creation context comes first, those of more last; it may be nil, and is not
// asked for a span that is not sampled.
func (c *Consumer) begin(ctx context.Context, op *operation, r *record.Span, d *Delivery, parent trace.SpanContext, linked bool, creation trace.SpanContext, links []trace.Link, more func() []trace.Link, attrs []attribute.KeyValue) *Processing {
	if op.stream != nil {
		rec := op.core.rec
		id, span, sampled := rec.Begin(ctx, parent, op.stream)
		r.TraceID, r.SpanID = id, span
		if !sampled {
			p := &Processing{consumer: c, parent: ctx}
			p.sc = trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: flagsOf(parent, false), TraceState: parent.TraceState()})
			p.plain.p, p.span = p, &p.plain
			if !record.SpanKeyKnown() {
				p.parent = trace.ContextWithSpan(ctx, p.span)
			}
			return p
		}
		setParent(r, parent)
		if d != nil {
			d.describe(r)
			d.times(r)
		}
		if more != nil {
			links = append(links, more()...)
		}
		if linked {
			if creation.TraceState().Len() == 0 {
				setLink(r, creation)
			} else {
				links = append([]trace.Link{{SpanContext: creation}}, links...)
			}
		}
		own := &recorded{Processing: Processing{consumer: c, parent: ctx}}
		p := &own.Processing
		rec.Init(&own.live, ctx, op.stream, r, parent.TraceState(), links)
		p.live, p.span, p.sc = &own.live, &own.live, own.live.SpanContext()
		if len(attrs) > 0 {
			p.live.SetAttributes(attrs...)
		}
		return p
	}
	p := &Processing{consumer: c}
	if more != nil {
		links = append(links, more()...)
	}
	if linked {
		links = append([]trace.Link{{SpanContext: creation}}, links...)
	}
	opts := make([]trace.SpanStartOption, 0, len(op.start)+2)
	opts = append(append(opts, op.start...), trace.WithTimestamp(time.Unix(0, r.Start)))
	if len(links) > 0 {
		opts = append(opts, trace.WithLinks(links...))
	}
	p.parent, p.span = op.core.tracer.Start(contextWithParent(ctx, parent), op.name, opts...)
	p.sc = p.span.SpanContext()
	if p.span.IsRecording() {
		if d != nil {
			d.describe(r)
			d.times(r)
		}
		p.span.SetAttributes(append(op.layout.Append(make([]attribute.KeyValue, 0, 16), r), attrs...)...)
	}
	return p
}

func (p *Processing) hook() context.Context {
	var ctx context.Context = p
	all := currentHooks()
	if len(all) == 0 {
		return ctx
	}
	for _, h := range all {
		ctx = p.startHook(*h, ctx)
	}
	if p.rare == nil {
		p.rare = new(rare)
	}
	p.rare.hooks, p.rare.hooked = all, ctx
	return ctx
}

// into returns ctx with what travels beside the span context.
func (d *Delivery) into(ctx context.Context) context.Context {
	if d.baggage != nil {
		if b, err := baggage.Parse(string(d.baggage)); err == nil {
			ctx = baggage.ContextWithBaggage(ctx, b)
		}
	}
	if d.sentry {
		ctx = ContextWithSentryForm(ctx)
	}
	return ctx
}

// Into is [Delivery]'s part of a context without its span: baggage, and the form
// that the record's context came in.
func (d *Delivery) Into(ctx context.Context) context.Context { return d.into(ctx) }

// ErrPanicked is the error of a handler that panicked.
var ErrPanicked = errors.New("processing panicked")

// ErrExited is the error of a handler that ended its goroutine.
var ErrExited = errors.New("the handler ended its goroutine")

// Run calls fn with the record's processing context ctx and ends p with what it
// returns. A panic ends p as an error and goes on as it was.
func (p *Processing) Run(ctx context.Context, errorType func(error) string, fn func(context.Context) error) error {
	returned := false
	defer p.Unwind(&returned)
	err := fn(ctx)
	returned = true
	p.End(err, p.consumer.core.errorType(err, errorType))
	return err
}

// Unwind is deferred around a handler: unless returned is true by then, it ends p
// as a panic, which goes on as it was.
func (p *Processing) Unwind(returned *bool) {
	if *returned {
		return
	}
	v := recover()
	if v == nil { // runtime.Goexit: the goroutine goes on to exit
		p.end(ErrExited, "goexit", nil, p.consumer.core.now(), false)
		return
	}
	p.end(fmt.Errorf("%w: %s", ErrPanicked, p.consumer.core.printed(v)), "panic", v, p.consumer.core.now(), false)
	panic(v)
}

// End ends processing now. err is why it failed and kind its error.type. Only the
// first call counts; any goroutine may make it.
func (p *Processing) End(err error, kind string) {
	p.end(err, kind, nil, p.consumer.core.now(), false)
}

// EndAt is End at another time, in Unix nanoseconds. estimated tells that the
// program did not say when it was done.
func (p *Processing) EndAt(err error, kind string, at int64, estimated bool) {
	p.end(err, kind, nil, at, estimated)
}

func (p *Processing) end(err error, kind string, panicked any, at int64, estimated bool) {
	if p.ended.Swap(true) {
		return
	}
	defer p.consumer.core.Guard()
	if p.hooked() != nil {
		for _, h := range p.rare.hooks {
			p.endHook(*h, err, panicked)
		}
	}
	if estimated {
		if p.live != nil {
			p.live.Set(consumeEstimated, 1)
		} else {
			p.span.SetAttributes(attribute.Bool(AttrConsumeEstimated, true))
		}
	}
	if err != nil && p.span.IsRecording() {
		p.span.SetAttributes(attribute.String(AttrErrorType, kind))
		p.span.SetStatus(codes.Error, p.consumer.core.text(err))
	}
	switch {
	case p.live != nil:
		p.live.SetEnd(at)
		p.live.End()
	case p.plain.p == nil:
		p.span.End(trace.WithTimestamp(time.Unix(0, at)))
	}
	p.measure(kind, at)
}

func (p *Processing) measure(kind string, at int64) {
	d := &p.delivery
	var ex *measure.Exemplar
	if p.sc.IsSampled() {
		ex = &measure.Exemplar{TraceID: p.sc.TraceID(), SpanID: p.sc.SpanID()}
	}
	g := d.doneGroup(kind)
	g.Lock()
	g.Duration(processDuration, at-p.start, 1, ex)
	if p.count == 1 {
		d.measure(g, at, ex)
	}
	g.Unlock()
	if p.rare != nil {
		for i := range p.rare.batch {
			d := &p.rare.batch[i]
			g := d.doneGroup(kind)
			g.Lock()
			d.measure(g, at, ex)
			g.Unlock()
		}
	}
	p.consumer.advisor.processed(d.partition.Topic, p.start, at)
}

func (d *facts) doneGroup(kind string) *measure.Group {
	if kind != "" {
		return d.partition.failedGroup(kind)
	}
	return d.partition.done
}

// measure observes the parts of one record that was done at the time at. g is
// locked.
func (d *facts) measure(g *measure.Group, at int64, ex *measure.Exemplar) {
	if d.handed != 0 {
		g.Duration(processProcessing, at-d.handed, 1, ex)
	}
	if origin := d.origin(); origin != 0 {
		g.Duration(processEndToEnd, at-origin, 1, ex)
	}
	if l := d.lineage; l != nil && l.FirstSeen != 0 && d.handed != 0 {
		g.Duration(processInRetry, d.handed-l.FirstSeen, 1, ex)
	}
}

// origin is the earliest time known of this record: when it was sent, else its
// timestamp.
func (d *facts) origin() int64 {
	if d.pathway != nil {
		return d.pathway.sent * int64(time.Microsecond)
	}
	return max(d.recordTime, 0)
}

// In returns ctx with the process span and what [RecordFromContext] tells.
func (p *Processing) In(ctx context.Context) context.Context {
	return context.WithValue(trace.ContextWithSpan(ctx, p.span), processingKey{}, p)
}

// SpanContext is that of the process span.
func (p *Processing) SpanContext() trace.SpanContext { return p.sc }

// Span is the process span.
func (p *Processing) Span() trace.Span { return p.span }

// Record names the record; of a batch its oldest one.
func (p *Processing) Record() RecordRef {
	return RecordRef{p.delivery.partition.Topic, p.delivery.partition.ID, p.delivery.offset}
}

// Count is the number of records: 1 but for a batch.
func (p *Processing) Count() int { return int(p.count) }

// KeyHash is the xxhash of the record's key in decimal; empty when it has none.
func (p *Processing) KeyHash() string {
	if !p.delivery.hasKey {
		return ""
	}
	return strconv.FormatUint(p.delivery.keyHash, 10)
}

// Seen is when the record was handed to the application; of a batch its oldest one.
func (p *Processing) Seen() time.Time {
	if p.delivery.handed == 0 {
		return time.Unix(0, p.start)
	}
	return time.Unix(0, p.delivery.handed)
}

// Group is the consumer group; empty without one.
func (p *Processing) Group() string { return p.consumer.config.Group }

// MemberID is the group member's id; empty when it is not known.
func (p *Processing) MemberID() string { return p.consumer.memberID() }

// Attempt is 1 for a record that was never sent on after a failure, and one more
// than [AttrRetryAttempt], which counts the failures before, for any other.
func (p *Processing) Attempt() int {
	if p.delivery.lineage == nil {
		return 1
	}
	return p.delivery.lineage.Attempt + 1
}

// Lineage says where a record came from that was sent on after a failure; nil for
// any other.
func (p *Processing) Lineage() *Lineage { return p.delivery.lineage }

// RecordTime is the record's timestamp; zero when it has none.
func (p *Processing) RecordTime() time.Time {
	if p.delivery.recordTime <= 0 {
		return time.Time{}
	}
	return time.Unix(0, p.delivery.recordTime)
}

// Age is how long ago the record was made, by its timestamp, across two clocks:
// negative when they disagree. ok is false when it has no timestamp.
func (p *Processing) Age() (age time.Duration, ok bool) {
	if p.delivery.recordTime <= 0 {
		return 0, false
	}
	return time.Duration(p.consumer.core.now() - p.delivery.recordTime), true
}

// Part is a stretch of a record's way. Known is false when nobody measured it.
type Part struct {
	Duration time.Duration
	Known    bool
}

// Parts are the five parts of a record's way, as far as its consumer knows them.
// What the producer alone measured, the ack, is known only to its own span.
type Parts struct {
	// BatchQueue is send called → the record's timestamp, which clients stamp
	// when they write. Known with pathways, and not with LogAppendTime.
	BatchQueue Part
	// Ack is never known here.
	Ack Part
	// Residence is the record's timestamp → fetch answered; crosses clocks.
	Residence Part
	// FetchQueue is fetch answered → handed over.
	FetchQueue Part
	// Processing is handed over → now.
	Processing Part
}

// Parts returns the parts up to now.
func (p *Processing) Parts() Parts {
	d, now := &p.delivery, p.consumer.core.now()
	var out Parts
	if d.pathway != nil && d.recordTime > 0 && !d.logAppend {
		out.BatchQueue = Part{time.Duration(d.recordTime - d.pathway.sent*int64(time.Microsecond)), true}
	}
	if d.recordTime > 0 && d.answered != 0 {
		out.Residence = Part{time.Duration(d.answered - d.recordTime), true}
	}
	if d.answered != 0 && d.handed != 0 {
		out.FetchQueue = Part{time.Duration(d.handed - d.answered), true}
	}
	from := d.handed
	if from == 0 {
		from = p.start
	}
	out.Processing = Part{time.Duration(now - from), true}
	return out
}
