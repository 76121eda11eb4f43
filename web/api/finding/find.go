package finding

import (
	"net/url"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// Find is what a look-up knows.
type Find struct {
	Query  string
	Looked []string // what it was taken for: "a trace id", "a key's text"
	// How many of each answer.
	Records, Traces, Spans int
	More                   bool // there are further records
	Ranged                 bool // older ones were not looked at
	// BySpans tells that no row names it and spans do, as an attribute.
	BySpans bool
	// Place is set when a record was looked for and is not stored.
	Place *Place
}

// Place is what is known around a record that is not stored.
type Place struct {
	Record        schemas.RecordRef
	Topic         bool // something of the topic is stored
	Before, After int64
	// Before and After are the nearest stored offsets, schemas.Unknown without one;
	// LogStart and LogEnd the log's, schemas.Unknown when no cluster that is watched has it.
	LogStart, LogEnd int64
}

// RecordHref is the page of a record.
func RecordHref(r schemas.RecordRef) string {
	return "/records/" + url.PathEscape(r.Topic) + "/" + strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10)
}

// RecordName is its usual name.
func RecordName(r schemas.RecordRef) string {
	return r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "@" + strconv.FormatInt(r.Offset, 10)
}

// ForFind says what a look-up found, and why nothing.
func ForFind(f Find) Finding {
	out := first(findTitles, f)
	out.Text = all(findTexts, f)
	return out
}

func (f Find) found() int { return f.Records + f.Traces + f.Spans }

func (f Find) missing() bool { return f.found() == 0 && f.Place != nil }

func (p *Place) at(offset int64) schemas.RecordRef {
	return schemas.RecordRef{Topic: p.Record.Topic, Partition: p.Record.Partition, Offset: offset}
}

var findTitles = []rule[Find]{
	{"record-missing", Find.missing, ToneWarn, func(f Find) []Piece {
		return say(text("nothing is stored about record "), strong(RecordName(f.Place.Record)))
	}},
	{"nothing", func(f Find) bool { return f.found() == 0 }, ToneEmpty, func(f Find) []Piece {
		return say(text("nothing answers to "), strong(f.Query))
	}},
	{"one", func(f Find) bool { return f.found() == 1 }, ToneOK, func(f Find) []Piece {
		return say(text("one "+f.kind()+" answers to "), strong(f.Query))
	}},
	{"records", func(f Find) bool { return f.Traces == 0 && f.Spans == 0 }, ToneOK, func(f Find) []Piece {
		return append(f.many(), text(" answer to "), strong(f.Query))
	}},
	{"several", always[Find], ToneOK, func(f Find) []Piece {
		return say(count(f.found()), text(" answers to "), strong(f.Query))
	}},
}

func (f Find) kind() string {
	switch {
	case f.Records > 0:
		return "record"
	case f.Traces > 0:
		return "trace"
	}
	return "span"
}

func (f Find) many() []Piece {
	if f.More {
		return say(text("more than "), count(f.Records), text(" records"))
	}
	return many(f.Records, "record", "records")
}

