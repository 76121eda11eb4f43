package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

const (
	// maxTopicLines bounds the lines that /topics sorts.
	maxTopicLines = 10_000
	// maxSteps bounds the steps of a topic's page.
	maxSteps = 120
	// maxTopicGroups bounds the groups of a topic that are told, and topicGroupSeries
	// those that are told in steps.
	maxTopicGroups   = 200
	topicGroupSeries = 20
	// maxHeatRows is how many partitions one heat map has.
	maxHeatRows = 200
)

// TopicList is what passed through each topic, a line for each group that read it.
type TopicList struct {
	Finding finding.Finding `json:"finding"`
	From    Nanos           `json:"from"` // of what rates are over
	To      Nanos           `json:"to"`
	Total   int             `json:"total"` // lines, whatever the page
	Topics  []TopicStats    `json:"topics"`
}

// TopicStats are the parts of one topic as one group sees it.
type TopicStats struct {
	Topic             string      `json:"topic"`
	Group             string      `json:"group"`
	Produced          uint64      `json:"produced"`
	Consumed          uint64      `json:"consumed"`
	Failed            uint64      `json:"failed"`
	ProducedPerSecond float64     `json:"producedPerSecond"`
	ConsumedPerSecond float64     `json:"consumedPerSecond"`
	BytesPerSecond    *float64    `json:"bytesPerSecond"` // of what was written, else of what was read; null when nobody told sizes
	LagNs             *int64      `json:"lagNs"`          // by how much the newest record read is older than the newest one written
	LastSeen          *Nanos      `json:"lastSeen"`
	Parts             []Quantiles `json:"parts"`
}

// TopicDetail is one topic over time.
type TopicDetail struct {
	Finding finding.Finding `json:"finding"`
	Topic   string          `json:"topic"`
	Group   string          `json:"group"` // whose parts are told
	From    Nanos           `json:"from"`
	To      Nanos           `json:"to"`
	StepNs  int64           `json:"stepNs"`
	Slots   int             `json:"slots"`
	Written *TopicSide      `json:"written"` // null: no writer was seen
	Groups  []TopicSide     `json:"groups"`  // those that read most first
	// CutGroups are not in the answer, because there are so many.
	CutGroups int `json:"cutGroups"`
}

// TopicSide is what was written, or read by one group.
type TopicSide struct {
	Group          string      `json:"group"`
	Messages       uint64      `json:"messages"`
	Failed         uint64      `json:"failed"`
	PerSecond      float64     `json:"perSecond"`
	BytesPerSecond *float64    `json:"bytesPerSecond"`
	FirstSeen      *Nanos      `json:"firstSeen"`
	LastSeen       *Nanos      `json:"lastSeen"`
	LagNs          *int64      `json:"lagNs"`
	Parts          []Quantiles `json:"parts"`
	Sizes          *TopicSizes `json:"sizes"` // null: nobody told any
	// Series is in steps of the answer; null for groups beyond the first twenty.
	Series *TopicSeries `json:"series"`
}

// TopicSizes are those of values, in bytes.
type TopicSizes struct {
	Count uint64 `json:"count"`
	Bytes uint64 `json:"bytes"`
	P50   int64  `json:"p50"`
	P90   int64  `json:"p90"`
	P99   int64  `json:"p99"`
}

// TopicSeries is one side over time.
type TopicSeries struct {
	Messages []uint64 `json:"messages"`
	Failed   []uint64 `json:"failed"`
	Bytes    []uint64 `json:"bytes"`
	SizeP50  []*int64 `json:"sizeP50"`
	SizeP99  []*int64 `json:"sizeP99"`
	// Parts are told of what was written and of the answer's group.
	Parts []PartSeries `json:"parts"`
}

// PartSeries is one part over time; null where nobody measured it.
type PartSeries struct {
	Name  string   `json:"name"`
	P50Ns []*int64 `json:"p50Ns"`
	P90Ns []*int64 `json:"p90Ns"`
	P99Ns []*int64 `json:"p99Ns"`
}

