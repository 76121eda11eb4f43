package otlp

import (
	"time"
)

// Part is one valid request that fits a record.
type Part struct {
	Data      []byte
	Items     int  // spans, metric points or log records
	Truncated bool // something in it was cut to fit
}

// MinRecordBytes is the least that Split can work with: resource and scope
// take at most half of it, a span cut to its bones the rest.
const MinRecordBytes = 64 << 10

// Split checks a request (see Scan) and divides it into parts of at most
// maxBytes each, at the borders of resources, scopes and spans and without
// decoding. Each part repeats the resource and scope of its spans. Refused
// spans are left out. What does not fit a part alone is cut: of a span the
// largest attributes, events and links go first, and its dropped counts say
// how many. A request that fits and is valid is returned as it is. Parts may
// alias data.
func Split(data []byte, maxBytes int, now time.Time) ([]Part, Report, error) {
	return split(Traces, data, maxBytes, now)
}

// SplitMetrics is Split of an ExportMetricsServiceRequest. A metric with more
// points than fit is divided between points, each part with its name, unit and
// temporality; a point that does not fit alone is refused.
func SplitMetrics(data []byte, maxBytes int, now time.Time) ([]Part, Report, error) {
	return split(Metrics, data, maxBytes, now)
}

func split(signal Signal, data []byte, maxBytes int, now time.Time) ([]Part, Report, error) {
	report, err := scan(signal, data, now)
	if err != nil || report.Items == 0 {
		return nil, report, err
	}
	if report.Refused() == 0 && len(data) <= maxBytes {
		return []Part{{Data: data, Items: report.Items}}, report, nil
	}
	p := packer{signal: signal, max: max(maxBytes, MinRecordBytes), latest: uint64(now.Add(maxFuture).UnixNano())}
	c := cursor{rest: data}
	for c.next() {
		if c.num == 1 {
			p.resource(c.data)
		}
	}
	p.flush()
	report.Truncated = p.truncated
	if n := p.tooLarge; n > 0 {
		report.Items -= n
		report.Rejected[TooLarge] += n
		if report.First == "" {
			report.First = p.firstLarge
		}
	}
	return p.parts, report, nil
}

// packer fills parts greedily. It sees only what Scan has accepted.
type packer struct {
	signal    Signal
	max       int
	latest    uint64
	parts     []Part
	truncated int

	tooLarge   int // points that do not fit a part alone
	firstLarge string

	// The part being filled.
	resources []packedResource
	done      int // encoded bytes of all resources but the last
	items     int // spans or points
	cut       bool
}

type packedResource struct {
	rest   []byte // its fields apart from the scopes
	scopes []packedScope
	done   int // encoded bytes of rest and of all scopes but the last
	cut    bool
}

type packedScope struct {
	rest   []byte // its fields apart from the leaves
	leaves [][]byte
	size   int // encoded bytes of rest and leaves
	cut    bool
}

func (p *packer) resource(data []byte) {
	rest := without(data, 2)
	cut := false
	if limit := p.max / 4; len(rest) > limit {
		rest, cut = shrinkRest(rest, limit, resourceRest), true
		p.truncated++
	}
	opened := false
	c := cursor{rest: data}
	for c.next() {
		if c.num == 2 {
			p.scope(c.data, rest, cut, &opened)
		}
	}
}

