package messaging

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/record"
)

// refused is what failed attempts to read one topic share.
type refused struct {
	op     *operation
	groups cache[string, *measure.Group] // by error.type
}

func (c *Consumer) newRefused(topic string) *refused {
	var late []attribute.KeyValue
	if c.config.Group != "" {
		late = append(late, attribute.String(AttrConsumerGroup, c.config.Group))
	}
	measured := late
	if c.config.ClientID != "" {
		late = append(late[:len(late):len(late)], attribute.String(AttrClientID, c.config.ClientID))
	}
	attrs := []attribute.KeyValue{
		attribute.String(AttrSystem, SystemKafka),
		attribute.String(AttrOperationName, c.config.Receive),
		attribute.String(AttrOperationType, OperationReceive),
	}
	if topic != "" {
		attrs = append(attrs, attribute.String(AttrDestinationName, topic))
	}
	attrs = append(attrs, measured...)
	r := &refused{op: c.core.operation(spanName(c.config.Receive, topic), trace.SpanKindClient, consumeLayout,
		c.core.attributes(c.config.Receive, OperationReceive, SentryOpReceive, topic, late...))}
	r.groups.init(func(kind string) *measure.Group {
		return c.core.meter.Group(receiveMeasures, append(attrs[:len(attrs):len(attrs)], attribute.String(AttrErrorType, kind))...)
	})
	return r
}

// ReceiveFailed tells that the application asked for records at called and got an
// error of the broker or the client instead, so that a consumer which is locked
// out does not look like one that idles. It is not for contexts that ended and
// clients that were closed. topic is empty when the client reads several.
func (c *Consumer) ReceiveFailed(ctx context.Context, topic string, called int64, err error, errorType func(error) string) {
	defer c.core.Guard()
	r, kind := c.refusals.get(topic), c.core.errorType(err, errorType)
	s := record.Span{Start: called, End: c.core.now()}
	var sc trace.SpanContext
	sampled := false
	if !c.core.config.WithoutReceive {
		sc, sampled = r.op.emit(ctx, &s, trace.SpanContextFromContext(ctx), &record.Extra{
			Attributes: []attribute.KeyValue{attribute.String(AttrErrorType, kind)},
			Status:     codes.Error, Description: c.core.text(err),
		}, nil)
	}
	var ex *measure.Exemplar
	if sampled {
		ex = &measure.Exemplar{TraceID: sc.TraceID(), SpanID: sc.SpanID()}
	}
	g := r.groups.get(kind)
	g.Lock()
	g.Duration(receiveDuration, s.End-called, 1, ex)
	g.Unlock()
}
