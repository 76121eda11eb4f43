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
	// Seen is how soon a change in the store is seen: the store's version is
	// asked for twice in that time, once for all keys. Zero means 5 s.
	Seen time.Duration
	// Fresh is how long a key is believed while the store's version stays the
	// same. Zero means 60 s.
	Fresh time.Duration
	// FreshUnknown is how long an unknown key is believed to be unknown, and how
	// long a store that did not answer is spared. Zero means 5 s.
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

// Store is what a Resolver asks, a part of [exporters.Projects].
type Store interface {
	ProjectByKey(ctx context.Context, key string) (schemas.Project, schemas.Key, error)
	ProjectsVersion(ctx context.Context) (int64, error)
	EnsureProject(ctx context.Context, slug, name string) (schemas.Project, error)
}

// Resolver finds projects. When the store does not answer it goes by what it
// knew, however old.
type Resolver struct {
	store Store
	cfg   Config
	calls singleflight.Group
	slots chan struct{}

	mu      sync.Mutex // guards the following
	version int64      // of the store, as it was at checked
	checked time.Time  // when the version was asked for; of a store that did not answer: until when it is spared
	failing bool       // the store did not answer when it was asked for it last
	known   map[string]entry
	unknown map[string]absence
	def     entry
}

type entry struct {
	Found
	version int64
	until   time.Time
}

type absence struct {
	version int64
	until   time.Time
}

// Found is what a key stands for. Project.Settings are never nil and nobody's
// to change.
type Found struct {
	Project schemas.Project
	Key     schemas.Key
}

// NewResolver asks store.
func NewResolver(store Store, cfg Config) *Resolver {
	if cfg.Seen <= 0 {
		cfg.Seen = 5 * time.Second
	}
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
		known: map[string]entry{}, unknown: map[string]absence{},
	}
}

// ByKey finds the project of a DSN's key (32 lower-case hex digits). It fails
// with ErrUnknownKey, ErrDisabled or ErrUnavailable.
func (r *Resolver) ByKey(ctx context.Context, key string) (schemas.Project, error) {
	found, err := r.Find(ctx, key)
	return found.Project, err
}

// Find is ByKey with the key itself.
func (r *Resolver) Find(ctx context.Context, key string) (Found, error) {
	r.mu.Lock()
	e, isKnown := r.known[key]
	gone, isUnknown := r.unknown[key]
	r.mu.Unlock()
	version := r.current(ctx, isKnown || isUnknown)
	now := time.Now()
	if isKnown && e.version == version && now.Before(e.until) {
		return usable(e.Found)
	}
	if isUnknown && gone.version == version && now.Before(gone.until) {
		return Found{}, ErrUnknownKey
	}
	found, err := r.once(ctx, "key "+key, func(ctx context.Context) (Found, error) {
		p, k, err := r.store.ProjectByKey(ctx, key)
		found := withSettings(Found{p, k})
		r.learn(key, found, version, err)
		return found, err
	})
	switch {
	case err == nil:
		return usable(found)
	case errors.Is(err, exporters.ErrNotFound):
		return Found{}, ErrUnknownKey
	case isKnown:
		return usable(e.Found)
	}
	return Found{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func usable(f Found) (Found, error) {
	switch {
	case f.Project.Disabled:
		return Found{}, fmt.Errorf("%w: project %d is disabled", ErrDisabled, f.Project.ID)
	case !f.Key.Active && f.Key.Public != "":
		return Found{}, fmt.Errorf("%w: the DSN key is disabled", ErrDisabled)
	}
	return f, nil
}

func withSettings(f Found) Found {
	if f.Project.Settings == nil {
		s := schemas.DefaultProjectSettings()
		f.Project.Settings = &s
	}
	return f
}

// current is the version by which what is kept is held to be true: at most
// cfg.Seen old. The one who finds it half as old starts to ask and does not
// wait; nor does one who keeps nothing of what is asked for (kept false), since
// the look-up to come is newer anyway. A store that does not answer has the
// version it had.
func (r *Resolver) current(ctx context.Context, kept bool) int64 {
	r.mu.Lock()
	version, age, failing := r.version, time.Since(r.checked), r.failing
	r.mu.Unlock()
	if age < r.cfg.Seen/2 {
		return version
	}
	asked := r.calls.DoChan("version", func() (any, error) { return nil, r.check(ctx) })
	if age < r.cfg.Seen || failing || !kept {
		return version
	}
	select {
	case <-asked:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

func (r *Resolver) check(ctx context.Context) (err error) {
	defer func() { // here it would end the process, not the request
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the metadata store: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Timeout)
	defer cancel()
	began := time.Now()
	version, err := r.store.ProjectsVersion(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.checked, r.failing = time.Now().Add(r.cfg.FreshUnknown-r.cfg.Seen/2), true
		return err
	}
	r.version, r.checked, r.failing = version, began, false
	return nil
}

// Default is the project of senders without a DSN. It fails with ErrDisabled or
// ErrUnavailable.
func (r *Resolver) Default(ctx context.Context) (schemas.Project, error) {
	r.mu.Lock()
	e := r.def
	r.mu.Unlock()
	version := r.current(ctx, !e.until.IsZero())
	if e.version == version && time.Now().Before(e.until) {
		f, err := usable(e.Found)
		return f.Project, err
	}
	f, err := r.once(ctx, "default", func(ctx context.Context) (Found, error) {
		p, err := r.store.EnsureProject(ctx, r.cfg.Default, r.cfg.Default)
		found := withSettings(Found{Project: p})
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			r.def = entry{found, version, time.Now().Add(r.cfg.Fresh)}
		} else if !r.def.until.IsZero() {
			r.def.version, r.def.until = version, time.Now().Add(r.cfg.FreshUnknown)
		}
		return found, err
	})
	if err != nil {
		if e.until.IsZero() {
			return schemas.Project{}, fmt.Errorf("%w: project %q: %w", ErrUnavailable, r.cfg.Default, err)
		}
		f = e.Found
	}
	f, err = usable(f)
	return f.Project, err
}

// once runs one look-up for all who ask for the same at the same time. It goes
// on when the one who asked first goes away.
func (r *Resolver) once(ctx context.Context, what string, f func(context.Context) (Found, error)) (Found, error) {
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
			return Found{}, ctx.Err()
		}
		return f(ctx)
	})
	select {
	case res := <-result:
		f, _ := res.Val.(Found)
		return f, res.Err
	case <-ctx.Done():
		return Found{}, ctx.Err()
	}
}

// learn keeps the answer of a look-up that began when the store had version.
func (r *Resolver) learn(key string, found Found, version int64, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		makeRoom(r.known, r.cfg.MaxKeys, func(e entry) bool { return now.After(e.until) })
		r.known[key] = entry{found, version, now.Add(r.cfg.Fresh)}
		delete(r.unknown, key)
	case errors.Is(err, exporters.ErrNotFound):
		makeRoom(r.unknown, r.cfg.MaxKeys, func(a absence) bool { return now.After(a.until) })
		r.unknown[key] = absence{version, now.Add(r.cfg.FreshUnknown)}
		delete(r.known, key)
	default: // spare the store for a while, if there is something to go by
		if e, ok := r.known[key]; ok {
			e.version, e.until = version, now.Add(r.cfg.FreshUnknown)
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
