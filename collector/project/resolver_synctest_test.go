package project

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// store is a metadata store that counts and can fail or be slow.
type store struct {
	mu       sync.Mutex // guards the following
	version  int64
	versions int
	disabled map[string]bool // keys
	off      bool            // all projects
	byKey    map[string]uint64
	err      error
	delay    time.Duration
	lookups  int
	running  int
	most     int
}

func (s *store) ProjectByKey(ctx context.Context, key string) (schemas.Project, schemas.Key, error) {
	p, err := s.lookUp(ctx, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Disabled = s.off
	return p, schemas.Key{Public: key, Active: !s.disabled[key]}, err
}

func (s *store) ProjectsVersion(ctx context.Context) (int64, error) {
	s.mu.Lock()
	s.versions++
	version, err, delay := s.version, s.err, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return version, err
}

func (s *store) lookUp(ctx context.Context, key string) (schemas.Project, error) {
	s.mu.Lock()
	s.lookups++
	s.running++
	s.most = max(s.most, s.running)
	id, ok := s.byKey[key]
	err, delay := s.err, s.delay
	s.mu.Unlock()
	if key == "panic" {
		panic("a bug")
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
	}()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return schemas.Project{}, ctx.Err()
	}
	if err != nil {
		return schemas.Project{}, err
	}
	if !ok {
		return schemas.Project{}, exporters.ErrNotFound
	}
	return schemas.Project{ID: id}, nil
}

func (s *store) EnsureProject(ctx context.Context, slug, _ string) (schemas.Project, error) {
	p, err := s.lookUp(ctx, slug)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Disabled = s.off
	return p, err
}

// change does so and tells by the version.
func (s *store) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.version++
}

func (s *store) set(err error, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.delay = err, delay
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookups
}

func TestAKnownKeyIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7}}
		r := NewResolver(s, Config{})
		for range 61 {
			if p, err := r.ByKey(t.Context(), key); err != nil || p.ID != 7 {
				t.Fatalf("got %v, %v", p, err)
			}
			time.Sleep(time.Second)
		}
		if n := s.count(); n != 2 {
			t.Errorf("%d look-ups in 61 s; want 2", n)
		}
	})
}

func TestAnUnknownKeyIsRememberedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{}}
		r := NewResolver(s, Config{})
		for range 10 {
			if _, err := r.ByKey(t.Context(), key); !errors.Is(err, ErrUnknownKey) {
				t.Fatalf("got %v; want ErrUnknownKey", err)
			}
		}
		if n := s.count(); n != 1 {
			t.Errorf("%d look-ups; want 1", n)
		}
		s.byKey[key] = 3 // made meanwhile
		time.Sleep(5 * time.Second)
		if p, err := r.ByKey(t.Context(), key); err != nil || p.ID != 3 {
			t.Errorf("got %v, %v; want project 3", p, err)
		}
	})
}

func TestWhileTheStoreIsDownOldAnswersStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7, "default": 1}}
		r := NewResolver(s, Config{Default: "default"})
		if _, err := r.ByKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Default(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.set(exporters.ErrUnavailable, 0)
		before := s.count()
		for range 3600 {
			time.Sleep(time.Second)
			if p, err := r.ByKey(t.Context(), key); err != nil || p.ID != 7 {
				t.Fatalf("got %v, %v; want project 7", p, err)
			}
			if p, err := r.Default(t.Context()); err != nil || p.ID != 1 {
				t.Fatalf("got %v, %v; want project 1", p, err)
			}
		}
		if n := s.count() - before; n > 2*3600/5 {
			t.Errorf("%d look-ups of a store that is down in an hour; want at most one in 5 s each", n)
		}
		if _, err := r.ByKey(t.Context(), "another"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a key never seen: %v; want ErrUnavailable", err)
		}
		s.set(nil, 0)
		if _, err := r.ByKey(t.Context(), "another"); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("after it came back: %v; want ErrUnknownKey", err)
		}
	})
}

func TestManyWhoAskForOneKeyMakeOneLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7}, delay: time.Second}
		r := NewResolver(s, Config{})
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.ByKey(first, key); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left: %v; want Canceled", err)
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() {
				if p, err := r.ByKey(t.Context(), key); err != nil || p.ID != 7 {
					t.Errorf("got %v, %v", p, err)
				}
			})
		}
		synctest.Wait()
		cancel() // the first to ask goes away; the others still get theirs
		wg.Wait()
		if n := s.count(); n != 1 {
			t.Errorf("%d look-ups; want 1", n)
		}
	})
}

func TestAFloodOfUnknownKeysIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7}, delay: time.Millisecond}
		r := NewResolver(s, Config{MaxKeys: 100})
		if _, err := r.ByKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 2000 {
			wg.Go(func() { _, _ = r.ByKey(t.Context(), fmt.Sprintf("%032x", i)) })
		}
		wg.Wait()
		r.mu.Lock()
		known, unknown := len(r.known), len(r.unknown)
		r.mu.Unlock()
		if known != 1 || unknown > 100 {
			t.Errorf("%d known and %d unknown keys are kept; want 1 and at most 100", known, unknown)
		}
		if s.most > maxLookups {
			t.Errorf("%d look-ups at a time; want at most %d", s.most, maxLookups)
		}
	})
}

func TestAStoreThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{delay: time.Hour}
		r := NewResolver(s, Config{Timeout: 5 * time.Second})
		begin := time.Now()
		_, err := r.ByKey(t.Context(), key)
		if !errors.Is(err, ErrUnavailable) || time.Since(begin) != 5*time.Second {
			t.Errorf("got %v after %v; want ErrUnavailable after 5 s", err, time.Since(begin))
		}
	})
}

func TestAPanicInTheStoreIsAnError(t *testing.T) {
	r := NewResolver(&store{}, Config{})
	if _, err := r.ByKey(t.Context(), "panic"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v; want ErrUnavailable", err)
	}
}

func TestAChangeIsSeenWithinFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7, "default": 1}, disabled: map[string]bool{}, delay: 10 * time.Millisecond}
		r := NewResolver(s, Config{Default: "default"})
		unknown := "ffffffffffffffffffffffffffffffff"
		// after waits until do is seen by a sender who sends every so often.
		after := func(what string, every time.Duration, do func(), seen func() bool) {
			t.Helper()
			s.change(do)
			began := time.Now()
			for !seen() {
				if time.Since(began) > 5*time.Second+every {
					t.Fatalf("%s, sending every %v: not seen after %v", what, every, time.Since(began))
				}
				time.Sleep(every)
			}
		}
		for _, every := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Minute} {
			if _, err := r.ByKey(t.Context(), unknown); !errors.Is(err, ErrUnknownKey) {
				t.Fatal(err)
			}
			after("key disabled", every, func() { s.disabled[key] = true }, func() bool {
				_, err := r.ByKey(t.Context(), key)
				return errors.Is(err, ErrDisabled)
			})
			after("key enabled", every, func() { s.disabled[key] = false }, func() bool {
				_, err := r.ByKey(t.Context(), key)
				return err == nil
			})
			after("projects disabled", every, func() { s.off = true }, func() bool {
				_, err := r.ByKey(t.Context(), key)
				_, defErr := r.Default(t.Context())
				return errors.Is(err, ErrDisabled) && errors.Is(defErr, ErrDisabled)
			})
			after("projects enabled", every, func() { s.off = false }, func() bool {
				_, err := r.ByKey(t.Context(), key)
				_, defErr := r.Default(t.Context())
				return err == nil && defErr == nil
			})
			after("key made", every, func() { s.byKey[unknown] = 9 }, func() bool {
				p, err := r.ByKey(t.Context(), unknown)
				return err == nil && p.ID == 9
			})
			after("key deleted", every, func() { delete(s.byKey, unknown) }, func() bool {
				_, err := r.ByKey(t.Context(), unknown)
				return errors.Is(err, ErrUnknownKey)
			})
		}
	})
}

func TestTheVersionIsAskedForOnceForAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{}}
		for i := range 100 {
			s.byKey[fmt.Sprintf("%032x", i)] = uint64(i + 1)
		}
		r := NewResolver(s, Config{})
		for range 300 {
			for i := range 100 {
				if _, err := r.ByKey(t.Context(), fmt.Sprintf("%032x", i)); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.versions > 14 || s.lookups > 200 {
			t.Errorf("in 30 s %d questions for the version and %d look-ups of 100 keys; want at most 14 and 200", s.versions, s.lookups)
		}
	})
}

func TestAStoreThatHangsDelaysNoKnownKeyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{byKey: map[string]uint64{key: 7}}
		r := NewResolver(s, Config{})
		if _, err := r.ByKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		s.set(nil, time.Hour)
		waited := time.Duration(0)
		for range 45 { // below the minute that a known key is believed
			began := time.Now()
			if p, err := r.ByKey(t.Context(), key); err != nil || p.ID != 7 {
				t.Fatalf("got %v, %v", p, err)
			}
			waited += time.Since(began)
			time.Sleep(time.Second)
		}
		if waited > 5*time.Second {
			t.Errorf("a known key waited %v for a store that hangs; want at most 5 s, once", waited)
		}
	})
}
