// Package bench measures what instrumentation adds to a Kafka client: CPU and
// allocations a message over the raw client, ours beside its peers, exporting
// included. docs/bench-instrumentation.md tells how it is measured and what the
// lines mean; `make bench-instrumentation` runs it.
//
// It holds no code but benchmarks, and no figure is a test.
package bench
