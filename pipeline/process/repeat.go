package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// A repeat is an event that the collector had no room for: it carries what is
// its own, and the id of an equal one that was handed on whole (see package
// collector/overload). It belongs to that one's issue and shows its payload.

const (
	// maxRecent is of how many whole events it is known where they belong.
	maxRecent = 20_000
	// maxLookups bounds how many are looked for in the store for one batch.
	maxLookups = 50
	// maxDeferred is how often a repeat is sent on to the end of its topic because
	// the event it repeats was neither seen nor stored. Each time takes as long as
	// the stage is behind, and the other one is on the same way.
	maxDeferred = 10

	// headerDeferred counts that on the record.
	headerDeferred = "deferred"
)

// known is where an event belongs.
type known struct {
	hashes               []schemas.Fingerprint
	version              string
	title                string
	kind, value, culprit string
	handled              schemas.Handled
	node                 schemas.NodeRef
}

type recentKey struct {
	project uint64
	id      schemas.EventID
}

// recent remembers the last events that were handed on whole.
type recent struct {
	most  int
	held  map[recentKey]known
	order []recentKey // a ring
	next  int
}

func newRecent(most int) *recent {
	return &recent{most: most, held: make(map[recentKey]known)}
}

func (r *recent) put(k recentKey, v known) {
	if _, is := r.held[k]; !is {
		if len(r.order) < r.most {
			r.order = append(r.order, k)
		} else {
			delete(r.held, r.order[r.next])
			r.order[r.next] = k
			r.next = (r.next + 1) % r.most
		}
	}
	r.held[k] = v
}

// add remembers an event. Its strings may be parts of a whole fetch, so they are
// copied.
func (r *recent) add(e *event) {
	r.put(recentKey{e.row.Project, e.row.ID}, known{
		hashes: e.grouping.Hashes, version: clone(e.grouping.Version), title: clone(e.title),
		kind: clone(e.row.Type), value: clone(e.row.Value), culprit: clone(e.row.Culprit), handled: e.row.Handled, node: e.row.Node,
	})
}

// repeats gives repeats the grouping of what they repeat.
func (p *Processor) repeats(ctx context.Context, events []event) error {
	var batch map[recentKey]*event
	lookups := 0
	missing := make(map[recentKey]bool)
	for i := range events {
		e := &events[i]
		if e.refusal != nil || e.repeatOf == (schemas.EventID{}) {
			continue
		}
		if batch == nil {
			batch = make(map[recentKey]*event)
			for j := range events {
				if o := &events[j]; o.refusal == nil && !o.row.Repeat {
					batch[recentKey{o.row.Project, o.row.ID}] = o
				}
			}
		}
		k := recentKey{e.in.ProjectID, e.repeatOf}
		if of := batch[k]; of != nil {
			e.follows = of
			e.repeat(known{of.grouping.Hashes, of.grouping.Version, of.title, of.row.Type, of.row.Value, of.row.Culprit, of.row.Handled, ""})
			continue
		}
		of, is := p.recent.held[k]
		if !is && p.deps.Finder != nil && !missing[k] && lookups < maxLookups {
			lookups++
			row, err := p.deps.Finder.Event(ctx, k.project, k.id)
			switch {
			case errors.Is(err, exporters.ErrNotFound):
				missing[k] = true
			case err != nil:
				return fmt.Errorf("cannot look for event %s, of which there are repeats: %w", k.id, err)
			default:
				of = known{[]schemas.Fingerprint{row.Fingerprint}, row.HashVersion, normalize.Title(&row), row.Type, row.Value, row.Culprit, row.Handled, row.Node}
				p.recent.put(k, of)
				is = true
			}
		}
		switch {
		case is:
			e.repeat(of)
		case e.in.Deferred >= maxDeferred:
			e.refusal = refuse("repeat", fmt.Errorf("it repeats event %s, which is neither stored nor on its way", k.id))
		default:
			e.deferred = true
			p.metrics.deferred.Inc()
		}
	}
	return nil
}

func (e *event) repeat(of known) {
	e.grouping = Grouping{Hashes: of.hashes, Version: of.version}
	e.title, e.row.Type, e.row.Value, e.row.Culprit, e.row.HashVersion = of.title, of.kind, of.value, of.culprit, of.version
	e.row.Handled, e.row.Node = of.handled, of.node
}

// again is a record at the end of its topic, once more.
func again(in *Incoming) *kgo.Record {
	r := &kgo.Record{Topic: in.Topic, Key: in.Key, Value: in.Value}
	for _, h := range in.Headers {
		if h.Key != headerDeferred {
			r.Headers = append(r.Headers, h)
		}
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerDeferred, Value: strconv.AppendInt(nil, int64(in.Deferred+1), 10)})
	return r
}
