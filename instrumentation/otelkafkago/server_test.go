package otelkafkago

import (
	"context"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

func TestTheServerIsThePartitionsLeaderAndNotABootstrapAddress(t *testing.T) {
	rec := record()
	c := broker(t, 6, kfake.NumBrokers(3))
	for p := range int32(6) { // the broker draws leaders by chance
		if err := c.MoveTopicPartition("orders", p, p%3); err != nil {
			t.Fatal(err)
		}
	}
	tr := &kafka.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(c.ListenAddrs()...), Transport: tr}
	meta, err := client.Metadata(within(t), &kafka.MetadataRequest{Topics: []string{"orders"}})
	if err != nil {
		t.Fatal(err)
	}
	leader := make(map[string]int64)
	for _, p := range meta.Topics[0].Partitions {
		leader[fmt.Sprint(p.ID)] = int64(p.Leader.Port)
	}
	w := newWriter(t, c, func(w *kafka.Writer) { w.Balancer = &kafka.RoundRobin{} }, WithTracerProvider(rec))
	write(t, w, make([]string, 12)...)
	r := newReader(t, c, billing, WithTracerProvider(rec))
	for range 12 {
		m := fetchOne(t, r)
		if err := r.Process(within(t), m, func(context.Context, kafka.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := r.CommitMessages(within(t), m); err != nil {
			t.Fatal(err)
		}
	}
	ports := make(map[int64]bool)
	for _, name := range []string{"send orders", "poll orders", "process orders"} {
		for _, s := range rec.wait(t, name, 12) {
			partition, port := text(t, s, messaging.AttrPartitionID), number(t, s, messaging.AttrServerPort)
			if text(t, s, messaging.AttrServerAddress) != "127.0.0.1" || port != leader[partition] {
				t.Errorf("%s, partition %s: port %d; want the leader's, %d", name, partition, port, leader[partition])
			}
			ports[port] = true
		}
	}
	if len(ports) < 2 {
		t.Fatal("the test's partitions have one leader")
	}
	coordinator := make(map[int64]bool)
	for _, s := range rec.wait(t, "commit orders", 12) {
		coordinator[number(t, s, messaging.AttrServerPort)] = true
	}
	if len(coordinator) != 1 {
		t.Errorf("commits went to %v; want to one coordinator", coordinator)
	}
	if got := w.Counts(); got.MetadataWait <= 0 {
		t.Error("the wait for the first metadata is not told")
	}
}