// TopicStep is one side of a topic in one step, as a table has it.
type TopicStep struct {
	From     Nanos      `json:"from"`
	To       Nanos      `json:"to"`
	Side     string     `json:"side"` // written or read
	Group    string     `json:"group"`
	Messages uint64     `json:"messages"`
	Failed   uint64     `json:"failed"`
	Bytes    uint64     `json:"bytes"`
	SizeP50  *int64     `json:"sizeP50"`
	SizeP99  *int64     `json:"sizeP99"`
	Parts    []PartStep `json:"parts"`
}

// PartStep is one part in one step.
type PartStep struct {
	Name  string `json:"name"`
	P50Ns int64  `json:"p50Ns"`
	P90Ns int64  `json:"p90Ns"`
	P99Ns int64  `json:"p99Ns"`
}

// table has the steps of each side in which there is a message.
func (d TopicDetail) table(*query) tableRows {
	steps, bare := []TopicStep{}, 0
	add := func(side string, s *TopicSide) {
		if s.Series == nil {
			bare++
			return
		}
		for i, messages := range s.Series.Messages {
			if messages == 0 {
				continue
			}
			from := d.From.ns() + int64(i)*d.StepNs
			step := TopicStep{
				From: nanos(from), To: nanos(from + d.StepNs), Side: side, Group: s.Group, Messages: messages, Failed: s.Series.Failed[i], Bytes: s.Series.Bytes[i],
				SizeP50: s.Series.SizeP50[i], SizeP99: s.Series.SizeP99[i], Parts: []PartStep{},
			}
			for _, p := range s.Series.Parts {
				if p.P50Ns[i] != nil {
					step.Parts = append(step.Parts, PartStep{p.Name, *p.P50Ns[i], *p.P90Ns[i], *p.P99Ns[i]})
				}
			}
			steps = append(steps, step)
		}
	}
	if d.Written != nil {
		add("written", d.Written)
	}
	for i := range d.Groups {
		add("read", &d.Groups[i])
	}
	return tableRows{rows: steps, more: d.CutGroups+bare > 0}
}

func (h *Handler) topicRoutes() {
	h.handle("/api/v1/topics", []string{"from", "to", "text", "sort", "skip", "limit", "exact"}, h.topics)
	h.handle("/api/v1/topics/{topic}", []string{"from", "to", "group"}, h.topic)
	h.handle("/api/v1/topics/{topic}/heatmap", []string{"from", "to", "group", "part", "stat", "skip", "limit"}, h.heatmap)
}

func (h *Handler) hasTopics() error {
	if h.deps.TopicSums == nil {
		return noSums("no_topics")
	}
	return nil
}

func noSums(code string) error {
	return errorf(http.StatusNotImplemented, code, "ask a server of hoptrace", "this server has no store that sums up messages")
}

// topics answers /topics.
func (h *Handler) topics(ctx context.Context, q *query) (any, error) {
	r, exact, words := q.topologyRange(), q.bool("exact"), strings.ToLower(q.text("text"))
	sort := q.oneOf("sort", "topic", "read", "failed", "wait", "behind", "done")
	limit, skip := q.limit(most), q.skip()
	if q.fault != nil {
		return nil, q.fault
	}
	var lines []topicLine
	var err error
	if exact {
		lines, err = h.exactTopics(ctx, q, r)
	} else {
		lines, err = h.summedTopics(ctx, q, r)
	}
	if err != nil {
		return nil, err
	}
	stats := make([]exporters.TopicStats, 0, len(lines))
	kept := lines[:0]
	// Rates are since the first message, as in the topology, whatever the words.
	first := r.To.UnixNano()
	for _, l := range lines {
		first = min(first, l.first)
		if words == "" || strings.Contains(strings.ToLower(l.Topic+" "+l.Group), words) {
			kept, stats = append(kept, l), append(stats, l.TopicStats)
		}
	}
	lines = kept[:min(len(kept), maxTopicLines)]
	over := since(first, r)
	from, seconds := r.To.Add(-over).UnixNano(), over.Seconds()
	slices.SortStableFunc(lines, func(a, b topicLine) int {
		return cmp.Or(compareTopics(sort, &a, &b), strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group))
	})
	out := TopicList{Finding: finding.ForTopics(stats, q.text("from"), q.text("to")), From: nanos(from), To: nanos(r.To.UnixNano()), Total: len(lines), Topics: []TopicStats{}}
	lines = lines[min(skip, len(lines)):]
	for _, l := range lines[:min(limit, len(lines))] {
		t := TopicStats{
			Topic: l.Topic, Group: l.Group, Produced: l.Produced, Consumed: l.Consumed, Failed: l.Failed, LastSeen: known(l.LastSeen), LagNs: l.lag, Parts: quantilesJSON(l.Parts),
			ProducedPerSecond: float64(l.Produced) / seconds, ConsumedPerSecond: float64(l.Consumed) / seconds,
		}
		if l.sized {
			t.BytesPerSecond = finite(float64(l.bytes) / seconds)
		}
		out.Topics = append(out.Topics, t)
	}
	return out, nil
}

