package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Core is what the wrapper of a Kafka client instruments with: [Core.Producer]
// for what it sends, [Core.Consumer] for what it reads. The wrapper finds the
// times and keeps the user's data safe; names, attributes, spans, measures and
// headers are the Core's, so that all clients agree.
//
// Spans go one of two ways, record for record equal. When the TracerProvider is
// the one of hoptrace.Init they are written as plain records, without SDK
// objects; under any other provider the OpenTelemetry API is used.
type Core struct {
	config Config
	rec    *record.Recorder // nil: the OpenTelemetry API is used
	tracer trace.Tracer
	meter  *measure.Meter
	// ownMeter tells that meter is a Registry's: no foreign code runs below it.
	ownMeter bool
	clocks   *clock.Sampler
	now      func() int64

	panics atomic.Uint64
}

// Config is what all clients of one wrapper have in common. Its zero value but
// for Scope works.
type Config struct {
	// Scope and Version name the wrapper.
	Scope, Version string

	// Nil means what [SetDefaults] was given, else OpenTelemetry's global one.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	// Propagator is read and written beside the built-in forms, which come first.
	Propagator propagation.TextMapPropagator

	// Parent makes the creation context the parent of receive and process spans
	// of single records, beside the link to it; WithoutLinks leaves the link out
	// where it is the parent.
	Parent       bool
	WithoutLinks bool
	// WithoutReceive leaves out receive spans.
	WithoutReceive bool
	// CreateSpans gives each record a create span of its own, and each request
	// one send span of kind CLIENT that links to them.
	CreateSpans bool
	// SentryTrace writes a sentry-trace header on every record.
	SentryTrace bool
	// Pathways writes and reads the pathway header.
	Pathways bool
	// Service is the name that pathways have this program under. Empty means
	// OTEL_SERVICE_NAME, else the name of the executable.
	Service string
	// Attributes are added to every span.
	Attributes []attribute.KeyValue
	// MessageKey makes the value of messaging.kafka.message.key of a record's key;
	// empty leaves it out. Nil: keys are never told, their hash is.
	MessageKey func(key []byte) string

	// Logger is told each finding of the advisor once. Nil means slog.Default.
	Logger *slog.Logger

	// Now is the wall clock. Nil means time.Now. It is there for tests of clocks
	// that disagree.
	Now func() time.Time
}

// Defaults are the providers that a [Core] uses when its Config names none.
type Defaults struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
	Propagator     propagation.TextMapPropagator
}

var defaults atomic.Pointer[Defaults]

// SetDefaults is what an integration calls when it is set up. A nil field means
// OpenTelemetry's global one. It affects clients wrapped later.
func SetDefaults(d Defaults) { defaults.Store(&d) }

// provider is implemented by the TracerProvider of hoptrace.Init.
type provider interface {
	trace.TracerProvider
	Recorder() *record.Recorder
	Registry() *measure.Registry
}

