// Package measure keeps histograms, counters and gauges that are always on: an
// observation costs some nanoseconds and no allocation, sampled or not. A group
// is one set of attributes with all its instruments behind one lock, so a
// message's parts are observed under a single lock.
//
// There are two ways out with the same calls. A [Registry] is an SDK of its own:
// it writes OTLP (delta temporality, exponential histograms, exemplars) and
// hands the bytes to an Export function. [FromOTel] uses the instruments of
// somebody else's OpenTelemetry SDK.
//
// Nothing is clamped: a negative observation is counted, by its absolute value,
// in the twin histogram whose name ends in ".negative".
//
// The package knows no Kafka and sends nothing over a network.
package measure
