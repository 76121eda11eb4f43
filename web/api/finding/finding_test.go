package finding

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

func known(d time.Duration) schemas.Part { return schemas.Part{Duration: d, Known: true} }

// hop has all its parts known; change sets what the case is about.
func hop(change func(*Hop)) Hop {
	h := Hop{
		ID: "h", Topic: "payments", Partition: 1, Group: "billing", Service: "payments", TraceID: "t", Behind: schemas.Unknown, Read: true, Sent: true, End: 10,
		Parts: schemas.HopParts{
			BatchQueue: known(time.Millisecond), Retry: known(0), Ack: known(2 * time.Millisecond), Backlog: known(0), LongPoll: known(time.Millisecond),
			FetchQueue: known(0), Processing: known(4 * time.Millisecond), EndToEnd: known(8 * time.Millisecond), SharedClock: true,
		},
	}
	if change != nil {
		change(&h)
	}
	return h
}

func TestJourneyFindings(t *testing.T) {
	f := func(name string, j Journey, rule string, tone Tone, want ...string) {
		t.Helper()
		if j.Root == "" {
			j.Root, j.Service = "POST /checkout", "checkout"
		}
		if j.Duration == 0 {
			j.Duration = 20 * time.Millisecond
		}
		got := ForJourney(j)
		if got.Rule != rule || got.Tone != tone {
			t.Errorf("%s: rule %s tone %s, want %s %s: %s", name, got.Rule, got.Tone, rule, tone, got)
		}
		for _, w := range want {
			if !strings.Contains(got.String(), w) {
				t.Errorf("%s: %q lacks %q", name, got, w)
			}
		}
	}
	f("a backlog of known size", Journey{Duration: 3 * time.Hour, Hops: []Hop{hop(func(h *Hop) { h.Parts.Backlog, h.Behind = known(179*time.Minute), 3120 })}}, "reached", ToneOK,
		"POST /checkout reached payments after 3h0m0s", "Almost all of it (99.44%) it lay in payments p1: group billing was 3120 records behind", "processed for 4ms")
	ofBatch := func(h *Hop) {
		h.TraceID, h.SpanID, h.Parts.Backlog, h.Behind = "aa", "bb", known(179*time.Minute), 3120
	}
	f("records that one span read", Journey{Duration: 3 * time.Hour, Hops: []Hop{hop(ofBatch), hop(ofBatch), hop(ofBatch)}}, "reached", ToneOK, "processed for 4ms")
	f("done before it was sent", Journey{Duration: 4 * time.Second, Path: Path{Total: time.Second, Consumers: 1.2}, Hops: []Hop{hop(func(h *Hop) {
		h.Parts.LongPoll, h.Parts.FetchQueue, h.Parts.EndToEnd = known(-4*time.Second), known(-5*time.Millisecond), known(-3900*time.Millisecond)
	})}}, "backwards", ToneWarn, "POST /checkout reached payments, but two clocks disagree by 4s or more", "How long it took in all is unknown: payments p1 was done before it was sent", "2 parts are negative")
	f("a part below zero of a hop that is not", Journey{Duration: 4 * time.Second, Hops: []Hop{hop(func(h *Hop) { h.Parts.FetchQueue, h.Parts.EndToEnd = known(-5*time.Millisecond), known(3*time.Second) })}}, "reached", ToneOK,
		"reached payments after 4s", "One part is negative")
	const sent = int64(1_700_000_000_000_000_000)
	at := func(d time.Duration) int64 { return sent + int64(d) }
	f("its root goes on after the last reader", Journey{Start: sent, Duration: 9 * time.Minute, Hops: []Hop{hop(func(h *Hop) { h.End = at(8 * time.Minute) })}}, "reached", ToneOK, "POST /checkout reached payments after 8m0s")
	unsent := func(h *Hop) {
		h.Sent, h.Start, h.End = false, sent, at(9*time.Millisecond)
		h.Parts = schemas.HopParts{FetchQueue: known(2 * time.Millisecond), Processing: known(7 * time.Millisecond)}
	}
	f("nobody told of sending, the record has a timestamp", Journey{Root: "process audit", Start: sent, Duration: 9 * time.Millisecond, Path: Path{Total: 9 * time.Millisecond, Consumers: 1}, Hops: []Hop{hop(func(h *Hop) { unsent(h); h.Stamped = at(-90 * time.Second) })}}, "reached", ToneOK,
		"process audit reached payments, 1m30.009s after the record's own timestamp", "the largest known is processing of payments p1 with 7ms", "Who sent payments p1 is unknown")
	f("nobody told of sending", Journey{Root: "process audit", Start: sent, Duration: 9 * time.Millisecond, Hops: []Hop{hop(unsent)}}, "reached", ToneOK, "process audit reached payments, and nobody tells when it was sent")
	f("the reader's clock is behind the record's timestamp", Journey{Root: "process audit", Start: sent, Duration: 9 * time.Millisecond, Hops: []Hop{hop(func(h *Hop) { unsent(h); h.Stamped, h.Failed = at(time.Second), true })}}, "failed", ToneBad, "process audit failed in payments, and nobody tells when it was sent")
	dead := hop(func(h *Hop) {
		h.ID, h.Topic, h.SentOn, h.Dead, h.Start, h.End = "d", "dlq", true, true, at(time.Minute), at(5*time.Minute)
	})
	f("a dead letter", Journey{Start: sent, Duration: 5 * time.Minute, Hops: []Hop{hop(func(h *Hop) { h.Failed = true }), dead}}, "dead-letter", ToneBad, "POST /checkout ended as a dead letter after 1m0s", "A record failed and ended as a dead letter in dlq p1")
	f("a dead letter of many records", Journey{Start: sent, Duration: 5 * time.Minute, Hops: []Hop{hop(nil), hop(func(h *Hop) { h.ID = "2" }), dead}}, "dead-letter", ToneBad, "A record of POST /checkout ended as a dead letter after 1m0s")
	f("a backlog of unknown size", Journey{Duration: 3 * time.Hour, Hops: []Hop{hop(func(h *Hop) { h.Parts.Backlog = known(2 * time.Hour) })}}, "reached", ToneOK, "Most of it (66.67%) it lay in payments p1 before group billing asked")
	f("one record behind", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.Backlog, h.Behind = known(19*time.Millisecond), 1 })}}, "reached", ToneOK, "was one record behind")
	f("linger", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.BatchQueue = known(19 * time.Millisecond) })}}, "reached", ToneOK, "batch queue for payments p1: 19ms of linger")
	f("retries", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.Retry = known(19 * time.Millisecond) })}}, "reached", ToneOK, "writing the request to payments p1 again")
	f("a slow broker", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.Ack = known(19 * time.Millisecond) })}}, "reached", ToneOK, "the broker took to append it")
	f("a long poll", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.LongPoll = known(19 * time.Millisecond) })}}, "reached", ToneOK, "the group was not behind")
	f("a fetch queue", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.FetchQueue = known(19 * time.Millisecond) })}}, "reached", ToneOK, "lay fetched in group billing")
	f("slow work", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.Processing = known(19 * time.Millisecond) })}}, "reached", ToneOK, "went into processing by group billing")
	f("nothing stands out", Journey{Hops: []Hop{hop(nil)}}, "reached", ToneOK, "No part of a hop has half of it; the largest is processing of payments p1 with 4ms")
	f("the last hop failed", Journey{Hops: []Hop{hop(func(h *Hop) { h.Failed = true })}}, "failed", ToneBad, "failed in payments after 20ms")
	f("an earlier hop failed", Journey{Failed: 1, Hops: []Hop{hop(func(h *Hop) { h.Failed = true }), hop(func(h *Hop) { h.ID, h.End, h.Service = "i", 20, "shipping" })}}, "reached-with-errors", ToneWarn, "reached shipping")
	f("one error", Journey{Hops: []Hop{hop(nil)}, Errors: []Error{{"CARD_DECLINED", "/issues/7"}}}, "reached-with-errors", ToneWarn, "One error on the way: CARD_DECLINED.")
	f("many errors", Journey{Hops: []Hop{hop(nil)}, Errors: []Error{{"A", "/a"}, {"B", "/b"}}}, "reached-with-errors", ToneWarn, "2 errors on the way, the first: A.")
	unread := hop(func(h *Hop) { h.Read, h.ID = false, "u"; h.Parts = schemas.HopParts{} })
	f("nobody read it", Journey{Hops: []Hop{unread}}, "unread", ToneWarn, "Nobody has been seen to read what checkout sent to payments")
	f("one of two is unread", Journey{Hops: []Hop{hop(nil), unread}}, "reached", ToneOK, "One record on the way nobody has been seen to read.")
	f("two clocks", Journey{Hops: []Hop{hop(func(h *Hop) {
		h.Parts.SharedClock, h.Parts.Backlog, h.Parts.LongPoll = false, schemas.Part{}, schemas.Part{}
	})}}, "reached", ToneOK, "2 of 7 parts are unknown: a side")
	f("a wait across two clocks", Journey{Duration: 3 * time.Hour, Hops: []Hop{hop(func(h *Hop) {
		h.Parts.Backlog, h.Parts.LongPoll, h.Parts.SharedClock = schemas.Part{}, schemas.Part{}, false
	})}}, "reached", ToneOK, "No known part of a hop has half of it, and some are unknown; the largest known is")
	f("not measured", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.FetchQueue = schemas.Part{} })}}, "reached", ToneOK, "1 of 7 parts are unknown: nobody measured them")
	f("clocks that disagree", Journey{Hops: []Hop{hop(func(h *Hop) { h.Parts.LongPoll = known(-time.Millisecond) })}}, "reached", ToneOK, "One part is negative: two clocks disagree.")
	f("no message", Journey{}, "no-hops", ToneOK, "POST /checkout took 20ms, and no Kafka message was seen in it")
	f("no message and failed", Journey{Failed: 1}, "no-hops-failed", ToneBad, "failed after 20ms")
	f("cut", Journey{Hops: []Hop{hop(nil)}, Cut: true}, "reached", ToneOK, "larger than this page")
}

