package hoptrace

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// SamplingInfo is what is known of a messaging span before it starts.
type SamplingInfo struct {
	Operation string // create, send, receive, process or settle
	Topic     string // empty for operations on several topics
	Partition int32  // -1 when it is not known yet, as when sending, or there are several
	Group     string // consumer group; empty without one
	ClientID  string
}

// samplingInfo reads the attributes that a span starts with. ok is false when
// they are not those of a messaging span.
func samplingInfo(attrs []attribute.KeyValue) (info SamplingInfo, ok bool) {
	info.Partition = -1
	for i := range attrs {
		v := attrs[i].Value
		switch attrs[i].Key {
		case messaging.AttrSystem:
			ok = true
		case messaging.AttrOperationType:
			info.Operation = v.AsString()
		case messaging.AttrDestinationName:
			info.Topic = v.AsString()
		case messaging.AttrConsumerGroup:
			info.Group = v.AsString()
		case messaging.AttrClientID:
			info.ClientID = v.AsString()
		case messaging.AttrPartitionID:
			if n, err := strconv.ParseInt(v.AsString(), 10, 32); err == nil {
				info.Partition = int32(n)
			}
		}
	}
	return info, ok
}

// byMessage asks the program's function for the share of traces to record.
type byMessage struct {
	f        func(SamplingInfo) float64
	reporter *reporter
	said     atomic.Bool
}

// share returns the function's answer. ok is false when it has none: a negative
// number, NaN, or a panic, which is told once.
func (b *byMessage) share(info SamplingInfo) (ratio float64, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			ratio, ok = 0, false
			if !b.said.Swap(true) {
				b.reporter.report(fmt.Errorf("MessageSampler panicked with %v; such spans are sampled as if it were not there (this is said once)", p))
			}
		}
	}()
	ratio = b.f(info)
	return ratio, ratio >= 0
}

// chosen decides as the SDK's TraceIDRatioBased does, so that all services that
// sample with one ratio choose the same traces.
func chosen(id trace.TraceID, ratio float64) bool {
	if ratio >= 1 {
		return true
	}
	if ratio <= 0 {
		return false
	}
	return binary.BigEndian.Uint64(id[8:16])>>1 < uint64(ratio*(1<<63))
}

// messageSampler is byMessage for spans of the SDK: it sees what a span starts
// with. Parents decide for their children.
type messageSampler struct {
	*byMessage
	next sdktrace.Sampler
}

func (m messageSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(p.ParentContext)
	if parent.IsValid() {
		return m.next.ShouldSample(p)
	}
	info, ok := samplingInfo(p.Attributes)
	if !ok {
		return m.next.ShouldSample(p)
	}
	ratio, ok := m.share(info)
	if !ok {
		return m.next.ShouldSample(p)
	}
	result := sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: parent.TraceState()}
	if chosen(p.TraceID, ratio) {
		result.Decision = sdktrace.RecordAndSample
	}
	return result
}

func (m messageSampler) Description() string {
	return "MessageSampler{otherwise " + m.next.Description() + "}"
}

// switched samples nothing while instrumentation is switched off.
type switched struct{ sdktrace.Sampler }

func (s switched) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if !messaging.Enabled() {
		return sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
	}
	return s.Sampler.ShouldSample(p)
}

// sampling is how a client samples, for both its ways.
type sampling struct {
	sdk sdktrace.Sampler // for spans of the SDK
	// For plain records: ratio when decide is nil.
	ratio  float64
	decide func(context.Context, trace.SpanContext, *record.Stream, trace.TraceID) bool
	roots  bool // decide is for root spans: others are as their parents
}

// newSampling makes the samplers. own is the program's or the environment's; nil
// means by parent, roots by ratio.
func newSampling(own sdktrace.Sampler, ratio float64, f func(SamplingInfo) float64, r *reporter) sampling {
	s := sampling{sdk: own, ratio: ratio, roots: own == nil}
	if own == nil {
		root := sdktrace.AlwaysSample()
		if ratio < 1 {
			root = sdktrace.TraceIDRatioBased(ratio)
		}
		s.sdk = sdktrace.ParentBased(root)
	}
	next := s.sdk
	if f != nil {
		m := &byMessage{f: f, reporter: r}
		s.sdk = messageSampler{byMessage: m, next: next}
		s.decide = func(ctx context.Context, parent trace.SpanContext, st *record.Stream, id trace.TraceID) bool {
			if !parent.IsValid() {
				if info, ok := samplingInfo(st.Attributes()); ok {
					if ratio, ok := m.share(info); ok {
						return chosen(id, ratio)
					}
				}
			}
			if own != nil {
				return ask(own, ctx, parent, st, id)
			}
			if parent.IsValid() {
				return parent.IsSampled()
			}
			return chosen(id, ratio)
		}
	} else if own != nil {
		s.decide = func(ctx context.Context, parent trace.SpanContext, st *record.Stream, id trace.TraceID) bool {
			return ask(own, ctx, parent, st, id)
		}
	}
	s.sdk = switched{s.sdk}
	return s
}

// ask asks a sampler of the SDK about a plain record.
func ask(s sdktrace.Sampler, ctx context.Context, parent trace.SpanContext, st *record.Stream, id trace.TraceID) bool { //nolint:revive // as sdktrace has it
	if !trace.SpanContextFromContext(ctx).Equal(parent) {
		ctx = trace.ContextWithSpanContext(ctx, parent)
	}
	return s.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, TraceID: id, Name: st.Name(), Kind: st.Kind(), Attributes: st.Attributes(),
	}).Decision == sdktrace.RecordAndSample
}

// Samplers that OTEL_TRACES_SAMPLER may name.
var samplerNames = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// samplerFromEnv reads OTEL_TRACES_SAMPLER. A nil sampler and ratio -1 mean that
// it says nothing; a nil sampler and another ratio, by parent and by that ratio.
func samplerFromEnv(env environment) (sdktrace.Sampler, float64) {
	name := env.word(samplerNames, `"parentbased_always_on"`, "OTEL_TRACES_SAMPLER")
	if name == "" {
		return nil, -1
	}
	ratio := 1.0
	if arg, v, ok := env.first("OTEL_TRACES_SAMPLER_ARG"); ok {
		switch name {
		case "traceidratio", "parentbased_traceidratio":
			n, err := strconv.ParseFloat(v, 64)
			if err != nil || math.IsNaN(n) || n < 0 || n > 1 {
				env.fault("%s is %q; it must be a number from 0 to 1", arg, v)
				return nil, -1
			}
			ratio = n
		}
	}
	switch name {
	case "always_on":
		return sdktrace.AlwaysSample(), ratio
	case "always_off":
		return sdktrace.NeverSample(), ratio
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(ratio), ratio
	case "parentbased_always_off":
		return nil, 0
	case "parentbased_traceidratio":
		return nil, ratio
	default:
		return nil, 1
	}
}
