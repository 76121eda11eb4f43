package api

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// ClockList holds what hosts know of brokers' clocks.
type ClockList struct {
	Finding finding.Finding `json:"finding"`
	From    Nanos           `json:"from"`
	To      Nanos           `json:"to"`
	StepNs  int64           `json:"stepNs"` // what one sample of a pair stands for
	Clocks  []Clock         `json:"clocks"` // a page of them
	Total   int             `json:"total"`  // pairs that are asked for, on all pages
	Skip    int             `json:"skip"`   // pairs of the pages before
	States  []ClockCount    `json:"states"` // pairs of each state, whichever is asked for
	More    bool            `json:"more"`   // there are further pairs on no page: ask for one host, or less time
	Steps   []ClockStep     `json:"steps"`  // the last seen first, at most 100
	// StepsTotal counts the programs that saw one, listed or not.
	StepsTotal int `json:"stepsTotal"`
}

// ClockCount counts the pairs of a state.
type ClockCount struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

// Clock is the offset of one broker's clock from one host's.
type Clock struct {
	Host    string `json:"host"`    // its boot id, hashed
	Name    string `json:"name"`    // what people call the host; empty when nobody told
	Service string `json:"service"` // one that runs there; empty when nobody told
	Broker  string `json:"broker"`  // address:port
	Cluster string `json:"cluster"` // its id; empty unless a beacon told
	Node    *int32 `json:"node"`    // the broker's number there; null unless a beacon told
	State   string `json:"state"`   // known, one-sided, stale
	At      Nanos  `json:"at"`      // when the last interval is of
	LowNs   *int64 `json:"lowNs"`   // that interval, the narrowest of its stretch
	HighNs  *int64 `json:"highNs"`
	// Seconds with samples in a minute, by what bounded the offset.
	RoundTripsPerMinute float64 `json:"roundTripsPerMinute"`
	FetchesPerMinute    float64 `json:"fetchesPerMinute"`
	BeaconsPerMinute    float64 `json:"beaconsPerMinute"`
	First               Nanos   `json:"first"` // sample in the range
	Last                Nanos   `json:"last"`
	Seen                Nanos   `json:"seen"` // last, on the broker's clock as far as that is known
	// Steps are times at which samples contradict those before: a clock was stepped, the
	// host's or the broker's.
	Steps   uint64        `json:"steps"`
	Stepped *Nanos        `json:"stepped"` // when the last of them was seen
	Samples []ClockSample `json:"samples"`
}

// ClockSample bounds the offset, broker − host, at one time; null where a side
// is not known.
type ClockSample struct {
	Time   Nanos  `json:"time"` // the host's clock
	LowNs  *int64 `json:"lowNs"`
	HighNs *int64 `json:"highNs"`
	Steps  uint64 `json:"steps"` // in its stretch
}

// ClockStep counts how often a host's own clock was stepped, as one of its
// programs saw.
type ClockStep struct {
	Host    string `json:"host"`
	Service string `json:"service"`
	Steps   uint64 `json:"steps"`
	Seen    Nanos  `json:"seen"`
}

const (
	// maxClockPoints bounds the points of one question, maxClockCells and maxClockTimes
	// the intervals.
	maxClockPoints = 100_000
	maxClockCells  = 200_000
	maxClockTimes  = 10_000
	// maxClockSamples is how many intervals /clocks answers with for each pair;
	// fewClockSamples when there are so many pairs that all of theirs are more than
	// maxClockRows.
	maxClockSamples = 240
	fewClockSamples = 15
	maxClockRows    = 200_000
	// maxClockSteps is how many programs are listed that saw their own clock stepped.
	maxClockSteps = 100
	// clockReach is how far from a hop samples are looked for: the drift allowed
	// for adds 24 ms in it, and clients send every ten seconds.
	clockReach = 2 * time.Minute
	// clockStale is how old the last sample may be.
	clockStale = 2 * time.Minute
)

// States of a clock.
const (
	clockKnown    = "known"
	clockOneSided = "one-sided" // bounded from one side alone
	clockOld      = "stale"     // nothing came lately

	// clockStepped chooses the pairs that were stepped in the range, whatever their state.
	clockStepped = "stepped"
)

