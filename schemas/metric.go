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

// ClockOrigin is what bounded an offset.
type ClockOrigin uint8

// Origins.
const (
	ClockRoundTrip ClockOrigin = 1 // a client's round trips, from both sides
	ClockFetch     ClockOrigin = 2 // a client's fetch answers, from one side alone
	ClockBeacon    ClockOrigin = 3 // a collector's beacon, from both sides
)

// String is the origin as the API writes it.
func (o ClockOrigin) String() string {
	switch o {
	case ClockRoundTrip:
		return "roundtrip"
	case ClockFetch:
		return "fetch"
	case ClockBeacon:
		return "beacon"
	}
	return "unknown"
}

// ClockCell is what all samples of one origin within ten seconds tell of the
// offset between a broker's clock and a host's. Cells of the same key merge by
// the highest of Low, the lowest of High, and so on (see package clocktrack), in
// any order and however often; so a cell may be written in parts and again.
type ClockCell struct {
	Project uint64 // zero: a beacon's, which is of no project
	Host    string // boot id
	Broker  string // address:port
	Origin  ClockOrigin
	Time    int64 // Unix ns of the host's clock: the begin of the cell

	// Low and High bound broker − host, in ns, as of the cell's begin, middle and
	// end. A side that is not known is the least or the largest int64. Low above
	// High says that a clock was stepped within the cell.
	Low, High [3]int64

	Seconds     uint16 // a bit for each second that had a sample
	First, Last int64  // Unix ns of the host's clock: times of the samples

	Name    string // what people call the host; empty when nobody told
	Service string // one that ran there; empty when nobody told
	Cluster string // id of the broker's cluster; empty unless a beacon told
	Node    int32  // the broker's number there; Unknown unless a beacon told
}
