// Package bound holds the bounds that every receiver keeps: bytes in flight,
// size of a body before and after decompression, and nesting of JSON. It knows
// no protocol.
package bound

import (
	"errors"
	"sync/atomic"
)

// ErrOverload means that the bytes in flight are used up; the sender should wait.
var ErrOverload = errors.New("too many bytes in flight")

// Budget bounds the bytes of all requests that are being handled. The zero
// value admits nothing.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget admits up to maxBytes at a time.
func NewBudget(maxBytes int64) *Budget { return &Budget{max: maxBytes} }

// InFlight is how many bytes are taken.
func (b *Budget) InFlight() int64 { return b.used.Load() }

// Lease is a part of a budget, held by one request. It grows and is given back
// once; it must not be used by two goroutines at a time.
type Lease struct {
	budget *Budget
	held   int64
}

// Lease takes n bytes, or fails with ErrOverload.
func (b *Budget) Lease(n int) (*Lease, error) {
	l := &Lease{budget: b}
	if err := l.Grow(n); err != nil {
		return nil, err
	}
	return l, nil
}

// Grow takes n bytes more, or fails with ErrOverload and keeps what it had.
func (l *Lease) Grow(n int) error {
	if n <= 0 {
		return nil
	}
	if l.budget.used.Add(int64(n)) > l.budget.max {
		l.budget.used.Add(int64(-n))
		return ErrOverload
	}
	l.held += int64(n)
	return nil
}

// Shrink gives n of the bytes back.
func (l *Lease) Shrink(n int) {
	n = int(min(int64(n), l.held))
	l.held -= int64(n)
	l.budget.used.Add(int64(-n))
}

// Release gives all back. It may be called twice.
func (l *Lease) Release() {
	if l == nil || l.held == 0 {
		return
	}
	l.budget.used.Add(-l.held)
	l.held = 0
}
