package load

import (
	"context"
	"fmt"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Sender sends encoded requests over OTLP/gRPC. It is safe for several
// goroutines.
type Sender struct{ conn *grpc.ClientConn }

// NewSender makes a sender to an address without TLS.
func NewSender(address string) (*Sender, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("cannot make a client of %s: %w", address, err)
	}
	return &Sender{conn: conn}, nil
}

// Send returns nil when the receiver has acknowledged all spans of the request.
func (s *Sender) Send(ctx context.Context, body []byte) error {
	var answer []byte
	err := s.conn.Invoke(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", body, &answer, grpc.ForceCodecV2(asIs{}))
	if err != nil {
		return err
	}
	var parsed collectortrace.ExportTraceServiceResponse
	if err := proto.Unmarshal(answer, &parsed); err != nil {
		return fmt.Errorf("cannot understand the answer: %w", err)
	}
	if p := parsed.GetPartialSuccess(); p.GetRejectedSpans() != 0 {
		return fmt.Errorf("%d spans were rejected: %s", p.GetRejectedSpans(), p.GetErrorMessage())
	}
	return nil
}

// Close ends the connection.
func (s *Sender) Close() error { return s.conn.Close() }

// asIs hands encoded messages through.
type asIs struct{}

func (asIs) Name() string { return "proto" }

func (asIs) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cannot send a %T as it is", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (asIs) Unmarshal(data mem.BufferSlice, v any) error {
	out, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("cannot receive into a %T", v)
	}
	*out = data.Materialize()
	return nil
}
