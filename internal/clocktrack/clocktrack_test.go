package clocktrack

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
)

const (
	ms    = int64(time.Millisecond)
	s     = int64(time.Second)
	epoch = int64(1_790_000_000) * s
)

// host is a clock beside the true time, which is the broker's: it is ahead, drifts,
// and may be stepped.
type host struct {
	ahead          int64
	ppm            float64
	stepAt, stepBy int64
}

func (h host) reads(truth int64) int64 {
	r := truth + h.ahead + int64(h.ppm*1e-6*float64(truth-epoch))
	if h.stepAt != 0 && truth >= h.stepAt {
		r += h.stepBy
	}
	return r
}

type sample struct{ at, lo, hi int64 }

// roundTrip makes the sample of one produce round trip that begins at a true time.
func (h host) roundTrip(r *rand.Rand, begin, trip int64) sample {
	delay := func() int64 {
		d := trip/2 + int64(r.ExpFloat64()*float64(trip)/4)
		if r.Float64() < 0.02 {
			d += 20 * ms
		}
		return d
	}
	appended := begin + delay()
	w, a, stamp := h.reads(begin), h.reads(appended+delay()), appended/ms*ms
	return sample{a, stamp - a, stamp + ms - w}
}

func fold(samples []sample) []schemas.ClockCell {
	byTime := map[int64]*schemas.ClockCell{}
	for _, x := range samples {
		c := byTime[Begin(x.at)]
		if c == nil {
			c = &schemas.ClockCell{Time: Begin(x.at), Origin: schemas.ClockBeacon, Node: schemas.Unknown}
			byTime[c.Time] = c
		}
		Fold(c, x.at, x.lo, x.hi)
	}
	var out []schemas.ClockCell
	for _, c := range byTime {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b schemas.ClockCell) int { return int(a.Time - b.Time) })
	return out
}

// TestTrueOffsetsLieInsideWhateverTheClocksDo plays what clocks.md describes: 20
// sets of clocks off by up to ten seconds that drift by up to 50 parts in a
// million, delays with exponential tails and outliers.
func TestTrueOffsetsLieInsideWhateverTheClocksDo(t *testing.T) {
	for _, c := range []struct {
		name       string
		every      int64 // between samples
		trip       int64
		step       int64 // at the middle of the time
		p50, p95   time.Duration
		mostUnsure float64 // share that is unknown
	}{
		{"records stamped by the broker, fifty a second", 20 * ms, ms, 0, 1100 * time.Microsecond, 1500 * time.Microsecond, 0.001},
		{"a beacon each second", s, ms, 0, 1500 * time.Microsecond, 1800 * time.Microsecond, 0.02},
		{"a beacon each ten seconds", 10 * s, ms, 0, 2200 * time.Microsecond, 2800 * time.Microsecond, 0.25},
		{"a beacon each second, a round trip of 20 ms", s, 20 * ms, 0, 13 * time.Millisecond, 14 * time.Millisecond, 0.02},
		{"a clock is stepped by 0.8 s", s, ms, 800 * ms, 1500 * time.Microsecond, 1800 * time.Microsecond, 0.20},
		{"a clock is stepped back by 0.8 s", s, ms, -800 * ms, 1500 * time.Microsecond, 1800 * time.Microsecond, 0.20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			inside, known, all := 0, 0, 0
			var half []time.Duration
			for range 20 {
				h := host{ahead: r.Int64N(20*s) - 10*s, ppm: r.Float64()*100 - 50}
				if c.step != 0 {
					h.stepAt, h.stepBy = epoch+40*s+r.Int64N(s), c.step
				}
				var samples []sample
				for begin := epoch + r.Int64N(c.every); begin < epoch+80*s; begin += c.every {
					samples = append(samples, h.roundTrip(r, begin, c.trip))
				}
				track := New(fold(samples))
				if steps := len(track.Steps()); (c.step != 0) != (steps > 0) {
					t.Errorf("%d steps are found", steps)
				}
				for range 4000 {
					truth := epoch + r.Int64N(80*s)
					at := h.reads(truth)
					all++
					i, ok := track.At(at)
					if !ok {
						continue
					}
					known++
					half = append(half, time.Duration(i.Width()/2))
					if i.Contains(truth - at) {
						inside++
					}
				}
			}
			slices.Sort(half)
			p50, p95 := half[len(half)/2], half[len(half)*95/100]
			t.Logf("%d of %d inside, ± p50 %v, p95 %v, %.1f %% unknown", inside, known, p50, p95, 100*float64(all-known)/float64(all))
			if inside != known {
				t.Errorf("%d of %d true offsets are outside", known-inside, known)
			}
			if p50 > c.p50 || p95 > c.p95 {
				t.Errorf("± p50 %v, p95 %v; want at most %v and %v", p50, p95, c.p50, c.p95)
			}
			if unsure := float64(all-known) / float64(all); unsure > c.mostUnsure {
				t.Errorf("%.3f is unknown; want at most %.3f", unsure, c.mostUnsure)
			}
		})
	}
}

