package record

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

var (
	testScope    = Scope{"example.com/scope", "v1.2.3", "https://opentelemetry.io/schemas/1.43.0"}
	testResource = []attribute.KeyValue{attribute.String("service.name", "shop"), attribute.Int("n", 1), attribute.String("service.name", "orders")}
	testAttrs    = []attribute.KeyValue{attribute.String("messaging.system", "kafka"), attribute.String("topic", "orders"), attribute.StringSlice("tags", []string{"a", "b"})}
	testLayout   = NewLayout(
		Field{"offset", Int}, Field{"partition", Decimal}, Field{"hash", Unsigned}, Field{"tombstone", Bool}, Field{"latency", Float},
		Field{"a.very.long.key.that.does.not.fit.one.byte.of.length." + strings.Repeat("x", 80), Int},
	)
)

// pair is a recorder and an SDK that get the same spans.
type pair struct {
	t       testing.TB
	r       *Recorder
	ours    *sink
	sdk     *sdk
	n       uint64
	streams map[string]*Stream
}

func newPair(t testing.TB) *pair {
	const schema = "https://opentelemetry.io/schemas/1.42.0"
	r, ours := start(t, Options{Resource: testResource, ResourceSchemaURL: schema, MaxBatchBytes: 64 << 20})
	return &pair{t, r, ours, newSDK(t, testResource, schema), 0, map[string]*Stream{}}
}

func (p *pair) compare() {
	p.t.Helper()
	flush(p.t, p.r)
	same(p.t, p.sdk.exported(p.t), p.ours.one(p.t))
}

// startSDK starts a span of the SDK that is described as one of ours.
func (p *pair) startSDK(ctx context.Context, st *Stream, scope Scope, attrs []attribute.KeyValue, s *Span, parent trace.SpanContext, links []trace.Link) trace.Span {
	p.sdk.next = *s
	if s.LinkSpan.IsValid() {
		links = append([]trace.Link{{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: s.LinkTrace, SpanID: s.LinkSpan, TraceFlags: trace.TraceFlags(s.LinkFlags), Remote: s.LinkFlags&0x200 != 0,
		})}}, links...)
	}
	_, span := p.sdk.provider.Tracer(scope.Name, trace.WithInstrumentationVersion(scope.Version), trace.WithSchemaURL(scope.SchemaURL)).
		Start(trace.ContextWithSpanContext(ctx, parent), st.Name(), trace.WithSpanKind(st.Kind()), trace.WithAttributes(attrs...),
			trace.WithTimestamp(time.Unix(0, s.Start)), trace.WithLinks(links...))
	return span
}

// child makes s a child of parent.
func child(s *Span, parent trace.SpanContext) {
	if !parent.IsValid() {
		return
	}
	s.TraceID, s.ParentID = parent.TraceID(), parent.SpanID()
	s.Flags |= uint32(parent.TraceFlags())
	if parent.IsRemote() {
		s.Flags |= 0x200
	}
}

// put puts a span to both. The SDK has no way to say what was dropped before, so
// x must not.
func (p *pair) put(scope Scope, kind trace.SpanKind, attrs []attribute.KeyValue, parent trace.SpanContext, fill func(*Span), x *Extra) {
	s := span(p.n)
	p.n++
	child(&s, parent)
	if fill != nil {
		fill(&s)
	}
	st := p.r.Stream(scope, "send orders", kind, testLayout, attrs...)
	sp := p.startSDK(context.Background(), st, scope, attrs, &s, parent, nil)
	sp.SetAttributes(testLayout.Append(nil, &s)...)
	if x != nil {
		copied := *x
		copied.TraceState = parent.TraceState().String()
		x = &copied
		sp.SetAttributes(x.Attributes...)
		for _, l := range x.Links {
			sp.AddLink(l)
		}
		for _, e := range x.Events {
			sp.AddEvent(e.Name, trace.WithTimestamp(time.Unix(0, e.Time)), trace.WithAttributes(e.Attributes...))
		}
		if x.Name != "" {
			sp.SetName(x.Name)
		}
		sp.SetStatus(x.Status, x.Description)
	}
	sp.End(trace.WithTimestamp(time.Unix(0, s.End)))
	p.r.Put(st, &s, x)
}

func many(n int) (kvs []attribute.KeyValue) {
	for i := range n {
		kvs = append(kvs, attribute.Int(fmt.Sprintf("many.%d", i), i))
	}
	return kvs
}

