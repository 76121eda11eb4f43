package exporters

import (
	"context"
	"maps"
	"sync"
)

type lookKey struct{}

// look is what the questions of one answer found.
type look struct {
	mu    sync.Mutex // guards the following
	found map[any]*found
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
	return context.WithValue(ctx, lookKey{}, &look{found: make(map[any]*found)})
}

// InLook tells that the questions of ctx are of one answer.
func InLook(ctx context.Context) bool {
	_, ok := ctx.Value(lookKey{}).(*look)
	return ok
}

// OnceEach gives what find finds for each of some keys, or found for it earlier in the
// same look; who asks at the same time waits. find is asked for the keys that nobody has
// asked for, and leaves out those that have no value. What failed is found anew. Without
// a look it just finds. The values are shared and not to be changed.
func OnceEach[K comparable, T any](ctx context.Context, kind string, keys []K, find func(keys []K) (map[K]T, error)) (map[K]T, error) {
	l, ok := ctx.Value(lookKey{}).(*look)
	if !ok || len(keys) == 0 {
		return find(keys)
	}
	type key struct {
		kind string
		of   K
	}
	var own, failed []K
	mine, others := make(map[K]*found), make(map[K]*found)
	l.mu.Lock()
	for _, k := range keys {
		switch f := l.found[key{kind, k}]; {
		case mine[k] != nil:
		case f != nil:
			others[k] = f
		default:
			f = &found{done: make(chan struct{})}
			l.found[key{kind, k}] = f
			mine[k] = f
			own = append(own, k)
		}
	}
	l.mu.Unlock()
	out := make(map[K]T, len(keys))
	if len(own) > 0 {
		values, err := find(own)
		for k, f := range mine {
			f.err = err
			if v, ok := values[k]; ok && err == nil {
				f.value, out[k] = v, v
			}
			close(f.done)
		}
		if err != nil {
			return nil, err
		}
	}
	for k, f := range others {
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch v, ok := f.value.(T); {
		case f.err != nil:
			failed = append(failed, k)
		case ok:
			out[k] = v
		}
	}
	if len(failed) > 0 {
		values, err := find(failed)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, values)
	}
	return out, nil
}
