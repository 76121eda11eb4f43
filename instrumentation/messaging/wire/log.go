package wire

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Batch is how the batch of records that holds a stored record came to the
// broker. Times are Unix nanoseconds on this host's clock, zero when not seen.
type Batch struct {
	FirstWritten int64 // the first produce request that carried the batch was about to be written
	Written      int64 // and the last one, which stored it
	Acked        int64 // the first byte of its answer arrived
	Appended     int64 // LogAppendTime: the broker's clock, whole milliseconds
	Attempts     int   // produce requests that carried this very batch, 1 or more
	Throttle     time.Duration
	First        int64 // offset of its first record
	Records      int
	Broker       string // address the connection was dialled to
}

// Fetch is the fetch that brought a record. Times are Unix nanoseconds.
type Fetch struct {
	Asked    int64 // the request was about to be written
	Answered int64 // the first byte of its answer arrived
	Broker   string
}

// Commit is one offset commit as a connection carried it.
type Commit struct {
	Group    string
	Member   string // the member's id
	Asked    int64
	Answered int64
	Offsets  []Offset
	Code     int16 // the first error code in the answer; zero is success
	Broker   string
}

// Offset is the next offset to read of one partition.
type Offset struct {
	Topic     string // empty when its id has no name yet
	Partition int32
	Next      int64

	topicID [16]byte
}

// Options says what a [Log] follows.
type Options struct {
	// Fetches follows fetch requests. It needs a client that keeps no fetch
	// session: in one, a request does not name what it asks for.
	Fetches bool
	// Commit is called for every offset commit that was answered, from the
	// goroutine that read the answer. It must not block. Nil follows none.
	Commit func(Commit)
	// Now is the wall clock in Unix nanoseconds; nil means time.Now.
	Now func() int64
}

const (
	// maxBatches bounds the stored batches of a partition that nobody asked
	// for; those are taken in order, so few wait.
	maxBatches = 256
	// maxFailed bounds the batches of a partition remembered to count the
	// attempts of the next one.
	maxFailed = 8
	// maxFetches bounds the fetches of a partition whose records were not yet
	// handed out: a client's queue holds as many answers, usually two.
	maxFetches = 1024
	// maxPartitions bounds the partitions of one client.
	maxPartitions = 1 << 16
	// maxTopics bounds the topic ids learned from metadata.
	maxTopics = 1 << 16
)

type partitionKey struct {
	topic     string
	partition int32
}

type stored struct {
	first, last int64 // offsets
	batch       Batch
}

// sent is one batch in a produce request that is under way or has failed.
type sent struct {
	key     partitionKey
	topicID [16]byte
	crc     uint32
	records int32
	first   int64
	tries   int
}

type asked struct {
	offset int64
	fetch  Fetch
}

type partition struct {
	stored  []stored
	failed  []sent
	fetches []*asked
}

// Log remembers what the connections of one client carried until it is asked
// for. It is safe for concurrent use.
type Log struct {
	options Options
	now     func() int64

	mu         sync.Mutex // guards the following
	partitions map[partitionKey]*partition
	topics     map[[16]byte]string
	blind      bool // a fetch was not understood: times of fetches are unknown from here on

	unknown atomic.Uint64
}

// NewLog makes a Log.
func NewLog(o Options) *Log {
	l := &Log{options: o, now: o.Now, partitions: make(map[partitionKey]*partition), topics: make(map[[16]byte]string)}
	if l.now == nil {
		l.now = func() int64 { return time.Now().UnixNano() }
	}
	return l
}

// Unknown counts frames that should have been understood and were not.
func (l *Log) Unknown() uint64 { return l.unknown.Load() }

// Stored returns how the batch with the stored record came to the broker, and
// forgets the batches before it: clients report records of a partition in order.
func (l *Log) Stored(topic string, id int32, offset int64) (Batch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partitions[partitionKey{topic, id}]
	if p == nil {
		return Batch{}, false
	}
	for i := len(p.stored) - 1; i >= 0; i-- {
		if s := &p.stored[i]; s.first <= offset && offset <= s.last {
			b := s.batch
			if i > 0 {
				p.stored = slices.Delete(p.stored, 0, i)
			}
			return b, true
		}
	}
	return Batch{}, false
}

// Failed returns when the first produce request since then was written that
// carried records of the partition and failed, and how many did, for clients that
// make other batches of the records they send again. At most a few are remembered.
func (l *Log) Failed(topic string, id int32, since int64) (first int64, requests int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partitions[partitionKey{topic, id}]
	if p == nil {
		return 0, 0
	}
	for i := range p.failed {
		if f := &p.failed[i]; f.first >= since {
			requests += f.tries
			if first == 0 || f.first < first {
				first = f.first
			}
		}
	}
	return first, requests
}

