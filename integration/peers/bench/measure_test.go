package bench

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// cost is that of one message.
type cost struct{ cpu, allocs, bytes float64 } // microseconds, count, heap bytes

func cpuNow(tb testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatalf("cannot read this process's CPU time: %v", err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// variant is one client in one way of use. prepare is not measured.
type variant struct {
	client  *client
	prepare func() error
	run     func(n int) error // n messages, all acknowledged and exported when it returns
}

// newVariant is a client of which a round ends when its spans are exported.
func newVariant(cl *client, tel telemetry, run func(n int) error) *variant {
	return &variant{client: cl, prepare: tel.prepare, run: func(n int) error {
		if err := run(n); err != nil || tel.flush == nil {
			return err
		}
		return tel.flush()
	}}
}

func (v *variant) once(tb testing.TB, n int) (c cost, err error) {
	if v.prepare != nil {
		if err := v.prepare(); err != nil {
			return c, err
		}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpuNow(tb)
	err = within(roundTimeout, func() error { return v.run(n) })
	took := cpuNow(tb) - start
	runtime.ReadMemStats(&after)
	per := 1 / float64(n)
	c = cost{float64(took) / 1e3 * per, float64(after.Mallocs-before.Mallocs) * per, float64(after.TotalAlloc-before.TotalAlloc) * per}
	return c, err
}

// roundTimeout is far above what any round takes.
const roundTimeout = time.Minute

// within gives a client up that no longer moves; its goroutines stay behind.
func within(limit time.Duration, run func() error) error {
	done := make(chan error, 1)
	go func() { done <- run() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("it stands still: a round did not end within %s", limit)
	}
}

// result is one line of the output.
type result struct {
	client string
	rounds int
	median cost
	over   cost // medians of the paired differences to raw
}

// compare measures the variants in turn, and in the reverse order every other
// round, so that what changes with time meets all alike; the first of them is
// raw. It ends after the rounds asked for, or after limit and three rounds. A
// variant that fails is told to tb and left out.
func compare(tb testing.TB, title string, vs []*variant, rounds, n int, limit time.Duration) []result {
	all := make([][]cost, len(vs))
	failed := make([]bool, len(vs))
	begun := time.Now()
	done := 0
	for r := -1; r < rounds; r++ { // the first warms up
		if done >= 3 && time.Since(begun) > limit {
			break
		}
		for k := range vs {
			i := k
			if r&1 == 1 {
				i = len(vs) - 1 - k
			}
			if failed[i] {
				continue
			}
			c, err := vs[i].once(tb, n)
			if err != nil {
				failed[i] = true
				tb.Errorf("%s, %s: %v", vs[i].client.name, title, err)
				continue
			}
			if r >= 0 {
				all[i] = append(all[i], c)
			}
		}
		if r >= 0 {
			done++
		}
	}
	if failed[0] {
		return nil // nothing to compare with
	}
	out := make([]result, 0, len(vs))
	for i := range vs {
		if failed[i] || len(all[i]) == 0 {
			continue
		}
		both := func(f func(cost) float64) (median, over float64) {
			v, d := make([]float64, 0, len(all[i])), make([]float64, 0, len(all[i]))
			for r := range all[i] {
				v = append(v, f(all[i][r]))
				d = append(d, f(all[i][r])-f(all[0][r]))
			}
			return medianOf(v), medianOf(d)
		}
		res := result{client: vs[i].client.name, rounds: len(all[i])}
		res.median.cpu, res.over.cpu = both(func(c cost) float64 { return c.cpu })
		res.median.allocs, res.over.allocs = both(func(c cost) float64 { return c.allocs })
		res.median.bytes, res.over.bytes = both(func(c cost) float64 { return c.bytes })
		out = append(out, res)
	}
	return out
}

func medianOf(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func TestMedianIsTheMiddle(t *testing.T) {
	f := func(want float64, v ...float64) {
		t.Helper()
		if got := medianOf(v); got != want {
			t.Fatalf("medianOf(%v) = %v; want %v", v, got, want)
		}
	}
	f(2, 3, 1, 2)
	f(2.5, 4, 1, 2, 3)
	f(7, 7)
}

// TestCompareSubtractsRaw measures two variants of known allocations.
func TestCompareSubtractsRaw(t *testing.T) {
	var keep [][]byte
	allocate := func(each int) func(int) error {
		return func(n int) error {
			keep = make([][]byte, 0, n*each)
			for range n * each {
				keep = append(keep, make([]byte, 1024))
			}
			return nil
		}
	}
	got := compare(t, "test", []*variant{
		{client: &client{name: "raw"}, run: allocate(1)},
		{client: &client{name: "twice"}, run: allocate(3)},
	}, 3, 1000, time.Minute)
	if len(got) != 2 || got[1].rounds != 3 {
		t.Fatalf("got %+v; want two results of three rounds", got)
	}
	if o := got[1].over; o.allocs < 1.9 || o.allocs > 2.1 || o.bytes < 2000 || o.bytes > 2200 {
		t.Fatalf("over raw: %+v; want 2 allocations and 2048 bytes", o)
	}
	if o := got[0].over; o != (cost{}) {
		t.Fatalf("raw over raw: %+v; want nothing", o)
	}
}
