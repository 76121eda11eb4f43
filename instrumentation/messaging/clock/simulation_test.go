package clock

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	ms     = int64(time.Millisecond)
	second = int64(time.Second)
	epoch  = int64(1_700_000_000) * second
)

// host is a clock that starts off by some seconds and runs fast or slow. It is
// read at true times, nanoseconds since the epoch above.
type host struct {
	offset int64
	drift  float64
	stepAt int64 // true time; 0: never
	stepBy int64
}

func (h *host) at(now int64) int64 {
	t := epoch + now + h.offset + int64(h.drift*float64(now))
	if h.stepAt != 0 && now >= h.stepAt {
		t += h.stepBy
	}
	return t
}

// when is the true time at which the clock showed t, but for steps.
func (h *host) when(t int64) int64 { return int64(float64(t-epoch-h.offset) / (1 + h.drift)) }

func (h *host) mono(now int64) int64 { return 12345 + now + int64(h.drift*float64(now)) }

func randomHost(rng *rand.Rand) *host {
	return &host{offset: rng.Int64N(20*second) - 10*second, drift: (rng.Float64()*2 - 1) * 50e-6}
}

// world is two hosts and a broker, and the samplers of both hosts.
type world struct {
	rng                        *rand.Rand
	now                        int64
	producer, consumer, broker *host
	of                         [2]*Sampler // producer's, consumer's
	tracker                    [2]Tracker
	roundTrip                  int64
	stamped                    bool // topics stamp LogAppendTime
}

const address = "b1:9092"

func newWorld(seed uint64, roundTrip int64) *world {
	rng := rand.New(rand.NewPCG(seed, 99))
	w := &world{rng: rng, producer: randomHost(rng), consumer: randomHost(rng), broker: randomHost(rng), roundTrip: roundTrip, stamped: true}
	for i, h := range w.hosts() {
		w.of[i] = newSampler(func() int64 { return h.at(w.now) }, func() int64 { return h.mono(w.now) })
	}
	return w
}

func (w *world) hosts() []*host { return []*host{w.producer, w.consumer} }

// delay is one way over the network: half the round trip with an exponential
// tail, and 20 ms now and then.
func (w *world) delay() int64 {
	d := w.roundTrip/4 + int64(w.rng.ExpFloat64()*float64(w.roundTrip)/4)
	if w.rng.IntN(50) == 0 {
		d += 20 * ms
	}
	return d
}

// stamp is a LogAppendTime.
func (w *world) stamp(at int64) int64 { return w.broker.at(at) / ms * ms }

// theta is the true offset of host i.
func (w *world) theta(i int, now int64) int64 {
	return w.broker.at(now) - w.hosts()[i].at(now)
}

// produce makes a produce round trip from host i that begins at true time at, and
// returns when it was appended and answered.
func (w *world) produce(i int, at int64, sampled bool) (appended, acked int64) {
	appended = at + w.delay()
	acked = appended + w.delay()
	h := w.hosts()[i]
	w.now = max(w.now, acked) // the sampler is called when the answer is there
	if sampled {
		w.of[i].Produce("b1", 9092, h.at(at), h.at(acked), w.stamp(appended))
	}
	return appended, acked
}

// collect hands what the samplers kept to the trackers.
func (w *world) collect(t *testing.T) {
	for i, s := range w.of {
		s.Collect(func(broker string, at, lo, hi int64) {
			if broker != address || lo > hi {
				t.Fatalf("collected %s %d %d %d", broker, at, lo, hi)
			}
			w.tracker[i].Add(at, lo, hi)
		})
	}
}

