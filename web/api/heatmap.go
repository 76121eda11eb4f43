package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// Heatmap is one part of a topic by time and partition.
type Heatmap struct {
	Topic  string    `json:"topic"`
	Group  string    `json:"group"` // empty: what all readers did
	Part   string    `json:"part"`
	Stat   string    `json:"stat"`
	From   Nanos     `json:"from"`
	To     Nanos     `json:"to"`
	StepNs int64     `json:"stepNs"`
	Slots  int       `json:"slots"`
	Total  int       `json:"total"` // partitions, whatever the page
	Skip   int       `json:"skip"`
	MinNs  *int64    `json:"minNs"` // least and greatest value of the page's cells; null when nothing is known
	MaxNs  *int64    `json:"maxNs"`
	Rows   []HeatRow `json:"rows"`
	// Owners are the processes that read; rows name them by their place here.
	Owners []string `json:"owners"`
	// Rebalances are those that the page's partitions show or that members told of.
	Rebalances []Rebalance `json:"rebalances"`
}

// HeatRow is one partition. Values and counts have one element a step.
type HeatRow struct {
	Partition *int32 `json:"partition"` // null: of messages whose partition nobody told
	Messages  uint64 `json:"messages"`
	Failed    uint64 `json:"failed"`
	Known     uint64 `json:"known"` // messages of which the part is known
	Negative  uint64 `json:"negative"`
	P50Ns     *int64 `json:"p50Ns"`
	P99Ns     *int64 `json:"p99Ns"`
	// WaitShare is its part of the time that all partitions' records were in the broker; null when there is none.
	WaitShare *float64   `json:"waitShare"`
	Values    []*int64   `json:"values"` // ns
	Counts    []uint64   `json:"counts"`
	Owned     []HeatSpan `json:"owned"`
}

// HeatSpan is how long one process read a partition, by the first and the last record it was done with.
type HeatSpan struct {
	Owner    int    `json:"owner"`
	Group    string `json:"group"`
	From     Nanos  `json:"from"`
	To       Nanos  `json:"to"`
	Messages uint64 `json:"messages"`
}

// Rebalance is a time at which partitions came to other processes.
type Rebalance struct {
	At     Nanos    `json:"at"` // of the first record that a new owner was done with, or as members told
	Group  string   `json:"group"`
	Moved  int      `json:"moved"`  // partitions of the page
	Left   []string `json:"left"`   // read some before, and none after
	Joined []string `json:"joined"` // the other way round
	Causes []string `json:"causes"` // what members told
}

// HeatCell is one partition in one step, as a table has it.
type HeatCell struct {
	Partition *int32   `json:"partition"` // null: of messages whose partition nobody told
	From      Nanos    `json:"from"`
	To        Nanos    `json:"to"`
	Messages  uint64   `json:"messages"`
	Part      string   `json:"part"`
	Stat      string   `json:"stat"`
	ValueNs   *int64   `json:"valueNs"`
	Owners    []string `json:"owners"` // who read it then
}

// table has the cells in which there is a message.
func (m Heatmap) table(*query) tableRows {
	cells := []HeatCell{}
	for _, row := range m.Rows {
		for slot, messages := range row.Counts {
			if messages == 0 {
				continue
			}
			from := m.From.ns() + int64(slot)*m.StepNs
			c := HeatCell{Partition: row.Partition, From: nanos(from), To: nanos(from + m.StepNs), Messages: messages, Part: m.Part, Stat: m.Stat, ValueNs: row.Values[slot], Owners: []string{}}
			for _, s := range row.Owned {
				if name := m.Owners[s.Owner]; s.From.ns() < from+m.StepNs && s.To.ns() >= from && !slices.Contains(c.Owners, name) {
					c.Owners = append(c.Owners, name)
				}
			}
			cells = append(cells, c)
		}
	}
	return tableRows{rows: cells, listed: len(m.Rows)}
}

const (
	// together is how far apart in time owners may change in one rebalance.
	together = time.Minute
	// maxRebalances bounds those that are told, the newest.
	maxRebalances = 200
)

