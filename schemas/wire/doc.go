// Package wire has the records of the line as Go types with their codecs, made
// from the JSON Schemas in schemas/json: add a field there, run
// `go generate ./schemas/...`, and it is here. It reads and writes no Kafka.
//
// Decoders keep parts of the bytes that they are given, tolerate fields that
// they do not know, bound what they take memory for, and name the place of a
// fault:
//
//	ingest-events: attachments[2].chunks: want an integer, got str
//
// [Decode] reads any record of a topic.
package wire

//go:generate go run ../internal/gen ../..
