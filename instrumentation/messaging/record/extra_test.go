package record

import (
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

// exportOne puts one span and returns it as exported.
func exportOne(t testing.TB, o Options, x *Extra) *otlp.Span {
	t.Helper()
	r, got := start(t, o)
	s := span(0)
	r.Put(r.Stream(testScope, "send", trace.SpanKindProducer, testLayout, testAttrs...), &s, x)
	flush(t, r)
	out := got.all(t)[s.SpanID]
	if out == nil {
		t.Fatal("the span was not exported")
	}
	return out
}

func TestWhatTakesASpanAboveItsBoundIsLeftOutAndCounted(t *testing.T) {
	huge := strings.Repeat("ö", maxExtraBytes/2+1)
	big := strings.Repeat("b", maxExtraBytes/16)
	got := exportOne(t, Options{}, &Extra{
		Name: huge, Status: codes.Error, Description: huge,
		Attributes: []attribute.KeyValue{
			attribute.String("small", "1"), attribute.String("huge", huge), attribute.String(huge, ""), attribute.StringSlice("slice", []string{huge, huge}),
			{Key: "bytes", Value: attribute.ByteSliceValue([]byte(huge))},
			{Key: "map", Value: attribute.MapValue(attribute.String("x", huge))},
			attribute.String("small.too", "2"),
		},
		Links: []trace.Link{
			{SpanContext: spanContext(1, true, ""), Attributes: []attribute.KeyValue{attribute.String("huge", huge)}},
			{SpanContext: spanContext(2, true, ""), Attributes: []attribute.KeyValue{attribute.String("big", big)}},
		},
		Events:     []Event{{Name: huge}, {Name: "tea"}, {Name: "more", Attributes: []attribute.KeyValue{attribute.String("huge", huge)}}},
		TraceState: "a=" + huge, DroppedAttributes: 10, DroppedLinks: 20, DroppedEvents: 30,
	})
	if len(got.Name) != maxExtraBytes/8 || len(got.Status.GetMessage()) != maxExtraBytes/4 || !utf8.ValidString(got.Name) {
		t.Errorf("name of %d bytes, message of %d; want %d and %d", len(got.Name), len(got.Status.GetMessage()), maxExtraBytes/8, maxExtraBytes/4)
	}
	if n := len(got.Attributes); n != len(testAttrs)+2 || got.DroppedAttributesCount != 10+5 {
		t.Errorf("%d attributes, %d dropped; want %d and 15", n, got.DroppedAttributesCount, len(testAttrs)+2)
	}
	if n := len(got.Links); n != 1 || got.DroppedLinksCount != 20+1 {
		t.Errorf("%d links, %d dropped; want 1 and 21", n, got.DroppedLinksCount)
	}
	if n := len(got.Events); n != 1 || got.DroppedEventsCount != 30+2 || got.Events[0].Name != "tea" {
		t.Errorf("%d events, %d dropped; want 1 and 32", n, got.DroppedEventsCount)
	}
	if got.TraceState != "" {
		t.Errorf("a trace state of %d bytes is written", len(got.TraceState))
	}
}

func TestOneSpanTakesNoMoreThanABatch(t *testing.T) {
	const limit = 16 << 10
	r, got := start(t, Options{MaxBatchBytes: limit})
	st := r.Stream(testScope, "send", trace.SpanKindProducer, testLayout, testAttrs...)
	for i := range 50 {
		s := span(uint64(i))
		x := &Extra{}
		for j := range 100 {
			x.Attributes = append(x.Attributes, attribute.String(testName(j), strings.Repeat("x", 1000)))
		}
		r.Put(st, &s, x)
	}
	flush(t, r)
	if n := len(got.all(t)); n != 50 {
		t.Errorf("%d spans; want 50", n)
	}
	for i, n := range got.bodies {
		if n > limit {
			t.Errorf("batch %d of %d spans takes %d bytes; want at most %d", i, got.spans[i], n, limit)
		}
	}
}

func TestWhatIsNotUTF8IsMadeValid(t *testing.T) {
	const bad, good = "a\xffb", "a\uFFFDb"
	r, got := start(t, Options{Resource: []attribute.KeyValue{attribute.String(bad, bad)}, ResourceSchemaURL: bad})
	s := span(0)
	s.Set(0, 1)
	st := r.Stream(Scope{bad, bad, bad}, bad, trace.SpanKindClient, NewLayout(Field{bad, Int}), attribute.String("k"+bad, bad))
	r.Put(st, &s, nil)
	s = span(1)
	r.Put(st, &s, &Extra{
		Name: bad + bad, Status: codes.Error, Description: bad, TraceState: bad,
		Attributes: []attribute.KeyValue{attribute.StringSlice("x"+bad, []string{bad}), {Key: "map", Value: attribute.MapValue(attribute.String(bad, bad))}},
		Events:     []Event{{Name: bad, Attributes: []attribute.KeyValue{attribute.String(bad, bad)}}},
		Links:      []trace.Link{{SpanContext: spanContext(1, false, ""), Attributes: []attribute.KeyValue{attribute.String(bad, bad)}}},
	})
	flush(t, r) // fails if the request cannot be read
	q := got.one(t).ResourceSpans[0]
	x := got.all(t)[s.SpanID]
	for what, v := range map[string]string{
		"resource schema": q.SchemaUrl, "resource": q.Resource.Attributes[0].Key, "scope": q.ScopeSpans[0].Scope.Version,
		"field": got.all(t)[span(0).SpanID].Attributes[1].Key, "message": x.Status.Message, "event": x.Events[0].Name, "link": x.Links[0].Attributes[0].Key,
	} {
		if v != good {
			t.Errorf("%s: %q; want %q", what, v, good)
		}
	}
}

func TestNothingOfASpanIsKept(t *testing.T) {
	r, got := start(t, Options{})
	st := r.Stream(testScope, "send", trace.SpanKindProducer, testLayout, testAttrs...)
	s := span(0)
	s.Set(0, 1)
	x := &Extra{Attributes: []attribute.KeyValue{attribute.Int("a", 1)}, Links: []trace.Link{{SpanContext: spanContext(1, false, "")}}}
	r.Put(st, &s, x)
	id := s.SpanID
	s.Set(0, 2)
	s.SpanID[7] = 99
	x.Attributes[0] = attribute.Int("b", 2)
	x.Links[0].SpanContext = trace.SpanContext{}
	flush(t, r)
	span := got.all(t)[id]
	if span == nil {
		t.Fatal("the span changed its id after it was put")
	}
	keys := map[string]int64{}
	for _, a := range span.Attributes {
		keys[a.Key] = a.Value.GetIntValue()
	}
	if keys["a"] != 1 || keys["offset"] != 1 || len(span.Links) != 1 || span.Links[0].SpanId[7] != 1 {
		t.Errorf("the span changed after it was put: %v", span)
	}
}

func TestALayoutThatCannotWorkPanics(t *testing.T) {
	f := func(what string, fields ...Field) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", what)
			}
		}()
		NewLayout(fields...)
	}
	f("no key", Field{})
	f("twice", Field{"a", Int}, Field{"a", Bool})
	f("too many", make([]Field, MaxFields+1)...)
}
