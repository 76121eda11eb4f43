package clickhouse

import (
	"sync"
	"time"
)

const (
	// idleRelease is how long the memory of large inserts is kept for the next.
	idleRelease = 15 * time.Second
	// maxFree is how many column sets of a kind are kept; more writers at once
	// make their own.
	maxFree = 2
	// maxKept is what a connection that is idle keeps of its buffer.
	maxKept = 1 << 20
)

// freeList keeps column sets between inserts. A sync.Pool would lose them to
// every second garbage collection, of which a loaded process has several
// between two inserts.
type freeList[T any] struct {
	make func() T

	mu   sync.Mutex // guards the following
	free []T
}

func (l *freeList[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		c := l.free[n-1]
		l.free = l.free[:n-1]
		return c
	}
	return l.make()
}

func (l *freeList[T]) put(c T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < maxFree {
		l.free = append(l.free, c)
	}
}

func (l *freeList[T]) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = nil
}

// releaseLater gives memory back when no insert follows for a while.
func (s *Store) releaseLater() {
	s.idleMu.Lock()
	defer s.idleMu.Unlock()
	if s.idle == nil {
		s.idle = time.AfterFunc(idleRelease, s.release)
		return
	}
	s.idle.Reset(idleRelease)
}

func (s *Store) release() {
	s.spanColumns.release()
	s.messageColumns.release()
	s.eventColumns.release()
	s.metricColumns.release()
	s.logColumns.release()
	s.tallyColumns.release()
	s.fileColumns.release()
	s.sessionColumns.release()
	s.clockColumns.release()
	s.boundsColumns.release()
	s.pool.trim()
}
