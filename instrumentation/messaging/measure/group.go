package measure

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Exemplar names the sampled span that an observation belongs to.
type Exemplar struct {
	TraceID trace.TraceID
	SpanID  trace.SpanID
}

// Meter hands out groups.
type Meter struct{}

// FromOTel makes a meter whose groups use the instruments of m.
func FromOTel(m metric.Meter) *Meter { return &Meter{} }

// Group returns the group of l and attrs.
func (m *Meter) Group(l *Layout, attrs ...attribute.KeyValue) *Group { return &Group{} }

// Kick exports soon where the meter belongs to a Registry.
func (m *Meter) Kick() {}

// OnCollect calls f before each collection of the meter's Registry.
func (m *Meter) OnCollect(f func()) {}

// Group is one set of attributes with its instruments.
type Group struct{ mu sync.Mutex }

// Lock guards the calls below and whatever the owner keeps beside the group.
func (g *Group) Lock() { g.mu.Lock() }

// Unlock ends Lock.
func (g *Group) Unlock() { g.mu.Unlock() }

// Duration observes ns n times.
func (g *Group) Duration(i int, ns int64, n int, ex *Exemplar) {}

// Observe observes v n times.
func (g *Group) Observe(i int, v float64, n int, ex *Exemplar) {}

// Add adds n to a counter.
func (g *Group) Add(i int, n int64) {}

// Set sets a gauge.
func (g *Group) Set(i int, v int64) {}

// Sample keeps v with its time.
func (g *Group) Sample(i int, v, at int64) {}