func TestEveryNumberOfAJourneyLeadsToItsRow(t *testing.T) {
	got := ForJourney(Journey{Root: "r", Service: "s", Duration: time.Hour, Hops: []Hop{hop(func(h *Hop) { h.Parts.Backlog = known(50 * time.Minute) })}})
	if got.Title[len(got.Title)-1].Href != "?row=h" {
		t.Errorf("the title's duration leads to %q, want the row of the last hop", got.Title[len(got.Title)-1].Href)
	}
	for _, p := range got.Text {
		if p.Kind == KindShare && p.Href != "?row=h" {
			t.Errorf("the share leads to %q, want the row of its hop", p.Href)
		}
	}
}

func TestListFindings(t *testing.T) {
	f := func(name string, got Finding, rule string, want string) {
		t.Helper()
		if got.Rule != rule || !strings.Contains(got.String(), want) {
			t.Errorf("%s: rule %s, %q; want rule %s, %q", name, got.Rule, got, rule, want)
		}
	}
	slow := exporters.TraceSummary{Root: "POST /checkout", Service: "checkout", Duration: time.Minute}
	f("no trace", ForTraces(Traces{}), "nothing", "No trace arrived in this time")
	f("no match", ForTraces(Traces{Filtered: true}), "no-match", "No trace matches")
	f("all well", ForTraces(Traces{Count: 3, Slowest: slow}), "no-errors", "3 traces and no error | The slowest, POST /checkout of checkout, took 1m0s.")
	f("one", ForTraces(Traces{Count: 1, Slowest: slow}), "no-errors", "One trace and no error")
	f("one failed", ForTraces(Traces{Count: 50, More: true, Failed: 1, Slowest: slow}), "some-failed", "1 of the newest 50 traces has an error")
	f("some failed", ForTraces(Traces{Count: 9, Failed: 2, Slowest: slow}), "some-failed", "2 of 9 traces have errors")
	f("all failed", ForTraces(Traces{Count: 9, Failed: 9, Slowest: slow}), "all-failed", "Errors in 9 traces")

	f("no message", ForHops(nil, false, ""), "nothing", "No message was read")
	f("work", ForHops([]Hop{hop(nil)}, false, ""), "working", "worked on for 75.00% of their known time")
	f("waiting", ForHops([]Hop{hop(func(h *Hop) {
		h.Parts.Backlog, h.Parts.EndToEnd, h.Failed = known(32*time.Millisecond), known(40*time.Millisecond), true
	})}, true, ""), "waiting", "spent 85.00% of their known time waiting | The slowest took 40ms in payments p1; its largest part is the backlog with 32ms. One of them failed.")
	f("unknown", ForHops([]Hop{hop(func(h *Hop) { h.Parts = schemas.HopParts{} })}, false, ""), "unknown", "One message, and no part")

	parts := func(name exporters.PartName, p99 time.Duration) map[exporters.PartName]exporters.Quantiles {
		return map[exporters.PartName]exporters.Quantiles{name: {Count: 1, P99: p99}, exporters.PartProcessing: {Count: 1, P99: time.Second}}
	}
	f("no topic", ForTopics(nil, "", ""), "nothing", "No message passed a topic")
	f("behind", ForTopics([]exporters.TopicStats{
		{Topic: "orders", Group: "o", Consumed: 10, Parts: parts(exporters.PartLongPoll, time.Millisecond)},
		{Topic: "payments", Group: "p", Consumed: 10, Failed: 1, Parts: parts(exporters.PartBacklog, time.Hour)},
	}, "", ""), "backlog", "Messages wait longest in payments: group p was 1h0m0s behind at p99 | Its processing takes 1s at p99. Group p fails on 10.00% of what it reads from payments.")
	failing := ForTopics([]exporters.TopicStats{{Topic: "payments", Group: "p", Consumed: 10, Failed: 1, Parts: parts(exporters.PartBacklog, time.Hour)}}, "", "")
	if !slices.ContainsFunc(failing.Text, func(p Piece) bool { return p.Href == "/messages?group=p&q=status%3Aerror&topic=payments" }) {
		t.Errorf("what failed leads elsewhere: %+v", failing.Text)
	}
	f("linger", ForTopics([]exporters.TopicStats{{Topic: "orders", Group: "o", Parts: parts(exporters.PartBatchQueue, time.Second)}}, "", ""), "wait", "in the batch queue of orders: p99 1s")
	f("nobody reads", ForTopics([]exporters.TopicStats{{Topic: "orders", Produced: 5}}, "", ""), "unread", "no group has been seen to read them")
	f("one is not read", ForTopics([]exporters.TopicStats{{Topic: "audit", Produced: 5}, {Topic: "orders", Group: "o", Consumed: 9, Parts: parts(exporters.PartBacklog, time.Second)}}, "", ""), "backlog", "5 records of audit nobody has been seen to read.")
	if got := ForTopics([]exporters.TopicStats{{Topic: "orders", Produced: 2}, {Topic: "orders", Group: "o", Consumed: 100, Parts: parts(exporters.PartBacklog, time.Second)}}, "", ""); strings.Contains(got.String(), "nobody") {
		t.Errorf("two records on their way are called unread: %s", got)
	}
	f("readers without a group", ForTopics([]exporters.TopicStats{{Topic: "audit", Produced: 100, Consumed: 98, Failed: 49, Parts: parts(exporters.PartBacklog, time.Minute)}}, "", ""), "backlog",
		"Messages wait longest in audit: readers without a group were 1m0s behind at p99 | Its processing takes 1s at p99. Readers without a group fail on 50.00% of what they read from audit.")
	f("some that no reader without a group had", ForTopics([]exporters.TopicStats{{Topic: "audit", Produced: 100, Consumed: 90}}, "", ""), "unknown", "10 records of audit nobody has been seen to read.")
	f("nothing known", ForTopics([]exporters.TopicStats{{Topic: "orders", Group: "o", Consumed: 9}}, "", ""), "unknown", "how long its messages wait is unknown")

	worst := Issue{Title: "CARD_DECLINED", Href: "/issues/7", Events: 90, Records: 4}
	f("no issue", ForIssues(Issues{}), "nothing", "Nothing broke")
	f("no issue matches", ForIssues(Issues{Filtered: true}), "no-match", "No issue matches")
	f("one dominates", ForIssues(Issues{Count: 3, Events: 100, Worst: worst}), "one-dominates", "One of 3 issues makes 90.00% of the events | Most events: CARD_DECLINED with 90 from 4 records.")
	f("new ones", ForIssues(Issues{Count: 3, Events: 200, New: 2, Worst: worst}), "new", "3 issues, 2 of them new in the last hour")
	f("one new", ForIssues(Issues{Count: 1, Events: 90, New: 1, Worst: worst}), "one-new", "One issue, and it is new")
	f("old ones", ForIssues(Issues{Count: 1, Events: 90, Worst: worst, More: true}), "some", "One issue, none of them new")
}