// since is what rates are over: from the first message on, a slot at least, and no more
// than was asked for.
func since(first int64, r exporters.Range) time.Duration {
	to := r.To.UnixNano()
	return time.Duration(to - max(min(first, to-int64(exporters.TopologySlot)), r.From.UnixNano()))
}

// firstOf is when the first message of sums was seen.
func firstOf(sums []exporters.TopicSum) int64 {
	first := int64(math.MaxInt64)
	for i := range sums {
		first = min(first, sums[i].Sum.FirstSeen)
	}
	return first
}

// topicLine is one line of /topics as it is sorted and shown.
type topicLine struct {
	exporters.TopicStats
	first int64
	lag   *int64
	bytes uint64
	sized bool
}

// compareTopics puts what there is most of first, and what is not known last.
func compareTopics(by string, a, b *topicLine) int {
	p99 := func(t *topicLine, name exporters.PartName) int64 {
		if q := t.Parts[name]; q.Count > 0 {
			return int64(q.P99)
		}
		return math.MinInt64
	}
	lag := func(t *topicLine) int64 {
		if t.lag == nil {
			return math.MinInt64
		}
		return *t.lag
	}
	switch by {
	case "read":
		return cmp.Compare(b.Consumed, a.Consumed)
	case "failed":
		return cmp.Compare(b.Failed, a.Failed)
	case "wait":
		return cmp.Compare(p99(b, exporters.PartResidence), p99(a, exporters.PartResidence))
	case "behind":
		return cmp.Compare(lag(b), lag(a))
	case "done":
		return cmp.Compare(p99(b, exporters.PartEndToEnd), p99(a, exporters.PartEndToEnd))
	}
	return 0
}

// exactTopics joins the rows of each hop.
func (h *Handler) exactTopics(ctx context.Context, q *query, r exporters.Range) ([]topicLine, error) {
	stats, err := h.deps.Messages.Topics(ctx, q.project.ID, r)
	if err != nil {
		return nil, fmt.Errorf("cannot compute the parts of the topics: %w", err)
	}
	out := make([]topicLine, len(stats))
	for i, s := range stats {
		out[i] = topicLine{TopicStats: s, first: max(r.From.UnixNano(), 1)}
	}
	return out, nil
}

// summedTopics puts what was written to a topic beside what each group read of it.
func (h *Handler) summedTopics(ctx context.Context, q *query, r exporters.Range) ([]topicLine, error) {
	if err := h.hasTopics(); err != nil {
		return nil, err
	}
	sums, err := h.deps.TopicSums.TopicSums(ctx, exporters.TopicQuery{Project: q.project.ID, Range: r})
	if err != nil {
		return nil, fmt.Errorf("cannot read the sums of the topics: %w", tooMuch(err))
	}
	var out []topicLine
	for len(sums) > 0 { // writers stand before readers
		n := 1
		for n < len(sums) && sums[n].Topic == sums[0].Topic {
			n++
		}
		out = append(out, linesOfTopic(sums[:n])...)
		sums = sums[n:]
	}
	return out, nil
}

