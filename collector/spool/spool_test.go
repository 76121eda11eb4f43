package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, dir string, change ...func(*QueueConfig)) *Queue {
	t.Helper()
	cfg := QueueConfig{Dir: dir}
	for _, f := range change {
		f(&cfg)
	}
	q, err := OpenQueue(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return q
}

func put(t testing.TB, q *Queue, entries ...string) {
	t.Helper()
	for _, e := range entries {
		if err := q.Append([]byte(e)); err != nil {
			t.Fatalf("Append: %v", err)
		}
	}
}

// take reads n entries and notes that they are taken care of.
func take(t testing.TB, q *Queue, n int) []string {
	t.Helper()
	var out []string
	for len(out) < n {
		entries, p, err := q.Next(1)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		for _, e := range entries {
			out = append(out, string(e))
		}
		if err := q.Done(p); err != nil {
			t.Fatalf("Done: %v", err)
		}
	}
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("entry %d %s", i, strings.Repeat("x", i%50)))
	}
	return out
}

func TestEntriesComeOutInOrderAcrossFilesAndRestarts(t *testing.T) {
	dir := t.TempDir()
	small := func(c *QueueConfig) { c.SegmentBytes = 200 }
	q := open(t, dir, small)
	put(t, q, numbers(0, 40)...)
	if d := cmp.Diff(numbers(0, 10), take(t, q, 10)); d != "" {
		t.Errorf("first ten (-want +got):\n%s", d)
	}
	for round := range 3 {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = open(t, dir, small)
		if _, n := q.Size(); n != int64(30-round*10+0) {
			t.Errorf("after opening again it holds %d entries, want %d", n, 30-round*10)
		}
		from := 10 + round*10
		if d := cmp.Diff(numbers(from, from+10), take(t, q, 10)); d != "" {
			t.Errorf("round %d (-want +got):\n%s", round, d)
		}
	}
	put(t, q, "last")
	if got := take(t, q, 1); got[0] != "last" {
		t.Errorf("got %q", got)
	}
	if b, n := q.Size(); b != 0 || n != 0 {
		t.Errorf("empty, it holds %d bytes and %d entries", b, n)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if len(files) > 1 {
		t.Errorf("files that were read stay: %v", files)
	}
}

func TestWhatWasNotNotedComesAgain(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	put(t, q, "a", "b")
	for range 2 {
		entries, _, err := q.Next(1 << 20)
		if err != nil || len(entries) != 2 {
			t.Fatalf("Next = %q, %v", entries, err)
		}
	}
	_ = q.Close()
	q = open(t, dir)
	if got := take(t, q, 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func TestATornEndIsCutAndTheRestStays(t *testing.T) {
	f := func(name string, damage func(t *testing.T, path string)) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q := open(t, dir)
			put(t, q, "whole", "also whole")
			_ = q.Close()
			files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
			damage(t, files[0])
			q = open(t, dir)
			if got := take(t, q, 2); !slices.Equal(got, []string{"whole", "also whole"}) {
				t.Errorf("got %q", got)
			}
			put(t, q, "new")
			if got := take(t, q, 1); got[0] != "new" {
				t.Errorf("got %q", got)
			}
			if _, n := q.Size(); n != 0 {
				t.Errorf("%d entries are left", n)
			}
		})
	}
	appendTo := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Write(b)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f("half a header", appendTo([]byte{5, 0}))
	f("a header without its entry", appendTo([]byte{5, 0, 0, 0, 1, 2, 3, 4, 'x'}))
	f("a wrong checksum", appendTo([]byte{1, 0, 0, 0, 1, 2, 3, 4, 'x'}))
	f("zeros", appendTo(make([]byte, 4096)))
	f("a huge length", appendTo(bytes.Repeat([]byte{0xff}, 100)))
}

func TestAFullSpoolRefusesAndTakesAgainWhenItIsRead(t *testing.T) {
	q := open(t, t.TempDir(), func(c *QueueConfig) { c.MaxBytes = 100 })
	put(t, q, strings.Repeat("a", 80))
	if err := q.Append(make([]byte, 80)); !errors.Is(err, ErrFull) {
		t.Fatalf("Append to a full spool: %v; want ErrFull", err)
	}
	take(t, q, 1)
	put(t, q, strings.Repeat("b", 80))
}

func TestAFailedSyncLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	put(t, q, "first")
	q.sync = func(*os.File) error { return syscall.ENOSPC }
	if err := q.Append([]byte("lost")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Append on a full disk: %v", err)
	}
	q.sync = (*os.File).Sync
	put(t, q, "second")
	if got := take(t, q, 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("got %q", got)
	}
	_ = q.Close()
	q = open(t, dir)
	if _, n := q.Size(); n != 0 {
		t.Errorf("after opening again it holds %d entries, want none", n)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, err := OpenQueue(QueueConfig{Dir: dir}, quiet); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second queue on one directory: %v", err)
	}
}

func TestADamagedPositionIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, positionFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenQueue(QueueConfig{Dir: dir}, quiet); err == nil || !strings.Contains(err.Error(), positionFile) || !strings.Contains(err.Error(), dir) {
		t.Errorf("OpenQueue = %v; want the file's name", err)
	}
}

