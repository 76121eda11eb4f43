package api

import (
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestJourneyHasTheHopsWithTheirParts(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	j := get[Journey](t, h, "/traces/"+fakestore.Backlogged.String(), http.StatusOK)
	if len(j.Hops) != 2 || j.Hops[1].Topic != "payments" || j.Finding.Rule != "failed" {
		t.Fatalf("journey has %d hops, finding %q; want orders and payments, failed", len(j.Hops), j.Finding.Rule)
	}
	hop := j.Hops[1]
	if hop.Behind == nil || *hop.Behind != 3120 {
		t.Errorf("behind = %v, want 3120", hop.Behind)
	}
	var sum int64
	at := *hop.Start
	for _, p := range hop.Parts {
		if !p.Known || *p.From != at {
			t.Errorf("part %s known %v begins at %v, want %s: parts are without gap", p.Name, p.Known, p.From, at)
		}
		sum += p.Ns
		at = *p.To
	}
	if sum != hop.EndToEnd.Ns || at != *hop.End {
		t.Errorf("parts sum to %d and end at %s; end to end is %d until %s", sum, at, hop.EndToEnd.Ns, *hop.End)
	}
	if len(j.Events) != 6 || j.Events[0].Issue != "7" {
		t.Errorf("events on the way: %+v; want 6 of issue 7", j.Events)
	}
	if !slices.IsSortedFunc(j.Events, func(a, b EventRef) int { return compareNanos(a.Time, b.Time) }) {
		t.Error("events are not in time order")
	}
}

func TestJourneyIsTheSameFromEitherEnd(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	from := get[Journey](t, h, "/traces/"+fakestore.LinkedFrom.String(), http.StatusOK)
	to := get[Journey](t, h, "/traces/"+fakestore.LinkedTo.String(), http.StatusOK)
	for _, j := range []Journey{from, to} {
		slices.Sort(j.Traces)
		if len(j.Traces) != 2 || len(j.Hops) != 1 || j.Hops[0].Producer == nil || j.Hops[0].Consumer == nil || len(j.Spans) != 3 {
			t.Errorf("journey of %s: traces %v, %d hops, %d spans; want both traces, one whole hop, three spans", j.TraceID, j.Traces, len(j.Hops), len(j.Spans))
		}
	}
}

func TestJourneyFollowsTheContextWhereNoOffsetIsKnown(t *testing.T) {
	store := fakestore.Orders(testNow)
	for i := range store.AllMessages {
		if m := &store.AllMessages[i]; m.Topic == "imports" && m.Side == schemas.SideProduce {
			m.Partition, m.Offset = schemas.Unknown, schemas.Unknown
		}
	}
	h := newHandler(t, store)
	for _, id := range []schemas.TraceID{fakestore.LinkedFrom, fakestore.LinkedTo} {
		j := get[Journey](t, h, "/traces/"+id.String(), http.StatusOK)
		if len(j.Traces) != 2 || len(j.Hops) != 1 || j.Hops[0].Producer == nil || j.Hops[0].Offset == nil {
			t.Errorf("journey of %s: %d traces, hops %+v; want one whole hop with the consumer's offset", id, len(j.Traces), j.Hops)
		}
	}
}

func TestAReaderThatTellsNoRecordIsFoundBesideOneThatDoes(t *testing.T) {
	id := fakestore.TraceID
	send := schemas.Message{Project: 1, Topic: "t", Side: schemas.SideProduce, TraceID: id(1), SpanID: schemas.SpanID{1}, Offset: 7, Start: 1, End: 5}
	read := func(trace uint64, group string, partition int32, offset int64) schemas.Message {
		return schemas.Message{
			Project: 1, Topic: "t", Side: schemas.SideProcess, Group: group, TraceID: id(trace), SpanID: schemas.SpanID{byte(trace)}, Partition: partition, Offset: offset,
			CreationTrace: send.TraceID, CreationSpan: send.SpanID, Start: 10, End: 15,
		}
	}
	store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}, AllMessages: []schemas.Message{send, read(2, "told", 0, 7), read(3, "untold", schemas.Unknown, schemas.Unknown)}}
	for _, m := range store.AllMessages {
		store.AllSpans = append(store.AllSpans, schemas.Span{Project: 1, TraceID: m.TraceID, SpanID: m.SpanID, Name: "t", Service: "s", Start: m.Start, End: m.End})
	}
	j := get[Journey](t, newHandler(t, store), "/traces/"+id(1).String(), http.StatusOK)
	if len(j.Traces) != 3 || len(j.Hops) != 2 || len(j.Spans) != 3 {
		t.Errorf("the journey has %d traces, %d hops, %d spans; want those of both readers", len(j.Traces), len(j.Hops), len(j.Spans))
	}
}