// TestNumbersLeadToWhatTheyCount wants the link of each number of a list's sentences.
func TestNumbersLeadToWhatTheyCount(t *testing.T) {
	f := func(name string, got Finding, want map[string]string) {
		t.Helper()
		led := map[string]string{}
		for _, p := range append(got.Title, got.Text...) {
			if p.Href != "" {
				led[Finding{Title: []Piece{p}}.String()] = p.Href
			}
		}
		for piece, href := range want {
			if led[piece] != href {
				t.Errorf("%s: %q leads to %q in %s; want %q", name, piece, led[piece], got, href)
			}
		}
	}
	slow := exporters.TraceSummary{TraceID: schemas.TraceID{1}, Root: "POST /checkout", Service: "checkout", Duration: time.Minute}
	f("traces", ForTraces(Traces{Count: 9, Failed: 2, Slowest: slow}), map[string]string{"2": "?errors=true&before=", "1m0s": "/traces/" + slow.TraceID.String()})
	h := hop(func(h *Hop) {
		h.Parts.Backlog, h.Parts.EndToEnd, h.Failed = known(32*time.Millisecond), known(40*time.Millisecond), true
	})
	worst := "/traces/" + h.TraceID + "?row=" + h.ID
	f("messages", ForHops([]Hop{h, h}, false, "topic:a OR topic:b"), map[string]string{
		"85.00%": "?order=slowest&before=", "40ms": worst, "32ms": worst, "2": "?q=%28topic%3Aa+OR+topic%3Ab%29+status%3Aerror&before=",
	})
	f("the slowest messages", ForHops([]Hop{h, h}, true, ""), map[string]string{"85.00%": "", "2": "?q=status%3Aerror&before="})
	one := func(topic, group string, negative uint64) exporters.TopicStats {
		return exporters.TopicStats{Topic: topic, Group: group, Produced: 5, Consumed: 5, Parts: map[exporters.PartName]exporters.Quantiles{
			exporters.PartBacklog: {Count: 1, P99: time.Second, Negative: negative}, exporters.PartAck: {Count: 1, Negative: negative},
		}}
	}
	topics := []exporters.TopicStats{one("read", "g", 2)}
	for _, name := range []string{"a", "b/c", "d", "e", "f", "g"} {
		topics = append(topics, exporters.TopicStats{Topic: name, Produced: 5})
	}
	all := ForTopics(topics, "1d", "")
	f("topics", all, map[string]string{
		"4": "/search?from=1d&in=hops&q=ack%3C0ms+OR+backlog%3C0ms", "5": "/topics/a?from=1d#flow", "a": "/topics/a?from=1d", "b/c": "/topics/b%2Fc?from=1d", "e": "/topics/e?from=1d", "f": "",
	})
	if want := "5 records of a nobody has been seen to read, and some of b/c, d, e and 2 more topics."; !strings.Contains(all.String(), want) {
		t.Errorf("%q lacks %q", all, want)
	}
	f("issues", ForIssues(Issues{Count: 3, Events: 200, New: 2, Worst: Issue{Title: "E", Href: "/issues/7", Events: 90, Records: 4}}), map[string]string{
		"2": "?sort=new&before=", "90": "/issues/7#events", "4": "/issues/7#messages",
	})
	f("an event", ForEvent(Event{Events: 312, Records: 4, Topic: "payments", Partition: 1, Waterfall: "/traces/x", AgeKnown: true, Age: time.Hour, WaitKnown: true, Waited: time.Hour}), map[string]string{
		"312": "#events", "4": "#messages", "1h0m0s": "/traces/x", "100.00%": "/traces/x",
	})
	f("a search", ForSearch(Search{Subject: "spans", Query: "a:b", Asked: true, Total: 100, Failed: 10, Step: time.Minute}), map[string]string{
		"10.00%": "?in=spans&q=%28a%3Ab%29+status%3Aerror&cursor=",
	})
}

