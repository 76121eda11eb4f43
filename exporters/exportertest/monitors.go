package exportertest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/schemas"
)

// MonitorStore is what Monitors tests.
type MonitorStore interface {
	exporters.MonitorKeeper
	exporters.MonitorStore
	exporters.IssueSighter
	exporters.IssueStore
}

// Monitors is the suite of MonitorKeeper and MonitorStore. open gives an empty store.
func Monitors(t *testing.T, open func(t *testing.T) MonitorStore) {
	run := func(name string, f func(t *testing.T, w *cronWorld)) {
		t.Run(name, func(t *testing.T) { f(t, &cronWorld{t: t, s: open(t)}) })
	}
	run("ACheckInWithAConfigurationMakesItsMonitor", cronUpsert)
	run("AnEndThatOvertookItsBeginningIsKept", cronOvertaken)
	run("ARunIsInProgressAndThenOver", cronRun)
	run("WhatComesAgainChangesNothing", cronReplay)
	run("RunsThatDoNotComeAreMissedWhateverTheOrderOfCheckIns", cronMissed)
	run("ACheckInStandsForOneRun", cronSlots)
	run("ARunStaysInTheEnvironmentWhereItBegan", cronEnvironments)
	run("IntervalsCountFromTheLastRun", cronInterval)
	run("RunsThatDoNotEndTimeOut", cronTimeout)
	run("ThresholdsOpenAndCloseIncidents", cronThresholds)
	run("WhatIsFoundOutLateIsAnIncidentAllTheSame", cronLate)
	run("IncidentsOfAnEnvironmentAreToldOneByOne", cronOneByOne)
	run("AnIssueIsResolvedOnceWhenItsJobRecovers", cronRecovers)
	run("AnIssueThatAPersonSawToIsLeft", cronLeft)
	run("AnIssueOfTwoJobsIsResolvedWhenBothRecovered", cronMerged)
	run("AMutedMonitorResolvesNothing", cronMuted)
	run("MutedAndDisabledMonitorsAreLeftAlone", cronStates)
	run("MonitorsAreMadeChangedAndDeleted", cronLife)
	run("CheckInsArePagedAndExpire", cronPages)
	run("AProjectHasSoManyMonitors", cronMany)
}

// t0 is a whole hour, long enough ago.
var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

var at0 = t0.UnixNano()

func at(d time.Duration) int64 { return t0.Add(d).UnixNano() }

func hourly() *schemas.MonitorConfig {
	return &schemas.MonitorConfig{ScheduleType: "crontab", Crontab: "0 * * * *", CheckInMargin: 5, MaxRuntime: 10, FailureThreshold: 1, RecoveryThreshold: 1}
}

type cronWorld struct {
	t      *testing.T
	s      MonitorStore
	offset int64

	revived []exporters.CheckInUpdate // of the last apply
}

// update is a check-in of the monitor "job", in production.
func (w *cronWorld) update(id byte, status schemas.CheckInStatus, d time.Duration) exporters.CheckInUpdate {
	w.offset++
	return exporters.CheckInUpdate{
		Project: 1, Slug: "job", ID: schemas.EventID{id}, NewID: schemas.EventID{0xff, byte(w.offset)}, Environment: "production", Status: status, Duration: -1,
		Received: at(d), Source: 1, Offset: w.offset,
	}
}

func (w *cronWorld) apply(us ...exporters.CheckInUpdate) []error {
	w.t.Helper()
	last := us[len(us)-1]
	out, revived, err := w.s.ApplyCheckIns(testContext(w.t), us, []exporters.Progress{{Source: last.Source, Offset: last.Offset, Time: last.Received}})
	noError(w.t, "ApplyCheckIns", err)
	w.revived = revived
	return out
}

// made makes the monitor by a run that went well at t0.
func (w *cronWorld) made(c *schemas.MonitorConfig) {
	w.t.Helper()
	u := w.update(1, schemas.CheckInOK, 0)
	u.Config = c
	if out := w.apply(u); out[0] != nil {
		w.t.Fatalf("ApplyCheckIns: %v", out[0])
	}
}

func (w *cronWorld) advance(d time.Duration) {
	w.t.Helper()
	for {
		more, err := w.s.AdvanceMonitors(testContext(w.t), at(d), 2)
		noError(w.t, "AdvanceMonitors", err)
		if !more {
			return
		}
	}
}

// runs are the check-ins, oldest first, as minutes after t0 and their status.
func (w *cronWorld) runs(want ...string) {
	w.t.Helper()
	list, err := w.s.CheckIns(testContext(w.t), 1, "job", "", 0, schemas.EventID{}, 500)
	noError(w.t, "CheckIns", err)
	got := make([]string, 0, len(list))
	for _, c := range slices.Backward(list) {
		got = append(got, fmt.Sprintf("%d %s", (c.Time-at(0))/int64(time.Minute), c.Status))
	}
	equal(w.t, "runs", got, want)
}

