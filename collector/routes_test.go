package collector

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestCredentialsMayStandInOnePlaceOnly(t *testing.T) {
	h := newHouse(t, nil)
	sentry := "Sentry sentry_key=" + shopKey
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(shopKey+":"))
	f := func(path string, headers http.Header, code int, want string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url(path), strings.NewReader(oneEvent))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = headers
		resp, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != code || !strings.Contains(string(body), want) {
			t.Errorf("%s %v: %d %s; want %d %q", path, headers, resp.StatusCode, body, code, want)
		}
	}
	const path, twice = "/api/1/envelope/", "more than once"
	f(path, http.Header{"X-Sentry-Auth": {sentry}}, 200, eventID)
	f(path, http.Header{"X-Sentry-Auth": {sentry}, "Authorization": {"Bearer somebody else's"}}, 200, eventID)
	f(path+byQuery, http.Header{"Authorization": {"Digest x"}}, 200, eventID)
	f(path, http.Header{"X-Sentry-Auth": {sentry}, "Authorization": {sentry}}, 401, twice)
	f(path, http.Header{"X-Sentry-Auth": {sentry, sentry}}, 401, twice)
	f(path, http.Header{"Authorization": {basic, sentry}}, 401, twice)
	f(path+byQuery, http.Header{"X-Sentry-Auth": {sentry}}, 401, twice)
	f(path+byQuery, http.Header{"Authorization": {basic}}, 401, twice)
	f(path+byQuery+"&sentry_key="+shopKey, nil, 401, twice)
	h.post("/api/1/cron/nightly/"+shopKey+"/?status=ok", nil, nil).want(t, 202)
	f("/api/1/cron/nightly/"+shopKey+"/?status=ok&sentry_key="+shopKey, nil, 401, twice)
	f(path, http.Header{"Authorization": {"Bearer x"}}, 401, "no DSN key")
	f(path, http.Header{"X-Sentry-Auth": {"Sentry sentry_version=8, sentry_key=" + shopKey}}, 400, "protocol version")
	f("/api/0/envelope/"+byQuery, nil, 400, "project id")
}

func TestTheTunnelGoesByTheFirstLineOnly(t *testing.T) {
	h := newHouse(t, nil)
	dsn := func(key, project string) string {
		return `{"event_id":"` + eventID + `","dsn":"https://` + key + `@sentry.example/` + project + `"}`
	}
	const item = "{\"type\":\"event\"}\n{}"
	for _, path := range []string{"/tunnel", "/tunnel/", "/tunnel?sentry_key=" + otherKey} {
		a := h.post(path, map[string]string{"Content-Type": "text/plain", "Origin": "https://shop.example", "X-Sentry-Auth": "nonsense"}, envelopeWith(dsn(shopKey, "1"), item))
		a.want(t, 200, eventID)
		if a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("headers %v", a.header)
		}
		h.wantRecords("ingest-events ingest-events/2 error: event " + eventID + ": {}")
	}
	h.post("/tunnel", asShop, envelopeWith("{}", item)).want(t, 401, "no DSN key")
	h.post("/tunnel", nil, envelopeWith(dsn(shopKey, "2"), item)).want(t, 403, "another project")
	h.post("/tunnel", nil, envelopeWith(dsn(strings.Repeat("0", 32), "1"), item)).want(t, 403, "unknown DSN key")
	h.post("/tunnel", nil, envelopeWith(`{"dsn":"x"}`, item)).want(t, 400, "is no DSN")
	h.do(http.MethodGet, "/tunnel", nil, nil).want(t, 405)
	h.do(http.MethodOptions, "/tunnel", nil, nil).want(t, 204)
	h.wantRecords()
}

// part is one part of a form.
type part struct{ name, file, contentType, value string }

