package measure

import (
	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// Fields of metrics.v1 and of what holds it.
const (
	requestResource = 1

	resourceMetricsResource, resourceMetricsScope, resourceMetricsSchema = 1, 2, 3

	resourceAttributes = 1

	scopeMetricsScope, scopeMetricsMetric, scopeMetricsSchema = 1, 2, 3

	scopeName, scopeVersion = 1, 2

	metricName, metricDescription, metricUnit   = 1, 2, 3
	metricGauge, metricSum, metricExponential   = 5, 7, 10
	dataPoints, dataTemporality, dataMonotonic  = 1, 2, 3
	temporalityDelta                            = 1
	numberAttributes, numberStart, numberTime   = 7, 2, 3
	numberInt                                   = 6
	pointAttributes, pointStart, pointTime      = 1, 2, 3
	pointCount, pointSum, pointScale, pointZero = 4, 5, 6, 7
	pointPositive, pointExemplars, pointMin     = 8, 11, 12
	pointMax                                    = 13
	bucketsOffset, bucketsCounts                = 1, 2
	exemplarTime, exemplarDouble                = 2, 3
	exemplarSpan, exemplarTrace                 = 4, 5
)

// encoded is a set of attributes as the points of histograms and those of
// numbers hold it. What a layout does not need is empty.
type encoded struct {
	point, number []byte
}

func encodeSet(set attribute.Set, kinds []Kind) (e encoded) {
	var points, numbers bool
	for _, k := range kinds {
		histogram := k == Duration || k == Histogram
		points, numbers = points || histogram, numbers || !histogram
	}
	attrs := set.ToSlice()
	if points {
		e.point = protowire.AppendKeyValues(nil, pointAttributes, attrs)
	}
	if numbers {
		e.number = protowire.AppendKeyValues(nil, numberAttributes, attrs)
	}
	return e
}

// appendHistogram appends h as a data point; it is not empty.
func appendHistogram(b []byte, attrs []byte, h *histogram, start, end int64) []byte {
	b, at := protowire.Open(b, dataPoints)
	b = append(b, attrs...)
	b = protowire.AppendFixed64(b, pointStart, uint64(start))
	b = protowire.AppendFixed64(b, pointTime, uint64(end))
	b = protowire.AppendFixed64(b, pointCount, h.count)
	b = protowire.AppendDouble(b, pointSum, h.sum)
	b = protowire.AppendSint(b, pointScale, int64(h.scale()))
	b = protowire.AppendFixed64(b, pointZero, h.zero)
	if len(h.counts) > 0 {
		var buckets, packed int
		b, buckets = protowire.Open(b, pointPositive)
		b = protowire.AppendSint(b, bucketsOffset, int64(h.offset))
		b, packed = protowire.Open(b, bucketsCounts)
		for _, n := range h.counts {
			b = protowire.AppendVarint(b, n)
		}
		b = protowire.Close(protowire.Close(b, packed), buckets)
	}
	if h.worst.at != 0 {
		var exemplar int
		b, exemplar = protowire.Open(b, pointExemplars)
		b = protowire.AppendFixed64(b, exemplarTime, uint64(h.worst.at))
		b = protowire.AppendDouble(b, exemplarDouble, h.worst.value)
		b = protowire.AppendBytes(b, exemplarSpan, h.worst.SpanID[:])
		b = protowire.AppendBytes(b, exemplarTrace, h.worst.TraceID[:])
		b = protowire.Close(b, exemplar)
	}
	b = protowire.AppendDouble(b, pointMin, h.min)
	b = protowire.AppendDouble(b, pointMax, h.max)
	return protowire.Close(b, at)
}

// appendNumber appends a data point of one integer. A zero start is left out.
func appendNumber(b []byte, attrs []byte, v, start, end int64) []byte {
	b, at := protowire.Open(b, dataPoints)
	b = append(b, attrs...)
	if start != 0 {
		b = protowire.AppendFixed64(b, numberStart, uint64(start))
	}
	b = protowire.AppendFixed64(b, numberTime, uint64(end))
	b = protowire.AppendFixed64(b, numberInt, uint64(v))
	return protowire.Close(b, at)
}

// appendMetric appends the metric d with points, which are its encoded data
// points.
func appendMetric(b []byte, d *described, points []byte) []byte {
	b, at := protowire.Open(b, scopeMetricsMetric)
	b = protowire.AppendString(b, metricName, d.Name)
	if d.Description != "" {
		b = protowire.AppendString(b, metricDescription, d.Description)
	}
	if d.Unit != "" {
		b = protowire.AppendString(b, metricUnit, d.Unit)
	}
	var data int
	switch d.Kind {
	case Duration, Histogram:
		b, data = protowire.Open(b, metricExponential)
		b = append(b, points...)
		b = protowire.AppendUint(b, dataTemporality, temporalityDelta)
	case Counter:
		b, data = protowire.Open(b, metricSum)
		b = append(b, points...)
		b = protowire.AppendUint(b, dataTemporality, temporalityDelta)
		b = protowire.AppendUint(b, dataMonotonic, 1)
	default:
		b, data = protowire.Open(b, metricGauge)
		b = append(b, points...)
	}
	return protowire.Close(protowire.Close(b, data), at)
}

func appendScope(b []byte, s Scope) []byte {
	b, at := protowire.Open(b, scopeMetricsScope)
	b = protowire.AppendString(b, scopeName, s.Name)
	if s.Version != "" {
		b = protowire.AppendString(b, scopeVersion, s.Version)
	}
	return protowire.Close(b, at)
}

// held is what a batch holds of one group, to be put back if the export fails.
type held struct {
	group  *Group
	cells  []cell
	start  int64
	points int
}

// encoder makes batches out of what groups saw. It is used by the registry's
// goroutine alone and keeps its memory.
type encoder struct {
	resource []byte // ResourceMetrics.resource
	schema   string
	max      int
	send     func(Batch) error
	settle   func(held, error) // takes each back after its batch was sent
	err      error             // first of the batches

	meter  *Meter
	bufs   [][]byte // data points by metric of the meter
	marks  []int    // lengths of bufs before the present group
	scopes []byte   // ScopeMetrics of the meters before
	used   int      // bytes in bufs, and what is written around them
	points int
	held   []held
	body   []byte
}

// begin starts the groups of m.
func (e *encoder) begin(m *Meter) {
	e.meter = m
	m.mu.Lock()
	metrics := len(m.metrics)
	m.mu.Unlock()
	for len(e.bufs) < metrics {
		e.bufs = append(e.bufs, nil)
	}
	e.marks = append(e.marks[:0], make([]int, len(e.bufs))...)
}

// around is more than what is written around a metric beside its texts.
const around = 48

// add encodes what h's group saw until end. Its cells belong to the encoder now.
func (e *encoder) add(h held, end int64) {
	for i, b := range e.bufs {
		e.marks[i] = len(b)
	}
	used := e.used
	h.points = e.encode(h, end)
	if h.points == 0 { // woken by a call that did not fit
		e.settle(h, nil)
		return
	}
	if e.size() > e.max && len(e.held) > 0 {
		// Too much together: send what was there before, and begin again.
		for i := range e.bufs {
			e.bufs[i] = e.bufs[i][:e.marks[i]]
		}
		e.used = used
		e.flush()
		e.encode(h, end)
	}
	e.points += h.points
	e.held = append(e.held, h)
}

// size is an upper bound of the batch's bytes.
func (e *encoder) size() int {
	s := e.meter.scope
	return len(e.resource) + len(e.schema) + len(e.scopes) + e.used + len(s.Name) + len(s.Version) + len(s.SchemaURL) + 2*around
}

func (e *encoder) encode(h held, end int64) (points int) {
	g := h.group
	end = max(end, h.start) // the wall clock may have been set back
	for i := range h.cells {
		c, at := &h.cells[i], g.family.metrics[i]
		switch g.kinds[i] {
		case Duration, Histogram:
			if c.count > 0 {
				e.bufs[at] = appendHistogram(e.buf(at), g.attrs.point, &c.histogram, h.start, end)
				points++
			}
			if c.negative != nil && c.negative.count > 0 {
				e.bufs[at+1] = appendHistogram(e.buf(at+1), g.attrs.point, c.negative, h.start, end)
				points++
			}
		case Counter:
			if c.seen {
				e.bufs[at] = appendNumber(e.buf(at), g.attrs.number, c.value, h.start, end)
				points++
			}
		case Gauge:
			if c.seen {
				e.bufs[at] = appendNumber(e.buf(at), g.attrs.number, c.value, 0, end)
				points++
			}
		case Samples:
			for _, s := range c.samples {
				e.bufs[at] = appendNumber(e.buf(at), g.attrs.number, s.value, 0, s.at)
				points++
			}
		}
	}
	for i := range e.bufs {
		e.used += len(e.bufs[i]) - e.marks[i]
	}
	return points
}

// buf returns the points of metric i.
func (e *encoder) buf(i int) []byte {
	if len(e.bufs[i]) == 0 {
		e.meter.mu.Lock()
		d := &e.meter.metrics[i]
		e.used += len(d.Name) + len(d.Description) + len(d.Unit) + around
		e.meter.mu.Unlock()
	}
	return e.bufs[i]
}

// end closes the scope of the present meter.
func (e *encoder) end() {
	if e.used == 0 {
		return
	}
	b, at := protowire.Open(e.scopes, resourceMetricsScope)
	b = appendScope(b, e.meter.scope)
	e.meter.mu.Lock()
	for i := range e.bufs {
		if len(e.bufs[i]) > 0 {
			b = appendMetric(b, &e.meter.metrics[i], e.bufs[i])
			e.bufs[i] = e.bufs[i][:0]
			e.marks[i] = 0
		}
	}
	e.meter.mu.Unlock()
	if e.meter.scope.SchemaURL != "" {
		b = protowire.AppendString(b, scopeMetricsSchema, e.meter.scope.SchemaURL)
	}
	e.scopes, e.used = protowire.Close(b, at), 0
}

// flush sends what is encoded.
func (e *encoder) flush() {
	e.end()
	if len(e.held) == 0 {
		return
	}
	b, at := protowire.Open(e.body[:0], requestResource)
	b = append(b, e.resource...)
	b = append(b, e.scopes...)
	if e.schema != "" {
		b = protowire.AppendString(b, resourceMetricsSchema, e.schema)
	}
	e.body = protowire.Close(b, at)
	err := e.send(Batch{Points: e.points, Body: e.body})
	if err != nil && e.err == nil {
		e.err = err
	}
	for _, h := range e.held {
		e.settle(h, err)
	}
	clear(e.held)
	e.held, e.scopes, e.points = e.held[:0], e.scopes[:0], 0
}

// trim lets go of memory that a busier time left behind.
func (e *encoder) trim() {
	const keep = 4 << 20
	total := cap(e.body) + cap(e.scopes)
	for _, b := range e.bufs {
		total += cap(b)
	}
	if total > keep+4*e.max {
		e.body, e.scopes, e.bufs, e.held = nil, nil, nil, nil
	}
}
