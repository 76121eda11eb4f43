package clock

import (
	"net"
	"strconv"
	"sync"

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
	groups map[string]*measure.Group // by broker, at most MaxBrokers
}

// Attach sends intervals and steps as metrics of m: hoptrace.clock.offset.low and
// .high, hoptrace.clock.steps. A step is exported at once where m's SDK is ours.
// Somebody else's SDK takes the last interval of a broker as two gauges. Attach
// once.
func (s *Sampler) Attach(m *measure.Meter) {
	out := &output{meter: m, groups: make(map[string]*measure.Group)}
	own := m.Group(steps)
	s.OnStep(func(int64, int64) {
		own.Lock()
		own.Add(0, 1)
		own.Unlock()
		m.Kick()
	})
	out.collected = m.OnCollect(func() { s.Collect(out.send) })
	s.mu.Lock()
	s.out = out
	s.mu.Unlock()
}

func (o *output) send(broker string, at, lo, hi int64) {
	o.mu.Lock()
	g := o.groups[broker]
	if g == nil {
		g = o.meter.Group(offsets, server(broker)...)
		o.groups[broker] = g
	}
	o.mu.Unlock()
	g.Lock()
	defer g.Unlock()
	if lo != Below {
		g.Sample(offsetLow, lo, at)
	}
	if hi != Above {
		g.Sample(offsetHigh, hi, at)
	}
}

// server names host:port as OpenTelemetry does.
func server(broker string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		return []attribute.KeyValue{attribute.String("server.address", broker)}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return []attribute.KeyValue{attribute.String("server.address", host)}
	}
	return []attribute.KeyValue{attribute.String("server.address", host), attribute.Int64("server.port", int64(n))}
}
