package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// Programs of other languages send orders through Go services and read them
// again behind those, all under the instrumentation that their own world gives
// them. Each order is one line of spans, in the store as on the wire.
func TestOneTraceThroughOtherLanguages(t *testing.T) {
	n := startNetwork(t)
	orders := []string{"order-1", "order-2"}
	n.makeTopics(t, goFirst)
	n.goRoots = n.sendFirst(t, goFirst, goFirst, orders)
	run := func(name string, f foreign) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.orders = orders
			n.oneTrace(t, f)
		})
	}
	// Each of the three Go clients stands behind some, with the producer's span as
	// parent and linked only. The other direction ends at the consumer's own reading of a context: most
	// make it the parent, confluent-kafka's instrumentation only links to it.
	run("kafkajs with the Sentry SDK", foreign{service: "js-sentry", command: n.with.nodeProgram(t, "sentry.mjs"), sentry: true, joined: byKafkaGo, linked: bySarama})
	run("kafkajs with OpenTelemetry", foreign{service: "js-otel", command: n.with.nodeProgram(t, "otel.mjs"), joined: byFranz, linked: byKafkaGo})
	run("Java with OpenTelemetry", foreign{service: "java", command: n.with.javaProgram(t), joined: bySarama, linked: byFranz})
	run("confluent-kafka with OpenTelemetry", foreign{service: "py-confluent", command: n.with.pythonProgram("confluent-kafka"), links: true, joined: byKafkaGo, linked: byFranz})
	run("kafka-python with OpenTelemetry", foreign{service: "py-kafka", command: n.with.pythonProgram("kafka-python"), noHandlerSpan: true, joined: byFranz, linked: bySarama})
	t.Run("kafkajs and Go with their Sentry SDKs alone", func(t *testing.T) {
		t.Parallel()
		n.sentryAlone(t, orders)
	})
}

// goFirst is a Go service and the topic it sends to, which all others read.
const goFirst = "go-first"

