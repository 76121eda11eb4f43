package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

const (
	// topologyLookBack is how long a flow that stands still is shown: a group that
	// stopped yesterday is what one looks for.
	topologyLookBack = 24 * time.Hour
	// maxTopologySteps bounds the steps of a range.
	maxTopologySteps = 60
)

// Kinds of nodes and edges.
const (
	nodeService = "service"
	nodeTopic   = "topic"
	nodeGroup   = "group"

	edgeWrite   = "write"   // service → topic
	edgeRead    = "read"    // topic → group
	edgeProcess = "process" // group → service
)

// Topology is the graph of services, topics and groups.
type Topology struct {
	Finding finding.Finding `json:"finding"`
	From    Nanos           `json:"from"` // of what the rates are over: from the range's begin or the first message seen
	To      Nanos           `json:"to"`
	Nodes   []TopologyNode  `json:"nodes"`
	Edges   []TopologyEdge  `json:"edges"`
	Total   TopologyTotal   `json:"total"`
	// CutNodes are not in the answer, because they would be more than limit.
	CutNodes int `json:"cutNodes"`
}

// TopologyTotal counts what there is, cut or not.
type TopologyTotal struct {
	Services int    `json:"services"`
	Topics   int    `json:"topics"`
	Groups   int    `json:"groups"`
	Written  uint64 `json:"written"`
	Read     uint64 `json:"read"`
	Failed   uint64 `json:"failed"`
}

// TopologyNode is a service, a topic or a group.
type TopologyNode struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Name     string `json:"name"` // empty: the readers told no group
	Written  uint64 `json:"written"`
	Read     uint64 `json:"read"`
	Failed   uint64 `json:"failed"`
	LastSeen *Nanos `json:"lastSeen"`
}

// TopologyEdge leads the way that records go.
type TopologyEdge struct {
	ID        string  `json:"id"`
	Kind      string  `json:"kind"`
	From      string  `json:"from"` // id of a node
	To        string  `json:"to"`
	Messages  uint64  `json:"messages"`
	Failed    uint64  `json:"failed"`
	PerSecond float64 `json:"perSecond"`
	LastSeen  *Nanos  `json:"lastSeen"`
	// Latency is, of a write, request written → answered; of a read, the record's
	// time → handed out by the broker; of processing, handed over → done. Null
	// when nobody measured it.
	Latency *TopologyLatency `json:"latency"`
	// LagNs is, of a read, by how much the newest record read is older than the
	// newest one written, or of a range that ends now the age of the oldest unread
	// record that the lag desk knows, the larger. Null when none of them is known.
	LagNs *int64 `json:"lagNs"`
}

// TopologyLatency are percentiles, each known to 9 %.
type TopologyLatency struct {
	Count    uint64 `json:"count"`
	P50Ns    int64  `json:"p50Ns"`
	P95Ns    int64  `json:"p95Ns"`
	P99Ns    int64  `json:"p99Ns"`
	Negative uint64 `json:"negative"`
	// Bars are the distribution, with the parameter bars; each a doubling.
	Bars []LatencyBar `json:"bars,omitempty"`
}

// LatencyBar counts latencies of a size.
type LatencyBar struct {
	FromNs int64  `json:"fromNs"`
	ToNs   int64  `json:"toNs"`
	Count  uint64 `json:"count"`
}

// TopologySteps is what passed in each stretch of a range.
type TopologySteps struct {
	From   Nanos          `json:"from"`
	To     Nanos          `json:"to"`
	StepNs int64          `json:"stepNs"`
	Steps  []TopologyStep `json:"steps"`
}

// TopologyStep is one stretch.
type TopologyStep struct {
	Start   Nanos            `json:"start"`
	Written uint64           `json:"written"`
	Read    uint64           `json:"read"`
	Failed  uint64           `json:"failed"`
	Wait    *TopologyLatency `json:"wait"`
}

