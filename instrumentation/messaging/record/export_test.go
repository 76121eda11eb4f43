package record

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// until polls f for a while.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it took too long until %s", what)
		}
	}
}

func putMany(r *Recorder, st *Stream, from, n int) {
	for i := range n {
		s := span(uint64(from + i))
		r.Put(st, &s, nil)
	}
}

// gate is an Export that blocks until it is opened or its context ends.
type gate struct {
	sink
	entered chan struct{}
	opened  chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1000), opened: make(chan struct{})} }

func (g *gate) export(ctx context.Context, b Batch) error {
	g.entered <- struct{}{}
	select {
	case <-g.opened:
		return g.sink.export(ctx, b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestSpansAreGroupedByScope(t *testing.T) {
	r, got := start(t, Options{Resource: testResource})
	other := Scope{Name: "other"}
	streams := []*Stream{
		r.Stream(testScope, "a", trace.SpanKindClient, nil), r.Stream(other, "b", trace.SpanKindClient, nil),
		r.Stream(testScope, "c", trace.SpanKindClient, nil), r.Stream(Scope{}, "d", trace.SpanKindClient, nil),
	}
	for i := range 1000 {
		putMany(r, streams[i%4], i, 1)
	}
	flush(t, r)
	q := got.one(t)
	if len(q.ResourceSpans) != 1 || len(q.ResourceSpans[0].ScopeSpans) != 3 {
		t.Fatalf("%d resources, the first with %d scopes; want 1 with 3", len(q.ResourceSpans), len(q.ResourceSpans[0].ScopeSpans))
	}
	for _, ss := range q.ResourceSpans[0].ScopeSpans {
		names, want := map[string]int{}, map[string]int{"d": 250}
		switch ss.GetScope().GetName() {
		case testScope.Name:
			want = map[string]int{"a": 250, "c": 250}
			if ss.SchemaUrl != testScope.SchemaURL || ss.Scope.Version != testScope.Version {
				t.Errorf("scope %v, schema %q; want %v", ss.Scope, ss.SchemaUrl, testScope)
			}
		case other.Name:
			want = map[string]int{"b": 250}
		}
		for _, s := range ss.Spans {
			names[s.Name]++
		}
		for n := range want {
			if names[n] != want[n] || len(names) != len(want) {
				t.Errorf("scope %q holds %v; want %v", ss.GetScope().GetName(), names, want)
			}
		}
	}
}

func TestBatchesStayBelowTheirBound(t *testing.T) {
	for _, scopes := range []int{1, 3} {
		for _, limit := range []int{1, 300, 1000, 5000, 100_000} {
			r, got := start(t, Options{Resource: testResource, MaxBatchBytes: limit})
			var streams []*Stream
			for i := range scopes {
				streams = append(streams, r.Stream(Scope{Name: strings.Repeat("s", i+1)}, "send", trace.SpanKindProducer, testLayout, testAttrs...))
			}
			for i := range 600 {
				s := span(uint64(i))
				var x *Extra
				if i%7 == 0 {
					x = &Extra{Description: "", Attributes: many(i % 30)}
				}
				r.Put(streams[i%scopes], &s, x)
			}
			flush(t, r)
			if n := len(got.all(t)); n != 600 {
				t.Errorf("limit %d: %d spans; want 600", limit, n)
			}
			for i, size := range got.bodies {
				if size > limit && got.spans[i] > 1 {
					t.Errorf("limit %d, %d scopes: a batch of %d spans has %d bytes", limit, scopes, got.spans[i], size)
				}
			}
			if limit == 1 && len(got.bodies) != 600 {
				t.Errorf("limit 1: %d batches; want one a span", len(got.bodies))
			}
			if limit == 5000 && len(got.bodies) > 100 {
				t.Errorf("limit 5000: %d batches of 600 spans: they are not filled", len(got.bodies))
			}
		}
	}
}

func TestAStreamMadeWhileABatchFillsIsExported(t *testing.T) {
	r, got := start(t, Options{})
	putMany(r, r.Stream(testScope, "a", 1, nil), 0, 10*chunkSpans) // some of them are encoded by now
	putMany(r, r.Stream(Scope{Name: "late"}, "b", 1, nil), 10*chunkSpans, 10*chunkSpans)
	flush(t, r)
	if n := len(got.all(t)); n != 20*chunkSpans {
		t.Errorf("%d spans; want %d", n, 20*chunkSpans)
	}
}

func TestSpansAreExportedWithoutAFlush(t *testing.T) {
	r, _ := start(t, Options{Interval: 5 * time.Millisecond})
	putMany(r, r.Stream(testScope, "a", 1, nil), 0, 3)
	until(t, "the spans are exported", func() bool { return r.Counts() == Counts{Exported: 3} })
}

func TestABlockedExportDropsAndCountsAndBlocksNobody(t *testing.T) {
	for _, bound := range []int{1, 10, 1000, 5000, 20_000} {
		g := newGate()
		r, _ := start(t, Options{MaxSpans: bound, Export: g.export, Interval: time.Millisecond, MaxBatchBytes: 10_000})
		st := r.Stream(testScope, "a", trace.SpanKindClient, testLayout, testAttrs...)
		putMany(r, st, 0, 1)
		<-g.entered
		putMany(r, st, 1, 2*bound) // returns, though Export does not
		c := r.Counts()
		if c.Queued > uint64(bound) || c.Dropped < uint64(bound) || c.Queued+c.Dropped != uint64(2*bound+1) {
			t.Errorf("MaxSpans %d: %+v of %d spans", bound, c, 2*bound+1)
		}
		if c.Queued < uint64(bound)*3/4 {
			t.Errorf("MaxSpans %d: only %d found room", bound, c.Queued)
		}
		close(g.opened)
		flush(t, r)
		if got := r.Counts(); got.Exported != c.Queued || got.Queued != 0 || got.Dropped != c.Dropped {
			t.Errorf("MaxSpans %d: %+v after %+v", bound, got, c)
		}
		putMany(r, st, 3*bound, bound/2) // there is room again
		flush(t, r)
		if got := r.Counts(); got.Dropped != c.Dropped || got.Exported != c.Queued+uint64(bound/2) {
			t.Errorf("MaxSpans %d: %+v after room was made", bound, got)
		}
	}
}

func TestMemoryIsBoundedAndGivenBack(t *testing.T) {
	g := newGate()
	const spans, extras = 20_000, 4 << 20
	r, _ := start(t, Options{MaxSpans: spans, MaxExtraBytes: extras, Export: g.export, Interval: time.Millisecond})
	st := r.Stream(testScope, "a", trace.SpanKindClient, testLayout, testAttrs...)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x := &Extra{Attributes: []attribute.KeyValue{attribute.String("a", strings.Repeat("x", 5000))}}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 30_000 {
				s := span(uint64(w*30_000 + i))
				if i%2 == 0 {
					r.Put(st, &s, x)
				} else {
					r.Put(st, &s, nil)
				}
			}
		}()
	}
	wg.Wait()
	c := r.Counts()
	if n := c.Queued + c.Dropped; n != 120_000 || c.Queued > spans || c.Queued < spans/2 {
		t.Errorf("%+v; want 120000 in all, at most %d queued", c, spans)
	}
	if b := r.extraBytes.Load(); b < extras || b > extras+4*maxExtraBytes {
		t.Errorf("%d bytes of extras wait; want about %d", b, extras)
	}
	// Records, extras in slices that double, one batch and its copy.
	most := uint64(spans*300 + 2*extras + (8 << 20))
	if used := heap() - before; used > most {
		t.Errorf("%d bytes are used; want at most %d", used, most)
	}
	close(g.opened)
	flush(t, r)
	until(t, "idle chunks are given back", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.alive <= 1 && len(r.free) <= 1
	})
	if b := r.extraBytes.Load(); b != 0 {
		t.Errorf("%d bytes of extras wait though nothing does", b)
	}
	runtime.KeepAlive(x)
}

