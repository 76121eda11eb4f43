package ingest

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/hoptrace/hoptrace/schemas"
)

// example has every field and kind of value there is.
func example() ptrace.Traces {
	td := ptrace.NewTraces()
	for r := range 2 {
		rs := td.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("service.name", "checkout-"+strconv.Itoa(r))
		rs.Resource().Attributes().PutStr("host.name", "h1")
		rs.Resource().Attributes().PutInt("process.pid", 4711)
		rs.Resource().SetDroppedAttributesCount(3)
		for range 2 {
			ss := rs.ScopeSpans().AppendEmpty()
			ss.Scope().SetName("scope/a")
			ss.Scope().SetVersion("1.2")
			for i := range 3 {
				fillSpan(ss.Spans().AppendEmpty(), byte(i+1))
			}
		}
	}
	return td
}

func fillSpan(s ptrace.Span, n byte) {
	s.SetTraceID(pcommon.TraceID{1, n})
	s.SetSpanID(pcommon.SpanID{2, n})
	s.SetParentSpanID(pcommon.SpanID{3})
	s.SetName("send orders")
	s.SetKind(ptrace.SpanKindProducer)
	s.SetStartTimestamp(1_700_000_000_000_000_000)
	s.SetEndTimestamp(1_700_000_000_000_000_500)
	s.SetFlags(0x301)
	s.TraceState().FromRaw("a=b")
	s.Status().SetCode(ptrace.StatusCodeError)
	s.Status().SetMessage("no route")
	s.SetDroppedEventsCount(1)
	s.SetDroppedLinksCount(2)
	a := s.Attributes()
	a.PutStr("str", "vä\"lue")
	a.PutStr("empty", "")
	a.PutBool("yes", true)
	a.PutBool("no", false)
	a.PutInt("int", math.MinInt64)
	a.PutDouble("double", 0.1)
	a.PutDouble("whole", 3)
	a.PutDouble("big", 1e300)
	a.PutDouble("nan", math.NaN())
	a.PutEmptyBytes("bytes").FromRaw([]byte{0, 1, 254, 255})
	a.PutEmpty("nothing")
	list := a.PutEmptySlice("list")
	list.AppendEmpty().SetStr("x\x01\\")
	list.AppendEmpty().SetInt(7)
	list.AppendEmpty().SetDouble(math.Inf(1))
	list.AppendEmpty()
	m := list.AppendEmpty().SetEmptyMap()
	m.PutStr("k\"", "v")
	m.PutEmptyBytes("b").FromRaw([]byte("hi"))
	m.PutEmptySlice("inner").AppendEmpty().SetBool(true)
	a.PutEmptyMap("map").PutStr("only", "one")
	e := s.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(1_700_000_000_000_000_100)
	e.Attributes().PutStr("exception.type", "E")
	e.Attributes().PutInt("n", 5)
	s.Events().AppendEmpty().SetName("second")
	l := s.Links().AppendEmpty()
	l.SetTraceID(pcommon.TraceID{9})
	l.SetSpanID(pcommon.SpanID{8})
	l.Attributes().PutInt("messaging.kafka.offset", 3)
}

func encode(tb testing.TB, td ptrace.Traces) []byte {
	tb.Helper()
	b, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// oracle walks pdata's form.
func oracle(td ptrace.Traces) []schemas.Span {
	var out []schemas.Span
	for _, rs := range td.ResourceSpans().All() {
		var resource []schemas.Attribute
		service := ""
		for _, a := range oracleAttributes(rs.Resource().Attributes()) {
			if a.Key == "service.name" {
				service = a.Value
			} else {
				resource = append(resource, a)
			}
		}
		resource = oracleCount(resource, AttrSDKDropped, rs.Resource().DroppedAttributesCount())
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				o := schemas.Span{
					TraceID: schemas.TraceID(s.TraceID()), SpanID: schemas.SpanID(s.SpanID()), ParentID: schemas.SpanID(s.ParentSpanID()),
					Name: s.Name(), StatusMessage: s.Status().Message(), Start: int64(s.StartTimestamp()), End: int64(s.EndTimestamp()),
					Service: service, Scope: ss.Scope().Name(), Resource: resource, Attributes: oracleAttributes(s.Attributes()),
					Position: schemas.Position{Index: uint32(len(out))},
				}
				if k := s.Kind(); k >= 0 && k <= 5 {
					o.Kind = schemas.SpanKind(k)
				}
				if c := s.Status().Code(); c >= 0 && c <= 2 {
					o.Status = schemas.StatusCode(c)
				}
				o.Attributes = oracleCount(o.Attributes, AttrSDKDropped, s.DroppedAttributesCount())
				o.Attributes = oracleCount(o.Attributes, AttrSDKDroppedEvents, s.DroppedEventsCount())
				o.Attributes = oracleCount(o.Attributes, AttrSDKDroppedLinks, s.DroppedLinksCount())
				for _, e := range s.Events().All() {
					o.Events = append(o.Events, schemas.SpanEvent{Time: int64(e.Timestamp()), Name: e.Name(), Attributes: oracleAttributes(e.Attributes())})
				}
				for _, l := range s.Links().All() {
					o.Links = append(o.Links, schemas.Link{TraceID: schemas.TraceID(l.TraceID()), SpanID: schemas.SpanID(l.SpanID()), Attributes: oracleAttributes(l.Attributes())})
				}
				out = append(out, o)
			}
		}
	}
	return out
}

