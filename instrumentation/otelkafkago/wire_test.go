package otelkafkago

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

const key77 = 77 // the correlation id of fetchRequest

// bytesOf makes a message of big-endian fields.
type bytesOf []byte

func (b bytesOf) u8(v uint8) bytesOf   { return append(b, v) }
func (b bytesOf) u16(v int) bytesOf    { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func (b bytesOf) u32(v int) bytesOf    { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func (b bytesOf) u64(v int64) bytesOf  { return binary.BigEndian.AppendUint64(b, uint64(v)) }
func (b bytesOf) str(s string) bytesOf { return append(b.u16(len(s)), s...) }

// frame puts the length in front.
func (b bytesOf) frame() []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// batch is a record batch of format 2 with a body of that size.
func batch(first int64, records int, stamp int64, logAppend bool, body int) []byte {
	attributes := 0
	if logAppend {
		attributes = logAppendTime
	}
	return append(bytesOf(nil).u64(first).u32(49+body).u32(0).u8(2).u32(0).u16(attributes).u32(records-1).
		u64(stamp-1).u64(stamp).u64(-1).u16(-1).u32(-1).u32(records), make([]byte, body)...)
}

// oldMessage is a message of format 1.
func oldMessage(offset, stamp int64, logAppend bool, value string) []byte {
	attributes := uint8(0)
	if logAppend {
		attributes = logAppendTime
	}
	return append(bytesOf(nil).u64(offset).u32(4+1+1+8+4+4+len(value)).u32(0).u8(1).u8(attributes).u64(stamp).u32(-1).u32(len(value)), value...)
}

func fetchAnswer(version, code int, topic string, partition int, highWatermark int64, aborted int, set []byte) []byte {
	b := bytesOf(nil).u32(key77).u32(25) // correlation, throttle
	if version == 10 {
		b = b.u16(0).u32(0)
	}
	b = b.u32(1).str(topic).u32(1).u32(partition).u16(code).u64(highWatermark)
	if version >= 5 {
		b = b.u64(highWatermark).u64(3).u32(aborted)
		for range aborted {
			b = b.u64(1).u64(2)
		}
	}
	return append(b.u32(len(set)), set...).frame()
}

// carry sends one fetch request for offset 5 and reads what is answered in pieces.
func carry(t *testing.T, log *fetchLog, version uint16, answered []byte, step int) {
	t.Helper()
	p := &pipe{}
	c := &watchedConn{Conn: p, log: log, broker: messaging.Server{Host: "b", Port: 9092}, now: now}
	if _, err := c.Write(fetchRequest(version, "me", "orders", 0, 5)); err != nil {
		t.Fatal(err)
	}
	p.in.Write(answered)
	buf := make([]byte, step)
	for {
		if _, err := c.Read(buf); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFetchAnswerTellsHowItsRecordsGotTheirTimes(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, version := range []uint16{2, 5, 10} {
		for _, step := range []int{1, 7, 61, 100_000} {
			set := append(batch(4, 3, 1_700_000_000_000, false, 33), batch(7, 1, 1_700_000_000_001, false, 0)...)
			set = append(set, batch(8, 2, 1_700_000_000_007, true, 200)...)
			set = append(set, batch(10, 1, 1_700_000_000_009, true, 5)...)
			set = append(set, batch(11, 9, 1_700_000_000_011, true, 500)[:300]...) // the broker cuts the last one
			if version == 2 {
				set = append(oldMessage(4, 1, false, "x"), oldMessage(5, 2, false, "y")...)
				set = append(set, oldMessage(9, 1_700_000_000_007, true, "")...)
				set = append(set, oldMessage(10, 1_700_000_000_009, true, "zzz")...)
				set = append(set, oldMessage(19, 1_700_000_000_011, true, "zzz")[:20]...)
			}
			log := newFetchLog()
			answer := fetchAnswer(int(version), 0, "orders", 0, 20, 2, set)
			carry(t, log, version, append(answer, fetchAnswer(int(version), 0, "orders", 0, 99, 0, nil)...), step)
			p := log.partition(topicPartition{"orders", 0})
			type told struct {
				Created  bool
				Appended int64
			}
			want := map[int64]told{5: {true, 0}, 9: {false, 1_700_000_000_007 * ms}, 10: {false, 1_700_000_000_009 * ms}, 15: {false, 1_700_000_000_011 * ms}}
			if version == 2 {
				delete(want, 15) // its head was cut
			}
			for _, offset := range []int64{5, 9, 10, 15} {
				d := p.match(offset)
				if diff := cmp.Diff(want[offset], told{d.isCreated, d.appended}); diff != "" {
					t.Errorf("version %d, pieces of %d, record %d (-want +got):\n%s", version, step, offset, diff)
				}
				start := int64(3)
				if version == 2 {
					start = -1
				}
				if d.highWatermark != 20 || d.throttle != 25*ms || d.logStart != start || d.broker.Host != "b" || d.broker.Port != 9092 || d.notBefore != 0 {
					t.Errorf("version %d: %+v", version, d)
				}
			}
			if got := log.unknown.Load(); got != 0 {
				t.Errorf("version %d: %d answers were not understood", version, got)
			}
		}
	}
}

func TestAnAnswerThatIsNotAsExpectedIsUnknownAndCounted(t *testing.T) {
	f := func(name string, answer []byte) {
		t.Helper()
		log := newFetchLog()
		carry(t, log, 10, answer, 50)
		d := log.partition(topicPartition{"orders", 0}).match(5)
		if d.asked == 0 || d.answered == 0 {
			t.Errorf("%s: asked %d, answered %d; want both known", name, d.asked, d.answered)
		}
		if d.appended != 0 || d.isCreated || log.unknown.Load() != 1 {
			t.Errorf("%s: %+v, %d counted; want nothing told and one counted", name, d, log.unknown.Load())
		}
	}
	f("another partition", fetchAnswer(10, 0, "orders", 1, 20, 0, batch(5, 1, 1, true, 0)))
	f("another topic", fetchAnswer(10, 0, "others", 0, 20, 0, batch(5, 1, 1, true, 0)))
	f("a longer topic", fetchAnswer(10, 0, "orders-and-others", 0, 20, 0, batch(5, 1, 1, true, 0)))
	odd := batch(5, 1, 1, true, 0)
	odd[batchMagicAt] = 9
	f("a format to come", fetchAnswer(10, 0, "orders", 0, 20, 0, odd))
	odd = batch(5, 1, 1, true, 0)
	odd[8] = 0x80 // its length
	f("a length without sense", fetchAnswer(10, 0, "orders", 0, 20, 0, odd))
	f("offsets without sense", fetchAnswer(10, 0, "orders", 0, 20, 0, batch(-7, 1, 1, true, 0)))
}

func TestAnImplausibleHeadIsUnknownAndCounted(t *testing.T) {
	for _, version := range []uint16{2, 5, 10} {
		for name, end := range map[string]int64{
			"a flipped byte": 7566047373982433580, "negative": -7, "before the record asked for": 4, "far ahead": 5 + maxAhead,
		} {
			log := newFetchLog()
			log.watermark = func(_ topicPartition, end int64) {
				t.Errorf("version %d, %s: the watermark %d is told", version, name, end)
			}
			carry(t, log, version, fetchAnswer(int(version), 0, "orders", 0, end, 0, nil), 7)
			p := log.partition(topicPartition{"orders", 0})
			d := p.match(5)
			if _, ok := p.highWatermark(); ok || d.highWatermark != 0 || d.throttle != 0 || log.unknown.Load() != 1 {
				t.Errorf("version %d, %s: %+v, %d counted; want nothing told and one counted", version, name, d, log.unknown.Load())
			}
			if d.asked == 0 || d.answered == 0 {
				t.Errorf("version %d, %s: %+v; want the fetch's own times", version, name, d)
			}
		}
		log := newFetchLog()
		carry(t, log, version, fetchAnswer(int(version), 0, "orders", 0, 5+maxAhead-1, 0, nil), 7)
		if end, ok := log.partition(topicPartition{"orders", 0}).highWatermark(); !ok || end != 5+maxAhead-1 {
			t.Errorf("version %d: %d, %v; want it believed", version, end, ok)
		}
	}
}

func TestATimeTenYearsAwayIsUnknown(t *testing.T) {
	at := time.Now()
	for name, c := range map[string]struct {
		stamp time.Time
		known bool
	}{
		"long ago": {at.AddDate(-11, 0, 0), false}, "to come": {at.AddDate(11, 0, 0), false}, "nine years ago": {at.AddDate(-9, 0, 0), true},
	} {
		set, old := batch(5, 1, c.stamp.UnixMilli(), true, 0), oldMessage(5, c.stamp.UnixMilli(), true, "v")
		for version, records := range map[uint16][]byte{2: old, 5: set, 10: set} {
			log := newFetchLog()
			carry(t, log, version, fetchAnswer(int(version), 0, "orders", 0, 20, 0, records), 7)
			want := int64(0)
			if c.known {
				want = c.stamp.UnixMilli() * int64(time.Millisecond)
			}
			if d := log.partition(topicPartition{"orders", 0}).match(5); d.appended != want || d.isCreated {
				t.Errorf("%s, version %d: appended %d, created %v; want %d", name, version, d.appended, d.isCreated, want)
			}
		}
	}
}

func TestAFailedFetchTellsNoWatermark(t *testing.T) {
	log := newFetchLog()
	carry(t, log, 10, fetchAnswer(10, 6, "orders", 0, -1, 0, nil), 9)
	p := log.partition(topicPartition{"orders", 0})
	if d := p.match(5); d.highWatermark != 0 || log.unknown.Load() != 0 {
		t.Errorf("%+v", d)
	}
	if f := p.ask(-1, now(), messaging.Server{}); f.notBefore != 0 {
		t.Errorf("not before %d; want unknown", f.notBefore)
	}
}

func TestRecordsThatWereAwaitedCameAfterTheFetchBefore(t *testing.T) {
	log := newFetchLog()
	p := log.partition(topicPartition{"orders", 0})
	p.replicated(false)
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 5, 0, nil), 9) // nothing at 5 yet
	first := p.fetches[0].asked
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 6, 0, batch(5, 1, 1_700_000_000_000, true, 3)), 9)
	if d := p.match(5); d.notBefore != first || d.asked < first {
		t.Errorf("not before %d; want when the fetch before was asked, %d", d.notBefore, first)
	}
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 9, 0, nil), 9) // offset 5 again: behind
	if d := p.match(5); d.notBefore != 0 {
		t.Errorf("not before %d; want unknown", d.notBefore)
	}
	p.replicated(true)
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 5, 0, nil), 9)
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 6, 0, batch(5, 1, 1_700_000_000_000, true, 3)), 9)
	if d := p.match(5); d.answered == 0 || d.notBefore != 0 {
		t.Errorf("not before %d; with replicas the watermark follows the append", d.notBefore)
	}
}

