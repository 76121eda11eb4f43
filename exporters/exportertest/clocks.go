package exportertest

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
)

// Clocks is what ClockStore tests.
type Clocks interface {
	exporters.ClockWriter
	exporters.ClockReader
}

// ClockStore is the suite of ClockWriter and ClockReader. open gives an empty store.
func ClockStore(t *testing.T, open func(t *testing.T) Clocks) {
	const ms = int64(time.Millisecond)
	// Early in an hour, so that what is told by the hour is one stretch.
	start := clocktrack.Begin(base().Truncate(time.Hour).Add(-50 * time.Minute).UnixNano())
	cell := func(n int64, project uint64, host string, origin schemas.ClockOrigin, second, low, high int64) schemas.ClockCell {
		c := schemas.ClockCell{Project: project, Host: host, Broker: "b:9092", Origin: origin, Time: start + n*clocktrack.Cell, Node: schemas.Unknown}
		if origin == schemas.ClockBeacon {
			c.Cluster, c.Node, c.Name = "cluster-1", 7, host+".local"
		} else {
			c.Service = "payments"
		}
		clocktrack.Fold(&c, c.Time+second*int64(time.Second), low, high)
		return c
	}
	times := func(n int64) (out []int64) {
		for i := range n {
			out = append(out, start+i*clocktrack.Cell)
		}
		return out
	}
	read := func(t *testing.T, s Clocks, q exporters.ClockQuery) []schemas.ClockCell {
		t.Helper()
		if q.Limit == 0 {
			q.Limit = 1000
		}
		got, err := s.ClockCells(testContext(t), q)
		noError(t, "ClockCells", err)
		return got
	}
	history := func(t *testing.T, s Clocks, q exporters.ClockHistoryQuery) []exporters.ClockStretch {
		t.Helper()
		q.Range = exporters.Range{From: time.Unix(0, start), To: time.Unix(0, start).Add(time.Hour)}
		q.Limit = 1000
		got, err := s.ClockHistory(testContext(t), q)
		noError(t, "ClockHistory", err)
		return got
	}

	t.Run("CellsMergeInAnyOrderAndHoweverOften", func(t *testing.T) {
		ctx, s := testContext(t), open(t)
		parts := []schemas.ClockCell{
			cell(0, 1, "h", schemas.ClockRoundTrip, 2, -ms, 3*ms),
			cell(0, 1, "h", schemas.ClockRoundTrip, 4, -3*ms, ms),
			cell(0, 1, "h", schemas.ClockRoundTrip, 4, -2*ms, 2*ms),
			cell(0, 1, "h", schemas.ClockFetch, 9, -ms/2, math.MaxInt64),
			cell(1, 1, "h", schemas.ClockRoundTrip, 0, -ms, ms),
		}
		want := parts[0]
		clocktrack.Merge(&want, &parts[1])
		clocktrack.Merge(&want, &parts[2])
		noError(t, "WriteClocks of nothing", s.WriteClocks(ctx, nil))
		// Two writers, each with a part, replays, and another order.
		noError(t, "WriteClocks", s.WriteClocks(ctx, parts[:2]))
		noError(t, "WriteClocks", s.WriteClocks(ctx, []schemas.ClockCell{parts[4], parts[2], parts[0]}))
		noError(t, "WriteClocks", s.WriteClocks(ctx, parts[3:]))
		noError(t, "WriteClocks", s.WriteClocks(ctx, []schemas.ClockCell{parts[1], parts[0], parts[3]}))
		got := read(t, s, exporters.ClockQuery{Project: 1, Hosts: []string{"h"}, Times: times(3)})
		equal(t, "cells", got, []schemas.ClockCell{want, parts[4], parts[3]})
	})

	t.Run("AProjectSeesItsCellsAndThoseOfBeacons", func(t *testing.T) {
		ctx, s := testContext(t), open(t)
		own, beacon := cell(0, 1, "h", schemas.ClockRoundTrip, 2, -ms, ms), cell(0, 0, "h", schemas.ClockBeacon, 2, -2*ms, 2*ms)
		noError(t, "WriteClocks", s.WriteClocks(ctx, []schemas.ClockCell{
			own, beacon, cell(0, 2, "h", schemas.ClockRoundTrip, 2, -ms, ms), cell(0, 1, "other", schemas.ClockRoundTrip, 2, -ms, ms), cell(5, 1, "h", schemas.ClockRoundTrip, 2, -ms, ms),
		}))
		equal(t, "cells", read(t, s, exporters.ClockQuery{Project: 1, Hosts: []string{"h"}, Times: times(3)}), []schemas.ClockCell{own, beacon})
		equal(t, "cells, limited", read(t, s, exporters.ClockQuery{Project: 1, Hosts: []string{"h"}, Times: times(3), Limit: 1}), []schemas.ClockCell{own})
		equal(t, "cells of no host", read(t, s, exporters.ClockQuery{Project: 1, Times: times(3)}), []schemas.ClockCell(nil))
		equal(t, "cells of no time", read(t, s, exporters.ClockQuery{Project: 1, Hosts: []string{"h"}}), []schemas.ClockCell(nil))
	})

	t.Run("HistoryGivesTheNarrowestIntervalAndCountsSecondsAndSteps", func(t *testing.T) {
		ctx, s := testContext(t), open(t)
		var cells []schemas.ClockCell
		for n := range int64(12) {
			by := int64(0)
			if n >= 7 {
				by = 800 * ms // stepped between 6 and 7
			}
			width := ms
			if n == 3 {
				width = ms / 2
			}
			cells = append(cells, cell(n, 1, "h", schemas.ClockRoundTrip, 5, by-width, by+width), cell(n, 0, "h", schemas.ClockBeacon, 5, by-3*ms, by+3*ms),
				cell(n, 1, "quiet", schemas.ClockFetch, 1, -ms, math.MaxInt64))
		}
		cells = append(cells, cell(9, 1, "h", schemas.ClockRoundTrip, 8, 1600*ms-ms, 1600*ms+ms)) // and within 9
		cells = append(cells, cell(10, 0, "strange", schemas.ClockBeacon, 8, 0, ms))
		noError(t, "WriteClocks", s.WriteClocks(ctx, cells))
		noError(t, "WriteClocks again", s.WriteClocks(ctx, cells))
		got := history(t, s, exporters.ClockHistoryQuery{Project: 1, Every: time.Hour})
		at := func(n, second int64) int64 { return start + n*clocktrack.Cell + second*int64(time.Second) }
		equal(t, "history", got, []exporters.ClockStretch{
			{
				Host: "h", Broker: "b:9092", Name: "h.local", Service: "payments", Cluster: "cluster-1", Node: 7,
				Time: at(3, 5), Low: -ms / 2, High: ms / 2, RoundTrips: 13, Beacons: 12, First: at(0, 5), Last: at(11, 5), Steps: 2, Stepped: at(9, 5),
			},
			{Host: "quiet", Broker: "b:9092", Service: "payments", Node: schemas.Unknown, Time: got[1].Time, Low: got[1].Low, High: math.MaxInt64, Fetches: 12, First: at(0, 1), Last: at(11, 1)},
			{Host: "strange", Broker: "b:9092", Name: "strange.local", Cluster: "cluster-1", Node: 7, Time: at(10, 5), Low: -3 * ms / 5, High: ms + 3*ms/5, Beacons: 1, First: at(10, 8), Last: at(10, 8)},
		})
		if got[1].Low > -ms || got[1].Low < -2*ms {
			t.Errorf("a side that is known alone is %d; want about %d", got[1].Low, -ms)
		}
		if n := len(history(t, s, exporters.ClockHistoryQuery{Project: 1, Host: "h", Every: 30 * time.Second})); n < 4 || n > 5 {
			t.Errorf("%d stretches of 30 s in two minutes", n)
		}
		if diff := cmp.Diff([]exporters.ClockStretch{got[2]}, history(t, s, exporters.ClockHistoryQuery{Project: 2, Every: time.Hour})[1:]); diff != "" {
			t.Errorf("history of another project (-want +got):\n%s", diff)
		}
	})
}
