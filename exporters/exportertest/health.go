package exportertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// HealthStore is what Health tests.
type HealthStore interface {
	exporters.HealthWriter
	exporters.HealthReader
	exporters.DeadLetterEnds
}

// Health is the suite of HealthWriter, HealthReader and DeadLetterEnds. open gives an
// empty store.
func Health(t *testing.T, open func(t *testing.T) HealthStore) {
	run := func(name string, f func(t *testing.T, s HealthStore)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("AReportComesBackAsItWasWritten", healthRoundTrip)
	run("ADayOfReportsIsThinnedAndBounded", healthRing)
	run("ProcessesThatAreGoneAreForgotten", healthGone)
	run("OfTwoAtOnceOneWins", deadLetterRace)
	run("WhatIsGoneIsForgotten", deadLetterForget)
	run("DeadLettersAreAskedForInBulk", deadLetterMany)
}

func healthReport(instance string, at time.Time, records float64) exporters.ProcessReport {
	return exporters.ProcessReport{
		Instance: instance, Role: "pipeline", Host: "host-1", Version: "v1", Started: base(), At: at,
		Values: map[string]float64{"consume_records_total/persist-spans": records}, Notes: map[string]string{"stands/persist-spans": "partition 3: Größe ☃"},
	}
}

func healthRoundTrip(t *testing.T, s HealthStore) {
	// In the middle of a step, so that a second before is the same one.
	ctx, at := testContext(t), base().Truncate(time.Minute).Add(time.Minute+5*time.Second)
	r := healthReport("pipeline@host-1:13133", at, 12.5)
	noError(t, "WriteHealth", s.WriteHealth(ctx, r))
	noError(t, "WriteHealth again", s.WriteHealth(ctx, r))
	older := r
	older.At, older.Values = at.Add(-time.Second), map[string]float64{}
	noError(t, "WriteHealth of an older one in the same step", s.WriteHealth(ctx, older))
	got, err := s.Health(ctx, at.Add(-time.Minute), at.Add(time.Second))
	noError(t, "Health", err)
	if len(got) != 1 {
		t.Fatalf("Health gives %d reports, want 1: %+v", len(got), got)
	}
	if !got[0].At.Equal(r.At) || !got[0].Started.Equal(r.Started) {
		t.Errorf("At and Started are %v and %v, want %v and %v", got[0].At, got[0].Started, r.At, r.Started)
	}
	got[0].At, got[0].Started = r.At, r.Started
	equal(t, "report", got[0], r)
	got, err = s.Health(ctx, at.Add(time.Second), at.Add(time.Minute))
	noError(t, "Health of later", err)
	equal(t, "later reports", len(got), 0)
	large := r
	large.Notes = map[string]string{"x": string(make([]byte, 100_000))}
	if err := s.WriteHealth(ctx, large); err == nil {
		t.Error("a report of 100 KB was kept")
	}
}

// healthRing writes two days at the pace of processes, thinned to what each ring keeps.
func healthRing(t *testing.T, s HealthStore) {
	ctx, begin := testContext(t), base()
	end := begin.Add(26 * time.Hour)
	n := 0.0
	write := func(at time.Time) {
		t.Helper()
		n++
		noError(t, "WriteHealth", s.WriteHealth(ctx, healthReport("a", at, n)))
	}
	for at := begin; at.Before(end.Add(-70 * time.Minute)); at = at.Add(10 * exporters.HealthCoarseEvery) {
		write(at)
	}
	for at := end.Add(-70 * time.Minute); at.Before(end); at = at.Add(exporters.HealthEvery) {
		write(at)
	}
	hour, err := s.Health(ctx, end.Add(-time.Hour), end)
	noError(t, "Health of an hour", err)
	if len(hour) > exporters.MaxHealthSteps+6 || len(hour) < exporters.MaxHealthSteps/2 {
		t.Errorf("an hour has %d reports", len(hour))
	}
	if last := hour[len(hour)-1]; last.Values["consume_records_total/persist-spans"] != n {
		t.Errorf("the last report of the hour is %v, want that of %v", last.Values, n)
	}
	for i := 1; i < len(hour); i++ {
		if !hour[i-1].At.Before(hour[i].At) {
			t.Fatalf("report %d is of %v, the one after it of %v", i-1, hour[i-1].At, hour[i].At)
		}
	}
	day, err := s.Health(ctx, end.Add(-24*time.Hour), end)
	noError(t, "Health of a day", err)
	// A day is told by every seventh slot: of reports each tenth one, one in 140 minutes.
	if len(day) > exporters.MaxHealthSteps+6 || day[0].At.After(end.Add(-24*time.Hour+160*time.Minute)) {
		t.Errorf("a day has %d reports, the first of %v", len(day), day[0].At)
	}
	if last := day[len(day)-1]; last.Values["consume_records_total/persist-spans"] != n {
		t.Errorf("the last report of the day is %v, want that of %v", last.Values, n)
	}
}

func healthGone(t *testing.T, s HealthStore) {
	ctx, at := testContext(t), base()
	for i := range exporters.MaxHealthProcesses + 5 {
		noError(t, "WriteHealth", s.WriteHealth(ctx, healthReport(fmt.Sprintf("p-%03d", i), at.Add(time.Duration(i)*time.Millisecond), 1)))
	}
	got, err := s.Health(ctx, at.Add(-time.Minute), at.Add(time.Minute))
	noError(t, "Health", err)
	if len(got) != exporters.MaxHealthProcesses || got[0].Instance != "p-005" {
		t.Errorf("Health tells of %d processes, the first %q; want the last %d", len(got), got[0].Instance, exporters.MaxHealthProcesses)
	}
	later := at.Add(3 * exporters.HealthCoarse)
	noError(t, "WriteHealth later", s.WriteHealth(ctx, healthReport("new", later, 1)))
	got, err = s.Health(ctx, at.Add(-time.Minute), at.Add(time.Minute))
	noError(t, "Health of what is gone", err)
	equal(t, "reports that are gone", len(got), 0)
}

func deadLetterRace(t *testing.T, s HealthStore) {
	ctx, at := testContext(t), base()
	ref := exporters.DeadLetterRef{Topic: "ingest-spans-dlq", TopicID: "0a", Partition: 2, Offset: 7}
	first := exporters.DeadLetterEnd{State: exporters.DeadLetterRetrying, By: "ann", At: at}
	now, changed, err := s.SetDeadLetterEnd(ctx, ref, exporters.DeadLetterOpen, first)
	noError(t, "SetDeadLetterEnd", err)
	if !changed || now.State != first.State || now.By != "ann" || !now.At.Equal(at) {
		t.Errorf("the first gets %+v, %v", now, changed)
	}
	now, changed, err = s.SetDeadLetterEnd(ctx, ref, exporters.DeadLetterOpen, exporters.DeadLetterEnd{State: exporters.DeadLetterDiscarded, By: "bob", At: at})
	noError(t, "SetDeadLetterEnd of the second", err)
	if changed || now.State != exporters.DeadLetterRetrying || now.By != "ann" {
		t.Errorf("the second gets %+v, %v; want ann's", now, changed)
	}
	if _, changed, err = s.SetDeadLetterEnd(ctx, ref, exporters.DeadLetterRetrying, exporters.DeadLetterEnd{State: exporters.DeadLetterRetried, By: "ann", At: at}); err != nil || !changed {
		t.Errorf("the end of a retry gives %v, %v", changed, err)
	}
	ends, err := s.DeadLetterEnds(ctx, []exporters.DeadLetterRef{ref, {Topic: ref.Topic, TopicID: "0b", Partition: 2, Offset: 7}})
	noError(t, "DeadLetterEnds", err)
	if len(ends) != 1 || ends[ref].State != exporters.DeadLetterRetried {
		t.Errorf("DeadLetterEnds gives %+v", ends)
	}
	now, changed, err = s.SetDeadLetterEnd(ctx, exporters.DeadLetterRef{Topic: "other-dlq"}, exporters.DeadLetterDiscarded, first)
	if err != nil || changed || now.State != exporters.DeadLetterOpen {
		t.Errorf("a letter that is open becomes from discarded %+v, %v, %v", now, changed, err)
	}
}

func deadLetterForget(t *testing.T, s HealthStore) {
	ctx, at := testContext(t), base()
	end := exporters.DeadLetterEnd{State: exporters.DeadLetterDiscarded, At: at}
	ref := func(id string, part int32, offset int64) exporters.DeadLetterRef {
		return exporters.DeadLetterRef{Topic: "events-dlq", TopicID: id, Partition: part, Offset: offset}
	}
	all := []exporters.DeadLetterRef{ref("0a", 0, 1), ref("0a", 0, 5), ref("0a", 1, 1), ref("old", 0, 9)}
	for _, r := range all {
		_, _, err := s.SetDeadLetterEnd(ctx, r, exporters.DeadLetterOpen, end)
		noError(t, "SetDeadLetterEnd", err)
	}
	if n, err := s.CountDeadLetterEnds(ctx, ref("0a", 0, 2)); err != nil || n != 1 {
		t.Errorf("CountDeadLetterEnds from 2 gives %d, %v; want 1", n, err)
	}
	noError(t, "ForgetDeadLetterEnds", s.ForgetDeadLetterEnds(ctx, ref("0a", 0, 5)))
	ends, err := s.DeadLetterEnds(ctx, all)
	noError(t, "DeadLetterEnds", err)
	if _, ok := ends[all[1]]; len(ends) != 2 || !ok {
		t.Errorf("left are %+v; want offset 5 of partition 0 and 1 of partition 1", ends)
	}
}

func deadLetterMany(t *testing.T, s HealthStore) {
	ctx := testContext(t)
	tooMany := make([]exporters.DeadLetterRef, exporters.MaxDeadLetterRefs+1)
	for i := range tooMany {
		tooMany[i] = exporters.DeadLetterRef{Topic: "t-dlq", Offset: int64(i)}
	}
	refs := tooMany[:exporters.MaxDeadLetterRefs]
	for _, i := range []int{0, 199, 200, 999} {
		_, _, err := s.SetDeadLetterEnd(ctx, refs[i], exporters.DeadLetterOpen, exporters.DeadLetterEnd{State: exporters.DeadLetterDiscarded, At: base()})
		noError(t, "SetDeadLetterEnd", err)
	}
	ends, err := s.DeadLetterEnds(ctx, refs)
	noError(t, "DeadLetterEnds", err)
	equal(t, "ends", len(ends), 4)
	if _, err := s.DeadLetterEnds(ctx, tooMany); err == nil {
		t.Error("more letters than allowed were asked for")
	}
}
