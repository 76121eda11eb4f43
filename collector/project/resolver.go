package project

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config of a Resolver.
type Config struct {
	// Default is the slug of the project of senders without a DSN. It is made
	// when it is missing.
	Default string
	// Fresh is how long a known key is believed. Zero means 60 s.
	Fresh time.Duration
	// FreshUnknown is how long an unknown key is believed to be unknown. Zero means 5 s.
	FreshUnknown time.Duration
	// MaxKeys bounds the known and, apart from them, the unknown keys that are
	// kept. Zero means 10,000.
	MaxKeys int
	// Timeout bounds one look-up. Zero means 5 s.
	Timeout time.Duration
}

// maxLookups bounds the look-ups at one time, so that a flood of unknown keys
// does not become a flood of queries.
const maxLookups = 8

// Resolver finds projects. When the store does not answer it goes by what it
// knew, however old.
type Resolver struct {
	store exporters.Projects
	cfg   Config
	calls singleflight.Group
	slots chan struct{}

	mu      sync.Mutex // guards the following
	known   map[string]entry
	unknown map[string]time.Time // until when
	def     entry
}

type entry struct {
	project schemas.Project
	until   time.Time
}

// NewResolver asks store.
func NewResolver(store exporters.Projects, cfg Config) *Resolver {
	if cfg.Fresh <= 0 {
		cfg.Fresh = time.Minute
	}
	if cfg.FreshUnknown <= 0 {
		cfg.FreshUnknown = 5 * time.Second
	}
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = 10_000
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	return &Resolver{
		store: store, cfg: cfg, slots: make(chan struct{}, maxLookups),
		known: map[string]entry{}, unknown: map[string]time.Time{},
	}
}

// ByKey finds the project of a DSN's key (32 lower-case hex digits). It fails
// with ErrUnknownKey or ErrUnavailable.
func (r *Resolver) ByKey(ctx context.Context, key string) (schemas.Project, error) {
	now := time.Now()
	r.mu.Lock()
	e, isKnown := r.known[key]
	until, isUnknown := r.unknown[key]
	r.mu.Unlock()
	if isKnown && now.Before(e.until) {
		return e.project, nil
	}
	if isUnknown && now.Before(until) {
		return schemas.Project{}, ErrUnknownKey
	}
	p, err := r.once(ctx, "key "+key, func(ctx context.Context) (schemas.Project, error) {
		p, err := r.store.ProjectByKey(ctx, key)
		r.learn(key, p, err)
		return p, err
	})
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, exporters.ErrNotFound):
		return schemas.Project{}, ErrUnknownKey
	case isKnown:
		return e.project, nil
	}
	return schemas.Project{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Default is the project of senders without a DSN. It fails with ErrUnavailable.
func (r *Resolver) Default(ctx context.Context) (schemas.Project, error) {
	r.mu.Lock()
	e := r.def
	r.mu.Unlock()
	if time.Now().Before(e.until) {
		return e.project, nil
	}
	p, err := r.once(ctx, "default", func(ctx context.Context) (schemas.Project, error) {
		p, err := r.store.EnsureProject(ctx, r.cfg.Default, r.cfg.Default)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			r.def = entry{p, time.Now().Add(r.cfg.Fresh)}
		} else if !r.def.until.IsZero() {
			r.def.until = time.Now().Add(r.cfg.FreshUnknown)
		}
		return p, err
	})
	if err == nil {
		return p, nil
	}
	if !e.until.IsZero() {
		return e.project, nil
	}
	return schemas.Project{}, fmt.Errorf("%w: project %q: %w", ErrUnavailable, r.cfg.Default, err)
}

// once runs one look-up for all who ask for the same at the same time. It goes
// on when the one who asked first goes away.
func (r *Resolver) once(ctx context.Context, what string, f func(context.Context) (schemas.Project, error)) (schemas.Project, error) {
	result := r.calls.DoChan(what, func() (_ any, err error) {
		defer func() { // here it would end the process, not the request
			if p := recover(); p != nil {
				err = fmt.Errorf("panic in the metadata store: %v", p)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
		defer cancel()
		select {
		case r.slots <- struct{}{}:
			defer func() { <-r.slots }()
		case <-ctx.Done():
			return schemas.Project{}, ctx.Err()
		}
		return f(ctx)
	})
	select {
	case res := <-result:
		p, _ := res.Val.(schemas.Project)
		return p, res.Err
	case <-ctx.Done():
		return schemas.Project{}, ctx.Err()
	}
}

func (r *Resolver) learn(key string, p schemas.Project, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		makeRoom(r.known, r.cfg.MaxKeys, func(e entry) bool { return now.After(e.until) })
		r.known[key] = entry{p, now.Add(r.cfg.Fresh)}
		delete(r.unknown, key)
	case errors.Is(err, exporters.ErrNotFound):
		makeRoom(r.unknown, r.cfg.MaxKeys, now.After)
		r.unknown[key] = now.Add(r.cfg.FreshUnknown)
		delete(r.known, key)
	default: // spare the store for a while, if there is something to go by
		if e, ok := r.known[key]; ok {
			e.until = now.Add(r.cfg.FreshUnknown)
			r.known[key] = e
		}
	}
}

// makeRoom removes what has run out when m is full, or else any one.
func makeRoom[V any](m map[string]V, limit int, old func(V) bool) {
	if len(m) < limit {
		return
	}
	for k, v := range m {
		if old(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}
