package exportertest

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Topics is what TopicStore tests.
type Topics interface {
	exporters.SpanWriter
	exporters.TopicReader
}

// TopicStore is the suite of TopicReader. open gives an empty store.
func TopicStore(t *testing.T, open func(t *testing.T) Topics) {
	run := func(name string, f func(t *testing.T, s Topics)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("TopicSumsAreThoseOfTheRows", topicSumsOfRows)
	run("PartitionSumsAreThoseOfTheRows", partitionSumsOfRows)
	run("OwnersAreThoseOfTheRows", ownersOfRows)
	run("TheHeatMapIsWhatIsAskedApart", heatOfRows)
	run("ShortStepsAreReadFromTheRows", shortSteps)
	run("PartsAreExactToTheirClass", partsOfOneHop)
	run("AReplayLeavesEverySumAsItIs", topicReplay)
	run("TopicSumsAreBounded", topicBounds)
}

// SumTopics is TopicReader.TopicSums by the plainest reading of rows.
func SumTopics(rows []schemas.Message, q exporters.TopicQuery) []exporters.TopicSum {
	type key struct {
		topic string
		reads bool
		group string
		start int64
	}
	all := make(map[key]*exporters.TopicSum)
	values := make(map[key]map[exporters.PartName][]time.Duration)
	sizes := make(map[key][]int64)
	r := widened(q.Range, q.Step)
	for i := range rows {
		m := &rows[i]
		if m.Project != q.Project || m.Side == schemas.SideSettle || q.Topic != "" && m.Topic != q.Topic || !within(m.End, r) {
			continue
		}
		k := key{topic: m.Topic, reads: m.Side.Reads(), group: m.Group, start: stepOf(m.End, r, q.Step)}
		sum := all[k]
		if sum == nil {
			sum = &exporters.TopicSum{Topic: k.topic, Reads: k.reads, Group: k.group, Start: k.start, Parts: make(map[exporters.PartName]exporters.Quantiles)}
			all[k], values[k] = sum, make(map[exporters.PartName][]time.Duration)
		}
		count(&sum.Sum, m)
		sum.Newest = max(sum.Newest, recordAt(m))
		if m.BodySize >= 0 {
			sum.Sizes.Count++
			sum.Sizes.Bytes += uint64(m.BodySize)
			sizes[k] = append(sizes[k], m.BodySize)
		}
		for _, name := range partsOf(k.reads) {
			if d, ok := partOfRow(m, name); ok {
				values[k][name] = append(values[k][name], d)
			}
		}
	}
	out := make([]exporters.TopicSum, 0, len(all))
	for k, sum := range all {
		for _, name := range partsOf(k.reads) {
			sum.Parts[name] = durationsOf(values[k][name])
		}
		slices.Sort(sizes[k])
		at := func(share float64) int64 {
			return exporters.SizeMiddle(exporters.SizeClassOf(rank(sizes[k], share)))
		}
		if sum.Sizes.Count > 0 {
			sum.Sizes.P50, sum.Sizes.P90, sum.Sizes.P99 = at(0.5), at(0.9), at(0.99)
		}
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b exporters.TopicSum) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(asInt(a.Reads), asInt(b.Reads)), strings.Compare(a.Group, b.Group), cmp.Compare(a.Start, b.Start))
	})
	return out
}

// SumPartitions is TopicReader.PartitionSums by the plainest reading of rows.
func SumPartitions(rows []schemas.Message, q exporters.PartitionQuery) []exporters.PartitionSum {
	type key struct {
		partition int32
		start     int64
	}
	all := make(map[key]*exporters.PartitionSum)
	values := make(map[key][]time.Duration)
	r := widened(q.Range, q.Step)
	for i := range rows {
		m := &rows[i]
		if !ofPartitions(m, q, r) {
			continue
		}
		k := key{m.Partition, stepOf(m.End, r, q.Step)}
		sum := all[k]
		if sum == nil {
			sum = &exporters.PartitionSum{Partition: k.partition, Start: k.start}
			all[k] = sum
		}
		count(&sum.MessageSum, m)
		if d, ok := partOfRow(m, exporters.PartResidence); ok {
			sum.Waited += max(d, 0)
		}
		if d, ok := partOfRow(m, q.Part); ok {
			values[k] = append(values[k], d)
		}
	}
	out := make([]exporters.PartitionSum, 0, len(all))
	for k, sum := range all {
		sum.Part = durationsOf(values[k])
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b exporters.PartitionSum) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Start, b.Start))
	})
	return out
}

