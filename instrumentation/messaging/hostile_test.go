package messaging

import (
	"encoding/binary"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
)

func TestAFirstFailureThatCannotBeIsUnknown(t *testing.T) {
	now := time.Now().UnixNano()
	for name, c := range map[string]struct {
		at   int64
		want bool
	}{
		"1 µs after 1970": {1000, false},
		"2019":            {1_577_836_799 * int64(time.Second), false},
		"2116":            {1 << 62 / 1000 * 1000, false},
		"in two days":     {(now + int64(48*time.Hour)) / 1000 * 1000, false},
		"an hour ago":     {(now - int64(time.Hour)) / 1000 * 1000, true},
		"in a minute":     {(now + int64(time.Minute)) / 1000 * 1000, true},
	} {
		l, ok := ParseLineage(AppendLineage(nil, &Lineage{Topic: "orders", Attempt: 3, FirstSeen: c.at}))
		if !ok || l.Attempt != 3 || l.Topic != "orders" {
			t.Errorf("%s: the lineage itself is lost: %+v, %v", name, l, ok)
		}
		if want := map[bool]int64{true: c.at}[c.want]; l.FirstSeen != want {
			t.Errorf("%s: first seen %d; want %d", name, l.FirstSeen, want)
		}
		told := false
		for _, kv := range l.attributes() {
			told = told || kv.Key == AttrRetryFirstSeen
		}
		if told != c.want {
			t.Errorf("%s: first seen stands on the span: %v; want %v", name, told, c.want)
		}
	}
}

func TestARecordSentOnWithATimeThatCannotBeKeepsItUnknown(t *testing.T) {
	hostile := []Header{{Key: HeaderRetry, Value: AppendLineage(nil, &Lineage{Topic: "orders", Attempt: 1, FirstSeen: 1000})}}
	out := SendOn(RecordRef{"orders-retry", 0, 7}, hostile, trace.SpanContext{}, time.Now())
	l, ok := ParseLineage(out[0].Value)
	if !ok || l.FirstSeen != 0 || l.Attempt != 2 {
		t.Errorf("sent on: %+v, %v; want attempt 2 at an unknown time", l, ok)
	}
}

func TestAPathwayHeaderIsBelievedWithinBounds(t *testing.T) {
	b := (&pathwayState{hash: 1, origin: time.Now().UnixMicro(), sent: time.Now().UnixMicro(), count: 1, hops: 1}).append(nil)
	b[22], b[23] = 255, 255
	s := parsePathway(b)
	if s.hash != 1 || s.count != 1_000_000 || time.Duration(s.newest-s.origin)*time.Microsecond != 30*24*time.Hour {
		t.Errorf("%+v; want a million origins in 30 days", s)
	}
	for _, origin := range []uint64{0, 1, uint64(time.Now().Add(48 * time.Hour).UnixMicro()), 1<<56 - 1} { //nolint:gosec // after 1970
		var u [8]byte
		binary.BigEndian.PutUint64(u[:], origin)
		sent := append([]byte(nil), b...)
		copy(sent[10:17], u[1:])
		if s := parsePathway(sent); s.hash != 0 {
			t.Errorf("origin %d µs is believed: %+v", origin, s)
		}
	}
	two := []Delivery{{pathway: s}, {pathway: s}}
	if got := mergePathways(two).count; got != 1_000_000 {
		t.Errorf("together they count %d origins; want no more than a million", got)
	}
}