func TestUnreadRecordIsAHopWithoutConsumer(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	j := get[Journey](t, h, "/traces/"+fakestore.Unread.String(), http.StatusOK)
	last := j.Hops[len(j.Hops)-1]
	if last.Topic != "payments" || last.Consumer != nil || last.Group != "" || last.Parts[0].Known == false {
		t.Errorf("last hop %+v; want payments, unread, its batch queue known", last)
	}
}

// chain makes n traces, each sending to the next; the last sends to the first
// when it is a ring.
func chain(n int, ring bool) *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	for i := range n {
		id, span := fakestore.TraceID(uint64(i+1)), schemas.SpanID{byte(i >> 8), byte(i), 1}
		s.AllSpans = append(s.AllSpans, schemas.Span{Project: 1, TraceID: id, SpanID: span, Name: "step", Service: "s", Start: int64(i*10 + 1), End: int64(i*10 + 5)})
		row := schemas.Message{Project: 1, Topic: "t", TraceID: id, SpanID: span, Start: int64(i*10 + 1), End: int64(i*10 + 5)}
		if i+1 < n || ring {
			p := row
			p.Side, p.Offset = schemas.SideProduce, int64(i)
			s.AllMessages = append(s.AllMessages, p)
		}
		if i > 0 || ring {
			c := row
			c.Side, c.Group, c.Offset = schemas.SideProcess, "g", int64((i+n-1)%n)
			s.AllMessages = append(s.AllMessages, c)
		}
	}
	return s
}

func TestJourneyEndsInARing(t *testing.T) {
	j := get[Journey](t, newHandler(t, chain(5, true)), "/traces/"+fakestore.TraceID(3).String(), http.StatusOK)
	if len(j.Traces) != 5 || len(j.Hops) != 5 || len(j.Cut) != 0 {
		t.Errorf("ring of 5: %d traces, %d hops, cut %v", len(j.Traces), len(j.Hops), j.Cut)
	}
}

func TestJourneyIsCutAtItsLimitsAndSaysSo(t *testing.T) {
	cutOf := func(j Journey) map[string]int {
		out := map[string]int{}
		for _, c := range j.Cut {
			out[c.What] = c.Limit
		}
		return out
	}
	j := get[Journey](t, newHandler(t, chain(80, false)), "/traces/"+fakestore.TraceID(1).String(), http.StatusOK)
	if len(j.Traces) != maxTraces || cutOf(j)["traces"] != maxTraces {
		t.Errorf("80 traces in a row: %d shown, cut %v; want 50 and said", len(j.Traces), j.Cut)
	}

	s := chain(1, false)
	for i := range maxSpans + 5 {
		p := s.AllSpans[0]
		p.SpanID = schemas.SpanID{9, byte(i >> 16), byte(i >> 8), byte(i)}
		s.AllSpans = append(s.AllSpans, p)
	}
	j = get[Journey](t, newHandler(t, s), "/traces/"+fakestore.TraceID(1).String(), http.StatusOK)
	if len(j.Spans) != maxSpans || cutOf(j)["spans"] != maxSpans {
		t.Errorf("%d spans shown, cut %v; want %d and said", len(j.Spans), j.Cut, maxSpans)
	}

	s = chain(1, false)
	for i := range maxHops + 5 {
		s.AllMessages = append(s.AllMessages, schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: "t", Offset: int64(i), TraceID: fakestore.TraceID(1),
			SpanID: s.AllSpans[0].SpanID, Start: int64(i + 1), End: int64(i + 2),
		})
	}
	j = get[Journey](t, newHandler(t, s), "/traces/"+fakestore.TraceID(1).String(), http.StatusOK)
	if len(j.Hops) != maxHops || cutOf(j)["hops"] != maxHops {
		t.Errorf("%d hops shown, cut %v; want %d and said", len(j.Hops), j.Cut, maxHops)
	}
}

