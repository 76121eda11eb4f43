// Package payments charges cards.
package payments

import (
	"errors"
	"fmt"
)

// ErrDeclined and ErrExpired are what a bank says.
var (
	ErrDeclined = errors.New("card declined")
	ErrExpired  = errors.New("card expired")
)

// Charge is always declined.
func Charge(order, cents int) error {
	if err := authorise(cents); err != nil {
		return fmt.Errorf("cannot charge order %d: %w", order, err)
	}
	return nil
}

func authorise(cents int) error { return fmt.Errorf("%d cents: %w", cents, ErrDeclined) }

// ChargeExpired fails like Charge, for another reason.
func ChargeExpired(order int) error {
	return fmt.Errorf("cannot charge order %d: %w", order, fmt.Errorf("%d cents: %w", 100, ErrExpired))
}

// Refund fails with the same cause as Charge.
func Refund(order, cents int) error {
	return fmt.Errorf("cannot refund order %d: %w", order, authorise(-cents))
}

// Code is an error that is a string.
type Code string

func (c Code) Error() string { return "payment failed with code " + string(c) }

type settleError struct{ batch int }

func (e *settleError) Error() string {
	if e == nil {
		return "settlement failed without a batch"
	}
	return fmt.Sprintf("settlement %d failed", e.batch)
}

// Settle returns an error that is a nil pointer when there is no batch.
func Settle(batch int) error {
	var err *settleError
	if batch > 0 {
		err = &settleError{batch}
	}
	return err
}

// MustConfigure panics with an error.
func MustConfigure(key string) {
	if key == "" {
		panic(errors.New("payments: no key is configured"))
	}
}

// MustConnect panics with a wrapped error.
func MustConnect() { panic(fmt.Errorf("payments: cannot connect: %w", ErrExpired)) }

// Limit is an error for a handler far away.
func Limit() error { return errors.New("daily limit is reached") }
