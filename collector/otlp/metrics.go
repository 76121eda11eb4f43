package otlp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// maxBuckets bounds the buckets of one point. SDKs send 160; a histogram with
// more than a thousand tells no more.
const maxBuckets = 2048

// The messages of opentelemetry/proto/metrics/v1, from the point down.
var (
	exemplarShape = (&message{name: "Exemplar"}).set(fix64(2)).set(fix64(3)).ident(4, 8).ident(5, 16).set(fix64(6)).sub(7, keyValue)
	bucketsShape  = (&message{name: "ExponentialHistogramDataPoint.Buckets"}).set(vint(1)).set(packed(2, wireVarint))
	numberShape   = (&message{name: "NumberDataPoint"}).set(fix64(2)).set(fix64(3)).set(fix64(4)).sub(5, exemplarShape).
			set(fix64(6)).sub(7, keyValue).set(vint(8))
	histogramShape = (&message{name: "HistogramDataPoint"}).set(fix64(2)).set(fix64(3)).set(fix64(4)).set(fix64(5)).
			set(packed(6, wireFixed64)).set(packed(7, wireFixed64)).sub(8, exemplarShape).sub(9, keyValue).set(vint(10)).
			set(fix64(11)).set(fix64(12))
	exponentialShape = (&message{name: "ExponentialHistogramDataPoint"}).sub(1, keyValue).set(fix64(2)).set(fix64(3)).set(fix64(4)).
				set(fix64(5)).set(vint(6)).set(fix64(7)).sub(8, bucketsShape).sub(9, bucketsShape).set(vint(10)).
				sub(11, exemplarShape).set(fix64(12)).set(fix64(13)).set(fix64(14))
	quantileShape = (&message{name: "SummaryDataPoint.ValueAtQuantile"}).set(fix64(1)).set(fix64(2))
	summaryShape  = (&message{name: "SummaryDataPoint"}).set(fix64(2)).set(fix64(3)).set(fix64(4)).set(fix64(5)).
			sub(6, quantileShape).sub(7, keyValue).set(vint(8))
)

// Fields of Metric that hold its data.
const (
	gaugeField       = 5
	sumField         = 7
	histogramField   = 9
	exponentialField = 10
	summaryField     = 11
)

// pointShape is what the points under a field of Metric are; nil for a field
// that is no data.
func pointShape(field uint32) *message {
	switch field {
	case gaugeField, sumField:
		return numberShape
	case histogramField:
		return histogramShape
	case exponentialField:
		return exponentialShape
	case summaryField:
		return summaryShape
	}
	return nil
}

// metricOf takes a Metric apart: its name, and the field and bytes of its data.
// A metric without data has the field 0.
func metricOf(data []byte) (name []byte, field uint32, body []byte, err error) {
	c := cursor{rest: data}
	for c.next() {
		switch c.num {
		case 1, 2, 3, gaugeField, sumField, histogramField, exponentialField, summaryField, 12:
			if c.typ != wireBytes {
				return nil, 0, nil, fmt.Errorf("field %d has wire type %d, want %d", c.num, c.typ, wireBytes)
			}
		default:
			continue
		}
		switch {
		case c.num == 1:
			name = c.data
		case c.num == 12:
			if err := check(c.data, keyValue, 0); err != nil && !errors.Is(err, errTooDeep) {
				return nil, 0, nil, fmt.Errorf("metadata: %w", err)
			}
		case pointShape(c.num) != nil:
			if field != 0 {
				return nil, 0, nil, fmt.Errorf("has data in field %d and in field %d, want one", field, c.num)
			}
			field, body = c.num, c.data
		}
	}
	if c.err != nil {
		return nil, 0, nil, fmt.Errorf("%w", c.err)
	}
	return name, field, body, nil
}

// metric checks one Metric and counts its points.
func (s *scanner) metric(data []byte) error {
	name, field, body, err := metricOf(data)
	if err != nil {
		return err
	}
	if field == 0 {
		return nil
	}
	c := cursor{rest: body}
	for n := 0; c.next(); {
		switch {
		case c.num == 1 && c.typ == wireBytes:
			v, err := examinePoint(c.data, field, name, s.latest)
			if err != nil {
				return fmt.Errorf("dataPoints[%d]: %w", n, err)
			}
			if v.ok {
				s.report.Items++
			} else {
				s.reject(v, ".dataPoints["+strconv.Itoa(n)+"]")
			}
			n++
		case c.num == 1:
			return fmt.Errorf("dataPoints: wire type %d, want %d", c.typ, wireBytes)
		case (c.num == 2 || c.num == 3) && field != gaugeField && c.typ != wireVarint: // temporality, monotonic
			return fmt.Errorf("data: field %d has wire type %d, want %d", c.num, c.typ, wireVarint)
		}
	}
	if c.err != nil {
		return fmt.Errorf("data: %w", c.err)
	}
	return nil
}

