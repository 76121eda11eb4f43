package messaging

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"unicode/utf8"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

func ours(t testing.TB, o record.Options) (ourProvider, *Core) {
	t.Helper()
	o.Export = func(context.Context, record.Batch) error { return nil }
	p := ourProvider{
		tracenoop.NewTracerProvider(), record.New(o),
		measure.NewRegistry(measure.Options{Export: func(context.Context, measure.Batch) error { return nil }}),
	}
	t.Cleanup(func() {
		_ = p.recorder.Shutdown(context.Background())
		_ = p.registry.Shutdown(context.Background())
	})
	return p, NewCore(Config{Scope: "test", TracerProvider: p})
}

// spans runs f under OpenTelemetry's own SDK.
func spans(t *testing.T, cfg Config, f func(*Core)) []sdktrace.ReadOnlySpan {
	t.Helper()
	rec := tracetest.NewSpanRecorder()
	cfg.Scope, cfg.MeterProvider = "test", metricnoop.NewMeterProvider()
	cfg.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
	f(NewCore(cfg))
	return rec.Ended()
}

func TestAHookThatPanicsLeavesTheHandlerItsContext(t *testing.T) {
	ended := 0
	defer AddProcessHook(hookFunc{
		func(ctx context.Context, _ *Processing) context.Context { return ctx },
		func(error, any) { ended++ },
	})()
	defer AddProcessHook(hookFunc{
		func(context.Context, *Processing) context.Context { panic("a fault of the hook") },
		func(error, any) { panic("another") },
	})()
	defer AddProcessHook(hookFunc{
		func(context.Context, *Processing) context.Context { return nil },
		func(error, any) { ended++ },
	})()
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	ctx, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
	if ctx == nil {
		t.Fatal("the handler would get no context")
	}
	if q, ok := RecordFromContext(ctx); !ok || q != p {
		t.Error("the handler's context does not know its record")
	}
	p.End(nil, "")
	if ended != 2 {
		t.Errorf("%d hooks were told of the end; want 2", ended)
	}
	if n := count(MetricProcessDuration); n != 1 {
		t.Errorf("processing was measured %d times; want once", n)
	}
	if n := c.Panics(); n != 2 {
		t.Errorf("%d panics were counted; want 2", n)
	}
}

func TestAHookIsToldOfTheEndOfWhatItSawStart(t *testing.T) {
	c, _ := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	var ends [2]int
	watch := func(i int) func() {
		return AddProcessHook(hookFunc{
			func(ctx context.Context, _ *Processing) context.Context { return ctx },
			func(error, any) { ends[i]++ },
		})
	}
	remove := watch(0)
	_, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
	remove()
	defer watch(1)()
	p.End(nil, "")
	if ends != [2]int{1, 0} {
		t.Errorf("the hooks were told of %v ends; want [1 0]", ends)
	}
}

type badError struct{ text string }

func (e *badError) Error() string { return e.text }

func TestAnErrorThatPanicsEndsTheSpanAllTheSame(t *testing.T) {
	var err *badError // as a handler returns by mistake: not nil, and cannot be asked
	got := spans(t, Config{}, func(c *Core) {
		co := c.Consumer(ConsumerConfig{})
		_, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
		p.End(err, "bad")
		pr := c.Producer(ProducerConfig{})
		var call Call
		pr.Begin(context.Background(), &call)
		var s Send
		call.Start(&s, pr.Topic("orders"), trace.SpanContext{})
		var f Finisher
		pr.Finish(&f, "orders", 0, &Outcome{Err: err, ErrorType: "bad"})
		f.Add(&s, &Sent{})
		f.Done()
		co.Settle(context.Background(), &Settlement{Start: 1, End: 2, Err: err, ErrorType: "bad"})
	})
	if len(got) != 4 {
		t.Fatalf("%d spans ended; want receive, process, send and settle", len(got))
	}
}