func TestMetadataTellsReplicas(t *testing.T) {
	for _, version := range []int{1, 6} {
		b := bytesOf(nil)
		if version >= 3 {
			b = b.u32(0)
		}
		b = b.u32(2).u32(1).str("b1").u32(9092).u16(-1).u32(2).str("b2").u32(9092).str("rack")
		if version >= 2 {
			b = b.u16(-1)
		}
		b = b.u32(1).u32(2)
		part := func(id int, replicas ...int) {
			b = b.u16(0).u32(id).u32(1).u32(len(replicas))
			for _, r := range replicas {
				b = b.u32(r)
			}
			b = b.u32(1).u32(1)
			if version >= 5 {
				b = b.u32(0)
			}
		}
		b = b.u16(0).str("orders").u8(0).u32(2)
		part(0, 1)
		part(1, 1, 2)
		b = b.u16(3).str("nowhere").u8(0).u32(0)
		got := make(map[topicPartition]int)
		note := func(key topicPartition, replicas int) { got[key] = replicas }
		parseReplicas(uint16(version), b, note)
		if diff := cmp.Diff(map[topicPartition]int{{"orders", 0}: 1, {"orders", 1}: 2}, got, cmp.AllowUnexported(topicPartition{})); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", version, diff)
		}
		for n := range b {
			parseReplicas(uint16(version), b[:n], func(topicPartition, int) {})
		}
		parseReplicas(uint16(version), bytesOf(nil).u32(0).u32(-1).u32(-1).u32(-1), note)
	}
}