func TestCellsMergeInAnyOrderAndHoweverOften(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	h := host{ahead: 3 * s, ppm: 30}
	var samples []sample
	for i := range int64(60) {
		samples = append(samples, h.roundTrip(r, epoch+i*s, ms))
	}
	want := fold(samples)
	for range 20 {
		// Two writers have a part each, some samples both, and each writes twice.
		parts := [2][]sample{}
		for _, x := range samples {
			if who := r.IntN(3); who == 2 {
				parts[0], parts[1] = append(parts[0], x), append(parts[1], x)
			} else {
				parts[who] = append(parts[who], x)
			}
		}
		var rows []schemas.ClockCell
		for _, p := range parts {
			r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
			cut := r.IntN(len(p))
			rows = append(rows, fold(p[:cut])...)
			rows = append(rows, fold(p[cut:])...)
			rows = append(rows, fold(p[:cut])...)
		}
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		merged := map[int64]*schemas.ClockCell{}
		for i := range rows {
			if c := merged[rows[i].Time]; c != nil {
				Merge(c, &rows[i])
			} else {
				merged[rows[i].Time] = &rows[i]
			}
		}
		var got []schemas.ClockCell
		for _, c := range merged {
			got = append(got, *c)
		}
		slices.SortFunc(got, func(a, b schemas.ClockCell) int { return int(a.Time - b.Time) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cells (-want +got):\n%s", diff)
		}
	}
}

func TestWhatIsNotKnownStaysUnknown(t *testing.T) {
	f := func(what string, samples []sample, at int64, want bool) {
		t.Helper()
		if i, ok := New(fold(samples)).At(at); ok != want || ok != i.Known() {
			t.Errorf("%s: At = %v, %v; want %v", what, i, ok, want)
		}
	}
	below := sample{epoch + s, -ms, clock.Above}
	f("no sample", nil, epoch, false)
	f("one side alone", []sample{below}, epoch+s, false)
	f("the other side from another sample", []sample{below, {epoch + 25*s, clock.Below, ms}}, epoch+12*s, true)
	stepped := []sample{{epoch + s, -ms, ms}, {epoch + 31*s, 500*ms - ms, 500*ms + ms}}
	f("before a step", stepped, epoch+s, true)
	f("between the samples around a step", stepped, epoch+20*s, false)
	f("after a step", stepped, epoch+31*s, true)
	within := append([]sample{{epoch + 22*s, -ms, ms}, {epoch + 24*s, 500*ms - ms, 500*ms + ms}}, stepped...)
	f("in the cell of a step", within, epoch+22*s, false)
	f("before the cell of a step", within, epoch+s, true)
	f("after the cell of a step", within, epoch+31*s, true)
	f("between a sample and the cell of a step", within, epoch+12*s, true)
}

func TestAStepSaysBetweenWhichSamplesAndByHowMuch(t *testing.T) {
	got := New(fold([]sample{{epoch + s, -ms, ms}, {epoch + 31*s, 500*ms - ms, 500*ms + ms}})).Steps()
	if len(got) != 1 || got[0].From != epoch+s || got[0].To != epoch+31*s || !got[0].By.Contains(500*ms) || got[0].By.Width() > 20*ms {
		t.Errorf("steps %+v; want one of 500 ms from second 1 to 31", got)
	}
}

func TestEvidenceTellsTheSamplesWithinReach(t *testing.T) {
	var samples []sample
	for i := range int64(60) {
		samples = append(samples, sample{epoch + i*s + 300*ms, -ms, ms})
	}
	cells := fold(samples)
	fetched := cells[2]
	fetched.Origin, fetched.Seconds = schemas.ClockFetch, 3
	e := New(append(cells, fetched)).Evidence(epoch+25*s, 5*s)
	want := Evidence{
		Samples: map[schemas.ClockOrigin]int{schemas.ClockBeacon: 10, schemas.ClockFetch: 2},
		First:   epoch + 20*s + 300*ms, Last: epoch + 29*s + 300*ms, Nearest: epoch + 25*s,
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}
