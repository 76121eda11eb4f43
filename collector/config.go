package collector

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hoptrace/hoptrace/collector/otlp"
	"github.com/hoptrace/hoptrace/internal/config"
)

// Config is what a person writes. DefaultConfig holds the defaults; a zero
// value is not valid.
type Config struct {
	GRPC           string `yaml:"grpc" help:"address of OTLP over gRPC"`
	HTTP           string `yaml:"http" help:"address of OTLP over HTTP and of the Sentry endpoints"`
	DefaultProject string `yaml:"default-project" help:"slug of the project of OTLP senders without a DSN; made when missing"`
	RequireAuth    bool   `yaml:"require-auth" help:"refuse OTLP senders without a DSN key"`

	MaxRequestBytes      config.Bytes `yaml:"max-request-bytes" help:"largest request as it comes"`
	MaxDecompressedBytes config.Bytes `yaml:"max-decompressed-bytes" help:"largest OTLP request over HTTP after decompression (gRPC: max-request-bytes)"`
	MaxEnvelopeBytes     config.Bytes `yaml:"max-envelope-bytes" help:"largest Sentry envelope, before and after decompression"`
	MaxEventBytes        config.Bytes `yaml:"max-event-bytes" help:"largest Sentry event"`
	MaxEnvelopeItems     int          `yaml:"max-envelope-items" help:"most items in one envelope"`
	MaxRecordBytes       config.Bytes `yaml:"max-record-bytes" help:"largest value of a Kafka record; stay below the topic's max.message.bytes"`
	MaxInFlightBytes     config.Bytes `yaml:"max-in-flight-bytes" help:"bytes of all requests being handled; beyond it senders are told to wait"`
	MaxHeaderBytes       config.Bytes `yaml:"max-header-bytes" help:"all headers of one request"`
	MaxConnections       int          `yaml:"max-connections" help:"open connections of each listener; more wait"`
	MaxStreams           int          `yaml:"max-streams" help:"calls at one time on one gRPC connection"`

	HeaderTimeout  time.Duration `yaml:"header-timeout" help:"time to send a request's headers"`
	RequestTimeout time.Duration `yaml:"request-timeout" help:"time to send a whole request"`
	IdleTimeout    time.Duration `yaml:"idle-timeout" help:"time until an idle connection is closed"`
	ProduceTimeout time.Duration `yaml:"produce-timeout" help:"time for Kafka to acknowledge"`
	RetryAfter     time.Duration `yaml:"retry-after" help:"how long a refused sender is told to wait"`
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config {
	return Config{
		GRPC:           "127.0.0.1:4317",
		HTTP:           "127.0.0.1:4318",
		DefaultProject: "default",

		MaxRequestBytes:      20 << 20,
		MaxDecompressedBytes: 64 << 20,
		MaxEnvelopeBytes:     20 << 20, // Sentry takes 200 MiB, mostly attachments, which are not kept yet
		MaxEventBytes:        1 << 20,
		MaxEnvelopeItems:     1000,
		MaxRecordBytes:       900 << 10, // a broker's default is 1 MiB with headers and framing
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

// Validate names all faults at once.
func (c *Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("collector."+format, args...)) }
	for name, addr := range map[string]string{"grpc": c.GRPC, "http": c.HTTP} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			fault("%s: %q is no address: %w; write it like 127.0.0.1:4318", name, addr, err)
		}
	}
	if c.DefaultProject == "" && !c.RequireAuth {
		fault("default-project is empty: name one, or set require-auth")
	}
	atLeast := func(name string, got, least int64) {
		if got < least {
			fault("%s is %d, want at least %d", name, got, least)
		}
	}
	atLeast("max-record-bytes", int64(c.MaxRecordBytes), otlp.MinRecordBytes)
	atLeast("max-event-bytes", int64(c.MaxEventBytes), 1<<10)
	atLeast("max-request-bytes", int64(c.MaxRequestBytes), 64<<10)
	atLeast("max-decompressed-bytes", int64(c.MaxDecompressedBytes), int64(c.MaxRequestBytes))
	atLeast("max-envelope-bytes", int64(c.MaxEnvelopeBytes), int64(c.MaxEventBytes))
	atLeast("max-in-flight-bytes", int64(c.MaxInFlightBytes), 2*max(int64(c.MaxDecompressedBytes), int64(c.MaxEnvelopeBytes)))
	atLeast("max-header-bytes", int64(c.MaxHeaderBytes), 4<<10)
	atLeast("max-envelope-items", int64(c.MaxEnvelopeItems), 1)
	atLeast("max-connections", int64(c.MaxConnections), 1)
	atLeast("max-streams", int64(c.MaxStreams), 1)
	const most = 1 << 30
	for name, v := range map[string]config.Bytes{
		"max-request-bytes": c.MaxRequestBytes, "max-decompressed-bytes": c.MaxDecompressedBytes,
		"max-envelope-bytes": c.MaxEnvelopeBytes, "max-record-bytes": c.MaxRecordBytes, "max-header-bytes": c.MaxHeaderBytes,
	} {
		if v > most {
			fault("%s is %d, want at most %d", name, v, most)
		}
	}
	if c.MaxEventBytes > c.MaxRecordBytes+c.MaxRecordBytes/4 {
		fault("max-event-bytes is %d, more than a record of max-record-bytes (%d) and a quarter: the topic would refuse it", c.MaxEventBytes, c.MaxRecordBytes)
	}
	for name, d := range map[string]time.Duration{
		"header-timeout": c.HeaderTimeout, "request-timeout": c.RequestTimeout, "idle-timeout": c.IdleTimeout,
		"produce-timeout": c.ProduceTimeout, "retry-after": c.RetryAfter,
	} {
		if d <= 0 {
			fault("%s is %v, want a positive duration like 10s", name, d)
		}
	}
	return errors.Join(errs...)
}