// clockHistory reads the stretches of all pairs, in longer ones where they would be too
// many. more tells that they still are.
func (h *Handler) clockHistory(ctx context.Context, project uint64, host string, r exporters.Range) (rows []exporters.ClockStretch, every time.Duration, more bool, err error) {
	cell := time.Duration(clocktrack.Cell)
	for _, samples := range []time.Duration{maxClockSamples, fewClockSamples} {
		every = max(cell, (r.To.Sub(r.From)/samples + cell - 1).Truncate(cell))
		rows, err = h.deps.Clocks.ClockHistory(ctx, exporters.ClockHistoryQuery{Project: project, Host: host, Range: r, Every: every, Limit: maxClockRows})
		if err != nil || len(rows) < maxClockRows {
			return rows, every, false, err
		}
	}
	return rows, every, true, nil
}

// clocks answers /clocks.
func (h *Handler) clocks(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	host, at := q.text("host"), q.text("at")
	state, sort := q.oneOf("state", "any", clockKnown, clockOneSided, clockOld, clockStepped), q.oneOf("sort", clockSorts...)
	limit, skip := q.limit(100), q.skip()
	if at != "" && skip > 0 {
		q.refuse("at", at, "one without skip: it chooses the page")
	}
	if q.fault != nil {
		return nil, q.fault
	}
	if r.To.IsZero() {
		r.To = q.now
	}
	if r.From.IsZero() {
		r.From = r.To.Add(-time.Hour)
	}
	rows, every, more, err := h.clockHistory(ctx, q.project.ID, host, r)
	if err != nil {
		return nil, err
	}
	out := ClockList{From: nanos(r.From.UnixNano()), To: nanos(r.To.UnixNano()), StepNs: int64(every), Clocks: []Clock{}, Steps: []ClockStep{}, More: more}
	var facts finding.Clocks
	counts := map[string]int{}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].Host == rows[0].Host && rows[n].Broker == rows[0].Broker {
			n++
		}
		if n == len(rows) && out.More && len(facts.Pairs) > 0 {
			break // the rest of this pair is cut off
		}
		c, fact := clockOf(rows[:n], r)
		facts.Pairs = append(facts.Pairs, fact)
		counts[c.State]++
		if c.Steps > 0 {
			counts[clockStepped]++
		}
		if state == "any" || c.State == state || state == clockStepped && c.Steps > 0 {
			out.Clocks = append(out.Clocks, c)
		}
		rows = rows[n:]
	}
	for _, s := range []string{clockKnown, clockOneSided, clockOld, clockStepped} {
		out.States = append(out.States, ClockCount{s, counts[s]})
	}
	slices.SortFunc(out.Clocks, func(a, b Clock) int { return compareClocks(sort, &a, &b) })
	out.Total = len(out.Clocks)
	if i := slices.IndexFunc(out.Clocks, func(c Clock) bool { return c.Host+" "+c.Broker == at }); i >= 0 {
		skip = i / limit * limit
	}
	out.Skip = min(skip, out.Total)
	out.Clocks = out.Clocks[out.Skip:min(out.Skip+limit, out.Total)]
	facts.From, facts.To = q.values.Get("from"), q.values.Get("to")
	out.Finding = finding.ForClocks(facts)
	var hosts []string
	if host != "" {
		hosts = []string{host}
	}
	points, err := h.deps.Metrics.MetricPoints(ctx, exporters.PointQuery{
		Project: q.project.ID, Names: []string{clock.MetricSteps}, Range: r, BootIDs: hosts, Limit: maxClockPoints,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the steps of clocks: %w", err)
	}
	type program struct {
		host, service string
		series        uint64
	}
	total, last := map[program]float64{}, map[program]int64{}
	for i := range points {
		p := &points[i]
		k := program{p.BootID, p.Service, p.Series}
		if p.Temporality == schemas.TemporalityCumulative {
			total[k] = max(total[k], p.Value)
		} else {
			total[k] += p.Value
		}
		if p.Value > 0 {
			last[k] = p.Time
		}
	}
	for k, n := range total {
		if n >= 1 && n < 1<<53 {
			out.Steps = append(out.Steps, ClockStep{Host: k.host, Service: k.service, Steps: uint64(n), Seen: nanos(last[k])})
		}
	}
	slices.SortFunc(out.Steps, func(a, b ClockStep) int {
		return cmp.Or(compareNanos(b.Seen, a.Seen), strings.Compare(a.Host, b.Host), strings.Compare(a.Service, b.Service))
	})
	out.StepsTotal = len(out.Steps)
	out.Steps = out.Steps[:min(len(out.Steps), maxClockSteps)]
	return out, nil
}

