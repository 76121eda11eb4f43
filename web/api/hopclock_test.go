package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// twoHosts simulates a producer and a consumer whose clocks are 10 s apart, and
// brokers with clocks of their own. Times of the simulation are the truth.
type twoHosts struct {
	rnd                *rand.Rand
	producer, consumer int64 // clock − truth
	brokers            map[string]int64
	store              *fakestore.Store
	residence          map[string]int64 // true values, by offset and topic
	endToEnd           map[string]int64
}

func newTwoHosts() *twoHosts {
	return &twoHosts{
		rnd: rand.New(rand.NewPCG(1, 2)), producer: int64(5 * time.Second), consumer: int64(-5 * time.Second),
		brokers:   map[string]int64{"b1:9092": 0, "b2:9092": int64(300 * time.Millisecond)},
		store:     &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}},
		residence: map[string]int64{}, endToEnd: map[string]int64{},
	}
}

// ms is a delay with a tail.
func (w *twoHosts) ms(mean float64) int64 { return int64((0.2 + w.rnd.ExpFloat64()*mean) * 1e6) }

func (w *twoHosts) sample(host, broker string, at, low, high int64) {
	for name, v := range map[string]int64{clock.MetricOffsetLow: low, clock.MetricOffsetHigh: high} {
		w.store.AllPoints = append(w.store.AllPoints, schemas.MetricPoint{
			Project: 1, Name: name, Unit: "ns", Kind: schemas.MetricGauge, Partition: schemas.Unknown, BootID: host, Broker: broker, Time: at, Value: float64(v),
		})
	}
}

func cutToMs(t int64) int64 { return t / 1e6 * 1e6 }

// roundTrip makes a produce round trip at the truth's time t, and its sample.
func (w *twoHosts) roundTrip(host, broker string, clockOf, t int64) (written, appended, acked int64) {
	written = t
	appended = written + w.ms(0.5)
	acked = appended + w.ms(0.5)
	stamp := cutToMs(appended + w.brokers[broker])
	w.sample(host, broker, acked+clockOf, stamp-acked-clockOf, stamp+1e6-written-clockOf)
	return written, appended, acked
}

func (w *twoHosts) run(topic, broker string, logAppend bool) {
	for i := range int64(400) {
		sent := testNow.Add(-time.Hour).UnixNano() + i*250e6
		// The consumer host produces something each second, too.
		if i%4 == 0 {
			w.roundTrip("hostC", broker, w.consumer, sent-50e6)
		}
		written, appended, acked := w.roundTrip("hostP", broker, w.producer, sent+w.ms(5))
		asked := appended + w.ms(20) - 20e6
		answered := max(asked, appended) + w.ms(0.3)
		handed := answered + w.ms(0.1)
		done := handed + w.ms(2)
		p := schemas.Message{
			Project: 1, Side: schemas.SideProduce, Topic: topic, Partition: 0, Offset: i, BootID: "hostP", TraceID: schemas.TraceID{1, byte(i)}, SpanID: schemas.SpanID{1, byte(i)},
			Start: sent + w.producer, End: acked + w.producer, Written: written + w.producer, Acked: acked + w.producer, HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
		}
		if logAppend {
			p.Appended = cutToMs(appended + w.brokers[broker])
		}
		c := schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: topic, Partition: 0, Offset: i, Group: "g", BootID: "hostC", TraceID: schemas.TraceID{2, byte(i)}, SpanID: schemas.SpanID{2, byte(i)},
			Start: handed + w.consumer, End: done + w.consumer, Asked: asked + w.consumer, Answered: answered + w.consumer, Handed: handed + w.consumer,
			HighWatermark: schemas.Unknown, BodySize: schemas.Unknown,
		}
		w.store.AllMessages = append(w.store.AllMessages, p, c)
		key := fmt.Sprint(topic, i)
		w.residence[key], w.endToEnd[key] = answered-appended, done-sent
	}
}

