package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// foundStore has record orders/3@7, sent by shop and read by two groups; its key is
// order-17. Record orders/3@9 has the same key.
func foundStore() *fakestore.Store {
	at := testNow.Add(-time.Hour).UnixNano()
	row := func(side schemas.Side, offset int64, trace, span byte) schemas.Message {
		return schemas.Message{
			Project: 1, Side: side, Topic: "orders", Partition: 3, Offset: offset, Service: "shop", TraceID: schemas.TraceID{trace}, SpanID: schemas.SpanID{span},
			Start: at + offset*1e9, End: at + offset*1e9 + 5e6, KeyHash: find.KeyHash("order-17"), HighWatermark: schemas.Unknown, BodySize: 200,
		}
	}
	sent := row(schemas.SideProduce, 7, 1, 1)
	sent.MessageID, sent.Conversation = "m-7", "c-1"
	read := row(schemas.SideProcess, 7, 2, 2)
	read.Group, read.Service, read.CreationTrace, read.CreationSpan, read.Start, read.End = "pay", "payments", sent.TraceID, sent.SpanID, sent.End, sent.End+1e9
	audit := read
	audit.Group, audit.Service, audit.SpanID = "audit", "auditor", schemas.SpanID{3}
	next := row(schemas.SideProcess, 9, 4, 4)
	next.Group, next.Conversation = "pay", "c-1"
	return &fakestore.Store{
		AllProjects: []schemas.Project{{ID: 1}, {ID: 2}},
		AllMessages: []schemas.Message{sent, read, audit, next},
		AllSpans: []schemas.Span{
			{Project: 1, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{1}, Name: "send orders", Service: "shop", Start: at},
			{Project: 1, TraceID: schemas.TraceID{2}, SpanID: schemas.SpanID{2}, Name: "process orders", Service: "payments", Start: at},
			{Project: 1, TraceID: schemas.TraceID{5}, SpanID: schemas.SpanID{5}, Name: "old", Service: "rabbit", Start: at, Attributes: []schemas.Attribute{{Key: "messaging.message_id", Value: "m-old"}}},
		},
	}
}

func TestWhatIsLookedForIsFound(t *testing.T) {
	h := newHandler(t, foundStore())
	f := func(q, rule, to string, records ...string) Found {
		t.Helper()
		got := get[Found](t, h, "/find?q="+url.QueryEscape(q), http.StatusOK)
		hrefs := []string{}
		for _, r := range got.Records {
			hrefs = append(hrefs, r.Href)
		}
		if got.Finding.Rule != rule || got.To != to || !slices.Equal(hrefs, records) {
			t.Errorf("find %q: rule %s, to %q, records %v; want %s, %q, %v", q, got.Finding.Rule, got.To, hrefs, rule, to, records)
		}
		return got
	}
	const seven, nine = "/records/orders/3/7", "/records/orders/3/9"
	for _, q := range []string{"orders/3@7", "orders-3@7", "orders 3 7", "id:m-7", "m-7"} {
		f(q, "one", seven, seven)
	}
	// A record that is named leads to its trace, and says what it is.
	got := f("orders/3@7", "one", seven, seven)
	if r := got.Records[0]; r.TraceID != "01"+strings.Repeat("0", 30) || r.Producer != "shop" || !slices.Equal(r.Groups, []string{"audit", "pay"}) || r.Reads != 2 || r.Last == nanos(0) || !slices.Equal(r.By, []string{"record"}) {
		t.Errorf("the record that was named is %+v", r)
	}
	got = f("key:order-17", "records", "", nine, seven)
	if d := cmp.Diff([]string{"audit", "pay"}, got.Records[1].Groups); d != "" || got.Records[1].Reads != 2 || got.Records[1].Producer != "shop" || !slices.Equal(got.Records[1].By, []string{"key"}) {
		t.Errorf("the record is %+v %s", got.Records[1], d)
	}
	f("order-17", "records", "", nine, seven)
	f("key:"+got.Looked[0].Value, "records", "", nine, seven)
	f("conversation:c-1", "records", "", nine, seven)
	trace := strings.Repeat("0", 30)
	f("01"+trace, "one", "/traces/01"+trace)
	f("trace:02"+trace, "one", "/traces/02"+trace)
	// A span, and the records that carried it.
	got = f("span:0100000000000000", "several", "", seven)
	if len(got.Spans) != 1 || got.Spans[0].Href != "/traces/01"+trace+"?row=0100000000000000" {
		t.Errorf("the spans are %+v", got.Spans)
	}
	f("span:0500000000000000", "one", "/traces/05"+trace+"?row=0500000000000000")
	f("00-05"+trace+"-0500000000000000-01", "several", "/traces/05"+trace+"?row=0500000000000000")
	// No row names it: a span does.
	got = f("m-old", "one", "/traces/05"+trace+"?row=0500000000000000")
	if !strings.Contains(got.Finding.String(), "these spans tell it as an attribute") {
		t.Errorf("the finding is %q", got.Finding)
	}
	got = f("nobody", "nothing", "")
	if s := got.Finding.String(); !strings.Contains(s, "looked for as a message id, a conversation id or a record's key") || strings.Contains(s, "Look in all") {
		t.Errorf("the finding is %q", s)
	}
	// Records and traces are found whatever the time.
	h.deps.Messages.(*fakestore.Store).AllMessages = foundStore().AllMessages
	for q, rule := range map[string]string{"orders/3@7": "one", "01" + trace: "one", "m-7": "nothing", "key:order-17": "nothing"} {
		if got := get[Found](t, h, "/find?from=-1m&q="+url.QueryEscape(q), http.StatusOK); got.Finding.Rule != rule {
			t.Errorf("find %q in the last minute: rule %s, want %s", q, got.Finding.Rule, rule)
		} else if rule == "nothing" && !strings.Contains(got.Finding.String(), "Look in all that is stored") {
			t.Errorf("find %q says %q", q, got.Finding)
		}
	}
	if got := get[Found](t, h, "/find?project=2&q=m-7", http.StatusOK); got.Finding.Rule != "nothing" {
		t.Errorf("another project finds %+v", got)
	}
}

