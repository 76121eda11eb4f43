package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// TestAnErrorOfBothSDKsIsOneEventWhicheverComesFirst sends an error as OpenTelemetry
// tells it, on a span, and as a Sentry SDK does; the first time in this order, the
// second time in the other.
func TestAnErrorOfBothSDKsIsOneEventWhicheverComesFirst(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn, err := url.Parse(h.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	project := strings.TrimPrefix(dsn.Path, "/")
	post := func(address, body string, headers ...string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", address, resp.Status)
		}
	}
	const text = "no stock of anvils"
	span := func(trace string) {
		t.Helper()
		now := strconv.FormatInt(time.Now().UnixNano(), 10)
		post(h.HTTP+"/v1/traces", `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{
			"traceId":"`+trace+`","spanId":"00f067aa0ba902b7","name":"charge","kind":1,"startTimeUnixNano":"`+now+`","endTimeUnixNano":"`+now+`",
			"events":[{"name":"exception","timeUnixNano":"`+now+`","attributes":[{"key":"exception.type","value":{"stringValue":"shop.NoStock"}},{"key":"exception.message","value":{"stringValue":"`+text+`"}}]}]}]}]}]}`,
			"Content-Type", "application/json")
	}
	event := func(id, trace string) {
		t.Helper()
		payload, err := json.Marshal(map[string]any{
			"event_id": id, "timestamp": float64(time.Now().UnixMilli()) / 1000, "platform": "go", "exception": []map[string]string{{"type": "NoStock", "value": text}},
			"contexts": map[string]any{"trace": map[string]string{"trace_id": trace, "span_id": "00f067aa0ba902b7"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		post(h.HTTP+"/api/"+project+"/envelope/", fmt.Sprintf("{\"event_id\":%q}\n{\"type\":\"event\",\"length\":%d}\n%s\n", id, len(payload), payload),
			"Content-Type", "application/x-sentry-envelope", "X-Sentry-Auth", "Sentry sentry_version=7, sentry_client=test/1, sentry_key="+dsn.User.Username())
	}
	// events waits until the trace's events are these; empty stands for any.
	events := func(trace string, want ...string) {
		t.Helper()
		harness.Until(t, fmt.Sprintf("events %q of trace %s", want, trace), 45*time.Second, func() error {
			var j harness.Journey
			if err := h.Get("traces/"+trace, &j); err != nil {
				return err
			}
			ok := len(j.Events) == len(want)
			for i := range want {
				ok = ok && (want[i] == "" || j.Events[i].ID == want[i])
			}
			if !ok {
				return fmt.Errorf("it has %+v", j.Events)
			}
			return nil
		})
	}
	const late, early = "4bf92f3577b34da6a3ce929d0e0e4731", "4bf92f3577b34da6a3ce929d0e0e4732"
	const first, second = "00000000000000000000000000000a01", "00000000000000000000000000000a02"
	span(late)
	events(late, "") // what OpenTelemetry told is stored
	event(first, late)
	events(late, first)
	event(second, early)
	harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-events", "events")
	span(early)
	harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-spans", "ingest-events", "events")
	events(early, second)
	var list harness.IssueList
	h.MustGet(t, "issues?project="+project, &list)
	counted := 0
	for _, i := range list.Issues {
		counted += i.Events
	}
	if counted != 2 {
		t.Errorf("the issues have %d events together, want 2: %+v", counted, list.Issues)
	}
	ledgerBalances(t, h, project, harness.LedgerLine{Category: "error", Received: 4, Stored: 2, Filtered: 2})
	stopClean(t, h)
}
