package schemas

// MetricKind is what a metric point holds.
type MetricKind uint8

// Kinds. Summaries are not kept: they cannot be added to each other.
const (
	MetricGauge                MetricKind = 1
	MetricSum                  MetricKind = 2
	MetricHistogram            MetricKind = 3 // explicit bounds
	MetricExponentialHistogram MetricKind = 4
)

// String is the kind as the API writes it.
func (k MetricKind) String() string {
	switch k {
	case MetricGauge:
		return "gauge"
	case MetricSum:
		return "sum"
	case MetricHistogram:
		return "histogram"
	case MetricExponentialHistogram:
		return "exponential_histogram"
	}
	return "unknown"
}

// Temporality is OTLP's numbering. A gauge has none.
type Temporality uint8

// Temporalities.
const (
	TemporalityUnspecified Temporality = iota
	TemporalityDelta                   // a point tells what happened since the one before
	TemporalityCumulative              // a point tells what happened since Start
)

// MetricPoint is one point of one metric as a client sent it. What the point is
// about, as far as messaging knows it, are fields; the other attributes stay in
// Attributes. Strings and slices may alias the buffer they were decoded from.
type MetricPoint struct {
	Project     uint64
	Name        string
	Unit        string
	Description string
	Kind        MetricKind
	Temporality Temporality
	Monotonic   bool // of a sum

	Topic     string
	Partition int32 // Unknown when not told
	Group     string
	ClientID  string
	Broker    string // server.address:server.port
	Service   string
	Scope     string
	BootID    string // equal on two points: their times are of one clock

	// Series is equal for the points of one stream: one resource, scope and set
	// of attributes, whatever the metric's name.
	Series     uint64
	Resource   []Attribute // shared by all points of one resource, without service.name
	Attributes []Attribute

	Start int64 // Unix ns; zero when not told
	Time  int64 // Unix ns

	Value     float64      // of gauges and sums
	Histogram Distribution // of histograms
	Exemplars []Exemplar

	Source   Source
	Position Position
}

// Exemplar is one observation with the trace that it was made in.
type Exemplar struct {
	Time    int64 // Unix ns
	Value   float64
	TraceID TraceID // zero: the observation was not sampled
	SpanID  SpanID
}

// ClockSample bounds the offset between a host's clock and a broker's at one
// time: broker − host lies in [Low, High].
type ClockSample struct {
	BootID    string // the host
	Broker    string // address:port
	Time      int64  // Unix ns, the host's clock
	Low, High int64  // ns
}
