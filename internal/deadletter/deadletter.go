// Package deadletter reads the dead-letter topics, newest first, and puts a letter back
// on the topic that it came from. What became of a letter is kept elsewhere: a log
// cannot tell it. It writes no dead letters (see pipeline/consume) and decodes none.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Headers of a dead letter besides those of its record, as the stages write them; a
// test of pipeline/consume holds them to its own.
const (
	headerReason    = "dlq-reason"
	headerStage     = "dlq-stage"
	headerTopic     = "dlq-topic"
	headerTopicID   = "dlq-topic-id"
	headerPartition = "dlq-partition"
	headerOffset    = "dlq-offset"
	headerTimestamp = "dlq-timestamp"
	headerTruncated = "dlq-truncated"
	headerDropped   = "dlq-headers"

	// HeaderRetry is on a record that was put back: which dead letter it is.
	HeaderRetry = "dlq-retry"
)

const suffix = "-dlq"

// Bounds.
const (
	// MaxLetters is how many one question gives.
	MaxLetters = 100
	// scanRecords and scanFor bound the search for a record that was put back already.
	scanRecords = 200_000
	scanFor     = 20 * time.Second
	fetchBytes  = 8 << 20
)

// Errors of letters that cannot be had, or not put back.
var (
	ErrGone      = errors.New("the letter is not there: retention deleted it, or it never was")
	ErrNotWhole  = errors.New("the letter was cut when it was put aside, so it cannot be put back")
	ErrUncertain = errors.New("it cannot be told whether the record was put back")
)

// Place is one partition of a dead-letter topic.
type Place struct {
	Topic     string // logical name
	Partition int32
}

// Ends are the offsets that a partition has: Start is the first, End the one after the last.
type Ends struct {
	TopicID    string // hex; empty where brokers have no ids
	Start, End int64
}

// Letter is one dead letter.
type Letter struct {
	Place
	Offset  int64
	TopicID string // of the dead-letter topic, hex

	Stage, Reason     string
	OriginalTopic     string // logical name; where it came from, and would be put back
	OriginalPartition int32
	OriginalOffset    int64
	PutAside          time.Time
	Time              time.Time // the record's own; PutAside when that is not told
	RetryOf           string    // the letter that it was before; empty when it never was one

	Key            []byte
	Value          []byte
	Headers        []Header // the record's own
	WholeBytes     int      // of the value before it was cut; len(Value) when it is whole
	HeadersDropped int      // that did not fit
}

// Whole tells that nothing of the record is missing.
func (l *Letter) Whole() bool { return l.WholeBytes == len(l.Value) && l.HeadersDropped == 0 }

// Name is topic/partition@offset.
func (l *Letter) Name() string { return Name(l.Topic, l.Partition, l.Offset) }

// Name names a letter as people write it, and as [HeaderRetry] does.
func Name(topic string, partition int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(partition)) + "@" + strconv.FormatInt(offset, 10)
}

// Header is one of a record.
type Header struct {
	Key   string
	Value []byte
}

// Original is the topic whose dead letters a topic has; ok is false when it is none.
func Original(topic string) (original string, ok bool) {
	t, err := topics.Get(topic)
	return strings.TrimSuffix(topic, suffix), err == nil && t.IsDLQ()
}

// Topics are the logical names of all dead-letter topics.
func Topics() []string {
	var out []string
	for _, t := range topics.All() {
		if t.IsDLQ() {
			out = append(out, t.Name)
		}
	}
	return out
}

// Box reads and puts back. It connects for each question, since a person asks now and then.
type Box struct {
	cfg kafka.Config
	log *slog.Logger
}

// New makes a box; it opens nothing.
func New(cfg kafka.Config, log *slog.Logger) *Box { return &Box{cfg: cfg, log: log} }

// Ends gives the ends of the partitions of some topics, all without any.
func (b *Box) Ends(ctx context.Context, names ...string) (map[Place]Ends, error) {
	cl, err := kafka.NewClient(b.cfg, b.log, nil)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return b.ends(ctx, cl, names)
}

