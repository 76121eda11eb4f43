package finding

import "time"

// Clocks are the offsets between hosts and brokers.
type Clocks struct {
	Pairs    []ClockPair
	From, To string // of the page, to keep its time in links
}

// ClockPair is one host and one broker.
type ClockPair struct {
	Host, HostID, Broker string
	Known, Stale         bool
	Offset, HalfWidth    time.Duration // broker minus host; when known
	Steps                uint64
}

// ForClocks says how far apart clocks are, and how well that is known.
func ForClocks(c Clocks) Finding {
	f := clockFacts{Clocks: c, hosts: map[string]bool{}}
	for _, p := range c.Pairs {
		f.hosts[p.HostID] = true
		switch {
		case p.Stale:
			f.stale++
		case !p.Known:
			f.oneSided++
		default:
			f.known++
			f.widest = max(f.widest, p.HalfWidth)
			if f.farthest.Host == "" || p.Offset.Abs() > f.farthest.Offset.Abs() {
				f.farthest = p
			}
			if p.Offset.Abs() >= farApart {
				f.far++
			}
		}
		if p.Steps > 0 {
			f.stepped++
			if p.Steps > f.restless.Steps {
				f.restless = p
			}
		}
	}
	out := first(clockTitles, f)
	out.Text = all(clockTexts, f)
	return out
}

type clockFacts struct {
	Clocks
	hosts                                map[string]bool
	known, oneSided, stale, far, stepped int
	farthest, restless                   ClockPair
	widest                               time.Duration
}

// farApart is an offset that two clocks of one time server do not have.
const farApart = 100 * time.Millisecond

func (f clockFacts) pair(p ClockPair) string {
	return query("/clocks", "from", f.From, "to", f.To, "sel", p.HostID+" "+p.Broker)
}

// by leads to the pairs in an order; its first are those that a sentence is about.
func (f clockFacts) by(sort string) string {
	return query("/clocks", "from", f.From, "to", f.To, "sort", sort)
}

// in leads to the pairs of a state.
func (f clockFacts) in(state string) string {
	return query("/clocks", "from", f.From, "to", f.To, "state", state)
}

var clockTitles = []rule[clockFacts]{
	{"none", func(f clockFacts) bool { return len(f.Pairs) == 0 }, ToneEmpty, func(clockFacts) []Piece {
		return say(text("Nothing is known of any clock in this time"))
	}},
	{"stepped", func(f clockFacts) bool { return f.stepped > 0 }, ToneWarn, func(f clockFacts) []Piece {
		times := say(text("one step").at(f.pair(f.restless)))
		if f.restless.Steps > 1 {
			times = say(count(f.restless.Steps).at(f.pair(f.restless)), text(" steps"))
		}
		return append(say(text("A clock was stepped between "), strong(f.restless.Host), text(" and broker "), strong(f.restless.Broker), text(": ")), times...)
	}},
	{"far", func(f clockFacts) bool { return f.far > 0 }, ToneWarn, func(f clockFacts) []Piece {
		side := " ahead of broker "
		if f.farthest.Offset > 0 {
			side = " behind broker "
		}
		return say(strong(f.farthest.Host), text(" is "), duration(f.farthest.Offset.Abs()).bold().at(f.pair(f.farthest)), text(side), strong(f.farthest.Broker),
			text("; every residence of it carries ± "), duration(f.farthest.HalfWidth))
	}},
	{"blind", func(f clockFacts) bool { return f.known == 0 }, ToneWarn, func(clockFacts) []Piece {
		return say(text("No clock is bounded from both sides now: what crosses two hosts is unknown"))
	}},
	{"close", always[clockFacts], ToneOK, func(f clockFacts) []Piece {
		return append(manyAt(len(f.hosts), "host", "hosts", f.by("host")), text(" within "), duration(f.farthest.Offset.Abs()+f.farthest.HalfWidth).at(f.by("offset")), text(" of the brokers, known to ± "), duration(f.widest).at(f.by("width")), text(" or better"))
	}},
}

var clockTexts = []rule[clockFacts]{
	{"far-too", func(f clockFacts) bool { return f.far > 0 && f.stepped > 0 }, ToneWarn, func(f clockFacts) []Piece {
		return say(strong(f.farthest.Host), text(" is "), duration(f.farthest.Offset.Abs()).at(f.pair(f.farthest)), text(" off broker "), strong(f.farthest.Broker), text("."))
	}},
	{"far-more", func(f clockFacts) bool { return f.far > 1 }, ToneWarn, func(f clockFacts) []Piece {
		return say(count(f.far).at(f.by("offset")), text(" pairs are 100 ms or more apart."))
	}},
	{"one-sided", func(f clockFacts) bool { return f.oneSided > 0 && f.known > 0 }, ToneWarn, func(f clockFacts) []Piece {
		return append(manyAt(f.oneSided, "pair is", "pairs are", f.in("one-sided")), text(" bounded from one side alone: hops there stay unknown."))
	}},
	{"stale", func(f clockFacts) bool { return f.stale > 0 }, ToneWarn, func(f clockFacts) []Piece {
		return append(manyAt(f.stale, "pair has", "pairs have", f.in("stale")), text(" had no sample for two minutes."))
	}},
	{"raw", func(f clockFacts) bool { return len(f.Pairs) > 0 }, ToneOK, func(clockFacts) []Piece {
		return say(text("Stored times are as they were told; offsets are applied when a hop is read."))
	}},
}