// OwnersOf is TopicReader.PartitionOwners by the plainest reading of rows.
func OwnersOf(rows []schemas.Message, q exporters.PartitionQuery) []exporters.PartitionOwner {
	type key struct {
		partition       int32
		group, instance string
		start           int64
	}
	q.Writes = false
	all := make(map[key]*exporters.PartitionOwner)
	r := widened(q.Range, q.Step)
	for i := range rows {
		m := &rows[i]
		if !ofPartitions(m, q, r) {
			continue
		}
		k := key{m.Partition, m.Group, m.Instance, stepOf(m.End, r, q.Step)}
		if all[k] == nil {
			all[k] = &exporters.PartitionOwner{Partition: k.partition, Group: k.group, Instance: k.instance, Start: k.start}
		}
		count(&all[k].MessageSum, m)
	}
	out := make([]exporters.PartitionOwner, 0, len(all))
	for _, o := range all {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b exporters.PartitionOwner) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), strings.Compare(a.Group, b.Group), cmp.Compare(a.Start, b.Start), cmp.Compare(a.FirstSeen, b.FirstSeen), strings.Compare(a.Instance, b.Instance))
	})
	return out
}

func ofPartitions(m *schemas.Message, q exporters.PartitionQuery, r exporters.Range) bool {
	return m.Project == q.Project && m.Topic == q.Topic && within(m.End, r) && (q.Writes && m.Side == schemas.SideProduce || !q.Writes && m.Side.Reads()) &&
		(q.Writes || q.Group == nil || m.Group == *q.Group) && (q.PartitionFrom == nil || m.Partition >= *q.PartitionFrom) && (q.PartitionTo == nil || m.Partition <= *q.PartitionTo)
}

func within(at int64, r exporters.Range) bool {
	return at >= r.From.UnixNano() && at < r.To.UnixNano()
}

// widened is the range as the reader has it.
func widened(r exporters.Range, step time.Duration) exporters.Range {
	whole := exporters.TopologySlot
	if step > 0 && step < whole {
		whole = time.Second
	}
	if r.From.IsZero() {
		r.From = time.Unix(0, 0)
	}
	if r.To.IsZero() {
		r.To = time.Now()
	}
	r.From = r.From.Truncate(whole)
	if to := r.To.Truncate(whole); to.Before(r.To) {
		r.To = to.Add(whole)
	}
	return r
}

func stepOf(at int64, r exporters.Range, step time.Duration) int64 {
	if step == 0 {
		return 0
	}
	from := r.From.UnixNano()
	return from + (at-from)/int64(step)*int64(step)
}

func count(s *exporters.MessageSum, m *schemas.Message) {
	s.Messages++
	if m.Failed {
		s.Failed++
	}
	if s.FirstSeen == 0 || m.End < s.FirstSeen {
		s.FirstSeen = m.End
	}
	s.LastSeen = max(s.LastSeen, m.End)
}

func asInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func partsOf(reads bool) []exporters.PartName {
	if reads {
		return exporters.SummedParts[exporters.PartsOfWriter:]
	}
	return exporters.SummedParts[:exporters.PartsOfWriter]
}

// partOfRow is one part by one row alone. Hop.Parts is asked where it can be: of a
// reader's row together with a writer that tells nothing but the record's own time.
func partOfRow(m *schemas.Message, name exporters.PartName) (time.Duration, bool) {
	var h schemas.Hop
	if m.Side == schemas.SideProduce {
		h.Produce = m
	} else {
		own := cmp.Or(m.RecordTime, m.Appended)
		c := *m
		c.BootID = "one"
		h.Consume = &c
		if own != 0 {
			h.Produce = &schemas.Message{BootID: "one", Start: own, Written: own, Acked: own, Appended: own}
		}
		if name == exporters.PartResidence {
			return time.Duration(cmp.Or(m.Answered, m.Start) - own), own != 0
		}
	}
	p := h.Parts()
	part := map[exporters.PartName]schemas.Part{
		exporters.PartBatchQueue: p.BatchQueue, exporters.PartRetry: p.Retry, exporters.PartAck: p.Ack, exporters.PartBacklog: p.Backlog,
		exporters.PartLongPoll: p.LongPoll, exporters.PartFetchQueue: p.FetchQueue, exporters.PartProcessing: p.Processing, exporters.PartEndToEnd: p.EndToEnd,
	}[name]
	return part.Duration, part.Known
}

