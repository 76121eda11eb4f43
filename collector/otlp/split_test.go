package otlp

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// checkSplit splits and holds the parts against pdata's view of the whole.
func checkSplit(t testing.TB, data []byte, maxBytes int) ([]Part, Report) {
	t.Helper()
	parts, report, err := Split(data, maxBytes, testNow)
	if err != nil {
		t.Fatal(err)
	}
	got, spans := map[string]int{}, 0
	for i, p := range parts {
		if len(p.Data) > max(maxBytes, MinRecordBytes) {
			t.Errorf("part %d has %d bytes; want at most %d", i, len(p.Data), maxBytes)
		}
		td := decode(t, p.Data)
		if td.SpanCount() != p.Items || p.Items == 0 {
			t.Errorf("part %d says %d spans and has %d", i, p.Items, td.SpanCount())
		}
		spans += p.Items
		multiset(t, got, td)
	}
	if spans != report.Items {
		t.Errorf("parts have %d spans; the report says %d", spans, report.Items)
	}
	if report.Truncated == 0 {
		want := map[string]int{}
		whole := decode(t, data)
		whole.ResourceSpans().RemoveIf(func(rs ptrace.ResourceSpans) bool {
			rs.ScopeSpans().RemoveIf(func(ss ptrace.ScopeSpans) bool {
				ss.Spans().RemoveIf(func(s ptrace.Span) bool { return !plausible(s) })
				return false
			})
			return false
		})
		multiset(t, want, whole)
		if !maps.Equal(want, got) {
			t.Errorf("the parts hold %d different spans, the whole %d, and they differ", len(got), len(want))
		}
	}
	return parts, report
}

// plausible is the rule of examine, told once more.
func plausible(s ptrace.Span) bool {
	latest := pcommon.NewTimestampFromTime(testNow.Add(maxFuture))
	oldest := pcommon.NewTimestampFromTime(testNow.Add(-maxAge))
	return !s.TraceID().IsEmpty() && !s.SpanID().IsEmpty() && s.StartTimestamp() >= oldest &&
		s.EndTimestamp() >= s.StartTimestamp() && s.StartTimestamp() <= latest && s.EndTimestamp() <= latest
}

func TestSplitKeepsEverySpanWithItsResourceAndScope(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	total := 0
	for range 25 {
		data := encode(t, generate(rnd, shape{resources: 4, scopes: 3, spans: 60, textBytes: 1 + rnd.IntN(2000)}))
		parts, report := checkSplit(t, data, MinRecordBytes+rnd.IntN(200<<10))
		if report.Truncated != 0 || report.Refused() != 0 {
			t.Errorf("a valid request of small spans lost something: %+v", report)
		}
		total += len(parts)
	}
	if total < 50 {
		t.Errorf("%d parts of 25 requests: hardly anything was split", total)
	}
}

func TestARequestThatFitsIsPassedOnAsItIs(t *testing.T) {
	data := encode(t, generate(rand.New(rand.NewPCG(3, 4)), shape{2, 2, 20, 50}))
	parts, _, err := Split(data, 1<<20, testNow)
	if err != nil || len(parts) != 1 {
		t.Fatalf("got %d parts, %v; want one", len(parts), err)
	}
	if &parts[0].Data[0] != &data[0] || len(parts[0].Data) != len(data) {
		t.Error("the bytes were copied")
	}
}

// TestPartsAreFull: greedy packing fills each part but the last to within one
// span and its surroundings.
func TestPartsAreFull(t *testing.T) {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	for i := range 5000 {
		validSpan(ss.Spans().AppendEmpty(), i)
	}
	data := encode(t, td)
	parts, _ := checkSplit(t, data, MinRecordBytes)
	if want := len(data)/MinRecordBytes + 1; len(parts) != want {
		t.Errorf("%d bytes make %d parts; want %d", len(data), len(parts), want)
	}
	for i, p := range parts[:len(parts)-1] {
		if len(p.Data) < MinRecordBytes-100 {
			t.Errorf("part %d has %d bytes; want nearly %d", i, len(p.Data), MinRecordBytes)
		}
	}
}

func validSpan(s ptrace.Span, i int) {
	s.SetTraceID(pcommon.TraceID{0: 1, 1: byte(i), 2: byte(i >> 8)})
	s.SetSpanID(pcommon.SpanID{0: 1, 1: byte(i), 2: byte(i >> 8)})
	s.SetName("n")
	s.SetStartTimestamp(pcommon.NewTimestampFromTime(testNow.Add(-time.Second)))
	s.SetEndTimestamp(pcommon.NewTimestampFromTime(testNow))
}

