package otelkafkago

import (
	"encoding/binary"
	"time"
)

// The requests of the Kafka protocol that a Reader's connections carry and that
// tell something about its records.
const (
	apiFetch        = 1
	apiMetadata     = 3
	apiOffsetCommit = 8
	apiJoinGroup    = 11
	apiHeartbeat    = 12
	apiLeaveGroup   = 13
	apiSyncGroup    = 14
)

const (
	// maxFrame is far above what a broker accepts or sends. A longer frame means
	// that this is not Kafka's protocol, or that we lost our place in it.
	maxFrame = 1 << 30

	// maxBody bounds what is kept of a group request or answer to be read.
	maxBody = 64 << 10

	// maxPartitions bounds the partitions read from one commit or assignment.
	maxPartitions = 4096
)

// parseFetch reads a whole fetch request for one partition as kafka-go writes it,
// in version 2, 5 or 10. ok is false for anything else.
func parseFetch(b []byte) (key topicPartition, offset int64, correlation uint32, ok bool) {
	r := fields{b: b}
	size := r.uint32()
	api, version := r.uint16(), r.uint16()
	correlation = r.uint32()
	clientID := r.uint16()
	if clientID != 0xffff { // null
		r.skip(int(clientID))
	}
	replica := r.uint32()
	r.skip(8) // max wait, min bytes
	switch version {
	case 2:
	case 5:
		r.skip(4 + 1) // max bytes, isolation level
	case 10:
		r.skip(4 + 1 + 4 + 4) // and session id, session epoch
	default:
		return key, 0, 0, false
	}
	topics := r.uint32()
	topic := r.bytes(int(r.uint16()))
	partitions := r.uint32()
	partition := r.uint32()
	if version == 10 {
		r.skip(4) // leader epoch
	}
	off := r.uint64()
	if version >= 5 {
		r.skip(8) // log start offset
	}
	r.skip(4) // partition max bytes
	if version == 10 {
		r.skip(4) // forgotten topics
	}
	const leader = 0xffffffff // replica id of a consumer: -1
	if r.short || len(r.b) != 0 || int64(size) != int64(len(b)-4) || api != apiFetch ||
		replica != leader || topics != 1 || partitions != 1 || len(topic) == 0 || int64(off) < 0 { //nolint:gosec // the sign is what is asked
		return key, 0, 0, false
	}
	return topicPartition{string(topic), int32(partition)}, int64(off), correlation, true //nolint:gosec // as on the wire
}

// groupRequest is the part of a group request that is read.
type groupRequest struct {
	api        uint16
	version    uint16
	member     string
	generation int32
	offsets    []committedOffset // of a commit
}

// committedOffset is the next offset to read, as committed for one partition, and
// the error code of the answer.
type committedOffset struct {
	topicPartition
	offset int64
	code   int16
}

// parseGroupRequest reads a request after its header. body may be cut after
// maxBody bytes; then a commit is not understood. ok is false for a version that
// kafka-go does not write.
func parseGroupRequest(api, version uint16, body []byte) (q groupRequest, ok bool) {
	q = groupRequest{api: api, version: version, generation: -1}
	r := fields{b: body}
	r.skip(int(r.uint16())) // group
	switch {
	case api == apiJoinGroup && (version == 1 || version == 2):
		r.skip(4 + 4) // session and rebalance timeout
		q.member = r.string()
	case api == apiSyncGroup && version == 0, api == apiHeartbeat && version == 0:
		q.generation = r.int32()
		q.member = r.string()
	case api == apiLeaveGroup && version == 0:
		q.member = r.string()
	case api == apiOffsetCommit && version == 2:
		q.generation = r.int32()
		q.member = r.string()
		r.skip(8) // retention
		topics := r.uint32()
		for ; topics > 0 && !r.short; topics-- {
			topic := r.string()
			partitions := r.uint32()
			for ; partitions > 0 && !r.short; partitions-- {
				c := committedOffset{topicPartition: topicPartition{topic, r.int32()}, offset: int64(r.uint64())} //nolint:gosec // as on the wire
				r.skip(int(r.uint16()))                                                                           // metadata
				if len(q.offsets) >= maxPartitions {
					return q, false
				}
				q.offsets = append(q.offsets, c)
			}
		}
	default:
		return q, false
	}
	return q, !r.short
}

// groupAnswer is the part of the answer to a group request that is read.
type groupAnswer struct {
	code       int16
	generation int32
	member     string
	leader     bool
	members    int              // told to the leader only
	assigned   []topicPartition // of SyncGroup
}

