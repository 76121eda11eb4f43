package exporters

import (
	"context"
	"sync"
)

type lookKey struct{}

// look is what the questions of one answer found.
type look struct {
	mu    sync.Mutex // guards the following
	found map[string]*found
}

type found struct {
	done  chan struct{} // closed when the following are set
	value any
	err   error
}

// OneLook gives a context for all the questions of one answer. A store may find
// something for the first of them, as where a trace lies, and use it for the others.
// It is not for what asks again until something has come.
func OneLook(ctx context.Context) context.Context {
	return context.WithValue(ctx, lookKey{}, &look{found: make(map[string]*found)})
}

// Once gives what find finds, or found for the same key earlier in the same look; who
// asks at the same time waits. What failed is found anew. Without a look it just finds.
// The value is shared and not to be changed.
func Once[T any](ctx context.Context, key string, find func() (T, error)) (T, error) {
	l, ok := ctx.Value(lookKey{}).(*look)
	if !ok {
		return find()
	}
	l.mu.Lock()
	f := l.found[key]
	if f != nil {
		l.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
		if f.err == nil {
			return f.value.(T), nil //nolint:forcetypeassert // a key has one type
		}
		return find()
	}
	f = &found{done: make(chan struct{})}
	l.found[key] = f
	l.mu.Unlock()
	defer close(f.done)
	v, err := find()
	f.value, f.err = v, err
	return v, err
}
