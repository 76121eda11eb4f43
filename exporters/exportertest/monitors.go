package exportertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// MonitorStore is what Monitors tests.
type MonitorStore interface {
	exporters.MonitorKeeper
	exporters.MonitorStore
}

// Monitors is the suite of MonitorKeeper and MonitorStore. open gives an empty store.
func Monitors(t *testing.T, open func(t *testing.T) MonitorStore) {
	run := func(name string, f func(t *testing.T, w *cronWorld)) {
		t.Run(name, func(t *testing.T) { f(t, &cronWorld{t: t, s: open(t)}) })
	}
	run("ACheckInWithAConfigurationMakesItsMonitor", cronUpsert)
	run("ARunIsInProgressAndThenOver", cronRun)
	run("WhatComesAgainChangesNothing", cronReplay)
	run("RunsThatDoNotComeAreMissedWhateverTheOrderOfCheckIns", cronMissed)
	run("IntervalsCountFromTheLastRun", cronInterval)
	run("RunsThatDoNotEndTimeOut", cronTimeout)
	run("ThresholdsOpenAndCloseIncidents", cronThresholds)
	run("MutedAndDisabledMonitorsAreLeftAlone", cronStates)
	run("MonitorsAreMadeChangedAndDeleted", cronLife)
	run("CheckInsArePagedAndExpire", cronPages)
	run("AProjectHasSoManyMonitors", cronMany)
}

// t0 is a whole hour, long enough ago.
var t0 = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) int64 { return t0.Add(d).UnixNano() }

func hourly() *schemas.MonitorConfig {
	return &schemas.MonitorConfig{ScheduleType: "crontab", Crontab: "0 * * * *", CheckInMargin: 5, MaxRuntime: 10, FailureThreshold: 1, RecoveryThreshold: 1}
}

type cronWorld struct {
	t      *testing.T
	s      MonitorStore
	offset int64
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
	out, err := w.s.ApplyCheckIns(testContext(w.t), us, []exporters.Progress{{Source: last.Source, Offset: last.Offset, Time: last.Received}})
	noError(w.t, "ApplyCheckIns", err)
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
		w.update(0, schemas.CheckInInProgress, 2*time.Hour),
	}
	for range 3 { // a crash before the commit, twice
		w.apply(batch...)
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

func cronInterval(_ *testing.T, w *cronWorld) {
	w.made(&schemas.MonitorConfig{ScheduleType: "interval", Every: 10, Unit: "minute", CheckInMargin: 2, MaxRuntime: 5, FailureThreshold: 1, RecoveryThreshold: 1})
	w.apply(w.update(2, schemas.CheckInOK, 11*time.Minute))
	w.advance(21 * time.Minute) // due at 10 and came at 11: the next is due at 21
	w.runs("0 ok", "11 ok")
	w.advance(24 * time.Minute)
	w.runs("0 ok", "11 ok", "21 missed")
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
	w.apply(w.update(2, schemas.CheckInOK, time.Hour+21*time.Minute)) // too late
	w.runs("0 ok", "60 timeout")
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
	noError(t, "IncidentTold", w.s.IncidentTold(testContext(t), i.ID, schemas.EventID{9}))
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
		u := w.update(byte(i), schemas.CheckInOK, 0)
		u.Slug, u.Environment = "job-0", fmt.Sprintf("env-%d", i)
		us = append(us, u)
	}
	out = w.apply(us...) // production is there already
	if out[exporters.MaxMonitorEnvironments-2] != nil || !errors.Is(out[exporters.MaxMonitorEnvironments-1], exporters.ErrTooManyEnvirons) {
		t.Errorf("the last environments: %v, %v", out[exporters.MaxMonitorEnvironments-2], out[exporters.MaxMonitorEnvironments-1])
	}
}
