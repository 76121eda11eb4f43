package hoptrace

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signal is a kind of data that goes to the collector.
type signal struct {
	name   string // in sentences
	env    string // in the names of variables
	path   string // of OTLP over HTTP
	method string // of OTLP over gRPC
}

var (
	traces = signal{
		name: "spans", env: "TRACES", path: "/v1/traces",
		method: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
	}
	metrics = signal{
		name: "measures", env: "METRICS", path: "/v1/metrics",
		method: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
	}
)

// target is where one signal goes, and how.
type target struct {
	signal   signal
	protocol string // ProtocolGRPC or ProtocolHTTP
	url      *url.URL
	tls      *tls.Config // nil: without TLS
	headers  map[string]string
	timeout  time.Duration // of one try
	gzip     bool
	// certified: tls has certificates of this signal's own.
	certified bool
}

// shares tells whether t and other may use one gRPC connection.
func (t *target) shares(other *target) bool {
	return t.protocol == ProtocolGRPC && other.protocol == ProtocolGRPC &&
		t.url.Scheme == other.url.Scheme && t.url.Host == other.url.Host && !t.certified && !other.certified
}

const envOTLP = "OTEL_EXPORTER_OTLP_"

// targets finds where signals go. Options win over the variables of one signal,
// which win over those of all signals; a DSN says where only when nothing else
// does.
type targets struct {
	options *Options
	env     environment
	dsn     *dsn // nil: none
}

// general names a variable of all signals.
func (signal) general(what string) string { return envOTLP + what }

// special names the same variable of this signal, which wins.
func (s signal) special(what string) string { return envOTLP + s.env + "_" + what }

func (ts *targets) find(s signal) *target {
	o, env := ts.options, ts.env
	t := &target{signal: s, headers: make(map[string]string)}
	fromDSN := o.Endpoint == "" && ts.dsn != nil
	if fromDSN {
		if _, _, ok := env.first(s.special("ENDPOINT"), s.general("ENDPOINT")); ok {
			fromDSN = false
		}
	}
	t.protocol = ts.protocol(s, fromDSN)
	if fromDSN && t.protocol == ProtocolGRPC {
		fromDSN = false // a DSN does not tell the port of gRPC
	}
	switch {
	case t.protocol != "":
	case fromDSN:
		t.protocol = ProtocolHTTP
	default:
		t.protocol = ProtocolGRPC
	}

	if t.timeout = o.ExportTimeout; t.timeout == 0 {
		t.timeout = env.milliseconds(defaultExportTimeout, s.special("TIMEOUT"), s.general("TIMEOUT"), "OTEL_BSP_EXPORT_TIMEOUT")
	}
	compression := o.Compression
	if compression == "" {
		compression = env.word([]string{CompressionGzip, CompressionNone}, "gzip over HTTP and none over gRPC", s.special("COMPRESSION"), s.general("COMPRESSION"))
	}
	// The collector is on this host as a rule; over gRPC nothing is gained there.
	t.gzip = compression == CompressionGzip || compression == "" && t.protocol == ProtocolHTTP

	for _, name := range []string{s.general("HEADERS"), s.special("HEADERS")} {
		for k, v := range env.pairs(name) {
			t.headers[strings.ToLower(k)] = v
		}
	}
	for k, v := range o.Headers {
		t.headers[strings.ToLower(k)] = v
	}
	if ts.dsn != nil {
		t.headers["x-sentry-auth"] = "Sentry sentry_version=7, sentry_client=hoptrace-go/" + Version + ", sentry_key=" + ts.dsn.key
	}
	if !ts.url(t, fromDSN) {
		return nil
	}
	return t
}

// protocol is the one that was asked for; "" when none was.
func (ts *targets) protocol(s signal, fromDSN bool) string {
	switch v := ts.options.Protocol; v {
	case "":
	case ProtocolGRPC:
		return ProtocolGRPC
	case ProtocolHTTP, httpProtobuf:
		return ProtocolHTTP
	default:
		ts.env.fault(`Protocol is %q; it must be "grpc" or "http" ("http/protobuf" is the same)`, v)
		return ""
	}
	// A server that takes JSON takes protobuf at the same address.
	name, v, _ := ts.env.first(s.special("PROTOCOL"), s.general("PROTOCOL"))
	if strings.EqualFold(v, "http/json") {
		ts.env.warn("%s is %q, none of grpc, http/protobuf; %q is used instead", name, v, httpProtobuf)
		return ProtocolHTTP
	}
	standard := ProtocolGRPC
	if fromDSN {
		standard = httpProtobuf
	}
	v = ts.env.word([]string{ProtocolGRPC, httpProtobuf, ProtocolHTTP}, strconv.Quote(standard), s.special("PROTOCOL"), s.general("PROTOCOL"))
	if v == httpProtobuf {
		v = ProtocolHTTP
	}
	return v
}

