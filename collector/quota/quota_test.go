package quota

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestMemoryPassesTheContract(t *testing.T) {
	exportertest.Counters(t, func(*testing.T) exporters.Counters { return NewMemory() })
}

func TestMemoryIsBounded(t *testing.T) {
	m := NewMemory()
	m.most = 100
	for i := range 1000 {
		_, _ = m.Take(t.Context(), []exporters.Counter{{Key: strings.Repeat("k", i), Limit: -1, Until: time.Now().Add(time.Hour)}}, 1)
	}
	if len(m.counts) > 100 {
		t.Errorf("%d windows are kept, at most 100", len(m.counts))
	}
}

var from = Sender{Organization: 1, Project: 7, Key: "0123456789abcdef0123456789abcdef"}

func limit(n int64) *int64 { return &n }

func newLimiter(t testing.TB, counters exporters.Counters) *Limiter {
	t.Helper()
	l, err := New(Config{}, counters, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAWindowTakesItsLimitThenSaysWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, nil)
		quotas := []schemas.Quota{{ID: "errors", Categories: []schemas.Category{schemas.CategoryError}, Scope: "project", Limit: limit(3), Window: 60, Reason: "too_many"}}
		take := func() (Limit, bool) { return l.Take(t.Context(), from, quotas, schemas.CategoryError, 1) }
		for i := range 3 {
			if got, limited := take(); limited {
				t.Fatalf("event %d of 3 is limited: %+v", i+1, got)
			}
		}
		got, limited := take()
		if !limited || got.Scope != "project" || got.Reason != "too_many" || got.RetryAfter < time.Second || got.RetryAfter > time.Minute {
			t.Fatalf("event 4 of 3: %+v, %v", got, limited)
		}
		if d := cmp.Diff([]Limit{got}, l.Limits(from, quotas)); d != "" {
			t.Errorf("limits that hold (-want +got):\n%s", d)
		}
		if _, limited := l.Take(t.Context(), from, quotas, schemas.CategorySpan, 1); limited {
			t.Error("a span is limited by a quota of errors")
		}
		if _, limited := l.Take(t.Context(), Sender{Organization: 1, Project: 8}, quotas, schemas.CategoryError, 1); limited {
			t.Error("another project is limited by this one's use")
		}
		time.Sleep(got.RetryAfter - time.Second)
		if again, limited := take(); !limited || again.RetryAfter != time.Second {
			t.Errorf("a second before the end: %+v, %v; want to wait 1 s", again, limited)
		}
		time.Sleep(time.Second)
		if again, limited := take(); limited {
			t.Errorf("waiting as told was not enough: %+v", again)
		}
		if held := l.Limits(from, quotas); held != nil {
			t.Errorf("limits in the new window: %+v", held)
		}
	})
}

func TestAQuotaThatTakesNothingNeedsNoCounter(t *testing.T) {
	l := newLimiter(t, broken{})
	quotas := []schemas.Quota{{ID: "off", Scope: "organization", Limit: limit(0)}}
	got, limited := l.Take(t.Context(), from, quotas, schemas.CategorySpan, 10)
	want := Limit{Scope: "organization", Reason: "off", RetryAfter: time.Minute}
	if d := cmp.Diff(want, got); !limited || d != "" {
		t.Errorf("limited %v (-want +got):\n%s", limited, d)
	}
	if d := cmp.Diff([]Limit{want}, l.Limits(from, quotas)); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
}

func TestALargeItemThatDoesNotFitLeavesRoomForSmallOnes(t *testing.T) {
	l := newLimiter(t, nil)
	quotas := []schemas.Quota{{ID: "spans", Scope: "key", Limit: limit(100), Window: 3600}}
	f := func(n int64, want bool) {
		t.Helper()
		if _, limited := l.Take(t.Context(), from, quotas, schemas.CategorySpan, n); limited != want {
			t.Errorf("%d spans: limited %v, want %v", n, limited, want)
		}
	}
	f(60, false)
	f(60, true)
	f(40, false)
	f(1, true)
}

