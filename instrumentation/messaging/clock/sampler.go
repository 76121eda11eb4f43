package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Sampler keeps, for each broker, the narrowest interval of the offset in each
// second, from round trips that a client makes anyway; and it watches the host's
// own clock. It is safe for concurrent use and starts no goroutine.
//
// What it hands out never spans a step of the host's clock: a second's interval
// leaves only after a look at the wall and the monotonic clock showed that none
// happened since the look before.
type Sampler struct {
	wall, mono func() int64

	lookAt   atomic.Int64 // wall time that the last Look was given
	lookMono atomic.Int64 // mono time of it

	mu      sync.Mutex // guards the following
	brokers map[server]*broker
	last    *broker
	ignored uint64
	steps   uint64
	onStep  []func(at, by int64)
	fresh   []step // not told yet

	base    int64 // wall − mono at the last look
	looked  int64 // wall time of it
	stepped int64 // mono time at which the last step was found
	moved   int64 // its size
	unsure  bool  // a round trip may have begun before the last step

	out *output
}

type step struct{ at, by int64 }

// server is a broker's address as clients have it.
type server struct {
	host string
	port int
}

// broker is what is known of one broker's clock and not handed out yet.
type broker struct {
	server
	name   string // host:port
	open   bool
	second int64
	now    Tracker // of the second that is open
	done   []point // oldest first
}

type point struct {
	at int64
	Interval
}

const (
	// MaxBrokers bounds the brokers of one Sampler; those above are ignored and
	// counted.
	MaxBrokers = 256
	// maxWaiting bounds the intervals of one broker that wait to be collected; the
	// oldest is dropped.
	maxWaiting = 64
	// minStep is how far wall and monotonic clock part before it is called a step:
	// time servers slew by less in the time between two looks.
	minStep = int64(10 * time.Millisecond)
	// maxRoundTrip is the longest round trip that is used, and the oldest answer.
	maxRoundTrip = int64(time.Minute)
	// lookGap is the least time between two readings of the clocks for Look.
	lookGap = int64(100 * time.Millisecond)
	// stampUnit is what a LogAppendTime is cut off to.
	stampUnit = int64(time.Millisecond)
	// latest bounds the times that are believed, so that sums of two fit: the year
	// 2116.
	latest = int64(1) << 62
)

// NewSampler makes a sampler. now is the host's wall clock in Unix nanoseconds,
// the one that the times given to the sampler are of; nil means the system's.
func NewSampler(now func() int64) *Sampler {
	if now == nil {
		now = func() int64 { return time.Now().UnixNano() }
	}
	begin := time.Now()
	return newSampler(now, func() int64 { return int64(time.Since(begin)) })
}

func newSampler(wall, mono func() int64) *Sampler {
	s := &Sampler{wall: wall, mono: mono, brokers: make(map[server]*broker)}
	now, at := s.read()
	s.base, s.looked, s.stepped = now-at, now, at-2*maxRoundTrip-1
	return s
}

// Produce takes a produce round trip to a broker: the request was
// written and answered at these times of the host's clock, Unix nanoseconds, and
// the answer says that the records were appended at this LogAppendTime, whole
// milliseconds as nanoseconds. Zero means that the topic stamps CreateTime: then
// there is nothing to learn. With retries, written is that of the request that was
// answered.
func (s *Sampler) Produce(host string, port int, written, answered, appended int64) {
	s.sample(server{host, port}, written, answered, appended, true)
}

// Fetch takes a fetch answer that holds a record of this LogAppendTime; the last
// record of an answer tells most. waited says that the record was certainly not
// appended yet when the fetch was asked. A fetch offset at the high watermark says
// so for a partition with one replica only: with more, the watermark follows the
// append. When in doubt, false: then the answer bounds the offset from below
// alone.
func (s *Sampler) Fetch(host string, port int, asked, answered, appended int64, waited bool) {
	s.sample(server{host, port}, asked, answered, appended, waited)
}

// Look finds a step of the host's own clock where no sample comes to show it: a
// topic that stamps CreateTime gives none. at is the time of the host's clock that
// the caller read anyway, Unix nanoseconds. Most calls cost one comparison: both
// clocks are read once a second, and when at moved by more than that, though never
// more than ten times a second.
func (s *Sampler) Look(at int64) {
	if d := at - s.lookAt.Load(); -int64(time.Second) < d && d < int64(time.Second) {
		return
	}
	mono, before := s.mono(), s.lookMono.Load()
	if before != 0 && mono-before < lookGap || !s.lookMono.CompareAndSwap(before, max(mono, 1)) {
		return
	}
	s.lookAt.Store(at)
	s.mu.Lock()
	s.look()
	s.mu.Unlock()
	s.tellSteps()
}

func (s *Sampler) sample(of server, asked, answered, appended int64, both bool) {
	if appended <= 0 || asked <= 0 || answered < asked || answered-asked > maxRoundTrip || answered > latest || appended > latest {
		return
	}
	// The broker's clock showed appended or more when it answered, and no more than
	// the end of that millisecond when it was asked.
	i := Interval{appended - answered, Above}
	if both {
		i.Hi = appended + stampUnit - asked + drift(answered-asked)
	}
	s.mu.Lock()
	tell := s.add(of, asked, answered, i)
	s.mu.Unlock()
	if tell {
		s.tell()
	}
}

