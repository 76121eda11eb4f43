package otelfranz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	otrecord "github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// line is a span without what differs from run to run: ids and times.
type line struct {
	name, parent string
	kind, status int
	links        []string // the names of the spans linked to
	attributes   []string
}

// value leaves out times, which are Unix nanoseconds of this century, durations,
// and the port, which each broker chooses.
func value(key string, v any) string {
	if key == messaging.AttrServerPort {
		return key
	}
	switch n := v.(type) {
	case int64:
		if n > 1e18 {
			return key + "=time"
		}
	case float64:
		return key + "=float"
	}
	return fmt.Sprintf("%s=%v", key, v)
}

func sorted(lines []line) []line {
	for _, l := range lines {
		slices.Sort(l.attributes)
		slices.Sort(l.links)
	}
	slices.SortStableFunc(lines, func(a, b line) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return lines
}

// viaAPI are the spans that went through OpenTelemetry's API and SDK.
func (r recorder) lines() []line {
	names := make(map[trace.SpanID]string)
	for _, s := range r.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	var out []line
	for _, s := range r.Ended() {
		l := line{name: s.Name(), parent: names[s.Parent().SpanID()], kind: int(s.SpanKind()), status: int(s.Status().Code)}
		for _, k := range s.Links() {
			l.links = append(l.links, names[k.SpanContext.SpanID()])
		}
		for _, a := range s.Attributes() {
			v := a.Value.AsInterface()
			if a.Value.Type() == attribute.INT64 {
				v = a.Value.AsInt64()
			}
			l.attributes = append(l.attributes, value(string(a.Key), v))
		}
		out = append(out, l)
	}
	return sorted(out)
}

// sink keeps what a recorder exports.
type sink struct {
	mu     sync.Mutex
	bodies [][]byte
}

func (s *sink) export(_ context.Context, b otrecord.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, slices.Clone(b.Body))
	return nil
}

// lines are the spans that were recorded without the SDK.
func (s *sink) lines(t testing.TB) []line {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make(map[string]string)
	var reqs []*collector.ExportTraceServiceRequest
	for _, b := range s.bodies {
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(b, &req); err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, &req)
		for _, r := range req.ResourceSpans {
			for _, sc := range r.ScopeSpans {
				for _, sp := range sc.Spans {
					names[string(sp.SpanId)] = sp.Name
				}
			}
		}
	}
	status := map[int32]int{0: 0, 1: 2, 2: 1} // OTLP and the API number them differently
	var out []line
	for _, req := range reqs {
		for _, r := range req.ResourceSpans {
			for _, sc := range r.ScopeSpans {
				for _, sp := range sc.Spans {
					l := line{name: sp.Name, parent: names[string(sp.ParentSpanId)], kind: int(sp.Kind), status: status[int32(sp.GetStatus().GetCode())]}
					for _, k := range sp.Links {
						l.links = append(l.links, names[string(k.SpanId)])
					}
					for _, a := range sp.Attributes {
						l.attributes = append(l.attributes, value(a.Key, bare(a.Value)))
					}
					out = append(out, l)
				}
			}
		}
	}
	return sorted(out)
}

func bare(v *common.AnyValue) any {
	switch v := v.Value.(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	}
	return v.String()
}

func TestBothWaysWriteTheSameSpans(t *testing.T) {
	for name, opts := range map[string][]Option{
		"default": nil, "parent": {WithParent(), WithoutLinks()}, "create": {WithCreateSpans()},
		"dressed": {WithAttributes(attribute.String("team", "a")), WithMessageKey(func(k []byte) string { return string(k) }), WithoutReceiveSpans()},
	} {
		t.Run(name, func(t *testing.T) {
			rec := record()
			story(t, append([]Option{WithTracerProvider(rec)}, opts...))
			var s sink
			o := newOwn(t, 1, s.export)
			story(t, append([]Option{WithTracerProvider(o)}, opts...))
			if err := o.recorder.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			want, got := rec.lines(), s.lines(t)
			if len(want) < 8 {
				t.Errorf("only %d spans", len(want))
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(line{})); d != "" {
				t.Errorf("API (-), records (+): %s", d)
			}
		})
	}
}

// story sends, fails, polls, processes, batches and commits.
func story(t *testing.T, opts []Option) {
	c := broker(t, 1)
	cl := newClient(t, c, New(opts...))
	for _, v := range []string{"a", "b", "c", "d"} { // one request each, in both runs
		produce(t, cl, v)
	}
	given := &kgo.Record{Value: []byte("given"), Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}}}
	for _, r := range []*kgo.Record{{Key: []byte("tombstone")}, given} {
		if err := cl.ProduceSync(within(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.ProduceSync(within(t), &kgo.Record{Value: bytes.Repeat([]byte("v"), 2<<20)}).FirstErr(); err == nil {
		t.Fatal("no error")
	}
	h := New(append(opts, WithExplicitProcessing())...) // all is there now, so each fetch tells the same high watermark
	cl = newClient(t, c, h, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.DisableAutoCommit())
	rs := pollSome(t, h, 6)
	failed := errors.New("no")
	if err := h.Process(within(t), rs[0], nothing); err != nil {
		t.Fatal(err)
	}
	if err := h.Process(within(t), rs[1], func(context.Context, *kgo.Record) error { return failed }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if err := h.ProcessBatch(within(t), rs[2:4], func(context.Context, []*kgo.Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := h.Process(within(t), rs[4], nothing); err != nil {
		t.Fatal(err)
	}
	if err := h.CommitRecords(within(t), rs[0]); err != nil {
		t.Fatal(err)
	}
	if err := h.CommitRecords(within(t), rs[:4]...); err != nil {
		t.Fatal(err)
	}
	cl.Close() // nobody says when the last one is done
}
