package collector

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// fuzzed is a collector without listeners, and its Kafka.
func fuzzed(f *testing.F) (*Collector, *memory) {
	f.Helper()
	kafka := &memory{}
	c, err := New(DefaultConfig(), Deps{
		Kafka: kafka, Projects: &projects{all: []schemas.Project{{ID: 1, Slug: "shop", Keys: []string{shopKey}}}},
		Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	return c, kafka
}

// fuzzedAnswer sends body and checks what must hold whatever is in it: no
// panic, no 5xx, no memory kept, and records that their schemas allow.
func fuzzedAnswer(t *testing.T, c *Collector, kafka *memory, path, contentType string, body []byte) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, path+byQuery, bytes.NewReader(body))
	req.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	c.handler().ServeHTTP(w, req)
	records := kafka.all()
	if w.Code >= 500 {
		t.Fatalf("answer %d %s", w.Code, w.Body)
	}
	for _, r := range records {
		if len(r.Value) > 4<<20 {
			t.Fatalf("a record of %d bytes", len(r.Value))
		}
		switch headerOf(r, schemas.HeaderSchema) {
		case schemas.SchemaIngestEvents, schemas.SchemaIngestTransactions, schemas.SchemaIngestFeedbackEvents:
			var e wire.IngestEvent
			if err := e.DecodeMsgpack(r.Value); err != nil {
				t.Fatal(err)
			}
		default:
			describe(t, r)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		oneEvent, "{}\n{\"type\":\"span\",\"item_count\":1}\n{\"items\":[{}]}", "{}\n{\"type\":\"attachment\",\"attachment_type\":\"event.minidump\",\"length\":2}\nab",
		withID + "\n{\"type\":\"client_report\"}\n{\"discarded_events\":[{\"reason\":\"a\",\"category\":\"error\",\"quantity\":1}]}",
		"{}\n{\"type\":\"profile\"}\n{}\n{\"type\":\"nel\"}\n[{}]\n{\"type\":\"form_data\"}\n[[\"a\",\"b\"]]\n{\"type\":\"otel_span\"}\n{}",
	} {
		f.Add([]byte(s))
	}
	c, kafka := fuzzed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzedAnswer(t, c, kafka, "/api/1/envelope/", "", data)
	})
}

func FuzzMultipart(f *testing.F) {
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"a\"\r\n\r\nMDMP\r\n--x--\r\n"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=\"sentry[a][b]\"\r\n\r\nMDMP\r\n--x\r\nContent-Disposition: form-data; name=\"a\"; filename=\"__sentry-event\"\r\n\r\n\x80\r\n--x--"))
	c, kafka := fuzzed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzedAnswer(t, c, kafka, "/api/1/minidump/", "multipart/form-data; boundary=x", data)
		fuzzedAnswer(t, c, kafka, "/api/1/events/"+eventID+"/attachments/", "multipart/form-data; boundary=x", data)
	})
}