// heatmap answers /topics/{topic}/heatmap.
func (h *Handler) heatmap(ctx context.Context, q *query) (any, error) {
	if err := h.hasTopics(); err != nil {
		return nil, err
	}
	names := []string{string(exporters.PartResidence)}
	for _, p := range exporters.SummedParts {
		if p != exporters.PartResidence {
			names = append(names, string(p))
		}
	}
	part := q.oneOf("part", names...)
	stat := q.oneOf("stat", "p99", "p95", "p90", "p50")
	limit, skip := min(q.limit(maxHeatRows), maxHeatRows), q.skip()
	ask := exporters.PartitionQuery{
		Project: q.project.ID, Topic: q.path("topic"), Part: exporters.PartName(part),
		Writes: slices.Contains(exporters.SummedParts[:exporters.PartsOfWriter], exporters.PartName(part)),
	}
	if group := q.text("group"); group != "" {
		ask.Group = &group
	}
	sums := h.deps.TopicSums
	r, step, slots, err := q.stretch(func(r exporters.Range) (int64, error) {
		whole := ask
		whole.Range, whole.Part = r, ""
		all, err := sums.PartitionSums(ctx, whole)
		first := int64(0)
		for i := range all {
			if at := all[i].FirstSeen; first == 0 || at < first {
				first = at
			}
		}
		return first, tooMuch(err)
	})
	if q.fault != nil {
		return nil, q.fault
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find the first message of topic %q: %w", clip(ask.Topic, 100), err)
	}
	ask.Range = r
	index := ask
	index.Part = "" // which partitions there are; their parts come with the cells
	var whole []exporters.PartitionSum
	var heat exporters.PartitionHeat
	cells := func(ctx context.Context) (err error) {
		if heat, err = sums.PartitionHeat(ctx, ask); err != nil {
			return fmt.Errorf("cannot read the partitions of topic %q in steps: %w", clip(ask.Topic, 100), tooMuch(err))
		}
		return nil
	}
	ask.Step = step
	both, asking := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		if whole, err = sums.PartitionSums(asking, index); err != nil {
			return fmt.Errorf("cannot read the sums of the partitions of topic %q: %w", clip(ask.Topic, 100), tooMuch(err))
		}
		return nil
	})
	// Partitions are numbered from zero, so those of the first page are known before.
	last := int32(limit - 1) //nolint:gosec // at most maxHeatRows
	if skip == 0 {
		ask.PartitionTo = &last
		both.Go(func() error { return cells(asking) })
	}
	if err := both.Wait(); err != nil {
		return nil, err
	}
	out := Heatmap{
		Topic: ask.Topic, Group: q.text("group"), Part: part, Stat: stat, From: nanos(r.From.UnixNano()), To: nanos(r.To.UnixNano()), StepNs: int64(step), Slots: slots,
		Total: len(whole), Skip: skip, Rows: []HeatRow{}, Owners: []string{}, Rebalances: []Rebalance{},
	}
	var waited time.Duration
	for i := range whole {
		waited += whole[i].Waited
	}
	page := whole[min(skip, len(whole)):]
	page = page[:min(limit, len(page))]
	if len(page) == 0 {
		return out, nil
	}
	if end := page[len(page)-1].Partition; skip > 0 || end > last || len(heat.Rows) > limit {
		ask.PartitionFrom, ask.PartitionTo = &page[0].Partition, &end
		if err := cells(ctx); err != nil {
			return nil, err
		}
	}
	page = heat.Rows
	rows := make(map[int32]*HeatRow, len(page))
	out.Rows = make([]HeatRow, len(page))
	for i := range page {
		out.Rows[i] = heatRow(&page[i], waited, slots)
		rows[page[i].Partition] = &out.Rows[i]
	}
	for i := range heat.Cells {
		c := &heat.Cells[i]
		at := int(time.Duration(c.Start-r.From.UnixNano()) / step)
		row := rows[c.Partition]
		if row == nil || at < 0 || at >= slots { // it came after the partitions were read
			continue
		}
		row.Counts[at] = c.Messages
		if c.Part.Count > 0 {
			v := ns(map[string]time.Duration{"p50": c.Part.P50, "p90": c.Part.P90, "p95": c.Part.P95, "p99": c.Part.P99}[stat])
			row.Values[at] = v
			if out.MinNs == nil || *v < *out.MinNs {
				out.MinNs = v
			}
			if out.MaxNs == nil || *v > *out.MaxNs {
				out.MaxNs = v
			}
		}
	}
	spans := ownerSpans(heat.Owners)
	place := map[string]int{}
	for i := range spans {
		s := &spans[i]
		row := rows[s.Partition]
		if row == nil {
			continue
		}
		at, ok := place[s.Instance]
		if !ok {
			at = len(out.Owners)
			place[s.Instance] = at
			out.Owners = append(out.Owners, s.Instance)
		}
		row.Owned = append(row.Owned, HeatSpan{Owner: at, Group: s.Group, From: nanos(s.FirstSeen), To: nanos(s.LastSeen), Messages: s.Messages})
	}
	if !ask.Writes {
		out.Rebalances = append(out.Rebalances, rebalances(spans)...)
		out.Rebalances = h.withCauses(ctx, ask, out.Rebalances)
		out.Rebalances = out.Rebalances[max(len(out.Rebalances)-maxRebalances, 0):]
	}
	return out, nil
}

