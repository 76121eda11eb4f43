package messaging

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

// ProducerFacts are settings of a producing client that findings are derived
// from. A zero field is not known.
type ProducerFacts struct {
	BatchTimeout time.Duration // how long the client waits for a batch to fill
	BatchSize    int           // messages
	Acks         string        // "none", "one" or "all"
	// What these settings are called in the client. Empty means kafka-go's names.
	BatchTimeoutName, AcksName string
}

// ConsumerFacts are settings of a reading client that findings are derived from.
// A zero field is not known.
type ConsumerFacts struct {
	QueueCapacity int // records
	MinBytes      int
	MaxWait       time.Duration
	// What these settings are called in the client. Empty means kafka-go's names.
	QueueCapacityName, MinBytesName, MaxWaitName string
}

// Findings: what an advisor may say. docs/advice.md explains each.
const (
	AdviceLinger         = "linger"          // waiting for batches to fill is most of the time
	AdviceAcksNone       = "acks-none"       // nobody learns of lost records
	AdviceRetries        = "retries"         // requests are written more than once
	AdviceThrottled      = "throttled"       // the broker makes the client wait
	AdviceTinyBatches    = "tiny-batches"    // a request for nearly each record
	AdviceFetchQueue     = "fetch-queue"     // fetched records wait for the application
	AdviceBehind         = "behind"          // records wait in the log because nobody asks
	AdviceMinBytes       = "min-bytes"       // the broker holds records back to fill an answer
	AdviceCommitEach     = "commit-each"     // committing costs as much as processing
	AdviceManyRebalances = "many-rebalances" // the group is not steady
	MetricAdvice         = "hoptrace.advice" // gauge: what it would gain, in ms
	AttrAdviceID         = "hoptrace.advice.id"
	AttrAdviceText       = "hoptrace.advice.text"
)

const (
	adviceSamples   = 256 // the newest of each kind, from which medians are taken
	adviceMinimum   = 64  // before that nothing is said
	adviceInterval  = 256 // samples between two looks, later on
	adviceEvery     = 16  // of what comes after the first adviceSamples, one in so many is looked at
	adviceTopics    = 64  // watched by one client
	lingerTarget    = 10 * time.Millisecond
	behindEnough    = 10 * time.Second
	rebalancesMany  = 4
	rebalanceWindow = 10 * time.Minute
)

var adviceMeasures = measure.NewLayout(measure.Instrument{
	Name: MetricAdvice, Unit: "ms", Description: "A change of the client's settings that would gain so much on the median record; sent once.", Kind: measure.Gauge,
})

// advisor derives findings from the settings of one client and the parts of its
// records. Each finding is said once for a topic.
type advisor struct {
	core *Core

	// What was met, of each kind: with one count for all, kinds that come in turns
	// would have all of them or none looked at.
	requests, deliveries, processings, commits atomic.Uint64

	mu     sync.Mutex
	topics map[string]*topicAdvice
	said   map[string]bool
	moved  []int64 // times of rebalances, the newest rebalancesMany
}

// topicAdvice holds samples of one topic.
type topicAdvice struct {
	queue, total     samples // producer: batch queue, send → acknowledged
	batch            samples // producer: records a request
	requests         int
	retried          int
	throttled        int
	throttle         time.Duration
	wait, work       samples // consumer: fetch queue, processing
	backlog, poll    samples
	commit           samples
	commits, settled int
	looks            int
}

// samples keeps the newest adviceSamples values.
type samples struct {
	v [adviceSamples]int64
	n int
}

func (s *samples) add(v int64) {
	s.v[s.n%adviceSamples] = v
	s.n++
}

func (s *samples) median() int64 {
	n := min(s.n, adviceSamples)
	if n == 0 {
		return 0
	}
	sorted := slices.Clone(s.v[:n])
	slices.Sort(sorted)
	return sorted[n/2]
}

func (c *Core) newAdvisor() *advisor {
	return &advisor{core: c, topics: make(map[string]*topicAdvice), said: make(map[string]bool)}
}

// take tells whether the next observation of the kind that seen counts is to be
// looked at.
func take(seen *atomic.Uint64) bool {
	n := seen.Add(1)
	return n <= adviceSamples || n%adviceEvery == 0
}

func (a *advisor) topic(name string) *topicAdvice {
	t := a.topics[name]
	if t == nil && len(a.topics) < adviceTopics {
		t = &topicAdvice{}
		a.topics[name] = t
	}
	return t
}

