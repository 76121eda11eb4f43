package otlp

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // registers the compressor that exporters use
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/project"
)

// GRPCConfig bounds the gRPC server.
type GRPCConfig struct {
	MaxHeaderBytes       int    // refused by name
	HardHeaderBytes      uint32 // refused by the transport, unseen
	MaxConcurrentStreams uint32 // of one connection
	Timeout              time.Duration
	IdleTimeout          time.Duration
}

// receiveReserve is what a request is taken to need before its size is known.
const receiveReserve = 1 << 20

// NewGRPCServer makes a server with the trace, metrics and logs services on it. It decodes
// nothing: requests reach the receiver as the bytes they are.
func (r *Receiver) NewGRPCServer(cfg GRPCConfig) *grpc.Server {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		// It bounds the message before and after decompression alike.
		grpc.MaxRecvMsgSize(int(r.cfg.MaxRequestBytes)),
		grpc.MaxHeaderListSize(cfg.HardHeaderBytes),
		grpc.MaxConcurrentStreams(cfg.MaxConcurrentStreams),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: cfg.IdleTimeout, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.InTapHandle(func(ctx context.Context, info *tap.Info) (context.Context, error) {
			if n := headerBytes(info.Header); n > cfg.MaxHeaderBytes {
				r.deps.Counts.Refused("too_large:headers")
				r.deps.Counts.Request(outcome.OTLPGRPC, codes.ResourceExhausted.String(), 0)
				return nil, status.Errorf(codes.ResourceExhausted, "the headers have %d bytes, want at most %d (collector.max_header_bytes)", n, cfg.MaxHeaderBytes)
			}
			// The stream's context ends a request that never comes whole.
			ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
			context.AfterFunc(ctx, cancel) // the transport cancels the parent when the stream ends
			return ctx, nil
		}),
		grpc.StreamInterceptor(r.guard),
		grpc.UnknownServiceHandler(r.unknownMethod),
	)
	for _, service := range []struct {
		signal         Signal
		name, metadata string
	}{
		{Traces, "opentelemetry.proto.collector.trace.v1.TraceService", "opentelemetry/proto/collector/trace/v1/trace_service.proto"},
		{Metrics, "opentelemetry.proto.collector.metrics.v1.MetricsService", "opentelemetry/proto/collector/metrics/v1/metrics_service.proto"},
		{Logs, "opentelemetry.proto.collector.logs.v1.LogsService", "opentelemetry/proto/collector/logs/v1/logs_service.proto"},
	} {
		export := func(_ any, stream grpc.ServerStream) error { return r.export(service.signal, stream) }
		s.RegisterService(&grpc.ServiceDesc{
			ServiceName: service.name,
			HandlerType: (*any)(nil),
			// A stream, so that the budget is asked before the message is read. On
			// the wire it is the unary call that clients make.
			Streams:  []grpc.StreamDesc{{StreamName: "Export", Handler: export, ClientStreams: true}},
			Metadata: service.metadata,
		}, r)
	}
	return s
}

func headerBytes(md metadata.MD) int {
	n := 0
	for k, values := range md {
		for _, v := range values {
			n += len(k) + len(v) + 4
		}
	}
	return n
}

// guard counts each call and turns a panic into an error of that call only.
func (r *Receiver) guard(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	counted := &countedStream{ServerStream: stream}
	defer func() {
		if p := recover(); p != nil {
			r.deps.Counts.Panic()
			r.deps.Log.Error("panic in a gRPC handler", "method", info.FullMethod, "panic", p, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "the collector met a bug with this request; its log says more")
		}
		r.deps.Counts.Request(outcome.OTLPGRPC, status.Code(err).String(), counted.bytes)
	}()
	return next(srv, counted)
}

type countedStream struct {
	grpc.ServerStream
	bytes int64
}

func (c *countedStream) RecvMsg(m any) error {
	err := c.ServerStream.RecvMsg(m)
	if b, ok := m.(*[]byte); ok {
		c.bytes += int64(len(*b))
	}
	return err
}

func (r *Receiver) unknownMethod(_ any, stream grpc.ServerStream) error {
	r.deps.Counts.Refused("unknown_method")
	method, _ := grpc.MethodFromServerStream(stream)
	return status.Errorf(codes.Unimplemented, "%s is not served here: hoptrace takes traces, metrics and logs only", clip(method, 200))
}

func (r *Receiver) export(signal Signal, stream grpc.ServerStream) error {
	report, err := r.exportOne(signal, stream)
	if err == nil {
		out := responseProto(&report)
		return stream.SendMsg(&out)
	}
	if _, ok := status.FromError(err); ok { // from the transport: it has said what is wrong
		r.deps.Counts.Refused("transport")
		return err
	}
	a := r.fail(signal, outcome.OTLPGRPC, err)
	var retry time.Duration
	if a.retry {
		retry = r.retryAfter(err)
	}
	return statusOf(a.grpc, err.Error(), retry).Err()
}

func (r *Receiver) exportOne(signal Signal, stream grpc.ServerStream) (Report, error) {
	ctx := stream.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	from, err := r.sender(ctx, project.Sources{Sentry: md.Get("x-sentry-auth"), Authorization: md.Get("authorization")}, 0, fromCall(ctx, md))
	if err != nil {
		return Report{}, err
	}
	lease, err := r.deps.Budget.Lease(receiveReserve)
	if err != nil {
		return Report{}, err
	}
	defer lease.Release()
	var data []byte
	if err := stream.RecvMsg(&data); err != nil {
		return Report{}, fromTransport(err)
	}
	if err := lease.Grow(len(data) - receiveReserve); err != nil {
		return Report{}, err
	}
	return r.take(ctx, signal, from, data, Report{}, lease)
}

func fromTransport(err error) error {
	if err == io.EOF { //nolint:errorlint // the transport gives it bare
		return fmt.Errorf("%w: the call ended without a message", ErrMalformed)
	}
	return err
}

// fromCall is what is known of a client before it is authenticated.
func fromCall(ctx context.Context, md metadata.MD) policy.Sender {
	from := policy.Sender{UserAgent: first(md, "user-agent")}
	if p, ok := peer.FromContext(ctx); ok {
		if tcp, ok := p.Addr.(*net.TCPAddr); ok {
			from.Client = tcp.AddrPort().Addr().Unmap()
		}
	}
	return from
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// rawCodec hands messages through as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive a %T", v)
	}
	*b = data.Materialize() // a copy: Kafka's client keeps it beyond the call
	return nil
}

func init() { encoding.RegisterCompressor(zstdCompressor{}) }

// zstdCompressor lets gRPC clients send zstd. Answers are a few bytes, so what
// it compresses does not matter.
type zstdCompressor struct{}

func (zstdCompressor) Name() string { return "zstd" }

func (zstdCompressor) Compress(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true))
}

func (zstdCompressor) Decompress(r io.Reader) (io.Reader, error) { return bound.Unzstd(r) }
