package exportertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// IssueEvents is what IssueEventStore tests.
type IssueEvents interface {
	exporters.EventWriter
	exporters.IssueEventReader
	exporters.SpanWriter
}

// IssueEventStore is the suite of IssueEventReader. open gives an empty store.
func IssueEventStore(t *testing.T, open func(t *testing.T) IssueEvents) {
	run := func(name string, f func(t *testing.T, s IssueEvents)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("StatsCountEachEventOnceOverAllHashes", statsOf)
	run("DeletedEventsAreNotCounted", statsAfter)
	run("EventsOfASetArePaged", eventsOf)
	run("TermsSelectEvents", eventTerms)
	run("HoursAreCounted", hourlyOf)
	run("MostWithinFindsTheFullestStretch", mostWithin)
	run("TagsAreCountedWithTheirValues", tagsOf)
	run("HashesOfMatchingEventsAreFound", hashesWith)
	run("RemovedEventsAreGone", removeEvents)
	run("AsManyHashesAsAllowedAreAsked", manyHashes)
}

func set(issue schemas.IssueID, hashes ...byte) exporters.EventSet {
	out := exporters.EventSet{Issue: issue}
	for _, h := range hashes {
		out.Hashes = append(out.Hashes, exporters.IssueHash{Hash: hash(h)})
	}
	return out
}

// hashed is event n with a hash, before a time.
func hashed(n int, h byte, at time.Time) schemas.Event {
	e := event(n, at)
	e.Fingerprint, e.Issue, e.Weight = hash(h), 77, 1 // whose it was does not matter
	return e
}

func writeTwice(t testing.TB, s IssueEvents, events ...schemas.Event) {
	t.Helper()
	for range 2 { // as a replay does
		noError(t, "WriteEvents", s.WriteEvents(testContext(t), events))
	}
}

func statsOf(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	to := time.Now().Add(-time.Hour).Truncate(time.Second)
	var all []schemas.Event
	add := func(h byte, before time.Duration, user uint64, offset int64) {
		e := hashed(len(all), h, to.Add(-before))
		e.UserHash, e.Offset = user, offset
		if offset >= 0 {
			e.Topic, e.Partition = "orders", 1
		}
		all = append(all, e)
	}
	add(1, 0, 1, 1)                             // after the range
	add(1, time.Nanosecond, 1, 1)               // hour 23
	add(2, time.Hour+1, 2, 1)                   // hour 22, another hash
	add(1, 24*time.Hour, 1, 2)                  // hour 0
	add(1, 25*time.Hour, 0, schemas.Unknown)    // day 12
	add(2, 20*24*time.Hour, 3, schemas.Unknown) // long ago, and within retention
	add(3, time.Hour, 9, 9)                     // of the other set
	add(4, time.Hour, 9, 9)                     // of none
	all[2].Weight = 5                           // stands for five
	// It failed first as the record of the others, and came by a retry topic.
	all[2].OriginalTopic, all[2].OriginalPartition, all[2].OriginalOffset = "orders", 1, 1
	all[2].Topic, all[2].Partition, all[2].Offset = "orders.retry", 0, 77
	foreign := hashed(90, 1, to.Add(-time.Minute))
	foreign.Project = 2
	writeTwice(t, s, append(all, foreign)...)
	got, err := s.StatsOf(ctx, 1, []exporters.EventSet{set(1, 1, 2), set(2, 3), set(3, 8), set(4)}, exporters.EventFilter{Range: exporters.Range{To: to}})
	noError(t, "StatsOf", err)
	one := exporters.EventStats{
		Events: 9, Users: 3, Records: 2, First: all[5].Time, FirstID: all[5].ID, Last: all[1].Time, LastID: all[1].ID,
	}
	one.Hours[23], one.Hours[22], one.Hours[0] = 1, 5, 1
	one.Days[13], one.Days[12] = 7, 1
	two := exporters.EventStats{Events: 1, Users: 1, Records: 1, First: all[6].Time, FirstID: all[6].ID, Last: all[6].Time, LastID: all[6].ID}
	two.Hours[23], two.Days[13] = 1, 1
	equal(t, "stats", got, map[schemas.IssueID]exporters.EventStats{1: one, 2: two})

	// Unmerged: the same rows count elsewhere.
	got, err = s.StatsOf(ctx, 1, []exporters.EventSet{set(1, 1), set(5, 2)}, exporters.EventFilter{Range: exporters.Range{From: to.Add(-2 * time.Hour), To: to}})
	noError(t, "StatsOf", err)
	if got[1].Events != 1 || got[5].Events != 5 || got[5].Users != 1 || got[5].First != all[2].Time || got[1].Hours[0] != 1 {
		t.Errorf("after unmerging: %+v", got)
	}
	got, err = s.StatsOf(ctx, 1, nil, exporters.EventFilter{})
	noError(t, "StatsOf of none", err)
	if len(got) != 0 {
		t.Errorf("StatsOf of no set gave %v", got)
	}
}

func statsAfter(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	at := base()
	before, after := hashed(1, 1, at), hashed(2, 1, at.Add(-time.Minute)) // the later one happened before
	before.Received, after.Received = 1000, 2000
	other := hashed(3, 2, at)
	other.Received = 500
	writeTwice(t, s, before, after, other)
	x := set(1, 1, 2)
	x.Hashes[0].After = 2000
	got, err := s.StatsOf(ctx, 1, []exporters.EventSet{x}, exporters.EventFilter{})
	noError(t, "StatsOf", err)
	if got[1].Events != 2 {
		t.Errorf("%d events count, want 2: the one that was received after and that of another hash", got[1].Events)
	}
	events, err := s.EventsOf(ctx, 1, x, exporters.EventPage{})
	noError(t, "EventsOf", err)
	if len(events) != 2 || events[0].ID != other.ID || events[1].ID != after.ID {
		t.Errorf("EventsOf gave %d events, want those two", len(events))
	}
}

func eventsOf(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	var all []schemas.Event
	for i := range 25 {
		all = append(all, hashed(i, byte(1+i%2), base().Add(time.Duration(i/5)*time.Second)))
	}
	writeTwice(t, s, append(all, hashed(99, 3, base()))...)
	var got []schemas.EventID
	page := exporters.EventPage{Limit: 4}
	for range 10 {
		events, err := s.EventsOf(ctx, 1, set(1, 1, 2), page)
		noError(t, "EventsOf", err)
		for _, e := range events {
			got = append(got, e.ID)
			page.Before, page.BeforeID = e.Time, e.ID
		}
		if len(events) < 4 {
			break
		}
	}
	var want []schemas.EventID
	for second := 4; second >= 0; second-- {
		for i := range 5 {
			want = append(want, all[second*5+i].ID)
		}
	}
	equal(t, "events by pages", got, want)
}

func eventTerms(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	a, b, c := hashed(1, 1, base()), hashed(2, 1, base()), hashed(3, 1, base())
	a.Release, a.Environment, a.Type, a.Value, a.Handled = "shop@1.0", "Prod", "NoFunds", "no 50%_ \\ funds", schemas.HandledNo
	a.Topic, a.Partition, a.Offset, a.Group, a.UserID, a.UserEmail = "orders", 7, 100, "pay", "u'1", "ada@example.com"
	a.TraceID, a.Tags = traceID(5), []schemas.Attribute{{Key: "customer", Value: "acme"}, {Key: "odd key", Value: "x"}}
	b.Release, b.Environment, b.Handled, b.Topic, b.Partition, b.Offset, b.KeyHash = "shop@2.0", "dev", schemas.HandledYes, "orders", 0, 0, "00000000000000ff"
	b.Transaction, b.Server, b.SDK, b.UserName, b.UserIP = "POST /ü", "node-1", "sentry.go/1", "bob", "::1"
	writeTwice(t, s, a, b, c)
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, []schemas.Message{{Project: 1, Topic: "orders", Partition: 7, Offset: 100, KeyHash: 0xabcdef, Start: base().UnixNano(), End: base().UnixNano()}}))
	f := func(query string, want ...schemas.Event) {
		t.Helper()
		q, err := search.Parse(query, base())
		noError(t, "Parse", err)
		events, err := s.EventsOf(ctx, 1, set(1, 1), exporters.EventPage{EventFilter: exporters.EventFilter{Where: q.Of(search.OfEvent)}})
		noError(t, "EventsOf "+query, err)
		var got, ids []schemas.EventID
		for _, e := range events {
			got = append(got, e.ID)
		}
		for _, e := range want {
			ids = append(ids, e.ID)
		}
		equal(t, query, got, ids)
	}
	f("", a, b, c)
	f("release:shop@1.0", a)
	f("release:SHOP@*", a, b)
	f("!release:shop@1.0", b, c)
	f("has:release", a, b)
	f(`release:""`, c)
	f("environment:prod", a)
	f("environment:[prod,DEV]", a, b)
	f("topic:orders partition:7", a)
	f("partition:<5", b)
	f("!partition:<5", a, c)
	f("has:partition", a, b)
	f("offset:>=100", a)
	f("offset:[0,100]", a, b)
	f("group:pay", a)
	f("key:0000000000abcdef", a)
	f("key:00000000000000ff", b)
	f("has:key", a, b)
	f("transaction:*Ü", b)
	f("error.type:nofunds", a)
	f(`error.value:"no 50%_ \\ funds"`, a)
	f(`error.value:no*50%_*`, a)
	f(`error.value:no*50__*`)
	f("error.handled:true", b)
	f("error.handled:false", a)
	f("has:error.handled", a, b)
	f("user.id:u'1 user.email:*@example.com", a)
	f("user.username:bob user.ip:::1", b)
	f("server:node-* sdk:sentry.go/*", b)
	f("trace:"+traceID(5).String(), a)
	f("has:trace", a)
	f("customer:ACME", a)
	f("has:customer", a)
	f("!has:customer", b, c)
	f("tags[odd key]:x", a)
	f("customer:\"'; DROP TABLE events\"")
	f("environment:dev OR group:pay", a, b)
	f("-(environment:dev OR group:pay)", c)
	f("(partition:7 offset:100) OR user.username:bob", a, b)
	f("has:partition (partition>5 OR customer:acme OR release:shop@2.0) -error.type:NoFunds", b)
	_, err := s.EventsOf(ctx, 1, set(1, 1), exporters.EventPage{EventFilter: exporters.EventFilter{Where: search.Query{{{Field: &search.Field{Name: "is"}, Values: []search.Value{{Text: "new"}}}}}}})
	if err == nil {
		t.Error("a term of issues was answered")
	}
}

