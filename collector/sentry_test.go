package collector

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestEventsOfSentryGoReachKafka(t *testing.T) {
	h := newHouse(t, nil)
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn:              "http://" + shopKey + "@" + h.HTTPAddr().String() + "/1",
		EnableTracing:    true,
		TracesSampleRate: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	hub := sentry.NewHub(client, sentry.NewScope())
	id := hub.CaptureException(errors.New("card declined"))
	hub.CaptureMessage("hello")
	tx := sentry.StartTransaction(sentry.SetHubOnContext(t.Context(), hub), "pay")
	tx.Finish()
	if !client.Flush(10 * time.Second) {
		t.Fatal("sentry-go could not flush")
	}
	client.Close()
	records := h.kafka.taken(schemas.TopicIngestEvents)
	if len(records) != 2 {
		t.Fatalf("%d events reached Kafka; want 2; log:\n%s", len(records), h.log.String())
	}
	found := false
	for _, r := range records {
		var e struct {
			EventID string `json:"event_id"`
		}
		if err := json.Unmarshal(eventOf(t, r).Payload, &e); err != nil {
			t.Fatal(err)
		}
		if got := headerOf(r, schemas.HeaderEventID); got != e.EventID {
			t.Errorf("header event-id %q; want %q", got, e.EventID)
		}
		if got := headerOf(r, schemas.HeaderProject); got != "1" {
			t.Errorf("header project %q; want 1", got)
		}
		found = found || e.EventID == string(*id)
	}
	if !found {
		t.Errorf("event %s is missing", *id)
	}
	h.wantMetric(2, "events_accepted_total")
	if n := len(h.kafka.taken(topics.IngestTransactions)); n != 1 {
		t.Errorf("%d transactions reached Kafka; want 1", n)
	}
	h.wantMetric(3, "requests_total", "protocol=sentry_envelope", "code=200")
}