func (h *Handler) topologyRoutes() {
	h.handle("/api/v1/topology", []string{"from", "to", "service", "topic", "group", "bars", "limit", "rows"}, h.topology)
	h.handle("/api/v1/topology/steps", []string{"from", "to", "service", "topic", "group"}, h.topologySteps)
}

func (h *Handler) hasTopology() error {
	if h.deps.Topology == nil {
		return noSums("no_topology")
	}
	return nil
}

// topologyRange is the range with whole slots, ended by now.
func (q *query) topologyRange() exporters.Range {
	r := q.timeRange()
	if r.To.IsZero() || r.To.After(q.now) {
		r.To = q.now
	}
	if !r.From.IsZero() {
		r.From = r.From.Truncate(exporters.TopologySlot)
		if !r.From.Before(r.To) { // a range that lies ahead has nothing in it
			r.From = r.To.Add(-1).Truncate(exporters.TopologySlot)
		}
	}
	return r
}

func tooMuch(err error) error {
	if errors.Is(err, exporters.ErrTooLarge) {
		return errorf(http.StatusBadRequest, "too_much", "ask for a shorter time", "so many services, topics and groups cannot be summed up over this time")
	}
	return err
}

// topologyRows are what the rows of the topology's table can be.
var topologyRows = []string{"edges", "nodes"}

func (t Topology) table(q *query) tableRows {
	if q.oneOf("rows", topologyRows...) == "nodes" {
		return tableRows{rows: t.Nodes, more: t.CutNodes > 0}
	}
	return tableRows{rows: t.Edges, more: t.CutNodes > 0}
}

// topology answers /topology.
func (h *Handler) topology(ctx context.Context, q *query) (any, error) {
	if err := h.hasTopology(); err != nil {
		return nil, err
	}
	r, limit, bars := q.topologyRange(), q.limit(most), q.bool("bars")
	q.oneOf("rows", topologyRows...)
	f := flowFilter{service: q.text("service"), topic: q.text("topic"), group: q.text("group")}
	if q.fault != nil {
		return nil, q.fault
	}
	flows, err := h.deps.Topology.Topology(ctx, exporters.TopologyQuery{Project: q.project.ID, Range: r, LookBack: topologyLookBack})
	if err != nil {
		return nil, fmt.Errorf("cannot read the topology: %w", tooMuch(err))
	}
	from := r.From.UnixNano()
	if first := firstSeen(flows, r.To.UnixNano()); r.From.IsZero() || first > from {
		from = first
	}
	g := newTopologyGraph(newestWritten(flows), time.Duration(r.To.UnixNano()-from))
	if r.To.Equal(q.now) { // the watcher knows of now alone
		report, err := h.report(ctx)
		if err != nil {
			return nil, err
		}
		g.watched = watchedLag(&report)
		g.ours = f == (flowFilter{}) && report.Project == q.project.ID
	}
	flows = f.through(flows)
	g.fill(flows)
	out := g.answer()
	g.keep(&out, flows, limit)
	if bars {
		g.addBars(&out)
	}
	out.From, out.To = nanos(from), nanos(r.To.UnixNano())
	out.Finding = finding.ForTopology(g.facts(&out, q)) // what is said is of all
	g.trim(&out)
	return out, nil
}

// reading is what one group does with one topic.
type reading struct{ topic, group string }

// watchedLag is what the lag watcher knows of readings, the worst of all clusters:
// of records, too, whose writers tell nothing.
func watchedLag(report *exporters.LagReport) map[reading]finding.LagLine {
	out := map[reading]finding.LagLine{}
	for i := range report.Clusters {
		c := &report.Clusters[i]
		if c.Error != "" {
			continue // what it told last is of another time
		}
		for _, l := range linesOf(c) {
			at := reading{l.Topic, l.Group}
			if had, ok := out[at]; !ok || cmp.Or(cmp.Compare(l.State.Rank(), had.State.Rank()), cmp.Compare(l.Behind, had.Behind)) > 0 {
				out[at] = l.LagLine
			}
		}
	}
	return out
}

