package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// ledger remembers outcomes.
type ledger struct {
	mu  sync.Mutex
	got map[string]int64
}

func (l *ledger) Record(project uint64, key string, cat schemas.Category, o schemas.Outcome, reason string, n int64, _ schemas.EventID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if project != 1 || key != shopKey {
		cat = schemas.Category(fmt.Sprintf("of project %d, key %s: %s", project, key, cat))
	}
	if l.got == nil {
		l.got = map[string]int64{}
	}
	what := string(cat) + " " + o.String()
	if reason != "" {
		what += " " + reason
	}
	l.got[what] += n
}

func (l *ledger) want(t *testing.T, want map[string]int64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := cmp.Diff(want, l.got); d != "" {
		t.Errorf("outcomes (-want +got):\n%s", d)
	}
	l.got = nil
}

// all empties Kafka and gives all records.
func (m *memory) all() []*kgo.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.records
	m.records = nil
	return out
}

// describe is what a record holds, for comparing. Ids of attachments are
// replaced, as they are random.
func describe(t *testing.T, r *kgo.Record) string {
	t.Helper()
	head := r.Topic + " " + headerOf(r, schemas.HeaderSchema) + " " + headerOf(r, schemas.HeaderCategory)
	if n := headerOf(r, schemas.HeaderCount); n != "" {
		head += " x" + n
	}
	var text string
	decode := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", head, err)
		}
	}
	schema := headerOf(r, schemas.HeaderSchema)
	switch schema {
	case schemas.SchemaIngestEvents, schemas.SchemaIngestTransactions, schemas.SchemaIngestFeedbackEvents:
		text = describeEvent(t, r.Value)
	case schemas.SchemaIngestAttachments:
		var c wire.AttachmentChunk
		var a wire.Attachment
		var u wire.UserReport
		switch {
		case c.DecodeMsgpack(r.Value) == nil:
			text = fmt.Sprintf("chunk %d of %s: %d bytes", c.ChunkIndex, c.EventID, len(c.Payload))
		case a.DecodeMsgpack(r.Value) == nil:
			text = fmt.Sprintf("attachment of %s: %s", a.EventID, describeAttachment(&a.Attachment))
		case u.DecodeMsgpack(r.Value) == nil:
			text = fmt.Sprintf("report of %s: %s", u.EventID, u.Payload)
		default:
			text = describeEvent(t, r.Value)
		}
	case schemas.SchemaIngestSessions:
		var s wire.Session
		decode(s.DecodeMsgpack(r.Value))
		text = fmt.Sprintf("%s of %d: %s", s.Type, s.ProjectID, s.Payload)
	case schemas.SchemaIngestMonitors:
		var c wire.CheckIn
		decode(c.DecodeMsgpack(r.Value))
		text = fmt.Sprintf("%s by %s: %s", c.Type, c.SDK, c.Payload)
	case schemas.SchemaProfiles, schemas.SchemaIngestReplayEvents, schemas.SchemaIngestReplayRecordings:
		var i wire.RawItem
		decode(i.DecodeMsgpack(r.Value))
		text = fmt.Sprintf("%s %s: %s", i.Type, i.EventID, i.Payload)
	case schemas.SchemaOTLPTraces:
		text = fmt.Sprintf("%d spans", spansIn(t, r.Value))
	default:
		if !json.Valid(r.Value) {
			t.Errorf("%s: %q is no JSON", head, r.Value)
		}
		text = string(r.Value)
	}
	if p := headerOf(r, schemas.HeaderProject); p != "1" {
		head += " of project " + p
	}
	if len(r.Key) != 8 && len(r.Key) != 16 {
		t.Errorf("%s: key %x", head, r.Key)
	}
	return head + ": " + text
}

func describeEvent(t *testing.T, value []byte) string {
	t.Helper()
	var e wire.IngestEvent
	if err := e.DecodeMsgpack(value); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%s %s: %s", e.Type, e.EventID, e.Payload)
	for i := range e.Attachments {
		text += "; " + describeAttachment(&e.Attachments[i])
	}
	if e.RemoteAddr != "127.0.0.1" {
		text += "; from " + e.RemoteAddr
	}
	return text
}

func describeAttachment(a *wire.EventAttachment) string {
	text := fmt.Sprintf("%s %q %s, %d bytes in %d chunks", a.AttachmentType, a.Name, a.ContentType, a.Size, a.Chunks)
	if a.RateLimited {
		text += ", rate limited"
	}
	return text
}

func (h *house) wantRecords(want ...string) {
	h.t.Helper()
	var got []string
	for _, r := range h.kafka.all() {
		got = append(got, describe(h.t, r))
	}
	if d := cmp.Diff(want, got); d != "" {
		h.t.Errorf("records (-want +got):\n%s", d)
	}
}

