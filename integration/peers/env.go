package peers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/mocktracer"
	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
)

// topic is what every case uses; it has three partitions.
const (
	topic      = "orders"
	partitions = 3
)

// Env is what a case runs in: a broker of its own, and where spans go. Cases run
// one after the other, since peers use globals.
type Env struct {
	Address  string
	Cluster  *kfake.Cluster
	Provider trace.TracerProvider // what a client is told to use

	way    string
	sink   *Sink // of Provider
	other  *Sink // of OpenTelemetry's global provider, which nobody should use
	dd     mocktracer.Tracer
	flush  []func(context.Context) error
	closes []func()
}

// NewEnv starts a broker and the telemetry of one way.
func NewEnv(way string) (_ *Env, err error) {
	e := &Env{way: way}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	if e.Cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic)); err != nil {
		return nil, fmt.Errorf("cannot start a broker: %w", err)
	}
	e.closes = append(e.closes, e.Cluster.Close)
	e.Address = e.Cluster.ListenAddrs()[0]
	if way == "dd" {
		e.dd = mocktracer.Start()
		e.closes = append(e.closes, e.dd.Stop)
		return e, nil
	}
	if e.sink, err = e.newSink(); err != nil {
		return nil, err
	}
	if e.other, err = e.newSink(); err != nil {
		return nil, err
	}
	if way == "init" {
		e.Provider, err = e.initProvider()
	} else {
		e.Provider, err = e.sdkProvider(e.sink)
	}
	if err != nil {
		return nil, err
	}
	global, err := e.sdkProvider(e.other)
	if err != nil {
		return nil, err
	}
	wasProvider, wasPropagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	otel.SetTracerProvider(global)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	e.closes = append(e.closes, func() {
		otel.SetTracerProvider(wasProvider)
		otel.SetTextMapPropagator(wasPropagator)
	})
	return e, nil
}

func (e *Env) newSink() (*Sink, error) {
	s, err := NewSink()
	if err == nil {
		e.closes = append(e.closes, s.Close)
	}
	return s, err
}

func (e *Env) sdkProvider(s *Sink) (trace.TracerProvider, error) {
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpoint(s.Address), otlptracehttp.WithInsecure())
	if err != nil {
		return nil, err
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(1<<15)))
	e.flush = append(e.flush, p.ForceFlush)
	e.closes = append(e.closes, func() { _ = p.Shutdown(context.Background()) })
	return p, nil
}

func (e *Env) initProvider() (trace.TracerProvider, error) {
	c, err := hoptrace.New(hoptrace.Options{
		ServiceName: "peers", Endpoint: "http://" + e.sink.Address, Protocol: hoptrace.ProtocolHTTP, Compression: hoptrace.CompressionNone,
	})
	if err != nil {
		return nil, err
	}
	e.flush = append(e.flush, func(context.Context) error {
		if !c.Flush(10 * time.Second) {
			return errors.New("hoptrace: the spans were not exported within 10 s")
		}
		return nil
	})
	e.closes = append(e.closes, c.Close)
	return c.TracerProvider(), nil
}

// Way is where spans go: "init", "sdk" or "dd".
func (e *Env) Way() string { return e.way }

// Close ends what NewEnv began, the last first.
func (e *Env) Close() {
	for len(e.closes) > 0 {
		last := len(e.closes) - 1
		f := e.closes[last]
		e.closes = e.closes[:last]
		f()
	}
}

// Scopes returns what was exported so far: by the provider that the client was
// given, and by the global one.
func (e *Env) Scopes() (given, global []*traces.ScopeSpans, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, f := range e.flush {
		if err := f(ctx); err != nil {
			return nil, nil, err
		}
	}
	given, err1 := e.sink.Scopes()
	global, err2 := e.other.Scopes()
	return given, global, errors.Join(err1, err2)
}

// Spans returns the spans that ended so far, wherever they went, by start.
func (e *Env) Spans() ([]Span, error) {
	if e.dd != nil {
		return spansOfDD(e.dd), nil
	}
	given, global, err := e.Scopes()
	return spansOf(append(given, global...)), err
}

// Strays counts the spans that went to the global provider instead.
func (e *Env) Strays() (int, error) {
	if e.dd != nil {
		return 0, nil
	}
	_, global, err := e.Scopes()
	return len(spansOf(global)), err
}

// Ambient returns a context as the program has it when it sends: with a span that
// is sampled or not.
func (e *Env) Ambient(ctx context.Context, sampled bool) context.Context {
	if e.dd != nil {
		if sampled {
			return ctx
		}
		span, ctx := tracer.StartSpanFromContext(ctx, "parent", tracer.Tag("manual.drop", true))
		_ = span // it never ends: it is the program's
		return ctx
	}
	c := trace.SpanContextConfig{TraceID: trace.TraceID{1, 15: 9}, SpanID: trace.SpanID{2}}
	if sampled {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
}

// Stored reads n records of the topic as they lie in the broker, by a client that
// nobody instruments, in the order of partition and offset.
func (e *Env) Stored(ctx context.Context, n int) (out [partitions][]Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.Address), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return out, err
	}
	defer cl.Close()
	for n > 0 {
		f := cl.PollRecords(ctx, n)
		if err := f.Err(); err != nil {
			return out, fmt.Errorf("cannot read %d more stored records: %w", n, err)
		}
		f.EachRecord(func(r *kgo.Record) {
			m := Message{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, Header{Key: h.Key, Value: h.Value})
			}
			out[r.Partition] = append(out[r.Partition], m)
			n--
		})
	}
	return out, nil
}

// Store writes records to partition 0 by a client that nobody instruments.
func (e *Env) Store(ctx context.Context, ms ...Message) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, m := range ms {
		r := &kgo.Record{Topic: topic, Partition: m.Partition, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			return fmt.Errorf("cannot store a record: %w", err)
		}
	}
	return nil
}

// FailPartition answers produce requests that carry the partition with a code,
// and stores nothing of them.
func (e *Env) FailPartition(partition int32, code int16) {
	e.Cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		e.Cluster.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		hit := false
		for _, t := range req.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.LogAppendTime = p.Partition, -1
				if p.Partition == partition {
					hit, part.ErrorCode, part.BaseOffset = true, code, -1
				}
				topic.Partitions = append(topic.Partitions, part)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, hit
	})
}

// FailOnce answers the next produce request with a code that clients retry.
func (e *Env) FailOnce(code int16) {
	e.Cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.ProduceRequest)
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic, topic.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.LogAppendTime, part.ErrorCode, part.BaseOffset = p.Partition, -1, code, -1
				topic.Partitions = append(topic.Partitions, part)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
}

// Delay makes the broker take its time over the next request of a kind.
func (e *Env) Delay(key kmsg.Key, d time.Duration) {
	e.Cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		time.Sleep(d) // the broker's own slowness is what is tested
		return nil, nil, false
	})
}
