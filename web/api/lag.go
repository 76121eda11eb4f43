package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// LagList tells how far consumer groups are behind.
type LagList struct {
	Finding  finding.Finding `json:"finding"`
	Now      Nanos           `json:"now"`
	WindowNs int64           `json:"windowNs"` // what states and rates are found over
	Clusters []LagCluster    `json:"clusters"`
	Lines    []LagLine       `json:"lines"`
	// Total counts the lines that the filters leave, States all of them by state.
	Total  int        `json:"total"`
	States []LagCount `json:"states"`
	// Time behind over time, of each line: slots of StepNs from From.
	From   Nanos `json:"from"`
	StepNs int64 `json:"stepNs"`
	// HistoryError says why lag over time is not told; empty when it is.
	HistoryError string `json:"historyError"`
}

// LagCount is how many lines are in a state.
type LagCount struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

// LagCluster is one Kafka cluster that is watched.
type LagCluster struct {
	Name              string   `json:"name"`
	Brokers           []string `json:"brokers"`
	Asked             *Nanos   `json:"asked"` // when it answered last; null when it never did
	Error             string   `json:"error"` // why it does not answer now; empty when it does
	FailedSince       *Nanos   `json:"failedSince"`
	Groups            int      `json:"groups"`
	LeftOutGroups     int      `json:"leftOutGroups"` // more than the settings allow
	LeftOutPartitions int      `json:"leftOutPartitions"`
}

// LagLine is one topic of one group, its partitions together.
type LagLine struct {
	Cluster    string      `json:"cluster"`
	Group      string      `json:"group"`
	Topic      string      `json:"topic"`
	State      string      `json:"state"`
	Reason     string      `json:"reason"`
	KafkaState string      `json:"kafkaState"`
	Members    *int        `json:"members"` // null when the broker does not tell
	Asked      Nanos       `json:"asked"`
	Error      string      `json:"error"` // why the group could not be asked now
	Partitions int         `json:"partitions"`
	Lagging    int         `json:"lagging"` // partitions with unread records
	InState    int         `json:"inState"` // partitions in the state, which is the worst of them
	Lag        int64       `json:"lag"`     // records
	Lost       int64       `json:"lost"`    // deleted by retention before they were read
	BehindNs   *int64      `json:"behindNs"`
	Written    *float64    `json:"written"` // records a second; null while too little was seen
	Read       *float64    `json:"read"`
	Drained    LagForecast `json:"drained"` // when the last unread record is read
	Deleted    LagForecast `json:"deleted"` // when retention deletes the first unread record
	Spare      LagForecast `json:"spare"`   // when it would if nothing was read
	Retention  LagForecast `json:"retention"`
	Behind     []*float64  `json:"behind"` // s, over time; null where nothing is known
}

// LagForecast is a time from now: in ns, never at the present rates, or unknown.
type LagForecast struct {
	When string `json:"when"` // in, never or unknown
	Ns   int64  `json:"ns"`
}

// LagDetail is one group.
type LagDetail struct {
	Finding    finding.Finding `json:"finding"`
	Now        Nanos           `json:"now"`
	WindowNs   int64           `json:"windowNs"`
	Cluster    LagCluster      `json:"cluster"`
	Group      string          `json:"group"`
	Lines      []LagLine       `json:"lines"`
	Partitions []LagPartition  `json:"partitions"`
	Skip       int             `json:"skip"`  // partitions before these
	Total      int             `json:"total"` // partitions in all
	From       Nanos           `json:"from"`
	To         Nanos           `json:"to"`
	StepNs     int64           `json:"stepNs"`
	// Series holds what was asked for: a line each topic, or one partition.
	Series       []LagSeries `json:"series"`
	HistoryError string      `json:"historyError"`
}

// LagPartition is one partition as the group sees it.
type LagPartition struct {
	Topic           string      `json:"topic"`
	Partition       int32       `json:"partition"`
	State           string      `json:"state"`
	Reason          string      `json:"reason"`
	Owner           string      `json:"owner"` // client id of the member that has it
	OwnerHost       string      `json:"ownerHost"`
	Uncommitted     bool        `json:"uncommitted"`     // nothing was ever committed; lag counts what came since the partition was first seen
	Committed       int64       `json:"committed"`       // or what the lag is counted from
	CommittedBefore int64       `json:"committedBefore"` // at the begin of the window
	LogStart        int64       `json:"logStart"`
	LogEnd          int64       `json:"logEnd"`
	Lag             int64       `json:"lag"`
	Lost            int64       `json:"lost"`
	BehindNs        *int64      `json:"behindNs"`
	Written         *float64    `json:"written"`
	Read            *float64    `json:"read"`
	Drained         LagForecast `json:"drained"`
	Deleted         LagForecast `json:"deleted"`
	Spare           LagForecast `json:"spare"`
}

