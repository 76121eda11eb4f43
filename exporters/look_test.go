package exporters

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOneLookFindsEachThingOnce(t *testing.T) {
	var asked atomic.Int64
	find := func() (int, error) { return int(asked.Add(1)), nil }
	ctx := OneLook(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := Once(ctx, "a", find); got != 1 || err != nil {
				t.Errorf("Once = %d, %v; want what was found first", got, err)
			}
		})
	}
	wg.Wait()
	if got, _ := Once(ctx, "b", find); got != 2 {
		t.Errorf("another key found %d, want 2", got)
	}
	if got, _ := Once(OneLook(t.Context()), "a", find); got != 3 {
		t.Errorf("another look found %d, want 3", got)
	}
	for want := 4; want < 6; want++ {
		if got, _ := Once(t.Context(), "a", find); got != want {
			t.Errorf("without a look %d was found, want %d", got, want)
		}
	}
}

func TestWhatFailedIsLookedForAgain(t *testing.T) {
	ctx := OneLook(t.Context())
	if _, err := Once(ctx, "a", func() (int, error) { return 0, context.DeadlineExceeded }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v", err)
	}
	if got, err := Once(ctx, "a", func() (int, error) { return 7, nil }); got != 7 || err != nil {
		t.Errorf("Once = %d, %v; want 7", got, err)
	}
}
