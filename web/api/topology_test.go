package api

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func topologyHandler(t *testing.T, store *fakestore.Store) *Handler {
	t.Helper()
	h := newHandler(t, store)
	h.deps.Topology = store
	return h
}

var topologyShop = []schemas.Project{{ID: 1, Slug: "shop"}}

// pass is one record of a topic, written before testNow and read after a wait.
func pass(topic, writer, group, reader string, before, wait time.Duration) []schemas.Message {
	at := testNow.Add(-before).UnixNano()
	return []schemas.Message{
		{Project: 1, Side: schemas.SideProduce, Topic: topic, Service: writer, RecordTime: at, Start: at, Written: at, Acked: at + 2e6, End: at + 2e6},
		{Project: 1, Side: schemas.SideProcess, Topic: topic, Group: group, Service: reader, RecordTime: at, Answered: at + int64(wait), Handed: at + int64(wait), Start: at + int64(wait), End: at + int64(wait) + 5e6},
	}
}

func ids[T any](all []T, id func(T) string) []string {
	out := []string{}
	for _, v := range all {
		out = append(out, id(v))
	}
	slices.Sort(out)
	return out
}

func edgeIDs(g Topology) []string { return ids(g.Edges, func(e TopologyEdge) string { return e.ID }) }

func edgeOf(t *testing.T, g Topology, id string) TopologyEdge {
	t.Helper()
	for _, e := range g.Edges {
		if e.ID == id {
			return e
		}
	}
	t.Fatalf("there is no edge %s: %v", id, edgeIDs(g))
	return TopologyEdge{}
}

func shopStore() *fakestore.Store {
	s := &fakestore.Store{AllProjects: topologyShop}
	for i := range 10 {
		before := time.Hour - time.Duration(i)*time.Minute
		s.AllMessages = append(s.AllMessages, pass("orders", "checkout", "payments", "payments", before, 10*time.Millisecond)...)
		s.AllMessages = append(s.AllMessages, pass("orders", "checkout", "audit", "audit", before, 30*time.Minute)[1])
		s.AllMessages = append(s.AllMessages, pass("charges", "payments", "mail", "mailer", before, time.Second)...)
	}
	s.AllMessages[1].Failed = true
	return s
}

func TestTopologyLeadsFromServicesByTopicsAndGroupsToServices(t *testing.T) {
	g := get[Topology](t, topologyHandler(t, shopStore()), "/topology?from=-2h&bars=true", http.StatusOK)
	want := []string{
		"g:audit>s:audit", "g:mail>s:mailer", "g:payments>s:payments",
		"s:checkout>t:orders", "s:payments>t:charges", "t:charges>g:mail", "t:orders>g:audit", "t:orders>g:payments",
	}
	if got := edgeIDs(g); !slices.Equal(got, want) {
		t.Fatalf("edges %v, want %v", got, want)
	}
	if g.Total != (TopologyTotal{Services: 4, Topics: 2, Groups: 3, Written: 20, Read: 30, Failed: 1}) || g.CutNodes != 0 || len(g.Nodes) != 9 {
		t.Errorf("total %+v, %d cut, %d nodes", g.Total, g.CutNodes, len(g.Nodes))
	}
	read := edgeOf(t, g, "t:orders>g:payments")
	if read.Messages != 10 || read.Failed != 1 || read.Latency == nil || read.Latency.Count != 10 || read.LagNs == nil || *read.LagNs != 0 {
		t.Errorf("read edge %+v", read)
	}
	if d := time.Duration(read.Latency.P99Ns); d < 9*time.Millisecond || d > 11*time.Millisecond {
		t.Errorf("p99 %v, want 10 ms within 9 %%", d)
	}
	if n := uint64(0); true {
		for _, b := range read.Latency.Bars {
			n += b.Count
		}
		if n != 10 {
			t.Errorf("the bars hold %d, want 10", n)
		}
	}
	if d := time.Duration(edgeOf(t, g, "t:orders>g:audit").Latency.P50Ns); d < 27*time.Minute || d > 33*time.Minute {
		t.Errorf("p50 of audit %v, want 30 m", d)
	}
	if e := edgeOf(t, g, "s:checkout>t:orders"); time.Duration(e.Latency.P50Ns) > 3*time.Millisecond || e.LagNs != nil || e.Kind != "write" {
		t.Errorf("write edge %+v", e)
	}
	// The first message came an hour before now, so the rate is over an hour and not over two.
	if per := read.PerSecond * time.Hour.Seconds(); per < 9 || per > 10.1 {
		t.Errorf("%g an hour, want 10", per)
	}
}

