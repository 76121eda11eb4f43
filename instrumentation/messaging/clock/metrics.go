package clock

import (
	"net"
	"strconv"
	"sync"
	"weak"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

// The metrics that an attached [Sampler] sends. Of the offset both sides are
// points of the same time, the host's; a side that is not known is left out.
const (
	MetricOffsetLow  = "hoptrace.clock.offset.low"
	MetricOffsetHigh = "hoptrace.clock.offset.high"
	MetricSteps      = "hoptrace.clock.steps"
)

const (
	offsetLow = iota
	offsetHigh
)

var offsets = measure.NewLayout(
	measure.Instrument{
		Name: MetricOffsetLow, Unit: "ns", Kind: measure.Samples,
		Description: "Broker's clock minus the host's is at least this: the narrowest bound of a second.",
	},
	measure.Instrument{
		Name: MetricOffsetHigh, Unit: "ns", Kind: measure.Samples,
		Description: "Broker's clock minus the host's is at most this: the narrowest bound of a second.",
	},
)

var steps = measure.NewLayout(measure.Instrument{
	Name: MetricSteps, Unit: "{step}", Kind: measure.Counter,
	Description: "Steps of the host's own wall clock by more than 10 ms that a client noticed.",
})

// Layouts returns what an attached [Sampler] measures: offsets with server.address
// and server.port, steps without attributes.
func Layouts() []*measure.Layout { return []*measure.Layout{offsets, steps} }

// output is where an attached sampler sends to.
type output struct {
	meter     *measure.Meter
	collected bool // the meter's registry asks; else whoever brings a sample sends

	mu     sync.Mutex
	groups map[server]*measure.Group // at most MaxBrokers
}

// Attach sends intervals and steps as metrics of m: hoptrace.clock.offset.low and
// .high, hoptrace.clock.steps. A step is exported at once where m's SDK is ours.
// Somebody else's SDK takes the last interval of a broker as two gauges. Attach
// once; m does not keep the sampler alive.
func (s *Sampler) Attach(m *measure.Meter) {
	out := &output{meter: m, groups: make(map[server]*measure.Group)}
	own := m.Group(steps)
	s.OnStep(func(int64, int64) {
		own.Lock()
		own.Add(0, 1)
		own.Unlock()
		m.Kick()
	})
	// Clients come and go, and tell nobody; the meter stays.
	weakly := weak.Make(s)
	out.collected = m.OnCollect(func() bool {
		s := weakly.Value()
		if s == nil {
			return false
		}
		s.collect(out.send)
		return true
	})
	s.mu.Lock()
	s.out = out
	s.mu.Unlock()
}

// Of returns the sampler, on the system's clock, that all clients of m's Registry
// share, so that a step of the host's clock is counted once. With somebody else's
// SDK each call returns a sampler of its own. Both are attached.
func Of(m *measure.Meter) *Sampler {
	return m.Shared(sharedKey{}, func() any {
		s := NewSampler(nil)
		s.Attach(m)
		return s
	}).(*Sampler)
}

type sharedKey struct{}

func (o *output) send(b *broker, p point) {
	o.mu.Lock()
	g := o.groups[b.server]
	if g == nil {
		g = o.meter.Group(offsets, b.attributes()...)
		o.groups[b.server] = g
	}
	o.mu.Unlock()
	g.Lock()
	defer g.Unlock()
	if p.Lo != Below {
		g.Sample(offsetLow, p.Lo, p.at)
	}
	if p.Hi != Above {
		g.Sample(offsetHigh, p.Hi, p.at)
	}
}

// String is host:port, without the port where there is none.
func (s server) String() string {
	if s.port <= 0 {
		return s.host
	}
	return net.JoinHostPort(s.host, strconv.Itoa(s.port))
}

// attributes names the broker as OpenTelemetry does.
func (s server) attributes() []attribute.KeyValue {
	if s.port <= 0 {
		return []attribute.KeyValue{attribute.String("server.address", s.host)}
	}
	return []attribute.KeyValue{attribute.String("server.address", s.host), attribute.Int("server.port", s.port)}
}