// LagSeries is lag over time, in slots of the answer's step.
type LagSeries struct {
	Topic     string     `json:"topic"`
	Partition *int32     `json:"partition"` // null: all of the topic
	Records   []*float64 `json:"records"`
	Seconds   []*float64 `json:"seconds"`
}

// lagSlots is how many steps the list's small charts have, lagDetailSlots those of
// a group.
const (
	lagSlots       = 60
	lagDetailSlots = 240
	lagRange       = 2 * time.Hour
)

// lagHint tells how to watch a cluster.
const lagHint = "set kafka.brokers or lagwatch.clusters of the role web, and lagwatch.enabled"

// report asks the watcher; nil without one.
func (h *Handler) report(ctx context.Context) (exporters.LagReport, error) {
	if h.deps.Lag == nil {
		return exporters.LagReport{}, nil
	}
	r, err := h.deps.Lag.Lag(ctx)
	if err != nil {
		return r, fmt.Errorf("cannot ask the lag watcher: %w", err)
	}
	return r, nil
}

// lag answers /lag.
func (h *Handler) lag(ctx context.Context, q *query) (any, error) {
	states := make([]string, 0, len(exporters.LagStates)+2)
	states = append(states, "any")
	for _, s := range exporters.LagStates {
		states = append(states, string(s))
	}
	cluster, group, topic, words := q.text("cluster"), q.text("group"), q.text("topic"), strings.ToLower(q.text("text"))
	state, sort := q.oneOf("state", append(states, "not-ok")...), q.oneOf("sort", "state", "behind", "lag", "deleted", "drained", "group", "topic")
	limit, skip := q.limit(200), q.skip()
	from, step := q.lagRange(lagSlots)
	if q.fault != nil {
		return nil, q.fault
	}
	r, err := h.report(ctx)
	if err != nil {
		return nil, err
	}
	out := LagList{Now: nanos(q.now.UnixNano()), WindowNs: int64(r.Window), Clusters: []LagCluster{}, Lines: []LagLine{}, From: nanos(from.UnixNano()), StepNs: int64(step)}
	facts := finding.Lag{Clusters: len(r.Clusters)}
	counts := map[exporters.LagState]int{}
	var lines []lagLine
	for i := range r.Clusters {
		c := &r.Clusters[i]
		out.Clusters = append(out.Clusters, clusterJSON(c))
		if c.Error != "" {
			facts.Away = append(facts.Away, away(c, q.now))
		}
		facts.Groups += len(c.Groups)
		for _, l := range linesOf(c) {
			if cluster != "" && l.Cluster != cluster || group != "" && l.Group != group || topic != "" && l.Topic != topic ||
				words != "" && !strings.Contains(strings.ToLower(l.Group+" "+l.Topic+" "+l.Cluster), words) {
				continue
			}
			facts.Lines = append(facts.Lines, l.LagLine)
			counts[l.State]++
			if state == "any" || state == string(l.State) || state == "not-ok" && l.State != exporters.LagOK {
				lines = append(lines, l)
			}
		}
	}
	for _, s := range slices.Backward(exporters.LagStates) {
		out.States = append(out.States, LagCount{string(s), counts[s]})
	}
	slices.SortStableFunc(lines, func(a, b lagLine) int { return compareLag(sort, a, b) })
	out.Total = len(lines)
	lines = lines[min(skip, len(lines)):]
	lines = lines[:min(limit, len(lines))]
	for _, l := range lines {
		out.Lines = append(out.Lines, l.json())
	}
	out.Finding = finding.ForLag(facts)
	if len(lines) > 0 {
		out.HistoryError = h.behindOverTime(ctx, r.Project, out.Lines, exporters.Range{From: from, To: q.now}, step)
	}
	return out, nil
}

// lagRange is from when lag over time is told, at a step's begin, and the step.
func (p *params) lagRange(slots int) (from time.Time, step time.Duration) {
	from = p.time("from")
	if from.IsZero() {
		from = p.now.Add(-lagRange)
	}
	length := p.now.Sub(from)
	if length <= 0 || length > 366*24*time.Hour {
		p.refuse("from", p.values.Get("from"), "a time of the last year, before now")
		return p.now, time.Minute
	}
	step = max(niceStep(length/time.Duration(slots)), 30*time.Second) // it is kept every 30 s
	return from.Truncate(step), step
}