func (w *cronWorld) untold(n int) []exporters.MonitorIncident {
	w.t.Helper()
	list, err := w.s.UntoldIncidents(testContext(w.t), 10)
	noError(w.t, "UntoldIncidents", err)
	if len(list) != n {
		w.t.Fatalf("%d incidents are untold, want %d: %+v", len(list), n, list)
	}
	return list
}

func (w *cronWorld) environment() schemas.MonitorEnvironment {
	w.t.Helper()
	m, err := w.s.Monitor(testContext(w.t), 1, "job")
	noError(w.t, "Monitor", err)
	if len(m.Environments) != 1 {
		w.t.Fatalf("the monitor has the environments %+v, want one", m.Environments)
	}
	return m.Environments[0]
}

// cronOvertaken: the end of the first run comes before its beginning, which makes the
// monitor, as when a sender's two requests overtake each other.
func cronOvertaken(t *testing.T, w *cronWorld) {
	stale := w.update(7, schemas.CheckInOK, -time.Minute)
	end, begin := w.update(1, schemas.CheckInOK, 0), w.update(1, schemas.CheckInInProgress, 5*time.Millisecond)
	begin.Config = hourly()
	if out := w.apply(stale, end); !errors.Is(out[1], exporters.ErrNoMonitor) || len(w.revived) != 0 {
		t.Errorf("before there is a monitor: %v, revived %v", out, w.revived)
	}
	if out := w.apply(begin); out[0] != nil || len(w.revived) != 1 || w.revived[0].Offset != end.Offset || w.revived[0].Source != end.Source {
		t.Fatalf("the beginning: %v, revived %+v", out, w.revived)
	}
	list, err := w.s.CheckIns(testContext(t), 1, "job", "", 0, schemas.EventID{}, 10)
	noError(t, "CheckIns", err)
	if len(list) != 1 || list[0].ID != begin.ID || list[0].Status != schemas.CheckInOK {
		t.Errorf("the runs are %+v, want one that is over", list)
	}
	later := w.update(2, schemas.CheckInInProgress, time.Second)
	later.Config = hourly()
	if w.apply(later); len(w.revived) != 0 {
		t.Errorf("revived twice: %+v", w.revived)
	}
}

func cronUpsert(t *testing.T, w *cronWorld) {
	if out := w.apply(w.update(1, schemas.CheckInOK, 0)); !errors.Is(out[0], exporters.ErrNoMonitor) {
		t.Errorf("a check-in of no monitor: %v", out[0])
	}
	u := w.update(2, schemas.CheckInOK, time.Minute)
	u.Config, u.Trace, u.Release, u.Duration = hourly(), traceID(3), "job@1", 5e9
	w.apply(u)
	m, err := w.s.Monitor(testContext(t), 1, "job")
	noError(t, "Monitor", err)
	equal(t, "configuration", m.Config, *hourly())
	equal(t, "environments", m.Environments, []schemas.MonitorEnvironment{{Name: "production", Status: schemas.CheckInOK, Last: at(time.Minute), Next: at(time.Hour)}})
	list, err := w.s.CheckIns(testContext(t), 1, "job", "production", 0, schemas.EventID{}, 10)
	noError(t, "CheckIns", err)
	equal(t, "check-ins", list, []schemas.CheckIn{{ID: schemas.EventID{2}, Environment: "production", Status: schemas.CheckInOK, Time: at(time.Minute), Updated: at(time.Minute), Duration: 5e9, Trace: traceID(3), Release: "job@1"}})
	u = w.update(3, schemas.CheckInOK, 2*time.Minute)
	u.Config = hourly()
	u.Config.Crontab = "30 * * * *"
	w.apply(u)
	if e := w.environment(); e.Next != at(30*time.Minute) {
		t.Errorf("with a new schedule the next run is due %v after t0, want 30m", time.Duration(e.Next-at(0)))
	}
}

func cronRun(t *testing.T, w *cronWorld) {
	w.made(hourly())
	w.apply(w.update(2, schemas.CheckInInProgress, time.Hour))
	w.runs("0 ok", "60 in_progress")
	done := w.update(2, schemas.CheckInOK, time.Hour+2*time.Minute)
	done.Duration = 120e9
	w.apply(done, w.update(2, schemas.CheckInError, time.Hour+3*time.Minute)) // it is over: the second says nothing
	w.runs("0 ok", "60 ok")
	// Without an id: the latest in progress, or else a new one.
	w.apply(w.update(0, schemas.CheckInInProgress, 2*time.Hour))
	w.apply(w.update(0, schemas.CheckInOK, 2*time.Hour+time.Minute))
	w.runs("0 ok", "60 ok", "120 ok")
	w.apply(w.update(0, schemas.CheckInOK, 3*time.Hour))
	w.runs("0 ok", "60 ok", "120 ok", "180 ok")
	list, err := w.s.CheckIns(testContext(t), 1, "job", "", 0, schemas.EventID{}, 10)
	noError(t, "CheckIns", err)
	if c := list[2]; c.Duration != 120e9 || c.Updated != at(time.Hour+2*time.Minute) {
		t.Errorf("the run that went on is %+v", c)
	}
}

