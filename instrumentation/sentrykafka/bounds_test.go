package sentrykafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/getsentry/sentry-go"
	"go.opentelemetry.io/otel/trace"
)

func TestWhatIsRememberedIsBounded(t *testing.T) {
	id := func(n int) (out sentry.SpanID) {
		binary.BigEndian.PutUint64(out[:], uint64(n+1)) //nolint:gosec // not negative
		return out
	}
	f := &finishedTransactions{}
	for n := range 3*maxFinished + 7 {
		e := sentry.NewEvent()
		e.Type = "transaction"
		e.Contexts["trace"] = sentry.Context{"span_id": id(n)}
		f.note(e, nil)
		f.note(sentry.NewEvent(), nil) // an error is no transaction
	}
	if len(f.ids) != maxFinished || len(f.order) != maxFinished {
		t.Errorf("%d finished transactions are remembered; want %d", len(f.ids), maxFinished)
	}
	last := 3*maxFinished + 6
	if !f.has(&sentry.Span{SpanID: id(last)}) || !f.has(&sentry.Span{SpanID: id(last - maxFinished + 1)}) || f.has(&sentry.Span{SpanID: id(last - maxFinished)}) || f.has(nil) {
		t.Error("not the newest are remembered")
	}

	s := &startedSends{}
	for n := range maxStarted + 10 {
		s.add(trace.SpanID(id(n)), &sentry.Span{})
	}
	if len(s.open) != maxStarted {
		t.Errorf("%d open sends are remembered; want %d", len(s.open), maxStarted)
	}
	s.remove(trace.SpanID(id(0)))
	if s.get(trace.SpanID(id(0))) != nil || s.get(trace.SpanID(id(1))) == nil {
		t.Error("the wrong send was forgotten")
	}

	p := &propagatingPanics{}
	for n := range maxPropagating + 5 {
		p.add(n)
	}
	if len(p.values) != maxPropagating || p.has(4) || !p.has(5) || !p.has(maxPropagating+4) {
		t.Errorf("the panics remembered are %v", p.values)
	}

	c := &recordContext{}
	for n := range maxCaptured + 5 {
		c.noteCaptured(n)
	}
	if len(c.captured) != maxCaptured {
		t.Errorf("%d captured errors are remembered; want %d", len(c.captured), maxCaptured)
	}
}

func TestWhatIsTheSamePanicOrError(t *testing.T) {
	one, two := errors.New("no"), errors.New("no")
	f := func(a, b any, want bool) {
		t.Helper()
		if got := sameValue(a, b); got != want {
			t.Errorf("sameValue(%v, %v) = %v; want %v", a, b, got, want)
		}
	}
	f("boom", "boom", true)
	f("boom", "bang", false)
	f(1, int64(1), false)
	f(one, one, true)
	f(one, two, false)
	f(one, fmt.Errorf("cannot bill: %w", one), true)
	f(fmt.Errorf("cannot bill: %w", one), one, true)
	f([]int{1}, []int{1}, true) // not comparable
	f([]int{1}, []int{2}, false)
	f(map[string]int{"a": 1}, "a", false)
	f(nil, "a", false)
	f("a", nil, false)
}
