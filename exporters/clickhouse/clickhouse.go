// Package clickhouse keeps spans, message rows, events and metric points in ClickHouse: a
// server, or the embedded engine, which speaks the same protocol. It owns the
// tables and the arithmetic of a hop in SQL; it starts no engine (see package
// embeddedclickhouse) and holds no metadata (see package metadata).
package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"sync"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
)

// Config says where ClickHouse is and what it keeps.
type Config struct {
	// Address is host:port of the native protocol. Ignored with Dial.
	Address string
	// Dial connects instead of TCP to Address, as for a unix socket. Nil means TCP.
	Dial func(ctx context.Context) (net.Conn, error)

	User     string // empty means default
	Password string
	Database string // empty means default; Migrate creates it

	// MaxConns bounds the connections, each of which runs one statement.
	MaxConns int
	// RetentionDays is how long rows are kept by their own time. Zero keeps
	// them for ever. Migrate applies it.
	RetentionDays int
	// QueryTimeout bounds one statement.
	QueryTimeout time.Duration
	// QueryMemory bounds what one statement may use in the engine, in bytes.
	QueryMemory int64
}

// DefaultConfig is a server on this machine, kept for 30 days.
func DefaultConfig() Config {
	return Config{
		Address:       "127.0.0.1:9000",
		Database:      "default",
		MaxConns:      8,
		RetentionDays: 30,
		QueryTimeout:  30 * time.Second,
		QueryMemory:   1 << 30,
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Dial == nil {
		if _, _, err := net.SplitHostPort(c.Address); err != nil {
			fault("clickhouse address %q: want host:port: %w", c.Address, err)
		}
	}
	if c.Database != "" && !identifier.MatchString(c.Database) {
		fault("clickhouse database %q: want letters, digits and _, at most 63", c.Database)
	}
	if c.MaxConns < 2 || c.MaxConns > 1000 {
		fault("clickhouse max_conns %d: want 2 to 1000", c.MaxConns)
	}
	if c.RetentionDays < 0 || c.RetentionDays > 36500 {
		fault("clickhouse retention_days %d: want 0 (for ever) to 36500", c.RetentionDays)
	}
	if c.QueryTimeout < time.Second || c.QueryTimeout > time.Hour {
		fault("clickhouse query_timeout %v: want 1s to 1h", c.QueryTimeout)
	}
	if c.QueryMemory < 64<<20 {
		fault("clickhouse query_memory %d: want at least 64 MiB", c.QueryMemory)
	}
	return errors.Join(faults...)
}

// Store is the tables in one database. It is safe for use by many goroutines.
type Store struct {
	cfg  Config
	log  *slog.Logger
	pool *pool

	spanColumns    freeList[*spanColumns]
	messageColumns freeList[*messageColumns]
	eventColumns   freeList[*eventColumns]
	metricColumns  freeList[*metricColumns]
	logColumns     freeList[*logColumns]
	tallyColumns   freeList[*tallyColumns]
	fileColumns    freeList[*fileColumns]
	sessionColumns freeList[*sessionColumns]
	clockColumns   freeList[*clockColumns]
	boundsColumns  freeList[*boundsColumns]

	idleMu sync.Mutex // guards the following
	idle   *time.Timer
}

var (
	_ exporters.SpanWriter       = (*Store)(nil)
	_ exporters.EventWriter      = (*Store)(nil)
	_ exporters.SpanReader       = (*Store)(nil)
	_ exporters.MessageReader    = (*Store)(nil)
	_ exporters.EventReader      = (*Store)(nil)
	_ exporters.IssueEventReader = (*Store)(nil)
	_ exporters.TwinKeeper       = (*Store)(nil)
	_ exporters.MetricWriter     = (*Store)(nil)
	_ exporters.MetricReader     = (*Store)(nil)
	_ exporters.LogWriter        = (*Store)(nil)
	_ exporters.LogReader        = (*Store)(nil)
	_ exporters.LedgerWriter     = (*Store)(nil)
	_ exporters.LedgerReader     = (*Store)(nil)
	_ exporters.TopologyReader   = (*Store)(nil)
	_ exporters.SearchReader     = (*Store)(nil)
	_ exporters.Pinger           = (*Store)(nil)
)

// New makes a store. It connects at the first use, so ClickHouse may come up
// later; call Migrate before anything else.
func New(cfg Config, log *slog.Logger) (*Store, error) {
	if cfg.Database == "" {
		cfg.Database = ch.DefaultDatabase
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, log: log, pool: newPool(cfg, cfg.Database)}
	s.spanColumns.make = newSpanColumns
	s.messageColumns.make = newMessageColumns
	s.eventColumns.make = newEventColumns
	s.metricColumns.make = newMetricColumns
	s.logColumns.make = newLogColumns
	s.tallyColumns.make = newTallyColumns
	s.fileColumns.make = newFileColumns
	s.sessionColumns.make = newSessionColumns
	s.clockColumns.make = newClockColumns
	s.boundsColumns.make = newBoundsColumns
	return s, nil
}

// Close closes idle connections; those in use are closed when their statement
// ends. Later calls fail. It is safe twice.
func (s *Store) Close() error {
	s.pool.close()
	s.idleMu.Lock()
	defer s.idleMu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
	}
	return nil
}

// Ping asks the engine for an answer and fails with ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	err := s.read(ctx, func(c *conn) error { return c.client.Ping(ctx) })
	if err != nil {
		return fmt.Errorf("cannot ping clickhouse: %w", err)
	}
	return nil
}

// read runs f on a connection, and again on a fresh one if the first had
// broken: the engine may have been restarted since. f must be repeatable.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	err := s.pool.do(ctx, f)
	if err != nil && ctx.Err() == nil && isBroken(err) {
		s.pool.drop()
		err = s.pool.do(ctx, f)
	}
	return classify(ctx, err)
}

// query reads rows: block is called after each block of result has arrived and
// copies what it keeps. begin, called before each attempt, clears what an
// attempt that broke off left behind.
func (s *Store) query(ctx context.Context, body string, ps params, result proto.Results, begin, block func()) error {
	work := exporters.WorkOf(ctx)
	return s.read(ctx, func(c *conn) error {
		begin()
		return c.client.Do(ctx, ch.Query{
			Body:       body,
			Parameters: ps,
			Result:     result,
			OnProgress: func(_ context.Context, p proto.Progress) error {
				if work != nil {
					work.Rows.Add(p.Rows)
					work.Bytes.Add(p.Bytes)
				}
				return nil
			},
			OnResult: func(context.Context, proto.Block) error {
				block()
				return nil
			},
		})
	})
}

// write runs an INSERT once.
func (s *Store) write(ctx context.Context, body string, input proto.Input) error {
	err := s.pool.do(ctx, func(c *conn) error {
		return c.client.Do(ctx, ch.Query{Body: body, Input: input})
	})
	s.releaseLater()
	if err != nil && isBroken(err) {
		s.pool.drop()
	}
	return classify(ctx, err)
}

// isBroken tells that the connection failed, not the statement.
func isBroken(err error) bool {
	return !ch.IsException(err) && !errors.Is(err, errClosed)
}

// classify adds ErrUnavailable to errors that time may heal.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	case ch.IsErr(err, proto.ErrTooManySimultaneousQueries, proto.ErrSocketTimeout, proto.ErrNetworkError,
		proto.ErrMemoryLimitExceeded, proto.ErrNotEnoughSpace, proto.ErrTooManyParts):
		return fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
	case ch.IsException(err):
		return err
	}
	return fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
}