// due tells whether it is time to look at the samples.
func (t *topicAdvice) due() bool {
	t.looks++
	return lookAt(t.looks)
}

// lookAt tells whether n samples are a reason to look: sorting them is the dear part.
func lookAt(n int) bool {
	return n == adviceMinimum || n == 2*adviceMinimum || n > 0 && n%adviceInterval == 0
}

// finding is one piece of advice.
type finding struct {
	id, topic, group, client string
	text                     string
	gain                     time.Duration
}

// say reports f unless it was said before. a.mu is held; it is given up while the
// logger runs.
func (a *advisor) say(f finding) {
	key := f.id + "\x00" + f.topic
	if a.said[key] || len(a.said) >= adviceTopics*4 {
		return
	}
	a.said[key] = true
	attrs := []attribute.KeyValue{attribute.String(AttrAdviceID, f.id), attribute.String(AttrAdviceText, f.text)}
	args := []any{"finding", f.id, "gain", f.gain}
	for _, kv := range [...]struct{ key, name, value string }{
		{AttrDestinationName, "topic", f.topic}, {AttrConsumerGroup, "group", f.group}, {AttrClientID, "client", f.client},
	} {
		if kv.value != "" {
			attrs = append(attrs, attribute.String(kv.key, kv.value))
			args = append(args, kv.name, kv.value)
		}
	}
	g := a.core.meter.Group(adviceMeasures, attrs...)
	g.Lock()
	g.Set(0, f.gain.Milliseconds())
	g.Unlock()
	log := a.core.config.Logger
	if log == nil {
		log = slog.Default()
	}
	a.mu.Unlock()
	defer a.mu.Lock()
	log.Info("kafka: "+f.text, args...)
}

func named(name, standard string) string {
	if name == "" {
		return standard
	}
	return name
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= 10*time.Microsecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.String()
}

// sent looks at a request: when its first record was sent, when it ended, and how
// many records it had.
func (a *advisor) sent(p *Producer, topic string, first, end int64, n int, o *Outcome) {
	if !take(&a.requests) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.topic(topic)
	if t == nil {
		return
	}
	t.requests++
	if o.Attempts > 1 {
		t.retried++
	}
	if o.Throttle > 0 {
		t.throttled++
		t.throttle += o.Throttle
	}
	written := o.FirstWritten
	if written == 0 {
		written = o.Written
	}
	if o.Err == nil && written != 0 {
		t.queue.add(written - first)
		t.total.add(end - first)
		t.batch.add(int64(n))
	}
	if !t.due() {
		return
	}
	facts, client := &p.config.Facts, p.config.ClientID
	f := finding{topic: topic, client: client}
	queue, total, batch := time.Duration(t.queue.median()), time.Duration(t.total.median()), t.batch.median()
	linger := named(facts.BatchTimeoutName, "BatchTimeout")
	if facts.BatchTimeout > lingerTarget && queue > facts.BatchTimeout/2 && total > 0 && queue*2 > total &&
		(facts.BatchSize == 0 || batch*2 < int64(facts.BatchSize)) {
		f.id, f.gain = AdviceLinger, queue-lingerTarget
		f.text = fmt.Sprintf("%.0f %% of the median time to send to %q is %s %s at %d messages a batch: set %s",
			100*float64(queue)/float64(total), topic, linger, facts.BatchTimeout, batch, lingerTarget)
		a.say(f)
	}
	if facts.Acks == "none" {
		f.id, f.gain = AdviceAcksNone, 0
		f.text = fmt.Sprintf("%s is none: lost records of %q are not noticed, and offsets are not known; set it to all", named(facts.AcksName, "RequiredAcks"), topic)
		a.say(f)
	}
	if t.retried*100 >= t.requests {
		if t.retried > 1 {
			f.id, f.gain = AdviceRetries, 0
			f.text = fmt.Sprintf("%d of %d requests to %q were written more than once: look at the brokers' errors", t.retried, t.requests, topic)
			a.say(f)
		}
	}
	if t.throttled*100 >= t.requests*5 {
		f.id, f.gain = AdviceThrottled, t.throttle/time.Duration(max(t.throttled, 1))
		f.text = fmt.Sprintf("the broker throttled %d of %d requests to %q, for %s on average: raise the client's quota or send less", t.throttled, t.requests, topic, short(f.gain))
		a.say(f)
	}
	if facts.BatchTimeout > 0 && facts.BatchTimeout < time.Millisecond && batch <= 2 && total > 0 {
		f.id, f.gain = AdviceTinyBatches, 0
		f.text = fmt.Sprintf("requests to %q carry %d messages: with %s 5ms many would share one", topic, batch, linger)
		a.say(f)
	}
}

