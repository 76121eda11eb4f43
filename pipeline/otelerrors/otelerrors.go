// Package otelerrors makes events of errors that OpenTelemetry carries: exception
// events of spans, and log records about exceptions. It writes them in the form in
// which Sentry SDKs send events, so that everything behind treats both alike; the
// record tells that it came from here. It produces nothing (see package persist).
package otelerrors

import (
	"encoding/hex"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

// Event is one error, as a record of topic ingest-events carries it.
type Event struct {
	ID      schemas.EventID
	Project uint64
	Time    int64 // Unix ns
	Payload []byte
}

// maxOfSpan bounds the events that one span makes.
const maxOfSpan = 16

// Names of OpenTelemetry's conventions.
const (
	eventName  = "exception"
	attrType   = "exception.type"
	attrText   = "exception.message"
	attrStack  = "exception.stacktrace"
	attrEscape = "exception.escaped"
)

// OfSpan appends the errors that a span recorded. Their ids follow from the span,
// so the same span read again gives the same events.
func OfSpan(dst []Event, s *schemas.Span) []Event {
	made := 0
	for i := range s.Events {
		if s.Events[i].Name != eventName || made == maxOfSpan {
			continue
		}
		e := &s.Events[i]
		o := origin{
			project: s.Project, trace: s.TraceID, span: s.SpanID, time: e.Time, service: s.Service, scope: s.Scope,
			transaction: s.Name, resource: s.Resource, attributes: s.Attributes, error: e.Attributes, level: "error",
			seed: "span " + strconv.Itoa(i),
		}
		if p, ok := o.payload(); ok {
			dst = append(dst, p)
			made++
		}
	}
	return dst
}

// OfLog appends the error that a log record is about: one that names an exception.
// Records of Sentry SDKs make none: those SDKs send events themselves.
func OfLog(dst []Event, l *schemas.Log) []Event {
	if l.Origin != schemas.OriginOTel || lookup(l.Attributes, attrType) == "" && lookup(l.Attributes, attrStack) == "" {
		return dst
	}
	var level string
	switch {
	case l.Severity >= 21:
		level = "fatal"
	case l.Severity >= 17 || l.Severity == 0:
		level = "error"
	case l.Severity >= 13:
		level = "warning"
	default:
		level = "info"
	}
	o := origin{
		project: l.Project, trace: l.TraceID, span: l.SpanID, time: l.Time, service: l.Service, scope: l.Scope,
		resource: l.Resource, attributes: l.Attributes, error: l.Attributes, level: level, body: l.Body,
		seed: "log",
	}
	if p, ok := o.payload(); ok {
		dst = append(dst, p)
	}
	return dst
}

// origin is what an error was found in.
type origin struct {
	project                            uint64
	trace                              schemas.TraceID
	span                               schemas.SpanID
	time                               int64
	service, scope, transaction, level string
	body, seed                         string
	resource, attributes, error        []schemas.Attribute
}

// The event in the form of Sentry SDKs.
type (
	wireEvent struct {
		EventID     string            `json:"event_id"`
		Timestamp   json.Number       `json:"timestamp"`
		Platform    string            `json:"platform"`
		Level       string            `json:"level"`
		Logger      string            `json:"logger,omitempty"`
		Transaction string            `json:"transaction,omitempty"`
		Release     string            `json:"release,omitempty"`
		Environment string            `json:"environment,omitempty"`
		ServerName  string            `json:"server_name,omitempty"`
		LogEntry    *wireMessage      `json:"logentry,omitempty"`
		Exception   wireValues        `json:"exception"`
		Contexts    map[string]any    `json:"contexts"`
		Tags        map[string]string `json:"tags"`
		SDK         map[string]string `json:"sdk"`
	}
	wireMessage struct {
		Formatted string `json:"formatted"`
	}
	wireValues struct {
		Values []wireException `json:"values"`
	}
	wireException struct {
		Type       string         `json:"type,omitempty"`
		Value      string         `json:"value,omitempty"`
		Module     string         `json:"module,omitempty"`
		Mechanism  map[string]any `json:"mechanism"`
		Stacktrace *wireStack     `json:"stacktrace,omitempty"`
	}
	wireStack struct {
		Frames []wireFrame `json:"frames"`
	}
	wireFrame struct {
		Function    string `json:"function,omitempty"`
		Module      string `json:"module,omitempty"`
		Filename    string `json:"filename,omitempty"`
		AbsPath     string `json:"abs_path,omitempty"`
		Line        int    `json:"lineno,omitempty"`
		Column      int    `json:"colno,omitempty"`
		ContextLine string `json:"context_line,omitempty"`
	}
)

func (o *origin) payload() (Event, bool) {
	typ, text, stack := lookup(o.error, attrType), lookup(o.error, attrText), lookup(o.error, attrStack)
	if typ == "" && text == "" && stack == "" {
		return Event{}, false
	}
	id := o.id(typ, text, stack)
	language := lookup(o.resource, "telemetry.sdk.language")
	e := wireEvent{
		EventID: id.String(), Timestamp: seconds(o.time), Platform: platform(language), Level: o.level, Logger: o.scope, Transaction: o.transaction,
		Release:     release(o.service, lookup(o.resource, "service.version")),
		Environment: first(lookup(o.resource, "deployment.environment.name"), lookup(o.resource, "deployment.environment")),
		ServerName:  first(lookup(o.resource, "host.name"), lookup(o.resource, "service.instance.id")),
		Contexts:    map[string]any{},
		Tags:        map[string]string{"service": o.service},
		SDK: map[string]string{
			"name":    first(lookup(o.resource, "telemetry.distro.name"), "opentelemetry."+first(language, "other")),
			"version": first(lookup(o.resource, "telemetry.distro.version"), lookup(o.resource, "telemetry.sdk.version")),
		},
	}
	if o.body != "" && o.body != text {
		e.LogEntry = &wireMessage{Formatted: o.body}
	}
	if !o.trace.IsZero() {
		e.Contexts["trace"] = map[string]string{"trace_id": o.trace.String(), "span_id": o.span.String()}
	}
	if k := o.kafka(); k != nil {
		e.Contexts["kafka"] = k
	}
	e.Exception.Values = o.exceptions(language, typ, text, stack)
	payload, err := json.Marshal(e)
	if err != nil {
		return Event{}, false // a number that is none; there is none
	}
	return Event{ID: id, Project: o.project, Time: o.time, Payload: payload}, true
}

func (o *origin) exceptions(language, typ, text, stack string) []wireException {
	mechanism := map[string]any{"type": "otel", "handled": lookup(o.error, attrEscape) != "true"}
	chain := parseStack(language, stack)
	if len(chain) == 0 {
		chain = []exception{{}}
	}
	// The last one is what was recorded; its own words are better than the text's.
	last := &chain[len(chain)-1]
	if typ != "" {
		last.Type, last.Module = typ, ""
		if i := strings.LastIndexByte(typ, '.'); i > 0 && (language == "java" || language == "python") {
			last.Module, last.Type = typ[:i], typ[i+1:]
		}
	}
	if text != "" {
		last.Value = text
	}
	out := make([]wireException, len(chain))
	for i := range chain {
		x := &chain[i]
		out[i] = wireException{Type: x.Type, Value: x.Value, Module: x.Module, Mechanism: mechanism}
		if len(x.Frames) == 0 {
			continue
		}
		out[i].Stacktrace = &wireStack{Frames: make([]wireFrame, len(x.Frames))}
		for j, f := range x.Frames {
			w := wireFrame{Function: f.Function, Module: f.Module, Filename: f.File, Line: f.Line, Column: f.Column, ContextLine: f.Context}
			if strings.ContainsAny(f.File, `/\`) {
				w.AbsPath = f.File
				if language == "go" {
					w.Filename = path.Base(f.File)
				}
			}
			out[i].Stacktrace.Frames[j] = w
		}
	}
	return out
}

// kafka names the record that was being processed, when the span is about one.
func (o *origin) kafka() map[string]any {
	if lookup(o.attributes, messaging.AttrSystem) != messaging.SystemKafka {
		return nil
	}
	out := map[string]any{}
	for _, f := range [...][2]string{{"topic", messaging.AttrDestinationName}, {"consumer_group", messaging.AttrConsumerGroup}} {
		if v := lookup(o.attributes, f[1]); v != "" {
			out[f[0]] = v
		}
	}
	for _, f := range [...][2]string{{"partition", messaging.AttrPartitionID}, {"offset", messaging.AttrKafkaOffset}} {
		if n, err := strconv.ParseInt(lookup(o.attributes, f[1]), 10, 64); err == nil {
			out[f[0]] = n
		}
	}
	if out["topic"] == nil {
		return nil
	}
	o.wayOf(out)
	return out
}

// wayOf adds what the raw times and the lineage of our own instrumentation tell of
// the record, in the words of package sentrykafka (see docs/sentry.md).
func (o *origin) wayOf(out map[string]any) {
	number := func(key string) (int64, bool) {
		n, err := strconv.ParseInt(lookup(o.attributes, key), 10, 64)
		return n, err == nil
	}
	for _, f := range [...][2]string{{"key_hash", messaging.AttrKeyHash}, {"client_id", messaging.AttrClientID}, {"original_topic", messaging.AttrRetryTopic}} {
		if v := lookup(o.attributes, f[1]); v != "" {
			out[f[0]] = v
		}
	}
	if t, ok := number(messaging.AttrConsumeRecordTime); ok && t > 0 {
		out["record_time"] = time.Unix(0, t).UTC().Format(time.RFC3339Nano)
		if o.time > 0 {
			out["age_ms"] = float64(o.time-t) / 1e6
		}
	}
	if n, ok := number(messaging.AttrBatchMessageCount); ok && n > 1 {
		out["batch_count"] = n
	}
	if n, ok := number(messaging.AttrRetryAttempt); ok && n >= 0 {
		out["attempt"] = n + 1 // the attribute counts the failures before this attempt
	}
	if out["original_topic"] == nil {
		return
	}
	for _, f := range [...][2]string{{"original_partition", messaging.AttrRetryPartition}, {"original_offset", messaging.AttrRetryOffset}} {
		if n, ok := number(f[1]); ok {
			out[f[0]] = n
		}
	}
}

// id follows from where the error was found and what it is.
func (o *origin) id(typ, text, stack string) (id schemas.EventID) {
	var d xxhash.Digest
	d.Reset()
	put := func(s string) {
		_, _ = d.WriteString(strconv.Itoa(len(s))) // never fails
		_, _ = d.WriteString(":" + s)
	}
	put(strconv.FormatUint(o.project, 10))
	put(o.seed)
	put(hex.EncodeToString(o.trace[:]))
	put(hex.EncodeToString(o.span[:]))
	put(strconv.FormatInt(o.time, 10))
	put(o.service)
	put(typ)
	put(text)
	put(stack)
	one := d.Sum64()
	put("two")
	two := d.Sum64()
	for i := range 8 {
		id[i], id[8+i] = byte(one>>(8*i)), byte(two>>(8*i)) //nolint:gosec // a byte each
	}
	id[6] = id[6]&0x0f | 0x50 // a UUID made of a name
	id[8] = id[8]&0x3f | 0x80
	return id
}

func seconds(ns int64) json.Number {
	frac := strconv.FormatInt(ns%1e9+1e9, 10)[1:]
	return json.Number(strconv.FormatInt(ns/1e9, 10) + "." + frac)
}

func platform(language string) string {
	switch language {
	case "nodejs":
		return "node"
	case "webjs":
		return "javascript"
	case "dotnet":
		return "csharp"
	case "cpp":
		return "native"
	case "":
		return "other"
	}
	return language
}

// release is in the form of Sentry SDKs, so that versions compare.
func release(service, version string) string {
	if version == "" {
		return ""
	}
	if service == "" || strings.Contains(version, "@") {
		return version
	}
	return service + "@" + version
}

func lookup(attrs []schemas.Attribute, key string) string {
	v, _ := schemas.Lookup(attrs, key)
	return v
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}
