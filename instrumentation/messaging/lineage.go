package messaging

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// HeaderRetry is the header that a record carries which was sent on after it
// failed: to a retry topic, a dead-letter topic or its own. See [Lineage].
const HeaderRetry = "hoptrace-retry"

// Lineage says where a record that was sent on after a failure came from. The
// original record is the one that failed first.
type Lineage struct {
	Topic     string
	Partition int32
	Offset    int64
	// FirstSeen is when it failed first, Unix nanoseconds, whole microseconds, on
	// the clock of the consumer that saw it fail; 0 is unknown.
	FirstSeen int64
	// Attempt counts the failures: 1 on the record that the first one made.
	Attempt int
	// Earlier are the process spans of the last attempts, oldest first, at most
	// MaxEarlier. They are marked remote.
	Earlier []trace.SpanContext
}

const (
	// MaxEarlier bounds the earlier attempts that a lineage names.
	MaxEarlier = 4

	lineageVersion = 1
	maxTopicLen    = 249 // Kafka's own limit
	maxAttempt     = 1 << 20
	earlierLen     = 16 + 8 + 1
	maxLineageLen  = 1 + 5*binary.MaxVarintLen64 + maxTopicLen + 1 + MaxEarlier*earlierLen
)

// AppendLineage appends the header value of l to dst: a version byte, then
// attempt, first-seen time in µs, partition, offset and topic as varints and
// bytes, then the earlier attempts.
func AppendLineage(dst []byte, l *Lineage) []byte {
	dst = append(dst, lineageVersion)
	dst = binary.AppendUvarint(dst, uint64(min(max(l.Attempt, 0), maxAttempt)))          //nolint:gosec // not negative
	dst = binary.AppendUvarint(dst, uint64(max(l.FirstSeen, 0)/int64(time.Microsecond))) //nolint:gosec // not negative
	dst = binary.AppendUvarint(dst, uint64(max(l.Partition, 0)))                         //nolint:gosec // not negative
	dst = binary.AppendUvarint(dst, uint64(max(l.Offset, 0)))                            //nolint:gosec // not negative
	topic := l.Topic[:min(len(l.Topic), maxTopicLen)]
	dst = append(binary.AppendUvarint(dst, uint64(len(topic))), topic...)
	earlier := l.Earlier
	if len(earlier) > MaxEarlier {
		earlier = earlier[len(earlier)-MaxEarlier:]
	}
	dst = append(dst, byte(len(earlier)))
	for _, sc := range earlier {
		id, span := sc.TraceID(), sc.SpanID()
		dst = append(append(dst, id[:]...), span[:]...)
		dst = append(dst, byte(sc.TraceFlags()))
	}
	return dst
}

// ParseLineage reads a header value; ok is false when it is not one. A first-seen
// time before 2020 or more than a day ahead of this host's clock is not believed:
// FirstSeen is 0 then.
func ParseLineage(b []byte) (l Lineage, ok bool) {
	if len(b) < 2 || len(b) > maxLineageLen || b[0] != lineageVersion {
		return l, false
	}
	b = b[1:]
	next := func(limit uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > limit {
			b, ok = nil, false
			return 0
		}
		b = b[n:]
		return v
	}
	ok = true
	l.Attempt = int(next(maxAttempt))                                 //nolint:gosec // bounded
	l.FirstSeen = int64(next(1<<63/1000-1)) * int64(time.Microsecond) //nolint:gosec // bounded
	if !plausible(l.FirstSeen, time.Now().UnixNano()) {
		l.FirstSeen = 0
	}
	l.Partition = int32(next(1<<31 - 1)) //nolint:gosec // bounded
	l.Offset = int64(next(1<<63 - 1))    //nolint:gosec // bounded
	n := next(maxTopicLen)
	if !ok || n == 0 || uint64(len(b)) < n+1 {
		return Lineage{}, false
	}
	if l.Topic, b = string(b[:n]), b[n:]; !isTopic(l.Topic) {
		return Lineage{}, false
	}
	count := int(b[0])
	if b = b[1:]; count > MaxEarlier || len(b) != count*earlierLen {
		return Lineage{}, false
	}
	for ; count > 0; count-- {
		cfg := trace.SpanContextConfig{TraceFlags: trace.TraceFlags(b[24] & knownFlags), Remote: true}
		copy(cfg.TraceID[:], b)
		copy(cfg.SpanID[:], b[16:])
		if sc := trace.NewSpanContext(cfg); sc.IsValid() {
			l.Earlier = append(l.Earlier, sc)
		}
		b = b[earlierLen:]
	}
	return l, true
}