// run lets the producer send rate messages a second for some seconds, each read
// by the consumer, and calls f for each with its true moments and its parts.
func (w *world) run(t *testing.T, seconds, rate int, f func(tile Tiles, times Times, moments [3]int64)) {
	begin := w.now
	last := begin
	for n := range seconds * rate {
		enqueued := begin + int64(n)*second/int64(rate)
		w.now = max(w.now, enqueued)
		if enqueued/second != last/second {
			w.collect(t)
			if !w.stamped {
				for i := range w.of {
					w.produce(i, enqueued, true) // a beacon
				}
			}
			last = enqueued
		}
		written := enqueued + w.rng.Int64N(5*ms)
		appended, acked := w.produce(0, written, w.stamped)
		asked := appended - w.rng.Int64N(20*ms) // before it was appended, or after
		waited := asked+w.delay() < appended
		if w.rng.IntN(3) == 0 {
			asked, waited = appended+w.rng.Int64N(20*ms), false // a backlog
		}
		fetched := max(asked+w.delay(), appended) + w.delay()
		handed := fetched + w.rng.Int64N(ms)
		done := handed + w.rng.Int64N(ms)
		w.now = max(w.now, done)
		p, c := w.producer, w.consumer
		if w.stamped {
			w.of[1].Fetch("b1", 9092, c.at(asked), c.at(fetched), w.stamp(appended), waited)
		}
		times := Times{
			Enqueued: p.at(enqueued), Written: p.at(written), Acked: p.at(acked),
			Fetched: c.at(fetched), Handed: c.at(handed), Started: c.at(handed), Done: c.at(done),
		}
		if w.stamped {
			times.Appended = w.stamp(appended)
		}
		var o Offsets
		o.Producer, _ = w.tracker[0].At(p.at(acked))
		o.Consumer, _ = w.tracker[1].At(c.at(fetched))
		f(Tile(times, o), times, [3]int64{appended, fetched, done - enqueued})
	}
}

func TestTrueValuesLieInTheirIntervals(t *testing.T) {
	for _, c := range []struct {
		name      string
		roundTrip int64
		stamped   bool
		p50, p95  time.Duration // half widths of residence, at most
	}{
		{"LogAppendTime, round trip 1 ms", ms, true, 1500 * time.Microsecond, 2 * time.Millisecond},
		{"beacon each second, round trip 1 ms", ms, false, 3100 * time.Microsecond, 3900 * time.Microsecond},
		{"beacon each second, round trip 20 ms", 20 * ms, false, 45 * time.Millisecond, 57 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			var half []time.Duration
			unknown, all := 0, 0
			for seed := range uint64(20) {
				w := newWorld(seed, c.roundTrip)
				w.stamped = c.stamped
				w.run(t, 80, 50, func(tile Tiles, times Times, moments [3]int64) {
					all++
					for i := range w.of {
						theta, ok := w.tracker[i].At(w.hosts()[i].at(w.now))
						if truth := w.theta(i, w.now); ok && !theta.Contains(truth) {
							t.Fatalf("seed %d: host %d's offset %d is not within %v", seed, i, truth, theta)
						}
					}
					// True lengths, as the consumer's clock would have measured them.
					residence := w.consumer.at(moments[1]) - w.consumer.at(moments[0])
					if !tile.ResidenceRange.Contains(residence) {
						t.Fatalf("seed %d: residence %d is not within %v", seed, residence, tile.ResidenceRange)
					}
					slack := drift(moments[2])
					if r := tile.EndToEndRange; r.Known() && (moments[2] < r.Lo-slack || moments[2] > r.Hi+slack) {
						t.Fatalf("seed %d: end to end %d is not within %v", seed, moments[2], r)
					}
					if !tile.ResidenceRange.Known() {
						unknown++
						return
					}
					half = append(half, time.Duration(tile.ResidenceRange.Width()/2))
					if !tile.OffsetKnown {
						return
					}
					sum := int64(0)
					for p, known := range tile.Known {
						if !known {
							t.Fatalf("seed %d: part %d is unknown", seed, p)
						}
						sum += tile.Length[p]
					}
					if sum != tile.EndToEnd {
						t.Fatalf("seed %d: the parts sum to %d; end to end is %d", seed, sum, tile.EndToEnd)
					}
				})
			}
			slices.Sort(half)
			p50, p95 := half[len(half)/2], half[len(half)*95/100]
			t.Logf("%d messages: ± p50 %v, p95 %v, %.1f %% unknown", all, p50, p95, 100*float64(unknown)/float64(all))
			if p50 > c.p50 || p95 > c.p95 {
				t.Errorf("± p50 %v, p95 %v; want at most %v, %v", p50, p95, c.p50, c.p95)
			}
			if unknown > all/25 {
				t.Errorf("%d of %d messages unknown", unknown, all)
			}
		})
	}
}

