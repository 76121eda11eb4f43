package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/schemas"
)

const export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// rawBytes is a codec for tests that send what no client would.
type rawBytes struct{}

func (rawBytes) Name() string { return "proto" }
func (rawBytes) Marshal(v any) ([]byte, error) {
	return *v.(*[]byte), nil
}

func (rawBytes) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = bytes.Clone(data)
	return nil
}

// call sends bytes to a method by gRPC.
func (h *house) call(method string, body []byte, md map[string]string, opts ...grpc.CallOption) ([]byte, error) {
	h.t.Helper()
	conn, err := grpc.NewClient(h.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(h.t.Context(), metadata.New(md)), 60*time.Second)
	defer cancel()
	var out []byte
	err = conn.Invoke(ctx, method, &body, &out, append(opts, grpc.ForceCodec(rawBytes{}))...)
	return out, err
}

func wantStatus(t *testing.T, err error, code codes.Code, text string, retry bool) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || !strings.Contains(s.Message(), text) || (len(s.Details()) > 0) != retry {
		t.Errorf("got %v %q with details %v; want %v %q, retry %v", s.Code(), s.Message(), s.Details(), code, text, retry)
	}
}

// good asserts that an honest sender is served.
func (h *house) good() {
	h.t.Helper()
	h.kafka.taken(schemas.TopicIngestSpans)
	if _, err := h.call(export, protoOf(h.t, request(2, nil)), nil); err != nil {
		h.t.Errorf("an honest gRPC sender: %v", err)
	}
	h.post("/v1/traces", asProto, protoOf(h.t, request(3, nil))).want(h.t, 200)
	if n := len(h.kafka.taken(schemas.TopicIngestSpans)); n != 2 {
		h.t.Errorf("%d records of two honest requests", n)
	}
	// A sender has its answer a moment before the server gives its bytes back.
	for deadline := time.Now().Add(10 * time.Second); ; {
		n := h.metric("in_flight_bytes")
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			h.t.Errorf("%v bytes are in flight when all is done", n)
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-h.t.Context().Done():
			return
		}
	}
}

func TestBrokenOTLPIsNamedInTheRequestsEncoding(t *testing.T) {
	h := newHouse(t, nil)
	body := protoOf(t, request(3, nil))
	broken := body[:len(body)-3]

	_, err := h.call(export, broken, nil)
	wantStatus(t, err, codes.InvalidArgument, "malformed request: ", false)
	if _, err = h.call(export, body, nil, grpc.UseCompressor("zstd")); err != nil {
		t.Errorf("zstd: %v", err)
	}
	_, err = h.call(export, broken, nil, grpc.UseCompressor(gzip.Name))
	wantStatus(t, err, codes.InvalidArgument, "malformed request: ", false)

	a := h.post("/v1/traces", asProto, broken)
	var s spb.Status
	if err := proto.Unmarshal([]byte(a.body), &s); err != nil || a.code != 400 ||
		a.header.Get("Content-Type") != "application/x-protobuf" || codes.Code(s.Code) != codes.InvalidArgument || !strings.Contains(s.Message, "malformed") { //nolint:gosec // a code
		t.Errorf("answer %d %s %v, %v", a.code, a.header.Get("Content-Type"), &s, err)
	}
	for _, text := range []string{
		`{"resourceSpans":[`, `[]`, `nonsense`, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz","kind":{}}, {"kind":{}}]}]}]}`, ``,
		`{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":` + strings.Repeat(`{"arrayValue":{"values":[`, 100_000),
	} {
		a := h.post("/v1/traces", asJSON, []byte(text))
		var j struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(a.body), &j); err != nil || a.code != 400 || j.Code != int(codes.InvalidArgument) || !strings.Contains(j.Message, "malformed") {
			t.Errorf("%.50s: answer %d %s", text, a.code, a.body)
		}
	}
	h.wantMetric(9, "outcomes_total", "reason=invalid_otlp")
	if n := len(h.kafka.taken(schemas.TopicIngestSpans)); n != 1 {
		t.Errorf("%d records; want that of the good one", n)
	}
	h.good()
}

