package otlp

import (
	"time"
)

// Part is one valid ExportTraceServiceRequest that fits a record.
type Part struct {
	Data      []byte
	Spans     int
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
	report, err := Scan(data, now)
	if err != nil || report.Spans == 0 {
		return nil, report, err
	}
	if report.RejectedSpans() == 0 && len(data) <= maxBytes {
		return []Part{{Data: data, Spans: report.Spans}}, report, nil
	}
	p := packer{max: max(maxBytes, MinRecordBytes), latest: uint64(now.Add(maxFuture).UnixNano())}
	c := cursor{rest: data}
	for c.next() {
		if c.num == 1 {
			p.resource(c.data)
		}
	}
	p.flush()
	report.Truncated = p.truncated
	return p.parts, report, nil
}

// packer fills parts greedily. It sees only what Scan has accepted.
type packer struct {
	max       int
	latest    uint64
	parts     []Part
	truncated int

	// The part being filled.
	resources []packedResource
	done      int // encoded bytes of all resources but the last
	spans     int
	cut       bool
}

type packedResource struct {
	rest   []byte // its fields apart from the scopes
	scopes []packedScope
	done   int // encoded bytes of rest and of all scopes but the last
	cut    bool
}

type packedScope struct {
	rest  []byte // its fields apart from the spans
	spans [][]byte
	size  int // encoded bytes of rest and spans
	cut   bool
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
		if v, err := examine(c.data, p.latest); err != nil || !v.ok {
			continue
		}
		span := c.data
		// A span alone with its resource and scope: at most ten bytes each of
		// tag and length around the three levels.
		if limit := p.max - len(resource) - len(rest) - 30; len(span) > limit {
			span = shrink(span, limit, spanParts)
			p.truncated++
			p.add(span, resource, resourceCut, rest, cut, opened, &scopeOpened)
			p.cut = true
			continue
		}
		p.add(span, resource, resourceCut, rest, cut, opened, &scopeOpened)
	}
}

func (p *packer) add(span, resource []byte, resourceCut bool, rest []byte, cut bool, opened, scopeOpened *bool) {
	if p.spans > 0 && p.sizeWith(len(span), resource, rest, *opened, *scopeOpened) > p.max {
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
	s.spans = append(s.spans, span)
	s.size += sizeField(len(span))
	p.spans++
	p.cut = p.cut || r.cut || s.cut
}

func (r *packedResource) size() int {
	if len(r.scopes) == 0 {
		return r.done
	}
	return r.done + sizeField(r.scopes[len(r.scopes)-1].size)
}

// sizeWith is the encoded size of the part with one more span of n bytes.
func (p *packer) sizeWith(n int, resource, scope []byte, opened, scopeOpened bool) int {
	span := sizeField(n)
	if !opened {
		return p.size() + sizeField(len(resource)+sizeField(len(scope)+span))
	}
	r := &p.resources[len(p.resources)-1]
	if !scopeOpened {
		return p.done + sizeField(r.size()+sizeField(len(scope)+span))
	}
	return p.done + sizeField(r.done+sizeField(r.scopes[len(r.scopes)-1].size+span))
}

func (p *packer) size() int {
	if len(p.resources) == 0 {
		return 0
	}
	return p.done + sizeField(p.resources[len(p.resources)-1].size())
}

func (p *packer) flush() {
	if p.spans == 0 {
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
			for _, span := range s.spans {
				out = appendTag(out, 2, len(span))
				out = append(out, span...)
			}
		}
	}
	p.parts = append(p.parts, Part{Data: out, Spans: p.spans, Truncated: p.cut})
	p.resources, p.done, p.spans, p.cut = nil, 0, 0, false
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
