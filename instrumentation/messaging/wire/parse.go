package wire

import (
	"encoding/binary"
	"time"
)

// maxListed bounds the topics and partitions read of one frame.
const maxListed = 1 << 16

type fetchQ struct {
	key    partitionKey
	offset int64
}

// answer is what a produce answer says of one partition.
type answer struct {
	topic     string
	topicID   [16]byte
	partition int32
	code      int16
	offset    int64
	appended  int64 // ms, -1 without LogAppendTime
}

type topicName struct {
	name string
	id   [16]byte
}

// fields reads protocol fields off b and remembers whether it ran out.
type fields struct {
	b        []byte
	flexible bool
	short    bool
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

func (r *fields) int16() int16 {
	if b := r.bytes(2); b != nil {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // as on the wire
	}
	return 0
}

func (r *fields) int32() int32 {
	if b := r.bytes(4); b != nil {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // as on the wire
	}
	return 0
}

func (r *fields) int64() int64 {
	if b := r.bytes(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // as on the wire
	}
	return 0
}

func (r *fields) id() (id [16]byte) {
	copy(id[:], r.bytes(16))
	return id
}

func (r *fields) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > maxFrame {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int(v) //nolint:gosec // bounded above
}

// text reads a string or a nullable one; null is empty.
func (r *fields) text() []byte {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int16())
	}
	if n < 0 {
		return nil
	}
	return r.bytes(n)
}

func (r *fields) blob() []byte {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int32())
	}
	if n < 0 {
		return nil
	}
	return r.bytes(n)
}

// list reads the length of an array; null is empty.
func (r *fields) list() int {
	var n int
	if r.flexible {
		n = r.uvarint() - 1
	} else {
		n = int(r.int32())
	}
	if n > maxListed || n > len(r.b) {
		r.short, r.b = true, nil
		return 0
	}
	return max(n, 0)
}

func (r *fields) tags() {
	if !r.flexible {
		return
	}
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		r.uvarint()
		r.skip(r.uvarint())
	}
}

// done reports whether all was read and nothing is left.
func (r *fields) done() bool { return !r.short && len(r.b) == 0 }

// header reads what precedes a request's own fields.
func (r *fields) header(flexible bool) {
	r.skip(2 + 2 + 4)
	if n := r.int16(); n > 0 { // the client id is never compact
		r.skip(int(n))
	}
	r.flexible = flexible
	r.tags()
}

// parseProduce reads a produce request of version 3 to 13.
func parseProduce(b []byte, x *exchange) bool {
	if x.version < 3 || x.version > 13 {
		return false
	}
	r := fields{b: b}
	r.header(x.version >= 9)
	r.text()          // transactional id
	acks := r.int16() // 0: no answer will come
	r.skip(4)         // timeout
	for n := r.list(); n > 0 && !r.short; n-- {
		var topic string
		var id [16]byte
		if x.version >= 13 {
			id = r.id()
		} else {
			topic = string(r.text())
		}
		for m := r.list(); m > 0 && !r.short; m-- {
			partition := r.int32()
			batch := r.blob()
			r.tags()
			crc, records := parseBatch(batch)
			if acks != 0 {
				x.batches = append(x.batches, sent{
					key: partitionKey{topic, partition}, topicID: id, crc: crc, records: records,
				})
			}
		}
		r.tags()
	}
	r.tags()
	return r.done()
}

// parseBatch reads the checksum and the number of records of a record batch of
// format 2; zero records when it is anything else.
func parseBatch(b []byte) (crc uint32, records int32) {
	const head = 61
	if len(b) < head || b[16] != 2 || int64(binary.BigEndian.Uint32(b[8:])) != int64(len(b)-12) {
		return 0, 0
	}
	n := binary.BigEndian.Uint32(b[57:])
	if n == 0 || n > maxFrame || binary.BigEndian.Uint32(b[23:]) != n-1 {
		return 0, 0
	}
	return binary.BigEndian.Uint32(b[17:]), int32(n) //nolint:gosec // bounded above
}

// parseProduceAnswer reads an answer without its correlation id.
func parseProduceAnswer(b []byte, version uint16) (answers []answer, throttle time.Duration, ok bool) {
	r := fields{b: b, flexible: version >= 9}
	r.tags()
	for n := r.list(); n > 0 && !r.short; n-- {
		var topic string
		var id [16]byte
		if version >= 13 {
			id = r.id()
		} else {
			topic = string(r.text())
		}
		for m := r.list(); m > 0 && !r.short; m-- {
			a := answer{topic: topic, topicID: id, partition: r.int32(), code: r.int16(), offset: r.int64(), appended: r.int64()}
			if version >= 5 {
				r.skip(8) // log start offset
			}
			if version >= 8 {
				for k := r.list(); k > 0 && !r.short; k-- {
					r.skip(4)
					r.text()
					r.tags()
				}
				r.text() // error message
			}
			r.tags()
			answers = append(answers, a)
		}
		r.tags()
	}
	throttle = time.Duration(r.int32()) * time.Millisecond
	r.tags()
	return answers, throttle, r.done()
}