func hourlyOf(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	begin := base().Truncate(time.Hour)
	events := []schemas.Event{
		hashed(1, 1, begin.Add(-1)), hashed(2, 1, begin), hashed(3, 2, begin.Add(time.Hour-1)), hashed(4, 1, begin.Add(167*time.Hour)), hashed(5, 1, begin.Add(168*time.Hour)), hashed(6, 3, begin),
	}
	events[1].Weight = 4
	writeTwice(t, s, events...)
	got, err := s.HourlyOf(ctx, 1, []exporters.EventSet{set(1, 1, 2), set(2, 3), set(3, 9)}, begin, 168)
	noError(t, "HourlyOf", err)
	want := map[schemas.IssueID][]uint64{1: make([]uint64, 168), 2: make([]uint64, 168), 3: make([]uint64, 168)}
	want[1][0], want[1][167], want[2][0] = 5, 1, 1
	equal(t, "hours", got, want)
	if _, err := s.HourlyOf(ctx, 1, nil, begin, 401); err == nil {
		t.Error("HourlyOf of 401 hours succeeded")
	}
}

func mostWithin(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	var all []schemas.Event
	for i, seconds := range []int{0, 10, 20, 59, 60, 61, 300, 301} {
		e := hashed(i, 1, base().Add(time.Duration(seconds)*time.Second))
		e.UserHash = uint64(1 + i%2)
		all = append(all, e)
	}
	all[7].Weight, all[6].UserHash = 3, 0
	writeTwice(t, s, all...)
	f := func(from time.Duration, window time.Duration, users bool, want uint64) {
		t.Helper()
		got, err := s.MostWithin(ctx, 1, set(1, 1), base().Add(from), window, users)
		noError(t, "MostWithin", err)
		if got != want {
			t.Errorf("MostWithin(%v, %v, users %v) = %d, want %d", from, window, users, got, want)
		}
	}
	f(0, time.Minute, false, 5) // 10 … 61, and 300 + 301 is 4
	f(0, 41*time.Second, false, 4)
	f(0, time.Second, false, 3)
	f(0, 2*time.Second, false, 4)
	f(0, time.Minute, true, 2)
	f(299*time.Second, time.Minute, true, 1)
	f(62*time.Second, time.Hour, false, 4)
	f(400*time.Second, time.Hour, false, 0)
}

