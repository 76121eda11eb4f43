package fakestore

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// Project is the id of the project that [Orders] fills.
const Project = 1

// Ids of the journeys in [Orders] that tests and pictures look at.
var (
	Fast       = TraceID(1)   // everything within milliseconds
	Backlogged = TraceID(2)   // 2 h 51 m of backlog before payments, which then failed
	Foreign    = TraceID(3)   // payments runs on another host: parts are unknown
	Unread     = TraceID(4)   // nobody has read what it sent
	Plain      = TraceID(5)   // no message at all
	Negative   = TraceID(6)   // clocks disagree
	Wide       = TraceID(7)   // several thousand spans
	LinkedFrom = TraceID(8)   // its consumer is another trace, by creation link and record
	LinkedTo   = TraceID(801) // that trace
)

// TraceID makes one of a number.
func TraceID(n uint64) (id schemas.TraceID) {
	binary.BigEndian.PutUint64(id[:8], 0x4f6c9e0b00000000+n)
	binary.BigEndian.PutUint64(id[8:], n*0x9e3779b97f4a7c15|1)
	return id
}

type builder struct {
	s       *Store
	span    uint64
	offsets map[string]int64
	rnd     *rand.Rand
}

func (b *builder) id() (id schemas.SpanID) {
	b.span++
	binary.BigEndian.PutUint64(id[:], 0xb7ad000000000000+b.span*0x10001)
	return id
}

func ms(v float64) int64 { return int64(v * 1e6) }

func (b *builder) add(trace schemas.TraceID, parent schemas.SpanID, service, name string, kind schemas.SpanKind, start, end int64) *schemas.Span {
	b.s.AllSpans = append(b.s.AllSpans, schemas.Span{
		Project: Project, TraceID: trace, SpanID: b.id(), ParentID: parent, Name: name, Kind: kind, Start: start, End: end, Service: service,
		Scope:    "example/" + service,
		Resource: []schemas.Attribute{{Key: "service.version", Value: "1.14.2"}, {Key: "host.name", Value: "orders-1"}},
	})
	return &b.s.AllSpans[len(b.s.AllSpans)-1]
}

// hop is the lengths of one hop's parts in ms.
type hop struct {
	topic, group, producer, consumer                                          string
	trace, consumerTrace                                                      schemas.TraceID
	parent                                                                    schemas.SpanID
	start                                                                     int64
	batch, ack, backlog, poll, fetchq, process                                float64
	behind                                                                    int64
	stamped, failed, foreign, unread, uninstrumentedProducer, noConsumerTimes bool
	partition                                                                 int32
}

// hop adds a send span and a process span with their rows, and returns the
// process span and the row of the reader.
func (b *builder) hop(h hop) (*schemas.Span, *schemas.Message) {
	if h.consumerTrace.IsZero() {
		h.consumerTrace = h.trace
	}
	key := fmt.Sprint(h.topic, h.partition)
	b.offsets[key]++
	offset := b.offsets[key]
	written := h.start + ms(h.batch)
	acked := written + ms(h.ack)
	send := *b.add(h.trace, h.parent, h.producer, "send "+h.topic, schemas.KindProducer, h.start, acked)
	p := schemas.Message{
		Project: Project, Side: schemas.SideProduce, Topic: h.topic, Partition: h.partition, Offset: offset, Service: h.producer, ClientID: h.producer + "-1",
		BootID: "host-a", TraceID: h.trace, SpanID: send.SpanID, Start: h.start, End: acked, Written: written, Acked: acked,
		RecordTime: h.start / 1e6 * 1e6, Attempts: 1, BodySize: 1180 + offset%97, KeyHash: 0xc41f0000 + uint64(offset)*7919, HighWatermark: schemas.Unknown,
	}
	if h.stamped {
		p.Appended = acked
	}
	if h.uninstrumentedProducer {
		p.Written, p.Acked, p.BootID, p.ClientID = 0, 0, "", ""
		p.KeyHash, p.BodySize = 0, schemas.Unknown
	}
	b.s.AllMessages = append(b.s.AllMessages, p)
	if h.unread {
		return nil, nil
	}
	asked := acked + ms(h.backlog)
	answered := asked + ms(h.poll)
	handed := answered + ms(h.fetchq)
	done := handed + ms(h.process)
	process := b.add(h.consumerTrace, schemas.SpanID{}, h.consumer, "process "+h.topic, schemas.KindConsumer, handed, done)
	if h.consumerTrace == h.trace {
		process.ParentID = send.SpanID
	}
	process.Links = []schemas.Link{{TraceID: h.trace, SpanID: send.SpanID}}
	process.Attributes = []schemas.Attribute{
		{Key: "messaging.system", Value: "kafka"},
		{Key: "messaging.destination.name", Value: h.topic},
		{Key: "messaging.consumer.group.name", Value: h.group},
		{Key: "messaging.kafka.offset", Value: fmt.Sprint(offset)},
	}
	if h.failed {
		process.Status, process.StatusMessage = schemas.StatusError, "card gateway answered 402"
	}
	if h.poll > 0 {
		asked = min(asked, acked+ms(h.backlog)) // the fetch was open when the record came
	}
	c := schemas.Message{
		Project: Project, Side: schemas.SideProcess, Topic: h.topic, Partition: h.partition, Offset: offset, Group: h.group, Service: h.consumer,
		ClientID: h.consumer + "-2", BootID: "host-a", TraceID: h.consumerTrace, SpanID: process.SpanID, CreationTrace: h.trace, CreationSpan: send.SpanID,
		Start: handed, End: done, Asked: asked, Answered: answered, Handed: handed, RecordTime: p.RecordTime, HighWatermark: offset + 1 + h.behind,
		BodySize: p.BodySize, KeyHash: p.KeyHash, Failed: h.failed,
	}
	if h.foreign {
		c.BootID = "host-b"
	}
	if h.noConsumerTimes {
		c.Asked, c.Answered, c.Handed, c.HighWatermark = 0, 0, 0, schemas.Unknown
	}
	b.s.AllMessages = append(b.s.AllMessages, c)
	return process, &b.s.AllMessages[len(b.s.AllMessages)-1]
}