func TestFlushSaysWhatFailed(t *testing.T) {
	boom := errors.New("the sidecar is away")
	var fail atomic.Int32
	r, _ := start(t, Options{Export: func(context.Context, Batch) error {
		switch fail.Load() {
		case 1:
			return boom
		case 2:
			panic("pow")
		}
		return nil
	}})
	st := r.Stream(testScope, "a", 1, nil)
	f := func(mode int32, wantErr string, want Counts) {
		t.Helper()
		fail.Store(mode)
		putMany(r, st, 0, 3)
		err := r.Flush(t.Context())
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("Flush: %v; want %q", err, wantErr)
		}
		if mode == 1 && !errors.Is(err, boom) {
			t.Errorf("%v does not wrap the error of Export", err)
		}
		if got := r.Counts(); got != want {
			t.Errorf("%+v; want %+v", got, want)
		}
	}
	f(0, "", Counts{Exported: 3})
	f(1, "3 spans were not exported: the sidecar is away", Counts{Exported: 3, Failed: 3})
	f(2, "panic in Export: pow", Counts{Exported: 3, Failed: 6})
	f(0, "", Counts{Exported: 6, Failed: 6})
}

func TestFlushWaitsForWhatIsBeingExported(t *testing.T) {
	g := newGate()
	r, _ := start(t, Options{Export: g.export, Interval: time.Millisecond})
	st := r.Stream(testScope, "a", 1, nil)
	putMany(r, st, 0, 1)
	<-g.entered // by the tick, not by a flush
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 spans still wait") {
		t.Errorf("Flush: %v; want the deadline and what waits", err)
	}
	done := make(chan error)
	go func() { done <- r.Flush(t.Context()) }()
	runtime.Gosched()
	select {
	case err := <-done:
		t.Fatalf("Flush returned %v before the export was done", err)
	default:
	}
	close(g.opened)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(g.all(t)); n != 1 {
		t.Errorf("%d spans exported; want 1", n)
	}
}