func checkHops(t *testing.T, w *twoHosts, topic string, widest time.Duration) {
	t.Helper()
	list := get[HopList](t, newHandler(t, w.store), "/hops?limit=500&topic="+topic, http.StatusOK)
	if len(list.Hops) != 400 {
		t.Fatalf("%d hops; want 400", len(list.Hops))
	}
	inside, insideEnd, narrow := 0, 0, 0
	for _, h := range list.Hops {
		if h.Clock == nil || h.Residence == nil || h.Residence.Uncertainty == nil || h.EndToEnd.Uncertainty == nil || h.SharedClock {
			t.Fatalf("hop %s has no interval: %+v", h.ID, h)
		}
		var sum int64
		var last Nanos
		for _, p := range h.Parts {
			if !p.Known {
				t.Fatalf("part %s of %s is unknown", p.Name, h.ID)
			}
			if last != "" && p.From != nil && *p.From != last {
				t.Errorf("part %s of %s begins at %s, the one before ends at %s", p.Name, h.ID, *p.From, last)
			}
			last = *p.To
			sum += p.Ns
		}
		if sum != h.EndToEnd.Ns {
			t.Errorf("hop %s: the parts sum to %d, end to end is %d", h.ID, sum, h.EndToEnd.Ns)
		}
		key := fmt.Sprint(topic, *h.Offset)
		if u := h.Residence.Uncertainty; u.Lo <= w.residence[key] && w.residence[key] <= u.Hi {
			inside++
			if u.Hi-u.Lo <= int64(widest) {
				narrow++
			}
		}
		if u := h.EndToEnd.Uncertainty; u.Lo <= w.endToEnd[key] && w.endToEnd[key] <= u.Hi {
			insideEnd++
		}
	}
	if inside < 396 || insideEnd < 396 {
		t.Errorf("%d residences and %d end-to-end times of 400 lie in their intervals; want at least 396", inside, insideEnd)
	}
	if narrow < 300 {
		t.Errorf("%d intervals of 400 are no wider than %v; want at least 300", narrow, widest)
	}
}

func TestHopsAcrossHostsHaveIntervalsThatHoldTheTruth(t *testing.T) {
	w := newTwoHosts()
	w.run("stamped", "b1:9092", true)
	checkHops(t, w, "stamped", 5*time.Millisecond)
	w = newTwoHosts()
	w.run("created", "b2:9092", false)
	checkHops(t, w, "created", 8*time.Millisecond)
	// Two brokers: the stamp tells which one it was.
	w = newTwoHosts()
	w.run("noise", "b1:9092", true)
	w.run("stamped", "b2:9092", true)
	checkHops(t, w, "stamped", 5*time.Millisecond)
}

func TestHopsAcrossHostsWithoutSamplesStayUnknown(t *testing.T) {
	f := func(what string, change func(w *twoHosts)) {
		t.Helper()
		w := newTwoHosts()
		w.run("stamped", "b1:9092", true)
		rows := append([]schemas.Message(nil), w.store.AllMessages...)
		change(w)
		for _, h := range get[HopList](t, newHandler(t, w.store), "/hops?limit=500", http.StatusOK).Hops {
			if h.Clock != nil || h.Residence != nil || h.EndToEnd.Known || h.EndToEnd.Uncertainty != nil {
				t.Fatalf("%s: hop %s is told %+v", what, h.ID, h)
			}
		}
		for i := range rows {
			if rows[i] != w.store.AllMessages[i] {
				t.Fatalf("%s: row %d was changed", what, i)
			}
		}
	}
	drop := func(keep func(p *schemas.MetricPoint) bool) func(w *twoHosts) {
		return func(w *twoHosts) {
			var kept []schemas.MetricPoint
			for i := range w.store.AllPoints {
				if keep(&w.store.AllPoints[i]) {
					kept = append(kept, w.store.AllPoints[i])
				}
			}
			w.store.AllPoints = kept
		}
	}
	f("no samples", drop(func(*schemas.MetricPoint) bool { return false }))
	f("of one host", drop(func(p *schemas.MetricPoint) bool { return p.BootID == "hostP" }))
	f("of different brokers", func(w *twoHosts) {
		for i := range w.store.AllPoints {
			if w.store.AllPoints[i].BootID == "hostC" {
				w.store.AllPoints[i].Broker = "b3:9092"
			}
		}
	})
	f("no upper bound", drop(func(p *schemas.MetricPoint) bool { return p.BootID == "hostP" || p.Name == clock.MetricOffsetLow }))
}

