// Package peers examines instrumentation of Go's Kafka clients, ours beside its
// peers. Its tests are two suites over one small interface, [Subject]:
//
//   - conformance: what instrumentation must never do to the program's data, and
//     what its spans must tell. Every case must hold for ours, by both ways (our
//     own Init, and a provider of OpenTelemetry's SDK); what it shows of the peers
//     is written to docs/conformance-peers.md.
//   - golden: the spans of every way to use our wrappers, compared with
//     testdata/golden and from one way to the other, and laid out against
//     OpenTelemetry's messaging conventions in docs/conformance.md.
//
// Run `go test -run 'Conformance|Golden' . -update` after a change that is meant.
// Package peers/bench measures what instrumentation costs. Nothing of this is
// part of the product.
package peers
