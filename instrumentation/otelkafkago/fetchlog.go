package otelkafkago

import (
	"sync"
	"sync/atomic"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// fetch is one fetch request: a question, when it was answered and what the head
// of the answer told. Times are Unix nanoseconds; zero means unknown. Answered is
// the time of the first byte of the answer.
type fetch struct {
	offset   int64
	asked    int64
	answered int64
	broker   messaging.Server // that the connection was dialled to

	// notBefore is when the answer before was asked for, if it told that there was
	// nothing to read at offset yet: the records of this one were appended after
	// that. With several replicas nothing is known: the high watermark follows the
	// append at the leader.
	notBefore int64

	// What follows is known once described is true.
	described     bool
	throttle      int64
	code          int16
	highWatermark int64
	logStart      int64 // -1 when unknown

	runs []run
	cut  bool // there were more batches than are remembered
}

// run is what adjacent batches of an answer have in common: how the times of
// their records came about. It reaches from the run before to the offset last.
type run struct {
	last     int64
	appended int64 // the broker's LogAppendTime; 0 when the records carry their producers' times
}

// delivered is what the log knows of a record's way here.
type delivered struct {
	asked, answered int64
	broker          messaging.Server
	throttle        int64
	highWatermark   int64 // of the answer; 0 when unknown
	logStart        int64 // -1 when unknown
	notBefore       int64 // as in fetch
	appended        int64 // LogAppendTime
	isCreated       bool  // the record's own time is the producer's
}

const (
	// maxFetches bounds the fetches remembered for a partition. A fetch is forgotten
	// when a later one has delivered a record, so there are as many as a Reader's
	// queue holds answers, at most QueueCapacity and usually two.
	maxFetches = 1024

	// maxRuns bounds the differing LogAppendTimes remembered of one answer, whose
	// batches may be as small as one record each.
	maxRuns = 1024
)

// fetchLog remembers the fetch requests of one Reader until their records were
// handed out.
type fetchLog struct {
	broken  atomic.Bool // a connection spoke what was not understood: every time is unknown
	unknown atomic.Uint64

	// watermark is told the high watermark of each answer, outside of any lock.
	watermark func(key topicPartition, highWatermark int64)

	mu    sync.RWMutex
	parts map[topicPartition]*partitionLog
}

func newFetchLog() *fetchLog {
	return &fetchLog{parts: make(map[topicPartition]*partitionLog)}
}

// partition returns the log of one partition, which lasts as long as l does: a
// Reader reads as many partitions as its topics have.
func (l *fetchLog) partition(key topicPartition) *partitionLog {
	l.mu.RLock()
	p := l.parts[key]
	l.mu.RUnlock()
	if p != nil {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p = l.parts[key]; p == nil {
		p = &partitionLog{log: l, key: key}
		l.parts[key] = p
	}
	return p
}

// giveUp makes every time unknown from here on. One connection that is not
// understood is enough: a record of it could be taken for one of another.
func (l *fetchLog) giveUp() {
	l.broken.Store(true)
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, p := range l.parts {
		p.mu.Lock()
		clear(p.fetches)
		p.fetches = p.fetches[:0]
		p.mu.Unlock()
	}
}

// partitionLog is the part of a fetchLog about one partition.
type partitionLog struct {
	log *fetchLog
	key topicPartition

	mu      sync.Mutex
	fetches []*fetch
	end     int64 // high watermark of the newest answer
	endAt   int64 // when it was asked for; 0 when the watermark is not known
	alone   bool  // the partition is known to have one replica
}

// ask notes a fetch request that is about to be written.
func (p *partitionLog) ask(offset, at int64, broker messaging.Server) *fetch {
	f := &fetch{offset: offset, asked: at, broker: broker}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == offset && p.alone {
		f.notBefore = p.endAt
	}
	if n := len(p.fetches); n > 0 && p.fetches[n-1].offset == offset {
		// Asked again for the same record: the fetch before brought nothing.
		p.fetches[n-1] = f
		return f
	}
	if len(p.fetches) >= maxFetches {
		copy(p.fetches, p.fetches[1:])
		p.fetches[len(p.fetches)-1] = f
		return f
	}
	p.fetches = append(p.fetches, f)
	return f
}

func (p *partitionLog) answer(f *fetch, at int64) {
	p.mu.Lock()
	f.answered = at
	p.mu.Unlock()
}

func (p *partitionLog) describe(f *fetch, h fetchHead) {
	if h.code == 0 && p.log.watermark != nil {
		p.log.watermark(p.key, h.highWatermark)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.described = true
	f.throttle, f.code, f.logStart = h.throttle, h.code, h.logStart
	p.endAt = 0
	if h.code == 0 {
		f.highWatermark = h.highWatermark
		p.end, p.endAt = h.highWatermark, f.asked
	}
}

func (p *partitionLog) batch(f *fetch, b recordBatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !b.isCreated && b.appended == 0 {
		f.cut = true
		return
	}
	if n := len(f.runs); n > 0 && f.runs[n-1].appended == b.appended {
		f.runs[n-1].last = b.last
		return
	}
	if len(f.runs) >= maxRuns {
		f.cut = true
	}
	if f.cut {
		return
	}
	f.runs = append(f.runs, run{last: b.last, appended: b.appended})
}

// replicated notes whether the partition has more than one replica.
func (p *partitionLog) replicated(several bool) {
	p.mu.Lock()
	p.alone = !several
	p.mu.Unlock()
}

// highWatermark is the one that the newest answer told.
func (p *partitionLog) highWatermark() (offset int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end, p.endAt != 0
}

// match tells of the fetch that brought the record at offset, and forgets the
// fetches before it. It is the newest answered one that asked for this record or
// an earlier one: on one connection offsets only rise, and after a rebalance the
// newer connection is the one that delivers.
func (p *partitionLog) match(offset int64) (d delivered) {
	if p.log.broken.Load() {
		return d
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.fetches) - 1; i >= 0; i-- {
		f := p.fetches[i]
		if f.offset > offset || f.answered == 0 {
			continue
		}
		if i > 0 {
			n := copy(p.fetches, p.fetches[i:])
			clear(p.fetches[n:])
			p.fetches = p.fetches[:n]
		}
		d.asked, d.answered, d.broker = f.asked, f.answered, f.broker
		if !f.described {
			return d
		}
		d.throttle, d.highWatermark, d.logStart, d.notBefore = f.throttle, f.highWatermark, f.logStart, f.notBefore
		for len(f.runs) > 1 && f.runs[0].last < offset {
			f.runs = f.runs[1:] // offsets rise
		}
		if len(f.runs) > 0 && f.runs[0].last >= offset {
			d.appended = f.runs[0].appended
			d.isCreated = d.appended == 0
		}
		return d
	}
	return d
}
