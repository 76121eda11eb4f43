// Package group puts events of one cause into one issue: it hashes what stays
// the same between them (exception types, the program's own frames, the shape of
// a message) and leaves out what does not (line numbers, ids, numbers), and it
// says why. It assigns nothing and stores nothing.
//
// The record that was being processed is never part of it: one cause is one
// issue, whatever partition or key brought it up.
package group

import (
	"container/list"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hoptrace/hoptrace/pipeline/group/rules"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// Version is the algorithm that events are grouped by unless a project says
// otherwise. It is hashed into every fingerprint: a change of what contributes is
// a new version, so that no event falls into a different issue silently.
const Version = "hoptrace:2"

// Versions that can be computed, the newest first.
var versions = []string{Version, version1}

// Config is what a project says about its grouping. The zero value is the
// default.
type Config struct {
	// Enhancements and Fingerprints are texts in the languages of package rules.
	Enhancements, Fingerprints string
	// Primary makes the hashes of new issues. Empty means [Version].
	Primary string
	// Secondary is the version that existing issues may have been made by: its
	// hash comes last, to find them. Empty means none.
	Secondary string
}

// Validate names every fault at once.
func (c Config) Validate() error {
	_, err := New(c)
	return err
}

// Grouper groups a project's events. It may be used by many goroutines.
type Grouper struct {
	cfg          Config
	enhancements *rules.Enhancements
	fingerprints *rules.Fingerprints
	frames       frameCache
}

// New compiles a project's rules. Errors name line and column.
func New(cfg Config) (*Grouper, error) {
	if cfg.Primary == "" {
		cfg.Primary = Version
	}
	var faults []error
	for _, v := range []string{cfg.Primary, cfg.Secondary} {
		if v != "" && v != Version && v != version1 {
			faults = append(faults, fmt.Errorf("there is no grouping version %q; want one of %s", v, strings.Join(versions, ", ")))
		}
	}
	g := &Grouper{cfg: cfg}
	var err error
	if g.enhancements, err = rules.ParseEnhancements(cfg.Enhancements); err != nil {
		faults = append(faults, err)
	}
	if g.fingerprints, err = rules.ParseFingerprints(cfg.Fingerprints); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("cannot group by these rules: %w", errors.Join(faults...))
	}
	if cfg.Secondary == cfg.Primary {
		g.cfg.Secondary = ""
	}
	return g, nil
}

// Config is what the grouper was made of, with its defaults filled in.
func (g *Grouper) Config() Config { return g.cfg }

// Result is how one event groups.
type Result struct {
	// Hashes are the event's fingerprints, the best first: of the variant that
	// decides, then of the secondary version. There is at least one.
	Hashes  []schemas.Fingerprint
	Version string
	// Tree says why. It refers to the event, and may be read while that lives.
	Tree *Tree
	// Title and Culprit replace the event's when they are not empty: a rule gave a
	// title, another exception of the chain is the one to show, or rules changed
	// which frames are the program's own.
	Title, Culprit string
}

// Of groups an event. It sets InApp and Category of its frames as the rules say.
func (g *Grouper) Of(e *normalize.Event) Result {
	var old schemas.Fingerprint
	var oldLines []component
	if g.cfg.Primary == version1 || g.cfg.Secondary == version1 {
		// Before the rules: the first version had none.
		old, oldLines = of1(e)
	}
	if g.cfg.Primary == version1 {
		r := Result{Hashes: make([]schemas.Fingerprint, 0, 2), Version: version1, Tree: &Tree{version: version1, first: oldLines, hash: old}}
		r.Hashes = append(r.Hashes, old)
		if g.cfg.Secondary == Version {
			r.Hashes = append(r.Hashes, g.of2(e).Hashes[0])
		}
		return r
	}
	r := g.of2(e)
	if g.cfg.Secondary == version1 {
		r.Hashes = append(r.Hashes, old)
	}
	return r
}

func (g *Grouper) of2(e *normalize.Event) Result {
	t := g.analyse(e)
	r := Result{Hashes: make([]schemas.Fingerprint, 1, 2), Version: Version, Tree: t}
	r.Hashes[0] = t.hash
	t.headline(&r)
	return r
}

// Of gives the fingerprint of version hoptrace:1, and why: one line a component
// that went into it, in order. It knows no rules; see [Grouper.Of].
func Of(e *normalize.Event) (schemas.Fingerprint, []string) {
	id, cs := of1(e)
	return id, explain1(cs)
}

// Cache keeps groupers by their rules, so that projects with equal ones share one
// and rules are compiled once.
type Cache struct {
	max int

	mu    sync.Mutex // guards the following
	byCfg map[Config]*list.Element
	order *list.List // of *cached, the last used first
}

type cached struct {
	cfg     Config
	once    sync.Once
	grouper *Grouper
	err     error
}

// NewCache keeps at most that many; zero or less means 256.
func NewCache(most int) *Cache {
	if most <= 0 {
		most = 256
	}
	return &Cache{max: most, byCfg: map[Config]*list.Element{}, order: list.New()}
}

// For gives the grouper of a configuration. An error is kept too.
func (c *Cache) For(cfg Config) (*Grouper, error) {
	c.mu.Lock()
	el := c.byCfg[cfg]
	if el == nil {
		el = c.order.PushFront(&cached{cfg: cfg})
		c.byCfg[cfg] = el
		if c.order.Len() > c.max {
			last := c.order.Back()
			delete(c.byCfg, c.order.Remove(last).(*cached).cfg)
		}
	} else {
		c.order.MoveToFront(el)
	}
	entry := el.Value.(*cached)
	c.mu.Unlock()
	entry.once.Do(func() { entry.grouper, entry.err = New(cfg) })
	return entry.grouper, entry.err
}
