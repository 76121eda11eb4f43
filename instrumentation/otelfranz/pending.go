package otelfranz

import (
	"sync"
	"sync/atomic"
)

// maxPending bounds the records that were handed out and whose end of processing
// is not known, at some 500 bytes each.
const maxPending = 16384

// pendingList holds the deliveries that nobody has begun to process explicitly,
// oldest first.
type pendingList struct {
	mu       sync.Mutex
	explicit bool // the program tells the end of processing itself
	closed   bool
	first    *delivered
	last     *delivered
	n        int

	evicted atomic.Uint64
}

// add remembers d and returns the oldest one when there are too many.
func (l *pendingList) add(d *delivered) (out []*delivered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return []*delivered{d}
	}
	if l.n >= maxPending {
		old := l.first
		l.remove(old)
		out = append(out, old)
		l.evicted.Add(1)
	}
	d.prev, d.listed = l.last, true
	if l.last != nil {
		l.last.next = d
	} else {
		l.first = d
	}
	l.last = d
	l.n++
	return out
}

// claim takes d out: the program tells the end of its processing. It is false
// when that has ended or another call has claimed it.
func (l *pendingList) claim(d *delivered) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.explicit = true
	if d.listed {
		l.remove(d)
	}
	return !d.claimed.Swap(true)
}

// supersede tells that the next poll was called. It removes and returns the
// deliveries whose processing this ends.
func (l *pendingList) supersede(at int64) []*delivered {
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

// drop removes and returns the deliveries of a partition.
func (l *pendingList) drop(k topicPartition) (out []*delivered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := l.first; d != nil; {
		next := d.next
		if p := d.delivery.Partition; p.Topic == k.topic && p.ID == k.partition && !l.explicit {
			l.remove(d)
			out = append(out, d)
		}
		d = next
	}
	return out
}

// upTo removes and returns the deliveries of a partition before the offset next.
func (l *pendingList) upTo(k topicPartition, next int64) (out []*delivered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d := l.first; d != nil; {
		after := d.next
		if p := d.delivery.Partition; p.ID == k.partition && p.Topic == k.topic && d.delivery.Offset < next {
			l.remove(d)
			out = append(out, d)
		}
		d = after
	}
	return out
}

// drain removes and returns all deliveries; those added later are not kept.
func (l *pendingList) drain() []*delivered {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.removeAll()
}

func (l *pendingList) removeAll() []*delivered {
	if l.first == nil {
		return nil
	}
	out := make([]*delivered, 0, l.n)
	for l.first != nil {
		d := l.first
		l.remove(d)
		out = append(out, d)
	}
	return out
}

// remove is called with l.mu held.
func (l *pendingList) remove(d *delivered) {
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
	d.prev, d.next, d.listed = nil, nil, false
	l.n--
}

// endOr is the best guess at the end of processing: the next poll, if there was
// one, else now.
func (d *delivered) endOr(now int64) int64 {
	if d.superseded != 0 {
		return d.superseded
	}
	return now
}
