// Package messaging is the shared core of hoptrace's Kafka instrumentation:
// attribute names, header carriers and the times that make the parts of a hop.
// It needs the OpenTelemetry API only and knows no Kafka client.
package messaging
