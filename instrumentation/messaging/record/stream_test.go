package record

import (
	"fmt"
	"runtime"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

func TestAStreamMadeAgainIsTheSame(t *testing.T) {
	r, _ := start(t, Options{})
	stream := func(name string, kind trace.SpanKind, layout *Layout, attrs ...attribute.KeyValue) *Stream {
		return r.Stream(testScope, name, kind, layout, attrs...)
	}
	first := stream("send", trace.SpanKindProducer, testLayout, testAttrs...)
	if again := stream("send", trace.SpanKindProducer, testLayout, testAttrs...); again != first {
		t.Error("the same stream was made twice")
	}
	for what, other := range map[string]*Stream{
		"name":       stream("process", trace.SpanKindProducer, testLayout, testAttrs...),
		"kind":       stream("send", trace.SpanKindClient, testLayout, testAttrs...),
		"layout":     stream("send", trace.SpanKindProducer, nil, testAttrs...),
		"attributes": stream("send", trace.SpanKindProducer, testLayout),
		"scope":      r.Stream(Scope{Name: "b"}, "send", trace.SpanKindProducer, testLayout, testAttrs...),
	} {
		if other == first {
			t.Errorf("streams that differ by their %s are one", what)
		}
	}
}

func TestStreamsAboveTheBoundWriteTheSameSpansAndTakeNoMemory(t *testing.T) {
	r, got := start(t, Options{})
	plain, want := start(t, Options{})
	for i := range maxStreams {
		r.Stream(testScope, fmt.Sprint(i), trace.SpanKindProducer, testLayout)
	}
	put := func(r *Recorder) {
		st := r.Stream(testScope, "send", trace.SpanKindProducer, testLayout, testAttrs...)
		for i, x := range []*Extra{
			nil,
			{Name: "renamed"},
			{Attributes: []attribute.KeyValue{testAttrs[0].Key.String("other"), attribute.Int("more", 1)}},
			{Status: codes.Error, Description: "no", TraceState: "a=b", Links: []trace.Link{{SpanContext: spanContext(3, true, "")}}},
		} {
			s := span(uint64(i + 1))
			s.Set(0, 17)
			r.Put(st, &s, x)
		}
		flush(t, r)
	}
	put(plain)
	put(r)
	same(t, sorted(want.one(t)), sorted(got.one(t)))

	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 50_000 {
		r.Stream(testScope, fmt.Sprint("more", i), trace.SpanKindProducer, testLayout, testAttrs...)
	}
	if grew := int64(heap()) - int64(before); grew > 4<<20 {
		t.Errorf("50,000 streams above the bound took %d bytes", grew)
	}
	if n := len(r.streams); n > maxStreams+maxBare {
		t.Errorf("%d streams are kept", n)
	}
	for i := range maxBare + 10 {
		st := r.Stream(Scope{Name: fmt.Sprint(i)}, "send", trace.SpanKindProducer, testLayout)
		s := span(uint64(100 + i))
		r.Start(t.Context(), st, &s, trace.TraceState{}, nil).End()
	}
	if n := r.Counts().Dropped; n == 0 || n > 20 {
		t.Errorf("%d spans of too many scopes were dropped; want those above the bound", n)
	}
}