// parseFetch reads a fetch request of version 4 to 12 outside of a session.
func parseFetch(b []byte, x *exchange) bool {
	if x.version < 4 || x.version > 12 {
		return false
	}
	r := fields{b: b}
	r.header(x.version >= 12)
	if r.int32() != -1 { // a consumer
		return false
	}
	r.skip(4 + 4 + 4 + 1) // max wait, min bytes, max bytes, isolation level
	if x.version >= 7 {
		r.skip(4)          // session id
		if r.int32() > 0 { // session epoch
			return false
		}
	}
	for n := r.list(); n > 0 && !r.short; n-- {
		topic := string(r.text())
		for m := r.list(); m > 0 && !r.short; m-- {
			q := fetchQ{key: partitionKey{topic, r.int32()}}
			if x.version >= 9 {
				r.skip(4) // leader epoch
			}
			q.offset = r.int64()
			if x.version >= 12 {
				r.skip(4) // last fetched epoch
			}
			if x.version >= 5 {
				r.skip(8) // log start offset
			}
			r.skip(4) // partition max bytes
			r.tags()
			x.fetches = append(x.fetches, q)
		}
		r.tags()
	}
	if x.version >= 7 {
		for n := r.list(); n > 0 && !r.short; n-- {
			r.text()
			for m := r.list(); m > 0 && !r.short; m-- {
				r.skip(4)
			}
			r.tags()
		}
	}
	if x.version >= 11 {
		r.text() // rack
	}
	r.tags()
	return r.done()
}

// parseMetadataAnswer reads an answer of version 10 to 13 without its correlation
// id, for the ids of topics.
func parseMetadataAnswer(b []byte, version uint16) (names []topicName, ok bool) {
	if version > 13 {
		return nil, false
	}
	r := fields{b: b, flexible: true}
	r.tags()
	r.skip(4) // throttle
	for n := r.list(); n > 0 && !r.short; n-- {
		r.skip(4)
		r.text()
		r.skip(4)
		r.text()
		r.tags()
	}
	r.text()  // cluster id
	r.skip(4) // controller
	for n := r.list(); n > 0 && !r.short; n-- {
		code, name, id := r.int16(), string(r.text()), r.id()
		r.skip(1) // internal
		for m := r.list(); m > 0 && !r.short; m-- {
			r.skip(2 + 4 + 4 + 4)
			for range 3 { // replicas, in sync, offline
				r.skip(4 * r.list())
			}
			r.tags()
		}
		r.skip(4) // authorized operations
		r.tags()
		if code == 0 && name != "" && id != ([16]byte{}) {
			names = append(names, topicName{name, id})
		}
	}
	if version == 10 {
		r.skip(4) // cluster authorized operations
	}
	if version >= 13 {
		r.skip(2) // error code
	}
	r.tags()
	return names, r.done()
}

// parseCommit reads an offset commit request of version 2 to 10.
func parseCommit(b []byte, x *exchange) bool {
	if x.version < 2 || x.version > 10 {
		return false
	}
	r := fields{b: b}
	r.header(x.version >= 8)
	c := &Commit{Group: string(r.text())}
	r.skip(4) // generation
	c.Member = string(r.text())
	if x.version >= 7 {
		r.text() // instance id
	}
	if x.version <= 4 {
		r.skip(8) // retention
	}
	for n := r.list(); n > 0 && !r.short; n-- {
		var topic string
		var id [16]byte
		if x.version >= 10 {
			id = r.id()
		} else {
			topic = string(r.text())
		}
		for m := r.list(); m > 0 && !r.short; m-- {
			o := Offset{Topic: topic, Partition: r.int32(), Next: r.int64(), topicID: id}
			if x.version >= 6 {
				r.skip(4) // leader epoch
			}
			r.text() // metadata
			r.tags()
			c.Offsets = append(c.Offsets, o)
		}
		r.tags()
	}
	r.tags()
	x.commit = c
	return r.done()
}

// parseCommitAnswer returns the first error code of an answer without its
// correlation id.
func parseCommitAnswer(b []byte, version uint16) (code int16, ok bool) {
	r := fields{b: b, flexible: version >= 8}
	r.tags()
	if version >= 3 {
		r.skip(4) // throttle
	}
	for n := r.list(); n > 0 && !r.short; n-- {
		if version >= 10 {
			r.skip(16)
		} else {
			r.text()
		}
		for m := r.list(); m > 0 && !r.short; m-- {
			r.skip(4)
			if e := r.int16(); e != 0 && code == 0 {
				code = e
			}
			r.tags()
		}
		r.tags()
	}
	r.tags()
	return code, r.done()
}