var findTexts = []rule[Find]{
	{"not-yet", func(f Find) bool {
		return f.missing() && f.Place.LogEnd >= 0 && f.Place.Record.Offset >= f.Place.LogEnd
	}, "", func(f Find) []Piece {
		return say(text("it has not been written: the log of the partition ends before offset "), count(uint64(f.Place.LogEnd)), text(".")) //nolint:gosec // not negative
	}},
	{"below-log", func(f Find) bool {
		return f.missing() && f.Place.LogStart >= 0 && f.Place.Record.Offset < f.Place.LogStart
	}, "", func(f Find) []Piece {
		return say(text("the topic's own retention has deleted it, too: the log of the partition begins at offset "), count(uint64(f.Place.LogStart)), text(".")) //nolint:gosec // not negative
	}},
	{"in-log", func(f Find) bool {
		return f.missing() && f.Place.LogEnd >= 0 && f.Place.Record.Offset < f.Place.LogEnd && f.Place.Record.Offset >= f.Place.LogStart
	}, "", func(Find) []Piece {
		return say(text("it lies in its log: a consumer can still read it from there."))
	}},
	{"no-topic", func(f Find) bool { return f.missing() && !f.Place.Topic }, "", func(f Find) []Piece {
		return say(text("no span about topic "), strong(f.Place.Record.Topic), text(" is stored: is the name right, and is a client of it instrumented? "), link("The topics there are", "/topics"), text("."))
	}},
	{"no-partition", func(f Find) bool {
		return f.missing() && f.Place.Topic && f.Place.Before < 0 && f.Place.After < 0
	}, "", func(f Find) []Piece {
		return say(text("nothing of partition "), count(int(f.Place.Record.Partition)), text(" is stored, though "), link("something of the topic", query("/messages", "topic", f.Place.Record.Topic)), text(" is."))
	}},
	{"sampled", func(f Find) bool { return f.missing() && f.Place.Before >= 0 && f.Place.After >= 0 }, "", func(f Find) []Piece {
		return say(text("records before and after it are stored, the nearest at offsets "), count(uint64(f.Place.Before)).at(RecordHref(f.Place.at(f.Place.Before))), text(" and "), //nolint:gosec // not negative
			count(uint64(f.Place.After)).at(RecordHref(f.Place.at(f.Place.After))), text(": this one's trace was not sampled, most likely. Errors are kept whatever the sampling; a higher rate keeps more.")) //nolint:gosec // not negative
	}},
	{"too-old", func(f Find) bool { return f.missing() && f.Place.Before < 0 && f.Place.After >= 0 }, "", func(f Find) []Piece {
		return say(text("it is older than all that is stored of its partition: retention deleted it, or it was sent before its clients were instrumented. The oldest that is kept has offset "), //nolint:gosec // not negative
			count(uint64(f.Place.After)).at(RecordHref(f.Place.at(f.Place.After))), text(".")) //nolint:gosec // not negative
	}},
	{"too-new", func(f Find) bool {
		return f.missing() && f.Place.Before >= 0 && f.Place.After < 0 && (f.Place.LogEnd < 0 || f.Place.Record.Offset < f.Place.LogEnd)
	}, "", func(f Find) []Piece {
		return say(text("it is newer than all that is stored of its partition, the last of which has offset "), count(uint64(f.Place.Before)).at(RecordHref(f.Place.at(f.Place.Before))), //nolint:gosec // not negative
			text(": spans appear a second or two after they end. The offset that a group has committed is one behind the last that it read."))
	}},
	{"looked", func(f Find) bool { return f.found() == 0 && f.Place == nil && len(f.Looked) > 0 }, "", func(f Find) []Piece {
		return say(text("it was looked for as " + list(f.Looked) + "."))
	}},
	{"ranged", func(f Find) bool { return f.found() == 0 && f.Ranged && f.Place == nil }, "", func(f Find) []Piece {
		return say(link("Look in all that is stored", query("/find", "q", f.Query, "from", "all")), text(", not in this time alone."))
	}},
	{"by-spans", func(f Find) bool { return f.BySpans }, "", func(Find) []Piece {
		return say(text("no message row names it; these spans tell it as an attribute. Rows that were stored before rows held names, and spans that are not Kafka's, are found in this way."))
	}},
	{"kinds", func(f Find) bool { return f.found() > 1 && (f.Traces > 0 || f.Spans > 0) }, "", func(f Find) []Piece {
		var out []Piece
		for _, k := range []struct {
			n         int
			one, more string
		}{{f.Records, "record", "records"}, {f.Traces, "trace", "traces"}, {f.Spans, "span", "spans"}} {
			if k.n > 0 {
				if len(out) > 0 {
					out = append(out, text(", "))
				}
				out = append(out, many(k.n, k.one, k.more)...)
			}
		}
		return append(out, text("."))
	}},
	{"more", func(f Find) bool { return f.More && f.found() > 1 }, "", func(Find) []Piece {
		return say(text("the newest come first."))
	}},
}

// list is "a", "a or b", "a, b or c".
func list(words []string) string {
	out := ""
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			out += " or "
		default:
			out += ", "
		}
		out += w
	}
	return out
}

// Record is what the page of one record knows.
type Record struct {
	Record  schemas.RecordRef
	Readers []Reader // of the record that is shown, in time order
	Sent    int64    // Unix ns; zero when not told
	Now     time.Time
	// Again are the times that it was sent on after a failure, to records; Dead the dead
	// letter that it ended as.
	Again  int
	Dead   *schemas.RecordRef
	Others int // records that had these coordinates, beside the one that is shown
	Issues int
	Behind int64 // of the last reading; schemas.Unknown when not told
}

