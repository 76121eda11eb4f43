package monitors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/pipeline/process"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet    = slog.New(slog.DiscardHandler)
	received = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

func metrics() *Metrics {
	m, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	return m
}

// store is a MonitorKeeper that notes what it is asked for.
type store struct {
	updates   []exporters.CheckInUpdate
	progress  map[schemas.Source]exporters.Progress
	refuse    map[string]error // by slug
	clocks    []int64
	more      int
	incidents []exporters.MonitorIncident
	told      map[int64]schemas.EventID
	over      int // incidents to be resolved
	revived   []exporters.CheckInUpdate
	steps     []string // of incidents
	lease     bool
	fail      error
}

func newStore() *store {
	return &store{progress: map[schemas.Source]exporters.Progress{}, refuse: map[string]error{}, told: map[int64]schemas.EventID{}, lease: true}
}

func (s *store) ApplyCheckIns(_ context.Context, us []exporters.CheckInUpdate, ps []exporters.Progress) ([]error, []exporters.CheckInUpdate, error) {
	if s.fail != nil {
		return nil, nil, s.fail
	}
	s.updates = append(s.updates, us...)
	for _, p := range ps {
		s.progress[p.Source] = p
	}
	out := make([]error, len(us))
	for i := range us {
		out[i] = s.refuse[us[i].Slug]
	}
	return out, s.revived, nil
}

func (s *store) CheckInProgress(context.Context) (map[schemas.Source]exporters.Progress, error) {
	return s.progress, nil
}

func (s *store) AdvanceMonitors(_ context.Context, clock int64, _ int) (bool, error) {
	s.clocks = append(s.clocks, clock)
	s.more--
	return s.more >= 0, nil
}

func (s *store) UntoldIncidents(context.Context, int) (out []exporters.MonitorIncident, err error) {
	for _, i := range s.incidents {
		if _, is := s.told[i.ID]; !is {
			out = append(out, i)
		}
	}
	return out, nil
}

func (s *store) IncidentTold(_ context.Context, id int64, event schemas.EventID, hash schemas.Fingerprint) error {
	if s.fail != nil {
		return s.fail
	}
	s.told[id] = event
	s.steps = append(s.steps, fmt.Sprintf("told %d by %x", id, hash[:2]))
	return nil
}

func (s *store) ResolveIncidents(_ context.Context, _ time.Time, limit int) (int, error) {
	n := min(s.over, limit)
	s.over -= n
	s.steps = append(s.steps, fmt.Sprintf("resolved %d", n))
	return n, nil
}

func (s *store) ExpireCheckIns(context.Context, int64, int) (int, error) { return 0, nil }
func (s *store) Lease(context.Context, string, string, time.Duration) (bool, error) {
	return s.lease, nil
}

func record(offset int64, payload string) consume.Record {
	m := wire.CheckIn{Type: "check_in", ProjectID: 42, StartTime: received.Unix(), RetentionDays: 90, Payload: []byte(payload)}
	return consume.Record{
		Topic: topics.IngestMonitors, TopicID: [16]byte{7}, Offset: offset, Value: m.AppendMsgpack(nil), Timestamp: received.Add(time.Second),
		Headers: []consume.Header{
			{Key: schemas.HeaderProject, Value: []byte("42")},
			{Key: schemas.HeaderReceived, Value: strconv.AppendInt(nil, received.UnixNano(), 10)},
			{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaIngestMonitors)},
		},
	}
}

