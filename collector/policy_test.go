package collector

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// set changes the settings of project 1 before anybody asks for it.
func (h *house) set(change func(*schemas.ProjectSettings)) {
	h.t.Helper()
	s := schemas.DefaultProjectSettings()
	change(&s)
	if err := s.Validate(); err != nil {
		h.t.Fatal(err)
	}
	h.projects.mu.Lock()
	defer h.projects.mu.Unlock()
	h.projects.all[0].Settings = &s
}

func envelopeOf(event string) string {
	return "{\"event_id\":\"" + eventID + "\"}\n{\"type\":\"event\"}\n" + event + "\n"
}

func TestSecretsOfAnEventDoNotReachKafka(t *testing.T) {
	h := newHouse(t, nil)
	h.post("/api/1/envelope/", asShop, []byte(envelopeOf(`{"message":"m","extra":{"password":"hunter2"}}`))).want(t, 200, eventID)
	_, payload := h.event()
	if strings.Contains(payload, "hunter2") || !strings.Contains(payload, `"password":"[Filtered]"`) || !strings.Contains(payload, `"_meta":{"extra":{"password":`) {
		t.Errorf("Kafka has %s", payload)
	}
}

func TestFilteredEventsAreAnsweredWith200AndCounted(t *testing.T) {
	h := newHouse(t, nil)
	h.set(func(s *schemas.ProjectSettings) { s.Filters.Localhost = true })
	h.post("/api/1/envelope/", asShop, []byte(envelopeOf(`{"request":{"url":"http://localhost:3000/"}}`))).want(t, 200)
	if r := h.kafka.taken(schemas.TopicIngestEvents); len(r) != 0 {
		t.Errorf("%d events reached Kafka", len(r))
	}
	if n := h.metric("item_outcomes_total", "category=error", "outcome=filtered", "reason=localhost"); n != 1 {
		t.Errorf("%v counted as filtered, want 1", n)
	}
	h.post("/api/1/envelope/", asShop, []byte(envelopeOf(`{"request":{"url":"https://shop.example/"}}`))).want(t, 200)
	h.event()
}

func TestOriginsAreCheckedAfterParsing(t *testing.T) {
	h := newHouse(t, nil)
	h.set(func(s *schemas.ProjectSettings) { s.AllowedOrigins = []string{"https://shop.example"} })
	with := func(origin string) map[string]string { return map[string]string{"Origin": origin} }
	h.post("/api/1/envelope/"+byQuery, with("https://evil.example"), []byte(oneEvent)).want(t, http.StatusForbidden)
	if r := h.kafka.taken(schemas.TopicIngestEvents); len(r) != 0 {
		t.Errorf("%d events reached Kafka", len(r))
	}
	h.post("/api/1/envelope/"+byQuery, with("https://shop.example"), []byte(oneEvent)).want(t, 200)
	h.event()
}

func TestADisabledProjectIsRefusedEverywhere(t *testing.T) {
	h := newHouse(t, nil)
	h.projects.all[0].Disabled = true
	h.post("/api/1/envelope/", asShop, []byte(oneEvent)).want(t, http.StatusForbidden, "project 1 is disabled")
	h.post("/api/1/store/", asShop, []byte(`{"message":"m"}`)).want(t, http.StatusForbidden, "project 1 is disabled")
	headers := map[string]string{"Content-Type": "application/x-protobuf", "X-Sentry-Auth": asShop["X-Sentry-Auth"]}
	if a := h.post("/v1/traces", headers, nil); a.code != http.StatusForbidden {
		t.Errorf("OTLP: status %d: %s", a.code, a.body)
	}
	if n := h.metric("outcomes_total", "reason=disabled"); n != 3 {
		t.Errorf("%v counted as disabled, want 3", n)
	}
}

func TestSecretsOfSpansDoNotReachKafkaWhenTheProjectAsksForIt(t *testing.T) {
	h := newHouse(t, nil)
	h.set(func(s *schemas.ProjectSettings) { s.Scrubbing.OTLP = true })
	start := strconv.FormatInt(time.Now().UnixNano(), 10)
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"n","startTimeUnixNano":"` + start + `","endTimeUnixNano":"` + start + `","attributes":[{"key":"db.password","value":{"stringValue":"hunter2"}}]}]}]}]}`
	headers := map[string]string{"Content-Type": "application/json", "X-Sentry-Auth": asShop["X-Sentry-Auth"]}
	if a := h.post("/v1/traces", headers, []byte(body)); a.code != 200 || a.body != "{}" {
		t.Fatalf("status %d: %s", a.code, a.body)
	}
	r := h.kafka.taken(schemas.TopicIngestSpans)
	if len(r) != 1 || strings.Contains(string(r[0].Value), "hunter2") || !strings.Contains(string(r[0].Value), "[Filtered]") {
		t.Errorf("Kafka has %v", r)
	}
}