func TestHopsTellWhatTheirClocksWerePlacedBy(t *testing.T) {
	w := newTwoHosts()
	w.run("stamped", "b1:9092", true)
	list := get[HopList](t, newHandler(t, w.store), "/hops?limit=500", http.StatusOK)
	for _, h := range list.Hops {
		if h.ClockGap != "" || len(h.Clock.Evidence) != 2 || !h.Clock.Stamped {
			t.Fatalf("hop %s: gap %q, clock %+v", h.ID, h.ClockGap, h.Clock)
		}
		for i, side := range []string{"producer", "consumer"} {
			if e := h.Clock.Evidence[i]; e.Side != side || e.Host == "" || e.RoundTrips < 10 || e.Fetches+e.Beacons+e.Steps != 0 || e.LowNs >= e.HighNs {
				t.Fatalf("hop %s: evidence %+v", h.ID, e)
			}
		}
		if u, ns := h.Residence.Uncertainty, h.Residence.Ns; u.Wide != ((u.Hi-u.Lo)/2 >= max(ns, -ns)) {
			t.Fatalf("hop %s: %d within %+v", h.ID, ns, u)
		}
	}
}

func TestHopsTellWhyTheirClocksAreNotKnown(t *testing.T) {
	f := func(want string, change func(w *twoHosts)) {
		t.Helper()
		w := newTwoHosts()
		w.run("stamped", "b1:9092", true)
		change(w)
		for _, h := range get[HopList](t, newHandler(t, w.store), "/hops?limit=500", http.StatusOK).Hops {
			if h.ClockGap != want {
				t.Fatalf("hop %s: gap %q; want %q", h.ID, h.ClockGap, want)
			}
		}
	}
	f("", func(*twoHosts) {})
	f("producer-samples", func(w *twoHosts) { w.store.AllPoints = nil })
	f("host", func(w *twoHosts) {
		for i := range w.store.AllMessages {
			if w.store.AllMessages[i].Side == schemas.SideProduce {
				w.store.AllMessages[i].BootID = ""
			}
		}
	})
	f("", func(w *twoHosts) { // one host
		for i := range w.store.AllMessages {
			w.store.AllMessages[i].BootID = "hostP"
		}
	})
	f("broker", func(w *twoHosts) {
		for i := range w.store.AllPoints {
			if w.store.AllPoints[i].BootID == "hostC" {
				w.store.AllPoints[i].Broker = "b3:9092"
			}
		}
	})
}

