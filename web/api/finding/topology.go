package finding

import "time"

// Topology is what the graph of services, topics and groups knows.
type Topology struct {
	Services, Topics, Groups int
	CutNodes                 int
	Filtered                 bool
	Readings                 []Reading
	Unread                   []string // topics that were written and that no group was seen to read
	From, To                 string   // of the page, to keep its time in links
}

// Reading is what one group does with one topic.
type Reading struct {
	Edge             string // its id on the page
	Topic, Group     string
	Messages, Failed uint64
	Wait             time.Duration // p99 until the broker handed it out; zero when unknown
	Lag              time.Duration // by how much it has read less than was written; zero when unknown
	// Stands: the lag watcher sees records that nobody reads.
	Stands bool
	// Unseen is the page of the group where the lag watcher alone knows of it: no message
	// that it read is stored.
	Unseen string
}

// ForTopology says where records wait.
func ForTopology(t Topology) Finding {
	f := topologyFacts{Topology: t}
	for _, r := range t.Readings {
		f.reads = f.reads || r.Messages > 0
		if r.Unseen == "" && r.Messages == 0 && r.Lag > f.stopped.Lag {
			f.stopped = r
		}
		if r.Stands && (f.stands.Group == "" || r.Lag > f.stands.Lag) {
			f.stands = r
		}
		if r.Lag > f.behind.Lag {
			f.behind = r
		}
		if r.Lag >= muchBehind {
			f.behindAll++
		}
		if r.Wait > f.slowest.Wait {
			f.slowest = r
		}
		// The greatest share of failures.
		if r.Failed > 0 && (f.failing.Messages == 0 || float64(r.Failed)*float64(f.failing.Messages) > float64(f.failing.Failed)*float64(r.Messages)) {
			f.failing = r
		}
	}
	out := first(topologyTitles, f)
	out.Text = all(topologyTexts, f)
	return out
}

type topologyFacts struct {
	Topology
	stopped, stands, behind, slowest, failing Reading
	behindAll                                 int
	reads                                     bool // any group
}

// muchBehind is a lag that is worth a sentence: some records are always on
// their way.
const muchBehind = 10 * time.Second

func (f topologyFacts) edge(r Reading) string {
	if r.Unseen != "" {
		return r.Unseen
	}
	topic := ""
	if f.CutNodes > 0 { // it may be one of those that are left out
		topic = r.Topic
	}
	return query("/topology", "from", f.From, "to", f.To, "topic", topic, "sel", r.Edge)
}

func (f topologyFacts) messages(r Reading) string {
	return query("/messages", "from", f.From, "to", f.To, "topic", r.Topic, "group", r.Group, "order", "slowest")
}

func (f topologyFacts) topic(name string) string {
	return query(TopicHref(name), "from", f.From, "to", f.To)
}