func TestTopologyIsFilteredByWhatLiesOnTheWay(t *testing.T) {
	h := topologyHandler(t, shopStore())
	f := func(query string, want ...string) {
		t.Helper()
		if got := edgeIDs(get[Topology](t, h, "/topology?from=-2h&"+query, http.StatusOK)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	f("topic=charges", "g:mail>s:mailer", "s:payments>t:charges", "t:charges>g:mail")
	f("group=audit", "g:audit>s:audit", "s:checkout>t:orders", "t:orders>g:audit")
	f("service=mailer", "g:mail>s:mailer", "s:payments>t:charges", "t:charges>g:mail")
	f("service=payments", "g:mail>s:mailer", "g:payments>s:payments", "s:checkout>t:orders", "s:payments>t:charges", "t:charges>g:mail", "t:orders>g:payments")
	f("service=payments&topic=orders", "g:payments>s:payments", "s:checkout>t:orders", "t:orders>g:payments")
	f("topic=nothing")
}

func TestTopologyShowsAGroupThatStopped(t *testing.T) {
	s := shopStore()
	// The archive read until five hours ago, and nothing since.
	s.AllMessages = append(s.AllMessages, pass("orders", "checkout", "archive", "archive", 5*time.Hour, time.Millisecond)...)
	g := get[Topology](t, topologyHandler(t, s), "/topology?from=-2h", http.StatusOK)
	e := edgeOf(t, g, "t:orders>g:archive")
	if e.Messages != 0 || e.LagNs == nil || time.Duration(*e.LagNs) < 4*time.Hour {
		t.Errorf("edge %+v, want no messages and a lag of 4 h and more", e)
	}
	if g.Finding.Rule != "stopped" || !strings.Contains(g.Finding.String(), "Group archive has read nothing of orders and is 4h9m") {
		t.Errorf("finding %s: %s", g.Finding.Rule, g.Finding)
	}
}

// Records of writers that tell nothing are known to the lag watcher alone.
func TestTopologyTellsTheLagThatIsWatched(t *testing.T) {
	h := topologyHandler(t, shopStore())
	h.deps.Lag = fakeLag{lagReport()}
	g := get[Topology](t, h, "/topology?from=-2h", http.StatusOK)
	if e := edgeOf(t, g, "t:orders>g:audit"); e.LagNs == nil || time.Duration(*e.LagNs) != 3*time.Hour {
		t.Errorf("edge %+v, want a lag of 3 h", e)
	}
	if g.Finding.Rule != "stands" || g.Finding.Title == nil || !strings.Contains(g.Finding.String(), "Group audit stands still in orders, 3h0m0s behind") {
		t.Errorf("finding %s: %s", g.Finding.Rule, g.Finding)
	}
	// So is a group that sends no spans: that nobody is behind may not be said because of it.
	report := lagReport()
	report.Clusters[0].Groups = append(report.Clusters[0].Groups[1:], exporters.LagGroup{Group: "silent", Topics: []exporters.LagTopic{{
		Topic: "clicks", Partitions: []exporters.LagPartition{{State: exporters.LagStop, Lag: 7, Behind: 4 * time.Hour}},
	}}})
	h.deps.Lag = fakeLag{report}
	if g := get[Topology](t, h, "/topology?from=-2h", http.StatusOK); !strings.Contains(g.Finding.String(), "Group silent stands still in clicks, 4h0m0s behind") || len(edgeIDs(g)) != 8 {
		t.Errorf("of a silent group: %s, edges %v", g.Finding, edgeIDs(g))
	}
	for _, other := range []string{"&topic=orders", "&to=-10m"} {
		if g := get[Topology](t, h, "/topology?from=-2h"+other, http.StatusOK); strings.Contains(g.Finding.String(), "silent") {
			t.Errorf("%s tells of a group that it is not about: %s", other, g.Finding)
		}
	}
	report.Project = 2
	h.deps.Lag = fakeLag{report}
	if g := get[Topology](t, h, "/topology?from=-2h", http.StatusOK); strings.Contains(g.Finding.String(), "silent") {
		t.Errorf("a group of another project's watcher: %s", g.Finding)
	}
	h.deps.Lag = fakeLag{lagReport()}
	// What is watched is of now, and not of ten minutes ago.
	g = get[Topology](t, h, "/topology?from=-2h&to=-10m", http.StatusOK)
	if e := edgeOf(t, g, "t:orders>g:audit"); e.LagNs == nil || time.Duration(*e.LagNs) >= time.Hour || g.Finding.Rule == "stands" {
		t.Errorf("ten minutes ago: edge %+v, finding %s", e, g.Finding)
	}
}

func TestTopologyIsCutToTheBusiest(t *testing.T) {
	s := &fakestore.Store{AllProjects: topologyShop, AllFlows: fakestore.ManyFlows(900, testNow)}
	slices.SortFunc(s.AllFlows, func(a, b exporters.Flow) int { return int(b.Messages) - int(a.Messages) }) //nolint:gosec // small
	h := topologyHandler(t, s)
	f := func(query string, most int) {
		t.Helper()
		g := get[Topology](t, h, "/topology"+query, http.StatusOK)
		if len(g.Nodes) > most || len(g.Nodes) < most-3 || g.CutNodes != g.Total.Services+g.Total.Topics+g.Total.Groups-len(g.Nodes) || g.CutNodes < 100 {
			t.Errorf("%s: %d nodes and %d cut of %+v", query, len(g.Nodes), g.CutNodes, g.Total)
		}
		have := map[string]bool{}
		for _, n := range g.Nodes {
			have[n.ID] = true
		}
		for _, e := range g.Edges {
			if !have[e.From] || !have[e.To] {
				t.Errorf("%s: edge %s lacks an end", query, e.ID)
			}
		}
		if !strings.Contains(g.Finding.String(), fmt.Sprintf("%d of few messages are left out", g.CutNodes)) {
			t.Errorf("finding %s", g.Finding)
		}
	}
	f("", 500)
	f("?limit=40", 40)

	// What is left out is spoken of all the same: here, a quiet group that is far behind.
	late := s.AllFlows[len(s.AllFlows)-1]
	late.Topic, late.Group, late.Reads, late.Messages, late.NewestRecord = s.AllFlows[0].Topic, "late", true, 1, testNow.Add(-20*time.Hour).UnixNano()
	s.AllFlows = append(s.AllFlows, late)
	if cut := get[Topology](t, h, "/topology?limit=40", http.StatusOK); !slices.ContainsFunc(cut.Edges, func(e TopologyEdge) bool { return e.To == "g:late" }) || len(cut.Nodes) > 40 {
		t.Errorf("the group that the finding names is left out of %d nodes", len(cut.Nodes))
	}
	small, whole := get[Topology](t, h, "/topology?limit=3", http.StatusOK), get[Topology](t, h, "/topology?limit=500", http.StatusOK)
	if small.Finding.Rule != "behind" || small.Finding.Title[0].Text != whole.Finding.Title[0].Text || !strings.Contains(small.Finding.String(), "roup late is") {
		t.Errorf("of three nodes it says %q, of five hundred %q", small.Finding, whole.Finding)
	}
}

func TestTopologyStepsDivideTheRange(t *testing.T) {
	h := topologyHandler(t, shopStore())
	f := func(query string, step time.Duration, written uint64) {
		t.Helper()
		st := get[TopologySteps](t, h, "/topology/steps"+query, http.StatusOK)
		n := uint64(0)
		for _, s := range st.Steps {
			n += s.Written
		}
		if st.StepNs != int64(step) || n != written || len(st.Steps) > 61 {
			t.Errorf("%s: steps of %v with %d written, want %v with %d", query, time.Duration(st.StepNs), n, step, written)
		}
	}
	f("?from=-2h", 5*time.Minute, 20)
	f("?from=-24h", 30*time.Minute, 20)
	f("?from=-24h&topic=charges", 30*time.Minute, 10)
	f("?from=-168h", 3*time.Hour, 20)
	f("", 30*time.Minute, 20) // all time begins with the day of the first message
	f("?from=-15m", 5*time.Minute, 0)
}

func TestTopologyRefusesWhatItCannotRead(t *testing.T) {
	h := topologyHandler(t, shopStore())
	for _, path := range []string{"/topology?limit=501", "/topology?from=soon", "/topology?bars=maybe", "/topology/steps?limit=3", "/topology?from=-1h&to=-2h"} {
		get[Problem](t, h, path, http.StatusBadRequest)
	}
	if e := asProblem(fmt.Errorf("cannot read: %w", tooMuch(fmt.Errorf("wide: %w", exporters.ErrTooLarge)))); e.Code != "too_much" || e.Status != http.StatusBadRequest {
		t.Errorf("a topology that is too large is answered with %+v", e)
	}
	bare, err := New(Config{}, newHandler(t, shopStore()).deps, prometheus.NewRegistry(), h.log)
	if err != nil {
		t.Fatal(err)
	}
	get[Problem](t, bare, "/topology", http.StatusNotImplemented)
}

func TestTopologyOfNothingSaysSo(t *testing.T) {
	h := topologyHandler(t, &fakestore.Store{AllProjects: topologyShop})
	g := get[Topology](t, h, "/topology?from=-1h", http.StatusOK)
	if g.Finding.Rule != "nothing" || len(g.Nodes) != 0 {
		t.Errorf("finding %s, %d nodes", g.Finding.Rule, len(g.Nodes))
	}
	if g := get[Topology](t, h, "/topology?topic=none", http.StatusOK); g.Finding.Rule != "no-match" {
		t.Errorf("finding %s", g.Finding.Rule)
	}
}

func TestNodesOfTheTopologyAreATable(t *testing.T) {
	h := topologyHandler(t, fakestore.Orders(testNow))
	g := get[Topology](t, h, "/topology", http.StatusOK)
	for rows, want := range map[string]int{"": len(g.Edges), "&rows=edges": len(g.Edges), "&rows=nodes": len(g.Nodes)} {
		r := exported(t, h, "/topology?format=csv"+rows)
		lines, err := csv.NewReader(r.Body).ReadAll()
		if err != nil || len(lines)-1 != want || r.Trailer.Get("X-Hoptrace-More") != "false" {
			t.Errorf("%q gives %d rows (%v), more %s; want %d and false", rows, len(lines)-1, err, r.Trailer.Get("X-Hoptrace-More"), want)
		}
	}
	if r := exported(t, h, "/topology?format=csv&rows=nodes&limit=3"); r.Trailer.Get("X-Hoptrace-More") != "true" {
		t.Error("of a topology that is cut it does not say that there is more")
	}
	refused := get[Problem](t, h, "/topology?rows=links", http.StatusBadRequest)
	if refused.Param != "rows" {
		t.Errorf("rows=links is refused for %+v", refused)
	}
}
