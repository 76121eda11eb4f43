package process

import (
	"slices"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestAnErrorThatTheSDKSentIsNotTakenFromOpenTelemetryToo(t *testing.T) {
	const trace, other = "4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000001"
	payload := func(kind, value, trace string) string {
		return `{"exception":[{"type":"` + kind + `","value":"` + value + `"}],"contexts":{"trace":{"trace_id":"` + trace + `","span_id":"00f067aa0ba902b7"}}}`
	}
	otel := consume.Header{Key: schemas.HeaderOrigin, Value: []byte(schemas.OriginOTel)}
	w := newWorld()
	h := newStage(t, w)
	counted := ledger.Around(h, ledger.Config{Category: schemas.CategoryError, Source: persist.Source}, w)
	take := func(batch ...consume.Record) {
		t.Helper()
		if dead, err := counted.Handle(t.Context(), batch); err != nil || len(dead) > 0 {
			t.Fatalf("Handle = %v, %v", dead, err)
		}
	}
	// The twin in the same batch, before it and after it.
	take(record(1, "event", 1, payload("*errors.errorString", "no stock", trace), otel), record(2, "event", 2, payload("errorString", "no stock", trace)))
	take(record(3, "event", 3, payload("errors.errorString", "no stock", trace), otel))
	// One that is stored, of an earlier run.
	stored := schemas.Event{Project: 42, Type: "CardDeclined", Value: "expired"}
	stored.TraceID[15] = 1
	w.stored[schemas.EventID{9}] = stored
	take(record(4, "event", 4, payload("shop.CardDeclined", "expired", other), otel))
	if rows, n := w.sent(t); n != 1 || len(rows) != 1 {
		t.Errorf("%d events went on, want the SDK's alone", n)
	}
	var dropped []string
	for _, o := range w.outcomes {
		if strings.Contains(o, ledger.ReasonTwin) {
			dropped = append(dropped, o[strings.LastIndexByte(o, ' ')+1:])
		}
	}
	if !slices.Equal(dropped, []string{"1", "3", "4"}) {
		t.Errorf("records %v are counted as sent by the SDK, want 1, 3 and 4 (%v)", dropped, w.outcomes)
	}
	// Others: of another trace, with another text, and once more after one turn.
	take(record(5, "event", 5, payload("errorString", "no stock", other), otel), record(6, "event", 6, payload("errorString", "no money", trace), otel))
	var again []consume.Record
	for _, r := range w.records {
		if r.Topic == topics.IngestEvents {
			c := consume.Record{Topic: r.Topic, TopicID: [16]byte{7}, Offset: int64(10 + len(again)), Key: r.Key, Value: r.Value, Timestamp: received}
			for _, hd := range r.Headers {
				c.Headers = append(c.Headers, consume.Header{Key: hd.Key, Value: hd.Value})
			}
			again = append(again, c)
		}
	}
	if len(again) != 2 {
		t.Fatalf("%d records take another turn, want 2", len(again))
	}
	take(again...)
	rows, n := w.sent(t)
	if n != 3 {
		t.Errorf("%d events went on in the end, want 3", n)
	}
	otels := 0
	for _, row := range rows {
		if row.Origin == schemas.OriginOTel {
			otels++
		}
	}
	if otels != 2 {
		t.Errorf("%d of them are marked as OpenTelemetry's, want 2", otels)
	}
}

func TestWhatIsRememberedOfErrorsIsBounded(t *testing.T) {
	told := newTold(10)
	e := schemas.Event{Project: 1, Type: "E", Value: "v"}
	for i := range 100 {
		e.TraceID[0], e.TraceID[1] = byte(i/3), 1
		told.add(&e)
	}
	n := 0
	for _, x := range told.held {
		n += len(x)
	}
	if n != 10 || !told.has(&e) {
		t.Errorf("%d errors are remembered, want 10 with the last", n)
	}
}
