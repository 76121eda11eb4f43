package cases

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

const (
	server   = tracepb.Span_SPAN_KIND_SERVER
	client   = tracepb.Span_SPAN_KIND_CLIENT
	internal = tracepb.Span_SPAN_KIND_INTERNAL
)

// WaitOfHours is how long the record of the first case lay in its topic.
const WaitOfHours = 3*time.Hour + 2*time.Minute + 11*time.Second

// longWait is a record that lay for three hours between two stretches of 3 ms.
func longWait(b *builder) Case {
	web, night := program{"checkout", "web-1"}, program{"nightly-settlement", "web-1"}
	r := record{topic: "orders.nightly", partition: 2, offset: 88_104, size: 2310, key: b.rnd.Uint64()}
	trace := b.trace()
	start := b.ago(WaitOfHours + 4*time.Minute)
	root := b.add(web, trace, nil, "POST /checkout", server, start, 14*time.Millisecond, number("http.response.status_code", 202))
	b.add(web, trace, root.SpanId, "INSERT orders", client, start+1e6, 3*time.Millisecond, text("db.system.name", "postgresql"))
	s := sending{at: start + 5e6, queue: 3 * time.Millisecond, ack: 4 * time.Millisecond, appendedAfterWrite: 2 * time.Millisecond}
	sent := b.send(web, trace, root.SpanId, r, s)
	appended := (start + 5e6 + 3e6 + 2e6) / 1e6 * 1e6
	asked := appended + int64(WaitOfHours)
	read := b.process(night, r, sent, reading{
		group: "nightly-settlement", trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 2e6, handed: asked + 3e6, work: 3 * time.Millisecond,
		recordTime: appended, highWatermark: 91_224,
	})
	b.add(night, trace, read.SpanId, "UPDATE ledger", client, asked+4e6, time.Millisecond, text("db.system.name", "postgresql"))
	return Case{
		Name: "wait of hours", Says: "a record that lay unread for 3 h 2 m 11 s, between a send of 7 ms and work of 3 ms", Trace: hexOf(sent),
		Topic: r.topic, Partition: r.partition, Offset: r.offset, Group: "nightly-settlement",
		Figures: map[string]float64{"backlog": ms(WaitOfHours), "batchQueue": 3, "processing": 3},
	}
}

// negative is a record whose parts fall below zero: the consumer's clock was set back
// while it ran, and two machines were made from one image, so that they claim one clock.
func negative(b *builder) Case {
	from, to := program{"sensor-gateway", "vm-image"}, program{"sensor-store", "vm-image"}
	r := record{topic: "sensors.raw", offset: 5, size: 96}
	trace := b.trace()
	start := b.ago(11 * time.Minute)
	root := b.add(from, trace, nil, "flush", internal, start, 30*time.Millisecond)
	sent := b.send(from, trace, root.SpanId, r, sending{at: start + 1e6, queue: 10 * time.Millisecond, ack: 6 * time.Millisecond})
	acked := start + 17e6
	const behind = int64(4200 * time.Millisecond)
	asked := acked - behind
	b.process(to, r, sent, reading{
		group: "sensor-store", trace: trace, parent: sent.SpanId, asked: asked - 40e6, answered: asked + 8e6, handed: asked + 3e6, work: 9 * time.Millisecond, recordTime: start, highWatermark: 6,
	})
	return Case{
		Name: "negative parts", Says: "a consumer whose clock is 4.2 s behind the producer's although both claim one host; handed over 5 ms before the answer came", Trace: hexOf(sent),
		Topic: r.topic, Offset: r.offset, Group: "sensor-store", Figures: map[string]float64{"fetchQueue": -5, "processing": 9},
	}
}

// BatchSize is how many records the batch of the third case has.
const BatchSize = 5000

const batchLinks, batchOldest = 128, 32 // as the wrappers bound and choose them

