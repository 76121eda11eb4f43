package wire

import (
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestARecordIsHeldAgainstItsTopicsContract(t *testing.T) {
	event := (&IngestEvent{Type: "event", Payload: []byte("{}"), StartTime: 1, EventID: id32, ProjectID: 7}).AppendMsgpack(nil)
	whole := map[string]string{"schema": "ingest-events/2", "project": "7", "received": "1790000000000000000", "category": "error", "event-id": id32, "count": "1"}
	f := func(topic string, headers map[string]string, name, text string, value []byte, want string) {
		t.Helper()
		err := CheckRecord(topic, func(key string) string {
			if key == name {
				return text
			}
			return headers[key]
		}, value)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("CheckRecord with %s=%q = %v; want %q", name, text, err, want)
		}
	}
	f(topics.IngestEvents, whole, "", "", event, "")
	f(topics.IngestEvents, whole, "schema", "sentry-event/1", []byte(`{"event_id":"x"}`), "")
	f(topics.IngestEvents, whole, "schema", "", event, "header schema")
	f(topics.IngestEvents, whole, "schema", "events/1", event, `has no schema "events/1"`)
	f(topics.IngestEvents, whole, "project", "shop", event, `header project is "shop"; it must be a project's id`)
	f(topics.IngestEvents, whole, "received", "", event, "header received")
	f(topics.IngestEvents, whole, "category", "errors", event, "it must be a category")
	f(topics.IngestEvents, whole, "event-id", "7", event, "header event-id")
	f(topics.IngestEvents, whole, "count", "many", event, "header count")
	f(topics.IngestEvents, whole, "", "", event[:30], "ingest-events: ")
	f("nothing", whole, "", "", event, `unknown topic "nothing"`)
	f(topics.Outcomes, nil, "schema", "outcomes/1", []byte(`{"timestamp":"2026-11-30T10:00:00Z","project_id":1,"outcome":1}`), "")
	dead := map[string]string{"dlq-reason": "r", "dlq-stage": "s", "dlq-topic": "t", "dlq-partition": "0", "dlq-offset": "0"}
	f(topics.EventsDLQ, dead, "", "", []byte("anything"), "")
	f(topics.EventsDLQ, dead, "dlq-reason", "", nil, "header dlq-reason")
}