// clockSorts are the orders of pairs; the first is the usual one.
var clockSorts = []string{"host", "broker", "offset", "width", "steps", "seen"}

// compareClocks puts the farthest, widest, most stepped and newest first, what is not
// known last, and otherwise goes by what people call the host.
func compareClocks(by string, a, b *Clock) int {
	offset := func(c *Clock) (far, wide float64) {
		if c.LowNs == nil || c.HighNs == nil {
			return -1, -1
		}
		low, high := float64(*c.LowNs), float64(*c.HighNs)
		return math.Abs(low+high) / 2, high - low
	}
	farA, wideA := offset(a)
	farB, wideB := offset(b)
	first := 0
	switch by {
	case "broker":
		first = strings.Compare(a.Broker, b.Broker)
	case "offset":
		first = cmp.Compare(farB, farA)
	case "width":
		first = cmp.Compare(wideB, wideA)
	case "steps":
		first = cmp.Compare(b.Steps, a.Steps)
	case "seen":
		first = compareNanos(b.Seen, a.Seen)
	}
	called := func(c *Clock) string { return strings.ToLower(cmp.Or(c.Name, c.Service, c.Host)) }
	return cmp.Or(first, strings.Compare(called(a), called(b)), strings.Compare(a.Host, b.Host), strings.Compare(a.Broker, b.Broker))
}

// clockOf sums a pair up from its stretches, oldest first.
func clockOf(rows []exporters.ClockStretch, r exporters.Range) (Clock, finding.ClockPair) {
	last := rows[len(rows)-1]
	c := Clock{
		Host: last.Host, Broker: last.Broker, State: clockKnown, At: nanos(last.Time), First: nanos(rows[0].First), Last: nanos(last.Last),
		Samples: make([]ClockSample, 0, len(rows)),
	}
	c.LowNs, c.HighNs = bounds(last.Low, last.High)
	var trips, fetches, beacons uint64
	var stepped int64
	for i := range rows {
		s := &rows[i]
		one := ClockSample{Time: nanos(s.Time), Steps: s.Steps}
		one.LowNs, one.HighNs = bounds(s.Low, s.High)
		c.Samples = append(c.Samples, one)
		trips, fetches, beacons = trips+s.RoundTrips, fetches+s.Fetches, beacons+s.Beacons
		c.Steps += s.Steps
		stepped = max(stepped, s.Stepped)
		c.Name, c.Service, c.Cluster = cmp.Or(s.Name, c.Name), cmp.Or(s.Service, c.Service), cmp.Or(s.Cluster, c.Cluster)
		if s.Node != schemas.Unknown {
			c.Node = &s.Node
		}
	}
	c.Stepped = known(stepped)
	minutes := max(time.Duration(last.Last-rows[0].First)+time.Second, time.Minute).Minutes()
	c.RoundTripsPerMinute, c.FetchesPerMinute, c.BeaconsPerMinute = float64(trips)/minutes, float64(fetches)/minutes, float64(beacons)/minutes
	interval := clock.Interval{Lo: last.Low, Hi: last.High}
	// What the host's own clock says of now is worth nothing when it is hours off.
	seen := last.Last
	if interval.Known() && interval.Lo <= interval.Hi {
		seen += interval.Middle()
	}
	c.Seen = nanos(seen)
	switch {
	case time.Duration(r.To.UnixNano()-seen) > clockStale:
		c.State = clockOld
	case !interval.Known() || interval.Lo > interval.Hi:
		c.State = clockOneSided
	}
	return c, finding.ClockPair{
		Host: cmp.Or(c.Name, c.Service, c.Host), HostID: c.Host, Broker: c.Broker, Known: c.State == clockKnown, Stale: c.State == clockOld,
		Offset: time.Duration(interval.Middle()), HalfWidth: time.Duration(interval.Width() / 2), Steps: c.Steps,
	}
}

// bounds are the sides that are known; none of an interval that contradicts itself.
func bounds(low, high int64) (lo, hi *int64) {
	if low > high {
		return nil, nil
	}
	if low != clock.Below {
		lo = &low
	}
	if high != clock.Above {
		hi = &high
	}
	return lo, hi
}
