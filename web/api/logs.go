package api

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// LogList is a page of log records, newest first.
type LogList struct {
	Logs []Log `json:"logs"`
	// Next pages: pass both as before and skip. Null on the last page.
	Next *LogCursor `json:"next"`
}

// LogCursor is a place in the list of log records.
type LogCursor struct {
	Before Nanos `json:"before"`
	Skip   int   `json:"skip"`
}

// Log is one log record.
type Log struct {
	Time       Nanos       `json:"time"`
	Received   Nanos       `json:"received"`
	Level      string      `json:"level"`
	Severity   int         `json:"severity"`
	Body       string      `json:"body"`
	Service    string      `json:"service"`
	Scope      string      `json:"scope"`
	Origin     string      `json:"origin"`
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Resource   []Attribute `json:"resource"`
	Attributes []Attribute `json:"attributes"`
}

// logLevels are OTLP's first number of each level.
var logLevels = map[string]uint8{"": 0, "trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}

// logs answers /logs.
func (h *Handler) logs(ctx context.Context, q *query) (any, error) {
	lq := exporters.LogQuery{
		Project: q.project.ID, Range: q.timeRange(), Service: q.text("service"), Text: q.text("text"),
		MinSeverity: logLevels[q.oneOf("level", "", "trace", "debug", "info", "warn", "error", "fatal")],
		Before:      q.nanos("before"), Limit: q.limit(100),
	}
	if s := q.text("trace"); s != "" {
		var err error
		if lq.Trace, err = schemas.ParseTraceID(s); err != nil {
			q.refuse("trace", s, "32 hex digits")
		}
	}
	if s := q.text("skip"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 10_000 {
			q.refuse("skip", s, "a whole number from 0 to 10000; go on with a smaller time range")
		}
		lq.Skip = n
	}
	where, err := parseRows(search.Logs, q.text("q"), "q")
	if err = cmp.Or(q.fault, err); err != nil {
		return nil, err
	}
	lq.Where = where
	found, err := h.deps.Logs.Logs(ctx, lq)
	if err != nil {
		return nil, fmt.Errorf("cannot list logs: %w", err)
	}
	out := LogList{Logs: make([]Log, len(found))}
	for i := range found {
		l := &found[i]
		out.Logs[i] = Log{
			Time: nanos(l.Time), Received: nanos(l.Received), Level: l.Level, Severity: int(l.Severity), Body: l.Body, Service: l.Service, Scope: l.Scope,
			Origin: string(l.Origin), TraceID: traceText(l.TraceID), SpanID: spanText(l.SpanID), Resource: attributes(l.Resource), Attributes: attributes(l.Attributes),
		}
	}
	if len(found) == lq.Limit {
		last := found[len(found)-1].Time
		next := &LogCursor{Before: nanos(last)}
		if last == lq.Before {
			next.Skip = lq.Skip
		}
		for i := range found {
			if found[i].Time == last {
				next.Skip++
			}
		}
		out.Next = next
	}
	return out, nil
}
