package group

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// twoPlaces yields n events of shop:charge and n of shop:refund, each through the
// helper shop/util:must.
func twoPlaces(n int, helper bool) iter.Seq2[*normalize.Event, error] {
	return func(yield func(*normalize.Event, error) bool) {
		for i := range 2 * n {
			frames := []string{[]string{"shop:charge", "shop:refund"}[i%2]}
			if helper {
				frames = append(frames, "shop/util:must")
			}
			e := errorEvent("go", normalize.Exception{Type: "E", Value: "v", Frames: stackOf(frames...)})
			e.ID, e.Title = schemas.EventID{byte(i), byte(i >> 8), 1}, "E: v"
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestPreviewTellsSplitsMergesAndMoves(t *testing.T) {
	plain := grouper(t, Config{})
	merging := grouper(t, Config{Enhancements: "module:shop function:* -group"})
	r, err := Preview(context.Background(), plain, merging, twoPlaces(3, true))
	if err != nil {
		t.Fatal(err)
	}
	if r.Events != 6 || r.Moved != 6 || r.IssuesBefore != 2 || r.IssuesAfter != 1 || len(r.Splits) != 0 || len(r.Merges) != 1 || r.MergesAll != 1 || r.Renamed != 0 || len(r.Moves) != 2 {
		t.Fatalf("merging: %+v", r)
	}
	if m := r.Merges[0]; m.Issue.Events != 6 || len(m.Parts) != 2 || m.Parts[0].Events != 3 || m.Issue.Title != "E: v" || m.Issue.Example == (schemas.EventID{}) {
		t.Errorf("merge: %+v", m)
	}
	if m := r.Moves[0]; len(m.Was) != 3 || len(m.Is) != 2 || m.Before == m.After {
		t.Errorf("move: %+v", m)
	}
	// The other way round it is a split.
	r, err = Preview(context.Background(), merging, plain, twoPlaces(3, true))
	if err != nil || len(r.Splits) != 1 || len(r.Merges) != 0 || r.Splits[0].PartsAll != 2 {
		t.Fatalf("splitting: %+v, %v", r, err)
	}
	// Both issues get other hashes and stay what they are.
	r, err = Preview(context.Background(), plain, grouper(t, Config{Enhancements: "module:shop/util -app"}), twoPlaces(3, true))
	if err != nil || r.Renamed != 2 || r.Moved != 6 || r.SplitsAll+r.MergesAll != 0 {
		t.Fatalf("renaming: %+v, %v", r, err)
	}
	r, err = Preview(context.Background(), plain, grouper(t, Config{Enhancements: "module:other -app"}), twoPlaces(3, true))
	if err != nil || r.Moved != 0 || r.IssuesBefore != 2 || r.IssuesAfter != 2 || r.Renamed != 0 {
		t.Fatalf("nothing: %+v, %v", r, err)
	}
}

func TestPreviewDoesNotSeeWhatTheOldRulesDidToFrames(t *testing.T) {
	old := grouper(t, Config{Enhancements: "module:shop/util -app"})
	now := grouper(t, Config{})
	r, err := Preview(context.Background(), old, now, twoPlaces(1, true))
	if err != nil || r.Moved != 2 {
		t.Fatalf("%+v, %v; want the helper's frames back", r, err)
	}
}

func TestPreviewIsBoundedAndEndsWithErrors(t *testing.T) {
	g := grouper(t, Config{})
	r, err := Preview(context.Background(), g, g, twoPlaces(MaxPreviewEvents, false))
	if err != nil || r.Events != MaxPreviewEvents {
		t.Errorf("%d events, %v; want %d", r.Events, err, MaxPreviewEvents)
	}
	broken := errors.New("store is away")
	if _, err := Preview(context.Background(), g, g, func(yield func(*normalize.Event, error) bool) { yield(nil, broken) }); !errors.Is(err, broken) {
		t.Errorf("error %v; want that of the events", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Preview(ctx, g, g, twoPlaces(1, false)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v; want canceled", err)
	}
}
