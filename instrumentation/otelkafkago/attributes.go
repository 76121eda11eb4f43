package otelkafkago

import (
	"net"
	"strconv"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
)

// defaultBatchBytes is what a kafka.Writer with no BatchBytes uses.
const defaultBatchBytes = 1 << 20

// topicOptions are the name and the start options of all spans of one kind on
// one topic or partition, made once.
type topicOptions struct {
	topic string
	name  string
	start []trace.SpanStartOption
}

func newSendOptions(c *config, w *kafka.Writer, topic string) *topicOptions {
	attrs := common(c, "send", messaging.OperationSend, "queue.publish", topic)
	if host, port, ok := singleAddress(w.Addr); ok {
		attrs = append(attrs, attribute.String(messaging.AttrServerAddress, host))
		if port > 0 {
			attrs = append(attrs, attribute.Int(messaging.AttrServerPort, port))
		}
	}
	rt := w.Transport
	if t, ok := rt.(*transport); ok {
		rt = t.inner
	}
	if t, ok := rt.(*kafka.Transport); ok && t != nil && t.ClientID != "" {
		attrs = append(attrs, attribute.String(messaging.AttrClientID, t.ClientID))
	}
	return &topicOptions{topic: topic, name: spanName("send", topic), start: []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...),
	}}
}

func newConsumeOptions(c *config, kind trace.SpanKind, name, operation, sentryOp, group, clientID string, tp topicPartition) *topicOptions {
	attrs := append(common(c, name, operation, sentryOp, tp.topic),
		attribute.String(messaging.AttrPartitionID, partitionID(tp.partition)))
	if group != "" {
		attrs = append(attrs, attribute.String(messaging.AttrConsumerGroup, group))
	}
	if clientID != "" {
		attrs = append(attrs, attribute.String(messaging.AttrClientID, clientID))
	}
	return &topicOptions{topic: tp.topic, name: spanName(name, tp.topic), start: []trace.SpanStartOption{
		trace.WithSpanKind(kind), trace.WithAttributes(attrs...),
	}}
}

func common(c *config, name, operation, sentryOp, topic string) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 10+len(c.attributes))
	attrs = append(attrs, c.attributes...)
	attrs = append(attrs,
		attribute.String(messaging.AttrSystem, messaging.SystemKafka),
		attribute.String(messaging.AttrOperationName, name),
		attribute.String(messaging.AttrOperationType, operation),
		attribute.String(attrSentryOp, sentryOp),
	)
	if topic != "" {
		attrs = append(attrs, attribute.String(messaging.AttrDestinationName, topic))
	}
	return attrs
}

func spanName(operation, topic string) string {
	if topic == "" {
		return operation
	}
	return operation + " " + topic
}

// singleAddress splits addr when it names one broker; a list of bootstrap
// addresses does not tell which server was called.
func singleAddress(addr net.Addr) (host string, port int, ok bool) {
	if addr == nil {
		return "", 0, false
	}
	host, p, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(p)
	return host, port, err == nil
}

func partitionID(p int32) string { return strconv.Itoa(int(p)) }

func setError(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
}

// messageSize is what kafka-go compares with BatchBytes, rounded up.
func messageSize(m *kafka.Message) int64 { return messageSizeWith(m, m.Headers) }

func messageSizeWith(m *kafka.Message, headers []kafka.Header) int64 {
	const fixed = 4 + 1 + 1 + 4 + 4 + 8
	n := int64(fixed + 5 + len(m.Key) + len(m.Value))
	for i := range headers {
		n += int64(5 + len(headers[i].Key) + 5 + len(headers[i].Value))
	}
	return n
}

// headerCarrier lets any propagator read and write headers. Set never changes a
// header in place.
type headerCarrier struct{ headers []kafka.Header }

// Get returns the value of the last header with that key.
func (c *headerCarrier) Get(key string) string {
	for i := len(c.headers) - 1; i >= 0; i-- {
		if c.headers[i].Key == key {
			return string(c.headers[i].Value)
		}
	}
	return ""
}

// Set adds a header unless there is one with that key already.
func (c *headerCarrier) Set(key, value string) {
	for i := range c.headers {
		if c.headers[i].Key == key {
			return
		}
	}
	c.headers = append(c.headers[:len(c.headers):len(c.headers)], kafka.Header{Key: key, Value: []byte(value)})
}

// Keys lists the header keys.
func (c *headerCarrier) Keys() []string {
	keys := make([]string, len(c.headers))
	for i := range c.headers {
		keys[i] = c.headers[i].Key
	}
	return keys
}