func formOf(t *testing.T, parts ...part) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		head := fmt.Sprintf(`form-data; name=%q`, p.name)
		if p.file != "" {
			head += fmt.Sprintf(`; filename=%q`, p.file)
		}
		header := map[string][]string{"Content-Disposition": {head}}
		if p.contentType != "" {
			header["Content-Type"] = []string{p.contentType}
		}
		x, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(x, p.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

func (h *house) form(path string, parts ...part) answer {
	h.t.Helper()
	contentType, body := formOf(h.t, parts...)
	return h.post(path, map[string]string{"Content-Type": contentType}, body)
}

// crash takes the records of one crash and gives its event and attachments.
func (h *house) crash(a answer) (event map[string]any, attachments []string) {
	h.t.Helper()
	records := h.kafka.all()
	if len(records) == 0 {
		h.t.Fatalf("no records; answer %d %s", a.code, a.body)
	}
	e := eventOf(h.t, records[len(records)-1])
	if a.code != 200 || len(a.body) != 36 || strings.ReplaceAll(a.body, "-", "") != e.EventID || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		h.t.Errorf("answer %d %q %s; want event %s", a.code, a.body, a.header.Get("Content-Type"), e.EventID)
	}
	if err := json.Unmarshal(e.Payload, &event); err != nil {
		h.t.Fatal(err)
	}
	for i := range e.Attachments {
		attachments = append(attachments, describeAttachment(&e.Attachments[i]))
	}
	return event, attachments
}

const dump = "MDMP and so on"

func TestAMinidumpBecomesAnEvent(t *testing.T) {
	h := newHouse(t, nil)
	path := "/api/1/minidump/" + byQuery
	native := map[string]any{
		"platform": "native", "level": "fatal",
		"exception": map[string]any{"values": []any{map[string]any{
			"type": "Minidump", "value": "the process crashed",
			"mechanism": map[string]any{"type": "minidump", "handled": false, "synthetic": true},
		}}},
	}
	want := func(got, want any) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for k, v := range native {
			all[k] = v
		}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	upload := part{name: "upload_file_minidump", file: "mini.dmp", contentType: "application/x-dmp", value: dump}
	event, files := h.crash(h.form(path, upload))
	want(event, native)
	want(files, []string{`event.minidump "mini.dmp" application/x-dmp, 14 bytes in 1 chunks`})
	// Alone.
	event, files = h.crash(h.post(path, map[string]string{"Content-Type": "application/octet-stream"}, []byte(dump)))
	want(event, native)
	want(files, []string{`event.minidump "minidump.dmp" , 14 bytes in 1 chunks`})
	// With a form as Crashpad and Electron send.
	event, files = h.crash(h.form(path,
		part{name: "sentry", value: `{"release":"1.0","level":"error"}`}, upload, part{name: "some_file", file: "log.txt", value: "abc"},
		part{name: "sentry[environment]", value: "prod"}, part{name: "sentry[contexts][app][name]", value: "shop"}, part{name: "prod", value: "Electron"}))
	want(event, with(map[string]any{
		"release": "1.0", "level": "error", "environment": "prod", "extra": map[string]any{"prod": "Electron"},
		"contexts": map[string]any{"app": map[string]any{"name": "shop"}},
	}))
	want(files, []string{`event.minidump "mini.dmp" application/x-dmp, 14 bytes in 1 chunks`, `event.attachment "log.txt" , 3 bytes in 1 chunks`})
	// With the event and its breadcrumbs as msgpack, the older file first.
	packed := msgpackMap("release", "2.0", "tags", map[string]string{"a": "b"})
	newer := msgpackMap("timestamp", "2026-11-23T12:00:02Z", "message", "3")
	older := msgpackMap("timestamp", "2026-11-23T12:00:00Z", "message", "1") + msgpackMap("timestamp", "2026-11-23T12:00:01Z", "message", "2")
	event, files = h.crash(h.form(path, upload, part{name: "a", file: "__sentry-event", value: packed},
		part{name: "b", file: "__sentry-breadcrumb1", value: newer}, part{name: "c", file: "__sentry-breadcrumb2", value: older}))
	crumb := func(second int, message string) any {
		return map[string]any{"timestamp": fmt.Sprintf("2026-11-23T12:00:0%dZ", second), "message": message}
	}
	want(event, with(map[string]any{
		"release": "2.0", "tags": map[string]any{"a": "b"},
		"breadcrumbs": map[string]any{"values": []any{crumb(0, "1"), crumb(1, "2"), crumb(2, "3")}},
	}))
	want(files, []string{`event.minidump "mini.dmp" application/x-dmp, 14 bytes in 1 chunks`})
	// What is none.
	h.form(path, part{name: "x", value: "y"}).want(t, 400, "missing minidump")
	h.form(path, part{name: "upload_file_minidump", file: "a", value: ""}).want(t, 400, "missing minidump")
	h.form(path, part{name: "upload_file_minidump", file: "a", value: "MZ no dump"}).want(t, 400, "invalid minidump")
	// What is broken beside a minidump is left out of its event, and counted.
	event, _ = h.crash(h.form(path, upload, part{name: "sentry", value: "{"}, part{name: "x", value: "y"}))
	want(event, with(map[string]any{"extra": map[string]any{"x": "y"}}))
	event, _ = h.crash(h.form(path, upload, part{name: "a", file: "__sentry-event", value: "\x93"}, part{name: "b", file: "__sentry-breadcrumb1", value: "\xc1"}))
	want(event, native)
	h.wantMetric(2, "outcomes_total", "reason=invalid_crash_part")
	h.post(path, nil, nil).want(t, 400, "missing minidump")
	h.post(path, map[string]string{"Content-Type": "multipart/form-data"}, []byte(dump)).want(t, 400, "no boundary")
	contentType, body := formOf(t, upload)
	h.post(path, map[string]string{"Content-Type": contentType}, body[:len(body)-10]).want(t, 400, "invalid multipart form")
	h.post(path, map[string]string{"Content-Type": contentType}, body[:len(body)/2]).want(t, 400, "invalid multipart form")
	h.form("/api/1/minidump/", upload).want(t, 401)
	h.wantMetric(0, "in_flight_bytes")
}

