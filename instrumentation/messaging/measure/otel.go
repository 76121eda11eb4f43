package measure

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// FromOTel makes a meter whose groups use the instruments of m, made once a
// layout: histograms with the buckets that the layout advises, and sets of
// attributes made once a group. An observation costs what m's SDK costs, and a
// weight of n is n calls. A panic of m is counted and never reaches the caller.
// When attributes are cut, OpenTelemetry's error handler is told once.
func FromOTel(m metric.Meter) *Meter {
	out := newMeter()
	out.otel = m
	out.made = make(map[string]made)
	out.onOverflow = func(instrument string, bound int) {
		otel.Handle(fmt.Errorf("measure: %d sets of attributes were met by %s and its like: those above share one, marked %s", bound, instrument, overflowKey))
	}
	return out
}

// made is what the SDK gave for one instrument; only the field of its kind is
// set, none when the SDK would not make it.
type made struct {
	histogram metric.Float64Histogram
	counter   metric.Int64Counter
	gauge     metric.Int64Gauge
}

// instruments are a layout's, in its order, with the twins of histograms.
type instruments struct {
	meter *Meter
	kinds []Kind
	of    []made
	twins []made
}

// bound is a group's way to the instruments.
type bound struct {
	*instruments
	record []metric.RecordOption
	adding []metric.AddOption
}

// bind makes the instruments of l. m.mu is held.
func (m *Meter) bind(l *Layout) *instruments {
	b := &instruments{meter: m, of: make([]made, len(l.in)), twins: make([]made, len(l.in))}
	for i, in := range l.in {
		b.kinds = append(b.kinds, in.Kind)
		b.of[i] = m.make(in)
		if in.Kind == Duration || in.Kind == Histogram {
			b.twins[i] = m.make(twin(in))
		}
	}
	return b
}

func (m *Meter) make(in Instrument) (out made) {
	key := fmt.Sprint(in.Kind, in.Name, in.Unit)
	if got, ok := m.made[key]; ok {
		return got
	}
	defer func() { m.made[key] = out }()
	defer m.guard()
	var err error
	switch in.Kind {
	case Duration, Histogram:
		buckets := in.Buckets
		if in.Kind == Duration && len(buckets) == 0 {
			buckets = DurationBuckets()
		}
		options := []metric.Float64HistogramOption{metric.WithUnit(in.Unit), metric.WithDescription(in.Description)}
		if len(buckets) > 0 {
			options = append(options, metric.WithExplicitBucketBoundaries(buckets...))
		}
		out.histogram, err = m.otel.Float64Histogram(in.Name, options...)
	case Counter:
		out.counter, err = m.otel.Int64Counter(in.Name, metric.WithUnit(in.Unit), metric.WithDescription(in.Description))
	default:
		out.gauge, err = m.otel.Int64Gauge(in.Name, metric.WithUnit(in.Unit), metric.WithDescription(in.Description))
	}
	if err != nil {
		otel.Handle(fmt.Errorf("measure: cannot make instrument %s: %w", in.Name, err))
	}
	return out
}

func (b *instruments) group(set attribute.Set) *bound {
	o := metric.WithAttributeSet(set)
	return &bound{instruments: b, record: []metric.RecordOption{o}, adding: []metric.AddOption{o}}
}

func (b *bound) observe(i int, kind Kind, v float64, n int, ex *Exemplar) {
	if uint(i) >= uint(len(b.kinds)) || b.kinds[i] != kind {
		return
	}
	h := b.of[i].histogram
	if v < 0 {
		h, v = b.twins[i].histogram, -v
	}
	if h == nil {
		return
	}
	defer b.meter.guard()
	ctx := context.Background()
	if ex != nil {
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: ex.TraceID, SpanID: ex.SpanID, TraceFlags: trace.FlagsSampled,
		}))
	}
	for ; n > 0; n-- {
		h.Record(ctx, v, b.record...)
	}
}

func (b *bound) add(i int, n int64) {
	if uint(i) >= uint(len(b.kinds)) || b.kinds[i] != Counter || b.of[i].counter == nil {
		return
	}
	defer b.meter.guard()
	b.of[i].counter.Add(context.Background(), n, b.adding...)
}

func (b *bound) set(i int, kind Kind, v int64) {
	if uint(i) >= uint(len(b.kinds)) || b.kinds[i] != kind || b.of[i].gauge == nil {
		return
	}
	defer b.meter.guard()
	b.of[i].gauge.Record(context.Background(), v, b.record...)
}