func TestABatchDoesNotPullInTheStrangersThatItRead(t *testing.T) {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	batch := fakestore.TraceID(1000)
	s.AllSpans = append(s.AllSpans, schemas.Span{Project: 1, TraceID: batch, SpanID: schemas.SpanID{1}, Name: "process batch", Start: 100, End: 200})
	for i := range 20 {
		id, span := fakestore.TraceID(uint64(i+1)), schemas.SpanID{2, byte(i)}
		s.AllSpans = append(s.AllSpans, schemas.Span{Project: 1, TraceID: id, SpanID: span, Name: "send", Start: int64(i + 1), End: int64(i + 5)})
		s.AllMessages = append(s.AllMessages,
			schemas.Message{Project: 1, Side: schemas.SideProduce, Topic: "t", Offset: int64(i), TraceID: id, SpanID: span, Start: int64(i + 1), End: int64(i + 5)},
			schemas.Message{Project: 1, Side: schemas.SideProcess, Topic: "t", Group: "g", Offset: int64(i), TraceID: batch, SpanID: schemas.SpanID{1}, CreationTrace: id, CreationSpan: span, Start: 100, End: 200})
	}
	h := newHandler(t, s)
	if j := get[Journey](t, h, "/traces/"+fakestore.TraceID(3).String(), http.StatusOK); len(j.Traces) != 2 || len(j.Hops) != 1 || j.Hops[0].Producer == nil || len(j.Batches) != 1 || j.Batches[0].Shown != 1 {
		t.Errorf("from one message: traces %d, %d hops, batches %+v; want its own hop and the batch", len(j.Traces), len(j.Hops), j.Batches)
	}
	j := get[Journey](t, h, "/traces/"+batch.String(), http.StatusOK)
	if len(j.Traces) != 1 || len(j.Hops) != 0 || len(j.Batches) != 1 || j.Batches[0].Records != 20 || j.Batches[0].Group != "g" || j.Finding.Rule != "read-a-batch" {
		t.Errorf("from the batch: %d traces, %d hops, batches %+v, finding %s; want the batch as one", len(j.Traces), len(j.Hops), j.Batches, j.Finding.Rule)
	}
}

func TestManyRecordsOfOneTraceInOneBatchAreFewRows(t *testing.T) {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	span := schemas.SpanID{1}
	s.AllSpans = append(s.AllSpans, schemas.Span{Project: 1, TraceID: fakestore.TraceID(1), SpanID: span, Name: "import", Start: 1, End: 90},
		schemas.Span{Project: 1, TraceID: fakestore.TraceID(2), SpanID: span, Name: "process batch", Start: 100, End: 200})
	for i := range 30 {
		s.AllMessages = append(s.AllMessages,
			schemas.Message{Project: 1, Side: schemas.SideProduce, Topic: "t", Offset: int64(i), TraceID: fakestore.TraceID(1), SpanID: span, Start: 1, End: 5},
			schemas.Message{Project: 1, Side: schemas.SideProcess, Topic: "t", Group: "g", Offset: int64(i), TraceID: fakestore.TraceID(2), SpanID: span, Start: 100, End: 200})
	}
	j := get[Journey](t, newHandler(t, s), "/traces/"+fakestore.TraceID(1).String(), http.StatusOK)
	if len(j.Hops) != batchShown || j.Batches[0].Shown != batchShown || j.Batches[0].Records != 30 {
		t.Errorf("%d hops, batches %+v; want %d hops of 30", len(j.Hops), j.Batches, batchShown)
	}
}