func TestFlushEndsThoughSpansKeepComing(t *testing.T) {
	r, _ := start(t, Options{MaxSpans: 4 * chunkSpans, Export: func(context.Context, Batch) error { return nil }})
	st := r.Stream(testScope, "a", 1, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i += 100 {
				select {
				case <-stop:
					return
				default:
					putMany(r, st, i, 100)
				}
			}
		}()
	}
	for range 20 {
		flush(t, r)
	}
	close(stop)
	wg.Wait()
}

func TestShutdownExportsAllAndCountsWhatComesLater(t *testing.T) {
	r, got := start(t, Options{})
	st := r.Stream(testScope, "a", 1, nil)
	putMany(r, st, 0, 5)
	live := r.Start(t.Context(), st, &Span{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Flags: 0x101}, trace.TraceState{}, nil)
	for range 2 {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	putMany(r, st, 5, 2)
	live.SetAttributes(attribute.Int("late", 1))
	live.End()
	if err := r.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	if n, c := len(got.all(t)), r.Counts(); n != 5 || c != (Counts{Exported: 5, Dropped: 3}) {
		t.Errorf("%d spans, %+v; want 5 exported, 3 dropped", n, c)
	}
}

func TestShutdownGivesUpWhenItsContextEnds(t *testing.T) {
	g := newGate()
	r, _ := start(t, Options{Export: g.export, MaxBatchBytes: 1000})
	st := r.Stream(testScope, "a", 1, nil, testAttrs...)
	putMany(r, st, 0, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "100 spans") {
		t.Errorf("Shutdown: %v; want the deadline and 100 spans", err)
	}
	<-r.ended // Export heeds its context
	c := r.Counts()
	if c.Queued != 0 || c.Failed == 0 || c.Failed+c.Dropped != 100 {
		t.Errorf("%+v; want 100 failed or dropped", c)
	}
	if err := r.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "100 spans were not exported") {
		t.Errorf("Shutdown again: %v; want what was lost", err)
	}
}

func TestWithoutExportBatchesFail(t *testing.T) {
	r := New(Options{})
	putMany(r, r.Stream(testScope, "a", 1, nil), 0, 2)
	if err := r.Shutdown(t.Context()); !errors.Is(err, errNoExport) {
		t.Errorf("Shutdown: %v; want %v", err, errNoExport)
	}
	if c := r.Counts(); c != (Counts{Failed: 2}) {
		t.Errorf("%+v; want 2 failed", c)
	}
}

func TestASpanOfAnotherRecordersStreamIsDropped(t *testing.T) {
	r, got := start(t, Options{})
	other, _ := start(t, Options{})
	putMany(r, other.Stream(testScope, "a", 1, nil), 0, 2)
	putMany(r, r.Stream(testScope, "a", 1, nil), 2, 1)
	flush(t, r)
	if n, c := len(got.all(t)), r.Counts(); n != 1 || c != (Counts{Exported: 1, Dropped: 2}) {
		t.Errorf("%d spans, %+v; want 1 exported, 2 dropped", n, c)
	}
}

func TestManyGoroutinesLoseNothing(t *testing.T) {
	r, got := start(t, Options{Interval: time.Millisecond, MaxBatchBytes: 20_000})
	streams := []*Stream{r.Stream(testScope, "a", 1, testLayout, testAttrs...), r.Stream(Scope{Name: "b"}, "b", 1, nil)}
	const workers, each = 8, 2000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; i < each; {
				st := streams[i%2]
				switch i % 3 {
				case 0:
					s := span(uint64(w*each + i))
					r.Put(st, &s, &Extra{Name: "x", Attributes: many(i % 5)})
					i++
				case 1:
					l := r.Lock(uint32(w))
					for n := i % 7; n >= 0 && i < each; n-- {
						s := span(uint64(w*each + i))
						l.Put(st, &s, nil)
						i++
					}
					l.Unlock()
				case 2:
					s := span(uint64(w*each + i))
					l := r.Start(t.Context(), st, &s, trace.TraceState{}, nil)
					l.SetAttributes(many(3)...)
					l.End()
					i++
				}
				if i%500 == 0 {
					r.Counts()
					r.Stream(testScope, "more", 1, nil)
				}
			}
		}()
	}
	wg.Wait()
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, c := len(got.all(t)), r.Counts(); n != workers*each || c != (Counts{Exported: workers * each}) {
		t.Errorf("%d spans, %+v; want %d", n, c, workers*each)
	}
}
