package access

import (
	"sync"
	"time"
)

// How many attempts to sign in are taken at once, and how fast more come.
const (
	accountBurst, accountEvery = 10, time.Minute
	addressBurst, addressEvery = 30, 10 * time.Second
	// maxBuckets bounds who is remembered; the fullest, who tried least, are forgotten.
	maxBuckets = 20_000
)

// limiter counts attempts by account and by address: a bucket of tokens each.
type limiter struct {
	mu      sync.Mutex // guards the following
	buckets map[string]bucket
}

// bucket is how many attempts are left at a time.
type bucket struct {
	left float64
	at   time.Time
}

func (b bucket) now(now time.Time, burst int, every time.Duration) float64 {
	return min(float64(burst), b.left+now.Sub(b.at).Seconds()/every.Seconds())
}

// take uses up one attempt of each, or tells how long to wait.
func (l *limiter) take(now time.Time, account, address string) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buckets == nil {
		l.buckets = map[string]bucket{}
	}
	if len(l.buckets) > maxBuckets {
		l.forget(now)
	}
	type use struct {
		key   string
		left  float64
		every time.Duration
	}
	uses := make([]use, 0, 2)
	for _, k := range []struct {
		key   string
		burst int
		every time.Duration
	}{{"account " + account, accountBurst, accountEvery}, {"address " + address, addressBurst, addressEvery}} {
		left := float64(k.burst)
		if b, ok := l.buckets[k.key]; ok {
			left = b.now(now, k.burst, k.every)
		}
		if left < 1 {
			wait = max(wait, time.Duration((1-left)*float64(k.every)))
		}
		uses = append(uses, use{k.key, left, k.every})
	}
	if wait > 0 {
		return wait
	}
	for _, u := range uses {
		l.buckets[u.key] = bucket{u.left - 1, now}
	}
	return 0
}

// forget drops those who have nearly all their attempts left, and all when that
// is not enough: an attacker with so many addresses is not held by memory.
func (l *limiter) forget(now time.Time) {
	for k, b := range l.buckets {
		if now.Sub(b.at) > accountBurst*accountEvery {
			delete(l.buckets, k)
		}
	}
	if len(l.buckets) > maxBuckets {
		clear(l.buckets)
	}
}

// succeeded gives an account its attempts back.
func (l *limiter) succeeded(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.buckets, "account "+account)
}
