package finding

import (
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// Traces is what the list of traces knows.
type Traces struct {
	Count    int
	Failed   int
	Filtered bool
	More     bool // there are older ones
	Slowest  exporters.TraceSummary
	Link     string // query of the page, to keep its filters in links
}

// ForTraces says what the traces on the page have in common.
func ForTraces(f Traces) Finding {
	out := first(traceTitles, f)
	out.Text = all(traceTexts, f)
	return out
}

func shown(f Traces) []Piece {
	if f.More {
		return say(text("the newest "), count(f.Count), text(" traces"))
	}
	return many(f.Count, "trace", "traces")
}

var traceTitles = []rule[Traces]{
	{"no-match", func(f Traces) bool { return f.Count == 0 && f.Filtered }, ToneEmpty, func(Traces) []Piece {
		return say(text("no trace matches these filters"))
	}},
	{"nothing", func(f Traces) bool { return f.Count == 0 }, ToneEmpty, func(Traces) []Piece {
		return say(text("no trace arrived in this time"))
	}},
	{"all-failed", func(f Traces) bool { return f.Failed == f.Count }, ToneBad, func(f Traces) []Piece {
		return append(append(say(text("errors in ")), shown(f)...), text(": every one that is shown"))
	}},
	{"some-failed", func(f Traces) bool { return f.Failed > 0 }, ToneWarn, func(f Traces) []Piece {
		s := append(say(count(f.Failed).at(query("/traces", "errors", "true")), text(" of ")), shown(f)...)
		if f.Failed == 1 {
			return append(s, text(" has an error"))
		}
		return append(s, text(" have errors"))
	}},
	{"no-errors", always[Traces], ToneOK, func(f Traces) []Piece {
		return append(shown(f), text(" and no error"))
	}},
}

var traceTexts = []rule[Traces]{
	{"slowest", func(f Traces) bool { return f.Count > 0 }, "", func(f Traces) []Piece {
		return say(text("the slowest, "), link(f.Slowest.Root, "/traces/"+f.Slowest.TraceID.String()), text(" of "+f.Slowest.Service+", took "),
			duration(f.Slowest.Duration).bold(), text("."))
	}},
}

// ForHops says what the messages on the page wait for.
func ForHops(hops []Hop, slowest bool) Finding {
	f := hopsFacts{n: len(hops), slowest: slowest}
	for _, h := range hops {
		if h.Parts.EndToEnd.Known && h.Parts.EndToEnd.Duration > f.worst.Parts.EndToEnd.Duration {
			f.worst = h
		}
		if h.Failed {
			f.failed++
		}
		for _, s := range stretches(h) {
			if s.part.Known {
				f.sum += s.part.Duration
				if waits[s.name] {
					f.waiting += s.part.Duration
				}
			}
		}
	}
	for _, s := range stretches(f.worst) {
		if s.part.Known && s.part.Duration > f.largest.d {
			f.largest = stretch{s.name, f.worst, s.part.Duration}
		}
	}
	out := first(hopTitles, f)
	out.Text = all(hopTexts, f)
	return out
}

type hopsFacts struct {
	n, failed    int
	slowest      bool
	worst        Hop
	largest      stretch
	sum, waiting time.Duration
}

// waits are the parts in which nobody works on the message.
var waits = map[exporters.PartName]bool{
	exporters.PartBatchQueue: true,
	exporters.PartRetry:      true,
	exporters.PartBacklog:    true,
	exporters.PartLongPoll:   true,
	exporters.PartFetchQueue: true,
}

var hopTitles = []rule[hopsFacts]{
	{"nothing", func(f hopsFacts) bool { return f.n == 0 }, ToneEmpty, func(hopsFacts) []Piece {
		return say(text("no message was read in this time"))
	}},
	{"waiting", func(f hopsFacts) bool { return f.sum > 0 && float64(f.waiting) >= mostly*float64(f.sum) }, ToneWarn, func(f hopsFacts) []Piece {
		return say(text("these messages spent "), share(float64(f.waiting), float64(f.sum)), text(" of their known time waiting"))
	}},
	{"working", func(f hopsFacts) bool { return f.sum > 0 }, ToneOK, func(f hopsFacts) []Piece {
		return say(text("these messages were worked on for "), share(float64(f.sum-f.waiting), float64(f.sum)), text(" of their known time"))
	}},
	{"unknown", always[hopsFacts], ToneOK, func(f hopsFacts) []Piece {
		return append(many(f.n, "message", "messages"), text(", and no part of their time is known"))
	}},
}

var hopTexts = []rule[hopsFacts]{
	{"worst", func(f hopsFacts) bool { return f.worst.TraceID != "" && f.largest.d > 0 }, "", func(f hopsFacts) []Piece {
		return say(text("the slowest took "), duration(f.worst.Parts.EndToEnd.Duration).bold().at(query("/traces/"+f.worst.TraceID, "row", f.worst.ID)),
			text(" in "), strong(f.worst.place()), text("; its largest part is "+partWords[f.largest.name]+" with "), duration(f.largest.d), text("."))
	}},
	{"failed", func(f hopsFacts) bool { return f.failed > 0 }, "", func(f hopsFacts) []Piece {
		return append(many(f.failed, "of them", "of them"), text(" failed."))
	}},
}

// ForSent says how old the records on the page are.
func ForSent(n int, more bool, oldest int64, now time.Time) Finding {
	return first(sentTitles, sentFacts{n, more, now.Sub(time.Unix(0, oldest))})
}

type sentFacts struct {
	n    int
	more bool
	age  time.Duration
}

var sentTitles = []rule[sentFacts]{
	{"nothing", func(f sentFacts) bool { return f.n == 0 }, ToneEmpty, func(sentFacts) []Piece {
		return say(text("no producer told of these records"))
	}},
	{"more", func(f sentFacts) bool { return f.more }, ToneOK, func(f sentFacts) []Piece {
		return append(append(say(text("the oldest ")), many(f.n, "record", "records")...), text(" of these; the first was sent "), duration(f.age), text(" ago"))
	}},
	{"all", always[sentFacts], ToneOK, func(f sentFacts) []Piece {
		return append(append(say(text("producers told of ")), many(f.n, "record", "records")...), text(" of these; the first was sent "), duration(f.age), text(" ago"))
	}},
}

// ForTopics says where messages wait longest.
func ForTopics(stats []exporters.TopicStats) Finding {
	f := topicsFacts{n: len(stats)}
	read := map[string]uint64{}
	for _, s := range stats {
		if s.Group != "" {
			read[s.Topic] += s.Consumed
		}
	}
	for _, s := range stats {
		if s.Group == "" {
			// Some records are always on their way.
			if s.Produced > 0 && float64(s.Produced) > fewUnread*float64(read[s.Topic]) {
				f.unread = append(f.unread, s)
			}
			continue
		}
		f.groups++
		for name, q := range s.Parts {
			if !waits[name] || q.Count == 0 {
				continue
			}
			if q.P99 > f.waitP99 || q.P99 == f.waitP99 && f.wait.Topic == "" {
				f.waitP99, f.wait, f.waitPart = q.P99, s, name
			}
		}
		if s.Failed > 0 && (f.failing.Consumed == 0 || float64(s.Failed)*float64(f.failing.Consumed) > float64(f.failing.Failed)*float64(s.Consumed)) {
			f.failing = s
		}
		for _, q := range s.Parts {
			f.negative += q.Negative
		}
	}
	out := first(topicTitles, f)
	out.Text = all(topicTexts, f)
	return out
}

type topicsFacts struct {
	n, groups int
	wait      exporters.TopicStats
	waitPart  exporters.PartName
	waitP99   time.Duration
	failing   exporters.TopicStats
	unread    []exporters.TopicStats
	negative  uint64
}

// fewUnread is the share of unread records that is not worth a sentence.
const fewUnread = 0.05

func messagesHref(s exporters.TopicStats) string {
	return query("/messages", "topic", s.Topic, "group", s.Group, "order", "slowest")
}

var topicTitles = []rule[topicsFacts]{
	{"nothing", func(f topicsFacts) bool { return f.n == 0 }, ToneEmpty, func(topicsFacts) []Piece {
		return say(text("no message passed a topic in this time"))
	}},
	{"backlog", func(f topicsFacts) bool { return f.waitP99 > 0 && f.waitPart == exporters.PartBacklog }, ToneWarn, func(f topicsFacts) []Piece {
		return say(text("messages wait longest in "), strong(f.wait.Topic), text(": group "+f.wait.Group+" was "),
			duration(f.waitP99).at(messagesHref(f.wait)), text(" behind at p99"))
	}},
	{"wait", func(f topicsFacts) bool { return f.waitP99 > 0 }, ToneOK, func(f topicsFacts) []Piece {
		return say(text("no group is behind for long; messages wait longest in "+partWords[f.waitPart]+" of "), strong(f.wait.Topic),
			text(": p99 "), duration(f.waitP99).at(messagesHref(f.wait)))
	}},
	{"unread", func(f topicsFacts) bool { return f.groups == 0 }, ToneWarn, func(f topicsFacts) []Piece {
		return say(text("records are produced, and no group has been seen to read them"))
	}},
	{"unknown", always[topicsFacts], ToneOK, func(f topicsFacts) []Piece {
		return append(many(f.groups, "group reads", "groups read"), text("; how long its messages wait is unknown"))
	}},
}

var topicTexts = []rule[topicsFacts]{
	{"slow-processing", func(f topicsFacts) bool {
		q := f.wait.Parts[exporters.PartProcessing]
		return f.waitP99 > 0 && q.Count > 0
	}, "", func(f topicsFacts) []Piece {
		return say(text("its processing takes "), duration(f.wait.Parts[exporters.PartProcessing].P99), text(" at p99."))
	}},
	{"failing", func(f topicsFacts) bool { return f.failing.Failed > 0 }, "", func(f topicsFacts) []Piece {
		return say(text("group "), strong(f.failing.Group), text(" fails on "), share(float64(f.failing.Failed), float64(f.failing.Consumed)).at(query("/messages", "topic", f.failing.Topic, "group", f.failing.Group, "q", "status:error")),
			text(" of what it reads from "), strong(f.failing.Topic), text("."))
	}},
	{"some-unread", func(f topicsFacts) bool { return len(f.unread) > 0 && f.groups > 0 }, "", func(f topicsFacts) []Piece {
		u := f.unread[0]
		s := append(many(u.Produced, "record", "records"), text(" of "), strong(u.Topic), text(" nobody has been seen to read"))
		if len(f.unread) > 1 {
			s = append(s, text(", and some of "), count(len(f.unread)-1), text(" more topics"))
		}
		return append(s, text("."))
	}},
	{"negative", func(f topicsFacts) bool { return f.negative > 0 }, "", func(f topicsFacts) []Piece {
		return append(many(f.negative, "measured part is", "measured parts are"), text(" negative: clocks disagree."))
	}},
}
