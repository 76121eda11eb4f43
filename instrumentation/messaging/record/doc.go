// Package record keeps the sampled spans of a busy client as plain data and
// writes them as OTLP itself: fixed-size records without pointers in sharded,
// recycled chunks, encoded in batches by one goroutine. A span that user code
// may touch is a [Live]: an OpenTelemetry span and the context that carries it
// in one allocation.
//
// It knows no Kafka, opens no connection and decides nothing but sampling:
// streams say what spans are called, [Options.Export] sends the bytes. It is not
// an OpenTelemetry SDK: it has no processors, and its limits are those that the
// SDK has by default.
package record
