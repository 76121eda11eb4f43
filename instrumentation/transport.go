package hoptrace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	collectmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collecttraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcgzip "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// transport sends one OTLP request, already encoded.
type transport interface {
	// try sends body once. It keeps nothing of body. The error is a *refusal.
	try(ctx context.Context, body []byte) (answer, error)
	close()
}

// answer is what a collector says to a request that it took.
type answer struct {
	rejected int64  // spans or points that it did not take
	message  string // why, or a warning
}

// refusal is why a request was not taken.
type refusal struct {
	err     error
	retry   bool          // the same request may be welcome later
	after   time.Duration // not before this time has passed; 0: not said
	unknown bool          // the collector does not know this signal
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

func userAgent() string { return "hoptrace-go/" + Version }

// dial makes a gRPC connection. It connects when it is first used.
func dial(t *target) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if t.tls != nil {
		creds = credentials.NewTLS(t.tls)
	}
	return grpc.NewClient(t.url.Host,
		grpc.WithTransportCredentials(creds),
		grpc.WithUserAgent(userAgent()),
		// A collector beside the program is back soon after it is restarted, so
		// the pauses stay short.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDisableServiceConfig(),
	)
}

// overGRPC sends by a connection that others may share.
type overGRPC struct {
	target *target
	conn   *grpc.ClientConn
	owner  bool
	md     metadata.MD
	calls  []grpc.CallOption
}

func newOverGRPC(t *target, conn *grpc.ClientConn, owner bool) *overGRPC {
	g := &overGRPC{target: t, conn: conn, owner: owner, md: metadata.New(t.headers)}
	g.calls = []grpc.CallOption{grpc.ForceCodecV2(rawCodec{})}
	if t.gzip {
		g.calls = append(g.calls, grpc.UseCompressor(grpcgzip.Name))
	}
	return g
}

func (g *overGRPC) try(ctx context.Context, body []byte) (answer, error) {
	ctx = metadata.NewOutgoingContext(ctx, g.md)
	var reply []byte
	if err := g.conn.Invoke(ctx, g.target.signal.method, &body, &reply, g.calls...); err != nil {
		return answer{}, refusedByGRPC(err)
	}
	return readAnswer(g.target.signal, reply), nil
}

func (g *overGRPC) close() {
	if g.owner {
		_ = g.conn.Close() // it fails only when closed before
	}
}

// refusedByGRPC says what an error means, as the OTLP specification does.
func refusedByGRPC(err error) *refusal {
	r := &refusal{err: err}
	s := status.Convert(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			r.after = info.GetRetryDelay().AsDuration()
			r.retry = s.Code() == codes.ResourceExhausted
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		r.retry = true
	case codes.Unimplemented:
		r.unknown = true
	}
	return r
}

// rawCodec hands messages through as bytes. The copy is the connection's: a call
// that is given up may still be read from by the connection's writer.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return mem.BufferSlice{mem.Copy(*b, mem.DefaultBufferPool())}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*b = data.Materialize()
	return nil
}

// overHTTP posts.
type overHTTP struct {
	target *target
	client *http.Client
	own    *http.Transport
}

func newOverHTTP(t *target) *overHTTP {
	own := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       t.tls,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: t.timeout,
		DisableCompression:    true,
	}
	return &overHTTP{target: t, own: own, client: &http.Client{
		Transport: own,
		// A redirected POST loses its body, and its headers may go to a stranger.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (h *overHTTP) close() { h.own.CloseIdleConnections() }

func (h *overHTTP) try(ctx context.Context, body []byte) (answer, error) {
	payload := body
	if h.target.gzip {
		var err error
		if payload, err = compress(body); err != nil {
			return answer{}, &refusal{err: fmt.Errorf("cannot compress: %w", err)}
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.target.url.String(), nil)
	if err != nil {
		return answer{}, &refusal{err: err}
	}
	if len(payload) > 0 {
		l := &lent{body: payload}
		defer l.takeBack()
		if req.Body, err = l.open(); err != nil {
			return answer{}, &refusal{err: err}
		}
		req.GetBody, req.ContentLength = l.open, int64(len(payload))
	}
	for k, v := range h.target.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", userAgent())
	if h.target.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, &refusal{err: withoutURL(err), retry: true}
	}
	reply, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		// Taken, whatever became of the rest of the answer.
		if err != nil || len(reply) == maxAnswer {
			return answer{}, nil // taken is taken
		}
		return readAnswer(h.target.signal, reply), nil
	}
	return answer{}, refusedByHTTP(resp, reply, time.Now())
}

// withoutURL leaves the URL out of an error of net/http: it is said already, and
// may hold what is nothing for a log.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func compress(body []byte) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(len(body)/4 + 512)
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(body); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// refusedByHTTP says what a status means, as the OTLP specification does.
func refusedByHTTP(resp *http.Response, body []byte, now time.Time) *refusal {
	r := &refusal{err: fmt.Errorf("HTTP status %s%s", resp.Status, reason(resp.Header.Get("Content-Type"), body))}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		r.retry = true
		r.after = retryAfter(resp.Header.Get("Retry-After"), now)
	case http.StatusNotFound:
		r.unknown = true
	}
	return r
}

// retryAfter reads seconds or a date; zero when it is neither.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(v, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// reason is what the body of a refusal says.
func reason(contentType string, body []byte) string {
	if len(body) == 0 {
		return ""
	}
	if contentType == "application/x-protobuf" {
		var s rpcstatus.Status
		if proto.Unmarshal(body, &s) != nil || s.GetMessage() == "" {
			return ""
		}
		return ": " + clip(s.GetMessage(), 300)
	}
	return ": " + strconv.QuoteToGraphic(clip(string(body), 300))
}

// readAnswer reads what of a request was not taken. An answer that cannot be
// read is one without complaints.
func readAnswer(s signal, reply []byte) answer {
	if len(reply) == 0 {
		return answer{}
	}
	if s == traces {
		var r collecttraces.ExportTraceServiceResponse
		if proto.Unmarshal(reply, &r) != nil {
			return answer{}
		}
		return answer{max(r.GetPartialSuccess().GetRejectedSpans(), 0), r.GetPartialSuccess().GetErrorMessage()}
	}
	var r collectmetrics.ExportMetricsServiceResponse
	if proto.Unmarshal(reply, &r) != nil {
		return answer{}
	}
	return answer{max(r.GetPartialSuccess().GetRejectedDataPoints(), 0), r.GetPartialSuccess().GetErrorMessage()}
}
