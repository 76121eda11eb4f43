// Package quota holds senders to what they may send in a window of time, by
// organisation, project, key and category, and turns away who asks too often
// before a body is read. It decides; counting is done by exporters.Counters, and
// answers are written by package envelope.
package quota

import (
	"context"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Sender is whose data it is.
type Sender struct {
	Organization, Project uint64
	Key                   string // empty: no key
}

// Limit is a quota that takes nothing more for a while.
type Limit struct {
	Categories []schemas.Category // empty: all
	Scope      string
	Reason     string
	RetryAfter time.Duration // whole seconds, rounded up, at least 1
}

// Config of a Limiter.
type Config struct {
	// Timeout bounds one question to shared counters. Zero means 100 ms.
	Timeout time.Duration
	// MaxFull bounds the windows that are known to be full. Zero means 10,000.
	MaxFull int
}

// maxQuotas bounds how many quotas count for one item.
const maxQuotas = 32

// unlimited is how long a quota that takes nothing says to wait.
const unlimited = time.Minute

// Limiter takes from quotas.
type Limiter struct {
	cfg      Config
	counters exporters.Counters
	local    *Memory // counts for itself while the shared counters do not answer
	log      *slog.Logger
	degraded prometheus.Counter
	now      func() time.Time

	mu     sync.Mutex           // guards the following
	full   map[string]time.Time // counter's key → until when it takes nothing
	warned time.Time
}

// New makes a limiter. counters may be shared by several processes; nil means
// those of this process alone.
func New(cfg Config, counters exporters.Counters, reg prometheus.Registerer, log *slog.Logger) (*Limiter, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 100 * time.Millisecond
	}
	if cfg.MaxFull <= 0 {
		cfg.MaxFull = 10_000
	}
	l := &Limiter{
		cfg: cfg, counters: counters, local: NewMemory(), log: log, now: time.Now, full: map[string]time.Time{},
		degraded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hoptrace_collector_quota_degraded_total",
			Help: "Decisions made by this process's own counts, because the shared ones did not answer.",
		}),
	}
	if counters == nil {
		l.counters = l.local
	}
	return l, reg.Register(l.degraded)
}

// use is a quota as it concerns one sender now.
type use struct {
	quota *schemas.Quota
	key   string
	until time.Time
}

// uses are the quotas about a category, or about any when c is empty.
func (l *Limiter) uses(from Sender, quotas []schemas.Quota, c schemas.Category, now time.Time) []use {
	var out []use
	for i := range quotas {
		q := &quotas[i]
		if len(out) == maxQuotas {
			break
		}
		category := c
		if c == "" && len(q.Categories) > 0 {
			category = q.Categories[0]
		}
		if !q.Matches(from.Organization, from.Project, from.Key, category) {
			continue
		}
		scope := from.scope(q.Scope)
		if q.Limit != nil && *q.Limit == 0 {
			out = append(out, use{quota: q, until: now.Add(unlimited)})
			continue
		}
		slot, until := window(q, scope, now)
		out = append(out, use{q, "quota:" + q.Scope + ":" + scope + ":" + q.ID + ":" + strconv.FormatInt(q.Window, 10) + ":" + strconv.FormatInt(slot, 10), until})
	}
	return out
}

func (s Sender) scope(kind string) string {
	switch kind {
	case schemas.ScopeOrganization:
		return strconv.FormatUint(s.Organization, 10)
	case schemas.ScopeProject:
		return strconv.FormatUint(s.Project, 10)
	}
	return s.Key
}

// window is the one that now lies in. Windows of different scopes begin at
// different times, so that not all senders come again in one second; it is the
// same in every process.
func window(q *schemas.Quota, scope string, now time.Time) (slot int64, until time.Time) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(q.Scope + ":" + scope + ":" + q.ID)) // never fails
	shift := int64(h.Sum32()) % q.Window
	sec := now.Unix() + shift
	slot = sec / q.Window
	return slot, time.Unix((slot+1)*q.Window-shift, 0)
}

// Take charges n of a category to the quotas that are about it. When one has
// not enough left nothing is charged and its limit comes back.
func (l *Limiter) Take(ctx context.Context, from Sender, quotas []schemas.Quota, c schemas.Category, n int64) (limit Limit, limited bool) {
	if len(quotas) == 0 || n <= 0 {
		return Limit{}, false
	}
	now := l.now()
	uses := l.uses(from, quotas, c, now)
	if len(uses) == 0 {
		return Limit{}, false
	}
	counters := make([]exporters.Counter, 0, len(uses))
	index := make([]int, 0, len(uses))
	for i := range uses {
		u := &uses[i]
		most := int64(-1)
		if u.quota.Limit != nil {
			most = *u.quota.Limit
		}
		if most == 0 || l.isFull(u.key, now) {
			return u.limit(now), true
		}
		counters, index = append(counters, exporters.Counter{Key: u.key, Limit: most, Until: u.until}), append(index, i)
	}
	over := l.take(ctx, counters, n)
	if over < 0 {
		return Limit{}, false
	}
	u := &uses[index[over]]
	if n == 1 { // a window that has no room for one has none for anything
		l.markFull(u.key, u.until, now)
	}
	return u.limit(now), true
}

func (l *Limiter) take(ctx context.Context, counters []exporters.Counter, n int64) int {
	if l.counters != exporters.Counters(l.local) {
		asking, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
		over, err := l.counters.Take(asking, counters, n)
		cancel()
		if err == nil {
			return over
		}
		l.degraded.Inc()
		l.warn(err)
	}
	over, _ := l.local.Take(ctx, counters, n) // never fails
	return over
}

// warn says once a minute that the shared counters do not answer.
func (l *Limiter) warn(err error) {
	l.mu.Lock()
	quiet := l.now().Sub(l.warned) < time.Minute
	if !quiet {
		l.warned = l.now()
	}
	l.mu.Unlock()
	if !quiet {
		l.log.Warn("shared quotas do not answer: each collector counts for itself until they do", "err", err)
	}
}

// Limits are the quotas that are known to take nothing more now: of all
// categories, since a sender is told before its body is read.
func (l *Limiter) Limits(from Sender, quotas []schemas.Quota) []Limit {
	if len(quotas) == 0 {
		return nil
	}
	now := l.now()
	var out []Limit
	for _, u := range l.uses(from, quotas, "", now) {
		if u.quota.Limit != nil && (*u.quota.Limit == 0 || l.isFull(u.key, now)) {
			out = append(out, u.limit(now))
		}
	}
	return out
}

func (u *use) limit(now time.Time) Limit {
	wait := u.until.Sub(now)
	wait = max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	reason := u.quota.Reason
	if reason == "" {
		reason = u.quota.ID
	}
	return Limit{Categories: slices.Clone(u.quota.Categories), Scope: u.quota.Scope, Reason: reason, RetryAfter: wait}
}

func (l *Limiter) isFull(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.full[key])
}

func (l *Limiter) markFull(key string, until, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.full) >= l.cfg.MaxFull {
		for k, t := range l.full {
			if !now.Before(t) || len(l.full) >= l.cfg.MaxFull {
				delete(l.full, k)
			}
		}
	}
	l.full[key] = until
}
