package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxParam bounds the bytes of one parameter.
const maxParam = 256

// params reads a request's parameters. The first bad one is kept in fault; what
// was read after it is zero.
type params struct {
	values url.Values
	path   func(string) string
	now    time.Time
	fault  error
}

func readParams(r *http.Request, known []string, now time.Time) (*params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errorf(http.StatusBadRequest, "bad_query", "write it as name=value&name=value, percent-encoded", "the query string cannot be read")
	}
	for name, v := range values {
		if !slices.Contains(known, name) {
			e := errorf(http.StatusBadRequest, "unknown_parameter", "accepted: "+strings.Join(known, ", "), "there is no parameter %q", clip(name, 64))
			e.Param = clip(name, 64)
			return nil, e
		}
		if len(v) > 1 {
			return nil, badParameter(name, strings.Join(v, ","), "one value; it is given "+strconv.Itoa(len(v))+" times")
		}
		most := maxParam
		if name == "query" || name == "q" {
			most = search.MaxBytes
		}
		if len(v[0]) > most {
			return nil, badParameter(name, v[0], "at most "+strconv.Itoa(most)+" bytes")
		}
	}
	return &params{values: values, path: r.PathValue, now: now}, nil
}

func (p *params) refuse(name, value, want string) {
	if p.fault == nil {
		p.fault = badParameter(name, value, want)
	}
}

// with are the same parameters with others for some of them, by name and value.
func (p *params) with(pairs ...string) *params {
	out := &params{values: maps.Clone(p.values), path: p.path, now: p.now}
	for i := 0; i < len(pairs); i += 2 {
		out.values.Set(pairs[i], pairs[i+1])
	}
	return out
}

func (p *params) text(name string) string { return p.values.Get(name) }

func (p *params) uint(name string) uint64 {
	s := p.values.Get(name)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 {
		p.refuse(name, s, "a positive whole number")
		return 0
	}
	return v
}

// offset reads an offset of a log; zero when it is not given.
func (p *params) offset(name string) int64 {
	s := p.values.Get(name)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		p.refuse(name, s, "an offset: a whole number of zero or more")
		return 0
	}
	return v
}

// most is the largest limit, as the contracts have it.
const most = 500

func (p *params) limit(fallback int) int { return p.limitTo(fallback, most) }

// limitTo is limit where a page has fewer rows.
func (p *params) limitTo(fallback, most int) int {
	s := p.values.Get("limit")
	if s == "" {
		return fallback
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || v > most {
		p.refuse("limit", s, "a whole number from 1 to "+strconv.Itoa(most))
		return fallback
	}
	return v
}

func (p *params) bool(name string) bool {
	switch s := p.values.Get(name); s {
	case "", "false":
		return false
	case "true":
		return true
	default:
		p.refuse(name, s, "true or false")
		return false
	}
}

func (p *params) oneOf(name string, choices ...string) string {
	s := p.values.Get(name)
	if s == "" {
		return choices[0]
	}
	if !slices.Contains(choices, s) {
		p.refuse(name, s, strings.Join(choices, " or "))
		return choices[0]
	}
	return s
}

// nanos reads a Unix time in ns.
func (p *params) nanos(name string) int64 {
	s := p.values.Get(name)
	if s == "" {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v <= 0 {
		p.refuse(name, s, "a Unix time in nanoseconds, decimal")
		return 0
	}
	return v
}

// tracePage reads what a page of traces gave as next: the start of its last
// trace, a dot, and its id.
func (p *params) tracePage(name string) (int64, schemas.TraceID) {
	s := p.values.Get(name)
	if s == "" {
		return 0, schemas.TraceID{}
	}
	start, trace, _ := strings.Cut(s, ".")
	ns, err := strconv.ParseInt(start, 10, 64)
	id, idErr := schemas.ParseTraceID(trace)
	if trace == "" {
		idErr = nil
	}
	if err != nil || ns <= 0 || idErr != nil {
		p.refuse(name, s, "what the last page gave as next, or a Unix time in nanoseconds")
		return 0, schemas.TraceID{}
	}
	return ns, id
}

// issuePage reads what a page of issues gave as next: what its last issue is
// sorted by, a dot, and its id.
func (p *params) issuePage(name string) (by int64, id schemas.IssueID, told bool) {
	s := p.values.Get(name)
	if s == "" {
		return 0, 0, false
	}
	value, issue, paged := strings.Cut(s, ".")
	by, err := strconv.ParseInt(value, 10, 64)
	n := uint64(0)
	if err == nil && paged {
		n, err = strconv.ParseUint(issue, 10, 53)
	}
	if err != nil || by < 0 {
		p.refuse(name, s, "what the last page gave as next, or a Unix time in nanoseconds")
		return 0, 0, false
	}
	return by, schemas.IssueID(n), true
}

const wantDuration = "a positive duration as 250ms, 1.5s, 2h45m"

func (p *params) duration(name string) time.Duration {
	s := p.values.Get(name)
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		p.refuse(name, s, wantDuration)
		return 0
	}
	return d
}

const wantTime = "RFC 3339 (2026-11-23T14:02:00Z), Unix nanoseconds, or a time before now as -1h30m"

func (p *params) time(name string) time.Time {
	s := p.values.Get(name)
	if s == "" {
		return time.Time{}
	}
	if strings.HasPrefix(s, "-") {
		if d, err := time.ParseDuration(s); err == nil {
			return p.now.Add(d)
		}
	} else if ns, err := strconv.ParseInt(s, 10, 64); err == nil && ns > 0 {
		return time.Unix(0, ns)
	} else if t, err := time.Parse(time.RFC3339Nano, s); err == nil && t.Year() >= 1970 && t.Year() < 2262 {
		return t
	}
	p.refuse(name, s, wantTime)
	return time.Time{}
}

func (p *params) timeRange() exporters.Range {
	r := exporters.Range{From: p.time("from"), To: p.time("to")}
	if !r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To) {
		p.refuse("to", p.values.Get("to"), "a time after from")
	}
	return r
}
