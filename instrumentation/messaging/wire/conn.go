package wire

import (
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"time"
)

// API keys that are followed.
const (
	apiProduce      = 0
	apiFetch        = 1
	apiMetadata     = 3
	apiOffsetCommit = 8
)

const (
	// maxFrame is far above what a broker accepts or sends. A longer frame means
	// that this is not Kafka's protocol, or that the place in it is lost.
	maxFrame = 1 << 30
	// maxKept bounds an answer that is kept until it is whole.
	maxKept = 4 << 20
	// maxUnderWay bounds the requests of a connection that wait for an answer.
	maxUnderWay = 1024
)

// exchange is a request that waits for its answer.
type exchange struct {
	correlation uint32
	api         uint16
	version     uint16
	at          int64 // the request was about to be written
	broker      string
	batches     []sent   // produce
	fetches     []fetchQ // fetch, until asked
	asked       []*asked
	commit      *Commit
}

// Conn is a connection that is followed. It must carry plain text: wrap what
// tls.Client returns, not what it is given.
type Conn struct {
	net.Conn
	log    *Log
	broker string

	mu       sync.Mutex // guards the following
	lost     bool
	underWay []exchange
	toWrite  int // bytes missing of the outgoing frame
	last     Fetch

	// Only the reading goroutine uses these.
	toRead  int // bytes missing of the incoming frame; negative: the place is lost
	head    [8]byte
	have    int // bytes of head filled
	began   int64
	kept    []byte // the answer to keep, as far as it was read
	keeping *exchange
}

// Conn follows c, which was dialled to the broker at address.
func (l *Log) Conn(c net.Conn, address string) *Conn {
	return &Conn{Conn: c, log: l, broker: address}
}

// LastFetch returns the times of the last fetch on this connection that was
// answered; ok is false when there was none.
func (c *Conn) LastFetch() (f Fetch, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.last.Answered != 0
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	c.observeWrite(b)
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && n <= len(b) {
		c.observeRead(b[:n])
	}
	if err != nil && !isTimeout(err) {
		c.drop()
	}
	return n, err
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.drop()
	return c.Conn.Close()
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // connections return it bare
	return ok && t.Timeout()
}

// drop gives up what waits for an answer.
func (c *Conn) drop() {
	defer c.guard()
	c.mu.Lock()
	waiting := c.underWay
	c.underWay = nil
	c.mu.Unlock()
	for i := range waiting {
		if len(waiting[i].batches) > 0 {
			c.log.failed(waiting[i].batches)
		}
	}
}

func (c *Conn) guard() {
	if recover() != nil {
		c.log.giveUp()
	}
}

func (c *Conn) observeWrite(b []byte) {
	defer c.guard()
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 && !c.lost {
		if c.toWrite > 0 {
			n := min(c.toWrite, len(b))
			c.toWrite -= n
			b = b[n:]
			continue
		}
		if len(b) < 4 {
			c.lose()
			return
		}
		size := int64(binary.BigEndian.Uint32(b))
		if size > maxFrame {
			c.lose()
			return
		}
		frame := b[:min(int64(len(b)), 4+size)]
		if len(frame) >= 12 {
			c.request(frame[4:], int64(len(frame)) == 4+size)
		} else if size >= 8 {
			c.lose() // a request header in pieces
			return
		}
		c.toWrite = int(4 + size - int64(len(frame)))
		b = b[len(frame):]
	}
}

