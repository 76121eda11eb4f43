package hoptrace

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// provider is the TracerProvider of a [Client]. Spans that the program starts
// are the SDK's; the wrappers of Kafka clients find the recorder and the registry
// and write theirs as plain records.
type provider struct {
	*sdktrace.TracerProvider
	processor *processor // of the SDK's spans; nil: they are not exported
	recorder  *record.Recorder
	registry  *measure.Registry // nil: measures are somebody else's
}

// Recorder takes the spans of messages.
func (p *provider) Recorder() *record.Recorder { return p.recorder }

// Registry takes measures. Nil means that they go to OpenTelemetry's global
// MeterProvider.
func (p *provider) Registry() *measure.Registry { return p.registry }

// ForceFlush exports what has ended, of both ways.
func (p *provider) ForceFlush(ctx context.Context) error {
	return together(
		func() error { return p.TracerProvider.ForceFlush(ctx) },
		func() error { return p.recorder.Flush(ctx) },
	)
}

// Shutdown exports what is left and ends both ways.
func (p *provider) Shutdown(ctx context.Context) error {
	return together(
		func() error {
			err := p.TracerProvider.Shutdown(ctx)
			if p.processor != nil { // which the SDK leaves alone when ctx has ended
				err = errors.Join(err, p.processor.Shutdown(ctx))
			}
			return err
		},
		func() error { return end(ctx, p.recorder.Shutdown) },
	)
}

// end shuts something down. When ctx ends first, what is exporting gets a moment
// to notice, so that all is counted.
func end(ctx context.Context, shutdown func(context.Context) error) error {
	err := shutdown(ctx)
	if ctx.Err() != nil {
		moment, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = shutdown(moment) // waits; the error is that of before
	}
	return err
}

// measured is somebody else's TracerProvider with our measures: the wrappers make
// spans by OpenTelemetry's API and find the registry.
type measured struct {
	trace.TracerProvider
	registry *measure.Registry
}

// Recorder is nil: spans go to the provider.
func (measured) Recorder() *record.Recorder { return nil }

// Registry takes measures.
func (m measured) Registry() *measure.Registry { return m.registry }

// ForceFlush is that of the provider below, if it has one.
func (m measured) ForceFlush(ctx context.Context) error {
	if f, ok := m.TracerProvider.(interface{ ForceFlush(context.Context) error }); ok {
		return f.ForceFlush(ctx)
	}
	return nil
}

// ownPropagator marks what Init made global.
type ownPropagator struct{ propagation.TextMapPropagator }

// together runs all at once and returns when the last is done.
func together(all ...func() error) error {
	errs := make(chan error, len(all))
	for _, f := range all {
		go func() { errs <- f() }()
	}
	var joined error
	for range all {
		joined = errors.Join(joined, <-errs)
	}
	return joined
}

// isDefault tells whether global, a provider or propagator of OpenTelemetry's API,
// is the one of before anybody set it, or ours of before it was closed.
func isDefault(global any) bool {
	switch global.(type) {
	case nil, *provider, *ownPropagator:
		return true
	}
	t := reflect.TypeOf(global)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasPrefix(t.PkgPath(), "go.opentelemetry.io/otel/internal/")
}

var (
	_ trace.TracerProvider = (*provider)(nil)
	_ interface {
		Recorder() *record.Recorder
		Registry() *measure.Registry
	} = (*provider)(nil)
)
