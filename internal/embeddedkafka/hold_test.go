package embeddedkafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestWhatWasNotReadOutlivesEveryBound writes far more than time, a partition's size
// and the whole log's size allow.
func TestWhatWasNotReadOutlivesEveryBound(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes, cfg.RetentionBytes, cfg.MaxLogBytes = 32<<10, 64<<10, 256<<10
	cfg.RetentionTime, cfg.CleanerInterval = 100*time.Millisecond, 20*time.Millisecond
	cfg.Holds = []Hold{{"held", "stage"}, {"never-made", "stage"}}
	b := start(t, cfg)
	cl := client(t, b, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	adm := kadm.NewClient(cl)
	value := strings.Repeat("x", 10<<10)
	const records = 60 // 600 KB
	for range records {
		produce(t, cl, "held", value)
		produce(t, cl, "free", value)
	}
	eventually(t, "the log is said to be full, and nothing but the last of the other topic is left", func() bool {
		from, to := offsets(t, adm, "free", 0)
		return b.Full() && from == to-1
	})
	if from, to := offsets(t, adm, "held", 0); from != 0 || to != records {
		t.Fatalf("unread records: offsets %d to %d are there; want 0 to %d", from, to, records)
	}
	commit := func(at int64) {
		t.Helper()
		var o kadm.Offsets = map[string]map[int32]kadm.Offset{}
		o.AddOffset("held", 0, at, -1)
		if err := adm.CommitAllOffsets(t.Context(), "stage", o); err != nil {
			t.Fatal(err)
		}
	}
	commit(30)
	eventually(t, "what was read may go, by whole files", func() bool {
		from, _ := offsets(t, adm, "held", 0)
		return from > 20
	})
	if from, to := offsets(t, adm, "held", 0); from > 30 || to != records {
		t.Fatalf("half was read: offsets %d to %d are there; want no more gone than 30", from, to)
	}
	commit(records)
	eventually(t, "all was read, and the log has room again", func() bool {
		from, _ := offsets(t, adm, "held", 0)
		return !b.Full() && from == records-1
	})
}