// batch is one process span over 5,000 records of four producers, the oldest 40
// minutes old. The wrappers link to 128 of them and name the others by their offsets.
func batch(b *builder) Case {
	from := []program{{"meter-a", "edge-1"}, {"meter-b", "edge-1"}, {"meter-c", "edge-1"}, {"meter-d", "edge-1"}}
	to := program{"meter-rollup", "edge-1"}
	const topic = "meters.readings"
	asked := b.ago(5 * time.Minute)
	sent := make([]*tracepb.Span, BatchSize)
	times := make([]int64, BatchSize)
	const first = 70_000
	var trace []byte
	var oldest time.Duration
	for i := range sent {
		if i%250 == 0 {
			trace = b.trace()
		}
		// Most are a few seconds old, a tail is minutes old.
		age := 20*time.Millisecond + time.Duration(float64(40*time.Minute)*pow(float64(BatchSize-i)/BatchSize, 6))
		oldest = max(oldest, age)
		at := asked - int64(age)
		sent[i] = b.send(from[i/250%len(from)], trace, nil, record{topic: topic, offset: first + int64(i), size: 80 + int64(i%40), key: uint64(1 + i%97)},
			sending{at: at - 4e6, queue: time.Duration(1+i%3) * time.Millisecond, ack: time.Millisecond, appendedAfterWrite: time.Millisecond})
		times[i] = at
	}
	answered, handed := asked+3e6, asked+9e6
	s := b.add(to, b.trace(), nil, "process "+topic, tracepb.Span_SPAN_KIND_CONSUMER, handed, 812*time.Millisecond,
		text(messaging.AttrSystem, messaging.SystemKafka), text(messaging.AttrOperationType, messaging.OperationProcess), text(messaging.AttrOperationName, messaging.OperationProcess),
		text(messaging.AttrDestinationName, topic), text(messaging.AttrPartitionID, "0"), text(messaging.AttrConsumerGroup, "meter-rollup"),
		number(messaging.AttrBatchMessageCount, BatchSize), number(messaging.AttrBatchLinksLeftOut, BatchSize-batchLinks),
		text(messaging.AttrBatchRecords, fmt.Sprintf("0:%d-%d:%d:%d:%d::%d", first, first+BatchSize-1, asked, answered, handed, first+BatchSize)))
	chosen := make([]int, 0, batchLinks)
	for i := range batchOldest { // the records lie in the order of their times
		chosen = append(chosen, i)
	}
	for i := range batchLinks - batchOldest {
		chosen = append(chosen, batchOldest+i*(BatchSize-batchOldest)/(batchLinks-batchOldest))
	}
	for _, i := range chosen {
		l := linkTo(sent[i])
		l.Attributes = []*common.KeyValue{
			number(messaging.AttrKafkaOffset, first+int64(i)), number(messaging.AttrBodySize, 80+int64(i%40)), text(messaging.AttrKeyHash, strconv.Itoa(1+i%97)),
			number(messaging.AttrConsumeAsked, asked), number(messaging.AttrConsumeAnswered, answered), number(messaging.AttrConsumeHanded, handed),
			number(messaging.AttrConsumeRecordTime, times[i]/1e6*1e6), number(messaging.AttrConsumeHighWatermark, first+BatchSize),
		}
		s.Links = append(s.Links, l)
	}
	b.add(to, s.TraceId, s.SpanId, "INSERT rollups", client, handed+20e6, 700*time.Millisecond, text("db.system.name", "clickhouse"))
	return Case{
		Name: "batch of 5,000", Says: "one process span over 5,000 records of four producers, ages from 20 ms to 40 m; 128 are linked, the others named by their offsets", Trace: hexOf(s),
		Topic: topic, Offset: first, Group: "meter-rollup",
		Figures: map[string]float64{"messages": BatchSize, "links": batchLinks, "leftOut": BatchSize - batchLinks, "oldest": ms(oldest), "processing": 818},
	}
}

// foreignBatch is a batch of an SDK that links to all of its 300 records and tells no times.
func foreignBatch(b *builder) Case {
	c := b.foreign("legacy.rows", 300, 300)
	c.Name, c.Says = "foreign batch", "a batch of 300 with a link to each, from an SDK that tells no times of Kafka"
	return c
}

