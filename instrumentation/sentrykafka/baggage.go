package sentrykafka

import (
	"context"
	"encoding/hex"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// sendHook writes Sentry's baggage into records: the dynamic sampling context of
// the trace that each belongs to.
type sendHook struct{}

// Baggage implements messaging.SendHook.
func (sendHook) Baggage(ctx context.Context, sc trace.SpanContext) string {
	if t := transactionOf(ctx, sc); t != nil {
		return frozen.of(t)
	}
	if travels(baggage.FromContext(ctx), sc) {
		return "" // it is frozen, and goes on as it came
	}
	client := hubOf(ctx).Client()
	if !client.IsEnabled() {
		return ""
	}
	// As dscOf(…).String(), which takes microseconds for each record.
	const sampled, unsampled = "sentry-sampled=true,sentry-trace_id=", "sentry-sampled=false,sentry-trace_id="
	o := identities.of(client)
	out := make([]byte, 0, len(unsampled)+32+1+len(o.text))
	if sc.IsSampled() {
		out = append(out, sampled...)
	} else {
		out = append(out, unsampled...)
	}
	id := sc.TraceID()
	out = hex.AppendEncode(out, id[:])
	if o.text != "" {
		out = append(append(out, ','), o.text...)
	}
	return string(out)
}

// transactionOf finds the transaction of Sentry's that sc belongs to.
func transactionOf(ctx context.Context, sc trace.SpanContext) *sentry.Span {
	if t := started.get(sc.SpanID()); t != nil {
		return t
	}
	s := sentry.SpanFromContext(ctx)
	if s == nil || s.TraceID != sentry.TraceID(sc.TraceID()) {
		return nil
	}
	return s.GetTransaction()
}

// travels tells whether bag has a dynamic sampling context of the trace of sc.
func travels(bag baggage.Baggage, sc trace.SpanContext) bool {
	m := bag.Member(messaging.SentryPrefix + "trace_id")
	return m.Key() != "" && m.Value() == sc.TraceID().String()
}

// dscOf makes the dynamic sampling context of a trace that began with sc, or with
// one before it, in this program; or the one that came with the record.
func dscOf(ctx context.Context, client *sentry.Client, sc trace.SpanContext) sentry.DynamicSamplingContext {
	bag := baggage.FromContext(ctx)
	dsc := sentry.DynamicSamplingContext{Entries: make(map[string]string), Frozen: true}
	if travels(bag, sc) {
		for _, m := range bag.Members() {
			if name, ok := strings.CutPrefix(m.Key(), messaging.SentryPrefix); ok {
				dsc.Entries[name] = m.Value()
			}
		}
		return dsc
	}
	if !client.IsEnabled() {
		return sentry.DynamicSamplingContext{}
	}
	dsc.Entries["trace_id"] = sc.TraceID().String()
	dsc.Entries["sampled"] = strconv.FormatBool(sc.IsSampled())
	maps.Copy(dsc.Entries, identities.of(client).entries)
	return dsc
}

// identity is what a client tells of itself in baggage.
type identity struct {
	entries map[string]string
	text    string // the same as members
}

// identities keeps that of the client asked for last: its options are large, and
// copied each time they are asked for.
var identities identityCache

type identityCache struct {
	mu     sync.Mutex
	client *sentry.Client
	id     identity
}

func (c *identityCache) of(client *sentry.Client) identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == client {
		return c.id
	}
	o := client.Options()
	id := identity{entries: make(map[string]string)}
	set := func(name, v string) {
		if v != "" {
			id.entries[name] = v
		}
	}
	set("release", o.Release)
	set("environment", o.Environment)
	if dsn, err := sentry.NewDsn(o.Dsn); err == nil && o.Dsn != "" {
		set("public_key", dsn.GetPublicKey())
		if n := dsn.GetOrgID(); n != 0 {
			set("org_id", strconv.FormatUint(n, 10))
		}
	}
	if o.OrgID != 0 {
		set("org_id", strconv.FormatUint(o.OrgID, 10))
	}
	id.text = sentry.DynamicSamplingContext{Entries: id.entries, Frozen: true}.String()
	c.client, c.id = client, id
	return id
}

// frozen keeps the baggage of the transaction asked for last. Asking one freezes
// its context, which the SDK does without a lock.
var frozen frozenCache

type frozenCache struct {
	mu   sync.Mutex
	last *sentry.Span
	text string
}

func (c *frozenCache) of(t *sentry.Span) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != t {
		c.last, c.text = t, t.ToBaggage()
	}
	return c.text
}

// started keeps the transactions of sends that began one, until they end.
var started startedSends

type startedSends struct {
	mu   sync.Mutex
	open map[trace.SpanID]*sentry.Span
}

// maxStarted bounds them; records sent beyond carry no dynamic sampling context.
const maxStarted = 1 << 16

func (s *startedSends) add(id trace.SpanID, t *sentry.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[trace.SpanID]*sentry.Span)
	}
	if len(s.open) < maxStarted {
		s.open[id] = t
	}
}

func (s *startedSends) get(id trace.SpanID) *sentry.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

func (s *startedSends) remove(id trace.SpanID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
}
