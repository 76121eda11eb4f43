package finding

import (
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// BatchFacts is what the page of one batch knows.
type BatchFacts struct {
	Name            string // of the span
	Group           string
	Records         int
	Told            int // how many the span says it had; zero when it does not
	Known           int // ages
	Negative        int
	Crossing        int
	Median, Oldest  time.Duration
	OldestTopic     string
	OldestPartition int32
	OldestHref      string             // of the record that waited longest; empty where nobody told which it is
	Part            exporters.PartName // of which the ages are made mostly
	PartShare       float64
}

// all is how many records there were, as far as is told.
func (f BatchFacts) all() int { return max(f.Told, f.Records) }

// them are the records of which anything is known.
func (f BatchFacts) them() string {
	if f.Records < f.all() {
		return "those that it names"
	}
	return "them"
}

// ForBatch says how old the records of one batch were.
func ForBatch(f BatchFacts) Finding {
	out := first(batchTitles, f)
	out.Text = all(batchTexts, f)
	return out
}

var batchTitles = []rule[BatchFacts]{
	{"batch-unknown", func(f BatchFacts) bool { return f.Known == 0 }, ToneWarn, func(f BatchFacts) []Piece {
		return append(append(say(strong(f.Name), text(" read ")), manyAt(f.all(), "record", "records", batchByPlace)...), text(", and nobody tells their age"))
	}},
	{"batch-negative", func(f BatchFacts) bool { return f.Negative*2 > f.Known }, ToneWarn, func(f BatchFacts) []Piece {
		return append(append(say(strong(f.Name), text(" read ")), manyAt(f.all(), "record", "records", batchNegative)...), text(", most of "+f.them()+" before they were sent: two clocks disagree"))
	}},
	{"batch-one", func(f BatchFacts) bool { return f.all() == 1 }, ToneOK, func(f BatchFacts) []Piece {
		return say(strong(f.Name), text(" read one record, "), duration(f.Oldest).at(f.OldestHref), text(" old"))
	}},
	{"batch", always[BatchFacts], ToneOK, func(f BatchFacts) []Piece {
		s := append(say(strong(f.Name), text(" read ")), manyAt(f.all(), "record", "records", batchByPlace)...)
		return append(s, text(", half of "+f.them()+" older than "), duration(f.Median).at(batchByAge))
	}},
}

// The table of a batch in the order in which a number can be seen.
const (
	batchByAge    = "?order=oldest&skip=0"
	batchByPlace  = "?order=place&skip=0"
	batchNegative = "?order=youngest&skip=0" // what is negative comes first
)

var batchTexts = []rule[BatchFacts]{
	{"oldest", func(f BatchFacts) bool { return f.Records > 1 && f.Known > 0 && f.Oldest > 0 }, "", func(f BatchFacts) []Piece {
		return say(text("the oldest, of "), strong(Hop{Topic: f.OldestTopic, Partition: f.OldestPartition}.place()), text(", had waited "), duration(f.Oldest).at(f.OldestHref),
			text("."))
	}},
	{"made-of", func(f BatchFacts) bool { return f.PartShare >= mostly }, "", func(f BatchFacts) []Piece {
		p := share(f.PartShare, 1).bold()
		if f.Part != exporters.PartRetry { // by which nobody can order
			p = p.at("?order=" + string(f.Part) + "&skip=0")
		}
		return say(p, text(" of what is known of their ages was "+partWords[f.Part]+"."))
	}},
	{"some-unknown", func(f BatchFacts) bool { return f.Known > 0 && f.Known < f.Records }, "", func(f BatchFacts) []Piece {
		return say(text("of "), count(f.Records-f.Known), text(" nobody tells how old they were."))
	}},
	{"left-out", func(f BatchFacts) bool { return f.Told > f.Records }, "", func(f BatchFacts) []Piece {
		return say(text("the span says that it had "), count(f.Told), text(" and names "), count(f.Records), text(": its program bounds the links of a span."))
	}},
	{"negative", func(f BatchFacts) bool { return f.Negative > 0 }, "", func(f BatchFacts) []Piece {
		return append(manyAt(f.Negative, "age is", "ages are", batchNegative), text(" negative: two clocks disagree."))
	}},
	{"crossing", func(f BatchFacts) bool { return f.Crossing > 0 }, "", func(f BatchFacts) []Piece {
		return append(many(f.Crossing, "age is", "ages are"), text(" taken between two clocks that nobody compared."))
	}},
}
