package quota

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// AbuseConfig bounds how often one address and one key may ask at all, whatever
// they send. Zero or less of a rate means no bound.
type AbuseConfig struct {
	AddressRate  int `yaml:"address_rate" help:"requests a second of one address (an IPv6 network of 64 bits is one); 0 means no bound"`
	AddressBurst int `yaml:"address_burst" help:"requests of one address at once"`
	KeyRate      int `yaml:"key_rate" help:"requests a second with one DSN key; 0 means no bound"`
	KeyBurst     int `yaml:"key_burst" help:"requests with one key at once"`
	// MaxTracked bounds the addresses and, apart, the keys that are remembered.
	MaxTracked int `yaml:"max_tracked" help:"addresses and keys that are told apart"`
}

// DefaultAbuse bounds nobody who sends what a program sends: addresses may stand for
// many programs behind one gateway, so they have no bound of their own.
func DefaultAbuse() AbuseConfig {
	return AbuseConfig{KeyRate: 20_000, KeyBurst: 40_000, MaxTracked: 20_000}
}

// Validate names every fault at once.
func (c AbuseConfig) Validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		n    int
	}{{"address_rate", c.AddressRate}, {"address_burst", c.AddressBurst}, {"key_rate", c.KeyRate}, {"key_burst", c.KeyBurst}} {
		if f.n < 0 {
			errs = append(errs, fmt.Errorf("quota.abuse.%s is %d, want 0 or more", f.name, f.n))
		}
	}
	if c.MaxTracked < 1 {
		errs = append(errs, fmt.Errorf("quota.abuse.max_tracked is %d, want at least 1", c.MaxTracked))
	}
	return errors.Join(errs...)
}

// Abuse turns away who asks too often, before a body is read.
type Abuse struct {
	cfg       AbuseConfig
	now       func() time.Time
	addresses buckets[netip.Prefix]
	keys      buckets[string]
}

// NewAbuse remembers nobody yet.
func NewAbuse(cfg AbuseConfig) *Abuse {
	if cfg.MaxTracked <= 0 {
		cfg.MaxTracked = 20_000
	}
	a := &Abuse{cfg: cfg, now: time.Now}
	a.addresses.init(float64(cfg.AddressRate), cfg.AddressBurst, cfg.MaxTracked)
	a.keys.init(float64(cfg.KeyRate), cfg.KeyBurst, cfg.MaxTracked)
	return a
}

// Address takes one request of an address; wait is zero when it may go on.
func (a *Abuse) Address(from netip.Addr) (wait time.Duration) {
	if a.cfg.AddressRate <= 0 || !from.IsValid() {
		return 0
	}
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64
	}
	prefix, err := from.WithZone("").Prefix(bits)
	if err != nil {
		return 0
	}
	return a.addresses.take(prefix, a.now())
}

// Key takes one request with a key; wait is zero when it may go on.
func (a *Abuse) Key(key string) (wait time.Duration) {
	if a.cfg.KeyRate <= 0 || key == "" {
		return 0
	}
	return a.keys.take(key, a.now())
}

// buckets are token buckets by what is tracked.
type buckets[K comparable] struct {
	rate  float64
	burst float64
	most  int

	mu sync.Mutex // guards the following
	by map[K]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func (b *buckets[K]) init(rate float64, burst, most int) {
	b.rate, b.burst, b.most = rate, float64(max(burst, 1)), most
	b.by = map[K]bucket{}
}

func (b *buckets[K]) take(key K, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.by[key]
	if !ok {
		if len(b.by) >= b.most {
			b.makeRoom(now)
		}
		t = bucket{tokens: b.burst, at: now}
	}
	t.tokens = min(b.burst, t.tokens+now.Sub(t.at).Seconds()*b.rate)
	t.at = now
	var wait time.Duration
	if t.tokens < 1 {
		wait = max(time.Second, time.Duration((1-t.tokens)/b.rate*float64(time.Second)))
	} else {
		t.tokens--
	}
	b.by[key] = t
	return wait
}

// makeRoom forgets those whose bucket is full again, and else any: who is
// forgotten begins with a full bucket, so a flood of addresses costs precision,
// not memory.
func (b *buckets[K]) makeRoom(now time.Time) {
	for k, t := range b.by {
		if t.tokens+now.Sub(t.at).Seconds()*b.rate >= b.burst {
			delete(b.by, k)
		}
	}
	for k := range b.by {
		if len(b.by) < b.most {
			return
		}
		delete(b.by, k)
	}
}
