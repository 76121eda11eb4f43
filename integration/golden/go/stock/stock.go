// Package stock knows what lies on the shelves.
package stock

import "fmt"

// EmptyError says that there is not enough.
type EmptyError struct {
	SKU    string
	Wanted int
}

func (e *EmptyError) Error() string {
	return fmt.Sprintf("nothing left of %s (wanted %d)", e.SKU, e.Wanted)
}

// Reserve finds nothing.
func Reserve(sku string, n int) error {
	return fmt.Errorf("reserve: %w", &EmptyError{sku, n})
}

type countError struct{ place string }

func (e *countError) Error() string { return "the count of " + e.place + " does not fit" }

// Count does not fit.
func Count(place string) error { return &countError{place} }

type weighError struct{ grams int }

func (e weighError) Error() string { return fmt.Sprintf("%d g are too much", e.grams) }

// Weigh returns an error that is no pointer.
func Weigh() error { return weighError{40_000} }

// Put writes to a map.
func Put(m map[string]int, sku string, n int) { m[sku] = n }

// Shelf reads beyond a slice's end.
func Shelf(i int) string {
	shelves := []string{"a", "b", "c"}
	return shelves[i]
}

// Range cuts a slice wrongly.
func Range(from, to int) []int {
	all := make([]int, 10)
	return all[from:to]
}

// CloseTwice closes a channel twice.
func CloseTwice() {
	c := make(chan struct{})
	close(c)
	close(c)
}

// Each calls f.
func Each(f func(sku string)) {
	for _, sku := range []string{"a", "b"} {
		f(sku)
	}
}
