package otlp

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// shape says how large a generated request is.
type shape struct {
	resources, scopes, spans int // of each; the true numbers are random up to these
	textBytes                int // of the longest attribute
}

// generate makes a valid request with everything that a span can hold.
func generate(rnd *rand.Rand, sh shape) ptrace.Traces {
	td := ptrace.NewTraces()
	text := func() string { return strings.Repeat("ü", rnd.IntN(sh.textBytes/2+1)) }
	attributes := func(m pcommon.Map) {
		m.PutStr("s", text())
		m.PutInt("i", rnd.Int64()-1<<62)
		m.PutDouble("d", rnd.Float64())
		m.PutBool("b", rnd.IntN(2) == 0)
		m.PutEmptyBytes("raw").FromRaw([]byte(text()))
		list := m.PutEmptySlice("list")
		list.AppendEmpty().SetStr("x")
		list.AppendEmpty().SetEmptyMap().PutStr("k", "v")
	}
	for range 1 + rnd.IntN(sh.resources) {
		rs := td.ResourceSpans().AppendEmpty()
		rs.SetSchemaUrl("https://opentelemetry.io/schemas/1.43.0")
		attributes(rs.Resource().Attributes())
		for range 1 + rnd.IntN(sh.scopes) {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("scope")
			attributes(ss.Scope().Attributes())
			for range rnd.IntN(sh.spans + 1) {
				s := ss.Spans().AppendEmpty()
				var trace pcommon.TraceID
				var span pcommon.SpanID
				binary.LittleEndian.PutUint64(trace[:], rnd.Uint64()|1)
				binary.LittleEndian.PutUint64(trace[8:], rnd.Uint64())
				binary.LittleEndian.PutUint64(span[:], rnd.Uint64()|1)
				s.SetTraceID(trace)
				s.SetSpanID(span)
				if rnd.IntN(2) == 0 {
					s.SetParentSpanID(pcommon.SpanID{7: 1})
				}
				s.SetName("process orders")
				s.SetKind(ptrace.SpanKind(rnd.IntN(6)))
				start := testNow.Add(-time.Duration(rnd.Int64N(int64(time.Hour))))
				s.SetStartTimestamp(pcommon.NewTimestampFromTime(start))
				s.SetEndTimestamp(pcommon.NewTimestampFromTime(start.Add(time.Duration(rnd.IntN(1e9)))))
				s.SetFlags(1)
				s.TraceState().FromRaw("a=b")
				attributes(s.Attributes())
				s.SetDroppedAttributesCount(uint32(rnd.IntN(3)))
				e := s.Events().AppendEmpty()
				e.SetName("exception")
				e.SetTimestamp(s.EndTimestamp())
				attributes(e.Attributes())
				l := s.Links().AppendEmpty()
				l.SetTraceID(trace)
				l.SetSpanID(span)
				attributes(l.Attributes())
				s.Status().SetCode(ptrace.StatusCodeError)
				s.Status().SetMessage(text())
			}
		}
	}
	return td
}

func encode(t testing.TB, td ptrace.Traces) []byte {
	t.Helper()
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, data []byte) ptrace.Traces {
	t.Helper()
	r := ptraceotlp.NewExportRequest()
	if err := r.UnmarshalProto(data); err != nil {
		t.Fatalf("pdata cannot read what Scan or Split let through: %v", err)
	}
	return r.Traces()
}

// multiset counts the spans of a request, each with its resource and scope.
func multiset(t testing.TB, into map[string]int, td ptrace.Traces) {
	t.Helper()
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				one := ptrace.NewTraces()
				ors := one.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(ors.Resource())
				ors.SetSchemaUrl(rs.SchemaUrl())
				oss := ors.ScopeSpans().AppendEmpty()
				ss.Scope().CopyTo(oss.Scope())
				oss.SetSchemaUrl(ss.SchemaUrl())
				s.CopyTo(oss.Spans().AppendEmpty())
				into[string(encode(t, one))]++
			}
		}
	}
}
