package messaging

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
)

func remote(n byte) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n, 15: 1}, SpanID: trace.SpanID{n}, TraceFlags: trace.FlagsSampled, Remote: true})
}

func equalLineage(t *testing.T, got, want Lineage) {
	t.Helper()
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b trace.SpanContext) bool { return a.Equal(b) })); d != "" {
		t.Errorf("lineage (-want +got):\n%s", d)
	}
}

func TestLineageSurvivesItsHeader(t *testing.T) {
	want := Lineage{Topic: "orders", Partition: 7, Offset: 1 << 40, FirstSeen: 1_700_000_000_123_456_000, Attempt: 3, Earlier: []trace.SpanContext{remote(1), remote(2)}}
	b := AppendLineage(nil, &want)
	got, ok := ParseLineage(b)
	if !ok {
		t.Fatalf("ParseLineage(%x) is not ok", b)
	}
	equalLineage(t, got, want)
	if len(b) > 90 {
		t.Errorf("the header is %d bytes; want it compact", len(b))
	}
}

func TestLineageOfTornBytesIsNone(t *testing.T) {
	b := AppendLineage(nil, &Lineage{Topic: "orders", Attempt: 1, Earlier: []trace.SpanContext{remote(1)}})
	for n := range b {
		if _, ok := ParseLineage(b[:n]); ok {
			t.Errorf("%d of %d bytes pass for a lineage", n, len(b))
		}
	}
	if _, ok := ParseLineage(append(slices.Clone(b), 0)); ok {
		t.Error("a byte too many passes for a lineage")
	}
}

func FuzzParseLineage(f *testing.F) {
	f.Add(AppendLineage(nil, &Lineage{Topic: "orders", Partition: 7, Offset: 9, FirstSeen: 1e18, Attempt: 3, Earlier: []trace.SpanContext{remote(1)}}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := ParseLineage(b)
		if !ok {
			return
		}
		again, ok := ParseLineage(AppendLineage(nil, &l))
		if !ok {
			t.Fatalf("%+v does not survive its header", l)
		}
		equalLineage(t, again, l)
	})
}

func TestARecordSentOnAgainKeepsItsOriginAndOneLineage(t *testing.T) {
	first := []Header{
		{Key: HeaderTraceparent, Value: AppendTraceparent(nil, remote(9))},
		{Key: HeaderBaggage, Value: []byte("a=b")},
		{Key: "mine", Value: []byte("kept")},
	}
	before := slices.Clone(first)
	failed := time.Unix(1_700_000_000, 0)
	once := SendOn(RecordRef{"orders", 2, 41}, first, remote(1), failed)
	if d := cmp.Diff(before, first); d != "" {
		t.Errorf("the headers given were changed:\n%s", d)
	}
	twice := SendOn(RecordRef{"orders-retry", 0, 7}, once, remote(2), failed.Add(time.Hour))
	var keys []string
	var l Lineage
	for _, h := range twice {
		keys = append(keys, h.Key)
		if h.Key == HeaderRetry {
			l, _ = ParseLineage(h.Value)
		}
	}
	if d := cmp.Diff([]string{HeaderBaggage, "mine", HeaderRetry}, keys); d != "" {
		t.Errorf("headers (-want +got):\n%s", d)
	}
	equalLineage(t, l, Lineage{Topic: "orders", Partition: 2, Offset: 41, FirstSeen: failed.UnixNano(), Attempt: 2, Earlier: []trace.SpanContext{remote(1), remote(2)}})
}

func TestLineageNamesOnlyTheLastAttempts(t *testing.T) {
	headers := []Header(nil)
	for i := range byte(10) {
		headers = SendOn(RecordRef{"orders", 0, 1}, headers, remote(i+1), time.Unix(1, 0))
	}
	l, ok := ParseLineage(headers[0].Value)
	if !ok || l.Attempt != 10 || len(l.Earlier) != MaxEarlier || !l.Earlier[3].Equal(remote(10)) {
		t.Errorf("after ten failures: %+v", l)
	}
	if bytes.Count(headers[0].Value, nil) > 140 {
		t.Errorf("the header grew to %d bytes", len(headers[0].Value))
	}
}

func TestABatchLinksToTheEarlierAttemptsOfItsRecords(t *testing.T) {
	c, _ := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	var ds []Delivery
	for i := range int64(3) {
		headers := []Header{{Key: HeaderTraceparent, Value: AppendTraceparent(nil, remote(byte(i+50)))}}
		if i == 1 {
			headers = append(SendOn[Header](RecordRef{"orders", 0, 7}, nil, remote(9), time.Unix(1, 0)), headers...)
		}
		d := Delivery{Partition: co.Partition("orders-retry", 0), Offset: i}
		Deliver(t.Context(), &d, headers)
		ds = append(ds, d)
	}
	links, _, _ := batchLinks(ds, partitionKey{"orders-retry", 0})
	if len(links) != 4 || !links[3].SpanContext.Equal(remote(9)) {
		t.Fatalf("%d links; want three to the records and one to the earlier attempt: %v", len(links), links)
	}
	origin := int64(-1)
	for _, kv := range links[1].Attributes {
		if kv.Key == AttrRetryOffset {
			origin = kv.Value.AsInt64()
		}
	}
	if origin != 7 {
		t.Errorf("the link to the record that was sent on tells origin %d; want 7", origin)
	}
}
