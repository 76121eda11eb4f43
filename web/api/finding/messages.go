package finding

import (
	"math"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// When a sentence is worth saying. A claim about records must be very unlikely to
// be chance: were each failing record drawn from all that were processed, all would
// have the value less than once in a thousand issues.
const (
	minFailing  = 5     // failing records that a claim needs
	minCompared = 20    // records of the baseline
	minEvents   = 20    // events that make few records telling
	minEach     = 5     // events a record, on average, of which that is said
	nearlyAll   = 0.95  // of the failing records have the value
	mostKnown   = 0.9   // of the failing records tell the dimension at all
	usualShare  = 0.5   // a value that more of all records have sets nothing apart
	chance      = 0.001 // of it being nothing
	leastOld    = 10 * time.Second
)

// ForMessages says what sets the messages behind an issue apart.
func ForMessages(m exporters.IssueMessages) Finding {
	f := messagesFacts{IssueMessages: m, told: map[exporters.Dimension]exporters.MessageValue{}}
	for _, d := range m.By {
		if v, ok := telling(m, d); ok {
			f.told[d.Dimension] = v
		}
	}
	// What follows from another is not said beside it.
	if _, ok := f.told[exporters.DimKey]; ok {
		delete(f.told, exporters.DimPartition)
	}
	if _, ok := f.told[exporters.DimPartition]; ok {
		delete(f.told, exporters.DimMember)
	}
	if _, ok := f.told[exporters.DimRelease]; ok {
		delete(f.told, exporters.DimMember)
	}
	f.older, f.younger = old(m)
	f.some, f.someEvents = someRecords(m)
	out := first(messageTitles, f)
	for _, r := range messageTexts {
		if r.Name != out.Rule && r.When(f) {
			out.Text = join(out.Text, opening(append(r.Say(f), text(".")))...)
		}
	}
	return out
}

type messagesFacts struct {
	exporters.IssueMessages
	told       map[exporters.Dimension]exporters.MessageValue
	older      time.Duration // only messages older than this fail; zero: so do others
	younger    float64       // share of all records that were younger
	some       uint64        // so many records make nearly all events; zero: they do not
	someEvents uint64
}

// telling gives the value that the failing records of a dimension have and few
// others.
func telling(m exporters.IssueMessages, d exporters.MessageDimension) (exporters.MessageValue, bool) {
	if len(d.Values) == 0 || d.Baseline < minCompared {
		return exporters.MessageValue{}, false
	}
	v := d.Values[0]
	for _, o := range d.Values[1:] {
		if o.Records > v.Records {
			v = o
		}
	}
	if v.Records < minFailing || v.Baseline == 0 || float64(v.Records) < nearlyAll*float64(d.Records) || float64(d.Records) < mostKnown*float64(m.Records) {
		return exporters.MessageValue{}, false
	}
	share := float64(v.Baseline) / float64(d.Baseline)
	return v, share <= usualShare && math.Pow(share, float64(v.Records)) <= chance
}

// old gives the age that all messages had and few others.
func old(m exporters.IssueMessages) (time.Duration, float64) {
	a := m.Age
	if a.KnownRecords < minFailing || a.KnownBaseline < minCompared || float64(a.KnownRecords) < mostKnown*float64(m.Records) {
		return 0, 0
	}
	var younger uint64
	var bound time.Duration
	share := 0.0
	for i, b := range exporters.AgeBounds {
		younger += a.Baseline[i]
		if b > a.Min {
			break
		}
		bound, share = b, float64(younger)/float64(a.KnownBaseline)
	}
	if bound < leastOld || share < usualShare || math.Pow(1-share, float64(a.KnownRecords)) > chance {
		return 0, 0
	}
	return bound, share
}

// someRecords tells that some of many records, each many times, make nearly all
// events.
func someRecords(m exporters.IssueMessages) (records, events uint64) {
	if m.Placed < minEvents {
		return 0, 0
	}
	for _, r := range m.Worst {
		if r.Events < minEach {
			break
		}
		records, events = records+1, events+r.Events
		if float64(events) >= mostKnown*float64(m.Placed) {
			if 4*records > m.Records {
				break
			}
			return records, events
		}
	}
	return 0, 0
}

func (f messagesFacts) has(d exporters.Dimension) bool { _, ok := f.told[d]; return ok }

// share says how many of all records have a value.
func (f messagesFacts) share(d exporters.Dimension) Piece {
	for _, by := range f.By {
		if by.Dimension == d {
			return share(float64(f.told[d].Baseline), float64(by.Baseline)).at(f.topicHref())
		}
	}
	return share(0, 1)
}

func (f messagesFacts) topicHref() string {
	for _, by := range f.By {
		if by.Dimension == exporters.DimTopic && len(by.Values) > 0 {
			return query("/messages", "topic", by.Values[0].Value)
		}
	}
	return "/messages"
}

func (f messagesFacts) worstHref() string {
	if len(f.Worst) > 0 && !f.Worst[0].TraceID.IsZero() {
		return "/traces/" + f.Worst[0].TraceID.String()
	}
	return eventsPlace
}

// reads is how often the records of most events were read, by what is stored; zero when
// one of them has no row.
func (f messagesFacts) reads() (n uint64) {
	for _, r := range f.Worst {
		if r.Reads == 0 {
			return 0
		}
		n += r.Reads
	}
	return n
}

func (f messagesFacts) worstEvents() (n uint64) {
	for _, r := range f.Worst {
		n += r.Events
	}
	return n
}

// whole is "all 312 events" or "300 of 312 events".
func (f messagesFacts) whole() []Piece {
	if f.Placed == f.Events {
		return say(text("all "), count(f.Events).bold().at(eventsPlace), text(" events"))
	}
	return say(count(f.Placed).bold().at(eventsPlace), text(" of "), count(f.Events), text(" events"))
}

func (f messagesFacts) failing() []Piece {
	return say(text("all "), count(f.Records).bold().at(f.worstHref()), text(" records that fail"))
}

// sinceRelease tells that the release began while others processed, and the events
// after it.
func (f messagesFacts) sinceRelease() bool {
	v, ok := f.told[exporters.DimRelease]
	if !ok || v.Since == 0 || f.First < v.Since {
		return false
	}
	for _, by := range f.By {
		if by.Dimension != exporters.DimRelease {
			continue
		}
		for _, o := range by.Values {
			if o.Value != v.Value && o.Since != 0 && o.Since < v.Since {
				return true
			}
		}
	}
	return false
}

func (f messagesFacts) issuesOf(key, value string) string {
	return query("/issues", "query", key+":"+strconv.Quote(value))
}

var messageTitles = append([]rule[messagesFacts]{
	{"no-events", func(f messagesFacts) bool { return f.Events == 0 }, ToneEmpty, func(messagesFacts) []Piece {
		return say(text("no event of this issue is stored"))
	}},
	{"no-record", func(f messagesFacts) bool { return f.Placed == 0 }, ToneEmpty, func(f messagesFacts) []Piece {
		if f.Events == 1 {
			return say(text("no message is known to have caused its event"))
		}
		return say(text("no message is known to have caused its "), count(f.Events).at(eventsPlace), text(" events"))
	}},
	{"one-record", func(f messagesFacts) bool { return f.Records == 1 && f.Placed >= minEach }, ToneBad, func(f messagesFacts) []Piece {
		s := append(f.whole(), text(" come from "), strong("one record").at(f.worstHref()))
		switch reads := f.reads(); {
		case reads == 1:
			return append(s, text(", which was read once"))
		case reads > 0 && reads < f.Placed:
			return append(s, text(", which was read "), count(reads), text(" times"))
		}
		return append(s, text(", retried again and again"))
	}},
	{"few-records", func(f messagesFacts) bool {
		return f.Records > 1 && f.Placed >= minEvents && f.Placed >= minEach*f.Records && f.FewestEvents >= 2
	}, ToneBad, func(f messagesFacts) []Piece {
		s := append(f.whole(), text(" come from "), count(f.Records).bold().at(f.worstHref()), text(" records, "))
		if f.reads() == 0 || f.reads() >= f.worstEvents() { // or each reading raised several
			s = append(s, text("retried "))
		}
		if f.FewestEvents == f.MostEvents {
			return append(s, count(f.MostEvents).at(f.worstHref()), text(" times each"))
		}
		return append(s, count(f.FewestEvents).at(eventsPlace), text(" to "), count(f.MostEvents).at(f.worstHref()), text(" times each"))
	}},
	{"some-records", func(f messagesFacts) bool { return f.some > 0 }, ToneBad, func(f messagesFacts) []Piece {
		return append(say(count(f.someEvents).bold().at(eventsPlace), text(" of "), count(f.Events), text(" events come from ")), append(manyAt(f.some, "record", "records", f.worstHref()),
			text(" of "), count(f.Records).at(f.worstHref()))...)
	}},
}, append(messageRules, rule[messagesFacts]{"too-few", func(f messagesFacts) bool { return f.Records < minFailing }, ToneOK, func(f messagesFacts) []Piece {
	return append(append(manyAt(f.Placed, "event", "events", eventsPlace), text(" from ")), append(manyAt(f.Records, "record", "records", f.worstHref()), text(": too few to tell what sets them apart"))...)
}}, rule[messagesFacts]{"no-baseline", func(f messagesFacts) bool { return f.Sample == 0 }, ToneOK, func(f messagesFacts) []Piece {
	return append(append(manyAt(f.Placed, "event", "events", eventsPlace), text(" from ")), append(manyAt(f.Records, "record", "records", f.worstHref()), text("; how other records compare is not known, no span about them is stored"))...)
}}, rule[messagesFacts]{"nothing", always[messagesFacts], ToneOK, func(messagesFacts) []Piece {
	return say(text("nothing about the messages sets these apart"))
}})...)

// messageRules are what failing records have in common and others have not.
var messageRules = []rule[messagesFacts]{
	{"one-producer-release", func(f messagesFacts) bool { return f.has(exporters.DimProducerRelease) }, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimProducerRelease].Value
		return append(f.failing(), text(" were sent by "), strong(v), text(", which sent "), f.share(exporters.DimProducerRelease), text(" of all"))
	}},
	{"since-release", messagesFacts.sinceRelease, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimRelease].Value
		return append(f.failing(), text(" were processed by "), strong(v).at(f.issuesOf("release", v)), text(", and none before it came; it processed "), f.share(exporters.DimRelease), text(" of all"))
	}},
	{"one-release", func(f messagesFacts) bool { return f.has(exporters.DimRelease) && !f.sinceRelease() }, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimRelease].Value
		return append(f.failing(), text(" were processed by "), strong(v).at(f.issuesOf("release", v)), text(", which processed "), f.share(exporters.DimRelease), text(" of all"))
	}},
	{"one-key", func(f messagesFacts) bool { return f.has(exporters.DimKey) }, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimKey].Value
		return append(f.failing(), text(" have the key "), strong("#"+v).at(f.issuesOf("key", v)), text(", which "), f.share(exporters.DimKey), text(" of all have"))
	}},
	{"one-partition", func(f messagesFacts) bool { return f.has(exporters.DimPartition) }, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimPartition]
		return append(f.failing(), text(" are of "), strong(v.Topic+" p"+v.Value).at(query("/messages", "topic", v.Topic)), text(", which has "), f.share(exporters.DimPartition), text(" of all"))
	}},
	{"only-old", func(f messagesFacts) bool { return f.older > 0 }, ToneBad, func(f messagesFacts) []Piece {
		return say(text("only messages older than "), duration(f.older).bold().at(f.oldestHref()), text(" fail; "), share(f.younger, 1).at(f.topicHref()), text(" of all were younger"))
	}},
	{"one-group", func(f messagesFacts) bool { return f.has(exporters.DimGroup) }, ToneBad, func(f messagesFacts) []Piece {
		v := f.told[exporters.DimGroup].Value
		return append(f.failing(), text(" were read by group "), strong(v).at(f.issuesOf("group", v)), text(", which read "), f.share(exporters.DimGroup), text(" of all"))
	}},
	{"one-member", func(f messagesFacts) bool { return f.has(exporters.DimMember) }, ToneBad, func(f messagesFacts) []Piece {
		return append(f.failing(), text(" were processed by the consumer "), strong(f.told[exporters.DimMember].Value), text(", which processed "), f.share(exporters.DimMember), text(" of all"))
	}},
}

