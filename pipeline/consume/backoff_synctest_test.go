package consume

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffDoublesToItsLimitLessAFifth(t *testing.T) {
	f := func(try int, limit, want time.Duration) {
		t.Helper()
		for range 100 {
			if got := backoff(try, limit); got > want || got < want-want/5 {
				t.Fatalf("backoff(%d, %v) = %v; want %v less up to a fifth", try, limit, got, want)
			}
		}
	}
	f(1, 30*time.Second, 100*time.Millisecond)
	f(2, 30*time.Second, 200*time.Millisecond)
	f(9, 30*time.Second, 25600*time.Millisecond)
	f(10, 30*time.Second, 30*time.Second)
	f(1_000_000, 30*time.Second, 30*time.Second)
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begun := time.Now()
		sleep(ctx, 30*time.Second)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("slept %v; want 30s", took)
		}
		sleep(ctx, time.Hour)
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("slept %v in all; want until the context ended at 1m", took)
		}
	})
}