func tagsOf(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	var all []schemas.Event
	for i := range 10 {
		e := hashed(i, 1, base().Add(time.Duration(i)*time.Second))
		e.Release, e.Level = fmt.Sprint("r", i%3), "error"
		e.Tags = []schemas.Attribute{{Key: "customer", Value: fmt.Sprint("c", i)}, {Key: "release", Value: "told twice"}}
		all = append(all, e)
	}
	all[0].Weight = 5
	writeTwice(t, s, all...)
	got, err := s.TagsOf(ctx, 1, set(1, 1), exporters.EventFilter{}, 2)
	noError(t, "TagsOf", err)
	find := func(key string) exporters.EventTag {
		i := slices.IndexFunc(got, func(x exporters.EventTag) bool { return x.Key == key })
		if i < 0 {
			t.Fatalf("there is no tag %s in %+v", key, got)
		}
		return got[i]
	}
	equal(t, "release", find("release"), exporters.EventTag{Key: "release", Events: 14, Others: 1, Values: []exporters.EventTagValue{
		{Value: "r0", Events: 8, First: all[0].Time, Last: all[9].Time}, {Value: "r1", Events: 3, First: all[1].Time, Last: all[7].Time},
	}})
	if c := find("customer"); c.Events != 14 || c.Others != 8 || c.Values[0].Value != "c0" || c.Values[1].Events != 1 {
		t.Errorf("customer: %+v", c)
	}
	if l := find("level"); l.Events != 14 || len(l.Values) != 1 {
		t.Errorf("level: %+v", l)
	}
	if slices.ContainsFunc(got, func(x exporters.EventTag) bool { return x.Key == "topic" }) {
		t.Error("a tag without a value is listed")
	}
}