// oneTrace sends a foreign program's orders through two Go services side by
// side, the one with the producer's span as parent, the other with a link to it
// only, and back to the program.
func (n *network) oneTrace(t *testing.T, f foreign) {
	s := f.service
	sent, joined, linked := s+"-sent", s+"-joined", s+"-linked"
	goJoined, goLinked := "go-joined-"+s, "go-linked-"+s
	n.makeTopics(t, sent, joined, linked)
	hops := map[string]goHop{
		goJoined: {service: goJoined, from: sent, to: joined, orders: len(f.orders), client: f.joined, parent: true},
		goLinked: {service: goLinked, from: sent, to: linked, orders: len(f.orders), client: f.linked},
	}
	back := []string{joined, linked, goFirst}
	if f.sentry {
		// JavaScript → Go → Go.
		shipped, goShipping := s+"-shipped", "go-shipping-"+s
		n.makeTopics(t, shipped)
		hops[goShipping] = goHop{service: goShipping, from: joined, to: shipped, orders: len(f.orders), client: byFranz, parent: true}
		back = append(back, shipped)
	}
	wait := map[string]func() map[string]handled{}
	for name, hop := range hops {
		wait[name] = hop.start(t, n)
	}
	told := f.run(t, n, sent, back)
	handledBy := map[string]map[string]handled{}
	for name, w := range wait {
		handledBy[name] = w()
	}
	if f.sentry {
		n.pythonBehindSentry(t, s, f.orders, told)
	}

	for _, root := range told.Sent {
		l := n.line(t, f, told, root.TraceID, func(l *line) {
			l.want(s, "producer", sent)
			l.want(goJoined, "consumer", sent)
			l.want(goLinked, "consumer", sent)
			l.want(s, "consumer", joined)
			l.want(s, "consumer", linked)
		})
		producer := l.one(s, "producer", sent)
		if producer.TraceID != root.TraceID || producer.ParentID != root.SpanID {
			t.Errorf("%s: the producer's span is %s in %s, want it below %s in %s", root.Order, producer.SpanID, producer.TraceID, root.SpanID, root.TraceID)
		}
		for _, service := range []string{goJoined, goLinked} {
			h := handledBy[service][root.Order]
			f.checkHeaders(t, h.headers, producer)
			l.ranIn(service, sent, h.span)
		}
		l.isChild(l.one(goJoined, "consumer", sent), producer)
		l.isChild(l.one(goJoined, "receive", sent), producer)
		l.linksTo(l.one(goJoined, "consumer", sent), producer)
		l.linksTo(l.one(goLinked, "consumer", sent), producer)
		l.linksTo(l.one(goLinked, "receive", sent), producer)
		l.isChild(l.one(goLinked, "consumer", sent), l.one(goLinked, "receive", sent))
		own := l.one(goLinked, "consumer", sent)
		if own.TraceID == root.TraceID {
			t.Errorf("%s: linked by default, but %s is in the producer's trace", root.Order, own.SpanID)
		}
		for _, id := range []string{root.TraceID, own.TraceID} {
			if !slices.Contains(l.Traces, id) {
				t.Errorf("%s: the journey has the traces %v, not %s", root.Order, l.Traces, id)
			}
		}
		// The way back.
		for service, topic := range map[string]string{goJoined: joined, goLinked: linked} {
			send := l.one(service, "producer", topic)
			l.isChild(send, l.one(service, "consumer", sent))
			f.checkRead(t, l, told, root.Order, topic, send)
		}
		if f.sentry {
			shipping := "go-shipping-" + s
			l.isChild(l.one(shipping, "consumer", joined), l.one(goJoined, "producer", joined))
			send := l.one(shipping, "producer", s+"-shipped")
			l.isChild(send, l.one(shipping, "consumer", joined))
			f.checkRead(t, l, told, root.Order, s+"-shipped", send)
			l.hasHop(joined, shipping, l.one(goJoined, "producer", joined).SpanID, l.one(shipping, "consumer", joined).SpanID)
			l.hasHop(sent, goJoined, producer.SpanID, l.one(goJoined, "consumer", sent).SpanID)
			continue
		}
		l.hasHop(sent, goJoined, producer.SpanID, l.one(goJoined, "consumer", sent).SpanID)
		l.hasHop(sent, goLinked, producer.SpanID, own.SpanID)
		l.hasHop(joined, "", l.one(goJoined, "producer", joined).SpanID, l.one(s, "consumer", joined).SpanID)
		l.hasHop(linked, "", l.one(goLinked, "producer", linked).SpanID, l.one(s, "consumer", linked).SpanID)
	}
	if f.sentry {
		n.eventIsOnTheWay(t, told)
		n.eventKnowsItsRecord(t, told)
	}

	// From Go to the program.
	for order, root := range n.goRoots {
		l := n.line(t, f, told, root.TraceID().String(), func(l *line) {
			l.want(goFirst, "producer", goFirst)
			l.want(s, "consumer", goFirst)
		})
		send := l.one(goFirst, "producer", goFirst)
		if send.ParentID != root.SpanID().String() {
			t.Errorf("%s: Go's send span is below %s, want %s", order, send.ParentID, root.SpanID())
		}
		f.checkRead(t, l, told, order, goFirst, send)
	}
}

// checkHeaders looks at a record as its producer's instrumentation left it.
func (f foreign) checkHeaders(t *testing.T, headers map[string]string, producer harness.Span) {
	t.Helper()
	traceparent, has := headers["traceparent"]
	sentry := headers["sentry-trace"]
	switch {
	case !f.sentry && !strings.HasPrefix(traceparent, "00-"+producer.TraceID+"-"+producer.SpanID+"-"):
		t.Errorf("the record carries traceparent %q, want that of %s", traceparent, producer.SpanID)
	case f.sentry && has:
		t.Errorf("the Sentry SDK now writes traceparent %q: tell so in the documentation", traceparent)
	case f.sentry && !strings.HasPrefix(sentry, producer.TraceID+"-"+producer.SpanID):
		t.Errorf("the record carries sentry-trace %q, want that of %s", sentry, producer.SpanID)
	}
}