// skip reads how many elements of a list to pass over.
func (p *params) skip() int {
	const name = "skip"
	s := p.values.Get(name)
	if s == "" {
		return 0
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 {
		p.refuse(name, s, "a whole number of zero or more")
	}
	return v
}

// lagLine is one topic of a group as it is sorted and shown.
type lagLine struct {
	finding.LagLine
	group *exporters.LagGroup
	topic *exporters.LagTopic
}

// linesOf gives the lines of a cluster; a group that tells nothing has one
// without a topic.
func linesOf(c *exporters.LagCluster) (out []lagLine) {
	for i := range c.Groups {
		g := &c.Groups[i]
		for j := range g.Topics {
			t := &g.Topics[j]
			out = append(out, lagLine{finding.LagLine{Cluster: c.Name, Group: g.Group, Topic: t.Topic, LagTotal: t.Total()}, g, t})
		}
	}
	return out
}

func compareLag(by string, a, b lagLine) int {
	soonest := func(x, y time.Duration) int { // what is not known comes last
		return cmp.Compare(uint64(x), uint64(y)) //nolint:gosec // -1 is the largest on purpose
	}
	first := 0
	switch by {
	case "state":
		first = cmp.Compare(b.State.Rank(), a.State.Rank())
	case "lag":
		first = cmp.Compare(b.Lag, a.Lag)
	case "deleted":
		first = cmp.Or(soonest(a.Deleted, b.Deleted), soonest(a.Spare, b.Spare))
	case "drained":
		first = soonest(b.Drained, a.Drained)
	case "group":
		first = strings.Compare(a.Group, b.Group)
	case "topic":
		first = strings.Compare(a.Topic, b.Topic)
	}
	return cmp.Or(first, cmp.Compare(b.Behind, a.Behind), cmp.Compare(b.Lag, a.Lag), strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.Group, b.Group), strings.Compare(a.Topic, b.Topic))
}

func away(c *exporters.LagCluster, now time.Time) finding.LagAway {
	a := finding.LagAway{Cluster: c.Name, Since: -1}
	if !c.Asked.IsZero() {
		a.Since = now.Sub(c.Asked)
	}
	return a
}

func clusterJSON(c *exporters.LagCluster) LagCluster {
	return LagCluster{
		Name: c.Name, Brokers: some(c.Brokers), Asked: knownTime(c.Asked), Error: c.Error, FailedSince: knownTime(c.FailedSince), Groups: len(c.Groups),
		LeftOutGroups: c.LeftOut.Groups, LeftOutPartitions: c.LeftOut.Partitions,
	}
}

func knownTime(t time.Time) *Nanos {
	if t.IsZero() {
		return nil
	}
	return known(t.UnixNano())
}

func forecast(d time.Duration) LagForecast {
	switch d {
	case exporters.LagUnknown:
		return LagForecast{When: "unknown"}
	case exporters.LagNever:
		return LagForecast{When: "never"}
	}
	return LagForecast{When: "in", Ns: int64(d)}
}

func knownDuration(d time.Duration) *int64 {
	if d == exporters.LagUnknown {
		return nil
	}
	ns := int64(d)
	return &ns
}

func (l *lagLine) json() LagLine {
	out := LagLine{
		Cluster: l.Cluster, Group: l.Group, Topic: l.Topic, State: string(l.State), Reason: l.Reason, KafkaState: l.group.KafkaState, Asked: nanos(l.group.Asked.UnixNano()), Error: l.group.Error,
		Partitions: l.Partitions, Lagging: l.Lagging, InState: l.InState, Lag: l.Lag, Lost: l.Lost, BehindNs: knownDuration(l.Behind), Written: finite(l.Written), Read: finite(l.Read),
		Drained: forecast(l.Drained), Deleted: forecast(l.Deleted), Spare: forecast(l.Spare), Retention: forecast(l.topic.Retention), Behind: []*float64{},
	}
	if m := l.group.Members; m != schemas.Unknown {
		out.Members = &m
	}
	return out
}

// behindOverTime fills the lines' time behind over time, and says why it cannot.
func (h *Handler) behindOverTime(ctx context.Context, project uint64, lines []LagLine, r exporters.Range, step time.Duration) string {
	series, err := h.deps.Metrics.MetricSeries(ctx, exporters.MetricQuery{
		Project: project, Name: exporters.MetricLagTimeMax, Range: r, Step: step,
		By: []exporters.MetricLabel{exporters.LabelService, exporters.LabelGroup, exporters.LabelTopic},
	})
	if err != nil {
		return h.noHistory(err)
	}
	type key struct{ service, group, topic string }
	at := make(map[key]*exporters.MetricSeries, len(series))
	for i := range series {
		s := &series[i]
		at[key{s.Service, s.Group, s.Topic}] = s
	}
	for i := range lines {
		l := &lines[i]
		if s := at[key{exporters.LagServicePrefix + l.Cluster, l.Group, l.Topic}]; s != nil {
			l.Behind = slots(s.Steps, r, step)
		}
	}
	return ""
}