func TestBadSpansOverGRPCAreAPartialSuccess(t *testing.T) {
	h := newHouse(t, nil)
	out, err := h.call(export, protoOf(t, request(4, func(i int, s ptrace.Span) {
		if i == 2 {
			s.SetEndTimestamp(1)
		}
	})), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := ptraceotlp.NewExportResponse()
	if err := r.UnmarshalProto(out); err != nil || r.PartialSuccess().RejectedSpans() != 1 || !strings.Contains(r.PartialSuccess().ErrorMessage(), "spans[2]") {
		t.Errorf("got %d %q, %v", r.PartialSuccess().RejectedSpans(), r.PartialSuccess().ErrorMessage(), err)
	}
	h.wantMetric(3, "spans_accepted_total")
	body, err := request(2, func(_ int, s ptrace.Span) { s.SetStartTimestamp(0) }).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	a := h.post("/v1/traces", asJSON, body)
	a.want(t, 200, `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"2 of 2 spans refused: 2 without a start time`)
	if err := r.UnmarshalJSON([]byte(a.body)); err != nil || r.PartialSuccess().RejectedSpans() != 2 {
		t.Errorf("pdata reads the answer as %d, %v", r.PartialSuccess().RejectedSpans(), err)
	}
}

func TestBadIDsInJSONAreAPartialSuccess(t *testing.T) {
	h := newHouse(t, nil)
	body := string(mustJSON(t, request(6, nil)))
	for _, x := range [][2]string{
		{`"spanId":"0000000000000001"`, `"spanId":"1"`},
		{`"spanId":"0000000000000002"`, `"spanId":"000000000000000g"`},
		{`"spanId":"0000000000000003"`, `"spanId":"0000000000000003","parentSpanId":"0123"`},
		{`"spanId":"0000000000000004"`, `"spanId":"0000000000000004","links":[{"traceId":"ab"}]`},
		{`"spanId":"0000000000000005"`, `"spanId":""`},
	} {
		if !strings.Contains(body, x[0]) {
			t.Fatalf("no %s in %s", x[0], body)
		}
		body = strings.Replace(body, x[0], x[1], 1)
	}
	h.post("/v1/traces", asJSON, []byte(body)).want(t, 200, `"rejectedSpans":"5"`, `5 of 6 spans refused`, `resourceSpans[0].scopeSpans[0].spans[0] \"send orders\" has a span_id`)
	r := h.kafka.taken(schemas.TopicIngestSpans)
	if len(r) != 1 || spansIn(t, r[0].Value) != 1 {
		t.Errorf("%d records; want one with the good span", len(r))
	}
	h.wantMetric(3, "spans_rejected_total", "reason=span_id")
	h.wantMetric(1, "spans_rejected_total", "reason=parent_id")
	h.wantMetric(1, "spans_rejected_total", "reason=link_id")
}

func TestOtherContentTypesAndPathsAreNamed(t *testing.T) {
	h := newHouse(t, nil)
	h.post("/v1/traces", map[string]string{"Content-Type": "text/plain"}, []byte("x")).want(t, 415, `text/plain`)
	h.post("/v1/traces", nil, []byte("x")).want(t, 415)
	h.post("/v1/traces", map[string]string{"Content-Type": "application/json", "Content-Encoding": "lzma"}, []byte("x")).want(t, 415, `lzma`)
	h.post("/v1/profiles", asProto, nil).want(t, 404, "unknown path")
	h.post("/nowhere", asProto, nil).want(t, 404, `"detail":"unknown path \"/nowhere\""`)
	h.do(http.MethodGet, "/v1/traces", nil, nil).want(t, 405, "use POST")
	_, err := h.call("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", nil, nil)
	wantStatus(t, err, codes.Unimplemented, "traces, metrics and logs only", false)
	h.wantMetric(1, "outcomes_total", "reason=unknown_method")
	h.wantMetric(2, "outcomes_total", "reason=unknown_path")
	h.good()
}

func TestADSNChoosesTheProjectOfSpans(t *testing.T) {
	h := newHouse(t, nil)
	body := protoOf(t, request(1, nil))
	with := func(extra ...string) map[string]string {
		m := map[string]string{"Content-Type": "application/x-protobuf"}
		for i := 0; i < len(extra); i += 2 {
			m[extra[i]] = extra[i+1]
		}
		return m
	}
	sent := func(want string) {
		t.Helper()
		r := h.kafka.taken(schemas.TopicIngestSpans)
		if len(r) != 1 || headerOf(r[0], schemas.HeaderProject) != want {
			t.Errorf("%d records; want one of project %s", len(r), want)
		}
	}
	auth := "Sentry sentry_key=" + otherKey + ", sentry_version=7"
	h.post("/v1/traces/", with("X-Sentry-Auth", auth), body).want(t, 200)
	sent("2")
	h.post("/v1/traces", with("Authorization", "Bearer of-another-kind"), body).want(t, 200)
	sent("3")
	if _, err := h.call(export, body, map[string]string{"x-sentry-auth": auth}); err != nil {
		t.Error(err)
	}
	sent("2")
	for _, path := range []string{"/api/2/integration/otlp/v1/traces/", "/api/2/integration/otlp/v1/traces", "/api/2/otlp/v1/traces"} {
		h.post(path, with("X-Sentry-Auth", auth), body).want(t, 202)
		sent("2")
	}
	h.post("/api/1/integration/otlp/v1/traces", with("X-Sentry-Auth", auth), body).want(t, 403, "another project")
	h.post("/api/2/integration/otlp/v1/traces", asProto, body).want(t, 401, "no DSN key")
	h.post("/api/x/integration/otlp/v1/traces", asProto, body).want(t, 400, "project id")
	unknown := "Sentry sentry_key=" + strings.Repeat("0", 32)
	h.post("/v1/traces", with("X-Sentry-Auth", unknown), body).want(t, 403, "unknown DSN key")
	_, err := h.call(export, body, map[string]string{"x-sentry-auth": unknown})
	wantStatus(t, err, codes.PermissionDenied, "unknown DSN key", false)
	h.wantMetric(2, "outcomes_total", "reason=unknown_key")
	h.good()

	strict := newHouse(t, func(c *Config) { c.RequireAuth = true })
	strict.post("/v1/traces", asProto, body).want(t, 401)
	_, err = strict.call(export, body, nil)
	wantStatus(t, err, codes.Unauthenticated, "no DSN key", false)
	strict.post("/v1/traces", with("X-Sentry-Auth", auth), body).want(t, 200)
}

func TestABodyOf100MBIsRefusedAndNobodyElseNotices(t *testing.T) {
	h := newHouse(t, nil)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // an honest sender all the while
		body := protoOf(t, request(5, nil))
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				h.post("/v1/traces", asProto, body).want(t, 200)
			}
		}
	})
	const size = 100 << 20
	for _, path := range []string{"/v1/traces", "/api/1/envelope/", "/api/1/store/"} {
		headers := map[string]string{"Content-Type": "application/x-protobuf"}
		if path != "/v1/traces" {
			headers["X-Sentry-Auth"] = "Sentry sentry_key=" + shopKey
		}
		for _, chunked := range []bool{false, true} {
			code, read := h.flood(path, headers, size, chunked)
			if code != 413 {
				t.Errorf("%s, chunked %v: %d; want 413", path, chunked, code)
			}
			if read > 40<<20 {
				t.Errorf("%s, chunked %v: %d bytes were taken off the wire", path, chunked, read)
			}
		}
	}
	close(done)
	wg.Wait()
	_, err := h.call(export, make([]byte, size), nil, grpc.MaxCallSendMsgSize(size+1))
	wantStatus(t, err, codes.ResourceExhausted, "larger than max", false)
	_, err = h.call(export, make([]byte, 24<<20), nil, grpc.MaxCallSendMsgSize(size+1), grpc.UseCompressor(gzip.Name))
	wantStatus(t, err, codes.ResourceExhausted, "larger than max", false)
	h.wantMetric(4, "outcomes_total", "reason=too_large")
	h.wantMetric(2, "outcomes_total", "reason=too_large:event")
	h.good()
}

