package finding

import (
	"strconv"
	"strings"
	"time"
)

// Search is what a query found over time.
type Search struct {
	Subject       string // spans or hops
	Query         string
	Asked         bool // the query says anything
	Total, Failed uint64
	Busy          int // buckets with any
	Step          time.Duration
	WorstFailed   uint64 // of the bucket with most failures
	WorstFrom     int64  // its begin, Unix ns
	// Unknown hops are left out because a part that the query asks for is unknown.
	Unknown                   uint64
	UnknownPart, UnknownQuery string // its field; what finds them
}

func (s Search) noun(n uint64) string {
	if n == 1 {
		return s.Subject[:len(s.Subject)-1]
	}
	return s.Subject
}

// href is the search's own page with another query: its time and columns stay.
func (s Search) href(q string, pairs ...string) string {
	return query("", append([]string{"in", s.Subject, "q", q}, pairs...)...) + "&cursor="
}

// with adds a term to the query.
func (s Search) with(term string) string {
	if !s.Asked {
		return term
	}
	return "(" + s.Query + ") " + term
}

// found is "1,234 spans match", with words for a query that asks nothing.
func (s Search) found() []Piece {
	verb := " match"
	switch {
	case !s.Asked && s.Total == 1:
		verb = " is here"
	case !s.Asked:
		verb = " are here"
	case s.Total == 1:
		verb = " matches"
	}
	if s.Total == 1 {
		return say(text("one "+s.noun(1)), text(verb))
	}
	return say(count(s.Total), text(" "+s.noun(s.Total)+verb))
}

// burst: most failures fell into one bucket of several.
func (s Search) burst() bool {
	return s.Failed >= 5 && s.WorstFailed*2 > s.Failed && s.Busy >= 5
}

var searchTitles = []rule[Search]{
	{Name: "nothing", Tone: ToneEmpty, When: func(s Search) bool { return s.Total == 0 && s.Asked }, Say: func(s Search) []Piece { return say(text("No " + s.noun(1) + " matches")) }},
	{Name: "empty", Tone: ToneEmpty, When: func(s Search) bool { return s.Total == 0 }, Say: func(s Search) []Piece { return say(text("No " + s.noun(1) + " is here")) }},
	{Name: "burst", Tone: ToneBad, When: Search.burst, Say: func(s Search) []Piece {
		return say(count(s.WorstFailed).at(s.href(s.with("status:error"), "from", strconv.FormatInt(s.WorstFrom, 10), "to", strconv.FormatInt(s.WorstFrom+int64(s.Step), 10))).bold(),
			text(" of "), count(s.Failed).at(s.href(s.with("status:error"))), text(" failures fell within "), duration(s.Step))
	}},
	{Name: "failed", Tone: ToneWarn, When: func(s Search) bool { return s.Failed > 0 && s.Failed < s.Total }, Say: func(s Search) []Piece {
		return append(s.found(), text(", "), count(s.Failed).at(s.href(s.with("status:error"))).bold(), text(" of them failed"))
	}},
	{Name: "all failed", Tone: ToneBad, When: func(s Search) bool { return s.Failed > 0 }, Say: func(s Search) []Piece {
		if s.Total == 1 {
			return append(s.found(), text(", and failed"))
		}
		return append(s.found(), text(", and all of them failed"))
	}},
	{Name: "fine", Tone: ToneOK, When: always[Search], Say: func(s Search) []Piece {
		if s.Total == 1 {
			return append(s.found(), text(", and did not fail"))
		}
		return append(s.found(), text(", and none failed"))
	}},
}

var searchTexts = []rule[Search]{
	{Name: "share", When: func(s Search) bool { return s.burst() && s.Total > 0 }, Say: func(s Search) []Piece {
		return append(s.found(), text("; "), share(float64(s.Failed), float64(s.Total)).at(s.href(s.with("status:error"))), text(" failed."))
	}},
	{Name: "rest", When: func(s Search) bool { return !s.burst() && s.Failed > 0 && s.Failed < s.Total }, Say: func(s Search) []Piece {
		return say(share(float64(s.Failed), float64(s.Total)).at(s.href(s.with("status:error"))), text(" failed; see "), link("those that did not", s.href(s.with("-status:error"))), text("."))
	}},
	{Name: "unknown", When: func(s Search) bool { return s.Unknown > 0 }, Say: func(s Search) []Piece {
		more := " more hops"
		switch {
		case s.Total == 0 && s.Unknown == 1:
			more = " hop"
		case s.Total == 0:
			more = " hops"
		case s.Unknown == 1:
			more = " more hop"
		}
		return say(text("Of "), count(s.Unknown).at(s.href(s.UnknownQuery)), text(more+" the "+strings.ReplaceAll(s.UnknownPart, "_", " ")+" is unknown: nobody compared the clocks that it lies between, or their spans do not tell it."))
	}},
	{Name: "wider", When: func(s Search) bool { return s.Total == 0 }, Say: func(Search) []Piece {
		return say(text("Ask for a "), link("longer time", query("", "from", "all")), text(", or for less."))
	}},
}

// ForSearch gives the finding of a search.
func ForSearch(s Search) Finding {
	f := first(searchTitles, s)
	f.Text = all(searchTexts, s)
	return f
}
