package otelsarama

import (
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/trace"
)

// maxPending bounds the messages of one Instrumentation that were handed out and
// whose end of processing is not known, at some 500 bytes each.
const maxPending = 16384

// pendingSet holds the deliveries whose processing nobody has ended: by message,
// and for each stream in the order they were handed out.
type pendingSet struct {
	mu       sync.Mutex
	explicit bool // the program tells the end of processing itself
	byMsg    map[*sarama.ConsumerMessage]*delivered
	ended    [maxEnded]ended
	endedAt  int

	evicted atomic.Uint64
}

// maxEnded bounds the deliveries remembered after their end was estimated. They
// are asked for only while a program that tells the end itself starts.
const maxEnded = 128

type ended struct {
	msg *sarama.ConsumerMessage
	sc  trace.SpanContext
}

// noteEnded remembers the estimated span of msg.
func (s *pendingSet) noteEnded(msg *sarama.ConsumerMessage, sc trace.SpanContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.explicit {
		return
	}
	s.ended[s.endedAt%maxEnded] = ended{msg, sc}
	s.endedAt++
}

// wasEnded returns the estimated span of msg, if it ended not long ago, and forgets
// it: asked twice, the program processes it twice.
func (s *pendingSet) wasEnded(msg *sarama.ConsumerMessage) (trace.SpanContext, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.ended {
		if e := &s.ended[i]; e.msg == msg {
			sc := e.sc
			*e = ended{}
			return sc, sc.IsValid()
		}
	}
	return trace.SpanContext{}, false
}

func (s *pendingSet) init(explicit bool) {
	s.explicit, s.byMsg = explicit, make(map[*sarama.ConsumerMessage]*delivered)
}

// put remembers d before it is handed out, so that the program's first call finds
// it. When there are too many it removes and returns the oldest one of the stream.
func (s *pendingSet) put(d *delivered) (old *delivered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byMsg) >= maxPending {
		s.evicted.Add(1)
		if old = d.stream.first; old == nil {
			return nil // other streams hold them all
		}
		s.remove(old)
	}
	s.byMsg[d.msg] = d
	q := d.stream
	if d.prev = q.last; q.last != nil {
		q.last.next = d
	} else {
		q.first = d
	}
	q.last, d.listed = d, true
	return old
}

// forget removes d, which was not handed out.
func (s *pendingSet) forget(d *delivered) {
	if d == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(d)
}

// claim removes and returns the delivery of msg; nil when there is none. explicit
// tells that the program takes over the end of its processing.
func (s *pendingSet) claim(msg *sarama.ConsumerMessage, explicit bool) *delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if explicit {
		s.explicit = true
	}
	d := s.byMsg[msg]
	if d != nil {
		s.remove(d)
	}
	return d
}

// supersede tells that d was handed out: those of its stream before it are over,
// unless the program tells the end itself. It removes and returns them.
func (s *pendingSet) supersede(d *delivered, at int64) (out []*delivered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old := d.stream.first; old != nil && old != d; {
		next := old.next
		switch {
		case !s.explicit:
			s.remove(old)
			out = append(out, old)
		case old.superseded == 0:
			old.superseded = at
		}
		old = next
	}
	return out
}

// drain removes and returns the deliveries of q.
func (s *pendingSet) drain(q *stream) (out []*delivered) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for q.first != nil {
		d := q.first
		s.remove(d)
		out = append(out, d)
	}
	return out
}

// remove is called with s.mu held.
func (s *pendingSet) remove(d *delivered) {
	if !d.listed {
		return
	}
	q := d.stream
	delete(s.byMsg, d.msg)
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		q.first = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		q.last = d.prev
	}
	d.prev, d.next, d.listed = nil, nil, false
}
