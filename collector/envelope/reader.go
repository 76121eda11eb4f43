package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/schemas"
)

// ErrMalformed means that the envelope breaks the grammar.
var ErrMalformed = errors.New("invalid envelope")

// Bounds of headers.
const (
	maxHeaderBytes = 64 << 10
	maxHeaderDepth = 32
)

// Header is the first line of an envelope.
type Header struct {
	EventID schemas.EventID // zero when there is none
	DSN     string
	SentAt  time.Time // by the sender's clock; zero when it does not say
}

// ItemHeader is the line in front of an item.
type ItemHeader struct {
	Type           string
	Length         int64 // of the payload in bytes; negative: up to the line's end
	ContentType    string
	AttachmentType string
	Filename       string
	ItemCount      int64  // of a container; negative when it does not say
	Release        string // of a raw security report
	Environment    string
}

// Reader reads an envelope from its body, one item at a time and none of them
// whole unless asked:
//
//	envelope = header "\n" *item
//	item     = header "\n" payload ( "\n" | EOF )
//
// A payload is as long as its header says, or reaches to the next line's end.
// What breaks this is an ErrMalformed; errors of the body come as they are. A
// Reader belongs to one goroutine.
type Reader struct {
	src      io.Reader
	buf      []byte
	pos, end int
	err      error // of src; it stays

	items    int
	maxItems int
	open     bool  // an item's payload is not read to its end
	length   int64 // of that payload, as told; negative when not
	left     int64 // of it, when told
}

var buffers = sync.Pool{New: func() any { return new([maxHeaderBytes + 1]byte) }}

// NewReader reads src and takes at most maxItems. Close gives its buffer of
// BufferBytes back.
func NewReader(src io.Reader, maxItems int) *Reader {
	return &Reader{src: src, buf: buffers.Get().(*[maxHeaderBytes + 1]byte)[:], maxItems: maxItems}
}

// BufferBytes is the memory of a Reader.
const BufferBytes = maxHeaderBytes + 1

// Close ends the use of the reader.
func (r *Reader) Close() {
	if r.buf != nil {
		buffers.Put((*[maxHeaderBytes + 1]byte)(r.buf))
		r.buf, r.src, r.err = nil, nil, errors.New("the envelope's reader is closed")
	}
}

// Items is how many items have begun.
func (r *Reader) Items() int { return r.items }

