package otelkafkago

import (
	"sync"
	"time"
)

// fetch is one fetch request: a question and when it was answered, in Unix
// nanoseconds. Answered is zero until the first byte of the answer arrived.
type fetch struct {
	offset   int64
	asked    int64
	answered int64
}

// maxFetches bounds the fetches remembered for a partition. A fetch is forgotten
// when a later one has delivered a record, so there are as many as a Reader's
// queue holds answers, at most QueueCapacity and usually two.
const maxFetches = 1024

// fetchLog remembers the fetch requests of one Reader until their records were
// handed out.
type fetchLog struct {
	mu     sync.Mutex
	broken bool // a connection spoke what was not understood: every time is unknown
	parts  map[topicPartition][]*fetch
}

// ask notes a fetch request that is about to be written.
func (l *fetchLog) ask(key topicPartition, offset int64) *fetch {
	f := &fetch{offset: offset, asked: time.Now().UnixNano()}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.parts[key]
	if n := len(list); n > 0 && list[n-1].offset == offset {
		// Asked again for the same record: the fetch before brought nothing.
		list[n-1] = f
		return f
	}
	if len(list) >= maxFetches {
		copy(list, list[1:])
		list[len(list)-1] = f
		return f
	}
	l.parts[key] = append(list, f)
	return f
}

func (l *fetchLog) answer(f *fetch, at time.Time) {
	l.mu.Lock()
	f.answered = at.UnixNano()
	l.mu.Unlock()
}

// giveUp makes every time unknown from here on. One connection that is not
// understood is enough: a record of it could be taken for one of another.
func (l *fetchLog) giveUp() {
	l.mu.Lock()
	l.broken = true
	clear(l.parts)
	l.mu.Unlock()
}

// match returns the times of the fetch that brought the record at offset, and
// forgets the fetches before it. It is the newest answered one that asked for
// this record or an earlier one: on one connection offsets only rise, and after a
// rebalance the newer connection is the one that delivers.
func (l *fetchLog) match(key topicPartition, offset int64) (asked, answered int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return 0, 0
	}
	list := l.parts[key]
	for i := len(list) - 1; i >= 0; i-- {
		if f := list[i]; f.offset <= offset && f.answered != 0 {
			if i > 0 {
				n := copy(list, list[i:])
				clear(list[n:])
				l.parts[key] = list[:n]
			}
			return f.asked, f.answered
		}
	}
	return 0, 0
}