func TestFoundRecordsArePaged(t *testing.T) {
	h := newHandler(t, foundStore())
	first := get[Found](t, h, "/find?q=key:order-17&limit=1", http.StatusOK)
	if len(first.Records) != 1 || first.Next == nil || *first.Next != 1 || first.To != "" || first.Finding.Rule != "one" && first.Finding.Rule != "records" {
		t.Fatalf("the first page is %+v", first)
	}
	second := get[Found](t, h, "/find?q=key:order-17&limit=1&skip=1", http.StatusOK)
	if len(second.Records) != 1 || second.Next != nil || second.Records[0].Href == first.Records[0].Href || second.To != "" {
		t.Errorf("the second page is %+v", second)
	}
}

func TestABadLookUpIsRefused(t *testing.T) {
	h := newHandler(t, foundStore())
	for path, parameter := range map[string]string{
		"/find": "q", "/find?q=": "q", "/find?q=trace:1": "q", "/find?q=a&skip=-1": "skip", "/find?q=a&skip=10001": "skip", "/find?q=a&limit=0": "limit", "/find?q=a&from=x": "from",
	} {
		if got := get[Problem](t, h, path, http.StatusBadRequest); got.Param != parameter {
			t.Errorf("%s blames %q, want %q", path, got.Param, parameter)
		}
	}
}

// logs is a watched cluster where partition 3 of orders has a log of [5, 20).
type logs struct{}

func (logs) Lag(context.Context) (exporters.LagReport, error) {
	return exporters.LagReport{Clusters: []exporters.LagCluster{{Groups: []exporters.LagGroup{{Topics: []exporters.LagTopic{{Topic: "orders", Partitions: []exporters.LagPartition{{Partition: 3, LogStart: 5, LogEnd: 20}}}}}}}}}, nil
}

func TestARecordThatIsNotStoredSaysWhy(t *testing.T) {
	h := newHandler(t, foundStore())
	f := func(q string, want ...string) {
		t.Helper()
		got := get[Found](t, h, "/find?q="+url.QueryEscape(q), http.StatusOK)
		s := got.Finding.String()
		if got.Finding.Rule != "record-missing" || got.Near == nil {
			t.Errorf("find %q: rule %s, near %v", q, got.Finding.Rule, got.Near)
		}
		for _, w := range want {
			if !strings.Contains(s, w) {
				t.Errorf("find %q says %q, want %q in it", q, s, w)
			}
		}
	}
	f("orders/3@8", "nearest at offsets 7 and 9", "not sampled")
	f("orders/3@3", "older than all that is stored", "offset 7")
	f("orders/3@30", "newer than all that is stored", "has offset 9")
	f("orders/4@8", "Nothing of partition 4 is stored")
	f("nowhere/4@8", "No span about topic nowhere")
	h.deps.Lag = logs{}
	f("orders/3@8", "lies in its log")
	f("orders/3@3", "begins at offset 5")
	f("orders/3@30", "has not been written: the log of the partition ends before offset 20")
	if got := get[Found](t, h, "/find?q=orders/3@30", http.StatusOK); strings.Contains(got.Finding.String(), "newer than all") || *got.Near.LogStart != 5 || *got.Near.LogEnd != 20 || *got.Near.Before.Offset != 9 {
		t.Errorf("found %+v", got)
	}
}

