package bound

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// TooLargeError tells which bound a body exceeds.
type TooLargeError struct {
	What  string // "body", "decompressed body", "event"
	Limit int64
	Unit  string // empty means bytes
}

// Error says both.
func (e *TooLargeError) Error() string {
	unit := e.Unit
	if unit == "" {
		unit = "bytes"
	}
	return fmt.Sprintf("%s is larger than %d %s", e.What, e.Limit, unit)
}

// EncodingError means that the Content-Encoding is not one that is understood.
type EncodingError struct{ Encoding string }

// Error names it and what is understood.
func (e *EncodingError) Error() string {
	return fmt.Sprintf("content encoding %q is not supported; use gzip, deflate, br or zstd", clip(e.Encoding, 40))
}

// CorruptError means that the body does not decompress, or broke off.
type CorruptError struct {
	Encoding string // "identity" when it was not compressed
	Err      error
}

// Error tells what did not work.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("cannot read the %s body: %v", e.Encoding, e.Err)
}

// Unwrap gives the reader's error.
func (e *CorruptError) Unwrap() error { return e.Err }

// Body says how much of a request's body is taken.
type Body struct {
	MaxBytes        int64 // as it comes
	MaxDecompressed int64 // as it is
	// MaxRatio bounds how many times larger it may be than it came, once it is
	// larger than ratioFrom. Zero: as MaxDecompressed says.
	MaxRatio int64
}

// ratioFrom spares small bodies, which may be nothing but repeats.
const ratioFrom = 4 << 20

// Stream is a request's body, decompressed as it is read. Its errors are those
// of [Body.Read] and stay. It belongs to one goroutine.
type Stream struct {
	src      io.Reader
	wire     *counted
	done     func()
	encoding string
	limits   Body
	n        int64
	err      error
}

// Open begins to read r's body by its Content-Encoding. It fails with a
// *TooLargeError, *EncodingError or *CorruptError; otherwise the stream must be
// closed, which reads no more of the body.
func (b Body) Open(w http.ResponseWriter, r *http.Request) (*Stream, error) {
	if r.ContentLength > b.MaxBytes {
		// The rest is not worth reading: the connection is closed behind the answer.
		w.Header().Set("Connection", "close")
		return nil, &TooLargeError{What: "body", Limit: b.MaxBytes}
	}
	s := &Stream{
		wire: &counted{r: http.MaxBytesReader(w, r.Body, b.MaxBytes)}, limits: b,
		encoding: strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))),
	}
	src, done, err := decompressor(s.encoding, s.wire)
	if err != nil {
		return nil, s.classify(err)
	}
	s.src, s.done = src, done
	return s, nil
}

// Read reads decompressed bytes.
func (s *Stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if room := s.limits.MaxDecompressed + 1 - s.n; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := s.src.Read(p)
	s.n += int64(n)
	switch {
	case s.n > s.limits.MaxDecompressed:
		s.err = &TooLargeError{What: "decompressed body", Limit: s.limits.MaxDecompressed}
	case s.limits.MaxRatio > 0 && s.n > ratioFrom && s.n/s.limits.MaxRatio > s.wire.n:
		s.err = &TooLargeError{What: "decompressed body", Limit: s.limits.MaxRatio, Unit: "times what came"}
	case errors.Is(err, io.EOF):
		s.err = io.EOF
	case err != nil:
		s.err = s.classify(err)
	}
	return n, s.err
}

// Wire is how many bytes came so far.
func (s *Stream) Wire() int64 { return s.wire.n }

// Close gives the decompressor back. It may be called twice.
func (s *Stream) Close() {
	if s.done == nil {
		return
	}
	s.done()
	s.done = nil
	if s.err == nil {
		s.err = errors.New("the body is closed")
	}
}

// classify turns what a reader says into the errors that Body tells of.
func (s *Stream) classify(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &TooLargeError{What: "body", Limit: s.limits.MaxBytes}
	}
	if _, ok := errors.AsType[*TooLargeError](err); ok || errors.Is(err, ErrOverload) {
		return err
	}
	if _, ok := errors.AsType[*EncodingError](err); ok {
		return err
	}
	encoding := s.encoding
	if encoding == "" {
		encoding = "identity"
	}
	return &CorruptError{encoding, err}
}

