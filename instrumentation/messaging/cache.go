package messaging

import (
	"strconv"
	"sync"
	"sync/atomic"
)

// maxCached bounds what a client remembers of topics and partitions. What comes
// above it works, made anew each time.
const maxCached = 4096

// cache keeps what is made once for a key. Reading takes no lock.
type cache[K comparable, V any] struct {
	m    atomic.Pointer[map[K]V]
	mu   sync.Mutex
	make func(K) V
}

func (c *cache[K, V]) init(f func(K) V) {
	c.make = f
	c.m.Store(&map[K]V{})
}

func (c *cache[K, V]) get(key K) V {
	if v, ok := (*c.m.Load())[key]; ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.m.Load()
	if v, ok := old[key]; ok {
		return v
	}
	v := c.make(key)
	if len(old) >= maxCached {
		return v
	}
	m := make(map[K]V, len(old)+1)
	for k, o := range old {
		m[k] = o
	}
	m[key] = v
	c.m.Store(&m)
	return v
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
