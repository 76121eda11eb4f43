package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

// LinkList is a page of the links of one span, in one direction.
type LinkList struct {
	Direction string `json:"direction"` // to: its own links; from: the spans that link to it
	Links     []Link `json:"links"`
	Skip      int    `json:"skip"`
	Total     *int   `json:"total"` // null where they are not counted
	More      bool   `json:"more"`  // there is another page
}

// Link is one end of a link as it can be told to a person.
type Link struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Span       *LinkedSpan `json:"span"` // null while it is not stored: not sampled, on its way, or deleted
	Topic      string      `json:"topic"`
	Partition  *int32      `json:"partition"`
	Offset     *int64      `json:"offset"`
	Attributes []Attribute `json:"attributes"` // of the link
}

// linkReach is how long before a span began one that links to it is looked for:
// clocks may disagree.
const linkReach = time.Hour

// links answers /traces/{id}/spans/{span}/links.
func (h *Handler) links(ctx context.Context, q *query) (any, error) {
	ref, err := spanOfPath(q)
	if err != nil {
		return nil, err
	}
	direction := q.oneOf("direction", "to", "from")
	skip, limit := q.skip(), q.limit(50)
	if q.fault != nil {
		return nil, q.fault
	}
	spans, err := h.deps.Spans.SpansAt(ctx, q.project.ID, []schemas.SpanRef{ref})
	if err != nil {
		return nil, fmt.Errorf("cannot read span %s of trace %s: %w", ref.SpanID, ref.TraceID, err)
	}
	if len(spans) == 0 {
		return nil, errorf(http.StatusNotFound, "span_not_found", "spans appear a second or two after they end; old ones are deleted by retention",
			"span %s of trace %s is not stored", ref.SpanID, ref.TraceID)
	}
	out := LinkList{Direction: direction, Skip: skip, Links: []Link{}}
	if direction == "from" {
		return h.linkedFrom(ctx, q, &spans[0], out, limit)
	}
	own := spans[0].Links
	total := len(own)
	out.Total = &total
	page := own[min(skip, total):]
	out.More = len(page) > limit
	page = page[:min(limit, len(page))]
	refs := make([]schemas.SpanRef, 0, len(page))
	for _, l := range page {
		refs = append(refs, schemas.SpanRef{TraceID: l.TraceID, SpanID: l.SpanID})
	}
	found, err := h.deps.Spans.SpansAt(ctx, q.project.ID, refs)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %d spans that span %s links to: %w", len(refs), ref.SpanID, err)
	}
	at := make(map[schemas.SpanRef]*schemas.Span, len(found))
	for i := range found {
		at[schemas.SpanRef{TraceID: found[i].TraceID, SpanID: found[i].SpanID}] = &found[i]
	}
	for _, l := range page {
		target := at[schemas.SpanRef{TraceID: l.TraceID, SpanID: l.SpanID}]
		link := Link{TraceID: l.TraceID.String(), SpanID: l.SpanID.String(), Attributes: attributes(l.Attributes)}
		from := [][]schemas.Attribute{l.Attributes}
		if target != nil {
			s := linkedSpan(target)
			link.Span = &s
			from = append(from, target.Attributes)
		}
		if len(own) == 1 { // what the span tells of its record is this link's
			from = append(from, spans[0].Attributes)
		}
		link.place(from)
		out.Links = append(out.Links, link)
	}
	return out, nil
}

func (h *Handler) linkedFrom(ctx context.Context, q *query, span *schemas.Span, out LinkList, limit int) (any, error) {
	to := schemas.SpanRef{TraceID: span.TraceID, SpanID: span.SpanID}
	found, err := h.deps.Spans.LinkedFrom(ctx, exporters.LinkQuery{
		Project: q.project.ID, Range: exporters.Range{From: time.Unix(0, span.Start).Add(-linkReach), To: q.now.Add(linkReach)}, To: to, Skip: out.Skip, Limit: limit + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot find the spans that link to span %s: %w", span.SpanID, err)
	}
	if out.More = len(found) > limit; out.More {
		found = found[:limit]
	} else {
		total := out.Skip + len(found)
		out.Total = &total
	}
	for i := range found {
		s := linkedSpan(&found[i])
		link := Link{TraceID: s.TraceID, SpanID: s.SpanID, Span: &s, Attributes: []Attribute{}}
		from := [][]schemas.Attribute{}
		if at := slices.IndexFunc(found[i].Links, func(l schemas.Link) bool { return l.TraceID == to.TraceID && l.SpanID == to.SpanID }); at >= 0 {
			link.Attributes = attributes(found[i].Links[at].Attributes)
			from = append(from, found[i].Links[at].Attributes)
		}
		link.place(append(from, found[i].Attributes, span.Attributes))
		out.Links = append(out.Links, link)
	}
	return out, nil
}

// place takes the record's coordinates from the first that tells each.
func (l *Link) place(from [][]schemas.Attribute) {
	for _, attrs := range from {
		if l.Topic == "" {
			l.Topic, _ = schemas.Lookup(attrs, messaging.AttrDestinationName)
		}
		if v, ok := schemas.Lookup(attrs, messaging.AttrPartitionID); ok && l.Partition == nil {
			if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
				p := int32(n)
				l.Partition = &p
			}
		}
		if v, ok := schemas.Lookup(attrs, messaging.AttrKafkaOffset); ok && l.Offset == nil {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
				l.Offset = &n
			}
		}
	}
}