func (b *Box) ends(ctx context.Context, cl *kgo.Client, names []string) (map[Place]Ends, error) {
	if len(names) == 0 {
		names = Topics()
	}
	physical := make([]string, len(names))
	for i, n := range names {
		physical[i] = b.cfg.Topics.Physical(n)
	}
	adm := kadm.NewClient(cl)
	starts, err := adm.ListStartOffsets(ctx, physical...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the starts of the dead-letter topics: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, physical...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the ends of the dead-letter topics: %w", err)
	}
	details, err := adm.ListTopics(ctx, physical...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the ids of the dead-letter topics: %w", err)
	}
	out := map[Place]Ends{}
	var failed error
	ends.Each(func(o kadm.ListedOffset) {
		if errors.Is(o.Err, kerr.UnknownTopicOrPartition) {
			return // a role that would make it never ran
		}
		if o.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("topic %s partition %d: %w", o.Topic, o.Partition, o.Err))
			return
		}
		start, _ := starts.Lookup(o.Topic, o.Partition)
		e := Ends{Start: start.Offset, End: o.Offset}
		if d, ok := details[o.Topic]; ok && d.ID != (kadm.TopicID{}) {
			e.TopicID = fmt.Sprintf("%x", d.ID[:])
		}
		out[Place{b.cfg.Topics.Logical(o.Topic), o.Partition}] = e
	})
	return out, failed
}

// Page is what [Box.List] gives.
type Page struct {
	Letters []Letter // last put aside first
	// Next is where the next page begins, by partition; nil when there is no more.
	Next map[Place]int64
	Ends map[Place]Ends
}

// List gives the last letters before some offsets (all of a partition that is not
// named) of the topics named, of all without any. It reads at most limit of each
// partition, so a page is as long as it says unless there is no more.
func (b *Box) List(ctx context.Context, names []string, before map[Place]int64, limit int) (Page, error) {
	limit = min(max(limit, 1), MaxLetters)
	cl, err := kafka.NewClient(b.cfg, b.log, nil)
	if err != nil {
		return Page{}, err
	}
	defer cl.Close()
	out := Page{}
	if out.Ends, err = b.ends(ctx, cl, names); err != nil {
		return Page{}, err
	}
	from, to := map[Place]int64{}, map[Place]int64{}
	for place, e := range out.Ends {
		end := e.End
		if at, ok := before[place]; ok {
			end = min(end, at)
		}
		if begin := max(e.Start, end-int64(limit)); begin < end {
			from[place], to[place] = begin, end
		}
	}
	all, err := b.read(ctx, from, to, out.Ends)
	if err != nil {
		return Page{}, err
	}
	// Of one partition the later offset is the newer one, whatever clocks say: else a page
	// could pass over a letter.
	slices.SortStableFunc(all, func(a, c Letter) int {
		if a.Place == c.Place {
			return int(min(max(c.Offset-a.Offset, -1), 1))
		}
		return strings.Compare(a.Topic, c.Topic)
	})
	byPlace := map[Place][]Letter{}
	for _, l := range all {
		byPlace[l.Place] = append(byPlace[l.Place], l)
	}
	next := map[Place]int64{}
	for place, e := range out.Ends {
		next[place] = e.Start // nothing is left of it, unless told otherwise
		if end, ok := to[place]; ok {
			next[place] = end
		}
	}
	for len(out.Letters) < limit {
		var best Place
		found := false
		for place, letters := range byPlace {
			if len(letters) == 0 {
				continue
			}
			if !found || letters[0].PutAside.After(byPlace[best][0].PutAside) || letters[0].PutAside.Equal(byPlace[best][0].PutAside) && place.Topic < best.Topic {
				best, found = place, true
			}
		}
		if !found {
			break
		}
		l := byPlace[best][0]
		byPlace[best] = byPlace[best][1:]
		out.Letters = append(out.Letters, l)
		next[best] = l.Offset
	}
	for place, at := range next {
		if at > out.Ends[place].Start {
			out.Next = next
			break
		}
	}
	return out, nil
}

