package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Headers that a dead letter has besides those of its record, whose schema
// header is among the latter. Numbers are decimal.
const (
	HeaderReason    = "dlq-reason"    // why, for a person
	HeaderStage     = "dlq-stage"     // which stage could not take it
	HeaderTopic     = "dlq-topic"     // where the record was
	HeaderTopicID   = "dlq-topic-id"  // hex; absent on brokers without ids
	HeaderPartition = "dlq-partition" //
	HeaderOffset    = "dlq-offset"    //
	HeaderTimestamp = "dlq-timestamp" // the record's, Unix ms
	HeaderTruncated = "dlq-truncated" // length of the value before it was cut; absent when whole
	HeaderDropped   = "dlq-headers"   // how many of the record's own headers did not fit; absent when all did
)

const (
	maxReasonBytes = 1 << 10

	// maxHeaderBytes bounds the record's own headers in a dead letter.
	// It and ours fit the headroom that topics.DLQHeadroomBytes leaves.
	maxHeaderBytes = 48 << 10
	maxHeaders     = 1000

	// minDLQBytes is what a dead letter needs with the value cut to nothing.
	minDLQBytes = 64 << 10

	// recordOverhead is more than the bytes of a batch and a record around
	// key, value and headers.
	recordOverhead = 512
)

// writeDead returns once every dead letter is durable. It tries for ever, since
// the alternatives are to lose the record or to stop all others.
func (l *Loop) writeDead(pollCtx, workCtx context.Context, dead []DeadLetter) error {
	if len(dead) == 0 {
		return nil
	}
	left := make([]Record, len(dead))
	reasons := make(map[coordinates]string, len(dead))
	for i, d := range dead {
		if d.Record == nil {
			return errors.New("the stage returned a dead letter without its record")
		}
		left[i] = *d.Record
		reasons[coordinatesOf(d.Record)] = d.Reason
	}
	done := l.retry(pollCtx, workCtx, &left, fmt.Sprintf("cannot write dead letters to topic %q; the stage waits, nothing is lost", l.cfg.DLQ), func(ctx context.Context) error {
		for len(left) > 0 {
			if err := l.writeLetter(ctx, &left[0], reasons[coordinatesOf(&left[0])]); err != nil {
				return err
			}
			left = left[1:]
		}
		return nil
	})
	if !done {
		return errors.New("dead letters are not written")
	}
	return nil
}

type coordinates struct {
	partition int32
	offset    int64
}

func coordinatesOf(r *Record) coordinates { return coordinates{r.Partition, r.Offset} }

func (l *Loop) writeLetter(ctx context.Context, r *Record, reason string) error {
	letter := l.letter(r, reason)
	err := l.dlq.ProduceSync(ctx, letter)
	if errors.Is(err, kafka.ErrTooLarge) && len(letter.Value) > 0 {
		// The topic takes less than we were told: say where it was, at least.
		letter.Value = nil
		setHeader(letter, HeaderTruncated, strconv.Itoa(len(r.Value)))
		err = l.dlq.ProduceSync(ctx, letter)
	}
	if err != nil {
		return fmt.Errorf("cannot write the dead letter of partition %d offset %d: %w", r.Partition, r.Offset, err)
	}
	l.metrics.deadLetters.WithLabelValues(l.cfg.Stage, l.cfg.Topic).Inc()
	l.log.Warn("record put aside", "partition", r.Partition, "offset", r.Offset, "dlq", l.cfg.DLQ, "reason", cut(reason, 200))
	return nil
}

// letter makes the dead letter of r, which fits the topic.
func (l *Loop) letter(r *Record, reason string) *kgo.Record {
	// Its time is that of now: the record's may be older than a delivery may take, which
	// Kafka's client counts from it, and retention would delete it the sooner.
	letter := &kgo.Record{Topic: l.cfg.DLQ, Key: r.Key, Value: r.Value}
	used, dropped := 0, 0
	for _, h := range r.Headers {
		size := len(h.Key) + len(h.Value) + 10
		if used+size > maxHeaderBytes || len(letter.Headers) >= maxHeaders {
			dropped++
			continue
		}
		used += size
		letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if len(letter.Key) > maxHeaderBytes/4 {
		letter.Key = letter.Key[:maxHeaderBytes/4]
	}
	add := func(key, value string) {
		used += len(key) + len(value) + 10
		setHeader(letter, key, value)
	}
	add(HeaderReason, cut(reason, maxReasonBytes))
	add(HeaderStage, l.cfg.Stage)
	add(HeaderTopic, r.Topic)
	if r.TopicID != (kafka.TopicID{}) {
		add(HeaderTopicID, fmt.Sprintf("%x", r.TopicID[:]))
	}
	add(HeaderPartition, strconv.Itoa(int(r.Partition)))
	add(HeaderOffset, strconv.FormatInt(r.Offset, 10))
	add(HeaderTimestamp, strconv.FormatInt(r.Timestamp.UnixMilli(), 10))
	if dropped > 0 {
		add(HeaderDropped, strconv.Itoa(dropped))
	}
	if room := int(l.cfg.DLQMaxBytes) - used - len(letter.Key) - recordOverhead; len(letter.Value) > room {
		letter.Value = letter.Value[:max(room, 0)]
		add(HeaderTruncated, strconv.Itoa(len(r.Value)))
	}
	return letter
}

// setHeader replaces the header, so that one of that name on the record does
// not stand for ours.
func setHeader(r *kgo.Record, key, value string) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == key })
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
