package harness

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// The answers of the web API, as far as the tests read them. They are written
// anew here, from openapi.yaml: a test that shared the server's types would not
// see a field change its name.

// Status is the answer to status.
type Status struct {
	Version   string    `json:"version"`
	Project   string    `json:"project"`
	HasSpans  bool      `json:"hasSpans"`
	HasEvents bool      `json:"hasEvents"`
	Projects  []Project `json:"projects"`
}

// Project is one project.
type Project struct {
	ID   string   `json:"id"`
	DSNs []string `json:"dsns"`
}

// TraceList is the answer to traces.
type TraceList struct {
	Traces []TraceSummary `json:"traces"`
	Next   *string        `json:"next"`
}

// TraceSummary is one of them.
type TraceSummary struct {
	TraceID  string   `json:"traceId"`
	Services []string `json:"services"`
	Topics   []string `json:"topics"`
	Spans    int      `json:"spans"`
	Errors   int      `json:"errors"`
}

// Journey is the answer to traces/{id}.
type Journey struct {
	TraceID string            `json:"traceId"`
	Traces  []string          `json:"traces"`
	Spans   []Span            `json:"spans"`
	Hops    []Hop             `json:"hops"`
	Events  []EventRef        `json:"events"`
	Cut     []json.RawMessage `json:"cut"`
}

// Span is one span of a journey.
type Span struct {
	TraceID  string `json:"traceId"`
	SpanID   string `json:"spanId"`
	ParentID string `json:"parentId"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Service  string `json:"service"`
	Start    string `json:"start"`
	End      string `json:"end"`
	Links    []struct {
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	} `json:"links"`
	Attributes []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"attributes"`
}

// Attribute is the value of an attribute in text form, empty without it.
func (s Span) Attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value
		}
	}
	return ""
}

// HopList is the answer to hops.
type HopList struct {
	Hops []Hop `json:"hops"`
}

// Hop is one record read by one group.
type Hop struct {
	Topic     string    `json:"topic"`
	Partition *int32    `json:"partition"`
	Offset    *int64    `json:"offset"`
	Group     string    `json:"group"`
	Producer  *Side     `json:"producer"`
	Consumer  *Side     `json:"consumer"`
	Parts     []HopPart `json:"parts"`
	EndToEnd  HopPart   `json:"endToEnd"`
	Failed    bool      `json:"failed"`
	Delivery  int       `json:"delivery"`
}

// Side is one end of a hop.
type Side struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
	Service string `json:"service"`
	Start   string `json:"start"`
	End     string `json:"end"`
}

// HopPart is one part of a hop.
type HopPart struct {
	Name  string `json:"name"`
	Known bool   `json:"known"`
	Ns    int64  `json:"ns"`
}

// Record names the record of a hop and who read it.
func (h Hop) Record() string {
	if h.Partition == nil || h.Offset == nil {
		return fmt.Sprintf("%s/?/? by %q", h.Topic, h.Group)
	}
	return fmt.Sprintf("%s/%d/%d by %q", h.Topic, *h.Partition, *h.Offset, h.Group)
}

// TopicList is the answer to topics.
type TopicList struct {
	Topics []TopicStats `json:"topics"`
}

// TopicStats is one topic and group.
type TopicStats struct {
	Topic    string      `json:"topic"`
	Group    string      `json:"group"`
	Produced int         `json:"produced"`
	Consumed int         `json:"consumed"`
	Failed   int         `json:"failed"`
	Parts    []Quantiles `json:"parts"`
}

// Quantiles are of one part, in ns.
type Quantiles struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	P50   int64  `json:"p50Ns"`
	P95   int64  `json:"p95Ns"`
	P99   int64  `json:"p99Ns"`
}

// IssueList is the answer to issues.
type IssueList struct {
	Issues []Issue `json:"issues"`
}

// Issue is one issue.
type Issue struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Platform string   `json:"platform"`
	Events   int      `json:"events"`
	Records  int      `json:"records"`
	Grouping []string `json:"grouping"`
}

// IssueDetail is the answer to issues/{id}.
type IssueDetail struct {
	Issue  Issue   `json:"issue"`
	Events []Event `json:"events"`
}

// Event is one event of an issue.
type Event struct {
	ID          string `json:"id"`
	Time        string `json:"time"` // Unix ns
	Type        string `json:"type"`
	Value       string `json:"value"`
	Release     string `json:"release"`
	Environment string `json:"environment"`
	SDK         string `json:"sdk"`
	TraceID     string `json:"traceId"`
	Topic       string `json:"topic"`
	Partition   *int32 `json:"partition"`
	Offset      *int64 `json:"offset"`
	Group       string `json:"group"`
}

// EventRef is an event on the way of a journey.
type EventRef struct {
	ID    string `json:"id"`
	Issue string `json:"issue"`
}

