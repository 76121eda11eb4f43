package bench

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters/clickhouse"
	"github.com/hoptrace/hoptrace/exporters/metadata"
	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/internal/find"
	"github.com/hoptrace/hoptrace/schemas"
)

// dayVersion changes when other rows are made: a day of an older one is made anew.
const dayVersion = 5

const (
	// daySpans is how many spans the day has: BENCH_DAY_SPANS says otherwise.
	daySpans = 10_000_000

	spansPerTrace = 6
	dayTopics     = 30
	dayPartitions = 12 // of each topic
	dayServices   = 40
	dayHosts      = 10
	dayBrokers    = 3
	firstOffset   = 100_000

	// Each so many:
	linkedEvery = 16      // traces have their second message processed in a trace of its own
	commitEvery = 40      // records of a partition, a commit
	failedEvery = 200     // traces have an error, with an event
	namedEvery  = 10      // traces have a first message with an id
	rareEvery   = 500_000 // traces have the attribute that is looked for

	dayIssues = 20

	rareKey = "coupon.code"
)

// day is twenty-four hours of a busy Kafka application, written into a data
// directory by the store's own writers. An order comes in by HTTP, is sent to one topic,
// processed, looked up in a database, sent to a second topic, processed there. A topic is
// read by one group, which commits each partition every forty records. What is random
// about trace n depends on n alone, so a question can be made for any of them.
type day struct {
	Version int
	Spans   int
	Start   time.Time
	Took    time.Duration                   // to make it
	Records [dayTopics][dayPartitions]int64 // of each partition, from firstOffset on
}

func (d *day) traces() int    { return d.Spans / spansPerTrace }
func (d *day) end() time.Time { return d.Start.Add(24 * time.Hour) }

// dayTraceID is the id of trace n; linked that of its second half, where it has one.
func dayTraceID(n int, linked bool) (id schemas.TraceID) {
	r := rand.New(rand.NewPCG(uint64(n), 11)) //nolint:gosec // test data
	if linked {
		r = rand.New(rand.NewPCG(uint64(n), 12)) //nolint:gosec // test data
	}
	binary.BigEndian.PutUint64(id[:], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64()|1)
	return id
}

func dayTopic(i int) string { return fmt.Sprintf("shop.%s.v1", dayNouns[i]) }

var dayNouns = [dayTopics]string{
	"orders", "payments", "shipments", "refunds", "carts", "prices", "stock", "reviews", "accounts", "sessions",
	"emails", "invoices", "ledgers", "audits", "returns", "labels", "routes", "drivers", "parcels", "quotes",
	"taxes", "offers", "banners", "clicks", "searches", "rankings", "images", "feeds", "alerts", "reports",
}

