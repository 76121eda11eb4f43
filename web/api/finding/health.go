package finding

import (
	"math"
	"time"
)

// HealthState is how a station does.
type HealthState string

// States, best first.
const (
	HealthIdle    HealthState = "idle"    // nothing comes, nothing waits
	HealthOK      HealthState = "ok"      // it keeps up
	HealthBehind  HealthState = "behind"  // records wait
	HealthFailing HealthState = "failing" // what it tries fails, and it tries again
	HealthStopped HealthState = "stopped" // it goes on by itself no more, in whole or in part
	HealthSilent  HealthState = "silent"  // the process that runs it has not reported
	HealthUnknown HealthState = "unknown" // no process that would run it is known
)

// HealthStage is one stage of the line. A duration below zero is not known, a rate that
// is NaN neither.
type HealthStage struct {
	Name, Topic string
	State       HealthState
	Why         string // a clause, of those that are neither ok nor idle
	Behind      time.Duration
	Lag         int64 // records, below zero when not known
	// Read and Written are records a second: off its topic, and onto it.
	Read, Written float64
	Write         time.Duration // mean of what the store took to take a batch
	Retries       int64         // in the time shown
	DeadLetters   int64         // in the time shown
}

// Health is what the page of the pipeline's health knows.
type Health struct {
	Processes int
	Silent    []string      // of processes that have not reported in time
	SilentFor time.Duration // of the first of them
	Oldest    time.Duration // age of the oldest last report of the others
	Stages    []HealthStage
	Collects  bool    // a collector reports
	Pressure  float64 // in [0, 1]
	Refused   float64 // requests a second that are told to come again or never
	Spooled   int64   // requests in the spools
	StoreSays string  // why the store does not answer; empty when it does
	Free      float64 // share of the store's disk that is free; NaN when not known
	Letters   int64   // open dead letters; below zero when not known
	Range     time.Duration
}

const (
	slowStore    = time.Second // a write that takes longer is worth saying
	littleFree   = 0.1
	highPressure = 0.7
)

// ForHealth says what of our own line needs somebody.
func ForHealth(in Health) Finding {
	f := factsOfHealth(in)
	out := first(healthTitles, f)
	out.Text = all(healthTexts, f)
	return out
}

// HealthRuledOut are the causes that were looked for and are none, one sentence each.
func HealthRuledOut(in Health) [][]Piece {
	f := factsOfHealth(in)
	out := [][]Piece{}
	if in.Processes == 0 {
		return out
	}
	for _, r := range healthRuledOut {
		if r.When(f) {
			out = append(out, r.Say(f))
		}
	}
	return out
}

func factsOfHealth(in Health) healthFacts {
	f := healthFacts{Health: in}
	for i := range in.Stages {
		s := &in.Stages[i]
		switch s.State {
		case HealthStopped:
			f.stopped = worse(f.stopped, s)
		case HealthFailing:
			f.failing = worse(f.failing, s)
		case HealthBehind:
			f.behind = worse(f.behind, s)
		}
		if s.State != HealthUnknown {
			f.known++
		}
		if s.State == HealthOK || s.State == HealthIdle {
			f.well++
		}
		f.letters += s.DeadLetters
		f.retries += s.Retries
		if s.Write > f.write {
			f.write, f.slowest = s.Write, s
		}
	}
	for _, s := range []*HealthStage{f.stopped, f.failing, f.behind} {
		if s != nil {
			f.worst = s
			break
		}
	}
	return f
}

// worse is that of two which is further behind.
func worse(a, b *HealthStage) *HealthStage {
	if a == nil || b.Behind > a.Behind || b.Behind == a.Behind && b.Lag > a.Lag {
		return b
	}
	return a
}

type healthFacts struct {
	Health
	stopped, failing, behind, worst *HealthStage
	slowest                         *HealthStage
	write                           time.Duration
	known, well                     int
	letters, retries                int64
}

// HealthHref is the UI's page with a stage open.
func HealthHref(stage string) string { return query("/health", "stage", stage) }

const lettersHref = "/health/letters"

