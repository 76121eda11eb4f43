package otelkafkago

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	// maxPending bounds the records of one Reader that were handed out and
	// whose end of processing is not known, at some 400 bytes each.
	maxPending = 4096

	// maxEnded bounds the deliveries remembered after their end was estimated.
	// They are asked for only while a program that tells the end itself starts.
	maxEnded = 128
)

// pendingList holds the deliveries that nobody has begun to process explicitly,
// oldest first.
type pendingList struct {
	mu         sync.Mutex
	explicit   bool // the program tells the end of processing itself
	closed     bool
	byKey      map[deliveryKey]*delivery
	first      *delivery
	last       *delivery
	endedRing  [maxEnded]endedDelivery
	endedCount int

	evicted atomic.Uint64
}

type endedDelivery struct {
	key deliveryKey
	sc  trace.SpanContext
}

func (l *pendingList) init(explicit bool) {
	l.explicit = explicit
	l.byKey = make(map[deliveryKey]*delivery)
}

// add remembers d and returns the deliveries it pushes out: an earlier delivery
// of the same record, and the oldest one when there are too many.
func (l *pendingList) add(d *delivery) (out []*delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return []*delivery{d}
	}
	if old := l.byKey[d.key]; old != nil {
		l.remove(old)
		out = append(out, old)
	}
	if len(l.byKey) >= maxPending {
		old := l.first
		l.remove(old)
		out = append(out, old)
		l.evicted.Add(1)
	}
	l.byKey[d.key] = d
	d.prev = l.last
	if l.last != nil {
		l.last.next = d
	} else {
		l.first = d
	}
	l.last = d
	return out
}

// claim removes and returns the delivery with that key; nil when there is none.
// explicit tells that the program takes over the end of its processing.
func (l *pendingList) claim(key deliveryKey, explicit bool) *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	if explicit {
		l.explicit = true
	}
	d := l.byKey[key]
	if d != nil {
		l.remove(d)
	}
	return d
}

// with calls f on the delivery with that key while no one else can end it.
func (l *pendingList) with(key deliveryKey, f func(*delivery)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.byKey[key]
	if d == nil {
		return false
	}
	f(d)
	return true
}

// supersede tells that the next fetch was called. It removes and returns the
// deliveries whose processing this ends.
func (l *pendingList) supersede(at time.Time) []*delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.explicit {
		return l.removeAll()
	}
	for d := l.last; d != nil && d.superseded.IsZero(); d = d.prev {
		d.superseded = at
	}
	return nil
}

// drain removes and returns all deliveries; those added later are not kept.
func (l *pendingList) drain() []*delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.removeAll()
}

func (l *pendingList) removeAll() []*delivery {
	if l.first == nil {
		return nil
	}
	out := make([]*delivery, 0, len(l.byKey))
	for l.first != nil {
		d := l.first
		l.remove(d)
		out = append(out, d)
	}
	return out
}

// remove is called with l.mu held.
func (l *pendingList) remove(d *delivery) {
	delete(l.byKey, d.key)
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

func (l *pendingList) noteEnded(key deliveryKey, sc trace.SpanContext) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.explicit {
		return
	}
	l.endedRing[l.endedCount%maxEnded] = endedDelivery{key, sc}
	l.endedCount++
}

// ended returns the context of the estimated span of that record, if it ended
// not long ago, and forgets it: asked twice, the program processes it twice.
func (l *pendingList) ended(key deliveryKey) (trace.SpanContext, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.endedRing[:min(l.endedCount, maxEnded)] {
		if e := &l.endedRing[i]; e.key == key {
			sc := e.sc
			*e = endedDelivery{}
			return sc, sc.IsValid()
		}
	}
	return trace.SpanContext{}, false
}
