package bound

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

func compressed(t testing.TB, encoding string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "bare deflate":
		w, err = flate.NewWriter(&b, 6)
	case "br":
		w = brotli.NewWriterLevel(&b, 1)
	case "zstd":
		w, err = zstd.NewWriter(&b)
	default:
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var all = []string{"", "identity", "UTF-8", "gzip", "x-gzip", "deflate", "bare deflate", "br", "zstd"}

// read gives body to Read as a request, with or without its length told.
func read(b Body, encoding string, body []byte, chunked bool, budget *Budget) ([]byte, int64, error) {
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	if chunked {
		req.ContentLength = -1
	}
	req.Header.Set("Content-Encoding", strings.TrimPrefix(encoding, "bare "))
	lease, err := budget.Lease(0)
	if err != nil {
		return nil, 0, err
	}
	defer lease.Release()
	return b.Read(httptest.NewRecorder(), req, lease)
}

func TestBodiesAreReadInEveryEncoding(t *testing.T) {
	budget := NewBudget(64 << 20)
	for _, size := range []int{0, 1, 100, firstChunk - 1, firstChunk, firstChunk + 1, 150 << 10} {
		want := []byte(strings.Repeat("hoptrace ", size/9+1)[:size])
		for _, encoding := range all {
			for _, chunked := range []bool{false, true} {
				sent := compressed(t, encoding, want)
				got, wire, err := read(Body{MaxBytes: 2 << 20, MaxDecompressed: 2 << 20}, encoding, sent, chunked, budget)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%q, %d bytes, chunked %v: got %d bytes, %v", encoding, size, chunked, len(got), err)
				}
				if wire != int64(len(sent)) {
					t.Errorf("%q: %d bytes counted of %d", encoding, wire, len(sent))
				}
			}
		}
	}
	if n := budget.InFlight(); n != 0 {
		t.Errorf("%d bytes are still in flight", n)
	}
}

func TestABombIsRefusedInLittleMemory(t *testing.T) {
	huge := make([]byte, 24<<20)
	for _, encoding := range all[3:] {
		bomb := compressed(t, encoding, huge)
		if len(bomb) > 1<<20 {
			t.Fatalf("%s: %d bytes are no bomb", encoding, len(bomb))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 256 << 10}, encoding, bomb, true, NewBudget(64<<20))
		runtime.ReadMemStats(&after)
		if e, ok := errors.AsType[*TooLargeError](err); !ok || e.Limit != 256<<10 || e.What != "decompressed body" {
			t.Errorf("%s: %v; want a TooLargeError", encoding, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d bytes were allocated for a limit of 256 KiB", encoding, n)
		}
	}
}

func TestABodyOverTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	counting := &counted{r: bytes.NewReader(make([]byte, 4<<20))}
	req := httptest.NewRequest(http.MethodPost, "/", counting)
	req.ContentLength = 100 << 20
	lease, _ := NewBudget(1 << 30).Lease(0)
	_, _, err := Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}.Read(httptest.NewRecorder(), req, lease)
	if e, ok := errors.AsType[*TooLargeError](err); !ok || e.What != "body" {
		t.Errorf("got %v; want a TooLargeError", err)
	}
	if counting.n != 0 {
		t.Errorf("%d bytes were read", counting.n)
	}
	// Without a length, one byte over the limit is enough to know.
	req.ContentLength = -1
	_, wire, err := Body{MaxBytes: 1 << 20, MaxDecompressed: 8 << 20}.Read(httptest.NewRecorder(), req, lease)
	if e, ok := errors.AsType[*TooLargeError](err); !ok || e.What != "body" || wire > 1<<20 {
		t.Errorf("got %v after %d bytes; want a TooLargeError at 1 MiB", err, wire)
	}
}

