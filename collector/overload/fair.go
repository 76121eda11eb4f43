// Package overload keeps the collector useful when more comes than the line can
// take, in this order: of one error that comes very often most are handed on as
// short repeats, which still count exactly; then projects that take more than
// their fair share are told to wait; what Kafka does not take goes to the spool
// (package spool); as that fills, attachments, replays and profiles are told to
// wait, then spans, logs and metrics, and only when it is full all are. It reads no
// request and writes no record.
package overload

import (
	"sync"
	"time"
)

// FairConfig of a Fair. Zero fields take their defaults.
type FairConfig struct {
	Start       float64       `yaml:"start" help:"pressure, from 0 to 1, from which projects are held to their fair share"`
	Window      time.Duration `yaml:"window" help:"how far back a project's use counts"`
	MaxProjects int           `yaml:"max_projects" help:"projects that are told apart"`
}

// windowSlots is in how many steps a window moves.
const windowSlots = 10

// Fair tells projects that take more than their share under pressure. One that
// takes less is never told to wait.
type Fair struct {
	cfg FairConfig
	now func() time.Time

	mu       sync.Mutex // guards the following
	projects map[uint64]*use
	total    float64
	slot     int64
}

type use struct {
	slots [windowSlots]float64
	sum   float64
	last  int64 // slot of the last use
}

// NewFair has seen nobody yet.
func NewFair(cfg FairConfig) *Fair {
	def := DefaultConfig().Fair
	if cfg.Start <= 0 || cfg.Start >= 1 {
		cfg.Start = def.Start
	}
	if cfg.Window <= 0 {
		cfg.Window = def.Window
	}
	if cfg.MaxProjects <= 0 {
		cfg.MaxProjects = def.MaxProjects
	}
	return &Fair{cfg: cfg, now: time.Now, projects: map[uint64]*use{}}
}

// Take notes that a project wants to send so many bytes. wait is zero when it may,
// which counts as use.
func (f *Fair) Take(project uint64, bytes int64, pressure float64) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.move()
	u := f.projects[project]
	if u == nil {
		if len(f.projects) >= f.cfg.MaxProjects {
			return 0 // cannot be told apart, so nobody is blamed
		}
		u = &use{}
		f.projects[project] = u
	}
	if pressure >= f.cfg.Start && len(f.projects) > 1 {
		// From all that is sent at Start down to an equal share at full pressure.
		left := (1 - min(pressure, 1)) / (1 - f.cfg.Start)
		equal := 1 / float64(len(f.projects))
		if u.sum+float64(bytes) > (f.total+float64(bytes))*(equal+(1-equal)*left) {
			return f.cfg.Window
		}
	}
	u.slots[f.slot%windowSlots] += float64(bytes)
	u.sum += float64(bytes)
	u.last = f.slot
	f.total += float64(bytes)
	return 0
}

// move goes to the slot of now and forgets what left the window.
func (f *Fair) move() {
	slot := f.now().UnixNano() / int64(f.cfg.Window/windowSlots)
	if slot == f.slot {
		return
	}
	gone := min(slot-f.slot, windowSlots)
	for id, u := range f.projects {
		for s := slot - gone + 1; s <= slot; s++ {
			u.sum -= u.slots[s%windowSlots]
			f.total -= u.slots[s%windowSlots]
			u.slots[s%windowSlots] = 0
		}
		if slot-u.last >= windowSlots {
			delete(f.projects, id)
		}
	}
	if len(f.projects) == 0 {
		f.total = 0 // what floating point left over
	}
	f.slot = slot
}
