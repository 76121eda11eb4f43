package clock

// Tracker joins the intervals of one (host, broker) pair over time: between two
// samples the clocks may drift apart by 200 parts in a million, a sample narrows
// to what it has in common with that, and one that has nothing in common says
// that a clock was stepped. The zero value knows nothing yet. It is not safe for
// concurrent use.
//
// Estimating the drift as well was tried and made intervals no narrower than 5 to
// 10 %.
type Tracker struct {
	at       int64
	state    Interval
	any      bool
	steps    uint64
	from, to int64
}

// Add takes a sample: at time at, in Unix nanoseconds of the host's clock, the
// offset was within lo and hi; a side may be [Below] or [Above]. It is true when
// the sample contradicts what was known, so a clock was stepped and all begins
// anew with the sample. A sample that is older than the newest and contradicts
// it is left out, since it may be from before a step; so is one whose lo is above
// its hi.
//
// When it is known that the host's clock was stepped, call [Tracker.Reset] instead
// of waiting for a contradiction.
func (t *Tracker) Add(at, lo, hi int64) (stepped bool) {
	if lo > hi {
		return false
	}
	sample := Interval{lo, hi}
	if !t.any {
		t.at, t.state, t.any = at, sample, true
		return false
	}
	late := at < t.at
	known, when := t.state, at
	if late {
		sample, when = sample.Widened(apart(at, t.at)), t.at
	} else {
		known = known.Widened(apart(at, t.at))
	}
	both := known.intersect(sample)
	switch {
	case both.Lo <= both.Hi:
		// What narrows nothing is not moved to, so that rounding adds up for
		// samples that matter only.
		if both != known {
			t.at, t.state = when, both
		}
		return false
	case late:
		return false
	}
	t.from, t.to = t.at, at
	t.at, t.state = at, sample
	t.steps++
	return true
}

// At returns the offset's interval at t, which may be before or after the
// samples. It is false unless both sides are known.
func (t *Tracker) At(at int64) (Interval, bool) {
	if !t.any {
		return Unknown(), false
	}
	i := t.state.Widened(apart(at, t.at))
	return i, i.Known()
}

// Reset forgets what is known and counts a step at time at.
func (t *Tracker) Reset(at int64) {
	if t.any {
		t.from, t.to = t.at, at
	} else {
		t.from, t.to = at, at
	}
	t.any = false
	t.steps++
}

// Steps counts the steps found or told.
func (t *Tracker) Steps() uint64 { return t.steps }

// LastStep returns between which times of the host's clock the last step was. It
// is false when there was none.
func (t *Tracker) LastStep() (from, to int64, ok bool) { return t.from, t.to, t.steps > 0 }

// apart is the distance of two times.
func apart(a, b int64) int64 {
	d := plus(a, -max(b, Below+1))
	if d < 0 {
		return -d
	}
	return d
}
