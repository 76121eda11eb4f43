// Package embeddedkafka runs a durable single-node Kafka broker inside this
// process, so that one machine needs no Kafka of its own. It speaks the Kafka
// protocol on a loopback port: hoptrace's stations and users' own clients use
// it as they would use any broker.
//
// It wraps kfake (github.com/twmb/franz-go/pkg/kfake) and adds what a broker
// needs that is not a test: a directory lock, retention that never gives an
// offset out twice, topics created on first use that survive a crash, bounds
// on requests and connections, and a total bound on the log.
//
// It is not a cluster: one node, no replication, no quotas. Outgrown, it is
// replaced by the address of an Apache Kafka.
//
// What survives kill -9: every record acknowledged with acks=all, committed
// group offsets, topics and their ids. What does not: the broker's memory of
// idempotent producers' sequence numbers, so a producer that outlives a
// crashed broker and retries may write a batch twice (at least once). Records
// that retention dropped from the middle of a segment file may reappear after
// a crash until the cleaner's next pass.
package embeddedkafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/internal/dirlock"
)

// Broker is an embedded Kafka broker. Create it with [New].
type Broker struct {
	cfg Config
	log *slog.Logger

	mu       sync.Mutex // guards the following
	started  bool
	stopped  bool
	lock     *dirlock.Lock
	cluster  *kfake.Cluster
	full     atomic.Bool
	listener *listener
	client   *kgo.Client
	admin    *kadm.Client
	addr     string
	cancel   context.CancelFunc
	cleaned  chan struct{} // closed when the cleaner's goroutine has ended

	watermarkMu sync.Mutex // one writer of the watermark file at a time
	stats       stats
}

// New returns a broker that is not started. The error names every fault of cfg.
func New(cfg Config, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve the broker's directory %q: %w", cfg.Dir, err)
	}
	cfg.Dir = dir
	return &Broker{cfg: cfg, log: log.With("component", "embeddedkafka")}, nil
}

// Name is the component's name for package lifecycle.
func (b *Broker) Name() string { return "embedded kafka" }

// Start locks the directory, loads the log and serves. It returns once
// clients can connect. A broker starts once; make a new one to start again.
func (b *Broker) Start(ctx context.Context) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started || b.stopped {
		return errors.New("cannot start the embedded broker: it was started before; make a new one")
	}
	begun := time.Now()
	if err := os.MkdirAll(b.cfg.Dir, 0o750); err != nil {
		return fmt.Errorf("cannot make the broker's directory: %w", err)
	}
	lock, err := dirlock.Take(b.cfg.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.closeLocked(context.WithoutCancel(ctx)))
		}
	}()
	b.lock = lock

	logBytes, err := restoreOffsets(b.logDir(), b.watermarkFile(), b.log)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, b.cfg, &b.stats, b.log)
	if err != nil {
		return err
	}
	b.listener = listener
	b.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.ClusterID("hoptrace-embedded"),
		kfake.DataDir(b.logDir()),
		kfake.SyncWrites(),
		kfake.DefaultNumPartitions(b.cfg.DefaultPartitions),
		kfake.ListenFn(func(_, _ string) (net.Listener, error) { return listener, nil }),
		kfake.WithLogger(kfakeLogger{b.log}),
		kfake.BrokerConfigs(b.brokerConfigs()),
	)
	if err != nil {
		return fmt.Errorf("cannot load the broker's log in %q: %w", b.logDir(), err)
	}
	b.addr = listener.Addr().String()

	b.client, err = kgo.NewClient(
		kgo.SeedBrokers(listener.local()),
		kgo.ClientID("hoptrace-embedded-broker"),
		kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.dial(ctx) }),
		kgo.RetryTimeout(10*time.Second),
		// Topics that users make are the cleaner's at its next pass.
		kgo.MetadataMinAge(10*time.Millisecond),
	)
	if err != nil {
		return fmt.Errorf("cannot open the broker's own client: %w", err)
	}
	b.admin = kadm.NewClient(b.client)
	if err := b.applyBrokerConfigs(ctx); err != nil {
		return err
	}
	listener.setHooks(b)

	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel, b.cleaned = cancel, make(chan struct{})
	go func() {
		defer close(b.cleaned)
		b.runCleaner(runCtx)
	}()
	if logBytes > 32<<20 {
		// Loading reads the log whole; give that memory back at once
		// rather than when the scavenger gets to it.
		debug.FreeOSMemory()
	}
	b.started = true
	b.log.Info("embedded broker ready", "address", b.addr, "dir", b.cfg.Dir,
		"log_bytes", logBytes, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}

