package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// told writes a path as "part service from-to", one a piece.
func (c Critical) told() string {
	var out []string
	for _, s := range c.Segments {
		who := s.Service
		if who == "" {
			who = s.Topic
		}
		out = append(out, fmt.Sprintf("%s %s %s-%s", s.Part, who, s.From, s.To))
	}
	return strings.Join(out, ", ")
}

func ref(trace uint64, span byte) schemas.SpanRef {
	return schemas.SpanRef{TraceID: fakestore.TraceID(trace), SpanID: schemas.SpanID{span}}
}

func at(of schemas.SpanRef, parent byte, service string, start, end int64) schemas.Span {
	s := schemas.Span{Project: 1, TraceID: of.TraceID, SpanID: of.SpanID, Name: service, Service: service, Start: start, End: end}
	if parent != 0 {
		s.ParentID = schemas.SpanID{parent}
	}
	return s
}

// sent and read are the two ends of record 1 of a topic, every time known and
// on one clock: batch queue 2, ack 3, backlog until asked, long poll 1, fetch
// queue 2.
func sent(of schemas.SpanRef, topic string, start int64) schemas.Message {
	return schemas.Message{
		Project: 1, Side: schemas.SideProduce, Topic: topic, Offset: 1, TraceID: of.TraceID, SpanID: of.SpanID, Service: "p-" + topic, BootID: "b",
		Start: start, End: start + 5, Written: start + 2, Acked: start + 5,
	}
}

func read(of schemas.SpanRef, topic string, asked, end int64) schemas.Message {
	return schemas.Message{
		Project: 1, Side: schemas.SideProcess, Topic: topic, Group: "g", Offset: 1, TraceID: of.TraceID, SpanID: of.SpanID, Service: "c-" + topic, BootID: "b",
		Start: asked + 3, End: end, Asked: asked, Answered: asked + 1, Handed: asked + 3, HighWatermark: schemas.Unknown,
	}
}

