package beacon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

const (
	// lookEvery is how often brokers and leaders are looked up when nothing fails.
	lookEvery = 30 * time.Second
	// lookAgain is how often while no broker can be asked.
	lookAgain = 5 * time.Second
	// requestTimeout bounds one round to a cluster.
	requestTimeout = 5 * time.Second
	// maxPartitions bounds the topic: a broker each, and those of brokers that are gone.
	maxPartitions = clock.MaxBrokers
)

// topicConfigs are those of a topic that we make: stamped by the broker, and gone
// within minutes.
var topicConfigs = map[string]string{
	configStamp: stampByBroker, "retention.ms": "300000", "segment.ms": "120000", "cleanup.policy": "delete", "min.insync.replicas": "1",
}

const (
	configStamp   = "message.timestamp.type"
	stampByBroker = "LogAppendTime"
)

// cluster is one that is asked. Its fields without a lock are its own goroutine's.
type cluster struct {
	*Beacon
	name    string
	client  *kgo.Client
	admin   *kafka.Admin
	sampler *clock.Sampler

	id      string   // what the brokers call the cluster
	topic   [16]byte // its id; zero where topics have none
	asked   []asked
	nodes   map[string]int32 // by address
	looked  time.Time
	lacks   error  // what look could not do
	trouble string // what was logged last; empty when all is well

	// marked asks for the stamp in the batch itself: kfake, which the embedded broker
	// is made of, goes by that. Kafka goes by the topic, and refuses such a batch.
	marked    bool
	unstamped int // beats without a stamp, one after the other
}

// asked is a broker and a partition that it leads.
type asked struct {
	node, partition int32
	host            string
	port            int
}

func (b *Beacon) add(name string, kc kafka.Config) error {
	c := &cluster{Beacon: b, name: name, nodes: map[string]int32{}, sampler: clock.NewSampler(b.deps.Now)}
	// A cluster that is away is told once, by us; the client would at every try.
	client, err := kafka.NewClient(kc, b.log, b.deps.Metrics, kgo.WithLogger(nil), kgo.RequestRetries(1))
	if err != nil {
		return fmt.Errorf("cannot ask the clocks of cluster %q: %w", name, err)
	}
	c.client, c.admin = client, kafka.NewAdmin(client, slog.New(slog.DiscardHandler))
	c.sampler.OnStep(func(at, by int64) {
		b.metrics.steps.Inc()
		b.log.Warn("this host's clock was stepped", "at", time.Unix(0, at).UTC().Format(time.RFC3339Nano), "by", time.Duration(by).String())
	})
	b.clusters = append(b.clusters, c)
	return nil
}

// beat asks each broker once and hands on what was learned.
func (c *cluster) beat(ctx context.Context) {
	err := c.round(ctx)
	if ctx.Err() != nil {
		return // we are to end
	}
	switch {
	case err != nil && err.Error() != c.trouble:
		c.log.Warn("a cluster's clocks cannot all be asked; latencies across hosts may stay unknown", "cluster", c.name, "error", err)
		c.trouble = err.Error()
	case err == nil && c.trouble != "":
		c.log.Info("a cluster's clocks are asked again", "cluster", c.name)
		c.trouble = ""
	}
}

func (c *cluster) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if age := time.Since(c.looked); age > lookEvery || len(c.asked) == 0 && age > lookAgain {
		c.lacks = c.look(ctx)
	}
	trouble := errors.Join(c.lacks, c.ask(ctx))
	var samples []wire.ClockSample
	c.sampler.Collect(func(broker string, at, lo, hi int64) {
		node, ok := c.nodes[broker]
		if !ok || lo == clock.Below || hi == clock.Above {
			return
		}
		samples = append(samples, wire.ClockSample{Host: c.deps.Host, Name: c.deps.Name, Cluster: c.id, Node: int(node), Broker: broker, Time: at, Low: lo, High: hi})
	})
	return errors.Join(trouble, c.send(ctx, samples))
}

