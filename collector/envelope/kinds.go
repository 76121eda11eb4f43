package envelope

import (
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// way is how an item is taken.
type way uint8

const (
	unknown      way = iota
	eventLike        // one event of the envelope
	report           // what a browser reports
	container        // many spans, logs or trace metrics
	otelSpan         // one span of OpenTelemetry, JSON
	otelTraces       // an OTLP request
	attachment       // streamed in chunks
	form             // fields of a form
	userReport       // what a user says about an event
	session          // one session, or counts of many
	checkIn          // of a monitor
	clientReport     // what the SDK dropped
	raw              // handed on as it is, in chunks if it is large
	retired          // Sentry takes it no more
	internal         // only Relay itself writes it
)

// kind is a type of items.
type kind struct {
	name     string
	way      way
	category schemas.Category
	topic    string
	schema   string
	event    string // what a record of an eventLike calls its type
	id       string // the member of a raw item's JSON that names it
}

// kinds are the types of items that are known, by name.
var kinds = func() map[string]*kind {
	m := map[string]*kind{}
	for _, k := range []kind{
		{name: "event", way: eventLike, category: schemas.CategoryError, topic: topics.IngestEvents, schema: schemas.SchemaIngestEvents, event: "event"},
		{name: "transaction", way: eventLike, category: schemas.CategoryTransaction, topic: topics.IngestTransactions, schema: schemas.SchemaIngestTransactions, event: "transaction"},
		{name: "feedback", way: eventLike, category: schemas.CategoryFeedback, topic: topics.IngestFeedbackEvents, schema: schemas.SchemaIngestFeedbackEvents, event: "event"},
		{name: "security", way: report, category: schemas.CategorySecurity, topic: topics.IngestEvents, schema: schemas.SchemaIngestEvents, event: "security"},
		{name: "raw_security", way: report, category: schemas.CategorySecurity, topic: topics.IngestEvents, schema: schemas.SchemaIngestEvents, event: "security"},
		{name: "nel", way: report, category: schemas.CategorySecurity, topic: topics.IngestEvents, schema: schemas.SchemaIngestEvents, event: "security"},
		{name: "span", way: container, category: schemas.CategorySpan, topic: topics.IngestSpans, schema: schemas.SchemaSentrySpans},
		{name: "log", way: container, category: schemas.CategoryLogItem, topic: topics.IngestLogs, schema: schemas.SchemaSentryLogs},
		{name: "otel_log", way: container, category: schemas.CategoryLogItem, topic: topics.IngestLogs, schema: schemas.SchemaSentryLogs},
		{name: "trace_metric", way: container, category: schemas.CategoryTraceMetric, topic: topics.IngestMetrics, schema: schemas.SchemaSentryTraceMetrics},
		{name: "otel_span", way: otelSpan, category: schemas.CategorySpan, topic: topics.IngestSpans, schema: schemas.SchemaOTLPTraces},
		{name: "otel_traces_data", way: otelTraces, category: schemas.CategorySpan, topic: topics.IngestSpans, schema: schemas.SchemaOTLPTraces},
		{name: "attachment", way: attachment, category: schemas.CategoryAttachment, topic: topics.IngestAttachments, schema: schemas.SchemaIngestAttachments},
		{name: "unreal_report", way: attachment, category: schemas.CategoryAttachment, topic: topics.IngestAttachments, schema: schemas.SchemaIngestAttachments},
		{name: "form_data", way: form, category: schemas.CategoryError},
		{name: "user_report", way: userReport, category: schemas.CategoryFeedback, topic: topics.IngestAttachments, schema: schemas.SchemaIngestAttachments},
		{name: "session", way: session, category: schemas.CategorySession, topic: topics.IngestSessions, schema: schemas.SchemaIngestSessions},
		{name: "sessions", way: session, category: schemas.CategorySession, topic: topics.IngestSessions, schema: schemas.SchemaIngestSessions},
		{name: "check_in", way: checkIn, category: schemas.CategoryMonitor, topic: topics.IngestMonitors, schema: schemas.SchemaIngestMonitors},
		{name: "client_report", way: clientReport, category: schemas.CategoryInternal},
		{name: "profile", way: raw, category: schemas.CategoryProfile, topic: topics.Profiles, schema: schemas.SchemaProfiles, id: "event_id"},
		{name: "profile_chunk", way: raw, category: schemas.CategoryProfileChunk, topic: topics.Profiles, schema: schemas.SchemaProfiles, id: "chunk_id"},
		{name: "profile_chunk_ui", way: raw, category: schemas.CategoryProfileChunk, topic: topics.Profiles, schema: schemas.SchemaProfiles, id: "chunk_id"},
		{name: "replay_event", way: raw, category: schemas.CategoryReplay, topic: topics.IngestReplayEvents, schema: schemas.SchemaIngestReplayEvents, id: "replay_id"},
		{name: "replay_recording", way: raw, category: schemas.CategoryReplay, topic: topics.IngestReplayRecordings, schema: schemas.SchemaIngestReplayRecordings},
		{name: "replay_video", way: raw, category: schemas.CategoryReplay, topic: topics.IngestReplayRecordings, schema: schemas.SchemaIngestReplayRecordings},
		{name: "statsd", way: retired, category: schemas.CategoryMetricBucket},
		{name: "metric_buckets", way: retired, category: schemas.CategoryMetricBucket},
		{name: "integration", way: internal},
	} {
		m[k.name] = &k
	}
	return m
}()

// kindOf finds a type; an unknown one is counted as "default".
func kindOf(name string) *kind {
	if k, ok := kinds[name]; ok {
		return k
	}
	return &unknownKind
}

var unknownKind = kind{name: "unknown", category: schemas.CategoryDefault}

// limit is the largest payload of a type.
func (k *kind) limit(cfg *Config) int64 {
	switch k.way {
	case container, otelSpan, otelTraces:
		return cfg.MaxContainerBytes
	case attachment:
		return cfg.MaxAttachmentBytes
	case session:
		return cfg.MaxSessionBytes
	case checkIn, userReport:
		return cfg.MaxCheckInBytes
	case clientReport:
		return cfg.MaxClientReportBytes
	case raw:
		switch k.topic {
		case topics.Profiles:
			return cfg.MaxProfileBytes
		case topics.IngestReplayEvents:
			return cfg.MaxEventBytes
		}
		return cfg.MaxReplayBytes
	}
	return cfg.MaxEventBytes
}