// checkRead compares what the program's consumer saw of an order on a topic, and
// the span that it made of it, with the span that sent it.
func (f foreign) checkRead(t *testing.T, l *line, told relayed, order, topic string, send harness.Span) {
	t.Helper()
	i := slices.IndexFunc(told.Read, func(r readRecord) bool { return r.Order == order && r.Topic == topic })
	if i < 0 {
		t.Fatalf("%s did not read %s from %s", f.service, order, topic)
	}
	r := told.Read[i]
	if got, want := r.Headers["traceparent"], "00-"+send.TraceID+"-"+send.SpanID+"-"; !strings.HasPrefix(got, want) {
		t.Errorf("%s read %s from %s with traceparent %q, want %s…", f.service, order, topic, got, want)
	}
	if got, want := r.Headers["sentry-trace"], send.TraceID+"-"+send.SpanID+"-1"; f.sentry && got != want {
		t.Errorf("%s read %s from %s with sentry-trace %q, want %s", f.service, order, topic, got, want)
	}
	// What Sentry's part of the baggage says must be said of this trace.
	if got, want := r.Headers["baggage"], "sentry-trace_id="+send.TraceID; strings.Contains(got, "sentry-") && !strings.Contains(got, want) {
		t.Errorf("%s read %s from %s with baggage %q, want none of another trace than %s", f.service, order, topic, got, send.TraceID)
	}
	consumer := l.one(f.service, "consumer", topic)
	if f.links {
		l.linksTo(consumer, send)
	} else {
		l.isChild(consumer, send)
	}
	if !f.noHandlerSpan && (r.TraceID != consumer.TraceID || r.SpanID != consumer.SpanID) {
		t.Errorf("%s: the handler of %s from %s ran in span %s of %s, its consumer span is %s of %s", f.service, order, topic, r.SpanID, r.TraceID, consumer.SpanID, consumer.TraceID)
	}
}

// pythonBehindSentry: who understands only traceparent loses the trace behind
// the Sentry SDK for Node.js, and has it again behind one Go service.
func (n *network) pythonBehindSentry(t *testing.T, s string, orders []string, told relayed) {
	t.Helper()
	python := foreign{service: "py-behind-sentry", command: n.with.pythonProgram("kafka-python"), orders: orders, noHandlerSpan: true}
	read := python.run(t, n, "", []string{s + "-sent", s + "-joined"})
	for _, root := range told.Sent {
		l := n.line(t, python, read, root.TraceID, func(l *line) { l.want(python.service, "consumer", s+"-joined") })
		python.checkRead(t, l, read, root.Order, s+"-joined", l.one("go-joined-"+s, "producer", s+"-joined"))
		for _, sp := range l.Spans {
			if sp.Service == python.service && destination(sp) == s+"-sent" {
				t.Errorf("%s: span %s of the record straight from the Sentry SDK is in this journey: is sentry-trace read now?", root.Order, sp.SpanID)
			}
		}
	}
	// It made spans of those records too: roots of traces of their own.
	var traces harness.TraceList
	harness.Until(t, "Python's own traces of the records straight from the Sentry SDK", 20*time.Second, func() error {
		n.h.MustGet(t, "traces?topic="+s+"-sent&limit=100", &traces)
		own := 0
		for _, tr := range traces.Traces {
			if slices.Equal(tr.Services, []string{python.service}) && tr.Spans == 1 {
				own++
			}
		}
		if own != len(orders) {
			return fmt.Errorf("there are %d of one span by %s alone, want %d: %+v", own, python.service, len(orders), traces.Traces)
		}
		return nil
	})
}

// eventIsOnTheWay: the error that the Sentry SDK sent from inside an order is
// shown on the journey that the Go services' spans make.
func (n *network) eventIsOnTheWay(t *testing.T, told relayed) {
	t.Helper()
	trace := told.Sent[0].TraceID
	harness.Until(t, "the Sentry SDK's event is on the journey of "+trace, 20*time.Second, func() error {
		var j harness.Journey
		if err := n.h.Get("traces/"+trace, &j); err != nil {
			return err
		}
		for _, e := range j.Events {
			if e.ID == told.Event {
				return nil
			}
		}
		return fmt.Errorf("event %s is not among %v", told.Event, j.Events)
	})
}

// eventKnowsItsRecord: the error that the Sentry SDK sent while its program read a
// record tells no record by itself; the span around it does.
func (n *network) eventKnowsItsRecord(t *testing.T, told relayed) {
	t.Helper()
	i := slices.IndexFunc(told.Read, func(r readRecord) bool {
		return r.TraceID == told.Failed.TraceID && r.SpanID == told.Failed.SpanID
	})
	if i < 0 || told.Failed.Event == "" {
		t.Fatalf("event %q was of no record that was read", told.Failed.Event)
	}
	found := eventsByID(t, n.h, []string{told.Failed.Event})[told.Failed.Event]
	harness.Until(t, "the event knows its record of "+told.Read[i].Topic, 20*time.Second, func() error {
		var e harness.EventDetail
		if err := n.h.Get("issues/"+found.issue.ID+"/events/"+told.Failed.Event, &e); err != nil {
			return err
		}
		if m := e.Message; m == nil || m.FoundBy != "span" || m.Hop.Topic != told.Read[i].Topic {
			return fmt.Errorf("its message is %+v", m)
		}
		return nil
	})
}