// request looks at one request without its length. It is called with c.mu held.
func (c *Conn) request(b []byte, whole bool) {
	x := exchange{
		api:         binary.BigEndian.Uint16(b),
		version:     binary.BigEndian.Uint16(b[2:]),
		correlation: binary.BigEndian.Uint32(b[4:]),
		broker:      c.broker,
	}
	var ok bool
	switch {
	case x.api == apiProduce:
		ok = whole && parseProduce(b, &x)
	case x.api == apiFetch && c.log.options.Fetches:
		ok = whole && parseFetch(b, &x)
	case x.api == apiFetch:
		ok = true
	case x.api == apiMetadata && x.version >= 10:
		ok = true
	case x.api == apiOffsetCommit && c.log.options.Commit != nil:
		ok = whole && parseCommit(b, &x)
	default:
		return
	}
	if !ok {
		if x.api == apiFetch {
			c.log.giveUp()
		} else {
			c.log.unknown.Add(1)
		}
		return
	}
	if x.api == apiProduce && len(x.batches) == 0 {
		return // without acks: nothing will come
	}
	if x.at = c.log.now(); x.commit != nil {
		x.commit.Asked = x.at
	}
	if len(x.batches) > 0 {
		c.log.producing(x.batches, x.at)
	}
	if len(x.fetches) > 0 {
		c.log.asking(&x)
	}
	if len(c.underWay) >= maxUnderWay {
		c.underWay = slices.Delete(c.underWay, 0, 1)
	}
	c.underWay = append(c.underWay, x)
}

// take removes and returns the request with that correlation id.
func (c *Conn) take(correlation uint32) *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.underWay {
		if c.underWay[i].correlation == correlation {
			x := c.underWay[i]
			c.underWay = slices.Delete(c.underWay, i, i+1)
			return &x
		}
	}
	return nil
}

func (c *Conn) observeRead(b []byte) {
	defer c.guard()
	for len(b) > 0 && c.toRead >= 0 {
		if c.toRead > 0 {
			n := min(c.toRead, len(b))
			if c.keeping != nil {
				c.kept = append(c.kept, b[:n]...)
			}
			c.toRead -= n
			b = b[n:]
			if c.toRead == 0 {
				c.finish()
			}
			continue
		}
		if c.have == 0 {
			c.began = c.log.now()
		}
		want := 4
		if c.have >= 4 {
			// A SASL token of an old broker may be shorter than a correlation id.
			want = 4 + int(min(binary.BigEndian.Uint32(c.head[:]), 4))
		}
		n := copy(c.head[c.have:want], b)
		c.have += n
		b = b[n:]
		if c.have < 4 {
			return
		}
		size := binary.BigEndian.Uint32(c.head[:])
		if size > maxFrame {
			c.toRead = -1
			c.mu.Lock()
			c.lose()
			c.mu.Unlock()
			return
		}
		if c.have < 4+int(min(size, 4)) {
			continue
		}
		c.have = 0
		if size < 4 {
			continue
		}
		c.toRead = int(size) - 4
		c.answer(binary.BigEndian.Uint32(c.head[4:]), c.toRead)
		if c.toRead == 0 {
			c.finish()
		}
	}
}

// answer looks at the head of an answer.
func (c *Conn) answer(correlation uint32, size int) {
	c.keeping = nil
	x := c.take(correlation)
	if x == nil {
		return
	}
	if x.api == apiFetch {
		c.log.answered(x, c.began)
		c.mu.Lock()
		c.last = Fetch{Asked: x.at, Answered: c.began, Broker: c.broker}
		c.mu.Unlock()
		return
	}
	if size > maxKept {
		c.log.unknown.Add(1)
		return
	}
	c.keeping, c.kept = x, c.kept[:0]
}

// finish looks at a whole answer.
func (c *Conn) finish() {
	x := c.keeping
	if x == nil {
		return
	}
	c.keeping = nil
	ok := true
	switch x.api {
	case apiProduce:
		var answers []answer
		var throttle time.Duration
		if answers, throttle, ok = parseProduceAnswer(c.kept, x.version); ok {
			c.log.produced(x, answers, throttle, c.began)
		}
	case apiMetadata:
		var names []topicName
		if names, ok = parseMetadataAnswer(c.kept, x.version); ok {
			c.log.learn(names)
		}
	case apiOffsetCommit:
		if x.commit.Code, ok = parseCommitAnswer(c.kept, x.version); ok {
			x.commit.Answered, x.commit.Broker = c.began, c.broker
			c.log.name(x.commit.Offsets)
			c.log.options.Commit(*x.commit)
		}
	}
	if !ok {
		c.log.unknown.Add(1)
	}
	if cap(c.kept) > 64<<10 {
		c.kept = nil
	}
}

// lose is called with c.mu held.
func (c *Conn) lose() {
	c.lost = true
	c.underWay = nil
	c.log.giveUp()
}