func cronReplay(t *testing.T, w *cronWorld) {
	w.made(hourly())
	batch := []exporters.CheckInUpdate{
		w.update(0, schemas.CheckInInProgress, time.Hour), w.update(0, schemas.CheckInError, time.Hour+time.Minute),
		w.update(0, schemas.CheckInInProgress, 2*time.Hour), w.update(0, schemas.CheckInOK, 2*time.Hour),
	}
	batch[3].Slug = "unknown"
	for range 3 { // a crash before the commit, twice
		out := w.apply(batch...)
		for i, want := range []error{nil, nil, nil, exporters.ErrNoMonitor} { // to be counted, also when it comes again
			if !errors.Is(out[i], want) {
				t.Errorf("update %d: %v, want %v", i, out[i], want)
			}
		}
	}
	w.runs("0 ok", "60 error", "120 in_progress")
	w.untold(1)
	p, err := w.s.CheckInProgress(testContext(t))
	noError(t, "CheckInProgress", err)
	equal(t, "progress", p, map[schemas.Source]exporters.Progress{1: {Source: 1, Offset: w.offset, Time: at(2 * time.Hour)}})
}

func cronMissed(t *testing.T, w *cronWorld) {
	w.made(hourly())
	// A partition that is ahead has the run of 15:00; that of 13:00 lies in another. The
	// clock does not pass what is not applied, so nothing is missed yet.
	w.apply(w.update(4, schemas.CheckInOK, 3*time.Hour))
	w.advance(time.Hour + 4*time.Minute)
	w.runs("0 ok", "180 ok")
	late := w.update(2, schemas.CheckInOK, time.Hour+time.Minute)
	late.Source = 2
	w.apply(late)
	for range 2 {
		w.advance(3*time.Hour + 30*time.Minute)
		w.runs("0 ok", "61 ok", "120 missed", "180 ok")
	}
	if e := w.environment(); e.Next != at(4*time.Hour) || e.Status != schemas.CheckInOK || e.Failing {
		t.Errorf("environment = %+v", e)
	}
	// A job's clock may be a little ahead.
	w.apply(w.update(5, schemas.CheckInOK, 4*time.Hour-20*time.Second))
	w.advance(4*time.Hour + 30*time.Minute)
	w.runs("0 ok", "61 ok", "120 missed", "180 ok", "239 ok")
	// Of a long silence only the last day is told.
	w.advance(100 * time.Hour)
	list, err := w.s.CheckIns(testContext(t), 1, "job", "", 0, schemas.EventID{}, 500)
	noError(t, "CheckIns", err)
	if n := len(list) - 5; n < 22 || n > 25 {
		t.Errorf("%d runs were missed, want those of the last day", n)
	}
	if e := w.environment(); e.Status != schemas.CheckInMissed || !e.Failing {
		t.Errorf("environment = %+v", e)
	}
}

func cronSlots(t *testing.T, w *cronWorld) {
	minutely := func(margin int64) *schemas.MonitorConfig {
		return &schemas.MonitorConfig{ScheduleType: "crontab", Crontab: "* * * * *", CheckInMargin: margin, MaxRuntime: 10, FailureThreshold: 1, RecoveryThreshold: 1}
	}
	f := func(job string, margin int64, at []time.Duration, clock time.Duration, want ...string) {
		t.Helper()
		var us []exporters.CheckInUpdate
		for i, d := range at {
			u := w.update(0, schemas.CheckInOK, d)
			u.Slug = job
			if i == 0 {
				u.Config = minutely(margin)
			}
			us = append(us, u)
		}
		w.apply(us...)
		for d := time.Duration(0); d <= clock; d += 7 * time.Second { // as the clock comes by
			w.advance(d)
		}
		w.advance(clock)
		list, err := w.s.CheckIns(testContext(t), 1, job, "", 0, schemas.EventID{}, 500)
		noError(t, "CheckIns", err)
		got := []string{}
		for _, c := range slices.Backward(list) {
			if c.Status == schemas.CheckInMissed {
				got = append(got, time.Duration(c.Time-at0).String())
			}
		}
		equal(t, "missed of "+job, got, want)
	}
	const s, m = time.Second, time.Minute
	each := func(first, step time.Duration, n int) (out []time.Duration) {
		for i := range n {
			out = append(out, first+time.Duration(i)*step)
		}
		return out
	}
	for _, second := range []time.Duration{0, s, 15 * s, 30 * s, 45 * s, 59 * s} {
		f("each-"+second.String(), 1, each(second, m, 8), 8*m)
		f("second-"+second.String(), 1, each(second, 2*m, 4), 8*m, "1m0s", "3m0s", "5m0s", "7m0s")
	}
	// Clocks that do not quite agree: half of them come before their minute.
	f("jitter", 1, []time.Duration{100, m - s, 2*m + s, 3*m - s, 4*m + s, 5*m - s}, 6*m)
	// A job that is late within its margin, each time.
	f("late", 3, append([]time.Duration{0}, each(3*m+30*s, m, 6)...), 7*m)
	// Two instances at once stand for two runs at most, when the second of them is early.
	f("twice", 1, []time.Duration{s, 2 * s, m + 50*s, m + 51*s}, 4*m, "3m0s")
	// What comes too late stands for the next run, not for its own as well.
	f("too-late", 1, []time.Duration{s, 2*m + s}, 3*m, "1m0s")
}

