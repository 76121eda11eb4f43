package collector

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hoptrace/hoptrace/collector/otlp"
	"github.com/hoptrace/hoptrace/internal/config"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Config is what a person writes. DefaultConfig holds the defaults; a zero
// value is not valid.
type Config struct {
	GRPC           string `yaml:"grpc" help:"address of OTLP over gRPC"`
	HTTP           string `yaml:"http" help:"address of OTLP over HTTP and of the Sentry endpoints"`
	DefaultProject string `yaml:"default_project" help:"slug of the project of OTLP senders without a DSN; made when missing"`
	RequireAuth    bool   `yaml:"require_auth" help:"refuse OTLP senders without a DSN key"`
	TrustForwarded bool   `yaml:"trust_forwarded" help:"take a sender's address from the last member of X-Forwarded-For; only behind a proxy that sets it"`

	MaxRequestBytes      config.Bytes `yaml:"max_request_bytes" help:"largest request as it comes"`
	MaxDecompressedBytes config.Bytes `yaml:"max_decompressed_bytes" help:"largest OTLP request over HTTP after decompression (gRPC: max_request_bytes; JSON: a quarter)"`
	MaxEnvelopeBytes     config.Bytes `yaml:"max_envelope_bytes" help:"largest Sentry envelope or crash report, before and after decompression"`
	MaxEnvelopeRatio     int          `yaml:"max_envelope_ratio" help:"how many times larger than it comes an envelope of more than 4 MiB may be"`
	MaxEnvelopeItems     int          `yaml:"max_envelope_items" help:"most items in one envelope"`
	MaxEventBytes        config.Bytes `yaml:"max_event_bytes" help:"largest Sentry event, transaction, feedback or security report"`
	MaxAttachmentBytes   config.Bytes `yaml:"max_attachment_bytes" help:"all attachments of one envelope"`
	MaxAttachments       int          `yaml:"max_attachments" help:"most attachments in one envelope"`
	MaxContainerBytes    config.Bytes `yaml:"max_container_bytes" help:"largest item of an envelope with spans, logs or trace metrics"`
	MaxSessionBytes      config.Bytes `yaml:"max_session_bytes" help:"largest item with a session, or with counts of sessions"`
	MaxCheckInBytes      config.Bytes `yaml:"max_check_in_bytes" help:"largest check-in or user report"`
	MaxProfileBytes      config.Bytes `yaml:"max_profile_bytes" help:"largest profile"`
	MaxReplayBytes       config.Bytes `yaml:"max_replay_bytes" help:"largest recording of a replay segment"`
	MaxClientReportBytes config.Bytes `yaml:"max_client_report_bytes" help:"largest report of what an SDK dropped"`
	MaxRecordBytes       config.Bytes `yaml:"max_record_bytes" help:"largest value of a Kafka record; stay below the topic's max.message.bytes"`
	MaxInFlightBytes     config.Bytes `yaml:"max_in_flight_bytes" help:"bytes of all requests being handled; beyond it senders are told to wait"`
	MaxHeaderBytes       config.Bytes `yaml:"max_header_bytes" help:"all headers of one request"`
	MaxConnections       int          `yaml:"max_connections" help:"open connections of each listener; more wait"`
	MaxStreams           int          `yaml:"max_streams" help:"calls at one time on one gRPC connection"`

	HeaderTimeout  time.Duration `yaml:"header_timeout" help:"time to send a request's headers"`
	RequestTimeout time.Duration `yaml:"request_timeout" help:"time to send a whole request"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" help:"time until an idle connection is closed"`
	ProduceTimeout time.Duration `yaml:"produce_timeout" help:"time for Kafka to acknowledge"`
	RetryAfter     time.Duration `yaml:"retry_after" help:"how long a refused sender is told to wait"`
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config {
	return Config{
		GRPC:           "127.0.0.1:4317",
		HTTP:           "127.0.0.1:4318",
		DefaultProject: "default",

		MaxRequestBytes:      20 << 20,
		MaxDecompressedBytes: 64 << 20,
		MaxEnvelopeBytes:     200 << 20, // Sentry's, as the following; attachments are streamed
		MaxEnvelopeRatio:     200,
		MaxEnvelopeItems:     1000,
		MaxEventBytes:        1 << 20,
		MaxAttachmentBytes:   200 << 20,
		MaxAttachments:       30,
		MaxContainerBytes:    12 << 20,
		MaxSessionBytes:      1 << 20, // Sentry takes 10 MiB; a record does not
		MaxCheckInBytes:      100 << 10,
		MaxProfileBytes:      50 << 20,
		MaxReplayBytes:       15 << 20,
		MaxClientReportBytes: 100 << 10,
		MaxRecordBytes:       900 << 10, // fits where a broker was left at its default of 1 MiB, too
		MaxInFlightBytes:     256 << 20,
		MaxHeaderBytes:       32 << 10,
		MaxConnections:       1000,
		MaxStreams:           250,

		HeaderTimeout:  10 * time.Second,
		RequestTimeout: 60 * time.Second,
		IdleTimeout:    2 * time.Minute,
		ProduceTimeout: 10 * time.Second,
		RetryAfter:     5 * time.Second,
	}
}

// maxAttachments is what an event's record has room for.
const maxAttachments = 256

// Validate names all faults at once.
func (c *Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("collector."+format, args...)) }
	for _, x := range []struct{ name, addr string }{{"grpc", c.GRPC}, {"http", c.HTTP}} {
		if _, _, err := net.SplitHostPort(x.addr); err != nil {
			fault("%s: %q is no address: %w; write it like 127.0.0.1:4318", x.name, x.addr, err)
		}
	}
	if c.DefaultProject == "" && !c.RequireAuth {
		fault("default_project is empty: name one, or set require_auth")
	}
	atLeast := func(name string, got, least int64) {
		if got < least {
			fault("%s is %d, want at least %d", name, got, least)
		}
	}
	atLeast("max_record_bytes", int64(c.MaxRecordBytes), otlp.MinRecordBytes)
	atLeast("max_event_bytes", int64(c.MaxEventBytes), 1<<10)
	atLeast("max_request_bytes", int64(c.MaxRequestBytes), 64<<10)
	atLeast("max_decompressed_bytes", int64(c.MaxDecompressedBytes), int64(c.MaxRequestBytes))
	atLeast("max_envelope_bytes", int64(c.MaxEnvelopeBytes), int64(c.MaxEventBytes))
	// An item is read whole and its parts are copies; attachments are streamed.
	atLeast("max_in_flight_bytes", int64(c.MaxInFlightBytes), max(2*max(1<<20, int64(c.MaxDecompressedBytes)), 3*int64(c.MaxContainerBytes)))
	atLeast("max_envelope_ratio", int64(c.MaxEnvelopeRatio), 2)
	atLeast("max_attachments", int64(c.MaxAttachments), 0)
	if c.MaxAttachments > maxAttachments {
		fault("max_attachments is %d, want at most %d", c.MaxAttachments, maxAttachments)
	}
	for _, x := range []struct {
		name  string
		bytes config.Bytes
	}{
		{"max_attachment_bytes", c.MaxAttachmentBytes},
		{"max_container_bytes", c.MaxContainerBytes},
		{"max_session_bytes", c.MaxSessionBytes},
		{"max_check_in_bytes", c.MaxCheckInBytes},
		{"max_profile_bytes", c.MaxProfileBytes},
		{"max_replay_bytes", c.MaxReplayBytes},
		{"max_client_report_bytes", c.MaxClientReportBytes},
	} {
		atLeast(x.name, int64(x.bytes), 1<<10)
		if x.bytes > c.MaxEnvelopeBytes {
			fault("%s is %d, want at most max_envelope_bytes (%d)", x.name, x.bytes, c.MaxEnvelopeBytes)
		}
	}
	atLeast("max_header_bytes", int64(c.MaxHeaderBytes), 4<<10)
	atLeast("max_envelope_items", int64(c.MaxEnvelopeItems), 1)
	atLeast("max_connections", int64(c.MaxConnections), 1)
	atLeast("max_streams", int64(c.MaxStreams), 1)
	const most = 1 << 30
	for _, x := range []struct {
		name  string
		bytes config.Bytes
	}{
		{"max_request_bytes", c.MaxRequestBytes},
		{"max_decompressed_bytes", c.MaxDecompressedBytes},
		{"max_envelope_bytes", c.MaxEnvelopeBytes},
		{"max_header_bytes", c.MaxHeaderBytes},
	} {
		if x.bytes > most {
			fault("%s is %d, want at most %d", x.name, x.bytes, most)
		}
	}
	// Headers, key and framing take less than this of a record; and of an event's,
	// what is known of its attachments.
	const framing = 512 << 10
	for _, x := range []struct {
		setting, topic string
		bytes          config.Bytes
	}{
		{"max_record_bytes", schemas.TopicIngestSpans, c.MaxRecordBytes},
		{"max_record_bytes", schemas.TopicIngestMetrics, c.MaxRecordBytes},
		{"max_record_bytes", topics.IngestLogs, c.MaxRecordBytes},
		{"max_record_bytes", topics.IngestAttachments, c.MaxRecordBytes},
		{"max_record_bytes", topics.IngestReplayRecordings, c.MaxRecordBytes},
		{"max_event_bytes", topics.IngestEvents, c.MaxEventBytes},
		{"max_event_bytes", topics.IngestAttachments, c.MaxEventBytes},
		{"max_event_bytes", topics.IngestTransactions, c.MaxEventBytes},
		{"max_event_bytes", topics.IngestFeedbackEvents, c.MaxEventBytes},
		{"max_session_bytes", topics.IngestSessions, c.MaxSessionBytes},
		{"max_check_in_bytes", topics.IngestMonitors, c.MaxCheckInBytes},
		{"max_check_in_bytes", topics.IngestAttachments, c.MaxCheckInBytes},
	} {
		if t, err := topics.Get(x.topic); err != nil {
			errs = append(errs, err)
		} else if most := int64(t.MaxMessageBytes) - framing; int64(x.bytes) > most {
			fault("%s is %d, want at most %d, which fits topic %s's max.message.bytes", x.setting, x.bytes, most, x.topic)
		}
	}
	for _, x := range []struct {
		name string
		time time.Duration
	}{
		{"header_timeout", c.HeaderTimeout},
		{"request_timeout", c.RequestTimeout},
		{"idle_timeout", c.IdleTimeout},
		{"produce_timeout", c.ProduceTimeout},
		{"retry_after", c.RetryAfter},
	} {
		if x.time <= 0 {
			fault("%s is %v, want a positive duration like 10s", x.name, x.time)
		}
	}
	return errors.Join(errs...)
}