// noHistory is what is said when the store does not tell lag over time: the lag of
// now does not come from it, and is shown all the same.
func (h *Handler) noHistory(err error) string {
	if errors.Is(err, exporters.ErrTooLarge) {
		return "there are too many points in this time; ask for less"
	}
	h.log.Warn("web: lag over time is not told", "err", err)
	return asProblem(err).Detail
}

// slots puts steps in their places; nil where there is none. Of a step with
// several points it takes the largest.
func slots(steps []exporters.MetricStep, r exporters.Range, step time.Duration) []*float64 {
	out := make([]*float64, max(int(r.To.Sub(r.From)/step), 0)+1)
	for _, s := range steps {
		i := int(time.Duration(s.Time-r.From.UnixNano()) / step)
		if i < 0 || i >= len(out) {
			continue
		}
		v := s.Max
		if math.IsNaN(v) {
			v = s.Sum
		}
		out[i] = finite(v)
	}
	return out
}

// lagGroup answers /lag/{group}.
func (h *Handler) lagGroup(ctx context.Context, q *query) (any, error) {
	name, cluster, topic, partition := q.path("group"), q.text("cluster"), q.text("topic"), q.partition("partition")
	page := lagPage{skip: q.skip(), limit: q.limit(200), at: q.text("at")}
	if page.at != "" && page.skip > 0 {
		q.refuse("at", page.at, "one without skip: it chooses the page")
	}
	from, step := q.lagRange(lagDetailSlots)
	if q.fault == nil && partition != nil && topic == "" {
		q.refuse("partition", strconv.Itoa(int(*partition)), "one together with topic")
	}
	if q.fault != nil {
		return nil, q.fault
	}
	r, err := h.report(ctx)
	if err != nil {
		return nil, err
	}
	for i := range r.Clusters {
		c := &r.Clusters[i]
		if cluster != "" && c.Name != cluster {
			continue
		}
		for j := range c.Groups {
			if c.Groups[j].Group == name {
				if err := groupHas(&c.Groups[j], topic, partition); err != nil {
					return nil, err
				}
				return h.lagDetail(ctx, q, r, c, name, topic, partition, page, from, step), nil
			}
		}
	}
	if len(r.Clusters) == 0 {
		return nil, errorf(http.StatusNotFound, "no_cluster", lagHint, "no Kafka cluster is watched")
	}
	return nil, errorf(http.StatusNotFound, "no_group", "/api/v1/lag lists the groups; one without a committed offset is not watched", "there is no group %q", clip(name, 100))
}

// groupHas refuses a topic and a partition that a group does not read.
func groupHas(g *exporters.LagGroup, topic string, partition *int32) error {
	if topic == "" {
		return nil
	}
	i := slices.IndexFunc(g.Topics, func(t exporters.LagTopic) bool { return t.Topic == topic })
	if i < 0 {
		return errorf(http.StatusNotFound, "no_topic", "/api/v1/lag/{group} without topic lists them", "group %q has committed nothing of topic %q", clip(g.Group, 100), clip(topic, 100))
	}
	if partition == nil || slices.ContainsFunc(g.Topics[i].Partitions, func(p exporters.LagPartition) bool { return p.Partition == *partition }) {
		return nil
	}
	return errorf(http.StatusNotFound, "no_partition", "/api/v1/lag/{group} with topic alone lists them", "topic %q has no partition %d that group %q reads", clip(topic, 100), *partition, clip(g.Group, 100))
}

// lagPage says which partitions of a group are wanted: so many from one on, or the
// page that has one of them, as orders/7.
type lagPage struct {
	skip, limit int
	at          string
}

// of gives the page's part of all.
func (p *lagPage) of(all []LagPartition) []LagPartition {
	if i := slices.IndexFunc(all, func(l LagPartition) bool { return l.Topic+"/"+strconv.Itoa(int(l.Partition)) == p.at }); i >= 0 {
		p.skip = i / p.limit * p.limit
	}
	p.skip = min(p.skip, len(all))
	return all[p.skip:min(p.skip+p.limit, len(all))]
}

