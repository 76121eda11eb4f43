package collector

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

const eventID = "9ec79c33ec9942ab8353589fcb2e04dc"

var (
	asShop   = map[string]string{"X-Sentry-Auth": "Sentry sentry_key=" + shopKey + ", sentry_version=7, sentry_client=test/1"}
	byQuery  = "?sentry_key=" + shopKey + "&sentry_version=7&sentry_client=sentry.javascript.node%2F11.12.0"
	shopDSN  = "http://" + shopKey + "@127.0.0.1:4318/1"
	oneEvent = "{\"event_id\":\"" + eventID + "\"}\n{\"type\":\"event\"}\n{\"message\":\"m\"}\n"
)

// event asserts that exactly one event was taken, for project 1, and gives its
// id and its JSON.
func (h *house) event() (id, payload string) {
	h.t.Helper()
	r := h.kafka.taken(schemas.TopicIngestEvents)
	if len(r) != 1 {
		h.t.Errorf("%d events reached Kafka; want 1", len(r))
		return "", ""
	}
	want := map[string]string{schemas.HeaderProject: "1", schemas.HeaderSchema: schemas.SchemaIngestEvents, schemas.HeaderCategory: "error"}
	for k, v := range want {
		if got := headerOf(r[0], k); got != v {
			h.t.Errorf("header %s is %q; want %q", k, got, v)
		}
	}
	e := eventOf(h.t, r[0])
	if id = headerOf(r[0], schemas.HeaderEventID); e.EventID != id || hex.EncodeToString(r[0].Key) != id || e.ProjectID != 1 || e.Type != "event" {
		h.t.Errorf("event %s of project %d, type %s, key %x; want %s of project 1", e.EventID, e.ProjectID, e.Type, r[0].Key, id)
	}
	return id, string(e.Payload)
}

func eventOf(t testing.TB, r *kgo.Record) wire.IngestEvent {
	t.Helper()
	var e wire.IngestEvent
	if err := e.DecodeMsgpack(r.Value); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEveryWayToAuthenticateAnEnvelopeWorks(t *testing.T) {
	h := newHouse(t, nil)
	f := func(path string, headers map[string]string, body string) {
		t.Helper()
		h.post(path, headers, []byte(body)).want(t, 200, `{"id":"`+eventID+`"}`)
		if id, payload := h.event(); id != eventID || payload != `{"message":"m"}` {
			t.Errorf("%s: event %s %s", path, id, payload)
		}
	}
	withDSN := strings.Replace(oneEvent, "{", `{"dsn":"`+shopDSN+`",`, 1)
	f("/api/1/envelope/", asShop, oneEvent)
	f("/api/1/envelope", asShop, oneEvent)
	f("/api/1/envelope/"+byQuery, nil, oneEvent)
	f("/api/1/envelope/", map[string]string{"Authorization": "Sentry sentry_key=" + shopKey}, oneEvent)
	f("/api/1/envelope/", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(shopKey+":"))}, oneEvent)
	f("/api/1/envelope/", asShop, withDSN)
	f("/api/1/envelope/", nil, withDSN)
	for _, contentType := range []string{"application/x-sentry-envelope", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "what/ever"} {
		f("/api/1/envelope/"+byQuery, map[string]string{"Content-Type": contentType}, oneEvent)
	}
}