// add takes a sample; tell is true when there may be something to hand on.
func (s *Sampler) add(of server, asked, answered int64, i Interval) (tell bool) {
	b := s.last
	if b == nil || b.server != of {
		if b = s.brokers[of]; b == nil {
			if len(s.brokers) >= MaxBrokers {
				s.ignored++
				return false
			}
			b = &broker{server: of, name: of.String()}
			s.brokers[of] = b
		}
		s.last = b
	}
	second := answered / int64(time.Second)
	if !b.open || b.second != second {
		tell = true
		s.look()
		if b.open && second < b.second {
			return true // an answer that waited long to be told
		}
		b.close()
		if answered-s.looked > int64(time.Second) || s.looked-answered > maxRoundTrip {
			return true
		}
		b.open, b.second = true, second
	}
	if s.unsure && !s.sure(asked) {
		return tell
	}
	if before := b.now; b.now.Add(answered, i.Lo, i.Hi) {
		// A clock was stepped within the second. If it was the broker's, both sides
		// hold; if it was ours, neither.
		if s.look() {
			return true
		}
		b.keep(point{before.at, before.state})
	}
	return tell
}

// Collect hands out what was kept since the last time: for each broker and second
// with samples the narrowest interval of broker's clock − host's clock at time at,
// nanoseconds, oldest first. A broker is named host:port. A side that is not known is [Below] or [Above]. f is
// called without a lock held. Each interval is handed out once, so either collect
// or [Sampler.Attach].
func (s *Sampler) Collect(f func(broker string, at, lo, hi int64)) {
	s.collect(func(b *broker, p point) { f(b.name, p.at, p.Lo, p.Hi) })
}

func (s *Sampler) collect(f func(*broker, point)) {
	type batch struct {
		*broker
		points []point
	}
	var out []batch
	s.mu.Lock()
	s.look()
	for _, b := range s.brokers {
		b.close()
		if len(b.done) > 0 {
			out = append(out, batch{b, b.done})
			b.done = nil
		}
	}
	s.mu.Unlock()
	s.tellSteps()
	for _, b := range out {
		for _, p := range b.points {
			f(b.broker, p)
		}
	}
}

// Steps counts the steps of the host's own clock.
func (s *Sampler) Steps() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.steps
}

// Ignored counts the samples of brokers above [MaxBrokers].
func (s *Sampler) Ignored() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ignored
}

// OnStep has f called as soon as a step of the host's own clock is found: the wall
// clock showed at afterwards, Unix nanoseconds, and went by nanoseconds further
// than the monotonic one. f is called by whoever brought the sample, without a
// lock held, and stays.
func (s *Sampler) OnStep(f func(at, by int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onStep = append(s.onStep, f)
}

// read returns wall and monotonic clock as of one moment.
func (s *Sampler) read() (wall, mono int64) {
	// When the thread loses its processor between the readings, they are of two
	// moments: try again.
	for try := 0; ; try++ {
		before := s.mono()
		wall = s.wall()
		after := s.mono()
		if after-before < minStep/20 || try == 3 {
			return wall, before + (after-before)/2
		}
	}
}

// look finds out whether the host's clock was stepped since the last look. If so,
// what is open is dropped: it may hold round trips across the step.
func (s *Sampler) look() (stepped bool) {
	wall, mono := s.read()
	by := wall - mono - s.base
	s.base, s.looked = wall-mono, wall
	if -minStep <= by && by <= minStep {
		if s.unsure && mono-s.stepped > 2*maxRoundTrip+min(s.moved, 2*maxRoundTrip) {
			s.unsure = false
		}
		return false
	}
	s.steps++
	s.stepped, s.moved, s.unsure = mono, max(by, -by), true
	for _, b := range s.brokers {
		b.open, b.now = false, Tracker{}
	}
	if len(s.fresh) < maxWaiting {
		s.fresh = append(s.fresh, step{wall, by})
	}
	return true
}

// sure is true when what began at asked began after the last step, however the
// step changed what its age looks like.
func (s *Sampler) sure(asked int64) bool {
	wall, mono := s.read()
	age := wall - asked
	return age >= 0 && age+min(s.moved, 2*maxRoundTrip) < mono-s.stepped
}

// tell hands steps on, and intervals where nobody comes to collect them.
func (s *Sampler) tell() {
	s.tellSteps()
	s.mu.Lock()
	out := s.out
	s.mu.Unlock()
	if out != nil && !out.collected {
		s.collect(out.send)
	}
}

func (s *Sampler) tellSteps() {
	s.mu.Lock()
	fresh, hooks := s.fresh, s.onStep
	s.fresh = nil
	s.mu.Unlock()
	for _, step := range fresh {
		for _, f := range hooks {
			f(step.at, step.by)
		}
	}
}

// close ends the second that is open and keeps its interval.
func (b *broker) close() {
	if b.open && b.now.any {
		b.keep(point{b.now.at, b.now.state})
	}
	b.open, b.now = false, Tracker{}
}

func (b *broker) keep(p point) {
	if len(b.done) == maxWaiting {
		b.done = b.done[:copy(b.done, b.done[1:])]
	}
	b.done = append(b.done, p)
}
