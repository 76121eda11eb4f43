package messaging

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Run names records of one partition that lie side by side, by their offsets, with
// the times that are the same for all of them; zero means unknown. It is how the
// process span of a batch tells of records that it has no link to: see
// [AttrBatchRecords].
type Run struct {
	Topic       string // empty: the span's
	Partition   int32
	First, Last int64 // offsets

	Asked, Answered, Handed int64 // as the attributes of these names
	RecordTime              int64
	HighWatermark           int64
}

const (
	maxRuns   = 64 // that a span tells
	runFields = 5
)

func (r *Run) times() [runFields]*int64 {
	return [...]*int64{&r.Asked, &r.Answered, &r.Handed, &r.RecordTime, &r.HighWatermark}
}

// append writes the run as topic/partition:first-last:asked:answered:handed:record
// time:high watermark, without what is unknown at the end.
func (r *Run) append(b []byte) []byte {
	if r.Topic != "" {
		b = append(append(b, r.Topic...), '/')
	}
	b = append(strconv.AppendInt(b, int64(r.Partition), 10), ':')
	b = strconv.AppendInt(b, r.First, 10)
	if r.Last != r.First {
		b = strconv.AppendInt(append(b, '-'), r.Last, 10)
	}
	whole := len(b)
	for _, t := range r.times() {
		b = append(b, ':')
		if *t > 0 {
			b = strconv.AppendInt(b, *t, 10)
			whole = len(b)
		}
	}
	return b[:whole]
}

// ParseRuns reads the value of [AttrBatchRecords].
func ParseRuns(value string) ([]Run, error) {
	var out []Run
	for text := range strings.SplitSeq(value, " ") {
		r, err := parseRun(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", AttrBatchRecords, text[:min(len(text), 100)], err)
		}
		out = append(out, r)
	}
	return out, nil
}

func parseRun(text string) (r Run, err error) {
	place, rest, ok := strings.Cut(text, ":")
	if !ok {
		return r, errors.New("want partition:first-last")
	}
	if at := strings.IndexByte(place, '/'); at >= 0 {
		r.Topic, place = place[:at], place[at+1:]
	}
	partition, err := strconv.ParseInt(place, 10, 32)
	if err != nil || partition < 0 {
		return r, errors.New("want a partition from 0 on")
	}
	r.Partition = int32(partition)
	offsets, rest, _ := strings.Cut(rest, ":")
	first, last, several := strings.Cut(offsets, "-")
	if !several {
		last = first
	}
	if r.First, err = number(first); err != nil {
		return r, err
	}
	if r.Last, err = number(last); err != nil {
		return r, err
	}
	if r.Last < r.First {
		return r, errors.New("the last offset is before the first")
	}
	for _, to := range r.times() {
		var t string
		t, rest, _ = strings.Cut(rest, ":")
		if t == "" {
			continue
		}
		if *to, err = number(t); err != nil {
			return r, err
		}
	}
	if rest != "" {
		return r, errors.New("there is more than it may tell")
	}
	return r, nil
}

func number(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("want a number from 0 to %d", math.MaxInt64)
	}
	return int64(n), nil //nolint:gosec // of 63 bits
}

// runsOf tells of deliveries in few runs: by all their times, or where those differ too
// often, by what is the same along offsets without a gap. Records behind the bound it
// does not tell.
func runsOf(ds []Delivery, topics bool) string {
	order := make([]int, len(ds))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &ds[a], &ds[b]
		if c := strings.Compare(x.Partition.Topic, y.Partition.Topic); c != 0 {
			return c
		}
		if c := x.Partition.ID - y.Partition.ID; c != 0 {
			return int(c)
		}
		return int(min(max(x.Offset-y.Offset, -1), 1))
	})
	runs := make([]Run, 0, maxRuns)
	for must := runFields; must >= 0; must-- { // how many of the times a run must share
		runs = runs[:0]
		whole := true
		for _, i := range order {
			next := ds[i].run()
			if n := len(runs); n > 0 && runs[n-1].take(&next, must) {
				continue
			}
			if whole = len(runs) < maxRuns; !whole {
				break
			}
			runs = append(runs, next)
		}
		if whole {
			break
		}
	}
	b := make([]byte, 0, 64*len(runs))
	for i := range runs {
		if i > 0 {
			b = append(b, ' ')
		}
		if !topics {
			runs[i].Topic = ""
		}
		b = runs[i].append(b)
	}
	return string(b)
}

func (d *Delivery) run() Run {
	return Run{
		Topic: d.Partition.Topic, Partition: d.Partition.ID, First: d.Offset, Last: d.Offset,
		Asked: d.Asked, Answered: d.Answered, Handed: d.Handed, RecordTime: d.RecordTime, HighWatermark: d.HighWatermark,
	}
}

// sharing is the order in which times are given up, the last first: records of one
// answer share when it was asked for, hardly ever their timestamps.
func (r *Run) sharing() [runFields]*int64 {
	return [...]*int64{&r.Asked, &r.Answered, &r.HighWatermark, &r.Handed, &r.RecordTime}
}

// take adds the record behind the run to it, if it is that and shares the first
// times with it; those that it need not share are unknown then.
func (r *Run) take(next *Run, must int) bool {
	if next.Topic != r.Topic || next.Partition != r.Partition || next.First != r.Last+1 {
		return next.First == r.Last && next.Topic == r.Topic && next.Partition == r.Partition // the same again
	}
	mine, theirs := r.sharing(), next.sharing()
	for i := range must {
		if *mine[i] != *theirs[i] {
			return false
		}
	}
	for i := must; i < runFields; i++ {
		if *mine[i] != *theirs[i] {
			*mine[i] = 0
		}
	}
	r.Last = next.Last
	return true
}
