package sentrykafka

import (
	"context"
	"sync"

	"github.com/getsentry/sentry-go"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// spanKey is the key under which Sentry's SDK keeps its span in a context. It has
// no name outside of it, so a context is asked for it.
var spanKey = func() any {
	p := &probe{Context: context.Background()}
	sentry.SpanFromContext(p)
	return p.asked
}()

type probe struct {
	context.Context
	asked any
}

func (p *probe) Value(key any) any {
	p.asked = key
	return nil
}

// rootContext hides Sentry's span, so that the next one begins a transaction.
type rootContext struct{ context.Context }

func (c rootContext) Value(key any) any {
	if spanKey != nil && key == spanKey {
		return nil
	}
	return c.Context.Value(key)
}

// recordContext is what a handler gets: its hub says which record is processed.
// The hub is cloned when it is first asked for, which most handlers never do.
type recordContext struct {
	context.Context
	p *messaging.Processing

	once sync.Once
	hub  *sentry.Hub

	mu       sync.Mutex
	captured []any // errors and panic values that were captured in this context
}

type recordContextKey struct{}

// Value returns the hub under the key of Sentry's SDK.
func (c *recordContext) Value(key any) any {
	switch key {
	case sentry.HubContextKey:
		c.once.Do(c.makeHub)
		return c.hub
	case recordContextKey{}:
		return c
	}
	return c.Context.Value(key)
}

// makeHub clones the hub around, whose scope then tells the record.
func (c *recordContext) makeHub() {
	s, ours := c.p.Span().(*span)
	if ours && s.hub != nil {
		c.hub = s.hub // cloned for this transaction
	} else {
		c.hub = hubOf(c.Context).Clone()
	}
	scope := c.hub.Scope()
	if !ours {
		// The trace is that of the process span, whatever Sentry's was around it.
		scope.SetSpan(nil)
		if sc := c.p.SpanContext(); sc.IsValid() {
			scope.SetPropagationContext(sentry.PropagationContext{
				TraceID: sentry.TraceID(sc.TraceID()), SpanID: sentry.SpanID(sc.SpanID()),
				DynamicSamplingContext: dscOf(c.Context, c.hub.Client(), sc),
			})
		}
	}
	scope.AddEventProcessor(c.describe)
}

// hubOf is the hub around ctx, or that of the process.
func hubOf(ctx context.Context) *sentry.Hub {
	if h := sentry.GetHubFromContext(ctx); h != nil {
		return h
	}
	return sentry.CurrentHub()
}

// maxCaptured bounds what is remembered of one record's errors.
const maxCaptured = 16

func (c *recordContext) noteCaptured(v any) {
	if v == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.captured) < maxCaptured {
		c.captured = append(c.captured, v)
	}
}

func (c *recordContext) wasCaptured(v any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.captured {
		if sameValue(known, v) {
			return true
		}
	}
	return false
}