// Get reads one letter.
func (b *Box) Get(ctx context.Context, place Place, offset int64) (Letter, error) {
	cl, err := kafka.NewClient(b.cfg, b.log, nil)
	if err != nil {
		return Letter{}, err
	}
	defer cl.Close()
	ends, err := b.ends(ctx, cl, []string{place.Topic})
	if err != nil {
		return Letter{}, err
	}
	e, ok := ends[place]
	if !ok || offset < e.Start || offset >= e.End {
		return Letter{}, fmt.Errorf("%s: %w", Name(place.Topic, place.Partition, offset), ErrGone)
	}
	got, err := b.read(ctx, map[Place]int64{place: offset}, map[Place]int64{place: offset + 1}, ends)
	if err != nil {
		return Letter{}, err
	}
	if len(got) == 0 {
		return Letter{}, fmt.Errorf("%s: %w", Name(place.Topic, place.Partition, offset), ErrGone)
	}
	return got[0], nil
}

// read reads [from, to) of each partition.
func (b *Box) read(ctx context.Context, from, to map[Place]int64, ends map[Place]Ends) ([]Letter, error) {
	if len(from) == 0 {
		return nil, nil
	}
	var out []Letter
	err := b.scan(ctx, from, to, func(r *kgo.Record) bool {
		place := Place{b.cfg.Topics.Logical(r.Topic), r.Partition}
		out = append(out, letter(r, place, ends[place].TopicID))
		return true
	})
	return out, err
}

// scan calls f for each record of [from, to) of each partition, until f says no.
func (b *Box) scan(ctx context.Context, from, to map[Place]int64, f func(*kgo.Record) bool) error {
	at := map[string]map[int32]kgo.Offset{}
	left := map[Place]bool{}
	for place, offset := range from {
		topic := b.cfg.Topics.Physical(place.Topic)
		if at[topic] == nil {
			at[topic] = map[int32]kgo.Offset{}
		}
		at[topic][place.Partition] = kgo.NewOffset().At(offset)
		left[place] = true
	}
	cl, err := kafka.NewClient(b.cfg, b.log, nil, kgo.ConsumePartitions(at), kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
		kgo.BrokerMaxReadBytes(128<<20), kgo.MaxDecompressBatchBytes(128<<20), kgo.MaxConcurrentFetches(1), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cannot read all that was asked for of %d partitions in time: %w", len(left), err)
		}
		var failed error
		fetches.EachError(func(topic string, partition int32, err error) {
			if errors.Is(err, kerr.OffsetOutOfRange) { // retention was faster
				delete(left, Place{b.cfg.Topics.Logical(topic), partition})
				return
			}
			failed = errors.Join(failed, fmt.Errorf("cannot read topic %s partition %d: %w", topic, partition, err))
		})
		if failed != nil {
			return failed
		}
		for i := fetches.RecordIter(); !i.Done(); {
			r := i.Next()
			place := Place{b.cfg.Topics.Logical(r.Topic), r.Partition}
			if r.Offset < to[place] && !f(r) {
				return nil
			}
			if r.Offset >= to[place]-1 {
				delete(left, place)
			}
		}
	}
	return nil
}

// letter reads a record of a dead-letter topic.
func letter(r *kgo.Record, place Place, topicID string) Letter {
	l := Letter{Place: place, Offset: r.Offset, TopicID: topicID, Time: r.Timestamp, Key: r.Key, Value: r.Value, WholeBytes: len(r.Value), OriginalPartition: -1, OriginalOffset: -1, PutAside: r.Timestamp}
	l.OriginalTopic, _ = Original(place.Topic)
	for _, h := range r.Headers {
		v := string(h.Value)
		switch h.Key {
		case headerReason:
			l.Reason = v
		case headerStage:
			l.Stage = v
		case headerPartition:
			if n, err := strconv.ParseInt(v, 10, 32); err == nil {
				l.OriginalPartition = int32(n)
			}
		case headerOffset:
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				l.OriginalOffset = n
			}
		case headerTruncated:
			if n, err := strconv.Atoi(v); err == nil && n > len(r.Value) {
				l.WholeBytes = n
			}
		case headerDropped:
			if n, err := strconv.Atoi(v); err == nil && n > 0 {
				l.HeadersDropped = n
			}
		case headerTimestamp:
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n > 0 {
				l.Time = time.UnixMilli(n)
			}
		case headerTopic, headerTopicID:
		default:
			if h.Key == HeaderRetry {
				l.RetryOf = v
			}
			l.Headers = append(l.Headers, Header{h.Key, h.Value})
		}
	}
	return l
}

