package hoptrace

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// setenv makes env the whole of OTEL_*.
func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name, v := range env {
		t.Setenv(name, v)
	}
}

func TestWhereSignalsGo(t *testing.T) {
	f := func(o Options, env map[string]string, wantTraces, wantMetrics string) {
		t.Helper()
		setenv(t, env)
		r, err := o.resolve()
		if err != nil {
			t.Fatalf("%+v with %v: %v", o, env, err)
		}
		if got := r.traces.protocol + " " + r.traces.url.String(); got != wantTraces {
			t.Errorf("spans of %+v with %v go by %s; want %s", o, env, got, wantTraces)
		}
		if got := r.metrics.protocol + " " + r.metrics.url.String(); got != wantMetrics {
			t.Errorf("measures of %+v with %v go by %s; want %s", o, env, got, wantMetrics)
		}
		for name := range env {
			t.Setenv(name, "")
		}
	}
	type e = map[string]string
	f(Options{}, nil, "grpc http://127.0.0.1:4317", "grpc http://127.0.0.1:4317")
	f(Options{Protocol: "http/protobuf"}, nil, "http http://127.0.0.1:4318/v1/traces", "http http://127.0.0.1:4318/v1/metrics")
	f(Options{}, e{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http http://127.0.0.1:4318/v1/traces", "http http://127.0.0.1:4318/v1/metrics")
	f(Options{}, e{"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}, "grpc http://127.0.0.1:4317", "http http://127.0.0.1:4318/v1/metrics")
	f(Options{Protocol: ProtocolGRPC}, e{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "grpc http://127.0.0.1:4317", "grpc http://127.0.0.1:4317")
	f(Options{Endpoint: "sidecar"}, nil, "grpc http://sidecar:4317", "grpc http://sidecar:4317")
	f(Options{Endpoint: "sidecar:"}, nil, "grpc http://sidecar:4317", "grpc http://sidecar:4317")
	f(Options{Endpoint: "https://[::1]"}, nil, "grpc https://[::1]:4317", "grpc https://[::1]:4317")
	f(Options{Endpoint: "http://h/base/v1/traces", Protocol: ProtocolHTTP}, nil, "http http://h/base/v1/traces", "http http://h/base/v1/metrics")
	f(Options{TLS: &tls.Config{}}, nil, "grpc https://127.0.0.1:4317", "grpc https://127.0.0.1:4317")
	f(Options{TLS: &tls.Config{}, Endpoint: "h:1"}, nil, "grpc https://h:1", "grpc https://h:1")
	f(Options{}, e{"OTEL_EXPORTER_OTLP_ENDPOINT": "h:1", "OTEL_EXPORTER_OTLP_INSECURE": "false"}, "grpc https://h:1", "grpc https://h:1")
	f(Options{}, e{"OTEL_EXPORTER_OTLP_ENDPOINT": "h:1", "OTEL_EXPORTER_OTLP_INSECURE": "TRUE"}, "grpc http://h:1", "grpc http://h:1")
	f(Options{}, e{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:2"}, "grpc http://h:1", "grpc http://m:2")

	// A DSN tells where when nothing else does, but for the port of gRPC.
	dsn := "https://key@hop.example:8443/base/42"
	f(Options{DSN: dsn}, nil, "http https://hop.example:8443/base/api/42/integration/otlp/v1/traces", "http https://hop.example:8443/base/api/42/integration/otlp/v1/metrics")
	f(Options{DSN: dsn, Protocol: ProtocolGRPC}, nil, "grpc http://127.0.0.1:4317", "grpc http://127.0.0.1:4317")
	f(Options{DSN: dsn, Endpoint: "h:1"}, nil, "grpc http://h:1", "grpc http://h:1")
	f(Options{DSN: dsn}, e{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:1"}, "grpc http://h:1", "grpc http://h:1")
}

func TestWhatTheEnvironmentSaysAndOptionsOverride(t *testing.T) {
	setenv(t, map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS":         "X-Own=a%20b, team=blue",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":  "team=red",
		"OTEL_EXPORTER_OTLP_TIMEOUT":         "1500",
		"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "2500",
		"OTEL_EXPORTER_OTLP_COMPRESSION":     "gzip",
		"OTEL_BSP_SCHEDULE_DELAY":            "250",
		"OTEL_BSP_MAX_QUEUE_SIZE":            "100",
		"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":     "7",
		"OTEL_METRIC_EXPORT_INTERVAL":        "3000",
		"OTEL_TRACES_SAMPLER":                "parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":            "0.25",
		"OTEL_PROPAGATORS":                   "baggage",
	})
	type seen struct {
		Headers               map[string]string
		Traces, Metrics       time.Duration
		Gzip                  bool
		Delay, Interval       time.Duration
		Queue, Batch          int
		Ratio                 float64
		Fields                []string
		TracesOut, MetricsOut bool
	}
	look := func(o Options) seen {
		t.Helper()
		r, err := o.resolve()
		if err != nil {
			t.Fatal(err)
		}
		return seen{
			r.traces.headers, r.traces.timeout, r.metrics.timeout, r.traces.gzip, r.BatchTimeout, r.MetricInterval, r.QueueSize, r.BatchSize, r.ratio,
			r.propagate.Fields(), r.traces != nil, r.metrics != nil,
		}
	}
	want := seen{
		map[string]string{"x-own": "a b", "team": "red"},
		1500 * time.Millisecond, 2500 * time.Millisecond, true,
		250 * time.Millisecond, 3 * time.Second, 100, 7, 0.25,
		[]string{"baggage"},
		true, true,
	}
	if diff := cmp.Diff(want, look(Options{})); diff != "" {
		t.Errorf("environment alone (-want +got):\n%s", diff)
	}
	want = seen{
		map[string]string{"x-own": "a b", "team": "mine"},
		time.Minute, time.Minute, false,
		time.Second, 2 * time.Second, 5, 5, 0.5, want.Fields, true, true,
	}
	if diff := cmp.Diff(want, look(Options{
		Headers: map[string]string{"Team": "mine"}, ExportTimeout: time.Minute, Compression: CompressionNone, BatchTimeout: time.Second,
		MetricInterval: 2 * time.Second, QueueSize: 5, BatchSize: 6, SampleRatio: 0.5,
	})); diff != "" {
		t.Errorf("options over environment (-want +got):\n%s", diff)
	}
}

func TestEveryBadVariableIsNamedAtOnceAndNoSecret(t *testing.T) {
	dir := t.TempDir()
	noPEM := filepath.Join(dir, "no.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(env map[string]string, o Options, wants ...string) {
		t.Helper()
		setenv(t, env)
		_, err := o.resolve()
		if err == nil {
			t.Fatalf("%v: no error", env)
		}
		for name, v := range env {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("the error does not name %s=%s: %v", name, v, err)
			}
			if n := strings.Count(err.Error(), name+" "); n > 1 {
				t.Errorf("the error names %s %d times: %v", name, n, err)
			}
			t.Setenv(name, "")
		}
		for _, w := range wants {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("the error does not say %q: %v", w, err)
			}
		}
		if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	f(map[string]string{
		"OTEL_EXPORTER_OTLP_TIMEOUT":          "10s",
		"OTEL_EXPORTER_OTLP_HEADERS":          "api-key topsecret",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "ftp://x",
		"OTEL_METRIC_EXPORT_INTERVAL":         "-1",
		"OTEL_BSP_MAX_QUEUE_SIZE":             "-5",
		"OTEL_BSP_SCHEDULE_DELAY":             "fast",
		"OTEL_RESOURCE_ATTRIBUTES":            "team",
	}, Options{}, `"10s"`, "milliseconds", "k1=v1")
	f(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:65536"}, Options{}, "65535")
	f(nil, Options{Endpoint: "h:0"}, "Endpoint", "65535")
	f(nil, Options{DSN: "https://topsecret@h:70000/1"}, "DSN", "65535")
	f(nil, Options{Protocol: "http/json"}, "Protocol")
	f(map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, Options{}, "from 0 to 1")
	f(map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": filepath.Join(dir, "none.pem")}, Options{Endpoint: "https://h"}, "no such file")
	f(map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": noPEM}, Options{Endpoint: "https://h"}, "PEM")
	f(map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_KEY": noPEM}, Options{Endpoint: "https://h"}, "together")
	f(nil, Options{Endpoint: "http://h", TLS: &tls.Config{}}, "https://")
	f(nil, Options{Endpoint: "http://user:topsecret@h:%zz"}, "Endpoint")
	f(nil, Options{DSN: "ftp://topsecret@h/1"}, "DSN")
	f(nil, Options{Compression: "br", CloseTimeout: -1, MetricInterval: -1}, "Compression", "CloseTimeout", "MetricInterval")
}

func TestWhatTheSpecificationAllowsIsAWarningThatTellsWhatIsUsedInstead(t *testing.T) {
	setenv(t, map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL":            "http/json",
		"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL":    "GRPC",
		"OTEL_EXPORTER_OTLP_TIMEOUT":             "0",
		"OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "zstd",
		"OTEL_EXPORTER_OTLP_COMPRESSION":         "gzip",
		"OTEL_EXPORTER_OTLP_INSECURE":            "1",
		"OTEL_TRACES_EXPORTER":                   "console",
		"OTEL_METRICS_EXPORTER":                  "prometheus,OTLP",
		"OTEL_BSP_SCHEDULE_DELAY":                "0",
		"OTEL_METRIC_EXPORT_INTERVAL":            "0",
		"OTEL_TRACES_SAMPLER":                    "jaeger_remote",
		"OTEL_TRACES_SAMPLER_ARG":                "endpoint=http://h:14250",
		"OTEL_PROPAGATORS":                       "b3,tracecontext",
		"OTEL_SDK_DISABLED":                      "1",
	})
	var said []string
	r, err := Options{OnError: func(err error) { said = append(said, err.Error()) }}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 {
		t.Fatalf("said %q; want all at once", said)
	}
	head, rest, _ := strings.Cut(said[0], ": not all of the environment is honoured: ")
	if head != "hoptrace" {
		t.Errorf("said %q", said[0])
	}
	got := strings.Split(rest, "\n")
	slices.Sort(got)
	want := []string{
		`OTEL_BSP_SCHEDULE_DELAY is "0", and must be 1 ms or more; 1s is used instead`,
		`OTEL_EXPORTER_OTLP_INSECURE is "1", neither true nor false; false is used instead`,
		`OTEL_EXPORTER_OTLP_METRICS_COMPRESSION is "zstd", none of gzip, none; "gzip" is used instead`,
		`OTEL_EXPORTER_OTLP_PROTOCOL is "http/json", none of grpc, http/protobuf; "http/protobuf" is used instead`,
		`OTEL_EXPORTER_OTLP_TIMEOUT is "0", and must be 1 ms or more; 10s is used instead`,
		`OTEL_METRICS_EXPORTER is "prometheus,OTLP", and "prometheus" is none of otlp, none; "otlp" is used instead`,
		`OTEL_METRIC_EXPORT_INTERVAL is "0", and must be 1 ms or more; 10s is used instead`,
		`OTEL_PROPAGATORS is "b3,tracecontext", and "b3" is none of tracecontext, baggage, none; "tracecontext" is used instead`,
		`OTEL_SDK_DISABLED is "1", neither true nor false; false is used instead`,
		`OTEL_TRACES_EXPORTER is "console", and "console" is none of otlp, none; "otlp" is used instead`,
		`OTEL_TRACES_SAMPLER is "jaeger_remote", none of ` + strings.Join(samplerNames, ", ") + `; "parentbased_always_on" is used instead`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	// And it is.
	if r.disabled || r.Sampler != nil || r.ratio != 1 || r.BatchTimeout != time.Second || r.MetricInterval != 10*time.Second {
		t.Errorf("disabled %v, sampler %v, ratio %v, delay %v, interval %v", r.disabled, r.Sampler, r.ratio, r.BatchTimeout, r.MetricInterval)
	}
	if got, want := r.traces.url.String()+" "+r.metrics.url.String(), "https://127.0.0.1:4318/v1/traces https://127.0.0.1:4317"; got != want {
		t.Errorf("signals go to %s; want %s", got, want)
	}
	if !r.traces.gzip || !r.metrics.gzip || r.traces.timeout != 10*time.Second {
		t.Errorf("gzip %v and %v, timeout %v", r.traces.gzip, r.metrics.gzip, r.traces.timeout)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(propagation.TraceContext{}.Fields())), slices.Sorted(slices.Values(r.propagate.Fields()))); diff != "" {
		t.Errorf("propagators (-want +got):\n%s", diff)
	}

	// A value that nobody knows leaves what a DSN says.
	setenv(t, map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon", "OTEL_PROPAGATORS": "b3"})
	said = nil
	r, err = Options{DSN: "https://key@h/1", OnError: func(err error) { said = append(said, err.Error()) }}.resolve()
	if err != nil || r.traces.protocol != ProtocolHTTP || len(r.propagate.Fields()) != 3 {
		t.Fatalf("protocol = %+v, error %v; want that of the DSN", r.traces, err)
	}
	if len(said) != 1 || !strings.Contains(said[0], `"http/protobuf" is used`) || !strings.Contains(said[0], `"tracecontext,baggage" is used`) {
		t.Errorf("said %q", said)
	}
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sink"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

func TestTLSByOptionAndByTheEnvironment(t *testing.T) {
	cert, certFile, keyFile := certificate(t)
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	server := &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	mutual := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}
	env := map[string]string{
		"OTEL_EXPORTER_OTLP_CERTIFICATE": certFile, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": certFile, "OTEL_EXPORTER_OTLP_CLIENT_KEY": keyFile,
	}
	f := func(o Options, env map[string]string, want bool) {
		t.Helper()
		setenv(t, env)
		s := &sink{}
		if o.Protocol == ProtocolHTTP {
			h := httptest.NewUnstartedServer(s)
			h.TLS = server.Clone()
			h.Config.ErrorLog = log.New(io.Discard, "", 0)
			h.StartTLS()
			defer h.Close()
			o.Endpoint = h.URL
		} else {
			o.Endpoint = "https://" + s.serveTLS(t, "", server.Clone())
		}
		o.OnError, o.CloseTimeout = func(error) {}, 100*time.Millisecond
		c := client(t, o)
		newWrapper(t, c).messages(3)
		wait := patience
		if !want {
			wait = 300 * time.Millisecond
		}
		if got := c.Flush(wait); got != want || want && (s.count() != 3 || s.measure("test.count") != 3) {
			t.Errorf("%s: Flush = %v, %d spans; want %v", o.Protocol, got, s.count(), want)
		}
		for name := range env {
			t.Setenv(name, "")
		}
	}
	for _, protocol := range []string{ProtocolGRPC, ProtocolHTTP} {
		f(Options{Protocol: protocol, TLS: mutual}, nil, true)
		f(Options{Protocol: protocol}, env, true)
		f(Options{Protocol: protocol}, nil, false)                                  // unknown authority
		f(Options{Protocol: protocol, TLS: &tls.Config{RootCAs: pool}}, nil, false) // no certificate of its own
	}
}

// restoreGlobals gives OpenTelemetry's globals back after the test.
func restoreGlobals(t *testing.T) {
	t.Helper()
	tp, p := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	t.Cleanup(func() {
		Close()
		if otel.GetTracerProvider() != tp {
			otel.SetTracerProvider(tp)
		}
		otel.SetTextMapPropagator(p)
		messaging.SetDefaults(messaging.Defaults{})
	})
}

func TestAProviderThatTheProgramHasSetStays(t *testing.T) {
	setenv(t, nil)
	restoreGlobals(t)
	theirs := sdktrace.NewTracerProvider()
	otel.SetTracerProvider(theirs)
	s := &sink{}
	in := &spy{}
	var said []string
	if err := Init(Options{Endpoint: s.serve(t, ""), Integrations: []Integration{in}, OnError: func(err error) { said = append(said, err.Error()) }}); err != nil {
		t.Fatal(err)
	}
	if otel.GetTracerProvider() != trace.TracerProvider(theirs) {
		t.Errorf("the global provider is now a %T", otel.GetTracerProvider())
	}
	if len(said) != 1 || !strings.Contains(said[0], "*trace.TracerProvider") {
		t.Errorf("said %q; want once which provider is kept", said)
	}
	p, ok := in.provider.(interface {
		Recorder() *record.Recorder
		Registry() *measure.Registry
	})
	if !ok || p.Recorder() != nil || p.Registry() == nil {
		t.Fatalf("the integration got a %T; want the program's provider with our measures", in.provider)
	}
	if got, want := in.provider.Tracer("x"), theirs.Tracer("x"); got != want {
		t.Errorf("its tracers are %v; want those of the program's provider", got)
	}
	newWrapper(t, global.client).measured(5)
	if !Flush(patience) {
		t.Error("Flush = false")
	}
	Close()

	// With the option it is meant so, and nothing is said.
	said = nil
	if err := Init(Options{Endpoint: s.serve(t, ""), TracerProvider: theirs, MeterProvider: metricnoop.NewMeterProvider(), Integrations: []Integration{in}, OnError: func(err error) { said = append(said, err.Error()) }}); err != nil {
		t.Fatal(err)
	}
	if in.provider != trace.TracerProvider(theirs) || len(said) != 0 {
		t.Errorf("the integration got a %T, said %q; want the provider itself, and nothing", in.provider, said)
	}
	if got := messaging.NewCore(messaging.Config{}).Config().MeterProvider; got != metric.MeterProvider(metricnoop.NewMeterProvider()) {
		t.Errorf("wrappers measure by %T; want the MeterProvider of the option", got)
	}
}

func TestClosingBesideAnotherProviderGivesNoFalseAlarm(t *testing.T) {
	setenv(t, nil)
	s := &sink{}
	addr := s.serve(t, "")
	const n = 50 // what is flushed and what is ended are so at the same time
	for range n {
		c := client(t, Options{Endpoint: addr, TracerProvider: sdktrace.NewTracerProvider(), OnError: func(err error) { t.Error(err) }})
		newWrapper(t, c).measured(7)
		c.Close()
	}
	if got := s.measure("test.count"); got != 7*n {
		t.Errorf("%d measured messages arrived; want %d", got, 7*n)
	}
}

func TestADisabledSDKTracesNothing(t *testing.T) {
	setenv(t, map[string]string{"OTEL_SDK_DISABLED": "true"})
	restoreGlobals(t)
	defer SetEnabled(true)
	in := &spy{}
	if err := Init(Options{Integrations: []Integration{in}}); err != nil {
		t.Fatal(err)
	}
	_, span := in.provider.Tracer("test").Start(context.Background(), "work")
	if span.SpanContext().IsValid() || span.IsRecording() || Enabled() {
		t.Error("spans are made though the SDK is disabled")
	}
	if !Flush(time.Second) {
		t.Error("Flush = false")
	}
}

func TestTracingIsOnAgainAfterADisabledSDKWasClosed(t *testing.T) {
	setenv(t, map[string]string{"OTEL_SDK_DISABLED": "true"})
	restoreGlobals(t)
	defer SetEnabled(true)
	initialise := func() {
		t.Helper()
		if err := Init(Options{OnError: func(err error) { t.Error(err) }}); err != nil {
			t.Fatal(err)
		}
		if Enabled() {
			t.Error("enabled though the SDK is disabled")
		}
	}
	for range 2 {
		initialise()
		Close()
		if !Enabled() {
			t.Error("still off after Close")
		}
	}

	// What the program says counts.
	SetEnabled(false)
	initialise()
	Close()
	if Enabled() {
		t.Error("Close switched on what the program had switched off before Init")
	}
	SetEnabled(true)
	initialise()
	SetEnabled(false)
	Close()
	if Enabled() {
		t.Error("Close switched on what the program had switched off after Init")
	}
	SetEnabled(true)

	initialise()
	Close()
	t.Setenv("OTEL_SDK_DISABLED", "")
	s := &sink{}
	if err := Init(Options{Endpoint: s.serve(t, "")}); err != nil {
		t.Fatal(err)
	}
	spans(global.client, 3)
	if !Flush(patience) || s.count() != 3 {
		t.Errorf("%d spans arrived after Init without the variable; want 3", s.count())
	}
}

func TestSignalsThatAreNotExportedAreSampledAllTheSame(t *testing.T) {
	setenv(t, map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})
	c := client(t, Options{OnError: func(err error) { t.Error(err) }})
	w := newWrapper(t, c)
	w.messages(10)
	spans(c, 10)
	if w.group != nil {
		t.Error("there is a registry though measures are not exported")
	}
	_, span := c.TracerProvider().Tracer("test").Start(context.Background(), "work")
	if !span.SpanContext().IsSampled() {
		t.Error("downstream services would not record: the span is not sampled")
	}
	if !c.Flush(patience) || c.Counts() != (Counts{}) {
		t.Errorf("Counts = %+v", c.Counts())
	}
}