// The event is the consumer's and the record was appended and sent on other clocks.
func TestTheAgeOfACausingMessageIsPlacedOnTheReadersClock(t *testing.T) {
	w := newTwoHosts()
	w.run("stamped", "b1:9092", true)
	w.run("created", "b1:9092", false)
	w.store.AllIssues = []schemas.Issue{{ID: 5, Project: 1, Title: "it broke"}}
	for _, topic := range []string{"stamped", "created"} {
		inside := 0
		const n = 50
		for i := range int64(n) {
			var p, c schemas.Message
			for _, m := range w.store.AllMessages {
				if m.Topic == topic && m.Offset == i {
					if m.Side == schemas.SideProduce {
						p = m
					} else {
						c = m
					}
				}
			}
			at := c.Handed + int64(time.Millisecond)
			w.store.AllEvents = []schemas.Event{{Project: 1, ID: schemas.EventID{7}, Issue: 5, Time: at, Topic: topic, Partition: 0, Offset: i, Group: "g"}}
			m := get[EventDetail](t, newHandler(t, w.store), "/issues/5/events/latest", http.StatusOK).Message
			if m == nil || m.AgeFrom != "appended" || m.CrossesClock || m.Age.Uncertainty == nil || m.Sent.Uncertainty == nil {
				t.Fatalf("%s %d: message %+v; want an age since the append that says what it may be off by", topic, i, m)
			}
			age := w.residence[fmt.Sprint(topic, i)] + at - c.Answered
			sent := (at - w.consumer) - (p.Start - w.producer)
			within := func(u *Uncertainty, truth int64) bool { return u.Lo <= truth && truth <= u.Hi }
			if within(m.Age.Uncertainty, age) && within(m.Sent.Uncertainty, sent) {
				inside++
			}
			if u := m.Age.Uncertainty; u.Hi-u.Lo > int64(20*time.Millisecond) || m.Age.Ns < u.Lo || m.Age.Ns > u.Hi {
				t.Errorf("%s %d: age %d in %+v; want one of at most 20 ms that holds it", topic, i, m.Age.Ns, *u)
			}
		}
		if inside < n*98/100 {
			t.Errorf("%s: %d of %d intervals hold the true age; want all but chance", topic, inside, n)
		}
	}
}

func TestAJourneyIsPutOnTheClockOfTheHostThatWasDoneLast(t *testing.T) {
	span := func(host string, start, end int64) schemas.Span {
		return schemas.Span{Start: start, End: end, Resource: []schemas.Attribute{{Key: "hoptrace.host.boot_id", Value: host}}}
	}
	// moved is what gives a time of from on the clock of to.
	hop := func(from, to string, moved, width, end int64) joined {
		p, c := schemas.Message{BootID: from, Start: end - 30}, schemas.Message{BootID: to, Start: end - 5, End: end}
		on := p
		on.Start += moved
		return joined{Hop: schemas.Hop{Produce: &p, Consume: &c}, clock: &hopClock{hop: schemas.Hop{Produce: &on, Consume: &c}, moved: moved, offset: clock.Interval{Lo: moved - width, Hi: moved + width}}}
	}
	// Host a is right, b is 1,000 ahead of it, c 500 behind; nothing compares d.
	spans := []schemas.Span{span("a", 100, 110), span("b", 1120, 1130), span("c", -360, -350), span("d", 140, 150), {Start: 7, End: 8}}
	f := func(what string, want []int64, hops ...joined) {
		t.Helper()
		var got []int64
		for _, s := range onOneClock(spans, hops) {
			got = append(got, s.Start)
			if s.End < s.Start {
				t.Errorf("%s: span %+v ends before it starts", what, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: starts (-want +got):\n%s", what, diff)
		}
		if spans[0].Start != 100 {
			t.Fatalf("%s: the stored span was moved to %d", what, spans[0].Start)
		}
	}
	f("no clock was compared", []int64{100, 1120, -360, 140, 7})
	f("one hop", []int64{1100, 1120, -360, 140, 7}, hop("a", "b", 1000, 1, 1130))
	f("two hops, all on the last host's", []int64{-400, -380, -360, 140, 7}, hop("a", "b", 1000, 1, 1130), hop("b", "c", -1500, 1, 5000))
	f("the narrower of two comparisons", []int64{1100, 1120, -360, 140, 7}, hop("a", "b", 1004, 9, 1129), hop("a", "b", 1000, 1, 1130))

	hops := []joined{hop("a", "b", 1000, 1, 1130), hop("b", "c", -1500, 1, 5000)}
	onOneClock(spans, hops)
	if got := hops[0].placed(); got.Consume.End != 1130-1500 || got.Produce.Start != 1130-30+1000-1500 || hops[0].Consume.End != 1130 {
		t.Errorf("the first hop is drawn from %d to %d, its row ends at %d; want -400, -370 and 1130", got.Produce.Start, got.Consume.End, hops[0].Consume.End)
	}
}