func everyValue() []attribute.KeyValue {
	kv := func(k string, v attribute.Value) attribute.KeyValue {
		return attribute.KeyValue{Key: attribute.Key(k), Value: v}
	}
	return []attribute.KeyValue{
		attribute.String("s", "Grüße"), attribute.String("empty", ""), attribute.Int("i", -2), attribute.Int64("max", math.MaxInt64),
		attribute.Bool("t", true), attribute.Bool("f", false), attribute.Float64("d", 1.5), attribute.StringSlice("ss", []string{"x", "", "y"}),
		attribute.Int64Slice("is", []int64{1, -2}), attribute.BoolSlice("bs", []bool{true, false}), attribute.Float64Slice("ds", []float64{0, 1}),
		attribute.String("long", strings.Repeat("long ", 10_000)), kv("nothing", attribute.Value{}), kv("bytes", attribute.ByteSliceValue([]byte{0, 255})),
		kv("list", attribute.SliceValue(attribute.IntValue(1), attribute.StringValue("two"), attribute.SliceValue(attribute.BoolValue(true)))),
		kv("map", attribute.MapValue(attribute.Int("b", 1), attribute.Int("a", 2), attribute.Int("b", 3))),
		attribute.String("s", "again"), attribute.String("", "no key"),
	}
}

func TestPutWritesWhatTheSDKWrites(t *testing.T) {
	p := newPair(t)
	local, remote := spanContext(9, false, ""), spanContext(8, true, "a=1,b=2")
	all := func(s *Span) {
		for i, v := range []int64{42, -7, -1, 0, 0, 5} {
			s.Set(i, v)
		}
		s.SetFloat(4, 1.25)
		s.Set(17, 99) // no field
	}
	link := func(s *Span) { s.LinkTrace, s.LinkSpan, s.LinkFlags = trace.TraceID{1}, trace.SpanID{2}, 0x301 }
	put := func(fill func(*Span), x *Extra) {
		p.put(testScope, trace.SpanKindProducer, testAttrs, local, fill, x)
	}
	put(nil, nil)
	put(all, nil)
	put(func(s *Span) { all(s); link(s) }, nil)
	put(func(s *Span) { s.Start, s.End = -5, 0 }, nil)
	for _, kind := range []trace.SpanKind{trace.SpanKindUnspecified, trace.SpanKindConsumer, trace.SpanKindClient, 99} {
		p.put(testScope, kind, nil, trace.SpanContext{}, all, nil)
		p.put(Scope{Name: "other"}, kind, testAttrs, remote, link, new(Extra))
	}
	put(nil, &Extra{Name: "renamed"})
	put(nil, &Extra{Status: codes.Error, Description: "broken"})
	put(nil, &Extra{Status: codes.Error})
	put(nil, &Extra{Status: codes.Ok, Description: "not told"})
	put(all, &Extra{Attributes: everyValue()})
	put(all, &Extra{Attributes: []attribute.KeyValue{attribute.String("topic", "other"), attribute.Int("x", 1)}})
	put(all, &Extra{Attributes: []attribute.KeyValue{attribute.String("offset", "far"), attribute.Int("latency", 1), attribute.Int("offset", 3)}})
	put(all, &Extra{Attributes: append(many(100), attribute.String("topic", "other"), attribute.Int("offset", 1), attribute.Int("many.3", 0))})
	put(all, &Extra{Attributes: append(many(150), attribute.String("topic", "other"), attribute.Int("offset", 1), attribute.Int("many.3", 0), attribute.Int("many.149", 0))})
	put(func(s *Span) { all(s); link(s) }, &Extra{Links: []trace.Link{
		{SpanContext: remote, Attributes: everyValue()}, {SpanContext: local}, {}, {Attributes: many(1)}, {SpanContext: local, Attributes: many(200)},
	}})
	links := make([]trace.Link, 127)
	for i := range links {
		links[i].SpanContext = spanContext(byte(i+1), i%2 == 0, "")
	}
	put(link, &Extra{Links: links})
	put(link, &Extra{Links: slices.Concat(links, links[:1])})
	put(link, &Extra{Links: slices.Concat(links, links)})
	put(nil, &Extra{Links: slices.Concat(links, links[:2])})
	put(nil, &Extra{Events: []Event{{Name: "tea", Time: 5, Attributes: everyValue()}, {Time: 6}, {Name: "much", Time: -7, Attributes: many(130)}}})
	put(nil, &Extra{Events: make([]Event, 128)})
	events := make([]Event, 300)
	for i := range events {
		events[i] = Event{Name: fmt.Sprint(i), Time: int64(i + 1)}
	}
	put(nil, &Extra{Events: events[1:]})
	p.put(testScope, trace.SpanKindClient, []attribute.KeyValue{attribute.String("offset", "stream's"), attribute.Int("hash", 1)}, local, func(s *Span) { s.Set(0, 1) }, nil)
	p.put(testScope, trace.SpanKindClient, []attribute.KeyValue{attribute.String("offset", "stream's"), attribute.Int("hash", 1)}, local, func(s *Span) { s.Set(0, 1) },
		&Extra{Attributes: []attribute.KeyValue{attribute.Int("hash", 2)}})
	p.put(testScope, trace.SpanKindClient, []attribute.KeyValue{attribute.String("offset", "stream's"), attribute.Int("hash", 1)}, local, func(s *Span) { s.Set(0, 1) },
		&Extra{Attributes: []attribute.KeyValue{attribute.Int("offset", 2)}})
	p.put(testScope, trace.SpanKindClient, many(128), local, nil, &Extra{Attributes: []attribute.KeyValue{attribute.Int("many.5", 0), attribute.Int("new", 2)}})
	p.put(testScope, trace.SpanKindClient, many(130), local, nil, nil)
	p.put(testScope, trace.SpanKindClient, many(130), local, nil, &Extra{Attributes: []attribute.KeyValue{attribute.Int("many.5", 0), attribute.Int("new", 2)}})
	p.put(testScope, trace.SpanKindClient, slices.Concat(many(3), []attribute.KeyValue{{}}, many(2)), local, nil, nil)
	p.compare()
}