func cronEnvironments(t *testing.T, w *cronWorld) {
	w.made(hourly())
	u := w.update(2, schemas.CheckInInProgress, time.Hour)
	u.Environment = "staging"
	w.apply(u, w.update(2, schemas.CheckInOK, time.Hour+time.Minute)) // the script tells the environment once
	w.runs("0 ok", "60 ok")
	m, err := w.s.Monitor(testContext(t), 1, "job")
	noError(t, "Monitor", err)
	got := make([]string, 0, 2)
	for _, e := range m.Environments {
		got = append(got, fmt.Sprintf("%s %s", e.Name, e.Status))
	}
	equal(t, "environments", got, []string{"production ok", "staging ok"})
	// Each has its own runs: production missed 13:00, staging missed 14:00.
	w.apply(w.update(3, schemas.CheckInOK, 2*time.Hour))
	w.advance(2*time.Hour + 30*time.Minute)
	for env, want := range map[string][]string{"production": {"0 ok", "60 missed", "120 ok"}, "staging": {"60 ok", "120 missed"}} {
		list, err := w.s.CheckIns(testContext(t), 1, "job", env, 0, schemas.EventID{}, 500)
		noError(t, "CheckIns", err)
		got := make([]string, 0, len(list))
		for _, c := range slices.Backward(list) {
			got = append(got, fmt.Sprintf("%d %s", (c.Time-at0)/int64(time.Minute), c.Status))
		}
		equal(t, "runs in "+env, got, want)
	}
	if list := w.untold(2); list[0].Environment == list[1].Environment {
		t.Errorf("incidents = %+v, want one of each environment", list)
	}
}

func cronInterval(_ *testing.T, w *cronWorld) {
	w.made(&schemas.MonitorConfig{ScheduleType: "interval", Every: 10, Unit: "minute", CheckInMargin: 2, MaxRuntime: 5, FailureThreshold: 1, RecoveryThreshold: 1})
	w.apply(w.update(2, schemas.CheckInOK, 11*time.Minute))
	w.advance(21 * time.Minute) // due at 10 and came at 11: the next is due at 21
	w.runs("0 ok", "11 ok")
	w.advance(24 * time.Minute)
	w.runs("0 ok", "11 ok", "21 missed")
	// A restart in between: the next is due ten minutes after it.
	w.apply(w.update(3, schemas.CheckInOK, 30*time.Minute), w.update(4, schemas.CheckInOK, 32*time.Minute))
	w.advance(43 * time.Minute)
	w.runs("0 ok", "11 ok", "21 missed", "30 ok", "32 ok")
	w.advance(44 * time.Minute)
	w.runs("0 ok", "11 ok", "21 missed", "30 ok", "32 ok", "42 missed")
	// With a margin of more than a day, too.
	u := w.update(5, schemas.CheckInOK, time.Hour)
	u.Config = &schemas.MonitorConfig{ScheduleType: "interval", Every: 1, Unit: "day", CheckInMargin: 2880, MaxRuntime: 5, FailureThreshold: 1, RecoveryThreshold: 1}
	w.apply(u)
	for h := range 80 {
		w.advance(time.Duration(h) * time.Hour)
	}
	w.runs("0 ok", "11 ok", "21 missed", "30 ok", "32 ok", "42 missed", "60 ok", "1500 missed")
}

