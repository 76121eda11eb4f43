// A shop that fails in many ways under the Sentry SDK for Go. Each case reports
// one event, whose tag "case" names it: what stands before an @ is the issue,
// what stands behind it is how this event differs from the others of the issue.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/getsentry/sentry-go"

	"example.com/shop/ledger"
	"example.com/shop/orders"
	"example.com/shop/payments"
	"example.com/shop/stock"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	err := sentry.Init(sentry.ClientOptions{
		Dsn: os.Getenv("HOPTRACE_DSN"), AttachStacktrace: true, ServerName: os.Getenv("GOLDEN_HOST"),
		Release: os.Getenv("GOLDEN_RELEASE"), Environment: "golden", SampleRate: 1,
	})
	if err != nil {
		return err
	}
	for _, c := range [][]testCase{wrapped(), types(), panics(), library(), messages(), scopes()} {
		for _, c := range c {
			runCase(c)
			if !sentry.Flush(10 * time.Second) {
				return fmt.Errorf("case %s was not sent within 10 s", c.name)
			}
		}
	}
	return nil
}

// testCase works and fails; what it returns is reported as a handler does it.
type testCase struct {
	name string
	work func(ctx context.Context) error
}

func runCase(c testCase) {
	hub := sentry.CurrentHub().Clone()
	hub.Scope().SetTag("case", c.name+os.Getenv("GOLDEN_VARIANT"))
	ctx := sentry.SetHubOnContext(context.Background(), hub)
	defer func() {
		if r := recover(); r != nil {
			hub.RecoverWithContext(ctx, r)
		}
	}()
	if err := c.work(ctx); err != nil {
		hub.CaptureException(err)
	}
}

// report captures where it stands: the stack that the SDK attaches is that of
// the caller, as in a program which reports where it handles.
func report(ctx context.Context, err error) { sentry.GetHubFromContext(ctx).CaptureException(err) }

// vary makes two cases of one issue, whose frames are the same.
func vary[T any](name string, work func(context.Context, T), first T, variant string, second T) []testCase {
	made := make([]testCase, 0, 2)
	for i, v := range []T{first, second} {
		made = append(made, testCase{
			name + []string{"", "@" + variant}[i],
			func(ctx context.Context) error { work(ctx, v); return nil },
		})
	}
	return made
}

func wrapped() []testCase {
	return slices.Concat(
		vary("checkout-declined", checkout, 41, "other-line", 4_200_017),
		vary("joined", validate, 3, "more", 4),
		vary("reserve-empty", reserve, "sku-17", "other-sku", "sku-4711"),
		wrappedOnce(),
	)
}

func validate(ctx context.Context, lines int) { report(ctx, orders.ValidateAll(lines)) }

func wrappedOnce() []testCase {
	return []testCase{
		{"checkout-expired", checkoutExpired},
		{"refund-declined", refundDeclined},
		{"charge-wrapped-once", func(ctx context.Context) error {
			report(ctx, fmt.Errorf("cannot charge: %w", payments.ErrDeclined))
			return nil
		}},
		{"joined-other", func(ctx context.Context) error { report(ctx, orders.ValidateAddress()); return nil }},
		{"two-wrapped", func(ctx context.Context) error { report(ctx, ledger.Close(7)); return nil }},
		{"deep-chain", func(ctx context.Context) error { report(ctx, ledger.Deep(6)); return nil }},
	}
}

// checkout reports on two lines of one function.
func checkout(ctx context.Context, order int) {
	err := payments.Charge(order, 1999)
	if order < 1000 {
		report(ctx, err)
		return
	}
	report(ctx, err)
}

func checkoutExpired(ctx context.Context) error {
	err := payments.ChargeExpired(12)
	report(ctx, err)
	return nil
}

func refundDeclined(ctx context.Context) error {
	err := payments.Refund(41, 1999)
	report(ctx, err)
	return nil
}

func reserve(ctx context.Context, sku string) {
	if err := stock.Reserve(sku, 2); err != nil {
		report(ctx, err)
	}
}

func count(ctx context.Context, place string) { report(ctx, stock.Count(place)) }

func types() []testCase {
	return append(vary("custom-pointer", count, "eu-1", "other-place", "us-2"), otherTypes()...)
}

func otherTypes() []testCase {
	return []testCase{
		{"custom-value", func(ctx context.Context) error { report(ctx, stock.Weigh()); return nil }},
		{"custom-string-type", func(ctx context.Context) error { report(ctx, payments.Code("insufficient_funds")); return nil }},
		{"generic-error", func(ctx context.Context) error { report(ctx, orders.NotFound[int]{Key: 17}); return nil }},
		{"generic-method", func(ctx context.Context) error {
			report(ctx, orders.NewRepository[string]().Find("ord-9"))
			return nil
		}},
		{"is-and-as", func(ctx context.Context) error { report(ctx, ledger.Post(3)); return nil }},
		{"from-method", (&orders.Service{}).Place},
		{"from-method-value", orders.Closed{}.Place},
		{"from-closure", func(ctx context.Context) error {
			visit := func(n int) {
				if n == 2 {
					report(ctx, errors.New("the visitor found a hole"))
				}
			}
			for i := range 3 {
				visit(i)
			}
			return nil
		}},
		{"from-interface", func(ctx context.Context) error {
			var p orders.Placer = &orders.Express{}
			return p.Place(ctx)
		}},
		{"typed-nil", func(ctx context.Context) error { report(ctx, payments.Settle(0)); return nil }},
	}
}

func panics() []testCase {
	return slices.Concat(
		vary("panic-nil-deref", func(_ context.Context, o *orders.Order) { orders.Ship(o) }, nil, "deeper", &orders.Order{}),
		vary("panic-index", func(_ context.Context, i int) { stock.Shelf(i) }, 5, "other-index", 11),
		vary("panic-string", func(_ context.Context, debit int) { ledger.MustBalance(debit, 2) }, 1, "other-sums", 300),
		vary("panic-deep-recursion", func(_ context.Context, n int) { ledger.Walk(n) }, 40, "deeper", 43),
		otherPanics(),
	)
}

func otherPanics() []testCase {
	return []testCase{
		{"panic-nil-map", func(context.Context) error { stock.Put(nil, "a", 1); return nil }},
		{"panic-slice-bounds", func(context.Context) error { _ = stock.Range(9, 2); return nil }},
		{"panic-divide", func(context.Context) error { _ = ledger.Share(100, 0); return nil }},
		{"panic-type-assertion", func(context.Context) error { _ = ledger.Amount("ten"); return nil }},
		{"panic-error", func(context.Context) error { payments.MustConfigure(""); return nil }},
		{"panic-wrapped-error", func(context.Context) error { payments.MustConnect(); return nil }},
		{"panic-custom-value", func(context.Context) error { orders.Abort(); return nil }},
		{"panic-closed-channel", func(context.Context) error { stock.CloseTwice(); return nil }},
		{"panic-in-callback", func(context.Context) error { stock.Each(func(string) { panic("callback failed") }); return nil }},
		{"panic-in-goroutine", goroutine},
		{"panic-in-deferred", func(context.Context) error { orders.Deferred(); return nil }},
	}
}

func goroutine(ctx context.Context) error {
	hub := sentry.GetHubFromContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				hub.RecoverWithContext(ctx, r)
			}
		}()
		orders.Worker(nil)
	}()
	<-done
	return nil
}
