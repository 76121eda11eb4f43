package overload

import (
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

// RepeatsConfig of a Repeats. Zero fields take their defaults.
type RepeatsConfig struct {
	Keep     int     `yaml:"keep" help:"events of one kind a minute that are handed on whole under pressure"`
	Burst    int     `yaml:"burst" help:"events of one project a minute from which its kinds are told apart without pressure; so many of a kind are handed on whole then"`
	Start    float64 `yaml:"start" help:"pressure, from 0 to 1, from which keep counts"`
	MaxKinds int     `yaml:"max_kinds" help:"kinds of events that are told apart"`
}

// growth is how much more of a kind must have come until the next one beyond the
// bound is handed on whole: so what is stored of a burst grows with its logarithm.
const growth = 1.1

// Repeats tells of which events an equal one was handed on a moment ago.
type Repeats struct {
	cfg RepeatsConfig
	now func() time.Time

	mu       sync.Mutex // guards the following
	minute   int64
	projects map[uint64]int // events in this minute
	kinds    map[Kind]*kind
}

// kind is one sort of event in the current minute.
type kind struct {
	count    int
	next     float64 // the count at which one is handed on whole again
	exemplar schemas.EventID
}

// NewRepeats has seen nothing yet.
func NewRepeats(cfg RepeatsConfig) *Repeats {
	def := DefaultConfig().Repeats
	if cfg.Keep <= 0 {
		cfg.Keep = def.Keep
	}
	if cfg.Burst <= 0 {
		cfg.Burst = def.Burst
	}
	if cfg.Start <= 0 {
		cfg.Start = def.Start
	}
	if cfg.MaxKinds <= 0 {
		cfg.MaxKinds = def.MaxKinds
	}
	return &Repeats{cfg: cfg, now: time.Now, projects: map[uint64]int{}, kinds: map[Kind]*kind{}}
}

// See decides about an event whose kind is found by sign, which is asked only when
// it matters. repeat means that it may be handed on as a repeat of the event of.
// Otherwise it is to be handed on whole, and kept, when not nil, is to be called
// once it is durable: from then on others may be its repeats.
func (r *Repeats) See(project uint64, id schemas.EventID, pressure float64, sign func() (Kind, bool)) (of schemas.EventID, repeat bool, kept func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if minute := r.now().Unix() / 60; minute != r.minute {
		r.minute = minute
		clear(r.projects)
		clear(r.kinds)
	}
	if _, known := r.projects[project]; known || len(r.projects) < r.cfg.MaxKinds {
		r.projects[project]++
	}
	bound := r.cfg.Burst
	if pressure >= r.cfg.Start {
		bound = r.cfg.Keep
	} else if r.projects[project] <= r.cfg.Burst {
		return of, false, nil
	}
	sum, ok := sign()
	if !ok {
		return of, false, nil
	}
	k := r.kinds[sum]
	if k == nil {
		if len(r.kinds) >= r.cfg.MaxKinds {
			return of, false, nil
		}
		k = &kind{}
		r.kinds[sum] = k
	}
	k.count++
	if k.exemplar != (schemas.EventID{}) && k.count > bound && float64(k.count) < k.next {
		return k.exemplar, true, nil
	}
	if k.count > bound {
		k.next = float64(k.count) * growth
	}
	return of, false, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if again := r.kinds[sum]; again == k {
			k.exemplar = id
			if k.next == 0 {
				k.next = float64(bound) * growth
			}
		}
	}
}