func TestARecordKnowsItsNeighboursAndWhatBecameOfIt(t *testing.T) {
	s := foundStore()
	h := newHandler(t, s)
	got := get[RecordDetail](t, h, "/records/orders/3/7", http.StatusOK)
	if got.Finding.Rule != "groups" || got.Near == nil || got.Near.Before != nil || *got.Near.After.Offset != 9 || len(got.Lives) != 1 || got.Lives[0].MessageID != "m-7" || got.Lives[0].Conversation != "c-1" || got.Lives[0].Producer != "shop" {
		t.Errorf("the record is %s, near %+v, lives %+v", got.Finding, got.Near, got.Lives)
	}
	// It failed and was sent on, at last to the dead letters.
	s.AllMessages[1].Failed = true
	for i, topic := range []string{"orders-retry", "orders-retry", "orders-dlq"} {
		m := s.AllMessages[0]
		m.Topic, m.Offset, m.SpanID, m.Start, m.RetryTopic, m.RetryPartition, m.RetryOffset, m.RetryAttempt = topic, int64(i), schemas.SpanID{9, byte(i)}, m.Start+int64(i)*1e9, "orders", 3, 7, uint16(i)+1 //nolint:gosec // small
		s.AllMessages = append(s.AllMessages, m)
		got = get[RecordDetail](t, h, "/records/orders/3/7", http.StatusOK)
		if want := []string{"sent-on", "sent-on", "dead-letter"}[i]; got.Finding.Rule != want {
			t.Errorf("after %d retries the finding is %s, want %s", i+1, got.Finding, want)
		}
	}
	for _, hop := range got.Hops {
		if hop.Retry != nil && hop.Retry.DeadLetter != (hop.Topic == "orders-dlq") {
			t.Errorf("%s is a dead letter: %v", hop.Topic, hop.Retry.DeadLetter)
		}
	}
}

func TestRecordsThatHadThePlaceAreToldApart(t *testing.T) {
	row := func(side schemas.Side, n byte, at int64) schemas.Message {
		return schemas.Message{
			Project: 1, Side: side, Topic: "orders", Partition: 0, Offset: 0, Service: "s", TraceID: schemas.TraceID{n}, SpanID: schemas.SpanID{n}, Start: at, End: at + 5,
			HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
		}
	}
	carries := func(m, of schemas.Message) schemas.Message {
		m.CreationTrace, m.CreationSpan = of.TraceID, of.SpanID
		return m
	}
	at := testNow.Add(-time.Hour).UnixNano()
	oldSent, newSent := row(schemas.SideProduce, 1, at), row(schemas.SideProduce, 2, at+1e12)
	oldRead := carries(row(schemas.SideProcess, 3, at+10), oldSent)
	newRead, newAudit := carries(row(schemas.SideProcess, 4, at+1e12+10), newSent), carries(row(schemas.SideProcess, 5, at+1e12+20), newSent)
	newAudit.Group = "audit"
	f := func(what string, want []int, rows ...schemas.Message) {
		t.Helper()
		s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}, AllMessages: rows}
		got := get[RecordDetail](t, newHandler(t, s), "/records/orders/0/0", http.StatusOK)
		var sizes []int
		for _, l := range got.Lives {
			sizes = append(sizes, len(l.Hops))
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%s: lives of %v hops, want %v: %+v", what, sizes, want, got.Lives)
		}
		if several := strings.Contains(got.Finding.String(), "topic was made anew"); several != (len(want) > 1) {
			t.Errorf("%s: the finding is %q", what, got.Finding)
		}
	}
	f("two records, the newest first", []int{2, 1}, oldSent, oldRead, newSent, newRead, newAudit)
	f("one record", []int{2}, newSent, newRead, newAudit)
	// Without a context the record's own time tells.
	stamped := func(n byte, stamp int64) schemas.Message {
		m := row(schemas.SideProcess, n, at+int64(n))
		m.RecordTime = stamp
		return m
	}
	f("two by their time", []int{1, 2}, stamped(1, 1e9), stamped(2, 1e9), stamped(3, 2e9))
	// What carries a context and has a time joins those that have one of both.
	joins := carries(stamped(4, 1e9), oldSent)
	f("one by both", []int{3}, oldSent, stamped(1, 1e9), stamped(2, 1e9), joins)
	f("nothing told", []int{2}, row(schemas.SideProcess, 1, at), row(schemas.SideProcess, 2, at+1))
}

func TestDeadLettersAreKnownByTheirName(t *testing.T) {
	for topic, want := range map[string]bool{
		"orders-dlq": true, "orders.DLT": true, "dlq": true, "dead-letters": true, "orders_dead_letter": true, "deadletters.orders": true, "dead.orders": true,
		"orders": false, "deadline": false, "undead": false, "dlqs": false, "orders-retry": false,
	} {
		if isDeadLetter(topic) != want {
			t.Errorf("%s is a dead letter: %v", topic, !want)
		}
	}
}
