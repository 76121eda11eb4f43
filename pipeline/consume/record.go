// Package consume is the loop of every stage: it reads one topic as a member
// of a group, hands batches to a handler, and commits after the handler says
// that they are durable. It keeps poison records from stopping a partition,
// stops rather than jumps when records are gone, and knows nothing of what is
// in a record.
//
// Delivery is at least once: a crash between the handler and the commit hands
// the batch out again, so handlers write idempotently by (TopicID, Partition,
// Offset).
package consume

import (
	"context"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
)

// Record is one record of the topic. Its bytes are not written to again, so a
// handler may keep them; that keeps the whole fetch they came in.
type Record struct {
	Topic     string
	TopicID   kafka.TopicID // zero on brokers older than 2.8
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp time.Time // the producer's or the broker's, as the topic is set

	epoch int32 // leader epoch, committed beside the offset
	gen   int   // which assignment of the partition it was fetched in
}

// Header is one record header.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the last header of that name.
func (r *Record) Header(key string) (value []byte, ok bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// items is how many things the record says it carries, from 1.
func (r *Record) items() int {
	raw, ok := r.Header(schemas.HeaderCount)
	if !ok || len(raw) > 9 {
		return 1
	}
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return 1
	}
	return max(n, 1)
}

// size is what the record counts for against the batch's bytes.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// Partition is one partition that was assigned to this member.
type Partition struct {
	Topic     string
	TopicID   kafka.TopicID
	Partition int32

	// CommittedOffset is where reading goes on; -1 when the group has no
	// commit yet and reads from the earliest record. What is stored from this
	// offset on was stored before a crash and comes again.
	CommittedOffset int64
}

// DeadLetter is a record that no retry will make good, and why.
type DeadLetter struct {
	Record *Record // an element of the batch
	Reason string  // for a person; cut at 1 KiB
}

// Handler does a stage's work. Its methods are never called at the same time.
type Handler interface {
	// Assigned is called before the first batch that holds records of these
	// partitions. An error is retried as Handle's is.
	Assigned(ctx context.Context, ps []Partition) error

	// Handle makes batch durable and returns nil, after which its offsets are
	// committed; then come the dead letters, before the commit. On an error
	// the whole batch is handed out again after a wait, for ever; a partition
	// that was taken away in between is left out. A panic is narrowed down to
	// the records that cause it, which become dead letters. The slice is the
	// loop's again after the return. Records are in order by partition.
	Handle(ctx context.Context, batch []Record) ([]DeadLetter, error)

	// Revoked is called after the last batch of partitions that are no longer
	// this member's. Only those that Assigned was told of are named.
	Revoked(ctx context.Context, ps []Partition)
}