// msgpackMap is a map of texts, or of maps of texts.
func msgpackMap(pairs ...any) string {
	b := []byte{0x80 | byte(len(pairs)/2)}
	text := func(s string) {
		b = append(b, 0xda)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	for _, p := range pairs {
		switch v := p.(type) {
		case string:
			text(v)
		case map[string]string:
			b = append(b, 0x80|byte(len(v)))
			for k, x := range v {
				text(k)
				text(x)
			}
		}
	}
	return string(b)
}

func TestTheCrashPartsOfAnEnvelopeBecomeOneEvent(t *testing.T) {
	h := newHouse(t, nil)
	packed := msgpackMap("message", "m")
	item := func(header, payload string) string {
		return fmt.Sprintf(`{"type":"attachment","length":%d,%s}`+"\n%s", len(payload), header, payload)
	}
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, item(`"attachment_type":"event.payload"`, packed),
		item(`"attachment_type":"event.breadcrumbs"`, msgpackMap("message", "b")))).want(t, 200, eventID)
	h.wantRecords("ingest-events ingest-events/2 error: event " + eventID + `: {"breadcrumbs":{"values":[{"message":"b"}]},"message":"m"}`)
	// Beside an event, which says more.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, "{\"type\":\"event\"}\n{\"message\":\"e\"}", item(`"attachment_type":"event.payload"`, packed),
		"{\"type\":\"form_data\"}\n[[\"a\",\"b\"]]")).want(t, 200, eventID)
	h.wantRecords("ingest-events ingest-events/2 error: event " + eventID + `: {"extra":{"a":"b"},"message":"e"}`)
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, item(`"attachment_type":"event.minidump"`, dump))).want(t, 200, eventID)
	records := h.kafka.all()
	if e := eventOf(t, records[1]); !strings.Contains(string(e.Payload), `"level":"fatal"`) || len(e.Attachments) != 1 {
		t.Errorf("event %s", e.Payload)
	}
	// Breadcrumbs of no event are nobody's.
	h.post("/api/1/envelope/", asShop, envelopeWith(withID, item(`"attachment_type":"event.breadcrumbs"`, packed))).want(t, 200)
	h.wantRecords()
}

func TestFilesCanFollowTheirEvent(t *testing.T) {
	h := newHouse(t, nil)
	path := "/api/1/events/" + eventID + "/attachments/" + byQuery
	h.form(path, part{name: "a", file: "a.txt", contentType: "text/plain", value: "abc"}, part{name: "x", value: "no file"}).want(t, 201, eventID)
	h.wantRecords(
		"ingest-attachments ingest-attachments/1 attachment: chunk 0 of "+eventID+": 3 bytes",
		"ingest-attachments ingest-attachments/1 attachment: attachment of "+eventID+`: event.attachment "a.txt" text/plain, 3 bytes in 1 chunks`)
	h.form("/api/1/events/x/attachments/"+byQuery, part{name: "a", file: "a", value: "abc"}).want(t, 400, "no UUID")
	h.form(path, part{name: "x", value: "no file"}).want(t, 400, "no file")
	h.post(path, nil, []byte("abc")).want(t, 400, "want multipart/form-data")
	h.post("/api/1/events/"+eventID+"/"+byQuery, nil, nil).want(t, 404)
	h.wantRecords()
}

