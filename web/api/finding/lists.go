package finding

import (
	"slices"
	"strings"
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
		s := append(say(count(f.Failed).at(here("errors", "true")), text(" of ")), shown(f)...)
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
			duration(f.Slowest.Duration).bold().at("/traces/"+f.Slowest.TraceID.String()), text("."))
	}},
}

// ForHops says what the messages on the page wait for. The query is what they were
// asked for by.
func ForHops(hops []Hop, slowest bool, query string) Finding {
	f := hopsFacts{n: len(hops), slowest: slowest, query: query}
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
	query        string
	worst        Hop
	largest      stretch
	sum, waiting time.Duration
}

// spent is a share of the time of the messages, which leads to those that took most.
func (f hopsFacts) spent(d time.Duration) Piece {
	p := share(float64(d), float64(f.sum))
	if f.slowest {
		return p // these are they
	}
	return p.at(here("order", "slowest"))
}

func (f hopsFacts) worstHref() string {
	return query("/traces/"+f.worst.TraceID, "row", f.worst.ID)
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
		return say(text("these messages spent "), f.spent(f.waiting), text(" of their known time waiting"))
	}},
	{"working", func(f hopsFacts) bool { return f.sum > 0 }, ToneOK, func(f hopsFacts) []Piece {
		return say(text("these messages were worked on for "), f.spent(f.sum-f.waiting), text(" of their known time"))
	}},
	{"unknown", always[hopsFacts], ToneOK, func(f hopsFacts) []Piece {
		return append(many(f.n, "message", "messages"), text(", and no part of their time is known"))
	}},
}

var hopTexts = []rule[hopsFacts]{
	{"worst", func(f hopsFacts) bool { return f.worst.TraceID != "" && f.largest.d > 0 }, "", func(f hopsFacts) []Piece {
		return say(text("the slowest took "), duration(f.worst.Parts.EndToEnd.Duration).bold().at(f.worstHref()),
			text(" in "), strong(f.worst.place()), text("; its largest part is "+partWords[f.largest.name]+" with "), duration(f.largest.d).at(f.worstHref()), text("."))
	}},
	{"failed", func(f hopsFacts) bool { return f.failed > 0 }, "", func(f hopsFacts) []Piece {
		q := "status:error"
		if f.query != "" {
			q = "(" + f.query + ") " + q
		}
		return append(manyAt(f.failed, "of them", "of them", here("q", q)), text(" failed."))
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

// ForTopics says where messages wait longest; from and to are the time of the page, for
// links.
func ForTopics(stats []exporters.TopicStats, from, to string) Finding {
	f := topicsFacts{n: len(stats), from: from, to: to}
	read := map[string]uint64{}
	for _, s := range stats {
		read[s.Topic] += s.Consumed
	}
	for _, s := range stats {
		if s.Group == "" {
			// What no reader without a group had, either. Some records are always on their way.
			left := s
			left.Produced -= min(s.Produced, s.Consumed)
			if left.Produced > 0 && float64(left.Produced) > fewUnread*float64(read[s.Topic]) {
				f.unread = append(f.unread, left)
			}
			if s.Consumed == 0 {
				continue
			}
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
		for name, q := range s.Parts {
			if f.negative += q.Negative; q.Negative > 0 && !slices.Contains(f.negatives, name) {
				f.negatives = append(f.negatives, name)
			}
		}
	}
	out := first(topicTitles, f)
	out.Text = all(topicTexts, f)
	return out
}

type topicsFacts struct {
	from, to  string
	n, groups int
	wait      exporters.TopicStats
	waitPart  exporters.PartName
	waitP99   time.Duration
	failing   exporters.TopicStats
	unread    []exporters.TopicStats
	negative  uint64
	negatives []exporters.PartName
}

// negativeQuery finds the messages of which one of the parts is below zero.
func negativeQuery(parts []exporters.PartName) string {
	slices.Sort(parts)
	terms := make([]string, len(parts))
	for i, p := range parts {
		terms[i] = string(p) + "<0ms"
	}
	return strings.Join(terms, " OR ")
}

// namedUnread is how many more topics with unread records are named.
const namedUnread = 3

// fewUnread is the share of unread records that is not worth a sentence.
const fewUnread = 0.05

func (f topicsFacts) at(path string, pairs ...string) string {
	return query(path, append([]string{"from", f.from, "to", f.to}, pairs...)...)
}

func (f topicsFacts) slowest() string {
	return f.at("/messages", "topic", f.wait.Topic, "group", f.wait.Group, "order", "slowest")
}

func (f topicsFacts) topic(name string) string { return f.at(TopicHref(name)) }

var topicTitles = []rule[topicsFacts]{
	{"nothing", func(f topicsFacts) bool { return f.n == 0 }, ToneEmpty, func(topicsFacts) []Piece {
		return say(text("no message passed a topic in this time"))
	}},
	{"backlog", func(f topicsFacts) bool { return f.waitP99 > 0 && f.waitPart == exporters.PartBacklog }, ToneWarn, func(f topicsFacts) []Piece {
		return append(append(say(text("messages wait longest in "), strong(f.wait.Topic), text(": ")), groupDoes(f.wait.Group, " was ", " were ")...),
			duration(f.waitP99).at(f.slowest()), text(" behind at p99"))
	}},
	{"wait", func(f topicsFacts) bool { return f.waitP99 > 0 }, ToneOK, func(f topicsFacts) []Piece {
		return say(text("no group is behind for long; messages wait longest in "+partWords[f.waitPart]+" of "), strong(f.wait.Topic),
			text(": p99 "), duration(f.waitP99).at(f.slowest()))
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
		return say(text("its processing takes "), duration(f.wait.Parts[exporters.PartProcessing].P99).at(f.at(TopicHref(f.wait.Topic), "group", f.wait.Group)), text(" at p99."))
	}},
	{"failing", func(f topicsFacts) bool { return f.failing.Failed > 0 }, "", func(f topicsFacts) []Piece {
		return append(groupDoes(f.failing.Group, " fails on ", " fail on "), share(float64(f.failing.Failed), float64(f.failing.Consumed)).at(f.at("/messages", "topic", f.failing.Topic, "group", f.failing.Group, "q", "status:error")),
			text(" of what "+itReads(f.failing.Group)+" from "), strong(f.failing.Topic), text("."))
	}},
	{"some-unread", func(f topicsFacts) bool { return len(f.unread) > 0 && f.groups > 0 }, "", func(f topicsFacts) []Piece {
		u := f.unread[0]
		s := append(manyAt(u.Produced, "record", "records", f.topic(u.Topic)+"#flow"), text(" of "), strong(u.Topic).at(f.topic(u.Topic)), text(" nobody has been seen to read"))
		for i, more := range f.unread[1:] {
			if i == namedUnread {
				s = append(s, text(" and "), count(len(f.unread)-1-i), text(" more topics"))
				break
			}
			between := ", "
			if i == 0 {
				between = ", and some of "
			}
			s = append(s, text(between), strong(more.Topic).at(f.topic(more.Topic)))
		}
		return append(s, text("."))
	}},
	{"negative", func(f topicsFacts) bool { return f.negative > 0 }, "", func(f topicsFacts) []Piece {
		return append(manyAt(f.negative, "measured part is", "measured parts are", f.at("/search", "in", "hops", "q", negativeQuery(f.negatives))), text(" negative: clocks disagree."))
	}},
}