func cronTimeout(t *testing.T, w *cronWorld) {
	w.made(hourly())
	w.apply(w.update(2, schemas.CheckInInProgress, time.Hour))
	w.advance(time.Hour + 9*time.Minute)
	w.runs("0 ok", "60 in_progress")
	w.apply(w.update(2, schemas.CheckInInProgress, time.Hour+9*time.Minute)) // it is alive
	w.advance(time.Hour + 15*time.Minute)
	w.runs("0 ok", "60 in_progress")
	w.advance(time.Hour + 20*time.Minute)
	w.runs("0 ok", "60 timeout")
	if i := w.untold(1)[0]; i.CheckIn.Status != schemas.CheckInTimeout || i.Slug != "job" || i.Environment != "production" || i.Opened != at(time.Hour) || i.Failures != 1 {
		t.Errorf("incident = %+v", i)
	}
	late := w.update(2, schemas.CheckInOK, time.Hour+21*time.Minute)
	late.Duration = 21 * 60e9
	w.apply(late) // too late: it stays what it is, but is known to have ended
	w.runs("0 ok", "60 timeout")
	list, err := w.s.CheckIns(testContext(t), 1, "job", "", 0, schemas.EventID{}, 1)
	noError(t, "CheckIns", err)
	if c := list[0]; c.Duration != 21*60e9 || c.Updated != at(time.Hour+19*time.Minute) {
		t.Errorf("the run that timed out is %+v", c)
	}
	w.untold(1)
	// What ends too late timed out, though the clock has not come by.
	w.apply(w.update(3, schemas.CheckInInProgress, 2*time.Hour))
	w.apply(w.update(3, schemas.CheckInOK, 2*time.Hour+11*time.Minute))
	w.runs("0 ok", "60 timeout", "120 timeout")
}

func cronThresholds(t *testing.T, w *cronWorld) {
	c := hourly()
	c.FailureThreshold, c.RecoveryThreshold = 3, 2
	w.made(c)
	w.apply(w.update(2, schemas.CheckInError, time.Hour), w.update(3, schemas.CheckInError, 2*time.Hour))
	w.untold(0)
	w.apply(w.update(4, schemas.CheckInError, 3*time.Hour), w.update(5, schemas.CheckInError, 4*time.Hour))
	i := w.untold(1)[0]
	if i.Failures != 3 || i.CheckIn.ID != (schemas.EventID{4}) || i.Project != 1 {
		t.Errorf("incident = %+v", i)
	}
	noError(t, "IncidentTold", w.s.IncidentTold(testContext(t), i.ID, schemas.EventID{9}, schemas.Fingerprint{}))
	w.untold(0)
	if e := w.environment(); !e.Failing || e.Event != (schemas.EventID{9}) {
		t.Errorf("environment = %+v, want failing with the event", e)
	}
	w.apply(w.update(6, schemas.CheckInOK, 5*time.Hour))
	if e := w.environment(); !e.Failing {
		t.Error("one run that went well ended what takes two")
	}
	w.apply(w.update(7, schemas.CheckInOK, 6*time.Hour))
	if e := w.environment(); e.Failing || e.Event != (schemas.EventID{}) {
		t.Errorf("environment = %+v, want one that recovered", e)
	}
	for n := range byte(3) {
		w.apply(w.update(10+n, schemas.CheckInError, time.Duration(7+n)*time.Hour))
	}
	w.untold(1)
}

func cronLate(t *testing.T, w *cronWorld) {
	c := hourly()
	c.FailureThreshold, c.RecoveryThreshold, c.CheckInMargin = 2, 2, 50
	w.made(c)
	// 13:00 and 14:00 are missed, which is known when those of 15:50 and 15:55 went well.
	w.apply(w.update(2, schemas.CheckInOK, 3*time.Hour-5*time.Minute), w.update(3, schemas.CheckInOK, 3*time.Hour-3*time.Minute))
	w.advance(time.Hour + 50*time.Minute)
	w.untold(0)
	w.advance(2*time.Hour + 50*time.Minute)
	w.runs("0 ok", "60 missed", "120 missed", "175 ok", "177 ok")
	i := w.untold(1)[0]
	if i.CheckIn.Status != schemas.CheckInMissed || i.Opened != at(2*time.Hour) || i.CheckIn.Updated != at(2*time.Hour+50*time.Minute) || i.Failures != 2 {
		t.Errorf("incident = %+v, want that of 14:00, known at 14:50", i)
	}
	if e := w.environment(); e.Failing || e.Status != schemas.CheckInOK {
		t.Errorf("environment = %+v, want one that has recovered", e)
	}
	// A failure that stands alone is none.
	w.apply(w.update(4, schemas.CheckInError, 30*time.Minute), w.update(5, schemas.CheckInOK, 40*time.Minute))
	w.untold(1)
	// A run that began before the incident, and went well in between, is of the same one.
	c.FailureThreshold = 1
	u := w.update(6, schemas.CheckInInProgress, 5*time.Hour)
	u.Config = c
	w.apply(u, w.update(7, schemas.CheckInOK, 5*time.Hour+time.Minute), w.update(8, schemas.CheckInError, 5*time.Hour+2*time.Minute))
	noError(t, "IncidentTold", w.s.IncidentTold(testContext(t), i.ID, schemas.EventID{9}, schemas.Fingerprint{}))
	i = w.untold(1)[0]
	noError(t, "IncidentTold", w.s.IncidentTold(testContext(t), i.ID, schemas.EventID{9}, schemas.Fingerprint{}))
	w.apply(w.update(6, schemas.CheckInError, 5*time.Hour+3*time.Minute))
	w.untold(0)
	if e := w.environment(); !e.Failing || e.Status != schemas.CheckInError {
		t.Errorf("environment = %+v, want one that is failing", e)
	}
}