// flood sends size bytes of a body by hand and gives the answer's code and how
// many bytes it could send until then.
func (h *house) flood(path string, headers map[string]string, size int, chunked bool) (code int, sent int64) {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.HTTPAddr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n", path)
	for k, v := range headers {
		head += k + ": " + v + "\r\n"
	}
	if chunked {
		head += "Transfer-Encoding: chunked\r\n\r\n"
	} else {
		head += fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
	}
	if _, err := io.WriteString(conn, head); err != nil {
		h.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		block := make([]byte, 64<<10)
		for sent < int64(size) {
			if chunked {
				if _, err := fmt.Fprintf(conn, "%x\r\n", len(block)); err != nil {
					return
				}
			}
			n, err := conn.Write(block)
			sent += int64(n)
			if err != nil {
				return
			}
			if chunked {
				_, _ = io.WriteString(conn, "\r\n")
			}
		}
	})
	_ = conn.SetReadDeadline(time.Now().Add(60 * time.Second))
	line := make([]byte, 12)
	if _, err := io.ReadFull(conn, line); err != nil {
		h.t.Errorf("no answer: %v", err)
	}
	_, _ = fmt.Sscanf(string(line), "HTTP/1.1 %d", &code)
	_ = conn.Close()
	wg.Wait()
	return code, sent
}

