package clock

import "github.com/hoptrace/hoptrace/instrumentation/messaging/measure"

// Sampler keeps a process's clock samples.
type Sampler struct{}

// NewSampler makes a sampler; now is the wall clock in Unix nanoseconds, nil for
// the system's.
func NewSampler(now func() int64) *Sampler { return &Sampler{} }

// Produce takes a produce round trip.
func (s *Sampler) Produce(broker string, written, answered, appended int64) {}

// Fetch takes a fetch answer that held a record.
func (s *Sampler) Fetch(broker string, asked, answered, appended int64, waited bool) {}

// Collect hands out the intervals kept since the last time.
func (s *Sampler) Collect(f func(broker string, at, lo, hi int64)) {}

// Steps returns how often the own clock stepped.
func (s *Sampler) Steps() uint64 { return 0 }

// OnStep is called at once when the own clock stepped.
func (s *Sampler) OnStep(f func(at, by int64)) {}

// Attach sends intervals and steps as metrics of m.
func (s *Sampler) Attach(m *measure.Meter) {}
