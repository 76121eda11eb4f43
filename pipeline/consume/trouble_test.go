package consume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/deadletter"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func TestPoisonGoesToTheDeadLetterTopicWithItsOrigin(t *testing.T) {
	f := setup(t, 2)
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		var dead []DeadLetter
		for i := range batch {
			if strings.HasPrefix(string(batch[i].Value), "bad") {
				dead = append(dead, DeadLetter{&batch[i], "not OTLP: " + string(batch[i].Value)})
			}
		}
		return dead, nil
	}}
	f.produce(t, 1, "good", "bad", "fine")
	startLoop(t, f.cfg, s)
	eventually(t, "committed past the poison", func() bool { return f.committed(t, 1) == 3 })
	dead := f.dead(t)
	if len(dead) != 1 || string(dead[0].Value) != "bad" || string(dead[0].Key) != "k" {
		t.Fatalf("dead letters %+v; want the record as it was", dead)
	}
	got := headers(dead[0])
	if id := got[HeaderTopicID]; len(id) != 32 {
		t.Errorf("%s = %q; want 32 hex digits", HeaderTopicID, id)
	}
	delete(got, HeaderTopicID)
	want := map[string]string{
		"schema": "test/1", HeaderReason: "not OTLP: bad", HeaderStage: "test",
		HeaderTopic: "in", HeaderPartition: "1", HeaderOffset: "1",
	}
	produced := time.Now().Add(-time.Minute).UnixMilli()
	if at, err := strconv.ParseInt(got[HeaderTimestamp], 10, 64); err != nil || at < produced || at > dead[0].Timestamp.UnixMilli() {
		t.Errorf("%s = %q; want when the record was produced, in ms", HeaderTimestamp, got[HeaderTimestamp])
	}
	delete(got, HeaderTimestamp)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"fine", "good"}, s.values()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
}

// A stage that was away for an hour meets poison: Kafka's client gives up at once what
// says that it is older than a delivery may take, so the letter has a time of its own.
func TestOldPoisonIsPutAsideToo(t *testing.T) {
	f := setup(t, 1)
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		return []DeadLetter{{&batch[0], "no"}}, nil
	}}
	old := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	if err := f.cl.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Value: []byte("bad"), Timestamp: old}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	startLoop(t, f.cfg, s)
	eventually(t, "committed past the poison", func() bool { return f.committed(t, 0) == 1 })
	dead := f.dead(t)
	if len(dead) != 1 || headers(dead[0])[HeaderTimestamp] != strconv.FormatInt(old.UnixMilli(), 10) || time.Since(dead[0].Timestamp) > time.Minute {
		t.Errorf("dead letters %+v; want one of now that tells the record's time %d", dead, old.UnixMilli())
	}
}

func TestALoopReadsAndPutsAsideByTheBrokersNames(t *testing.T) {
	f := setup(t, 1)
	f.cfg.Topic, f.cfg.DLQ = topics.Events, topics.EventsDLQ
	f.cfg.Kafka.Topics = kafka.Names{topics.Events: "in", topics.EventsDLQ: "in-dlq"}
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		return []DeadLetter{{&batch[0], "no"}}, nil
	}}
	f.produce(t, 0, "bad")
	l := startLoop(t, f.cfg, s)
	eventually(t, "committed past the poison", func() bool { return f.committed(t, 0) == 1 })
	dead := f.dead(t)
	if len(dead) != 1 || headers(dead[0])[HeaderTopic] != "in" {
		t.Fatalf("dead letters %+v; want one whose %s is the brokers' name", dead, HeaderTopic)
	}
	eventually(t, "lag is known", func() bool { return len(l.Lag()) == 1 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.assigned[0].Topic != "in" || s.batches[0][0].Topic != "in" || s.batches[0][0].TopicID == (kafka.TopicID{}) {
		t.Errorf("the handler was told of %+v and %+v; want both by the brokers' name, with its id", s.assigned[0], s.batches[0][0])
	}
}

func TestDeadLetterTopicThatCannotBeWrittenStopsTheStage(t *testing.T) {
	f := setup(t, 1)
	if _, err := f.adm.DeleteTopic(t.Context(), "in-dlq"); err != nil {
		t.Fatal(err)
	}
	calls := 0
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		calls++
		return []DeadLetter{{&batch[0], "bad"}}, nil
	}}
	l := startLoop(t, f.cfg, s)
	f.produce(t, 0, "bad")
	eventually(t, "writing the dead letter is tried again", func() bool {
		return testutil.ToFloat64(l.metrics.retries.WithLabelValues("test", "in")) >= 2
	})
	if got := f.committed(t, 0); got != -1 {
		t.Fatalf("committed %d before the dead letter is durable", got)
	}
	f.createTopic(t, "in-dlq", 1)
	eventually(t, "committed once the topic is there", func() bool { return f.committed(t, 0) == 1 })
	if dead := f.dead(t); len(dead) != 1 {
		t.Errorf("%d dead letters; want 1", len(dead))
	}
	if calls != 1 {
		t.Errorf("the batch was handled %d times while only its dead letter had to be written; want 1", calls)
	}
}