func TestACheckInNeedsNothingButCurl(t *testing.T) {
	l := &ledger{}
	h := newHouseWith(t, nil, func(d *Deps) { d.Outcomes = l })
	f := func(method, path, body, want string) {
		t.Helper()
		a := h.do(method, path, nil, strings.NewReader(body))
		a.want(t, 202)
		r := h.kafka.taken(topics.IngestMonitors)
		if len(r) != 1 {
			t.Fatalf("%s: %d records", path, len(r))
		}
		if got := describe(t, r[0]); got != "ingest-monitors ingest-monitors/1 monitor: check_in by : "+want {
			t.Errorf("%s: %s; want %s", path, got, want)
		}
		l.want(t, map[string]int64{"monitor accepted": 1})
	}
	const zero = "00000000000000000000000000000000"
	by := "sentry_key=" + shopKey
	f(http.MethodGet, "/api/1/cron/nightly/?status=ok&"+by, "", `{"check_in_id":"`+zero+`","monitor_slug":"nightly","status":"ok"}`)
	f(http.MethodPost, "/api/1/cron/nightly/"+shopKey+"?status=in_progress", "", `{"check_in_id":"`+zero+`","monitor_slug":"nightly","status":"in_progress"}`)
	f(http.MethodGet, "/api/1/cron/nightly/"+shopKey+"/?status=error&duration=1.50&environment=dev&check_in_id="+eventID, "",
		`{"check_in_id":"`+eventID+`","monitor_slug":"nightly","status":"error","duration":1.5,"environment":"dev"}`)
	f(http.MethodPost, "/api/1/cron/nightly/"+shopKey+"/?status=ok", `{"status":"error","duration":2,"monitor_config":{"schedule":{"type":"crontab","value":"* * * * *"}}}`,
		`{"check_in_id":"`+zero+`","monitor_slug":"nightly","status":"error","duration":2,"monitor_config":{"schedule":{"type":"crontab","value":"* * * * *"}}}`)
	bad := func(path, body string, code int, want string) {
		t.Helper()
		h.post(path, nil, []byte(body)).want(t, code, want)
		h.wantRecords()
	}
	// Of a sender that is known, what is refused is counted.
	invalid := func(path, body string, code int, want, reason string) {
		t.Helper()
		bad(path, body, code, want)
		l.want(t, map[string]int64{"monitor invalid " + reason: 1})
	}
	invalid("/api/1/cron/nightly/?"+by, "", 400, `status is \"\", want ok, error or in_progress`, "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=fine&"+by, "", 400, "status is", "invalid_check_in")
	invalid("/api/1/cron/nightly/"+shopKey+"/?status=fine", "", 400, "status is", "invalid_check_in")
	invalid("/api/1/cron/ni%20ghtly/?status=ok&"+by, "", 400, "slug", "invalid_check_in")
	invalid("/api/1/cron/"+strings.Repeat("s", 51)+"/?status=ok&"+by, "", 400, "slug", "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=ok&duration=-1&"+by, "", 400, "duration", "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=ok&check_in_id=x&"+by, "", 400, "check_in_id", "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=ok&environment=a%2Fb&"+by, "", 400, `environment \"\\\"a/b\\\"\"`, "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=ok&environment="+strings.Repeat("e", 65)+"&"+by, "", 400, "environment", "invalid_check_in")
	invalid("/api/1/cron/nightly/?"+by, `{"status":"ok","environment":"a\nb"}`, 400, "environment", "invalid_check_in")
	invalid("/api/1/cron/nightly/?"+by, `{"status":"ok","environment":7}`, 400, "environment", "invalid_check_in")
	invalid("/api/1/cron/nightly/?"+by, "[]", 400, "the body: not a JSON object", "invalid_check_in")
	invalid("/api/1/cron/nightly/?status=ok&"+by, strings.Repeat(" ", 101<<10), 413, "check_in is larger", "too_large:check_in")
	bad("/api/1/cron/nightly/short/?status=ok", "", 400, "32 hex digits")
	bad("/api/1/cron/nightly/?status=ok", "", 401, "no DSN key")
	bad("/api/1/cron//?status=ok", "", 404, "unknown path")
	bad("/api/1/cron/a/"+shopKey+"/c/?status=ok", "", 404, "unknown path")
	h.do(http.MethodDelete, "/api/1/cron/nightly/", nil, nil).want(t, 405)
	l.want(t, nil) // of strangers nothing is
}

