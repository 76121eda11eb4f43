// Package metadata keeps projects, their keys and issues in SQLite or
// Postgres, with the same SQL. It holds no events (see package clickhouse) and
// caches nothing.
package metadata

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hoptrace/hoptrace/exporters"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	maxConns    = 8
	busyTimeout = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// Store is one database. It is safe for use by many goroutines.
type Store struct {
	write *sql.DB // SQLite has one writer
	read  *sql.DB // the same as write on Postgres
	// rowLock ends a SELECT whose rows stay locked until the commit: empty on
	// SQLite, which locks all.
	rowLock string
}

var (
	_ exporters.Projects     = (*Store)(nil)
	_ exporters.IssueStore   = (*Store)(nil)
	_ exporters.IssueSighter = (*Store)(nil)
	_ exporters.IssueKeeper  = (*Store)(nil)
	_ exporters.SavedQueries = (*Store)(nil)
	_ exporters.Pinger       = (*Store)(nil)
)

// Open opens the database and brings its tables to the version of this
// program. dsn is sqlite:PATH, where the file is made if need be, or a
// postgres:// URL. Close it.
func Open(ctx context.Context, dsn string) (*Store, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, dsn)
	}
	return nil, fmt.Errorf("metadata store %q: want sqlite:/path/of/file or postgres://user@host/database", scheme+":…")
}

func openSQLite(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, errors.New("metadata store sqlite: the path of the file is missing: want sqlite:/path/of/file")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("metadata store sqlite:%s: %w", path, err)
	}
	// synchronous=FULL: an issue's id lies in events elsewhere, so it must not
	// be given twice after a power cut.
	query := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, "_txlock": {"immediate"}}
	open := func(conns int) (*sql.DB, error) {
		db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: query.Encode()}).String())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db, nil
	}
	s := new(Store)
	if s.write, err = open(1); err == nil {
		if err = migrate(ctx, goose.DialectSQLite3, s.write); err == nil {
			s.read, err = open(maxConns)
		}
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("cannot open metadata store sqlite:%s: %w", path, classify(err))
	}
	return s, nil
}

func openPostgres(ctx context.Context, dsn string) (*Store, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("metadata store: %w", err) // pgx hides the password
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	db.SetConnMaxIdleTime(10 * time.Minute)
	s := &Store{write: db, read: db, rowLock: " FOR UPDATE"}
	if err := migrate(ctx, goose.DialectPostgres, db); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("cannot open metadata store postgres://%s:%d/%s: %w", cfg.Host, cfg.Port, cfg.Database, classify(err))
	}
	return s, nil
}

func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithTableName("schema_versions")}
	if dialect == goose.DialectPostgres {
		// Several roles may start at once.
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err == nil && have > want {
		err = fmt.Errorf("its tables have version %d and this program knows %d: run the newer program, or another database", have, want)
	}
	return err
}

// Close closes the connections. It is safe twice.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping reads from the database and fails with ErrUnavailable.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	var n int64
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM schema_versions").Scan(&n); err != nil {
		return fmt.Errorf("cannot ping the metadata store: %w: %w", exporters.ErrUnavailable, err)
	}
	return nil
}

// classify adds ErrUnavailable to errors that time may heal.
func classify(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	unavailable := false
	var pg *pgconn.PgError
	var lite *sqlite.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.As(err, &connect):
		unavailable = true
	case errors.As(err, &pg):
		switch pg.Code[:min(2, len(pg.Code))] {
		case "08", "40", "53", "57": // connection, rollback, resources, operator
			unavailable = true
		}
	case errors.As(err, &lite):
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM:
			unavailable = true
		}
	default:
		unavailable = errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || pgconn.SafeToRetry(err) || isNetwork(err)
	}
	if unavailable {
		return fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
	}
	return err
}

// text is what both databases take: Postgres refuses NUL and broken UTF-8.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
