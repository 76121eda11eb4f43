package otelfranz

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// errNoClient is what the calls return that need the client when there is none.
var errNoClient = errors.New("otelfranz: these Hooks were not given to a client: pass Opts to kgo.NewClient")

// Process runs fn on r, which the client handed out, inside its process span, and
// returns fn's error. The context given to fn carries that span and the baggage
// of the record. A panic of fn ends the span as an error and goes on.
func (h *Hooks) Process(ctx context.Context, r *kgo.Record, fn func(ctx context.Context, r *kgo.Record) error) error {
	ctx, p := h.start(ctx, r)
	if p == nil {
		return fn(ctx, r)
	}
	return p.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, r) })
}

// ProcessBatch runs fn on records that are processed together, inside one process
// span that links to the creation context of each.
func (h *Hooks) ProcessBatch(ctx context.Context, rs []*kgo.Record, fn func(ctx context.Context, rs []*kgo.Record) error) error {
	ctx, p := h.startBatch(ctx, rs)
	if p == nil {
		return fn(ctx, rs)
	}
	return p.Run(ctx, errorType, func(ctx context.Context) error { return fn(ctx, rs) })
}

// StartProcess starts the process span of r, which the client handed out, and
// returns a context with that span and the function that ends it. That function
// may be called from any goroutine; only its first call counts. Processing one
// delivery again makes another span, without the times of the fetch.
func (h *Hooks) StartProcess(ctx context.Context, r *kgo.Record) (context.Context, func(error)) {
	return ender(h.start(ctx, r))
}

// StartProcessBatch is [Hooks.StartProcess] for records that are processed
// together.
func (h *Hooks) StartProcessBatch(ctx context.Context, rs []*kgo.Record) (context.Context, func(error)) {
	return ender(h.startBatch(ctx, rs))
}

func ender(ctx context.Context, p *messaging.Processing) (context.Context, func(error)) {
	if p == nil {
		return ctx, func(error) {}
	}
	return ctx, func(err error) {
		kind := ""
		if err != nil {
			kind = errorType(err)
		}
		p.End(err, kind)
	}
}

// start returns no Processing when the instrumentation is off or failed.
func (h *Hooks) start(ctx context.Context, r *kgo.Record) (out context.Context, p *messaging.Processing) {
	out = ctx
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || !messaging.Enabled() {
		return out, nil
	}
	d := h.claim(c, r)
	if sc, over := d.over(); over {
		return trace.ContextWithSpanContext(d.of().Into(ctx), sc), nil
	}
	pctx, proc := c.consumer.StartProcess(ctx, d.of(), h.core.Now())
	d.enter(ctx, pctx, proc)
	return pctx, proc
}

func (h *Hooks) startBatch(ctx context.Context, rs []*kgo.Record) (out context.Context, p *messaging.Processing) {
	out = ctx
	defer h.core.Guard()
	c := h.client.Load()
	if c == nil || !messaging.Enabled() || len(rs) == 0 {
		return out, nil
	}
	ds := make([]messaging.Delivery, len(rs))
	claims := make([]claim, len(rs))
	for i, r := range rs {
		claims[i] = h.claim(c, r)
		ds[i] = *claims[i].of()
	}
	pctx, proc := c.consumer.StartBatch(ctx, ds, h.core.Now())
	for i := range claims {
		claims[i].enter(ctx, pctx, proc)
	}
	return pctx, proc
}

// claim is what is known of a record about to be processed.
type claim struct {
	d     *delivered          // nil when the hooks have not seen it, or it was processed before
	fresh *messaging.Delivery // in that case
	ended *processing         // its process span is over: the next poll was taken for its end
}

// over returns the process span that a poll ended before the program said that it
// tells the end itself. One delivery has one process span, so there is no other.
func (c claim) over() (trace.SpanContext, bool) {
	if c.ended == nil {
		return trace.SpanContext{}, false
	}
	return c.ended.p.SpanContext(), true
}

func (c claim) of() *messaging.Delivery {
	if c.fresh != nil {
		return c.fresh
	}
	return &c.d.delivery
}

// enter makes the record's Context show that of its processing. Contexts that
// grew from a record's would show themselves, so those do not.
func (c claim) enter(from, ctx context.Context, p *messaging.Processing) {
	if c.d == nil {
		return
	}
	w := &c.d.current
	if w.p = p; from.Value(deliveredKey{}) == nil {
		w.ctx = ctx
	}
	c.d.within.Store(w)
}

func (h *Hooks) claim(c *client, r *kgo.Record) claim {
	d := deliveredOf(r)
	if d != nil && h.pending.claim(d) {
		return claim{d: d}
	}
	var ended *processing
	if d != nil {
		ended = d.guessed.Swap(nil) // asked twice, the program processes it twice
	}
	fresh := &messaging.Delivery{Partition: c.consumer.Partition(r.Topic, r.Partition), Offset: r.Offset}
	describe(fresh, r)
	messaging.Describe(fresh, r.Headers)
	return claim{fresh: fresh, ended: ended}
}

// estimate writes the process span of a delivery whose processing the program
// did not tell of.
func (h *Hooks) estimate(d *delivered, end int64) {
	if d.claimed.Swap(true) {
		return
	}
	_, p := h.client.Load().consumer.StartProcess(d.base, &d.delivery, d.delivery.Handed)
	p.EndAt(nil, "", end, true)
	d.guessed.Store(&processing{p: p})
}
