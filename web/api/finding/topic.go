package finding

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Topic is what the page of one topic knows.
type Topic struct {
	Topic    string
	From, To string // of the page, to keep its time in links
	Step     time.Duration
	Written  *TopicSide // nil: no writer was seen
	Groups   []TopicSide
	Selected *TopicSide // of Groups; nil: none read
	// Partitions are those that Selected read.
	Partitions []exporters.PartitionSum
}

// TopicSide is what was written, or read by one group.
type TopicSide struct {
	Group            string
	Messages, Failed uint64
	Lag              time.Duration
	LagUnknown       bool     // nobody tells what was written
	Steps            []uint64 // messages in each step; nil when they are not told
	Parts            map[exporters.PartName]exporters.Quantiles
}

const (
	// hotShare of all waiting in one partition is worth the title, when its fair
	// share is less than a third of that.
	hotShare = 0.5
	// hotWait is what the partition's records wait at least, p99.
	hotWait = time.Second
	// fewBehind is the share of records not read that is worth a sentence, and
	// behindSteps for how many steps on end.
	fewBehind   = 0.05
	behindSteps = 3
	behindLeast = 20 // records: fewer are on their way
)

// ForTopic says where the records of one topic wait.
func ForTopic(t Topic) Finding {
	f := topicFacts{Topic: t}
	var waited time.Duration
	for i := range t.Partitions {
		p := &t.Partitions[i]
		waited += p.Waited
		if p.Partition != schemas.Unknown && (f.hot == nil || p.Waited > f.hot.Waited) {
			f.hot = p
		}
	}
	if f.hot != nil && waited > 0 {
		f.hotShare = float64(f.hot.Waited) / float64(waited)
	}
	if len(t.Partitions) < 2 || f.hotShare < hotShare || f.hotShare < 3/float64(len(t.Partitions)) && f.hotShare < 0.8 || f.hot.Part.P99 < hotWait {
		f.hot = nil
	}
	for i := range t.Groups {
		if g := &t.Groups[i]; f.behind == nil || g.Lag > f.behind.Lag {
			f.behind = g
		}
		f.negative += negatives(&t.Groups[i])
	}
	if f.behind != nil && f.behind.Lag < muchBehind {
		f.behind = nil
	}
	if t.Written != nil {
		f.negative += negatives(t.Written)
		for i := range t.Groups {
			if t.Groups[i].Messages == 0 {
				continue // that is a sentence of its own
			}
			if share, steps := ShortOf(t.Written.Steps, t.Groups[i].Steps); steps > f.shortSteps {
				f.short, f.shortShare, f.shortSteps = &t.Groups[i], share, steps
			}
		}
	}
	if s := t.Selected; s != nil {
		sides := []*TopicSide{s}
		if t.Written != nil {
			sides = append(sides, t.Written)
		}
		for _, side := range sides {
			for name, q := range side.Parts {
				if partWords[name] != "" && q.Count > 0 && q.P99 > f.largest.d {
					f.largest = largestPart{name, q.P99}
				}
			}
		}
		f.unknown = s.Messages
		if q, ok := s.Parts[exporters.PartResidence]; ok {
			f.unknown -= min(q.Count, s.Messages)
		}
	}
	out := first(oneTopicTitles, f)
	out.Text = all(oneTopicTexts, f)
	return out
}

type largestPart struct {
	name exporters.PartName
	d    time.Duration
}

type topicFacts struct {
	Topic
	hot        *exporters.PartitionSum
	hotShare   float64
	behind     *TopicSide
	short      *TopicSide
	shortShare float64
	shortSteps int
	largest    largestPart
	negative   uint64
	unknown    uint64 // readings whose wait in the broker nobody told
}

func negatives(s *TopicSide) (n uint64) {
	for name, q := range s.Parts {
		if partWords[name] != "" {
			n += q.Negative
		}
	}
	return n
}

// ShortOf tells by how much less was read than was written in the last steps on end,
// as a share of what was written, and in how many; zero steps when it is not worth a
// word. The last step counts for nothing: it is not over.
func ShortOf(written, read []uint64) (share float64, steps int) {
	var w, r uint64
	for i := min(len(written), len(read)) - 2; i >= 0; i-- {
		if float64(read[i]) > (1-fewBehind)*float64(written[i]) {
			break
		}
		if written[i] == 0 {
			continue
		}
		w, r = w+written[i], r+read[i]
		steps = min(len(written), len(read)) - 1 - i
	}
	if steps < behindSteps || w-r < behindLeast || float64(w-r) < fewBehind*float64(w) {
		return 0, 0
	}
	return float64(w-r) / float64(w), steps
}

// TopicHref is the UI's page of a topic.
func TopicHref(topic string) string {
	return "/topics/" + url.PathEscape(topic)
}

func (f topicFacts) page(pairs ...string) string {
	return query(TopicHref(f.Topic.Topic), append([]string{"from", f.From, "to", f.To}, pairs...)...)
}

func (f topicFacts) messages(group string, partition *int32) string {
	pairs := []string{"from", f.From, "to", f.To, "topic", f.Topic.Topic, "group", group, "order", "slowest"}
	if partition != nil {
		pairs = append(pairs, "partition", strconv.Itoa(int(*partition)))
	}
	return query("/messages", pairs...)
}