func TestBrowsersReportViolations(t *testing.T) {
	h := newHouse(t, nil)
	f := func(path, contentType, body string, want ...string) {
		t.Helper()
		h.post(path+byQuery+"&sentry_release=r1&sentry_environment=prod", map[string]string{"Content-Type": contentType, "User-Agent": "Browser/1"}, []byte(body)).want(t, 200, `"id":`)
		var got []string
		for _, r := range h.kafka.taken(topics.IngestEvents) {
			e := eventOf(t, r)
			if e.Type != "security" || headerOf(r, schemas.HeaderCategory) != "security" {
				t.Errorf("type %s, category %s", e.Type, headerOf(r, schemas.HeaderCategory))
			}
			got = append(got, string(e.Payload))
		}
		for i, w := range want {
			want[i] = w + `,"user_agent":"Browser/1","release":"r1","environment":"prod"}`
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
	csp := `{"csp-report":{"document-uri":"https://shop.example","violated-directive":"img-src"}}`
	for _, path := range []string{"/api/1/security/", "/api/1/security", "/api/1/csp-report/"} {
		f(path, "application/csp-report", csp, `{"kind":"csp","report":`+csp)
	}
	f("/api/1/security/", "application/json", `{"expect-ct-report":{}}`, `{"kind":"expectct","report":{"expect-ct-report":{}}`)
	f("/api/1/security/", "application/json", `{"expect-staple-report":{}}`, `{"kind":"expectstaple","report":{"expect-staple-report":{}}`)
	f("/api/1/security/", "application/json", `{"known-pins":[]}`, `{"kind":"hpkp","report":{"known-pins":[]}`)
	f("/api/1/security/", "application/reports+json", `[{"type":"csp-violation","body":{}}, {"type":"deprecation","body":{}}, {"type":"network-error","body":{}}]`,
		`{"kind":"csp","report":{"type":"csp-violation","body":{}}`, `{"kind":"nel","report":{"type":"network-error","body":{}}`)
	f("/api/1/nel/", "application/reports+json", `[{"type":"network-error"}]`, `{"kind":"nel","report":{"type":"network-error"}`)
	h.post("/api/1/security/"+byQuery, nil, []byte("nonsense")).want(t, 400, "invalid security report")
	h.post("/api/1/security/"+byQuery, nil, []byte(`{"x":1}`)).want(t, 400, "of no kind that is known")
	h.post("/api/1/security/"+byQuery, nil, []byte("["+strings.Repeat(csp+",", 100)+csp+"]")).want(t, 413, "larger than 100 reports")
	h.post("/api/1/security/", nil, []byte(csp)).want(t, 401)
}

func TestEverythingElseUnderAPIIsUnknown(t *testing.T) {
	h := newHouse(t, nil)
	for _, path := range []string{"/api/1/unreal/" + shopKey + "/", "/api/1/v1/traces/", "/api/1/integration/v1/traces/", "/api/0/relays/live/", "/api/1/otlp/v1/profiles/", "/api/1/events/"} {
		a := h.post(path, asShop, nil)
		a.want(t, 404, `"detail":"unknown path`)
		if a.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
}

const exportLogs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// logsOf is a request with n log records; change may spoil record i.
func logsOf(t testing.TB, n int, change func(i int, r plog.LogRecord)) plogotlp.ExportRequest {
	t.Helper()
	ld := plog.NewLogs()
	rl := ld.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("service.name", "checkout")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		r := records.AppendEmpty()
		r.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
		r.SetTraceID([16]byte{1})
		r.SetSpanID([8]byte{2})
		r.Body().SetStr(fmt.Sprint("line ", i))
		if change != nil {
			change(i, r)
		}
	}
	return plogotlp.NewExportRequestFromLogs(ld)
}

func TestLogsReachKafkaByEveryWay(t *testing.T) {
	h := newHouse(t, nil)
	request := logsOf(t, 3, nil)
	body, err := request.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	text, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	want := func(project string) {
		t.Helper()
		r := h.kafka.all()
		if len(r) != 1 {
			t.Fatalf("%d records", len(r))
		}
		got := plogotlp.NewExportRequest()
		if err := got.UnmarshalProto(r[0].Value); err != nil || got.Logs().LogRecordCount() != 3 {
			t.Errorf("%d logs, %v", got.Logs().LogRecordCount(), err)
		}
		have := map[string]string{"topic": r[0].Topic}
		for _, k := range []string{"project", "schema", "count", "category"} {
			have[k] = headerOf(r[0], k)
		}
		if d := cmp.Diff(map[string]string{"topic": "ingest-logs", "project": project, "schema": "otlp-logs/1", "count": "3", "category": "log_item"}, have); d != "" {
			t.Error(d)
		}
	}
	if out, err := h.call(exportLogs, body, nil); err != nil || len(out) != 0 {
		t.Fatalf("gRPC answers %x, %v", out, err)
	}
	want("3")
	h.post("/v1/logs", asProto, body).want(t, 200)
	want("3")
	h.post("/v1/logs", asJSON, text).want(t, 200, "{}")
	want("3")
	for _, path := range []string{"/api/1/integration/otlp/v1/logs/", "/api/1/otlp/v1/logs", "/api/1/integration/otlp/v1/logs"} {
		h.post(path, map[string]string{"Content-Type": "application/x-protobuf", "X-Sentry-Auth": asShop["X-Sentry-Auth"]}, body).want(t, 202)
		want("1")
		h.post(path+byQuery, asJSON, text).want(t, 202)
		want("1")
		h.post(path+byQuery, map[string]string{"Content-Type": "text/plain"}, text).want(t, 415)
	}
	h.wantMetric(27, "logs_accepted_total")
	h.wantMetric(27, "item_outcomes_total", "category=log_item", "outcome=accepted")
}

func TestRefusedLogsAreToldAndTheOthersTaken(t *testing.T) {
	h := newHouse(t, nil)
	old := pcommon.NewTimestampFromTime(time.Now().AddDate(-1, 0, 0))
	request := logsOf(t, 6, func(i int, r plog.LogRecord) {
		switch i {
		case 1:
			r.SetTimestamp(old)
		case 2:
			r.SetTimestamp(pcommon.NewTimestampFromTime(time.Now().AddDate(1, 0, 0)))
		case 3: // no time at all is no fault
			r.SetTimestamp(0)
			r.SetTraceID([16]byte{})
			r.SetSpanID([8]byte{})
		case 4:
			r.SetTimestamp(0)
			r.SetObservedTimestamp(old)
		}
	})
	body, err := request.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.call(exportLogs, body, nil)
	if err != nil {
		t.Fatal(err)
	}
	response := plogotlp.NewExportResponse()
	if err := response.UnmarshalProto(out); err != nil || response.PartialSuccess().RejectedLogRecords() != 3 ||
		!strings.Contains(response.PartialSuccess().ErrorMessage(), "3 of 6 log records refused: 1 more than a day in the future, 2 of a time more than 90 days ago; first: resourceLogs[0].scopeLogs[0].logRecords[1]") {
		t.Errorf("partial success %d %q, %v", response.PartialSuccess().RejectedLogRecords(), response.PartialSuccess().ErrorMessage(), err)
	}
	text, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	h.post("/v1/logs", asJSON, text).want(t, 200, `{"partialSuccess":{"rejectedLogRecords":"3"`)
	h.post("/v1/logs", asProto, []byte("no protobuf")).want(t, 400, "ExportLogsServiceRequest")
	h.wantMetric(6, "logs_accepted_total")
	h.wantMetric(4, "logs_rejected_total", "reason=too_old")
	// One that is larger than a record loses the end of its body, not itself.
	h = newHouse(t, func(c *Config) { c.MaxRecordBytes = 64 << 10 })
	body, err = logsOf(t, 3, func(i int, r plog.LogRecord) {
		if i == 1 {
			r.Body().SetStr(strings.Repeat("x", 100<<10))
			r.Attributes().PutStr("big", strings.Repeat("y", 100<<10))
		}
	}).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	h.post("/v1/logs", asProto, body).want(t, 200)
	n := 0
	for _, r := range h.kafka.taken(topics.IngestLogs) {
		got := plogotlp.NewExportRequest()
		if err := got.UnmarshalProto(r.Value); err != nil || len(r.Value) > 64<<10 {
			t.Fatalf("%d bytes, %v", len(r.Value), err)
		}
		records := got.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
		for i := range records.Len() {
			if l := len(records.At(i).Body().Str()); l != 6 && l != 16<<10 {
				t.Errorf("a body of %d bytes", l)
			}
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d logs; want 3", n)
	}
	h.wantMetric(1, "spans_truncated_total")
}
