package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// clockStore has an hour of three pairs: payments is 2.6 s behind broker b and was
// stepped, quiet told fetches alone, and a beacon ended long ago.
func clockStore() *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	add := func(project uint64, host, name string, origin schemas.ClockOrigin, ago time.Duration, low, high int64) {
		at := testNow.Add(-ago).UnixNano()
		c := schemas.ClockCell{Project: project, Host: host, Name: name, Broker: "b:9092", Origin: origin, Time: clocktrack.Begin(at), Node: schemas.Unknown}
		if origin == schemas.ClockBeacon {
			c.Cluster, c.Node = "cluster", 3
		} else {
			c.Service = "payments"
		}
		clocktrack.Fold(&c, at, low, high)
		s.AllClocks = append(s.AllClocks, c)
	}
	const ms = int64(time.Millisecond)
	for ago := 50 * time.Minute; ago > 0; ago -= 5 * time.Second {
		offset := 1800 * ms
		if ago <= 20*time.Minute {
			offset = 2600 * ms
		}
		add(1, "host1", "payments-2", schemas.ClockRoundTrip, ago, offset-ms, offset+ms)
		add(1, "host2", "", schemas.ClockFetch, ago, -ms, clock.Above)
		if ago > 30*time.Minute {
			add(0, "host3", "old", schemas.ClockBeacon, ago, -2*ms, 2*ms)
		}
		add(2, "host1", "secret", schemas.ClockRoundTrip, ago, 0, 0)
	}
	return s
}

func TestClocksTellOffsetsSamplesAndSteps(t *testing.T) {
	got := get[ClockList](t, newHandler(t, clockStore()), "/clocks", http.StatusOK)
	if got.Finding.Rule != "stepped" || got.More || got.StepNs != int64(20*time.Second) || len(got.Clocks) != 3 {
		t.Fatalf("clocks %s, step %d, %d pairs: %+v", got.Finding, got.StepNs, len(got.Clocks), got.Clocks)
	}
	slices.SortFunc(got.Clocks, func(a, b Clock) int { return strings.Compare(a.Host, b.Host) })
	node := int32(3)
	want := []Clock{
		{Host: "host1", Name: "payments-2", Service: "payments", Broker: "b:9092", State: "known", Steps: 1, RoundTripsPerMinute: 12},
		{Host: "host2", Service: "payments", Broker: "b:9092", State: "one-sided", FetchesPerMinute: 12},
		{Host: "host3", Name: "old", Broker: "b:9092", Cluster: "cluster", Node: &node, State: "stale", BeaconsPerMinute: 12},
	}
	if diff := cmp.Diff(want, got.Clocks, cmpopts.IgnoreFields(Clock{}, "At", "LowNs", "HighNs", "First", "Last", "Seen", "Stepped", "Samples"), cmpopts.EquateApprox(0.05, 0)); diff != "" {
		t.Errorf("clocks (-want +got):\n%s", diff)
	}
	one := got.Clocks[0]
	if one.LowNs == nil || one.HighNs == nil || *one.LowNs > 2600e6 || *one.HighNs < 2600e6 || *one.HighNs-*one.LowNs > 5e6 || one.Stepped == nil || len(one.Samples) < 140 {
		t.Errorf("the first pair is %+v", one)
	}
	steps := uint64(0)
	for _, s := range one.Samples {
		steps += s.Steps
	}
	if two := got.Clocks[1]; steps != 1 || two.LowNs == nil || two.HighNs != nil {
		t.Errorf("%d steps in the samples; the second pair is bounded by %v and %v", steps, two.LowNs, two.HighNs)
	}
	if list := get[ClockList](t, newHandler(t, clockStore()), "/clocks?host=host3", http.StatusOK); len(list.Clocks) != 1 || list.Clocks[0].Host != "host3" {
		t.Errorf("of one host: %+v", list.Clocks)
	}
	if list := get[ClockList](t, newHandler(t, clockStore()), "/clocks?host=nobody", http.StatusOK); len(list.Clocks) != 0 || list.Finding.Rule != "none" {
		t.Errorf("of nobody: %+v", list)
	}
	if list := get[ClockList](t, newHandler(t, clockStore()), "/clocks?from=-15m", http.StatusOK); list.Finding.Rule != "far" || !strings.Contains(list.Finding.String(), "payments-2 is 2.6s behind broker b:9092") {
		t.Errorf("of a quarter of an hour: %s", list.Finding)
	}
	for _, bad := range []string{"?broker=b", "?from=never", "?sort=height", "?state=lost", "?limit=501", "?at=host1+b:9092&skip=1"} {
		get[Problem](t, newHandler(t, clockStore()), "/clocks"+bad, http.StatusBadRequest)
	}
}