var topologyTitles = []rule[topologyFacts]{
	{"no-match", func(f topologyFacts) bool { return f.Topics == 0 && f.Filtered }, ToneEmpty, func(topologyFacts) []Piece {
		return say(text("no message passed this way in this time"))
	}},
	{"nothing", func(f topologyFacts) bool { return f.Topics == 0 }, ToneEmpty, func(topologyFacts) []Piece {
		return say(text("no message passed a topic in this time"))
	}},
	{"stopped", func(f topologyFacts) bool { return f.stopped.Lag >= muchBehind }, ToneBad, func(f topologyFacts) []Piece {
		return append(groupDoes(f.stopped.Group, " has read nothing of ", " have read nothing of "), strong(f.stopped.Topic), text(" and is "), duration(f.stopped.Lag).at(f.edge(f.stopped)), text(" behind"))
	}},
	{"stands", func(f topologyFacts) bool { return f.stands.Group != "" }, ToneBad, func(f topologyFacts) []Piece {
		s := append(groupDoes(f.stands.Group, " stands still in ", " stand still in "), strong(f.stands.Topic))
		if f.stands.Lag > 0 {
			s = append(s, text(", "), duration(f.stands.Lag).at(f.edge(f.stands)), text(" behind"))
		}
		return s
	}},
	{"behind", func(f topologyFacts) bool { return f.behind.Lag >= muchBehind }, ToneWarn, func(f topologyFacts) []Piece {
		return append(groupDoes(f.behind.Group, " is ", " are "), duration(f.behind.Lag).at(f.edge(f.behind)), text(" behind in "), strong(f.behind.Topic))
	}},
	{"wait", func(f topologyFacts) bool { return f.slowest.Wait > 0 }, ToneOK, func(f topologyFacts) []Piece {
		return append(append(say(text("no group is behind; records wait longest between "), strong(f.slowest.Topic), text(" and ")), groupDoes(f.slowest.Group, "", "")...),
			text(": p99 "), duration(f.slowest.Wait).at(f.edge(f.slowest)))
	}},
	{"unread", func(f topologyFacts) bool { return f.Groups == 0 }, ToneWarn, func(topologyFacts) []Piece {
		return say(text("records are written, and nobody has been seen to read them"))
	}},
	{"read-nothing", func(f topologyFacts) bool { return !f.reads }, ToneEmpty, func(topologyFacts) []Piece {
		return say(text("no group read anything in this time"))
	}},
	{"unknown", always[topologyFacts], ToneOK, func(f topologyFacts) []Piece {
		return append(many(f.Groups, "group reads", "groups read"), text("; how long records wait is unknown"))
	}},
}

var topologyTexts = []rule[topologyFacts]{
	{"more-behind", func(f topologyFacts) bool { return f.behindAll > 1 }, "", func(f topologyFacts) []Piece {
		return append(manyAt(f.behindAll-1, "more reading is", "more readings are", query("/lag", "state", "not-ok")), text(" behind by 10 seconds or more."))
	}},
	{"slowest", func(f topologyFacts) bool { return f.slowest.Wait > 0 && f.behind.Lag >= muchBehind }, "", func(f topologyFacts) []Piece {
		return append(append(say(text("records wait longest between "), strong(f.slowest.Topic), text(" and ")), groupDoes(f.slowest.Group, "", "")...), text(": p99 "), duration(f.slowest.Wait).at(f.messages(f.slowest)), text("."))
	}},
	{"failing", func(f topologyFacts) bool { return f.failing.Failed > 0 }, "", func(f topologyFacts) []Piece {
		return append(groupDoes(f.failing.Group, " fails on ", " fail on "), share(float64(f.failing.Failed), float64(f.failing.Messages)).at(f.edge(f.failing)), text(" of what "+itReads(f.failing.Group)+" from "), strong(f.failing.Topic), text("."))
	}},
	{"unread", func(f topologyFacts) bool { return len(f.Unread) > 0 && f.Groups > 0 }, "", func(f topologyFacts) []Piece {
		if len(f.Unread) == 1 {
			return say(strong(f.Unread[0]).at(f.topic(f.Unread[0])), text(" is written and nobody has been seen to read it."))
		}
		s := say(count(len(f.Unread)), text(" topics are written and nobody has been seen to read them: "))
		for i, name := range f.Unread[:min(len(f.Unread), namedUnread)] {
			if i > 0 {
				s = append(s, text(", "))
			}
			s = append(s, strong(name).at(f.topic(name)))
		}
		if len(f.Unread) > namedUnread {
			s = append(s, text(" and others"))
		}
		return append(s, text("."))
	}},
	{"counts", func(f topologyFacts) bool { return f.Topics > 0 }, "", func(f topologyFacts) []Piece {
		s := append(manyAt(f.Services, "service", "services", query("/topology", "from", f.From, "to", f.To, "view", "table")), text(", "))
		s = append(append(s, manyAt(f.Topics, "topic", "topics", query("/topics", "from", f.From, "to", f.To))...), text(", "))
		s = append(s, manyAt(f.Groups, "group", "groups", query("/topology", "from", f.From, "to", f.To, "view", "table"))...)
		if f.CutNodes == 0 {
			return append(s, text("; nothing is left out."))
		}
		return append(s, text("; "), count(f.CutNodes), text(" of few messages are left out: filter to see them."))
	}},
}