// loadDay gives the data directory with the day in it, which the first run makes.
func loadDay(b *testing.B) (dir string, d *day) {
	b.Helper()
	spans := daySpans
	if text := os.Getenv("BENCH_DAY_SPANS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 10_000 {
			b.Fatalf("BENCH_DAY_SPANS is %q; want a number from 10000 on", text)
		}
		spans = n
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Fatalf("cannot find a cache folder (set XDG_CACHE_HOME or HOME): %v", err)
	}
	dir = filepath.Join(cache, "hoptrace-test", "day", fmt.Sprintf("v%d-%d", dayVersion, spans))
	note := filepath.Join(dir, "day.json")
	d = &day{}
	if text, err := os.ReadFile(note); err == nil {
		if err := json.Unmarshal(text, d); err != nil {
			b.Fatalf("cannot read %s; delete the folder and run again: %v", note, err)
		}
		return filepath.Join(dir, "data"), d
	}
	if err := os.RemoveAll(dir); err != nil { // of a run that was broken off
		b.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	d = &day{Version: dayVersion, Spans: spans, Start: time.Now().Add(-25 * time.Hour).Truncate(time.Hour)}
	began := time.Now()
	d.fill(b, filepath.Join(dir, "data"))
	d.Took = time.Since(began)
	text, err := json.Marshal(d)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(note, text, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Logf("made a day of %d spans in %s", spans, d.Took.Round(time.Second))
	return filepath.Join(dir, "data"), d
}

// fill writes the day through the store into the engine of a process of its own, and
// waits until no part is merged any more: what a store looks like some minutes later.
func (d *day) fill(b *testing.B, data string) {
	h := harness.StartHoptrace(b, harness.Options{Role: "clickhouse", Data: data})
	cfg := clickhouse.DefaultConfig()
	cfg.Address, cfg.User, cfg.Password, cfg.Database, cfg.RetentionDays = h.EngineAddress, harness.EngineUser, harness.EnginePassword, "hoptrace", 0
	s, err := clickhouse.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	issues := d.issues(b, data)
	const tracesPerBatch = 6_000 // as many spans as the persist stage writes at once under load
	batches := make(chan *dayBatch, 2)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(batches)
		w := &dayWriter{day: d, issues: issues, resources: map[[2]int][]schemas.Attribute{}}
		for n := 0; n < d.traces(); n += tracesPerBatch {
			batch := &dayBatch{}
			for i := n; i < min(n+tracesPerBatch, d.traces()); i++ {
				w.trace(batch, i)
			}
			select {
			case batches <- batch:
			case <-over:
				return
			}
		}
	})
	defer wg.Wait()
	defer close(over)
	for batch := range batches {
		if err := s.WriteSpans(b.Context(), batch.spans, batch.rows); err != nil {
			b.Fatal(err)
		}
		if err := s.WriteEvents(b.Context(), batch.events); err != nil {
			b.Fatal(err)
		}
	}
	d.clockSamples(b, s)
	e := harness.DialEngine(b, h.EngineAddress)
	quiet := 0
	harness.Until(b, "the engine merges no parts", 10*time.Minute, func() error {
		if n := e.Number("SELECT count() FROM system.merges"); n > 0 {
			quiet = 0
			return fmt.Errorf("%d merges run", n)
		}
		if quiet++; quiet < 30 {
			return fmt.Errorf("no merge runs, for the %dth time", quiet)
		}
		return nil
	})
	if err := h.Process.Stop(time.Minute); err != nil {
		b.Fatalf("the engine did not end cleanly: %v", err)
	}
}

// clockSamples are what ten hosts told of three brokers' clocks every second or two.
func (d *day) clockSamples(b *testing.B, s *clickhouse.Store) {
	var cells []schemas.ClockCell
	flush := func() {
		if err := s.WriteClocks(b.Context(), cells); err != nil {
			b.Fatal(err)
		}
		cells = cells[:0]
	}
	for t := clocktrack.Begin(d.Start.UnixNano()); t < d.end().UnixNano(); t += clocktrack.Cell {
		for host := range dayHosts {
			for broker := range dayBrokers {
				cell := schemas.ClockCell{
					Project: 1, Host: dayBoot(host), Broker: fmt.Sprintf("kafka-%d.internal:9092", broker+1), Origin: schemas.ClockRoundTrip, Time: t,
					Name: fmt.Sprintf("node-%d", host), Service: dayService(host), Node: schemas.Unknown,
				}
				offset := int64(host*1_000_000 + broker*10_000)
				for at := t + int64(host)*1e7; at < t+clocktrack.Cell; at += 1_700_000_000 {
					clocktrack.Fold(&cell, at, offset-200_000, offset+200_000)
				}
				cells = append(cells, cell)
			}
		}
		if len(cells) > 20_000 {
			flush()
		}
	}
	flush()
}

