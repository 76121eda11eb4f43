package hoptrace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// Version is the version of this package.
const Version = "0.1.0"

// ErrInitialised is returned by [Init] when the program has called it already.
var ErrInitialised = errors.New("hoptrace: Init was called before; call Close first, or New for another client")

// Client is what [New] sets up: an SDK for the spans that the program starts, and
// the recorder and the registry that the wrappers of Kafka clients use. A program
// has one, by [Init]; a program that plays several services has several.
type Client struct {
	disabled   bool                 // by OTEL_SDK_DISABLED
	given      trace.TracerProvider // what integrations and the program use
	own        *provider            // nil: spans are somebody else's
	registry   *measure.Registry    // nil: measures are somebody else's
	processor  *processor           // nil: spans are not exported
	spans      *link                // nil: spans are not exported
	measures   *link                // nil: measures are not exported
	propagator propagation.TextMapPropagator
	reporter   *reporter
	timeout    time.Duration // of Close
	closing    chan struct{}
	closeOnce  sync.Once
}

// New makes a Client and sets up opts.Integrations with it. Unlike [Init] it
// leaves OpenTelemetry's global providers alone. It does not wait for the
// collector. The error names every fault of opts and of the environment.
func New(opts Options) (*Client, error) {
	r, err := opts.resolve()
	if err != nil {
		return nil, err
	}
	c := &Client{
		propagator: r.propagate,
		reporter:   r.reporter,
		timeout:    r.CloseTimeout,
		closing:    make(chan struct{}),
	}
	if r.disabled {
		c.disabled, c.given = true, noop.NewTracerProvider()
	} else if err := c.start(&r); err != nil {
		return nil, err
	}
	for _, in := range r.Integrations {
		if err := in.Setup(c.given, c.propagator); err != nil {
			c.Close()
			return nil, fmt.Errorf("hoptrace: cannot set up integration %q: %w", in.Name(), err)
		}
	}
	if len(r.Integrations) > 0 {
		c.makeDefault(r.MeterProvider)
	}
	return c, nil
}

// makeDefault tells the wrappers of Kafka clients what Setup has no room for.
func (c *Client) makeDefault(mp metric.MeterProvider) {
	if mp != nil {
		messaging.SetDefaults(messaging.Defaults{TracerProvider: c.given, MeterProvider: mp, Propagator: c.propagator})
	}
}

// start makes what spans and measures go through.
func (c *Client) start(r *resolved) error {
	if r.TracerProvider != nil {
		r.traces = nil
	}
	if _, ours := r.TracerProvider.(*provider); ours || r.MeterProvider != nil {
		r.metrics = nil // another client's provider has measures of its own
	}
	if err := c.connect(r); err != nil {
		return err
	}
	res := newResource(r.Options)
	if c.measures != nil {
		c.registry = measure.NewRegistry(measure.Options{
			Resource: res.Attributes(), ResourceSchemaURL: res.SchemaURL(), Interval: r.MetricInterval,
			Export: c.exportMeasures,
			OnOverflow: func(instrument string, bound int) {
				c.reporter.report(fmt.Errorf("the measure %s has over %d sets of attributes; further ones are counted together, with otel.metric.overflow", instrument, bound))
			},
		})
	}
	if r.TracerProvider != nil {
		c.given = r.TracerProvider
		if c.registry != nil {
			c.given = measured{r.TracerProvider, c.registry}
		}
		return nil
	}
	s := newSampling(r.Sampler, r.ratio, r.MessageSampler, r.reporter)
	sdk := []sdktrace.TracerProviderOption{sdktrace.WithSampler(s.sdk), sdktrace.WithResource(res)}
	export := func(context.Context, record.Batch) error { return nil }
	if c.spans != nil {
		c.processor = newProcessor(c.spans, r)
		sdk = append(sdk, sdktrace.WithSpanProcessor(c.processor))
		export = func(ctx context.Context, b record.Batch) error { return c.spans.deliver(ctx, b.Spans, b.Body) }
	}
	c.own = &provider{TracerProvider: sdktrace.NewTracerProvider(sdk...), processor: c.processor, registry: c.registry}
	c.own.recorder = record.New(record.Options{
		Resource: res.Attributes(), ResourceSchemaURL: res.SchemaURL(),
		MaxSpans: r.QueueSize, Interval: r.BatchTimeout,
		Export: export, Ratio: s.ratio, Decide: s.decide, DecideRoots: s.roots, Provider: c.own,
	})
	c.given = c.own
	return nil
}