func TestCountingOnlyLimitsNothing(t *testing.T) {
	m := NewMemory()
	l := newLimiter(t, m)
	quotas := []schemas.Quota{{ID: "seen", Scope: "project", Window: 60}}
	for range 5 {
		if _, limited := l.Take(t.Context(), from, quotas, schemas.CategoryError, 1); limited {
			t.Fatal("a quota without a limit limits")
		}
	}
	var n int64
	for _, c := range m.counts {
		n += c.n
	}
	if n != 5 {
		t.Errorf("counted %d of 5", n)
	}
}

// broken is a shared counter that does not answer.
type broken struct{}

func (broken) Take(context.Context, []exporters.Counter, int64) (int, error) {
	return 0, errors.New("down")
}
func (broken) Count(context.Context, string) (int64, error) { return 0, errors.New("down") }

func TestWithoutTheSharedCountersEachCountsForItself(t *testing.T) {
	l := newLimiter(t, broken{})
	quotas := []schemas.Quota{{ID: "errors", Scope: "project", Limit: limit(2), Window: 3600}}
	for i, want := range []bool{false, false, true} {
		if _, limited := l.Take(t.Context(), from, quotas, schemas.CategoryError, 1); limited != want {
			t.Errorf("event %d: limited %v, want %v", i+1, limited, want)
		}
	}
	if n := testutil.ToFloat64(l.degraded); n != 3 {
		t.Errorf("%v decisions are counted as degraded, want 3", n)
	}
}

func TestWindowsOfAllProcessesAreTheSame(t *testing.T) {
	q := &schemas.Quota{ID: "a", Scope: "project", Window: 60}
	now := time.Unix(1_800_000_000, 0)
	slot, until := window(q, "7", now)
	if s, u := window(q, "7", until.Add(-time.Nanosecond)); s != slot || !u.Equal(until) {
		t.Errorf("just before its end the window is %d until %v, was %d until %v", s, u, slot, until)
	}
	if s, _ := window(q, "7", until); s != slot+1 {
		t.Errorf("at its end the window is %d, want %d", s, slot+1)
	}
	if until.Sub(now) <= 0 || until.Sub(now) > time.Minute {
		t.Errorf("the window ends after %v", until.Sub(now))
	}
}

func TestWhoAsksTooOftenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAbuse(AbuseConfig{AddressRate: 10, AddressBurst: 5, KeyRate: 1, KeyBurst: 1})
		ip := netip.MustParseAddr("192.0.2.1")
		for i := range 5 {
			if wait := a.Address(ip); wait != 0 {
				t.Fatalf("request %d of a burst of 5 waits %v", i+1, wait)
			}
		}
		if wait := a.Address(ip); wait != time.Second {
			t.Errorf("request 6 waits %v, want 1s", wait)
		}
		if wait := a.Address(netip.MustParseAddr("192.0.2.2")); wait != 0 {
			t.Errorf("another address waits %v", wait)
		}
		time.Sleep(100 * time.Millisecond)
		if wait := a.Address(netip.MustParseAddr("::ffff:192.0.2.1")); wait != 0 {
			t.Errorf("after a tenth of a second one more waits %v", wait)
		}
		one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		for range 5 {
			a.Address(one)
		}
		if wait := a.Address(two); wait == 0 {
			t.Error("addresses of one IPv6 network count apart")
		}
		if wait := a.Key("k"); wait != 0 {
			t.Errorf("the first request of a key waits %v", wait)
		}
		if wait := a.Key("k"); wait != time.Second {
			t.Errorf("the second request of a key waits %v", wait)
		}
	})
}

func TestAFloodOfAddressesIsBounded(t *testing.T) {
	a := NewAbuse(AbuseConfig{AddressRate: 1, AddressBurst: 1, MaxTracked: 50})
	for i := range 1000 {
		a.Address(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if n := len(a.addresses.by); n > 50 {
		t.Errorf("%d addresses are remembered, at most 50", n)
	}
}

func BenchmarkTake(b *testing.B) {
	l := newLimiter(b, nil)
	quotas := []schemas.Quota{
		{ID: "org", Scope: "organization", Limit: limit(1 << 60), Window: 60},
		{ID: "errors", Categories: []schemas.Category{schemas.CategoryError}, Scope: "project", Limit: limit(1 << 60), Window: 60},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, limited := l.Take(b.Context(), from, quotas, schemas.CategoryError, 1); limited {
			b.Fatal("limited")
		}
	}
}
