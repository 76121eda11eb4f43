package integration

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// workHop is a hop with what commits and retries add.
type workHop struct {
	harness.Hop
	Settle *harness.HopPart `json:"settle"`
	Retry  *struct {
		Topic     string          `json:"topic"`
		Partition *int32          `json:"partition"`
		Offset    *int64          `json:"offset"`
		Attempt   int             `json:"attempt"`
		InRetry   harness.HopPart `json:"inRetry"`
	} `json:"retry"`
}

// worker is a program with one writer.
type worker struct {
	t       *testing.T
	broker  string
	options []otelkafkago.Option
	writer  *otelkafkago.Writer
}

func (w *worker) send(ctx context.Context, msgs ...kafka.Message) {
	w.t.Helper()
	if err := w.writer.WriteMessages(ctx, msgs...); err != nil {
		w.t.Fatal(err)
	}
}

// read hands n messages of a topic to f as group "g", and what it returns to the
// reader that they came from.
func (w *worker) read(topic string, n int, f func(ctx context.Context, r *otelkafkago.Reader, msgs []kafka.Message)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	r := otelkafkago.NewReader(kafka.ReaderConfig{
		Brokers: []string{w.broker}, Topic: topic, GroupID: "g", StartOffset: kafka.FirstOffset, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 100 * time.Millisecond,
	}, append([]otelkafkago.Option{otelkafkago.WithExplicitProcessing()}, w.options...)...)
	var msgs []kafka.Message
	for len(msgs) < n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			w.t.Fatalf("cannot fetch message %d of %s: %v", len(msgs), topic, err)
		}
		msgs = append(msgs, m)
	}
	f(ctx, r, msgs)
	if err := r.Close(); err != nil {
		w.t.Error(err)
	}
}

// TestCommitsRetriesBatchesAndCreateSpansAreSeenInTheAPI lets one record of three
// fail twice, its retry sent on from a loop that no trace leads to, and reads five
// others as a batch.
func TestCommitsRetriesBatchesAndCreateSpansAreSeenInTheAPI(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	admin, err := kgo.NewClient(kgo.SeedBrokers(h.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopics(t.Context(), 1, 1, nil, "work", "work.retry", "work.dead", "batch"); err != nil {
		t.Fatal(err)
	}
	client, err := hoptrace.New(hoptrace.Options{ServiceName: "worker", Endpoint: "http://" + h.GRPC, SampleRatio: 1, OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	w := &worker{t: t, broker: h.Kafka, options: []otelkafkago.Option{otelkafkago.WithTracerProvider(client.TracerProvider())}}
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w.writer = otelkafkago.NewWriter(&kafka.Writer{Addr: kafka.TCP(h.Kafka), RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond, Transport: transport},
		append([]otelkafkago.Option{otelkafkago.WithCreateSpans()}, w.options...)...)
	message := func(topic string, i int) kafka.Message {
		return kafka.Message{Topic: topic, Value: []byte(strconv.Itoa(i))}
	}

	w.send(t.Context(), message("work", 0), message("work", 1), message("work", 2))
	for i := range 5 {
		w.send(t.Context(), message("batch", i))
	}
	errBad := errors.New("no such order")
	// fails processes each message, and sends on what on gives of the one whose
	// value is 1: within its processing, or later, where no trace leads to.
	fails := func(within bool, on func(ctx context.Context, m kafka.Message) kafka.Message) func(context.Context, *otelkafkago.Reader, []kafka.Message) {
		return func(ctx context.Context, r *otelkafkago.Reader, msgs []kafka.Message) {
			for _, m := range msgs {
				var next []kafka.Message
				err := r.Process(ctx, m, func(ctx context.Context, m kafka.Message) error {
					if string(m.Value) == "1" {
						next = append(next, on(ctx, m))
						if within {
							w.send(ctx, next...)
							next = nil
						}
						return errBad
					}
					return nil
				})
				if err != nil && !errors.Is(err, errBad) {
					t.Error(err)
				}
				w.send(t.Context(), next...)
				if err := r.CommitMessages(ctx, m); err != nil {
					t.Error(err)
				}
			}
		}
	}
	w.read("work", 3, fails(false, func(ctx context.Context, m kafka.Message) kafka.Message {
		return otelkafkago.Retry(ctx, m, "work.retry")
	}))
	w.read("work.retry", 1, fails(true, func(ctx context.Context, m kafka.Message) kafka.Message {
		return otelkafkago.DeadLetter(ctx, m, "work.dead", errBad)
	}))
	w.read("batch", 5, func(ctx context.Context, r *otelkafkago.Reader, msgs []kafka.Message) {
		if err := r.ProcessBatch(ctx, msgs, func(context.Context, []kafka.Message) error { return nil }); err != nil {
			t.Error(err)
		}
		if err := r.CommitMessages(ctx, msgs...); err != nil {
			t.Error(err)
		}
	})
	if err := w.writer.Close(); err != nil {
		t.Error(err)
	}
	if !client.Flush(10 * time.Second) {
		t.Fatalf("not all was exported: %+v", client.Counts())
	}
	harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-spans")

	hops := func(topic string, n int) []workHop {
		t.Helper()
		var list struct {
			Hops []workHop `json:"hops"`
		}
		h.MustGet(t, "hops?topic="+topic, &list)
		if len(list.Hops) != n {
			t.Fatalf("%d hops of %s; want %d", len(list.Hops), topic, n)
		}
		for _, hop := range list.Hops {
			if hop.Producer == nil || hop.Consumer == nil || hop.Offset == nil || !hop.EndToEnd.Known {
				t.Errorf("hop %s is not whole: %+v", hop.Record(), hop)
			}
			sum := int64(0)
			for _, p := range hop.Parts {
				if !p.Known {
					t.Errorf("%s: part %s is unknown", hop.Record(), p.Name)
				}
				sum += p.Ns
			}
			if sum != hop.EndToEnd.Ns {
				t.Errorf("%s: the parts sum to %d ns; end to end is %d", hop.Record(), sum, hop.EndToEnd.Ns)
			}
			if hop.Settle == nil || !hop.Settle.Known || hop.Settle.Ns <= 0 {
				t.Errorf("%s: its commit took %+v", hop.Record(), hop.Settle)
			}
		}
		return list.Hops
	}
	for _, hop := range hops("work", 3) {
		if hop.Retry != nil || hop.Failed != (*hop.Offset == 1) {
			t.Errorf("%s: failed %v, retry %+v", hop.Record(), hop.Failed, hop.Retry)
		}
	}
	hops("batch", 5)
	again := hops("work.retry", 1)[0]
	if r := again.Retry; r == nil || r.Topic != "work" || r.Partition == nil || *r.Partition != 0 || r.Offset == nil || *r.Offset != 1 || r.Attempt != 1 ||
		!r.InRetry.Known || r.InRetry.Ns <= 0 {
		t.Errorf("the retry tells %+v", again.Retry)
	}
	// The way of the record is one journey, from its first sending on.
	var j struct {
		Hops []workHop `json:"hops"`
	}
	h.MustGet(t, "traces/"+again.Consumer.TraceID, &j)
	way := map[string]int{}
	for _, hop := range j.Hops {
		if *hop.Offset == 1 || hop.Topic != "work" {
			way[hop.Topic]++
		}
	}
	if len(way) != 3 || way["work"] != 1 || way["work.retry"] != 1 || way["work.dead"] != 1 {
		t.Errorf("the journey of the retry goes by %v; want work, work.retry and work.dead", way)
	}
}
