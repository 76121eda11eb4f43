package finding

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Journey is what the page of one journey knows.
type Journey struct {
	Root     string        // name of the first span
	Service  string        // of that span
	Start    int64         // first start, Unix ns
	Duration time.Duration // first start to last end
	Services int
	Hops     []Hop
	Errors   []Error // events on the way, oldest first
	Failed   int     // spans with an error status
	Batches  []Batch // largest first
	Path     Path
	Cut      bool

	// Of a later page: the spans before it, those of it, and all.
	Skipped, Shown, Spans int
}

// Batch is a span of a journey that read several records.
type Batch struct {
	SpanID  string
	Service string
	Topic   string
	Group   string
	Records int
}

// Path is whose time a critical path is. The shares sum up to one.
type Path struct {
	Total     time.Duration
	Producers float64 // batch queue, retry, ack
	Broker    float64 // backlog, long poll
	Consumers float64 // fetch queue, processing
	Others    float64 // work of spans outside of a hop
	Unknown   float64
	Longest   string // row of the longest stretch
}

// Hop is one hop of a journey or of a list.
type Hop struct {
	ID        string // of its row on the page
	Topic     string
	Partition int32 // schemas.Unknown when not told
	Group     string
	Service   string // the consumer's
	TraceID   string
	SpanID    string // of the side that TraceID is of: one span may have read several records
	Behind    int64  // records after this one when it was fetched; schemas.Unknown when not told
	Parts     schemas.HopParts
	Read      bool
	Failed    bool
	// Sent tells that the sender's row is known, Stamped is the record's own timestamp,
	// Unix ns, zero when not told.
	Sent       bool
	Stamped    int64
	Start, End int64 // Unix ns
	// SentOn tells that the record was made of one that failed, Dead that its topic
	// holds dead letters; Attempt is how often it was sent on.
	SentOn, Dead bool
	Attempt      int
}

// Error is one event.
type Error struct {
	Title string
	Href  string
}

// stretch is one part of one hop.
type stretch struct {
	name exporters.PartName
	hop  Hop
	d    time.Duration
}

type journeyFacts struct {
	Journey
	last              Hop           // the read hop that ended last
	took              time.Duration // until it ended: since the journey's start or, where nobody told of sending, since the record's timestamp; zero when unknown
	unsent            bool          // nobody told that anything was sent
	read, unread      int
	originals         int // hops of records that were not made of one that failed
	dead              Hop // the dead letter that a record ended as
	again             int // how often one was sent on before
	largest           stretch
	known, unknown    int
	negative          int
	worked            time.Duration
	workKnown         bool
	unshared          bool
	largestOfDuration float64
	backwards         stretch // of a hop that was done before it was sent, its most negative part
}

// ForJourney says where the time of one journey went.
func ForJourney(j Journey) Finding {
	if j.Skipped > 0 {
		return laterSpans(j)
	}
	f := journeyFacts{Journey: j}
	sentOn := map[string]bool{}
	worked := map[string]bool{} // spans whose work is counted: one that read several records did it once
	f.unsent = true
	for _, h := range j.Hops {
		f.unsent = f.unsent && !h.Sent
		if !h.SentOn {
			f.originals++
		}
		switch {
		case h.Dead && h.SentOn:
			f.dead = h
		case h.SentOn && !sentOn[h.ID]:
			sentOn[h.ID] = true
			f.again = max(f.again+1, h.Attempt)
		}
		if !h.Read {
			f.unread++
		} else {
			f.read++
			if f.last.ID == "" || h.End > f.last.End {
				f.last = h
			}
			f.unshared = f.unshared || !h.Parts.SharedClock
		}
		for _, s := range stretches(h) {
			if !s.part.Known {
				if h.Read {
					f.unknown++
				}
				continue
			}
			f.known++
			if s.part.Duration < 0 {
				f.negative++
				if done := h.Parts.EndToEnd; done.Known && done.Duration < 0 && s.part.Duration < f.backwards.d {
					f.backwards = stretch{s.name, h, s.part.Duration}
				}
			}
			if s.part.Duration > f.largest.d {
				f.largest = stretch{s.name, h, s.part.Duration}
			}
			if s.name == exporters.PartProcessing {
				if span := h.TraceID + h.SpanID; h.SpanID == "" || !worked[span] {
					worked[span] = true
					f.worked += s.part.Duration
				}
				f.workKnown = true
			}
		}
	}
	if f.unsent && f.read > 0 {
		if f.last.Stamped != 0 {
			f.took = max(0, time.Duration(f.last.End-f.last.Stamped))
		}
	} else if f.took = j.Duration; f.last.End > j.Start && j.Start != 0 {
		f.took = min(j.Duration, time.Duration(f.last.End-j.Start))
	}
	if f.took > 0 && f.backwards.d == 0 {
		f.largestOfDuration = min(1, float64(f.largest.d)/float64(f.took))
	}
	out := first(journeyTitles, f)
	out.Text = all(journeyTexts, f)
	return out
}

