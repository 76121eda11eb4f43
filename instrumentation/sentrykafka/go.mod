module github.com/hoptrace/hoptrace/instrumentation/sentrykafka

go 1.25.0

replace github.com/hoptrace/hoptrace/instrumentation/messaging => ../messaging