func hashesWith(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	var all []schemas.Event
	for i := range 20 {
		e := hashed(i, byte(i), base())
		e.Topic = fmt.Sprint("topic-", i%2)
		all = append(all, e)
	}
	writeTwice(t, s, all...)
	q, err := search.Parse("topic:topic-1", base())
	noError(t, "Parse", err)
	f := func(r exporters.Range, limit, want int, wantMore bool) {
		t.Helper()
		got, more, err := s.HashesWith(ctx, 1, exporters.EventFilter{Range: r, Where: q}, limit)
		noError(t, "HashesWith", err)
		if len(got) != want || more != wantMore {
			t.Errorf("HashesWith limit %d gave %d, more %v; want %d, %v", limit, len(got), more, want, wantMore)
		}
		for _, h := range got {
			if h[0]%2 != 1 {
				t.Errorf("hash %v has no such event", h)
			}
		}
	}
	f(exporters.Range{}, 100, 10, false)
	f(exporters.Range{}, 10, 10, false)
	f(exporters.Range{}, 9, 9, true)
	f(exporters.Range{From: base().Add(time.Second)}, 9, 0, false)
}

func removeEvents(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	a, b, c := hashed(1, 1, base()), hashed(2, 1, base()), hashed(3, 2, base())
	a.Received, b.Received, c.Received = 10, 20, 10
	foreign := a
	foreign.Project = 2
	writeTwice(t, s, a, b, c, foreign)
	for range 2 {
		noError(t, "RemoveEvents", s.RemoveEvents(ctx, []exporters.DeletedHash{{Project: 1, Hash: hash(1), Before: 20}, {Project: 1, Hash: hash(9), Before: 30}}))
	}
	events, err := s.EventsOf(ctx, 1, set(1, 1, 2), exporters.EventPage{})
	noError(t, "EventsOf", err)
	if len(events) != 2 || events[0].ID != b.ID || events[1].ID != c.ID {
		t.Errorf("after removal: %d events, want the later one and that of another hash", len(events))
	}
	events, err = s.EventsOf(ctx, 2, set(1, 1), exporters.EventPage{})
	noError(t, "EventsOf", err)
	if len(events) != 1 {
		t.Error("the event of another project is gone")
	}
	if err := s.RemoveEvents(ctx, make([]exporters.DeletedHash, 1001)); err == nil {
		t.Error("RemoveEvents of 1001 hashes succeeded")
	}
}

func manyHashes(t *testing.T, s IssueEvents) {
	ctx := testContext(t)
	writeTwice(t, s, hashed(1, 1, base()))
	x := exporters.EventSet{Issue: 1}
	for i := range exporters.MaxHashes {
		x.Hashes = append(x.Hashes, exporters.IssueHash{Hash: hash(2, byte(i), byte(i>>8)), After: int64(i)})
	}
	x.Hashes[17].Hash = hash(1)
	got, err := s.StatsOf(ctx, 1, []exporters.EventSet{x}, exporters.EventFilter{})
	noError(t, "StatsOf", err)
	if got[1].Events != 1 {
		t.Errorf("%d events, want 1", got[1].Events)
	}
	x.Hashes = append(x.Hashes, exporters.IssueHash{})
	_, err = s.StatsOf(ctx, 1, []exporters.EventSet{x}, exporters.EventFilter{})
	if err == nil {
		t.Error("StatsOf of too many hashes succeeded")
	}
}
