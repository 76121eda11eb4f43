package metadata

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/internal/testpostgres"
	"github.com/hoptrace/hoptrace/schemas"
)

func TestSQLitePassesTheContract(t *testing.T) {
	var path string
	var last *Store
	at := func(t *testing.T) exportertest.MetadataStore {
		t.Helper()
		s, err := Open(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		last = s
		return s
	}
	exportertest.Metadata(t,
		func(t *testing.T) exportertest.MetadataStore {
			path = filepath.Join(t.TempDir(), "a b#c?d%20.db")
			return at(t)
		},
		at,
		func(*testing.T) { _ = last.Close() },
	)
	t.Run("Artifacts", func(t *testing.T) {
		exportertest.Artifacts(t, func(t *testing.T) exportertest.ArtifactStore {
			path = filepath.Join(t.TempDir(), "artifacts.db")
			at(t)
			return last
		})
	})
	t.Run("Monitors", func(t *testing.T) {
		exportertest.Monitors(t, func(t *testing.T) exportertest.MonitorStore {
			path = filepath.Join(t.TempDir(), "monitors.db")
			at(t)
			return last
		})
	})
	t.Run("ReleaseIssues", func(t *testing.T) {
		exportertest.ReleaseIssues(t, func(t *testing.T) exportertest.ReleaseIssueStore {
			path = filepath.Join(t.TempDir(), "releases.db")
			at(t)
			return last
		})
	})
	t.Run("Health", func(t *testing.T) {
		exportertest.Health(t, func(t *testing.T) exportertest.HealthStore {
			path = filepath.Join(t.TempDir(), "health.db")
			at(t)
			return last
		})
	})
	t.Run("SavedQueries", func(t *testing.T) {
		exportertest.SavedQueries(t, func(t *testing.T) exporters.SavedQueries {
			path = filepath.Join(t.TempDir(), "queries.db")
			at(t)
			return last
		})
	})
	t.Run("Feedback", func(t *testing.T) {
		exportertest.Feedback(t, func(t *testing.T) exportertest.FeedbackStore {
			path = filepath.Join(t.TempDir(), "feedback.db")
			at(t)
			return last
		})
	})
	t.Run("Accounts", func(t *testing.T) {
		exportertest.Accounts(t, func(t *testing.T) exportertest.AccountStore {
			path = filepath.Join(t.TempDir(), "accounts.db")
			at(t)
			return last
		})
	})
}

func TestPostgresPassesTheContract(t *testing.T) {
	server := testpostgres.Start(t)
	var n atomic.Int64
	var dsn string
	open := func(t *testing.T) *Store {
		t.Helper()
		s, err := Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	empty := func(t *testing.T) *Store {
		t.Helper()
		name := fmt.Sprintf("test%d", n.Add(1))
		db, err := sql.Open("pgx", server.DSN)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), "CREATE DATABASE "+name)
		if closed := db.Close(); err == nil {
			err = closed
		}
		if err != nil {
			t.Fatal(err)
		}
		dsn = strings.Replace(server.DSN, "/postgres?", "/"+name+"?", 1)
		return open(t)
	}
	t.Run("Artifacts", func(t *testing.T) { // before the suite that stops the server
		exportertest.Artifacts(t, func(t *testing.T) exportertest.ArtifactStore { return empty(t) })
	})
	t.Run("Monitors", func(t *testing.T) {
		exportertest.Monitors(t, func(t *testing.T) exportertest.MonitorStore { return empty(t) })
	})
	t.Run("ReleaseIssues", func(t *testing.T) {
		exportertest.ReleaseIssues(t, func(t *testing.T) exportertest.ReleaseIssueStore { return empty(t) })
	})
	t.Run("Health", func(t *testing.T) {
		exportertest.Health(t, func(t *testing.T) exportertest.HealthStore { return empty(t) })
	})
	t.Run("Feedback", func(t *testing.T) {
		exportertest.Feedback(t, func(t *testing.T) exportertest.FeedbackStore { return empty(t) })
	})
	t.Run("SavedQueries", func(t *testing.T) {
		exportertest.SavedQueries(t, func(t *testing.T) exporters.SavedQueries { return empty(t) })
	})
	t.Run("Accounts", func(t *testing.T) {
		exportertest.Accounts(t, func(t *testing.T) exportertest.AccountStore { return empty(t) })
	})
	exportertest.Metadata(t,
		func(t *testing.T) exportertest.MetadataStore { return empty(t) },
		func(t *testing.T) exportertest.MetadataStore { return open(t) },
		func(t *testing.T) {
			if err := server.Stop(); err != nil {
				t.Fatal(err)
			}
		},
	)
}

