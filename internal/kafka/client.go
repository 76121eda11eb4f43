package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// NewClient opens a client without a role; extra options win over ours. It
// connects when first used. The caller closes it. m may be nil.
func NewClient(cfg Config, log *slog.Logger, m *Metrics, extra ...kgo.Opt) (*kgo.Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts := make([]kgo.Opt, 0, 12+len(extra))
	opts = append(opts,
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.WithLogger(logger{log.With("component", "kafka")}),
		kgo.DialTimeout(5*time.Second),
		// A single broker that restarts must be found again soon.
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(time.Second),
		kgo.DisableClientMetrics(), // KIP-714: nothing of ours leaves by itself
	)
	if cfg.ClientID != "" {
		opts = append(opts, kgo.ClientID(cfg.ClientID))
	}
	tlsConfig, err := cfg.TLS.tlsConfig()
	if err != nil {
		return nil, err
	}
	if tlsConfig != nil {
		opts = append(opts, kgo.DialTLSConfig(tlsConfig))
	}
	if mech := cfg.SASL.mechanism(); mech != nil {
		opts = append(opts, kgo.SASL(mech))
	}
	if m != nil {
		opts = append(opts, kgo.WithHooks(m))
	}
	cl, err := kgo.NewClient(append(opts, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot open a Kafka client for %s: %w", strings.Join(cfg.Brokers, ","), err)
	}
	return cl, nil
}

// backoff is the wait before try n of a request: 100 ms doubling to 2 s.
func backoff(n int) time.Duration {
	return min(100*time.Millisecond<<min(max(n-1, 0), 5), 2*time.Second)
}

// NewGroupConsumer opens a client that reads topic, by its logical name or the
// brokers', as a member of group: no
// commit but by the caller, no rebalance between poll and AllowRebalance,
// from the earliest record when the group has no commit, and never anywhere
// else by itself: an offset that is out of range is an error of the fetch.
func NewGroupConsumer(cfg Config, group, topic string, log *slog.Logger, m *Metrics, extra ...kgo.Opt) (*kgo.Client, error) {
	if group == "" || topic == "" {
		return nil, fmt.Errorf("cannot open a group consumer: group is %q and topic %q; both need a name", group, topic)
	}
	opts := make([]kgo.Opt, 0, 16+len(extra))
	opts = append(opts,
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(cfg.Topics.Physical(topic)),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(16<<20),
		kgo.FetchMaxPartitionBytes(8<<20),
		kgo.BrokerMaxReadBytes(128<<20),
		kgo.MaxDecompressBatchBytes(128<<20), // no batch of ours is larger; a bomb is
		kgo.MaxConcurrentFetches(1),          // one buffered fetch a broker bounds memory
	)
	return NewClient(cfg, log, m, append(opts, extra...)...)
}

// WaitReady waits until a broker answers. When ctx ends first the error names
// the brokers and the last failure.
func WaitReady(ctx context.Context, cl *kgo.Client, brokers []string) error {
	var last error
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		tryCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := cl.Ping(tryCtx)
		cancel()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // not the one that says only that time is up
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot reach Kafka at %s (setting kafka.brokers): %w", strings.Join(brokers, ", "), errors.Join(ctx.Err(), last))
		case <-time.After(wait):
		}
	}
}

// logger passes franz-go's log to slog. What the library calls info is its
// every step, so it is debug here.
type logger struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (l logger) Level() kgo.LogLevel {
	switch ctx := context.Background(); {
	case l.log.Enabled(ctx, slog.LevelDebug):
		return kgo.LogLevelInfo
	case l.log.Enabled(ctx, slog.LevelWarn):
		return kgo.LogLevelWarn
	case l.log.Enabled(ctx, slog.LevelError):
		return kgo.LogLevelError
	}
	return kgo.LogLevelNone
}

// Log implements kgo.Logger.
func (l logger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelError
	case kgo.LogLevelWarn:
		to = slog.LevelWarn
	}
	l.log.Log(context.Background(), to, msg, keyvals...)
}