// fill reads more into the buffer, which must not be full. It leaves r.err when
// there is no more.
func (r *Reader) fill() {
	if r.pos > 0 {
		copy(r.buf, r.buf[r.pos:r.end])
		r.end -= r.pos
		r.pos = 0
	}
	for range 100 {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		if err != nil {
			r.err = err
		}
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// line gives the next line without its end. It aliases the buffer until the
// next call. what names it in errors.
func (r *Reader) line(what string) ([]byte, error) {
	for searched := 0; ; {
		if i := bytes.IndexByte(r.buf[r.pos+searched:r.end], '\n'); i >= 0 {
			line := r.buf[r.pos : r.pos+searched+i]
			r.pos += searched + i + 1
			return line, nil
		}
		searched = r.end - r.pos
		if searched > maxHeaderBytes {
			return nil, &bound.TooLargeError{What: what, Limit: maxHeaderBytes}
		}
		if r.err == nil {
			r.fill()
			continue
		}
		if !errors.Is(r.err, io.EOF) {
			return nil, r.err
		}
		line := r.buf[r.pos:r.end]
		r.pos = r.end
		return line, nil
	}
}

// Header reads the envelope's header. It must be called first, and once.
func (r *Reader) Header() (Header, error) {
	line, err := r.line("the envelope's header")
	if err != nil {
		return Header{}, err
	}
	h, err := parseHeader(line)
	if err != nil {
		return Header{}, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return h, nil
}

// Next reads the header of the next item, and skips what is left of the one
// before. It fails with io.EOF at the end, and with a *bound.TooLargeError when
// there are too many.
func (r *Reader) Next() (ItemHeader, error) {
	if err := r.skip(); err != nil {
		return ItemHeader{}, err
	}
	for { // SDKs write empty lines between items and at the end
		for r.pos < r.end && r.buf[r.pos] == '\n' {
			r.pos++
		}
		if r.pos < r.end {
			break
		}
		if r.err != nil {
			return ItemHeader{}, r.err
		}
		r.fill()
	}
	if r.items == r.maxItems {
		return ItemHeader{}, &bound.TooLargeError{What: "the number of items", Limit: int64(r.maxItems), Unit: "items"}
	}
	line, err := r.line("an item's header")
	if err != nil {
		return ItemHeader{}, err
	}
	h, err := parseItemHeader(line)
	if err != nil {
		return ItemHeader{}, r.malformed(err)
	}
	r.items++
	r.open, r.length, r.left = true, h.Length, h.Length
	return h, nil
}

func (r *Reader) malformed(err error) error {
	item := r.items
	if r.open {
		item--
	}
	return fmt.Errorf("%w: item %d: %w", ErrMalformed, item, err)
}

// Read reads the item's payload; io.EOF is its end.
func (r *Reader) Read(p []byte) (int, error) {
	if !r.open {
		return 0, io.EOF
	}
	if r.length < 0 {
		return r.readLine(p)
	}
	if r.left == 0 {
		return 0, r.close()
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.pos == r.end && r.err == nil {
		if len(p) >= len(r.buf) { // no need to copy it twice
			n, err := r.src.Read(p)
			r.left -= int64(n)
			if err != nil {
				r.err = err
			}
			if n > 0 || err == nil {
				return n, nil
			}
		} else {
			r.fill()
		}
	}
	if r.pos == r.end {
		if r.err == nil {
			return 0, nil
		}
		if !errors.Is(r.err, io.EOF) {
			return 0, r.err
		}
		return 0, r.malformed(fmt.Errorf("length is %d where %d bytes are left", r.length, r.length-r.left))
	}
	n := copy(p, r.buf[r.pos:r.end])
	r.pos += n
	r.left -= int64(n)
	return n, nil
}

// readLine reads a payload whose length is not told.
func (r *Reader) readLine(p []byte) (int, error) {
	if r.pos == r.end && r.err == nil {
		r.fill()
	}
	if r.pos == r.end {
		if r.err == nil {
			return 0, nil
		}
		if !errors.Is(r.err, io.EOF) {
			return 0, r.err
		}
		r.open = false
		return 0, io.EOF
	}
	have := r.buf[r.pos:r.end]
	end := bytes.IndexByte(have, '\n')
	if end >= 0 {
		have = have[:end]
	}
	n := copy(p, have)
	r.pos += n
	if end >= 0 && n == end {
		r.pos++
		r.open = false
		return n, io.EOF
	}
	return n, nil
}

// close reads the line's end behind a payload whose length was told.
func (r *Reader) close() error {
	if r.pos == r.end && r.err == nil {
		r.fill()
	}
	switch {
	case r.pos < r.end && r.buf[r.pos] == '\n':
		r.pos++
	case r.pos < r.end:
		return r.malformed(fmt.Errorf("no line end after the %d bytes of its payload", r.length))
	case !errors.Is(r.err, io.EOF):
		return r.err
	}
	r.open = false
	return io.EOF
}

// skip passes over what is left of a payload.
func (r *Reader) skip() error {
	for r.open {
		if r.length < 0 || r.left == 0 {
			// As Read does, into nothing.
			if r.length >= 0 {
				if err := r.close(); err != io.EOF { //nolint:errorlint // close gives it bare
					return err
				}
				return nil
			}
			if r.pos == r.end && r.err == nil {
				r.fill()
			}
			if r.pos == r.end {
				if !errors.Is(r.err, io.EOF) {
					return r.err
				}
				r.open = false
				return nil
			}
			if i := bytes.IndexByte(r.buf[r.pos:r.end], '\n'); i >= 0 {
				r.pos += i + 1
				r.open = false
				return nil
			}
			r.pos = r.end
			continue
		}
		if r.pos == r.end && r.err == nil {
			r.fill()
		}
		if r.pos == r.end {
			if !errors.Is(r.err, io.EOF) {
				return r.err
			}
			return r.malformed(fmt.Errorf("length is %d where %d bytes are left", r.length, r.length-r.left))
		}
		n := min(r.left, int64(r.end-r.pos))
		r.pos += int(n)
		r.left -= n
	}
	return nil
}

// Payload reads the item's payload whole, behind dst, whose room it uses, and
// takes what memory it adds from the lease. It fails with a
// *bound.TooLargeError that names what when there are more than limit bytes;
// the rest is then left to skip.
func (r *Reader) Payload(dst []byte, what string, limit int, lease *bound.Lease) ([]byte, error) {
	if r.length > int64(limit) {
		return dst, &bound.TooLargeError{What: what, Limit: int64(limit)}
	}
	return readWhole(r, dst, r.length, what, limit, lease)
}

// firstRead is what is read before a length is believed.
const firstRead = 64 << 10

// readWhole reads src to its end. length is what it is said to have, negative
// when nothing is said.
func readWhole(src io.Reader, dst []byte, length int64, what string, limit int, lease *bound.Lease) ([]byte, error) {
	begin := len(dst)
	for {
		if len(dst) == cap(dst) {
			more := 2 * cap(dst)
			if length >= 0 && more > begin+int(length)+1 {
				more = begin + int(length) + 1 // one more, to see the end without growing
			}
			more = max(min(more, begin+limit+1), cap(dst)+512)
			if cap(dst) == 0 {
				more = firstRead
				if length >= 0 {
					more = int(min(length, firstRead)) + 1
				}
			}
			if err := lease.Grow(more - cap(dst)); err != nil {
				return dst, err
			}
			grown := make([]byte, len(dst), more)
			copy(grown, dst)
			dst = grown
		}
		n, err := src.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-begin > limit {
			return dst, &bound.TooLargeError{What: what, Limit: int64(limit)}
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func parseHeader(line []byte) (Header, error) {
	var h Header
	sentAt := false
	err := bound.Members(line, maxHeaderDepth, func(key, value []byte) error {
		switch string(key) {
		case "event_id":
			if isNull(value) {
				return nil
			}
			s, ok := bound.Text(value)
			if !ok {
				return errors.New("event_id is no string")
			}
			id, err := ParseID(s)
			h.EventID = id
			return err
		case "dsn":
			if isNull(value) {
				return nil
			}
			s, ok := bound.Text(value)
			if !ok {
				return errors.New("dsn is no string")
			}
			h.DSN = s
		case "sent_at":
			if sentAt {
				return errors.New("sent_at stands twice")
			}
			sentAt = true
			h.SentAt = timeOf(value)
		}
		return nil
	})
	return h, err
}

// timeOf reads a time as SDKs write it: RFC 3339, or seconds as a number. Zero
// when it is neither.
func timeOf(value []byte) time.Time {
	if s, ok := bound.Text(value); ok {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return time.Time{}
		}
		return t.UTC()
	}
	s, err := strconv.ParseFloat(string(value), 64)
	if err != nil || s <= 0 || s > 1<<33 {
		return time.Time{}
	}
	return time.Unix(0, int64(s*1e9)).UTC()
}

// ParseID reads an event id: a UUID with or without dashes.
func ParseID(s string) (schemas.EventID, error) {
	var id schemas.EventID
	digits := s
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		digits = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(digits) != 32 {
		return id, fmt.Errorf("event id %q is no UUID", clip(s, 64))
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return schemas.EventID{}, fmt.Errorf("event id %q is no UUID", clip(s, 64))
	}
	return id, nil
}

func parseItemHeader(line []byte) (ItemHeader, error) {
	h := ItemHeader{Length: -1, ItemCount: -1}
	sentAt := false
	err := bound.Members(line, maxHeaderDepth, func(key, value []byte) error {
		var ok bool
		switch string(key) {
		case "type":
			if len(value) > 2 && value[0] == '"' {
				if k, known := kinds[string(value[1:len(value)-1])]; known {
					h.Type = k.name
					return nil
				}
			}
			if h.Type, ok = bound.Text(value); !ok {
				return errors.New("type is no string")
			}
		case "length":
			return wholeNumber("length", value, &h.Length)
		case "item_count":
			return wholeNumber("item_count", value, &h.ItemCount)
		case "content_type":
			h.ContentType, _ = bound.Text(value)
		case "attachment_type":
			h.AttachmentType, _ = bound.Text(value)
		case "filename":
			h.Filename, _ = bound.Text(value)
		case "sentry_release":
			h.Release, _ = bound.Text(value)
		case "sentry_environment":
			h.Environment, _ = bound.Text(value)
		case "sent_at":
			if sentAt {
				return errors.New("sent_at stands twice")
			}
			sentAt = true
		}
		return nil
	})
	if err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if h.Type == "" {
		return h, errors.New("header has no type")
	}
	return h, nil
}

func wholeNumber(name string, value []byte, to *int64) error {
	if isNull(value) {
		return nil
	}
	n := int64(0)
	for _, c := range value {
		if c < '0' || c > '9' || n > (math.MaxInt64-int64(c-'0'))/10 {
			return fmt.Errorf("%s %s is no whole number", name, clip(string(value), 40))
		}
		n = 10*n + int64(c-'0')
	}
	*to = n
	return nil
}

func isNull(value []byte) bool { return string(value) == "null" }

// idOf is the event id that the member named so of a JSON object has; zero when
// there is none or it is no id.
func idOf(object []byte, name string) (id schemas.EventID) {
	_ = bound.Members(object, maxEventDepth, func(key, value []byte) error {
		if string(key) == name {
			if s, ok := bound.Text(value); ok {
				id, _ = ParseID(s)
			}
		}
		return nil
	})
	return id
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// object builds a JSON object of ours from strings and raw JSON.
type object []byte

func (o object) raw(key string, value []byte) object {
	if len(o) == 0 {
		o = append(o, '{')
	} else {
		o = append(o, ',')
	}
	o = appendText(o, key)
	o = append(o, ':')
	return append(o, value...)
}

func (o object) text(key, value string) object {
	if value == "" {
		return o
	}
	return o.raw(key, appendText(nil, value))
}

func (o object) end() []byte {
	if len(o) == 0 {
		return []byte("{}")
	}
	return append(o, '}')
}

func appendText(dst []byte, s string) []byte {
	b, _ := json.Marshal(s) // a string always marshals
	return append(dst, b...)
}