func TestTenThousandHeadersAreRefused(t *testing.T) {
	h := newHouse(t, nil)
	md := map[string]string{}
	headers := map[string]string{"Content-Type": "application/x-protobuf"}
	for i := range 10_000 {
		md[fmt.Sprintf("h%d", i)] = "v"
		headers[fmt.Sprintf("h%d", i)] = "v"
	}
	body := protoOf(t, request(1, nil))
	for _, path := range []string{"/v1/traces", "/api/1/envelope/"} {
		a := h.post(path, headers, body)
		a.want(t, http.StatusRequestHeaderFieldsTooLarge, "collector.max_header_bytes")
	}
	_, err := h.call(export, body, md)
	wantStatus(t, err, codes.ResourceExhausted, "collector.max_header_bytes", false)
	h.wantMetric(3, "outcomes_total", "reason=too_large:headers")
	// Longer ones are named too: more than a mebibyte of them in all.
	long := map[string]string{}
	for i := range 10_000 {
		long[fmt.Sprintf("h%d", i)] = strings.Repeat("v", 110)
	}
	h.post("/v1/traces", long, body).want(t, http.StatusRequestHeaderFieldsTooLarge, "collector.max_header_bytes")
	_, err = h.call(export, body, long)
	wantStatus(t, err, codes.ResourceExhausted, "collector.max_header_bytes", false)
	h.wantMetric(5, "outcomes_total", "reason=too_large:headers")
	// Beyond what is read at all.
	headers["huge"] = strings.Repeat("h", 2<<20)
	if a := h.post("/v1/traces", headers, body); a.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d; want 431", a.code)
	}
	md["huge"] = headers["huge"]
	if _, err := h.call(export, body, md); err == nil {
		t.Error("2 MiB of gRPC headers were taken")
	}
	h.good()
}

func TestWhenKafkaIsDownSendersAreToldToComeAgain(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RetryAfter = 7 * time.Second })
	h.kafka.fail(errDown)
	body := protoOf(t, request(1, nil))
	a := h.post("/v1/traces", asProto, body)
	var s spb.Status
	if err := proto.Unmarshal([]byte(a.body), &s); err != nil || a.code != 503 || a.header.Get("Retry-After") != "7" ||
		!strings.Contains(s.Message, "connection refused") || len(s.Details) != 1 {
		t.Errorf("answer %d, Retry-After %q, %v", a.code, a.header.Get("Retry-After"), &s)
	}
	_, err := h.call(export, body, nil)
	wantStatus(t, err, codes.Unavailable, "cannot produce to topic", true)
	if err := h.Ready(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("Ready = %v; want what Kafka says", err)
	}
	h.do(http.MethodGet, "/api/relay/healthcheck/ready/", nil, nil).want(t, 503, `{"is_healthy":false}`)
	h.do(http.MethodGet, "/api/relay/healthcheck/live/", nil, nil).want(t, 200, `{"is_healthy":true}`)
	h.wantMetric(0, "spans_accepted_total")
	h.wantMetric(2, "produce_seconds", "result=error")
	h.kafka.fail(nil)
	h.do(http.MethodGet, "/api/relay/healthcheck/ready", nil, nil).want(t, 200, `{"is_healthy":true}`)
	h.good()
}

