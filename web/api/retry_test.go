package api

import (
	"net/http"
	"slices"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// retried is a record that fails twice: payments → payments.retry → payments.dlq.
// What is sent on goes out of a loop of its own, so that no trace leads there.
func retried() (*fakestore.Store, []schemas.TraceID) {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	base := testNow.UnixNano() - 60e9
	var traces []schemas.TraceID
	for i, topic := range []string{"payments", "payments.retry", "payments.dlq"} {
		at := base + int64(i)*10e9
		sent, read := fakestore.TraceID(uint64(2*i+1)), fakestore.TraceID(uint64(2*i+2))
		traces = append(traces, sent, read)
		p := schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: topic, Partition: 1, Offset: int64(100 + i), BootID: "host", TraceID: sent, SpanID: schemas.SpanID{1, byte(i)},
			Start: at, End: at + 5e6, Written: at + 1e6, Acked: at + 5e6, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
		}
		c := schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: topic, Partition: 1, Offset: int64(100 + i), Group: "g", BootID: "host", TraceID: read, SpanID: schemas.SpanID{2, byte(i)},
			CreationTrace: sent, CreationSpan: schemas.SpanID{1, byte(i)}, Start: at + 7e6, End: at + 20e6, Asked: at, Answered: at + 6e6, Handed: at + 7e6,
			HighWatermark: schemas.Unknown, BodySize: schemas.Unknown, Failed: i < 2,
		}
		if i > 0 {
			c.RetryTopic, c.RetryPartition, c.RetryOffset, c.RetryFirstSeen, c.RetryAttempt = "payments", 1, 100, base+20e6, uint16(i) //nolint:gosec // small
		}
		s.AllMessages = append(s.AllMessages, p, c)
	}
	// One commit settles the first record and one after it.
	s.AllMessages = append(s.AllMessages, schemas.Message{
		Project: 1, Side: schemas.SideSettle, Topic: "payments", Partition: 1, Offset: 101, Group: "g", TraceID: fakestore.TraceID(50), SpanID: schemas.SpanID{3},
		Start: base + 30e6, End: base + 33e6,
	})
	return s, traces
}

func TestAJourneyFollowsARecordThroughRetryAndDeadLetterTopics(t *testing.T) {
	s, traces := retried()
	h := newHandler(t, s)
	for _, id := range traces { // the same from every end
		j := get[Journey](t, h, "/traces/"+id.String(), http.StatusOK)
		if len(j.Hops) != 3 || len(j.Traces) != len(traces) {
			t.Fatalf("the journey of %s has %d hops and %d traces; want 3 and %d", id, len(j.Hops), len(j.Traces), len(traces))
		}
		topics := []string{j.Hops[0].Topic, j.Hops[1].Topic, j.Hops[2].Topic}
		if !slices.Equal(topics, []string{"payments", "payments.retry", "payments.dlq"}) {
			t.Errorf("hops of topics %v", topics)
		}
		if j.Hops[0].Retry != nil {
			t.Errorf("the first hop is a retry: %+v", j.Hops[0].Retry)
		}
		for i, hop := range j.Hops[1:] {
			r := hop.Retry
			if r == nil || r.Topic != "payments" || *r.Partition != 1 || *r.Offset != 100 || r.Attempt != i+1 {
				t.Fatalf("retry %d is told as %+v", i+1, r)
			}
			// From the first failure, 20 ms after the first send, until handed over.
			if want := int64(i+1)*10e9 + 7e6 - 20e6; !r.InRetry.Known || r.InRetry.Ns != want {
				t.Errorf("retry %d was %+v in retry; want %d ns", i+1, r.InRetry, want)
			}
		}
	}
}

func TestAJourneyFollowsARecordToWhereNobodyReadsIt(t *testing.T) {
	s, traces := retried()
	last := &s.AllMessages[4] // sent to payments.dlq
	last.RetryTopic, last.RetryPartition, last.RetryOffset, last.RetryAttempt = "payments", 1, 100, 2
	s.AllMessages = slices.Delete(s.AllMessages, 5, 6)
	j := get[Journey](t, newHandler(t, s), "/traces/"+traces[1].String(), http.StatusOK)
	if len(j.Hops) != 3 || j.Hops[2].Topic != "payments.dlq" || j.Hops[2].Consumer != nil || j.Hops[2].Retry == nil || j.Hops[2].Retry.Attempt != 2 {
		t.Errorf("hops %+v", j.Hops)
	}
}