// received looks at a record that was handed over.
func (a *advisor) received(c *Consumer, d *Delivery) {
	if !take(&a.deliveries) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.topic(d.Partition.Topic)
	if t == nil {
		return
	}
	if d.Answered != 0 {
		t.wait.add(d.Handed - d.Answered)
	}
	if backlog, poll, ok := d.residence(); ok {
		t.backlog.add(backlog)
		t.poll.add(poll)
	}
	if t.due() {
		a.look(c, d.Partition.Topic, t)
	}
}

// look says what the samples of a topic that is read tell. a.mu is held.
func (a *advisor) look(c *Consumer, topic string, t *topicAdvice) {
	facts := &c.config.Facts
	f := finding{topic: topic, group: c.config.Group, client: c.config.ClientID}
	wait, work := time.Duration(t.wait.median()), time.Duration(t.work.median())
	backlog, poll := time.Duration(t.backlog.median()), time.Duration(t.poll.median())
	if t.work.n >= adviceMinimum && t.wait.n >= adviceMinimum && work > 0 && wait > 10*work && wait > 100*time.Millisecond {
		f.id, f.gain = AdviceFetchQueue, wait
		f.text = fmt.Sprintf("records of %q wait %s in the client before %s of processing", topic, short(wait), short(work))
		if facts.QueueCapacity > 0 {
			f.text += fmt.Sprintf(" (%s %d)", named(facts.QueueCapacityName, "QueueCapacity"), facts.QueueCapacity)
		}
		f.text += ": process in parallel or add consumers"
		a.say(f)
	}
	if t.backlog.n >= adviceMinimum && backlog > behindEnough {
		f.id, f.gain = AdviceBehind, backlog
		f.text = fmt.Sprintf("records of %q wait %s in the log before this group asks for them: it is behind; add consumers, up to one a partition", topic, short(backlog))
		a.say(f)
	}
	if t.poll.n >= adviceMinimum && facts.MinBytes > 1 && facts.MaxWait > 0 && poll > facts.MaxWait/2 {
		f.id, f.gain = AdviceMinBytes, poll
		f.text = fmt.Sprintf("the broker holds records of %q back for %s to fill %s %d, up to %s %s: set %s 1",
			topic, short(poll), named(facts.MinBytesName, "MinBytes"), facts.MinBytes,
			named(facts.MaxWaitName, "MaxWait"), facts.MaxWait, named(facts.MinBytesName, "MinBytes"))
		a.say(f)
	}
}

// processed looks at a record that is done.
func (a *advisor) processed(topic string, start, end int64) {
	if !take(&a.processings) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.topic(topic); t != nil {
		t.work.add(end - start)
	}
}

// settled looks at a commit that the application waited for.
func (a *advisor) settled(c *Consumer, s *Settlement) {
	if s.Background || s.Err != nil || len(s.Offsets) == 0 || !take(&a.commits) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	topic := s.Offsets[0].Topic
	t := a.topic(topic)
	if t == nil {
		return
	}
	t.commit.add(s.End - s.Start)
	t.commits++
	t.settled += max(s.Count, 1)
	commit, work := time.Duration(t.commit.median()), time.Duration(t.work.median())
	if !lookAt(t.commits) || t.settled > t.commits*2 || commit < 500*time.Microsecond || commit*4 < work {
		return
	}
	a.say(finding{
		id: AdviceCommitEach, topic: topic, group: c.config.Group, client: c.config.ClientID, gain: commit,
		text: fmt.Sprintf("a commit for each message of %q costs %s beside %s of processing: commit several at once, or in the background", topic, short(commit), short(work)),
	})
}

// rebalanced counts the rebalances of the last minutes.
func (a *advisor) rebalanced(c *Consumer, cause string) {
	now := a.core.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moved = append(a.moved, now)
	if len(a.moved) < rebalancesMany {
		return
	}
	a.moved = a.moved[len(a.moved)-rebalancesMany:]
	if took := time.Duration(now - a.moved[0]); took < rebalanceWindow {
		a.say(finding{
			id: AdviceManyRebalances, group: c.config.Group, client: c.config.ClientID,
			text: fmt.Sprintf("group %q was rebalanced %d times in %s, last because of %s: look for members that come and go, or process longer than the session allows",
				c.config.Group, rebalancesMany, short(took), cause),
		})
	}
}