func TestCheckInsAreReadAsSDKsAndScriptsSendThem(t *testing.T) {
	const id, trace = "9ec79c33ec9942ab8353589fcb2e04dc", "4bf92f3577b34da6a3ce929d0e0e4736"
	s := newStore()
	c := New(s, nil, metrics(), quiet)
	batch := []consume.Record{
		record(0, `{"check_in_id":"`+id+`","monitor_slug":"Nightly Job","status":"in_progress","environment":"staging","release":"job@1","contexts":{"trace":{"trace_id":"`+trace+`"}},
"monitor_config":{"schedule":{"type":"crontab","value":"0 3 * * *"},"timezone":"Europe/Vienna","checkin_margin":5,"max_runtime":20,"failure_issue_threshold":2}}`),
		record(1, `{"check_in_id":"00000000-0000-0000-0000-000000000000","monitor_slug":"job","status":"ok","duration":1.5}`),
		record(2, `{"check_in_id":"`+id+`","monitor_slug":"job","status":"ok","monitor_config":{"schedule":{"type":"interval","value":2,"unit":"hours"}}}`),
		record(3, `{"monitor_slug":"job","status":"great"}`),
		record(4, `{"monitor_slug":"☃","status":"ok"}`),
		record(5, `{"monitor_slug":"job","status":"ok","check_in_id":"x"}`),
		record(6, `{"monitor_slug":"job","status":[]}`),
		record(7, `{"monitor_slug"`),
		record(8, `{"monitor_slug":"job","status":"ok","environment":"`+strings.Repeat("e", 65)+`"}`),
	}
	dead, err := c.Handle(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	wantReasons := []string{`"great"`, `"☃"`, `"x"`, `status: want ok`, "broken JSON", "environment"}
	if len(dead) != len(wantReasons) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(wantReasons))
	}
	for i, want := range wantReasons {
		if dead[i].Record != &batch[3+i] || !strings.Contains(dead[i].Reason, want) {
			t.Errorf("dead letter %d of offset %d is %q, want one with %s", i, dead[i].Record.Offset, dead[i].Reason, want)
		}
	}
	source := persist.Source(topics.IngestMonitors, [16]byte{7}, 0)
	if d := cmp.Diff(map[schemas.Source]exporters.Progress{source: {Source: source, Offset: 8, Time: received.Add(time.Second).UnixNano()}}, s.progress); d != "" {
		t.Errorf("progress, also of what is parked (-want +got):\n%s", d)
	}
	for i := range s.updates {
		if s.updates[i].NewID == (schemas.EventID{}) {
			t.Errorf("update %d has no id for a new run", i)
		}
		s.updates[i].NewID = schemas.EventID{}
	}
	checkID, err := schemas.ParseTraceID(id)
	if err != nil {
		t.Fatal(err)
	}
	traceID, err := schemas.ParseTraceID(trace)
	if err != nil {
		t.Fatal(err)
	}
	common := exporters.CheckInUpdate{Project: 42, Received: received.UnixNano(), Duration: -1, Environment: "production", Slug: "job", Status: schemas.CheckInOK, Source: source}
	first, second, third := common, common, common
	first.Slug, first.ID, first.Status, first.Environment, first.Release, first.Trace = "nightly-job", schemas.EventID(checkID), schemas.CheckInInProgress, "staging", "job@1", traceID
	first.Config = &schemas.MonitorConfig{ScheduleType: "crontab", Crontab: "0 3 * * *", Timezone: "Europe/Vienna", CheckInMargin: 5, MaxRuntime: 20, FailureThreshold: 2, RecoveryThreshold: 1}
	second.Duration, second.Offset = 1.5e9, 1
	third.ID, third.Offset = schemas.EventID(checkID), 2
	third.Config = &schemas.MonitorConfig{ScheduleType: "interval", Every: 2, Unit: "hour", CheckInMargin: 1, MaxRuntime: 30, FailureThreshold: 1, RecoveryThreshold: 1}
	if d := cmp.Diff([]exporters.CheckInUpdate{first, second, third}, s.updates); d != "" {
		t.Errorf("updates (-want +got):\n%s", d)
	}
}

// notes is a ledger that keeps its lines.
type notes struct{ lines []schemas.Tally }

func (n *notes) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	n.lines = append(n.lines, lines...)
	return nil
}

