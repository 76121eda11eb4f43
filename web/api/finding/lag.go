package finding

import (
	"math"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// LagLine is one topic of a group.
type LagLine struct {
	Cluster, Group, Topic string
	exporters.LagTotal
}

// href is the page of the group.
func (l LagLine) href() string {
	return LagHref(l.Cluster, l.Group)
}

// LagHref is the UI's page of a group.
func LagHref(cluster, group string) string {
	return query("/lag/group", "cluster", cluster, "group", group)
}

// LagAway is a cluster that does not answer.
type LagAway struct {
	Cluster string
	Since   time.Duration // how old what is shown of it is; negative when it never answered
}

// Lag is what the lag desk knows.
type Lag struct {
	Clusters int
	Groups   int
	Lines    []LagLine
	Away     []LagAway
	Group    string // the page is about this one
}

// lagSoon is when losing records is worth the title.
const lagSoon = 24 * time.Hour

// ForLag says which group needs somebody.
func ForLag(in Lag) Finding {
	f := lagFacts{Lag: in}
	for _, l := range in.Lines {
		if l.State != exporters.LagOK {
			f.notOK++
		}
		if soon(l) && (f.loses == nil || l.Deleted < f.loses.Deleted) {
			f.loses = &l
		}
		if l.Lost > 0 && (f.lost == nil || l.Lost > f.lost.Lost) {
			f.lost = &l
		}
		for state, to := range map[exporters.LagState]**LagLine{exporters.LagStall: &f.stall, exporters.LagStop: &f.stop, exporters.LagWarn: &f.warn, exporters.LagRewind: &f.rewind} {
			if l.State == state && (*to == nil || l.Behind > (*to).Behind) {
				*to = &l
			}
		}
		if l.Behind > 0 && (f.furthest == nil || l.Behind > f.furthest.Behind) {
			f.furthest = &l
		}
	}
	for _, l := range []*LagLine{f.loses, f.lost, f.stall, f.stop, f.warn, f.rewind, f.furthest} {
		if l != nil {
			f.worst = l
			break
		}
	}
	out := first(lagTitles, f)
	out.Text = all(lagTexts, f)
	return out
}

func soon(l LagLine) bool {
	return l.Deleted >= 0 && l.Deleted < lagSoon && l.Lag > 0
}

type lagFacts struct {
	Lag
	notOK                            int
	loses, lost                      *LagLine
	stall, stop, warn, rewind, worst *LagLine
	furthest                         *LagLine
}

func lagGroup(l *LagLine) []Piece {
	return say(text("group "), link(l.Group, l.href()))
}

var lagTitles = []rule[lagFacts]{
	{"no-cluster", func(f lagFacts) bool { return f.Clusters == 0 }, ToneEmpty, func(lagFacts) []Piece {
		return say(text("no Kafka cluster is watched"))
	}},
	{"away", func(f lagFacts) bool { return f.Groups == 0 && len(f.Away) > 0 }, ToneBad, func(f lagFacts) []Piece {
		return say(text("cluster "), strong(f.Away[0].Cluster), text(" does not answer"))
	}},
	{"nothing", func(f lagFacts) bool { return f.Groups == 0 }, ToneEmpty, func(lagFacts) []Piece {
		return say(text("no consumer group has committed an offset"))
	}},
	{"loses-now", func(f lagFacts) bool { return f.loses != nil && f.loses.Deleted == 0 }, ToneBad, func(f lagFacts) []Piece {
		if f.loses.Lost > 0 {
			s := append(append(say(text("retention deleted ")), many(uint64(f.loses.Lost), "record", "records")...), text(" unread by "))
			return append(append(s, lagGroup(f.loses)...), text(", and deletes the next at any moment"))
		}
		return append(lagGroup(f.loses), text(" loses records at any moment: its oldest unread one is older than retention"))
	}},
	{"loses", func(f lagFacts) bool { return f.loses != nil }, ToneBad, func(f lagFacts) []Piece {
		return append(lagGroup(f.loses), text(" will lose records in "), duration(f.loses.Deleted).at(f.loses.href()))
	}},
	{"lost", func(f lagFacts) bool { return f.lost != nil }, ToneBad, func(f lagFacts) []Piece {
		return append(append(append(say(text("retention deleted ")), many(uint64(f.lost.Lost), "record", "records")...), text(" unread by ")), lagGroup(f.lost)...)
	}},
	{"stall", func(f lagFacts) bool { return f.stall != nil }, ToneBad, func(f lagFacts) []Piece {
		return append(append(lagGroup(f.stall), stands(f.stall)...), behindBy(f.stall)...)
	}},
	{"stop", func(f lagFacts) bool { return f.stop != nil }, ToneBad, func(f lagFacts) []Piece {
		return append(append(lagGroup(f.stop), text(" has stopped: nobody reads for it")), behindBy(f.stop)...)
	}},
	{"warn", func(f lagFacts) bool { return f.warn != nil }, ToneWarn, func(f lagFacts) []Piece {
		what := " leaves old records unread" // for how long and why it was not watched yet
		if f.warn.Written > f.warn.Read {
			what = " falls behind"
		}
		return append(append(lagGroup(f.warn), text(what)), behindBy(f.warn)...)
	}},
	{"rewind", func(f lagFacts) bool { return f.rewind != nil }, ToneWarn, func(f lagFacts) []Piece {
		return append(lagGroup(f.rewind), text(" reads records again: its committed offset went back"))
	}},
	{"no-topic", func(f lagFacts) bool { return len(f.Lines) == 0 }, ToneEmpty, func(f lagFacts) []Piece {
		return say(text("no committed offset is known here"))
	}},
	{"one-ok", func(f lagFacts) bool { return f.Group != "" }, ToneOK, func(f lagFacts) []Piece {
		s := say(text("group "), strong(f.Group), text(" keeps up"))
		if f.furthest != nil {
			s = append(s, behindBy(f.furthest)...)
		}
		return s
	}},
	{"ok", always[lagFacts], ToneOK, func(f lagFacts) []Piece {
		if f.Groups == 1 {
			return say(text("the one group keeps up"))
		}
		return say(text("all "), count(f.Groups), text(" groups keep up"))
	}},
}

// stands says how much of a group does.
func stands(l *LagLine) []Piece {
	if l.InState == l.Partitions || l.InState == 0 {
		return say(text(" stands still"))
	}
	return say(text(" stands still in "), count(l.InState).at(l.href()), text(" of "), count(l.Partitions), text(" partitions"))
}

// behindBy is ", 41 s behind" where that is known.
func behindBy(l *LagLine) []Piece {
	if l.Behind <= 0 {
		return append(say(text(", ")), append(many(uint64(max(l.Lag, 0)), "record", "records"), text(" behind"))...)
	}
	return say(text(", "), duration(l.Behind).at(l.href()), text(" behind"))
}

// rate is records a second in three digits.
func rate(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

var lagTexts = []rule[lagFacts]{
	{"rates", func(f lagFacts) bool {
		return f.worst != nil && f.worst.State != exporters.LagOK && !math.IsNaN(f.worst.Read) && !math.IsNaN(f.worst.Written) && f.worst.Written+f.worst.Read > 0
	}, "", func(f lagFacts) []Piece {
		return say(text("it reads "+rate(f.worst.Read)+" records/s of "+rate(f.worst.Written)+" written to "), strong(f.worst.Topic), text("."))
	}},
	{"reason", func(f lagFacts) bool {
		return f.worst != nil && f.worst.State != exporters.LagOK && f.worst.Worst != schemas.Unknown
	}, "", func(f lagFacts) []Piece {
		return say(text("partition "), link(strconv.Itoa(int(f.worst.Worst)), LagPartitionHref(f.worst.Cluster, f.worst.Group, f.worst.Topic, f.worst.Worst)), text(": "+f.worst.Reason+"."))
	}},
	{"first-deleted", func(f lagFacts) bool { return f.loses != nil }, "", func(f lagFacts) []Piece {
		l := f.loses
		return say(text("the first unread record that retention deletes is "),
			link(l.Topic+"/"+strconv.Itoa(int(l.DeletedPartition))+"@"+strconv.FormatInt(l.DeletedOffset, 10), LagPartitionHref(l.Cluster, l.Group, l.Topic, l.DeletedPartition)), text("."))
	}},
	{"spare", func(f lagFacts) bool {
		return f.loses == nil && f.worst != nil && f.worst.State != exporters.LagOK && f.worst.Spare >= 0 && f.worst.Spare < exporters.LagNever
	}, "", func(f lagFacts) []Piece {
		return say(text("if nothing is read, retention deletes its first record in "), duration(f.worst.Spare).at(f.worst.href()), text("."))
	}},
	{"others", func(f lagFacts) bool { return f.notOK > 1 && f.Group == "" }, "", func(f lagFacts) []Piece {
		return manyAt(f.notOK-1, "more line is not OK.", "more lines are not OK.", query("/lag", "state", "not-ok"))
	}},
	{"furthest", func(f lagFacts) bool {
		return f.notOK == 0 && f.Group == "" && f.furthest != nil && f.loses == nil && f.lost == nil
	}, "", func(f lagFacts) []Piece {
		return say(text("the furthest behind is "), link(f.furthest.Group, f.furthest.href()), text(" in "), strong(f.furthest.Topic), text(": "), duration(f.furthest.Behind).at(f.furthest.href()), text("."))
	}},
	{"away", func(f lagFacts) bool { return len(f.Away) > 0 && f.Groups > 0 }, "", func(f lagFacts) []Piece {
		a := f.Away[0]
		if a.Since < 0 {
			return say(text("cluster "), strong(a.Cluster), text(" has never answered."))
		}
		return say(text("cluster "), strong(a.Cluster), text(" does not answer in whole; what it told last is "), duration(a.Since), text(" old."))
	}},
}

// LagPartitionHref is a partition on the page of its group.
func LagPartitionHref(cluster, group, topic string, partition int32) string {
	return query("/lag/group", "cluster", cluster, "group", group, "open", topic+"/"+strconv.Itoa(int(partition)))
}
