package messaging

import (
	"context"
	"time"
)

// slabRecords is how many records' headers one slab of [Injector.Refill] holds.
const slabRecords = 64

// Refill prepares in for one more record, which has n headers and is sent from
// ctx. It is for clients whose hooks see records one by one: what is left of the
// memory of earlier records is used, and new memory is taken for several records
// at a time. The zero Injector can be refilled.
func (in *Injector[H]) Refill(ctx context.Context, sentry bool, n int) {
	next := NewInjector[H](ctx, sentry)
	next.headers, next.values = in.headers, in.values
	// One more than written, for a tracestate.
	if need := n + next.headersPerRecord() + 1; cap(next.headers)-len(next.headers) < need {
		next.headers = make([]H, 0, max(slabRecords*(next.headersPerRecord()+1), need))
	}
	const values = traceparentLen + sentryTraceLen
	if cap(next.values)-len(next.values) < values {
		size := traceparentLen
		if next.sentry {
			size = values
		}
		next.values = make([]byte, 0, max(slabRecords*size, values))
	}
	*in = next
}

// Watermark tells the high watermark of a partition after records of it were
// delivered, for clients that tell it beside the records and not with each. age is
// how old the last of them is, zero when that is not known.
func (p *Partition) Watermark(offset int64, age time.Duration) {
	if offset <= 0 {
		return
	}
	p.got.Lock()
	defer p.got.Unlock()
	p.watermark, p.lagKnown = offset, true
	if !p.started {
		return
	}
	lag := max(offset-p.last-1, 0)
	p.got.Set(receiveLag, lag)
	if lag == 0 {
		age = 0
	}
	p.got.Set(receiveLagTime, age.Milliseconds())
}

// Consumer is the consumer that reads this partition.
func (p *Partition) Consumer() *Consumer { return p.consumer }