// ask appends a record to each broker, to all at once.
func (c *cluster) ask(ctx context.Context) error {
	type answer struct {
		written, answered, stamp int64
		err                      error
	}
	got := make([]answer, len(c.asked))
	var wait sync.WaitGroup
	for i, to := range c.asked {
		wait.Go(func() {
			// The request is written after the first reading and answered before the second, so
			// the interval holds the truth.
			req := c.request(to.partition)
			a := answer{written: c.deps.Now()}
			resp, err := req.RequestWith(ctx, c.client.Broker(int(to.node)))
			a.answered = c.deps.Now()
			a.stamp, a.err = stampOf(resp, err)
			got[i] = a
		})
	}
	wait.Wait()
	var failed []string
	unstamped, refused := false, false
	var last error
	for i, a := range got {
		result, to := "ok", c.asked[i]
		switch {
		case a.err != nil:
			result, last = "failed", a.err
			failed = append(failed, strconv.Itoa(int(to.node)))
			refused = refused || errors.Is(a.err, kerr.InvalidTimestamp) || errors.Is(a.err, kerr.InvalidRecord) || errors.Is(a.err, kerr.CorruptMessage)
		case a.stamp <= 0:
			result, unstamped = "unstamped", true
		default:
			c.metrics.trips.WithLabelValues(c.name).Observe(time.Duration(a.answered - a.written).Seconds())
			c.nodes[net.JoinHostPort(to.host, strconv.Itoa(to.port))] = to.node
			c.sampler.Produce(to.host, to.port, a.written, a.answered, a.stamp)
		}
		c.metrics.records.WithLabelValues(c.name, result).Inc()
	}
	switch {
	case c.marked && refused:
		c.marked, unstamped, failed = false, true, nil
	case unstamped && !c.marked:
		c.marked = true
	}
	var errs []error
	if len(failed) > 0 {
		c.looked = time.Time{} // leaders may have moved
		errs = append(errs, fmt.Errorf("brokers %s do not take a record of topic %q: %w", strings.Join(failed, ", "), c.cfg.Topic, last))
	}
	if !unstamped {
		c.unstamped = 0
	} else if c.unstamped++; c.unstamped > 2 {
		errs = append(errs, fmt.Errorf("topic %q does not stamp %s: set %s=%s, or name another topic (beacon.topic)", c.cfg.Topic, stampByBroker, configStamp, stampByBroker))
	}
	return errors.Join(errs...)
}