// plausible tells whether a time that a header gives, Unix nanoseconds, is one
// that a record of ours may have: what follows from any other would be nonsense in
// a histogram for good.
func plausible(t, now int64) bool {
	const (
		earliest = 1_577_836_800 * int64(time.Second) // 2020
		ahead    = int64(24 * time.Hour)
	)
	return t >= earliest && t-now <= ahead
}

// isTopic tells whether Kafka would take name for one: what a header says becomes
// an attribute, and one that is no text costs OTLP exporters the whole batch.
func isTopic(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

func parseLineage(b []byte) *Lineage {
	if l, ok := ParseLineage(b); ok {
		return &l
	}
	return nil
}

// attributes are what a process span says of the lineage.
func (l *Lineage) attributes() []attribute.KeyValue {
	out := []attribute.KeyValue{
		attribute.String(AttrRetryTopic, l.Topic),
		attribute.Int(AttrRetryPartition, int(l.Partition)),
		attribute.Int64(AttrRetryOffset, l.Offset),
		attribute.Int(AttrRetryAttempt, l.Attempt),
	}
	if l.FirstSeen != 0 {
		out = append(out, attribute.Int64(AttrRetryFirstSeen, l.FirstSeen))
	}
	return out
}

// links are to the process spans of the earlier attempts.
func (l *Lineage) links() []trace.Link {
	links := make([]trace.Link, len(l.Earlier))
	for i, sc := range l.Earlier {
		links[i] = trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{attribute.Bool(AttrRetryEarlier, true)}}
	}
	return links
}

// RecordRef names a record.
type RecordRef struct {
	Topic     string
	Partition int32
	Offset    int64
}

// SendOn returns the headers for sending a record on after it failed: those it
// had, without the context that it carried, since the record that is sent now has
// a creation of its own, and with a lineage that counts this failure. process is
// the span of the failed attempt, if there is one; seen is when the record was
// handed to the application. The
// headers given are not changed.
func SendOn[H KeyValue](from RecordRef, headers []H, process trace.SpanContext, seen time.Time) []H {
	l := Lineage{Topic: from.Topic, Partition: from.Partition, Offset: from.Offset, FirstSeen: seen.UnixNano()}
	out := make([]H, 0, len(headers)+1)
	for i := range headers {
		h := Header(headers[i])
		switch h.Key {
		case HeaderTraceparent, HeaderTracestate, HeaderSentryTrace, HeaderPathway:
			continue
		case HeaderRetry:
			if old, ok := ParseLineage(h.Value); ok {
				l = old
			}
			continue
		}
		out = append(out, headers[i])
	}
	l.Attempt++
	if process.IsValid() {
		l.Earlier = append(l.Earlier, process)
	}
	return append(out, H(Header{Key: HeaderRetry, Value: AppendLineage(nil, &l)}))
}

// Retried is [SendOn] for a record whose processing in ctx failed: the context
// tells the span of the attempt and when the record was handed over.
func Retried[H KeyValue](ctx context.Context, from RecordRef, headers []H) []H {
	process, seen := trace.SpanContextFromContext(ctx), time.Now()
	if p, ok := RecordFromContext(ctx); ok && (p.Count() > 1 || p.Record() == from) {
		process, seen = p.SpanContext(), p.Seen()
	}
	return SendOn(from, headers, process, seen)
}

// HeaderError says in a dead letter why processing failed: error.type, a colon, a
// space and the error's text, at most maxErrorHeader bytes.
const HeaderError = "hoptrace-error"

const maxErrorHeader = 512

// WithReason returns headers with why a record is given up, in place of an earlier
// reason. kind is err's error.type; a nil err is no reason. headers are those that
// [SendOn] or [Retried] made: their memory is used.
func WithReason[H KeyValue](headers []H, err error, kind string) []H {
	if err == nil {
		return headers
	}
	reason := kind + ": " + errorText(err)
	headers = slices.DeleteFunc(headers, func(h H) bool { return Header(h).Key == HeaderError })
	return append(headers, H(Header{Key: HeaderError, Value: []byte(strings.ToValidUTF8(reason[:min(len(reason), maxErrorHeader)], ""))}))
}

// errorText is what err says of itself; nothing when it panics.
func errorText(err error) (out string) {
	defer func() { _ = recover() }()
	return err.Error()
}

// LineageOf reads where a record came from that was sent on; ok is false for any
// other.
func LineageOf[H KeyValue](headers []H) (l Lineage, ok bool) {
	for i := len(headers) - 1; i >= 0; i-- {
		if h := Header(headers[i]); h.Key == HeaderRetry {
			return ParseLineage(h.Value)
		}
	}
	return l, false
}