func TestTimesRememberedOfOneAnswerAreBounded(t *testing.T) {
	log := newFetchLog()
	var set []byte
	for i := range 2 * maxRuns {
		set = append(set, batch(int64(5+i), 1, 1_700_000_000_000+int64(i), true, 0)...)
	}
	carry(t, log, 10, fetchAnswer(10, 0, "orders", 0, 1<<20, 0, set), 4096)
	p := log.partition(topicPartition{"orders", 0})
	if n := len(p.fetches[0].runs); n != maxRuns {
		t.Errorf("%d are remembered; want %d", n, maxRuns)
	}
	if d := p.match(5 + maxRuns + 1); d.appended != 0 || d.isCreated {
		t.Errorf("%+v; want the time unknown", d)
	}
}

func request11(api, version int, body []byte) []byte {
	return append(bytesOf(nil).u16(api).u16(version).u32(key77).str("me"), body...).frame()
}

// member is a connection of a group member whose coordinator answers as told.
func member(t *testing.T, g *groupLog) (ask func(api, version int, body, answer []byte), c *watchedConn) {
	t.Helper()
	p := &pipe{}
	c = &watchedConn{Conn: p, log: newFetchLog(), group: g, broker: messaging.Server{Host: "b", Port: 1}, now: now}
	buf := make([]byte, 11)
	return func(api, version int, body, answer []byte) {
		t.Helper()
		b := request11(api, version, body)
		for i := 0; i < len(b); i += 40 { // in pieces
			if _, err := c.Write(b[i:min(len(b), i+40)]); err != nil {
				t.Fatal(err)
			}
		}
		p.in.Write(append(bytesOf(nil).u32(key77), answer...).frame())
		for p.in.Len() > 0 {
			if _, err := c.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
	}, c
}

func joinBody(member string) []byte {
	return bytesOf(nil).str("g").u32(1).u32(1).str(member).str("consumer").u32(0)
}

func joinAnswer(generation int, leader, member string) []byte {
	return bytesOf(nil).u32(0).u16(0).u32(generation).str("range").str(leader).str(member).u32(2)
}

func memberBody(generation int, member string) []byte {
	return bytesOf(nil).str("g").u32(generation).str(member).u32(0)
}

func assignment(topic string, partitions ...int) []byte {
	a := bytesOf(nil).u16(1).u32(1).str(topic).u32(len(partitions))
	for _, p := range partitions {
		a = a.u32(p)
	}
	a = a.u32(0)
	return append(bytesOf(nil).u16(0).u32(len(a)), a...)
}

func TestTheGroupsAnswersTellRebalancesAndTheirCauses(t *testing.T) {
	var seen []rebalance
	g := newGroupLog(false)
	g.rebalanced = func(r *rebalance) { seen = append(seen, *r) }
	ask, c := member(t, g)
	ask(apiJoinGroup, 2, joinBody(""), joinAnswer(1, "m1", "m1"))
	if g.memberID() != "m1" {
		t.Errorf("member = %q", g.memberID())
	}
	ask(apiSyncGroup, 0, memberBody(1, "m1"), assignment("orders", 0, 1, 2))
	ask(apiHeartbeat, 0, memberBody(1, "m1"), bytesOf(nil).u16(0))
	ask(apiHeartbeat, 0, memberBody(1, "m1"), bytesOf(nil).u16(27))
	_ = c.Close()
	ask, c = member(t, g)
	ask(apiJoinGroup, 2, joinBody("m1"), bytesOf(nil).u32(0).u16(27).u32(-1).str("").str("").str("").u32(0))
	ask(apiJoinGroup, 2, joinBody("m1"), joinAnswer(3, "m2", "m1"))
	ask(apiSyncGroup, 0, memberBody(3, "m1"), assignment("orders", 2, 3))
	c.observeEnd(io.ErrUnexpectedEOF)
	ask, c = member(t, g)
	ask(apiJoinGroup, 2, joinBody("m1"), joinAnswer(4, "m2", "m1"))
	ask(apiSyncGroup, 0, memberBody(4, "m1"), assignment("orders", 2, 3))
	ask(apiHeartbeat, 0, memberBody(4, "m1"), bytesOf(nil).u16(25))
	_ = c.Close()
	leave, _ := member(t, g)
	leave(apiLeaveGroup, 0, bytesOf(nil).str("g").str("m1"), bytesOf(nil).u16(0))
	ask, c = member(t, g)
	ask(apiJoinGroup, 2, joinBody(""), joinAnswer(5, "m2", "m7"))
	ask(apiSyncGroup, 0, memberBody(5, "m7"), bytesOf(nil).u16(0).u32(0)) // nothing for us
	g.watches = true
	_ = c.Close() // its partition watcher returned
	ask, c = member(t, g)
	ask(apiJoinGroup, 2, joinBody("m7"), joinAnswer(6, "m2", "m7"))
	ask(apiSyncGroup, 0, memberBody(6, "m7"), assignment("orders", 9))
	// The Reader is closed: it leaves on a connection of its own, then closes this one.
	leave, _ = member(t, g)
	leave(apiLeaveGroup, 0, bytesOf(nil).str("g").str("m7"), bytesOf(nil).u16(0))
	_ = c.Close()
	type told struct {
		Cause             string
		Generation        int32
		Member            string
		Attempts, Members int
		Assigned, Revoked []topicPartition
	}
	var got []told
	for _, r := range seen {
		got = append(got, told{r.cause, r.generation, r.member, r.attempts, r.members, r.assigned, r.revoked})
		if r.began == 0 || r.ended < r.began {
			t.Errorf("%s: began %d, ended %d", r.cause, r.began, r.ended)
		}
	}
	tp := func(ps ...int32) (out []topicPartition) {
		for _, p := range ps {
			out = append(out, topicPartition{"orders", p})
		}
		return out
	}
	want := []told{
		{causeStart, 1, "m1", 1, 2, tp(0, 1, 2), nil},
		{causeMembership, 3, "m1", 2, 0, tp(3), tp(0, 1)},
		{causeConnection, 4, "m1", 1, 0, nil, nil},
		{causeUnknownMember, 5, "m7", 1, 0, nil, tp(2, 3)},
		{causePartitions, 6, "m7", 1, 0, tp(9), nil},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(topicPartition{})); diff != "" {
		t.Errorf("rebalances (-want +got):\n%s", diff)
	}
	if g.unknown.Load() != 0 {
		t.Errorf("%d were not understood", g.unknown.Load())
	}
}

func TestCommitsAreReadOffTheWire(t *testing.T) {
	var seen []commit
	g := newGroupLog(false)
	g.committed = func(c *commit) { seen = append(seen, *c) }
	ask, _ := member(t, g)
	body := bytesOf(nil).str("g").u32(1).str("m1").u64(-1).u32(2).
		str("orders").u32(2).u32(0).u64(17).str("").u32(3).u64(18).str("note").
		str("returns").u32(1).u32(0).u64(4).str("")
	ok := bytesOf(nil).u32(2).str("orders").u32(2).u32(0).u16(0).u32(3).u16(0).str("returns").u32(1).u32(0).u16(0)
	bad := bytesOf(nil).u32(2).str("orders").u32(2).u32(0).u16(0).u32(3).u16(22).str("returns").u32(1).u32(0).u16(0)
	ask(apiOffsetCommit, 2, body, ok)
	ask(apiOffsetCommit, 2, body, bad)
	if len(seen) != 2 || seen[0].code != 0 || seen[1].code != 22 || seen[0].asked == 0 || seen[0].answered < seen[0].asked || seen[0].broker.Port != 1 {
		t.Fatalf("commits = %+v", seen)
	}
	want := []committedOffset{{topicPartition{"orders", 0}, 17, 0}, {topicPartition{"orders", 3}, 18, 22}, {topicPartition{"returns", 0}, 4, 0}}
	if diff := cmp.Diff(want, seen[1].offsets, cmp.AllowUnexported(topicPartition{}, committedOffset{})); diff != "" {
		t.Errorf("offsets (-want +got):\n%s", diff)
	}
	ask(apiOffsetCommit, 9, body, ok) // a version that kafka-go does not write
	ask(apiOffsetCommit, 2, body[:20], ok)
	ask(apiOffsetCommit, 2, body, ok[:9])
	if len(seen) != 2 || g.unknown.Load() != 3 {
		t.Errorf("%d commits, %d not understood; want 2 and 3", len(seen), g.unknown.Load())
	}
}

func TestRequestsAwaitedAreBounded(t *testing.T) {
	c := &watchedConn{Conn: &pipe{}, log: newFetchLog(), group: newGroupLog(false), now: now}
	for range 100 {
		if _, err := c.Write(request11(apiHeartbeat, 0, memberBody(1, "m"))); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.requests) > maxRequests {
		t.Errorf("%d requests are awaited; want at most %d", len(c.requests), maxRequests)
	}
}

func FuzzFetchAnswer(f *testing.F) {
	for _, version := range []int{2, 5, 10} {
		f.Add(uint8(version), fetchAnswer(version, 0, "orders", 0, 20, 1, append(batch(5, 3, 1, true, 9), batch(8, 1, 2, false, 1)...)), 13)
		f.Add(uint8(version), fetchAnswer(version, 0, "orders", 0, 20, 1, oldMessage(5, 3, true, "x")), 13)
	}
	f.Fuzz(func(t *testing.T, version uint8, in []byte, step int) {
		if version != 2 && version != 5 {
			version = 10
		}
		log := newFetchLog()
		carry(t, log, uint16(version), in, min(max(step, 1), 1<<16))
		d := log.partition(topicPartition{"orders", 0}).match(1 << 62)
		if d.answered != 0 && d.asked > d.answered || d.appended != 0 && d.isCreated || d.appended < 0 || d.throttle < 0 {
			t.Fatalf("%+v", d)
		}
	})
}

func FuzzGroupRequestsAndAnswers(f *testing.F) {
	f.Add(uint16(apiOffsetCommit), uint16(2), []byte(bytesOf(nil).str("g").u32(1).str("m1").u64(-1).u32(1).str("orders").u32(1).u32(0).u64(17).str("")), []byte(bytesOf(nil).u32(1).str("orders").u32(1).u32(0).u16(3)))
	f.Add(uint16(apiJoinGroup), uint16(2), joinBody("m"), joinAnswer(1, "m", "m"))
	f.Add(uint16(apiSyncGroup), uint16(0), memberBody(1, "m"), assignment("orders", 1, 2))
	f.Fuzz(func(t *testing.T, api, version uint16, request, answer []byte) {
		if q, ok := parseGroupRequest(api, version, request); ok {
			a, _ := parseGroupAnswer(&q, answer)
			if len(q.offsets) > maxPartitions || len(a.assigned) > maxPartitions {
				t.Fatalf("%d offsets, %d partitions", len(q.offsets), len(a.assigned))
			}
		}
	})
}