// see is the sighting of an incident's event, as the keeper makes it.
func (w *cronWorld) see(i *exporters.MonitorIncident) (schemas.IssueID, bool) {
	w.t.Helper()
	hash := schemas.Fingerprint{7}
	copy(hash[1:], i.Slug+i.Environment)
	when := max(i.Opened, i.CheckIn.Updated)
	seen, err := w.s.SeeIssues(testContext(w.t), []exporters.Sighting{{
		Project: i.Project, Hashes: []schemas.Fingerprint{hash}, Category: exporters.MonitorIssues, Title: "Monitor failure", FirstSeen: when, LastSeen: when, LastReceived: when,
	}})
	noError(w.t, "SeeIssues", err)
	noError(w.t, "IncidentTold", w.s.IncidentTold(testContext(w.t), i.ID, schemas.EventID{byte(i.ID)}, hash))
	return seen[0].Issue, seen[0].IsRegression
}

func (w *cronWorld) resolve(want int) {
	w.t.Helper()
	n, err := w.s.ResolveIncidents(testContext(w.t), time.Now(), 10)
	if err != nil || n != want {
		w.t.Errorf("ResolveIncidents saw to %d, %v; want %d", n, err, want)
	}
}

// issue wants an issue's status and what happened to it since it began, oldest first.
func (w *cronWorld) issue(id schemas.IssueID, status string, want ...string) {
	w.t.Helper()
	i, err := w.s.Issue(testContext(w.t), 1, id)
	noError(w.t, "Issue", err)
	if i.Status != status {
		w.t.Errorf("the issue is %s, want %s", i.Status, status)
	}
	log, err := w.s.Activity(testContext(w.t), 1, id, 100)
	noError(w.t, "Activity", err)
	var got []string
	for _, a := range slices.Backward(log) {
		if a.Kind == issuestate.FirstSeen {
			continue
		}
		line := a.Kind
		if a.By != "" {
			line += " by " + a.By
		}
		if strings.Contains(string(a.Data), "because") {
			line += " " + string(a.Data)
		}
		got = append(got, line)
	}
	equal(w.t, "activity", got, want)
}

const recovered = `set_resolved {"because":"recovered","environment":"production","in":"now","monitor":"job"}`

func cronOneByOne(t *testing.T, w *cronWorld) {
	w.made(hourly())
	w.apply(w.update(2, schemas.CheckInError, time.Hour), w.update(3, schemas.CheckInOK, 2*time.Hour), w.update(4, schemas.CheckInError, 3*time.Hour))
	first := w.untold(1)[0]
	if first.CheckIn.ID != (schemas.EventID{2}) {
		t.Errorf("the first to be told is %+v", first)
	}
	id, _ := w.see(&first)
	w.resolve(1)
	second := w.untold(1)[0]
	if again, regressed := w.see(&second); again != id || !regressed {
		t.Errorf("the second failure is of issue %d, regressed %v; want the first's, %d, which comes back", again, regressed, id)
	}
	w.untold(0)
	w.issue(id, schemas.StatusUnresolved, recovered, "set_regression")
}

func cronRecovers(t *testing.T, w *cronWorld) {
	c := hourly()
	c.RecoveryThreshold = 2
	w.made(c)
	w.apply(w.update(2, schemas.CheckInError, time.Hour))
	w.resolve(0)
	i := w.untold(1)[0]
	id, _ := w.see(&i)
	w.resolve(0)
	batch := []exporters.CheckInUpdate{w.update(3, schemas.CheckInOK, 2*time.Hour)}
	w.apply(batch...)
	w.resolve(0)
	w.issue(id, schemas.StatusUnresolved)
	batch = append(batch, w.update(4, schemas.CheckInOK, 3*time.Hour))
	for range 2 { // a crash before the commit
		w.apply(batch...)
	}
	w.resolve(1)
	w.resolve(0)
	w.see(&i) // and before it was noted that it is told: the same event again
	w.resolve(0)
	w.issue(id, schemas.StatusResolved, recovered)
	w.apply(w.update(5, schemas.CheckInOK, 4*time.Hour))
	// A person opens it again: that stands until the next incident is over.
	_, err := w.s.ChangeIssues(testContext(t), 1, []schemas.IssueID{id}, exporters.IssueChange{By: "ada", Unresolve: true})
	noError(t, "ChangeIssues", err)
	w.resolve(0)
	w.issue(id, schemas.StatusUnresolved, recovered, "set_unresolved by ada")
	w.apply(w.update(6, schemas.CheckInError, 5*time.Hour))
	i = w.untold(1)[0]
	w.see(&i)
	w.apply(w.update(7, schemas.CheckInOK, 6*time.Hour), w.update(8, schemas.CheckInOK, 7*time.Hour))
	w.resolve(1)
	w.issue(id, schemas.StatusResolved, recovered, "set_unresolved by ada", recovered)
}

