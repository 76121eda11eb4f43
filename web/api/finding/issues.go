package finding

import (
	"strconv"
	"time"
)

// Issues is what the list of issues knows.
type Issues struct {
	Count    int
	Filtered bool
	More     bool
	New      int    // first seen within the last hour of the range
	Events   uint64 // of all that are shown
	Worst    Issue  // the one with most events
}

// Issue is one line of it.
type Issue struct {
	Title           string
	Href            string
	Events, Records uint64
}

// ForIssues says what breaks most.
func ForIssues(f Issues) Finding {
	out := first(issueTitles, f)
	out.Text = all(issueTexts, f)
	return out
}

var issueTitles = []rule[Issues]{
	{"no-match", func(f Issues) bool { return f.Count == 0 && f.Filtered }, ToneEmpty, func(Issues) []Piece {
		return say(text("no issue matches these filters"))
	}},
	{"nothing", func(f Issues) bool { return f.Count == 0 }, ToneOK, func(Issues) []Piece {
		return say(text("nothing broke in this time"))
	}},
	{"one-dominates", func(f Issues) bool {
		return f.Count > 1 && f.Events > 0 && float64(f.Worst.Events) >= 0.8*float64(f.Events)
	}, ToneBad, func(f Issues) []Piece {
		return say(text("one of "), count(f.Count), text(" issues makes "), share(float64(f.Worst.Events), float64(f.Events)).at(f.Worst.Href), text(" of the events"))
	}},
	{"one-new", func(f Issues) bool { return f.Count == 1 && f.New == 1 }, ToneBad, func(Issues) []Piece {
		return say(text("one issue, and it is new in the last hour"))
	}},
	{"new", func(f Issues) bool { return f.New > 0 }, ToneBad, func(f Issues) []Piece {
		return append(many(f.Count, "issue", "issues"), text(", "), count(f.New).at(here("sort", "new")), text(" of them new in the last hour"))
	}},
	{"some", always[Issues], ToneWarn, func(f Issues) []Piece {
		return append(many(f.Count, "issue", "issues"), text(", none of them new in the last hour"))
	}},
}

var issueTexts = []rule[Issues]{
	{"worst", func(f Issues) bool { return f.Count > 0 && f.Worst.Events > 0 }, "", func(f Issues) []Piece {
		s := say(text("most events: "), link(f.Worst.Title, f.Worst.Href), text(" with "), count(f.Worst.Events).bold().at(f.Worst.Href+eventsPlace))
		if f.Worst.Records > 0 {
			s = append(s, text(" from "))
			s = append(s, manyAt(f.Worst.Records, "record", "records", f.Worst.Href+messagesPlace)...)
		}
		return append(s, text("."))
	}},
	{"more", func(f Issues) bool { return f.More }, "", func(Issues) []Piece {
		return say(text("older issues are on the next page."))
	}},
}

// Places on the page of an issue.
const (
	eventsPlace   = "#events"
	messagesPlace = "#messages"
)

// Event is what the page of an issue's event knows.
type Event struct {
	Title           string
	Href            string // of the issue
	Events, Records uint64
	Topic           string // of the message that caused it; empty when not known
	Partition       int32
	Group           string
	Waterfall       string // href
	Age             time.Duration
	AgeKnown        bool
	WaitKnown       bool
	Waited          time.Duration // the known waiting of that age
	SameRecord      bool          // all events named so far are of one record
}

// ForEvent says which messages cause an issue.
func ForEvent(f Event) Finding {
	out := first(eventTitles, f)
	out.Text = all(eventTexts, f)
	return out
}

var eventTitles = []rule[Event]{
	{"issue", always[Event], ToneBad, func(f Event) []Piece { return say(strong(f.Title)) }},
}

var eventTexts = []rule[Event]{
	{"one-record-many-times", func(f Event) bool { return f.Records == 1 && f.Events > 1 }, "", func(f Event) []Piece {
		return say(text("all "), count(f.Events).bold().at(eventsPlace), text(" events come from "), strong("one record").at(messagesPlace), text("."))
	}},
	{"few-records", func(f Event) bool { return f.Records > 1 && f.Events >= 2*f.Records }, "", func(f Event) []Piece {
		return say(text("all "), count(f.Events).bold().at(eventsPlace), text(" events come from "), count(f.Records).bold().at(messagesPlace), text(" records."))
	}},
	{"each-its-record", func(f Event) bool { return f.Records > 1 && f.Events < 2*f.Records }, "", func(f Event) []Piece {
		return say(count(f.Events).bold().at(eventsPlace), text(" events from "), count(f.Records).bold().at(messagesPlace), text(" records."))
	}},
	{"single", func(f Event) bool { return f.Events == 1 }, "", func(Event) []Piece { return say(text("it happened once.")) }},
	{"no-records", func(f Event) bool { return f.Records == 0 && f.Events > 1 }, "", func(f Event) []Piece {
		return say(count(f.Events).bold().at(eventsPlace), text(" events; none names its record itself."))
	}},
	{"age", func(f Event) bool { return f.Topic != "" && f.AgeKnown }, "", func(f Event) []Piece {
		return say(text("this one broke on a record of "), strong(f.place()).at(f.Waterfall), text(" that was "), duration(f.Age).bold().at(f.Waterfall), text(" old."))
	}},
	{"waited", func(f Event) bool {
		return f.AgeKnown && f.WaitKnown && f.Age > 0 && float64(f.Waited) >= mostly*float64(f.Age)
	}, "", func(f Event) []Piece {
		return say(share(min(1, float64(f.Waited)/float64(f.Age)), 1).at(f.Waterfall), text(" of that it waited; the code that failed was not the slow part."))
	}},
	{"not-waited", func(f Event) bool {
		return f.AgeKnown && f.WaitKnown && f.Age > 0 && float64(f.Waited) < mostly*float64(f.Age)
	}, "", func(f Event) []Piece {
		return say(text("not: an old message — it waited for "), duration(f.Waited).at(f.Waterfall), text(" of that only."))
	}},
	{"no-message", func(f Event) bool { return f.Topic == "" }, "", func(Event) []Piece {
		return say(text("this one names no Kafka message."))
	}},
}

func (f Event) place() string {
	if f.Partition < 0 {
		return f.Topic
	}
	return f.Topic + " p" + strconv.Itoa(int(f.Partition))
}