func oracleCount(a []schemas.Attribute, key string, n uint32) []schemas.Attribute {
	if n == 0 {
		return a
	}
	return append(a, schemas.Attribute{Key: key, Value: strconv.FormatUint(uint64(n), 10)})
}

func oracleAttributes(m pcommon.Map) []schemas.Attribute {
	var out []schemas.Attribute
	for k, v := range m.All() {
		out = append(out, schemas.Attribute{Key: k, Value: oracleText(v)})
	}
	return out
}

func oracleText(v pcommon.Value) string {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return v.Str()
	case pcommon.ValueTypeBool:
		return strconv.FormatBool(v.Bool())
	case pcommon.ValueTypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case pcommon.ValueTypeDouble:
		if f := v.Double(); math.IsNaN(f) || math.IsInf(f, 0) {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return oracleFloat(v.Double())
	case pcommon.ValueTypeBytes:
		return base64.StdEncoding.EncodeToString(v.Bytes().AsRaw())
	case pcommon.ValueTypeSlice, pcommon.ValueTypeMap:
		return oracleJSON(v)
	}
	return ""
}

// oracleFloat is what encoding/json writes, but for its two-digit exponents.
func oracleFloat(f float64) string {
	b, _ := json.Marshal(f)
	return strings.NewReplacer("e-0", "e-", "e+0", "e+").Replace(string(b))
}