// Reader is one reading.
type Reader struct {
	Service, Group string
	EndToEnd       schemas.Part
	Failed         bool
	Delivery       int
}

type recordFacts struct {
	Record
	last   Reader
	groups int
	failed *Reader
	again  int // deliveries beyond the first of each group
}

// ForRecord says what became of a record.
func ForRecord(r Record) Finding {
	f := recordFacts{Record: r}
	groups := map[string]bool{}
	for i := range r.Readers {
		reader := &r.Readers[i]
		groups[reader.Group] = true
		if reader.Delivery > 1 {
			f.again++
		}
		if reader.Failed {
			f.failed = reader
		}
		f.last = *reader
	}
	f.groups = len(groups)
	out := first(recordTitles, f)
	out.Text = all(recordTexts, f)
	return out
}

func (f recordFacts) name() Piece { return strong(RecordName(f.Record.Record)) }

func nameOr(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

var recordTitles = []rule[recordFacts]{
	{"dead-letter", func(f recordFacts) bool { return f.Dead != nil }, ToneBad, func(f recordFacts) []Piece {
		return say(f.name(), text(" failed and ended as a dead letter, "), link(RecordName(*f.Dead), RecordHref(*f.Dead)))
	}},
	{"failed", func(f recordFacts) bool { return f.failed != nil && f.Again == 0 }, ToneBad, func(f recordFacts) []Piece {
		return say(f.name(), text(" failed in "+nameOr(f.failed.Service, "a service without name")))
	}},
	{"sent-on", func(f recordFacts) bool { return f.Again > 0 }, ToneWarn, func(f recordFacts) []Piece {
		return append(say(f.name(), text(" failed and was sent on ")), times(f.Again)...)
	}},
	{"unread", func(f recordFacts) bool { return len(f.Readers) == 0 && f.Sent > 0 }, ToneWarn, func(f recordFacts) []Piece {
		return say(text("nobody has been seen to read "), f.name(), text(", sent "), duration(max(0, f.Now.Sub(time.Unix(0, f.Sent)))), text(" ago"))
	}},
	{"no-rows", func(f recordFacts) bool { return len(f.Readers) == 0 }, ToneWarn, func(f recordFacts) []Piece {
		return say(text("events name "), f.name(), text(", and no span about it is stored"))
	}},
	{"groups", func(f recordFacts) bool { return f.groups > 1 }, ToneOK, func(f recordFacts) []Piece {
		return say(f.name(), text(" was read by "), count(f.groups), text(" groups"))
	}},
	{"reached", func(f recordFacts) bool { return f.last.EndToEnd.Known }, ToneOK, func(f recordFacts) []Piece {
		return say(f.name(), text(" was done in "+nameOr(f.last.Service, "a service without name")+" "), duration(f.last.EndToEnd.Duration), text(" after it was sent"))
	}},
	{"read", always[recordFacts], ToneOK, func(f recordFacts) []Piece {
		return say(f.name(), text(" was read by "+nameOr(f.last.Service, "a service without name")))
	}},
}

func times(n int) []Piece {
	if n == 1 {
		return say(text("once"))
	}
	return say(count(n), text(" times"))
}

var recordTexts = []rule[recordFacts]{
	{"again", func(f recordFacts) bool { return f.again > 0 }, "", func(f recordFacts) []Piece {
		return append(append(say(text("it was delivered again ")), times(f.again)...), text("."))
	}},
	{"behind", func(f recordFacts) bool { return f.Behind > 0 }, "", func(f recordFacts) []Piece {
		s := say(text("group "), strong(nameOr(f.last.Group, "(none)")), text(" was "))
		s = append(s, many(uint64(f.Behind), "record", "records")...) //nolint:gosec // positive
		return append(s, text(" behind when it fetched it."))
	}},
	{"issues", func(f recordFacts) bool { return f.Issues > 0 }, "", func(f recordFacts) []Piece {
		return append(many(f.Issues, "issue", "issues"), text(" happened on it."))
	}},
	{"others", func(f recordFacts) bool { return f.Others > 0 }, "", func(f recordFacts) []Piece {
		s := many(f.Others, "other record has", "other records have")
		return append(s, text(" had the same coordinates: the topic was made anew. The newest is shown first."))
	}},
}