// firstSeen is the begin of the earliest flow of the range, in whole slots.
func firstSeen(flows []exporters.Flow, to int64) int64 {
	first := to - int64(exporters.TopologySlot)
	for i := range flows {
		if f := &flows[i]; f.Messages > 0 {
			first = min(first, f.FirstSeen)
		}
	}
	return first / int64(exporters.TopologySlot) * int64(exporters.TopologySlot)
}

// newestWritten is the time of the newest record of each topic whose writer was seen.
func newestWritten(flows []exporters.Flow) map[string]int64 {
	newest := make(map[string]int64)
	for i := range flows {
		if f := &flows[i]; !f.Reads && f.NewestRecord != 0 {
			newest[f.Topic] = max(newest[f.Topic], f.NewestRecord)
		}
	}
	// A record that was read has been written, whatever its writer told.
	for i := range flows {
		if f := &flows[i]; f.Reads && newest[f.Topic] != 0 {
			newest[f.Topic] = max(newest[f.Topic], f.NewestRecord)
		}
	}
	return newest
}

// flowFilter keeps what lies on a way through all that it names.
type flowFilter struct{ service, topic, group string }

func (f flowFilter) through(flows []exporters.Flow) []exporters.Flow {
	if f == (flowFilter{}) {
		return flows
	}
	// The topics that the group reads, and those that the service reads and writes.
	groupReads, reads, writes := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range flows {
		w := &flows[i]
		if w.Reads && w.Group == f.group {
			groupReads[w.Topic] = true
		}
		if w.Service == f.service {
			if w.Reads {
				reads[w.Topic] = true
			} else {
				writes[w.Topic] = true
			}
		}
	}
	var out []exporters.Flow
	for _, w := range flows {
		if f.topic != "" && w.Topic != f.topic {
			continue
		}
		if f.group != "" && (w.Reads && w.Group != f.group || !groupReads[w.Topic]) {
			continue
		}
		// Beside its own: who wrote what it reads, and who reads what it writes.
		if f.service != "" && w.Service != f.service && (w.Reads || !reads[w.Topic]) && (!w.Reads || !writes[w.Topic]) {
			continue
		}
		out = append(out, w)
	}
	return out
}

type topologyEdge struct {
	TopologyEdge
	latencies exporters.Latencies
	newest    int64
	topic     string
	lastSeen  int64
}

type topologyNode struct {
	TopologyNode
	lastSeen int64
}

// topologyGraph puts flows together: what several services do with one topic and
// group is one edge between the two.
type topologyGraph struct {
	newest  map[string]int64
	watched map[reading]finding.LagLine
	ours    bool // what is watched is of this project, and all of it is asked for
	span    time.Duration
	nodes   map[string]*topologyNode
	edges   map[string]*topologyEdge
	kept    map[string]bool // nodes that are shown, by id; see keep
	total   TopologyTotal
}

func newTopologyGraph(newest map[string]int64, span time.Duration) *topologyGraph {
	return &topologyGraph{newest: newest, span: max(span, time.Second), nodes: map[string]*topologyNode{}, edges: map[string]*topologyEdge{}, kept: map[string]bool{}}
}

func nodeID(kind, name string) string { return kind[:1] + ":" + name }

// way are the nodes that a flow joins, in the direction of the records.
func way(f *exporters.Flow) []string {
	if f.Reads {
		return []string{nodeID(nodeTopic, f.Topic), nodeID(nodeGroup, f.Group), nodeID(nodeService, f.Service)}
	}
	return []string{nodeID(nodeService, f.Service), nodeID(nodeTopic, f.Topic)}
}

// fill takes flows, the busiest first.
func (g *topologyGraph) fill(flows []exporters.Flow) {
	for i := range flows {
		f := &flows[i]
		if f.Reads {
			g.total.Read += f.Messages
			g.total.Failed += f.Failed
		} else {
			g.total.Written += f.Messages
		}
		g.add(f)
	}
	for id := range g.nodes {
		switch id[0] {
		case 's':
			g.total.Services++
		case 't':
			g.total.Topics++
		default:
			g.total.Groups++
		}
	}
}

