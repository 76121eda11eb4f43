package process

import (
	"context"
	"fmt"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// Grouping is which issue an event belongs to, and why.
type Grouping struct {
	// Hashes are the event's fingerprints, the best first; at least one.
	Hashes  []schemas.Fingerprint
	Version string
	// Tree writes the component tree; nil when there is none. It is asked before
	// the batch ends.
	Tree interface{ AppendJSON(dst []byte) []byte }
	// Title and Culprit replace the event's when they are not empty.
	Title, Culprit string

	seen exporters.Seen
}

// apply puts what grouping found into the event.
func (g *Grouping) apply(e *normalize.Event) {
	if g.Title != "" {
		e.Title = g.Title
	}
	if g.Culprit != "" {
		e.Culprit = g.Culprit
	}
	e.HashVersion = g.Version
}

// Grouper groups events. It may set InApp and Category of frames. It is called by
// many goroutines.
type Grouper interface {
	// Group fails when time may heal it.
	Group(ctx context.Context, project uint64, e *normalize.Event) (Grouping, error)
}

// DefaultGrouper groups the events of all projects by the default rules.
func DefaultGrouper() Grouper {
	g, err := group.New(group.Config{})
	if err != nil {
		panic(err) // of what is built into the program: a test rules it out
	}
	return GroupBy(func(context.Context, uint64) (*group.Grouper, error) { return g, nil })
}

// GroupBy groups each project's events by its own rules.
type GroupBy func(ctx context.Context, project uint64) (*group.Grouper, error)

// Group implements [Grouper].
func (f GroupBy) Group(ctx context.Context, project uint64, e *normalize.Event) (Grouping, error) {
	g, err := f(ctx, project)
	if err != nil {
		return Grouping{}, err
	}
	r := g.Of(e)
	out := Grouping{Hashes: r.Hashes, Version: r.Version, Title: r.Title, Culprit: r.Culprit}
	if r.Tree != nil {
		out.Tree = r.Tree
	}
	return out, nil
}

// sightingKey is what events have in common that one sighting stands for.
type sightingKey struct {
	project  uint64
	first    schemas.Fingerprint
	others   schemas.Fingerprint // of the rest, one after the other xored
	hashes   int
	release  string
	category string
}

// see tells the issues about the events, once a set of hashes and release: of a
// thousand equal errors in a batch the first and the last time matter.
func (p *Processor) see(ctx context.Context, events []event) error {
	index := make(map[sightingKey]int)
	var sightings []exporters.Sighting
	for i := range events {
		e := &events[i]
		if !e.alive() {
			continue
		}
		r := &e.row
		k := sightingKey{project: r.Project, hashes: len(e.grouping.Hashes), release: r.Release, category: e.in.IssueCategory}
		for j, h := range e.grouping.Hashes {
			if j == 0 {
				k.first = h
				continue
			}
			for b := range h {
				k.others[b] = k.others[b]*31 + h[b]
			}
		}
		at, is := index[k]
		if !is {
			at = len(sightings)
			index[k] = at
			s := exporters.Sighting{
				Project: r.Project, Hashes: e.grouping.Hashes, Version: e.grouping.Version, Category: e.in.IssueCategory,
				Release: r.Release, FirstSeen: r.Time, LastSeen: r.Time - 1,
			}
			if s.Category == "" {
				s.Category = "error"
			}
			sightings = append(sightings, s)
		}
		e.sighting = at
		s := &sightings[at]
		if s.Tree == nil && e.grouping.Tree != nil {
			s.Tree = e.grouping.Tree.AppendJSON(nil)
		}
		s.FirstSeen = min(s.FirstSeen, r.Time)
		s.LastReceived = max(s.LastReceived, r.Received)
		if r.Time > s.LastSeen {
			s.LastSeen = r.Time
			s.Title, s.Culprit, s.Level, s.Platform, s.Logger, s.Environment = e.title, r.Culprit, r.Level, r.Platform, r.Logger, r.Environment
		}
	}
	if len(sightings) == 0 {
		return nil
	}
	seen, err := p.deps.Issues.SeeIssues(ctx, sightings)
	if err != nil {
		return fmt.Errorf("cannot see %d issues: %w", len(sightings), err)
	}
	if len(seen) != len(sightings) {
		return fmt.Errorf("cannot see %d issues: the store answered for %d", len(sightings), len(seen))
	}
	for i := range seen {
		if seen[i].IsNew {
			p.metrics.issuesNew.Inc()
		}
	}
	told := make([]bool, len(seen))
	for i := range events {
		e := &events[i]
		if e.sighting < 0 {
			continue
		}
		s := seen[e.sighting]
		if s.Discard {
			p.metrics.discarded.Inc()
			ledger.Drop(ctx, e.in.Ingest, e.in.Offset, schemas.OutcomeFiltered, reasonDiscarded, 1)
			e.sighting = -1
			continue
		}
		// One event of a sighting is the one that made the issue.
		if told[e.sighting] {
			s.IsNew, s.IsRegression = false, false
		}
		told[e.sighting] = true
		e.grouping.seen = s
		e.row.Issue, e.row.Fingerprint = s.Issue, s.Hash
	}
	return nil
}
