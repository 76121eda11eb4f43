package cases

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelfranz"
	"github.com/hoptrace/hoptrace/schemas"
)

// Names of what goes through the real broker.
const (
	LiveBatchTopic  = "awkward.batch"
	LiveBehindTopic = "awkward.behind"
	LiveBehindGroup = "awkward-behind"
	// Poison is how many records are put on the topic of spans that no stage can take.
	Poison = 7
	// LiveUnread is how many records the stopped group has before it.
	LiveUnread = 1200
)

// live sends what needs real records.
func live(ctx context.Context, cfg Config) ([]Case, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, fmt.Errorf("cannot make a client of %s: %w", cfg.Kafka, err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for topic, partitions := range map[string]int32{LiveBatchTopic: 1, LiveBehindTopic: Partitions} {
		if _, err := adm.CreateTopic(ctx, partitions, -1, nil, topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("cannot make topic %s: %w", topic, err)
		}
	}
	var out []Case
	for _, make := range []func(context.Context, Config, *kgo.Client, *kadm.Client) (Case, error){poison, behind, liveBatch} {
		c, err := make(ctx, cfg, cl, adm)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// poison are records that no stage can take: they become dead letters.
func poison(ctx context.Context, cfg Config, cl *kgo.Client, _ *kadm.Client) (Case, error) {
	const topic = schemas.TopicIngestSpans
	values := []string{
		"this is no protobuf", "", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", `{"resourceSpans": "JSON on a topic of protobuf"}`,
		"Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123456789 password=hunter2 4111 1111 1111 1111", "<script>alert('payload')</script> \u202e مرحبا", "\xff" + string(make([]byte, 40_000)),
	}
	records := make([]*kgo.Record, 0, Poison)
	for i, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Key: []byte("poison-" + strconv.Itoa(i)), Value: []byte(v), Headers: []kgo.RecordHeader{
			{Key: "sent-by", Value: []byte("awkward")}, {Key: "authorization", Value: []byte("Bearer abcdefghijklmnopqrstuvwxyz0123456789")},
		}})
		if i%2 == 0 { // what came this far, but is not what it says it is
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: schemas.HeaderProject, Value: []byte("1")},
				kgo.RecordHeader{Key: schemas.HeaderReceived, Value: []byte(strconv.FormatInt(cfg.Now.UnixNano(), 10))}, kgo.RecordHeader{Key: schemas.HeaderSchema, Value: []byte(schemas.SchemaOTLPTraces)})
		}
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return Case{}, fmt.Errorf("cannot put records on topic %s: %w", topic, err)
	}
	return Case{Name: "dead letters", Says: fmt.Sprintf("%d records on %s that no stage can take", len(records), topic), Topic: topic, Figures: map[string]float64{"letters": float64(len(records))}}, nil
}

// behind is a group that stopped after a few records of a topic with one hot partition.
func behind(ctx context.Context, _ Config, cl *kgo.Client, adm *kadm.Client) (Case, error) {
	starts, err := adm.ListEndOffsets(ctx, LiveBehindTopic)
	if err != nil {
		return Case{}, fmt.Errorf("cannot ask for the ends of %s: %w", LiveBehindTopic, err)
	}
	if err := adm.CommitAllOffsets(ctx, LiveBehindGroup, starts.Offsets()); err != nil {
		return Case{}, fmt.Errorf("cannot commit for group %s: %w", LiveBehindGroup, err)
	}
	records := make([]*kgo.Record, 0, LiveUnread)
	for i := range int32(LiveUnread) {
		partition := int32(hot)
		if i%4 == 0 {
			partition = i / 4 % Partitions
		}
		records = append(records, &kgo.Record{Topic: LiveBehindTopic, Partition: partition, Value: []byte(strconv.Itoa(int(i)))})
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return Case{}, fmt.Errorf("cannot fill topic %s: %w", LiveBehindTopic, err)
	}
	return Case{
		Name: "a group behind", Says: fmt.Sprintf("group %s stopped %d records before the ends of 24 partitions, one of them hot", LiveBehindGroup, LiveUnread),
		Topic: LiveBehindTopic, Partition: hot, Group: LiveBehindGroup, Figures: map[string]float64{"unread": LiveUnread, "partitions": Partitions},
	}, nil
}

// liveBatch sends 5,000 records with the wrapper of franz-go, and reads them as one batch.
func liveBatch(ctx context.Context, cfg Config, _ *kgo.Client, adm *kadm.Client) (Case, error) {
	ends, err := adm.ListEndOffsets(ctx, LiveBatchTopic)
	if err != nil {
		return Case{}, fmt.Errorf("cannot ask for the end of %s: %w", LiveBatchTopic, err)
	}
	first, _ := ends.Lookup(LiveBatchTopic, 0)
	sdk, err := hoptrace.New(hoptrace.Options{ServiceName: "awkward-batch", Endpoint: cfg.OTLP, Protocol: "http", SampleRatio: 1})
	if err != nil {
		return Case{}, fmt.Errorf("cannot make the exporter: %w", err)
	}
	defer sdk.Close()
	hooks := otelfranz.New(otelfranz.WithTracerProvider(sdk.TracerProvider()))
	cl, err := kgo.NewClient(append(hooks.Opts(), kgo.SeedBrokers(cfg.Kafka), kgo.DefaultProduceTopic(LiveBatchTopic), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		LiveBatchTopic: {0: kgo.NewOffset().At(first.Offset)},
	}))...)
	if err != nil {
		return Case{}, fmt.Errorf("cannot make the client: %w", err)
	}
	defer cl.Close()
	records := make([]*kgo.Record, BatchSize)
	for i := range records {
		records[i] = &kgo.Record{Key: []byte("meter-" + strconv.Itoa(i%97)), Value: []byte(strconv.Itoa(i))}
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return Case{}, fmt.Errorf("cannot send the batch: %w", err)
	}
	var read []*kgo.Record
	for len(read) < BatchSize {
		fs := hooks.PollRecords(ctx, BatchSize-len(read))
		if err := fs.Err(); err != nil {
			return Case{}, fmt.Errorf("cannot read the batch: %w", err)
		}
		read = append(read, fs.Records()...)
	}
	if err := hooks.ProcessBatch(ctx, read, func(context.Context, []*kgo.Record) error { time.Sleep(30 * time.Millisecond); return nil }); err != nil {
		return Case{}, err
	}
	if !sdk.Flush(30 * time.Second) {
		return Case{}, fmt.Errorf("not all spans of the batch were exported: %+v", sdk.Counts())
	}
	return Case{
		Name: "a real batch of 5,000", Says: "5,000 records sent and read as one batch by the wrapper of franz-go", Topic: LiveBatchTopic, Offset: first.Offset, Figures: map[string]float64{"messages": BatchSize},
	}, nil
}
