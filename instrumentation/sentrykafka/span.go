package sentrykafka

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// span is one of the wrappers', to become one of Sentry's.
//
// That of processing is Sentry's from its start, since the program's spans go
// below it. Others are made when they end, complete: Sentry's SDK reads the spans
// of a transaction without a lock when that ends, which may be at the same time.
type span struct {
	embedded.Span
	provider    *provider
	hub         *sentry.Hub  // of transaction or live; nil when it is the program's
	parent      *sentry.Span // of Sentry's, what complete makes a child of
	transaction *sentry.Span // nil: the program has one
	live        *sentry.Span // nil: made when it ends

	trace   sentry.TraceID
	id      sentry.SpanID
	sampled bool

	mu          sync.Mutex // guards the following; data is live's once that is made
	ended       bool
	name        string
	op          string
	destination string
	partition   string
	group       string
	start       time.Time
	offset      int64
	hasOffset   bool
	data        map[string]any
	status      codes.Code
	reason      string
}

var _ trace.Span = (*span)(nil)

func newSpanID() (id sentry.SpanID) {
	for id == (sentry.SpanID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// SpanContext implements trace.Span.
func (s *span) SpanContext() trace.SpanContext {
	flags := trace.TraceFlags(0)
	if s.sampled {
		flags = trace.FlagsSampled
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(s.trace), SpanID: trace.SpanID(s.id), TraceFlags: flags})
}

// IsRecording implements trace.Span.
func (s *span) IsRecording() bool {
	if !s.sampled {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended
}

// TracerProvider implements trace.Span.
func (s *span) TracerProvider() trace.TracerProvider { return s.provider }

// SetName implements trace.Span.
func (s *span) SetName(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name = name
}

// SetStatus implements trace.Span.
func (s *span) SetStatus(code codes.Code, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == codes.Ok || code < s.status && code != codes.Ok {
		return
	}
	s.status, s.reason = code, description
}

// SetAttributes implements trace.Span.
func (s *span) SetAttributes(attrs ...attribute.KeyValue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.set(attrs)
}

// set takes attributes as Sentry's data. s.mu is held, or s not yet shared.
func (s *span) set(attrs []attribute.KeyValue) {
	for _, kv := range attrs {
		switch kv.Key {
		case messaging.AttrSentryOp:
			s.op = kv.Value.AsString()
			continue
		case messaging.AttrDestinationName:
			s.destination = kv.Value.AsString()
		case messaging.AttrPartitionID:
			s.partition = kv.Value.AsString()
		case messaging.AttrConsumerGroup:
			s.group = kv.Value.AsString()
		case messaging.AttrKafkaOffset:
			s.offset, s.hasOffset = kv.Value.AsInt64(), true
		}
		s.put(string(kv.Key), kv.Value.AsInterface())
	}
	if s.hasOffset {
		// As Kafka's own logs name a record.
		s.put(messaging.AttrMessageID, s.destination+"-"+s.partition+"@"+strconv.FormatInt(s.offset, 10))
	}
}

func (s *span) put(key string, v any) {
	if s.live != nil {
		s.live.SetData(key, v)
		return
	}
	s.data[key] = v
}

// AddEvent does nothing: Sentry's spans have no events.
func (s *span) AddEvent(string, ...trace.EventOption) {}

// AddLink does nothing: Sentry's spans have no links.
func (s *span) AddLink(trace.Link) {}

// RecordError does nothing: errors are captured by hubs.
func (s *span) RecordError(error, ...trace.EventOption) {}

// End implements trace.Span.
func (s *span) End(opts ...trace.SpanEndOption) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	s.mu.Unlock()
	cfg := trace.NewSpanEndConfig(opts...)
	at := cfg.Timestamp()
	if at.IsZero() {
		at = time.Now()
	}
	status := s.sentryStatus()
	switch {
	case s.live != nil:
		s.live.Status, s.live.EndTime = status, at
		s.live.Finish()
	case !s.sampled:
	case s.transaction == nil && s.provider.finished.has(s.parent.GetTransaction()):
		s.alone(status, at)
		return
	default:
		s.complete(status, at)
	}
	if s.transaction != nil {
		started.remove(trace.SpanID(s.id))
		s.transaction.Status, s.transaction.EndTime = status, at
		s.transaction.Finish()
	}
}

func (s *span) sentryStatus() sentry.SpanStatus {
	if s.status != codes.Error {
		return sentry.SpanStatusOK
	}
	switch s.reason {
	case "context canceled":
		return sentry.SpanStatusCanceled
	case "context deadline exceeded":
		return sentry.SpanStatusDeadlineExceeded
	}
	return sentry.SpanStatusInternalError
}

// complete makes the span under its parent, all at once.
func (s *span) complete(status sentry.SpanStatus, at time.Time) {
	// The SDK sets each span that starts as the one of its hub's scope; this one
	// is over, and the program's scope none of its business.
	ctx := sentry.SetHubOnContext(s.parent.Context(), s.provider.spare)
	sentry.StartSpan(ctx, s.op, s.whole(status, at))
	s.provider.spare.Scope().SetSpan(nil)
}

// whole sets everything before the SDK lets anybody see the span.
func (s *span) whole(status sentry.SpanStatus, at time.Time) sentry.SpanOption {
	return func(c *sentry.Span) {
		c.SpanID, c.Description, c.Origin = s.id, s.destination, origin
		c.StartTime, c.EndTime = s.start, at
		c.Status, c.Data = status, s.data
	}
}

// alone sends the span in a transaction of its own in the same trace, since the
// one it belongs to is gone.
func (s *span) alone(status sentry.SpanStatus, at time.Time) {
	gone := s.parent.GetTransaction()
	hub := s.provider.hub(s.parent.Context()).Clone()
	hub.Scope().SetSpan(nil)
	ctx := sentry.SetHubOnContext(rootContext{s.parent.Context()}, hub)
	t := sentry.StartSpan(ctx, opTransaction,
		sentry.ContinueFromHeaders(s.parent.ToSentryTrace(), frozen.of(gone)),
		sentry.WithTransactionName(s.name),
		sentry.WithTransactionSource(sentry.SourceTask),
		sentry.WithSpanOrigin(origin),
		sentry.WithSpanSampled(sentry.SampledTrue),
		func(t *sentry.Span) { t.StartTime = s.start })
	sentry.StartSpan(t.Context(), s.op, s.whole(status, at))
	t.Status, t.EndTime = status, at
	t.Finish()
}