func TestLiveSpansWriteWhatTheSDKWrites(t *testing.T) {
	at := func(n int64) trace.SpanEventOption { return trace.WithTimestamp(time.Unix(5, n)) }
	boom := errors.New("boom")
	for name, use := range map[string]func(trace.Span){
		"nothing": func(trace.Span) {},
		"attributes": func(s trace.Span) {
			s.SetAttributes(everyValue()...)
			s.SetAttributes(attribute.Int("i", 3))
			s.SetAttributes()
		},
		"our attributes": func(s trace.Span) {
			s.SetAttributes(attribute.String("topic", "other"), attribute.Int("offset", 5))
			s.SetAttributes(attribute.String("topic", "third"))
		},
		"many attributes": func(s trace.Span) {
			s.SetAttributes(many(120)...)
			s.SetAttributes(many(140)...)
			s.SetAttributes(attribute.String("topic", "other"), attribute.String("new", ""), attribute.String("many.7", "seven"))
		},
		"events": func(s trace.Span) {
			s.AddEvent("tea", at(1), trace.WithAttributes(attribute.Int("cups", 2)))
			s.AddEvent("", at(2))
		},
		"many events": func(s trace.Span) {
			for i := range 200 {
				s.AddEvent(fmt.Sprint(i), at(int64(i)), trace.WithAttributes(many(i)...))
			}
		},
		"links": func(s trace.Span) {
			s.AddLink(trace.Link{SpanContext: spanContext(3, true, "a=1"), Attributes: everyValue()})
			s.AddLink(trace.Link{})
			s.AddLink(trace.Link{Attributes: many(130)})
		},
		"many links": func(s trace.Span) {
			for i := range 200 {
				s.AddLink(trace.Link{SpanContext: spanContext(byte(i+1), false, "")})
			}
		},
		"127 links": func(s trace.Span) {
			for i := range 127 {
				s.AddLink(trace.Link{SpanContext: spanContext(byte(i+1), false, "")})
			}
		},
		"name":    func(s trace.Span) { s.SetName("first"); s.SetName("handle") },
		"no name": func(s trace.Span) { s.SetName("") },
		"error": func(s trace.Span) {
			s.SetStatus(codes.Error, "bad")
			s.SetStatus(codes.Error, "worse")
			s.SetStatus(codes.Unset, "fine")
		},
		"ok": func(s trace.Span) {
			s.SetStatus(codes.Error, "bad")
			s.SetStatus(codes.Ok, "fine")
			s.SetStatus(codes.Error, "late")
		},
		"record error": func(s trace.Span) {
			s.RecordError(fmt.Errorf("w: %w", boom), at(1))
			s.RecordError(net.ErrClosed, at(2), trace.WithAttributes(many(2)...))
			s.RecordError(nil)
		},
		"named error": func(s trace.Span) {
			s.RecordError(namedError("x"), at(1))
			s.RecordError(&net.OpError{Op: "read", Err: boom}, at(3))
		},
		"end twice": func(s trace.Span) {
			s.End(trace.WithTimestamp(time.Unix(9, 9)))
			s.SetAttributes(many(1)...)
			s.SetName("late")
			s.AddEvent("late")
			s.SetStatus(codes.Error, "late")
			s.RecordError(boom)
			s.AddLink(trace.Link{SpanContext: spanContext(1, false, "")})
		},
		"status by hand": func(s trace.Span) { s.SetStatus(7, "unheard of") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			for i, parent := range []trace.SpanContext{{}, spanContext(9, false, ""), spanContext(8, true, "a=1,b=2")} {
				s := span(uint64(i))
				child(&s, parent)
				links := []trace.Link{{SpanContext: spanContext(4, true, "")}, {}}
				if i > 0 {
					s.LinkTrace, s.LinkSpan, s.LinkFlags = trace.TraceID{1}, trace.SpanID{2}, 0x301
				}
				if i == 1 {
					links = nil
				}
				st := p.r.Stream(testScope, "process orders", trace.SpanKindConsumer, testLayout, testAttrs...)
				theirs := p.startSDK(context.Background(), st, testScope, testAttrs, &s, parent, links)
				ours := p.r.Start(context.Background(), st, &s, parent.TraceState(), links)
				if want, got := theirs.SpanContext(), ours.SpanContext(); !want.Equal(got) {
					t.Fatalf("the SDK's span is %+v, ours %+v", want, got)
				}
				s.Set(0, 17)
				ours.Record().Set(0, 17)
				theirs.SetAttributes(testLayout.Append(nil, &s)...)
				for _, sp := range []trace.Span{theirs, ours} {
					use(sp)
					sp.End(trace.WithTimestamp(time.Unix(0, s.End)))
					if sp.IsRecording() {
						t.Error("it records after End")
					}
				}
			}
			p.compare()
		})
	}
}