func (f messagesFacts) oldestHref() string {
	if len(f.Oldest) == 0 || f.Oldest[0].TraceID.IsZero() {
		return f.topicHref()
	}
	if f.Oldest[0].SpanID.IsZero() {
		return "/traces/" + f.Oldest[0].TraceID.String()
	}
	return query("/traces/"+f.Oldest[0].TraceID.String(), "row", f.Oldest[0].SpanID.String())
}

var messageTexts = append(messageRules,
	rule[messagesFacts]{"worst", func(f messagesFacts) bool { return len(f.Worst) > 0 && f.Worst[0].Events >= minEach && f.Records > 1 }, "", func(f messagesFacts) []Piece {
		return say(text("the record of most events is "), strong(recordName(f.Worst[0].Record)).at(f.worstHref()), text(" with "), count(f.Worst[0].Events))
	}},
	rule[messagesFacts]{"age", func(f messagesFacts) bool { return f.Age.Events >= minEach }, "", func(f messagesFacts) []Piece {
		return say(text("half of the messages were older than "), duration(f.Age.P50).at(f.oldestHref()), text(" when it failed"))
	}},
	rule[messagesFacts]{"unplaced", func(f messagesFacts) bool { return f.Placed > 0 && f.Placed < f.Events }, "", func(f messagesFacts) []Piece {
		return append(say(text("of ")), append(many(f.Events-f.Placed, "event", "events"), text(" no record is known"))...)
	}},
	rule[messagesFacts]{"more", func(f messagesFacts) bool { return f.More }, "", func(messagesFacts) []Piece {
		return say(text("only the newest "), count(exporters.MaxJoinedEvents), text(" events were looked at"))
	}},
)

// recordName is a record as people write it: topic/partition@offset.
func recordName(r schemas.RecordRef) string {
	return r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "@" + strconv.FormatInt(r.Offset, 10)
}