// issues are what the errors of the day are of.
func (d *day) issues(b *testing.B, data string) (ids [dayIssues]schemas.IssueID) {
	m, err := metadata.Open(b.Context(), "sqlite:"+filepath.Join(data, "metadata.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	for i := range ids {
		if ids[i], _, err = m.SeeIssue(b.Context(), schemas.Issue{
			Project: 1, Fingerprint: dayFingerprint(i), Title: fmt.Sprintf("*errors.errorString: payment declined, reason %d", i), Culprit: "charge", Level: "error", Platform: "go",
			FirstSeen: d.Start.UnixNano(), LastSeen: d.end().UnixNano(), Grouping: []string{"type *errors.errorString"},
		}); err != nil {
			b.Fatal(err)
		}
	}
	return ids
}

func dayFingerprint(issue int) (f schemas.Fingerprint) {
	f[0], f[15] = byte(issue), 1
	return f
}

func dayBoot(host int) string { return fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012x", host*7919) }

// dayReader is which of a group's three processes reads a partition: each has a third
// of them, but for the half hour that the last one is away.
func dayReader(partition int, after time.Duration) int {
	const left, came = 10 * time.Hour, 10*time.Hour + 30*time.Minute
	at := partition % 3
	if at == 2 && after >= left && after < came {
		at = partition / 3 % 2
	}
	return at
}

type dayBatch struct {
	spans  []schemas.Span
	rows   []schemas.Message
	events []schemas.Event
}

// dayWriter makes the rows of traces, in order.
type dayWriter struct {
	day       *day
	issues    [dayIssues]schemas.IssueID
	resources map[[2]int][]schemas.Attribute
	positions [dayServices]schemas.Position
	serial    uint32 // of events
}

func (w *dayWriter) resource(service, instance int) []schemas.Attribute {
	key := [2]int{service, instance}
	if r, ok := w.resources[key]; ok {
		return r
	}
	host := instance % dayHosts
	r := []schemas.Attribute{
		{Key: "service.version", Value: fmt.Sprintf("1.%d.2", service)},
		{Key: "deployment.environment.name", Value: "production"},
		{Key: "host.name", Value: fmt.Sprintf("node-%d", host)},
		{Key: "host.id", Value: fmt.Sprintf("%032x", host*7919)},
		{Key: "process.pid", Value: strconv.Itoa(4000 + instance)},
		{Key: "process.runtime.version", Value: "go1.26.8"},
		{Key: "telemetry.sdk.language", Value: "go"},
		{Key: "telemetry.sdk.name", Value: "opentelemetry"},
		{Key: "telemetry.sdk.version", Value: "1.47.0"},
		{Key: "k8s.pod.name", Value: fmt.Sprintf("%s-%08x-%05x", dayService(service), instance*104729, instance)},
	}
	w.resources[key] = r
	return r
}

// dayConsumer is the service that reads a topic: one of the second ten of the first
// fifteen topics, one of the last twenty of the others.
func dayConsumer(topic int) int {
	if topic < 15 {
		return 10 + (topic*2+2)/3
	}
	return 20 + topic%20
}

func dayGroup(topic int) string { return dayService(dayConsumer(topic)) }

func dayService(i int) string { return fmt.Sprintf("%s-service-%d", dayNouns[i%dayTopics], i) }

// place is where the span came from: the next place of its service's partition.
func (w *dayWriter) place(service int) (schemas.Source, schemas.Position) {
	p := &w.positions[service]
	if p.Index++; p.Index >= 400 {
		p.Index, p.Offset = 0, p.Offset+1
	}
	return schemas.Source(service + 1), *p //nolint:gosec // small
}

// trace makes trace n.
func (w *dayWriter) trace(out *dayBatch, n int) {
	r := rand.New(rand.NewPCG(uint64(n), 13)) //nolint:gosec // test data
	step := int64(24*time.Hour) / int64(w.day.traces())
	start := w.day.Start.UnixNano() + int64(n)*step + r.Int64N(step)
	id := func() (s schemas.SpanID) { binary.BigEndian.PutUint64(s[:], r.Uint64()|1); return s }
	took := func(typical time.Duration) int64 { return int64(float64(typical) * (0.3 + r.ExpFloat64())) }

	traceID := dayTraceID(n, false)
	front := r.IntN(10)
	order := dayOrder(n)
	failed := n%failedEvery == 7
	root := schemas.Span{
		Project: 1, TraceID: traceID, SpanID: id(), Name: "POST /checkout", Kind: schemas.KindServer, Start: start, End: start + took(6*time.Millisecond),
		Service: dayService(front), Scope: "net/http", Resource: w.resource(front, r.IntN(4)),
		Attributes: []schemas.Attribute{
			{Key: "http.request.method", Value: "POST"},
			{Key: "url.path", Value: "/checkout"},
			{Key: "http.response.status_code", Value: "200"},
			{Key: "server.address", Value: "shop.example"},
			{Key: "client.address", Value: fmt.Sprintf("10.0.%d.%d", r.IntN(8), r.IntN(256))},
			{Key: "order.id", Value: order},
		},
	}
	if n%rareEvery == 77 {
		root.Attributes = append(root.Attributes, schemas.Attribute{Key: rareKey, Value: rareValue(n)})
	}
	root.Source, root.Position = w.place(front)
	out.spans = append(out.spans, root)

	sent := message{
		traceID: traceID, parent: root.SpanID, at: start + took(500*time.Microsecond), topic: front * 3 / 2, producer: front, order: order, id: id, took: took,
	}
	if n%namedEvery == 3 {
		sent.name = dayMessageID(n)
	}
	first := w.message(out, r, sent)
	topic := 15 + (front*7+r.IntN(3))%15
	second := message{
		traceID: first.TraceID, parent: first.SpanID, at: first.Start + took(time.Millisecond), topic: topic,
		producer: 10 + front, order: order, id: id, took: took, failed: failed,
	}
	if n%linkedEvery == 5 {
		second.own = dayTraceID(n, true)
	}
	db := schemas.Span{
		Project: 1, TraceID: first.TraceID, SpanID: id(), ParentID: first.SpanID, Name: "SELECT shop.orders", Kind: schemas.KindClient,
		Start: first.Start + took(100*time.Microsecond), Service: first.Service, Scope: "database/sql", Resource: first.Resource,
		Attributes: []schemas.Attribute{
			{Key: "db.system.name", Value: "postgresql"},
			{Key: "db.namespace", Value: "shop"},
			{Key: "db.query.text", Value: "SELECT * FROM orders WHERE id = $1"},
			{Key: "server.address", Value: "db-1.internal"},
		},
	}
	db.End = db.Start + took(900*time.Microsecond)
	db.Source, db.Position = w.place(10 + front)
	out.spans = append(out.spans, db)
	last := w.message(out, r, second)
	if failed {
		w.serial++
		e := schemas.Event{
			Project: 1, Time: last.End, Received: last.End + 2e9, Level: "error", Platform: "go", Type: "*errors.errorString", Value: "payment " + order + " declined",
			Culprit: "charge", Environment: "production", TraceID: last.TraceID, SpanID: last.SpanID, Partition: schemas.Unknown, Offset: schemas.Unknown, Age: schemas.Unknown, Weight: 1,
			Source: 77, Position: schemas.Position{Offset: int64(w.serial)},
		}
		binary.BigEndian.PutUint64(e.ID[:], r.Uint64())
		issue := n / failedEvery % dayIssues
		e.Fingerprint, e.Issue = dayFingerprint(issue), w.issues[issue]
		out.events = append(out.events, e)
	}
}

// dayOrder is the key of trace n's records, and of no other's.
func dayOrder(n int) string { return fmt.Sprintf("ord-%08d", n*7919%90_000_000) }

// dayMessageID is the id of trace n's first message, where it has one.
func dayMessageID(n int) string {
	id := dayTraceID(n, true)
	return fmt.Sprintf("%x-%x-%x", id[:4], id[4:6], id[6:12])
}

func rareValue(n int) string { return fmt.Sprintf("SPRING-%d", n) }

// message is one that is sent and processed.
type message struct {
	traceID     schemas.TraceID
	parent      schemas.SpanID
	own         schemas.TraceID // zero: it is processed in the sender's trace
	at          int64
	topic       int
	producer    int
	order, name string // the key, and the message's id; empty without one
	failed      bool
	id          func() schemas.SpanID
	took        func(time.Duration) int64
}

// message writes the spans and rows of one, and gives the processing span.
func (w *dayWriter) message(out *dayBatch, r *rand.Rand, m message) schemas.Span {
	consumer := dayConsumer(m.topic)
	partition := r.IntN(dayPartitions)
	offset := firstOffset + w.day.Records[m.topic][partition]
	w.day.Records[m.topic][partition]++
	topic, group := dayTopic(m.topic), dayGroup(m.topic)
	producerAt, consumerAt := r.IntN(4), dayReader(partition, time.Duration(m.at-w.day.Start.UnixNano()))
	written := m.at + m.took(4*time.Millisecond)
	acked := written + m.took(900*time.Microsecond)
	asked := written - r.Int64N(int64(300*time.Millisecond))
	switch {
	case r.IntN(200) == 0: // far behind
		asked = acked + r.Int64N(int64(2*time.Hour))
	case r.IntN(4) == 0:
		asked = acked + m.took(200*time.Millisecond)
	}
	answered := max(asked, acked) + m.took(400*time.Microsecond)
	handed := answered + m.took(150*time.Microsecond)
	done := handed + m.took(5*time.Millisecond)
	size := 300 + r.Int64N(500)
	attrs := func(op, client string) []schemas.Attribute {
		out := []schemas.Attribute{
			{Key: "messaging.system", Value: "kafka"},
			{Key: "messaging.destination.name", Value: topic},
			{Key: "messaging.operation.name", Value: op},
			{Key: "messaging.operation.type", Value: op},
			{Key: "messaging.destination.partition.id", Value: strconv.Itoa(partition)},
			{Key: "messaging.kafka.offset", Value: strconv.FormatInt(offset, 10)},
			{Key: "messaging.client.id", Value: client},
			{Key: "messaging.message.body.size", Value: strconv.FormatInt(size, 10)},
			{Key: "messaging.kafka.message.key", Value: m.order},
			{Key: "server.address", Value: "kafka-1.internal"},
			{Key: "server.port", Value: "9092"},
		}
		if m.name != "" {
			out = append(out, schemas.Attribute{Key: "messaging.message.id", Value: m.name})
		}
		return out
	}
	send := schemas.Span{
		Project: 1, TraceID: m.traceID, SpanID: m.id(), ParentID: m.parent, Name: "send " + topic, Kind: schemas.KindProducer, Start: m.at, End: acked,
		Service: dayService(m.producer), Scope: "otelkafkago", Resource: w.resource(m.producer, producerAt), Attributes: attrs("send", dayService(m.producer)),
	}
	send.Source, send.Position = w.place(m.producer)
	process := schemas.Span{
		Project: 1, TraceID: m.traceID, SpanID: m.id(), ParentID: send.SpanID, Name: "process " + topic, Kind: schemas.KindConsumer, Start: handed, End: done,
		Service: dayService(consumer), Scope: "otelkafkago", Resource: w.resource(consumer, consumerAt),
		Attributes: append(attrs("process", group), schemas.Attribute{Key: "messaging.consumer.group.name", Value: group}),
		Links:      []schemas.Link{{TraceID: m.traceID, SpanID: send.SpanID}},
	}
	if m.own != (schemas.TraceID{}) {
		process.TraceID, process.ParentID = m.own, schemas.SpanID{}
	}
	if m.failed {
		process.Status = schemas.StatusError
	}
	process.Source, process.Position = w.place(consumer)
	out.spans = append(out.spans, send, process)
	base := schemas.Message{
		Project: 1, Topic: topic, Partition: int32(partition), Offset: offset, RecordTime: m.at / 1e6 * 1e6, BodySize: size, KeyHash: find.KeyHash(m.order), MessageID: m.name, HighWatermark: schemas.Unknown, //nolint:gosec // small
	}
	p, c := base, base
	p.Side, p.Service, p.ClientID, p.BootID = schemas.SideProduce, send.Service, send.Service, dayBoot(producerAt%dayHosts)
	p.TraceID, p.SpanID, p.Source, p.Position = send.TraceID, send.SpanID, send.Source, send.Position
	p.Start, p.End, p.Written, p.Acked, p.Attempts = m.at, acked, written, acked, 1
	c.Side, c.Service, c.ClientID, c.Group, c.BootID = schemas.SideProcess, process.Service, process.Service, group, dayBoot(1+consumerAt)
	c.TraceID, c.SpanID, c.Source, c.Position = process.TraceID, process.SpanID, process.Source, process.Position
	c.CreationTrace, c.CreationSpan = send.TraceID, send.SpanID
	c.Start, c.End, c.Asked, c.Answered, c.Handed = handed, done, asked, answered, handed
	c.HighWatermark, c.Failed = offset+1+r.Int64N(3), m.failed
	p.Instance, c.Instance = fmt.Sprintf("%s-%d", send.Service, producerAt), fmt.Sprintf("%s-%d", process.Service, consumerAt)
	out.rows = append(out.rows, p, c)
	if offset%commitEvery == 0 {
		settle := base
		settle.Side, settle.Service, settle.ClientID, settle.Group, settle.BootID = schemas.SideSettle, c.Service, c.ClientID, group, c.BootID
		settle.SpanID, settle.Start, settle.BodySize, settle.KeyHash, settle.RecordTime, settle.MessageID = m.id(), done+m.took(time.Millisecond), schemas.Unknown, 0, 0, ""
		settle.End = settle.Start + m.took(2*time.Millisecond)
		binary.BigEndian.PutUint64(settle.TraceID[:], r.Uint64()|1)
		settle.Source, settle.Position = w.place(consumer)
		out.rows = append(out.rows, settle)
		out.spans = append(out.spans, schemas.Span{
			Project: 1, TraceID: settle.TraceID, SpanID: settle.SpanID, Name: "commit " + topic, Kind: schemas.KindClient, Start: settle.Start, End: settle.End,
			Service: settle.Service, Scope: "otelkafkago", Resource: process.Resource, Attributes: attrs("commit", group)[:7], Source: settle.Source, Position: settle.Position,
		})
	}
	return process
}