func TestEventFindings(t *testing.T) {
	f := func(name string, e Event, want ...string) {
		t.Helper()
		e.Title = "payments.ChargeError: 402"
		got := ForEvent(e).String()
		for _, w := range append(want, "payments.ChargeError: 402") {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q lacks %q", name, got, w)
			}
		}
	}
	f("a poison record", Event{Events: 78, Records: 1, Topic: "payments", Partition: 1}, "All 78 events come from one record.")
	f("a few", Event{Events: 312, Records: 4, Topic: "payments", Partition: 1}, "All 312 events come from 4 records.")
	f("many", Event{Events: 5, Records: 4, Topic: "payments", Partition: 1}, "5 events from 4 records.")
	f("once", Event{Events: 1, Records: 1, Topic: "payments", Partition: schemas.Unknown}, "It happened once.")
	f("not told", Event{Events: 3}, "none names its record itself", "This one names no Kafka message.")
	f("old", Event{Events: 1, Topic: "payments", Partition: 1, AgeKnown: true, Age: 3 * time.Hour, WaitKnown: true, Waited: 179 * time.Minute}, "a record of payments p1 that was 3h0m0s old.", "99.44% of that it waited")
	f("young", Event{Events: 1, Topic: "payments", Partition: 1, AgeKnown: true, Age: 10 * time.Millisecond, WaitKnown: true, Waited: time.Millisecond}, "Not: an old message")
}

func TestNamesKeepTheirLetters(t *testing.T) {
	for _, root := range []string{"process orders", "éclair", ""} {
		got := ForJourney(Journey{Root: root, Duration: time.Second})
		if got.Title[0].Text != root {
			t.Errorf("root %q is written %q", root, got.Title[0].Text)
		}
	}
}