func TestASecondPageHasTheOtherSpans(t *testing.T) {
	s := chain(1, false)
	for i := range maxSpans + 5 {
		p := s.AllSpans[0]
		p.SpanID, p.Start = schemas.SpanID{9, byte(i >> 16), byte(i >> 8), byte(i)}, int64(i+10)
		p.End = p.Start + 1
		s.AllSpans = append(s.AllSpans, p)
	}
	h := newHandler(t, s)
	path := "/traces/" + fakestore.TraceID(1).String()
	j := get[Journey](t, h, path, http.StatusOK)
	if len(j.Cut) != 1 || j.Cut[0].Of == nil || *j.Cut[0].Of != maxSpans+6 {
		t.Fatalf("cut %+v; want spans, at 10000 of %d", j.Cut, maxSpans+6)
	}
	next := get[Journey](t, h, path+"?skip="+strconv.Itoa(maxSpans), http.StatusOK)
	if len(next.Spans) != 6 || next.Skipped != maxSpans || next.Spans[0].SpanID == j.Spans[0].SpanID {
		t.Errorf("the second page has %d spans behind %d", len(next.Spans), next.Skipped)
	}
	if got, want := next.Finding.String(), "spans 10001 to 10006 of 10006 | The first page tells where the time went."; got != want {
		t.Errorf("the second page begins with %q, want %q", got, want)
	}
	if got, want := get[Journey](t, h, path+"?skip=20000", http.StatusOK).Finding.String(), "there are only 10006 spans | The first page tells where the time went."; got != want {
		t.Errorf("a page behind the last begins with %q, want %q", got, want)
	}
	get[Problem](t, h, path+"?skip=x", http.StatusBadRequest)
}

func TestRedeliveriesAreCounted(t *testing.T) {
	rows := []schemas.Message{{Side: schemas.SideProduce, Topic: "t", Start: 1, End: 2}}
	for i := range 3 {
		rows = append(rows, schemas.Message{Side: schemas.SideProcess, Topic: "t", Group: "g", SpanID: schemas.SpanID{byte(i + 1)}, Start: int64(10 * (i + 1)), End: int64(10*(i+1) + 1)})
	}
	var got []string
	for _, j := range joinHops(rows) {
		got = append(got, strconv.Itoa(j.delivery))
	}
	if !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("deliveries %v, want 1 2 3", got)
	}
}

func TestARepeatedOffsetJoinsByTheContextThatTheRecordCarried(t *testing.T) {
	old := schemas.Message{Side: schemas.SideProduce, Topic: "t", TraceID: fakestore.TraceID(1), SpanID: schemas.SpanID{1}, Start: 1, End: 2}
	recent := old
	recent.TraceID, recent.SpanID, recent.Start, recent.End = fakestore.TraceID(2), schemas.SpanID{2}, 1000, 1001
	c := schemas.Message{Side: schemas.SideProcess, Topic: "t", Group: "g", Start: 1100, End: 1200}
	if j := joinHops([]schemas.Message{recent, c, old}); j[len(j)-1].Produce.Start != 1000 {
		t.Error("without a context the last record sent before it was read is the one")
	}
	c.CreationTrace, c.CreationSpan = old.TraceID, old.SpanID
	for _, j := range joinHops([]schemas.Message{recent, c, old}) {
		if j.Consume != nil && j.Produce.Start != 1 {
			t.Error("the context that the record carried does not decide")
		}
	}
}

func TestTheRootNamesAJourneyThoughAReaderWaitedBeforeIt(t *testing.T) {
	store := fakestore.Orders(testNow)
	want := get[Journey](t, newHandler(t, store), "/traces/"+fakestore.LinkedFrom.String(), http.StatusOK).Finding
	for _, s := range store.AllSpans {
		if s.TraceID == fakestore.LinkedFrom && s.ParentID.IsZero() {
			waiting := s
			waiting.Name, waiting.SpanID, waiting.ParentID, waiting.Start = "poll", schemas.SpanID{7: 99}, s.SpanID, s.Start-1
			store.AllSpans = append([]schemas.Span{waiting}, store.AllSpans...)
			break
		}
	}
	got := get[Journey](t, newHandler(t, store), "/traces/"+fakestore.LinkedFrom.String(), http.StatusOK).Finding
	if len(want.Title) == 0 || got.Title[0].Text != want.Title[0].Text {
		t.Errorf("the finding begins with %+v, want the root's name as in %+v", got.Title, want.Title)
	}
}