// laterSpans speaks of a page of spans, which knows no beginning and no end.
func laterSpans(j Journey) Finding {
	f := Finding{Rule: "later-spans", Tone: ToneOK, Text: say(text("The "), text("first page").at("?from_span="), text(" tells where the time went."))}
	if j.Shown == 0 {
		f.Tone = ToneEmpty
		f.Title = append(say(text("there are only ")), many(uint64(max(j.Spans, 0)), "span", "spans")...)
		return f
	}
	f.Title = say(text("spans "), count(j.Skipped+1), text(" to "), count(j.Skipped+j.Shown), text(" of "), count(j.Spans))
	return f
}

type namedPart struct {
	name exporters.PartName
	part schemas.Part
}

func stretches(h Hop) []namedPart {
	p := h.Parts
	return []namedPart{
		{exporters.PartBatchQueue, p.BatchQueue},
		{exporters.PartRetry, p.Retry},
		{exporters.PartAck, p.Ack},
		{exporters.PartBacklog, p.Backlog},
		{exporters.PartLongPoll, p.LongPoll},
		{exporters.PartFetchQueue, p.FetchQueue},
		{exporters.PartProcessing, p.Processing},
	}
}

// tableHref is the page's hops as a table, where each part stands.
const tableHref = "?view=table"

func rowHref(id string) string { return query("", "row", id) }

func (h Hop) place() string {
	if h.Partition < 0 {
		return h.Topic
	}
	return h.Topic + " p" + strconv.Itoa(int(h.Partition))
}

var journeyTitles = []rule[journeyFacts]{
	// From the first start to the last end is no duration where an effect lies before its cause.
	{"backwards", func(f journeyFacts) bool { return f.backwards.d < 0 }, ToneWarn, func(f journeyFacts) []Piece {
		word := " reached "
		if f.last.Failed {
			word = " failed in "
		}
		return say(strong(f.Root), text(word+f.last.Service+", but two clocks disagree by "), duration(-f.backwards.d).at(rowHref(f.backwards.hop.ID)), text(" or more"))
	}},
	{"dead-letter", func(f journeyFacts) bool { return f.dead.ID != "" }, ToneBad, func(f journeyFacts) []Piece {
		s := say(strong(f.Root), text(" ended as a dead letter"))
		if f.originals > 1 {
			s = say(text("a record of "), strong(f.Root), text(" ended as a dead letter"))
		}
		if d := time.Duration(f.dead.Start - f.Start); f.Start != 0 && d > 0 && !f.unsent {
			s = append(s, text(" after "), duration(d).at(rowHref(f.dead.ID)))
		}
		return s
	}},
	{"failed", func(f journeyFacts) bool { return f.read > 0 && f.last.Failed }, ToneBad, func(f journeyFacts) []Piece {
		return append(say(strong(f.Root), text(" failed in "+f.last.Service)), after(f)...)
	}},
	{"reached-with-errors", func(f journeyFacts) bool { return f.read > 0 && (len(f.Errors) > 0 || f.Failed > 0) }, ToneWarn, reached},
	{"reached", func(f journeyFacts) bool { return f.read > 0 }, ToneOK, reached},
	{"read-a-batch", func(f journeyFacts) bool { return len(f.Batches) > 0 && f.unread == 0 }, ToneOK, func(f journeyFacts) []Piece {
		b := f.Batches[0]
		return append(append(say(strong(f.Root), text(" read ")), count(b.Records).at(rowHref(b.SpanID))), text(" records at once, as group "), strong(b.Group))
	}},
	{"unread", func(f journeyFacts) bool { return f.unread > 0 }, ToneWarn, func(f journeyFacts) []Piece {
		h := f.Hops[0]
		return say(text("nobody has been seen to read what "+f.Service+" sent to "), strong(h.Topic).at(rowHref(h.ID)))
	}},
	{"no-hops-failed", func(f journeyFacts) bool { return f.Failed > 0 }, ToneBad, func(f journeyFacts) []Piece {
		return say(strong(f.Root), text(" failed after "), duration(f.Duration), text(", and no Kafka message was seen in it"))
	}},
	{"no-hops", always[journeyFacts], ToneOK, func(f journeyFacts) []Piece {
		return say(strong(f.Root), text(" took "), duration(f.Duration), text(", and no Kafka message was seen in it"))
	}},
}

