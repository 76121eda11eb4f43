package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is a broker with two dead-letter topics and their originals.
type world struct {
	*testing.T
	box *Box
	cl  *kgo.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	kf, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "theirs-spans", topics.IngestSpansDLQ), kfake.SeedTopics(1, topics.IngestEvents, topics.IngestEventsDLQ))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kf.Close)
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.Topics = kf.ListenAddrs(), kafka.Names{topics.IngestSpans: "theirs-spans"}
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &world{t, New(cfg, quiet), cl}
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// put writes one dead letter as the stages do, n minutes after noon.
func (w *world) put(topic string, partition int32, n int, value string, more ...kgo.RecordHeader) {
	w.Helper()
	r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte("k"), Value: []byte(value), Timestamp: noon.Add(time.Duration(n) * time.Minute), Headers: append([]kgo.RecordHeader{
		{Key: "project", Value: []byte("7")},
		{Key: "authorization", Value: []byte("Bearer abcdefghijkl")},
		{Key: headerReason, Value: []byte("undecodable: byte " + value)},
		{Key: headerStage, Value: []byte("persist-spans")},
		{Key: headerTopic, Value: []byte("theirs-spans")},
		{Key: headerTimestamp, Value: fmt.Append(nil, noon.UnixMilli())},
		{Key: headerPartition, Value: []byte("1")},
		{Key: headerOffset, Value: fmt.Append(nil, n)},
	}, more...)}
	if err := w.cl.ProduceSync(w.Context(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	w.Cleanup(cancel)
	return ctx
}

func TestLettersArePagedNewestFirstOverAllTopics(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.put(topics.IngestSpansDLQ, int32(i%2), 2*i, fmt.Sprint(i)) //nolint:gosec // below two
	}
	for i := range 4 {
		w.put(topics.IngestEventsDLQ, 0, 2*i+1, fmt.Sprint("e", i))
	}
	var got []string
	var before map[Place]int64
	for pages := 0; ; pages++ {
		page, err := w.box.List(w.context(), nil, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Letters {
			got = append(got, string(l.Value))
		}
		if before = page.Next; before == nil {
			break
		}
		if pages > 5 {
			t.Fatal("there is always a next page")
		}
	}
	if want := "6 5 4 e3 3 e2 2 e1 1 e0 0"; strings.Join(got, " ") != want {
		t.Errorf("pages give %s; want %s", strings.Join(got, " "), want)
	}
	one, err := w.box.List(w.context(), []string{topics.IngestEventsDLQ}, nil, 100)
	if err != nil || len(one.Letters) != 4 || one.Next != nil {
		t.Errorf("one topic gives %d letters, next %v, %v", len(one.Letters), one.Next, err)
	}
}

func TestALetterTellsWhereItCameFrom(t *testing.T) {
	w := newWorld(t)
	w.put(topics.IngestSpansDLQ, 1, 3, "x", kgo.RecordHeader{Key: headerTruncated, Value: []byte("9000")}, kgo.RecordHeader{Key: HeaderRetry, Value: []byte("ingest-spans-dlq/0@4")})
	l, err := w.box.Get(w.context(), Place{topics.IngestSpansDLQ, 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if l.OriginalTopic != topics.IngestSpans || l.OriginalPartition != 1 || l.OriginalOffset != 3 || l.Stage != "persist-spans" || l.Reason != "undecodable: byte x" ||
		l.WholeBytes != 9000 || l.Whole() || l.RetryOf != "ingest-spans-dlq/0@4" || !l.Time.Equal(noon) || !l.PutAside.Equal(noon.Add(3*time.Minute)) || len(l.Headers) != 3 || len(l.TopicID) != 32 {
		t.Errorf("the letter is %+v", l)
	}
	if err := w.box.PutBack(w.context(), &l); !errors.Is(err, ErrNotWhole) {
		t.Errorf("PutBack of a letter that was cut gives %v", err)
	}
	for _, offset := range []int64{-1, 1, 1 << 40} {
		if _, err := w.box.Get(w.context(), Place{topics.IngestSpansDLQ, 1}, offset); !errors.Is(err, ErrGone) {
			t.Errorf("Get of offset %d gives %v; want ErrGone", offset, err)
		}
	}
	if _, err := w.box.Get(w.context(), Place{topics.IngestSpansDLQ, 9}, 0); !errors.Is(err, ErrGone) {
		t.Errorf("Get of a partition that is not there gives %v; want ErrGone", err)
	}
}

func TestALetterIsPutBackAsItWas(t *testing.T) {
	w := newWorld(t)
	w.put(topics.IngestSpansDLQ, 0, 5, "value")
	l, err := w.box.Get(w.context(), Place{topics.IngestSpansDLQ, 0}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if was, err := w.box.WasPutBack(w.context(), &l, noon); err != nil || was {
		t.Fatalf("WasPutBack of a letter that was not gives %v, %v", was, err)
	}
	if err := w.box.PutBack(w.context(), &l); err != nil {
		t.Fatal(err)
	}
	if was, err := w.box.WasPutBack(w.context(), &l, noon); err != nil || !was {
		t.Errorf("WasPutBack of a letter that was gives %v, %v", was, err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(w.box.cfg.Brokers...), kgo.ConsumeTopics("theirs-spans"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got := reader.PollFetches(w.context()).Records()
	if len(got) != 1 {
		t.Fatalf("the topic has %d records, want 1", len(got))
	}
	r := got[0]
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	if string(r.Value) != "value" || string(r.Key) != "k" || time.Since(r.Timestamp).Abs() > time.Minute || len(headers) != 3 || headers["project"] != "7" || headers[HeaderRetry] != "ingest-spans-dlq/0@0" {
		t.Errorf("the record is %s=%s of %v with headers %v", r.Key, r.Value, r.Timestamp, headers)
	}
}

func TestEachDeadLetterTopicHasItsOriginal(t *testing.T) {
	for _, name := range Topics() {
		original, ok := Original(name)
		if _, err := topics.Get(original); !ok || err != nil {
			t.Errorf("Original(%s) = %s, %v; which is no topic: %v", name, original, ok, err)
		}
	}
	for _, name := range []string{"ingest-spans", "orders-dlq", ""} {
		if _, ok := Original(name); ok {
			t.Errorf("%q is taken for a dead-letter topic of ours", name)
		}
	}
}

func TestPreviewsHaveNoSecrets(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got, _, _ := Preview([]byte(value)); got != want {
			t.Errorf("Preview(%q) = %q; want %q", value, got, want)
		}
	}
	f("", "")
	f("order 8112 of Zoë", "order 8112 of Zoë")
	f("Authorization: Bearer abcdefghijklmnop", "Authorization: [scrubbed] [scrubbed]")
	f(`{"password": "hun\"ter2", "total": 4}`, `{"password": [scrubbed], "total": 4}`)
	f("user_token=abc123&x=1", "user_token=[scrubbed]&x=1")
	f("postgres://me:s3cret@db/x", "postgres://me:[scrubbed]@db/x")
	f("paid with 4111 1111 1111 1111 today", "paid with [scrubbed] today")
	f("offset 1796062529267626841", "offset 1796062529267626841")
	f("\x0a\x05hello\x12\x02ab\x1a\x0dpassword=abcd", "hello\npassword=[scrubbed]")
	f("\x00\x01\x02", "")
	long, binary, cut := Preview([]byte(strings.Repeat("ä", 5000)))
	if len(long) != maxPreview || binary || !cut {
		t.Errorf("a long value gives %d bytes, binary %v, cut %v", len(long), binary, cut)
	}
	for key, want := range map[string]string{"authorization": Scrubbed, "X-Api-Key": Scrubbed, "project": "7"} {
		if got := HeaderText(Header{key, []byte("7")}); got != want {
			t.Errorf("header %s reads %q; want %q", key, got, want)
		}
	}
	if got := HeaderText(Header{"trace", []byte{0, 1, 2}}); got != "binary" {
		t.Errorf("a binary header reads %q", got)
	}
}

func FuzzPreview(f *testing.F) {
	f.Add([]byte("password=x\x00\xff4111111111111111"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, _, _ := Preview(b)
		if len(text) > maxPreview || !strings.Contains(text, "") || strings.ContainsRune(text, 0) {
			t.Errorf("Preview(%q) = %q", b, text)
		}
	})
}
