// Package exportertest holds the contracts of package exporters as tests. Each
// backend's own test calls the suite of what it implements, with a function
// that opens an empty store. It is for tests only.
package exportertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hoptrace/hoptrace/exporters"
)

// patience bounds one test's calls: a store that hangs fails.
const patience = 5 * time.Minute

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// equal compares what was read with what was stored; nil and empty are one.
func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s: got + want -:\n%s", what, d)
	}
}

func noError(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func isError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// down checks a store whose server was stopped.
func down(t testing.TB, p exporters.Pinger) {
	t.Helper()
	isError(t, "Ping of a store that is down", p.Ping(testContext(t)), exporters.ErrUnavailable)
}