func TestASpanTooLargeLosesItsLargestPartsOnly(t *testing.T) {
	td := ptrace.NewTraces()
	ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	validSpan(ss.Spans().AppendEmpty(), 0)
	s := ss.Spans().AppendEmpty()
	validSpan(s, 1)
	s.SetDroppedAttributesCount(2)
	s.Attributes().PutStr("messaging.destination.name", "orders")
	s.Attributes().PutStr("payload", strings.Repeat("x", 100<<10))
	s.Attributes().PutStr("middling", strings.Repeat("y", 20<<10))
	e := s.Events().AppendEmpty()
	e.SetName("dump")
	e.Attributes().PutStr("heap", strings.Repeat("z", 200<<10))
	validSpan(ss.Spans().AppendEmpty(), 2)
	parts, report := checkSplit(t, encode(t, td), MinRecordBytes)
	if report.Items != 3 || report.Truncated != 1 {
		t.Errorf("%d spans, %d truncated; want 3 and 1", report.Items, report.Truncated)
	}
	cut := 0
	for _, p := range parts {
		if !p.Truncated {
			continue
		}
		cut++
		for _, span := range decode(t, p.Data).ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
			if span.SpanID() != s.SpanID() {
				continue
			}
			if n := span.Attributes().Len(); n != 2 || span.DroppedAttributesCount() != 3 || span.DroppedEventsCount() != 1 || span.Events().Len() != 0 {
				t.Errorf("%d attributes, %d and %d events dropped, %d events; want 2, 3, 1, 0",
					n, span.DroppedAttributesCount(), span.DroppedEventsCount(), span.Events().Len())
			}
			if v, _ := span.Attributes().Get("messaging.destination.name"); v.Str() != "orders" {
				t.Error("the small attribute is gone")
			}
			if v, _ := span.Attributes().Get("middling"); len(v.Str()) != 20<<10 {
				t.Error("an attribute that fits is gone")
			}
		}
	}
	if cut != 1 {
		t.Errorf("%d parts are marked truncated; want 1", cut)
	}
}

func TestASpanThatIsAllNameIsCutToItsBones(t *testing.T) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.SetSchemaUrl("https://example.com/" + strings.Repeat("s", 300<<10))
	ss := rs.ScopeSpans().AppendEmpty()
	ss.Scope().SetName(strings.Repeat("ü", 300<<10))
	s := ss.Spans().AppendEmpty()
	validSpan(s, 0)
	s.SetName(strings.Repeat("ü", 300<<10))
	s.TraceState().FromRaw(strings.Repeat("t", 300<<10))
	s.Status().SetMessage(strings.Repeat("m", 300<<10))
	parts, report := checkSplit(t, encode(t, td), MinRecordBytes)
	if len(parts) != 1 || report.Truncated != 3 {
		t.Fatalf("%d parts, %d cut; want one, and resource, scope and span cut", len(parts), report.Truncated)
	}
	got := decode(t, parts[0].Data).ResourceSpans().At(0).ScopeSpans().At(0)
	if name := got.Spans().At(0).Name(); len(name) != maxText || strings.Trim(name, "ü") != "" {
		t.Errorf("name has %d bytes", len(name))
	}
	if name := got.Scope().Name(); len(name) != maxText {
		t.Errorf("the scope's name has %d bytes", len(name))
	}
}

func TestALargeResourceIsNotRepeatedInFull(t *testing.T) {
	td := ptrace.NewTraces()
	rs := td.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("service.name", "checkout")
	rs.Resource().Attributes().PutStr("environment", strings.Repeat("e", 60<<10))
	ss := rs.ScopeSpans().AppendEmpty()
	for i := range 5000 {
		validSpan(ss.Spans().AppendEmpty(), i)
	}
	data := encode(t, td)
	parts, report := checkSplit(t, data, MinRecordBytes)
	if report.Truncated != 1 || len(parts) > 2*len(data)/MinRecordBytes {
		t.Errorf("%d parts, %d cut", len(parts), report.Truncated)
	}
	for _, p := range parts {
		r := decode(t, p.Data).ResourceSpans().At(0).Resource()
		if v, _ := r.Attributes().Get("service.name"); v.Str() != "checkout" || r.DroppedAttributesCount() != 1 || !p.Truncated {
			t.Fatalf("service.name %q, %d dropped, truncated %v", v.Str(), r.DroppedAttributesCount(), p.Truncated)
		}
	}
}

func TestManyTinyFieldsAreCutInReasonableTime(t *testing.T) {
	good := ptrace.NewTraces()
	validSpan(good.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty(), 0)
	span := encode(t, good)
	for _, num := range []uint32{1, 2, 2} { // request → resource → scope → span
		c := cursor{rest: span}
		for c.next() && c.num != num {
			continue
		}
		span = c.data
	}
	for _, filler := range [][]byte{{0x4a, 0}, {0x2a, 0}, {0x30, 1}, {0xc2, 0x3e, 0}} { // empty attribute, empty name, kind, unknown
		data := append(bytes.Repeat(filler, 1<<19), span...)
		data = append(appendTag(nil, 2, len(data)), data...)
		data = append(appendTag(nil, 2, len(data)), data...)
		data = append(appendTag(nil, 1, len(data)), data...)
		begin := time.Now()
		parts, report, err := Split(data, MinRecordBytes, testNow)
		if err != nil {
			t.Fatal(err)
		}
		if len(parts) != 1 || report.Items != 1 || report.Truncated != 1 {
			t.Errorf("filler %x: %d parts, %+v; want one span, truncated", filler, len(parts), report)
		}
		// Squares would take minutes.
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("filler %x took %v", filler, d)
		}
	}
}