func stageName(s *HealthStage) Piece {
	p := link(s.Name, HealthHref(s.Name))
	p.Strong = true // a name keeps its first letter
	return p
}

// apart says how far a stage is behind.
func apart(s *HealthStage) []Piece {
	switch {
	case s.Behind > 0:
		return say(duration(s.Behind).at(HealthHref(s.Name)), text(" behind"))
	case s.Lag > 0:
		return append(many(uint64(s.Lag), "record", "records"), text(" behind"))
	}
	return nil
}

// course says whether a stage catches up, where that is known.
func course(s *HealthStage) string {
	switch {
	case math.IsNaN(s.Read) || math.IsNaN(s.Written) || s.Read+s.Written == 0:
		return ""
	case s.Read > s.Written*1.02:
		return " and catches up"
	case s.Read < s.Written*0.98:
		return " and falls back"
	}
	return " and comes no nearer"
}

var healthTitles = []rule[healthFacts]{
	{"no-reports", func(f healthFacts) bool { return f.Processes == 0 }, ToneEmpty, func(healthFacts) []Piece {
		return say(text("no process has reported yet"))
	}},
	{"silent", func(f healthFacts) bool { return len(f.Silent) > 0 }, ToneBad, func(f healthFacts) []Piece {
		return say(strong(f.Silent[0]), text(" has not reported for "), duration(f.SilentFor))
	}},
	{"store-away", func(f healthFacts) bool { return f.StoreSays != "" }, ToneBad, func(healthFacts) []Piece {
		return say(text("the store of spans and events does not answer"))
	}},
	{"stopped", func(f healthFacts) bool { return f.stopped != nil }, ToneBad, func(f healthFacts) []Piece {
		s := say(stageName(f.stopped), text(" stands still"))
		if far := apart(f.stopped); far != nil {
			s = append(append(s, text(", ")), far...)
		}
		return s
	}},
	{"failing", func(f healthFacts) bool { return f.failing != nil }, ToneBad, func(f healthFacts) []Piece {
		s := say(stageName(f.failing), text(" tries again and again"))
		if far := apart(f.failing); far != nil {
			s = append(append(s, text(", ")), far...)
		}
		return s
	}},
	{"refuses", func(f healthFacts) bool { return f.Collects && f.Pressure >= 1 }, ToneBad, func(healthFacts) []Piece {
		return say(text("the collector refuses what comes: its spool is full"))
	}},
	{"behind", func(f healthFacts) bool { return f.behind != nil }, ToneWarn, func(f healthFacts) []Piece {
		return append(append(say(stageName(f.behind), text(" is ")), apart(f.behind)...), text(course(f.behind)))
	}},
	{"pressure", func(f healthFacts) bool { return f.Collects && f.Pressure >= highPressure }, ToneWarn, func(f healthFacts) []Piece {
		return say(text("the collector is under pressure: "), share(f.Pressure, 1), text(" of what it can hold"))
	}},
	{"spooled", func(f healthFacts) bool { return f.Spooled > 0 }, ToneWarn, func(f healthFacts) []Piece {
		return append(say(text("the collector holds ")), append(many(uint64(f.Spooled), "request", "requests"), text(" that Kafka has not taken"))...)
	}},
	{"disk", func(f healthFacts) bool { return f.Free < littleFree }, ToneWarn, func(f healthFacts) []Piece {
		return say(text("the store's disk is nearly full: "), share(f.Free, 1), text(" is free"))
	}},
	{"letters", func(f healthFacts) bool { return f.Letters > 0 }, ToneWarn, func(f healthFacts) []Piece {
		return manyAt(uint64(f.Letters), "dead letter waits for somebody", "dead letters wait for somebody", lettersHref)
	}},
	{"ok", func(f healthFacts) bool { return f.known > 0 && f.well == f.known }, ToneOK, func(f healthFacts) []Piece {
		return say(text("all "), count(f.known), text(" stages keep up"))
	}},
	{"no-stages", always[healthFacts], ToneEmpty, func(healthFacts) []Piece {
		return say(text("no process that runs stages has reported"))
	}},
}

