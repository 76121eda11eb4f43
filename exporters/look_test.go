package exporters

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestOneLookFindsEachThingOnce(t *testing.T) {
	var asked atomic.Int64
	find := func(keys []int) (map[int]int64, error) {
		out := map[int]int64{}
		for _, k := range keys {
			if k >= 0 { // of the others there is nothing
				out[k] = asked.Add(1)
			}
		}
		return out, nil
	}
	ctx := OneLook(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := OnceEach(ctx, "a", []int{1, -1, 1}, find)
			if want := (map[int]int64{1: 1}); !maps.Equal(got, want) || err != nil {
				t.Errorf("OnceEach = %v, %v; want what was found first: %v", got, err, want)
			}
		})
	}
	wg.Wait()
	f := func(what string, ctx context.Context, kind string, keys []int, want ...int64) {
		t.Helper()
		got, err := OnceEach(ctx, kind, keys, find)
		if values := slices.Sorted(maps.Values(got)); !slices.Equal(values, want) || err != nil {
			t.Errorf("%s found %v, %v; want %v", what, values, err, want)
		}
	}
	f("a key that was asked for and one that was not", ctx, "a", []int{1, 2}, 1, 2)
	f("another kind", ctx, "b", []int{1}, 3)
	f("another look", OneLook(t.Context()), "a", []int{1}, 4)
	f("no look", t.Context(), "a", []int{1}, 5)
	f("no look, again", t.Context(), "a", []int{1}, 6)
	if InLook(t.Context()) || !InLook(ctx) {
		t.Error("InLook does not tell a look from none")
	}
}

func TestWhatFailedIsLookedForAgain(t *testing.T) {
	ctx := OneLook(t.Context())
	bad := func([]string) (map[string]int, error) { return nil, context.DeadlineExceeded }
	if _, err := OnceEach(ctx, "a", []string{"x"}, bad); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v", err)
	}
	good := func([]string) (map[string]int, error) { return map[string]int{"x": 7}, nil }
	if got, err := OnceEach(ctx, "a", []string{"x"}, good); got["x"] != 7 || err != nil {
		t.Errorf("OnceEach = %v, %v; want 7", got, err)
	}
}
