package integration

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// TestHostileSendersDisturbNobody sends what no good client sends while a good
// one goes on: bombs in each encoding, deep JSON, thousands of items, senders
// that take hours for a request. Memory stays bounded, and the good client's
// requests are all answered, not much later than without them.
func TestHostileSendersDisturbNobody(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn, err := url.Parse(h.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	x := &hostile{t: t, h: h, dsn: dsn}
	x.good(20) // the first requests open the project and the topics
	calm := p99(x.good(200))
	before := h.Process.Usage(t)
	t.Logf("undisturbed: p99 %s, %d MiB of memory", calm.Round(time.Millisecond), before.Anonymous>>20)

	check := func(name string, attack func(context.Context, *hostile)) {
		t.Run(name, func(t *testing.T) {
			x := &hostile{t: t, h: h, dsn: dsn}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			done := make(chan struct{})
			go func() {
				defer close(done)
				attack(ctx, x)
			}()
			peak := before.Anonymous
			var slow []time.Duration
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				slow = append(slow, x.good(20)...)
				peak = max(peak, h.Process.Usage(t).Anonymous)
			}
			worst := p99(slow)
			t.Logf("p99 %s of %d requests, at most %d MiB of memory", worst.Round(time.Millisecond), len(slow), peak>>20)
			if grew := peak - before.Anonymous; grew > 400<<20 {
				t.Errorf("memory grew by %d MiB", grew>>20)
			}
			// A request beside four that each cost a core's whole time waits its turn.
			if most := max(20*calm, 2*time.Second); worst > most {
				t.Errorf("the good client's p99 is %s, want at most %s (%s undisturbed)", worst, most, calm)
			}
		})
	}
	for _, encoding := range []string{"gzip", "deflate", "br", "zstd", "attachment"} {
		item := "event"
		name := "bomb " + encoding
		if encoding == "attachment" { // it is streamed, so it comes further
			item, encoding = encoding, "gzip"
		}
		bomb := bombOf(t, encoding, item)
		check(name, func(ctx context.Context, x *hostile) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 10 {
						code, body, err := x.post(ctx, bytes.NewReader(bomb), map[string]string{"Content-Encoding": encoding})
						// The connection may be gone before all of the bomb is sent.
						if err == nil && (code < 400 || code >= 500) {
							x.t.Errorf("a bomb of %d bytes of %s was answered with %d %s", len(bomb), encoding, code, body)
						}
					}
				})
			}
			wg.Wait()
		})
	}
	check("deep JSON", func(ctx context.Context, x *hostile) {
		for depth, want := range map[int]int{64: http.StatusOK, 100_000: http.StatusBadRequest} {
			value := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
			id := fmt.Sprintf("%032x", depth)
			body := `{"event_id":"` + id + `"}` + "\n" + `{"type":"event"}` + "\n" + `{"event_id":"` + id + `","message":"deep","extra":{"deep":` + value + "}}\n"
			code, text, err := x.post(ctx, strings.NewReader(body), nil)
			if err != nil || code != want {
				x.t.Errorf("depth %d was answered with %d %s, %v; want %d", depth, code, text, err, want)
			}
		}
	})
	check("10,000 items", func(ctx context.Context, x *hostile) {
		var body bytes.Buffer
		body.WriteString("{}\n")
		for i := range 10_000 {
			fmt.Fprintf(&body, "{\"type\":\"event\"}\n{\"event_id\":\"%032x\",\"message\":\"one of many\"}\n", i+1)
		}
		code, text, err := x.post(ctx, &body, nil)
		if err != nil || code != http.StatusBadRequest && code != http.StatusRequestEntityTooLarge {
			x.t.Errorf("10,000 events in one envelope were answered with %d %s, %v", code, text, err)
		}
	})
	check("slow senders", func(ctx context.Context, x *hostile) {
		ctx, stop := context.WithTimeout(ctx, 8*time.Second)
		defer stop()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { x.drip(ctx) })
		}
		wg.Wait()
	})
	stopClean(t, h)
}

// hostile sends to one project.
type hostile struct {
	t   *testing.T
	h   *harness.Hoptrace
	dsn *url.URL
}

func (x *hostile) path() string {
	return "/api" + x.dsn.Path + "/envelope/?sentry_version=7&sentry_key=" + x.dsn.User.Username()
}

// clients have connections of their own, so that a hostile request costs the
// good client none.
var hostileClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

func (x *hostile) post(ctx context.Context, body io.Reader, headers map[string]string) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.h.HTTP+x.path(), body)
	if err != nil {
		return 0, "", err
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	resp, err := hostileClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	return resp.StatusCode, string(b), err
}

// good sends so many events one after the other and says how long each took.
func (x *hostile) good(n int) []time.Duration {
	x.t.Helper()
	took := make([]time.Duration, 0, n)
	for range n {
		var random [16]byte
		_, _ = rand.Read(random[:])
		id := hex.EncodeToString(random[:])
		body := `{"event_id":"` + id + `"}` + "\n" + `{"type":"event"}` + "\n" + `{"event_id":"` + id + `","message":"a good event"}` + "\n"
		start := time.Now()
		resp, err := http.Post(x.h.HTTP+x.path(), "application/x-sentry-envelope", strings.NewReader(body)) //nolint:gosec // the test's own address
		if err != nil {
			x.t.Fatalf("the good client got no answer: %v", err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			x.t.Fatalf("the good client was answered with %s %s, %v", resp.Status, text, err)
		}
		took = append(took, time.Since(start))
	}
	return took
}

// drip sends a request at a byte a second.
func (x *hostile) drip(ctx context.Context) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(x.h.HTTP, "http://"))
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			x.t.Errorf("a slow sender was not let in: %v", err)
		}
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: hoptrace\r\nContent-Length: 100000\r\n\r\n{", x.path())
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := conn.Write([]byte(" ")); err != nil {
			return // it was shown the door
		}
	}
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// bombOf is an envelope of 10 MB at most whose item opens to 10 GiB. A block of white space is
// compressed and the block is repeated: each of the formats allows that.
func bombOf(t *testing.T, encoding, item string) []byte {
	t.Helper()
	const size, most, whole = 16 << 20, 10 << 20, 10 << 30
	block := bytes.Repeat([]byte(" "), size)
	var out bytes.Buffer
	var w interface {
		io.WriteCloser
		Flush() error
	}
	var err error
	switch encoding {
	case "gzip":
		w, err = gzip.NewWriterLevel(&out, flate.BestCompression)
	case "deflate":
		w, err = zlib.NewWriterLevel(&out, flate.BestCompression)
	case "br":
		w = brotli.NewWriterLevel(&out, 4)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	}
	if err != nil {
		t.Fatal(err)
	}
	write := func() []byte {
		from := out.Len()
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(out.Bytes()[from:])
	}
	header := `{"event_id":"00000000000000000000000000b03b00"}` + "\n" + `{"type":"` + item + `"}` + "\n"
	if _, err := io.WriteString(w, header); err != nil {
		t.Fatal(err)
	}
	write()
	again := write() // the first block may lean on what the header left behind
	for n := 2 * size; n < whole && out.Len()+len(again) < most; n += size {
		out.Write(again)
	}
	t.Logf("a bomb of %s has %d bytes", encoding, out.Len())
	return out.Bytes()
}
