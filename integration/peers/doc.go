// Package peers measures and examines the instrumentation beside its peers.
package peers
