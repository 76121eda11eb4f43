// Package redis counts quotas in Redis or Valkey, so that several collectors
// hold senders to one quota together. Nothing else is kept there: a Redis that is
// lost costs the counts of the open windows, and no data.
package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/hoptrace/hoptrace/exporters"
)

// Config says where the server is.
type Config struct {
	// URL is redis://user:password@host:port/db, or rediss:// with TLS.
	URL string
	// Prefix stands before each key; several installations may share a server.
	// Empty means "hoptrace:".
	Prefix string
}

// Store is one server. It is safe for use by many goroutines.
type Store struct {
	client rueidis.Client
	prefix string
	where  string
}

var (
	_ exporters.Counters = (*Store)(nil)
	_ exporters.Pinger   = (*Store)(nil)
)

// script adds ARGV[1] to every key or to none. For key i ARGV[2i] is the limit (below
// zero: none) and ARGV[2i+1] the Unix time in ms at which the count is forgotten. It
// gives the index of the key that has no room, from 1; 0 when all took it.
var script = rueidis.NewLuaScript(`
local n = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
	local limit = tonumber(ARGV[2 * i])
	if limit >= 0 and tonumber(redis.call('GET', key) or '0') + n > limit then
		return i
	end
end
for i, key in ipairs(KEYS) do
	redis.call('INCRBY', key, n)
	redis.call('PEXPIREAT', key, ARGV[2 * i + 1])
end
return 0`)

// Counts are kept for this long after their window, for senders whose clock lags.
const grace = time.Minute

// maxCounters is what exporters.Counters allows.
const maxCounters = 32

// Open connects. Close the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	opt, err := rueidis.ParseURL(cfg.URL)
	if err != nil || len(opt.InitAddress) == 0 {
		return nil, errors.New("redis url cannot be read: want redis://host:6379/0 or rediss://… with TLS") // not the text: it may hold a password
	}
	opt.DisableCache = true
	opt.AlwaysRESP2 = true
	opt.Dialer = net.Dialer{Timeout: 5 * time.Second}
	opt.ConnWriteTimeout = 5 * time.Second
	opt.ClientName = "hoptrace"
	s := &Store{prefix: cfg.Prefix, where: opt.InitAddress[0]}
	if s.prefix == "" {
		s.prefix = "hoptrace:"
	}
	if s.client, err = rueidis.NewClient(opt); err != nil {
		return nil, fmt.Errorf("cannot open redis at %s: %w: %w", s.where, exporters.ErrUnavailable, err)
	}
	if err := s.Ping(ctx); err != nil {
		s.client.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the connections.
func (s *Store) Close() error {
	s.client.Close()
	return nil
}

// Ping asks the server, and fails with ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Do(ctx, s.client.B().Ping().Build()).Error(); err != nil {
		return fmt.Errorf("redis at %s does not answer: %w: %w", s.where, exporters.ErrUnavailable, err)
	}
	return nil
}

// Take adds to all counters or to none, in one step of the server.
func (s *Store) Take(ctx context.Context, counters []exporters.Counter, n int64) (int, error) {
	if len(counters) == 0 {
		return -1, nil
	}
	if len(counters) > maxCounters || n < 1 {
		return 0, fmt.Errorf("cannot take %d from %d counters: at least 1, from at most %d", n, len(counters), maxCounters)
	}
	keys := make([]string, len(counters))
	args := make([]string, 1, 1+2*len(counters))
	args[0] = strconv.FormatInt(n, 10)
	for i, c := range counters {
		keys[i] = s.prefix + c.Key
		args = append(args, strconv.FormatInt(c.Limit, 10), strconv.FormatInt(c.Until.Add(grace).UnixMilli(), 10))
	}
	over, err := script.Exec(ctx, s.client, keys, args).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("cannot take from %d quotas in redis at %s: %w: %w", len(counters), s.where, exporters.ErrUnavailable, err)
	}
	return int(over) - 1, nil
}

// Count reads one.
func (s *Store) Count(ctx context.Context, key string) (int64, error) {
	n, err := s.client.Do(ctx, s.client.B().Get().Key(s.prefix+key).Build()).AsInt64()
	if rueidis.IsRedisNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read a quota in redis at %s: %w: %w", s.where, exporters.ErrUnavailable, err)
	}
	return n, nil
}
