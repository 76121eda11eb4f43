package hoptrace

import (
	"errors"
	"io"
	"sync"
)

// lentBody reads a request's body from memory that is its owner's again once it is
// taken back: net/http may still be sending a request that was answered early or
// given up.
type lentBody struct {
	mu   sync.Mutex
	rest []byte
	over bool
}

var errTakenBack = errors.New("the request is over")

// Read implements io.Reader.
func (b *lentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		return 0, errTakenBack
	case len(b.rest) == 0:
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *lentBody) Close() error { return nil }

// takeBack ends reading; the memory is no longer used when it returns.
func (b *lentBody) takeBack() {
	b.mu.Lock()
	b.over, b.rest = true, nil
	b.mu.Unlock()
}

// lent makes bodies of the same memory: the first try's and, where net/http finds
// that its connection was closed before, the next one's.
type lent struct {
	mu     sync.Mutex
	body   []byte
	bodies []*lentBody
}

func (l *lent) open() (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.body == nil {
		return nil, errTakenBack
	}
	b := &lentBody{rest: l.body}
	l.bodies = append(l.bodies, b)
	return b, nil
}

func (l *lent) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.bodies {
		b.takeBack()
	}
	l.body = nil
}