func (p *packer) scope(data, resource []byte, resourceCut bool, opened *bool) {
	rest := without(data, 2)
	cut := false
	if limit := p.max / 4; len(rest) > limit {
		rest, cut = shrinkRest(rest, limit, scopeRest), true
		p.truncated++
	}
	scopeOpened := false
	c := cursor{rest: data}
	for c.next() {
		if c.num != 2 {
			continue
		}
		// A leaf alone with its resource and scope: at most ten bytes each of
		// tag and length around the three levels.
		limit := p.max - len(resource) - len(rest) - 30
		if p.signal == Metrics {
			p.metric(c.data, limit, func(leaf []byte, points int) {
				p.add(leaf, points, resource, resourceCut, rest, cut, opened, &scopeOpened)
			})
			continue
		}
		if v, err := p.signal.examine(c.data, p.latest); err != nil || !v.ok {
			continue
		}
		span := c.data
		if len(span) > limit {
			how := spanParts
			if p.signal == Logs {
				how = logParts
			}
			span = shrink(span, limit, how)
			p.truncated++
			p.add(span, 1, resource, resourceCut, rest, cut, opened, &scopeOpened)
			p.cut = true
			continue
		}
		p.add(span, 1, resource, resourceCut, rest, cut, opened, &scopeOpened)
	}
}

// add puts a leaf, a span or a metric with some points, into the part.
func (p *packer) add(leaf []byte, items int, resource []byte, resourceCut bool, rest []byte, cut bool, opened, scopeOpened *bool) {
	if p.items > 0 && p.sizeWith(len(leaf), resource, rest, *opened, *scopeOpened) > p.max {
		p.flush()
		*opened, *scopeOpened = false, false
	}
	if !*opened {
		if n := len(p.resources); n > 0 {
			p.done += sizeField(p.resources[n-1].size())
		}
		p.resources = append(p.resources, packedResource{rest: resource, done: len(resource), cut: resourceCut})
		*opened, *scopeOpened = true, false
	}
	r := &p.resources[len(p.resources)-1]
	if !*scopeOpened {
		if n := len(r.scopes); n > 0 {
			r.done += sizeField(r.scopes[n-1].size)
		}
		r.scopes = append(r.scopes, packedScope{rest: rest, size: len(rest), cut: cut})
		*scopeOpened = true
	}
	s := &r.scopes[len(r.scopes)-1]
	s.leaves = append(s.leaves, leaf)
	s.size += sizeField(len(leaf))
	p.items += items
	p.cut = p.cut || r.cut || s.cut
}

func (r *packedResource) size() int {
	if len(r.scopes) == 0 {
		return r.done
	}
	return r.done + sizeField(r.scopes[len(r.scopes)-1].size)
}

// sizeWith is the encoded size of the part with one more leaf of n bytes.
func (p *packer) sizeWith(n int, resource, scope []byte, opened, scopeOpened bool) int {
	leaf := sizeField(n)
	if !opened {
		return p.size() + sizeField(len(resource)+sizeField(len(scope)+leaf))
	}
	r := &p.resources[len(p.resources)-1]
	if !scopeOpened {
		return p.done + sizeField(r.size()+sizeField(len(scope)+leaf))
	}
	return p.done + sizeField(r.done+sizeField(r.scopes[len(r.scopes)-1].size+leaf))
}

func (p *packer) size() int {
	if len(p.resources) == 0 {
		return 0
	}
	return p.done + sizeField(p.resources[len(p.resources)-1].size())
}

func (p *packer) flush() {
	if p.items == 0 {
		return
	}
	out := make([]byte, 0, p.size())
	for i := range p.resources {
		r := &p.resources[i]
		out = appendTag(out, 1, r.size())
		out = append(out, r.rest...)
		for j := range r.scopes {
			s := &r.scopes[j]
			out = appendTag(out, 2, s.size)
			out = append(out, s.rest...)
			for _, leaf := range s.leaves {
				out = appendTag(out, 2, len(leaf))
				out = append(out, leaf...)
			}
		}
	}
	p.parts = append(p.parts, Part{Data: out, Items: p.items, Truncated: p.cut})
	p.resources, p.done, p.items, p.cut = nil, 0, 0, false
}

// without is a message's bytes apart from one field.
func without(data []byte, num uint32) []byte {
	n := 0
	c := cursor{rest: data}
	for c.next() {
		if c.num != num {
			n += len(c.raw)
		}
	}
	out := make([]byte, 0, n)
	c = cursor{rest: data}
	for c.next() {
		if c.num != num {
			out = append(out, c.raw...)
		}
	}
	return out
}
