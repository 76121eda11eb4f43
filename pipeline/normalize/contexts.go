package normalize

import (
	"cmp"
	"math"
	"strconv"

	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxContexts is how many contexts an event has.
const maxContexts = 50

// contexts bounds each context and reads those that tell where the event belongs.
func (n *Normalizer) contexts(v *document.Node) {
	at := rootAt("contexts")
	if v == nil || v.Is('n') {
		return
	}
	if !v.Is('{') || v.Opaque() {
		n.invalid(v, at, "invalid_data")
		return
	}
	if v.Len()+v.Dropped() > maxContexts {
		had, i := v.Len()+v.Dropped(), 0
		v.Keep(func(c *document.Node) bool {
			i++
			return i <= maxContexts || c.Named("trace") || c.Named("kafka")
		})
		if v.Len() > maxContexts { // the last two may be those
			i, drop := 0, v.Len()-maxContexts
			v.Keep(func(c *document.Node) bool {
				if i < drop && !c.Named("trace") && !c.Named("kafka") {
					i++
					return false
				}
				return true
			})
		}
		n.gone(at, had)
	}
	for c := v.First(); c != nil; c = c.Next() {
		if len(c.Name()) > maxKey {
			c.Rename(cut(c.Key(), maxKey/6))
		}
		below := n.keepPath(at.at(c.Key()))
		if !c.Is('{') || c.Opaque() {
			if !c.Is('n') {
				n.invalid(c, *below, "invalid_data")
			}
			continue
		}
		switch c.Name() {
		case "trace":
			n.trace(c)
		case "kafka":
			n.kafka(c)
		}
		n.bag(c, below, 6, 16<<10)
	}
}

func (n *Normalizer) trace(c *document.Node) {
	if id, err := schemas.ParseTraceID(c.Get("trace_id").Scalar()); err == nil {
		n.e.TraceID = id
		n.e.SpanID, _ = schemas.ParseSpanID(c.Get("span_id").Scalar())
	}
}

// kafka reads the record whose processing failed, as package sentrykafka tells
// it (docs/sentry.md). Others may call the group consumer_group.
func (n *Normalizer) kafka(c *document.Node) {
	e := n.e
	e.Topic = cut(c.Get("topic").Scalar(), maxShort)
	if e.Topic == "" {
		return
	}
	e.Group = cut(cmp.Or(c.Get("group").Scalar(), c.Get("consumer_group").Scalar()), maxShort)
	e.Partition, e.Offset = partitionOf(c.Get("partition")), offsetOf(c.Get("offset"))
	e.Member = cut(cmp.Or(c.Get("member").Scalar(), c.Get("client_id").Scalar()), maxShort)
	e.KeyHash = keyHash(cut(c.Get("key_hash").Scalar(), 64))
	e.ProducerRelease = cut(c.Get("producer_release").Scalar(), maxRelease)
	if v, ok := parseInt(c.Get("attempt")); ok && v > 0 {
		e.Attempt = uint16(min(v, math.MaxUint16)) //nolint:gosec // bounded
	}
	if v, ok := parseInt(c.Get("batch_count")); ok && v > 0 {
		e.Batch = uint32(min(v, math.MaxUint32)) //nolint:gosec // bounded
	}
	e.RecordTime = parseTime(c.Get("record_time").Scalar())
	if ms, err := strconv.ParseFloat(c.Get("age_ms").Scalar(), 64); err == nil && math.Abs(ms) < 1e12 {
		e.Age = int64(math.Round(ms * 1e6))
		if e.Age == schemas.Unknown {
			e.Age--
		}
	}
	if e.OriginalTopic = cut(c.Get("original_topic").Scalar(), maxShort); e.OriginalTopic != "" {
		e.OriginalPartition, e.OriginalOffset = partitionOf(c.Get("original_partition")), offsetOf(c.Get("original_offset"))
	}
}

// keyHash writes a hash as it is shown and searched, in 16 hexadecimal digits: the
// integrations tell a decimal number. What is none is kept.
func keyHash(s string) string {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return s
	}
	var b [16]byte
	for i := range b {
		b[i] = "0123456789abcdef"[n>>(60-4*i)&15]
	}
	return string(b[:])
}

func partitionOf(v *document.Node) int32 {
	if p, ok := parseInt(v); ok && p >= 0 && p <= math.MaxInt32 {
		return int32(p)
	}
	return schemas.Unknown
}

func offsetOf(v *document.Node) int64 {
	if o, ok := parseInt(v); ok && o >= 0 {
		return o
	}
	return schemas.Unknown
}

// breadcrumbs keeps the newest.
func (n *Normalizer) breadcrumbs(v *document.Node) {
	list, at := n.values(v, rootAt("breadcrumbs"))
	if list == nil {
		return
	}
	n.ends(list, at, 0, MaxBreadcrumbs)
	i := 0
	for c := list.First(); c != nil; c = c.Next() {
		crumb := n.keepPath(at.element(i))
		i++
		for part := c.First(); part != nil; part = part.Next() {
			switch part.Name() {
			case "timestamp":
				if n.drift != 0 {
					if t := parseTime(part.Scalar()); t+n.drift > 0 && t > 0 {
						part.Become(n.doc.Raw(seconds(t + n.drift)))
					}
				}
				if !part.Is('"') && !part.Is('0') && !part.Is('n') {
					n.invalid(part, crumb.at("timestamp"), "invalid_data")
				}
			case "message":
				n.text(part, 4<<10, crumb.at("message"))
			case "level":
				s := n.text(part, maxShort, crumb.at("level"))
				if l := level(s); l != s && s != "" {
					part.Become(n.doc.String(l))
				}
			case "type", "category", "origin", "event_id":
				n.text(part, maxShort, crumb.at(part.Name()))
			default: // data
				n.bag(part, n.keepPath(crumb.at(part.Key())), 5, 4<<10)
			}
		}
		if c.Len() > maxUnknown {
			n.bag(c, crumb, 6, 8<<10)
		}
	}
}
