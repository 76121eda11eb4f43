package measure

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// TestNothingIsLostOrSentTwiceUnderLoad observes from many goroutines while
// collections go on and every third export fails.
func TestNothingIsLostOrSentTwiceUnderLoad(t *testing.T) {
	s := &sink{}
	var exports atomic.Int64
	r, _ := start(t, Options{
		Interval: time.Millisecond, MaxBatchBytes: 3000, MaxGroups: 30,
		Export: func(ctx context.Context, b Batch) error {
			if exports.Add(1)%3 == 0 {
				return errors.New("the third fails")
			}
			return s.export(ctx, b)
		},
	})
	m := r.Meter(testScope)
	const workers, each = 4, 20_000
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for range each {
				g := m.Group(testLayout, attribute.Int("partition", rng.IntN(40))) // 10 more than there is room for
				g.Lock()
				g.Duration(testDuration, rng.Int64N(1e10)+1, 2, nil)
				g.Duration(testDuration, -rng.Int64N(1e10)-1, 1, nil)
				g.Add(testCount, 3)
				g.Unlock()
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for r.Flush(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal("no flush succeeds")
		}
	}
	var count, buckets, negative, sum uint64
	for _, m := range s.all(t) {
		for _, p := range points(m) {
			if m.Name == "test.duration" {
				count += p.Count
				for _, n := range p.Positive.BucketCounts {
					buckets += n
				}
			} else {
				negative += p.Count
			}
		}
		for _, p := range m.GetSum().GetDataPoints() {
			sum += uint64(p.GetAsInt())
		}
	}
	if want := uint64(workers * each); count != 2*want || buckets != 2*want || negative != want || sum != 3*want {
		t.Fatalf("count %d, in buckets %d, negative %d, sum %d; want %d, %d, %d, %d", count, buckets, negative, sum, 2*want, 2*want, want, 3*want)
	}
	if c := r.Counts(); c.Failed == 0 || c.Dropped != 0 {
		t.Fatalf("Counts() = %+v; want failures and nothing dropped", c)
	}
}

func TestObservingNeverWaitsForAnExport(t *testing.T) {
	r, s := start(t, Options{})
	s.entered, s.release = make(chan struct{}), make(chan struct{})
	m := r.Meter(testScope)
	g := m.Group(testLayout)
	observe := func() {
		g.Lock()
		g.Add(testCount, 1)
		g.Unlock()
	}
	observe()
	flushed := make(chan error, 1)
	go func() { flushed <- r.Flush(context.Background()) }()
	<-s.entered // the export hangs from here on
	for range 100 {
		observe()
		m.Group(testLayout, attribute.Int("new", 1))
		r.Kick()
		r.Counts()
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush beside a hanging export = %v; want its deadline", err)
	}
	close(s.release)
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.entered = nil
	s.mu.Unlock()
	flush(t, r)
	total := int64(0)
	for _, p := range s.all(t)["test.count"].GetSum().DataPoints {
		total += p.GetAsInt()
	}
	if total != 101 {
		t.Fatalf("exported %d; want 101", total)
	}
}

func TestShutdownSendsWhatIsLeft(t *testing.T) {
	r, s := start(t, Options{})
	m := r.Meter(testScope)
	g := m.Group(testLayout)
	g.Lock()
	g.Add(testCount, 1)
	g.Unlock()
	for range 2 {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Fatalf("Shutdown: %v", err)
		}
	}
	if err := r.Flush(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Flush after Shutdown = %v; want ErrClosed", err)
	}
	for _, g := range []*Group{g, m.Group(testLayout, attribute.Int("a", 1)), m.Group(NewLayout(Instrument{Name: "late", Kind: Counter})), r.Meter(Scope{Name: "late"}).Group(testLayout)} {
		g.Lock()
		for i := range 5 { // dropped, and nothing grows
			g.Add(testCount, 1)
			g.Duration(testDuration, 1, 1, nil)
			g.Sample(testOffset, int64(i), 1)
		}
		if g.cells != nil {
			t.Error("observations are kept after Shutdown")
		}
		g.Unlock()
	}
	r.Kick()
	if got := s.all(t)["test.count"].GetSum().DataPoints[0].GetAsInt(); got != 1 {
		t.Fatalf("exported %d; want 1", got)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	r, s := start(t, Options{})
	s.entered, s.release = make(chan struct{}, 1), nil // hangs until its context ends
	g := r.Meter(testScope).Group(testLayout)
	g.Lock()
	g.Add(testCount, 1)
	g.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Shutdown() = %v; want its deadline", err)
	}
	<-r.done
	if got, want := r.Counts(), (Counts{Failed: 1, Dropped: 1}); got != want {
		t.Fatalf("Counts() = %+v; want %+v", got, want)
	}
	if err := r.Shutdown(t.Context()); err == nil {
		t.Fatal("a second Shutdown does not tell that the last export failed")
	}
}

func TestPanicOfForeignCodeStaysInside(t *testing.T) {
	boom := func(string, int) { panic("overflow") }
	calls := 0
	r, s := start(t, Options{MaxGroups: 1, OnOverflow: boom})
	r.o.Export = func(ctx context.Context, b Batch) error {
		if calls++; calls == 1 {
			panic("export")
		}
		return s.export(ctx, b)
	}
	m := r.Meter(testScope)
	m.OnCollect(func() bool { panic("hook") })
	g := m.Group(testLayout)
	m.Group(testLayout, attribute.Int("a", 1))
	g.Lock()
	g.Add(testCount, 1)
	g.Unlock()
	if err := r.Flush(t.Context()); err == nil {
		t.Fatal("Flush does not tell of a panicking export")
	}
	flush(t, r)
	if got := s.all(t)["test.count"].GetSum().DataPoints[0].GetAsInt(); got != 1 {
		t.Fatalf("exported %d; want 1", got)
	}
	if n := m.Panics(); n != 3 { // OnOverflow, and the hook twice
		t.Fatalf("Panics() = %d; want 3", n)
	}
}

func TestHooksAreCalledUntilTheyAreOver(t *testing.T) {
	r, s := start(t, Options{})
	m := r.Meter(testScope)
	g := m.Group(testLayout)
	for n := range 3 {
		left := n
		m.OnCollect(func() bool {
			g.Lock()
			g.Add(testCount, 1)
			g.Unlock()
			left--
			return left > 0
		})
	}
	var got []int64
	for range 4 {
		flush(t, r)
		n := int64(0)
		for _, p := range s.all(t)["test.count"].GetSum().GetDataPoints() {
			n += p.GetAsInt()
		}
		got = append(got, n)
	}
	if want := []int64{3, 1, 0, 0}; !slices.Equal(got, want) || len(r.hooks) != 0 {
		t.Fatalf("calls %v, then %d hooks; want %v and none", got, len(r.hooks), want)
	}
}

func TestSharedValueIsMadeOnceARegistry(t *testing.T) {
	r, _ := start(t, Options{})
	type key struct{}
	made := 0
	get := func(m *Meter) any {
		return m.Shared(key{}, func() any {
			made++
			m.OnCollect(func() bool { return false })
			return made
		})
	}
	a, b := get(r.Meter(testScope)), get(r.Meter(Scope{Name: "other"}))
	if a != 1 || b != 1 || made != 1 {
		t.Fatalf("got %v and %v, made %d; want one", a, b, made)
	}
}