// Read reads r's body whole, decompressed by its Content-Encoding, and takes
// its memory from the lease as it comes, so that a body that only claims to be
// large costs nothing. It fails with a *TooLargeError, *EncodingError,
// *CorruptError or ErrOverload. wire is how many bytes came.
func (b Body) Read(w http.ResponseWriter, r *http.Request, lease *Lease) (data []byte, wire int64, err error) {
	s, err := b.Open(w, r)
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	hint := int64(0)
	if s.src == io.Reader(s.wire) {
		hint = r.ContentLength
	}
	data, err = readAll(s, b.MaxDecompressed, hint, lease)
	return data, s.wire.n, err
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

var (
	gzipReaders sync.Pool // *gzip.Reader
	zstdReaders sync.Pool // *zstd.Decoder, each with one goroutine's work and no goroutine
)

// maxWindow bounds what a zstd frame may ask a decoder to keep.
const maxWindow = 8 << 20

// decompressor opens the encoding. Empty and UTF-8 values come from old
// sentry-ruby and sentry-java and mean nothing.
func decompressor(encoding string, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch encoding {
	case "", "identity", "utf-8", "utf8":
		return r, nothing, nil
	case "gzip", "x-gzip":
		z, _ := gzipReaders.Get().(*gzip.Reader)
		if z == nil {
			z = new(gzip.Reader)
		}
		back := func() { gzipReaders.Put(z) }
		if err := z.Reset(r); err != nil {
			back()
			return nil, nil, noEOF(err)
		}
		return z, back, nil
	case "deflate":
		return inflate(r)
	case "br":
		return brotli.NewReader(r), nothing, nil
	case "zstd":
		z, _ := zstdReaders.Get().(*zstd.Decoder)
		if z == nil {
			var err error
			if z, err = newZstd(); err != nil {
				return nil, nil, err
			}
		}
		back := func() {
			if z.Reset(nil) == nil {
				zstdReaders.Put(z)
			}
		}
		if err := z.Reset(r); err != nil {
			back()
			return nil, nil, noEOF(err)
		}
		return z, back, nil
	}
	return nil, nil, &EncodingError{encoding}
}

func newZstd() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
}

// inflate reads zlib, which HTTP means by deflate, or the bare deflate stream
// that some clients send instead.
func inflate(r io.Reader) (io.Reader, func(), error) {
	var head [2]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil {
		return nil, nil, noEOF(err)
	}
	whole := io.MultiReader(bytes.NewReader(head[:n]), r)
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		z, err := zlib.NewReader(whole)
		if err != nil {
			return nil, nil, noEOF(err)
		}
		return z, func() { _ = z.Close() }, nil
	}
	z := flate.NewReader(whole)
	return z, func() { _ = z.Close() }, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Unzlib decompresses a zlib stream of at most limit bytes.
func Unzlib(data []byte, limit int64) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, &CorruptError{"zlib", noEOF(err)}
	}
	defer func() { _ = z.Close() }()
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, &CorruptError{"zlib", err}
	}
	if int64(len(out)) > limit {
		return nil, &TooLargeError{What: "decompressed body", Limit: limit}
	}
	return out, nil
}

const firstChunk = 32 << 10

// readAll reads up to limit bytes into one slice that the lease pays for.
func readAll(r io.Reader, limit, hint int64, lease *Lease) ([]byte, error) {
	size := int64(firstChunk)
	if hint > 0 && hint < 1<<20 {
		size = hint + 1 // one more, to see the end without growing
	}
	size = min(size, limit+1)
	if err := lease.Grow(int(size)); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			more := min(2*int64(cap(buf)), limit+1)
			if hint > int64(cap(buf)) {
				more = min(more, hint+1)
			}
			if err := lease.Grow(int(more) - cap(buf)); err != nil {
				return nil, err
			}
			grown := make([]byte, len(buf), more)
			copy(grown, buf)
			buf = grown
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, &TooLargeError{What: "decompressed body", Limit: limit}
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

// Unzstd reads a zstd stream. The decoder is given back at the stream's end or
// first error; one that is not read to there is left to the garbage collector.
func Unzstd(r io.Reader) (io.Reader, error) {
	src, done, err := decompressor("zstd", r)
	if err != nil {
		return nil, err
	}
	return &untilEnd{src, done}, nil
}

type untilEnd struct {
	r    io.Reader
	done func()
}

func (u *untilEnd) Read(p []byte) (int, error) {
	if u.r == nil {
		return 0, io.EOF
	}
	n, err := u.r.Read(p)
	if err != nil {
		u.done()
		u.r = nil
	}
	return n, err
}
