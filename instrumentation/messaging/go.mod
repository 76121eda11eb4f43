module github.com/hoptrace/hoptrace/instrumentation/messaging

go 1.25.0
