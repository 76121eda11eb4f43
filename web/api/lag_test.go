package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// fakeLag is a watcher that saw one thing.
type fakeLag struct{ report exporters.LagReport }

func (f fakeLag) Lag(context.Context) (exporters.LagReport, error) { return f.report, nil }

func lagReport() exporters.LagReport {
	p := func(n int32, state exporters.LagState, lag int64, behind time.Duration) exporters.LagPartition {
		deleted := behind
		if lag == 0 {
			deleted = exporters.LagNever
		}
		return exporters.LagPartition{
			Partition: n, State: state, Reason: "because", Owner: "w1", Committed: 100, CommittedBefore: 90, LogEnd: 100 + lag, Lag: lag, Behind: behind, Written: 10, Read: 4,
			Drained: exporters.LagNever, Deleted: deleted, Spare: exporters.LagUnknown,
		}
	}
	g := func(name string, topics ...exporters.LagTopic) exporters.LagGroup {
		return exporters.LagGroup{Group: name, KafkaState: "Stable", Members: 2, Asked: testNow.Add(-time.Second), Topics: topics}
	}
	t := func(name string, ps ...exporters.LagPartition) exporters.LagTopic {
		return exporters.LagTopic{Topic: name, Retention: exporters.LagNever, RetentionBytes: schemas.Unknown, Partitions: ps}
	}
	return exporters.LagReport{Project: 1, Interval: 10 * time.Second, Window: 2 * time.Minute, Clusters: []exporters.LagCluster{
		{
			Name: "bus", Brokers: []string{"b:9092"}, Asked: testNow.Add(-time.Second), LeftOut: exporters.LagLeftOut{Groups: 3},
			Groups: []exporters.LagGroup{
				g("audit", t("orders", p(0, exporters.LagStop, 900, 3*time.Hour))),
				g("payments", t("orders", p(0, exporters.LagOK, 0, 0), p(1, exporters.LagStall, 50, 2*time.Hour)), t("refunds", p(0, exporters.LagOK, 5, time.Second))),
			},
		},
		{Name: "eu", Brokers: []string{"e:9092"}, Error: "connection refused", FailedSince: testNow.Add(-time.Minute)},
	}}
}

func lagStore() *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	for i := range 4 {
		for name, v := range map[string]float64{exporters.MetricLagTimeMax: 60 * float64(i), exporters.MetricLagSum: 10 * float64(i)} {
			s.AllPoints = append(s.AllPoints, schemas.MetricPoint{
				Project: 1, Name: name, Kind: schemas.MetricGauge, Topic: "orders", Partition: schemas.Unknown, Group: "payments", Service: exporters.LagServicePrefix + "bus",
				Time: testNow.Add(-time.Duration(4-i) * 5 * time.Minute).UnixNano(), Value: v, Series: 1,
			})
		}
	}
	return s
}

func lagHandler(t *testing.T) *Handler {
	h := newHandler(t, lagStore())
	h.deps.Lag = fakeLag{lagReport()}
	return h
}

func lineNames(l LagList) string {
	var out []string
	for _, x := range l.Lines {
		out = append(out, x.Group+"/"+x.Topic)
	}
	return strings.Join(out, " ")
}

func TestLagListsGroupsWorstFirstWithTheirHistory(t *testing.T) {
	h := lagHandler(t)
	l := get[LagList](t, h, "/lag", http.StatusOK)
	if got := lineNames(l); got != "audit/orders payments/orders payments/refunds" || l.Total != 3 {
		t.Errorf("lines %s, total %d", got, l.Total)
	}
	pay := l.Lines[1]
	if pay.State != "stall" || pay.Lag != 50 || pay.Partitions != 2 || pay.Lagging != 1 || *pay.BehindNs != int64(2*time.Hour) || *pay.Written != 20 || pay.Drained.When != "never" || pay.Spare.When != "never" || *pay.Members != 2 {
		t.Errorf("line %+v", pay)
	}
	known := 0
	for _, v := range pay.Behind {
		if v != nil {
			known++
		}
	}
	if known != 4 || l.HistoryError != "" || len(pay.Behind) < 50 || *pay.Behind[len(pay.Behind)-4] != 180 {
		t.Errorf("%d known steps of %d, error %q", known, len(pay.Behind), l.HistoryError)
	}
	if c := l.Clusters; len(c) != 2 || c[0].LeftOutGroups != 3 || c[1].Error == "" || c[1].Asked != nil {
		t.Errorf("clusters %+v", c)
	}
	if l.Finding.Rule != "loses" || !strings.Contains(l.Finding.String(), "Cluster eu has never answered.") {
		t.Errorf("finding %s: %s", l.Finding.Rule, l.Finding)
	}
	f := func(query, want string) {
		t.Helper()
		if got := lineNames(get[LagList](t, h, "/lag?"+query, http.StatusOK)); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
	}
	f("state=ok", "payments/refunds")
	f("state=not-ok&sort=group", "audit/orders payments/orders")
	f("text=REFU", "payments/refunds")
	f("group=payments&sort=topic", "payments/orders payments/refunds")
	f("sort=deleted", "payments/refunds payments/orders audit/orders")
	f("sort=lag&limit=1&skip=1", "payments/orders")
	f("cluster=eu", "")
	for _, bad := range []string{"state=bad", "sort=x", "skip=-1", "from=-9000h", "cluster=a&cluster=b"} {
		get[Problem](t, h, "/lag?"+bad, http.StatusBadRequest)
	}
}

