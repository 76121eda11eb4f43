package wire

import (
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// protobufDecoder decodes the messages that OTLP defines, for tests and people:
// the stages read them with decoders of their own.
func protobufDecoder(message string) func([]byte) (any, *Error) {
	var decode func(b []byte) (any, error)
	switch message {
	case "opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest":
		decode = func(b []byte) (any, error) {
			r := ptraceotlp.NewExportRequest()
			return r, r.UnmarshalProto(b)
		}
	case "opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest":
		decode = func(b []byte) (any, error) {
			r := pmetricotlp.NewExportRequest()
			return r, r.UnmarshalProto(b)
		}
	case "opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest":
		decode = func(b []byte) (any, error) {
			r := plogotlp.NewExportRequest()
			return r, r.UnmarshalProto(b)
		}
	}
	return func(b []byte) (any, *Error) {
		if decode == nil {
			return nil, problem("no decoder of " + message)
		}
		m, err := decode(b)
		if err != nil {
			return nil, problem("broken protobuf: " + err.Error())
		}
		return m, nil
	}
}
