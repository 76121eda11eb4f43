package finding

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestHealthFindings(t *testing.T) {
	stage := func(name string, change func(*HealthStage)) HealthStage {
		s := HealthStage{Name: name, Topic: "ingest-" + name, State: HealthOK, Lag: 0, Read: 10, Written: 10, Write: 12 * time.Millisecond}
		if change != nil {
			change(&s)
		}
		return s
	}
	well := func(change func(*Health)) Health {
		h := Health{Processes: 1, Oldest: 4 * time.Second, Stages: []HealthStage{stage("spans", nil), stage("events", nil)}, Collects: true, Free: .4, Range: time.Hour}
		if change != nil {
			change(&h)
		}
		return h
	}
	f := func(in Health, rule string, want string) {
		t.Helper()
		got := ForHealth(in)
		if got.Rule != rule || got.String() != want {
			t.Errorf("ForHealth gives %s: %s\nwant %s: %s", got.Rule, got, rule, want)
		}
	}
	f(Health{Free: math.NaN()}, "no-reports", "No process has reported yet")
	f(well(nil), "ok", "All 2 stages keep up")
	f(well(func(h *Health) {
		h.Stages[0] = stage("persist-spans", func(s *HealthStage) {
			s.State, s.Behind, s.Lag, s.Read, s.Written, s.Write = HealthBehind, 41*time.Second, 900, 5, 20, 2100*time.Millisecond
		})
	}), "behind", "persist-spans is 41s behind and falls back | It reads 5 records/s of 20 written to ingest-persist-spans. The store answers persist-spans in 2.1s.")
	f(well(func(h *Health) {
		h.Stages[0] = stage("spans", func(s *HealthStage) { s.State, s.Behind, s.Read, s.Written = HealthBehind, time.Minute, 30, 20 })
	}), "behind", "spans is 1m0s behind and catches up | It reads 30 records/s of 20 written to ingest-spans.")
	f(well(func(h *Health) {
		h.Letters = 3
		h.Stages[1] = stage("events", func(s *HealthStage) {
			s.State, s.Why, s.Lag, s.Read, s.Written = HealthStopped, "records 7 to 9 of partition 2 were deleted unread", 1, math.NaN(), math.NaN()
		})
	}), "stopped", "events stands still, one record behind | events: records 7 to 9 of partition 2 were deleted unread. 3 dead letters wait for somebody.")
	f(well(func(h *Health) {
		h.Stages[0] = stage("spans", func(s *HealthStage) { s.State, s.Why, s.Read, s.Written = HealthFailing, "it failed", 0, 0 })
	}), "failing", "spans tries again and again | spans: it failed.")
	f(well(func(h *Health) { h.Silent, h.SilentFor = []string{"pipeline@b:1"}, 41*time.Second }), "silent", "pipeline@b:1 has not reported for 41s")
	f(well(func(h *Health) { h.StoreSays = "connection refused" }), "store-away", "The store of spans and events does not answer | It says: connection refused.")
	f(well(func(h *Health) { h.Pressure, h.Refused = 1, 3 }), "refuses", "The collector refuses what comes: its spool is full | The collector refuses 3 requests/s.")
	f(well(func(h *Health) { h.Pressure = .8 }), "pressure", "The collector is under pressure: 80.00% of what it can hold")
	f(well(func(h *Health) { h.Spooled = 1 }), "spooled", "The collector holds one request that Kafka has not taken")
	f(well(func(h *Health) { h.Free = .03 }), "disk", "The store's disk is nearly full: 3.00% is free")
	f(well(func(h *Health) { h.Letters = 1 }), "letters", "One dead letter waits for somebody")
	f(well(func(h *Health) { h.Stages = nil }), "no-stages", "No process that runs stages has reported")
}

func TestWhatIsTheMatterIsNotRuledOut(t *testing.T) {
	say := func(h Health) string {
		var out []string
		for _, line := range HealthRuledOut(h) {
			out = append(out, plain(line))
		}
		return strings.Join(out, "\n")
	}
	well := Health{Processes: 2, Oldest: 4 * time.Second, Stages: []HealthStage{{Name: "spans", State: HealthOK, Write: 12 * time.Millisecond}}, Collects: true, Free: .4, Range: time.Hour}
	want := `a process that hangs: each of 2 reported within 4s
a slow store: it takes a batch of spans, the slowest, in 12ms
overload: the collector's pressure is 0.00%, its spool is empty
failures: no batch had to be tried again in 1h0m0s
lost records: no partition stands still before a gap
poison: nothing was put aside in 1h0m0s
a full disk: 40.00% of the store's is free`
	if got := say(well); got != want {
		t.Errorf("ruled out:\n%s\nwant:\n%s", got, want)
	}
	ill := well
	ill.Silent, ill.Spooled, ill.Free = []string{"x"}, 4, .01
	ill.Stages = []HealthStage{{Name: "spans", State: HealthStopped, Write: 3 * time.Second, Retries: 2, DeadLetters: 1}}
	if got := say(ill); got != "" {
		t.Errorf("ruled out although it is the matter:\n%s", got)
	}
	if got := say(Health{Free: math.NaN()}); got != "" {
		t.Errorf("ruled out without a report:\n%s", got)
	}
}
