module github.com/hoptrace/hoptrace

go 1.26.0

require (
	github.com/hoptrace/hoptrace/instrumentation/messaging v0.0.0
)

replace github.com/hoptrace/hoptrace/instrumentation/messaging => ./instrumentation/messaging