func (h *Handler) lagDetail(ctx context.Context, q *query, r exporters.LagReport, c *exporters.LagCluster, name, topic string, partition *int32, page lagPage, from time.Time, step time.Duration) LagDetail {
	out := LagDetail{
		Now: nanos(q.now.UnixNano()), WindowNs: int64(r.Window), Cluster: clusterJSON(c), Group: name, Lines: []LagLine{}, Partitions: []LagPartition{}, Series: []LagSeries{},
		From: nanos(from.UnixNano()), To: nanos(q.now.UnixNano()), StepNs: int64(step),
	}
	facts := finding.Lag{Clusters: 1, Groups: 1, Group: name}
	if c.Error != "" {
		facts.Away = append(facts.Away, away(c, q.now))
	}
	for _, l := range linesOf(c) {
		if l.Group != name || topic != "" && l.Topic != topic {
			continue
		}
		facts.Lines = append(facts.Lines, l.LagLine)
		out.Lines = append(out.Lines, l.json())
		for i := range l.topic.Partitions {
			p := &l.topic.Partitions[i]
			if partition != nil && p.Partition != *partition {
				continue
			}
			out.Partitions = append(out.Partitions, LagPartition{
				Topic: l.Topic, Partition: p.Partition, State: string(p.State), Reason: p.Reason, Owner: p.Owner, OwnerHost: p.OwnerHost,
				Uncommitted: p.Uncommitted, Committed: p.Committed, CommittedBefore: p.CommittedBefore, LogStart: p.LogStart, LogEnd: p.LogEnd, Lag: p.Lag, Lost: p.Lost, BehindNs: knownDuration(p.Behind),
				Written: finite(p.Written), Read: finite(p.Read), Drained: forecast(p.Drained), Deleted: forecast(p.Deleted), Spare: forecast(p.Spare),
			})
		}
	}
	out.Total = len(out.Partitions)
	out.Partitions = page.of(out.Partitions)
	out.Skip = page.skip
	out.Finding = finding.ForLag(facts)
	out.Series, out.HistoryError = h.lagSeries(ctx, r.Project, c.Name, name, topic, partition, exporters.Range{From: from, To: q.now}, step)
	return out
}

// lagSeries reads lag over time, of each topic or of one partition.
func (h *Handler) lagSeries(ctx context.Context, project uint64, cluster, group, topic string, partition *int32, r exporters.Range, step time.Duration) ([]LagSeries, string) {
	mq := exporters.MetricQuery{
		Project: project, Range: r, Step: step, Service: exporters.LagServicePrefix + cluster, Group: group, Topic: topic, Partition: partition,
		By: []exporters.MetricLabel{exporters.LabelTopic},
	}
	records, seconds := exporters.MetricLagSum, exporters.MetricLagTimeMax
	if partition != nil {
		records, seconds = exporters.MetricLag, exporters.MetricLagTime
	}
	out := []LagSeries{}
	byTopic := map[string]int{}
	for _, name := range []string{records, seconds} {
		mq.Name = name
		series, err := h.deps.Metrics.MetricSeries(ctx, mq)
		if err != nil {
			return []LagSeries{}, h.noHistory(err)
		}
		for i := range series {
			s := &series[i]
			at, ok := byTopic[s.Topic]
			if !ok {
				at = len(out)
				byTopic[s.Topic] = at
				out = append(out, LagSeries{Topic: s.Topic, Partition: partition, Records: []*float64{}, Seconds: []*float64{}})
			}
			if name == records {
				out[at].Records = slots(s.Steps, r, step)
			} else {
				out[at].Seconds = slots(s.Steps, r, step)
			}
		}
	}
	if partition != nil && len(out) > 0 {
		// A partition that keeps up is told once and then not any more: where its
		// topic has points, nothing is behind.
		mq.Partition, mq.Name = nil, exporters.MetricLagSum
		watched, err := h.deps.Metrics.MetricSeries(ctx, mq)
		if err != nil {
			return []LagSeries{}, h.noHistory(err)
		}
		for i := range watched {
			if at, ok := byTopic[watched[i].Topic]; ok {
				known := slots(watched[i].Steps, r, step)
				out[at].Records, out[at].Seconds = caughtUp(out[at].Records, known), caughtUp(out[at].Seconds, known)
			}
		}
	}
	slices.SortFunc(out, func(a, b LagSeries) int { return strings.Compare(a.Topic, b.Topic) })
	return out, ""
}

// caughtUp puts zero where nothing is told, though something was seen.
func caughtUp(values, seen []*float64) []*float64 {
	for i := range values {
		if values[i] == nil && i < len(seen) && seen[i] != nil {
			values[i] = new(float64)
		}
	}
	return values
}