// TestStepsOfTheOwnClockAreFound steps the producer's clock in mid-flight, by
// various sizes, and looks at every interval that its sampler hands out.
func TestStepsOfTheOwnClockAreFound(t *testing.T) {
	for _, by := range []int64{-3600 * second, -70 * second, -800 * ms, -30 * ms, -11 * ms, 11 * ms, 30 * ms, 800 * ms, 70 * second, 3600 * second} {
		for seed := range uint64(5) {
			w := newWorld(seed, 5*ms)
			h := w.producer
			h.stepAt, h.stepBy = 20*second+w.rng.Int64N(second), by
			var told []int64
			w.of[0].OnStep(func(at, moved int64) { told = append(told, at, moved) })
			before, after, found := 0, 0, int64(0)
			var late []func()
			for range 50 {
				late = append(late, func() {}) // the first are told after some five seconds
			}
			for n := range 300 * 50 {
				begin := int64(n) * second / 50
				w.now = max(w.now, begin)
				if len(late) > 0 && w.rng.IntN(5) == 0 { // a record that waited in the client
					late[0]()
					late = late[1:]
				}
				appended, acked := w.produce(0, begin, true)
				asked, answered, stamp := h.at(begin), h.at(acked), w.stamp(appended)
				if n%20 == 0 {
					late = append(late, func() { w.of[0].Fetch("b1", 9092, asked, answered, stamp, true) })
				}
				if len(told) > 0 && found == 0 {
					found = w.now
				}
				if n%(50*3) != 7 {
					continue
				}
				w.of[0].Collect(func(_ string, at, lo, hi int64) {
					i := Interval{lo, hi}
					if i.Width() > 60*ms {
						t.Errorf("by %v, seed %d: an interval of %v", time.Duration(by), seed, time.Duration(i.Width()))
					}
					old := i.Contains(w.broker.at(h.when(at)) - at)
					stepped := i.Contains(w.broker.at(h.when(at-by)) - at)
					switch {
					case old && !stepped && after == 0:
						before++
					case stepped && !old:
						after++
					default:
						t.Fatalf("by %v, seed %d: interval %v at %d: true before the step %v, after it %v", time.Duration(by), seed, i, at, old, stepped)
					}
				})
			}
			if w.of[0].Steps() != 1 || len(told) != 2 || max(told[1]-by, by-told[1]) > ms {
				t.Fatalf("by %v, seed %d: %d steps, told %v", time.Duration(by), seed, w.of[0].Steps(), told)
			}
			if late := found - h.stepAt; late > second+100*ms {
				t.Errorf("by %v, seed %d: found after %v", time.Duration(by), seed, time.Duration(late))
			}
			if before < 15 || after < 100 {
				t.Errorf("by %v, seed %d: %d intervals before the step, %d after", time.Duration(by), seed, before, after)
			}
		}
	}
}

// TestBrokerStepIsFoundAndForgotten steps the broker's clock: nobody tells, the
// intervals contradict each other.
func TestBrokerStepIsFoundAndForgotten(t *testing.T) {
	for _, by := range []int64{-800 * ms, 800 * ms, -60 * second, 60 * second} {
		w := newWorld(uint64(by), ms)
		w.broker.stepAt, w.broker.stepBy = 20*second+345*ms, by
		wrong, all := 0, 0
		w.run(t, 60, 50, func(tile Tiles, times Times, moments [3]int64) {
			all++
			residence := w.consumer.at(moments[1]) - w.consumer.at(moments[0])
			if !tile.ResidenceRange.Contains(residence) {
				if wrong++; moments[0] > w.broker.stepAt+3*second {
					t.Fatalf("by %v: residence %d is not within %v, %v after the step", time.Duration(by), residence, tile.ResidenceRange, time.Duration(moments[0]-w.broker.stepAt))
				}
			}
		})
		if wrong > all*3/100 {
			t.Errorf("by %v: %d of %d messages outside", time.Duration(by), wrong, all)
		}
		for i := range w.tracker {
			if n := w.tracker[i].Steps(); n != 1 {
				t.Errorf("by %v: tracker %d found %d steps; want 1", time.Duration(by), i, n)
			}
			from, to, _ := w.tracker[i].LastStep()
			if at := w.hosts()[i].at(w.broker.stepAt); at < from || at > to {
				t.Errorf("by %v: the step at %d is not between %d and %d", time.Duration(by), at, from, to)
			}
		}
		if n := w.of[0].Steps(); n != 0 {
			t.Errorf("by %v: %d steps of the own clock; want none", time.Duration(by), n)
		}
	}
}

func ExampleTracker() {
	var theta Tracker
	at := epoch
	theta.Add(at, -2*ms, 5*ms)
	theta.Add(at+second, 1*ms, 9*ms)
	i, _ := theta.At(at + 11*second)
	fmt.Println(time.Duration(i.Lo), time.Duration(i.Hi))
	// Output: -1ms 7.2ms
}