func TestRecordTooLargeForTheDeadLetterTopicIsCutAndMarked(t *testing.T) {
	f := setup(t, 1)
	f.cfg.DLQMaxBytes = 64 << 10
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		return []DeadLetter{{&batch[0], strings.Repeat("ä", 2000)}}, nil
	}}
	value := strings.Repeat("x", 200<<10)
	f.produce(t, 0, value)
	startLoop(t, f.cfg, s)
	eventually(t, "committed", func() bool { return f.committed(t, 0) == 1 })
	dead := f.dead(t)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters; want 1", len(dead))
	}
	h := headers(dead[0])
	if h[HeaderTruncated] != strconv.Itoa(len(value)) || len(dead[0].Value) < 60<<10 || len(dead[0].Value) > 64<<10 {
		t.Errorf("value of %d bytes marked %q; want it cut to nearly 64 KiB and marked %d", len(dead[0].Value), h[HeaderTruncated], len(value))
	}
	if n := len(h[HeaderReason]); n > maxReasonBytes || n < maxReasonBytes-2 {
		t.Errorf("reason of %d bytes; want it cut to %d", n, maxReasonBytes)
	}
}

func TestRecordOfManyHeadersFitsTheDeadLetterTopic(t *testing.T) {
	l := &Loop{cfg: Config{Stage: "test", DLQ: "in-dlq", DLQMaxBytes: minDLQBytes}}
	r := &Record{Topic: "in", Key: make([]byte, 100<<10), Value: make([]byte, 100<<10), Timestamp: time.Now()}
	for range 10_000 {
		r.Headers = append(r.Headers, Header{"dlq-reason", []byte("forged value")})
	}
	letter := l.letter(r, "why")
	size := len(letter.Key) + len(letter.Value)
	reasons := 0
	for _, h := range letter.Headers {
		size += len(h.Key) + len(h.Value) + 10
		if h.Key == HeaderReason {
			reasons++
			if string(h.Value) != "why" {
				t.Errorf("reason %q; want ours", h.Value)
			}
		}
	}
	if size > minDLQBytes || reasons != 1 {
		t.Errorf("dead letter of %d bytes with %d reasons; want at most %d and one", size, reasons, minDLQBytes)
	}
	if got := headers(letter)[HeaderDropped]; got != "9000" {
		t.Errorf("%s = %q; want 9000", HeaderDropped, got)
	}
}

