package sentrykafka

import (
	"context"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// origin is what Sentry shows as the maker of these spans.
const origin = sentry.SpanOrigin("auto.queue.hoptrace")

// opTransaction is the operation of the transactions around messaging spans: in
// Sentry's queue views the spans inside count, not the transaction.
const opTransaction = "queue.task"

// provider makes spans of Sentry's out of those of the wrappers of Kafka clients.
//
// A span becomes a child of Sentry's span in the context, if there is one. Else a
// sent or processed record gets a transaction of its own with the span in it;
// that of a processed record continues the trace that came with it.
type provider struct {
	embedded.TracerProvider
	client   *sentry.Client
	config   config
	own      *sentry.Hub // for contexts without a hub, when client is not the global one
	spare    *sentry.Hub // whose scope nobody reads, see span.complete
	finished *finishedTransactions
}

// NewTracerProvider makes the provider that [KafkaIntegration] gives to wrapped
// clients in sentry.Init, for programs with several clients of Sentry's: pass it
// to a wrapper's WithTracerProvider. client must trace, and the integration be
// set up with it or another.
func NewTracerProvider(client *sentry.Client, opts ...Option) trace.TracerProvider {
	in := KafkaIntegration(opts...)
	tp := newProvider(client, in.config)
	client.AddEventProcessor(tp.finished.note)
	return tp
}

func newProvider(client *sentry.Client, cfg config) *provider {
	return &provider{
		client: client, config: cfg, finished: &finishedTransactions{},
		own:   sentry.NewHub(client, sentry.NewScope()),
		spare: sentry.NewHub(client, sentry.NewScope()),
	}
}

// Tracer implements trace.TracerProvider.
func (p *provider) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{provider: p} }

type tracer struct {
	embedded.Tracer
	provider *provider
}

// hub is the one around ctx, else the global one if it is of this client, else
// one of our own.
func (p *provider) hub(ctx context.Context) *sentry.Hub {
	if h := sentry.GetHubFromContext(ctx); h != nil {
		return h
	}
	if h := sentry.CurrentHub(); h.Client() == p.client {
		return h
	}
	return p.own
}

// Start implements trace.Tracer.
func (t tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	p := t.provider
	cfg := trace.NewSpanStartConfig(opts...)
	s := &span{provider: p, name: name, start: cfg.Timestamp(), data: make(map[string]any, 24)}
	if s.start.IsZero() {
		s.start = time.Now()
	}
	s.set(cfg.Attributes())

	ambient := sentry.SpanFromContext(ctx)
	parent := trace.SpanContextFromContext(ctx)
	linked := creation(cfg.Links())
	if s.op == messaging.SentryOpProcess {
		if linked.IsValid() && parent.TraceID() != linked.TraceID() {
			parent = linked // Sentry continues traces, where OpenTelemetry links them
		}
		if ambient != nil && parent.IsValid() && ambient.TraceID != sentry.TraceID(parent.TraceID()) {
			ambient = nil // the record belongs to another trace than what is around
		}
		return s.startLive(ctx, ambient, parent)
	}
	if ambient == nil {
		if !p.config.standalone && (s.op == messaging.SentryOpReceive || s.op == messaging.SentryOpSettle) {
			return ctx, trace.SpanFromContext(context.Background()) // one that does nothing
		}
		if !parent.IsValid() {
			parent = linked
		}
		s.startTransaction(ctx, parent)
		started.add(trace.SpanID(s.id), s.transaction)
		return trace.ContextWithSpan(ctx, s), s
	}
	s.parent = ambient
	s.trace, s.id, s.sampled = ambient.TraceID, newSpanID(), ambient.Sampled == sentry.SampledTrue
	return trace.ContextWithSpan(ctx, s), s
}

// creation is the context that the record of a span carries: the first link, the
// others being earlier attempts. Records of a batch tell theirs in attributes of
// their links; several traces are none to continue.
func creation(links []trace.Link) trace.SpanContext {
	if len(links) == 0 {
		return trace.SpanContext{}
	}
	first := links[0].SpanContext
	for _, l := range links {
		if len(l.Attributes) > 0 && l.SpanContext.TraceID() != first.TraceID() {
			return trace.SpanContext{}
		}
	}
	return first
}