// parseGroupAnswer reads the whole answer to q, after the correlation id, and
// fills in the error codes of a commit. The code of a commit is the first that
// is not zero.
func parseGroupAnswer(q *groupRequest, body []byte) (a groupAnswer, ok bool) {
	r := fields{b: body}
	switch q.api {
	case apiJoinGroup:
		if q.version >= 2 {
			r.skip(4) // throttle
		}
		a.code = r.int16()
		a.generation = r.int32()
		r.skip(int(r.uint16())) // protocol
		leader := r.string()
		a.member = r.string()
		a.leader = leader == a.member
		a.members = int(r.uint32())
	case apiSyncGroup:
		a.code = r.int16()
		n := r.int32()
		if n > 0 {
			if a.assigned, ok = parseAssignment(r.bytes(int(n))); !ok {
				return a, false
			}
		}
	case apiHeartbeat, apiLeaveGroup:
		a.code = r.int16()
	case apiOffsetCommit:
		topics := r.uint32()
		for ; topics > 0 && !r.short; topics-- {
			topic := r.bytes(int(r.uint16()))
			partitions := r.uint32()
			for ; partitions > 0 && !r.short; partitions-- {
				partition, code := r.int32(), r.int16()
				if code == 0 {
					continue
				}
				if a.code == 0 {
					a.code = code
				}
				for i := range q.offsets {
					if o := &q.offsets[i]; o.partition == partition && o.topic == string(topic) {
						o.code = code
					}
				}
			}
		}
	}
	return a, !r.short
}

// parseReplicas reads the answer to a request for metadata in version 1 or 6, after
// the correlation id, and tells f of each partition how many replicas it has.
func parseReplicas(version uint16, body []byte, f func(key topicPartition, replicas int)) {
	r := fields{b: body}
	skipString := func() {
		if n := r.uint16(); n != 0xffff { // null
			r.skip(int(n))
		}
	}
	if version >= 3 {
		r.skip(4) // throttle
	}
	for brokers := r.uint32(); brokers > 0 && !r.short; brokers-- {
		r.skip(4)
		skipString()
		r.skip(4)
		skipString() // rack
	}
	if version >= 2 {
		skipString() // cluster
	}
	r.skip(4) // controller
	read := 0
	for topics := r.uint32(); topics > 0 && !r.short; topics-- {
		r.skip(2) // error code
		topic := r.string()
		r.skip(1) // internal
		for partitions := r.uint32(); partitions > 0 && !r.short; partitions-- {
			code, partition := r.uint16(), r.int32()
			r.skip(4) // leader
			replicas := r.uint32()
			r.skip(int(min(replicas, maxFrame)) * 4)
			r.skip(int(min(r.uint32(), maxFrame)) * 4) // in sync
			if version >= 5 {
				r.skip(int(min(r.uint32(), maxFrame)) * 4) // offline
			}
			if read++; r.short || read > maxPartitions {
				return
			}
			if code == 0 {
				f(topicPartition{topic, partition}, int(replicas))
			}
		}
	}
}

func parseAssignment(b []byte) (out []topicPartition, ok bool) {
	r := fields{b: b}
	r.skip(2) // version
	topics := r.uint32()
	for ; topics > 0 && !r.short; topics-- {
		topic := r.string()
		partitions := r.uint32()
		for ; partitions > 0 && !r.short; partitions-- {
			if len(out) >= maxPartitions {
				return nil, false
			}
			out = append(out, topicPartition{topic, r.int32()})
		}
	}
	return out, !r.short
}

// recordBatch is the head of a batch in a fetch answer.
type recordBatch struct {
	length    int   // bytes of the whole batch
	last      int64 // offset of its last record
	appended  int64 // Unix nanoseconds of the broker, whole milliseconds; 0 unless the topic stamps LogAppendTime
	isCreated bool  // the records carry the times their producers gave them
}

const (
	batchMagicAt  = 16 // the byte that tells the format, the same in all of them
	batchHead     = batchMagicAt + 1
	batchHeadV2   = 61
	batchHeadV1   = 26
	logAppendTime = 1 << 3 // in the attributes
)

// batchHeadSize is how many bytes of a batch's head are to be read, told by the
// first batchHead of them; 0 when the format is not known.
func batchHeadSize(b []byte) int {
	switch b[batchMagicAt] {
	case 2:
		return batchHeadV2
	case 1:
		return batchHeadV1
	}
	return 0
}

// farTime is how far, in nanoseconds, a broker's time may be from ours to be
// believed: ten years.
const farTime = 3652 * 24 * int64(time.Hour)