// rank is the smallest value that a share of all, sorted, do not exceed.
func rank[T any](sorted []T, share float64) T {
	return sorted[max(int(math.Ceil(share*float64(len(sorted))))-1, 0)]
}

func durationsOf(values []time.Duration) exporters.Quantiles {
	d := exporters.Quantiles{Count: uint64(len(values))}
	if len(values) == 0 {
		return d
	}
	slices.Sort(values)
	for _, v := range values {
		if v < 0 {
			d.Negative++
		}
	}
	at := func(share float64) time.Duration {
		return exporters.LatencyMiddle(exporters.LatencyClassOf(rank(values, share)))
	}
	d.P50, d.P90, d.P95, d.P99 = at(0.5), at(0.9), at(0.95), at(0.99)
	return d
}

// nearly leaves open by how little a quantile may differ: the ranks of few and of
// many values are rounded differently, by one, and a value at the bound of two classes
// may come to either. It takes what the store says where that is so.
func nearly(got, want exporters.Quantiles, values func() []time.Duration) exporters.Quantiles {
	if got.Count != want.Count || got == want {
		return want
	}
	sorted := values()
	slices.Sort(sorted)
	for _, q := range []struct {
		share     float64
		got, want *time.Duration
	}{{0.5, &got.P50, &want.P50}, {0.9, &got.P90, &want.P90}, {0.95, &got.P95, &want.P95}, {0.99, &got.P99, &want.P99}} {
		at := int(q.share * float64(len(sorted)))
		low, high := sorted[max(at-1, 0)], sorted[min(at+1, len(sorted)-1)]
		if *q.got >= exporters.LatencyMiddle(exporters.LatencyClassOf(low)) && *q.got <= exporters.LatencyMiddle(exporters.LatencyClassOf(high)) {
			*q.want = *q.got
		}
		// What is further below zero is known to two classes.
		if ratio := float64(*q.got) / float64(*q.want); *q.want < -60*time.Millisecond && ratio > 0.8 && ratio < 1.25 {
			*q.want = *q.got
		}
	}
	return want
}

// topicWorld has groups, instances, sizes, retries and partitions that nobody told.
func topicWorld(seed uint64, n int, start time.Time) *world {
	w := flowWorld(seed, n, start)
	for i := range w.rows {
		m := &w.rows[i]
		m.BodySize = schemas.Unknown
		if w.rnd.IntN(4) > 0 {
			m.BodySize = int64(math.Exp(w.rnd.Float64() * 14))
		}
		if m.Side.Reads() {
			m.Instance = fmt.Sprintf("%s-%d", m.Group, (m.End-start.UnixNano())/int64(40*time.Minute)%2)
			if w.rnd.IntN(3) == 0 && m.Answered != 0 {
				m.Asked = m.Answered - w.rnd.Int64N(int64(time.Hour))
			}
		} else if m.Written != 0 && w.rnd.IntN(5) == 0 {
			m.FirstWritten = m.Written - w.rnd.Int64N(1e9)
		}
		if w.rnd.IntN(30) == 0 {
			m.Partition, m.Offset = schemas.Unknown, schemas.Unknown
		}
	}
	return w
}

func writeTopics(t *testing.T, s Topics, w *world) {
	t.Helper()
	for part := range slices.Chunk(w.rows, 900) {
		noError(t, "WriteSpans", s.WriteSpans(testContext(t), nil, part))
	}
	other := w.rows[0]
	other.Project = 2
	noError(t, "WriteSpans", s.WriteSpans(testContext(t), nil, []schemas.Message{other}))
}