// order is the example's path: checkout → orders → payments → shipping.
func (b *builder) order(trace schemas.TraceID, at int64, backlog float64, behind int64, fail bool, change func(*hop)) *schemas.Message {
	jitter := 0.7 + 0.6*b.rnd.Float64()
	root := *b.add(trace, schemas.SpanID{}, "checkout", "POST /checkout", schemas.KindServer, at, at+ms(12*jitter))
	b.add(trace, root.SpanID, "checkout", "validate cart", schemas.KindInternal, at+ms(.3), at+ms(3.1*jitter))
	h := hop{
		topic: "orders", group: "orders", producer: "checkout", consumer: "orders", trace: trace, parent: root.SpanID, start: at + ms(4*jitter),
		batch: 1.2 * jitter, ack: 1.9, poll: 1.4 * jitter, fetchq: .2, process: 6.1 * jitter, partition: int32(b.rnd.IntN(4)),
	}
	if change != nil {
		change(&h)
	}
	orders, _ := b.hop(h)
	if orders == nil {
		return nil
	}
	o := *orders
	sql := b.add(trace, o.SpanID, "orders", "SELECT inventory", schemas.KindClient, o.Start+ms(.6), o.Start+ms(2.9))
	sql.Attributes = []schemas.Attribute{{Key: "db.system.name", Value: "postgresql"}, {Key: "db.query.text", Value: "SELECT … FROM inventory WHERE sku = ?"}}
	h = hop{
		topic: "payments", group: "payments", producer: "orders", consumer: "payments", trace: trace, parent: o.SpanID, start: o.Start + ms(3.2),
		batch: 1.1, ack: 1.4, backlog: backlog, poll: 1, fetchq: .4 + backlog/2e5, process: 24 * jitter, behind: behind, failed: fail, partition: 1,
	}
	if backlog > 0 {
		h.poll = 0
		h.process = 480
	}
	if change != nil {
		change(&h)
	}
	payments, row := b.hop(h)
	if payments == nil {
		return nil
	}
	p := *payments
	charge := b.add(trace, p.SpanID, "payments", "POST card-gateway", schemas.KindClient, p.Start+(p.End-p.Start)/20, p.End-(p.End-p.Start)/3)
	charge.Attributes = []schemas.Attribute{{Key: "http.request.method", Value: "POST"}, {Key: "server.address", Value: "card-gateway"}}
	if fail {
		charge.Status, charge.StatusMessage = schemas.StatusError, "402 Payment Required"
		return row
	}
	h = hop{
		topic: "shipping", group: "shipping", producer: "payments", consumer: "shipping", trace: trace, parent: p.SpanID, start: p.End - (p.End-p.Start)/4,
		batch: 1, ack: 1.2, poll: 1.8, fetchq: .1, process: 4.2 * jitter, partition: int32(b.rnd.IntN(3)),
	}
	if change != nil {
		change(&h)
	}
	b.hop(h)
	return row
}

