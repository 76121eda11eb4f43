package finding

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestALookUpSaysWhatItFound(t *testing.T) {
	f := func(in Find, rule string, want ...string) {
		t.Helper()
		in.Query = "x"
		got := ForFind(in)
		if got.Rule != rule {
			t.Errorf("rule %s, want %s", got.Rule, rule)
		}
		for _, w := range want {
			if !strings.Contains(got.String(), w) {
				t.Errorf("%q lacks %q", got, w)
			}
		}
	}
	f(Find{Records: 1}, "one", "One record answers to x")
	f(Find{Traces: 1}, "one", "One trace answers to x")
	f(Find{Spans: 1, BySpans: true}, "one", "One span answers to x", "tell it as an attribute")
	f(Find{Records: 12}, "records", "12 records answer to x")
	f(Find{Records: 50, More: true}, "records", "More than 50 records", "newest come first")
	f(Find{Records: 1, Traces: 1, Spans: 2}, "several", "4 answers to x", "One record, one trace, 2 spans.")
	f(Find{Looked: []string{"a trace id"}}, "nothing", "Nothing answers to x", "looked for as a trace id.")
	f(Find{Looked: []string{"a", "b", "c"}, Ranged: true}, "nothing", "as a, b or c.", "Look in all that is stored")
	place := Place{Record: schemas.RecordRef{Topic: "t", Partition: 1, Offset: 5}, Before: -1, After: -1, LogStart: -1, LogEnd: -1}
	f(Find{Place: &place}, "record-missing", "Nothing is stored about record t/1@5", "No span about topic t")
}

func TestARecordSaysWhatBecameOfIt(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	f := func(in Record, rule string, want ...string) {
		t.Helper()
		in.Record, in.Now = schemas.RecordRef{Topic: "t", Partition: 1, Offset: 5}, now
		if in.Behind == 0 {
			in.Behind = schemas.Unknown
		}
		got := ForRecord(in)
		if got.Rule != rule {
			t.Errorf("rule %s, want %s", got.Rule, rule)
		}
		for _, w := range want {
			if !strings.Contains(got.String(), w) {
				t.Errorf("%q lacks %q", got, w)
			}
		}
	}
	read := Reader{Service: "pay", Group: "g", Delivery: 1, EndToEnd: schemas.Part{Known: true, Duration: time.Second}}
	failed := read
	failed.Failed = true
	second := failed
	second.Delivery = 2
	f(Record{Readers: []Reader{read}}, "reached", "t/1@5 was done in pay 1s after it was sent")
	f(Record{Readers: []Reader{{Delivery: 1}}}, "read", "t/1@5 was read by a service without name")
	f(Record{Readers: []Reader{read, {Service: "audit", Group: "h", Delivery: 1}}}, "groups", "was read by 2 groups")
	f(Record{Readers: []Reader{failed}, Issues: 2, Behind: 7}, "failed", "t/1@5 failed in pay", "2 issues happened on it", "Group g was 7 records behind")
	f(Record{Readers: []Reader{failed, second}, Again: 3}, "sent-on", "failed and was sent on 3 times", "delivered again once")
	f(Record{Readers: []Reader{failed}, Again: 1, Dead: &schemas.RecordRef{Topic: "t-dlq", Offset: 9}}, "dead-letter", "ended as a dead letter, t-dlq/0@9")
	f(Record{Sent: now.Add(-3 * time.Hour).UnixNano()}, "unread", "Nobody has been seen to read t/1@5, sent 3h0m0s ago")
	f(Record{Issues: 1, Others: 1}, "no-rows", "Events name t/1@5", "One issue happened on it", "One other record has had the same coordinates")
}

func TestAJourneySaysWhatWasSentOn(t *testing.T) {
	hop := func(id string, attempt int, dead bool) Hop {
		return Hop{ID: id, Topic: id, Partition: 0, Service: "pay", Read: true, SentOn: attempt > 0, Attempt: attempt, Dead: dead, End: int64(attempt)}
	}
	f := func(want string, hops ...Hop) {
		t.Helper()
		got := ForJourney(Journey{Root: "POST", Service: "shop", Duration: time.Second, Services: 2, Hops: hops}).String()
		if want != "" && !strings.Contains(got, want) || want == "" && strings.Contains(got, "sent on") {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	f("", hop("orders", 0, false))
	f("A record failed and was sent on once.", hop("orders", 0, false), hop("retry", 1, false))
	f("A record failed and was sent on 2 times.", hop("orders", 0, false), hop("r1", 1, false), hop("r2", 2, false))
	f("A record failed, was tried again 3 times and ended as a dead letter in dlq p0.", hop("r1", 1, false), hop("r2", 2, false), hop("r3", 3, false), hop("dlq", 4, true))
	f("A record failed and ended as a dead letter in dlq p0.", hop("dlq", 1, true))
}