func envelopeWith(header string, items ...string) []byte {
	return []byte(header + "\n" + strings.Join(items, "\n"))
}

const withID = `{"event_id":"` + eventID + `"}`

func TestEachTypeOfItemGoesToItsTopic(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	f := func(item string, outcomes map[string]int64, records ...string) {
		t.Helper()
		h.post("/api/1/envelope/", asShop, envelopeWith(withID, item)).want(t, 200)
		h.wantRecords(records...)
		l.want(t, outcomes)
	}
	one := func(category string) map[string]int64 { return map[string]int64{category + " accepted": 1} }
	const other = "0123456789abcdef0123456789abcdef"
	f("{\"type\":\"event\"}\n{\"message\":\"m\"}", one("error"), `ingest-events ingest-events/2 error: event `+eventID+`: {"message":"m"}`)
	f("{\"type\":\"event\"}\n{\"type\":\"transaction\"}", one("transaction"), `ingest-transactions ingest-transactions/1 transaction: transaction `+eventID+`: {"type":"transaction"}`)
	f("{\"type\":\"transaction\"}\n{\"a\":1}", one("transaction"), `ingest-transactions ingest-transactions/1 transaction: transaction `+eventID+`: {"a":1}`)
	f("{\"type\":\"feedback\"}\n{\"a\":1}", one("feedback"), `ingest-feedback-events ingest-feedback-events/1 feedback: event `+eventID+`: {"a":1}`)
	f("{\"type\":\"raw_security\",\"sentry_release\":\"r\",\"sentry_environment\":\"e\"}\n{\"csp-report\":{}}", one("security"),
		`ingest-events ingest-events/2 security: security `+eventID+`: {"kind":"csp","report":{"csp-report":{}},"user_agent":"Go-http-client/1.1","release":"r","environment":"e"}`)
	f("{\"type\":\"nel\"}\n{\"x\":1}", one("security"), `ingest-events ingest-events/2 security: security `+eventID+`: {"kind":"nel","report":{"x":1},"user_agent":"Go-http-client/1.1"}`)
	const spans = `{"version":2,"items":[{"a":1},{"b":2}]}`
	f("{\"type\":\"span\",\"item_count\":2,\"content_type\":\"application/vnd.sentry.items.span.v2+json\"}\n"+spans, map[string]int64{"span accepted": 2}, "ingest-spans sentry-spans/2 span x2: "+spans)
	f("{\"type\":\"span\"}\n{\"span_id\":\"1\"}", one("span"), `ingest-spans sentry-spans/2 span x1: {"version":1,"items":[{"span_id":"1"}]}`)
	f("{\"type\":\"log\",\"item_count\":2}\n"+spans, map[string]int64{"log_item accepted": 2, "log_byte accepted": int64(len(spans))}, "ingest-logs sentry-logs/1 log_item x2: "+spans)
	f("{\"type\":\"trace_metric\",\"item_count\":2}\n"+spans, map[string]int64{"trace_metric accepted": 2, "trace_metric_byte accepted": int64(len(spans))}, "ingest-metrics sentry-trace-metrics/1 trace_metric x2: "+spans)
	start := strconv.FormatInt(time.Now().UnixNano(), 10)
	span := `{"traceId":"` + other + `","spanId":"0123456789abcdef","name":"n","startTimeUnixNano":"` + start + `","endTimeUnixNano":"` + start + `"}`
	f("{\"type\":\"otel_span\"}\n"+span, one("span"), "ingest-spans otlp-traces/1 span x1: 1 spans")
	proto := string(protoOf(t, request(3, nil)))
	f("{\"type\":\"otel_traces_data\",\"length\":"+strconv.Itoa(len(proto))+"}\n"+proto, map[string]int64{"span accepted": 3}, "ingest-spans otlp-traces/1 span x3: 3 spans")
	f("{\"type\":\"user_report\"}\n{\"event_id\":\""+other+"\",\"comments\":\"c\"}", one("feedback"), `ingest-attachments ingest-attachments/1 feedback: report of `+other+`: {"event_id":"`+other+`","comments":"c"}`)
	f("{\"type\":\"session\"}\n{\"sid\":1}", one("session"), `ingest-sessions ingest-sessions/1 session: session of 1: {"sid":1}`)
	f("{\"type\":\"sessions\"}\n{\"aggregates\":[]}", one("session"), `ingest-sessions ingest-sessions/1 session: sessions of 1: {"aggregates":[]}`)
	f("{\"type\":\"check_in\"}\n{\"status\":\"ok\"}", one("monitor"), `ingest-monitors ingest-monitors/1 monitor: check_in by test/1: {"status":"ok"}`)
	f("{\"type\":\"profile\"}\n{\"event_id\":\""+other+"\"}", one("profile"), `profiles profiles/1 profile: profile `+other+`: {"event_id":"`+other+`"}`)
	f("{\"type\":\"profile_chunk_ui\"}\n{\"chunk_id\":\""+other+"\"}", one("profile_chunk"), `profiles profiles/1 profile_chunk: profile_chunk `+other+`: {"chunk_id":"`+other+`"}`)
	f("{\"type\":\"replay_event\"}\n{\"replay_id\":\""+other+"\"}", one("replay"), `ingest-replay-events ingest-replay-events/1 replay: replay_event `+other+`: {"replay_id":"`+other+`"}`)
	f("{\"type\":\"replay_recording\",\"length\":3}\na\nb", one("replay"), "ingest-replay-recordings ingest-replay-recordings/1 replay: replay_recording "+eventID+": a\nb")
	f("{\"type\":\"replay_video\",\"length\":3}\na\nb", one("replay"), "ingest-replay-recordings ingest-replay-recordings/1 replay: replay_video "+eventID+": a\nb")
	f("{\"type\":\"attachment\",\"filename\":\"a.txt\",\"content_type\":\"text/plain\",\"length\":3}\na\nb", map[string]int64{"attachment accepted": 3, "attachment_item accepted": 1},
		"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 3 bytes",
		"ingest-attachments ingest-attachments/1 attachment: attachment of "+eventID+`: event.attachment "a.txt" text/plain, 3 bytes in 1 chunks`)
	f("{\"type\":\"unreal_report\"}\nabc", map[string]int64{"attachment accepted": 3, "attachment_item accepted": 1},
		"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 3 bytes",
		"ingest-attachments ingest-attachments/1 attachment: attachment of "+eventID+`: unreal.report "" , 3 bytes in 1 chunks`)
	f("{\"type\":\"statsd\"}\nx", map[string]int64{"metric_bucket invalid retired_item": 1})
	f("{\"type\":\"metric_buckets\"}\nx", map[string]int64{"metric_bucket invalid retired_item": 1})
	f("{\"type\":\"something_new\"}\nx", map[string]int64{"default invalid unknown_item": 1})
	f("{\"type\":\"form_data\"}\n{\"a\":\"b\"}", nil)
	f("{\"type\":\"client_report\"}\n{\"timestamp\":1,\"discarded_events\":[{\"reason\":\"Queue Overflow\",\"category\":\"error\",\"quantity\":3},{\"reason\":\"sample_rate\",\"category\":\"what\",\"quantity\":2},{\"reason\":\"\",\"category\":\"span\",\"quantity\":1},{\"reason\":\"x\",\"category\":\"span\",\"quantity\":-1}]}",
		map[string]int64{"error client_discard queue_overflow": 3, "default client_discard sample_rate": 2, "span client_discard unknown": 1})
	h.post("/api/1/envelope/", asShop, envelopeWith("{}", "{\"type\":\"integration\"}\nx")).want(t, 400, "for Sentry's own servers")
	h.wantMetric(0, "in_flight_bytes")
}