func checkTopicSums(t *testing.T, s Topics, w *world, q exporters.TopicQuery) {
	t.Helper()
	q.Project = 1
	got, err := s.TopicSums(testContext(t), q)
	noError(t, "TopicSums", err)
	want := SumTopics(w.rows, q)
	r := widened(q.Range, q.Step)
	for i := range min(len(got), len(want)) {
		g, x := &got[i], &want[i]
		for name, d := range x.Parts {
			x.Parts[name] = nearly(g.Parts[name], d, func() (out []time.Duration) {
				for j := range w.rows {
					m := &w.rows[j]
					if v, ok := partOfRow(m, name); ok && m.Side != schemas.SideSettle && m.Topic == x.Topic && m.Side.Reads() == x.Reads && m.Group == x.Group && within(m.End, r) && stepOf(m.End, r, q.Step) == x.Start {
						out = append(out, v)
					}
				}
				return out
			})
		}
		for _, p := range [][2]*int64{{&g.Sizes.P50, &x.Sizes.P50}, {&g.Sizes.P90, &x.Sizes.P90}, {&g.Sizes.P99, &x.Sizes.P99}} {
			if x.Sizes.Count > 31 && float64(*p[0]) > 0.9*float64(*p[1]) && float64(*p[0]) < 1.1*float64(*p[1]) { // one rank beside it
				*p[1] = *p[0]
			}
		}
	}
	equal(t, fmt.Sprintf("topics of %+v", q), got, want)
	if len(got) == 0 {
		t.Errorf("no topics of %+v", q)
	}
}

func topicSumsOfRows(t *testing.T, s Topics) {
	start := slotStart()
	w := topicWorld(91, 2500, start)
	writeTopics(t, s, w)
	day := exporters.Range{From: start, To: start.Add(5 * time.Hour)}
	checkTopicSums(t, s, w, exporters.TopicQuery{Range: day})
	checkTopicSums(t, s, w, exporters.TopicQuery{})
	checkTopicSums(t, s, w, exporters.TopicQuery{Range: day, Topic: "topic-1", Step: 15 * time.Minute})
	checkTopicSums(t, s, w, exporters.TopicQuery{Range: exporters.Range{From: start.Add(7 * time.Minute), To: start.Add(44 * time.Minute)}, Step: exporters.TopologySlot})
}

func checkPartitionSums(t *testing.T, s Topics, w *world, q exporters.PartitionQuery) {
	t.Helper()
	q.Project = 1
	got, err := s.PartitionSums(testContext(t), q)
	noError(t, "PartitionSums", err)
	want := SumPartitions(w.rows, q)
	r := widened(q.Range, q.Step)
	for i := range min(len(got), len(want)) {
		x := &want[i]
		x.Part = nearly(got[i].Part, x.Part, func() (out []time.Duration) {
			for j := range w.rows {
				m := &w.rows[j]
				if v, ok := partOfRow(m, q.Part); ok && ofPartitions(m, q, r) && m.Partition == x.Partition && stepOf(m.End, r, q.Step) == x.Start {
					out = append(out, v)
				}
			}
			return out
		})
	}
	equal(t, fmt.Sprintf("partitions of %+v", q), got, want)
	if len(got) == 0 {
		t.Errorf("no partitions of %+v", q)
	}
}

func partitionSumsOfRows(t *testing.T, s Topics) {
	start := slotStart()
	w := topicWorld(92, 2500, start)
	writeTopics(t, s, w)
	day := exporters.Range{From: start, To: start.Add(5 * time.Hour)}
	group, one, two := "group-1", int32(1), int32(2)
	for i, part := range exporters.SummedParts {
		q := exporters.PartitionQuery{Range: day, Topic: "topic-1", Part: part, Writes: i < exporters.PartsOfWriter, Group: &group, Step: 20 * time.Minute}
		checkPartitionSums(t, s, w, q)
		q.Step = 0
		checkPartitionSums(t, s, w, q)
	}
	checkPartitionSums(t, s, w, exporters.PartitionQuery{Range: day, Topic: "topic-0", Part: exporters.PartResidence})
	checkPartitionSums(t, s, w, exporters.PartitionQuery{Range: day, Topic: "topic-0", Part: exporters.PartResidence, PartitionFrom: &one, PartitionTo: &two, Step: time.Hour})
}

func ownersOfRows(t *testing.T, s Topics) {
	start := slotStart()
	w := topicWorld(93, 1500, start)
	writeTopics(t, s, w)
	group, one := "group-0", int32(1)
	for _, q := range []exporters.PartitionQuery{{Step: 20 * time.Minute}, {Step: time.Hour, Group: &group, PartitionTo: &one}, {}} {
		q.Project, q.Topic, q.Range = 1, "topic-2", exporters.Range{From: start, To: start.Add(5 * time.Hour)}
		got, err := s.PartitionOwners(testContext(t), q)
		noError(t, "PartitionOwners", err)
		equal(t, fmt.Sprintf("owners of %+v", q), got, OwnersOf(w.rows, q))
		if len(got) < 2 {
			t.Errorf("%d owners of %+v", len(got), q)
		}
	}
}