// request is one record for a partition.
func (c *cluster) request(partition int32) *kmsg.ProduceRequest {
	record := kmsg.NewRecord()
	record.Value = []byte(c.deps.Host)
	record.Length = int32(len(record.AppendTo(nil)) - 1) //nolint:gosec // small; the length itself took one byte
	batch := kmsg.NewRecordBatch()
	batch.PartitionLeaderEpoch, batch.Magic, batch.ProducerID, batch.ProducerEpoch, batch.FirstSequence, batch.NumRecords = -1, 2, -1, -1, -1, 1
	batch.FirstTimestamp = c.deps.Now() / int64(time.Millisecond)
	batch.MaxTimestamp = batch.FirstTimestamp
	if c.marked {
		batch.Attributes = 0x0008
	}
	batch.Records = record.AppendTo(nil)
	raw := batch.AppendTo(nil)
	const lengthEnd, crcEnd = 12, 21
	batch.Length = int32(len(raw) - lengthEnd)                                         //nolint:gosec // small
	batch.CRC = int32(crc32.Checksum(raw[crcEnd:], crc32.MakeTable(crc32.Castagnoli))) //nolint:gosec // its bits are all that counts
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch.AppendTo(nil)
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = c.cfg.Topic, c.topic
	t.Partitions = append(t.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = 1, int32(requestTimeout.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}

// stampOf is the time that the broker stamped, Unix ns; zero when it did not.
func stampOf(resp *kmsg.ProduceResponse, err error) (int64, error) {
	switch {
	case err != nil:
		return 0, err
	case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return 0, errors.New("the broker answered for another partition")
	}
	p := &resp.Topics[0].Partitions[0]
	return max(0, p.LogAppendTime) * int64(time.Millisecond), kerr.ErrorForCode(p.ErrorCode)
}

// look learns the brokers and their partitions, and makes what is missing.
func (c *cluster) look(ctx context.Context) error {
	c.looked = time.Now()
	meta, err := c.metadata(ctx)
	if err != nil {
		return err
	}
	if c.id = meta.cluster; c.id == "" {
		return errors.New("the brokers tell no id of the cluster (Kafka before 0.10.1), so its clocks cannot be told from others'")
	}
	if len(c.nodes) > 4*maxPartitions { // addresses of brokers that moved
		c.nodes = map[string]int32{}
	}
	var trouble error
	if meta.missing {
		if trouble = c.create(ctx, meta); trouble == nil {
			meta, trouble = c.until(ctx, func(m metadata) bool { return !m.missing && len(m.without()) == 0 })
		}
	} else {
		trouble = c.stamp(ctx)
	}
	if trouble == nil && !meta.missing && len(meta.without()) > 0 {
		if trouble = c.extend(ctx, meta); trouble == nil {
			meta, trouble = c.until(ctx, func(m metadata) bool { return len(m.without()) == 0 })
		}
	}
	c.topic, c.asked = meta.topic, meta.asked()
	without := meta.without()
	c.metrics.brokers.WithLabelValues(c.name, "asked").Set(float64(len(c.asked)))
	c.metrics.brokers.WithLabelValues(c.name, "left_out").Set(float64(len(without)))
	if len(without) > 0 && trouble == nil {
		trouble = fmt.Errorf("brokers %s lead no partition of topic %q: add one to each, with it as the only replica", join(without), c.cfg.Topic)
	}
	return trouble
}

// until looks up the topic until what was made is known, for a second.
func (c *cluster) until(ctx context.Context, known func(metadata) bool) (m metadata, err error) {
	for range 10 {
		if m, err = c.metadata(ctx); err == nil && known(m) {
			break
		}
		select {
		case <-ctx.Done():
			return m, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return m, err
}

// metadata is what brokers tell of themselves and the topic.
type metadata struct {
	cluster string
	topic   [16]byte
	brokers []kmsg.MetadataResponseBroker // by number
	leads   map[int32]int32               // broker's number → a partition
	count   int32                         // of partitions
	missing bool
}

// without are the brokers that lead no partition.
func (m metadata) without() (out []int32) {
	for _, b := range m.brokers {
		if _, ok := m.leads[b.NodeID]; !ok {
			out = append(out, b.NodeID)
		}
	}
	return out
}

func (m metadata) asked() (out []asked) {
	for _, b := range m.brokers {
		if p, ok := m.leads[b.NodeID]; ok && len(out) < maxPartitions {
			out = append(out, asked{b.NodeID, p, b.Host, int(b.Port)})
		}
	}
	return out
}

func (c *cluster) metadata(ctx context.Context) (m metadata, err error) {
	req := kmsg.NewPtrMetadataRequest() // kadm would answer from a cache
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &c.cfg.Topic}}
	req.AllowAutoTopicCreation = false
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil && len(resp.Topics) != 1 {
		err = fmt.Errorf("the broker answered for %d topics", len(resp.Topics))
	}
	if err != nil {
		return m, fmt.Errorf("cannot look up the brokers and topic %q: %w", c.cfg.Topic, err)
	}
	if resp.ClusterID != nil {
		m.cluster = *resp.ClusterID
	}
	m.brokers, m.leads = resp.Brokers, map[int32]int32{}
	slices.SortFunc(m.brokers, func(a, b kmsg.MetadataResponseBroker) int { return cmp.Compare(a.NodeID, b.NodeID) })
	t := &resp.Topics[0]
	m.topic = t.TopicID
	switch err := kerr.ErrorForCode(t.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		m.missing = true
	case err != nil:
		return m, fmt.Errorf("cannot look up topic %q: %w", c.cfg.Topic, err)
	}
	slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	for _, p := range t.Partitions {
		m.count++
		if _, has := m.leads[p.Leader]; !has && p.ErrorCode == 0 && slices.ContainsFunc(m.brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == p.Leader }) {
			m.leads[p.Leader] = p.Partition
		}
	}
	return m, nil
}

// create makes the topic, a partition a broker with it as the only replica, so
// that no other can lead it. Where that is not allowed the brokers place them.
func (c *cluster) create(ctx context.Context, m metadata) error {
	place := func(placed bool) error {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = c.cfg.Topic, -1, -1
		if placed {
			for i, b := range m.brokers[:min(len(m.brokers), maxPartitions)] {
				t.ReplicaAssignment = append(t.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: []int32{b.NodeID}}) //nolint:gosec // bounded
			}
		} else {
			t.NumPartitions = int32(min(len(m.brokers), maxPartitions)) //nolint:gosec // bounded
		}
		for k, v := range topicConfigs {
			t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: k, Value: &v})
		}
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = int32(requestTimeout.Milliseconds())
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, c.client)
		if err == nil && len(resp.Topics) == 1 {
			err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
		}
		return err
	}
	err := place(true)
	if errors.Is(err, kerr.PolicyViolation) || errors.Is(err, kerr.InvalidReplicaAssignment) || errors.Is(err, kerr.InvalidRequest) {
		err = place(false)
	}
	if err == nil {
		c.log.Info("topic created", "cluster", c.name, "topic", c.cfg.Topic, "partitions", len(m.brokers))
		return nil
	}
	if errors.Is(err, kerr.TopicAlreadyExists) { // another collector was first
		return nil
	}
	return fmt.Errorf("cannot create topic %q; make it yourself, a partition led by each broker and %s=%s: %w", c.cfg.Topic, configStamp, stampByBroker, err)
}