func TestItemsThatAreWrongAreNamedAlone(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	f := func(item string, code int, cause string, outcomes map[string]int64) {
		t.Helper()
		h.post("/api/1/envelope/", asShop, envelopeWith(withID, item)).want(t, code, cause)
		h.wantRecords()
		l.want(t, outcomes)
	}
	f("{\"type\":\"span\",\"item_count\":3}\n{\"items\":[{},{}]}", 400, "item_count of span is 3 where it holds 2", map[string]int64{"span invalid item_count": 2})
	f("{\"type\":\"span\"}\n{\"items\":[]}", 400, "holds 0, want 1 to 1000", map[string]int64{"span invalid item_count": 1})
	f("{\"type\":\"span\"}\n{\"items\":["+strings.Repeat("{},", 1000)+"{}]}", 400, "holds 1001, want 1 to 1000", map[string]int64{"span invalid item_count": 1001})
	f("{\"type\":\"log\",\"item_count\":7}\n{\"items\":[{},1]}", 400, "items[1] is no object", map[string]int64{"log_item invalid invalid_json": 7})
	f("{\"type\":\"log\"}\n[]", 400, "not a JSON object", map[string]int64{"log_item invalid invalid_json": 1})
	f("{\"type\":\"session\"}\n[]", 400, "session: not a JSON object", map[string]int64{"session invalid invalid_json": 1})
	f("{\"type\":\"check_in\"}\n{\"a\":\""+strings.Repeat("x", 100<<10)+"\"}", 413, "check_in is larger than 102400 bytes", map[string]int64{"monitor invalid too_large:check_in": 1})
	f("{\"type\":\"client_report\"}\n{\"discarded_events\":["+strings.Repeat("{},", 100)+"{}]}", 400, "lists more than 100", map[string]int64{"internal invalid invalid_json": 1})
	f("{\"type\":\"raw_security\"}\n{\"what\":1}", 400, "of no kind that is known", map[string]int64{"security invalid invalid_report": 1})
	f("{\"type\":\"otel_span\"}\n{\"traceId\":5}", 400, "otel_span", map[string]int64{"span invalid invalid_json": 1})
	f("{\"type\":\"otel_traces_data\"}\nno protobuf", 400, "otel_traces_data", map[string]int64{"span invalid invalid_protobuf": 1})
	h.post("/api/1/envelope/", asShop, envelopeWith("{}", "{\"type\":\"user_report\"}\n{}")).want(t, 400, "tells no event_id")
	l.want(t, map[string]int64{"feedback invalid no_event_id": 1})
	h.post("/api/1/envelope/", asShop, []byte(`{"sent_at":1,"sent_at":1}`)).want(t, 400, "sent_at stands twice")
}

