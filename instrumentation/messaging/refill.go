package messaging

import "context"

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

// SetKey notes the record's key without keeping it, for wrappers that finish a
// record after they gave it back; nil is none. Otherwise setting Key will do.
func (s *Sent) SetKey(key []byte) {
	if s.HasKey = key != nil; s.HasKey {
		s.keyHash = keyHash(key)
	}
}