// NewCore makes the Core of one wrapped client, or of several that are wrapped
// alike.
func NewCore(cfg Config) *Core {
	if d := defaults.Load(); d != nil {
		if cfg.TracerProvider == nil {
			cfg.TracerProvider = d.TracerProvider
		}
		if cfg.MeterProvider == nil {
			cfg.MeterProvider = d.MeterProvider
		}
		if cfg.Propagator == nil {
			cfg.Propagator = d.Propagator
		}
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	cfg.Propagator = beyondBuiltIn(cfg.Propagator)
	c := &Core{config: cfg, now: new(wallClock).now}
	if cfg.Now != nil {
		c.now = func() int64 { return cfg.Now().UnixNano() }
	}
	if p, ok := cfg.TracerProvider.(provider); ok {
		c.rec = p.Recorder()
		if r := p.Registry(); r != nil && cfg.MeterProvider == nil {
			c.meter, c.ownMeter = r.Meter(measure.Scope{Name: cfg.Scope, Version: cfg.Version, SchemaURL: SchemaURL}), true
		}
	}
	c.tracer = cfg.TracerProvider.Tracer(cfg.Scope,
		trace.WithInstrumentationVersion(cfg.Version), trace.WithSchemaURL(SchemaURL))
	if c.meter == nil {
		if cfg.MeterProvider == nil {
			cfg.MeterProvider = otel.GetMeterProvider()
		}
		c.meter = measure.FromOTel(cfg.MeterProvider.Meter(cfg.Scope,
			metric.WithInstrumentationVersion(cfg.Version), metric.WithSchemaURL(SchemaURL)))
	}
	if cfg.Now == nil {
		c.clocks = clock.Of(c.meter)
	} else {
		c.clocks = clock.NewSampler(c.now)
		c.clocks.Attach(c.meter)
	}
	return c
}

// Now is the wall clock of this Core in Unix nanoseconds.
func (c *Core) Now() int64 { return c.now() }

// Clocks takes what produce and fetch round trips tell about brokers' clocks.
func (c *Core) Clocks() *clock.Sampler { return c.clocks }

// Panics counts panics of the instrumentation itself, or of a provider below it,
// that [Core.Guard] kept from the program.
func (c *Core) Panics() uint64 { return c.panics.Load() }

// Guard is deferred by every hook of a wrapper, so that no fault of the
// instrumentation reaches the program.
func (c *Core) Guard() {
	if recover() != nil {
		c.panics.Add(1)
	}
}

// text is what err says: a program's error may panic when it is asked, as a nil
// pointer in an interface does.
func (c *Core) text(err error) (out string) {
	defer c.Guard()
	return strings.ToValidUTF8(err.Error(), "\uFFFD")
}

// errorType is what of says of err, empty for none; "_OTHER" when it panics.
func (c *Core) errorType(err error, of func(error) string) (kind string) {
	if err == nil {
		return ""
	}
	kind = "_OTHER" //nolint:wastedassign // what a panic below leaves to the caller
	defer c.Guard()
	return of(err)
}

// Propagator is the user's, if it knows a header that this package does not
// handle by itself; else nil.
func (c *Core) Propagator() propagation.TextMapPropagator { return c.config.Propagator }

// Config returns what the Core was made with, defaults filled in.
func (c *Core) Config() Config { return c.config }

// KeyText is what Config.MessageKey makes of key, empty for a record without one
// or when it panics: whole characters, at most MaxKeyText bytes.
func (c *Core) KeyText(key []byte) (text string) {
	if c.config.MessageKey == nil || key == nil {
		return ""
	}
	defer c.Guard()
	made := c.config.MessageKey(key)
	if len(made) > MaxKeyText {
		n := MaxKeyText
		for n > 0 && !utf8.RuneStart(made[n]) {
			n--
		}
		made = made[:n]
	}
	// Bytes that are no text would cost an OTLP exporter the whole batch.
	if made = strings.ToValidUTF8(made, "\uFFFD"); len(made) > MaxKeyText {
		return ""
	}
	return made
}

// MaxKeyText bounds the attribute messaging.kafka.message.key.
const MaxKeyText = 1024

// maxPanicText bounds what a span tells of a panic.
const maxPanicText = 1024

// printed is a panic's value as text.
func (c *Core) printed(v any) (s string) {
	s = fmt.Sprintf("a %T", v) //nolint:wastedassign // what a panic below leaves
	defer c.Guard()
	text := fmt.Sprint(v)
	return strings.ToValidUTF8(text[:min(len(text), maxPanicText)], "")
}

// operation is what the spans of one kind on one topic or partition share, for
// both ways.
type operation struct {
	core   *Core
	name   string
	kind   trace.SpanKind
	layout *record.Layout
	attrs  []attribute.KeyValue
	stream *record.Stream          // our way
	start  []trace.SpanStartOption // OpenTelemetry's way
}

func (c *Core) operation(name string, kind trace.SpanKind, layout *record.Layout, attrs []attribute.KeyValue) *operation {
	op := &operation{core: c, name: name, kind: kind, layout: layout, attrs: attrs}
	if c.rec != nil {
		op.stream = c.rec.Stream(record.Scope{Name: c.config.Scope, Version: c.config.Version, SchemaURL: SchemaURL},
			name, kind, layout, attrs...)
		return op
	}
	op.start = []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(attrs...)}
	return op
}

// attributes returns what every span of an operation carries: the user's first,
// so that ours win.
func (c *Core) attributes(name, operation, sentryOp, destination string, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 8+len(c.config.Attributes)+len(more))
	attrs = append(attrs, c.config.Attributes...)
	attrs = append(attrs,
		attribute.String(AttrSystem, SystemKafka),
		attribute.String(AttrOperationName, name),
		attribute.String(AttrOperationType, operation),
		attribute.String(AttrSentryOp, sentryOp),
	)
	if destination != "" {
		attrs = append(attrs, attribute.String(AttrDestinationName, destination))
	}
	return append(attrs, more...)
}

// spanName is "operation destination".
func spanName(operation, destination string) string {
	if destination == "" {
		return operation
	}
	return operation + " " + destination
}

