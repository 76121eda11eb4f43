package otelkafkago

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

const (
	// maxPending bounds the records of one Reader that were handed out and
	// whose end of processing is not known, at some 600 bytes each.
	maxPending = 4096

	// maxTable bounds the table by which the pending records of a partition are
	// found; what collides there goes to a map.
	maxTable = 1024

	// maxEnded is how many processed records of a partition are remembered, for
	// the links of the commit that follows.
	maxEnded = 128
)

// delivery is a record handed to the program. It keeps nothing of the record but
// its baggage header.
type delivery struct {
	messaging.Delivery
	part       *partition
	superseded int64                 // when the next fetch on this Reader was called
	open       *messaging.Processing // from MessageContext; nil otherwise

	prev, next *delivery // in pendingList
}

// deliveries are used again: nothing keeps one that is not pending.
var deliveries = sync.Pool{New: func() any { return new(delivery) }}

func (d *delivery) release() {
	*d = delivery{}
	deliveries.Put(d)
}

// endOr is the best guess at the end of processing: the next fetch, if there was
// one, else now.
func (d *delivery) endOr(now int64) int64 {
	if d.superseded != 0 {
		return d.superseded
	}
	return now
}

// partition is what a Reader keeps of one partition.
type partition struct {
	topicPartition
	core *messaging.Partition
	log  *partitionLog

	// Guarded by the lock of the Reader's pendingList.
	table []*delivery // by the low bits of the offset; a power of two long
	over  map[int64]*delivery
	ended [maxEnded]endedDelivery // by the low bits of the offset
}

// endedDelivery is a record whose process span has ended.
type endedDelivery struct {
	next      int64 // offset + 1; 0: none
	traceID   trace.TraceID
	spanID    trace.SpanID
	flags     trace.TraceFlags
	estimated bool // and the program did not ask for it since
}

func (e *endedDelivery) context() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: e.traceID, SpanID: e.spanID, TraceFlags: e.flags})
}

func (p *partition) find(offset int64) *delivery {
	if len(p.table) == 0 {
		return nil
	}
	if d := p.table[int(offset)&(len(p.table)-1)]; d != nil && d.Offset == offset {
		return d
	}
	return p.over[offset]
}

func (p *partition) put(d *delivery) {
	if len(p.table) == 0 {
		p.table = make([]*delivery, 64)
	}
	for {
		at := &p.table[int(d.Offset)&(len(p.table)-1)]
		if *at == nil {
			*at = d
			return
		}
		if len(p.table) >= maxTable {
			break
		}
		old := p.table
		p.table = make([]*delivery, 2*len(old))
		for _, o := range old {
			if o != nil { // no two of them collide in the larger table
				p.table[int(o.Offset)&(len(p.table)-1)] = o
			}
		}
	}
	if p.over == nil {
		p.over = make(map[int64]*delivery)
	}
	p.over[d.Offset] = d
}

func (p *partition) drop(d *delivery) {
	if at := &p.table[int(d.Offset)&(len(p.table)-1)]; *at == d {
		*at = nil
		return
	}
	delete(p.over, d.Offset)
}

// pendingList holds the deliveries that nobody has begun to process explicitly,
// oldest first.
type pendingList struct {
	mu       sync.Mutex
	explicit bool // the program tells the end of processing itself
	closed   bool
	count    int
	first    *delivery
	last     *delivery

	none    atomic.Bool // count is 0, for a look without the lock
	evicted atomic.Uint64
}

// add remembers d and returns the deliveries it pushes out: an earlier delivery
// of the same record, and the oldest one when there are too many.
func (l *pendingList) add(d *delivery) (again, oldest *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return d, nil
	}
	if again = d.part.find(d.Offset); again != nil {
		l.remove(again)
	}
	if l.count >= maxPending {
		oldest = l.first
		l.remove(oldest)
		l.evicted.Add(1)
	}
	d.part.put(d)
	if l.count++; l.count == 1 {
		l.none.Store(false)
	}
	d.prev = l.last
	if l.last != nil {
		l.last.next = d
	} else {
		l.first = d
	}
	l.last = d
	return again, oldest
}

// claim removes and returns the delivery of that record; nil when there is none.
// explicit tells that the program takes over the end of its processing.
func (l *pendingList) claim(p *partition, offset int64, explicit bool) *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	if explicit {
		l.explicit = true
	}
	d := p.find(offset)
	if d != nil {
		l.remove(d)
	}
	return d
}

// with calls f on the delivery of that record while no one else can end it.
func (l *pendingList) with(p *partition, offset int64, f func(*delivery)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := p.find(offset)
	if d == nil {
		return false
	}
	f(d)
	return true
}

// supersede tells that the next fetch was called. It removes and returns the
// deliveries whose processing this ends, linked by next.
func (l *pendingList) supersede(at int64) *delivery {
	if l.none.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.explicit {
		return l.removeAll()
	}
	for d := l.last; d != nil && d.superseded == 0; d = d.prev {
		d.superseded = at
	}
	return nil
}

// moved is supersede for a change of the position: a program that tells the end
// itself still does.
func (l *pendingList) moved() *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.explicit {
		return nil
	}
	return l.removeAll()
}

// drain removes and returns all deliveries; those added later are not kept.
func (l *pendingList) drain() *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.removeAll()
}

func (l *pendingList) removeAll() *delivery {
	all := l.first
	for d := all; d != nil; d = d.next {
		d.part.drop(d)
	}
	l.first, l.last, l.count = nil, nil, 0
	l.none.Store(true)
	return all
}

// remove is called with l.mu held.
func (l *pendingList) remove(d *delivery) {
	d.part.drop(d)
	if l.count--; l.count == 0 {
		l.none.Store(true)
	}
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		l.first = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		l.last = d.prev
	}
	d.prev, d.next = nil, nil
}

func (l *pendingList) noteEnded(p *partition, offset int64, sc trace.SpanContext, estimated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.ended[offset&(maxEnded-1)] = endedDelivery{
		next: offset + 1, traceID: sc.TraceID(), spanID: sc.SpanID(), flags: sc.TraceFlags(), estimated: estimated && !l.explicit,
	}
}

// processed returns the context of the record's process span, if it ended not
// long ago.
func (l *pendingList) processed(p *partition, offset int64) trace.SpanContext {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := &p.ended[offset&(maxEnded-1)]; e.next == offset+1 {
		return e.context()
	}
	return trace.SpanContext{}
}

// wasEstimated returns the context of the estimated span of that record, if it
// ended not long ago, once: asked twice, the program processes it twice.
func (l *pendingList) wasEstimated(p *partition, offset int64) (trace.SpanContext, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &p.ended[offset&(maxEnded-1)]
	if e.next != offset+1 || !e.estimated {
		return trace.SpanContext{}, false
	}
	e.estimated = false
	sc := e.context()
	return sc, sc.IsValid()
}
