// Package ledger keeps the books.
package ledger

import (
	"errors"
	"fmt"
)

// ErrUnknownVersion is of a record that nobody can read.
var ErrUnknownVersion = errors.New("unknown schema version")

var (
	errUnbalanced = errors.New("sums differ")
	errOpen       = errors.New("a posting is open")
)

// Close fails for two reasons.
func Close(day int) error {
	return fmt.Errorf("cannot close day %d: %w, %w", day, errUnbalanced, errOpen)
}

// Deep wraps n times.
func Deep(n int) error {
	err := errors.New("the disk is full")
	for i := range n {
		err = fmt.Errorf("layer %d: %w", i, err)
	}
	return err
}

type postError struct {
	account int
	cause   error
}

func (e *postError) Error() string { return fmt.Sprintf("account %d: %v", e.account, e.cause) }
func (e *postError) Unwrap() error { return e.cause }

// Post fails with an error that unwraps.
func Post(account int) error { return &postError{account, errOpen} }

// Share divides.
func Share(sum, parts int) int { return sum / parts }

// Amount asserts a type.
func Amount(v any) int { return v.(int) }

// MustBalance panics with a text.
func MustBalance(debit, credit int) {
	if debit != credit {
		panic(fmt.Sprintf("debit %d and credit %d differ", debit, credit))
	}
}

// Walk recurses and panics.
func Walk(n int) int {
	if n == 0 {
		panic("the tree has no leaf")
	}
	return Walk(n-1) + 1
}

// Locked is an error for a handler far away.
func Locked() error { return errors.New("the ledger is locked") }