func cronLeft(t *testing.T, w *cronWorld) {
	w.made(hourly())
	fail, well := byte(10), byte(11)
	f := func(hour int, c exporters.IssueChange, status string, want ...string) (id schemas.IssueID) {
		t.Helper()
		w.apply(w.update(fail, schemas.CheckInError, time.Duration(hour)*time.Hour))
		i := w.untold(1)[0]
		id, _ = w.see(&i)
		c.By, c.At = "ada", t0.Add(time.Duration(hour)*time.Hour+time.Minute)
		_, err := w.s.ChangeIssues(testContext(t), 1, []schemas.IssueID{id}, c)
		noError(t, "ChangeIssues", err)
		w.apply(w.update(well, schemas.CheckInOK, time.Duration(hour+1)*time.Hour))
		w.resolve(1)
		w.issue(id, status, want...)
		fail, well = fail+2, well+2
		return id
	}
	f(1, exporters.IssueChange{Resolve: &schemas.Resolution{Kind: schemas.ResolvedNow}}, schemas.StatusResolved, "set_resolved by ada")
	id := f(3, exporters.IssueChange{Archive: &schemas.Archive{Kind: schemas.UntilForever}}, schemas.StatusArchived, "set_resolved by ada", "set_regression", "set_archived by ada")
	_, err := w.s.DeleteIssues(testContext(t), 1, []schemas.IssueID{id}, false, "ada")
	noError(t, "DeleteIssues", err)
	w.resolve(0)
}

func cronMerged(t *testing.T, w *cronWorld) {
	w.made(hourly())
	var ids []schemas.IssueID
	for n, env := range []string{"production", "staging"} {
		u := w.update(byte(2+n), schemas.CheckInError, time.Hour)
		u.Environment = env
		w.apply(u)
		i := w.untold(1)[0]
		id, _ := w.see(&i)
		ids = append(ids, id)
	}
	noError(t, "MergeIssues", w.s.MergeIssues(testContext(t), 1, ids[0], ids[1:], "ada"))
	w.apply(w.update(4, schemas.CheckInOK, 2*time.Hour))
	w.resolve(1)
	w.issue(ids[0], schemas.StatusUnresolved, "merge by ada") // staging fails still
	u := w.update(5, schemas.CheckInOK, 2*time.Hour)
	u.Environment = "staging"
	w.apply(u)
	w.resolve(1)
	w.issue(ids[0], schemas.StatusResolved, "merge by ada", strings.ReplaceAll(recovered, "production", "staging"))
}

func cronMuted(t *testing.T, w *cronWorld) {
	w.made(hourly())
	set := func(status schemas.MonitorStatus) {
		t.Helper()
		_, err := w.s.UpdateMonitor(testContext(t), schemas.Monitor{Project: 1, Slug: "job", Name: "Job", Status: status, Config: *hourly()}, at(time.Minute))
		noError(t, "UpdateMonitor", err)
	}
	w.apply(w.update(2, schemas.CheckInError, time.Hour))
	i := w.untold(1)[0]
	id, _ := w.see(&i)
	set(schemas.MonitorMuted)
	w.apply(w.update(3, schemas.CheckInOK, 2*time.Hour), w.update(4, schemas.CheckInError, 3*time.Hour), w.update(5, schemas.CheckInOK, 4*time.Hour))
	w.resolve(0)
	w.untold(0)
	w.issue(id, schemas.StatusUnresolved)
	set(schemas.MonitorActive) // what came and went meanwhile is not told; the issue that was there is over
	w.untold(0)
	w.resolve(1)
	w.issue(id, schemas.StatusResolved, recovered)
}

func cronStates(t *testing.T, w *cronWorld) {
	w.made(hourly())
	set := func(status schemas.MonitorStatus, d time.Duration) {
		t.Helper()
		_, err := w.s.UpdateMonitor(testContext(t), schemas.Monitor{Project: 1, Slug: "job", Name: "Job", Status: status, Config: *hourly()}, at(d))
		noError(t, "UpdateMonitor", err)
	}
	set(schemas.MonitorMuted, time.Minute)
	w.apply(w.update(2, schemas.CheckInError, time.Hour))
	w.runs("0 ok", "60 error")
	w.untold(0)
	set(schemas.MonitorActive, 61*time.Minute)
	w.untold(1)
	set(schemas.MonitorDisabled, 62*time.Minute)
	if out := w.apply(w.update(3, schemas.CheckInOK, 2*time.Hour)); !errors.Is(out[0], exporters.ErrMonitorDisabled) {
		t.Errorf("a check-in of a disabled monitor: %v", out[0])
	}
	w.advance(5 * time.Hour)
	w.runs("0 ok", "60 error")
	set(schemas.MonitorActive, 5*time.Hour) // what came while it was disabled is not missed
	w.advance(5*time.Hour + 30*time.Minute)
	w.runs("0 ok", "60 error")
	w.advance(6*time.Hour + 5*time.Minute)
	w.runs("0 ok", "60 error", "360 missed")
}

