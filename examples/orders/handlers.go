package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// checkouts is how many requests are served at a time: each waits for the
// broker's acknowledgement.
const checkouts = 128

// takeOrders plays the customers until ctx ends or there were enough. Requests
// under way then are finished, as long as sending lasts.
func (svc *service) takeOrders(ctx, sending context.Context) {
	requests := make(chan int)
	var workers sync.WaitGroup
	for range checkouts {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := range requests {
				svc.checkout(sending, number)
			}
		}()
	}
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	number := 0
arrivals:
	for svc.cfg.count == 0 || number < svc.cfg.count {
		select {
		case <-ctx.Done():
			break arrivals
		case <-timer.C:
		}
		due := int(time.Since(start).Seconds()*svc.cfg.rate) + 1
		for number < due && (svc.cfg.count == 0 || number < svc.cfg.count) {
			select {
			case requests <- number + 1:
				number++
			case <-ctx.Done():
				break arrivals
			}
		}
		next := time.Duration(float64(number) / svc.cfg.rate * float64(time.Second))
		timer.Reset(max(time.Until(start.Add(next)), time.Millisecond))
	}
	close(requests)
	workers.Wait()
}

// checkout is the request that an order begins with.
func (svc *service) checkout(ctx context.Context, number int) {
	ctx, span := svc.tracer.Start(ctx, "POST /checkout", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", "POST"),
		attribute.String("http.route", "/checkout"),
		attribute.String("url.path", "/checkout"),
		attribute.String("url.scheme", "https"),
	))
	defer span.End()
	o := &Order{
		ID:       fmt.Sprintf("%s-%d", svc.run, number),
		Number:   number,
		Customer: fmt.Sprintf("customer-%d", rand.IntN(500)), //nolint:gosec // an example's customers
		Amount:   500 + rand.IntN(20_000),                    //nolint:gosec // as above
		Currency: "EUR",
	}
	span.SetAttributes(attribute.String("shop.order.id", o.ID))
	svc.begin(o.ID)
	if err := svc.send(ctx, topicOrders, o); err != nil {
		span.SetStatus(codes.Error, err.Error())
		span.SetAttributes(attribute.Int("http.response.status_code", 503))
		svc.log.Error("an order is lost", "err", err)
		return
	}
	span.SetAttributes(attribute.Int("http.response.status_code", 202))
}

// acceptOrder is the orders service.
func (svc *service) acceptOrder(ctx context.Context, _ kafka.Message, o *Order) error {
	ctx, span := svc.tracer.Start(ctx, "reserve stock", trace.WithAttributes(attribute.String("shop.order.id", o.ID)))
	err := pause(ctx, svc.cfg.paymentsDelay/30)
	span.End()
	if err != nil {
		return err
	}
	return svc.send(ctx, topicPayments, o)
}

// takePayment is the payments service. A declined order goes on to shipping too,
// unpaid, so that every order makes three hops.
func (svc *service) takePayment(ctx context.Context, m kafka.Message, o *Order) error {
	err := svc.charge(ctx, o)
	o.Paid = err == nil
	var declined *CardDeclinedError
	if errors.As(err, &declined) {
		svc.failed.Add(1)
		svc.report(ctx, m, err)
	} else if err != nil {
		return err
	}
	if sendErr := svc.send(ctx, topicShipping, o); sendErr != nil {
		return sendErr
	}
	return err
}

func (svc *service) charge(ctx context.Context, o *Order) error {
	ctx, span := svc.tracer.Start(ctx, "charge card", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("shop.order.id", o.ID), attribute.Int("shop.order.amount_cents", o.Amount)))
	defer span.End()
	d := svc.cfg.paymentsDelay
	if every(svc.cfg.slowEvery, o.Number) {
		d *= 20
	}
	if err := pause(ctx, d); err != nil {
		return err
	}
	if every(svc.cfg.failEvery, o.Number) {
		err := declineCard(o)
		span.SetStatus(codes.Error, err.Error())
		return err
	}
	return nil
}

// ship is the shipping service, where an order ends.
func (svc *service) ship(ctx context.Context, _ kafka.Message, o *Order) error {
	name := "print label"
	if !o.Paid {
		name = "return stock"
	}
	ctx, span := svc.tracer.Start(ctx, name, trace.WithAttributes(attribute.String("shop.order.id", o.ID)))
	err := pause(ctx, svc.cfg.paymentsDelay/60)
	span.End()
	if err != nil {
		return err
	}
	svc.end(o.ID)
	return nil
}

// CardDeclinedError is what the bank says to some payments. It keeps the stack of
// the place where it was met, in the form that Sentry's SDK reads.
type CardDeclinedError struct {
	Code  string
	Order string
	stack []uintptr
}

func (e *CardDeclinedError) Error() string { return e.Code + ": the bank declined the card" }

// StackTrace returns the program counters of the stack.
func (e *CardDeclinedError) StackTrace() []uintptr { return e.stack }

func declineCard(o *Order) error {
	pcs := make([]uintptr, 32)
	return &CardDeclinedError{Code: "CARD_DECLINED", Order: o.ID, stack: pcs[:runtime.Callers(2, pcs)]}
}

// report sends err to Sentry, with the trace and the message that it belongs to.
func (svc *service) report(ctx context.Context, m kafka.Message, err error) {
	span := trace.SpanContextFromContext(ctx)
	scope := sentry.NewScope()
	scope.SetPropagationContext(sentry.PropagationContext{
		TraceID: sentry.TraceID(span.TraceID()),
		SpanID:  sentry.SpanID(span.SpanID()),
	})
	scope.SetTag("service", svc.name)
	scope.SetContext("kafka", sentry.Context{
		"topic": m.Topic, "partition": m.Partition, "offset": m.Offset, "consumer_group": topicPayments,
	})
	if svc.cfg.dsn == "" {
		return
	}
	if svc.errors.CaptureException(err, &sentry.EventHint{Context: ctx, OriginalException: err}, scope) != nil {
		svc.reported.Add(1)
	}
}

func isExists(err error) bool { return errors.Is(err, kafka.TopicAlreadyExists) }

func every(n, number int) bool { return n > 0 && number%n == 0 }

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopped while working: %w", ctx.Err())
	}
}