func TestABadConfigurationIsLeftOutAndTheCheckInIsNot(t *testing.T) {
	s := newStore()
	s.refuse["unknown"], s.refuse["off"] = exporters.ErrNoMonitor, exporters.ErrMonitorDisabled
	m := metrics()
	var log strings.Builder
	c := New(s, nil, m, slog.New(slog.NewTextHandler(&log, nil)))
	now := received
	c.now = func() time.Time { return now }
	n := &notes{}
	stage := ledger.Around(c, ledger.Config{Final: true, Category: schemas.CategoryMonitor, Source: persist.Source}, n)
	bad := `"monitor_config":{"schedule":{"type":"crontab","value":"0 25 * * *"},"timezone":"Mars/Olympus","checkin_margin":-1,"max_runtime":"long"}`
	batch := []consume.Record{
		record(0, `{"monitor_slug":"job","status":"ok",`+bad+`}`),
		record(1, `{"monitor_slug":"unknown","status":"ok",`+bad+`}`),
		record(2, `{"monitor_slug":"unknown","status":"ok"}`),
		record(3, `{"monitor_slug":"off","status":"ok",`+bad+`}`),
		record(4, `{"monitor_slug":"job","status":"error",`+bad+`}`),
		record(5, `{"monitor_slug":"job","status":"ok","monitor_config":null}`),
		record(6, `{"monitor_slug":"job","status":"ok","monitor_config":"daily"}`),
	}
	dead, err := stage.Handle(t.Context(), batch)
	if err != nil || len(dead) > 0 {
		t.Fatalf("Handle = %+v, %v; want nothing parked", dead, err)
	}
	if len(s.updates) != len(batch) {
		t.Fatalf("%d updates, want %d", len(s.updates), len(batch))
	}
	for i, u := range s.updates {
		if bad := i != 2 && i != 5; u.Config != nil || u.BadConfig != bad {
			t.Errorf("update %d has the configuration %+v, a bad one: %v, want %v", i, u.Config, u.BadConfig, bad)
		}
	}
	got := make([]string, 0, len(n.lines))
	for _, l := range n.lines {
		got = append(got, fmt.Sprintf("%d %s %s %s", l.Position.Offset, l.Category, l.Outcome, l.Reason))
	}
	if d := cmp.Diff([]string{
		"0 monitor stored ", "1 monitor invalid pipeline:invalid_monitor_config", "2 monitor invalid pipeline:no_monitor", "3 monitor filtered pipeline:monitor_disabled",
		"4 monitor stored ", "5 monitor stored ", "6 monitor stored ",
	}, got); d != "" {
		t.Errorf("ledger (-want +got):\n%s", d)
	}
	for _, want := range []string{`monitor_config.schedule.value: \"0 25 * * *\": hour \"25\": want 0 to 23`, `monitor_config.timezone: want a name`, `monitor_config.checkin_margin: want 1 to 40320, got -1`, `monitor_config.max_runtime: want a whole number, got \"long\"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s: %s", want, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("the log has %d lines, want one of each monitor:\n%s", n, log.String())
	}
	if got := testutil.ToFloat64(m.configs); got != 5 {
		t.Errorf("%v bad configurations are counted, want 5", got)
	}
	now = now.Add(warnEvery)
	if _, err := stage.Handle(t.Context(), []consume.Record{record(7, `{"monitor_slug":"job","status":"ok","monitor_config":[]}`)}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 || !strings.Contains(log.String(), "monitor_config: want an object") {
		t.Errorf("an hour later the log has %d lines, want one more:\n%s", n, log.String())
	}
}

func TestABatchIsNotDoneBeforeItIsApplied(t *testing.T) {
	s := newStore()
	s.fail = exporters.ErrUnavailable
	c := New(s, nil, metrics(), quiet)
	if _, err := c.Handle(t.Context(), []consume.Record{record(0, `{"monitor_slug":"job","status":"ok"}`)}); !errors.Is(err, exporters.ErrUnavailable) {
		t.Errorf("Handle = %v, want the store's error", err)
	}
}

type ends []Ends

func (e ends) Ends(context.Context) ([]Ends, error) { return e, nil }

type teller struct {
	in  []process.Incoming
	err error
}

func (t *teller) Process(_ context.Context, in []process.Incoming) ([]process.Refusal, error) {
	t.in = append(t.in, in...)
	for i := range in {
		if in[i].Seen != nil {
			in[i].Seen(exporters.Seen{Issue: 3, Hash: schemas.Fingerprint{0xab, byte(in[i].Offset)}})
		}
	}
	return nil, t.err
}

func TestABacklogHoldsTheClock(t *testing.T) {
	now := received
	f := func(topic ends, progress map[schemas.Source]exporters.Progress, want time.Time) {
		t.Helper()
		s := newStore()
		s.progress = progress
		k := NewKeeper(KeeperDeps{Store: s, Topic: topic, Tell: &teller{}}, 0, metrics(), quiet)
		got, err := k.clock(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		wantNs := int64(0)
		if !want.IsZero() {
			wantNs = want.UnixNano()
		}
		if got != wantNs {
			t.Errorf("the clock is %v, want %v", time.Unix(0, got).UTC(), want)
		}
	}
	at := func(source schemas.Source, offset int64, d time.Duration) map[schemas.Source]exporters.Progress {
		return map[schemas.Source]exporters.Progress{source: {Source: source, Offset: offset, Time: now.Add(d).UnixNano()}}
	}
	f(ends{{1, 0, 10}}, at(1, 9, -time.Hour), now.Add(-grace))            // read to its end
	f(ends{{1, 0, 10}}, at(1, 8, -time.Hour), now.Add(-time.Hour))        // one is not read
	f(ends{{1, 0, 10}, {2, 5, 5}}, at(1, 9, -time.Hour), now.Add(-grace)) // the other is empty
	f(ends{{1, 0, 10}, {2, 0, 5}}, at(1, 9, -time.Hour), time.Time{})     // nothing of the other is read
	f(ends{{1, 0, 10}, {2, 0, 5}}, map[schemas.Source]exporters.Progress{ // the one that is behind decides
		1: {Source: 1, Offset: 3, Time: now.Add(-time.Hour).UnixNano()}, 2: {Source: 2, Offset: 3, Time: now.Add(-2 * time.Hour).UnixNano()},
	}, now.Add(-2*time.Hour))
}

func TestIncidentsAreToldOnceAndAgainOnlyAsTheSameEvent(t *testing.T) {
	s := newStore()
	s.more, s.over = 2, atOnce+1
	s.incidents = []exporters.MonitorIncident{{
		ID: 7, Project: 42, Slug: "job", Name: "Job", Environment: "production", Failures: 2, Opened: received.UnixNano(),
		CheckIn: schemas.CheckIn{ID: schemas.EventID{1}, Status: schemas.CheckInMissed, Release: "job@1", Updated: received.Add(time.Minute).UnixNano()},
	}}
	tell := &teller{}
	k := NewKeeper(KeeperDeps{Store: s, Topic: ends{{1, 0, 0}}, Tell: tell}, 0, metrics(), quiet)
	s.fail = errors.New("down") // a crash between the two
	if err := k.step(t.Context()); err == nil {
		t.Fatal("a step that could not be noted ended well")
	}
	s.fail = nil
	for range 2 {
		if err := k.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(tell.in) != 2 || string(tell.in[0].Payload) != string(tell.in[1].Payload) || tell.in[0].ID != tell.in[1].ID || tell.in[0].Offset != tell.in[1].Offset || s.told[7] != tell.in[0].ID {
		t.Fatalf("told %+v as %+v; want the same event twice: before the crash and after", s.told, tell.in)
	}
	in := tell.in[0]
	if d := cmp.Diff([]string{
		"resolved 100", "resolved 1", // what is over, before what failed later is told
		"resolved 0", "told 7 by ab07", "resolved 0", "resolved 0",
	}, s.steps); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	for _, want := range []string{`"timestamp":"2026-11-23T12:01:00Z"`, `"fingerprint":["monitor","job","production"]`, "did not begin in time", `"release":"job@1"`} {
		if !strings.Contains(string(in.Payload), want) {
			t.Errorf("the event has no %s: %s", want, in.Payload)
		}
	}
	if in.IssueCategory != exporters.MonitorIssues || in.ProjectID != 42 {
		t.Errorf("the event is %+v", in)
	}
	if len(s.clocks) < 3 {
		t.Errorf("the store was advanced %d times, want until there is no more", len(s.clocks))
	}
	s.lease, s.clocks = false, nil
	if err := k.step(t.Context()); err != nil || len(s.clocks) > 0 {
		t.Errorf("without the lease: %v, advanced %d times", err, len(s.clocks))
	}
}

func TestTheKeeperStopsAndMayBeStoppedTwice(t *testing.T) {
	k := NewKeeper(KeeperDeps{Store: newStore(), Topic: ends{{1, 0, 0}}, Tell: &teller{}}, time.Millisecond, metrics(), quiet)
	if err := k.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	k.Start()
	for range 2 {
		if err := k.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// tallies remembers lines of the ledger.
type tallies []schemas.Tally

func (l *tallies) WriteTallies(_ context.Context, lines []schemas.Tally) error {
	*l = append(*l, lines...)
	return nil
}

func TestACheckInThatFindsItsMonitorLaterIsNoLongerCountedAsInvalid(t *testing.T) {
	s, l := newStore(), &tallies{}
	s.revived = []exporters.CheckInUpdate{{Project: 7, Slug: "job", Received: 50, Source: 3, Offset: 9}}
	if _, err := New(s, l, metrics(), quiet).Handle(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	sums := map[string]int64{}
	places := map[schemas.Position]bool{}
	for _, x := range *l {
		sums[x.Outcome.String()+" "+x.Reason] += x.Quantity
		places[x.Position] = true
		if x.Project != 7 || x.Source != 3 || x.Position.Offset != 9 || x.Time != 50 {
			t.Errorf("line %+v", x)
		}
	}
	if d := cmp.Diff(map[string]int64{"invalid " + schemas.PipelineReason + "no_monitor": -1, "stored ": 1}, sums); d != "" || len(places) != 2 {
		t.Errorf("%d places; sums (-want +got):\n%s", len(places), d)
	}
	*l = nil
	s.revived[0].BadConfig = true // it was counted as that
	if _, err := New(s, l, metrics(), quiet).Handle(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if x := (*l)[0]; x.Reason != schemas.PipelineReason+ReasonConfig || x.Quantity != -1 {
		t.Errorf("with a bad configuration the first line is %+v", x)
	}
}
