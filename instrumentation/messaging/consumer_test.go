package messaging

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// counted is a Core whose measures can be read.
func counted(t *testing.T, cfg Config) (*Core, func(metric string) int64) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	cfg.Scope, cfg.MeterProvider = "test", sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = tracenoop.NewTracerProvider()
	}
	return NewCore(cfg), func(metric string) int64 {
		t.Helper()
		var rm metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &rm); err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				if m.Name != metric {
					continue
				}
				switch d := m.Data.(type) {
				case metricdata.Sum[int64]:
					for _, p := range d.DataPoints {
						n += p.Value
					}
				case metricdata.Gauge[int64]:
					for _, p := range d.DataPoints {
						n += p.Value
					}
				case metricdata.Histogram[float64]:
					for _, p := range d.DataPoints {
						n += int64(p.Count) //nolint:gosec // small
					}
				default:
					t.Fatalf("metric %s is a %T", metric, d)
				}
			}
		}
		return n
	}
}

func deliver(co *Consumer, offset int64) *Delivery {
	d := &Delivery{Partition: co.Partition("orders", 0), Offset: offset}
	Deliver[Header](context.Background(), d, nil)
	return d
}

func TestOffsetsTellStaleDuplicateGapAndOutOfOrder(t *testing.T) {
	f := func(name string, offsets []int64, commit int64, then []int64, want map[string]int64) {
		t.Helper()
		c, count := counted(t, Config{})
		co := c.Consumer(ConsumerConfig{Group: "billing"})
		for _, o := range offsets {
			deliver(co, o)
		}
		if commit > 0 {
			co.Settle(context.Background(), &Settlement{Offsets: []Settled{{"orders", 0, commit}}})
		}
		for _, o := range then {
			deliver(co, o)
		}
		got := map[string]int64{}
		for _, m := range []string{MetricStale, MetricDuplicates, MetricGaps, MetricGapRecords, MetricOutOfOrder} {
			if n := count(m); n != 0 {
				got[m] = n
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	f("in order", []int64{5, 6, 7}, 8, []int64{8, 9}, map[string]int64{})
	f("again, not committed", []int64{5, 6, 7, 6, 7, 8}, 0, nil, map[string]int64{MetricDuplicates: 2})
	f("again, committed", []int64{5, 6, 7}, 8, []int64{6, 7, 8}, map[string]int64{MetricStale: 2})
	f("a jump", []int64{5, 9}, 0, nil, map[string]int64{MetricGaps: 1, MetricGapRecords: 3})
	f("late", []int64{5, 9, 7, 10}, 0, nil, map[string]int64{MetricGaps: 1, MetricGapRecords: 3, MetricOutOfOrder: 1})
}

func TestARewindOnPurposeIsNeitherStaleNorDuplicate(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{Group: "billing"})
	deliver(co, 100)
	co.Settle(context.Background(), &Settlement{Offsets: []Settled{{"orders", 0, 101}}})
	co.Partition("orders", 0).Rewound()
	deliver(co, 3)
	if n := count(MetricStale) + count(MetricDuplicates); n != 0 {
		t.Errorf("%d deliveries after a rewind count as stale or duplicate; want none", n)
	}
}

func TestLagIsWhatFollowsTheLastRecord(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	now := c.Now()
	d := &Delivery{Partition: co.Partition("orders", 0), Offset: 10, HighWatermark: 15, RecordTime: now - int64(3*time.Second), Handed: now}
	Deliver[Header](context.Background(), d, nil)
	if got, ok := co.Partition("orders", 0).Lag(); !ok || got != 4 {
		t.Errorf("Lag() = %d, %v; want 4, true", got, ok)
	}
	if records, millis := count(MetricLag), count(MetricLagTime); records != 4 || millis != 3000 {
		t.Errorf("lag of %d records and %d ms; want 4 and 3000", records, millis)
	}
}

func TestANegativePartIsCountedApart(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	now := c.Now()
	// The producer's clock is five seconds ahead.
	d := &Delivery{Partition: co.Partition("orders", 0), RecordTime: now + int64(5*time.Second), Asked: now - 2e6, Answered: now - 1e6, Handed: now}
	Deliver[Header](context.Background(), d, nil)
	if plain, negative := count(MetricLongPoll), count(MetricLongPoll+".negative"); plain != 0 || negative != 1 {
		t.Errorf("long poll observed %d times, its negative %d times; want 0 and 1", plain, negative)
	}
}

func TestMeasuresDoNotNeedSpans(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{Group: "billing"})
	d := deliver(co, 1)
	_, p := co.StartProcess(context.Background(), d, c.Now())
	p.End(errors.New("no"), "_OTHER")
	pr := c.Producer(ProducerConfig{})
	var call Call
	pr.Begin(context.Background(), &call)
	var s Send
	call.Start(&s, pr.Topic("orders"), s.given)
	o := Outcome{Written: c.Now(), Acked: c.Now() + 1}
	var f Finisher
	pr.Finish(&f, "orders", 0, &o)
	f.Add(&s, &Sent{Offset: 1})
	f.Done()
	for _, m := range []string{MetricConsumedMessages, MetricProcessDuration, MetricProcessing, MetricSentMessages, MetricBatchQueue, MetricAck} {
		if n := count(m); n != 1 {
			t.Errorf("%s counts %d; want 1", m, n)
		}
	}
	if n := count(MetricOperationDuration); n != 2 {
		t.Errorf("%s counts %d; want 2: receive and send", MetricOperationDuration, n)
	}
}

type hookFunc struct {
	start func(context.Context, *Processing) context.Context
	end   func(error, any)
}

func (h hookFunc) Start(ctx context.Context, p *Processing) context.Context { return h.start(ctx, p) }

func (h hookFunc) End(_ context.Context, _ *Processing, err error, panicked any) {
	h.end(err, panicked)
}

func TestAHookSeesThePanicAndThePanicGoesOn(t *testing.T) {
	var saw any
	remove := AddProcessHook(hookFunc{
		func(ctx context.Context, p *Processing) context.Context {
			if got := p.Record(); got != (RecordRef{"orders", 0, 7}) {
				t.Errorf("the hook was told of %v", got)
			}
			return ctx
		},
		func(_ error, panicked any) { saw = panicked },
	})
	defer remove()
	c, _ := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	ctx, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
	func() {
		defer func() {
			if v := recover(); v != "boom" {
				t.Errorf("the program recovered %v; want boom", v)
			}
		}()
		_ = p.Run(ctx, func(error) string { return "" }, func(ctx context.Context) error {
			if q, ok := RecordFromContext(ctx); !ok || q != p {
				t.Error("the handler's context does not know its record")
			}
			panic("boom")
		})
	}()
	if saw != "boom" {
		t.Errorf("the hook saw %v; want boom", saw)
	}
}
