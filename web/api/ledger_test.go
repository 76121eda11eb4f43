package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

type sums []exporters.LedgerLine

func (s sums) Ledger(context.Context, uint64, exporters.Range) ([]exporters.LedgerLine, error) {
	return s, nil
}

// ofProject tells which project was asked for.
type ofProject struct{ asked *uint64 }

func (o ofProject) Ledger(_ context.Context, project uint64, _ exporters.Range) ([]exporters.LedgerLine, error) {
	*o.asked = project
	return nil, nil
}

func TestTheLedgerIsOfOneProjectOrOfAll(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	asked := uint64(99)
	h.deps.Ledger = ofProject{&asked}
	for path, want := range map[string]uint64{"/ledger": 1, "/ledger?project=1&all=false": 1, "/ledger?all=true": 0} {
		if get[Ledger](t, h, path, http.StatusOK); asked != want {
			t.Errorf("%s asks for project %d; want %d", path, asked, want)
		}
	}
}

type unread int64

func (n unread) Backlogs(context.Context) ([]exporters.Backlog, error) {
	return []exporters.Backlog{{Stage: "persist-events", Topic: "events", Records: int64(n)}}, nil
}

// spooled is a spool that holds seven requests.
type spooled struct{}

func (spooled) Backlogs(context.Context) ([]exporters.Backlog, error) {
	return []exporters.Backlog{{Stage: "persist-events", Topic: "events"}, {Stage: exporters.StageSpool, Records: 7}}, nil
}

// noBroker is one that does not answer.
type noBroker struct{}

func (noBroker) Backlogs(context.Context) ([]exporters.Backlog, error) {
	return nil, exporters.ErrUnavailable
}

func TestTheLedgerAddsUp(t *testing.T) {
	line := func(o schemas.Outcome, reason string, n int64) exporters.LedgerLine {
		return exporters.LedgerLine{Category: schemas.CategoryError, Outcome: o, Reason: reason, Quantity: n}
	}
	base := sums{
		line(schemas.OutcomeAccepted, "", 100),
		line(schemas.OutcomeFiltered, "localhost", 7),
		line(schemas.OutcomeFiltered, schemas.PipelineReason+"discarded", 3), // of the 100
		line(schemas.OutcomeRateLimited, "quota", 5),
		line(schemas.OutcomeAbuse, "key_rate", 1),
		line(schemas.OutcomeInvalid, "too_large", 2),
		line(schemas.OutcomeClientDiscard, "sample_rate", 4),
		line(schemas.OutcomeStored, "", 90),
		line(schemas.OutcomeParked, "undecodable", 1),
	}
	f := func(lines sums, backlog exporters.BacklogReader, inFlight int64, balanced bool, says string) Ledger {
		t.Helper()
		h := newHandler(t, fakestore.Orders(testNow))
		h.deps.Ledger, h.deps.Backlogs = lines, backlog
		got := get[Ledger](t, h, "/ledger", http.StatusOK)
		l := got.Lines[0]
		if l.InFlight != inFlight || got.Balanced != balanced || !strings.Contains(got.Verdict, says) {
			t.Errorf("in flight %d, balanced %v, %q; want %d, %v, %q", l.InFlight, got.Balanced, got.Verdict, inFlight, balanced, says)
		}
		if sum := l.Stored + l.Filtered + l.Limited + l.Invalid + l.ClientDiscard + l.Parked + l.InFlight; sum != l.Received {
			t.Errorf("received %d is not the sum %d", l.Received, sum)
		}
		return got
	}
	got := f(base, unread(6), 6, true, "6 items are in flight; the stages have 6 records to read")
	want := LedgerLine{
		Category: "error", Received: 119, Stored: 90, Filtered: 10, Limited: 6, Invalid: 2, ClientDiscard: 4, Parked: 1, InFlight: 6,
		Reasons: []LedgerReason{
			{"filtered", "localhost", 7},
			{"filtered", "discarded", 3},
			{"rate_limited", "quota", 5},
			{"abuse", "key_rate", 1},
			{"invalid", "too_large", 2},
			{"client_discard", "sample_rate", 4},
			{"parked", "undecodable", 1},
		},
	}
	if d := cmp.Diff(want, got.Lines[0]); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
	f(base, unread(0), 6, false, "6 items have no end")
	logged := exporters.LedgerLine{Category: schemas.CategoryLogByte, Outcome: schemas.OutcomeAccepted, Quantity: 4000}
	f(append(base[:len(base):len(base)], logged), unread(6), 6, true, "6 items and 4000 bytes are in flight;")
	f(base, nil, 6, false, "cannot ask the broker")
	f(base, spooled{}, 6, true, "7 requests wait in the collector's spool")
	f(base, noBroker{}, 6, false, "cannot ask the broker")
	f(append(base[:len(base):len(base)], line(schemas.OutcomeStored, "", 6)), unread(0), 0, true, "everything that was received has its end")
	got = f(append(base[:len(base):len(base)], line(schemas.OutcomeStored, "", 8)), unread(0), 0, true, "everything that was received has its end; collectors have not told of 2 of error that have their end")
	if l := got.Lines[0]; l.Untold != 2 || l.Received != 121 {
		t.Errorf("%d received and %d untold, want 121 and 2", l.Received, l.Untold)
	}
}
