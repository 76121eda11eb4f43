package outcome

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Ledger sends what became of items to the topic "outcomes", added up by project,
// key, category, outcome, reason and second. A collector that is killed has not
// told of at most its last Interval; what it acknowledged is counted by the stores
// all the same.
type Ledger struct {
	write func(ctx context.Context, records ...*kgo.Record) error
	log   *slog.Logger
	now   func() time.Time

	mu     sync.Mutex // guards the following
	counts map[entry]int64

	stop    chan struct{}
	stopped sync.Once
	running sync.WaitGroup
}

// entry is what is told apart.
type entry struct {
	project  uint64
	key      string
	category schemas.Category
	outcome  schemas.Outcome
	reason   string
	second   int64
}

// Interval is how often the sums are sent.
const Interval = time.Second

// maxEntries bounds the sums between two sendings. Beyond it reasons and keys are
// not told apart any more; the quantities stay exact.
const maxEntries = 20_000

// maxPerCall is how many sums go into one call of write.
const maxPerCall = 1000

// NewLedger sends with write until Close; write returns nil once all are durable.
func NewLedger(write func(ctx context.Context, records ...*kgo.Record) error, log *slog.Logger) *Ledger {
	l := &Ledger{write: write, log: log, now: time.Now, counts: map[entry]int64{}, stop: make(chan struct{})}
	l.running.Go(l.run)
	return l
}

// Record adds to the sums. What is of no known project is in nobody's ledger.
func (l *Ledger) Record(project uint64, key string, cat schemas.Category, o schemas.Outcome, reason string, quantity int64, _ schemas.EventID) {
	if quantity <= 0 || project == 0 {
		return
	}
	e := entry{project, key, cat, o, reason, l.now().Unix()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.counts[e]; !known && len(l.counts) >= maxEntries {
		e.key, e.reason = "", ""
		if reason != "" {
			e.reason = "other"
		}
	}
	l.counts[e] += quantity
}

func (l *Ledger) run() {
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			l.flush(context.Background())
		}
	}
}

// flush sends what was added up. What cannot be sent stays for the next time.
func (l *Ledger) flush(ctx context.Context) {
	l.mu.Lock()
	counts := l.counts
	l.counts = make(map[entry]int64, len(counts))
	l.mu.Unlock()
	var records []*kgo.Record
	var entries []entry
	send := func() bool {
		if len(records) == 0 {
			return true
		}
		if err := l.write(ctx, records...); err != nil {
			l.log.Warn("cannot send what became of items; it is kept for the next time", "sums", len(records), "err", err)
			return false
		}
		for _, e := range entries {
			delete(counts, e)
		}
		records, entries = nil, nil
		return true
	}
	ok := true
	for e, n := range counts {
		records, entries = append(records, e.record(n)), append(entries, e)
		if len(records) == maxPerCall {
			if ok = send(); !ok {
				break
			}
		}
	}
	if ok && send() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for e, n := range counts { // what was not sent
		l.counts[e] += n
	}
}

func (e *entry) record(n int64) *kgo.Record {
	at := time.Unix(e.second, 0).UTC()
	o := wire.Outcome{Timestamp: at.Format(time.RFC3339), ProjectID: e.project, Outcome: int(e.outcome)}
	org := uint64(1)
	o.OrgID = &org
	if e.key != "" {
		id := KeyID(e.key)
		o.KeyID = &id
	}
	if e.reason != "" {
		o.Reason = &e.reason
	}
	if id, ok := e.category.ID(); ok {
		o.Category = &id
	}
	if n != 1 {
		q := int(min(n, math.MaxInt))
		o.Quantity = &q
	}
	key := binary.BigEndian.AppendUint64(nil, rand.Uint64()) //nolint:gosec // no secret
	header := func(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }
	return &kgo.Record{Topic: topics.Outcomes, Key: key, Value: o.AppendJSON(nil), Headers: []kgo.RecordHeader{
		header(schemas.HeaderSchema, schemas.SchemaOutcomes),
		header(schemas.HeaderProject, strconv.FormatUint(e.project, 10)),
		header(schemas.HeaderReceived, strconv.FormatInt(at.UnixNano(), 10)),
	}}
}

// KeyID is the number that stands for a DSN's key in outcomes: the key itself is a
// credential. It is below 2^53, which JSON keeps whole.
func KeyID(key string) uint64 { return xxhash.Sum64String(key) >> 11 }

// Close sends the rest, within ctx. It is safe twice.
func (l *Ledger) Close(ctx context.Context) error {
	l.stopped.Do(func() {
		close(l.stop)
		l.running.Wait()
		l.flush(ctx)
	})
	return nil
}