// Orders is the example's shop until now: some 300 orders, most of them fast,
// some behind a backlog, a few that failed, and the special ones above.
func Orders(now time.Time) *Store {
	s := &Store{
		AllProjects: []schemas.Project{{ID: Project, Slug: "default", Name: "Default", Keys: []string{"9a1f3b5c7d9e0a2b4c6d8e0f1a3b5c7d"}}},
		AllBlobs:    map[string][]byte{},
	}
	b := &builder{s: s, offsets: map[string]int64{"orders0": 48211902, "payments1": 9120446, "shipping0": 3377119}, rnd: rand.New(rand.NewPCG(1, 2))}
	at := func(before time.Duration) int64 { return now.Add(-before).UnixNano() }

	b.order(Fast, at(3*time.Second), 0, 0, false, nil)
	failed := []*schemas.Message{}
	keep := func(m *schemas.Message) {
		row := *m
		failed = append(failed, &row)
	}
	keep(b.order(Backlogged, at(3*time.Hour), 10_272_000, 3120, true, nil))
	b.order(Foreign, at(9*time.Second), 0, 0, false, func(h *hop) {
		switch h.topic {
		case "payments":
			h.foreign = true
		case "orders":
			h.uninstrumentedProducer, h.noConsumerTimes = true, true
		}
	})
	b.order(Unread, at(20*time.Second), 0, 0, false, func(h *hop) { h.unread = h.topic == "payments" })
	b.add(Plain, schemas.SpanID{}, "checkout", "GET /cart", schemas.KindServer, at(15*time.Second), at(15*time.Second)+ms(2.25))
	b.order(Negative, at(30*time.Second), 0, 0, false, func(h *hop) {
		if h.topic == "shipping" {
			h.backlog, h.poll, h.stamped = 0, -.35, true
		}
	})
	wide := *b.add(Wide, schemas.SpanID{}, "reports", "nightly report", schemas.KindInternal, at(50*time.Minute), at(50*time.Minute)+ms(4200))
	for i := range 2400 {
		start := wide.Start + ms(float64(i)*1.7)
		b.add(Wide, wide.SpanID, "reports", fmt.Sprintf("SELECT page %d", i), schemas.KindClient, start, start+ms(1.5))
	}
	from := *b.add(LinkedFrom, schemas.SpanID{}, "importer", "import file", schemas.KindInternal, at(2*time.Minute), at(2*time.Minute)+ms(30))
	b.hop(hop{
		topic: "imports", group: "indexer", producer: "importer", consumer: "indexer", trace: LinkedFrom, consumerTrace: LinkedTo, parent: from.SpanID,
		start: from.Start + ms(2), batch: 10, ack: 2, backlog: 850, fetchq: 3, process: 40, behind: 12,
	})

	for n := uint64(100); n < 380; n++ {
		before := time.Duration(b.rnd.ExpFloat64() * float64(90*time.Minute))
		backlog, behind := 0.0, int64(0)
		if n%11 == 0 {
			backlog = b.rnd.ExpFloat64() * 40_000
			behind = int64(backlog/300) + 1
		}
		fail := n%37 == 0
		if m := b.order(TraceID(n), at(before+time.Minute), backlog, behind, fail, nil); fail {
			keep(m)
		}
	}
	b.issues(now, failed)
	return s
}

