// Package stubbroker is the least Kafka broker that kafka-go, franz-go and
// sarama can talk to, inside their own process and without sockets: it takes
// records and forgets them, and gives out one prepared batch for ever. It
// costs a few dozen nanoseconds a record, so that the cost of what wraps a
// client can be seen beside the client's own.
//
// It is not a broker to test with: it stores nothing, has no groups, and one
// partition a topic. For that there is package internal/embeddedkafka.
package stubbroker

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Address is what the broker says it listens on. Nothing does: clients reach it
// by [Broker.Dial].
const Address = "127.0.0.1:1"

// Config says what is read from the broker. The zero value reads nothing.
type Config struct {
	// Topics are named to a client that asks for all; any other exists too.
	Topics []string
	// Records are one batch, given out again and again with rising offsets.
	Records []Record
	// End is the offset after the last record; a fetch there waits as the
	// client asked. It should be a multiple of len(Records).
	End int64
	// Time is that of every record; zero means when the broker was made.
	Time time.Time
}

// Record is what is read. A nil key is null.
type Record struct {
	Key, Value []byte
	Headers    []Header
}

// Header is one of a record.
type Header struct {
	Key   string
	Value []byte
}

// Broker is made by [New]. Its methods may be called from any goroutine.
type Broker struct {
	topics   []string
	end      int64
	perBatch int64

	mu    sync.Mutex // guards the following
	batch []byte     // encoded; its first 8 bytes, the base offset, are set for each answer

	produced atomic.Int64
}

// New encodes the batch.
func New(c Config) *Broker {
	if c.Time.IsZero() {
		c.Time = time.Now()
	}
	b := &Broker{topics: c.Topics, end: c.End, perBatch: int64(len(c.Records))}
	if len(c.Records) > 0 {
		b.batch = encodeBatch(c.Records, c.Time.UnixMilli())
	}
	return b
}

// Produced is how many produce requests were answered.
func (b *Broker) Produced() int64 { return b.produced.Load() }

// Dial returns a connection to the broker, whatever the address.
func (b *Broker) Dial(context.Context, string, string) (net.Conn, error) { return newConn(b), nil }

// versions are what it understands; it is sent as the answer to ApiVersions.
var versions = []struct {
	key      kmsg.Key
	min, max int16
}{
	{kmsg.Produce, 3, 7},
	{kmsg.Fetch, 4, 11},
	{kmsg.ListOffsets, 1, 3},
	{kmsg.Metadata, 0, 7},
	{kmsg.ApiVersions, 0, 3},
	{kmsg.InitProducerID, 0, 1},
}

// answer appends the response to one request, without its size, to dst. A wait
// above zero is how long the client asked to have it withheld.
func (b *Broker) answer(dst, frame []byte) (_ []byte, wait time.Duration, err error) {
	if len(frame) < 10 {
		return dst, 0, fmt.Errorf("cannot read a request of %d bytes: its header has 10", len(frame))
	}
	key, version := kmsg.Key(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:])) //nolint:gosec // as sent
	nothing := dst
	dst = append(dst, frame[4:8]...) // correlation id
	body := frame[8:]
	n := int(int16(binary.BigEndian.Uint16(body))) //nolint:gosec // -1 is null
	body = body[2:]
	if n > 0 {
		if n > len(body) {
			return dst, 0, fmt.Errorf("cannot read a request of key %d: its client id is cut off", key)
		}
		body = body[n:]
	}
	if key == kmsg.ApiVersions {
		return b.apiVersions(version).AppendTo(dst), 0, nil
	}
	req := kmsg.RequestForKey(int16(key))
	if req == nil {
		return dst, 0, fmt.Errorf("cannot answer a request of key %d: not among those of a stub", key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		return dst, 0, fmt.Errorf("cannot answer %s v%d: only older versions were offered", key.Name(), version)
	}
	if err := req.ReadFrom(body); err != nil {
		return dst, 0, fmt.Errorf("cannot read %s v%d: %w", key.Name(), version, err)
	}
	switch req := req.(type) {
	case *kmsg.MetadataRequest:
		return b.metadata(req).AppendTo(dst), 0, nil
	case *kmsg.ListOffsetsRequest:
		return b.offsets(req).AppendTo(dst), 0, nil
	case *kmsg.InitProducerIDRequest:
		res := kmsg.NewPtrInitProducerIDResponse()
		res.Version, res.ProducerID = version, 1
		return res.AppendTo(dst), 0, nil
	case *kmsg.ProduceRequest:
		b.produced.Add(1)
		if req.Acks == 0 {
			return nothing, 0, nil
		}
		return b.acks(req).AppendTo(dst), 0, nil
	case *kmsg.FetchRequest:
		dst, wait = b.records(dst, req)
		return dst, wait, nil
	}
	return dst, 0, fmt.Errorf("cannot answer %s: not among the requests of a stub", key.Name())
}