func TestWhoMayNotSendIsToldWhy(t *testing.T) {
	h := newHouse(t, nil)
	f := func(code int, reason, path string, headers map[string]string, body, want string) {
		t.Helper()
		before := h.metric("outcomes_total", "reason="+reason)
		a := h.post(path, headers, []byte(body))
		a.want(t, code, `"detail":`, want)
		if !strings.Contains(a.header.Get("X-Sentry-Error"), want) {
			t.Errorf("X-Sentry-Error is %q; want %q", a.header.Get("X-Sentry-Error"), want)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", a.header)
		}
		if n := h.metric("outcomes_total", "reason="+reason) - before; n != 1 {
			t.Errorf("outcome %s rose by %v; want 1", reason, n)
		}
	}
	f(401, "auth", "/api/1/envelope/", nil, oneEvent, "no DSN key")
	f(401, "auth", "/api/1/store/", nil, `{}`, "no DSN key")
	f(401, "auth", "/api/1/envelope/"+byQuery, asShop, oneEvent, "more than once")
	f(400, "bad_auth", "/api/1/envelope/", map[string]string{"X-Sentry-Auth": "Sentry sentry_key=short"}, oneEvent, "32 hex digits")
	f(400, "bad_auth", "/api/1/envelope/?sentry_version=9&sentry_key="+shopKey, nil, oneEvent, "protocol version")
	f(400, "bad_auth", "/api/x/envelope/", asShop, oneEvent, "project id")
	f(403, "unknown_key", "/api/1/envelope/?sentry_key="+strings.Repeat("0", 32), nil, oneEvent, "unknown DSN key")
	f(403, "project_id", "/api/2/envelope/", asShop, oneEvent, "another project")
	f(403, "project_id", "/api/2/store/", asShop, `{}`, "another project")
	dsn := func(s string) string { return strings.Replace(oneEvent, "{", `{"dsn":"`+s+`",`, 1) }
	f(400, "header_mismatch", "/api/1/envelope/", asShop, dsn("http://"+shopKey+"@h/2"), "dsn names project 2, the path 1")
	f(400, "header_mismatch", "/api/1/envelope/", asShop, dsn("http://"+otherKey+"@h/1"), "another key")
	f(400, "bad_auth", "/api/1/envelope/", asShop, dsn("nonsense"), "is no DSN")
	f(403, "project_id", "/api/1/envelope/", nil, dsn("http://"+otherKey+"@h/1"), "another project")
	if n := len(h.kafka.taken(schemas.TopicIngestEvents)); n != 0 {
		t.Errorf("%d events of strangers", n)
	}
	h.post("/api/1/envelope/", asShop, []byte(oneEvent)).want(t, 200)
	h.event()
}

func TestBrokenEnvelopesAreNamed(t *testing.T) {
	h := newHouse(t, nil)
	f := func(body, cause string) {
		t.Helper()
		a := h.post("/api/1/envelope/", asShop, []byte(body))
		var e struct {
			Detail string
			Causes []string
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Fatal(err)
		}
		if a.code != 400 || e.Detail != "invalid envelope" || len(e.Causes) != 1 || !strings.Contains(e.Causes[0], cause) {
			t.Errorf("answer %d %s; want cause %q", a.code, a.body, cause)
		}
	}
	f("", "not a JSON object")
	f("nonsense", "not a JSON object")
	f("{}\n{\"type\":\"event\",\"length\":100}\n{}", "length is 100 where 2 bytes are left")
	f(`{"event_id":"x"}`, "no UUID")
	h.wantMetric(4, "outcomes_total", "reason=invalid_envelope")
	h.wantMetric(1, "item_outcomes_total", "category=error", "outcome=invalid", "reason=invalid_envelope")
	h.wantMetric(3, "item_outcomes_total", "category=default", "outcome=invalid", "reason=invalid_envelope")
	h.post("/api/1/envelope/", map[string]string{"Content-Encoding": "gzip", "X-Sentry-Auth": asShop["X-Sentry-Auth"]}, []byte(oneEvent)).want(t, 400, "cannot read the gzip body")
	h.wantMetric(1, "outcomes_total", "reason=invalid_compression")
	h.wantMetric(1, "item_outcomes_total", "category=default", "outcome=invalid", "reason=invalid_compression")
	h.post("/api/1/envelope/", map[string]string{"Content-Encoding": "lzma", "X-Sentry-Auth": asShop["X-Sentry-Auth"]}, []byte(oneEvent)).want(t, 415, "lzma")
	h.wantMetric(1, "item_outcomes_total", "category=default", "outcome=invalid", "reason=content_encoding")
	h.post("/api/1/envelope/", asShop, []byte("{}\n"+strings.Repeat("{\"type\":\"x\"}\n\n", 1001))).want(t, 413, "number of items is larger than 1000 items")
	h.post("/api/1/envelope/", asShop, []byte(oneEvent)).want(t, 200)
	h.event()
}