type namedError string

func (e namedError) Error() string { return string(e) }

// FuzzSpansReadBack puts one span made of the fuzzer's bytes to both.
func FuzzSpansReadBack(f *testing.F) {
	f.Add([]byte{}, "name", "key", "value")
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11"), "", "", "Grüße")
	f.Add([]byte(strings.Repeat("\x02\x03\x05\x01", 40)), "n", "offset", strings.Repeat("v", 200))
	f.Add([]byte(strings.Repeat("\x04\x05\xff", 200)), "n\xff", "topic", "\xc3\x28")
	f.Fuzz(func(t *testing.T, data []byte, name, key, value string) {
		name, key, value = strings.ToValidUTF8(name, "\uFFFD"), strings.ToValidUTF8(key, "\uFFFD"), strings.ToValidUTF8(value, "\uFFFD")
		if len(name)+len(key)+len(value) > 4<<10 || len(data) > 400 {
			return // above the bound of a span the two differ on purpose
		}
		p := newPair(t)
		next := func() (b byte) {
			if len(data) > 0 {
				b, data = data[0], data[1:]
			}
			return b
		}
		for len(data) > 0 {
			x := &Extra{Name: name}
			fill := func(s *Span) {
				for n := next() % 8; n > 0; n-- {
					i, v := int(next()%MaxFields), int64(next())-3
					s.Set(i, v<<(next()%64))
				}
			}
			var parent trace.SpanContext
			if n := next(); n%2 == 0 {
				parent = spanContext(n|1, n%4 == 0, []string{"", "a=b"}[n%8/4])
			}
			for n := next() % 16; n > 0; n-- {
				k := attribute.Key(key[:min(len(key), int(next()))])
				k = attribute.Key(strings.ToValidUTF8(string(k), ""))
				v := []attribute.Value{
					attribute.StringValue(value), attribute.IntValue(int(next()) - 128), attribute.StringSliceValue([]string{value, name}),
					attribute.MapValue(attribute.String(key, value), attribute.Int(name, 1)), attribute.ByteSliceValue([]byte(value)),
					{},
				}[next()%6]
				kv := attribute.KeyValue{Key: k, Value: v}
				switch next() % 4 {
				case 0, 1:
					x.Attributes = append(x.Attributes, kv)
				case 2:
					x.Links = append(x.Links, trace.Link{SpanContext: spanContext(next(), false, ""), Attributes: []attribute.KeyValue{kv, kv}})
				case 3:
					x.Events = append(x.Events, Event{Name: value, Time: int64(next()), Attributes: []attribute.KeyValue{kv}})
				}
			}
			x.Status, x.Description = codes.Code(next()%3), value
			p.put(testScope, trace.SpanKind(next()%7), testAttrs, parent, fill, x)
		}
		if p.n > 0 {
			p.compare()
		}
	})
}