// linesOfTopic makes the lines of the sums of one topic.
func linesOfTopic(sums []exporters.TopicSum) (out []topicLine) {
	newest := newestOf(sums)
	var written *exporters.TopicSum
	if !sums[0].Reads {
		written, sums = &sums[0], sums[1:]
	}
	line := func(s *exporters.TopicSum) {
		l := topicLine{TopicStats: exporters.TopicStats{Topic: s.Topic, Group: s.Group, Parts: map[exporters.PartName]exporters.Quantiles{}, LastSeen: s.Sum.LastSeen}, first: s.Sum.FirstSeen}
		sizes := s.Sizes
		if s.Reads {
			l.Consumed, l.Failed = s.Sum.Messages, s.Sum.Failed
			l.lag = lagOf(newest, s)
			for name, q := range s.Parts {
				l.Parts[name] = q
			}
		}
		if written != nil {
			l.Produced, l.LastSeen, l.first = written.Sum.Messages, max(l.LastSeen, written.Sum.LastSeen), min(l.first, written.Sum.FirstSeen)
			for name, q := range written.Parts {
				l.Parts[name] = q
			}
			if written.Sizes.Count > 0 {
				sizes = written.Sizes
			}
		}
		l.bytes, l.sized = sizes.Bytes, sizes.Count > 0
		out = append(out, l)
	}
	for i := range sums {
		line(&sums[i])
	}
	if len(sums) == 0 {
		line(written)
	}
	return out
}

// newestOf is the time of the newest record of one topic, zero unless its writer
// was seen. A record that was read has been written, whatever its writer told.
func newestOf(sums []exporters.TopicSum) (newest int64) {
	seen := false
	for i := range sums {
		newest = max(newest, sums[i].Newest)
		seen = seen || !sums[i].Reads && sums[i].Newest != 0
	}
	if !seen {
		return 0
	}
	return newest
}

func lagOf(newest int64, s *exporters.TopicSum) *int64 {
	if newest == 0 || s.Newest == 0 {
		return nil
	}
	lag := newest - s.Newest
	return &lag
}

// topicParts are the parts as the API lists them: tiles in time order, then what is none.
var topicParts = append(slices.DeleteFunc(slices.Clone(exporters.SummedParts), func(p exporters.PartName) bool {
	return p == exporters.PartResidence || p == exporters.PartEndToEnd
}), exporters.PartResidence, exporters.PartEndToEnd)

func quantilesJSON(parts map[exporters.PartName]exporters.Quantiles) []Quantiles {
	out := []Quantiles{}
	for _, name := range topicParts {
		if p, ok := parts[name]; ok {
			out = append(out, Quantiles{
				Name: string(name), Count: p.Count, P50Ns: int64(p.P50), P90Ns: int64(p.P90), P95Ns: int64(p.P95), P99Ns: int64(p.P99), Negative: p.Negative,
			})
		}
	}
	return out
}

// topicSteps divides a range into at most maxSteps round stretches.
func topicSteps(r exporters.Range) (exporters.Range, time.Duration, int) {
	length := r.To.Sub(r.From)
	step := 7 * 24 * time.Hour
	for _, seconds := range []int{10, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600} {
		if s := time.Duration(seconds) * time.Second; length+s <= maxSteps*s {
			step = s
			break
		}
	}
	for length+step > maxSteps*step {
		step += 7 * 24 * time.Hour
	}
	r.From = r.From.Truncate(step)
	return r, step, int((r.To.Sub(r.From) + step - 1) / step)
}