// namedEdges is how many edges stand out by each of what the finding and the page
// name: that most are behind, wait and fail.
const namedEdges = 6

// keep chooses at most limit nodes: those that stand out, which may be half, and those
// of the busiest flows. What is shown is then shown with both its ends.
func (g *topologyGraph) keep(t *Topology, flows []exporters.Flow, limit int) {
	take := func(most int, ids ...string) {
		fresh := 0
		for _, id := range ids {
			if !g.kept[id] {
				fresh++
			}
		}
		if len(g.kept)+fresh > most {
			return
		}
		for _, id := range ids {
			g.kept[id] = true
		}
	}
	if len(g.nodes) > limit {
		worst := worstEdges(t.Edges)
		for i := range namedEdges {
			for _, by := range worst {
				if i < len(by) {
					take(limit/2, by[i].From, by[i].To)
				}
			}
		}
	}
	for i := range flows {
		take(limit, way(&flows[i])...)
	}
	t.CutNodes = g.cut()
}

// worstEdges are those furthest behind, of the longest wait and of the largest share
// of failures, as the page lists them.
func worstEdges(edges []TopologyEdge) [3][]TopologyEdge {
	most := func(size func(e *TopologyEdge) float64) []TopologyEdge {
		found := slices.DeleteFunc(slices.Clone(edges), func(e TopologyEdge) bool { return size(&e) <= 0 })
		slices.SortStableFunc(found, func(a, b TopologyEdge) int { return cmp.Compare(size(&b), size(&a)) })
		return found[:min(len(found), namedEdges)]
	}
	return [...][]TopologyEdge{
		most(func(e *TopologyEdge) float64 {
			if e.Kind != edgeRead || e.LagNs == nil {
				return 0
			}
			return float64(*e.LagNs)
		}),
		most(func(e *TopologyEdge) float64 {
			if e.Kind != edgeRead || e.Latency == nil {
				return 0
			}
			return float64(e.Latency.P99Ns)
		}),
		most(func(e *TopologyEdge) float64 {
			if e.Kind == edgeProcess || e.Messages == 0 {
				return 0
			}
			return float64(e.Failed) / float64(e.Messages)
		}),
	}
}

// addBars tells the distribution of each edge that is shown.
func (g *topologyGraph) addBars(t *Topology) {
	for i := range t.Edges {
		if e := &t.Edges[i]; g.shows(e) && e.Latency != nil {
			e.Latency = latencyJSON(g.edges[e.ID].latencies, true)
		}
	}
}

// cut is how many nodes are left out.
func (g *topologyGraph) cut() int { return len(g.nodes) - len(g.kept) }

// shows tells that both ends of an edge are kept.
func (g *topologyGraph) shows(e *TopologyEdge) bool { return g.kept[e.From] && g.kept[e.To] }

// trim leaves out what is not shown.
func (g *topologyGraph) trim(t *Topology) {
	t.Nodes = slices.DeleteFunc(t.Nodes, func(n TopologyNode) bool { return !g.kept[n.ID] })
	t.Edges = slices.DeleteFunc(t.Edges, func(e TopologyEdge) bool { return !g.shows(&e) })
}

func (g *topologyGraph) add(f *exporters.Flow) {
	service, topic := g.node(nodeService, f.Service, f), g.node(nodeTopic, f.Topic, f)
	if !f.Reads {
		service.Written += f.Messages
		topic.Written += f.Messages
		topic.Failed += f.Failed
		service.Failed += f.Failed
		g.edge(edgeWrite, service, topic, f, f.Wait)
		return
	}
	group := g.node(nodeGroup, f.Group, f)
	for _, n := range []*topologyNode{service, topic, group} {
		n.Read += f.Messages
		n.Failed += f.Failed
	}
	g.edge(edgeRead, topic, group, f, f.Wait)
	g.edge(edgeProcess, group, service, f, f.Work)
}

