// Package hoptrace sets a program up for tracing with one call: an
// OpenTelemetry SDK that exports to the hoptrace collector beside the program,
// and the integrations for the Kafka clients it uses.
//
//	err := hoptrace.Init(hoptrace.Options{
//		ServiceName:  "checkout",
//		Integrations: []hoptrace.Integration{otelkafkago.Integration()},
//	})
//	if err != nil { … }
//	defer hoptrace.Close()
//
// The collector need not be there: [Init] never waits for it, spans are kept up
// to a bound and sent when it answers. A program with an SDK of its own needs
// nothing of this package; the wrappers use OpenTelemetry's global providers.
package hoptrace