// stretch is the range of a topic's page. One without a begin begins with the first
// message that first finds.
func (q *query) stretch(first func(exporters.Range) (int64, error)) (exporters.Range, time.Duration, int, error) {
	r := q.timeRange()
	if r.To.IsZero() || r.To.After(q.now) {
		r.To = q.now
	}
	if r.From.IsZero() && q.fault == nil {
		at, err := first(r)
		if err != nil {
			return r, 0, 0, err
		}
		r.From = r.To.Add(-time.Hour)
		if at != 0 && at < r.To.UnixNano() {
			r.From = time.Unix(0, at)
		}
	}
	if !r.From.Before(r.To) { // a range that lies ahead has nothing in it
		r.From = r.To.Add(-exporters.TopologySlot)
	}
	r, step, n := topicSteps(r)
	return r, step, n, nil
}

// topic answers /topics/{topic}.
func (h *Handler) topic(ctx context.Context, q *query) (any, error) {
	if err := h.hasTopics(); err != nil {
		return nil, err
	}
	name, group := q.path("topic"), q.text("group")
	sums := h.deps.TopicSums
	r, step, slots, err := q.stretch(func(r exporters.Range) (int64, error) {
		all, err := sums.TopicSums(ctx, exporters.TopicQuery{Project: q.project.ID, Range: r, Topic: name})
		first := int64(0)
		for i := range all {
			if at := all[i].Sum.FirstSeen; first == 0 || at < first {
				first = at
			}
		}
		return first, tooMuch(err)
	})
	if q.fault != nil {
		return nil, q.fault
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find the first message of topic %q: %w", clip(name, 100), err)
	}
	var whole, steps []exporters.TopicSum
	all, sub := errgroup.WithContext(ctx)
	all.Go(func() (err error) {
		whole, err = sums.TopicSums(sub, exporters.TopicQuery{Project: q.project.ID, Range: r, Topic: name})
		return err
	})
	all.Go(func() (err error) {
		steps, err = sums.TopicSums(sub, exporters.TopicQuery{Project: q.project.ID, Range: r, Topic: name, Step: step})
		return err
	})
	if err := all.Wait(); err != nil {
		return nil, fmt.Errorf("cannot read the sums of topic %q: %w", clip(name, 100), tooMuch(err))
	}
	out := TopicDetail{Topic: name, From: nanos(r.From.UnixNano()), To: nanos(r.To.UnixNano()), StepNs: int64(step), Slots: slots, Groups: []TopicSide{}}
	newest, seconds := newestOf(whole), since(firstOf(whole), r).Seconds()
	for i := range whole {
		side := sideJSON(&whole[i], newest, seconds)
		if !whole[i].Reads {
			out.Written = &side
			continue
		}
		out.Groups = append(out.Groups, side)
	}
	slices.SortStableFunc(out.Groups, func(a, b TopicSide) int { return cmp.Compare(b.Messages, a.Messages) })
	selected := slices.IndexFunc(out.Groups, func(s TopicSide) bool { return s.Group == group })
	switch {
	case group != "" && selected < 0: // it read nothing in this time
		out.Groups = append(out.Groups, TopicSide{Group: group, Parts: []Quantiles{}})
		selected = len(out.Groups) - 1
	case group == "" && len(out.Groups) > 0:
		selected = 0
	}
	if selected >= topicGroupSeries { // it comes with its series, wherever it stands
		s := out.Groups[selected]
		out.Groups = append([]TopicSide{s}, append(out.Groups[:selected:selected], out.Groups[selected+1:]...)...)
		selected = 0
	}
	if n := len(out.Groups); n > maxTopicGroups {
		out.Groups, out.CutGroups = out.Groups[:maxTopicGroups], n-maxTopicGroups
	}
	for i := range out.Groups[:min(len(out.Groups), topicGroupSeries)] {
		g := &out.Groups[i]
		g.Series = seriesJSON(steps, r, step, slots, true, g.Group, i == selected)
	}
	if out.Written != nil {
		out.Written.Series = seriesJSON(steps, r, step, slots, false, "", true)
	}
	facts := finding.Topic{Topic: name, From: q.text("from"), To: q.text("to"), Step: step, Written: sideFacts(out.Written)}
	for i := range out.Groups {
		facts.Groups = append(facts.Groups, *sideFacts(&out.Groups[i]))
	}
	if selected >= 0 {
		g := &out.Groups[selected]
		out.Group, facts.Selected = g.Group, &facts.Groups[selected]
		parts, err := sums.PartitionSums(ctx, exporters.PartitionQuery{Project: q.project.ID, Range: r, Topic: name, Group: &g.Group, Part: exporters.PartResidence})
		if err != nil {
			return nil, fmt.Errorf("cannot read the sums of the partitions of topic %q: %w", clip(name, 100), tooMuch(err))
		}
		facts.Partitions = parts
	}
	out.Finding = finding.ForTopic(facts)
	return out, nil
}