func reached(f journeyFacts) []Piece {
	return append(say(strong(f.Root), text(" reached "+f.last.Service)), after(f)...)
}

// after says how long it took, as far as anybody told when it began.
func after(f journeyFacts) []Piece {
	switch {
	case f.took <= 0:
		return say(text(", and nobody tells when it was sent"))
	case f.unsent:
		return say(text(", "), duration(f.took).at(rowHref(f.last.ID)), text(" after the record's own timestamp"))
	}
	return say(text(" after "), duration(f.took).at(rowHref(f.last.ID)))
}

// almostAll and mostly are the shares from which a text says so.
const (
	almostAll = 0.95
	mostly    = 0.5
)

// leastShare is the smallest share of a way that a sentence names.
const leastShare = 0.005

func most(f journeyFacts) []Piece {
	word := "most of it"
	if f.largestOfDuration >= almostAll {
		word = "almost all of it"
	}
	return say(text(word+" ("), share(f.largestOfDuration, 1).at(rowHref(f.largest.hop.ID)).bold(), text(") "))
}

func largestIs(names ...exporters.PartName) func(journeyFacts) bool {
	return func(f journeyFacts) bool {
		if f.largestOfDuration < mostly {
			return false
		}
		for _, n := range names {
			if f.largest.name == n {
				return true
			}
		}
		return false
	}
}

