package sentrykafka

import (
	"context"
	"testing"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/trace"
)

// BenchmarkBaggage is what the send hook costs a record beside OpenTelemetry.
func BenchmarkBaggage(b *testing.B) {
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	for name, dsn := range map[string]string{"client=none": "", "client=on": testDSN} {
		b.Run(name, func(b *testing.B) {
			ctx := context.Background()
			if dsn != "" {
				client, err := sentry.NewClient(sentry.ClientOptions{Dsn: dsn, Release: "billing@1.2.3", Environment: "test", Transport: &transport{}})
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				ctx = sentry.SetHubOnContext(ctx, sentry.NewHub(client, sentry.NewScope()))
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := (sendHook{}).Baggage(ctx, sc); (got != "") != (dsn != "") {
					b.Fatalf("Baggage = %q", got)
				}
			}
		})
	}
}