func sideFacts(s *TopicSide) *finding.TopicSide {
	if s == nil {
		return nil
	}
	out := &finding.TopicSide{Group: s.Group, Messages: s.Messages, Failed: s.Failed, LagUnknown: s.LagNs == nil, Parts: map[exporters.PartName]exporters.Quantiles{}}
	if s.LagNs != nil {
		out.Lag = time.Duration(*s.LagNs)
	}
	if s.Series != nil {
		out.Steps = s.Series.Messages
	}
	for _, p := range s.Parts {
		out.Parts[exporters.PartName(p.Name)] = exporters.Quantiles{Count: p.Count, Negative: p.Negative, P99: time.Duration(p.P99Ns)}
	}
	return out
}

func sideJSON(s *exporters.TopicSum, newest int64, seconds float64) TopicSide {
	out := TopicSide{
		Group: s.Group, Messages: s.Sum.Messages, Failed: s.Sum.Failed, PerSecond: float64(s.Sum.Messages) / seconds,
		FirstSeen: known(s.Sum.FirstSeen), LastSeen: known(s.Sum.LastSeen), Parts: quantilesJSON(s.Parts),
	}
	if s.Reads {
		out.LagNs = lagOf(newest, s)
	}
	if z := s.Sizes; z.Count > 0 {
		out.BytesPerSecond = finite(float64(z.Bytes) / seconds)
		out.Sizes = &TopicSizes{Count: z.Count, Bytes: z.Bytes, P50: z.P50, P90: z.P90, P99: z.P99}
	}
	return out
}

// seriesJSON puts the steps of one side in their places.
func seriesJSON(steps []exporters.TopicSum, r exporters.Range, step time.Duration, slots int, reads bool, group string, parts bool) *TopicSeries {
	out := &TopicSeries{Messages: make([]uint64, slots), Failed: make([]uint64, slots), Bytes: make([]uint64, slots), SizeP50: make([]*int64, slots), SizeP99: make([]*int64, slots), Parts: []PartSeries{}}
	if parts {
		for _, name := range topicParts {
			if slices.Contains(exporters.SummedParts[:exporters.PartsOfWriter], name) == !reads {
				out.Parts = append(out.Parts, PartSeries{Name: string(name), P50Ns: make([]*int64, slots), P90Ns: make([]*int64, slots), P99Ns: make([]*int64, slots)})
			}
		}
	}
	for i := range steps {
		s := &steps[i]
		at := int(time.Duration(s.Start-r.From.UnixNano()) / step)
		if s.Reads != reads || reads && s.Group != group || at < 0 || at >= slots {
			continue
		}
		out.Messages[at], out.Failed[at], out.Bytes[at] = s.Sum.Messages, s.Sum.Failed, s.Sizes.Bytes
		if s.Sizes.Count > 0 {
			out.SizeP50[at], out.SizeP99[at] = &s.Sizes.P50, &s.Sizes.P99
		}
		for j := range out.Parts {
			if q := s.Parts[exporters.PartName(out.Parts[j].Name)]; q.Count > 0 {
				p := &out.Parts[j]
				p.P50Ns[at], p.P90Ns[at], p.P99Ns[at] = ns(q.P50), ns(q.P90), ns(q.P99)
			}
		}
	}
	return out
}

func ns(d time.Duration) *int64 {
	v := int64(d)
	return &v
}
