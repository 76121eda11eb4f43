// Sentrygo sends each kind of item that sentry-go knows, one in an envelope
// where the SDK allows it, and prints the ids. The DSN comes in HOPTRACE_DSN.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/getsentry/sentry-go/attribute"
)

// told is what a program of the tests tells of what it sent.
type told struct {
	SDK     string            `json:"sdk"`
	Events  map[string]string `json:"events"`
	Trace   string            `json:"trace"` // of the transaction; error and log happened in it
	Span    string            `json:"span"`
	CheckIn string            `json:"checkIn"`
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

type declinedError struct{ order int }

func (e *declinedError) Error() string { return fmt.Sprintf("card of order %d declined", e.order) }

func charge(order int) error { return &declinedError{order} }

func run() error {
	err := sentry.Init(sentry.ClientOptions{
		Dsn: os.Getenv("HOPTRACE_DSN"), Release: "shop@2.0.0", Environment: "integration", ServerName: "web-1",
		AttachStacktrace: true, EnableTracing: true, TracesSampleRate: 1,
	})
	if err != nil {
		return err
	}
	out := told{SDK: "sentry.go/" + sentry.SDKVersion, Events: map[string]string{}}
	flush := func(what string) {
		if err == nil && !sentry.Flush(20*time.Second) {
			err = fmt.Errorf("the %s was not sent within 20 s", what)
		}
	}
	event := func(what string, hub *sentry.Hub, capture func(*sentry.Hub) *sentry.EventID) {
		hub.Scope().SetTag("case", what)
		if id := capture(hub); id != nil {
			out.Events[what] = string(*id)
		}
		flush(what)
	}

	hub := sentry.CurrentHub().Clone()
	ctx := sentry.SetHubOnContext(context.Background(), hub)
	tx := sentry.StartTransaction(ctx, "pay", sentry.WithOpName("queue.process"))
	out.Trace, out.Span = tx.TraceID.String(), tx.SpanID.String()
	event("error", sentry.GetHubFromContext(tx.Context()), func(h *sentry.Hub) *sentry.EventID { return h.CaptureException(charge(17)) })
	child := sentry.StartSpan(tx.Context(), "db.query", sentry.WithDescription("SELECT 1"))
	time.Sleep(2 * time.Millisecond)
	child.Finish()
	sentry.NewLogger(tx.Context()).Warn().Int("order", 17).Emit("order 17 is late")
	flush("log")
	tx.Finish()
	flush("transaction")
	sentry.NewMeter(tx.Context()).Count("orders", 3, sentry.WithAttributes(attribute.String("shop", "eu")))
	flush("metric")

	event("chained", hub.Clone(), func(h *sentry.Hub) *sentry.EventID {
		return h.CaptureException(fmt.Errorf("cannot pay: %w", fmt.Errorf("bank: %w", charge(18))))
	})
	event("message", hub.Clone(), func(h *sentry.Hub) *sentry.EventID { return h.CaptureMessage("stock is low") })
	event("attachment", hub.Clone(), func(h *sentry.Hub) *sentry.EventID {
		h.Scope().AddAttachment(&sentry.Attachment{Filename: "cart.json", ContentType: "application/json", Payload: []byte(`{"lines":3}`)})
		return h.CaptureException(errors.New("cart is broken"))
	})
	schedule := &sentry.MonitorConfig{Schedule: sentry.CrontabSchedule("*/5 * * * *"), CheckInMargin: 2, MaxRuntime: 10, Timezone: "UTC"}
	if id := sentry.CaptureCheckIn(&sentry.CheckIn{MonitorSlug: "close-day-go", Status: sentry.CheckInStatusInProgress}, schedule); id != nil {
		out.CheckIn = string(*id)
		flush("check-in")
		sentry.CaptureCheckIn(&sentry.CheckIn{ID: *id, MonitorSlug: "close-day-go", Status: sentry.CheckInStatusOK, Duration: time.Second}, schedule)
		flush("check-in")
	}
	if os.Getenv("HOPTRACE_LIMITED") != "" {
		for range 2 { // the first is refused, the second the SDK drops
			limited := hub.Clone()
			limited.Scope().SetTag("case", os.Getenv("HOPTRACE_LIMITED"))
			limited.CaptureException(errors.New("too many"))
			flush("limited error")
		}
		sentry.CaptureCheckIn(&sentry.CheckIn{MonitorSlug: "close-day-go", Status: sentry.CheckInStatusOK}, schedule)
		flush("client report")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
