package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// badInput is something no good client sends, and what must come of it.
type badInput struct {
	name string
	send func(ctx context.Context) (answer string, err error)
	want []string // all of these stand in the answer
	// counter and label name the sample that must grow.
	counter string
	labels  []string
}

func TestBadInputGetsANamedErrorIsCountedAndDisturbsNobody(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn, err := url.Parse(h.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	key, project := dsn.User.Username(), dsn.Path
	goodKey := "Sentry sentry_version=7, sentry_key=" + key
	conn, err := grpc.NewClient(h.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(200<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	otlp := collectortrace.NewTraceServiceClient(conn)

	// The good client's spans and events must all arrive, in good time.
	spans, events := newLedger(), newLedger()
	good, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var goodErr [2]error
	wg.Go(func() { goodErr[0] = sendSpans(good, h.GRPC, 200, 100*time.Millisecond, spans) })
	wg.Go(func() { goodErr[1] = sendEvents(good, dsn.String(), 200, 50*time.Millisecond, events) })
	defer wg.Wait()
	defer stop()

	envelopeURL := h.HTTP + "/api" + project + "/envelope/"
	tracesURL := h.HTTP + "/v1/traces"
	zeroes := func(n int64) io.Reader { return io.LimitReader(endless{}, n) }
	const outcomes, rejected = "hoptrace_collector_outcomes_total", "hoptrace_collector_spans_rejected_total"
	reason := func(r string) []string { return []string{`reason="` + r + `"`} }
	sentry := func(body io.Reader, headers map[string]string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return post(ctx, envelopeURL, body, headers) }
	}
	protobuf := map[string]string{"Content-Type": "application/x-protobuf"}

	cases := []badInput{
		{
			name: "unknown DSN", counter: outcomes, labels: reason("unknown_key"), want: []string{"403", "detail", "key"},
			send: sentry(strings.NewReader("{}\n"), map[string]string{"X-Sentry-Auth": "Sentry sentry_version=7, sentry_key=" + strings.Repeat("0", 32)}),
		},
		{
			name: "no DSN", counter: outcomes, labels: reason("auth"), want: []string{"401", "detail"},
			send: sentry(strings.NewReader("{}\n"), nil),
		},
		{
			name: "broken envelope", counter: outcomes, labels: reason("invalid_envelope"), want: []string{"400", "detail", "envelope"},
			send: sentry(strings.NewReader("this is no JSON\n{]\n"), map[string]string{"X-Sentry-Auth": goodKey}),
		},
		{
			name: "envelope whose item is longer than it", counter: outcomes, labels: reason("invalid_envelope"), want: []string{"400", "detail"},
			send: sentry(strings.NewReader("{}\n{\"type\":\"event\",\"length\":9999}\n{}\n"), map[string]string{"X-Sentry-Auth": goodKey}),
		},
		{
			name: "broken protobuf over HTTP", counter: outcomes, labels: reason("invalid_otlp"), want: []string{"400", "ExportTraceServiceRequest"},
			send: func(ctx context.Context) (string, error) {
				return post(ctx, tracesURL, strings.NewReader("\x0a\xff\xff\x01broken"), protobuf)
			},
		},
		{
			name: "broken protobuf over gRPC", counter: outcomes, labels: reason("invalid_otlp"), want: []string{codes.InvalidArgument.String(), "ExportTraceServiceRequest"},
			send: func(ctx context.Context) (string, error) { return brokenGRPC(ctx, conn) },
		},
		{
			name: "a span that ends before it starts", counter: rejected, labels: reason("end_before_start"), want: []string{"rejected:1", "ending before they start"},
			send: func(ctx context.Context) (string, error) {
				return export(ctx, otlp, &trace.Span{
					Name: "backwards", TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{2}, 8),
					StartTimeUnixNano: uint64(time.Now().UnixNano()), EndTimeUnixNano: uint64(time.Now().Add(-time.Hour).UnixNano()),
				})
			},
		},
		{
			name: "a span in a hundred years", counter: rejected, labels: reason("future"), want: []string{"rejected:1", "future"},
			send: func(ctx context.Context) (string, error) {
				then := uint64(time.Now().AddDate(100, 0, 0).UnixNano())
				return export(ctx, otlp, &trace.Span{
					Name: "far", TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{3}, 8),
					StartTimeUnixNano: then, EndTimeUnixNano: then + 1,
				})
			},
		},
		{
			name: "a span without ids", counter: rejected, labels: reason("trace_id"), want: []string{"rejected:1", "trace id"},
			send: func(ctx context.Context) (string, error) {
				now := uint64(time.Now().UnixNano())
				return export(ctx, otlp, &trace.Span{Name: "nobody", TraceId: make([]byte, 16), SpanId: bytes.Repeat([]byte{3}, 8), StartTimeUnixNano: now, EndTimeUnixNano: now})
			},
		},
		{
			name: "a body of 100 MB to OTLP", counter: outcomes, labels: reason("too_large"), want: []string{"413", "larger than"},
			send: func(ctx context.Context) (string, error) { return post(ctx, tracesURL, zeroes(100<<20), protobuf) },
		},
		{
			name: "a body of 100 MB to OTLP over gRPC", counter: outcomes, labels: nil, want: []string{codes.ResourceExhausted.String()},
			send: func(ctx context.Context) (string, error) {
				return export(ctx, otlp, &trace.Span{Name: strings.Repeat("x", 100<<20), TraceId: bytes.Repeat([]byte{1}, 16), SpanId: bytes.Repeat([]byte{4}, 8)})
			},
		},
		{
			name: "a body of 100 MB to Sentry", counter: outcomes, labels: reason("too_large"), want: []string{"413", "larger than"},
			send: sentry(zeroes(100<<20), map[string]string{"X-Sentry-Auth": goodKey}),
		},
		{
			name: "100 MB in a small gzip", counter: outcomes, labels: reason("too_large"), want: []string{"413", "larger than"},
			send: func(ctx context.Context) (string, error) {
				return post(ctx, tracesURL, bytes.NewReader(gzipped(t, zeroes(100<<20))), map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"})
			},
		},
		{
			name: "10,000 HTTP headers", counter: outcomes, labels: reason("too_large:headers"), want: []string{"431", "max_header_bytes"},
			send: func(ctx context.Context) (string, error) { return manyHeaders(ctx, h.HTTP) },
		},
		{
			name: "10,000 gRPC headers", counter: outcomes, labels: reason("too_large:headers"), want: []string{codes.ResourceExhausted.String(), "max_header_bytes"},
			send: func(ctx context.Context) (string, error) {
				md := metadata.MD{}
				for i := range 10_000 {
					md.Append(fmt.Sprintf("x-header-%d", i), "v")
				}
				return export(metadata.NewOutgoingContext(ctx, md), otlp, &trace.Span{})
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := h.Metrics(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answer, err := c.send(ctx)
			if err != nil {
				t.Fatalf("got no answer: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(answer, want) {
					t.Errorf("the answer does not name the fault: no %q in %.600q", want, answer)
				}
			}
			counted := func() error {
				if grown := h.Metrics(t).Sum(c.counter, c.labels...) - before.Sum(c.counter, c.labels...); grown < 1 {
					return fmt.Errorf("%s%v did not grow; what did: %v", c.counter, c.labels, h.Metrics(t).Grown(before))
				}
				return nil
			}
			if err := within(2*time.Second, counted); err != nil {
				t.Errorf("it is not counted: %v", err)
			}
		})
	}

	t.Run("records that no collector writes", func(t *testing.T) { badRecords(t, h) })

	stop()
	wg.Wait()
	for _, err := range goodErr {
		if err != nil {
			t.Errorf("the good client was disturbed: %v", err)
		}
	}
	harness.WaitDrained(t, h.Kafka, time.Minute, "ingest-spans", "ingest-events", "events")
	if panics := h.Metrics(t).Sum("hoptrace_collector_panics_total"); panics != 0 {
		t.Errorf("the collector caught %v panics", panics)
	}
	stopClean(t, h)
	engine := harness.OpenEngine(t, h.Data)
	spans.check(t, "span", countByID(engine, "SELECT lower(hex(span_id)), count() FROM spans GROUP BY span_id"))
	events.check(t, "event", countByID(engine, "SELECT lower(hex(id)), count() FROM events GROUP BY id"))
}

// badRecords writes to the ingest topics what no collector writes. Each goes to
// its dead-letter topic, and the partition goes on.
func badRecords(t *testing.T, h *harness.Hoptrace) {
	client, err := kgo.NewClient(kgo.SeedBrokers(h.Kafka), kgo.ConsumeTopics("ingest-spans-dlq", "ingest-events-dlq"), kgo.UnknownTopicRetries(-1),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	many := &kgo.Record{Topic: "ingest-spans", Value: []byte("spans?")}
	for i := range 10_000 {
		many.Headers = append(many.Headers, kgo.RecordHeader{Key: fmt.Sprintf("h%d", i), Value: []byte("v")})
	}
	bad := []*kgo.Record{
		many,
		{Topic: "ingest-spans", Value: []byte("no headers at all")},
		{Topic: "ingest-events", Value: []byte(`{"event_id": 17`)},
		{Topic: "ingest-events", Value: nil},
	}
	for _, r := range bad {
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatalf("cannot produce to %s: %v", r.Topic, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	dead := 0
	for dead < len(bad) {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("of %d bad records %d came to the dead-letter topics", len(bad), dead)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			dead++
			told := map[string]string{}
			for _, hd := range r.Headers {
				if strings.HasPrefix(hd.Key, "dlq-") {
					told[hd.Key] = string(hd.Value)
				}
			}
			if told["dlq-reason"] == "" || told["dlq-stage"] == "" || told["dlq-topic"] == "" || told["dlq-offset"] == "" {
				t.Errorf("the dead letter on %s does not tell why and whence it came: %v", r.Topic, told)
			}
			t.Logf("dead letter on %s: %.300s", r.Topic, fmt.Sprint(told))
		})
	}
}

// endless reads as zeroes.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func gzipped(t *testing.T, r io.Reader) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.Copy(z, r); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// post gives the status line, the headers and the body as one text.
func post(ctx context.Context, url string, body io.Reader, headers map[string]string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return "", err
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.Status + "\n" + string(b), err
}

// manyHeaders speaks HTTP by hand: Go's client would not read an answer that
// comes before the request is sent.
func manyHeaders(ctx context.Context, base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	var b strings.Builder
	b.WriteString("POST /v1/traces HTTP/1.1\r\nHost: hoptrace\r\nContent-Length: 0\r\nConnection: close\r\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "X-Header-%d: v\r\n", i)
	}
	b.WriteString("\r\n")
	// The server may answer and close before it has all.
	_, writeErr := io.WriteString(conn, b.String())
	answer, err := io.ReadAll(io.LimitReader(conn, 64<<10))
	if len(answer) > 0 {
		return string(answer), nil
	}
	if err == nil {
		err = writeErr
	}
	return "", fmt.Errorf("the connection ended without an answer: %w", err)
}

// export sends one span and gives the answer as text, an error's code included.
func export(ctx context.Context, client collectortrace.TraceServiceClient, span *trace.Span) (string, error) {
	resp, err := client.Export(ctx, &collectortrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{span}}},
	}}})
	if err != nil {
		return statusText(err)
	}
	p := resp.GetPartialSuccess()
	return fmt.Sprintf("rejected:%d %s", p.GetRejectedSpans(), p.GetErrorMessage()), nil
}

func statusText(err error) (string, error) {
	s, ok := status.FromError(err)
	if !ok {
		return "", err
	}
	return s.Code().String() + ": " + s.Message(), nil
}

func brokenGRPC(ctx context.Context, conn *grpc.ClientConn) (string, error) {
	// Bytes of a field that promises more than follows; the codec sends them as
	// the unknown fields of an empty message.
	broken := &collectortrace.ExportTraceServiceRequest{}
	broken.ProtoReflect().SetUnknown([]byte("\x0a\xff\xff\x01broken"))
	var resp collectortrace.ExportTraceServiceResponse
	err := conn.Invoke(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", broken, &resp)
	if err == nil {
		return "", fmt.Errorf("broken protobuf was taken: %v", proto.MarshalOptions{}.Size(&resp))
	}
	return statusText(err)
}

// within asks cond until it returns nil, and gives its last error after the time.
func within(d time.Duration, cond func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d); ; <-tick.C {
		err := cond()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
