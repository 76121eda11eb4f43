package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
)

const versionTable = `
CREATE TABLE IF NOT EXISTS schema_versions
(
	version UInt32,
	applied DateTime DEFAULT now()
)
ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1`

// Migrate makes the database and brings its tables to the version of this
// program. It may be repeated, also after it broke off, and refuses a database
// that a newer program has migrated.
func (s *Store) Migrate(ctx context.Context) error {
	if s.cfg.Database != ch.DefaultDatabase {
		// A server refuses a connection to a database that does not exist.
		first := newPool(s.cfg, ch.DefaultDatabase)
		defer first.close()
		err := first.do(ctx, func(c *conn) error {
			return c.client.Do(ctx, ch.Query{Body: "CREATE DATABASE IF NOT EXISTS " + s.cfg.Database})
		})
		if err != nil {
			return fmt.Errorf("cannot create clickhouse database %q: %w", s.cfg.Database, classify(ctx, err))
		}
	}
	if err := s.exec(ctx, versionTable, nil); err != nil {
		return fmt.Errorf("cannot create clickhouse table schema_versions: %w", err)
	}
	version, err := s.schemaVersion(ctx)
	if err != nil {
		return fmt.Errorf("cannot read the version of the clickhouse tables: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("the clickhouse tables in database %q have version %d and this program knows %d: run the newer program, or another database",
			s.cfg.Database, version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		if err := s.exec(ctx, migrations[version], nil); err != nil {
			return fmt.Errorf("cannot bring the clickhouse tables to version %d: %w", version+1, err)
		}
		var ps params
		ps.int("version", int64(version+1))
		if err := s.exec(ctx, "INSERT INTO schema_versions (version) SELECT {version:UInt32}", ps); err != nil {
			return fmt.Errorf("cannot note version %d of the clickhouse tables: %w", version+1, err)
		}
		s.log.Info("migrated clickhouse tables", "database", s.cfg.Database, "version", version+1)
	}
	return s.applyRetention(ctx)
}

// exec runs a statement that gives no rows and may be repeated.
func (s *Store) exec(ctx context.Context, body string, ps params) error {
	return s.read(ctx, func(c *conn) error {
		return c.client.Do(ctx, ch.Query{Body: body, Parameters: ps})
	})
}

func (s *Store) schemaVersion(ctx context.Context) (int, error) {
	var version proto.ColUInt32
	result := 0
	err := s.query(ctx, "SELECT max(version) AS version FROM schema_versions", nil,
		proto.Results{{Name: "version", Data: &version}},
		func() { result = 0 },
		func() {
			for _, v := range version {
				result = int(v)
			}
		})
	return result, err
}

// applyRetention sets the TTL where it differs from the configured one. The
// rows that are there are not rewritten: whole parts go when they are old.
func (s *Store) applyRetention(ctx context.Context) error {
	var name, ddl proto.ColStr
	have := make(map[string]string)
	var ps params
	list(&ps, "tables", tables, func(b *strings.Builder, v string) { literal(b, v) })
	err := s.query(ctx, "SELECT name, engine_full FROM system.tables WHERE database = currentDatabase() AND name IN ({tables:Array(String)})", ps,
		proto.Results{{Name: "name", Data: &name}, {Name: "engine_full", Data: &ddl}},
		func() { clear(have) },
		func() {
			for i := range name.Rows() {
				have[name.Row(i)] = ddl.Row(i)
			}
		})
	if err != nil {
		return fmt.Errorf("cannot read the retention of the clickhouse tables: %w", err)
	}
	for _, table := range tables {
		want := ""
		if s.cfg.RetentionDays > 0 {
			want = fmt.Sprintf(" TTL toDateTime(time) + toIntervalDay(%d) ", s.cfg.RetentionDays)
		}
		has := strings.Contains(have[table], " TTL ")
		var body string
		switch {
		case want != "" && !strings.Contains(have[table], want):
			body = fmt.Sprintf("ALTER TABLE %s MODIFY TTL toDateTime(time) + toIntervalDay(%d) SETTINGS materialize_ttl_after_modify = 0", table, s.cfg.RetentionDays)
		case want == "" && has:
			body = "ALTER TABLE " + table + " REMOVE TTL"
		default:
			continue
		}
		if err := s.exec(ctx, body, nil); err != nil {
			return fmt.Errorf("cannot set the retention of clickhouse table %s to %d days: %w", table, s.cfg.RetentionDays, err)
		}
		s.log.Info("set retention of clickhouse table", "table", table, "days", s.cfg.RetentionDays)
	}
	return nil
}