func TestTheCriticalPathGoesThroughTheBroker(t *testing.T) {
	f := func(name string, spans []schemas.Span, rows []schemas.Message, want string) {
		t.Helper()
		store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}, AllSpans: spans, AllMessages: rows}
		j := get[Journey](t, newHandler(t, store), "/traces/"+spans[0].TraceID.String(), http.StatusOK)
		if got := j.Critical.told(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		sum := int64(0)
		shares := map[string]int64{}
		for _, s := range j.Critical.Segments {
			sum += s.Ns
		}
		for _, s := range j.Critical.Shares {
			shares[s.By] += s.Ns
		}
		if sum != j.Critical.TotalNs || shares["part"] != sum {
			t.Errorf("%s: pieces sum to %d, parts to %d, the total is %d", name, sum, shares["part"], j.Critical.TotalNs)
		}
	}
	f("a child that is waited for, and one beside it", []schemas.Span{at(ref(1, 1), 0, "web", 10, 50), at(ref(1, 2), 1, "db", 20, 30), at(ref(1, 3), 1, "cache", 22, 28)}, nil,
		"work web 10-20, work db 20-30, work web 30-50")
	f("a child that outlives its parent", []schemas.Span{at(ref(1, 1), 0, "web", 10, 50), at(ref(1, 2), 1, "log", 25, 60)}, nil,
		"work web 10-25, work log 25-60")
	f("a child that begins when its parent is over", []schemas.Span{at(ref(1, 1), 0, "web", 10, 50), at(ref(1, 2), 1, "log", 55, 60)}, nil,
		"work web 10-50, gap web 50-55, work log 55-60")
	send, process := at(ref(1, 2), 1, "web", 20, 25), at(ref(1, 3), 2, "orders", 113, 140)
	f("one hop", []schemas.Span{at(ref(1, 1), 0, "web", 10, 30), send, process, at(ref(1, 4), 3, "db", 120, 130)},
		[]schemas.Message{sent(ref(1, 2), "orders", 20), read(ref(1, 3), "orders", 110, 140)},
		"work web 10-20, batch_queue p-orders 20-22, ack p-orders 22-25, backlog orders 25-110, long_poll orders 110-111, fetch_queue c-orders 111-113, "+
			"processing orders 113-120, processing db 120-130, processing orders 130-140")
	f("into another trace by a link, and on", []schemas.Span{at(ref(1, 1), 0, "web", 10, 30), at(ref(1, 2), 1, "web", 20, 25), at(ref(2, 1), 0, "orders", 113, 140), at(ref(2, 2), 1, "orders", 120, 125), at(ref(3, 1), 0, "pay", 203, 210)},
		[]schemas.Message{sent(ref(1, 2), "orders", 20), read(ref(2, 1), "orders", 110, 140), sent(ref(2, 2), "pay", 120), read(ref(3, 1), "pay", 200, 210)},
		"work web 10-20, batch_queue p-orders 20-22, ack p-orders 22-25, backlog orders 25-110, long_poll orders 110-111, fetch_queue c-orders 111-113, processing orders 113-120, "+
			"batch_queue p-pay 120-122, ack p-pay 122-125, backlog pay 125-200, long_poll pay 200-201, fetch_queue c-pay 201-203, processing pay 203-210")
	another := read(ref(1, 3), "orders", 110, 140)
	another.Offset = 2
	f("a batch alone, whose records are no hops", []schemas.Span{process, at(ref(1, 4), 3, "db", 120, 130)}, []schemas.Message{read(ref(1, 3), "orders", 110, 140), another},
		"processing orders 113-120, processing db 120-130, processing orders 130-140")
	lost := read(ref(1, 3), "orders", 110, 140)
	lost.BootID = "other"
	f("between two clocks", []schemas.Span{at(ref(1, 1), 0, "web", 10, 30), send, process}, []schemas.Message{sent(ref(1, 2), "orders", 20), lost},
		"work web 10-20, batch_queue p-orders 20-22, ack p-orders 22-25, gap orders 25-111, fetch_queue c-orders 111-113, processing orders 113-140")
	f("the producer is not instrumented", []schemas.Span{process}, []schemas.Message{read(ref(1, 3), "orders", 110, 140)},
		"fetch_queue c-orders 111-113, processing orders 113-140")
	f("nobody was seen to read", []schemas.Span{at(ref(1, 1), 0, "web", 10, 90), send}, []schemas.Message{sent(ref(1, 2), "orders", 20)},
		"work web 10-20, batch_queue p-orders 20-22, ack p-orders 22-25")
	again := sent(ref(4, 1), "retry", 150)
	again.RetryTopic, again.RetryOffset, again.RetryAttempt = "orders", 1, 1
	late := read(ref(5, 1), "retry", 200, 210)
	late.RetryTopic, late.RetryOffset, late.RetryAttempt = "orders", 1, 1
	f("sent on later, where no trace leads to", []schemas.Span{at(ref(1, 2), 0, "web", 20, 25), at(ref(2, 1), 0, "orders", 113, 140), at(ref(4, 1), 0, "retrier", 150, 155), at(ref(5, 1), 0, "again", 203, 210)},
		[]schemas.Message{sent(ref(1, 2), "orders", 20), read(ref(2, 1), "orders", 110, 140), again, late},
		"batch_queue p-orders 20-22, ack p-orders 22-25, backlog orders 25-110, long_poll orders 110-111, fetch_queue c-orders 111-113, processing orders 113-140, gap orders 140-150, "+
			"batch_queue p-retry 150-152, ack p-retry 152-155, backlog retry 155-200, long_poll retry 200-201, fetch_queue c-retry 201-203, processing again 203-210")
	early := read(ref(1, 3), "orders", 10, 140) // answered before it was appended
	early.Handed, early.Start = 113, 113
	f("clocks that disagree", []schemas.Span{send, process}, []schemas.Message{sent(ref(1, 2), "orders", 20), early},
		"batch_queue p-orders 20-22, long_poll orders 22-11, fetch_queue c-orders 11-113, processing orders 113-140")
	circle := []schemas.Span{at(ref(1, 1), 2, "a", 10, 50), at(ref(1, 2), 1, "b", 10, 50)}
	f("a circle of parents", circle, nil, "work a 10-50")
}

func TestAPathOfManyPiecesIsCutAndItsSharesAreWhole(t *testing.T) {
	spans := []schemas.Span{at(ref(1, 1), 0, "root", 0, 20_000)}
	for i := range 5_000 {
		s := at(schemas.SpanRef{TraceID: fakestore.TraceID(1), SpanID: schemas.SpanID{7, byte(i >> 8), byte(i)}}, 1, "child", int64(i*4+1), int64(i*4+3))
		spans = append(spans, s)
	}
	c := criticalPath(spans, nil, nil, nil)
	if !c.Cut || len(c.Segments) != maxCritical || c.TotalNs != 20_000 {
		t.Errorf("%d pieces, cut %v, total %d; want %d of more, 20000", len(c.Segments), c.Cut, c.TotalNs, maxCritical)
	}
	for _, s := range c.Shares {
		if s.By == "service" && s.Name == "child" && s.Ns != 10_000 {
			t.Errorf("the children have %d ns; want 10000", s.Ns)
		}
	}
}