// EventDetail is the answer to issues/{id}/events/{event}.
type EventDetail struct {
	Event      Event  `json:"event"`
	Payload    string `json:"payload"`
	Exceptions []struct {
		Type   string `json:"type"`
		Value  string `json:"value"`
		Frames []struct {
			Function string `json:"function"`
			InApp    bool   `json:"inApp"`
		} `json:"frames"`
	} `json:"exceptions"`
	Message *struct {
		FoundBy string `json:"foundBy"`
		Hop     Hop    `json:"hop"`
		Age     struct {
			Known bool  `json:"known"`
			Ns    int64 `json:"ns"`
		} `json:"age"`
	} `json:"message"`
}

// LogList is the answer to logs.
type LogList struct {
	Logs []Log `json:"logs"`
}

// Log is one log record.
type Log struct {
	Time    string `json:"time"` // Unix ns
	Level   string `json:"level"`
	Body    string `json:"body"`
	Service string `json:"service"`
	Origin  string `json:"origin"`
	TraceID string `json:"traceId"`
}

// FileList is the answer to events/{id}/attachments.
type FileList struct {
	Files []File `json:"files"`
}

// File is an attachment.
type File struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	ContentType string `json:"contentType"`
	Type        string `json:"type"`
	Size        int64  `json:"size"`
	Download    string `json:"download"` // path of its bytes
}

// FeedbackList is the answer to feedback.
type FeedbackList struct {
	Feedback []Feedback `json:"feedback"`
}

// Feedback is what a user wrote.
type Feedback struct {
	ID       string `json:"id"`
	Received string `json:"received"` // Unix ns
	Name     string `json:"name"`
	Email    string `json:"email"`
	Message  string `json:"message"`
	Event    string `json:"event"`
}

// ReleaseList is the answer to releases.
type ReleaseList struct {
	Releases []struct {
		Release string `json:"release"`
		Health  Health `json:"health"`
	} `json:"releases"`
}

// Health counts the sessions of a release.
type Health struct {
	Sessions  int64 `json:"sessions"`
	Crashed   int64 `json:"crashed"`
	Abnormal  int64 `json:"abnormal"`
	Unhandled int64 `json:"unhandled"`
	Errored   int64 `json:"errored"`
}

// Monitor is a job that checks in.
type Monitor struct {
	Slug   string `json:"slug"`
	Status string `json:"status"`
	Config struct {
		ScheduleType  string `json:"scheduleType"`
		Crontab       string `json:"crontab"`
		Timezone      string `json:"timezone"`
		CheckInMargin int    `json:"checkInMargin"`
		MaxRuntime    int    `json:"maxRuntime"`
	} `json:"config"`
	Environments []struct {
		Name   string  `json:"name"`
		Status string  `json:"status"`
		Next   *string `json:"next"`
	} `json:"environments"`
}

// CheckInList is the answer to monitors/{slug}/check-ins.
type CheckInList struct {
	CheckIns []struct {
		ID       string  `json:"id"`
		Status   string  `json:"status"`
		Time     string  `json:"time"` // Unix ns
		Duration *string `json:"duration"`
	} `json:"checkIns"`
}

// Ledger is the answer to ledger.
type Ledger struct {
	Lines    []LedgerLine `json:"lines"`
	Balanced bool         `json:"balanced"`
	Verdict  string       `json:"verdict"`
}

// LedgerLine is one category.
type LedgerLine struct {
	Category      string `json:"category"`
	Received      int64  `json:"received"`
	Stored        int64  `json:"stored"`
	Filtered      int64  `json:"filtered"`
	Limited       int64  `json:"limited"`
	Invalid       int64  `json:"invalid"`
	ClientDiscard int64  `json:"clientDiscard"`
	Parked        int64  `json:"parked"`
	InFlight      int64  `json:"inFlight"`
}

// MetricList is the answer to metrics.
type MetricList struct {
	Metrics []Metric `json:"metrics"`
}

// Metric is one name.
type Metric struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	LastSeen string `json:"lastSeen"` // Unix ns
}

// DSN is the first project's, as the product tells it.
func (h *Hoptrace) DSN(t testing.TB) string {
	t.Helper()
	var s Status
	h.MustGet(t, "status", &s)
	for _, p := range s.Projects {
		for _, dsn := range p.DSNs {
			return dsn
		}
	}
	t.Fatalf("status names no DSN: %+v", s)
	return ""
}

// mostHops is what the API lists at once.
const mostHops = 500

// AllHops pages through the hops of a topic and group that were done in
// [from, to), by halving the time until an answer is not full.
func (h *Hoptrace) AllHops(t testing.TB, topic, group string, from, to time.Time) []Hop {
	t.Helper()
	q := url.Values{"topic": {topic}, "group": {group}, "limit": {strconv.Itoa(mostHops)}}
	q.Set("from", strconv.FormatInt(from.UnixNano(), 10))
	q.Set("to", strconv.FormatInt(to.UnixNano(), 10))
	var list HopList
	h.MustGet(t, "hops?"+q.Encode(), &list)
	if len(list.Hops) < mostHops {
		return list.Hops
	}
	half := to.Sub(from) / 2
	if half < time.Microsecond {
		t.Fatalf("more than %d hops of %s ended within %s: cannot page through them", mostHops, topic, to.Sub(from))
	}
	return append(h.AllHops(t, topic, group, from, from.Add(half)), h.AllHops(t, topic, group, from.Add(half), to)...)
}
