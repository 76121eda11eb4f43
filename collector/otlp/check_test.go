package otlp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func TestScanNamesWhatIsWrongWithASpan(t *testing.T) {
	f := func(want Reason, text string, spoil func(s ptrace.Span)) {
		t.Helper()
		td := ptrace.NewTraces()
		ss := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
		validSpan(ss.Spans().AppendEmpty(), 0)
		bad := ss.Spans().AppendEmpty()
		validSpan(bad, 1)
		bad.SetName("bad \u2028 one")
		spoil(bad)
		r, err := Scan(encode(t, td), testNow)
		if err != nil {
			t.Fatalf("%v: %v", want, err)
		}
		if r.Items != 1 || r.Rejected[want] != 1 || r.Refused() != 1 {
			t.Errorf("%v: %+v; want one span of two refused for it", want, r)
		}
		if m := r.Message(); !strings.Contains(m, `1 of 2 spans refused: 1 `) ||
			!strings.Contains(m, `first: resourceSpans[0].scopeSpans[0].spans[1] "bad \u2028 one" `+text) {
			t.Errorf("%v: message %q", want, m)
		}
	}
	f(BadTraceID, "has a trace id of ", func(s ptrace.Span) { s.SetTraceID(pcommon.TraceID{}) })
	f(BadSpanID, "has a span id of ", func(s ptrace.Span) { s.SetSpanID(pcommon.SpanID{}) })
	f(NoStart, "has no start time", func(s ptrace.Span) { s.SetStartTimestamp(0) })
	f(EndBeforeStart, "starts at 1795435199000000000 and ends at 1795435198999999999 (Unix ns)", func(s ptrace.Span) { s.SetEndTimestamp(s.StartTimestamp() - 1) })
	f(EndBeforeStart, "starts at 1795435199000000000 and ends at 0", func(s ptrace.Span) { s.SetEndTimestamp(0) })
	f(InFuture, "starts at", func(s ptrace.Span) { s.SetEndTimestamp(1<<64 - 1) })
	f(InFuture, "starts at", func(s ptrace.Span) {
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(testNow.Add(maxFuture + 1)))
		s.SetEndTimestamp(s.StartTimestamp())
	})
	f(TooOld, "starts at", func(s ptrace.Span) { s.SetStartTimestamp(pcommon.NewTimestampFromTime(testNow.Add(-maxAge - 1))) })
	f(TooDeep, "has values nested deeper than 100 levels", func(s ptrace.Span) {
		v := s.Attributes().PutEmpty("deep")
		for range 60 {
			v = v.SetEmptySlice().AppendEmpty()
		}
	})
}

// spanOf wraps raw span bytes into a request.
func spanOf(span []byte) []byte {
	data := append(appendTag(nil, 2, len(span)), span...)
	data = append(appendTag(nil, 2, len(data)), data...)
	return append(appendTag(nil, 1, len(data)), data...)
}

// rawSpan is a span with ids of any length.
func rawSpan(trace, span, parent, linkTrace, linkSpan int) []byte {
	field := func(b []byte, num uint32, v []byte) []byte { return append(appendTag(b, num, len(v)), v...) }
	ones := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	link := field(field(nil, 1, ones(linkTrace)), 2, ones(linkSpan))
	b := field(field(field(nil, 1, ones(trace)), 2, ones(span)), 4, ones(parent))
	now := binary.LittleEndian.AppendUint64(nil, uint64(testNow.UnixNano()))
	b = append(append(b, 7<<3|wireFixed64), now...)
	b = append(append(b, 8<<3|wireFixed64), now...)
	return field(b, 13, link)
}

func TestIDsOfWrongLengthAreRefused(t *testing.T) {
	f := func(raw []byte, want Report) {
		t.Helper()
		got, err := Scan(spanOf(raw), testNow)
		got.First = ""
		if err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	refused := func(r Reason) (out Report) {
		out.Rejected[r] = 1
		return out
	}
	f(rawSpan(16, 8, 8, 16, 8), Report{Items: 1})
	f(rawSpan(16, 8, 0, 0, 0), Report{Items: 1})
	f(rawSpan(15, 8, 8, 16, 8), refused(BadTraceID))
	f(rawSpan(0, 8, 8, 16, 8), refused(BadTraceID))
	f(rawSpan(16, 16, 8, 16, 8), refused(BadSpanID))
	f(rawSpan(16, 8, 7, 16, 8), refused(BadParentID))
	f(rawSpan(16, 8, 8, 8, 8), refused(BadLinkID))
	f(rawSpan(16, 8, 8, 16, 16), refused(BadLinkID))
}

func TestScanSaysWhereProtobufIsBroken(t *testing.T) {
	f := func(data []byte, want string) {
		t.Helper()
		_, err := Scan(data, testNow)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Scan(%x) = %v; want %q", clip(string(data), 20), err, want)
		}
	}
	f([]byte("hello"), "wire type")
	f([]byte{0x0a}, "field 1 is cut short")
	f([]byte{0x0a, 5, 1}, "claims 5 bytes where 1 are left")
	f([]byte{0x08, 1}, "ExportTraceServiceRequest: field 1 has wire type 0")
	f([]byte{0x00}, "field number 0")
	f([]byte{0x0b}, "wire type 3")
	f([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "tag is cut short or too long")
	f(spanOf([]byte{0x38, 1}), "resourceSpans[0].scopeSpans[0].spans[0]: field 7 has wire type 0, want 1")
	f(spanOf(append(rawSpan(16, 8, 0, 16, 8), 0x4a, 3, 0x12, 9, 1)), "KeyValue: field 2 claims 9 bytes where 1 are left")
	f(spanOf(append(rawSpan(16, 8, 0, 3, 3), 0x4a, 3, 0x12, 9, 1)), "KeyValue: field 2 claims 9") // before the link's ids
}

func TestEveryPrefixOfARequestIsToldBrokenOrCountsFewer(t *testing.T) {
	data := encode(t, generate(rand.New(rand.NewPCG(5, 6)), shape{1, 1, 3, 10}))
	whole, err := Scan(data, testNow)
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		r, err := Scan(data[:n], testNow)
		if err == nil && r.Items >= whole.Items && n > 0 && whole.Items > 0 {
			t.Errorf("the first %d of %d bytes pass with all %d spans", n, len(data), r.Items)
		}
	}
}

func TestScanOfAValidRequestDoesNotAllocate(t *testing.T) {
	data := encode(t, generate(rand.New(rand.NewPCG(7, 8)), shape{3, 3, 50, 50}))
	if n := testing.AllocsPerRun(50, func() {
		if _, err := Scan(data, testNow); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations; want none", n)
	}
}