// PutBack writes the record of a letter to the topic that it came from, with its key,
// headers and [HeaderRetry]. Its time is that of now, as retention goes by it; headers
// tell when it was received. It returns once it is durable.
func (b *Box) PutBack(ctx context.Context, l *Letter) error {
	if !l.Whole() {
		return fmt.Errorf("%s: %w", l.Name(), ErrNotWhole)
	}
	topic, err := topics.Get(l.OriginalTopic)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Name(), err)
	}
	pc := kafka.DefaultProducerConfig()
	pc.MaxMessageBytes, pc.Linger = topic.MaxMessageBytes, 0
	pc.MaxBufferedBytes = max(pc.MaxBufferedBytes, int(pc.MaxMessageBytes))
	p, err := kafka.NewProducer(b.cfg, pc, b.log, nil)
	if err != nil {
		return err
	}
	r := &kgo.Record{Topic: l.OriginalTopic, Key: l.Key, Value: l.Value}
	for _, h := range l.Headers {
		if h.Key != HeaderRetry {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: HeaderRetry, Value: []byte(l.Name())})
	err = p.ProduceSync(ctx, r)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err = errors.Join(err, p.Close(closing)); err != nil {
		return fmt.Errorf("cannot put %s back to topic %s: %w", l.Name(), l.OriginalTopic, err)
	}
	return nil
}

// WasPutBack looks for a record of the letter on its topic, from the end that the
// topic had at since on. It is asked after an attempt whose end nobody saw.
func (b *Box) WasPutBack(ctx context.Context, l *Letter, since time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, scanFor)
	defer cancel()
	cl, err := kafka.NewClient(b.cfg, b.log, nil)
	if err != nil {
		return false, err
	}
	defer cl.Close()
	// Not by time: the record keeps its own, and the topic's index goes by that. What
	// lies behind the letter's own record is enough.
	adm, physical := kadm.NewClient(cl), b.cfg.Topics.Physical(l.OriginalTopic)
	ends, err := adm.ListEndOffsets(ctx, physical)
	if err != nil {
		return false, fmt.Errorf("cannot ask for the ends of topic %s: %w", l.OriginalTopic, err)
	}
	starts, err := adm.ListStartOffsets(ctx, physical)
	if err != nil {
		return false, fmt.Errorf("cannot ask for the starts of topic %s: %w", l.OriginalTopic, err)
	}
	from, to := map[Place]int64{}, map[Place]int64{}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) {
		start, _ := starts.Lookup(o.Topic, o.Partition)
		begin := start.Offset
		if o.Partition == l.OriginalPartition {
			begin = max(begin, l.OriginalOffset+1)
		}
		if o.Err == nil && begin < o.Offset {
			place := Place{l.OriginalTopic, o.Partition}
			from[place], to[place] = begin, o.Offset
			total += o.Offset - begin
		}
	})
	if len(from) == 0 {
		return false, nil
	}
	found, read := false, 0
	name := l.Name()
	err = b.scan(ctx, from, to, func(r *kgo.Record) bool {
		read++
		for _, h := range r.Headers {
			if h.Key == HeaderRetry && string(h.Value) == name {
				found = true
			}
		}
		return !found && read < scanRecords
	})
	switch {
	case found:
		return true, nil
	case err != nil || read >= scanRecords:
		return false, fmt.Errorf("%s, which somebody began to put back at %s: %w: %d of %d records of topic %s were looked at", name, since.UTC().Format(time.RFC3339), ErrUncertain, read, total, l.OriginalTopic)
	}
	return false, nil
}
