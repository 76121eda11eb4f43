// Package clock bounds the offset between a host's clock and a broker's from
// round trips that Kafka clients make anyway, and does the arithmetic that
// turns such bounds into latencies with an error: a [Sampler] in each process
// keeps the narrowest interval a second, a [Tracker] joins them over time,
// [Tile] lays out the parts of one message.
//
// An offset is theta = broker's clock − host's clock, on the host's clock, in
// nanoseconds. It is always an interval, never a number.
//
// The package probes nothing by itself and corrects no clock.
package clock
