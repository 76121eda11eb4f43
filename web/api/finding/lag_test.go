package finding

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

func lagTotal(state exporters.LagState, change func(*exporters.LagTotal)) LagLine {
	t := exporters.LagTotal{
		State: state, Reason: "the reason", Worst: 1, Partitions: 2, Lag: 3120, Behind: 2 * time.Hour, Read: 2.2, Written: 18.44,
		Drained: exporters.LagNever, Deleted: exporters.LagNever, Spare: exporters.LagNever, DeletedPartition: 1, DeletedOffset: 42,
	}
	if state == exporters.LagOK {
		t.Lag, t.Behind, t.Drained = 12, 200*time.Millisecond, 0
	}
	if change != nil {
		change(&t)
	}
	return LagLine{Cluster: "bus", Group: "payments", Topic: "orders", LagTotal: t}
}

func TestLagSaysWhichGroupNeedsSomebody(t *testing.T) {
	f := func(in Lag, want ...string) {
		t.Helper()
		got := ForLag(in)
		for _, w := range want {
			if s := got.Rule + ": " + got.String(); !strings.Contains(s, w) {
				t.Errorf("finding %q; want %q in it", s, w)
			}
		}
	}
	ok := lagTotal(exporters.LagOK, nil)
	stall := lagTotal(exporters.LagStall, func(t *exporters.LagTotal) { t.Spare = 5 * time.Hour })
	lines := func(l ...LagLine) Lag { return Lag{Clusters: 1, Groups: len(l), Lines: l} }
	f(Lag{}, "no-cluster: No Kafka cluster is watched")
	f(Lag{Clusters: 1}, "nothing: No consumer group has committed")
	f(Lag{Clusters: 1, Away: []LagAway{{"eu", -1}}}, "away: Cluster eu does not answer")
	f(lines(ok), "ok: The one group keeps up", "furthest behind is payments in orders: 200ms")
	f(lines(ok, ok), "ok: All 2 groups keep up")
	f(lines(ok, stall), "stall: Group payments stands still, 2h0m0s behind", "It reads 2.2 records/s of 18.4 written to orders.", "Partition 1: the reason.", "deletes its first record in 5h0m0s")
	f(lines(lagTotal(exporters.LagWarn, func(t *exporters.LagTotal) { t.Behind, t.Read = exporters.LagUnknown, math.NaN() })), "warn: Group payments leaves old records unread, 3120 records behind")
	f(lines(lagTotal(exporters.LagWarn, func(t *exporters.LagTotal) { t.Behind, t.Written, t.Read = exporters.LagUnknown, 9, 8 })), "warn: Group payments falls behind, 3120 records behind")
	f(lines(lagTotal(exporters.LagStall, func(t *exporters.LagTotal) { t.InState = 1 })), "stall: Group payments stands still in 1 of 2 partitions, 2h0m0s behind")
	f(lines(lagTotal(exporters.LagStop, nil), stall), "stall:", "One more line is not OK.")
	f(lines(lagTotal(exporters.LagStop, nil)), "stop: Group payments has stopped: nobody reads for it, 2h0m0s behind")
	f(lines(lagTotal(exporters.LagRewind, nil)), "rewind: Group payments reads records again")
	f(lines(stall, lagTotal(exporters.LagWarn, func(t *exporters.LagTotal) { t.Deleted = 4 * time.Hour })), "loses: Group payments will lose records in 4h0m0s", "is orders/1@42.")
	now := lagTotal(exporters.LagStop, func(t *exporters.LagTotal) { t.Deleted = 0 })
	f(lines(now), "loses-now: Group payments loses records at any moment: its oldest unread one is older than retention")
	now.Lost = 99
	f(lines(now), "loses-now: Retention deleted 99 records unread by group payments, and deletes the next at any moment")
	f(lines(lagTotal(exporters.LagWarn, func(t *exporters.LagTotal) { t.Deleted = 72 * time.Hour })), "warn:")
	f(lines(lagTotal(exporters.LagOK, func(t *exporters.LagTotal) { t.Lost = 30 })), "lost: Retention deleted 30 records unread by group payments")
	one := lines(ok)
	one.Group = "payments"
	f(one, "one-ok: Group payments keeps up, 200ms behind")
	away := lines(ok)
	away.Away = []LagAway{{"bus", time.Minute}}
	f(away, "Cluster bus does not answer in whole; what it told last is 1m0s old.")
}