func (b *builder) issues(now time.Time, failed []*schemas.Message) {
	card := schemas.Issue{
		ID: 7, Project: Project, Fingerprint: schemas.Fingerprint{0xca, 0x4d}, Title: "payments.ChargeError: card gateway answered 402",
		Culprit: "payments.charge", Level: "error", Platform: "go", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusOngoing, Since: now.Add(-26 * time.Hour).UnixNano()}, Category: "error", Priority: schemas.PriorityHigh,
		FirstRelease: "payments@3.1.0", LastRelease: "payments@3.2.0", FirstSeen: now.Add(-26 * time.Hour).UnixNano(),
		Grouping: []string{"type payments.ChargeError", "frame payments.charge", "frame payments.handle"},
	}
	n := 0
	event := func(issue *schemas.Issue, e schemas.Event, body any) {
		n++
		e.Project, e.Issue, e.Level, e.Platform = Project, issue.ID, issue.Level, issue.Platform
		e.ID = schemas.EventID{0xe0, byte(n >> 8), byte(n), 0x44}
		e.Received = e.Time + 3e6
		issue.LastSeen = max(issue.LastSeen, e.Time)
		if body != nil {
			raw, err := json.Marshal(body)
			if err != nil {
				panic(err)
			}
			if n%3 == 0 { // one from before there were nodes
				b.s.AllBlobs[schemas.EventBlobKey(Project, e.ID)] = raw
			} else {
				refs, err := b.s.Append(context.Background(), [][]byte{raw})
				if err != nil {
					panic(err)
				}
				e.Node = refs[0]
			}
		}
		b.s.AllEvents = append(b.s.AllEvents, e)
	}
	for _, m := range failed {
		for try := range 6 {
			t := m.End - 5e6 - int64(try)*1e9
			event(&card, schemas.Event{
				Time: t, Type: "payments.ChargeError", Value: "card gateway answered 402", Culprit: "payments.charge",
				Release: "payments@3.2.0", Environment: "production", Server: "payments-2", SDK: "sentry.go/0.50.0", TraceID: m.TraceID, SpanID: m.SpanID,
				Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Group: m.Group,
				Tags: []schemas.Attribute{{Key: "currency", Value: "EUR"}, {Key: "gateway", Value: "card-gateway"}},
			}, cardPayload(t, m))
		}
	}
	timeout := schemas.Issue{
		ID: 8, Project: Project, Fingerprint: schemas.Fingerprint{0x71, 0x0e}, Title: "context deadline exceeded", Culprit: "shipping.reserve",
		Level: "warning", Platform: "go", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusNew, Since: now.Add(-40 * time.Minute).UnixNano()}, Category: "error", Priority: schemas.PriorityMedium, FirstSeen: now.Add(-40 * time.Minute).UnixNano(), Grouping: []string{"message context deadline exceeded"},
	}
	event(&timeout, schemas.Event{
		Time: now.Add(-38 * time.Minute).UnixNano(), Value: "context deadline exceeded", Culprit: "shipping.reserve", Server: "shipping-1",
		SDK: "sentry.go/0.50.0", Partition: schemas.Unknown, Offset: schemas.Unknown,
	}, nil)
	node := schemas.Issue{
		ID: 9, Project: Project, Fingerprint: schemas.Fingerprint{0x9d}, Title: "TypeError: Cannot read properties of undefined (reading 'sku')",
		Culprit: "renderCart(cart.js)", Level: "error", Platform: "node", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusRegressed, Since: now.Add(-5 * time.Hour).UnixNano()}, Category: "error", Priority: schemas.PriorityHigh, FirstSeen: now.Add(-5 * time.Hour).UnixNano(),
		Grouping: []string{"type TypeError", "frame renderCart"},
	}
	for i := range 3 {
		event(&node, schemas.Event{
			Time: now.Add(-time.Duration(i) * 95 * time.Minute).UnixNano(), Type: "TypeError", Value: "Cannot read properties of undefined (reading 'sku')",
			Culprit: "renderCart(cart.js)", SDK: "sentry.javascript.node/10.0.0", Partition: schemas.Unknown, Offset: schemas.Unknown,
		}, map[string]any{"exception": "not what it should be"})
	}
	b.s.AllIssues = []schemas.Issue{card, timeout, node}
}

func cardPayload(t int64, m *schemas.Message) any {
	type o = map[string]any
	type l = []any
	second := func(before float64) float64 { return float64(t)/1e9 - before }
	return o{
		"exception": o{"values": l{
			o{"type": "*http.StatusError", "value": "402 Payment Required", "stacktrace": o{"frames": l{
				o{"function": "(*Client).Do", "module": "gateway", "filename": "gateway/client.go", "lineno": 131, "in_app": false},
			}}},
			o{"type": "payments.ChargeError", "value": "card gateway answered 402", "module": "example/payments", "mechanism": o{"type": "generic", "handled": true}, "stacktrace": o{"frames": l{
				o{"function": "goexit", "module": "runtime", "filename": "runtime/asm_amd64.s", "lineno": 1700, "in_app": false},
				o{"function": "main.run", "module": "main", "filename": "main.go", "lineno": 64, "in_app": false},
				o{"function": "(*Reader).Process", "module": "otelkafkago", "filename": "otelkafkago/reader.go", "lineno": 212, "in_app": false},
				o{"function": "payments.handle", "module": "payments", "filename": "payments/consumer.go", "lineno": 41, "in_app": true},
				o{
					"function": "payments.charge", "module": "payments", "filename": "payments/charge.go", "lineno": 88, "in_app": true,
					"pre_context":  l{"\tresp, err := gw.Charge(ctx, order.Card, order.Total)", "\tif err != nil {"},
					"context_line": "\t\treturn &ChargeError{Code: \"CARD_DECLINED\", Status: resp.Status}",
					"post_context": l{"\t}", "\treturn nil"},
				},
			}}},
		}},
		"breadcrumbs": o{"values": l{
			o{"timestamp": second(.35), "category": "kafka", "message": fmt.Sprintf("received payments p%d %d", m.Partition, m.Offset)},
			o{"timestamp": second(.34), "category": "sql", "message": "SELECT … FROM orders WHERE id = ?", "data": o{"rows": 1, "ms": 2.1}},
			o{"timestamp": second(.02), "category": "http", "type": "http", "level": "warning", "message": "POST card-gateway/charges", "data": o{"status_code": 402}},
		}},
		"contexts": o{"runtime": o{"name": "go", "version": "go1.26.8"}, "kafka": o{"topic": m.Topic, "partition": m.Partition, "offset": m.Offset}},
		"tags":     o{"currency": "EUR"},
	}
}
