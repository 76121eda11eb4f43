package api

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// traces answers /traces.
func (h *Handler) traces(ctx context.Context, q *query) (any, error) {
	tq := exporters.TraceQuery{
		Project: q.project.ID, Range: q.timeRange(), Service: q.text("service"), Topic: q.text("topic"), Group: q.text("group"),
		MinLatency: q.duration("min_latency"), ErrorsOnly: q.bool("errors"), Limit: q.limit(50),
	}
	tq.Before, tq.BeforeTrace = q.tracePage("before")
	where, err := parseRows(search.Spans, q.text("q"), "q")
	if err = cmp.Or(q.fault, err); err != nil {
		return nil, err
	}
	tq.Where = where
	found, err := h.deps.Spans.FindTraces(ctx, tq)
	if err != nil {
		return nil, fmt.Errorf("cannot list traces: %w", err)
	}
	out := TraceList{Traces: make([]TraceSummary, len(found))}
	facts := finding.Traces{
		Count:    len(found),
		Filtered: tq.Service != "" || tq.Topic != "" || tq.Group != "" || tq.MinLatency > 0 || tq.ErrorsOnly || !where.Empty(),
		More:     len(found) == tq.Limit,
	}
	for i, t := range found {
		out.Traces[i] = TraceSummary{
			TraceID: t.TraceID.String(), Start: nanos(t.Start), DurationNs: int64(t.Duration), Root: t.Root, Service: t.Service,
			Services: some(t.Services), Topics: some(t.Topics), Spans: t.Spans, Errors: t.Errors,
		}
		if t.Errors > 0 {
			facts.Failed++
		}
		if i == 0 || t.Duration > facts.Slowest.Duration {
			facts.Slowest = t
		}
	}
	if facts.More {
		last := found[len(found)-1]
		next := nanos(last.Start) + Nanos("."+last.TraceID.String())
		out.Next = &next
	}
	out.Finding = finding.ForTraces(facts)
	return out, nil
}

// maxSpanLinks is how many links come with a span; a batch has thousands.
const maxSpanLinks = 64

func spanJSON(s *schemas.Span) Span {
	out := Span{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), ParentID: spanText(s.ParentID), Name: s.Name,
		Kind: kindNames[min(int(s.Kind), len(kindNames)-1)], Status: statusNames[min(int(s.Status), len(statusNames)-1)],
		StatusMessage: s.StatusMessage, Start: nanos(s.Start), End: nanos(s.End), Service: s.Service, Scope: s.Scope,
		Attributes: attributes(s.Attributes), Resource: attributes(s.Resource),
		Events: make([]SpanEvent, len(s.Events)), Links: make([]SpanLink, min(len(s.Links), maxSpanLinks)), LinkCount: len(s.Links),
	}
	for i, e := range s.Events {
		out.Events[i] = SpanEvent{Time: nanos(e.Time), Name: e.Name, Attributes: attributes(e.Attributes)}
	}
	for i, l := range s.Links[:len(out.Links)] {
		out.Links[i] = SpanLink{TraceID: l.TraceID.String(), SpanID: l.SpanID.String()}
	}
	return out
}

var (
	kindNames   = []string{"unspecified", "internal", "server", "client", "producer", "consumer"}
	statusNames = []string{"unset", "ok", "error"}
)

func traceText(id schemas.TraceID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func spanText(id schemas.SpanID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func duration(ns int64) time.Duration { return time.Duration(ns) }

// compareNanos orders times without reading them: longer is later.
func compareNanos(a, b Nanos) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(string(a), string(b)))
}
