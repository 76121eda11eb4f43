package schemas

// Names of the first topics and of the headers on ingest records; package
// topics has all topics. Values of headers are text.
const (
	TopicIngestSpans   = "ingest-spans"   // value: told by the header "schema"
	TopicIngestEvents  = "ingest-events"  // value: told by the header "schema"
	TopicIngestMetrics = "ingest-metrics" // value: told by the header "schema"

	HeaderProject  = "project"   // decimal project id
	HeaderReceived = "received"  // Unix ns, decimal: when the collector had the whole request
	HeaderSentAt   = "sent-at"   // Unix ns, decimal: when the sender says it sent, by its own clock; where it says so
	HeaderCount    = "count"     // decimal: spans, metric points or log records in the value
	HeaderCategory = "category"  // a Category: what the record counts as
	HeaderEventID  = "event-id"  // 32 hex digits, where there is one
	HeaderTruncate = "truncated" // "1": something too large was cut (see package otlp)
	HeaderSchema   = "schema"    // one of the values below; each is that of one version in topics/*.yaml

	// HeaderOrigin tells what an event was made of, when no SDK of Sentry sent it: an
	// [Origin] (ingest-events).
	HeaderOrigin = "origin"
	// HeaderWeight is for how many events the record stands, decimal, when the
	// collector sampled repeats of one error. Absent means 1.
	HeaderWeight = "weight"

	// HeaderFirstSource and HeaderFirstOffset name the record that an event came in
	// with, as a [Source] and an offset, decimal (topics "events", and "ingest-events"
	// of errors that were made of a span or a log): an event that is handed on twice
	// has them equal.
	HeaderFirstSource = "first-source"
	HeaderFirstOffset = "first-offset"

	// HeaderRow is the row of the store that an event makes, as compact JSON
	// (topic "events"), so that who stores it need not parse the event.
	HeaderRow = "row"
)

// Values of [HeaderSchema].
const (
	SchemaOTLPTraces         = "otlp-traces/1"          // an OTLP ExportTraceServiceRequest, protobuf
	SchemaOTLPMetrics        = "otlp-metrics/1"         // an OTLP ExportMetricsServiceRequest, protobuf
	SchemaOTLPLogs           = "otlp-logs/1"            // an OTLP ExportLogsServiceRequest, protobuf
	SchemaSentrySpans        = "sentry-spans/2"         // the JSON container of an envelope's span item
	SchemaSentryTraceMetrics = "sentry-trace-metrics/1" // the JSON container of an envelope's trace_metric item
	SchemaSentryLogs         = "sentry-logs/1"          // the JSON container of an envelope's log item
	SchemaSentryEvent        = "sentry-event/1"         // one event's JSON, bare (before ingest-events/2)

	SchemaIngestEvents           = "ingest-events/2" // those below: see schemas/json/<topic>.v<N>.schema.json
	SchemaIngestAttachments      = "ingest-attachments/1"
	SchemaIngestTransactions     = "ingest-transactions/1"
	SchemaIngestSessions         = "ingest-sessions/1"
	SchemaIngestMonitors         = "ingest-monitors/1"
	SchemaIngestFeedbackEvents   = "ingest-feedback-events/1"
	SchemaProfiles               = "profiles/1"
	SchemaIngestReplayEvents     = "ingest-replay-events/1"
	SchemaIngestReplayRecordings = "ingest-replay-recordings/1"
	SchemaEvents                 = "events/1"
	SchemaEventReplacements      = "event-replacements/1"
	SchemaOutcomes               = "outcomes/1"
	SchemaClockSamples           = "clock-samples/1"
)
