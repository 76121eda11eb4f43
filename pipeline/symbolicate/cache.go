package symbolicate

import (
	"container/list"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// key names a script: by debug id, or by release and path.
type key struct {
	project             uint64
	debugID             string
	release, dist, path string
}

func (k key) String() string {
	if k.debugID != "" {
		return "debug id " + k.debugID + " of project " + strconv.FormatUint(k.project, 10)
	}
	return strconv.Quote(k.path) + " of release " + strconv.Quote(k.release) + ", dist " + strconv.Quote(k.dist) + ", of project " + strconv.FormatUint(k.project, 10)
}

func (k key) clone() key {
	k.debugID, k.release, k.dist, k.path = strings.Clone(k.debugID), strings.Clone(k.release), strings.Clone(k.dist), strings.Clone(k.path)
	return k
}

// entry is a script with its map, or why there is none.
type entry struct {
	script   *script
	reason   string
	identity string // of the files' content
	codeSHA1 string // of the script, and where it says that its map is
	ref      string
	bundles  []string
	size     int64
	usedAt   atomic.Int64 // Unix ns, when its use was last noted
}

// used tells that it is time to note the use, to one who asks.
func (e *entry) used(now time.Time) bool {
	last := e.usedAt.Load()
	return now.UnixNano()-last >= int64(usedEvery) && e.usedAt.CompareAndSwap(last, now.UnixNano())
}

// cache keeps the entries that were asked for last, within a number of bytes.
type cache struct {
	limit int64

	mu      sync.Mutex // guards the following
	entries map[key]*list.Element
	order   list.List // of *cached, the last used first
	size    int64
}

type cached struct {
	key   key
	entry *entry
	size  int64
	until time.Time // fresh before
}

// overhead is what an entry takes besides its files.
const overhead = 512

// get gives an entry, and whether it is fresh. One that is not may serve to see
// whether anything changed.
func (c *cache) get(k key, now time.Time) (e *entry, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[k]
	if el == nil {
		return nil, false
	}
	c.order.MoveToFront(el)
	v := el.Value.(*cached)
	return v.entry, now.Before(v.until)
}

func (c *cache) put(k key, e *entry, until time.Time) {
	size := e.size + overhead + int64(len(k.path)+len(k.release)+len(k.dist)+len(e.reason))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[key]*list.Element)
	}
	if el := c.entries[k]; el != nil {
		v := el.Value.(*cached)
		c.size += size - v.size
		v.entry, v.size, v.until = e, size, until
		c.order.MoveToFront(el)
	} else {
		k = k.clone() // its texts are part of an event
		c.entries[k] = c.order.PushFront(&cached{key: k, entry: e, size: size, until: until})
		c.size += size
	}
	for c.size > c.limit && c.order.Len() > 1 {
		el := c.order.Back()
		v := el.Value.(*cached)
		c.order.Remove(el)
		delete(c.entries, v.key)
		c.size -= v.size
	}
}

func (c *cache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}