// Fetched returns the fetch that brought the record at offset, and forgets those
// before it. It is the newest answered one that asked for this record or an
// earlier one: a client asks next for what follows the last record it has.
func (l *Log) Fetched(topic string, id int32, offset int64) (Fetch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.partitions[partitionKey{topic, id}]
	if p == nil || l.blind {
		return Fetch{}, false
	}
	for i := len(p.fetches) - 1; i >= 0; i-- {
		if f := p.fetches[i]; f.offset <= offset && f.fetch.Answered != 0 {
			if i > 0 {
				p.fetches = slices.Delete(p.fetches, 0, i)
			}
			return f.fetch, true
		}
	}
	return Fetch{}, false
}

// Forget drops what is remembered of the fetches of a partition: it was given
// back, or its position was set.
func (l *Log) Forget(topic string, id int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.partitions[partitionKey{topic, id}]; p != nil {
		p.fetches = nil
	}
}

// part is called with l.mu held. It returns nil when there are too many.
func (l *Log) part(k partitionKey) *partition {
	p := l.partitions[k]
	if p == nil {
		if len(l.partitions) >= maxPartitions {
			return nil
		}
		p = &partition{}
		l.partitions[k] = p
	}
	return p
}

// producing notes a produce request that is about to be written: the batches in
// it that failed before are attempts of the same batch.
func (l *Log) producing(batches []sent, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batches {
		b := &batches[i]
		b.first, b.tries = at, 1
		if b.key.topic == "" {
			b.key.topic = l.topics[b.topicID]
		}
		p := l.partitions[b.key]
		if p == nil {
			continue
		}
		for j := range p.failed {
			if f := p.failed[j]; f.crc == b.crc && f.records == b.records {
				b.first, b.tries = f.first, f.tries+1
				p.failed = slices.Delete(p.failed, j, j+1)
				break
			}
		}
	}
}

// failed notes batches of a request that was not answered, or answered with an
// error.
func (l *Log) failed(batches []sent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batches {
		l.fail(batches[i])
	}
}

// fail is called with l.mu held.
func (l *Log) fail(b sent) {
	if b.key.topic == "" {
		return
	}
	p := l.part(b.key)
	if p == nil {
		return
	}
	if len(p.failed) >= maxFailed {
		p.failed = slices.Delete(p.failed, 0, 1)
	}
	p.failed = append(p.failed, b)
}

// produced notes the answer to a produce request.
func (l *Log) produced(x *exchange, answers []answer, throttle time.Duration, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range x.batches {
		b := &x.batches[i]
		if b.key.topic == "" {
			if b.key.topic = l.topics[b.topicID]; b.key.topic == "" {
				continue
			}
		}
		a := find(answers, b)
		if a == nil || a.code != 0 {
			l.fail(*b)
			continue
		}
		p := l.part(b.key)
		if p == nil || a.offset < 0 || b.records <= 0 {
			continue
		}
		if len(p.stored) >= maxBatches {
			p.stored = slices.Delete(p.stored, 0, 1)
		}
		p.stored = append(p.stored, stored{
			first: a.offset, last: a.offset + int64(b.records) - 1,
			batch: Batch{
				FirstWritten: b.first, Written: x.at, Acked: at, Appended: max(a.appended, 0) * int64(time.Millisecond),
				Attempts: b.tries, Throttle: throttle, First: a.offset, Records: int(b.records), Broker: x.broker,
			},
		})
	}
}

func find(answers []answer, b *sent) *answer {
	for i := range answers {
		a := &answers[i]
		if a.partition == b.key.partition && (a.topic != "" && a.topic == b.key.topic || a.topic == "" && a.topicID == b.topicID) {
			return a
		}
	}
	return nil
}

// asking notes a fetch request that is about to be written.
func (l *Log) asking(x *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range x.fetches {
		p := l.part(q.key)
		if p == nil {
			continue
		}
		f := &asked{offset: q.offset, fetch: Fetch{Asked: x.at, Broker: x.broker}}
		x.asked = append(x.asked, f)
		switch n := len(p.fetches); {
		case n > 0 && p.fetches[n-1].offset == q.offset:
			// Asked again for the same record: the fetch before brought nothing.
			p.fetches[n-1] = f
		case n >= maxFetches:
			p.fetches = append(slices.Delete(p.fetches, 0, 1), f)
		default:
			p.fetches = append(p.fetches, f)
		}
	}
	x.fetches = nil
}

func (l *Log) answered(x *exchange, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range x.asked {
		f.fetch.Answered = at
	}
}

// giveUp makes the times of fetches unknown from here on. One request that is not
// understood is enough: its records could be taken for those of another.
func (l *Log) giveUp() {
	l.unknown.Add(1)
	if !l.options.Fetches {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blind = true
	for _, p := range l.partitions {
		p.fetches = nil
	}
}

// name fills in the topics of offsets that came with ids.
func (l *Log) name(offsets []Offset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range offsets {
		if o := &offsets[i]; o.Topic == "" {
			o.Topic, o.topicID = l.topics[o.topicID], [16]byte{}
		}
	}
}

func (l *Log) learn(names []topicName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range names {
		if _, ok := l.topics[n.id]; ok || len(l.topics) < maxTopics {
			l.topics[n.id] = n.name
		}
	}
}