func TestADeadLetterIsReadAsItWasWritten(t *testing.T) {
	f := setup(t, 1)
	l := &Loop{cfg: Config{Stage: "test", DLQ: "in-dlq", DLQMaxBytes: minDLQBytes}}
	r := &Record{Topic: "in", TopicID: kafka.TopicID{7}, Partition: 3, Offset: 9, Key: []byte("k"), Value: make([]byte, 100<<10), Timestamp: time.UnixMilli(1_700_000_000_123)}
	for range maxHeaders + 5 {
		r.Headers = append(r.Headers, Header{"own", []byte("1")})
	}
	if err := f.cl.ProduceSync(t.Context(), l.letter(r, "why")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got, err := deadletter.New(f.cfg.Kafka, quiet).Get(t.Context(), deadletter.Place{Topic: "in-dlq"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Reason != "why" || got.Stage != "test" || got.OriginalTopic != "in" || got.OriginalPartition != 3 || got.OriginalOffset != 9 || !got.Time.Equal(r.Timestamp) {
		t.Errorf("read %q of %s: %s/%d@%d of %v; want why of test: in/3@9 of %v", got.Reason, got.Stage, got.OriginalTopic, got.OriginalPartition, got.OriginalOffset, got.Time, r.Timestamp)
	}
	if got.WholeBytes != len(r.Value) || got.HeadersDropped != 5 {
		t.Errorf("the whole has %d bytes and %d headers more; want %d and 5", got.WholeBytes, got.HeadersDropped, len(r.Value))
	}
	for _, h := range got.Headers {
		if h.Key != "own" {
			t.Errorf("header %s passes for one of the record", h.Key)
		}
	}
}

func TestPanicIsNarrowedDownToItsRecord(t *testing.T) {
	f := setup(t, 1)
	f.cfg.MaxBatchWait = 300 * time.Millisecond
	s := &stage{handle: func(batch []Record) ([]DeadLetter, error) {
		for _, r := range batch {
			if strings.HasPrefix(string(r.Value), "poison") {
				panic("index out of range in " + string(r.Value))
			}
		}
		return nil, nil
	}}
	var values, want []string
	for i := range 100 {
		v := "v" + strconv.Itoa(i)
		if i == 17 || i == 83 {
			v = "poison" + strconv.Itoa(i)
		} else {
			want = append(want, v)
		}
		values = append(values, v)
	}
	f.produce(t, 0, values...)
	startLoop(t, f.cfg, s)
	eventually(t, "committed past the poison", func() bool { return f.committed(t, 0) == 100 })
	slices.Sort(want)
	if diff := cmp.Diff(want, s.values()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	var dead []string
	for _, r := range f.dead(t) {
		dead = append(dead, string(r.Value))
		if reason := headers(r)[HeaderReason]; !strings.HasPrefix(reason, "panic: index out of range in poison") {
			t.Errorf("reason %q; want the panic", reason)
		}
	}
	if diff := cmp.Diff([]string{"poison17", "poison83"}, dead); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

func TestHandlerThatAlwaysPanicsIsNotTakenForPoison(t *testing.T) {
	f := setup(t, 1)
	f.cfg.MaxBatchWait = 300 * time.Millisecond
	values := make([]string, 200)
	for i := range values {
		values[i] = strconv.Itoa(i)
	}
	f.produce(t, 0, values...)
	s := &stage{handle: func([]Record) ([]DeadLetter, error) { panic("nil store") }}
	l := startLoop(t, f.cfg, s)
	eventually(t, "the batch is tried again", func() bool { return testutil.ToFloat64(l.metrics.retries.WithLabelValues("test", "in")) >= 1 })
	if dead := f.dead(t); len(dead) != 0 || f.committed(t, 0) != -1 {
		t.Errorf("%d dead letters, committed %d; want none", len(dead), f.committed(t, 0))
	}
}

// trimmed makes records 0 to 9 of partition 0, commits 3, and deletes up to 7.
func trimmed(t *testing.T) *fixture {
	f := setup(t, 2)
	for i := range 10 {
		f.produce(t, 0, strconv.Itoa(i))
	}
	var commit, del kadm.Offsets
	commit.AddOffset("in", 0, 3, -1)
	if err := f.adm.CommitAllOffsets(t.Context(), f.cfg.Group, commit); err != nil {
		t.Fatal(err)
	}
	del.AddOffset("in", 0, 7, -1)
	if _, err := f.adm.DeleteRecords(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPartitionWhoseRecordsAreGoneStandsStill(t *testing.T) {
	f := trimmed(t)
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	eventually(t, "the gap is found", func() bool { return len(l.Gaps()) == 1 })
	f.produce(t, 1, "other partition")
	eventually(t, "the other partition goes on", func() bool { return f.committed(t, 1) == 1 })
	if diff := cmp.Diff([]string{"other partition"}, s.values()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	if got := f.committed(t, 0); got != 3 {
		t.Errorf("committed %d; want it left at 3", got)
	}
	g := l.Gaps()[0]
	if g.Partition != 0 || g.From != 3 || g.To != 7 || g.Lost() != 4 || g.Accepted {
		t.Errorf("gap %+v; want 3 to 7, not accepted", g)
	}
	if got := testutil.ToFloat64(l.metrics.stalled.WithLabelValues("test", "in", "0")); got != 1 {
		t.Errorf("stalled_partition = %v; want 1", got)
	}
	if got := testutil.ToFloat64(l.metrics.gaps.WithLabelValues("test", "in", "false")); got != 1 {
		t.Errorf("gaps_total = %v; want 1", got)
	}
}

func TestAcceptedGapGoesOnAtTheEarliestRecordAndIsCounted(t *testing.T) {
	f := trimmed(t)
	f.cfg.AcceptGaps = true
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	eventually(t, "read to the end", func() bool { return f.committed(t, 0) == 10 })
	if diff := cmp.Diff([]string{"7", "8", "9"}, s.values()); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	if gaps := l.Gaps(); len(gaps) != 1 || !gaps[0].Accepted || gaps[0].Lost() != 4 {
		t.Errorf("gaps %+v; want one of 4 records, accepted", gaps)
	}
	if got := testutil.ToFloat64(l.metrics.lost.WithLabelValues("test", "in")); got != 4 {
		t.Errorf("lost_records_total = %v; want 4", got)
	}
}

func TestCommitBeyondTheEndStandsStillToo(t *testing.T) {
	f := setup(t, 1)
	f.produce(t, 0, "a")
	var commit kadm.Offsets
	commit.AddOffset("in", 0, 50, -1)
	if err := f.adm.CommitAllOffsets(t.Context(), f.cfg.Group, commit); err != nil {
		t.Fatal(err)
	}
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	eventually(t, "the gap is found", func() bool { return len(l.Gaps()) == 1 })
	if g := l.Gaps()[0]; g.From != 50 || g.To != 0 || g.Lost() != 0 || g.Accepted || s.count() != 0 {
		t.Errorf("gap %+v, handled %v; want 50 to 0 and nothing", g, s.values())
	}
}

func TestGroupWithoutCommitBeginsAtTheEarliestRecordAndThatIsNoGap(t *testing.T) {
	f := setup(t, 1)
	for i := range 5 {
		f.produce(t, 0, strconv.Itoa(i))
	}
	var del kadm.Offsets
	del.AddOffset("in", 0, 2, -1)
	if _, err := f.adm.DeleteRecords(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	s := &stage{}
	l := startLoop(t, f.cfg, s)
	eventually(t, "read to the end", func() bool { return f.committed(t, 0) == 5 })
	if diff := cmp.Diff([]string{"2", "3", "4"}, s.values()); diff != "" || len(l.Gaps()) != 0 {
		t.Errorf("gaps %v; handled (-want +got):\n%s", l.Gaps(), diff)
	}
}

func TestAssignedThatFailsIsTriedAgain(t *testing.T) {
	f := setup(t, 1)
	f.produce(t, 0, "a")
	h := &failingAssign{stage: &stage{}, left: 2}
	startLoop(t, f.cfg, h)
	eventually(t, "committed", func() bool { return f.committed(t, 0) == 1 })
	if h.left != 0 || len(h.assigned) != 1 {
		t.Errorf("%d failures left, assigned %v; want 0 and one partition", h.left, h.assigned)
	}
}

type failingAssign struct {
	*stage
	left int
}

func (f *failingAssign) Assigned(ctx context.Context, ps []Partition) error {
	if f.left > 0 {
		f.left--
		return errors.New("store is down")
	}
	return f.stage.Assigned(ctx, ps)
}

func TestItemsComeFromTheCountHeader(t *testing.T) {
	f := func(value string, want int) {
		t.Helper()
		r := Record{Headers: []Header{{"count", []byte(value)}}}
		if got := r.items(); got != want {
			t.Errorf("items of count %q = %d; want %d", value, got, want)
		}
	}
	f("512", 512)
	f("0", 1)
	f("-3", 1)
	f("many", 1)
	f("99999999999999999999", 1)
	none := Record{}
	if got := none.items(); got != 1 {
		t.Errorf("items without the header = %d; want 1", got)
	}
}

func TestLagOfPartitionsNotReadIsLeftOut(t *testing.T) {
	l := &Loop{owned: map[int32]*owned{0: {next: 5, end: 9}, 1: {next: -1, end: 9}, 2: {next: 9, end: 7}}}
	if got, want := l.Lag(), (map[int32]int64{0: 4, 2: 0}); !maps.Equal(got, want) {
		t.Errorf("Lag = %v; want %v", got, want)
	}
}
