package ingest

import (
	"fmt"
	"math"

	"github.com/VictoriaMetrics/easyproto"
	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/schemas"
)

// maxExemplars is how many exemplars of a point are kept.
const maxExemplars = 16

// maxBuckets bounds the buckets of a point. The collector refuses more.
const maxBuckets = 2048

// MetricDecoder decodes OTLP ExportMetricsServiceRequests as [SpanDecoder] does
// traces, into memory that it uses again. It is not safe for concurrent use.
type MetricDecoder struct {
	base      *SpanDecoder // attributes and texts
	exemplars arena[schemas.Exemplar]
	counts    arena[uint64]
	bounds    arena[float64]

	scratchCounts []uint64
	scratchBounds []float64
	next          int // points seen in the request, kept or not
}

// NewMetricDecoder makes a decoder. Zero fields of limits take their defaults;
// Limits.Spans bounds the points of a request.
func NewMetricDecoder(limits Limits) *MetricDecoder {
	d := &MetricDecoder{base: NewSpanDecoder(limits)}
	d.exemplars.size, d.counts.size, d.bounds.size = 512, 8192, 1024
	return d
}

// Reset takes back the memory of all points decoded so far.
func (d *MetricDecoder) Reset() {
	d.base.Reset()
	d.exemplars.reset()
	d.counts.reset()
	d.bounds.reset()
}

// Decode appends the request's points to dst, in the order of the encoding.
// Position.Index is the point's place in the request; the caller sets Project,
// Source and Position.Offset, and package normalize what is read from
// attributes. Summaries and points that tell that there is no value are passed
// over. Points alias value and the decoder's memory, as spans do. On error dst
// is returned with what it had.
func (d *MetricDecoder) Decode(dst []schemas.MetricPoint, value []byte) ([]schemas.MetricPoint, error) {
	const message = "ExportMetricsServiceRequest"
	d.base.root, d.next = value, 0
	out, from := dst, len(dst)
	err := d.base.fields(value, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 1 {
			return true, nil
		}
		rm, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		var err error
		out, err = d.resourceMetrics(out, rm)
		return true, err
	})
	if err != nil {
		return dst[:from], err
	}
	return out, nil
}

// resourceMetrics goes over the fields twice: the resource may follow what it
// belongs to.
func (d *MetricDecoder) resourceMetrics(dst []schemas.MetricPoint, src []byte) ([]schemas.MetricPoint, error) {
	const message = "ResourceMetrics"
	template := schemas.MetricPoint{Partition: schemas.Unknown}
	var c counts
	d.base.attrs.begin()
	err := d.base.fields(src, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 1 {
			return true, nil
		}
		r, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		template.Series = xxhash.Sum64(r)
		return true, d.base.resource(r, &template.Service, &c)
	})
	if err != nil {
		return dst, err
	}
	d.base.mark(&c)
	template.Resource = d.base.attrs.finish()
	err = d.base.fields(src, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 2 {
			return true, nil
		}
		sm, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		var err error
		dst, err = d.scopeMetrics(dst, sm, template)
		return true, err
	})
	return dst, err
}

func (d *MetricDecoder) scopeMetrics(dst []schemas.MetricPoint, src []byte, template schemas.MetricPoint) ([]schemas.MetricPoint, error) {
	const message = "ScopeMetrics"
	err := d.base.fields(src, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 1 {
			return true, nil
		}
		s, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		return true, d.base.fields(s, "InstrumentationScope", func(fc *easyproto.FieldContext) (bool, error) {
			ok := true
			if fc.FieldNum == 1 {
				template.Scope, ok = fc.String()
			}
			return ok, nil
		})
	})
	if err != nil {
		return dst, err
	}
	var h xxhash.Digest
	h.ResetWithSeed(template.Series)
	_, _ = h.WriteString(template.Scope)
	template.Series = h.Sum64()
	err = d.base.fields(src, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 2 {
			return true, nil
		}
		m, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		var err error
		dst, err = d.metric(dst, m, template)
		return true, err
	})
	return dst, err
}

// Fields of Metric that hold its data.
const (
	gaugeField       = 5
	sumField         = 7
	histogramField   = 9
	exponentialField = 10
)

