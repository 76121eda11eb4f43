package otelkafkago

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// meters is a MeterProvider of somebody else whose measures can be asked for.
type meters struct {
	*sdkmetric.MeterProvider
	reader *sdkmetric.ManualReader
}

func newMeters(t testing.TB) meters {
	t.Helper()
	r := sdkmetric.NewManualReader()
	return meters{sdkmetric.NewMeterProvider(sdkmetric.WithReader(r)), r}
}

// point is one measure's total: the sum of a counter, the value of a gauge, or the
// number and sum of a histogram's observations.
type point struct {
	count int64
	sum   float64
}

// of returns the measure of that name over all series that have these attributes.
func (m meters) of(t testing.TB, name string, with ...attribute.KeyValue) (out point, found bool) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := m.reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	has := func(set attribute.Set) bool {
		for _, kv := range with {
			if v, ok := set.Value(kv.Key); !ok || v != kv.Value {
				return false
			}
		}
		return true
	}
	add := func(set attribute.Set, count int64, sum float64) {
		if has(set) {
			out.count, out.sum, found = out.count+count, out.sum+sum, true
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			if metric.Name != name {
				continue
			}
			switch data := metric.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, int64(p.Count), p.Sum)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value, 0)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, p.Value, 0)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					add(p.Attributes, int64(p.Value), p.Value)
				}
			default:
				t.Fatalf("%s is a %T", name, data)
			}
		}
	}
	return out, found
}

// want checks the count of a measure.
func (m meters) want(t testing.TB, count int64, name string, with ...attribute.KeyValue) {
	t.Helper()
	if got, _ := m.of(t, name, with...); got.count != count {
		t.Errorf("%s %v: %d; want %d", name, with, got.count, count)
	}
}