func (g *topologyGraph) node(kind, name string, f *exporters.Flow) *topologyNode {
	id := nodeID(kind, name)
	n := g.nodes[id]
	if n == nil {
		n = &topologyNode{TopologyNode: TopologyNode{ID: id, Kind: kind, Name: name}}
		g.nodes[id] = n
	}
	n.lastSeen = max(n.lastSeen, f.LastSeen)
	return n
}

func (g *topologyGraph) edge(kind string, from, to *topologyNode, f *exporters.Flow, latencies exporters.Latencies) {
	id := from.ID + ">" + to.ID
	e := g.edges[id]
	if e == nil {
		e = &topologyEdge{TopologyEdge: TopologyEdge{ID: id, Kind: kind, From: from.ID, To: to.ID}, topic: f.Topic}
		g.edges[id] = e
	}
	e.Messages += f.Messages
	e.Failed += f.Failed
	e.lastSeen = max(e.lastSeen, f.LastSeen)
	e.newest = max(e.newest, f.NewestRecord)
	e.latencies = e.latencies.Add(latencies)
}

func latencyJSON(l exporters.Latencies, bars bool) *TopologyLatency {
	q := l.Quantiles()
	if q.Count == 0 {
		return nil
	}
	out := &TopologyLatency{Count: q.Count, P50Ns: int64(q.P50), P95Ns: int64(q.P95), P99Ns: int64(q.P99), Negative: q.Negative}
	if bars {
		out.Bars = []LatencyBar{}
		for _, b := range l.Doublings() {
			out.Bars = append(out.Bars, LatencyBar{FromNs: int64(b.From), ToNs: int64(b.To), Count: b.Count})
		}
	}
	return out
}

func (g *topologyGraph) answer() Topology {
	out := Topology{Nodes: make([]TopologyNode, 0, len(g.nodes)), Edges: make([]TopologyEdge, 0, len(g.edges)), Total: g.total}
	for _, n := range g.nodes {
		n.LastSeen = known(n.lastSeen)
		out.Nodes = append(out.Nodes, n.TopologyNode)
	}
	for _, e := range g.edges {
		e.LastSeen = known(e.lastSeen)
		e.PerSecond = float64(e.Messages) / g.span.Seconds()
		e.Latency = latencyJSON(e.latencies, false)
		if newest := g.newest[e.topic]; e.Kind == edgeRead && newest != 0 && e.newest != 0 {
			lag := newest - e.newest
			e.LagNs = &lag
		}
		if w, ok := g.watchedBy(&e.TopologyEdge); ok && w.Behind >= 0 && (e.LagNs == nil || int64(w.Behind) > *e.LagNs) {
			lag := int64(w.Behind)
			e.LagNs = &lag
		}
		out.Edges = append(out.Edges, e.TopologyEdge)
	}
	slices.SortFunc(out.Nodes, func(a, b TopologyNode) int {
		return cmp.Or(cmp.Compare(b.Read+b.Written, a.Read+a.Written), strings.Compare(a.ID, b.ID))
	})
	slices.SortFunc(out.Edges, func(a, b TopologyEdge) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.ID, b.ID))
	})
	return out
}

// watchedBy is what the watcher knows of a read.
func (g *topologyGraph) watchedBy(e *TopologyEdge) (finding.LagLine, bool) {
	if e.Kind != edgeRead {
		return finding.LagLine{}, false
	}
	w, ok := g.watched[reading{e.From[2:], e.To[2:]}]
	return w, ok
}

