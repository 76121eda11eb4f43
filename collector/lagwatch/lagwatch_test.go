package lagwatch

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fakeStore keeps points, or refuses them.
type fakeStore struct {
	mu     sync.Mutex
	points []schemas.MetricPoint
	err    error
}

func (s *fakeStore) WriteMetrics(_ context.Context, points []schemas.MetricPoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.points = append(s.points, points...)
	}
	return s.err
}

func (s *fakeStore) WrittenMetrics(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) {
	return nil, errors.New("not asked")
}

func watch(t testing.TB, brokers []string, store exporters.MetricWriter, change ...func(*Config)) *Watcher {
	t.Helper()
	cfg := DefaultConfig()
	for _, f := range change {
		f(&cfg)
	}
	w, err := New(cfg, Deps{Kafka: kafka.Config{Brokers: brokers, ClientID: "test"}, Store: store, Project: 7}, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// only gives the one partition of a group's topic.
func only(t testing.TB, w *Watcher, group, topic string) exporters.LagPartition {
	t.Helper()
	g := groupOf(t, w, group)
	for _, x := range g.Topics {
		if x.Topic == topic && len(x.Partitions) == 1 {
			return x.Partitions[0]
		}
	}
	t.Fatalf("group %s has no single partition of %s: %+v", group, topic, g)
	return exporters.LagPartition{}
}

func groupOf(t testing.TB, w *Watcher, group string) exporters.LagGroup {
	t.Helper()
	r, err := w.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Clusters {
		if i := indexGroup(c.Groups, group); i >= 0 {
			return c.Groups[i]
		}
		if c.Error != "" {
			t.Logf("cluster %s: %s", c.Name, c.Error)
		}
	}
	t.Fatalf("no group %s in %+v", group, r)
	return exporters.LagGroup{}
}

func client(t testing.TB, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// model is a topic of one partition with steady rates, in time of its own.
type model struct {
	t       testing.TB
	cl      *kgo.Client
	adm     *kadm.Client
	begin   time.Time
	rate    float64 // records a second
	written int64
}

const modelTopic = "orders"

// write appends what was due until at: record n has the time begin + n/rate.
func (m *model) write(at time.Time) {
	m.t.Helper()
	var rs []*kgo.Record
	for due := int64(at.Sub(m.begin).Seconds() * m.rate); m.written < due; m.written++ {
		rs = append(rs, &kgo.Record{Topic: modelTopic, Value: []byte("0123456789"), Timestamp: m.time(m.written)})
	}
	if err := m.cl.ProduceSync(m.t.Context(), rs...).FirstErr(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) time(offset int64) time.Time {
	return m.begin.Add(time.Duration(float64(offset) / m.rate * 1e9))
}

func (m *model) commit(group string, offset int64) {
	m.t.Helper()
	os := kadm.Offsets{}
	os.Add(kadm.Offset{Topic: modelTopic, At: offset, LeaderEpoch: -1})
	if err := m.adm.CommitAllOffsets(m.t.Context(), group, os); err != nil {
		m.t.Fatal(err)
	}
}

func TestForecastsAreWithinTenPercentOnSteadyRates(t *testing.T) {
	const (
		rate      = 10.0 // records written a second
		backlog   = time.Hour
		retention = 2 * time.Hour
	)
	kf, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kf.Close)
	cl := client(t, kf.ListenAddrs(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	m := &model{t: t, cl: cl, adm: kadm.NewClient(cl), rate: rate, begin: time.Now().Add(-3 * time.Hour).Truncate(time.Second)}
	ms := strconv.FormatInt(retention.Milliseconds(), 10)
	if _, err := m.adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &ms}, modelTopic); err != nil {
		t.Fatal(err)
	}
	groups := map[string]float64{"drains": 30, "falls-behind": 4, "stands": 0, "creeps": 9} // records read a second
	w := watch(t, kf.ListenAddrs(), nil)
	start := m.begin.Add(backlog)
	near := func(at time.Duration, what string, got, want time.Duration) {
		t.Helper()
		if e := math.Abs(got.Seconds()-want.Seconds()) / want.Seconds(); e > 0.10 || got == exporters.LagNever {
			t.Errorf("after %s: %s = %s, want %s within 10 %% (it is %.0f %% off)", at, what, got.Round(time.Second), want.Round(time.Second), e*100)
		}
	}
	for at := time.Duration(0); at <= 12*time.Minute; at += 10 * time.Second {
		now := start.Add(at)
		m.write(now)
		for group, reads := range groups {
			// Committed in bursts every 7 s, as clients do.
			m.commit(group, int64(reads*at.Truncate(7*time.Second).Seconds()))
		}
		w.round(t.Context(), w.clusters[0], now)
		if at < DefaultConfig().Window {
			continue
		}
		for group, reads := range groups {
			if group == "creeps" && at < 10*time.Minute {
				continue // nearly equal rates are told apart by the longer window only
			}
			p := only(t, w, group, modelTopic)
			read := reads * at.Seconds()
			age := now.Sub(m.time(int64(read)))
			near(at, group+": behind", p.Behind, age)
			lag := rate*(backlog+at).Seconds() - read
			if reads > rate {
				near(at, group+": drained", p.Drained, time.Duration(lag/(reads-rate)*1e9))
				if p.Deleted != exporters.LagNever {
					t.Errorf("after %s: %s: deleted in %s, want never", at, group, p.Deleted)
				}
				continue
			}
			near(at, group+": deleted", p.Deleted, time.Duration((retention-age).Seconds()/(1-reads/rate)*1e9))
			near(at, group+": spare", p.Spare, retention-age)
			if p.Drained != exporters.LagNever {
				t.Errorf("after %s: %s: drained in %s, want never", at, group, p.Drained)
			}
		}
	}
	for group, want := range map[string]exporters.LagState{"drains": exporters.LagOK, "falls-behind": exporters.LagWarn, "stands": exporters.LagStop} {
		if p := only(t, w, group, modelTopic); p.State != want {
			t.Errorf("%s is %s (%s), want %s", group, p.State, p.Reason, want)
		}
	}
}

func TestRetentionBySizeIsForecastFromTheLogsSize(t *testing.T) {
	kf, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kf.Close)
	cl := client(t, kf.ListenAddrs(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	m := &model{t: t, cl: cl, adm: kadm.NewClient(cl), rate: 10, begin: time.Now().Add(-time.Hour).Truncate(time.Second)}
	never, bytes := "-1", "1000000"
	if _, err := m.adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &never, "retention.bytes": &bytes}, modelTopic); err != nil {
		t.Fatal(err)
	}
	w := watch(t, kf.ListenAddrs(), nil)
	for at := time.Duration(0); at <= 3*time.Minute; at += 10 * time.Second {
		m.write(m.begin.Add(10*time.Minute + at))
		m.commit("stands", 0)
		w.round(t.Context(), w.clusters[0], m.begin.Add(10*time.Minute+at))
	}
	p := only(t, w, "stands", modelTopic)
	size := w.clusters[0].sizes[place{modelTopic, 0}]
	if size <= 0 {
		t.Fatal("the log's size is not known")
	}
	want := (1e6/(float64(size)/float64(p.LogEnd)) - float64(p.LogEnd)) / 10
	if got := p.Deleted.Seconds(); math.Abs(got-want) > 0.1*want {
		t.Errorf("deleted in %.0f s, want %.0f within 10 %%", got, want)
	}
}

// track of a group: committed and end at each step of ten seconds.
func trackOf(steps ...[2]int64) *track {
	t := &track{}
	for i, s := range steps {
		t.add(sample{at: int64(i+1) * 10e9, committed: s[0], end: s[1], behind: time.Minute}, 2*time.Minute)
	}
	return t
}

func TestStatesFollowFromTheSamplesOfAWindow(t *testing.T) {
	steps := func(n int, of func(i int64) [2]int64) (out [][2]int64) {
		for i := range int64(n) {
			out = append(out, of(i))
		}
		return out
	}
	f := func(name string, want exporters.LagState, change func(*facts), s [][2]int64) {
		t.Helper()
		x := facts{interval: 10 * time.Second, window: 2 * time.Minute, members: 2, owned: true, settled: true, retention: exporters.LagNever, retentionBytes: schemas.Unknown}
		if change != nil {
			change(&x)
		}
		var p exporters.LagPartition
		trackOf(s...).judge(&p, x)
		if p.State != want {
			t.Errorf("%s: %s (%s), want %s", name, p.State, p.Reason, want)
		}
	}
	still := func(i int64) [2]int64 { return [2]int64{100, 200 + 10*i} }
	f("reads all", exporters.LagOK, nil, steps(13, func(i int64) [2]int64 { return [2]int64{10 * i, 10 * i} }))
	f("nothing is written", exporters.LagOK, nil, steps(13, func(int64) [2]int64 { return [2]int64{5, 5} }))
	f("keeps its distance", exporters.LagOK, nil, steps(13, func(i int64) [2]int64 { return [2]int64{10 * i, 10*i + 12 + i%2} }))
	f("the same distance to the record", exporters.LagOK, nil, steps(13, func(i int64) [2]int64 { return [2]int64{10 * i, 10*i + 12} }))
	f("catches up", exporters.LagOK, nil, steps(13, func(i int64) [2]int64 { return [2]int64{20 * i, 10*i + 1000} }))
	f("batch work that empties it once", exporters.LagOK, nil, steps(13, func(i int64) [2]int64 {
		if i < 3 {
			return [2]int64{100, 100}
		}
		return [2]int64{100, 100 + 50*i}
	}))
	f("falls behind", exporters.LagWarn, nil, steps(13, func(i int64) [2]int64 { return [2]int64{5 * i, 10*i + 100} }))
	f("falls behind, seen for a short time", exporters.LagOK, nil, steps(5, func(i int64) [2]int64 { return [2]int64{5 * i, 10*i + 100} }))
	f("stands with members", exporters.LagStall, nil, steps(13, still))
	f("stands, and nothing more is written", exporters.LagStall, nil, steps(13, func(int64) [2]int64 { return [2]int64{100, 200} }))
	f("stands for a short time", exporters.LagOK, nil, steps(8, still))
	f("stands for a short time, and its unread is old", exporters.LagWarn, func(x *facts) { x.window = 50 * time.Second }, steps(4, still))
	f("seen twice, and its unread is old", exporters.LagWarn, func(x *facts) { x.window = 25 * time.Second }, steps(2, still))
	f("nobody reads the old", exporters.LagStop, func(x *facts) { x.window, x.members = 50*time.Second, 0 }, steps(4, still))
	f("stands without members", exporters.LagStop, func(x *facts) { x.members, x.owned, x.settled = 0, false, false }, steps(13, still))
	f("stands, members unknown", exporters.LagStall, func(x *facts) { x.members, x.owned, x.settled = schemas.Unknown, false, false }, steps(13, still))
	f("its members do not have the partition", exporters.LagStop, func(x *facts) { x.owned = false }, steps(13, still))
	f("its members share it out just now", exporters.LagStall, func(x *facts) { x.owned, x.settled = false, false }, steps(13, still))
	f("reads without being a member", exporters.LagOK, func(x *facts) { x.members, x.owned = 0, false }, steps(13, func(i int64) [2]int64 { return [2]int64{20 * i, 10*i + 1000} }))
	f("went back", exporters.LagRewind, nil, append(steps(10, func(i int64) [2]int64 { return [2]int64{10 * i, 10 * i} }), [2]int64{20, 110}, [2]int64{60, 120}))
	f("went back and has read all again", exporters.LagRewind, nil, append(steps(10, func(i int64) [2]int64 { return [2]int64{10 * i, 10 * i} }), [2]int64{20, 110}, [2]int64{120, 120}))
}

func TestAGroupThatRetentionOvertakesIsWarnedOf(t *testing.T) {
	tr := &track{}
	for i := range int64(13) {
		// The lag shrinks by one a second, and the oldest unread record gets older: the group reads old, sparse records.
		tr.add(sample{at: i * 10e9, committed: 20 * i, end: 10*i + 5000, behind: time.Hour + time.Duration(i)*5*time.Second}, 2*time.Minute)
	}
	f := func(retention time.Duration, want exporters.LagState) {
		t.Helper()
		var p exporters.LagPartition
		tr.judge(&p, facts{interval: 10 * time.Second, window: 2 * time.Minute, members: 1, owned: true, retention: retention, retentionBytes: schemas.Unknown})
		if p.State != want {
			t.Errorf("retention %s: %s (%s), drained in %s, deleted in %s; want %s", retention, p.State, p.Reason, p.Drained, p.Deleted, want)
		}
	}
	f(time.Hour+10*time.Minute, exporters.LagWarn)
	f(7*24*time.Hour, exporters.LagOK)
}

func TestNoForecastIsMadeOfNoise(t *testing.T) {
	tr := &track{}
	noise := []int64{7, 31, 12, 4, 25, 19, 2, 33, 11, 28, 6, 15, 22}
	for i, n := range noise {
		tr.add(sample{at: int64(i) * 10e9, committed: int64(1000*i) - n, end: int64(1000 * i), behind: time.Duration(n) * 2 * time.Second}, 2*time.Minute)
	}
	var p exporters.LagPartition
	tr.judge(&p, facts{interval: 10 * time.Second, window: 2 * time.Minute, members: 1, owned: true, retention: time.Hour, retentionBytes: schemas.Unknown})
	if p.State != exporters.LagOK || p.Deleted != exporters.LagNever {
		t.Errorf("state %s (%s), deleted in %s; want ok, never", p.State, p.Reason, p.Deleted)
	}
}

func TestForecastsBeginAnewWhenAnOffsetGoesBack(t *testing.T) {
	f := func(after int) exporters.LagPartition {
		tr := &track{}
		for i := range int64(8) {
			tr.add(sample{at: i * 10e9, committed: 100 * i, end: 100 * i}, 2*time.Minute)
		}
		for i := range int64(after) { // back by 700, then 20 a second of 10 written
			tr.add(sample{at: (8 + i) * 10e9, committed: 200 * i, end: 800 + 100*i, behind: 80*time.Second - time.Duration(i)*10*time.Second}, 2*time.Minute)
		}
		var p exporters.LagPartition
		tr.judge(&p, facts{interval: 10 * time.Second, window: 2 * time.Minute, members: 1, owned: true, retention: 10 * time.Minute, retentionBytes: schemas.Unknown})
		return p
	}
	if p := f(1); p.State != exporters.LagRewind || p.Deleted != exporters.LagUnknown || p.Drained != exporters.LagUnknown {
		t.Errorf("at once: %s, drained in %s, deleted in %s; want rewind, and no forecast of one sample", p.State, p.Drained, p.Deleted)
	}
	if p := f(4); p.State != exporters.LagRewind || p.Deleted != exporters.LagNever || math.Abs(p.Drained.Seconds()-50) > 5 {
		t.Errorf("later: %s, drained in %s, deleted in %s; want rewind, 50s, never", p.State, p.Drained, p.Deleted)
	}
}

// jobs starts a broker with a topic of one partition that has a record; write appends one more.
func jobs(t *testing.T) (brokers []string, write func()) {
	t.Helper()
	kf, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "jobs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kf.Close)
	cl := client(t, kf.ListenAddrs())
	write = func() {
		t.Helper()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "jobs", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	write()
	return kf.ListenAddrs(), write
}

func TestAPartitionThatIsNeverCommittedIsCountedFromWhenItWasSeen(t *testing.T) {
	brokers, write := jobs(t)
	member := client(t, brokers, kgo.ConsumerGroup("forgetful"), kgo.ConsumeTopics("jobs"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := member.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	w := watch(t, brokers, nil)
	now := time.Now()
	w.round(t.Context(), w.clusters[0], now)
	if p := only(t, w, "forgetful", "jobs"); !p.Uncommitted || p.Lag != 0 || p.State != exporters.LagOK {
		t.Errorf("at first: %+v", p)
	}
	write()
	for i := 1; i < 15; i++ {
		w.round(t.Context(), w.clusters[0], now.Add(time.Duration(i)*10*time.Second))
	}
	if p := only(t, w, "forgetful", "jobs"); p.Lag != 1 || p.State != exporters.LagStall {
		t.Errorf("after a record: lag %d, %s (%s); want 1, stall", p.Lag, p.State, p.Reason)
	}
	if err := member.CommitRecords(t.Context(), fetches.Records()...); err != nil {
		t.Fatal(err)
	}
	w.round(t.Context(), w.clusters[0], now.Add(150*time.Second))
	if p := only(t, w, "forgetful", "jobs"); p.Uncommitted || p.State == exporters.LagRewind {
		t.Errorf("after the first commit: %+v", p)
	}
}

// A program that ends at its first record, and is started again and again, does not
// begin at nothing each time.
func TestABacklogOutlivesTheMemberThatNeverCommits(t *testing.T) {
	brokers, write := jobs(t)
	join := func() *kgo.Client {
		member := client(t, brokers, kgo.ConsumerGroup("crashing"), kgo.ConsumeTopics("jobs"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err := member.PollFetches(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		return member
	}
	member := join()
	w := watch(t, brokers, nil)
	now, rounds := time.Now(), 0
	round := func(n int) {
		for range n {
			w.round(t.Context(), w.clusters[0], now.Add(time.Duration(rounds)*10*time.Second))
			rounds++
		}
	}
	round(1)
	write()
	round(4)
	for range 3 {
		member.Close()
		round(2)
		member = join()
		round(3)
	}
	if p := only(t, w, "crashing", "jobs"); p.Lag != 1 || p.State != exporters.LagStall {
		t.Errorf("after three restarts: lag %d, %s (%s); want 1, stall", p.Lag, p.State, p.Reason)
	}
	// One that never comes back is forgotten.
	member.Close()
	round(1)
	now = now.Add(keptUncommitted)
	round(2)
	if tracks := w.clusters[0].tracks["crashing"]; len(tracks) != 0 {
		t.Errorf("it is still counted: %+v", tracks)
	}
}

func TestATopicMadeAnewIsNoRewind(t *testing.T) {
	tr := trackOf([2]int64{100, 100}, [2]int64{110, 110}, [2]int64{120, 120})
	tr.add(sample{at: 40e9, committed: 0, end: 5}, 2*time.Minute)
	var p exporters.LagPartition
	tr.judge(&p, facts{interval: 10 * time.Second, window: 2 * time.Minute, members: 1, retention: exporters.LagNever})
	if p.State != exporters.LagOK || p.Lag != 5 {
		t.Errorf("state %s, lag %d; want ok, 5", p.State, p.Lag)
	}
}

func TestRecordsDeletedUnreadAreCounted(t *testing.T) {
	tr := &track{}
	tr.add(sample{at: 1, start: 50, end: 100, committed: 20}, time.Minute)
	var p exporters.LagPartition
	tr.judge(&p, facts{interval: 10 * time.Second, window: time.Minute, retention: time.Hour})
	if p.Lost != 30 || p.Lag != 50 {
		t.Errorf("lost %d, lag %d; want 30, 50", p.Lost, p.Lag)
	}
}

// Retention that deletes what nobody reads is no reading.
func TestADeletionIsNoCatchingUp(t *testing.T) {
	f := facts{interval: 10 * time.Second, window: 2 * time.Minute, retention: time.Hour}
	tr := &track{}
	for i := range int64(14) {
		tr.add(sample{at: i * 10e9, start: 15 * i, end: 200, committed: 10, behind: time.Minute}, 2*time.Minute)
	}
	var p exporters.LagPartition
	tr.judge(&p, f)
	if p.Drained != exporters.LagNever || p.State != exporters.LagStop || p.Lost != 185 {
		t.Errorf("%+v; want it stopped, 185 lost, and never caught up", p)
	}
	for i := int64(14); i < 20; i++ { // all is gone, then a record comes
		tr.add(sample{at: i * 10e9, start: 200, end: 200 + max(i-16, 0), committed: 10}, 2*time.Minute)
	}
	tr.judge(&p, f)
	if p.State != exporters.LagStop || p.Drained != exporters.LagNever {
		t.Errorf("%+v; want it stopped still", p)
	}
}

func TestALogClockDatesWithinATenth(t *testing.T) {
	var c logClock
	const rate = 50
	begin := time.Now().UnixNano()
	at := func(offset int64) int64 { return begin + offset*1e9/rate }
	for s := int64(0); s <= 48*3600; s += 10 {
		c.add(begin+s*1e9, s*rate)
	}
	if len(c.marks) > maxMarks {
		t.Errorf("%d marks, want at most %d", len(c.marks), maxMarks)
	}
	now := begin + 48*3600*1e9
	for offset := int64(0); offset < 48*3600*rate; offset += 997 {
		got, sure := c.date(offset, now, 10*time.Second)
		if err := math.Abs(float64(got - at(offset))); !sure || err > 0.1*float64(now-at(offset))+10e9 {
			t.Fatalf("record %d: %v off, sure %v", offset, time.Duration(err), sure)
		}
	}
	if _, sure := c.date(48*3600*rate, now, 10*time.Second); sure {
		t.Error("a record that is not written yet has a time")
	}
}

func TestAStretchWithoutRecordsIsNotInterpolated(t *testing.T) {
	var c logClock
	for s := int64(0); s <= 3600; s += 10 { // ten records, then nothing for an hour
		c.add(s*1e9, 10)
	}
	c.add(3610e9, 20)
	if got, sure := c.date(10, 3620e9, 10*time.Second); !sure || got < 3600e9 || got > 3610e9 {
		t.Errorf("record 10 at %v, sure %v; want between 1h0m0s and 1h0m10s", time.Duration(got), sure)
	}
}

// TestRecordsOfOneLogAreDatedEachThoughTheAnswersOverlap has four groups at a log from
// before the watch. A search leaves up to 50 ms open, and the records lie closer.
func TestRecordsOfOneLogAreDatedEachThoughTheAnswersOverlap(t *testing.T) {
	const hour = 3600e9
	var c logClock
	c.add(3*hour, 100)
	for offset, at := range map[int64]int64{40: 40e6, 10: 60e6, 70: 30e6, 99: 4 * hour} {
		c.found(offset, at)
	}
	for _, offset := range []int64{10, 40, 70} {
		if at, sure := c.date(offset, 3*hour, time.Second); !sure || at < 30e6 || at > 60e6 {
			t.Errorf("record %d at %v, sure %v; want some 50ms, and no question more", offset, time.Duration(at), sure)
		}
	}
	// The record's own clock is ahead; it was there when the watch began.
	if at, sure := c.date(99, 3*hour, time.Second); !sure || at != 3*hour {
		t.Errorf("record 99 at %v, sure %v; want 3h0m0s", time.Duration(at), sure)
	}
}

func TestTheLastRecordOfALogIsAsOldAsItSays(t *testing.T) {
	var c logClock
	c.add(3*3600e9, 100)
	c.found(99, 0)
	if at, sure := c.date(99, 3*3600e9, time.Second); !sure || at != 0 {
		t.Errorf("it is from %v, sure %v; want 0s", time.Duration(at), sure)
	}
}

func TestGlobsChooseGroups(t *testing.T) {
	f := func(name string, include, exclude []string, want bool) {
		t.Helper()
		if got := chosen(name, include, exclude); got != want {
			t.Errorf("chosen(%q, %q, %q) = %v", name, include, exclude, got)
		}
	}
	f("a", nil, nil, true)
	f("payments-eu", []string{"payments-*"}, nil, true)
	f("payments", []string{"payments-*"}, nil, false)
	f("payments-eu", []string{"*"}, []string{"*-eu"}, false)
	f("aXbXc", []string{"a*b*c"}, nil, true)
	f("abab", []string{"ab*ab"}, nil, true)
	f("ab", []string{"ab*b"}, nil, false)
}

func TestSettingsNameEveryFault(t *testing.T) {
	err := Config{Interval: time.Millisecond, Clusters: map[string]string{"bus": "a:1", "x": "nowhere"}}.Validate()
	for _, want := range []string{"lagwatch.interval", "lagwatch.timeout", "lagwatch.max_groups", "lagwatch.max_partitions", `"bus" is no name`, `"nowhere" of x is not host:port`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v; want %q in it", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

// embedded starts the broker that hoptrace brings along.
func embedded(t testing.TB) *embeddedkafka.Broker {
	t.Helper()
	cfg := embeddedkafka.DefaultConfig()
	cfg.Dir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheEmbeddedBrokersGroupsAreTold(t *testing.T) {
	b := embedded(t)
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			if err := b.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	brokers := []string{b.Addr()}
	cl := client(t, brokers)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, nil, "jobs"); err != nil {
		t.Fatal(err)
	}
	write := func(n int) {
		t.Helper()
		for range n {
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "jobs", Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(5)
	member := client(t, brokers, kgo.ConsumerGroup("workers"), kgo.ConsumeTopics("jobs"), kgo.DisableAutoCommit(), kgo.ClientID("worker-1"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	fetches := member.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if err := member.CommitRecords(t.Context(), fetches.Records()[:3]...); err != nil {
		t.Fatal(err)
	}

	store := &fakeStore{}
	w := watch(t, brokers, store, func(c *Config) { c.Timeout = 3 * time.Second })
	now := time.Now()
	for i := range 13 {
		w.round(t.Context(), w.clusters[0], now.Add(time.Duration(i)*10*time.Second))
	}
	g := groupOf(t, w, "workers")
	p := only(t, w, "workers", "jobs")
	if g.Members != 1 || p.Owner != "worker-1" || p.Committed != 3 || p.LogEnd != 5 || p.Lag != 2 || p.State != exporters.LagStall {
		t.Errorf("group %+v, partition %+v; want one member worker-1, 2 of 5 unread, stalled", g, p)
	}
	if p.Behind < 2*time.Minute || p.Behind > 3*time.Minute {
		t.Errorf("behind %s; the records were written about two minutes ago", p.Behind)
	}
	member.Close()
	w.round(t.Context(), w.clusters[0], now.Add(13*10*time.Second))
	if p := only(t, w, "workers", "jobs"); p.State != exporters.LagStall {
		t.Errorf("a round without a member: %s (%s), want stall still", p.State, p.Reason)
	}
	for i := 14; i < 16; i++ {
		w.round(t.Context(), w.clusters[0], now.Add(time.Duration(i)*10*time.Second))
	}
	if p := only(t, w, "workers", "jobs"); p.State != exporters.LagStop {
		t.Errorf("without a member the state is %s (%s), want stop", p.State, p.Reason)
	}

	// What is kept over time, by its names.
	last := map[string]float64{}
	for _, p := range store.points {
		if p.Project != 7 || p.Group != "workers" || p.Topic != "jobs" || p.Service != exporters.LagServicePrefix+kafka.BusName || p.Kind != schemas.MetricGauge {
			t.Fatalf("point %+v", p)
		}
		last[p.Name+"/"+strconv.Itoa(int(p.Partition))] = p.Value
	}
	if last[exporters.MetricLagSum+"/-1"] != 2 || last[exporters.MetricLag+"/0"] != 2 || last[exporters.MetricLagTimeMax+"/-1"] < 100 || last[exporters.MetricLagTime+"/0"] < 100 {
		t.Errorf("kept %v", last)
	}
	if rounds := len(store.points) / 4; rounds != 6 { // 16 rounds of 10 s, kept every 30 s
		t.Errorf("kept %d times, want 6", rounds)
	}

	// The broker goes away: what it told last stays, and the report says so.
	asked := g.Asked
	stop()
	w.round(t.Context(), w.clusters[0], now.Add(time.Hour))
	r, err := w.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Clusters[0]; c.Error == "" || c.FailedSince.IsZero() || len(c.Groups) != 1 || !c.Asked.After(asked) || c.Asked.After(now.Add(time.Hour-1)) {
		t.Errorf("of a broker that is away is told %+v", c)
	}
}

func TestBoundsAreKeptAndTold(t *testing.T) {
	kf, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kf.Close)
	cl := client(t, kf.ListenAddrs())
	adm := kadm.NewClient(cl)
	for _, group := range []string{"g1", "g2", "g3", "skipped"} {
		os := kadm.Offsets{}
		for _, topic := range []string{"a", "b"} {
			for p := range int32(3) {
				os.Add(kadm.Offset{Topic: topic, Partition: p, At: 0, LeaderEpoch: -1})
			}
		}
		if err := adm.CommitAllOffsets(t.Context(), group, os); err != nil {
			t.Fatal(err)
		}
	}
	w := watch(t, kf.ListenAddrs(), nil, func(c *Config) {
		c.ExcludeGroups, c.ExcludeTopics, c.MaxGroups, c.MaxPartitions = []string{"skip*"}, []string{"b"}, 2, 5
	})
	w.round(t.Context(), w.clusters[0], time.Now())
	r, err := w.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := r.Clusters[0]
	partitions := 0
	for _, g := range c.Groups {
		for _, topic := range g.Topics {
			partitions += len(topic.Partitions)
		}
	}
	names := slices.Collect(func(yield func(string) bool) {
		for _, g := range c.Groups {
			if !yield(g.Group) {
				return
			}
		}
	})
	if !slices.Equal(names, []string{"g1", "g2"}) || partitions != 5 || c.LeftOut != (exporters.LagLeftOut{Groups: 1, Partitions: 1}) {
		t.Errorf("groups %v, %d partitions, left out %+v; want g1 g2, 5, one of each", names, partitions, c.LeftOut)
	}
}