func TestManyAppendAtOnce(t *testing.T) {
	q := open(t, t.TempDir(), func(c *QueueConfig) { c.SegmentBytes = 4 << 10 })
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				if err := q.Append(fmt.Appendf(nil, "%d/%d", g, i)); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	got := take(t, q, 800)
	wg.Wait()
	last := map[string]int{}
	for _, e := range got {
		g, n, _ := strings.Cut(e, "/")
		var i int
		_, _ = fmt.Sscan(n, &i)
		if at, seen := last[g]; seen && i != at+1 || !seen && i != 0 {
			t.Fatalf("entry %s of its goroutine after %d", e, at)
		}
		last[g] = i
	}
}

// broker is a Kafka that can be away.
type broker struct {
	mu   sync.Mutex
	err  error
	got  []string
	most int // larger values are refused; 0: none
}

func (b *broker) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := errors.Join(b.err, ctx.Err()); err != nil {
		return err
	}
	for _, r := range records {
		if b.most > 0 && len(r.Value) > b.most {
			return fmt.Errorf("record: %w", kafka.ErrTooLarge)
		}
	}
	for _, r := range records {
		b.got = append(b.got, r.Topic+" "+string(r.Key)+" "+string(r.Value)+" "+fmt.Sprint(r.Headers))
	}
	return nil
}

func (b *broker) Ping(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *broker) set(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *broker) has() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func client(t *testing.T, b *broker, q *Queue) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{}, b, q, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func record(value string) *kgo.Record {
	return &kgo.Record{Topic: "ingest-events", Key: []byte("k"), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "project", Value: []byte("7")}, {Key: "empty"}}}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("20 s passed, and not: %s", what)
		}
	}
}

func TestNothingIsLostWhileKafkaIsAwayAndOrderStays(t *testing.T) {
	dir, b := t.TempDir(), &broker{}
	q := open(t, dir)
	c := client(t, b, q)
	var want []string
	send := func(n int) {
		t.Helper()
		for range n {
			value := fmt.Sprint("v", len(want))
			if err := c.ProduceSync(t.Context(), record(value)); err != nil {
				t.Fatalf("ProduceSync: %v", err)
			}
			want = append(want, "ingest-events k "+value+" "+fmt.Sprint(record("").Headers))
		}
	}
	send(3)
	b.set(errors.New("away"))
	send(20)
	if n := testutil.ToFloat64(c.spooled); n != 20 {
		t.Errorf("%v records are counted as spooled, want 20", n)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Errorf("with room in the spool it takes data, but Ping says %v", err)
	}
	// The process ends and another one begins.
	_ = c.Close()
	_ = q.Close()
	q = open(t, dir)
	c = client(t, b, q)
	send(5)
	b.set(nil)
	until(t, "the spool is empty", func() bool { _, n := q.Size(); return n == 0 })
	send(3)
	until(t, "all arrived", func() bool { return len(b.has()) >= len(want) })
	if d := cmp.Diff(want, b.has()); d != "" {
		t.Errorf("records in Kafka (-want +got):\n%s", d)
	}
}

func TestARecordThatKafkaRefusesForGoodIsPutAside(t *testing.T) {
	dir, b := t.TempDir(), &broker{err: errors.New("away")}
	q := open(t, dir)
	c := client(t, b, q)
	for _, v := range []string{"a", strings.Repeat("long", 10), "b"} {
		if err := c.ProduceSync(t.Context(), record(v)); err != nil {
			t.Fatal(err)
		}
	}
	b.mu.Lock()
	b.most = 10
	b.mu.Unlock()
	b.set(nil)
	until(t, "the others arrived", func() bool { _, n := q.Size(); return n == 0 })
	if got := b.has(); len(got) != 2 {
		t.Errorf("in Kafka: %q", got)
	}
	aside, _ := filepath.Glob(filepath.Join(dir, asideFolder, "*.entry"))
	if len(aside) != 1 {
		t.Fatalf("put aside: %v; want one file", aside)
	}
	raw, err := os.ReadFile(aside[0])
	if err != nil {
		t.Fatal(err)
	}
	if records, err := decode(nil, raw); err != nil || len(records) != 1 || string(records[0].Value) != strings.Repeat("long", 10) {
		t.Errorf("the file holds %v, %v", records, err)
	}
}

func TestAFullSpoolIsAnErrorOfTheRequest(t *testing.T) {
	b := &broker{err: errors.New("away")}
	c := client(t, b, open(t, t.TempDir(), func(cfg *QueueConfig) { cfg.MaxBytes = 300 }))
	var err error
	for range 10 {
		if err = c.ProduceSync(t.Context(), record("some text")); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if p := c.Pressure(); p < 0.5 || p > 1 {
		t.Errorf("pressure is %v", p)
	}
}

func TestTooLargeIsNotSpooled(t *testing.T) {
	q := open(t, t.TempDir())
	c := client(t, &broker{most: 3}, q)
	if err := c.ProduceSync(t.Context(), record("long")); !errors.Is(err, kafka.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if _, n := q.Size(); n != 0 {
		t.Errorf("%d entries are spooled", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode([]*kgo.Record{record("a"), {Topic: "t"}}))
	f.Add([]byte{entryFormat, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := decode(nil, b)
		if err != nil {
			return
		}
		again, err := decode(nil, encode(records))
		if err != nil || len(again) != len(records) {
			t.Fatalf("encoded again: %d records, %v; want %d", len(again), err, len(records))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, senders := range []int{1, 16} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			q := open(b, b.TempDir(), func(c *QueueConfig) { c.MaxBytes = 1 << 40 })
			entry := make([]byte, 20<<10)
			b.SetBytes(int64(len(entry)))
			b.SetParallelism(senders)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := q.Append(entry); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