// Shutdown stops serving, writes what a fast start needs and frees the
// directory. It is safe twice and without Start. When ctx ends first the log
// is still complete: the next start takes the longer way of a crash.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return nil
	}
	b.stopped = true
	return b.closeLocked(ctx)
}

// closeLocked frees what Start took, in reverse; parts that do not exist are
// passed over, so it is safe twice.
func (b *Broker) closeLocked(ctx context.Context) error {
	var errs []error
	if b.cancel != nil {
		b.cancel()
		<-b.cleaned
		b.cancel = nil
	}
	if b.listener != nil {
		b.listener.setHooks(nil)
	}
	if b.client != nil {
		if b.started {
			if err := b.saveWatermarks(ctx); err != nil {
				errs = append(errs, err)
			}
		}
		b.client.Close()
		b.client, b.admin = nil, nil
	}
	if b.listener != nil {
		_ = b.listener.Close() // closed again by the cluster
	}
	if b.cluster != nil {
		cluster, closed := b.cluster, make(chan struct{})
		b.cluster = nil
		go func() { defer close(closed); cluster.Close() }()
		select {
		case <-closed:
		case <-ctx.Done():
			// The lock stays: the log may still be written to.
			return errors.Join(append(errs, fmt.Errorf("embedded broker did not close in time: %w", ctx.Err()))...)
		}
	}
	if b.listener != nil {
		b.listener.closeConns()
		b.listener = nil
	}
	if b.lock != nil {
		errs = append(errs, b.lock.Release())
		b.lock = nil
	}
	return errors.Join(errs...)
}

// Addr is the address that clients connect to, "127.0.0.1:9092" say. It is
// empty before Start.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addr
}

func (b *Broker) logDir() string        { return filepath.Join(b.cfg.Dir, "log") }
func (b *Broker) watermarkFile() string { return filepath.Join(b.cfg.Dir, "watermarks.json") }

// brokerConfigs are the broker-level defaults that topics without their own
// setting follow.
func (b *Broker) brokerConfigs() map[string]string {
	return map[string]string{
		"log.segment.bytes":         strconv.FormatInt(b.cfg.SegmentBytes, 10),
		"log.retention.ms":          strconv.FormatInt(b.cfg.RetentionTime.Milliseconds(), 10),
		"log.retention.bytes":       strconv.FormatInt(b.cfg.RetentionBytes, 10),
		"message.max.bytes":         strconv.Itoa(b.cfg.MaxMessageBytes),
		"offsets.retention.minutes": strconv.Itoa(int(offsetsRetention / time.Minute)),
		// kfake's own cleaner may empty a partition, after which a restart
		// counts its offsets from 0 again. Ours (cleaner.go) does not, so
		// theirs gets an interval that never comes.
		"log.cleaner.backoff.ms": strconv.FormatInt((10 * 365 * 24 * time.Hour).Milliseconds(), 10),
	}
}

// applyBrokerConfigs writes the settings of this start over those that kfake
// kept on disk from the last.
func (b *Broker) applyBrokerConfigs(ctx context.Context) error {
	configs := b.brokerConfigs()
	alter := make([]kadm.AlterConfig, 0, len(configs))
	for k, v := range configs {
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: kadm.StringPtr(v)})
	}
	resps, err := b.admin.AlterBrokerConfigs(ctx, alter)
	if err != nil {
		return fmt.Errorf("cannot apply the broker's settings: %w", err)
	}
	for _, r := range resps {
		if r.Err != nil {
			return fmt.Errorf("cannot apply the broker's settings: %w: %s", r.Err, r.ErrMessage)
		}
	}
	return nil
}

// listenError explains why a listener could not be opened.
func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s: the port is in use by another program; stop it, or choose another with the setting embedded_kafka.listen: %w", address, err)
	}
	return fmt.Errorf("cannot listen on %s (setting embedded_kafka.listen): %w", address, err)
}

// kfakeLogger passes kfake's log to slog.
type kfakeLogger struct{ log *slog.Logger }

// Logf implements kfake.Logger.
func (l kfakeLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	var to slog.Level
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	default: // info of a library about its every request is our debug
		to = slog.LevelDebug
	}
	if l.log.Enabled(context.Background(), to) {
		l.log.Log(context.Background(), to, fmt.Sprintf(format, args...))
	}
}