func TestClocksComeInPagesInAnOrder(t *testing.T) {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	// host3 is farthest off, host5 has one bound, host2 was stepped, host4 told nothing lately.
	for i := range 7 {
		at := testNow.Add(-20 * time.Second).UnixNano()
		if i == 4 {
			at -= int64(10 * time.Minute)
		}
		c := schemas.ClockCell{Project: 1, Host: fmt.Sprintf("host%d", i), Name: fmt.Sprintf("n%d", 9-i), Broker: "b:9092", Origin: schemas.ClockRoundTrip, Time: clocktrack.Begin(at), Node: schemas.Unknown}
		low, high := int64(i)*1000, int64(i)*1000+1e6
		if i == 3 {
			low, high = low+5e6, high+5e6
		}
		if i == 5 {
			high = clock.Above
		}
		clocktrack.Fold(&c, at, low, high)
		if i == 2 {
			clocktrack.Fold(&c, at+2e9, low+800e6, high+800e6)
		}
		s.AllClocks = append(s.AllClocks, c)
	}
	handler := newHandler(t, s)
	f := func(question, want string, total, skip int) {
		t.Helper()
		got := get[ClockList](t, handler, "/clocks"+question, http.StatusOK)
		hosts := ""
		for _, c := range got.Clocks {
			hosts += c.Host[4:]
		}
		if hosts != want || got.Total != total || got.Skip != skip {
			t.Errorf("%s: hosts %s, %d in all, from %d on; want %s, %d, %d", question, hosts, got.Total, got.Skip, want, total, skip)
		}
		if diff := cmp.Diff([]ClockCount{{"known", 4}, {"one-sided", 2}, {"stale", 1}, {"stepped", 1}}, got.States); diff != "" || got.Finding.Rule != "stepped" {
			t.Errorf("%s: states of all pairs (-want +got):\n%s\nfinding %s", question, diff, got.Finding.Rule)
		}
	}
	f("", "6543210", 7, 0)
	f("?limit=3", "654", 7, 0)
	f("?limit=3&skip=3", "321", 7, 3)
	f("?limit=3&skip=9", "", 7, 7)
	f("?limit=3&at=host1+b:9092", "321", 7, 3)
	f("?limit=3&at=nobody+b:9092", "654", 7, 0)
	f("?sort=offset&limit=2", "36", 7, 0)
	f("?sort=steps&limit=1", "2", 7, 0)
	f("?sort=seen&skip=6", "4", 7, 6)
	f("?state=one-sided", "52", 2, 0)
	f("?state=stale&limit=1", "4", 1, 0)
	f("?state=stepped", "2", 1, 0)

	// An export has the pairs of all pages.
	r := httptest.NewRecorder()
	handler.ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/api/v1/clocks?format=ndjson", nil))
	if n := strings.Count(r.Body.String(), "\n"); r.Code != http.StatusOK || n != 7 {
		t.Errorf("an export answers %d with %d rows; want 7", r.Code, n)
	}
}

func TestAHostWhoseClockIsHoursOffIsNotTakenForSilent(t *testing.T) {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	const off = -int64(10 * time.Minute)
	at := testNow.Add(-5*time.Second).UnixNano() + off
	c := schemas.ClockCell{Project: 1, Host: "host1", Broker: "b:9092", Origin: schemas.ClockRoundTrip, Time: clocktrack.Begin(at), Node: schemas.Unknown}
	clocktrack.Fold(&c, at, -off-1e6, -off+1e6)
	s.AllClocks = append(s.AllClocks, c)
	got := get[ClockList](t, newHandler(t, s), "/clocks", http.StatusOK).Clocks
	if len(got) != 1 || got[0].State != "known" || got[0].Last != nanos(at) || got[0].Seen != nanos(at-off) {
		t.Errorf("clocks %+v; want one, known, seen at %d", got, at-off)
	}
}