func TestAttachmentsAreBoundedTogether(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, func(c *Config) { c.MaxAttachmentBytes = 2000 }, func(d *Deps) { d.Outcomes = l })
	file := func(n int, length string) string {
		return `{"type":"attachment"` + length + "}\n" + strings.Repeat("x", n)
	}
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, file(2001, `,"length":2001`))).want(t, 413, "attachment is larger than 2000 bytes")
	l.want(t, map[string]int64{"attachment invalid too_large:attachment": 2001, "attachment_item invalid too_large:attachment": 1})
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, file(2001, ""))).want(t, 413, "attachment is larger than 2000 bytes")
	l.want(t, map[string]int64{"attachment_item invalid too_large:attachment": 1})
	h.wantRecords()
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, file(1200, `,"length":1200`), file(1000, `,"length":1000`), file(800, ""))).want(t, 200)
	l.want(t, map[string]int64{
		"attachment accepted": 2000, "attachment_item accepted": 2,
		"attachment invalid too_large:attachment": 1000, "attachment_item invalid too_large:attachment": 1,
	})
}

func TestContainersAreDividedByBytes(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxRecordBytes = 64 << 10 })
	const n = 900
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"n":%d,"x":%q}`, i, strings.Repeat("x", 1000)))
	}
	items[7] = `{"n":7,"x":"` + strings.Repeat("x", 70<<10) + `"}` // fits nowhere
	body := envelopeWith("{}", `{"type":"log","item_count":`+strconv.Itoa(n)+"}\n{\"version\":2,\"ingest_settings\":{\"a\":1},\"items\":["+strings.Join(items, ",")+"]}")
	h.post("/api/1/envelope/", asShop, body).want(t, 200)
	next, records := 0, h.kafka.taken(topics.IngestLogs)
	for _, r := range records {
		if len(r.Value) > 64<<10 {
			t.Errorf("a record has %d bytes", len(r.Value))
		}
		var c struct {
			Version        int
			IngestSettings struct{ A int } `json:"ingest_settings"`
			Items          []struct{ N int }
		}
		if err := json.Unmarshal(r.Value, &c); err != nil {
			t.Fatal(err)
		}
		if c.Version != 2 || c.IngestSettings.A != 1 || headerOf(r, schemas.HeaderCount) != strconv.Itoa(len(c.Items)) {
			t.Errorf("version %d, settings %v, count %s of %d", c.Version, c.IngestSettings, headerOf(r, schemas.HeaderCount), len(c.Items))
		}
		for _, item := range c.Items {
			if next == 7 {
				next++
			}
			if item.N != next {
				t.Fatalf("item %d; want %d", item.N, next)
			}
			next++
		}
	}
	if next != n || len(records) < 14 {
		t.Errorf("%d items in %d records", next, len(records))
	}
	h.wantMetric(n-1, "item_outcomes_total", "category=log_item", "outcome=accepted")
	h.wantMetric(1, "item_outcomes_total", "category=log_item", "outcome=invalid", "reason=too_large:log")
}

func TestAttachmentsGoBeforeTheirEvent(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	const event = "{\"type\":\"event\"}\n{\"message\":\"m\"}"
	const file = "{\"type\":\"attachment\",\"filename\":\"a\",\"length\":3}\nabc"
	const nolength = "{\"type\":\"attachment\",\"filename\":\"b\",\"attachment_type\":\"event.view_hierarchy\"}\nabcd"
	for _, items := range [][]string{{event, file, nolength}, {file, event, nolength}, {file, nolength, event}} {
		h.post("/api/1/envelope/", asShop, envelopeWith(withID, items...)).want(t, 200, eventID)
		h.wantRecords(
			"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 3 bytes",
			"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 4 bytes",
			"ingest-attachments ingest-attachments/1 error: event "+eventID+`: {"message":"m"}; event.attachment "a" , 3 bytes in 1 chunks; event.view_hierarchy "b" , 4 bytes in 1 chunks`)
		l.want(t, map[string]int64{"error accepted": 1, "attachment accepted": 7, "attachment_item accepted": 2})
	}
	// Nobody gave an id: the attachment's is the event's.
	a := h.post("/api/1/envelope/", asShop, envelopeWith("{}", file, event))
	a.want(t, 200)
	records := h.kafka.all()
	if len(records) != 2 || !bytes.Equal(records[0].Key, records[1].Key) || !strings.Contains(a.body, headerOf(records[1], schemas.HeaderEventID)) {
		t.Errorf("%d records, answer %s", len(records), a.body)
	}
	// A user report waits in the same order.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, event, "{\"type\":\"user_report\"}\n{}")).want(t, 200)
	h.wantRecords("ingest-attachments ingest-attachments/1 feedback: report of "+eventID+": {}", "ingest-attachments ingest-attachments/1 error: event "+eventID+`: {"message":"m"}`)
	// An empty one has no chunk.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"attachment\",\"length\":0}\n")).want(t, 200)
	h.wantRecords("ingest-attachments ingest-attachments/1 attachment: attachment of " + eventID + `: event.attachment "" , 0 bytes in 0 chunks`)
	// More than allowed are left out, and counted.
	l.got = nil
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, strings.Split(strings.Repeat(file+"\x00", 31), "\x00")[:31]...)).want(t, 200)
	l.want(t, map[string]int64{"attachment accepted": 90, "attachment_item accepted": 30, "attachment invalid too_many_attachments": 3, "attachment_item invalid too_many_attachments": 1})
}

func TestWhatIsMalformedBehindChunksLeavesThemOrphans(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	for end, torn := range map[string]string{"{\"type\":\"event\",\"length\":9}\n{}": "error", "nonsense": "default"} {
		h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"session\"}\n{}", "{\"type\":\"attachment\",\"length\":3}\nabc", end)).want(t, 400, "invalid envelope")
		h.wantRecords("ingest-attachments ingest-attachments/1 attachment: chunk 0 of " + eventID + ": 3 bytes")
		l.want(t, map[string]int64{"session invalid invalid_envelope": 1, "attachment invalid invalid_envelope": 3, "attachment_item invalid invalid_envelope": 1, torn + " invalid invalid_envelope": 1})
	}
	// One that breaks off within.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"attachment\",\"length\":30}\nabc")).want(t, 400, "length is 30 where 3 bytes are left")
	h.wantRecords()
}

func TestALargeItemGoesInPieces(t *testing.T) {
	h := newHouse(t, nil)
	video := strings.Repeat("v", 2<<20)
	for _, length := range []string{`,"length":` + strconv.Itoa(len(video)), ""} {
		h.post("/api/1/envelope/", asShop, envelopeWith(withID, `{"type":"replay_video"`+length+"}\n"+video)).want(t, 200)
		records := h.kafka.all()
		n := 0
		for _, r := range records[:len(records)-1] {
			var c wire.AttachmentChunk
			if err := c.DecodeMsgpack(r.Value); err != nil {
				t.Fatal(err)
			}
			if len(r.Value) > 900<<10 || c.EventID != eventID {
				t.Errorf("chunk of %d bytes for %s", len(r.Value), c.EventID)
			}
			n += len(c.Payload)
		}
		want := fmt.Sprintf(`ingest-attachments ingest-attachments/1 replay: attachment of %s: replay_video "" , %d bytes in 3 chunks`, eventID, len(video))
		if got := describe(t, records[len(records)-1]); n != len(video) || got != want {
			t.Errorf("%d bytes and %s; want %s", n, got, want)
		}
	}
	h.wantMetric(2, "item_outcomes_total", "category=replay", "outcome=accepted")
	h.wantMetric(0, "item_outcomes_total", "category=attachment")
	// One that turns out to fit is as if its length had been told.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"profile\"}\n{}")).want(t, 200)
	h.wantRecords("profiles profiles/1 profile: profile " + eventID + ": {}")
}

// counting is a Kafka that keeps sizes only.
type counting struct {
	mu     sync.Mutex
	bytes  int64
	chunks int
	peak   uint64
}

func (c *counting) ProduceSync(_ context.Context, records ...*kgo.Record) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		c.bytes += int64(len(r.Value))
		c.chunks++
	}
	c.peak = max(c.peak, m.HeapAlloc)
	return nil
}

func (c *counting) Ping(context.Context) error { return nil }

func TestAnAttachmentOf100MiBPassesInLittleMemory(t *testing.T) {
	kafka := &counting{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Kafka = kafka })
	const size = 100 << 20
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, item := range []string{`{"type":"attachment","length":` + strconv.Itoa(size) + "}\n", "{\"type\":\"attachment\"}\n"} {
		body := io.MultiReader(strings.NewReader(withID+"\n"+item), io.LimitReader(letters{}, size), strings.NewReader("\n{\"type\":\"event\"}\n{}"))
		h.do(http.MethodPost, "/api/1/envelope/", asShop, body).want(t, 200, eventID)
	}
	if kafka.bytes < 2*size || kafka.chunks < 2*size>>20 {
		t.Errorf("%d bytes in %d records", kafka.bytes, kafka.chunks)
	}
	if grown := int64(kafka.peak) - int64(before.HeapAlloc); grown > 48<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	h.wantMetric(2*size, "item_outcomes_total", "category=attachment", "outcome=accepted")
	h.wantMetric(0, "in_flight_bytes")
}

// letters never ends.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestABombInAnyEncodingIsRefused(t *testing.T) {
	kafka := &counting{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Kafka = kafka })
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd"} {
		headers := map[string]string{"Content-Encoding": encoding, "X-Sentry-Auth": asShop["X-Sentry-Auth"]}
		for _, head := range []string{"{}\n{\"type\":\"event\"}\n", "{}\n{\"type\":\"x\"}\n", "{}\n{\"type\":\"attachment\"}\n", ""} {
			body := encoded(t, encoding, io.MultiReader(strings.NewReader(head), io.LimitReader(letters{}, 100<<20)))
			a := h.post("/api/1/envelope/", headers, body)
			if a.code != 413 || !strings.Contains(a.body, "larger than") {
				t.Errorf("%s, %q and 100 MiB in %d bytes: %d %s; want 413", encoding, head, len(body), a.code, a.body)
			}
		}
		h.post("/api/1/envelope/", headers, encoded(t, encoding, strings.NewReader(oneEvent))).want(t, 200, eventID)
	}
	if kafka.bytes > 4*(16<<20) {
		t.Errorf("%d bytes were written", kafka.bytes)
	}
	h.wantMetric(0, "in_flight_bytes")
}

func TestDeepAndManyAreBounded(t *testing.T) {
	h := newHouse(t, nil)
	deep := strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64)
	h.post("/api/1/envelope/", asShop, envelopeWith("{}", "{\"type\":\"event\"}\n"+deep)).want(t, 200)
	if _, payload := h.event(); payload != deep {
		t.Errorf("the event is %s", payload)
	}
	h.post("/api/1/envelope/", asShop, envelopeWith("{}", "{\"type\":\"event\"}\n"+strings.Repeat(`{"a":`, 200000))).want(t, 400, "nested too deeply")
	h.post("/api/1/envelope/", asShop, envelopeWith("{}", strings.Repeat("{\"type\":\"session\"}\n{}\n", 10_000))).want(t, 413, "number of items is larger than 1000")
	h.wantRecords()
	h.wantMetric(1000, "item_outcomes_total", "category=session", "outcome=invalid", "reason=too_large")
}

// script is a gate that does as it is told.
type script struct {
	mu     sync.Mutex
	refuse bool
	limits []policy.RateLimit
	drop   map[string]policy.Decision // by type
	from   policy.Sender
	items  []policy.Item
}

func (s *script) Admit(_ context.Context, from *policy.Sender) ([]policy.RateLimit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from = *from
	return s.limits, s.refuse
}

func (s *script) Item(_ context.Context, _ *policy.Sender, it policy.Item) policy.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.items = append(s.items, it)
	if d, ok := s.drop[it.Type]; ok {
		if d.Quantity == 0 {
			d.Quantity = it.Quantity
		}
		return d
	}
	return policy.Decision{Keep: true, Payload: it.Payload, Quantity: it.Quantity}
}

func (s *script) Limits(context.Context, *policy.Sender) []policy.RateLimit { return s.limits }

func TestTheGateIsAskedAndObeyed(t *testing.T) {
	l, gate := &ledger{}, &script{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes, d.Gate = l, gate })
	limited := policy.Decision{Outcome: schemas.OutcomeRateLimited, Reason: "quota"}
	headers := map[string]string{"X-Sentry-Auth": asShop["X-Sentry-Auth"], "User-Agent": "agent/1", "Referer": "https://shop.example/x"}
	const event, file = "{\"type\":\"event\"}\n{}", "{\"type\":\"attachment\",\"length\":3}\nabc"

	// Its payload goes on; who sends was told.
	gate.drop = map[string]policy.Decision{"event": {Keep: true, Payload: []byte(`{"scrubbed":1}`)}}
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event)).want(t, 200)
	h.wantRecords("ingest-events ingest-events/2 error: event " + eventID + `: {"scrubbed":1}`)
	if f := gate.from; f.Project.ID != 1 || f.Key != shopKey || f.UserAgent != "agent/1" || f.Origin != "https://shop.example/x" || f.Client.String() != "127.0.0.1" {
		t.Errorf("the gate was told of %+v", f)
	}
	// A container may lose some.
	gate.drop = map[string]policy.Decision{"log": {Keep: true, Quantity: 1, Payload: []byte(`{"items":[{"b":2}]}`)}}
	h.post("/api/1/envelope/", headers, envelopeWith(withID, "{\"type\":\"log\",\"item_count\":2}\n{\"items\":[{\"a\":1},{\"b\":2}]}")).want(t, 200)
	h.wantRecords(`ingest-logs sentry-logs/1 log_item x1: {"items":[{"b":2}]}`)
	// What is dropped does not fail the others.
	l.got = nil
	gate.drop = map[string]policy.Decision{"session": limited}
	gate.limits = []policy.RateLimit{{Categories: []schemas.Category{schemas.CategorySession}, Scope: "project", Reason: "quota", RetryAfter: 7 * time.Second}}
	a := h.post("/api/1/envelope/", headers, envelopeWith(withID, event, "{\"type\":\"session\"}\n{}"))
	a.want(t, 200, eventID)
	if got := a.header.Get("X-Sentry-Rate-Limits"); got != "7:session:project:quota" || a.header.Get("Retry-After") != "" {
		t.Errorf("X-Sentry-Rate-Limits %q, Retry-After %q", got, a.header.Get("Retry-After"))
	}
	h.wantRecords("ingest-events ingest-events/2 error: event " + eventID + `: {}`)
	l.want(t, map[string]int64{"error accepted": 1}) // the gate counts what it drops
	// When nothing is left it is 429.
	a = h.post("/api/1/envelope/", headers, envelopeWith(withID, "{\"type\":\"session\"}\n{}"))
	a.want(t, 429, "rate limited")
	if a.header.Get("X-Sentry-Rate-Limits") != "7:session:project:quota" || a.header.Get("Retry-After") != "7" {
		t.Errorf("headers %v", a.header)
	}
	// What the gate says of one item is told, too.
	gate.drop = map[string]policy.Decision{"session": {Outcome: schemas.OutcomeRateLimited, Limit: &policy.RateLimit{Scope: "key", Reason: "fair", RetryAfter: 9 * time.Second}}}
	a = h.post("/api/1/envelope/", headers, envelopeWith(withID, "{\"type\":\"session\"}\n{}"))
	if got := a.header.Get("X-Sentry-Rate-Limits"); got != "7:session:project:quota, 9::key:fair" || a.header.Get("Retry-After") != "9" {
		t.Errorf("%d: X-Sentry-Rate-Limits %q, Retry-After %q", a.code, got, a.header.Get("Retry-After"))
	}
	held := gate.limits
	gate.limits = []policy.RateLimit{{Categories: []schemas.Category{schemas.CategoryError}, Scope: "project", Reason: "quota", RetryAfter: time.Minute}}
	gate.drop["session"] = policy.Decision{Outcome: schemas.OutcomeRateLimited, Limit: &policy.RateLimit{Categories: []schemas.Category{schemas.CategorySession}, Scope: "project", Reason: "batch", RetryAfter: 9 * time.Second}}
	a = h.post("/api/1/envelope/", headers, envelopeWith(withID, "{\"type\":\"session\"}\n{}", "{\"type\":\"session\"}\n{}"))
	if got := a.header.Get("X-Sentry-Rate-Limits"); got != "60:error:project:quota, 9:session:project:batch" || a.header.Get("Retry-After") != "9" {
		t.Errorf("%d: X-Sentry-Rate-Limits %q, Retry-After %q", a.code, got, a.header.Get("Retry-After"))
	}
	gate.limits = held
	// A repeat is handed on as one, without its attachments, and told of when it is durable.
	durable := 0
	gate.drop = map[string]policy.Decision{"event": {Keep: true, Payload: []byte(`{"short":1}`), RepeatOf: schemas.EventID{1}, Kept: func() { durable++ }}}
	h.kafka.fail(errDown)
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event)).want(t, 429)
	if durable != 0 {
		t.Error("told of before it was durable")
	}
	h.kafka.fail(nil)
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event, file)).want(t, 200)
	h.wantRecords(
		"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 3 bytes",
		"ingest-attachments ingest-attachments/1 attachment: attachment of "+eventID+`: event.attachment "" , 3 bytes in 1 chunks`,
		"ingest-events ingest-events/2 error: repeat "+eventID+`: {"short":1}`)
	if durable != 1 {
		t.Errorf("told %d times", durable)
	}
	// A client report is not asked about.
	gate.items = nil
	h.post("/api/1/envelope/", headers, envelopeWith("{}", "{\"type\":\"client_report\"}\n{\"discarded_events\":[]}")).want(t, 200)
	if len(gate.items) != 0 {
		t.Errorf("the gate was asked about %v", gate.items)
	}
	// A limited attachment is told with its event; an event's end is its attachments'.
	l.got = nil
	gate.drop = map[string]policy.Decision{"attachment": limited}
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event, file)).want(t, 200)
	h.wantRecords("ingest-attachments ingest-attachments/1 error: event " + eventID + `: {}; event.attachment "" , 3 bytes in 0 chunks, rate limited`)
	l.want(t, map[string]int64{"error accepted": 1})
	gate.drop = map[string]policy.Decision{"event": {Outcome: schemas.OutcomeFiltered, Reason: "localhost"}}
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event, file)).want(t, 200)
	h.wantRecords()
	l.want(t, map[string]int64{"attachment filtered localhost": 3, "attachment_item filtered localhost": 1})
	h.post("/api/1/envelope/", headers, envelopeWith(withID, file, event)).want(t, 200)
	h.wantRecords("ingest-attachments ingest-attachments/1 attachment: chunk 0 of " + eventID + ": 3 bytes")
	l.want(t, map[string]int64{"attachment filtered localhost": 3, "attachment_item filtered localhost": 1})
	// A page that may not send.
	gate.drop = map[string]policy.Decision{"event": {Outcome: schemas.OutcomeInvalid, Reason: "cors"}}
	h.post("/api/1/envelope/", headers, envelopeWith(withID, event)).want(t, 403, "origin")
	// Before the body.
	gate.refuse = true
	a = h.post("/api/1/envelope/", headers, []byte("not even an envelope"))
	a.want(t, 429, "rate limited")
	if a.header.Get("Retry-After") != "7" {
		t.Errorf("headers %v", a.header)
	}
	b := h.post("/api/1/integration/otlp/v1/traces/", map[string]string{"X-Sentry-Auth": asShop["X-Sentry-Auth"], "Content-Type": "application/x-protobuf"}, protoOf(t, request(1, nil)))
	if b.code != 429 || b.header.Get("Retry-After") != "7" || b.header.Get("X-Sentry-Rate-Limits") != "7:session:project:quota" {
		t.Errorf("OTLP: %d %v", b.code, b.header)
	}
	gate.refuse = false
	gate.drop = map[string]policy.Decision{"span": limited}
	h.post("/v1/traces", asProto, protoOf(t, request(1, nil))).want(t, 429)
	h.wantRecords()
}

func TestWhatKafkaDoesNotTakeIsCountedAsLimited(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	h.kafka.fail(errDown)
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"event\"}\n{}", "{\"type\":\"session\"}\n{}")).want(t, 429)
	l.want(t, map[string]int64{"error rate_limited kafka_unavailable": 1, "session rate_limited kafka_unavailable": 1})
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"event\"}\n{}", "{\"type\":\"attachment\",\"length\":3}\nabc")).want(t, 429)
	l.want(t, map[string]int64{"error rate_limited kafka_unavailable": 1, "attachment rate_limited kafka_unavailable": 3, "attachment_item rate_limited kafka_unavailable": 1})
}

func TestTheSendersClockIsHandedOn(t *testing.T) {
	h := newHouse(t, nil)
	h.post("/api/1/envelope/", asShop, envelopeWith(`{"sent_at":"2026-11-23T12:00:00.5Z"}`, "{\"type\":\"event\"}\n{}")).want(t, 200)
	r := h.kafka.all()
	if got := headerOf(r[0], schemas.HeaderSentAt); got != "1795435200500000000" {
		t.Errorf("sent-at is %q", got)
	}
}

func TestTheCheckInsOfAMonitorKeepTheirOrder(t *testing.T) {
	h := newHouse(t, nil)
	key := func(slug string) string {
		t.Helper()
		h.post("/api/1/envelope/", asShop, envelopeWith("{}", `{"type":"check_in"}`+"\n"+`{"check_in_id":"`+eventID+`","monitor_slug":"`+slug+`","status":"ok"}`)).want(t, 200)
		r := h.kafka.all()
		if len(r) != 1 || len(r[0].Key) != 8 {
			t.Fatalf("%d records for %s", len(r), slug)
		}
		return string(r[0].Key)
	}
	nightly := key("nightly-close")
	if key("nightly-close") != nightly || key("Nightly Close") != nightly {
		t.Error("two check-ins of one monitor have two keys")
	}
	if key("hourly") == nightly {
		t.Error("two monitors have one key")
	}
}
