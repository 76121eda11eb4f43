package embeddedclickhouse

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/ClickHouse/ch-go/proto"
)

// source gives the bytes of one block contiguously. Its first error sticks:
// everything after it does nothing, so a walk checks it at the end only.
//
// From raw, the socket, bytes after the block belong to the next packet: what
// was copied ahead is discarded there only once it is known to be ours. From
// zip, whole decompressed frames. With neither, buf is all there is.
type source struct {
	raw   *bufio.Reader
	zip   io.Reader
	ahead int // bytes at the end of buf that raw still has
	buf   []byte
	pos   int
	limit int // of len(buf); 0 when buf is all there is
	err   error
}

func (s *source) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// need makes n more bytes from pos on present in buf.
func (s *source) need(n int) bool {
	if s.err != nil {
		return false
	}
	if n >= 0 && n <= len(s.buf)-s.pos {
		return true
	}
	if s.raw == nil && s.zip == nil {
		s.fail(fmt.Errorf("the block ends early: %w", io.ErrUnexpectedEOF))
		return false
	}
	if n < 0 || n > s.limit-s.pos {
		s.fail(fmt.Errorf("the block has more than %d bytes", s.limit))
		return false
	}
	if err := s.fill(s.pos + n - len(s.buf)); err != nil {
		s.fail(connError{err})
		return false
	}
	return true
}

// fill appends at least k bytes.
func (s *source) fill(k int) error {
	// A length that lies costs no memory before its bytes arrive.
	const step = 1 << 20
	for ; k > step; k -= step {
		if err := s.fill(step); err != nil {
			return err
		}
	}
	have := len(s.buf)
	if cap(s.buf)-have < step {
		grown := make([]byte, have, 2*cap(s.buf)+step)
		copy(grown, s.buf)
		s.buf = grown
	}
	if s.zip != nil {
		n, err := io.ReadAtLeast(s.zip, s.buf[have:have+step], k)
		s.buf = s.buf[:have+n]
		return err
	}
	s.end()
	if k > s.raw.Size()/2 {
		n, err := io.ReadFull(s.raw, s.buf[have:have+k])
		s.buf = s.buf[:have+n]
		return err
	}
	if _, err := s.raw.Peek(k); err != nil {
		return err
	}
	p, err := s.raw.Peek(min(s.raw.Buffered(), step))
	if err != nil {
		return err
	}
	s.buf, s.ahead = append(s.buf, p...), len(p)
	return nil
}

// end takes from raw what was copied ahead, but for the bytes after pos when
// the block is over.
func (s *source) end() {
	if s.ahead > 0 {
		_, _ = s.raw.Discard(s.ahead) // it is buffered, so this cannot fail
		s.ahead = 0
	}
}

// finish ends the block at pos: bytes after it stay in raw.
func (s *source) finish() {
	s.ahead -= min(s.ahead, len(s.buf)-s.pos)
	s.end()
}

func (s *source) skip(n int) bool {
	if !s.need(n) {
		return false
	}
	s.pos += n
	return true
}

// skipEach skips n values of size bytes.
func (s *source) skipEach(n, size int) bool {
	if n > 0 && size > maxResultBytes/n {
		s.fail(fmt.Errorf("a column of %d values of %d bytes is too large", n, size))
		return false
	}
	return s.skip(n * size)
}

func (s *source) byte() byte {
	if !s.skip(1) {
		return 0
	}
	return s.buf[s.pos-1]
}

func (s *source) uint64() uint64 {
	if !s.skip(8) {
		return 0
	}
	return binary.LittleEndian.Uint64(s.buf[s.pos-8:])
}

// count reads a number of values; one too large fails.
func (s *source) count() int {
	n := s.uint64()
	if n > maxResultBytes {
		s.fail(fmt.Errorf("a column has %d values", n))
		return 0
	}
	return int(n) //nolint:gosec // bounded above
}

