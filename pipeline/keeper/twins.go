package keeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/schemas"
)

// An error that OpenTelemetry told of is left out when it comes and a Sentry SDK's
// event of it is there (see package process). When the event comes after it, both are
// stored, and the keeper removes what is one too many. It finds the two in the store,
// whichever process stored them and whenever that was: nothing has to be remembered,
// the way of an event costs nothing more, and a row that a replay brings back is
// removed again.

const (
	// twinsSince is how far a look goes back, in the events' own time. What was kept
	// somewhere on its way is older: for it one hour after the other of the last day
	// is looked at, one each farEvery, with the one before it, lest a pair lies on both
	// sides of its beginning.
	twinsSince = 15 * time.Minute
	farHours   = 24
	farEvery   = time.Minute
	// twinsAhead is how far clocks of programs may be ahead.
	twinsAhead = time.Hour
	// twinsAgain is when a look that failed is tried again.
	twinsAgain = time.Minute
	// twinsShare bounds the store's time that looks take: after one comes a pause of so
	// many times what it took, but no longer than twinsPause usual ones: it may have
	// been the machine that stood still.
	twinsShare = 100
	twinsPause = 30
)

// twinTimes are when the next looks are due, and which hour the next far one is about.
type twinTimes struct {
	near, far time.Time
	hour      int
}

// removeTwins looks for errors that are stored twice, when that is due.
func (k *Keeper) removeTwins(ctx context.Context, now time.Time) error {
	t := &k.twins
	if !now.Before(t.near) {
		removed, err := k.twinsIn(ctx, exporters.Range{From: now.Add(-twinsSince), To: now.Add(twinsAhead)}, k.cfg.Twins, &t.near)
		if err != nil || removed > 0 { // a deletion a round is enough
			return err
		}
	}
	if now.Before(t.far) {
		return nil
	}
	r := exporters.Range{From: now.Add(-time.Duration(t.hour+2) * time.Hour), To: now.Add(-time.Duration(t.hour) * time.Hour)}
	if t.hour == 0 {
		r.To = now.Add(twinsAhead)
	}
	removed, err := k.twinsIn(ctx, r, farEvery, &t.far)
	if removed < step {
		t.hour = (t.hour + 1) % farHours // also after a failure: another may not fail
	}
	return err
}

// twinsIn removes at most one step of the twins in a range: a deletion rewrites parts
// of the table. It sets when the next look is due: after a time, or at once when there
// are more.
//
// The ledger is told before the rows go, so that it never calls stored what cannot be
// read. After a crash between the two they are found again, and the lines are the same.
func (k *Keeper) twinsIn(ctx context.Context, r exporters.Range, after time.Duration, due *time.Time) (removed int, err error) {
	begun := k.now()
	defer func() {
		end := k.now()
		pause := max(after, min(twinsShare*end.Sub(begun), twinsPause*after))
		switch {
		case err != nil:
			pause = max(pause, twinsAgain)
		case removed == step:
			pause = 0
		}
		*due = end.Add(pause)
	}()
	found, err := k.deps.Twins.Twins(ctx, r, step)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	lines := make([]schemas.Tally, 0, 2*len(found))
	for i := range found {
		lines = ledger.Twin(lines, &found[i])
	}
	if err := k.tell(ctx, lines); err != nil {
		return 0, err
	}
	if err := k.deps.Twins.RemoveTwins(ctx, found); err != nil {
		return 0, err
	}
	k.metrics.twins.Add(float64(len(found)))
	return len(found), nil
}

// tell writes lines of the ledger. Times of reception are the senders': of more
// days than the store takes at once the lines are written in parts.
func (k *Keeper) tell(ctx context.Context, lines []schemas.Tally) error {
	err := k.deps.Ledger.WriteTallies(ctx, lines)
	if errors.Is(err, exporters.ErrTooLarge) && len(lines) > 1 {
		half := len(lines) / 2
		if err := k.tell(ctx, lines[:half]); err != nil {
			return err
		}
		return k.tell(ctx, lines[half:])
	}
	if err != nil {
		return fmt.Errorf("cannot write what became of %d events: %w", len(lines)/2, err)
	}
	return nil
}
