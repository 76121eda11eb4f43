package measure

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// bubble starts a registry on fake time.
func bubble(t *testing.T, o Options, f func(t *testing.T, r *Registry, s *sink)) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		o.Export = s.export
		r := NewRegistry(o)
		f(t, r, s)
		if err := r.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestCollectionEveryInterval(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Registry, s *sink) {
		begin := time.Now()
		g := r.Meter(testScope).Group(testLayout)
		for i := 1; i <= 3; i++ {
			g.Lock()
			g.Duration(testDuration, 1, 1, nil)
			g.Unlock()
			time.Sleep(10*time.Second - time.Nanosecond)
			synctest.Wait()
			if got := s.take(t); len(got) != 0 {
				t.Fatal("collected before the interval was over")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			p := points(s.all(t)["test.duration"])[0]
			if got, want := time.Unix(0, int64(p.TimeUnixNano)).Sub(begin), time.Duration(i)*10*time.Second; got != want {
				t.Fatalf("interval %d ended after %v; want %v", i, got, want)
			}
		}
	})
}

func TestKickExportsAtOnceButNotOftenerThanEachSecond(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, r *Registry, s *sink) {
		g := r.Meter(testScope).Group(testLayout)
		exports := 0
		for range 50 { // five seconds
			g.Lock()
			g.Add(testCount, 1)
			g.Unlock()
			r.Kick()
			synctest.Wait()
			exports += len(s.take(t))
			if exports == 0 {
				t.Fatal("the first Kick did not export at once")
			}
			time.Sleep(100 * time.Millisecond)
		}
		if exports < 5 || exports > 6 {
			t.Fatalf("%d exports in 5 s of kicks; want one a second", exports)
		}
	})
}

func TestIdleGroupsGiveTheirPlaceBack(t *testing.T) {
	bubble(t, Options{MaxGroups: 2}, func(t *testing.T, r *Registry, s *sink) {
		m := r.Meter(testScope)
		add := func(g *Group) {
			g.Lock()
			g.Add(testCount, 1)
			g.Unlock()
		}
		overflows := func() (n int) {
			for _, p := range s.all(t)["test.count"].GetSum().GetDataPoints() {
				if attr(p.Attributes, "otel.metric.overflow") != nil {
					n += int(p.GetAsInt())
				}
			}
			return n
		}
		a, b := m.Group(testLayout, attribute.Int("p", 1)), m.Group(testLayout, attribute.Int("p", 2))
		add(a)
		add(b)
		if c := m.Group(testLayout, attribute.Int("p", 3)); c != m.Group(testLayout, attribute.Int("p", 4)) {
			t.Fatal("two sets above the bound have groups of their own")
		}
		for range 40 { // a is idle for more than five minutes, b is not
			add(b)
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		if a.cells != nil {
			t.Error("an idle group keeps its cells")
		}
		c := m.Group(testLayout, attribute.Int("p", 3))
		add(c)
		if m.Group(testLayout, attribute.Int("p", 1)) != a {
			t.Error("a set of attributes has two groups, for its first one gave its place back")
		}
		flush(t, r)
		if n := overflows(); n != 0 {
			t.Fatalf("%d observations in the overflow group; want c to have a's place", n)
		}
		add(a) // no place is left: counted in the overflow group
		add(a)
		add(b)
		flush(t, r)
		if n := overflows(); n != 2 {
			t.Fatalf("%d observations in the overflow group; want a's two", n)
		}
		runtime.KeepAlive([]*Group{a, b, c})
	})
}

func TestGroupNobodyHoldsIsForgotten(t *testing.T) {
	r, s := start(t, Options{MaxGroups: 5})
	m := r.Meter(testScope)
	for range 100 {
		for range 5 {
			g := m.Group(testLayout, attribute.Int("partition", int(time.Now().UnixNano())))
			g.Lock()
			g.Add(testCount, 1)
			g.Unlock()
		}
		flush(t, r)
		runtime.GC()
		f := m.family(testLayout)
		f.mu.Lock()
		f.sweep(time.Now().UnixNano())
		f.mu.Unlock()
	}
	total := int64(0)
	for _, p := range s.all(t)["test.count"].GetSum().DataPoints {
		total += p.GetAsInt()
	}
	if total != 500 {
		t.Fatalf("exported %d; want all 500", total)
	}
	f := m.family(testLayout)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.seats) > 5 || f.taken > 5 {
		t.Fatalf("%d groups are known, %d count; want at most 5", len(f.seats), f.taken)
	}
	if c := r.Counts().Overflowed; c > 25 { // a group may live for one collection more
		t.Fatalf("%d were turned away, though nobody held the groups before", c)
	}
}