func TestAdvisorLooksAtRecordsThatComeOneByOne(t *testing.T) {
	var log bytes.Buffer
	c := NewCore(Config{
		Scope: "test", TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	co := c.Consumer(ConsumerConfig{Group: "billing"})
	at := 1_700_000_000_000 * ms
	one := func(i, behind int64) {
		at += ms
		d := Delivery{
			Partition: co.Partition("orders", 0), Offset: i,
			RecordTime: at - behind, Asked: at, Answered: at + ms/2, Handed: at + ms,
		}
		Deliver[Header](context.Background(), &d, nil)
		_, p := co.StartProcess(context.Background(), &d, d.Handed)
		p.EndAt(nil, "", d.Handed+ms, false)
	}
	for i := range int64(1000) { // it keeps up at first
		one(i, 0)
	}
	for i := range int64(20_000) { // and then falls behind
		one(1000+i, 60_000*ms)
	}
	wants(t, log.String(), AdviceBehind)
}

func TestAHostilePathwayHeaderMakesNoTimesThatWrap(t *testing.T) {
	header := bytes.Repeat([]byte{0xff}, pathwayLen)
	header[0] = pathwayVersion << 4
	c := service("billing")
	co := c.Consumer(ConsumerConfig{})
	d := Delivery{Partition: co.Partition("orders", 0), Handed: c.Now()}
	Deliver(context.Background(), &d, []Header{{Key: HeaderPathway, Value: header}})
	if d.pathway.hash != 0 {
		t.Errorf("an origin %d µs after 1970 was taken for one", d.pathway.origin)
	}
}

func TestARecordWithoutATimeHasNoEndToEnd(t *testing.T) {
	for _, when := range []int64{0, -ms} { // Kafka's "no timestamp" is -1
		c, count := counted(t, Config{})
		co := c.Consumer(ConsumerConfig{})
		d := Delivery{Partition: co.Partition("orders", 0), RecordTime: when}
		Deliver[Header](context.Background(), &d, nil)
		_, p := co.StartProcess(context.Background(), &d, d.Handed)
		p.End(nil, "")
		if n := count(MetricEndToEnd); n != 0 {
			t.Errorf("a record of time %d has %d end-to-end durations; want none", when, n)
		}
	}
}

func TestAnUnknownAnswerIsAbsent(t *testing.T) {
	for _, tc := range []struct {
		d    Delivery
		want map[string]bool
	}{
		{Delivery{Asked: 5 * ms}, map[string]bool{AttrConsumeAsked: true}},
		{Delivery{Answered: 5 * ms}, map[string]bool{AttrConsumeAnswered: true}},
	} {
		got := spans(t, Config{}, func(c *Core) {
			co := c.Consumer(ConsumerConfig{})
			d := tc.d
			d.Partition, d.Handed = co.Partition("orders", 0), 6*ms
			Deliver[Header](context.Background(), &d, nil)
			_, p := co.StartProcess(context.Background(), &d, d.Handed)
			p.End(nil, "")
		})
		for _, a := range got[1].Attributes() {
			if k := string(a.Key); (k == AttrConsumeAsked || k == AttrConsumeAnswered) && !tc.want[k] {
				t.Errorf("%s is %d though it is unknown", k, a.Value.AsInt64())
			} else {
				delete(tc.want, k)
			}
		}
		if len(tc.want) > 0 {
			t.Errorf("the span lacks %v", tc.want)
		}
	}
}

func TestTheOldestRecordOfABatchHasATime(t *testing.T) {
	c, _ := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	ds := make([]Delivery, 3)
	for i, when := range []int64{0, 9 * ms, 8 * ms} {
		ds[i] = Delivery{Partition: co.Partition("orders", 0), Offset: int64(i), RecordTime: when, Handed: 10 * ms}
	}
	_, p := co.StartBatch(context.Background(), ds, 10*ms)
	defer p.End(nil, "")
	if got := p.Record().Offset; got != 2 {
		t.Errorf("the batch is told of as the record at %d; want 2, its oldest", got)
	}
}

func TestRandomFlagOfTheParentTravelsOn(t *testing.T) {
	_, c := ours(t, record.Options{Ratio: 1})
	for _, flags := range []trace.TraceFlags{2, 3} {
		parent := remote(1).WithTraceFlags(flags)
		ctx := trace.ContextWithSpanContext(context.Background(), parent)
		p := c.Producer(ProducerConfig{})
		var call Call
		p.Begin(ctx, &call)
		var s Send
		call.Start(&s, p.Topic("orders"), trace.SpanContext{})
		if got := s.Context().TraceFlags(); got != flags {
			t.Errorf("a record sent below flags %v carries %v", flags, got)
		}
		co := c.Consumer(ConsumerConfig{})
		_, pr := co.StartProcess(ctx, &Delivery{Partition: co.Partition("orders", 0)}, c.Now())
		if got := pr.SpanContext().TraceFlags(); got != flags {
			t.Errorf("a process span below flags %v has %v", flags, got)
		}
		pr.End(nil, "")
	}
}

func TestASamplerMaySampleBelowAnUnsampledParent(t *testing.T) {
	_, c := ours(t, record.Options{Decide: func(context.Context, trace.SpanContext, *record.Stream, trace.TraceID) bool { return true }})
	ctx := trace.ContextWithSpanContext(context.Background(), remote(1).WithTraceFlags(0))
	p := c.Producer(ProducerConfig{})
	var call Call
	p.Begin(ctx, &call)
	if _, ok := call.Unsampled(); ok {
		t.Error("no record of the call would have a span, though the sampler was not asked")
	}
}

func TestAKeyIsCutBetweenCharactersAndValid(t *testing.T) {
	for _, text := range []string{"a" + string(bytes.Repeat([]byte("ü"), MaxKeyText)), "\xff\xfe"} {
		c := NewCore(Config{Scope: "test", MessageKey: func([]byte) string { return text }})
		if got := c.KeyText([]byte("k")); !utf8.ValidString(got) || len(got) > MaxKeyText || got == "" {
			t.Errorf("key text of %d bytes, valid %t", len(got), utf8.ValidString(got))
		}
	}
	c := NewCore(Config{Scope: "test", MessageKey: func([]byte) string { panic("a fault of the program") }})
	if got := c.KeyText([]byte("k")); got != "" || c.Panics() != 1 {
		t.Errorf("a key that cannot be told is told as %q, with %d panics counted", got, c.Panics())
	}
}

func TestTheAmbientSpanIsLinkedWhereTheCreationIsTheParent(t *testing.T) {
	ambient, creation := remote(1).WithRemote(false), remote(2)
	got := spans(t, Config{Parent: true}, func(c *Core) {
		ctx := trace.ContextWithSpanContext(context.Background(), ambient)
		co := c.Consumer(ConsumerConfig{})
		d := Delivery{Partition: co.Partition("orders", 0)}
		Deliver(ctx, &d, []Header{{Key: HeaderTraceparent, Value: AppendTraceparent(nil, creation)}})
		_, p := co.StartProcess(ctx, &d, d.Handed)
		p.End(nil, "")
	})
	for _, s := range got {
		found := false
		for _, l := range s.Links() {
			found = found || l.SpanContext.SpanID() == ambient.SpanID()
		}
		if !found || s.Parent().SpanID() != creation.SpanID() {
			t.Errorf("span %q is a child of %s with links %v; want the creation and a link to the ambient span", s.Name(), s.Parent().SpanID(), s.Links())
		}
	}
}

var errSend = errors.New("send")

func TestAnAbandonedRecordIsNotCountedAsSent(t *testing.T) {
	c, count := counted(t, Config{})
	p := c.Producer(ProducerConfig{})
	var call Call
	p.Begin(context.Background(), &call)
	var s Send
	call.Start(&s, p.Topic("orders"), trace.SpanContext{})
	p.Abandon(&s, "orders", -1, errSend, "_OTHER", &Sent{})
	if n := count(MetricSentMessages); n != 0 {
		t.Errorf("%d messages were counted as sent that never were", n)
	}
	if n := count(MetricOperationDuration); n != 1 {
		t.Errorf("%d operations were measured; want the failed one", n)
	}
}

func TestALineageWithoutATopicsNameIsNone(t *testing.T) {
	// Bytes that are no text would cost an OTLP exporter the whole batch.
	for _, topic := range []string{"\xff\xfe", "a b", "ordérs", "a/b"} {
		if l, ok := ParseLineage(AppendLineage(nil, &Lineage{Topic: topic, Attempt: 1})); ok {
			t.Errorf("%q was taken for a topic: %+v", topic, l)
		}
	}
	if _, ok := ParseLineage(AppendLineage(nil, &Lineage{Topic: "Orders.v1_retry-2", Attempt: 1})); !ok {
		t.Error("a topic's name was not taken for one")
	}
}

func TestAnErrorThatIsNoTextIsMadeOne(t *testing.T) {
	got := spans(t, Config{}, func(c *Core) {
		co := c.Consumer(ConsumerConfig{})
		_, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
		p.End(errors.New("key \xff not known"), "_OTHER")
	})
	if d := got[1].Status().Description; !utf8.ValidString(d) || d == "" {
		t.Errorf("the span is described as %q", d)
	}
}

func TestWhatWasReadWhileSwitchedOffIsNoGap(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	deliver(co, 7)
	SetEnabled(false)
	defer SetEnabled(true)
	SetEnabled(true)
	deliver(co, 70)
	deliver(co, 71)
	if n := count(MetricGaps); n != 0 {
		t.Errorf("%d gaps; want none where nobody looked", n)
	}
	deliver(co, 80)
	if n := count(MetricGaps); n != 1 {
		t.Errorf("%d gaps; want the one after that", n)
	}
}

func TestNoLagIsToldWhileSwitchedOff(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	p := co.Partition("orders", 0)
	deliver(co, 7)
	defer SetEnabled(true)
	SetEnabled(false)
	p.got.Lock()
	p.watermark, p.lagKnown = 100, true
	p.got.Unlock()
	co.reportLag()
	if n := count(MetricLag); n != 0 {
		t.Errorf("a lag of %d was told of records that nobody counted", n)
	}
}

func TestABatchFromOneBrokerTellsIt(t *testing.T) {
	one, other := Server{"b1", 9092}, Server{"b2", 9092}
	for _, tc := range []struct {
		second Server
		want   string
	}{{one, "b1"}, {other, ""}} {
		got := spans(t, Config{WithoutReceive: true}, func(c *Core) {
			co := c.Consumer(ConsumerConfig{})
			ds := []Delivery{
				{Partition: co.Partition("orders", 0), Offset: 1, Broker: one},
				{Partition: co.Partition("orders", 0), Offset: 2, Broker: tc.second},
			}
			_, p := co.StartBatch(context.Background(), ds, c.Now())
			p.End(nil, "")
		})
		host := ""
		for _, a := range got[0].Attributes() {
			if a.Key == AttrServerAddress {
				host = a.Value.AsString()
			}
		}
		if host != tc.want {
			t.Errorf("a batch from %v and %v tells the server %q; want %q", one, tc.second, host, tc.want)
		}
	}
}

func TestAnErrorTypeThatPanicsEndsProcessing(t *testing.T) {
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	ctx, p := co.StartProcess(context.Background(), deliver(co, 7), c.Now())
	err := p.Run(ctx, func(error) string { panic("a fault of the wrapper") }, func(context.Context) error { return errSend })
	if !errors.Is(err, errSend) || count(MetricProcessDuration) != 1 {
		t.Errorf("Run returned %v, and processing was measured %d times", err, count(MetricProcessDuration))
	}
}
