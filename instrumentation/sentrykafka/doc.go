// Package sentrykafka makes the Kafka instrumentation speak to sentry-go.
package sentrykafka
