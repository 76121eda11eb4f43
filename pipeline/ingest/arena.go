package ingest

import "unsafe"

// arena hands out short contiguous runs of T from chunks that are used again
// after reset. One run is built at a time: begin, push …, finish. Chunks never
// move, so runs handed out stay valid until reset.
type arena[T any] struct {
	size   int // elements a chunk
	chunks [][]T
	next   int // the chunk after cur
	cur    []T
	start  int // where the run being built begins in cur
	last   int // chunks used in the round before
}

func (a *arena[T]) begin() { a.start = len(a.cur) }

func (a *arena[T]) built() int { return len(a.cur) - a.start }

func (a *arena[T]) push(v T) {
	if len(a.cur) == cap(a.cur) {
		a.spill(1)
	}
	a.cur = append(a.cur, v)
}

// spill moves the run being built to a chunk with room for n more.
func (a *arena[T]) spill(n int) {
	run := a.cur[a.start:]
	need := len(run) + n
	var c []T
	switch {
	case need > a.size:
		c = make([]T, 0, 2*need) // longer than a chunk: of its own, and not kept
	case a.next < len(a.chunks):
		c = a.chunks[a.next][:0]
		a.next++
	default:
		c = make([]T, 0, a.size)
		a.chunks = append(a.chunks, c)
		a.next++
	}
	c = append(c, run...)
	a.cur = c
	a.start = 0
}

// finish ends the run and gives it, nil when it is empty. The run's capacity is
// its length, so that appending to it cannot reach its neighbour.
func (a *arena[T]) finish() []T {
	if len(a.cur) == a.start {
		return nil
	}
	run := a.cur[a.start:len(a.cur):len(a.cur)]
	a.start = len(a.cur)
	return run
}

// reset takes back all runs. It keeps as many chunks as the larger of the last
// two rounds needed, so one huge batch does not hold its memory for ever.
func (a *arena[T]) reset() {
	keep := max(a.next, a.last)
	a.last = a.next
	for i := keep; i < len(a.chunks); i++ {
		a.chunks[i] = nil
	}
	a.chunks = a.chunks[:min(keep, len(a.chunks))]
	a.next, a.cur, a.start = 0, nil, 0
}

// text is an arena of bytes read as strings.
type text struct{ arena[byte] }

// room begins a run and gives a slice of length 0 with capacity n to append
// to; keep takes what was appended, at most n bytes.
func (t *text) room(n int) []byte {
	t.begin()
	if cap(t.cur)-len(t.cur) < n {
		t.spill(n)
	}
	return t.cur[len(t.cur):len(t.cur):cap(t.cur)]
}

func (t *text) keep(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	t.cur = t.cur[:len(t.cur)+len(b)]
	t.start = len(t.cur)
	return unsafe.String(&b[0], len(b))
}