// cutBatch is a batch of an SDK that links to the first 128 records, as OpenTelemetry's
// do by default, and tells of the others only that they are.
func cutBatch(b *builder) Case {
	c := b.foreign("legacy.pages", 400, batchLinks)
	c.Name, c.Says = "cut foreign batch", "a batch of 400 of which its SDK kept 128 links"
	return c
}

func (b *builder) foreign(topic string, records, linked int) Case {
	from, to := program{"legacy-export", ""}, program{"legacy-import", ""}
	at := b.ago(9 * time.Minute)
	s := b.add(to, b.trace(), nil, topic+" process", tracepb.Span_SPAN_KIND_CONSUMER, at, 2*time.Second,
		text(messaging.AttrSystem, messaging.SystemKafka), text(messaging.AttrOperationType, messaging.OperationProcess), text(messaging.AttrOperationName, "process"),
		text(messaging.AttrDestinationName, topic), text(messaging.AttrConsumerGroup, "legacy-import"), number(messaging.AttrBatchMessageCount, int64(records)))
	for i := range records {
		sent := b.add(from, b.trace(), nil, topic+" publish", tracepb.Span_SPAN_KIND_PRODUCER, at-int64(30+i)*1e8, 2*time.Millisecond,
			record{topic: topic, partition: int32(i % 3), offset: int64(i / 3)}.attributes(messaging.OperationSend)...) //nolint:gosec // below three
		if i >= linked {
			s.DroppedLinksCount++
			continue
		}
		l := linkTo(sent)
		l.Attributes = []*common.KeyValue{text(messaging.AttrPartitionID, strconv.Itoa(i%3)), number(messaging.AttrKafkaOffset, int64(i/3))}
		s.Links = append(s.Links, l)
	}
	return Case{Trace: hexOf(s), Topic: topic, Group: "legacy-import", Figures: map[string]float64{"messages": float64(records), "links": float64(linked)}}
}

// retries is a payment that failed on its topic and on two retry topics, and lies on
// the dead letter topic at last. The producer itself needed four attempts.
func retries(b *builder) Case {
	shop, pay := program{"checkout", "web-1"}, program{"payments", "web-1"}
	trace := b.trace()
	start := b.ago(25 * time.Minute)
	root := b.add(shop, trace, nil, "POST /pay", server, start, 2*time.Second)
	r := record{topic: "payments", partition: 1, offset: 40_991, size: 512, key: 77_001}
	original := r
	sent := b.send(shop, trace, root.SpanId, r, sending{
		at: start + 2e6, queue: time.Millisecond, retry: 1400 * time.Millisecond, attempts: 4, ack: 11 * time.Millisecond, throttle: 250 * time.Millisecond, appendedAfterWrite: 8 * time.Millisecond,
	})
	at := start + 1500e6
	var earlier *tracepb.Span
	var firstSeen int64
	steps := []struct {
		topic string
		group string
		wait  time.Duration
	}{{"payments", "payments", time.Second}, {"payments-retry-5s", "payments-retry", 5 * time.Second}, {"payments-retry-1m", "payments-retry", time.Minute}, {"payments-dlq", "dead-letter-desk", 4 * time.Minute}}
	for i, step := range steps {
		asked := at + int64(step.wait)
		g := reading{
			group: step.group, asked: asked, answered: asked + 2e6, handed: asked + 3e6, work: 120 * time.Millisecond, recordTime: at, highWatermark: r.offset + 1,
			failed: "CardDeclined", trace: trace, parent: sent.SpanId,
		}
		if i == len(steps)-1 {
			g.failed = ""
		}
		if i > 0 {
			g.retryOf, g.retryFirstSeen, g.retry, g.earlier = original, firstSeen, int64(i), earlier
		}
		read := b.process(pay, r, sent, g)
		if g.failed != "" {
			read.Events = append(read.Events, &tracepb.Span_Event{
				TimeUnixNano: read.EndTimeUnixNano - 1e6, Name: "exception",
				Attributes: []*common.KeyValue{text("exception.type", "CardDeclined"), text("exception.message", "the card gateway declined on attempt "+strconv.Itoa(i+1)), text("exception.stacktrace", "CardDeclined: declined\n\tat pay.charge(pay.go:88)\n")},
			})
		}
		if i == 0 {
			firstSeen = asked + 100e6
		}
		if i+1 < len(steps) {
			r = record{topic: steps[i+1].topic, partition: 0, offset: int64(310 + i), size: 640, key: 77_001}
			at = asked + 130e6
			sent = b.send(pay, trace, read.SpanId, r, sending{at: at - 8e6, queue: time.Millisecond, ack: 5 * time.Millisecond, appendedAfterWrite: 4 * time.Millisecond})
		}
		earlier = read
	}
	return Case{
		Name: "retries and a dead letter", Says: "a payment that failed three times over two retry topics and ended on payments-dlq; its producer needed four attempts", Trace: hexOf(earlier),
		Topic: original.topic, Partition: original.partition, Offset: original.offset, Group: "payments", Figures: map[string]float64{"attempts": 4, "processings": 4},
	}
}