func oracleJSON(v pcommon.Value) string {
	quote := func(s string) string {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(s)
		return strings.TrimSuffix(b.String(), "\n")
	}
	switch v.Type() {
	case pcommon.ValueTypeSlice:
		var parts []string
		for _, e := range v.Slice().All() {
			parts = append(parts, oracleJSON(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case pcommon.ValueTypeMap:
		var parts []string
		for k, e := range v.Map().All() {
			parts = append(parts, quote(k)+":"+oracleJSON(e))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case pcommon.ValueTypeStr:
		return quote(v.Str())
	case pcommon.ValueTypeEmpty:
		return "null"
	case pcommon.ValueTypeBytes:
		return quote(oracleText(v))
	case pcommon.ValueTypeDouble:
		if f := v.Double(); math.IsNaN(f) || math.IsInf(f, 0) {
			return quote(oracleText(v))
		}
	}
	return oracleText(v)
}

// sameSpans compares values; JSON text by what it says, for there are several
// ways to escape a string and to write an exponent.
func sameSpans(want, got []schemas.Span) string {
	return cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b schemas.Attribute) bool {
		if a == b {
			return true
		}
		if a.Key != b.Key {
			return false
		}
		var x, y any
		if json.Unmarshal([]byte(a.Value), &x) != nil || json.Unmarshal([]byte(b.Value), &y) != nil {
			return false
		}
		return cmp.Equal(x, y)
	}))
}

func TestEveryFieldComesOutAsPdataReadsIt(t *testing.T) {
	td := example()
	got, err := NewSpanDecoder(Limits{}).Decode(nil, encode(t, td))
	if err != nil {
		t.Fatal(err)
	}
	if d := sameSpans(oracle(td), got); d != "" {
		t.Fatalf("spans differ (-pdata +ours):\n%s", d)
	}
}

func TestTheResourceMayFollowItsSpans(t *testing.T) {
	// ResourceSpans{ScopeSpans{Span{name "s"}, scope{name "sc"}}, Resource{service.name "late"}}, against the usual order.
	field := func(num byte, body ...byte) []byte { return append([]byte{num<<3 | 2, byte(len(body))}, body...) }
	join := func(parts ...[]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	kv := join(field(1, []byte("service.name")...), field(2, field(1, []byte("late")...)...))
	scope := join(field(2, field(5, 's')...), field(1, field(1, 's', 'c')...))
	value := field(1, join(field(2, scope...), field(1, field(1, kv...)...))...)
	got, err := NewSpanDecoder(Limits{}).Decode(nil, value)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Service != "late" || got[0].Scope != "sc" || got[0].Name != "s" {
		t.Fatalf("got %+v; want one span s of service late, scope sc", got)
	}
}

func TestSpansOfSeveralRequestsStayValidUntilReset(t *testing.T) {
	d := NewSpanDecoder(Limits{})
	td := example()
	value := encode(t, td)
	want := oracle(td)
	for round := range 3 {
		d.Reset()
		var all []schemas.Span
		var err error
		for range 400 { // far more than a chunk of each arena
			if all, err = d.Decode(all, value); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; i < len(all); i += len(want) * 57 {
			if diff := sameSpans(want, all[i:i+len(want)]); diff != "" {
				t.Fatalf("round %d, spans from %d differ:\n%s", round, i, diff)
			}
		}
	}
}

func TestABatchThatWasHugeDoesNotKeepItsMemory(t *testing.T) {
	d := NewSpanDecoder(Limits{})
	value := encode(t, example())
	var spans []schemas.Span
	for range 2000 {
		spans, _ = d.Decode(spans[:0], value)
	}
	held := len(d.attrs.chunks)
	for range 2 {
		d.Reset()
		_, _ = d.Decode(nil, value)
	}
	d.Reset()
	if got := len(d.attrs.chunks); held < 10 || got > 1 {
		t.Fatalf("%d chunks while busy, %d after small batches; want at least 10, then at most 1", held, got)
	}
}

func TestWhatIsBeyondTheLimitsIsCutAndMarked(t *testing.T) {
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID{1})
	s.SetSpanID(pcommon.SpanID{1})
	for i := range 10 {
		s.Attributes().PutInt("a"+strconv.Itoa(i), int64(i))
	}
	s.Attributes().PutStr("messaging.system", "kafka")
	s.Attributes().PutStr("hoptrace.produce.written", "ääääääääää") // 20 bytes
	s.Attributes().PutStr("messaging.client.id", "one too many")
	for range 5 {
		s.Events().AppendEmpty().SetName("e")
		s.Links().AppendEmpty().SetSpanID(pcommon.SpanID{1})
	}
	deep := s.Events().At(0).Attributes().PutEmptySlice("averylongkey")
	for range 5 {
		deep = deep.AppendEmpty().SetEmptySlice()
	}
	got, err := NewSpanDecoder(Limits{Attributes: 2, ValueBytes: 15, KeyBytes: 30, Events: 2, Links: 3, Depth: 3}).Decode(nil, encode(t, td))
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Attribute{
		{Key: "a0", Value: "0"},
		{Key: "a1", Value: "1"},
		{Key: "messaging.system", Value: "kafka"},
		{Key: "hoptrace.produce.written", Value: "äääääää"}, // 14 bytes: no half rune
		{Key: AttrDropped, Value: "9"},
		{Key: AttrCut, Value: "1"},
		{Key: AttrDroppedEvents, Value: "3"},
		{Key: AttrDroppedLinks, Value: "2"},
	}
	if d := cmp.Diff(want, got[0].Attributes); d != "" {
		t.Fatalf("attributes differ (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]schemas.Attribute{{Key: "averylongkey", Value: `[[["…"]]]`}}, got[0].Events[0].Attributes); d != "" {
		t.Fatalf("deep value differs (-want +got):\n%s", d)
	}
	if len(got[0].Events) != 2 || len(got[0].Links) != 3 {
		t.Fatalf("%d events and %d links, want 2 and 3", len(got[0].Events), len(got[0].Links))
	}
}

func TestLongListsAndBytesAreCut(t *testing.T) {
	td := ptrace.NewTraces()
	s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	list := s.Attributes().PutEmptySlice("list")
	for range 100_000 {
		list.AppendEmpty().SetStr("element")
	}
	s.Attributes().PutEmptyBytes("bytes").FromRaw(make([]byte, 1<<20))
	s.Attributes().PutStr("after", "whole")
	got, err := NewSpanDecoder(Limits{}).Decode(nil, encode(t, td))
	if err != nil {
		t.Fatal(err)
	}
	most := DefaultLimits().ValueBytes
	for _, a := range got[0].Attributes {
		if len(a.Value) > most {
			t.Errorf("%s has %d bytes, more than %d", a.Key, len(a.Value), most)
		}
	}
	if v, _ := schemas.Lookup(got[0].Attributes, AttrCut); v != "2" {
		t.Errorf("%s is %q, want 2", AttrCut, v)
	}
	if v, _ := schemas.Lookup(got[0].Attributes, "after"); v != "whole" {
		t.Errorf("the attribute after the cut ones is %q", v)
	}
}

func TestTooManySpansInOneRequestAreRefused(t *testing.T) {
	if _, err := NewSpanDecoder(Limits{Spans: 11}).Decode(nil, encode(t, example())); err == nil || !strings.Contains(err.Error(), "more than 11 spans") {
		t.Fatalf("got %v, want a refusal of more than 11 spans", err)
	}
	if got, err := NewSpanDecoder(Limits{Spans: 12}).Decode(make([]schemas.Span, 5), encode(t, example())); err != nil || len(got) != 17 {
		t.Fatalf("got %d spans, %v; want the 5 before and 12", len(got), err)
	}
}

func TestBrokenProtobufIsAnErrorThatNamesThePlace(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		got, err := NewSpanDecoder(Limits{}).Decode(make([]schemas.Span, 2), []byte(value))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want one with %q", value, err, want)
		}
		if len(got) != 2 {
			t.Errorf("%q: got %d spans, want the 2 from before", value, len(got))
		}
	}
	f("\x0a\x05\x12\x03", "at byte 0 in ExportTraceServiceRequest")
	f("\x0a\x04\x12\x05\x12\x03", "at byte 2 in ResourceSpans")
	f("\x0a\x06\x12\x04\x12\x02\x2a\x09", "at byte 6 in Span")
	f("\x0a\x06\x12\x04\x12\x02\x28\x09", "field 5 of Span has the wrong wire type")
	f("\x08\x01", "field 1 of ExportTraceServiceRequest has the wrong wire type")
	f("\xff", "cannot unmarshal field tag")
	f("not protobuf", "broken protobuf")
}

func FuzzDecodeAgreesWithPdata(f *testing.F) {
	f.Add(encode(f, example()))
	f.Add([]byte{})
	f.Add([]byte("\x0a\x06\x12\x04\x12\x02\x2a\x09"))
	limits := Limits{Attributes: 1 << 20, ValueBytes: 1 << 20, KeyBytes: 1 << 20, Events: 1 << 20, Links: 1 << 20, Depth: 1 << 10}
	d, small := NewSpanDecoder(limits), NewSpanDecoder(Limits{Attributes: 2, ValueBytes: 4, KeyBytes: 4, Events: 1, Links: 1, Depth: 2, Spans: 3})
	f.Fuzz(func(t *testing.T, value []byte) {
		d.Reset()
		small.Reset()
		_, _ = small.Decode(nil, value)
		if _, err := d.Decode(nil, value); err != nil && !strings.HasPrefix(err.Error(), "broken protobuf") && !strings.HasPrefix(err.Error(), "more than") {
			t.Fatalf("error names no place: %v", err)
		}
		req := ptraceotlp.NewExportRequest()
		if req.UnmarshalProto(value) != nil {
			return
		}
		// Fields may repeat, and which wins differs between readers of bad
		// encoders; in pdata's own encoding there is one answer.
		canonical, err := req.MarshalProto()
		if err != nil {
			return
		}
		got, err := d.Decode(nil, canonical)
		if err != nil {
			t.Fatalf("pdata reads it, we do not: %v", err)
		}
		if diff := sameSpans(oracle(req.Traces()), got); diff != "" {
			t.Fatalf("spans differ (-pdata +ours):\n%s", diff)
		}
	})
}