func cronLife(t *testing.T, w *cronWorld) {
	ctx := testContext(t)
	m, err := w.s.CreateMonitor(ctx, schemas.Monitor{Project: 1, Slug: "job", Name: "Nightly ☃", Status: schemas.MonitorActive, Config: *hourly(), Created: 5})
	noError(t, "CreateMonitor", err)
	equal(t, "monitor", m, schemas.Monitor{ID: m.ID, Project: 1, Slug: "job", Name: "Nightly ☃", Status: schemas.MonitorActive, Config: *hourly(), Created: 5})
	_, err = w.s.CreateMonitor(ctx, m)
	isError(t, "CreateMonitor again", err, exporters.ErrExists)
	bad := m
	bad.Slug, bad.Config.Crontab = "Not A Slug", "never"
	_, err = w.s.CreateMonitor(ctx, bad)
	isError(t, "CreateMonitor of nonsense", err, exporters.ErrInvalid)
	w.apply(w.update(1, schemas.CheckInError, time.Hour))
	list, err := w.s.Monitors(ctx, 1)
	noError(t, "Monitors", err)
	if len(list) != 1 || len(list[0].Environments) != 1 || !list[0].Environments[0].Failing {
		t.Errorf("monitors = %+v", list)
	}
	_, err = w.s.Monitor(ctx, 2, "job")
	isError(t, "Monitor of another project", err, exporters.ErrNotFound)
	m.Slug = "other"
	_, err = w.s.UpdateMonitor(ctx, m, 0)
	isError(t, "UpdateMonitor of none", err, exporters.ErrNotFound)
	noError(t, "DeleteMonitor", w.s.DeleteMonitor(ctx, 1, "job"))
	isError(t, "DeleteMonitor again", w.s.DeleteMonitor(ctx, 1, "job"), exporters.ErrNotFound)
	w.untold(0)
	w.runs()
	w.advance(9 * time.Hour)
}

func cronPages(t *testing.T, w *cronWorld) {
	ctx := testContext(t)
	w.made(hourly())
	for i := range byte(9) {
		w.apply(w.update(2+i, schemas.CheckInOK, time.Duration(i/3)*time.Hour)) // three at each time
	}
	seen := map[schemas.EventID]bool{}
	before, id := int64(0), schemas.EventID{}
	for {
		page, err := w.s.CheckIns(ctx, 1, "job", "production", before, id, 4)
		noError(t, "CheckIns", err)
		for _, c := range page {
			if seen[c.ID] {
				t.Fatalf("check-in %s comes on two pages", c.ID)
			}
			seen[c.ID], before, id = true, c.Time, c.ID
		}
		if len(page) < 4 {
			break
		}
	}
	if len(seen) != 10 {
		t.Errorf("paging gave %d of 10", len(seen))
	}
	if list, err := w.s.CheckIns(ctx, 1, "job", "staging", 0, schemas.EventID{}, 10); err != nil || len(list) != 0 {
		t.Errorf("check-ins of another environment: %v, %v", list, err)
	}
	for _, want := range []int{3, 1, 0} { // those of t0, at most three a call
		n, err := w.s.ExpireCheckIns(ctx, at(time.Minute), 3)
		if err != nil || n != want {
			t.Errorf("ExpireCheckIns removed %d, %v; want %d", n, err, want)
		}
	}
}

func cronMany(t *testing.T, w *cronWorld) {
	us := make([]exporters.CheckInUpdate, 0, exporters.MaxMonitors+1)
	for i := range exporters.MaxMonitors + 1 {
		u := w.update(1, schemas.CheckInOK, 0)
		u.Slug, u.Config = fmt.Sprintf("job-%d", i), hourly()
		us = append(us, u)
	}
	out := w.apply(us...)
	if out[exporters.MaxMonitors-1] != nil || !errors.Is(out[exporters.MaxMonitors], exporters.ErrTooManyMonitors) {
		t.Errorf("the last two: %v, %v", out[exporters.MaxMonitors-1], out[exporters.MaxMonitors])
	}
	us = us[:0]
	for i := range exporters.MaxMonitorEnvironments + 1 {
		u := w.update(byte(100+i), schemas.CheckInOK, 0)
		u.Slug, u.Environment = "job-0", fmt.Sprintf("env-%d", i)
		us = append(us, u)
	}
	out = w.apply(us...) // production is there already
	if out[exporters.MaxMonitorEnvironments-2] != nil || !errors.Is(out[exporters.MaxMonitorEnvironments-1], exporters.ErrTooManyEnvirons) {
		t.Errorf("the last environments: %v, %v", out[exporters.MaxMonitorEnvironments-2], out[exporters.MaxMonitorEnvironments-1])
	}
}