func heatRow(p *exporters.PartitionSum, waited time.Duration, slots int) HeatRow {
	row := HeatRow{
		Partition: told(p.Partition), Messages: p.Messages, Failed: p.Failed, Known: p.Part.Count, Negative: p.Part.Negative,
		Values: make([]*int64, slots), Counts: make([]uint64, slots), Owned: []HeatSpan{},
	}
	if p.Part.Count > 0 {
		row.P50Ns, row.P99Ns = ns(p.Part.P50), ns(p.Part.P99)
	}
	if waited > 0 {
		row.WaitShare = finite(float64(p.Waited) / float64(waited))
	}
	return row
}

// ownerSpans puts together the steps in which one process read a partition. owners
// are ordered as PartitionOwners gives them.
func ownerSpans(owners []exporters.PartitionOwner) (out []exporters.PartitionOwner) {
	for _, o := range owners {
		if o.Instance == "" { // who it was is unknown
			continue
		}
		if n := len(out) - 1; n >= 0 && out[n].Partition == o.Partition && out[n].Group == o.Group && out[n].Instance == o.Instance {
			out[n].LastSeen = max(out[n].LastSeen, o.LastSeen)
			out[n].Messages += o.Messages
			continue
		}
		out = append(out, o)
	}
	return out
}

// rebalances finds when partitions came to other processes; what changed within a
// minute is one. Ordered by time.
func rebalances(spans []exporters.PartitionOwner) []Rebalance {
	type move struct {
		at       int64
		group    string
		from, to string
	}
	var moves []move
	first, last := map[string]int64{}, map[string]int64{} // of each process, by group
	for i, s := range spans {
		key := s.Group + "\x00" + s.Instance
		if at, ok := first[key]; !ok || s.FirstSeen < at {
			first[key] = s.FirstSeen
		}
		last[key] = max(last[key], s.LastSeen)
		if i > 0 && spans[i-1].Partition == s.Partition && spans[i-1].Group == s.Group {
			moves = append(moves, move{s.FirstSeen, s.Group, spans[i-1].Instance, s.Instance})
		}
	}
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.at, b.at)) })
	var out []Rebalance
	for len(moves) > 0 {
		n := 1
		for n < len(moves) && moves[n].group == moves[0].group && moves[n].at-moves[0].at < int64(together) {
			n++
		}
		begin, end := moves[0].at, moves[n-1].at
		re := Rebalance{At: nanos(begin), Group: moves[0].group, Moved: n, Left: []string{}, Joined: []string{}, Causes: []string{}}
		for _, m := range moves[:n] {
			// Records that were in hand are done with a little after others own the rest.
			if last[m.group+"\x00"+m.from] <= end+int64(together) && !slices.Contains(re.Left, m.from) {
				re.Left = append(re.Left, m.from)
			}
			if first[m.group+"\x00"+m.to] >= begin && !slices.Contains(re.Joined, m.to) {
				re.Joined = append(re.Joined, m.to)
			}
		}
		out = append(out, re)
		moves = moves[n:]
	}
	slices.SortStableFunc(out, func(a, b Rebalance) int { return cmp.Compare(a.at(), b.at()) })
	return out
}

func (r *Rebalance) at() int64 { return r.At.ns() }

// withCauses adds what the group's members told of rebalances.
func (h *Handler) withCauses(ctx context.Context, ask exporters.PartitionQuery, found []Rebalance) []Rebalance {
	if ask.Group == nil {
		return found
	}
	step := max(niceStep(ask.Range.To.Sub(ask.Range.From)/1_500), 10*time.Second)
	series, err := h.deps.Metrics.MetricSeries(ctx, exporters.MetricQuery{
		Project: ask.Project, Name: messaging.MetricRebalances, Range: ask.Range, Step: step, Group: *ask.Group, By: []exporters.MetricLabel{exporters.LabelCause},
	})
	if err != nil {
		h.log.Warn("web: what members told of rebalances is not shown", "group", *ask.Group, "err", err)
		return found
	}
	for i := range series {
		for _, s := range series[i].Steps {
			if s.Sum <= 0 {
				continue
			}
			cause := cmp.Or(series[i].Cause, "unknown")
			// The one that was seen next: a new owner's first record comes after it.
			at := slices.IndexFunc(found, func(r Rebalance) bool {
				return r.at() >= s.Time-int64(together) && r.at() < s.Time+int64(step)+int64(together)
			})
			if at < 0 {
				found = append(found, Rebalance{At: nanos(s.Time), Group: *ask.Group, Left: []string{}, Joined: []string{}, Causes: []string{cause}})
			} else if !slices.Contains(found[at].Causes, cause) {
				found[at].Causes = append(found[at].Causes, cause)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Rebalance) int { return cmp.Compare(a.at(), b.at()) })
	return found
}
