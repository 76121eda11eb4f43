package metadata

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// attempts bounds how often a row that others also make is tried.
const attempts = 100

var slugs = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`)

// ProjectByKey finds the project of a DSN's public key.
func (s *Store) ProjectByKey(ctx context.Context, key string) (schemas.Project, error) {
	if len(key) != 32 {
		return schemas.Project{}, fmt.Errorf("project of a key with %d characters, want 32: %w", len(key), exporters.ErrNotFound)
	}
	ps, err := s.projects(ctx, "WHERE p.id = (SELECT project FROM project_keys WHERE public_key = $1)", text(key))
	if err != nil {
		return schemas.Project{}, fmt.Errorf("cannot find the project of key %q: %w", key, err)
	}
	if len(ps) == 0 {
		return schemas.Project{}, fmt.Errorf("project of key %q: %w", key, exporters.ErrNotFound)
	}
	return ps[0], nil
}

// Projects lists all, by id.
func (s *Store) Projects(ctx context.Context) ([]schemas.Project, error) {
	ps, err := s.projects(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("cannot list projects: %w", err)
	}
	return ps, nil
}

func (s *Store) projects(ctx context.Context, where string, args ...any) ([]schemas.Project, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT p.id, p.slug, p.name, k.public_key
FROM projects p LEFT JOIN project_keys k ON k.project = p.id `+where+`
ORDER BY p.id, k.created, k.public_key`, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var out []schemas.Project
	for rows.Next() {
		var p schemas.Project
		var key sql.NullString
		if err := rows.Scan(&p.ID, &p.Slug, &p.Name, &key); err != nil {
			return nil, classify(err)
		}
		if n := len(out); n == 0 || out[n-1].ID != p.ID {
			out = append(out, p)
		}
		if key.Valid {
			last := &out[len(out)-1]
			last.Keys = append(last.Keys, key.String)
		}
	}
	return out, classify(rows.Err())
}

// EnsureProject makes the project with this slug (a-z, 0-9, - and _, at most
// 50) and one new random key unless it is there. The name of a project that is
// there stays.
func (s *Store) EnsureProject(ctx context.Context, slug, name string) (schemas.Project, error) {
	if !slugs.MatchString(slug) {
		return schemas.Project{}, fmt.Errorf("project slug %q: want 1 to 50 of a-z, 0-9, - and _, beginning with a letter or digit", slug)
	}
	for range attempts {
		ps, err := s.projects(ctx, "WHERE p.slug = $1", slug)
		if err != nil {
			return schemas.Project{}, fmt.Errorf("cannot find project %q: %w", slug, err)
		}
		if len(ps) > 0 && len(ps[0].Keys) > 0 {
			return ps[0], nil
		}
		if err := s.makeProject(ctx, slug, name); err != nil {
			return schemas.Project{}, fmt.Errorf("cannot make project %q: %w", slug, classify(err))
		}
	}
	return schemas.Project{}, fmt.Errorf("cannot make project %q: %w: others took its id %d times", slug, exporters.ErrUnavailable, attempts)
}

// makeProject makes the project with its key, or nothing when another did so
// at the same time.
func (s *Store) makeProject(ctx context.Context, slug, name string) (err error) {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	now := time.Now().UnixNano()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	r, err := tx.ExecContext(ctx, `
INSERT INTO projects (id, slug, name, created)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3 FROM projects WHERE true
ON CONFLICT DO NOTHING`, slug, text(name), now)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, tx.Rollback())
	}
	if _, err = tx.ExecContext(ctx, "INSERT INTO project_keys (public_key, project, created) SELECT $1, id, $2 FROM projects WHERE slug = $3",
		hex.EncodeToString(key[:]), now, slug); err != nil {
		return err
	}
	return tx.Commit()
}
