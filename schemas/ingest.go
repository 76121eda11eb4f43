package schemas

// Names of topics and of the headers on ingest records. Values of headers are
// text.
const (
	TopicIngestSpans   = "ingest-spans"   // value: an OTLP ExportTraceServiceRequest, protobuf
	TopicIngestEvents  = "ingest-events"  // value: one Sentry event, JSON
	TopicIngestMetrics = "ingest-metrics" // value: an OTLP ExportMetricsServiceRequest, protobuf

	HeaderProject  = "project"   // decimal project id
	HeaderReceived = "received"  // Unix ns, decimal: when the collector had the whole request
	HeaderCount    = "count"     // decimal: spans or metric points in the value (ingest-spans, ingest-metrics)
	HeaderEventID  = "event-id"  // 32 hex digits (ingest-events)
	HeaderTruncate = "truncated" // "1": something too large was cut (see package otlp)
	HeaderSchema   = "schema"    // "otlp-traces/1", "otlp-metrics/1", "sentry-event/1"
)

// Values of [HeaderSchema].
const (
	SchemaOTLPTraces  = "otlp-traces/1"
	SchemaOTLPMetrics = "otlp-metrics/1"
	SchemaSentryEvent = "sentry-event/1"
)
