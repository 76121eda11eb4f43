package api

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/schemas"
)

// complete adds to hops what their own rows do not tell: how clocks differ,
// which commit covers them, and how long they were in retry. rows are those at
// hand, for what is asked of other records; more is read where they lack.
func (h *Handler) complete(ctx context.Context, project uint64, hops []joined, rows []schemas.Message) error {
	ask, asking := errgroup.WithContext(ctx)
	ask.Go(func() error { return h.addClocks(asking, project, hops) })
	var settles []schemas.Message
	ask.Go(func() (err error) {
		settles, err = h.settles(asking, project, hops)
		return err
	})
	firsts := map[schemas.RecordRef][]*schemas.Message{}
	ask.Go(func() (err error) {
		firsts, err = h.originals(asking, project, hops, rows)
		return err
	})
	if err := ask.Wait(); err != nil {
		return err
	}
	addSettles(hops, settles)
	for i := range hops {
		if hops[i].clock != nil {
			hops[i].clock.hop.Settle = hops[i].Settle
		}
		hops[i].inRetry = inRetry(hops[i].Consume, firsts)
	}
	return nil
}

func (h *Handler) settles(ctx context.Context, project uint64, hops []joined) ([]schemas.Message, error) {
	var consumers, out []schemas.Message
	for i := range hops {
		if c := hops[i].Consume; c != nil {
			consumers = append(consumers, *c)
		}
	}
	for chunk := range slices.Chunk(consumers, maxRefs) {
		found, err := h.deps.Messages.Settles(ctx, project, chunk)
		if err != nil {
			return nil, fmt.Errorf("cannot read the commits of %d records: %w", len(chunk), err)
		}
		out = append(out, found...)
	}
	return out, nil
}

// addSettles gives each hop the commit that links to it, or else the first one
// of its group at or behind its offset.
func addSettles(hops []joined, settles []schemas.Message) {
	type log struct {
		topic     string
		partition int32
		group     string
	}
	linked, placed := map[schemas.SpanRef]*schemas.Message{}, map[log][]*schemas.Message{}
	for i := range settles {
		m := &settles[i]
		if !m.CreationSpan.IsZero() {
			linked[contextOf(m)] = m
		}
		if hasRecord(m) {
			at := log{m.Topic, m.Partition, m.Group}
			placed[at] = append(placed[at], m)
		}
	}
	for i := range hops {
		c := hops[i].Consume
		if c == nil {
			continue
		}
		m := linked[schemas.SpanRef{TraceID: c.TraceID, SpanID: c.SpanID}]
		if m == nil && !c.CreationSpan.IsZero() {
			m = linked[schemas.SpanRef{TraceID: c.CreationTrace, SpanID: c.CreationSpan}]
		}
		if m == nil && hasRecord(c) {
			for _, next := range placed[log{c.Topic, c.Partition, c.Group}] {
				if next.Offset >= c.Offset && (m == nil || next.Offset < m.Offset || next.Offset == m.Offset && next.Start < m.Start) {
					m = next
				}
			}
		}
		hops[i].Settle = m
	}
}

// originals are the readings of the records that failed first.
func (h *Handler) originals(ctx context.Context, project uint64, hops []joined, rows []schemas.Message) (map[schemas.RecordRef][]*schemas.Message, error) {
	out := map[schemas.RecordRef][]*schemas.Message{}
	add := func(rows []schemas.Message) {
		for i := range rows {
			if m := &rows[i]; m.Side.Reads() && hasRecord(m) {
				out[m.Record()] = append(out[m.Record()], m)
			}
		}
	}
	var missing []schemas.RecordRef
	add(rows)
	for i := range hops {
		if c := hops[i].Consume; c != nil {
			if r, ok := c.Original(); ok && out[r] == nil && !slices.Contains(missing, r) && len(missing) < maxRefs {
				missing = append(missing, r)
			}
		}
	}
	if len(missing) > 0 {
		more, err := h.deps.Messages.MessagesOfRecords(ctx, project, missing, maxRows)
		if err != nil {
			return nil, fmt.Errorf("cannot read the %d records that failed first: %w", len(missing), err)
		}
		add(more)
	}
	return out, nil
}

// inRetry is the time from the first failure of a record until it was handed to
// the application this time. It is known when both were seen by one clock.
func inRetry(c *schemas.Message, firsts map[schemas.RecordRef][]*schemas.Message) schemas.Part {
	if c == nil || c.RetryFirstSeen == 0 || c.BootID == "" {
		return schemas.Part{}
	}
	handed := c.Handed
	if handed == 0 {
		handed = c.Start
	}
	original, _ := c.Original()
	for _, first := range firsts[original] {
		if first.BootID == c.BootID {
			return schemas.Between(c.RetryFirstSeen, handed)
		}
	}
	return schemas.Part{}
}
