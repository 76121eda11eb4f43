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
	"github.com/hoptrace/hoptrace/schemas"
)

// ClockList holds what hosts know of brokers' clocks.
type ClockList struct {
	Clocks []Clock     `json:"clocks"`
	Steps  []ClockStep `json:"steps"`
}

// Clock is the offset of one broker's clock from one host's.
type Clock struct {
	Host    string        `json:"host"`   // its boot id, hashed
	Broker  string        `json:"broker"` // address:port
	Samples []ClockSample `json:"samples"`
}

// ClockSample bounds the offset, broker − host, at one time; null where a side
// is not known.
type ClockSample struct {
	Time   Nanos  `json:"time"` // the host's clock
	LowNs  *int64 `json:"lowNs"`
	HighNs *int64 `json:"highNs"`
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
	// maxClockPoints bounds the points of one question, maxClockSamples what
	// /clocks answers with for each pair.
	maxClockPoints  = 100_000
	maxClockSamples = 500
	// clockReach is how far from a hop samples are looked for: the drift allowed
	// for adds 24 ms in it, and clients send every ten seconds.
	clockReach = 2 * time.Minute
)

// clockPair names the offset between a host and a broker.
type clockPair struct{ host, broker string }

// clockSamples reads samples by pair, each in time order. For a long range at
// most one each so often is read.
func (h *Handler) clockSamples(ctx context.Context, project uint64, hosts []string, r exporters.Range, every time.Duration) (map[clockPair][]schemas.ClockSample, error) {
	points, err := h.deps.Metrics.MetricPoints(ctx, exporters.PointQuery{
		Project: project, Names: []string{clock.MetricOffsetLow, clock.MetricOffsetHigh}, Range: r, BootIDs: hosts, Every: every, Limit: maxClockPoints,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the clock samples of %d hosts: %w", len(hosts), err)
	}
	type place struct {
		clockPair
		series uint64
		at     int64
	}
	both := map[place]*schemas.ClockSample{}
	order := make([]*schemas.ClockSample, 0, len(points)/2)
	for i := range points {
		p := &points[i]
		if p.BootID == "" || p.Broker == "" || !(math.Abs(p.Value) < 1<<62) {
			continue
		}
		k := place{clockPair{p.BootID, p.Broker}, p.Series, p.Time}
		s := both[k]
		if s == nil {
			s = &schemas.ClockSample{BootID: p.BootID, Broker: p.Broker, Time: p.Time, Low: clock.Below, High: clock.Above}
			both[k] = s
			order = append(order, s)
		}
		if p.Name == clock.MetricOffsetLow {
			s.Low = int64(p.Value)
		} else {
			s.High = int64(p.Value)
		}
	}
	out := map[clockPair][]schemas.ClockSample{}
	for _, s := range order { // by time, as the points were
		k := clockPair{s.BootID, s.Broker}
		out[k] = append(out[k], *s)
	}
	return out, nil
}

// clocks answers /clocks.
func (h *Handler) clocks(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	host := q.text("host")
	if q.fault != nil {
		return nil, q.fault
	}
	if r.To.IsZero() {
		r.To = q.now
	}
	if r.From.IsZero() {
		r.From = r.To.Add(-time.Hour)
	}
	var hosts []string
	if host != "" {
		hosts = []string{host}
	}
	samples, err := h.clockSamples(ctx, q.project.ID, hosts, r, max(time.Second, r.To.Sub(r.From)/maxClockSamples))
	if err != nil {
		return nil, err
	}
	out := ClockList{Clocks: make([]Clock, 0, len(samples)), Steps: []ClockStep{}}
	for k, all := range samples {
		c := Clock{Host: k.host, Broker: k.broker, Samples: make([]ClockSample, 0, min(len(all), maxClockSamples))}
		for _, s := range all[max(0, len(all)-maxClockSamples):] {
			one := ClockSample{Time: nanos(s.Time)}
			if s.Low != clock.Below {
				one.LowNs = &s.Low
			}
			if s.High != clock.Above {
				one.HighNs = &s.High
			}
			c.Samples = append(c.Samples, one)
		}
		out.Clocks = append(out.Clocks, c)
	}
	slices.SortFunc(out.Clocks, func(a, b Clock) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Broker, b.Broker))
	})
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
	total, at := map[program]float64{}, map[program]int64{}
	for i := range points {
		p := &points[i]
		k := program{p.BootID, p.Service, p.Series}
		if p.Temporality == schemas.TemporalityCumulative {
			total[k] = max(total[k], p.Value)
		} else {
			total[k] += p.Value
		}
		if p.Value > 0 {
			at[k] = p.Time
		}
	}
	for k, n := range total {
		if n >= 1 && n < 1<<53 {
			out.Steps = append(out.Steps, ClockStep{Host: k.host, Service: k.service, Steps: uint64(n), Seen: nanos(at[k])})
		}
	}
	slices.SortFunc(out.Steps, func(a, b ClockStep) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Service, b.Service), compareNanos(a.Seen, b.Seen))
	})
	return out, nil
}

// offsets is what the samples of one pair tell of any time: of those before it
// and of those after it.
type offsets struct {
	at              []int64
	forward, behind []clock.Tracker // behind runs back in time: its times are negative
}

func newOffsets(samples []schemas.ClockSample) *offsets {
	o := &offsets{at: make([]int64, len(samples)), forward: make([]clock.Tracker, len(samples)), behind: make([]clock.Tracker, len(samples))}
	var t clock.Tracker
	for i, s := range samples {
		o.at[i] = s.Time
		t.Add(s.Time, s.Low, s.High)
		o.forward[i] = t
	}
	t = clock.Tracker{}
	for i, s := range slices.Backward(samples) {
		t.Add(-s.Time, s.Low, s.High)
		o.behind[i] = t
	}
	return o
}

// near gives the offset at a time. A clock that was stepped between the samples
// around it leaves nothing known.
func (o *offsets) near(t int64) (clock.Interval, bool) {
	i, _ := slices.BinarySearch(o.at, t+1) // the first sample after t
	before, after := clock.Unknown(), clock.Unknown()
	if i > 0 {
		before, _ = o.forward[i-1].At(t)
	}
	if i < len(o.at) {
		after, _ = o.behind[i].At(-t)
	}
	both := clock.Interval{Lo: max(before.Lo, after.Lo), Hi: min(before.Hi, after.Hi)}
	if both.Lo > both.Hi && i > 0 && o.at[i-1] == t {
		both = before // the step came after this very sample
	}
	return both, both.Known() && both.Lo <= both.Hi
}
