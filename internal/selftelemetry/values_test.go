package selftelemetry

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestValuesAreSummedOverLabelsThatAreNotKept(t *testing.T) {
	reg := prometheus.NewRegistry()
	records := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_records_total"}, []string{"stage", "topic"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "hoptrace_seconds", Buckets: []float64{.5, 1, 2}}, []string{"stage"})
	pressure := prometheus.NewGauge(prometheus.GaugeOpts{Name: "hoptrace_pressure"})
	broken := prometheus.NewGauge(prometheus.GaugeOpts{Name: "hoptrace_broken"})
	reg.MustRegister(records, seconds, pressure, broken)
	records.WithLabelValues("a", "x").Add(2)
	records.WithLabelValues("a", "y").Add(3)
	records.WithLabelValues("b", "x").Add(5)
	for _, v := range []float64{.2, .7, 1.5, 9} {
		seconds.WithLabelValues("a").Observe(v)
	}
	pressure.Set(.25)
	broken.Set(math.NaN())
	got, err := Values(reg, []Kept{{"hoptrace_records_total", []string{"stage"}}, {"hoptrace_seconds", []string{"stage"}}, {"hoptrace_pressure", nil}, {"hoptrace_broken", nil}, {"hoptrace_absent", nil}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"records_total/a": 5, "records_total/b": 5, "seconds_count/a": 4, "seconds_sum/a": 11.4, "seconds_slow/a": 2, "pressure": .25,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Values (-want +got):\n%s", diff)
	}
}

func TestValuesAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hoptrace_many_total"}, []string{"x"})
	reg.MustRegister(v)
	for i := range 2 * maxValues {
		v.WithLabelValues(fmt.Sprint(i)).Inc()
	}
	got, err := Values(reg, []Kept{{"hoptrace_many_total", []string{"x"}}})
	if len(got) != maxValues || err == nil {
		t.Errorf("Values gives %d and error %v; want %d and an error", len(got), err, maxValues)
	}
}
