// Package load makes OTLP trace requests at next to no cost: they are encoded
// once, and before each sending only ids, times and offsets are written over in
// place. It is for measuring the receiver; it measures nothing itself.
package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// SpansPerRequest is how many spans each request carries.
	SpansPerRequest = 512
	// RequestsPerRound is how many requests make one round of whole traces.
	RequestsPerRound = 6
	// TracesPerRound is how many traces a round holds: an order that goes over
	// two topics, six spans, four of them a message's.
	TracesPerRound = 512
	spansPerTrace  = SpansPerRequest * RequestsPerRound / TracesPerRound
)

// Partitions is how many partitions each of the two topics has.
const Partitions = 6

// patch says what to write at one place of an encoded request.
type patch struct {
	at   int
	what field
	arg  uint64 // index of the trace, span, record or time in the round
	rel  int64  // for times: ns after the round's base time
}

type field uint8

const (
	traceID field = iota
	spanID
	timeFixed64
	timeVarint // 9 bytes: true of every Unix ns from 1972 to 2262
	offset     // 5 bytes: true from 2^28 to 2^35
	keyHash    // 19 digits
	orderID    // 10 digits
)

type template struct {
	body    []byte
	patches []patch
	spans   []int // places in SpanIDs of the round, in the order of the request
}

// Generator makes rounds of requests. It is for one goroutine; two generators
// with different seeds never make the same id.
type Generator struct {
	seed      uint64
	round     uint64
	templates [RequestsPerRound]template
}

// NewGenerator encodes the requests. Seeds are 0 to 255.
func NewGenerator(seed uint8) (*Generator, error) {
	g := &Generator{seed: uint64(seed)}
	for i, b := range build() {
		t, err := b.template()
		if err != nil {
			return nil, fmt.Errorf("cannot encode request %d of the load: %w", i, err)
		}
		g.templates[i] = t
	}
	return g, nil
}

// Next gives the requests of the next round, stamped so that its newest span
// ended just before now. They are good until the following call.
func (g *Generator) Next(now time.Time) [RequestsPerRound][]byte {
	base := now.Add(-roundSpan).UnixNano()
	var out [RequestsPerRound][]byte
	for i := range g.templates {
		g.templates[i].write(g.seed, g.round, base)
		out[i] = g.templates[i].body
	}
	g.round++
	return out
}

// Rounds is how many rounds Next gave.
func (g *Generator) Rounds() uint64 { return g.round }

// TraceIDs gives the ids of the traces in an earlier round.
func (g *Generator) TraceIDs(round uint64) [][16]byte {
	out := make([][16]byte, TracesPerRound)
	for i := range out {
		putTraceID(out[i][:], g.seed, round, uint64(i))
	}
	return out
}

// SpanIDs gives the ids of the spans of one trace of an earlier round, the root first.
func (g *Generator) SpanIDs(round uint64, trace int) [][8]byte {
	out := make([][8]byte, spansPerTrace)
	for i := range out {
		putSpanID(out[i][:], g.seed, round, uint64(trace*spansPerTrace+i))
	}
	return out
}

// RequestSpanIDs gives the ids of the spans in one request of an earlier round.
func (g *Generator) RequestSpanIDs(round uint64, request int) [][8]byte {
	out := make([][8]byte, len(g.templates[request].spans))
	for i, place := range g.templates[request].spans {
		putSpanID(out[i][:], g.seed, round, uint64(place))
	}
	return out
}

// serial numbers the i-th thing of a round over all generators and rounds.
func serial(seed, round, i uint64) uint64 {
	return seed<<56 | (round*TracesPerRound*spansPerTrace + i)
}

// mix is a bijection of 64 bits (the finaliser of splitmix64), so different
// serials give different ids and the ids compress as badly as random ones.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func putTraceID(b []byte, seed, round, i uint64) {
	s := serial(seed, round, i)
	binary.BigEndian.PutUint64(b, mix(s))
	binary.BigEndian.PutUint64(b[8:], mix(s^0x5851f42d4c957f2d))
}

func putSpanID(b []byte, seed, round, i uint64) {
	binary.BigEndian.PutUint64(b, mix(serial(seed, round, i)))
}

// firstOffset keeps the varints of offsets at five bytes.
const firstOffset = 1 << 28

func (t *template) write(seed, round uint64, base int64) {
	for i := range t.patches {
		p := &t.patches[i]
		b := t.body[p.at:]
		switch p.what {
		case traceID:
			putTraceID(b[:16], seed, round, p.arg)
		case spanID:
			putSpanID(b[:8], seed, round, p.arg)
		case timeFixed64:
			binary.LittleEndian.PutUint64(b, uint64(base+p.rel+jitter(round, p.arg)))
		case timeVarint:
			binary.PutUvarint(b[:9], uint64(base+p.rel+jitter(round, p.arg)))
		case offset:
			// Every generator writes its own records: 16 M rounds apart.
			binary.PutUvarint(b[:5], firstOffset+seed<<26+round*(TracesPerRound/Partitions+1)+p.arg)
		case keyHash:
			putDigits(b[:19], mix(serial(seed, round, p.arg))/10)
		case orderID:
			putDigits(b[:10], serial(seed, round, p.arg)%1e10)
		}
	}
}

// jitter is under 65 µs and the same for the same moment, which may stand in
// two spans.
func jitter(round, moment uint64) int64 {
	return int64(mix(round<<32|moment) & 0xffff)
}

func putDigits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

// builder collects the spans of one request together with the marks that
// become patches.
type builder struct {
	resource []*common.KeyValue
	scope    string
	spans    []*trace.Span
	places   []int // of the spans in the round
	marks    []mark
}

// mark is a byte pattern that stands exactly once in the encoded request.
type mark struct {
	pattern []byte
	skip    int // from the pattern's start to the place to write
	patch   patch
}

func (b *builder) template() (template, error) {
	body, err := proto.Marshal(&collectortrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: b.resource},
		ScopeSpans: []*trace.ScopeSpans{{Scope: &common.InstrumentationScope{Name: b.scope, Version: "0.1.0"}, Spans: b.spans}},
	}}})
	if err != nil {
		return template{}, err
	}
	t := template{body: body, spans: b.places}
	for _, m := range b.marks {
		at := bytes.Index(body, m.pattern)
		if at < 0 || bytes.Contains(body[at+1:], m.pattern) {
			return template{}, fmt.Errorf("mark %x of field %d does not stand exactly once in the encoded request", m.pattern, m.patch.what)
		}
		p := m.patch
		p.at = at + m.skip
		t.patches = append(t.patches, p)
	}
	return t, nil
}