// connect makes the links of the signals that are exported.
func (c *Client) connect(r *resolved) error {
	var conn *grpc.ClientConn // of the link made last
	link := func(t *target, other *link) (*link, error) {
		if t == nil {
			return nil, nil
		}
		l := &link{
			target: t, place: &place{}, reporter: r.reporter, giveUp: giveUpAfter, closing: c.closing, debug: r.Debug,
		}
		if other != nil && other.target.url.Host == t.url.Host {
			l.place = other.place
		}
		if t.protocol == ProtocolHTTP {
			l.transport = newOverHTTP(t)
			return l, nil
		}
		if other != nil && t.shares(other.target) {
			l.transport = newOverGRPC(t, conn, false)
			return l, nil
		}
		var err error
		if conn, err = dial(t); err != nil {
			return nil, fmt.Errorf("hoptrace: cannot make the exporter to %s: %w", t.url.Redacted(), err)
		}
		l.transport = newOverGRPC(t, conn, true)
		return l, nil
	}
	var err error
	if c.spans, err = link(r.traces, nil); err != nil {
		return err
	}
	if c.measures, err = link(r.metrics, c.spans); err != nil {
		if c.spans != nil {
			c.spans.transport.close()
		}
		return err
	}
	if c.measures != nil {
		c.measures.giveUp = giveUpMeasuresAfter
	}
	return nil
}

func (c *Client) exportMeasures(ctx context.Context, b measure.Batch) error {
	err := c.measures.deliver(ctx, b.Points, b.Body)
	var r *refusal
	if errors.As(err, &r) && !r.retry {
		return fmt.Errorf("%w: %w", measure.ErrRejected, err) // trying again changes nothing
	}
	return err
}

// TracerProvider returns what spans are made from.
func (c *Client) TracerProvider() trace.TracerProvider { return c.given }

// Propagator returns what reads and writes trace context outside Kafka.
func (c *Client) Propagator() propagation.TextMapPropagator { return c.propagator }

// Flush sends the spans that have ended and the measures so far, and reports
// whether all of them, and all before, reached the collector within timeout;
// measures do not count for a collector that takes none. A TracerProvider that
// was handed in is flushed too.
func (c *Client) Flush(timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	before := c.rejected()
	return together(c.flushes(ctx)...) == nil && c.rejected() == before
}

func (c *Client) flushes(ctx context.Context) []func() error {
	all := []func() error{func() error { return c.flushSpans(ctx) }}
	if c.registry != nil {
		all = append(all, func() error { return c.unlessUnknown(c.registry.Flush(ctx)) })
	}
	return all
}

func (c *Client) flushSpans(ctx context.Context) error {
	if f, ok := c.given.(interface{ ForceFlush(context.Context) error }); ok {
		return f.ForceFlush(ctx)
	}
	return nil
}

// unlessUnknown is err, but nil when the collector takes no measures at all: that
// was said once, and is no reason to call every flush a failure.
func (c *Client) unlessUnknown(err error) error {
	if errors.Is(err, measure.ErrRejected) && c.measures.unknown.Load() {
		return nil
	}
	return err
}

// rejected is how many spans and points the collector left out of requests that
// it took.
func (c *Client) rejected() uint64 {
	n := uint64(0)
	for _, l := range []*link{c.spans, c.measures} {
		if l != nil {
			n += l.rejected.Load()
		}
	}
	return n
}

// Close sends what is left, for at most [Options.CloseTimeout], and ends the
// client. Spans ended later are dropped. Calling it again does nothing. A
// TracerProvider that was handed in is flushed and goes on.
func (c *Client) Close() {
	c.closeOnce.Do(func() {
		close(c.closing)
		ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
		defer cancel()
		all := []func() error{func() error {
			if c.own != nil {
				return c.own.Shutdown(ctx)
			}
			return c.flushSpans(ctx)
		}}
		if c.registry != nil {
			all = append(all, func() error { return c.unlessUnknown(end(ctx, c.registry.Shutdown)) })
		}
		if err := together(all...); err != nil {
			c.reporter.report(fmt.Errorf("hoptrace: not all was exported within %s when closing: %w; see Counts", c.timeout, err))
		}
		for _, l := range []*link{c.measures, c.spans} {
			if l != nil {
				l.transport.close()
			}
		}
	})
}

