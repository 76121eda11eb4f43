module github.com/hoptrace/hoptrace/examples

go 1.25.0

replace (
	github.com/hoptrace/hoptrace/instrumentation => ../instrumentation
	github.com/hoptrace/hoptrace/instrumentation/messaging => ../instrumentation/messaging
	github.com/hoptrace/hoptrace/instrumentation/otelkafkago => ../instrumentation/otelkafkago
)