// parseBatch reads the head of a batch, of the length that batchHeadSize tells. now
// is in Unix nanoseconds.
func parseBatch(b []byte, now int64) (out recordBatch, ok bool) {
	r := fields{b: b}
	first := int64(r.uint64()) //nolint:gosec // as on the wire
	length := r.uint32()
	r.skip(4) // leader epoch, or checksum
	magic := r.uint8()
	out.length = 12 + int(length)
	var stamp int64
	var attributes uint16
	if magic == 2 {
		r.skip(4) // checksum
		attributes = r.uint16()
		delta := r.int32()
		if delta < 0 {
			return out, false
		}
		out.last = first + int64(delta)
		r.skip(8)                 // first timestamp
		stamp = int64(r.uint64()) //nolint:gosec // as on the wire
	} else {
		attributes = uint16(r.uint8())
		out.last = first
		stamp = int64(r.uint64()) //nolint:gosec // as on the wire
	}
	if r.short || first < 0 || int64(length) > maxFrame || out.length < len(b) {
		return out, false
	}
	if attributes&logAppendTime == 0 {
		out.isCreated = true
	} else if stamp > 0 && stamp < 1<<43 { // about the year 2248: it fits nanoseconds
		if at := stamp * int64(time.Millisecond); at-now < farTime && now-at < farTime {
			out.appended = at
		}
	}
	return out, true
}

// fetchHead is the head of the answer to a fetch, before the record batches.
type fetchHead struct {
	throttle      int64 // nanoseconds
	code          int16
	highWatermark int64
	logStart      int64 // -1 when the answer's version does not tell
	aborted       int   // transactions listed behind the head
}

const (
	maxAhead    = 1 << 40               // records behind the one asked for
	maxThrottle = int64(24 * time.Hour) // brokers bound it by their quota window: seconds
)

// plausible tells whether the answer to a fetch at offset can be as told. TCP's
// checksum lets some flipped bytes pass, and no other guards the head.
func (h *fetchHead) plausible(offset int64) bool {
	if h.throttle > maxThrottle {
		return false
	}
	if h.code != 0 {
		return true // then it tells no offsets
	}
	end := h.highWatermark
	return end >= offset && end-offset < maxAhead && h.logStart >= -1 && h.logStart <= end
}

// The head of a fetch answer has two parts of known length with the topic's name
// between them.
func fetchHeadSizes(version uint16) (first, second int) {
	switch version {
	case 2:
		return 4 + 4 + 2, 4 + 4 + 2 + 8
	case 5:
		return 4 + 4 + 2, 4 + 4 + 2 + 8 + 8 + 8 + 4
	default:
		return 4 + 2 + 4 + 4 + 2, 4 + 4 + 2 + 8 + 8 + 8 + 4
	}
}

// fetchTopicSize is the length of the topic's name, told by the first part of the
// head; -1 when there is none: the whole request failed.
func fetchTopicSize(version uint16, b []byte) int {
	r := fields{b: b}
	r.skip(4)
	if version == 10 {
		r.skip(2 + 4)
	}
	if r.uint32() != 1 {
		return -1
	}
	return int(r.uint16())
}

func parseFetchHead(version uint16, key topicPartition, b []byte) (h fetchHead, ok bool) {
	r := fields{b: b}
	h.throttle = int64(r.uint32()) * int64(time.Millisecond)
	if version == 10 {
		h.code = r.int16()
		r.skip(4) // session
	}
	r.skip(4) // one topic
	topic := r.bytes(int(r.uint16()))
	partitions := r.uint32()
	partition := r.int32()
	if code := r.int16(); h.code == 0 {
		h.code = code
	}
	h.highWatermark = int64(r.uint64()) //nolint:gosec // as on the wire
	h.logStart = -1
	if version >= 5 {
		r.skip(8)                      // last stable offset
		h.logStart = int64(r.uint64()) //nolint:gosec // as on the wire
		h.aborted = int(max(0, r.int32()))
	}
	return h, !r.short && partitions == 1 && partition == key.partition && string(topic) == key.topic
}

// fields reads big-endian fields off b and remembers whether it ran out.
type fields struct {
	b     []byte
	short bool
}

func (r *fields) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *fields) skip(n int) { r.bytes(n) }

func (r *fields) string() string { return string(r.bytes(int(r.uint16()))) }

func (r *fields) uint8() uint8 {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *fields) uint16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *fields) int16() int16 { return int16(r.uint16()) } //nolint:gosec // as on the wire

func (r *fields) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *fields) int32() int32 { return int32(r.uint32()) } //nolint:gosec // as on the wire

func (r *fields) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
