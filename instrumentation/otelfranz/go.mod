module github.com/hoptrace/hoptrace/instrumentation/otelfranz

go 1.25.0

replace github.com/hoptrace/hoptrace/instrumentation/messaging => ../messaging