func TestABadItemDoesNotFailItsEnvelope(t *testing.T) {
	h := newHouse(t, nil)
	f := func(items, reason string) {
		t.Helper()
		body := "{}\n" + items + "{\"type\":\"event\"}\n{\"event_id\":\"" + eventID + "\"}\n"
		h.post("/api/1/envelope/", asShop, []byte(body)).want(t, 200, eventID)
		if id, _ := h.event(); id != eventID {
			t.Errorf("event %s; want %s", id, eventID)
		}
		h.wantMetric(1, "outcomes_total", "reason="+reason)
	}
	f("{\"type\":\"event\"}\n{\"broken\":\n", "invalid_json")
	h = newHouse(t, nil)
	f("{\"type\":\"event\"}\n[]\n", "invalid_json")
	h = newHouse(t, nil)
	f("{\"type\":\"event\"}\n"+strings.Repeat(`{"a":`, 300)+"1"+strings.Repeat("}", 300)+"\n", "invalid_json")
	h = newHouse(t, nil)
	f("{\"type\":\"event\"}\n{\"a\":\""+strings.Repeat("x", 1<<20)+"\"}\n", "too_large:event")
	h = newHouse(t, nil)
	f("{\"type\":\"session\"}\nnonsense\n", "invalid_json")
	h = newHouse(t, nil)
	f("{\"type\":\"statsd\"}\nnonsense\n", "unsupported_item")
	h.wantMetric(1, "items_unsupported_total", "type=statsd")
	h = newHouse(t, nil)
	f("{\"type\":\"made_up_"+strings.Repeat("x", 100)+"\"}\n\n", "unsupported_item")
	h.wantMetric(1, "items_unsupported_total", "type=unknown")
	h.post("/api/1/envelope/", asShop, []byte("{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"event\"}\n{}\n")).want(t, 200, `{"id":"`)
	h.event()
	h.wantMetric(1, "outcomes_total", "reason=duplicate_item")
	h.post("/api/1/envelope/", asShop, []byte("{}\n{\"type\":\"client_report\"}\n{}\n")).want(t, 200)
	if a := h.post("/api/1/envelope/", asShop, []byte("{}")); a.body != "{}" || a.code != 200 {
		t.Errorf("an empty envelope: %d %s; want 200 {}", a.code, a.body)
	}
}

func TestABadEventAloneInItsEnvelopeIsNamed(t *testing.T) {
	h := newHouse(t, nil)
	f := func(event string, code int, cause string) {
		t.Helper()
		h.post("/api/1/envelope/", asShop, []byte("{}\n{\"type\":\"event\"}\n"+event)).want(t, code, cause)
	}
	f(`{"broken":`, http.StatusBadRequest, "broken JSON")
	f("[]", http.StatusBadRequest, "not a JSON object")
	f(`{"a":"`+strings.Repeat("x", 1<<20)+`"}`, http.StatusRequestEntityTooLarge, "larger than")
	if n := len(h.kafka.taken(schemas.TopicIngestEvents)); n != 0 {
		t.Errorf("%d bad events were taken", n)
	}
	h.wantMetric(2, "outcomes_total", "reason=invalid_json")
	h.wantMetric(1, "outcomes_total", "reason=too_large:event")
}

func TestTheEventsID(t *testing.T) {
	h := newHouse(t, nil)
	const own = "0123456789abcdef0123456789abcdef"
	send := func(header, event string) string {
		t.Helper()
		a := h.post("/api/1/envelope/", asShop, []byte(header+"\n{\"type\":\"event\"}\n"+event))
		id, payload := h.event()
		if a.body != `{"id":"`+id+`"}` || payload != event {
			t.Errorf("answer %s for event %s %s", a.body, id, payload)
		}
		return id
	}
	if got := send(`{"event_id":"`+eventID+`"}`, `{"event_id":"`+own+`"}`); got != eventID {
		t.Errorf("both: %s; want the header's", got)
	}
	if got := send(`{}`, `{"event_id":"`+own[:8]+"-"+own[8:12]+"-"+own[12:16]+"-"+own[16:20]+"-"+own[20:]+`"}`); got != own {
		t.Errorf("the event's own: %s; want %s", got, own)
	}
	seen := map[string]bool{}
	for _, event := range []string{`{}`, `{}`, `{"event_id":null}`, `{"event_id":5}`, `{"event_id":"short"}`, `{"event_id":"00000000000000000000000000000000"}`} {
		id := send(`{}`, event)
		if len(id) != 32 || id[12] != '4' || seen[id] {
			t.Errorf("%s: new id %s; want a random UUID", event, id)
		}
		seen[id] = true
	}
}