func TestARecordKnowsWhoSentWhatWasMadeOfIt(t *testing.T) {
	s, _ := retried()
	other := s.AllMessages[4] // another record at the place of the dead letter, of a topic that was made anew
	other.TraceID, other.SpanID, other.Service = fakestore.TraceID(60), schemas.SpanID{9}, "another"
	s.AllMessages = append(s.AllMessages, other)
	d := get[RecordDetail](t, newHandler(t, s), "/records/payments/1/100", http.StatusOK)
	if len(d.Hops) != 3 {
		t.Fatalf("the record has %d hops; want 3: %+v", len(d.Hops), d.Hops)
	}
	for _, hop := range d.Hops {
		if hop.Producer == nil || hop.Producer.TraceID == other.TraceID.String() || !hop.EndToEnd.Known {
			t.Errorf("hop of %s was sent by %+v and took %+v", hop.Topic, hop.Producer, hop.EndToEnd)
		}
	}
}

func TestTimeInRetryIsUnknownAcrossHosts(t *testing.T) {
	s, traces := retried()
	for i := range s.AllMessages {
		if m := &s.AllMessages[i]; m.Topic == "payments.dlq" {
			m.BootID = "another"
		}
	}
	j := get[Journey](t, newHandler(t, s), "/traces/"+traces[0].String(), http.StatusOK)
	if len(j.Hops) != 3 || !j.Hops[1].Retry.InRetry.Known || j.Hops[2].Retry.InRetry.Known {
		t.Errorf("hops %+v", j.Hops)
	}
}

func TestAHopTellsHowLongItsCommitTook(t *testing.T) {
	s, _ := retried()
	list := get[HopList](t, newHandler(t, s), "/hops", http.StatusOK)
	for _, hop := range list.Hops {
		var sum int64
		for _, p := range hop.Parts {
			sum += p.Ns
		}
		if sum != hop.EndToEnd.Ns {
			t.Errorf("the commit is a tile of %s: parts sum to %d, end to end is %d", hop.ID, sum, hop.EndToEnd.Ns)
		}
		if hop.Topic != "payments" {
			if hop.Settle != nil {
				t.Errorf("hop %s has the commit of another topic", hop.ID)
			}
			continue
		}
		if hop.Settle == nil || !hop.Settle.Known || hop.Settle.Ns != 3e6 {
			t.Errorf("hop %s was committed in %+v; want 3 ms", hop.ID, hop.Settle)
		}
	}
	if len(list.Hops) != 3 {
		t.Errorf("%d hops; want 3: a commit is none", len(list.Hops))
	}
}

func TestACreateSpanAndItsSendSpanAreOneRecord(t *testing.T) {
	create := schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: "t", Partition: schemas.Unknown, Offset: schemas.Unknown, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{1}, Start: 1, End: 2,
	}
	send := schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: "t", Partition: 0, Offset: 7, TraceID: schemas.TraceID{2}, SpanID: schemas.SpanID{2}, Start: 3, End: 4,
		CreationTrace: create.TraceID, CreationSpan: create.SpanID,
	}
	consume := schemas.Message{
		Project: 1, Side: schemas.SideProcess, Topic: "t", Partition: 0, Offset: 7, Group: "g", TraceID: schemas.TraceID{3}, SpanID: schemas.SpanID{3}, Start: 5, End: 6,
		CreationTrace: create.TraceID, CreationSpan: create.SpanID,
	}
	f := func(what string, change func(c *schemas.Message)) {
		t.Helper()
		c := consume
		change(&c)
		hops := joinHops([]schemas.Message{create, send, c})
		if len(hops) != 1 || hops[0].Produce == nil || hops[0].Produce.SpanID != send.SpanID || hops[0].Consume == nil {
			t.Errorf("%s: %d hops: %+v", what, len(hops), hops)
		}
	}
	f("by record", func(*schemas.Message) {})
	f("by context", func(c *schemas.Message) { c.Partition, c.Offset = schemas.Unknown, schemas.Unknown })
	if hops := joinHops([]schemas.Message{create}); len(hops) != 1 {
		t.Errorf("a create span alone gives %d hops; want 1", len(hops))
	}
}