// missingProducer are records whose producer sends no spans; some name a context that never arrives.
func missingProducer(b *builder) Case {
	to := program{"audit", "web-2"}
	var s *tracepb.Span
	for i := range 40 {
		at := b.ago(8*time.Minute) + int64(i)*2e8
		created := &tracepb.Span{TraceId: b.trace(), SpanId: b.id()}
		if i%4 == 3 {
			created = nil
		}
		s = b.process(to, record{topic: "legacy.audit", partition: int32(i % 3), offset: int64(900 + i)}, created, reading{ //nolint:gosec // below three
			group: "audit", asked: at - 3e9, answered: at - 2e6, handed: at, work: 7 * time.Millisecond, recordTime: at - 90e9, highWatermark: 2000,
		})
	}
	return Case{
		Name: "missing producer", Says: "40 records of a producer that sends no spans: only the record's own time tells their age", Trace: hexOf(s),
		Topic: "legacy.audit", Offset: 939, Group: "audit", Figures: map[string]float64{"messages": 40},
	}
}

// Services is how many the long chain has.
const Services = 40

// fortyServices is one order that goes through 40 services and 39 topics, ten times.
func fortyServices(b *builder) Case {
	var last *tracepb.Span
	for run := range 10 {
		trace := b.trace()
		at := b.ago(20*time.Minute) + int64(run)*int64(time.Minute)
		last = b.add(program{"step-01", "farm-1"}, trace, nil, "start", server, at, 5*time.Millisecond)
		for i := 1; i < Services; i++ {
			p := program{fmt.Sprintf("step-%02d", i), "farm-1"}
			next := program{fmt.Sprintf("step-%02d", i+1), "farm-1"}
			r := record{topic: fmt.Sprintf("chain-%02d", i), offset: int64(run), size: 100}
			sent := b.send(p, trace, last.SpanId, r, sending{at: at + 1e6, queue: time.Millisecond, ack: 2 * time.Millisecond, appendedAfterWrite: time.Millisecond})
			asked := at + 4e6 + int64(i%7)*40e6
			last = b.process(next, r, sent, reading{
				group: next.service, trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 1e6, handed: asked + 2e6, work: time.Duration(2+i%5) * time.Millisecond, recordTime: at + 3e6, highWatermark: int64(run + 1),
			})
			at = asked + 2e6
		}
	}
	return Case{Name: "forty services", Says: "one order through 40 services and 39 topics", Trace: hexOf(last), Topic: "chain-39", Offset: 9, Group: "step-40", Figures: map[string]float64{"services": Services, "hops": Services - 1}}
}

// twoGroups are records that three groups read, one of them half an hour later.
func twoGroups(b *builder) Case {
	from := program{"catalogue", "web-1"}
	var sent *tracepb.Span
	for i := range 20 {
		at := b.ago(50*time.Minute) + int64(i)*1e9
		r := record{topic: "catalogue.changed", offset: int64(i), size: 1800}
		sent = b.send(from, b.trace(), nil, r, sending{at: at, queue: 2 * time.Millisecond, ack: 2 * time.Millisecond, appendedAfterWrite: time.Millisecond})
		for j, g := range []struct {
			group string
			after time.Duration
		}{{"search-index", 30 * time.Millisecond}, {"price-cache", 80 * time.Millisecond}, {"recommendations", 31 * time.Minute}} {
			asked := at + int64(g.after)
			b.process(program{g.group, "web-1"}, r, sent, reading{
				group: g.group, asked: asked, answered: asked + 1e6, handed: asked + 2e6, work: time.Duration(3+j*20) * time.Millisecond, recordTime: at + 4e6, highWatermark: 20,
			})
		}
	}
	return Case{Name: "three groups", Says: "20 records that three groups read, one of them 31 m later", Trace: hexOf(sent), Topic: "catalogue.changed", Offset: 19, Group: "recommendations", Figures: map[string]float64{"messages": 20, "groups": 3}}
}