// facts are what the finding is computed from.
func (g *topologyGraph) facts(t *Topology, q *query) finding.Topology {
	out := finding.Topology{
		Services: g.total.Services, Topics: g.total.Topics, Groups: g.total.Groups, CutNodes: g.cut(),
		Filtered: q.text("service") != "" || q.text("topic") != "" || q.text("group") != "", From: q.text("from"), To: q.text("to"),
	}
	read := map[string]bool{}
	for i := range t.Edges {
		if e := &t.Edges[i]; e.Kind == edgeRead {
			read[e.From] = true
			r := finding.Reading{Edge: e.ID, Topic: e.From[2:], Group: e.To[2:], Messages: e.Messages, Failed: e.Failed}
			if e.Latency != nil {
				r.Wait = time.Duration(e.Latency.P99Ns)
			}
			if e.LagNs != nil {
				r.Lag = time.Duration(*e.LagNs)
			}
			if w, ok := g.watchedBy(e); ok {
				r.Stands = standsStill(w.State)
			}
			out.Readings = append(out.Readings, r)
		}
	}
	for i := range t.Nodes {
		if n := &t.Nodes[i]; n.Kind == nodeTopic && n.Written > 0 && !read[n.ID] {
			out.Unread = append(out.Unread, n.Name)
		}
	}
	if g.ours {
		out.Readings = append(out.Readings, g.unseen()...)
	}
	return out
}

func standsStill(s exporters.LagState) bool {
	return s == exporters.LagStall || s == exporters.LagStop
}

// unseen are the readings that the watcher knows and no message tells of: that no group
// is behind may be said only when none of these is.
func (g *topologyGraph) unseen() (out []finding.Reading) {
	for at, w := range g.watched {
		if g.edges[nodeID(nodeTopic, at.topic)+">"+nodeID(nodeGroup, at.group)] == nil && w.Lag > 0 {
			out = append(out, finding.Reading{Topic: at.topic, Group: at.group, Lag: max(w.Behind, 0), Stands: standsStill(w.State), Unseen: finding.LagHref(w.Cluster, w.Group)})
		}
	}
	slices.SortFunc(out, func(a, b finding.Reading) int {
		return cmp.Or(cmp.Compare(b.Lag, a.Lag), strings.Compare(a.Group, b.Group), strings.Compare(a.Topic, b.Topic))
	})
	return out
}

// topologySteps answers /topology/steps.
func (h *Handler) topologySteps(ctx context.Context, q *query) (any, error) {
	if err := h.hasTopology(); err != nil {
		return nil, err
	}
	r := q.topologyRange()
	if q.fault != nil {
		return nil, q.fault
	}
	ask := exporters.TopologyQuery{Project: q.project.ID, Range: r, Service: q.text("service"), Topic: q.text("topic"), Group: q.text("group"), Step: 24 * time.Hour}
	if r.From.IsZero() {
		// All time begins with the first day that has something.
		days, err := h.deps.Topology.TopologySteps(ctx, ask)
		if err != nil {
			return nil, fmt.Errorf("cannot find the first message: %w", tooMuch(err))
		}
		r.From = r.To.Add(-time.Hour).Truncate(exporters.TopologySlot)
		if len(days) > 0 {
			r.From = time.Unix(0, days[0].Start)
		}
		ask.Range = r
	}
	ask.Step = stepOf(r.To.Sub(r.From))
	steps, err := h.deps.Topology.TopologySteps(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("cannot read the topology in steps: %w", tooMuch(err))
	}
	out := TopologySteps{From: nanos(r.From.UnixNano()), To: nanos(r.To.UnixNano()), StepNs: int64(ask.Step), Steps: make([]TopologyStep, len(steps))}
	for i, s := range steps {
		out.Steps[i] = TopologyStep{Start: nanos(s.Start), Written: s.Written, Read: s.Read, Failed: s.Failed, Wait: latencyJSON(s.Wait, false)}
	}
	return out, nil
}

// stepOf divides a time into at most maxTopologySteps round stretches.
func stepOf(d time.Duration) time.Duration {
	for _, minutes := range []int{5, 10, 15, 30, 60, 2 * 60, 3 * 60, 6 * 60, 12 * 60, 24 * 60} {
		if step := time.Duration(minutes) * time.Minute; d.Minutes() <= float64(maxTopologySteps*minutes) {
			return step
		}
	}
	days := int(d.Hours()/24/maxTopologySteps) + 1
	return time.Duration(days) * 24 * time.Hour
}