func TestBrokenBodiesAreToldApart(t *testing.T) {
	budget := NewBudget(64 << 20)
	body := []byte(strings.Repeat("hoptrace ", 1000))
	for _, encoding := range all[3:] {
		whole := compressed(t, encoding, body)
		for name, broken := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": {}, "other": []byte("this is no such stream, surely")} {
			_, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}, encoding, broken, true, budget)
			if encoding == "br" && name == "empty" || encoding == "zstd" && name == "empty" {
				continue // may pass for an empty body
			}
			if _, ok := errors.AsType[*CorruptError](err); !ok {
				t.Errorf("%s, %s: %v; want a CorruptError", encoding, name, err)
			}
		}
		// The pooled decoders still work.
		if got, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}, encoding, whole, true, budget); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%s after broken ones: %d bytes, %v", encoding, len(got), err)
		}
	}
	_, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}, "snappy", body, true, budget)
	if e, ok := errors.AsType[*EncodingError](err); !ok || !strings.Contains(e.Error(), `"snappy" is not supported; use gzip`) {
		t.Errorf("snappy: %v; want an EncodingError", err)
	}
	if n := budget.InFlight(); n != 0 {
		t.Errorf("%d bytes are still in flight", n)
	}
}

func TestWhenTheBudgetIsUsedUpABodyIsRefused(t *testing.T) {
	budget := NewBudget(1 << 20)
	other, err := budget.Lease(900 << 10)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, 500<<10)
	if _, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}, "", body, true, budget); !errors.Is(err, ErrOverload) {
		t.Errorf("got %v; want ErrOverload", err)
	}
	if n := budget.InFlight(); n != 900<<10 {
		t.Errorf("%d bytes are in flight; want those of the other", n)
	}
	other.Release()
	other.Release()
	if _, _, err := read(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 20}, "", body, false, budget); err != nil {
		t.Errorf("after it was given back: %v", err)
	}
}

func TestUnzlibIsBounded(t *testing.T) {
	data := bytes.Repeat([]byte("a"), 1000)
	z := compressed(t, "deflate", data)
	if got, err := Unzlib(z, 1000); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if _, err := Unzlib(z, 999); err == nil {
		t.Error("a byte more than the limit passed")
	}
	if _, err := Unzlib(z[:10], 1000); err == nil {
		t.Error("a cut stream passed")
	}
	if _, err := Unzlib(nil, 1000); err == nil {
		t.Error("nothing passed")
	}
}

func TestAStreamIsBoundedByWhatCame(t *testing.T) {
	zeroes := make([]byte, 64<<20)
	for _, encoding := range []string{"gzip", "deflate", "bare deflate", "br", "zstd"} {
		f := func(b Body, want string) {
			t.Helper()
			req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(compressed(t, encoding, zeroes)))
			req.Header.Set("Content-Encoding", strings.TrimPrefix(encoding, "bare "))
			s, err := b.Open(httptest.NewRecorder(), req)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			n, err := io.Copy(io.Discard, s)
			if _, ok := errors.AsType[*TooLargeError](err); !ok || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v after %d bytes; want %q", encoding, err, n, want)
			}
			if n > 6<<20 {
				t.Errorf("%s: %d bytes came out", encoding, n)
			}
			if _, again := s.Read(make([]byte, 1)); again == nil || again.Error() != err.Error() {
				t.Errorf("%s: reading on gives %v; want %v", encoding, again, err)
			}
		}
		f(Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 30, MaxRatio: 100}, "larger than 100 times what came")
		f(Body{MaxBytes: 1 << 20, MaxDecompressed: 5 << 20}, "larger than 5242880 bytes")
	}
	// Ordinary text is far below, and a small body may be nothing but repeats.
	for _, data := range [][]byte{event(8 << 20)[:5<<20], zeroes[:3<<20]} {
		req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(compressed(t, "gzip", data)))
		req.Header.Set("Content-Encoding", "gzip")
		s, err := Body{MaxBytes: 1 << 20, MaxDecompressed: 1 << 30, MaxRatio: 100}.Open(httptest.NewRecorder(), req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, s); err != nil || n != int64(len(data)) {
			t.Errorf("%d bytes, %v; want %d", n, err, len(data))
		}
		s.Close()
		s.Close()
	}
}
