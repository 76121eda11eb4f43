module github.com/hoptrace/hoptrace/instrumentation/otelkafkago

go 1.25.0

require github.com/hoptrace/hoptrace/instrumentation/messaging v0.0.0

replace github.com/hoptrace/hoptrace/instrumentation/messaging => ../messaging
