package messaging

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

func service(name string) *Core {
	return NewCore(Config{
		Scope: "test", Service: name, Pathways: true,
		TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
	})
}

// forward reads a record with the header from topic and returns the header of what is sent to next meanwhile.
func forward(t *testing.T, c *Core, group, topic string, header []byte, next string) []byte {
	t.Helper()
	co, p := c.Consumer(ConsumerConfig{Group: group}), c.Producer(ProducerConfig{})
	return forwardBy(co, p, topic, header, next)
}

func forwardBy(co *Consumer, p *Producer, topic string, header []byte, next string) []byte {
	d := Delivery{Partition: co.Partition(topic, 0)}
	Deliver(context.Background(), &d, []Header{{Key: HeaderPathway, Value: header}})
	ctx, done := co.StartProcess(context.Background(), &d, d.Handed)
	defer done.End(nil, "")
	var call Call
	p.Begin(ctx, &call)
	return call.PathwayHeader(p.Topic(next))
}

func origin(c *Core, topic string) []byte {
	p := c.Producer(ProducerConfig{})
	var call Call
	p.Begin(context.Background(), &call)
	return call.PathwayHeader(p.Topic(topic))
}

func TestPathwayHeaderIsAtMost24Bytes(t *testing.T) {
	if h := origin(service("shop"), "orders"); len(h) != 24 {
		t.Errorf("the header is %d bytes; want 24", len(h))
	}
}

func TestPathwayStateSurvivesItsHeader(t *testing.T) {
	want := pathwayState{hash: 0xfeedfacecafebeef, origin: 1_700_000_000_123_456, newest: 1_700_000_000_123_456 + 1024, sent: 1_700_000_090_123_456, count: 9, hops: 7}
	if d := cmp.Diff(want, parsePathway(want.append(nil)), cmp.AllowUnexported(pathwayState{})); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
}

func TestTheSameWayHasOneHashAndAnotherWayAnother(t *testing.T) {
	hash := func(h []byte) uint64 { return parsePathway(h).hash }
	a := origin(service("shop"), "orders")
	b := origin(service("shop"), "orders")
	if hash(a) != hash(b) {
		t.Error("one way has two hashes")
	}
	viaBilling := forward(t, service("billing"), "billing", "orders", a, "mail")
	again := forward(t, service("billing"), "billing", "orders", b, "mail")
	viaStock := forward(t, service("stock"), "stock", "orders", a, "mail")
	if hash(viaBilling) != hash(again) || hash(viaBilling) == hash(viaStock) || hash(viaBilling) == hash(a) {
		t.Errorf("hashes %x %x %x %x", hash(a), hash(viaBilling), hash(again), hash(viaStock))
	}
	if s := parsePathway(viaBilling); s.origin != parsePathway(a).origin || s.hops != 3 {
		t.Errorf("after a hop: %+v; want the origin of the first send and 3 steps", s)
	}
}

func TestALoopMakesNoEndOfPathways(t *testing.T) {
	// Through one program, and through two that know nothing of each other.
	for name, services := range map[string][]string{"own topic": {"shop"}, "two services": {"shop", "billing"}} {
		var consumers []*Consumer
		var producers []*Producer
		for _, s := range services {
			c := service(s)
			consumers, producers = append(consumers, c.Consumer(ConsumerConfig{Group: s})), append(producers, c.Producer(ProducerConfig{}))
		}
		h := origin(service("shop"), "loop")
		seen := map[uint64]bool{}
		for i := range 200 {
			h = forwardBy(consumers[i%len(consumers)], producers[i%len(producers)], "loop", h, "loop")
			seen[parsePathway(h).hash] = true
		}
		if len(seen) > maxHops {
			t.Errorf("%s: 200 rounds made %d pathways; want at most %d", name, len(seen), maxHops)
		}
	}
}

func TestFanInKeepsOldestNewestAndCount(t *testing.T) {
	at := int64(1_700_000_000_000_000)
	got := mergePathways([]Delivery{
		{pathway: pathwayState{hash: 1, origin: at + 50, newest: at + 50, sent: at + 60, count: 1}},
		{},
		{pathway: pathwayState{hash: 2, origin: at, newest: at + 10, sent: at + 20, count: 3}},
		{pathway: pathwayState{hash: 3, origin: at + 5, newest: at + 90, sent: at + 95, count: 1}},
	})
	want := pathwayState{hash: 2, origin: at, newest: at + 90, sent: at + 20, count: 5}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(pathwayState{})); d != "" {
		t.Errorf("merged (-want +got):\n%s", d)
	}
}

func TestPathwayTimesThatDoNotFitSaturate(t *testing.T) {
	s := pathwayState{hash: 1, origin: 1_700_000_000_000_000, sent: 1_700_000_000_000_000 + int64(30*24*time.Hour/time.Microsecond), count: 1, newest: 1_700_000_000_000_000}
	got := parsePathway(s.append(nil))
	if want := s.origin + max40; got.sent != want {
		t.Errorf("sent %d; want %d", got.sent, want)
	}
}

func FuzzParsePathway(f *testing.F) {
	f.Add((&pathwayState{hash: 1, origin: 2, newest: 3, sent: 4, count: 5, hops: 6}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := parsePathway(b)
		if s.hash == 0 {
			return
		}
		if s.newest < s.origin || s.sent < s.origin || s.count < 1 {
			t.Errorf("%x: %+v runs backwards", b, s)
		}
	})
}
