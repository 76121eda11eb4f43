// Package sentrykafka makes the Kafka instrumentation speak to sentry-go. One
// value, [KafkaIntegration], works in both SDKs:
//
//	hoptrace.Init(hoptrace.Options{Integrations: []hoptrace.Integration{otelkafkago.Integration(), sentrykafka.KafkaIntegration()}})
//
//	sentry.Init(sentry.ClientOptions{
//		EnableTracing: true, TracesSampleRate: 1,
//		Integrations: func(i []sentry.Integration) []sentry.Integration {
//			return append(i, sentrykafka.KafkaIntegration())
//		},
//	})
//
// With the first, spans stay OpenTelemetry's. With the second alone they become
// Sentry's: transactions with queue.publish, queue.process, queue.receive and
// queue.settle spans. Either way sentry-trace and baggage travel in the records,
// and errors and panics that are captured while a record is processed say which
// record it was.
//
// The package wraps no Kafka client: otelkafkago, otelfranz and otelsarama do.
// Set the integration up before clients are wrapped.
package sentrykafka