// emit writes a span that is over when it is made: receive, settle and, with
// create spans, send. parent is looked for in ctx.
func (op *operation) emit(ctx context.Context, s *record.Span, parent trace.SpanContext, x *record.Extra, links []trace.Link) (trace.SpanContext, bool) {
	if op.stream != nil {
		sc, sampled := op.begin(ctx, parent)
		if sampled {
			op.put(sc, s, parent, x, links)
		}
		return sc, sampled
	}
	opts := make([]trace.SpanStartOption, 0, len(op.start)+2)
	opts = append(append(opts, op.start...), trace.WithTimestamp(time.Unix(0, s.Start)))
	if all := appendInline(s, links); len(all) > 0 {
		opts = append(opts, trace.WithLinks(all...))
	}
	_, span := op.core.tracer.Start(contextWithParent(ctx, parent), op.name, opts...)
	finish(span, op.layout, s, x)
	sc := span.SpanContext()
	return sc, sc.IsSampled()
}

// begin decides on a span of our way.
func (op *operation) begin(ctx context.Context, parent trace.SpanContext) (sc trace.SpanContext, sampled bool) {
	id, span, sampled := op.core.rec.Begin(ctx, parent, op.stream)
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: span, TraceFlags: flagsOf(parent, sampled), TraceState: parent.TraceState(),
	}), sampled
}

// put writes a span of our way that begin has sampled.
func (op *operation) put(sc trace.SpanContext, s *record.Span, parent trace.SpanContext, x *record.Extra, links []trace.Link) {
	s.TraceID, s.SpanID = sc.TraceID(), sc.SpanID()
	setParent(s, parent)
	if len(links) > 0 || parent.TraceState().Len() > 0 {
		if x == nil {
			x = &record.Extra{}
		}
		x.Links = append(x.Links, links...)
		x.TraceState = parent.TraceState().String()
	}
	op.core.rec.Put(op.stream, s, x)
}

// finish ends a span of OpenTelemetry's way with what s and x say.
func finish(span trace.Span, layout *record.Layout, s *record.Span, x *record.Extra) {
	if span.IsRecording() {
		attrs := layout.Append(make([]attribute.KeyValue, 0, 16), s)
		if x != nil {
			attrs = append(attrs, x.Attributes...)
		}
		span.SetAttributes(attrs...)
		if x != nil {
			for _, l := range x.Links {
				span.AddLink(l)
			}
			if x.Status != 0 {
				span.SetStatus(x.Status, x.Description)
			}
		}
	}
	span.End(trace.WithTimestamp(time.Unix(0, s.End)))
}

// contextWithParent returns ctx with parent as the span that a new one has for
// its parent. An invalid parent makes it a root.
func contextWithParent(ctx context.Context, parent trace.SpanContext) context.Context {
	if trace.SpanContextFromContext(ctx).Equal(parent) {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, parent)
}

const (
	flagsKnown  = 0x100 // OTLP: the next bit means something
	flagsRemote = 0x200
)

func setParent(s *record.Span, parent trace.SpanContext) {
	s.Flags = uint32(trace.FlagsSampled) | flagsKnown
	if parent.IsValid() {
		s.ParentID = parent.SpanID()
		s.Flags |= uint32(parent.TraceFlags())
		if parent.IsRemote() {
			s.Flags |= flagsRemote
		}
	}
}

func setLink(s *record.Span, to trace.SpanContext) {
	s.LinkTrace, s.LinkSpan = to.TraceID(), to.SpanID()
	s.LinkFlags = uint32(to.TraceFlags()) | flagsKnown
	if to.IsRemote() {
		s.LinkFlags |= flagsRemote
	}
}

// appendInline returns the span's inline link and more, for OpenTelemetry's way.
func appendInline(s *record.Span, more []trace.Link) []trace.Link {
	if !s.LinkSpan.IsValid() {
		return more
	}
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: s.LinkTrace, SpanID: s.LinkSpan,
		TraceFlags: trace.TraceFlags(s.LinkFlags), //nolint:gosec // the low byte is what they are
		Remote:     s.LinkFlags&flagsRemote != 0,
	})
	return append([]trace.Link{{SpanContext: sc}}, more...)
}

// flagsOf are those of a span below parent: only the sampling is its own.
func flagsOf(parent trace.SpanContext, sampled bool) trace.TraceFlags {
	return parent.TraceFlags().WithSampled(sampled)
}

// beyondBuiltIn returns p only if it knows a header that this package does not
// handle by itself.
func beyondBuiltIn(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if p == nil {
		return nil
	}
	for _, f := range p.Fields() {
		switch f {
		case HeaderTraceparent, HeaderTracestate, HeaderBaggage, HeaderSentryTrace:
		default:
			return p
		}
	}
	return nil
}