// line is the journey of one order, with the spans that the Sentry SDK made
// and keeps to itself.
type line struct {
	harness.Journey

	t       *testing.T
	missing error
}

// line waits for a journey until all that is wanted of it is there.
func (n *network) line(t *testing.T, f foreign, told relayed, trace string, want func(*line)) *line {
	t.Helper()
	l := &line{t: t}
	harness.Until(t, "the whole journey of "+trace, 30*time.Second, func() error {
		l.Journey, l.missing = harness.Journey{}, nil
		if err := n.h.Get("traces/"+trace, &l.Journey); err != nil {
			return err
		}
		for _, sp := range told.Spans {
			if slices.Contains(l.Traces, sp.TraceID) {
				l.Spans = append(l.Spans, sp)
			}
		}
		want(l)
		return l.missing
	})
	if len(l.Cut) > 0 {
		t.Errorf("journey %s is cut: %s", trace, l.Cut)
	}
	return l
}

// destination is the topic of a span, under the name of today or yesterday.
func destination(sp harness.Span) string {
	if d := sp.Attribute("messaging.destination.name"); d != "" {
		return d
	}
	return sp.Attribute("messaging.destination")
}

// find looks for the spans of a service that do something with a topic: those of
// a kind, or of a Go service those that receive, which are of kind client.
func (l *line) find(service, kind, topic string) []harness.Span {
	var found []harness.Span
	for _, sp := range l.Spans {
		is := sp.Kind == kind || sp.Kind == "client" && sp.Attribute("messaging.operation.type") == kind
		if is && sp.Service == service && destination(sp) == topic {
			found = append(found, sp)
		}
	}
	return found
}

func (l *line) want(service, kind, topic string) {
	if len(l.find(service, kind, topic)) == 0 && l.missing == nil {
		var there []string
		for _, sp := range l.Spans {
			there = append(there, fmt.Sprintf("%s %q of %s over %q", sp.Kind, sp.Name, sp.Service, destination(sp)))
		}
		l.missing = fmt.Errorf("no %s span of %s over %s is there yet, only %s", kind, service, topic, strings.Join(there, ", "))
	}
}

// one is the only span of a service that does something with a topic.
func (l *line) one(service, kind, topic string) harness.Span {
	l.t.Helper()
	found := l.find(service, kind, topic)
	if len(found) != 1 {
		l.t.Fatalf("journey %s has %d %s spans of %s over %s, want one", l.TraceID, len(found), kind, service, topic)
	}
	return found[0]
}

func (l *line) isChild(child, parent harness.Span) {
	l.t.Helper()
	if child.TraceID != parent.TraceID || child.ParentID != parent.SpanID {
		l.t.Errorf("%q of %s is in trace %s below %q, want it in %s below %q of %s, %s", child.Name, child.Service, child.TraceID, child.ParentID, parent.TraceID, parent.Name, parent.Service, parent.SpanID)
	}
}

func (l *line) linksTo(from, to harness.Span) {
	l.t.Helper()
	if len(from.Links) != 1 || from.Links[0].TraceID != to.TraceID || from.Links[0].SpanID != to.SpanID {
		l.t.Errorf("%q of %s has the links %v, want one to %q of %s, %s in trace %s", from.Name, from.Service, from.Links, to.Name, to.Service, to.SpanID, to.TraceID)
	}
}

// ranIn tells that a Go handler ran in the span that is in the store.
func (l *line) ranIn(service, topic string, in trace.SpanContext) {
	l.t.Helper()
	sp := l.one(service, "consumer", topic)
	if sp.TraceID != in.TraceID().String() || sp.SpanID != in.SpanID().String() {
		l.t.Errorf("the handler of %s ran in span %s of %s, stored is %s of %s", service, in.SpanID(), in.TraceID(), sp.SpanID, sp.TraceID)
	}
}

// hasHop looks for a hop with these two sides. Without a group any will do; an
// empty producer is one that sends no spans to the store.
func (l *line) hasHop(topic, group, producer, consumer string) {
	l.t.Helper()
	var of []string
	for _, hop := range l.Hops {
		if hop.Topic != topic || hop.Consumer == nil || group != "" && hop.Group != group {
			continue
		}
		got := ""
		if hop.Producer != nil {
			got = hop.Producer.SpanID
		}
		if got == producer && hop.Consumer.SpanID == consumer {
			return
		}
		of = append(of, hop.Record())
	}
	l.t.Errorf("journey %s has no hop over %s from span %q to span %s; it has %v", l.TraceID, topic, producer, consumer, of)
}