func TestStoreTakesWhatOldSDKsSend(t *testing.T) {
	h := newHouse(t, nil)
	event := `{"event_id":"` + eventID + `","message":"m"}`
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := io.WriteString(w, event); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := func(path string, headers map[string]string, body []byte) {
		t.Helper()
		all := map[string]string{"X-Sentry-Auth": asShop["X-Sentry-Auth"]}
		for k, v := range headers {
			all[k] = v
		}
		h.post(path, all, body).want(t, 200, `{"id":"`+eventID+`"}`)
		if id, payload := h.event(); id != eventID || payload != event {
			t.Errorf("%s: event %s %s", path, id, payload)
		}
	}
	for _, path := range []string{"/api/1/store/", "/api/1/store", "/api/store/", "/api/store"} {
		f(path, nil, []byte(event))
		f(path, nil, []byte(base64.StdEncoding.EncodeToString(z.Bytes())))
		f(path, nil, []byte(base64.StdEncoding.EncodeToString([]byte(event))+"\r\n"))
		f(path, map[string]string{"Content-Encoding": "deflate"}, z.Bytes())
		f(path, map[string]string{"Content-Encoding": "gzip"}, gzipped(t, []byte(event)))
	}
	for body, want := range map[string]string{
		"":             "not a JSON object",
		"[]":           "neither a JSON object nor base64",
		"nonsense !":   "neither a JSON object nor base64",
		"{":            "broken JSON",
		`{"a":1}{}`:    "broken JSON",
		"bm8gemxpYg==": "zlib",
		base64.StdEncoding.EncodeToString(z.Bytes()[:20]): "zlib",
	} {
		h.post("/api/1/store/", asShop, []byte(body)).want(t, 400, want)
	}
	h.post("/api/1/store/", asShop, []byte(`{"a":"`+strings.Repeat("x", 1<<20)+`"}`)).want(t, 413, "event is larger than 1048576 bytes")
	var bomb bytes.Buffer
	w = zlib.NewWriter(&bomb)
	if _, err := w.Write(make([]byte, 50<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h.post("/api/1/store/", asShop, []byte(base64.StdEncoding.EncodeToString(bomb.Bytes()))).want(t, 413, "decompressed body")
	for reason, n := range map[string]float64{"invalid_json": 5, "invalid_compression": 2, "too_large": 1, "too_large:event": 1} {
		h.wantMetric(n, "item_outcomes_total", "category=error", "outcome=invalid", "reason="+reason)
	}
	h.wantMetric(0, "in_flight_bytes")
}

func TestEnvelopesAreReadInEveryEncoding(t *testing.T) {
	h := newHouse(t, nil)
	f := func(encoding string, body []byte) {
		t.Helper()
		h.post("/api/1/envelope/"+byQuery, map[string]string{"Content-Encoding": encoding}, body).want(t, 200, eventID)
		h.event()
	}
	var br, zs bytes.Buffer
	bw := brotli.NewWriterLevel(&br, 4)
	zw, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{bw, zw} {
		if _, err := io.WriteString(w, oneEvent); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f("br", br.Bytes())
	f("zstd", zs.Bytes())
	f("gzip", gzipped(t, []byte(oneEvent)))
	f("GZIP", gzipped(t, []byte(oneEvent)))
	f("UTF-8", []byte(oneEvent))
	f("", []byte(oneEvent))
	// Chunked and without a content type, as the Node SDK sends.
	h.do(http.MethodPost, "/api/1/envelope/"+byQuery, nil, io.MultiReader(strings.NewReader(oneEvent))).want(t, 200, eventID)
	h.event()
}

func TestBrowsersMaySend(t *testing.T) {
	h := newHouse(t, nil)
	for _, path := range []string{"/api/1/envelope/", "/api/1/store/", "/v1/traces"} {
		a := h.do(http.MethodOptions, path, map[string]string{"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}, nil)
		a.want(t, 204)
		want := map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "POST", "Access-Control-Max-Age": "3600"}
		got := map[string]string{}
		for k := range want {
			got[k] = a.header.Get(k)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "x-sentry-auth") {
			t.Errorf("allowed headers %q", a.header.Get("Access-Control-Allow-Headers"))
		}
	}
	a := h.post("/api/1/envelope/"+byQuery, map[string]string{"Origin": "https://shop.example"}, []byte(oneEvent))
	if a.header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "x-sentry-rate-limits") {
		t.Errorf("headers %v", a.header)
	}
	h.do(http.MethodGet, "/api/1/envelope/", nil, nil).want(t, 405, "use POST")
	for _, path := range []string{"/api/", "/api/1/", "/api/1/nothing/", "/api/1/envelope/more/"} {
		h.post(path, nil, nil).want(t, 404, `"detail":"unknown path`)
	}
}

func TestWhenKafkaIsDownSDKsAreToldToWait(t *testing.T) {
	h := newHouse(t, nil)
	h.kafka.fail(errDown)
	a := h.post("/api/1/envelope/", asShop, []byte(oneEvent))
	a.want(t, 429, "cannot produce to topic")
	if a.header.Get("Retry-After") != "5" || a.header.Get("X-Sentry-Rate-Limits") != "5::organization:kafka_unavailable" {
		t.Errorf("Retry-After %q, X-Sentry-Rate-Limits %q", a.header.Get("Retry-After"), a.header.Get("X-Sentry-Rate-Limits"))
	}
	h.wantMetric(0, "events_accepted_total")
	h.wantMetric(1, "outcomes_total", "reason=kafka_unavailable")
}

func TestAPanicFailsOneRequestOnly(t *testing.T) {
	h := newHouse(t, nil)
	set := func(on bool) {
		h.kafka.mu.Lock()
		defer h.kafka.mu.Unlock()
		h.kafka.panics = on
	}
	set(true)
	h.post("/api/1/envelope/", asShop, []byte(oneEvent)).want(t, 500, "a bug with this request")
	h.post("/v1/traces", asProto, protoOf(t, request(1, nil))).want(t, 500, "a bug with this request")
	_, err := h.call(export, protoOf(t, request(1, nil)), nil)
	if err == nil || !strings.Contains(err.Error(), "a bug with this request") {
		t.Errorf("gRPC: %v", err)
	}
	h.wantMetric(3, "panics_total")
	if log := h.log.String(); !strings.Contains(log, "panic in an HTTP handler") || !strings.Contains(log, "panic in a gRPC handler") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	set(false)
	h.good()
}

// TestManySendersAtOnce: what was acknowledged is in Kafka, from all doors.
func TestManySendersAtOnce(t *testing.T) {
	h := newHouse(t, nil)
	const each = 20
	done := make(chan error, 8)
	for i := range 8 {
		go func() {
			for n := range each {
				var a answer
				if i%2 == 0 {
					a = h.post("/v1/traces", asProto, protoOf(t, request(10, nil)))
				} else {
					a = h.post("/api/1/envelope/", asShop, []byte(strings.Replace(oneEvent, "9ec7", fmt.Sprintf("%02x%02x", i, n), 1)))
				}
				if a.code != 200 {
					done <- fmt.Errorf("sender %d: %d %s", i, a.code, a.body)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(h.kafka.taken(schemas.TopicIngestSpans)); n != 4*each {
		t.Errorf("%d records of spans; want %d", n, 4*each)
	}
	if n := len(h.kafka.taken(schemas.TopicIngestEvents)); n != 4*each {
		t.Errorf("%d events; want %d", n, 4*each)
	}
	h.wantMetric(0, "in_flight_bytes")
}

// encoded is what src gives, compressed.
func encoded(t testing.TB, encoding string, src io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "br":
		w = brotli.NewWriterLevel(&b, 1)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	}
	if err == nil {
		_, err = io.Copy(w, src)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