const httpProtobuf = "http/protobuf"

// url finds the address and whether TLS is used. It reports whether that was
// possible.
func (ts *targets) url(t *target, fromDSN bool) bool {
	o, env, s := ts.options, ts.env, t.signal
	name, endpoint, whole := "Endpoint", o.Endpoint, false
	if endpoint == "" && !fromDSN {
		var ok bool
		if name, endpoint, ok = env.first(s.special("ENDPOINT")); ok {
			whole = true
		} else {
			name, endpoint, _ = env.first(s.general("ENDPOINT"))
		}
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	} else if o.Endpoint == "" && !fromDSN {
		if insecure, said := env.boolean(s.special("INSECURE"), s.general("INSECURE")); said && !insecure {
			scheme = "https"
		}
	}
	switch {
	case fromDSN:
		name, endpoint, whole = "DSN", ts.dsn.endpoint(s), true
	case endpoint == "" && t.protocol == ProtocolHTTP:
		endpoint = scheme + "://127.0.0.1:4318"
	case endpoint == "":
		endpoint = scheme + "://127.0.0.1:4317"
	case !strings.Contains(endpoint, "://"):
		endpoint = scheme + "://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		// The error of url.Parse quotes what may hold a password.
		env.fault("%s is not a URL; it must look like http://127.0.0.1:4317", name)
		return false
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		env.fault("%s is %q; it must look like http://127.0.0.1:4317", name, u.Redacted())
		return false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			env.fault("%s is %q; its port must be from 1 to 65535", name, u.Redacted())
			return false
		}
	}
	if t.protocol == ProtocolHTTP {
		if !whole {
			u.Path = strings.TrimSuffix(u.Path, "/")
			// An endpoint that names the path of one signal stands for all.
			for _, known := range []signal{traces, metrics} {
				u.Path = strings.TrimSuffix(u.Path, known.path)
			}
			u.Path += s.path
		}
	} else if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "4317")
	}
	t.url = u
	if u.Scheme == "http" {
		if o.TLS != nil {
			env.fault("TLS is set, but %s is %q, which says without TLS; it must begin with https:// or have no scheme", name, u.Redacted())
			return false
		}
		return true
	}
	t.tls = ts.certificates(s)
	t.certified = o.TLS == nil && t.tls != nil && (t.tls.RootCAs != nil || t.tls.Certificates != nil)
	return t.tls != nil
}

// certificates makes the TLS configuration; nil when that failed.
func (ts *targets) certificates(s signal) *tls.Config {
	if ts.options.TLS != nil {
		return ts.options.TLS.Clone()
	}
	env := ts.env
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if name, _, ok := env.first(s.special("CERTIFICATE"), s.general("CERTIFICATE")); ok {
		raw := env.file(name)
		if raw == nil {
			return nil
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			env.fault("%s names a file without a certificate; it must be PEM", name)
			return nil
		}
	}
	nameCert, _, hasCert := env.first(s.special("CLIENT_CERTIFICATE"), s.general("CLIENT_CERTIFICATE"))
	nameKey, _, hasKey := env.first(s.special("CLIENT_KEY"), s.general("CLIENT_KEY"))
	switch {
	case hasCert != hasKey:
		env.fault("%s and %s must be set together", s.general("CLIENT_CERTIFICATE"), s.general("CLIENT_KEY"))
		return nil
	case hasCert:
		cert, key := env.file(nameCert), env.file(nameKey)
		if cert == nil || key == nil {
			return nil
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			env.fault("%s and %s are no pair of certificate and key: %w", nameCert, nameKey, err)
			return nil
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// dsn is a Sentry DSN taken apart. Its secret part, of old SDKs, is not kept.
type dsn struct {
	key     string
	base    url.URL // scheme, host and the path before the project
	project string
}

// endpoint is where a server that takes DSNs takes a signal: Sentry's route for
// OTLP.
func (d *dsn) endpoint(s signal) string {
	u := d.base
	u.Path += "/api/" + d.project + "/integration/otlp" + s.path
	return u.String()
}

func parseDSN(raw string) (*dsn, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse quotes the DSN, which is nothing for a log.
		return nil, errors.New("DSN is not a URL; it must look like http://KEY@HOST/PROJECT")
	}
	path := strings.TrimSuffix(u.Path, "/")
	i := strings.LastIndexByte(path, '/')
	if u.User == nil || u.User.Username() == "" || u.Host == "" || i < 0 || path[i+1:] == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("DSN lacks a scheme, a key, a host or a project; it must look like http://KEY@HOST/PROJECT")
	}
	key := u.User.Username()
	for _, c := range key {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return nil, errors.New("DSN has a key with characters that no key has")
		}
	}
	return &dsn{key: key, base: url.URL{Scheme: u.Scheme, Host: u.Host, Path: path[:i]}, project: path[i+1:]}, nil
}
