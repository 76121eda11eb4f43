package measure

import (
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Meter hands out groups of one scope. It comes from [Registry.Meter] or
// [FromOTel] and is safe for concurrent use.
type Meter struct {
	registry   *Registry    // nil: somebody else's SDK
	otel       metric.Meter // nil: a Registry's
	scope      Scope
	maxGroups  int
	onOverflow func(instrument string, bound int)

	invalid, dropped, overflowed, panics atomic.Uint64

	mu       sync.Mutex // guards the following
	families []*family
	byLayout map[*Layout]*family
	metrics  []described // in the order in which layouts named them first
	made     map[string]made
	closed   bool
}

// described is one metric as OTLP names it. Layouts that name the same
// instrument share it.
type described struct {
	Instrument
	twin bool
}

// family is the groups of one layout.
type family struct {
	meter   *Meter
	layout  *Layout
	kinds   []Kind
	metrics []int // instrument → index into meter.metrics; its twin, if it has one, follows
	bound   *instruments

	mu       sync.Mutex // guards the following; a group's lock may be held, never the reverse
	seats    map[attribute.Distinct]*seat
	taken    int
	overflow *Group
	told     bool
	dirty    []*Group // woken since the last collection
	ready    []*Group // an emptied dirty list, for the next
	spare    [][]cell
	since    int64 // last collection, Unix ns
	swept    int64
	closed   atomic.Bool // read without the lock too, so that observing is cheap after Shutdown
}

// seat is the place of one set of attributes among the family's. The group stays
// known as long as somebody holds it, so that a set of attributes never has two;
// after idleAfter without an observation it gives the place back and takes one
// again with the next.
type seat struct {
	group weak.Pointer[Group]
	taken bool
	used  int64 // Unix ns
}

const (
	defaultMaxGroups = 2000
	// idleAfter is how long a group without observations counts against the bound.
	idleAfter  = int64(5 * time.Minute)
	sweepEvery = int64(time.Minute)
	// sweepAgain is the least time between two sweeps for want of a seat.
	sweepAgain = int64(time.Second)
)

// AttrOverflow marks the group of all sets of attributes above the bound, as the
// OpenTelemetry SDK does.
const AttrOverflow = "otel.metric.overflow"

const overflowKey = attribute.Key(AttrOverflow)

func newMeter() *Meter {
	return &Meter{byLayout: make(map[*Layout]*family), maxGroups: defaultMaxGroups}
}

// Group returns the group of l with attrs, of which the last of equal keys
// counts. The same layout and attributes give the same group, as long as somebody
// holds it or it has something to send. Above the bound (Options.MaxGroups, 2,000
// with somebody else's SDK) it returns the overflow group of l, whose one
// attribute is otel.metric.overflow=true. A gauge of that is the greatest value of
// an interval; with somebody else's SDK, where nobody knows when an interval
// begins, it is left out.
func (m *Meter) Group(l *Layout, attrs ...attribute.KeyValue) *Group {
	f := m.family(l)
	g, tell := f.group(attribute.NewSet(attrs...))
	if tell {
		f.tell()
	}
	return g
}

// Overflowed tells OnOverflow that the caller keeps no more than bound sets of
// attributes of instrument apart, and marks what it adds up with [AttrOverflow].
// Call it once.
func (m *Meter) Overflowed(instrument string, bound int) {
	m.overflowed.Add(1)
	defer m.guard()
	if m.onOverflow != nil {
		m.onOverflow(instrument, bound)
	}
}

// Kick makes the meter's Registry export soon, without waiting for it. With
// somebody else's SDK it does nothing.
func (m *Meter) Kick() {
	if m.registry != nil {
		m.registry.Kick()
	}
}

// OnCollect has the meter's Registry call f before each collection, from its own
// goroutine, so that what is kept elsewhere can be observed. f must be quick, and
// is called until it returns false. OnCollect returns false, and never calls f,
// with somebody else's SDK.
func (m *Meter) OnCollect(f func() bool) bool {
	if m.registry == nil {
		return false
	}
	m.registry.onCollect(m, f)
	return true
}

// Shared returns what create returned when it was first called with key, for all
// meters of one Registry; keys are compared as a context's are. With somebody
// else's SDK it calls create each time. create must not call Shared.
func (m *Meter) Shared(key any, create func() any) any {
	if m.registry == nil {
		return create()
	}
	return m.registry.sharedValue(key, create)
}

// Panics counts the panics of somebody else's SDK that were kept from the
// program, and those of functions given to OnCollect and OnOverflow.
func (m *Meter) Panics() uint64 { return m.panics.Load() }

// guard is deferred around calls of foreign code.
func (m *Meter) guard() {
	if recover() != nil {
		m.panics.Add(1)
	}
}

func (m *Meter) family(l *Layout) *family {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.byLayout[l]; f != nil {
		return f
	}
	f := &family{meter: m, layout: l, seats: make(map[attribute.Distinct]*seat), since: time.Now().UnixNano()}
	f.closed.Store(m.closed)
	for _, in := range l.in {
		f.kinds = append(f.kinds, in.Kind)
		f.metrics = append(f.metrics, m.metric(in))
	}
	if m.otel != nil {
		f.bound = m.bind(l)
	}
	m.byLayout[l] = f
	m.families = append(m.families, f)
	return f
}

// metric finds or adds the metric of in; its twin follows it.
func (m *Meter) metric(in Instrument) int {
	for i, d := range m.metrics {
		if d.Name == in.Name && d.Kind == in.Kind && d.Unit == in.Unit && !d.twin {
			return i
		}
	}
	m.metrics = append(m.metrics, described{Instrument: in})
	if in.Kind == Duration || in.Kind == Histogram {
		m.metrics = append(m.metrics, described{Instrument: twin(in), twin: true})
	}
	return len(m.metrics) - 1 - btoi(in.Kind == Duration || in.Kind == Histogram)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// twin describes the histogram of in's negative observations.
func twin(in Instrument) Instrument {
	in.Name += NegativeSuffix
	in.Description = "Negative observations of the metric without the suffix, by their absolute values."
	return in
}

// group finds or makes the group of set. tell is true when the bound was met for
// the first time.
func (f *family) group(set attribute.Set) (g *Group, tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := set.Equivalent()
	if s := f.seats[key]; s != nil {
		if g := s.group.Value(); g != nil {
			if !g.set.Equals(&set) { // two sets with one hash
				return f.turnAway()
			}
			return g, false
		}
		f.leave(key, s)
	}
	if now := time.Now().UnixNano(); f.taken >= f.meter.maxGroups && now-f.swept > sweepAgain {
		f.sweep(now)
	}
	// Those who gave their place back but are held still are bounded too.
	if f.taken >= f.meter.maxGroups || len(f.seats) >= 4*f.meter.maxGroups {
		return f.turnAway()
	}
	g = f.newGroup(set)
	g.seat = &seat{group: weak.Make(g), taken: true, used: time.Now().UnixNano()}
	f.seats[key] = g.seat
	f.taken++
	return g, false
}

func (f *family) turnAway() (g *Group, tell bool) {
	f.meter.overflowed.Add(1)
	tell, f.told = !f.told, true
	return f.overflowGroup(), tell
}

func (f *family) overflowGroup() *Group {
	if f.overflow == nil {
		f.overflow = f.newGroup(attribute.NewSet(overflowKey.Bool(true)))
		f.overflow.greatest = true
		f.overflow.seat = &seat{taken: true}
	}
	return f.overflow
}

func (f *family) newGroup(set attribute.Set) *Group {
	g := &Group{family: f, set: set, kinds: f.kinds}
	if f.bound != nil {
		g.otel = f.bound.group(set)
	} else {
		g.attrs = encodeSet(set, f.kinds)
	}
	return g
}

// tell says that attributes were cut.
func (f *family) tell() {
	defer f.meter.guard()
	if f.meter.onOverflow != nil && len(f.layout.in) > 0 {
		f.meter.onOverflow(f.layout.in[0].Name, f.meter.maxGroups)
	}
}

// leave forgets a seat.
func (f *family) leave(key attribute.Distinct, s *seat) {
	delete(f.seats, key)
	if s.taken {
		s.taken = false
		f.taken--
	}
}

// sweep forgets groups that nobody holds and takes the places of idle ones.
func (f *family) sweep(now int64) {
	f.swept = now
	for key, s := range f.seats {
		switch {
		case s.group.Value() == nil:
			f.leave(key, s)
		case s.taken && f.bound == nil && now-s.used > idleAfter:
			s.taken = false
			f.taken--
		}
	}
}

// wake gives g, whose lock is held, cells for the first observation since the
// last collection.
func (f *family) wake(g *Group) bool {
	if f.closed.Load() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Load() { // what wakes from now on would not be collected
		return false
	}
	if !g.seat.taken {
		if f.taken < f.meter.maxGroups {
			g.seat.taken = true
			f.taken++
		} else {
			g.spill = true
		}
	}
	if n := len(f.spare); n > 0 {
		g.cells, f.spare = f.spare[n-1], f.spare[:n-1]
	} else {
		g.cells = make([]cell, len(f.kinds))
	}
	g.start, g.dirty = f.since, true
	f.dirty = append(f.dirty, g)
	return true
}

// take returns the groups that were woken since the last time. The list is the
// caller's until it gives it back.
func (f *family) take(now int64) []*Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.dirty
	f.dirty, f.ready = f.ready[:0], nil
	f.since = now
	for _, g := range list {
		g.seat.used = now
	}
	if now-f.swept > sweepEvery {
		f.sweep(now)
	}
	// After a busier time, let go of memory.
	if most := 2*len(list) + 16; len(f.spare) > most {
		clear(f.spare[most:])
		f.spare = f.spare[:most]
	}
	return list
}

// give takes back a list of take.
func (f *family) give(list []*Group) {
	clear(list)
	f.mu.Lock()
	if cap(list) <= 4*len(list)+64 { // let go of the list of a busier time
		f.ready = list[:0]
	}
	f.mu.Unlock()
}

// drain takes from g what it saw; the group is as new then.
func (g *Group) drain() (cells []cell, start int64, spill bool) {
	g.mu.Lock()
	cells, start, spill = g.cells, g.start, g.spill
	g.cells, g.dirty, g.spill = nil, false, false
	g.mu.Unlock()
	return cells, start, spill
}

// putBack adds cells, seen since start, to what g saw after them. It is false
// when the registry was shut down.
func (g *Group) putBack(cells []cell, start int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dirty && !g.wake() {
		return false
	}
	dropped := 0
	for i := range cells {
		dropped += g.cells[i].merge(&cells[i], g.kinds[i], g.greatest)
	}
	g.family.meter.dropped.Add(uint64(dropped))
	g.start = min(g.start, start)
	return true
}

// reuse takes cells back whose content is no longer needed.
func (f *family) reuse(cells []cell) {
	for i := range cells {
		cells[i].reset()
	}
	f.mu.Lock()
	f.spare = append(f.spare, cells)
	f.mu.Unlock()
}
