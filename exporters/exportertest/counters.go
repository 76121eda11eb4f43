package exportertest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// Counters is the suite of exporters.Counters. open gives one whose keys no other
// test uses.
func Counters(t *testing.T, open func(t *testing.T) exporters.Counters) {
	until := time.Now().Add(time.Hour)
	take := func(t *testing.T, s exporters.Counters, n int64, want int, counters ...exporters.Counter) {
		t.Helper()
		over, err := s.Take(testContext(t), counters, n)
		noError(t, "Take", err)
		if over != want {
			t.Errorf("Take of %d from %v = %d; want %d", n, counters, over, want)
		}
	}
	count := func(t *testing.T, s exporters.Counters, key string, want int64) {
		t.Helper()
		got, err := s.Count(testContext(t), key)
		noError(t, "Count", err)
		if got != want {
			t.Errorf("Count(%q) = %d; want %d", key, got, want)
		}
	}
	t.Run("AWindowTakesItsLimitAndNoMore", func(t *testing.T) {
		s := open(t)
		c := exporters.Counter{Key: "a", Limit: 3, Until: until}
		count(t, s, "a", 0)
		take(t, s, 2, -1, c)
		take(t, s, 2, 0, c) // would be 4
		take(t, s, 1, -1, c)
		take(t, s, 1, 0, c)
		count(t, s, "a", 3)
	})
	t.Run("OneWithoutRoomKeepsAllFromCounting", func(t *testing.T) {
		s := open(t)
		free := exporters.Counter{Key: "b", Limit: -1, Until: until}
		full := exporters.Counter{Key: "c", Limit: 1, Until: until}
		take(t, s, 1, -1, free, full)
		take(t, s, 1, 1, free, full)
		count(t, s, "b", 1)
		count(t, s, "c", 1)
		take(t, s, 5, -1, free)
		count(t, s, "b", 6)
	})
	t.Run("AWindowThatEndedIsForgotten", func(t *testing.T) {
		s := open(t)
		take(t, s, 1, -1, exporters.Counter{Key: "old", Limit: 1, Until: time.Now().Add(-time.Hour)})
		count(t, s, "old", 0)
	})
	t.Run("ManyAtOnceTakeTogetherWhatIsAllowedOnce", func(t *testing.T) {
		s := open(t)
		var took atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					over, err := s.Take(testContext(t), []exporters.Counter{{Key: "many", Limit: 100, Until: until}}, 1)
					if err != nil {
						t.Errorf("Take: %v", err)
						return
					}
					if over < 0 {
						took.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if took.Load() != 100 {
			t.Errorf("%d were taken where 100 are allowed", took.Load())
		}
		count(t, s, "many", 100)
	})
	t.Run("ManyCountersAtOnce", func(t *testing.T) {
		s := open(t)
		var all []exporters.Counter
		for i := range 32 {
			all = append(all, exporters.Counter{Key: fmt.Sprint("n", i), Limit: int64(1000 + i), Until: until})
		}
		take(t, s, 7, -1, all...)
		count(t, s, "n31", 7)
		take(t, s, 994, 0, all...)
	})
}
