package otlp

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// responseProto is an ExportTraceServiceResponse or, with the same fields, an
// ExportMetricsServiceResponse or ExportLogsServiceResponse. It is empty when all was taken.
func responseProto(report *Report) []byte {
	rejected := report.Refused()
	if rejected == 0 {
		return nil
	}
	message := valid(report.Message())
	inner := binary.AppendUvarint([]byte{1<<3 | wireVarint}, uint64(rejected))
	inner = append(appendTag(inner, 2, len(message)), message...)
	return append(appendTag(nil, 1, len(inner)), inner...)
}

// responseJSON is the same as JSON.
func responseJSON(report *Report) []byte {
	rejected := report.Refused()
	if rejected == 0 {
		return []byte("{}")
	}
	message, _ := json.Marshal(valid(report.Message())) // a string always marshals
	name := [...]string{"rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"}[report.Signal]
	out := []byte(`{"partialSuccess":{"` + name + `":"` + strconv.Itoa(rejected) + `","errorMessage":`)
	return append(append(out, message...), "}}"...)
}

// statusOf is the error in gRPC's form, with RetryInfo where a retry helps.
func statusOf(code codes.Code, message string, retryAfter time.Duration) *status.Status {
	s := status.New(code, valid(clip(message, 2<<10)))
	if retryAfter > 0 {
		if d, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)}); err == nil {
			return d
		}
	}
	return s
}

// statusBody is the body of an HTTP error: a google.rpc.Status in the
// request's encoding.
func statusBody(s *status.Status, isJSON bool) ([]byte, error) {
	if isJSON {
		return protojson.Marshal(s.Proto())
	}
	return proto.Marshal(s.Proto())
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
