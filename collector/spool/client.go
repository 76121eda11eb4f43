package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

// Kafka is what a Client writes with.
type Kafka interface {
	ProduceSync(ctx context.Context, records ...*kgo.Record) error
	Ping(ctx context.Context) error
}

// ClientConfig of a Client.
type ClientConfig struct {
	// Direct is how long Kafka may take to acknowledge before a request goes to
	// the spool. Zero means 3 s.
	Direct time.Duration
	// Retry is how long an attempt to hand on may take. Zero means 30 s.
	Retry time.Duration
	// ChunkBytes bounds what is handed on at once. Zero means 4 MiB.
	ChunkBytes int
}

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// Client writes to Kafka, and to the spool while Kafka does not acknowledge. What
// it answered for is durable in one of them. As long as the spool holds anything
// all goes through it, so records stay in the order in which they came. A record
// that Kafka wrote but acknowledged too late is handed on again: it is there twice.
type Client struct {
	cfg   ClientConfig
	kafka Kafka
	queue *Queue
	log   *slog.Logger

	down    atomic.Bool // Kafka failed, and has not taken anything since
	stop    context.CancelFunc
	running sync.WaitGroup

	spooled, handed, refused prometheus.Counter
}

// NewClient begins to hand on what the queue holds. Close the client, then the
// queue, which stays the caller's.
func NewClient(cfg ClientConfig, to Kafka, queue *Queue, reg prometheus.Registerer, log *slog.Logger) (*Client, error) {
	if cfg.Direct <= 0 {
		cfg.Direct = 3 * time.Second
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 30 * time.Second
	}
	if cfg.ChunkBytes <= 0 {
		cfg.ChunkBytes = 4 << 20
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "collector_spool", Name: name, Help: help})
	}
	c := &Client{
		cfg: cfg, kafka: to, queue: queue, log: log,
		spooled: counter("records_total", "Records that went to the spool because Kafka did not take them."),
		handed:  counter("handed_on_total", "Records that the spool handed on to Kafka."),
		refused: counter("refused_total", "Records that Kafka refused for good when they were handed on; they lie in the spool's folder refused."),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "hoptrace", Subsystem: "collector_spool", Name: name, Help: help}, f)
	}
	for _, m := range []prometheus.Collector{
		c.spooled, c.handed, c.refused,
		gauge("bytes", "Bytes that the spool holds.", func() float64 { b, _ := queue.Size(); return float64(b) }),
		gauge("requests", "Requests that the spool holds.", func() float64 { _, n := queue.Size(); return float64(n) }),
		gauge("max_bytes", "Bytes that the spool may hold.", func() float64 { return float64(queue.Max()) }),
	} {
		if err := reg.Register(m); err != nil {
			return nil, fmt.Errorf("cannot register a metric of the spool: %w", err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.running.Go(func() { c.drain(ctx) })
	return c, nil
}

// ProduceSync returns nil once all records are in Kafka or in the spool. It fails
// with kafka.ErrTooLarge, ErrFull, or what the disk says.
func (c *Client) ProduceSync(ctx context.Context, records ...*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	var cause error
	if _, held := c.queue.Size(); held == 0 && !c.down.Load() {
		direct, cancel := context.WithTimeout(ctx, c.cfg.Direct)
		cause = c.kafka.ProduceSync(direct, records...)
		cancel()
		if cause == nil || errors.Is(cause, kafka.ErrTooLarge) {
			return cause
		}
		if !c.down.Swap(true) {
			c.log.Warn("Kafka does not take data: it goes to the spool until Kafka does", "err", cause)
		}
	}
	if err := c.queue.Append(encode(records)); err != nil {
		return errors.Join(cause, err)
	}
	c.spooled.Add(float64(len(records)))
	return nil
}

// Ping tells whether data can be taken: Kafka answers, or the spool has room.
func (c *Client) Ping(ctx context.Context) error {
	err := c.kafka.Ping(ctx)
	if err != nil && c.Pressure() < 1 {
		return nil
	}
	return err
}

// Pressure is how full the spool is, from 0 to 1.
func (c *Client) Pressure() float64 {
	held, _ := c.queue.Size()
	return min(1, float64(held)/float64(c.queue.Max()))
}

// drain hands on, oldest first, until ctx ends.
func (c *Client) drain(ctx context.Context) {
	backoff := minBackoff
	wait := func() bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
		return true
	}
	for {
		if c.down.Load() {
			// Nothing may have gone to the spool since: find out whether Kafka is back.
			if _, held := c.queue.Size(); held == 0 {
				asking, cancel := context.WithTimeout(ctx, c.cfg.Direct)
				err := c.kafka.Ping(asking)
				cancel()
				if err == nil {
					c.back()
					backoff = minBackoff
					continue
				}
				if !wait() {
					return
				}
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		if _, held := c.queue.Size(); held == 0 {
			if !c.idle(ctx) {
				return
			}
			continue
		}
		entries, position, err := c.queue.Next(c.cfg.ChunkBytes)
		if errors.Is(err, ErrClosed) {
			return
		}
		if err == nil {
			err = c.handOn(ctx, entries)
		}
		if err == nil {
			err = c.queue.Done(position)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			c.log.Warn("cannot hand on what the spool holds; trying again", "err", err, "after", backoff.String())
			if !wait() {
				return
			}
			continue
		}
		backoff = minBackoff
		c.back()
	}
}

// back notes that Kafka takes data again.
func (c *Client) back() {
	if c.down.Swap(false) {
		c.log.Info("Kafka takes data again")
	}
}

// idle waits until there may be something to do; false when ctx has ended.
func (c *Client) idle(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// handOn gives the records of entries to Kafka. One that Kafka refuses for good is
// put aside, so that it does not hold up the others.
func (c *Client) handOn(ctx context.Context, entries [][]byte) error {
	var records []*kgo.Record
	for _, e := range entries {
		var err error
		if records, err = decode(records, e); err != nil {
			if err := c.queue.putAside(e); err != nil {
				return err
			}
			c.refused.Inc()
			c.log.Error("an entry of the spool cannot be read and is put aside", "folder", asideFolder, "err", err)
		}
	}
	err := c.send(ctx, records)
	if !errors.Is(err, kafka.ErrTooLarge) {
		if err == nil {
			c.handed.Add(float64(len(records)))
		}
		return err
	}
	for _, r := range records { // find the one
		err := c.send(ctx, []*kgo.Record{r})
		switch {
		case errors.Is(err, kafka.ErrTooLarge):
			if err := c.queue.putAside(encode([]*kgo.Record{r})); err != nil {
				return err
			}
			c.refused.Inc()
			c.log.Error("Kafka refuses a record for good; it is put aside", "folder", asideFolder, "topic", r.Topic, "bytes", len(r.Value), "err", err)
		case err != nil:
			return err
		default:
			c.handed.Inc()
		}
	}
	return nil
}

func (c *Client) send(ctx context.Context, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	fresh := make([]*kgo.Record, len(records)) // Kafka's client writes into what it is given
	for i, r := range records {
		// Their time is that of now; headers tell when they came. By the time they came
		// Kafka's client would give them up, and retention would delete them the sooner.
		fresh[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Retry)
	defer cancel()
	return c.kafka.ProduceSync(ctx, fresh...)
}

// Close ends handing on. What the spool holds stays for the next run.
func (c *Client) Close() error {
	c.stop()
	c.running.Wait()
	return nil
}

// An entry is the records of one request: a format byte, then for each record
// topic, key (length plus one; zero for none), value, timestamp in Unix ns, and
// headers. Lengths and numbers are varints.
const entryFormat = 1

func encode(records []*kgo.Record) []byte {
	size := 1
	for _, r := range records {
		size += len(r.Topic) + len(r.Key) + len(r.Value) + 32
		for _, h := range r.Headers {
			size += len(h.Key) + len(h.Value) + 8
		}
	}
	b := make([]byte, 1, size)
	b[0] = entryFormat
	text := func(s []byte) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	now := time.Now()
	for _, r := range records {
		text([]byte(r.Topic))
		if r.Key == nil {
			b = append(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(len(r.Key))+1)
			b = append(b, r.Key...)
		}
		text(r.Value)
		at := r.Timestamp
		if at.IsZero() {
			at = now
		}
		b = binary.AppendVarint(b, at.UnixNano())
		b = binary.AppendUvarint(b, uint64(len(r.Headers)))
		for _, h := range r.Headers {
			text([]byte(h.Key))
			text(h.Value)
		}
	}
	return b
}

var errEntry = errors.New("entry is damaged or of a newer program")

// decode appends an entry's records. They alias it.
func decode(to []*kgo.Record, b []byte) ([]*kgo.Record, error) {
	if len(b) == 0 || b[0] != entryFormat {
		return to, errEntry
	}
	b = b[1:]
	bad := false
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	take := func(n uint64) []byte {
		if n > uint64(len(b)) {
			bad = true
			return nil
		}
		s := b[:n:n]
		b = b[n:]
		return s
	}
	first := len(to)
	for len(b) > 0 && !bad {
		r := &kgo.Record{Topic: string(take(number()))}
		if n := number(); n > 0 {
			r.Key = take(n - 1)
		}
		r.Value = take(number())
		at, n := binary.Varint(b)
		if n <= 0 {
			bad = true
			break
		}
		b = b[n:]
		r.Timestamp = time.Unix(0, at)
		headers := number()
		if headers > uint64(len(b)) {
			bad = true
			break
		}
		for range headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(take(number())), Value: take(number())})
		}
		to = append(to, r)
	}
	if bad {
		return to[:first], errEntry
	}
	return to, nil
}
