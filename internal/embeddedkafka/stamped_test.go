package embeddedkafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stampedBatch is a batch of one record that asks the broker for its time.
func stampedBatch(value string) []byte {
	record := kmsg.NewRecord()
	record.Value = []byte(value)
	record.Length = int32(len(record.AppendTo(nil)) - 1)
	b := kmsg.NewRecordBatch()
	b.PartitionLeaderEpoch, b.Magic, b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.NumRecords = -1, 2, -1, -1, -1, 1
	b.FirstTimestamp = time.Now().Add(-time.Hour).UnixMilli()
	b.MaxTimestamp, b.Attributes, b.Records = b.FirstTimestamp, batchStampedBit, record.AppendTo(nil)
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - batchBodyAt)
	b.CRC = int32(crc32.Checksum(raw[batchSummedAt:], castagnoli))
	return b.AppendTo(nil)
}

func TestWhatTheBrokerStampedIsThereAfterARestart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	b := start(t, cfg)
	id := createTopic(t, b, "stamped", 1, nil)
	cl := client(t, b)
	for range 3 {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = stampedBatch("stamped")
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic, topic.TopicID = "stamped", id
		topic.Partitions = append(topic.Partitions, p)
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 5000
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		if answer := resp.Topics[0].Partitions[0]; answer.ErrorCode != 0 || answer.LogAppendTime <= 0 {
			t.Fatalf("the broker answers %v with time %d", kerr.ErrorForCode(answer.ErrorCode), answer.LogAppendTime)
		}
		produce(t, cl, "stamped", "behind it")
	}
	cl.Close()
	stop(t, b)

	var said bytes.Buffer
	b, err := New(cfg, slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, b)
	if _, end := offsets(t, kadm.NewClient(client(t, b)), "stamped", 0); end != 6 {
		t.Errorf("the partition ends at %d, want 6", end)
	}
	if strings.Contains(said.String(), "corrupt") {
		t.Errorf("the broker says %s", &said)
	}
}

func TestOnlySumsOfStampedBatchesAreCorrected(t *testing.T) {
	wrong := func(batch []byte) []byte {
		binary.BigEndian.PutUint32(batch[batchSumAt:], 7)
		return batch
	}
	plain := stampedBatch("plain")
	binary.BigEndian.PutUint16(plain[batchSummedAt:], 0)
	right, torn := stampedBatch("right"), stampedBatch("torn")
	for name, c := range map[string]struct {
		file      []byte
		corrected int
	}{
		"empty":              {nil, 0},
		"right":              {right, 0},
		"wrong ones":         {bytes.Join([][]byte{wrong(stampedBatch("a")), right, wrong(stampedBatch("b"))}, nil), 2},
		"not stamped":        {wrong(plain), 0},
		"behind a plain one": {append(bytes.Clone(plain), wrong(stampedBatch("a"))...), 1},
		"torn":               {append(wrong(stampedBatch("a")), torn[:len(torn)-3]...), 1},
		"a torn head":        {append(wrong(stampedBatch("a")), torn[:20]...), 1},
		"no batch":           {bytes.Repeat([]byte{0xff}, 100), 0},
		"zeros":              {make([]byte, 100), 0},
	} {
		path := filepath.Join(t.TempDir(), "0.dat")
		if err := os.WriteFile(path, c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := correctSums(path); n != c.corrected || err != nil {
			t.Errorf("%s: %d are corrected, want %d (%v)", name, n, c.corrected, err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(after) != len(c.file) {
			t.Errorf("%s: the file has %d bytes, %d before", name, len(after), len(c.file))
		}
		if c.corrected == 0 && !bytes.Equal(after, c.file) {
			t.Errorf("%s: the file was changed", name)
		}
		if n, err := correctSums(path); n != 0 || err != nil {
			t.Errorf("%s: %d are corrected again (%v)", name, n, err)
		}
	}
	if _, err := correctSums(filepath.Join(t.TempDir(), strconv.Itoa(0)+".dat")); err == nil {
		t.Error("a segment that is not there has right sums")
	}
}