func heatOfRows(t *testing.T, s Topics) {
	start := slotStart()
	w := topicWorld(96, 1500, start)
	writeTopics(t, s, w)
	ctx := testContext(t)
	group, one := "group-1", int32(1)
	day := exporters.Range{From: start, To: start.Add(5 * time.Hour)}
	for _, q := range []exporters.PartitionQuery{
		{Range: day, Step: 20 * time.Minute, Part: exporters.PartResidence},
		{Range: day, Step: time.Hour, Part: exporters.PartEndToEnd, Group: &group, PartitionFrom: &one},
		{Range: day, Step: time.Hour, Part: exporters.PartAck, Writes: true},
		{Range: day, Step: time.Hour},
		{Range: exporters.Range{From: start, To: start.Add(time.Hour)}, Step: time.Minute, Part: exporters.PartProcessing},
	} {
		q.Project, q.Topic = 1, "topic-1"
		heat, err := s.PartitionHeat(ctx, q)
		noError(t, "PartitionHeat", err)
		cells, err := s.PartitionSums(ctx, q)
		noError(t, "PartitionSums", err)
		equal(t, fmt.Sprintf("cells of %+v", q), heat.Cells, cells)
		if !q.Writes {
			owners, err := s.PartitionOwners(ctx, q)
			noError(t, "PartitionOwners", err)
			equal(t, fmt.Sprintf("owners of %+v", q), heat.Owners, owners)
		} else if len(heat.Owners) > 0 {
			t.Errorf("%d owners of what was written", len(heat.Owners))
		}
		var n uint64
		for i := range heat.Rows {
			n += heat.Rows[i].Messages
		}
		for i := range heat.Cells {
			n -= heat.Cells[i].Messages
		}
		if n != 0 || len(heat.Rows) == 0 {
			t.Errorf("%d rows of %+v, whose messages are not those of their cells", len(heat.Rows), q)
		}
		if q.Step >= exporters.TopologySlot { // the range is then the same
			q.Step = 0
			rows, err := s.PartitionSums(ctx, q)
			noError(t, "PartitionSums", err)
			equal(t, fmt.Sprintf("rows of %+v", q), heat.Rows, rows)
		}
	}
	if _, err := s.PartitionHeat(ctx, exporters.PartitionQuery{Project: 1, Topic: "topic-1", Range: day}); err == nil {
		t.Error("a heat map without steps is taken")
	}
}

func shortSteps(t *testing.T, s Topics) {
	start := slotStart()
	w := topicWorld(94, 1500, start)
	writeTopics(t, s, w)
	hour := exporters.Range{From: start.Add(3*time.Minute + 7*time.Second), To: start.Add(63*time.Minute + 7*time.Second)}
	checkTopicSums(t, s, w, exporters.TopicQuery{Range: hour, Topic: "topic-1", Step: time.Minute})
	checkPartitionSums(t, s, w, exporters.PartitionQuery{Range: hour, Topic: "topic-1", Part: exporters.PartEndToEnd, Step: 30 * time.Second})
}

// partsOfOneHop has numbers that one can find by hand.
func partsOfOneHop(t *testing.T, s Topics) {
	start := slotStart()
	rows := reading(start, 3*time.Hour) // written at the start, answered 3 h later, handed over after 1 ms, done 5 ms later
	rows[1].Asked = rows[1].Answered - int64(time.Second)
	rows[1].Instance = "payments-1"
	noError(t, "WriteSpans", s.WriteSpans(testContext(t), nil, rows))
	got, err := s.TopicSums(testContext(t), exporters.TopicQuery{Project: 1, Range: exporters.Range{From: start, To: start.Add(4 * time.Hour)}})
	noError(t, "TopicSums", err)
	if len(got) != 2 || got[0].Reads || !got[1].Reads {
		t.Fatalf("%+v, want what was written and what was read", got)
	}
	for name, want := range map[exporters.PartName]time.Duration{
		exporters.PartBatchQueue: time.Millisecond, exporters.PartAck: 2 * time.Millisecond,
		exporters.PartResidence: 3 * time.Hour, exporters.PartBacklog: 3*time.Hour - time.Second, exporters.PartLongPoll: time.Second,
		exporters.PartFetchQueue: time.Millisecond, exporters.PartProcessing: 5 * time.Millisecond, exporters.PartEndToEnd: 3*time.Hour + 6*time.Millisecond,
	} {
		d, ok := got[0].Parts[name]
		if !ok {
			d = got[1].Parts[name]
		}
		if off := math.Abs(float64(d.P50)/float64(want) - 1); d.Count != 1 || off > 0.05 {
			t.Errorf("%s = %+v, want %v to 5 %%", name, d, want)
		}
	}
}

