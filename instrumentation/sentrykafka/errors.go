package sentrykafka

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// processHook ties errors to the record that is processed.
type processHook struct{}

// Start gives the handler a context whose hub knows the record.
func (processHook) Start(ctx context.Context, p *messaging.Processing) context.Context {
	return &recordContext{Context: ctx, p: p}
}

// End captures what the handler panicked with, or returned.
func (processHook) End(ctx context.Context, _ *messaging.Processing, err error, panicked any) {
	c, ok := ctx.Value(recordContextKey{}).(*recordContext)
	cfg := process.current.Load()
	if !ok || cfg == nil {
		return
	}
	switch {
	case panicked != nil:
		if cfg.noPanics {
			return
		}
		if !c.wasCaptured(panicked) {
			if hub, _ := ctx.Value(sentry.HubContextKey).(*sentry.Hub); hub != nil {
				hub.RecoverWithContext(ctx, panicked)
			}
		}
		propagating.add(panicked)
	case err != nil && cfg.errors && !errors.Is(err, messaging.ErrPanicked):
		if !c.wasCaptured(err) {
			if hub, _ := ctx.Value(sentry.HubContextKey).(*sentry.Hub); hub != nil {
				hub.CaptureException(err)
			}
		}
	}
}

// Tags of errors and transactions. Their values are cut to what Sentry takes.
const (
	tagTopic     = "kafka.topic"
	tagPartition = "kafka.partition"
	tagGroup     = "kafka.group"
	contextName  = "kafka"
	maxTag       = 200
)

// describe is the event processor of a record's scope.
func (c *recordContext) describe(event *sentry.Event, hint *sentry.EventHint) *sentry.Event {
	ref := c.p.Record()
	setTag(event, tagTopic, ref.Topic)
	if c.p.Count() == 1 {
		setTag(event, tagPartition, strconv.Itoa(int(ref.Partition)))
	}
	setTag(event, tagGroup, c.p.Group())
	if event.Type != "" { // a transaction or a check-in
		return event
	}
	if event.Contexts == nil {
		event.Contexts = make(map[string]sentry.Context)
	}
	if _, taken := event.Contexts[contextName]; !taken {
		event.Contexts[contextName] = describe(c.p)
	}
	if hint != nil {
		c.noteCaptured(hint.RecoveredException)
		if hint.OriginalException != nil {
			c.noteCaptured(hint.OriginalException)
		}
	}
	return event
}

func setTag(event *sentry.Event, key, value string) {
	if value == "" {
		return
	}
	if event.Tags == nil {
		event.Tags = make(map[string]string)
	}
	if _, taken := event.Tags[key]; !taken {
		event.Tags[key] = clip(value)
	}
}

// clip cuts to what Sentry takes as a tag.
func clip(s string) string {
	if len(s) <= maxTag {
		return s
	}
	return strings.ToValidUTF8(s[:maxTag], "")
}

// describe tells what is known of a record; what is not known is absent. Durations
// are milliseconds, signed: a negative one means that two clocks disagree.
func describe(p *messaging.Processing) sentry.Context {
	ref := p.Record()
	out := sentry.Context{
		"topic":     clip(ref.Topic),
		"partition": ref.Partition,
		"offset":    ref.Offset,
		"attempt":   p.Attempt(),
	}
	text := func(key, v string) {
		if v != "" {
			out[key] = clip(v)
		}
	}
	text("key_hash", p.KeyHash())
	text("group", p.Group())
	text("member", p.MemberID())
	if n := p.Count(); n > 1 {
		out["batch_count"] = n // and the rest is of the oldest record
	}
	if t := p.RecordTime(); !t.IsZero() {
		out["record_time"] = t.UTC().Format(time.RFC3339Nano)
	}
	if age, ok := p.Age(); ok {
		out["age_ms"] = ms(age)
	}
	parts := p.Parts()
	for _, part := range []struct {
		key string
		messaging.Part
	}{
		{"batch_queue_ms", parts.BatchQueue},
		{"ack_ms", parts.Ack},
		{"broker_residence_ms", parts.Residence},
		{"fetch_queue_ms", parts.FetchQueue},
		{"processing_ms", parts.Processing},
	} {
		if part.Known {
			out[part.key] = ms(part.Duration)
		}
	}
	if l := p.Lineage(); l != nil {
		text("original_topic", l.Topic)
		out["original_partition"] = l.Partition
		out["original_offset"] = l.Offset
	}
	return out
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// propagating holds the panics that were captured here and go on up the stack,
// where somebody else may capture them again.
var propagating propagatingPanics

type propagatingPanics struct {
	mu     sync.Mutex
	values []any // the newest last
}

const maxPropagating = 64

func (p *propagatingPanics) add(v any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.values) == maxPropagating {
		p.values = p.values[:copy(p.values, p.values[1:])]
	}
	p.values = append(p.values, v)
}

func (p *propagatingPanics) has(v any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, known := range p.values {
		if sameValue(known, v) {
			return true
		}
	}
	return false
}

// dropPropagating is an event processor that drops a panic which was captured
// when it left the handler of a record, and is on its way up the same stack.
func dropPropagating(event *sentry.Event, hint *sentry.EventHint) *sentry.Event {
	if hint == nil || hint.RecoveredException == nil || hint.Context != nil && hint.Context.Value(recordContextKey{}) != nil {
		return event
	}
	cfg := process.current.Load()
	if cfg == nil || cfg.noPanics || !propagating.has(hint.RecoveredException) || !unwinding() {
		return event
	}
	return nil
}

// unwinding tells whether a panic is going through [messaging.Processing.Unwind]
// on this goroutine: deferred functions run on top of the stack that panicked.
func unwinding() bool {
	var pcs [256]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "instrumentation/messaging.(*Processing).Unwind") {
			return true
		}
		if !more {
			return false
		}
	}
}

// sameValue compares what was panicked with or returned. Of errors, one that
// wraps the other is the same.
func sameValue(known, v any) bool {
	if e, ok := v.(error); ok {
		if k, ok := known.(error); ok && (errors.Is(e, k) || errors.Is(k, e)) {
			return true
		}
	}
	if known == nil || v == nil || reflect.TypeOf(known) != reflect.TypeOf(v) {
		return false
	}
	if reflect.ValueOf(known).Comparable() && reflect.ValueOf(v).Comparable() {
		return known == v
	}
	return reflect.DeepEqual(known, v)
}