var healthTexts = []rule[healthFacts]{
	{"why", func(f healthFacts) bool { return f.worst != nil && f.worst.Why != "" }, "", func(f healthFacts) []Piece {
		return say(stageName(f.worst), text(": "+f.worst.Why+"."))
	}},
	{"store-error", func(f healthFacts) bool { return f.StoreSays != "" }, "", func(f healthFacts) []Piece {
		return say(text("it says: " + f.StoreSays + "."))
	}},
	{"rates", func(f healthFacts) bool {
		return f.worst != nil && !math.IsNaN(f.worst.Read) && !math.IsNaN(f.worst.Written) && f.worst.Read+f.worst.Written > 0
	}, "", func(f healthFacts) []Piece {
		return say(text("it reads "+rate(f.worst.Read)+" records/s of "+rate(f.worst.Written)+" written to "), strong(f.worst.Topic), text("."))
	}},
	{"slow-store", func(f healthFacts) bool { return f.slowest != nil && f.write >= slowStore }, "", func(f healthFacts) []Piece {
		return say(text("the store answers "), stageName(f.slowest), text(" in "), duration(f.write), text("."))
	}},
	{"letters", func(f healthFacts) bool { return f.Letters > 0 && (f.worst != nil || len(f.Silent) > 0) }, "", func(f healthFacts) []Piece {
		p := many(uint64(f.Letters), "dead letter waits for somebody.", "dead letters wait for somebody.")
		p[0] = p[0].at(lettersHref)
		return p
	}},
	{"refused", func(f healthFacts) bool { return f.Refused > 0 }, "", func(f healthFacts) []Piece {
		return say(text("the collector refuses " + rate(f.Refused) + " requests/s."))
	}},
	{"others", func(f healthFacts) bool { return f.worst != nil && f.known-f.well > 1 }, "", func(f healthFacts) []Piece {
		return many(uint64(f.known-f.well-1), "more stage is not well.", "more stages are not well.")
	}},
}

// healthRuledOut has what is not the matter; each has its measure.
var healthRuledOut = []rule[healthFacts]{
	{"processes", func(f healthFacts) bool { return len(f.Silent) == 0 }, "", func(f healthFacts) []Piece {
		if f.Processes == 1 {
			return say(text("a process that hangs: the one there is reported "), duration(f.Oldest), text(" ago"))
		}
		return say(text("a process that hangs: each of "), count(f.Processes), text(" reported within "), duration(f.Oldest))
	}},
	{"store", func(f healthFacts) bool { return f.StoreSays == "" && f.write > 0 && f.write < slowStore }, "", func(f healthFacts) []Piece {
		return say(text("a slow store: it takes a batch of "), stageName(f.slowest), text(", the slowest, in "), duration(f.write))
	}},
	{"overload", func(f healthFacts) bool { return f.Collects && f.Pressure < highPressure && f.Spooled == 0 }, "", func(f healthFacts) []Piece {
		return say(text("overload: the collector's pressure is "), share(f.Pressure, 1), text(", its spool is empty"))
	}},
	{"retries", func(f healthFacts) bool { return f.retries == 0 && f.known > 0 }, "", func(f healthFacts) []Piece {
		return say(text("failures: no batch had to be tried again in "), duration(f.Range))
	}},
	{"gaps", func(f healthFacts) bool { return f.stopped == nil && f.known > 0 }, "", func(healthFacts) []Piece {
		return say(text("lost records: no partition stands still before a gap"))
	}},
	{"poison", func(f healthFacts) bool { return f.letters == 0 && f.known > 0 }, "", func(f healthFacts) []Piece {
		return say(text("poison: nothing was put aside in "), duration(f.Range))
	}},
	{"disk", func(f healthFacts) bool { return f.Free >= littleFree }, "", func(f healthFacts) []Piece {
		return say(text("a full disk: "), share(f.Free, 1), text(" of the store's is free"))
	}},
}

// HealthFar is how far a stage may be behind and keep up all the same: batches wait.
const HealthFar = 15 * time.Second