// topicReplay writes, as a stage that was killed does, what it has committed no offset
// for once more: all of it, three times, with the store asked for what it has.
func topicReplay(t *testing.T, s Topics) {
	ctx := testContext(t)
	start := slotStart()
	w := topicWorld(95, 1200, start)
	for i := range w.rows {
		m := &w.rows[i]
		m.Source, m.Position = schemas.Source(i%3+1), schemas.Position{Offset: int64(i / 30), Index: uint32(i / 3 % 10)} //nolint:gosec // small
	}
	missing := func() (out []schemas.Message) {
		written := map[schemas.Source]exporters.Written{}
		for source := schemas.Source(1); source <= 3; source++ {
			got, err := s.WrittenSpans(ctx, source, 0)
			noError(t, "WrittenSpans", err)
			written[source] = got
		}
		for i := range w.rows {
			m := &w.rows[i]
			if _, ok := written[m.Source].Messages[m.Position]; !ok {
				out = append(out, *m)
			}
		}
		return out
	}
	check := func() {
		t.Helper()
		day := exporters.Range{From: start, To: start.Add(5 * time.Hour)}
		checkTopicSums(t, s, w, exporters.TopicQuery{Range: day})
		checkTopicSums(t, s, w, exporters.TopicQuery{Range: day, Topic: "topic-1", Step: 15 * time.Minute})
		checkPartitionSums(t, s, w, exporters.PartitionQuery{Range: day, Topic: "topic-1", Part: exporters.PartResidence, Step: 20 * time.Minute})
		q := exporters.PartitionQuery{Project: 1, Topic: "topic-1", Range: day, Step: 20 * time.Minute}
		got, err := s.PartitionOwners(ctx, q)
		noError(t, "PartitionOwners", err)
		equal(t, "owners", got, OwnersOf(w.rows, q))
	}
	noError(t, "WriteSpans", s.WriteSpans(ctx, nil, w.rows[:700])) // and it was killed here
	for again := range 3 {
		left := missing()
		if want := len(w.rows) - 700; again == 0 && len(left) != want || again > 0 && len(left) != 0 {
			t.Fatalf("replay %d: %d rows are missing of %d", again, len(left), len(w.rows))
		}
		noError(t, "WriteSpans", s.WriteSpans(ctx, nil, left))
		check()
	}
}

func topicBounds(t *testing.T, s Topics) {
	ctx := testContext(t)
	start := slotStart()
	r := exporters.Range{From: start, To: start.Add(time.Hour)}
	for _, step := range []time.Duration{-time.Minute, time.Millisecond, exporters.TopologySlot + time.Second, 1500 * time.Millisecond} {
		if _, err := s.TopicSums(ctx, exporters.TopicQuery{Project: 1, Range: r, Step: step}); err == nil {
			t.Errorf("topics in steps of %v are taken", step)
		}
		if _, err := s.PartitionOwners(ctx, exporters.PartitionQuery{Project: 1, Range: r, Step: step}); err == nil {
			t.Errorf("owners in steps of %v are taken", step)
		}
	}
	if _, err := s.PartitionSums(ctx, exporters.PartitionQuery{Project: 1, Range: r, Part: "nonsense"}); err == nil {
		t.Error("a part that there is not is taken")
	}
	long := exporters.Range{From: start, To: start.Add(24 * time.Hour)}
	if _, err := s.PartitionSums(ctx, exporters.PartitionQuery{Project: 1, Range: long, Part: exporters.PartAck, Step: time.Second}); !errors.Is(err, exporters.ErrTooLarge) {
		t.Errorf("a day in seconds: %v, want ErrTooLarge", err)
	}
}
