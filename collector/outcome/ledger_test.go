package outcome

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// topic keeps what is written, when it takes anything.
type topic struct {
	mu    sync.Mutex
	err   error
	sums  map[string]int64
	count int
}

func (p *topic) write(_ context.Context, records ...*kgo.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	for _, r := range records {
		var o wire.Outcome
		if err := o.DecodeJSON(r.Value); err != nil {
			return err
		}
		n, reason := int64(1), ""
		if o.Quantity != nil {
			n = int64(*o.Quantity)
		}
		if o.Reason != nil {
			reason = *o.Reason
		}
		c, _ := schemas.CategoryByID(*o.Category)
		p.sums[string(c)+" "+schemas.Outcome(o.Outcome).String()+" "+reason] += n //nolint:gosec // small
		p.count++
	}
	return nil
}

func TestSumsAreSentEachSecondAndKeptWhileTheyCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &topic{sums: map[string]int64{}, err: errors.New("away")}
		l := NewLedger(p.write, slog.New(slog.DiscardHandler))
		for range 100 {
			l.Record(7, "key", schemas.CategoryError, schemas.OutcomeAccepted, "", 1, schemas.EventID{})
			l.Record(7, "key", schemas.CategorySpan, schemas.OutcomeFiltered, "localhost", 3, schemas.EventID{})
			l.Record(7, "key", schemas.CategorySpan, schemas.OutcomeFiltered, "localhost", 0, schemas.EventID{})
		}
		l.Record(0, "", schemas.CategoryError, schemas.OutcomeInvalid, "auth", 1, schemas.EventID{}) // of nobody
		time.Sleep(2500 * time.Millisecond)
		p.mu.Lock()
		p.err = nil
		p.mu.Unlock()
		time.Sleep(time.Second)
		l.Record(7, "key", schemas.CategoryError, schemas.OutcomeAccepted, "", 1, schemas.EventID{})
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.sums["error accepted "] != 101 || p.sums["span filtered localhost"] != 300 || len(p.sums) != 2 || p.count != 3 {
			t.Errorf("sums are %v in %d records", p.sums, p.count)
		}
	})
}

func TestAFloodOfReasonsIsBoundedAndStaysExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &topic{sums: map[string]int64{}}
		l := NewLedger(p.write, slog.New(slog.DiscardHandler))
		const n = maxEntries + 5000
		for i := range n {
			l.Record(7, "key", schemas.CategoryError, schemas.OutcomeClientDiscard, "r"+time.Duration(i).String(), 1, schemas.EventID{})
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, q := range p.sums {
			total += q
		}
		if total != n || len(p.sums) > maxEntries+1 || p.sums["error client_discard other"] != 5000 {
			t.Errorf("%d sums add up to %d of %d; other: %d", len(p.sums), total, n, p.sums["error client_discard other"])
		}
	})
}