// examinePoint checks one point of a metric. An error means that it is no
// well-formed protobuf.
func examinePoint(data []byte, field uint32, name []byte, latest uint64) (verdict, error) {
	v := verdict{clock: latest}
	shape := pointShape(field)
	var minor error
	var flags uint64
	hasValue := field != gaugeField && field != sumField
	explicit, bounds, positive, negative := 0, 0, 0, 0
	c := cursor{rest: data}
	for c.next() {
		if c.num >= uint32(len(shape.fields)) || !shape.fields[c.num].known {
			continue
		}
		f := &shape.fields[c.num]
		if f.list && f.elem == c.typ { // unpacked: one element
			if c.num == 6 {
				explicit++
			} else {
				bounds++
			}
			continue
		}
		if f.typ != c.typ {
			return v, fmt.Errorf("%s: field %d has wire type %d, want %d", shape.name, c.num, c.typ, f.typ)
		}
		switch {
		case c.num == 3:
			v.end = c.value
			continue
		case f.list:
			if !wholeList(c.data, f.elem) {
				return v, fmt.Errorf("%s: the list in field %d is cut short", shape.name, c.num)
			}
			if c.num == 6 {
				explicit += len(c.data) / 8
			} else {
				bounds += len(c.data) / 8
			}
			continue
		case shape == numberShape && (c.num == 4 || c.num == 6):
			hasValue = true
			continue
		case f.in == bucketsShape && c.num == 8:
			positive = countBuckets(c.data)
		case f.in == bucketsShape:
			negative = countBuckets(c.data)
		case f.typ == wireVarint && (shape == numberShape && c.num == 8 || shape != numberShape && c.num == 10):
			flags = c.value
			continue
		}
		if f.in == nil || f.in == keyValue && plainPair(c.data) {
			continue
		}
		if err := check(c.data, f.in, 0); err != nil {
			if err != errTooDeep && err != errBadID { //nolint:errorlint // never wrapped, and this is the hot path
				return v, err
			}
			minor = err
		}
	}
	if c.err != nil {
		return v, fmt.Errorf("%s: %w", shape.name, c.err)
	}
	const noRecordedValue = 1
	v.buckets, v.bounds = max(explicit, positive, negative), bounds
	switch {
	case field == summaryField:
		v.reason = Summary
	case len(name) == 0:
		v.reason = NoName
	case minor == errBadID: //nolint:errorlint // never wrapped
		v.reason = BadExemplarID
	case minor == errTooDeep: //nolint:errorlint // never wrapped
		v.reason = TooDeep
	case v.end == 0:
		v.reason = NoTime
	case v.end > latest:
		v.reason = InFuture
	case v.end < latest-uint64(maxFuture+maxAge):
		v.reason = OldPoint
	case v.buckets > maxBuckets, field == histogramField && explicit+bounds > 0 && explicit != bounds+1:
		v.reason = BadBuckets
	case !hasValue && flags&noRecordedValue == 0:
		v.reason = NoValue
	default:
		v.ok = true
		return v, nil
	}
	v.name = string(name)
	return v, nil
}

// countBuckets is how many counts a Buckets message has.
func countBuckets(b []byte) int {
	n := 0
	c := cursor{rest: b}
	for c.next() {
		switch {
		case c.num != 2:
		case c.typ == wireBytes:
			for _, x := range c.data {
				if x < 0x80 {
					n++
				}
			}
		default:
			n++
		}
	}
	return n
}

// wholeList tells that a packed list ends where an element does.
func wholeList(b []byte, elem uint8) bool {
	switch elem {
	case wireFixed64:
		return len(b)%8 == 0
	case wireVarint:
		for len(b) > 0 {
			_, n := binary.Uvarint(b)
			if n <= 0 {
				return false
			}
			b = b[n:]
		}
	}
	return true
}

// metric gives the valid points of a Metric to add, as metrics of at most limit
// bytes each. It sees only what Scan has accepted.
func (p *packer) metric(data []byte, limit int, add func(leaf []byte, points int)) {
	name, field, body, err := metricOf(data)
	if err != nil || field == 0 {
		return
	}
	var points [][]byte
	all := true
	c := cursor{rest: body}
	for c.next() {
		if c.num != 1 {
			continue
		}
		if v, err := examinePoint(c.data, field, name, p.latest); err != nil || !v.ok {
			all = false
			continue
		}
		points = append(points, c.data)
	}
	if len(points) == 0 {
		return
	}
	if all && len(data) <= limit {
		add(data, len(points))
		return
	}
	head, rest := without(data, field), without(body, 1)
	room := limit - len(head) - len(rest) - 20 // tag and length of the data
	var some [][]byte
	size := 0
	flush := func() {
		if len(some) == 0 {
			return
		}
		leaf := make([]byte, 0, len(head)+len(rest)+size+20)
		leaf = append(leaf, head...)
		leaf = appendTag(leaf, field, len(rest)+size)
		leaf = append(leaf, rest...)
		for _, point := range some {
			leaf = append(appendTag(leaf, 1, len(point)), point...)
		}
		add(leaf, len(some))
		some, size = some[:0], 0
	}
	for _, point := range points {
		n := sizeField(len(point))
		if n > room {
			p.tooLarge++
			if p.firstLarge == "" {
				p.firstLarge = "a point of " + strconv.QuoteToASCII(clip(string(name), 64)) + " " + verdict{reason: TooLarge, size: len(point)}.detail()
			}
			continue
		}
		if size+n > room {
			flush()
		}
		some = append(some, point)
		size += n
	}
	flush()
}