func TestOpenNamesWhatIsWrongWithItsAddress(t *testing.T) {
	f := func(dsn, want string) {
		t.Helper()
		s, err := Open(context.Background(), dsn)
		if err == nil {
			_ = s.Close()
			t.Fatalf("Open(%q) succeeded", dsn)
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q): got error %q, want one with %q and no password", dsn, err, want)
		}
	}
	f("", "sqlite:/path/of/file or postgres://")
	f("mysql://root:secret@host/db", "sqlite:/path/of/file or postgres://")
	f("sqlite:", "path of the file is missing")
	f("sqlite:"+filepath.Join(t.TempDir(), "missing", "x.db"), "unable to open database file")
	f("postgres://user:secret@127.0.0.1:1/db?connect_timeout=2", "127.0.0.1:1/db")
	f("postgres://user:secret@[", "cannot parse")
}

func TestSQLiteOfANewerProgramIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.write.ExecContext(t.Context(), "INSERT INTO schema_versions (version_id, is_applied) VALUES (999, true)")
	if closed := s.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err = Open(t.Context(), "sqlite:"+path)
	if err == nil {
		_ = s.Close()
		t.Fatal("a database of version 999 was opened")
	}
	if !strings.Contains(err.Error(), "version 999") {
		t.Errorf("got error %q, want one that names version 999", err)
	}
}

func TestSQLiteIsSyncedAtEachCommit(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var mode string
	var synchronous int
	if err := s.write.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil {
		t.Fatal(err)
	}
	if err := s.write.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&synchronous); err != nil {
		t.Fatal(err)
	}
	if mode != "wal" || synchronous != 2 {
		t.Errorf("journal_mode %s, synchronous %d; want wal, 2 (FULL)", mode, synchronous)
	}
}

func TestProjectsAndKeysOfTheFirstVersionAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithTableName("schema_versions"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `
INSERT INTO projects (id, slug, name, created) VALUES (1, 'default', 'Default', 5), (2, 'shop', 'Shop', 6);
INSERT INTO project_keys (public_key, project, created) VALUES ('`+strings.Repeat("b", 32)+`', 1, 5), ('`+strings.Repeat("a", 32)+`', 2, 6), ('`+strings.Repeat("c", 32)+`', 2, 6)`)
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i, c := range []string{"b", "a", "c"} {
		project, key, err := s.ProjectByKey(t.Context(), strings.Repeat(c, 32))
		if err != nil || key.ID != uint64(i+1) || !key.Active || project.Disabled || project.Settings == nil || !project.Settings.Scrubbing.Defaults {
			t.Errorf("key %s is %+v of %+v, %v; want id %d, active, with the default settings", c, key, project, err, i+1)
		}
	}
	if k, err := s.CreateKey(t.Context(), schemas.Key{Project: 1}); err != nil || k.ID != 4 {
		t.Errorf("a new key is %+v, %v; want id 4", k, err)
	}
}

func TestIssuesOfOlderTablesKeepTheirIDsAndHashes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := migrations.ReadFile("migrations/00001_projects_and_issues.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(first), "-- +goose Down")
	for _, statement := range []string{
		up,
		"CREATE TABLE schema_versions (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))",
		"INSERT INTO schema_versions (version_id, is_applied) VALUES (0, 1), (1, 1)",
		`INSERT INTO issues VALUES (7, 3, '000102030405060708090a0b0c0d0e0f', 'Old', 'a.b', 'old', 'warning', 'go', 'unresolved', 5, 9, '["type Old"]')`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	fingerprint := schemas.Fingerprint{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	got, err := s.Issue(t.Context(), 3, 7)
	if err != nil || got.Fingerprint != fingerprint || got.Title != "Old" || got.FirstSeen != 5 || got.LastSeen != 9 ||
		got.Status != schemas.StatusUnresolved || got.Priority != schemas.PriorityMedium || len(got.Grouping) != 1 {
		t.Errorf("Issue = %+v, %v; want the one that was there", got, err)
	}
	seen, err := s.SeeIssues(t.Context(), []exporters.Sighting{{Project: 3, Hashes: []schemas.Fingerprint{fingerprint}}, {Project: 3, Hashes: []schemas.Fingerprint{{1}}}})
	if err != nil || seen[0].Issue != 7 || seen[0].IsNew || seen[1].Issue != 8 || !seen[1].IsNew {
		t.Errorf("SeeIssues = %+v, %v; want issue 7 and a new one, 8", seen, err)
	}
}
