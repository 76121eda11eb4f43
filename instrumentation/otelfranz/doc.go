// Package otelfranz instruments github.com/twmb/franz-go by its hooks.
package otelfranz