func TestAKafkaThatHangsIsWaitedForNoLongerThanConfigured(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.ProduceTimeout = 50 * time.Millisecond })
	h.kafka.mu.Lock()
	h.kafka.hang = true
	h.kafka.mu.Unlock()
	begin := time.Now()
	h.post("/v1/traces", asJSON, mustJSON(t, request(1, nil))).want(t, 503, "Kafka did not take the data in time")
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

func mustJSON(t *testing.T, r ptraceotlp.ExportRequest) []byte {
	t.Helper()
	b, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhenTheMetadataStoreIsDownSendersAreToldToComeAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.projects.mu.Lock()
	h.projects.down = errDown
	h.projects.mu.Unlock()
	h.post("/v1/traces", asJSON, mustJSON(t, request(1, nil))).want(t, 503, "cannot look up the project now")
	a := h.post("/api/1/envelope/?sentry_key="+shopKey, nil, []byte("{}"))
	a.want(t, 429, "cannot look up the project now")
	h.wantMetric(2, "outcomes_total", "reason=metadata_unavailable")
}

func TestOverloadIsToldAndEnds(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RequestTimeout = 30 * time.Second })
	// Senders that began large bodies and do not go on hold the budget.
	var conns []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", h.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		begun := make([]byte, 3<<20)
		if _, err := fmt.Fprintf(conn, "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n", len(begun)+1); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(begun); err != nil {
			break // told already
		}
		if h.metric("in_flight_bytes") > 250<<20 {
			break
		}
	}
	body := protoOf(t, request(3000, func(_ int, s ptrace.Span) { s.Attributes().PutStr("pad", strings.Repeat("p", 3000)) }))
	a := h.post("/v1/traces", asProto, body)
	if a.code != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("answer %d, Retry-After %q; want 429", a.code, a.header.Get("Retry-After"))
	}
	_, err := h.call(export, body, nil, grpc.MaxCallSendMsgSize(64<<20))
	wantStatus(t, err, codes.ResourceExhausted, "too many bytes in flight", true)
	a = h.post("/api/1/envelope/?sentry_key="+shopKey, nil, append([]byte("{}\n{\"type\":\"log\"}\n"), make([]byte, 9<<20)...))
	if a.code != 429 || a.header.Get("X-Sentry-Rate-Limits") != "5::organization:overload" || a.header.Get("Retry-After") != "5" {
		t.Errorf("answer %d, limits %q", a.code, a.header.Get("X-Sentry-Rate-Limits"))
	}
	for _, c := range conns {
		_ = c.Close()
	}
	h.eventually("the budget comes back", func() bool { return h.metric("in_flight_bytes") == 0 })
	h.good()
}

func TestSlowSendersAreCutOff(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.HeaderTimeout, c.RequestTimeout, c.ProduceTimeout = 100*time.Millisecond, 200*time.Millisecond, 100*time.Millisecond
	})
	closed := func(name, begin string) {
		t.Helper()
		conn, err := net.Dial("tcp", h.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: %v; want the connection closed", name, err)
		}
	}
	closed("headers", "POST /v1/traces HTTP/1.1\r\nHost: x\r\n")
	closed("body", "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	// By gRPC: a call whose message never comes.
	conn, err := grpc.NewClient(h.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, export, grpc.ForceCodec(rawBytes{}))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	begin := time.Now()
	err = stream.RecvMsg(&out)
	if status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.Canceled || time.Since(begin) > 10*time.Second {
		t.Errorf("gRPC: %v after %v; want the call ended", err, time.Since(begin))
	}
	h.eventually("the budget comes back", func() bool { return h.metric("in_flight_bytes") == 0 })
	h.good()
}
