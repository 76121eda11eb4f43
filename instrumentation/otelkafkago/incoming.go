package otelkafkago

import "encoding/binary"

// incoming is the state of the reading side of a watchedConn: where in which
// frame it is. Bytes that tell nothing are passed over without a look.
type incoming struct {
	lost  bool
	head  [8]byte // length and correlation id of the frame
	have  int     // bytes of head filled
	began int64   // Unix nanoseconds: its first byte was read

	frame int // bytes missing of the frame's body
	skip  int // of them, to be passed over before anything is kept
	want  int // bytes to keep; 0: pass over the rest of the frame
	kept  []byte
	state state
	req   request
}

// state tells what the bytes kept next are.
type state uint8

const (
	stateNothing   state = iota
	stateTopic           // of a fetch answer, up to the topic's name
	stateHead            // up to the size of the record set
	stateSize            // the size of the record set
	stateBatch           // as much of a record batch as tells its format
	stateBatchHead       // the head of a record batch
	stateGroup           // the whole answer to a group request
	stateMetadata        // the whole answer to a request for metadata
)

func (c *watchedConn) observeRead(b []byte) {
	defer c.guard()
	in := &c.in
	if in.lost {
		return
	}
	for len(b) > 0 {
		switch {
		case in.frame > 0 && in.skip > 0:
			n := min(in.skip, in.frame, len(b))
			in.skip -= n
			in.frame -= n
			b = b[n:]
		case in.frame > 0 && in.want == 0:
			n := min(in.frame, len(b))
			in.frame -= n
			b = b[n:]
		case in.frame > 0:
			n := min(in.want-len(in.kept), in.frame, len(b))
			in.kept = append(in.kept, b[:n]...)
			in.frame -= n
			b = b[n:]
			if len(in.kept) == in.want {
				c.read()
			}
		default:
			b = c.observeHead(b)
		}
	}
}

// observeHead reads the length and the correlation id of a frame from b and
// returns what is left.
func (c *watchedConn) observeHead(b []byte) []byte {
	in := &c.in
	if in.have == 0 {
		in.began = c.now()
	}
	want := 4
	if in.have >= 4 {
		// A SASL token of an old broker may be shorter than a correlation id.
		want = min(len(in.head), 4+int(min(binary.BigEndian.Uint32(in.head[:]), maxFrame)))
	}
	n := copy(in.head[in.have:want], b)
	in.have += n
	b = b[n:]
	if in.have < 4 {
		return b
	}
	size := binary.BigEndian.Uint32(in.head[:])
	if size > maxFrame {
		in.lost = true
		c.mu.Lock()
		c.lose()
		c.mu.Unlock()
		return nil
	}
	if in.have < min(8, 4+int(size)) {
		return b
	}
	in.have = 0
	in.frame = max(0, int(size)-4)
	in.skip, in.want, in.kept, in.state = 0, 0, in.kept[:0], stateNothing
	if size >= 4 {
		c.beginAnswer(binary.BigEndian.Uint32(in.head[4:]))
	}
	return b
}

func (c *watchedConn) beginAnswer(correlation uint32) {
	in := &c.in
	var ok bool
	if in.req, ok = c.answered(correlation); !ok {
		return
	}
	if f := in.req.fetch; f != nil {
		in.req.log.answer(f, in.began)
		first, second := fetchHeadSizes(in.req.version)
		if in.frame >= first+second {
			in.expect(stateTopic, first)
		}
		return
	}
	if in.req.metadata {
		if in.frame > 0 && in.frame <= maxBody {
			in.expect(stateMetadata, in.frame)
		}
		return
	}
	if in.frame > maxBody || in.frame == 0 {
		c.group.misunderstood()
		return
	}
	in.expect(stateGroup, in.frame)
}

// expect keeps the next n bytes; those kept before stay when the state goes on
// with them.
func (in *incoming) expect(s state, n int) { in.state, in.want = s, n }

// rest passes over what is left of the frame.
func (in *incoming) rest() {
	in.state, in.want, in.kept = stateNothing, 0, in.kept[:0]
}

// read is called when the bytes wanted are there.
func (c *watchedConn) read() {
	in := &c.in
	switch in.state {
	case stateTopic:
		first, second := fetchHeadSizes(in.req.version)
		n := fetchTopicSize(in.req.version, in.kept)
		if n != len(in.req.key.topic) || in.frame < n+second {
			c.unknownAnswer()
			return
		}
		in.expect(stateHead, first+n+second)
	case stateHead:
		h, ok := parseFetchHead(in.req.version, in.req.key, in.kept)
		if !ok || h.aborted > maxFrame/16 || !h.plausible(in.req.fetch.offset) {
			c.unknownAnswer()
			return
		}
		in.req.log.describe(in.req.fetch, h)
		if h.code != 0 || h.highWatermark == in.req.fetch.offset {
			in.rest() // no records
			return
		}
		in.kept = in.kept[:0]
		in.skip = 16 * h.aborted
		in.expect(stateSize, 4)
	case stateSize:
		size := binary.BigEndian.Uint32(in.kept)
		in.kept = in.kept[:0]
		if size == 0 || int64(size) > int64(in.frame) {
			in.rest()
			return
		}
		in.expect(stateBatch, batchHead)
	case stateBatch:
		if n := batchHeadSize(in.kept); n > 0 {
			in.expect(stateBatchHead, n)
			return
		}
		c.unknownAnswer()
	case stateBatchHead:
		b, ok := parseBatch(in.kept, in.began)
		if !ok {
			c.unknownAnswer()
			return
		}
		in.req.log.batch(in.req.fetch, b)
		in.skip = b.length - len(in.kept)
		in.kept = in.kept[:0]
		in.expect(stateBatch, batchHead)
	case stateGroup:
		a, ok := parseGroupAnswer(&in.req.group, in.kept)
		in.rest()
		if !ok {
			c.group.misunderstood()
			return
		}
		c.group.answered(c, &in.req.group, &a, in.req.at, in.began)
	case stateMetadata:
		parseReplicas(in.req.version, in.kept, func(key topicPartition, replicas int) {
			c.log.partition(key).replicated(replicas > 1)
		})
		in.rest()
	default:
		in.rest()
	}
}

// unknownAnswer passes over an answer that is not as expected: the times of its
// records are known, what it says of them is not.
func (c *watchedConn) unknownAnswer() {
	c.in.rest()
	c.log.unknown.Add(1)
}