// Partitions is how many the topic with a hot one has, HotRecords how many lie on that one.
const (
	Partitions = 24
	HotRecords = 600
	hot        = 17
)

// hotPartition is a topic of 24 partitions of which one takes nearly all, and falls behind.
func hotPartition(b *builder) Case {
	from, to := program{"clickstream", "web-1"}, program{"sessions", "web-1"}
	var sent *tracepb.Span
	one := func(partition int32, offset int64, at int64, wait time.Duration) {
		r := record{topic: "clicks", partition: partition, offset: offset, size: 300, key: uint64(partition) + 1} //nolint:gosec // below 24
		sent = b.send(from, b.trace(), nil, r, sending{at: at, queue: 5 * time.Millisecond, ack: 3 * time.Millisecond, appendedAfterWrite: 2 * time.Millisecond})
		asked := at + int64(10*time.Millisecond) + int64(wait)
		b.process(to, r, sent, reading{group: "sessions", asked: asked, answered: asked + 1e6, handed: asked + 4e6, work: 6 * time.Millisecond, recordTime: at + 7e6, highWatermark: offset + 1 + int64(wait/time.Second)})
	}
	for p := range int32(Partitions) {
		if p == hot {
			continue
		}
		for i := range int64(8) {
			one(p, i, b.ago(45*time.Minute)+i*int64(5*time.Minute)+int64(p)*1e8, 5*time.Millisecond)
		}
	}
	for i := range int64(HotRecords) {
		one(hot, i, b.ago(45*time.Minute)+i*int64(4*time.Second), time.Duration(i)*300*time.Millisecond)
	}
	return Case{
		Name: "hot partition", Says: "24 partitions, of which 17 takes three quarters of the records and falls 3 m behind", Trace: hexOf(sent),
		Topic: "clicks", Partition: hot, Offset: HotRecords - 1, Group: "sessions", Figures: map[string]float64{"partitions": Partitions, "messages": HotRecords + 8*(Partitions-1), "hot": HotRecords},
	}
}

// unread are records that nobody ever read, and one whose sending failed.
func unread(b *builder) Case {
	from := program{"newsletter", "web-2"}
	var sent *tracepb.Span
	for i := range int64(30) {
		at := b.ago(70*time.Minute) + i*int64(time.Minute)
		sent = b.send(from, b.trace(), nil, record{topic: "mails.outgoing", offset: i, size: 40_000}, sending{at: at, queue: 900 * time.Millisecond, ack: 20 * time.Millisecond})
	}
	b.send(from, b.trace(), nil, record{topic: "mails.outgoing", partition: 1, offset: 0, size: 1_200_000}, sending{at: b.ago(3 * time.Minute), queue: 2 * time.Millisecond, ack: 4 * time.Millisecond, failed: "MESSAGE_TOO_LARGE"})
	return Case{Name: "unread", Says: "30 records that no group has read, and one that the broker refused", Trace: hexOf(sent), Topic: "mails.outgoing", Offset: 29, Figures: map[string]float64{"messages": 30}}
}

// longTopic has a name as long as Kafka allows.
func longTopic(b *builder) Case {
	topic := strings.Repeat("company.division.team.purpose-", 9)[:249]
	s := simpleHop(b, program{"a-service-with-a-name-that-somebody-generated-from-the-path-of-its-repository-and-its-branch", "web-1"},
		program{"consumer", "web-1"}, topic, strings.Repeat("group.of.the.same.team-", 11)[:249])
	return Case{Name: "long names", Says: "a topic and a group of 249 characters, a service of 92", Trace: hexOf(s), Topic: topic, Offset: 3, Group: strings.Repeat("group.of.the.same.team-", 11)[:249]}
}

