module github.com/hoptrace/hoptrace/integration

go 1.26.0

replace (
	github.com/hoptrace/hoptrace => ../
	github.com/hoptrace/hoptrace/instrumentation => ../instrumentation
	github.com/hoptrace/hoptrace/instrumentation/messaging => ../instrumentation/messaging
	github.com/hoptrace/hoptrace/instrumentation/otelkafkago => ../instrumentation/otelkafkago
)