var oneTopicTitles = []rule[topicFacts]{
	{"nothing", func(f topicFacts) bool { return f.Written == nil && len(f.Groups) == 0 }, ToneEmpty, func(f topicFacts) []Piece {
		return say(text("no message passed "), strong(f.Topic.Topic), text(" in this time"))
	}},
	{"hot", func(f topicFacts) bool { return f.hot != nil }, ToneWarn, func(f topicFacts) []Piece {
		p := f.hot.Partition
		return say(text("partition "), link(strconv.Itoa(int(p)), f.messages(f.Selected.Group, &p)), text(" holds "),
			Piece{Kind: KindShare, Value: f.hotShare, Href: f.page("group", f.Selected.Group, "part", string(exporters.PartResidence), "row", strconv.Itoa(int(p)))}, text(" of the wait in "), strong(f.Topic.Topic))
	}},
	{"absent", func(f topicFacts) bool { return f.Selected != nil && f.Selected.Messages == 0 }, ToneWarn, func(f topicFacts) []Piece {
		return append(groupDoes(f.Selected.Group, " has not been seen to read ", " have not been seen to read "), strong(f.Topic.Topic), text(" in this time"))
	}},
	{"short", func(f topicFacts) bool { return f.short != nil }, ToneWarn, func(f topicFacts) []Piece {
		return append(groupDoes(f.short.Group, " has read ", " have read "), Piece{Kind: KindShare, Value: f.shortShare, Href: f.page("group", f.short.Group) + "#flow"}, text(" less than was written for "),
			duration(time.Duration(f.shortSteps)*f.Step))
	}},
	{"behind", func(f topicFacts) bool { return f.behind != nil }, ToneWarn, func(f topicFacts) []Piece {
		return append(groupDoes(f.behind.Group, " is ", " are "), duration(f.behind.Lag).at(f.messages(f.behind.Group, nil)), text(" behind in "), strong(f.Topic.Topic))
	}},
	{"unread", func(f topicFacts) bool { return len(f.Groups) == 0 }, ToneWarn, func(f topicFacts) []Piece {
		return say(strong(f.Topic.Topic), text(" is written, and nobody has been seen to read it"))
	}},
	{"part", func(f topicFacts) bool { return f.largest.d > 0 }, ToneOK, func(f topicFacts) []Piece {
		begin := "no reader is behind; messages of "
		if slices.ContainsFunc(f.Groups, func(g TopicSide) bool { return g.LagUnknown }) {
			begin = "messages of "
		}
		return append(append(say(text(begin)), strong(f.Topic.Topic), text(" spend longest in "+partWords[f.largest.name]+": p99 ")),
			duration(f.largest.d).at(f.messages(f.Selected.Group, nil)))
	}},
	{"unknown", always[topicFacts], ToneOK, func(f topicFacts) []Piece {
		return say(strong(f.Topic.Topic), text(" is read; where its messages spend their time is unknown"))
	}},
}

var oneTopicTexts = []rule[topicFacts]{
	{"hot-wait", func(f topicFacts) bool { return f.hot != nil }, "", func(f topicFacts) []Piece {
		return append(append(say(text("its records wait "), duration(f.hot.Part.P99).at(f.messages(f.Selected.Group, &f.hot.Partition)), text(" at p99, in one of ")), many(len(f.Partitions), "partition", "partitions")...), text("."))
	}},
	{"short", func(f topicFacts) bool { return f.short != nil && f.hot != nil }, "", func(f topicFacts) []Piece {
		return append(groupDoes(f.short.Group, " has read ", " have read "), Piece{Kind: KindShare, Value: f.shortShare, Href: f.page("group", f.short.Group) + "#flow"}, text(" less than was written for "),
			duration(time.Duration(f.shortSteps)*f.Step), text("."))
	}},
	{"behind", func(f topicFacts) bool { return f.behind != nil && (f.hot != nil || f.short != nil) }, "", func(f topicFacts) []Piece {
		return append(groupDoes(f.behind.Group, " is ", " are "), duration(f.behind.Lag).at(f.messages(f.behind.Group, nil)), text(" behind."))
	}},
	{"failing", func(f topicFacts) bool { return f.Selected != nil && f.Selected.Failed > 0 }, "", func(f topicFacts) []Piece {
		return append(groupDoes(f.Selected.Group, " fails on ", " fail on "), share(float64(f.Selected.Failed), float64(f.Selected.Messages)).at(query("/issues", "query", "topic:"+quoted(f.Topic.Topic))), text(" of what "+itReads(f.Selected.Group)+"."))
	}},
	{"negative", func(f topicFacts) bool { return f.negative > 0 }, "", func(f topicFacts) []Piece {
		return append(many(f.negative, "measured part is", "measured parts are"), text(" negative: clocks disagree."))
	}},
	{"unknown", func(f topicFacts) bool { return f.unknown > 0 && f.Selected.Messages > f.unknown }, "", func(f topicFacts) []Piece {
		return append(say(text("how long the broker had them is unknown of ")), append(many(f.unknown, "message", "messages"), text("."))...)
	}},
}

// quoted is a value of the language of searches.
func quoted(s string) string {
	if strings.ContainsAny(s, " \"*,[]<>") {
		return strconv.Quote(s)
	}
	return s
}
