package hoptrace

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Protocols of [Options].
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http"
)

// Integration connects a package that instruments a client library. The wrappers
// of hoptrace satisfy it without importing this package.
type Integration interface {
	// Name says what is integrated, as in "kafka-go".
	Name() string
	// Setup makes tp and p the defaults of that package.
	Setup(tp trace.TracerProvider, p propagation.TextMapPropagator) error
}

// Options say where spans go and what is traced. The zero value works: it sends
// everything to a collector on this host, under the program's name.
type Options struct {
	// ServiceName is the name under which the program appears. Empty means
	// OTEL_SERVICE_NAME, else the name of the executable.
	ServiceName    string
	ServiceVersion string
	// Environment is deployment.environment.name, such as "production".
	Environment string

	// Endpoint is the URL of the collector. Empty means
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT, else
	// http://127.0.0.1:4317 for gRPC and http://127.0.0.1:4318 for HTTP. The
	// scheme https asks for TLS; host:port alone means without TLS.
	Endpoint string
	// Protocol is "grpc" or "http". Empty means gRPC.
	Protocol string
	// Headers are sent with every export.
	Headers map[string]string
	// DSN names the project that spans belong to, as for a Sentry SDK; empty lets
	// the collector decide. Only its public key is sent, in X-Sentry-Auth.
	DSN string

	// SampleRatio is the share of traces recorded, in (0, 1]. Zero means all.
	// A parent's decision is respected. Ignored when Sampler is set.
	SampleRatio float64
	Sampler     sdktrace.Sampler

	// ResourceAttributes are added to what is found out about the program.
	ResourceAttributes []attribute.KeyValue

	// Integrations are set up in this order.
	Integrations []Integration

	// QueueSize bounds the spans that wait for export. Zero means 65,536 (some
	// 100 MB if the collector is away long enough to fill it). Spans above it are
	// dropped and counted.
	QueueSize int
	// BatchSize is the most spans in one export. Zero means 2,048.
	BatchSize int
	// BatchTimeout is how long a span waits for others. Zero means 1 s.
	BatchTimeout time.Duration
	// ExportTimeout bounds one export with its retries. Zero means 10 s.
	ExportTimeout time.Duration

	// OnError is told what went wrong while exporting: once when the collector
	// stops answering, not for each span. Nil means a warning by slog. It may be
	// called from any goroutine, one at a time.
	OnError func(error)
	// Debug logs each export by slog.
	Debug bool
}

const (
	defaultQueueSize     = 65536
	defaultBatchSize     = 2048
	defaultBatchTimeout  = time.Second
	defaultExportTimeout = 10 * time.Second
)

// resolved is Options with every default filled in.
type resolved struct {
	Options
	endpoint *url.URL
	insecure bool
	headers  map[string]string
}

func (o Options) resolve() (resolved, error) {
	r := resolved{Options: o, headers: make(map[string]string, len(o.Headers)+1)}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	switch r.Protocol {
	case "":
		r.Protocol = ProtocolGRPC
	case ProtocolGRPC, ProtocolHTTP:
	default:
		fault("Protocol is %q; it must be %q or %q", r.Protocol, ProtocolGRPC, ProtocolHTTP)
	}
	endpoint := r.Endpoint
	signalOnly := false // the endpoint is the full URL of traces
	if endpoint == "" {
		if endpoint = os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); endpoint != "" {
			signalOnly = true
		} else {
			endpoint = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
		}
	}
	if endpoint == "" {
		endpoint = "http://127.0.0.1:4317"
		if r.Protocol == ProtocolHTTP {
			endpoint = "http://127.0.0.1:4318"
		}
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		fault("Endpoint is not a URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		fault("Endpoint is %q; it must look like http://127.0.0.1:4317", endpoint)
	default:
		r.insecure = u.Scheme == "http"
		if r.Protocol == ProtocolHTTP && !signalOnly {
			u.Path = strings.TrimSuffix(u.Path, "/")
			if !strings.HasSuffix(u.Path, "/v1/traces") {
				u.Path += "/v1/traces"
			}
		}
		r.endpoint = u
	}
	for k, v := range r.Headers {
		r.headers[strings.ToLower(k)] = v
	}
	if r.DSN != "" {
		key, err := publicKey(r.DSN)
		if err != nil {
			faults = append(faults, err)
		} else {
			r.headers["x-sentry-auth"] = "Sentry sentry_version=7, sentry_client=hoptrace-go/" + Version + ", sentry_key=" + key
		}
	}
	if r.SampleRatio < 0 || r.SampleRatio > 1 {
		fault("SampleRatio is %v; it must be between 0 and 1", r.SampleRatio)
	}
	if r.Sampler == nil {
		root := sdktrace.AlwaysSample()
		if r.SampleRatio > 0 && r.SampleRatio < 1 {
			root = sdktrace.TraceIDRatioBased(r.SampleRatio)
		}
		r.Sampler = sdktrace.ParentBased(root)
	}
	positive := func(name string, n *int, standard int) {
		if *n < 0 {
			fault("%s is %d; it must not be negative", name, *n)
		}
		if *n == 0 {
			*n = standard
		}
	}
	positive("QueueSize", &r.QueueSize, defaultQueueSize)
	positive("BatchSize", &r.BatchSize, defaultBatchSize)
	r.BatchSize = min(r.BatchSize, r.QueueSize)
	if r.BatchTimeout < 0 || r.ExportTimeout < 0 {
		fault("BatchTimeout and ExportTimeout must not be negative")
	}
	if r.BatchTimeout == 0 {
		r.BatchTimeout = defaultBatchTimeout
	}
	if r.ExportTimeout == 0 {
		r.ExportTimeout = defaultExportTimeout
	}
	for i, in := range r.Integrations {
		if in == nil {
			fault("Integrations[%d] is nil", i)
		}
	}
	if len(faults) > 0 {
		return resolved{}, fmt.Errorf("hoptrace: the options are not valid: %w", errors.Join(faults...))
	}
	return r, nil
}

// publicKey returns the key of a DSN. Its secret part, of old SDKs, is not sent.
func publicKey(dsn string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		// The error of url.Parse quotes the DSN, which is nothing for a log.
		return "", errors.New("DSN is not a URL; it must look like http://KEY@HOST/PROJECT")
	}
	if u.User == nil || u.User.Username() == "" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return "", errors.New("DSN lacks a key, a host or a project; it must look like http://KEY@HOST/PROJECT")
	}
	key := u.User.Username()
	for _, c := range key {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return "", errors.New("DSN has a key with characters that no key has")
		}
	}
	return key, nil
}