func (d *MetricDecoder) metric(dst []schemas.MetricPoint, src []byte, template schemas.MetricPoint) ([]schemas.MetricPoint, error) {
	var data []byte
	err := d.base.fields(src, "Metric", func(fc *easyproto.FieldContext) (bool, error) {
		ok := true
		switch fc.FieldNum {
		case 1:
			template.Name, ok = fc.String()
		case 2:
			template.Description, ok = fc.String()
		case 3:
			template.Unit, ok = fc.String()
		case gaugeField:
			template.Kind = schemas.MetricGauge
			data, ok = fc.MessageData()
		case sumField:
			template.Kind = schemas.MetricSum
			data, ok = fc.MessageData()
		case histogramField:
			template.Kind = schemas.MetricHistogram
			data, ok = fc.MessageData()
		case exponentialField:
			template.Kind = schemas.MetricExponentialHistogram
			data, ok = fc.MessageData()
		}
		return ok, nil
	})
	if err != nil || template.Kind == 0 {
		return dst, err
	}
	const message = "Metric.data"
	if template.Kind != schemas.MetricGauge {
		err = d.base.fields(data, message, func(fc *easyproto.FieldContext) (bool, error) {
			ok := true
			switch fc.FieldNum {
			case 2:
				var i int32
				if i, ok = fc.Int32(); ok && (i == int32(schemas.TemporalityDelta) || i == int32(schemas.TemporalityCumulative)) {
					template.Temporality = schemas.Temporality(i)
				}
			case 3:
				if template.Kind == schemas.MetricSum {
					template.Monotonic, ok = fc.Bool()
				}
			}
			return ok, nil
		})
		if err != nil {
			return dst, err
		}
	}
	err = d.base.fields(data, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != 1 {
			return true, nil
		}
		b, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		if d.next >= d.base.limits.Spans {
			return true, fmt.Errorf("more than %d points in one request: split it", d.base.limits.Spans)
		}
		p := template
		p.Position.Index = uint32(d.next) //nolint:gosec // bounded by Limits.Spans
		d.next++
		has, err := d.point(&p, b)
		if err == nil && has {
			dst = append(dst, p)
		}
		return true, err
	})
	return dst, err
}

// Field numbers that differ between the kinds of points; the times are 2 and 3
// in each.
type pointFields struct{ attributes, exemplars, flags, min, max uint32 }

func fieldsOf(k schemas.MetricKind) pointFields {
	switch k {
	case schemas.MetricHistogram:
		return pointFields{9, 8, 10, 11, 12}
	case schemas.MetricExponentialHistogram:
		return pointFields{1, 11, 10, 12, 13}
	}
	return pointFields{attributes: 7, exemplars: 5, flags: 8}
}

