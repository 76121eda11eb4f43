package messaging

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// asking is a MeterProvider whose histograms call f.
type asking struct {
	metricnoop.MeterProvider
	f func()
}

func (a asking) Meter(string, ...metric.MeterOption) metric.Meter { return askingMeter{f: a.f} }

type askingMeter struct {
	metricnoop.Meter
	f func()
}

func (a askingMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return askingHistogram{f: a.f}, nil
}

type askingHistogram struct {
	metricnoop.Float64Histogram
	f func()
}

func (a askingHistogram) Record(context.Context, float64, ...metric.RecordOption) { a.f() }

func TestNoLockOfTheRecorderIsHeldWhileAForeignMeterRuns(t *testing.T) {
	p, _ := ours(t, record.Options{Ratio: 1})
	c := NewCore(Config{Scope: "test", TracerProvider: p, MeterProvider: asking{f: func() { p.recorder.Counts() }}})
	pr := c.Producer(ProducerConfig{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var call Call
		pr.Begin(context.Background(), &call)
		var s Send
		call.Start(&s, pr.Topic("orders"), trace.SpanContext{})
		var f Finisher
		pr.Finish(&f, "orders", 0, &Outcome{Written: 1, Acked: 2})
		f.Add(&s, &Sent{})
		f.Done()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the meter waits for a lock that its caller holds")
	}
	if n := p.recorder.Counts().Queued; n != 1 {
		t.Errorf("%d spans are queued; want the one sent", n)
	}
}