func TestLagOfAGroupHasItsPartitionsAndSeries(t *testing.T) {
	h := lagHandler(t)
	d := get[LagDetail](t, h, "/lag/payments?cluster=bus", http.StatusOK)
	if len(d.Lines) != 2 || len(d.Partitions) != 3 || len(d.Series) != 1 || d.Series[0].Topic != "orders" || d.Series[0].Partition != nil {
		t.Fatalf("detail %+v", d)
	}
	if p := d.Partitions[1]; p.Partition != 1 || p.State != "stall" || p.Owner != "w1" || p.CommittedBefore != 90 || p.Deleted.Ns != int64(2*time.Hour) || p.Spare.When != "unknown" {
		t.Errorf("partition %+v", p)
	}
	if d = get[LagDetail](t, h, "/lag/payments?topic=orders&partition=1", http.StatusOK); len(d.Partitions) != 1 {
		t.Errorf("%d partitions, want the one", len(d.Partitions))
	}
	for query, want := range map[string]string{"?limit=2": "orders/0 orders/1 of 3 from 0", "?limit=2&skip=2": "refunds/0 of 3 from 2", "?limit=2&at=refunds/0": "refunds/0 of 3 from 2", "?limit=2&at=gone/0": "orders/0 orders/1 of 3 from 0", "?skip=9": "of 3 from 3"} {
		d := get[LagDetail](t, h, "/lag/payments"+query, http.StatusOK)
		var names []string
		for _, p := range d.Partitions {
			names = append(names, p.Topic+"/"+strconv.Itoa(int(p.Partition)))
		}
		if got := strings.Join(append(names, fmt.Sprintf("of %d from %d", d.Total, d.Skip)), " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	get[Problem](t, h, "/lag/payments?at=orders/1&skip=1", http.StatusBadRequest)
	get[Problem](t, h, "/lag/payments?cluster=eu", http.StatusNotFound)
	get[Problem](t, h, "/lag/payments?partition=1", http.StatusBadRequest)
	get[Problem](t, h, "/lag/nobody", http.StatusNotFound)
	for path, code := range map[string]string{"?topic=nothing": "no_topic", "?topic=orders&partition=99": "no_partition"} {
		if e := get[Problem](t, h, "/lag/payments"+path, http.StatusNotFound); e.Code != code {
			t.Errorf("%s: %s; want %s", path, e.Code, code)
		}
	}
}

// noMetrics is a store that does not answer.
type noMetrics struct{ exporters.MetricReader }

func (noMetrics) MetricSeries(context.Context, exporters.MetricQuery) ([]exporters.MetricSeries, error) {
	return nil, exporters.ErrUnavailable
}

func TestLagOfNowIsToldWhileTheStoreIsAway(t *testing.T) {
	h := lagHandler(t)
	h.deps.Metrics = noMetrics{h.deps.Metrics}
	if l := get[LagList](t, h, "/lag", http.StatusOK); len(l.Lines) != 3 || l.HistoryError == "" {
		t.Errorf("%d lines, history error %q", len(l.Lines), l.HistoryError)
	}
	if d := get[LagDetail](t, h, "/lag/audit", http.StatusOK); len(d.Partitions) != 1 || d.HistoryError == "" {
		t.Errorf("%d partitions, history error %q", len(d.Partitions), d.HistoryError)
	}
}

func TestWithoutAWatcherLagSaysSo(t *testing.T) {
	h := newHandler(t, lagStore())
	if l := get[LagList](t, h, "/lag", http.StatusOK); l.Finding.Rule != "no-cluster" || len(l.Lines) != 0 {
		t.Errorf("finding %s", l.Finding)
	}
	if e := get[Problem](t, h, "/lag/payments", http.StatusNotFound); e.Code != "no_cluster" {
		t.Errorf("error %+v", e)
	}
}

func TestHopsAreChosenByPartitionAndOffsets(t *testing.T) {
	m := func(side schemas.Side, partition int32, offset int64, group string) schemas.Message {
		return schemas.Message{Project: 1, Side: side, Topic: "orders", Partition: partition, Offset: offset, Group: group, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{byte(offset + 1)}, Start: testNow.Add(-time.Hour).UnixNano() + offset, End: testNow.UnixNano() - 1000 + offset}
	}
	store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	for i := range int64(10) {
		store.AllMessages = append(store.AllMessages, m(schemas.SideProduce, 1, i, ""))
		if i < 4 {
			store.AllMessages = append(store.AllMessages, m(schemas.SideProcess, 1, i, "g"))
		}
	}
	h := newHandler(t, store)
	f := func(query string, want ...int64) {
		t.Helper()
		l := get[HopList](t, h, "/hops?topic=orders&"+query, http.StatusOK)
		var got []int64
		for _, x := range l.Hops {
			got = append(got, *x.Offset)
		}
		if len(got) != len(want) || len(got) > 0 && (got[0] != want[0] || got[len(got)-1] != want[len(want)-1]) {
			t.Errorf("%s lists %v, want %v", query, got, want)
		}
	}
	f("partition=1&offset_from=1&offset_to=3", 2, 1)
	f("partition=2")
	f("order=sent&partition=1&offset_from=4&offset_to=7", 4, 5, 6)
	f("order=sent&partition=1&offset_from=4&limit=2", 4, 5)
	for _, bad := range []string{"offset_from=-1", "offset_from=5&offset_to=5", "partition=x", "order=old"} {
		get[Problem](t, h, "/hops?"+bad, http.StatusBadRequest)
	}
	if l := get[HopList](t, h, "/hops?topic=orders&order=sent&offset_from=100", http.StatusOK); l.Finding.Rule != "nothing" {
		t.Errorf("finding %s", l.Finding)
	}
}
