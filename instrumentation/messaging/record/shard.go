package record

import "sync"

const (
	chunkSpans = 256
	// chunkArena is when a chunk is full of extras though it has room for spans.
	chunkArena = 256 << 10
	// keptArena is the largest arena that waits for its chunk's next use.
	keptArena = 64 << 10
)

// chunk holds spans until they are encoded. The garbage collector never looks
// into recs and arena, for they have no pointers.
type chunk struct {
	recs  []rec
	limit int    // spans that were promised room
	arena []byte // what the extras of recs became
}

// shard is where a part of the callers put their spans.
type shard struct {
	mu     sync.Mutex
	cur    *chunk // nil: the next Put gets one
	closed bool
	_      [104]byte // keeps neighbours on other pairs of cache lines
}

// Put records a span that has ended. x may be nil. It keeps neither s nor x nor
// anything of them, and never waits for Export: without room the span is dropped
// and counted.
func (r *Recorder) Put(st *Stream, s *Span, x *Extra) {
	// Span ids are random, so the shard is too.
	sh := &r.shards[uint32(s.SpanID[7])&r.mask]
	sh.mu.Lock()
	r.put(sh, st, s, x)
	sh.mu.Unlock()
}

// Lock holds one shard of the recorder for many Puts. hint chooses the shard:
// any number that differs from caller to caller. Others may wait meanwhile, so
// no user code and nothing that blocks may run until Unlock, nor any method of
// the recorder.
func (r *Recorder) Lock(hint uint32) Locked {
	sh := &r.shards[hint&r.mask]
	sh.mu.Lock()
	return Locked{r, sh}
}

// Locked is a shard held by [Recorder.Lock].
type Locked struct {
	r *Recorder
	s *shard
}

// Put is [Recorder.Put].
func (l Locked) Put(st *Stream, s *Span, x *Extra) { l.r.put(l.s, st, s, x) }

// Unlock gives the shard back.
func (l Locked) Unlock() { l.s.mu.Unlock() }

// put adds a span to sh, which is locked.
func (r *Recorder) put(sh *shard, st *Stream, s *Span, x *Extra) {
	c := sh.cur
	if (c == nil || len(c.recs) == c.limit || len(c.arena) >= chunkArena) && (c != nil || !r.exhausted.Load()) {
		c = r.refill(sh)
	}
	if c == nil || st.recorder != r || st.lost || x != nil && r.extraBytes.Load() >= int64(r.o.MaxExtraBytes) {
		r.dropped.Add(1)
		return
	}
	n := len(c.recs)
	c.recs = c.recs[:n+1]
	q := &c.recs[n]
	q.Span, q.stream, q.own = *s, st.index, 0
	q.from = uint32(len(c.arena))
	if st.spilled {
		x, q.own = st.spill(x), ownAttributes
	}
	if x != nil {
		c.arena = x.encode(c.arena, q, st, r.extraLimit)
		r.extraBytes.Add(int64(len(c.arena)) - int64(q.from))
	}
	q.to = uint32(len(c.arena))
}

// refill hands the chunk of sh on and gives it another one, or nil when the
// bounds of the recorder are reached. sh is locked.
func (r *Recorder) refill(sh *shard) *chunk {
	c := sh.cur
	sh.cur = nil
	r.mu.Lock()
	r.handOn(c)
	grant := min(chunkSpans, r.credit)
	if sh.closed {
		grant = 0
	}
	fresh := false
	if n := len(r.free); grant > 0 && n > 0 {
		sh.cur = r.free[n-1]
		r.free[n-1] = nil
		r.free = r.free[:n-1]
		r.leastFree = min(r.leastFree, n-1)
	} else if grant > 0 && r.alive < r.o.MaxSpans/chunkSpans+2*len(r.shards)+2 {
		r.alive++
		fresh = true
	} else {
		grant = 0
		r.exhausted.Store(true)
	}
	r.credit -= grant
	r.mu.Unlock()
	if fresh {
		sh.cur = &chunk{recs: make([]rec, 0, chunkSpans)}
	}
	if c != nil {
		r.rouse()
	}
	if sh.cur != nil {
		sh.cur.limit = grant
	}
	return sh.cur
}

// handOn queues a chunk that left its shard. r.mu is locked.
func (r *Recorder) handOn(c *chunk) {
	if c != nil {
		if unused := c.limit - len(c.recs); unused > 0 {
			r.credit += unused
			r.exhausted.Store(false)
		}
		r.handed += uint64(len(c.recs))
		r.full = append(r.full, c)
	}
}

// rouse makes the recorder's goroutine look around.
func (r *Recorder) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it was told already
	}
}

// steal queues what the shards hold, and closes them if told to.
func (r *Recorder) steal(closing bool) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.Lock()
		if c := sh.cur; c != nil {
			sh.cur = nil
			r.mu.Lock()
			r.handOn(c)
			r.mu.Unlock()
		}
		sh.closed = sh.closed || closing
		sh.mu.Unlock()
	}
}

// recycle takes back a chunk whose spans are encoded. Their room is promised
// anew when they are done with, by settle.
func (r *Recorder) recycle(c *chunk) {
	r.extraBytes.Add(-int64(len(c.arena)))
	c.recs, c.arena, c.limit = c.recs[:0], c.arena[:0], 0
	if cap(c.arena) > keptArena {
		c.arena = nil
	}
	r.mu.Lock()
	r.free = append(r.free, c)
	r.exhausted.Store(false)
	r.mu.Unlock()
}

// settle gives back the room of spans whose fate is known.
func (r *Recorder) settle(spans int) {
	r.done.Add(uint64(spans))
	r.mu.Lock()
	r.credit += spans
	r.exhausted.Store(false)
	r.mu.Unlock()
}

// shrink gives the collector half of the chunks that nobody needed since the last
// call, at least one.
func (r *Recorder) shrink() {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min((r.leastFree+1)/2, len(r.free))
	for i := range n {
		r.free[len(r.free)-1-i] = nil
	}
	r.free = r.free[:len(r.free)-n]
	r.alive -= n
	r.leastFree = len(r.free)
}