// point tells whether there is a value.
func (d *MetricDecoder) point(p *schemas.MetricPoint, src []byte) (has bool, err error) {
	at := fieldsOf(p.Kind)
	number := p.Kind == schemas.MetricGauge || p.Kind == schemas.MetricSum
	explicit := p.Kind == schemas.MetricHistogram
	if !number {
		p.Histogram.Sum, p.Histogram.Min, p.Histogram.Max = math.NaN(), math.NaN(), math.NaN()
	}
	var c counts
	var flags uint32
	var series xxhash.Digest
	series.ResetWithSeed(p.Series)
	d.base.attrs.begin()
	d.exemplars.begin()
	d.scratchCounts, d.scratchBounds = d.scratchCounts[:0], d.scratchBounds[:0]
	err = d.base.fields(src, "DataPoint", func(fc *easyproto.FieldContext) (bool, error) {
		ok := true
		var b []byte
		var u uint64
		switch n := fc.FieldNum; {
		case n == 2:
			u, ok = fc.Fixed64()
			p.Start = int64(u) //nolint:gosec // beyond 2262 it is negative, and unknown
		case n == 3:
			u, ok = fc.Fixed64()
			p.Time = int64(u) //nolint:gosec // beyond 2262 it is negative, and normalize refuses it
		case n == at.attributes:
			if b, ok = fc.MessageData(); ok {
				_, _ = series.Write(b)
				a, err := d.base.keyValue(b, &c)
				if err != nil {
					return true, err
				}
				d.base.add(&d.base.attrs, a, &c)
			}
		case n == at.exemplars:
			if b, ok = fc.MessageData(); ok && d.exemplars.built() < maxExemplars {
				return true, d.exemplar(b)
			}
		case n == at.flags:
			flags, ok = fc.Uint32()
		case number && n == 4:
			p.Value, ok = fc.Double()
			has = true
		case number && n == 6:
			var i int64
			i, ok = fc.Sfixed64()
			p.Value, has = float64(i), true
		case number:
		case n == 4:
			p.Histogram.Count, ok = fc.Fixed64()
		case n == 5:
			p.Histogram.Sum, ok = fc.Double()
		case n == at.min:
			p.Histogram.Min, ok = fc.Double()
		case n == at.max:
			p.Histogram.Max, ok = fc.Double()
		case explicit && n == 6:
			d.scratchCounts, ok = fc.UnpackFixed64s(d.scratchCounts)
		case explicit && n == 7:
			d.scratchBounds, ok = fc.UnpackDoubles(d.scratchBounds)
		case explicit:
		case n == 6:
			p.Histogram.Scale, ok = fc.Sint32()
		case n == 7:
			p.Histogram.ZeroCount, ok = fc.Fixed64()
		case n == 8 || n == 9:
			if b, ok = fc.MessageData(); !ok {
				return false, nil
			}
			to := &p.Histogram.Positive
			if n == 9 {
				to = &p.Histogram.Negative
			}
			return true, d.buckets(to, b)
		}
		return ok, nil
	})
	if err != nil {
		return false, err
	}
	d.base.mark(&c)
	p.Attributes = d.base.attrs.finish()
	p.Exemplars = d.exemplars.finish()
	p.Series = series.Sum64()
	if explicit {
		if len(d.scratchCounts) > maxBuckets || len(d.scratchCounts)+len(d.scratchBounds) > 0 && len(d.scratchCounts) != len(d.scratchBounds)+1 {
			return false, fmt.Errorf("point %d of metric %.100q has %d buckets and %d bounds, want one bucket more than bounds and at most %d",
				p.Position.Index, p.Name, len(d.scratchCounts), len(d.scratchBounds), maxBuckets)
		}
		p.Histogram.Explicit = keepAll(&d.counts, d.scratchCounts)
		p.Histogram.Bounds = keepAll(&d.bounds, d.scratchBounds)
	}
	const noRecordedValue = 1
	return flags&noRecordedValue == 0 && (has || !number), nil
}

func keepAll[T any](to *arena[T], from []T) []T {
	to.begin()
	for _, v := range from {
		to.push(v)
	}
	return to.finish()
}

// buckets leaves out empty buckets at both ends: an SDK may send many.
func (d *MetricDecoder) buckets(to *schemas.Buckets, src []byte) error {
	d.scratchCounts = d.scratchCounts[:0]
	err := d.base.fields(src, "Buckets", func(fc *easyproto.FieldContext) (bool, error) {
		ok := true
		switch fc.FieldNum {
		case 1:
			to.Offset, ok = fc.Sint32()
		case 2:
			d.scratchCounts, ok = fc.UnpackUint64s(d.scratchCounts)
		}
		return ok, nil
	})
	if err != nil {
		return err
	}
	if len(d.scratchCounts) > maxBuckets {
		return fmt.Errorf("a point has %d buckets, want at most %d", len(d.scratchCounts), maxBuckets)
	}
	all := d.scratchCounts
	for len(all) > 0 && all[len(all)-1] == 0 {
		all = all[:len(all)-1]
	}
	for len(all) > 0 && all[0] == 0 {
		all = all[1:]
		to.Offset++
	}
	if to.Counts = keepAll(&d.counts, all); len(all) == 0 {
		to.Offset = 0
	}
	return nil
}

func (d *MetricDecoder) exemplar(src []byte) error {
	var e schemas.Exemplar
	err := d.base.fields(src, "Exemplar", func(fc *easyproto.FieldContext) (bool, error) {
		ok := true
		var b []byte
		switch fc.FieldNum {
		case 2:
			var u uint64
			u, ok = fc.Fixed64()
			e.Time = int64(u) //nolint:gosec // as of a point
		case 3:
			e.Value, ok = fc.Double()
		case 4:
			if b, ok = fc.Bytes(); ok {
				e.SpanID = spanID(b)
			}
		case 5:
			if b, ok = fc.Bytes(); ok {
				e.TraceID = traceID(b)
			}
		case 6:
			var i int64
			i, ok = fc.Sfixed64()
			e.Value = float64(i)
		}
		return ok, nil
	})
	if err == nil {
		d.exemplars.push(e)
	}
	return err
}