// slashTopic has a name that must be escaped in a path.
func slashTopic(b *builder) Case {
	s := simpleHop(b, program{"bridge/mqtt", "web-1"}, program{"bridge?x=1&y=2#z", "web-1"}, "mqtt/site/7/temperature%2F+#", "a&b=c;d")
	return Case{Name: "names to escape", Says: "names with slashes, ampersands, per cent signs and fragments", Trace: hexOf(s), Topic: "mqtt/site/7/temperature%2F+#", Offset: 3, Group: "a&b=c;d"}
}

func simpleHop(b *builder, from, to program, topic, group string) (last *tracepb.Span) {
	for i := range int64(4) {
		trace := b.trace()
		at := b.ago(14*time.Minute) + i*int64(20*time.Second)
		r := record{topic: topic, offset: i, size: 64}
		sent := b.send(from, trace, nil, r, sending{at: at, queue: time.Millisecond, ack: 2 * time.Millisecond, appendedAfterWrite: time.Millisecond})
		asked := at + int64(50*time.Millisecond)
		last = b.process(to, r, sent, reading{group: group, trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 3e6, handed: asked + 4e6, work: 5 * time.Millisecond, recordTime: at + 2e6, highWatermark: 4})
	}
	return last
}

// apart are hops between two hosts whose clocks were sampled against one broker: the
// producer's is 1.5 s ahead, the consumer's 0.4 s behind.
func apart(b *builder) Case {
	from, to := program{"ingress", "host-ahead"}, program{"egress", "host-behind"}
	var s *tracepb.Span
	for i := range int64(20) {
		trace := b.trace()
		at := b.ago(10*time.Minute) + i*int64(5*time.Second) // true time
		r := record{topic: "frames", offset: i, size: 900}
		root := b.add(from, trace, nil, "GET /frame", server, at+int64(aheadBy)-3e6, 20*time.Millisecond)
		sent := b.send(from, trace, root.SpanId, r, sending{at: at + int64(aheadBy), queue: 2 * time.Millisecond, ack: 4 * time.Millisecond})
		asked := at + 30e6 - int64(behindBy)
		s = b.process(to, r, sent, reading{group: "egress", trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 2e6, handed: asked + 3e6, work: 8 * time.Millisecond, recordTime: at + 4e6, highWatermark: 20})
	}
	return Case{
		Name: "two clocks", Says: "hops between hosts 1.5 s ahead and 0.4 s behind, with samples of both clocks", Trace: hexOf(s), Topic: "frames", Offset: 19, Group: "egress",
		Figures: map[string]float64{"length": 44},
	}
}

// cycle is a record that two services hand to each other, so that the topology has a ring.
func cycle(b *builder) Case {
	trace := b.trace()
	at := b.ago(6 * time.Minute)
	players := []program{{"ping", "web-1"}, {"pong", "web-1"}}
	last := b.add(players[0], trace, nil, "serve", internal, at, time.Millisecond)
	for i := range 12 {
		r := record{topic: []string{"to-pong", "to-ping"}[i%2], offset: int64(i / 2), size: 10}
		sent := b.send(players[i%2], trace, last.SpanId, r, sending{at: at + 1e6, queue: time.Millisecond, ack: time.Millisecond})
		asked := at + 5e6
		last = b.process(players[(i+1)%2], r, sent, reading{group: players[(i+1)%2].service, trace: trace, parent: sent.SpanId, asked: asked, answered: asked + 1e6, handed: asked + 2e6, work: time.Millisecond, recordTime: at + 2e6, highWatermark: 6})
		at = asked + 3e6
	}
	return Case{Name: "a ring", Says: "two services that hand one record to each other twelve times", Trace: hexOf(last), Topic: "to-pong", Offset: 5, Group: "pong", Figures: map[string]float64{"hops": 12}}
}

func pow(x float64, n int) float64 {
	out := 1.0
	for range n {
		out *= x
	}
	return out
}