// Counts are the fates of a client's spans, or of its measures' points.
type Counts struct {
	Exported uint64 // acknowledged by the collector
	Dropped  uint64 // lost: the queue was full, an export failed for good, or the client was closed
	Queued   uint64 // waiting
}

// Counts returns the fates of the recorded spans so far, those of the program and
// those of the integrations together.
func (c *Client) Counts() Counts {
	var all Counts
	if c.own == nil || c.spans == nil {
		return all
	}
	rejected := c.spans.rejected.Load()
	all = c.processor.counts()
	r := c.own.recorder.Counts()
	all.Exported += r.Exported
	all.Queued += r.Queued
	all.Exported -= min(rejected, all.Exported)
	all.Dropped += r.Dropped + r.Failed + rejected
	return all
}

// MeasureCounts returns the fates of the measures' points so far. What the
// collector did not take for a while is sent later and not counted.
func (c *Client) MeasureCounts() Counts {
	if c.registry == nil {
		return Counts{}
	}
	m := c.registry.Counts()
	rejected := min(c.measures.rejected.Load(), m.Exported)
	return Counts{Exported: m.Exported - rejected, Dropped: m.Dropped + rejected}
}

var global struct {
	mu     sync.Mutex
	client *Client
}

// Init makes the program's client by [New] and makes it OpenTelemetry's global
// provider and propagator.
//
// A global provider that the program has set before stays what it is: the
// integrations use it, Init exports no spans itself, and says so once by
// [Options.OnError]. A propagator that was set before stays too.
func Init(opts Options) error {
	global.mu.Lock()
	defer global.mu.Unlock()
	if global.client != nil {
		return ErrInitialised
	}
	var found trace.TracerProvider
	if opts.TracerProvider == nil {
		if tp := otel.GetTracerProvider(); !isDefault(tp) {
			found, opts.TracerProvider = tp, tp
		}
	}
	foundPropagator := false
	if opts.Propagator == nil {
		if p := otel.GetTextMapPropagator(); !isDefault(p) {
			foundPropagator, opts.Propagator = true, p
		}
	}
	c, err := New(opts)
	if err != nil {
		return err
	}
	switch {
	case c.disabled:
		kill.off()
	case found != nil:
		c.reporter.report(fmt.Errorf("the program has set a TracerProvider before (%T): it is kept, integrations use it, and hoptrace exports no spans itself; to have it otherwise call hoptrace.Init first, or set Options.TracerProvider to say that it is meant so", found))
	case c.own != nil:
		otel.SetTracerProvider(c.own)
	}
	c.makeDefault(opts.MeterProvider)
	if !foundPropagator {
		otel.SetTextMapPropagator(&ownPropagator{c.propagator})
	}
	global.client = c
	return nil
}

// Flush is [Client.Flush] of the client made by [Init]. Without one it returns true.
func Flush(timeout time.Duration) bool {
	global.mu.Lock()
	c := global.client
	global.mu.Unlock()
	return c == nil || c.Flush(timeout)
}

// Close is [Client.Close] of the client made by [Init]; afterwards Init may be
// called again. Tracing that Init switched off, as OTEL_SDK_DISABLED said, is on
// again then. Without a client it does nothing.
func Close() {
	global.mu.Lock()
	c := global.client
	global.client = nil
	global.mu.Unlock()
	if c == nil {
		return
	}
	c.Close()
	if c.disabled {
		kill.undo()
	}
}

// killSwitch knows who switched tracing off.
type killSwitch struct {
	mu   sync.Mutex
	ours bool // Init did, and the program has not spoken since
}

var kill killSwitch

// off is Init's.
func (k *killSwitch) off() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ours = k.ours || messaging.Enabled()
	messaging.SetEnabled(false)
}

// undo takes back what off did.
func (k *killSwitch) undo() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ours {
		messaging.SetEnabled(true)
	}
	k.ours = false
}

// set is the program's.
func (k *killSwitch) set(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ours = false
	messaging.SetEnabled(on)
}

// SetEnabled switches all tracing of this process on or off while it runs. It is
// on at the start. Switched off, the wrappers of Kafka clients hand every call to
// the client below as it is, no measure is taken, and no span starts; spans that
// have started still end and are exported.
func SetEnabled(on bool) { kill.set(on) }

// Enabled reports whether tracing is switched on.
func Enabled() bool { return messaging.Enabled() }

func logError(err error) { slog.Default().Warn("tracing: " + err.Error()) }
