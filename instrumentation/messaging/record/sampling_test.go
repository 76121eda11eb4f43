package record

import (
	"context"
	"math"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func TestSamplingDecidesAsTheSDKDoes(t *testing.T) {
	ctx := t.Context()
	for _, ratio := range []float64{-1, 0, 1e-9, 0.1, 0.5, 0.999, 1, 2, math.NaN()} {
		r, _ := start(t, Options{Ratio: ratio})
		st := r.Stream(testScope, "a", trace.SpanKindClient, nil)
		sampler := sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))
		sampled := 0
		for i := range 3000 {
			var parent trace.SpanContext
			switch i % 6 {
			case 1:
				parent = spanContext(byte(i), i%2 == 0, "")
			case 2:
				parent = spanContext(byte(i), i%2 == 0, "").WithTraceFlags(trace.FlagsRandom)
			case 3: // a trace without a span
				parent = spanContext(byte(i), false, "").WithSpanID(trace.SpanID{}).WithTraceFlags(trace.FlagsSampled)
			}
			id, span, got := r.Begin(ctx, parent, st)
			if !id.IsValid() || !span.IsValid() || parent.TraceID().IsValid() && id != parent.TraceID() {
				t.Fatalf("ids %v and %v in the trace of %v", id, span, parent)
			}
			want := sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: trace.ContextWithSpanContext(ctx, parent), TraceID: id}).Decision == sdktrace.RecordAndSample
			if math.IsNaN(ratio) && !parent.IsValid() {
				want = false // the SDK leaves it to the machine
			}
			if got != want {
				t.Fatalf("ratio %v, parent %v, trace %v: sampled %v; want %v", ratio, parent, id, got, want)
			}
			if got && !parent.IsValid() {
				sampled++
			}
		}
		if ratio == 0.5 && (sampled < 600 || sampled > 1400) {
			t.Errorf("%d of 2000 roots are sampled; want about half", sampled)
		}
	}
}

func TestDecideIsAskedInsteadOfTheParent(t *testing.T) {
	type key struct{}
	var asked []trace.SpanContext
	r, _ := start(t, Options{Ratio: 0, Decide: func(ctx context.Context, parent trace.SpanContext, st *Stream, id trace.TraceID) bool {
		if ctx.Value(key{}) != "v" || st.Name() != "a" || !id.IsValid() {
			t.Errorf("asked with %v, %q, %v", ctx, st.Name(), id)
		}
		asked = append(asked, parent)
		return len(asked)%2 == 1
	}})
	st := r.Stream(testScope, "a", trace.SpanKindClient, nil)
	ctx := context.WithValue(t.Context(), key{}, "v")
	_, _, first := r.Begin(ctx, trace.SpanContext{}, st)
	_, _, second := r.Begin(ctx, spanContext(1, true, ""), st)
	if !first || second || len(asked) != 2 || !asked[1].Equal(spanContext(1, true, "")) {
		t.Errorf("sampled %v, %v; asked %v", first, second, asked)
	}
}

func TestIDsDiffer(t *testing.T) {
	r, _ := start(t, Options{})
	spans, traces := map[trace.SpanID]bool{}, map[trace.TraceID]bool{}
	for range 10_000 {
		id, span, _ := r.Begin(t.Context(), trace.SpanContext{}, nil)
		spans[span], spans[r.NewSpanID()], traces[id] = true, true, true
	}
	if len(spans) != 20_000 || len(traces) != 10_000 {
		t.Errorf("%d span ids, %d trace ids; want 20000 and 10000", len(spans), len(traces))
	}
}