func (b *Broker) apiVersions(version int16) *kmsg.ApiVersionsResponse {
	res := kmsg.NewPtrApiVersionsResponse()
	if res.Version = version; version > 3 {
		// As KIP-511 has it: the oldest form, with what is understood.
		res.Version, res.ErrorCode = 0, 35
	}
	for _, v := range versions {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = int16(v.key), v.min, v.max
		res.ApiKeys = append(res.ApiKeys, k)
	}
	return res
}

func (b *Broker) metadata(req *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	res := kmsg.NewPtrMetadataResponse()
	res.Version = req.Version
	broker := kmsg.NewMetadataResponseBroker()
	broker.NodeID, broker.Host, broker.Port = 1, "127.0.0.1", 1
	res.Brokers = append(res.Brokers, broker)
	res.ControllerID = 1
	res.ClusterID = kmsg.StringPtr("stub")
	names := make([]*string, 0, len(req.Topics)+len(b.topics))
	for _, t := range req.Topics {
		names = append(names, t.Topic)
	}
	if len(names) == 0 {
		for i := range b.topics {
			names = append(names, &b.topics[i])
		}
	}
	for _, name := range names {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = name
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Leader, p.Replicas, p.ISR = 1, []int32{1}, []int32{1}
		topic.Partitions = append(topic.Partitions, p)
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func (b *Broker) offsets(req *kmsg.ListOffsetsRequest) *kmsg.ListOffsetsResponse {
	res := kmsg.NewPtrListOffsetsResponse()
	res.Version = req.Version
	for _, t := range req.Topics {
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewListOffsetsResponseTopicPartition()
			part.Partition, part.Timestamp = p.Partition, -1
			if p.Timestamp == -1 { // the end
				part.Offset = b.end
			} else {
				part.Offset = 0
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func (b *Broker) acks(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	res := kmsg.NewPtrProduceResponse()
	res.Version = req.Version
	for i := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.BaseOffset, part.LogAppendTime = p.Partition, 41, -1
			topic.Partitions = append(topic.Partitions, part)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

func (b *Broker) records(dst []byte, req *kmsg.FetchRequest) ([]byte, time.Duration) {
	res := kmsg.NewPtrFetchResponse()
	res.Version = req.Version
	wait := time.Duration(req.MaxWaitMillis) * time.Millisecond
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range req.Topics {
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic = t.Topic
		for _, p := range t.Partitions {
			part := kmsg.NewFetchResponseTopicPartition()
			part.Partition, part.HighWatermark, part.LastStableOffset, part.LogStartOffset = p.Partition, b.end, b.end, 0
			part.RecordBatches = []byte{}
			if p.FetchOffset < b.end && b.perBatch > 0 {
				binary.BigEndian.PutUint64(b.batch, uint64(p.FetchOffset-p.FetchOffset%b.perBatch)) //nolint:gosec // offsets are not negative
				part.RecordBatches = b.batch
				wait = 0
			}
			topic.Partitions = append(topic.Partitions, part)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res.AppendTo(dst), wait
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeBatch writes a record batch of format 2 with base offset 0.
func encodeBatch(records []Record, millis int64) []byte {
	bytesOf := func(dst, v []byte) []byte {
		if v == nil {
			return binary.AppendVarint(dst, -1)
		}
		return append(binary.AppendVarint(dst, int64(len(v))), v...)
	}
	var body, one []byte
	for i, r := range records {
		one = append(one[:0], 0)                 // attributes
		one = binary.AppendVarint(one, 0)        // timestamp, from the first
		one = binary.AppendVarint(one, int64(i)) // offset, from the first
		one = bytesOf(bytesOf(one, r.Key), r.Value)
		one = binary.AppendVarint(one, int64(len(r.Headers)))
		for _, h := range r.Headers {
			one = bytesOf(bytesOf(one, []byte(h.Key)), h.Value)
		}
		body = append(binary.AppendVarint(body, int64(len(one))), one...)
	}
	n := len(records)
	checked := binary.BigEndian.AppendUint16(nil, 0)                             // attributes: not compressed, CreateTime
	checked = binary.BigEndian.AppendUint32(checked, uint32(n-1))                //nolint:gosec // small
	checked = binary.BigEndian.AppendUint64(checked, uint64(millis))             //nolint:gosec // after 1970
	checked = binary.BigEndian.AppendUint64(checked, uint64(millis))             //nolint:gosec // after 1970
	checked = binary.BigEndian.AppendUint64(checked, ^uint64(0))                 // no producer id
	checked = binary.BigEndian.AppendUint16(checked, ^uint16(0))                 // nor epoch
	checked = binary.BigEndian.AppendUint32(checked, ^uint32(0))                 // nor sequence
	checked = append(binary.BigEndian.AppendUint32(checked, uint32(n)), body...) //nolint:gosec // small
	batch := make([]byte, 8, 21+len(checked))
	batch = binary.BigEndian.AppendUint32(batch, uint32(9+len(checked))) //nolint:gosec // below 2 GiB
	batch = binary.BigEndian.AppendUint32(batch, 0)                      // leader epoch
	batch = append(batch, 2)
	batch = binary.BigEndian.AppendUint32(batch, crc32.Checksum(checked, castagnoli))
	return append(batch, checked...)
}
