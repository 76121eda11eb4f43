// Package orders takes orders and ships them.
package orders

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/getsentry/sentry-go"
)

// Order is one.
type Order struct {
	ID      int
	Address *Address
}

// Address is where it goes.
type Address struct{ City string }

// Ship needs an address.
func Ship(o *Order) string { return o.Address.City }

// ValidateAll joins n errors.
func ValidateAll(n int) error {
	var errs []error
	for i := range n {
		errs = append(errs, fmt.Errorf("line %d has no price", i+1))
	}
	return errors.Join(errs...)
}

// ValidateAddress joins two different errors.
func ValidateAddress() error {
	return errors.Join(errors.New("the city is missing"), errors.New("the country is unknown"))
}

// NotFound is generic.
type NotFound[K comparable] struct{ Key K }

func (e NotFound[K]) Error() string { return fmt.Sprintf("nothing has the key %v", e.Key) }

// Repository is generic.
type Repository[K comparable] struct{ all map[K]*Order }

// NewRepository makes an empty one.
func NewRepository[K comparable]() *Repository[K] { return &Repository[K]{map[K]*Order{}} }

// Find finds nothing.
func (r *Repository[K]) Find(key K) error {
	if _, ok := r.all[key]; !ok {
		return fmt.Errorf("find: %w", NotFound[K]{key})
	}
	return nil
}

func report(ctx context.Context, err error) error {
	sentry.GetHubFromContext(ctx).CaptureException(err)
	return nil
}

// Placer places an order.
type Placer interface {
	Place(ctx context.Context) error
}

// Service has a pointer receiver.
type Service struct{}

// Place fails.
func (*Service) Place(ctx context.Context) error {
	return report(ctx, errors.New("the service takes no orders"))
}

// Closed has a value receiver.
type Closed struct{}

// Place fails.
func (Closed) Place(ctx context.Context) error { return report(ctx, errors.New("the shop is closed")) }

// Express is behind an interface.
type Express struct{}

// Place fails.
func (*Express) Place(ctx context.Context) error {
	return report(ctx, errors.New("no courier is free"))
}

type abort struct{ Reason string }

// Abort panics with a value that is no error.
func Abort() { panic(abort{"the operator said so"}) }

// Worker reads a job that is not there.
func Worker(job *Order) int { return job.ID }

// Deferred panics while another function returns.
func Deferred() {
	defer func() {
		var o *Order
		_ = o.ID
	}()
	_ = strconv.Itoa(1)
}

// Handle panics on what is no number.
func Handle(_ http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		panic(fmt.Sprintf("order id %q is no number", r.PathValue("id")))
	}
	_ = id
}