// extend gives each broker that leads none a partition.
func (c *cluster) extend(ctx context.Context, m metadata) error {
	without := m.without()
	if len(without) == 0 {
		return nil
	}
	room := max(0, maxPartitions-int(m.count))
	if len(without) > room {
		without = without[:room]
	}
	if len(without) == 0 {
		return fmt.Errorf("brokers %s lead no partition of topic %q, which has %d, the most: delete it, so that it is made anew", join(m.without()), c.cfg.Topic, m.count)
	}
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = c.cfg.Topic, m.count+int32(len(without)) //nolint:gosec // bounded
	for _, b := range without {
		t.Assignment = append(t.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: []int32{b}})
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = int32(requestTimeout.Milliseconds())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil && len(resp.Topics) == 1 {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	switch {
	case err == nil:
		c.log.Info("topic extended", "cluster", c.name, "topic", c.cfg.Topic, "partitions", t.Count, "brokers", join(without))
		return nil
	case errors.Is(err, kerr.InvalidPartitions): // another collector was first
		return nil
	}
	return fmt.Errorf("brokers %s lead no partition of topic %q and cannot be given one: %w", join(without), c.cfg.Topic, err)
}

// stamp has the broker stamp the topic's records, if it does not.
func (c *cluster) stamp(ctx context.Context) error {
	described, err := c.admin.Kadm().DescribeTopicConfigs(ctx, c.cfg.Topic)
	if err != nil || len(described) != 1 || described[0].Err != nil {
		return nil //nolint:nilerr // who may not ask sees by the records
	}
	for _, cfg := range described[0].Configs {
		if cfg.Key == configStamp && cfg.MaybeValue() != "" && cfg.MaybeValue() != stampByBroker {
			value := stampByBroker
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, c.cfg.Topic
			one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			one.Name, one.Value = configStamp, &value
			r.Configs = append(r.Configs, one)
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.Resources = append(req.Resources, r)
			resp, err := req.RequestWith(ctx, c.client)
			if err == nil && len(resp.Resources) == 1 {
				err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
			}
			if err != nil {
				return fmt.Errorf("topic %q stamps %s and cannot be set to %s; set it yourself, or name another topic (beacon.topic): %w", c.cfg.Topic, cfg.MaybeValue(), stampByBroker, err)
			}
			c.log.Info("topic is stamped by the broker now", "cluster", c.name, "topic", c.cfg.Topic)
		}
	}
	return nil
}

func join(nodes []int32) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = strconv.Itoa(int(n))
	}
	return strings.Join(words, ", ")
}