// varint reads a length or count that is at most limit.
func (s *source) varint(limit int) int {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		b := s.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > uint64(limit) { //nolint:gosec // a limit is positive
				s.fail(fmt.Errorf("a length of %d is more than %d", v, limit))
				return 0
			}
			return int(v) //nolint:gosec // bounded above
		}
	}
	s.fail(fmt.Errorf("a length has more than 64 bits"))
	return 0
}

func (s *source) string(limit int) string {
	n := s.varint(limit)
	if !s.skip(n) {
		return ""
	}
	return string(s.buf[s.pos-n : s.pos])
}

// skipStrings skips n texts, each after its length.
func (s *source) skipStrings(n int) {
	for ; n > 0 && s.err == nil; n-- {
		if s.pos < len(s.buf) && s.buf[s.pos] < 0x80 { // short, and all here
			if e := s.pos + 1 + int(s.buf[s.pos]); e <= len(s.buf) {
				s.pos = e
				continue
			}
		}
		s.skip(s.varint(maxResultBytes))
	}
}

// offsets skips the offsets of n arrays and gives how many elements they
// have together.
func (s *source) offsets(n int) (count int, ok bool) {
	start := s.pos
	if !s.skipEach(n, 8) {
		return 0, false
	}
	// The engine sizes its columns by these, so they are checked: it would
	// take a step down for an array of 2^64 elements.
	var last uint64
	for p := s.buf[start:s.pos]; len(p) >= 8; p = p[8:] {
		v := binary.LittleEndian.Uint64(p)
		if v < last || v > maxResultBytes {
			s.fail(fmt.Errorf("the offsets of an array go from %d to %d", last, v))
			return 0, false
		}
		last = v
	}
	return int(last), true //nolint:gosec // bounded above
}

// blockColumn is one column of a block; its bytes, state prefix and data, lie
// at [start, end) of the source's buffer.
type blockColumn struct {
	name, typ  string
	start, end int
}

// block is the shape of a Native block; its bytes stay where they were read.
type block struct {
	rows    int
	columns []blockColumn
}

// walkBlock reads one block. custom says that every column carries the byte
// of custom serialization, which the wire has and libchdb has not.
func walkBlock(s *source, custom bool) (block, error) {
	var b block
	n := s.varint(maxBlockColumns)
	most := maxBlockRows
	if s.limit == 0 {
		most = maxResultBytes
	}
	b.rows = s.varint(most)
	for i := 0; i < n && s.err == nil; i++ {
		c := blockColumn{name: s.string(maxNameBytes), typ: s.string(maxNameBytes)}
		if custom && s.byte() != 0 {
			s.fail(unwalkableError(short(c.typ) + " in sparse serialization"))
		}
		c.start = s.pos
		if s.err == nil {
			l, err := parseLayout(c.typ)
			if err != nil {
				s.fail(err)
			} else if b.rows > 0 {
				l.prefix(s)
				l.data(s, b.rows)
			}
		}
		c.end = s.pos
		b.columns = append(b.columns, c)
	}
	if s.err != nil {
		return block{}, s.err
	}
	return b, nil
}

// encode appends the block as of a protocol revision, the columns' bytes
// verbatim from data. Revision 0 is libchdb's.
func (b block) encode(dst *proto.Buffer, data []byte, revision int) {
	if proto.FeatureBlockInfo.In(revision) {
		proto.BlockInfo{BucketNum: -1}.Encode(dst)
	}
	dst.PutInt(len(b.columns))
	dst.PutInt(b.rows)
	for _, c := range b.columns {
		dst.PutString(c.name)
		dst.PutString(c.typ)
		if proto.FeatureCustomSerialization.In(revision) {
			dst.PutBool(false)
		}
		dst.Buf = append(dst.Buf, data[c.start:c.end]...)
	}
}

// header is the block without rows.
func (b block) header() block {
	h := block{columns: make([]blockColumn, len(b.columns))}
	for i, c := range b.columns {
		h.columns[i] = blockColumn{name: c.name, typ: c.typ}
	}
	return h
}
