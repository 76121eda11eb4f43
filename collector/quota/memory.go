package quota

import (
	"context"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// Memory counts in this process. Its counts end with it: a collector that starts
// again gives each window anew what it allows.
type Memory struct {
	mu     sync.Mutex // guards the following
	counts map[string]count
	most   int
	swept  time.Time
	now    func() time.Time
}

type count struct {
	n     int64
	until time.Time
}

var _ exporters.Counters = (*Memory)(nil)

// maxCounts bounds the windows that are kept. Only a flood of scopes reaches it;
// then any of them are forgotten.
const maxCounts = 100_000

// NewMemory is empty.
func NewMemory() *Memory {
	return &Memory{counts: map[string]count{}, most: maxCounts, now: time.Now}
}

// Take adds to all counters or to none.
func (m *Memory) Take(_ context.Context, counters []exporters.Counter, n int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for i := range counters {
		c := &counters[i]
		if c.Limit >= 0 && m.at(c.Key, now)+n > c.Limit {
			return i, nil
		}
	}
	for i := range counters {
		c := &counters[i]
		m.counts[c.Key] = count{m.at(c.Key, now) + n, c.Until}
	}
	if len(m.counts) > m.most || now.Sub(m.swept) > time.Minute {
		m.sweep(now)
	}
	return -1, nil
}

func (m *Memory) at(key string, now time.Time) int64 {
	c, ok := m.counts[key]
	if !ok || !now.Before(c.until) {
		return 0
	}
	return c.n
}

// Count reads one.
func (m *Memory) Count(_ context.Context, key string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(key, m.now()), nil
}

// sweep forgets windows that have ended, and when that is not enough some at
// random: the map must not grow with the keys that strangers think of.
func (m *Memory) sweep(now time.Time) {
	m.swept = now
	for key, c := range m.counts {
		if !now.Before(c.until) {
			delete(m.counts, key)
		}
	}
	for key := range m.counts {
		if len(m.counts) <= m.most {
			return
		}
		delete(m.counts, key)
	}
}
