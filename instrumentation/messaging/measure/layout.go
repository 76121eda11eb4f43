package measure

import "strings"

// Kind says what an instrument is and which method of [Group] feeds it.
type Kind uint8

const (
	// Duration is a histogram in seconds, fed in nanoseconds by [Group.Duration].
	Duration Kind = iota
	// Histogram is a histogram of plain numbers, fed by [Group.Observe].
	Histogram
	// Counter is a monotonic sum, fed by [Group.Add].
	Counter
	// Gauge keeps the last value, fed by [Group.Set].
	Gauge
	// Samples is a gauge that keeps each value with its own time until it is
	// collected, fed by [Group.Sample]. At most [MaxSamples] wait.
	Samples
)

// MaxSamples is how many points of one Samples instrument a group keeps until
// they are collected; beyond, the oldest is dropped and counted.
const MaxSamples = 512

// NegativeSuffix ends the name of the twin histogram that counts the negative
// observations of a Duration or Histogram by their absolute values.
const NegativeSuffix = ".negative"

// Instrument describes one measure. An empty Unit of a Duration is "s".
type Instrument struct {
	Name        string
	Unit        string
	Description string
	Kind        Kind
	// Buckets are advice for SDKs that are not ours, in the instrument's unit.
	// Empty for a Duration means 100 µs to 1 h, see [DurationBuckets]; empty for a
	// Histogram leaves the choice to the SDK. A Registry ignores them: its
	// histograms are exponential.
	Buckets []float64
}

// Layout is the ordered list of instruments that the groups of one kind share.
// Its indexes are the i of [Group]'s methods. Make it once, at start: a layout
// is known by its address.
type Layout struct {
	in []Instrument
}

// NewLayout copies in.
func NewLayout(in ...Instrument) *Layout {
	l := &Layout{in: make([]Instrument, len(in))}
	copy(l.in, in)
	for i := range l.in {
		l.in[i].Name = strings.Clone(l.in[i].Name)
		l.in[i].Buckets = append([]float64(nil), l.in[i].Buckets...)
		if l.in[i].Kind == Duration && l.in[i].Unit == "" {
			l.in[i].Unit = "s"
		}
	}
	return l
}

// Instruments returns a copy of what the layout was made of.
func (l *Layout) Instruments() []Instrument {
	return append([]Instrument(nil), l.in...)
}

// DurationBuckets returns the bounds, in seconds, advised for a Duration that
// names none: 100 µs to 1 h, three or four a decade. A broker's answer takes 1 to
// 5 ms and a backlog minutes, so the OpenTelemetry default (5 ms to 10 s) would
// put most of both into its first and last bucket.
func DurationBuckets() []float64 {
	return []float64{
		0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
		1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600,
	}
}