var journeyTexts = []rule[journeyFacts]{
	{"whose", func(f journeyFacts) bool {
		return f.Path.Total > 0 && f.read > 0 && f.Path.Unknown < 1 && f.backwards.d == 0 && !f.unsent
	}, "", func(f journeyFacts) []Piece {
		type side struct {
			whose string
			of    float64
		}
		sides := []side{{"the broker's", f.Path.Broker}, {"the consumers'", f.Path.Consumers}, {"the producers'", f.Path.Producers}, {"other work", f.Path.Others}, {"unknown", f.Path.Unknown}}
		slices.SortStableFunc(sides, func(a, b side) int { return cmp.Compare(b.of, a.of) })
		out := say(text("of the critical path "))
		for i, s := range sides {
			if s.of < leastShare && i > 0 {
				break
			}
			p := share(s.of, 1)
			if i > 0 {
				out = append(out, text(", "))
			} else {
				p = p.at(rowHref(f.Path.Longest)).bold()
			}
			out = append(out, p, text(" was "+s.whose))
			if i > 0 {
				out[len(out)-1] = text(" " + s.whose)
			}
		}
		return append(out, text("."))
	}},
	{"backlog-behind", func(f journeyFacts) bool {
		return largestIs(exporters.PartBacklog)(f) && f.largest.hop.Behind > 0
	}, "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		s := append(most(f), text("it lay in "), strong(h.place()).at(rowHref(h.ID)), text(": group "), strong(h.Group),
			text(" was "))
		s = append(s, many(uint64(h.Behind), "record", "records")...)
		return append(s, text(" behind when it asked for this one."))
	}},
	{"backlog", func(f journeyFacts) bool {
		return largestIs(exporters.PartBacklog)(f) && f.largest.hop.Behind <= 0
	}, "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("it lay in "), strong(h.place()).at(rowHref(h.ID)), text(" before group "), strong(h.Group), text(" asked for it."))
	}},
	{"batch-queue", largestIs(exporters.PartBatchQueue), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("it waited in the producer's batch queue for "), strong(h.place()).at(rowHref(h.ID)), text(": "),
			duration(f.largest.d), text(" of linger."))
	}},
	{"retry", largestIs(exporters.PartRetry), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("went into writing the request to "), strong(h.place()).at(rowHref(h.ID)), text(" again."))
	}},
	{"ack", largestIs(exporters.PartAck), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("the broker took to append it to "), strong(h.place()).at(rowHref(h.ID)), text("."))
	}},
	{"long-poll", largestIs(exporters.PartLongPoll), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("the fetch of group "), strong(h.Group), text(" was open on "), strong(h.place()).at(rowHref(h.ID)),
			text(": the group was not behind."))
	}},
	{"fetch-queue", largestIs(exporters.PartFetchQueue), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("it lay fetched in group "), strong(h.Group).at(rowHref(h.ID)), text(", waiting for the records before it."))
	}},
	{"processing", largestIs(exporters.PartProcessing), "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		return append(most(f), text("went into processing by group "), strong(h.Group).at(rowHref(h.ID)), text("."))
	}},
	{"spread", func(f journeyFacts) bool {
		return f.largest.d > 0 && f.took > 0 && f.largestOfDuration < mostly && f.backwards.d == 0
	}, "", func(f journeyFacts) []Piece {
		h := f.largest.hop
		words := "no part of a hop has half of it; the largest is "
		if f.unknown > 0 {
			words = "no known part of a hop has half of it, and some are unknown; the largest known is "
		}
		return say(text(words+partWords[f.largest.name]+" of "),
			strong(h.place()).at(rowHref(h.ID)), text(" with "), duration(f.largest.d), text("."))
	}},
	{"worked", func(f journeyFacts) bool { return f.workKnown && f.largest.name != exporters.PartProcessing }, "", func(f journeyFacts) []Piece {
		return say(text("the message itself was processed for "), duration(f.worked), text("."))
	}},
	{"dead-letter", func(f journeyFacts) bool { return f.dead.ID != "" }, "", func(f journeyFacts) []Piece {
		h := f.dead
		s := say(text("a record failed"))
		if f.again > 0 {
			s = append(append(s, text(", was tried again ")), times(f.again)...)
		}
		return append(s, text(" and ended as a dead letter in "), strong(h.place()).at(rowHref(h.ID)), text("."))
	}},
	{"sent-on", func(f journeyFacts) bool { return f.dead.ID == "" && f.again > 0 }, "", func(f journeyFacts) []Piece {
		return append(append(say(text("a record failed and was sent on ")), times(f.again)...), text("."))
	}},
	{"error", func(f journeyFacts) bool { return len(f.Errors) == 1 }, "", func(f journeyFacts) []Piece {
		return say(text("one error on the way: "), link(f.Errors[0].Title, f.Errors[0].Href), text("."))
	}},
	{"errors", func(f journeyFacts) bool { return len(f.Errors) > 1 }, "", func(f journeyFacts) []Piece {
		return say(count(len(f.Errors)), text(" errors on the way, the first: "), link(f.Errors[0].Title, f.Errors[0].Href), text("."))
	}},
	{"batches", func(f journeyFacts) bool { return len(f.Batches) > 0 && f.read > 0 }, "", func(f journeyFacts) []Piece {
		b := f.Batches[0]
		s := say(text("group "), strong(b.Group), text(" read it together with "))
		return append(s, append(many(b.Records-1, "other record", "other records"), text(" in one batch."))...)
	}},
	{"some-unread", func(f journeyFacts) bool { return f.read > 0 && f.unread > 0 }, "", func(f journeyFacts) []Piece {
		return append(manyAt(f.unread, "record", "records", tableHref), text(" on the way nobody has been seen to read."))
	}},
	{"backwards", func(f journeyFacts) bool { return f.backwards.d < 0 }, "", func(f journeyFacts) []Piece {
		h := f.backwards.hop
		return say(text("how long it took in all is unknown: "), strong(h.place()).at(rowHref(h.ID)), text(" was done before it was sent, which no message is."))
	}},
	{"negative", func(f journeyFacts) bool { return f.negative > 0 }, "", func(f journeyFacts) []Piece {
		return append(manyAt(f.negative, "part is", "parts are", tableHref), text(" negative: two clocks disagree."))
	}},
	{"unsent", func(f journeyFacts) bool { return f.unsent && f.read > 0 }, "", func(f journeyFacts) []Piece {
		return say(text("who sent "), strong(f.last.place()).at(rowHref(f.last.ID)), text(" is unknown: its producer is not instrumented, or its span is not stored."))
	}},
	{"unknown-clocks", func(f journeyFacts) bool { return f.unknown > 0 && f.unshared && !f.unsent }, "", func(f journeyFacts) []Piece {
		return say(count(f.unknown).at(tableHref), text(" of "), count(f.known+f.unknown),
			text(" parts are unknown: a side is not instrumented for them or runs on another host's clock."))
	}},
	{"unknown", func(f journeyFacts) bool { return f.unknown > 0 && !f.unshared }, "", func(f journeyFacts) []Piece {
		return say(count(f.unknown).at(tableHref), text(" of "), count(f.known+f.unknown), text(" parts are unknown: nobody measured them."))
	}},
	{"cut", func(f journeyFacts) bool { return f.Cut }, "", func(journeyFacts) []Piece {
		return say(text("the journey is larger than this page; what is shown is its nearest part."))
	}},
}

// partWords are the parts as a sentence names them.
var partWords = map[exporters.PartName]string{
	exporters.PartBatchQueue: "the batch queue",
	exporters.PartRetry:      "retries",
	exporters.PartAck:        "the ack",
	exporters.PartBacklog:    "the backlog",
	exporters.PartLongPoll:   "the long poll",
	exporters.PartFetchQueue: "the fetch queue",
	exporters.PartProcessing: "processing",
}