// startTransaction begins a transaction for s, which is told of only when it
// ends. It continues parent's trace, if that is valid.
func (s *span) startTransaction(ctx context.Context, parent trace.SpanContext) context.Context {
	s.hub = s.provider.hub(ctx).Clone()
	scope := s.hub.Scope()
	scope.SetSpan(nil)
	for key, v := range map[string]string{tagTopic: s.destination, tagPartition: s.partition, tagGroup: s.group} {
		if v != "" {
			scope.SetTag(key, clip(v))
		}
	}
	ctx = sentry.SetHubOnContext(rootContext{ctx}, s.hub)
	s.transaction = sentry.StartSpan(ctx, opTransaction,
		sentry.WithTransactionName(s.name),
		sentry.WithTransactionSource(sentry.SourceTask),
		sentry.WithSpanOrigin(origin),
		continueFrom(ctx, parent),
		func(t *sentry.Span) {
			t.StartTime = s.start
			// For the program's sampler; the span inside has all of it.
			t.Data = make(map[string]any, len(s.data))
			for k, v := range s.data {
				t.Data[k] = v
			}
		})
	s.parent = s.transaction
	s.trace, s.id, s.sampled = s.transaction.TraceID, newSpanID(), s.transaction.Sampled == sentry.SampledTrue
	return s.transaction.Context()
}

// continueFrom continues a trace that came by the headers of a record.
func continueFrom(ctx context.Context, parent trace.SpanContext) sentry.SpanOption {
	if !parent.IsValid() {
		return func(*sentry.Span) {}
	}
	bag := ""
	if b := baggage.FromContext(ctx); travels(b, parent) {
		bag = b.String()
	}
	return sentry.ContinueFromHeaders(string(messaging.AppendSentryTrace(nil, parent)), bag)
}

// startLive starts a span that the program's own spans go below.
func (s *span) startLive(ctx context.Context, ambient *sentry.Span, parent trace.SpanContext) (context.Context, trace.Span) {
	if _, ok := s.data[messaging.AttrRetryCount]; !ok {
		s.data[messaging.AttrRetryCount] = int64(0)
	}
	if ambient == nil {
		ctx = s.startTransaction(ctx, parent)
	} else {
		s.hub = s.provider.hub(ctx).Clone()
		ctx = sentry.SetHubOnContext(ctx, s.hub)
	}
	s.live = sentry.StartSpan(ctx, s.op, sentry.WithDescription(s.destination), sentry.WithSpanOrigin(origin), func(c *sentry.Span) {
		c.StartTime = s.start
		c.Data = s.data
	})
	s.trace, s.id, s.sampled = s.live.TraceID, s.live.SpanID, s.live.Sampled == sentry.SampledTrue
	return trace.ContextWithSpan(s.live.Context(), s), s
}

// finishedTransactions knows the transactions that ended lately: a span that ends
// later than the transaction around it, as that of an asynchronous send may, is
// sent by itself.
type finishedTransactions struct {
	mu    sync.Mutex
	ids   map[sentry.SpanID]struct{}
	order []sentry.SpanID // a ring
	next  int
}

const maxFinished = 8192

// note is an event processor, which transactions pass when they end.
func (f *finishedTransactions) note(event *sentry.Event, _ *sentry.EventHint) *sentry.Event {
	if event.Type != "transaction" {
		return event
	}
	id, ok := event.Contexts["trace"]["span_id"].(sentry.SpanID)
	if !ok {
		return event
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ids == nil {
		f.ids = make(map[sentry.SpanID]struct{})
	}
	if len(f.order) < maxFinished {
		f.order = append(f.order, id)
	} else {
		delete(f.ids, f.order[f.next])
		f.order[f.next] = id
		f.next = (f.next + 1) % maxFinished
	}
	f.ids[id] = struct{}{}
	return event
}

func (f *finishedTransactions) has(t *sentry.Span) bool {
	if t == nil {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.ids[t.SpanID]
	return ok
}
