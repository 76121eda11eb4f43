package process

import (
	"context"
	"fmt"

	"github.com/hoptrace/hoptrace/pipeline/ledger"
	"github.com/hoptrace/hoptrace/schemas"
)

// A program may tell of one error twice: its Sentry SDK sends an event, and its
// OpenTelemetry SDK records the exception on the span. The event has more in it, so
// what OpenTelemetry told is left out when the SDK told of an equal error in the same
// trace. SDKs send at once and spans come when they have ended, so the event is
// nearly always there first; one turn to the end of the topic is for the rest. When
// the event comes later still, or by another process, its twin is stored by then, and
// package keeper removes it.

const (
	// maxTold is of how many events of SDKs it is known what they were about.
	maxTold = 50_000
	// maxAskedTraces bounds how many traces the store is asked about for one batch.
	maxAskedTraces = 100
	// maxOfTraces is how many events of these are looked at.
	maxOfTraces = 500
)

// told remembers errors that SDKs told of, by trace.
type told struct {
	most  int
	held  map[traceKey][]errorText
	order []traceKey // a ring, one element an error
	next  int
}

type traceKey struct {
	project uint64
	trace   schemas.TraceID
}

type errorText struct{ kind, value string }

func newTold(most int) *told { return &told{most: most, held: make(map[traceKey][]errorText)} }

func (t *told) add(e *schemas.Event) {
	k := traceKey{e.Project, e.TraceID}
	if len(t.order) < t.most {
		t.order = append(t.order, k)
	} else {
		old := t.order[t.next]
		if errors := t.held[old]; len(errors) > 1 {
			t.held[old] = errors[1:]
		} else {
			delete(t.held, old)
		}
		t.order[t.next] = k
		t.next = (t.next + 1) % t.most
	}
	t.held[k] = append(t.held[k], errorText{clone(e.Type), clone(e.Value)})
}

func (t *told) has(e *schemas.Event) bool {
	for _, x := range t.held[traceKey{e.Project, e.TraceID}] {
		if x.equals(e) {
			return true
		}
	}
	return false
}

// equals compares what both kinds of SDK tell. [exporters.TwinKeeper] compares alike.
func (x errorText) equals(e *schemas.Event) bool {
	return x.value == e.Value && schemas.SameErrorType(x.kind, e.Type)
}

// twins leaves out errors of OpenTelemetry that an SDK told of.
func (p *Processor) twins(ctx context.Context, events []event) error {
	var unsure []*event
	for i := range events {
		if e := &events[i]; e.alive() && e.row.Origin != schemas.OriginOTel && !e.row.TraceID.IsZero() && e.row.Value != "" {
			p.told.add(&e.row)
		}
	}
	traces := make(map[uint64][]schemas.TraceID)
	asked := make(map[traceKey]bool)
	for i := range events {
		e := &events[i]
		if !e.alive() || e.row.Origin != schemas.OriginOTel || e.row.TraceID.IsZero() {
			continue
		}
		if p.told.has(&e.row) {
			p.drop(ctx, e)
			continue
		}
		unsure = append(unsure, e)
		k := traceKey{e.row.Project, e.row.TraceID}
		if !asked[k] && len(asked) < maxAskedTraces {
			asked[k] = true
			traces[k.project] = append(traces[k.project], k.trace)
		}
	}
	if p.deps.Finder != nil {
		for project, ids := range traces {
			found, err := p.deps.Finder.EventsOfTraces(ctx, project, ids, maxOfTraces)
			if err != nil {
				return fmt.Errorf("cannot look for events of %d traces, of which OpenTelemetry told errors: %w", len(ids), err)
			}
			for i := range found {
				if found[i].Origin != schemas.OriginOTel {
					p.told.add(&found[i])
				}
			}
		}
	}
	for _, e := range unsure {
		switch {
		case p.told.has(&e.row):
			p.drop(ctx, e)
		case e.in.Deferred == 0 && e.in.Value != nil:
			e.deferred = true
			p.metrics.deferred.Inc()
		}
	}
	return nil
}

// drop ends an event that an SDK told of.
func (p *Processor) drop(ctx context.Context, e *event) {
	e.dropped = true
	ledger.Drop(ctx, e.in.Ingest, e.in.Offset, schemas.OutcomeFiltered, ledger.ReasonTwin, 1)
}