func TestHostsTellTheirOwnSteps(t *testing.T) {
	got := get[ClockList](t, newHandler(t, metricStore()), "/clocks", http.StatusOK)
	want := []ClockStep{{Host: "host1", Service: "checkout", Steps: 2, Seen: nanos(testNow.Add(-10 * time.Minute).UnixNano())}}
	if diff := cmp.Diff(want, got.Steps); diff != "" || len(got.Clocks) != 1 {
		t.Errorf("steps (-want +got):\n%s\n%d clocks", diff, len(got.Clocks))
	}
}

func TestBrokersOfTwoClustersAreNotTakenForOne(t *testing.T) {
	at := clocktrack.Begin(testNow.UnixNano())
	cell := func(host, broker, cluster string, node int32, origin schemas.ClockOrigin) schemas.ClockCell {
		c := schemas.ClockCell{Project: 1, Host: host, Broker: broker, Cluster: cluster, Node: node, Origin: origin, Time: at}
		clocktrack.Fold(&c, at, -1e6, 1e6)
		return c
	}
	beacon := func(host, broker, cluster string, node int32) schemas.ClockCell {
		return cell(host, broker, cluster, node, schemas.ClockBeacon)
	}
	client := func(host, broker string) schemas.ClockCell {
		return cell(host, broker, "", schemas.Unknown, schemas.ClockRoundTrip)
	}
	f := func(what string, want string, cells ...schemas.ClockCell) {
		t.Helper()
		p := schemas.Message{BootID: "p", Start: at, Acked: at, Written: at - 1e6}
		c := schemas.Message{Side: schemas.SideProcess, BootID: "c", Start: at + 2e6, Answered: at + 2e6, Handed: at + 2e6, End: at + 3e6}
		found, gap := newClocksOf(cells).of(schemas.Hop{Produce: &p, Consume: &c})
		if gap != want || (found != nil) != (want == "") {
			t.Errorf("%s: %v, %q; want %q", what, found, gap, want)
		}
	}
	f("no samples", gapProducerSamples)
	f("of the producer alone", gapConsumerSamples, client("p", "b:9092"))
	f("clients, one address", "", client("p", "b:9092"), client("c", "b:9092"))
	f("clients, two addresses", gapBroker, client("p", "b:9092"), client("c", "d:9092"))
	f("clients, each on its own host", gapBroker, client("p", "localhost:9092"), client("c", "localhost:9092"))
	f("beacons of one broker at two addresses", "", beacon("p", "b:9092", "x", 1), beacon("c", "127.0.0.1:9092", "x", 1))
	f("beacons of two clusters at one address", gapBroker, beacon("p", "b:9092", "x", 1), beacon("c", "b:9092", "y", 1))
	f("beacons of two brokers", gapBroker, beacon("p", "b:9092", "x", 1), beacon("c", "d:9092", "x", 2))
	f("a beacon and a client", "", beacon("p", "b:9092", "x", 1), client("c", "b:9092"))
	f("a client beside its host's beacon", "", beacon("p", "b:9092", "x", 1), beacon("c", "localhost:9092", "x", 1), client("c", "localhost:9092"))
	f("a client by a loopback address that a beacon of another host uses", gapBroker, beacon("p", "localhost:9092", "x", 1), client("c", "localhost:9092"))
	f("a client at an address of two clusters", gapBroker, beacon("p", "b:9092", "x", 1), beacon("q", "b:9092", "y", 1), client("c", "b:9092"))
	stepped := cell("c", "b:9092", "", schemas.Unknown, schemas.ClockRoundTrip)
	clocktrack.Fold(&stepped, at+5e9, 800e6, 801e6)
	f("a step", gapStep, client("p", "b:9092"), stepped)
}
