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

// maxName is how much of a project's name or a key's label is kept, in bytes.
const maxName = 200

var slugs = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,49}$`)

// ProjectByKey finds a key and its project with its settings.
func (s *Store) ProjectByKey(ctx context.Context, public string) (schemas.Project, schemas.Key, error) {
	if len(public) != 32 {
		return schemas.Project{}, schemas.Key{}, fmt.Errorf("project of a key with %d characters, want 32: %w", len(public), exporters.ErrNotFound)
	}
	keys, err := s.keys(ctx, "WHERE k.public_key = $1", text(public))
	if err != nil {
		return schemas.Project{}, schemas.Key{}, fmt.Errorf("cannot find the project of key %q: %w", public, err)
	}
	if len(keys) == 0 {
		return schemas.Project{}, schemas.Key{}, fmt.Errorf("project of key %q: %w", public, exporters.ErrNotFound)
	}
	p, err := s.Project(ctx, keys[0].Project)
	return p, keys[0], err
}

// ProjectsVersion changes with each change of a project or a key.
func (s *Store) ProjectsVersion(ctx context.Context) (version int64, err error) {
	if err := s.read.QueryRowContext(ctx, "SELECT version FROM projects_version WHERE id = 1").Scan(&version); err != nil {
		return 0, fmt.Errorf("cannot read the version of the projects: %w", classify(err))
	}
	return version, nil
}

// Projects lists all, by id, without their settings.
func (s *Store) Projects(ctx context.Context) ([]schemas.Project, error) {
	ps, err := s.projects(ctx, false, "")
	if err != nil {
		return nil, fmt.Errorf("cannot list projects: %w", err)
	}
	return ps, nil
}

// Project finds one with its settings.
func (s *Store) Project(ctx context.Context, id uint64) (schemas.Project, error) {
	ps, err := s.projects(ctx, true, "WHERE p.id = $1", int64(id)) //nolint:gosec // the bits are kept
	if err != nil {
		return schemas.Project{}, fmt.Errorf("cannot find project %d: %w", id, err)
	}
	if len(ps) == 0 {
		return schemas.Project{}, fmt.Errorf("project %d: %w", id, exporters.ErrNotFound)
	}
	return ps[0], nil
}

func (s *Store) projects(ctx context.Context, settings bool, where string, args ...any) ([]schemas.Project, error) {
	document := "''"
	if settings {
		document = "p.settings"
	}
	rows, err := s.read.QueryContext(ctx, `
SELECT p.id, p.organization, p.slug, p.name, p.active, p.revision, `+document+`, p.hash_key, k.public_key
FROM projects p LEFT JOIN project_keys k ON k.project = p.id AND k.active = 1 AND k.deleted = 0 `+where+`
ORDER BY p.id, k.id`, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var out []schemas.Project
	for rows.Next() {
		var p schemas.Project
		var active int64
		var doc, hashKey string
		var key sql.NullString
		if err := rows.Scan(&p.ID, &p.Organization, &p.Slug, &p.Name, &active, &p.Revision, &doc, &hashKey, &key); err != nil {
			return nil, classify(err)
		}
		if n := len(out); n == 0 || out[n-1].ID != p.ID {
			p.Disabled = active == 0
			if settings {
				read, err := schemas.ParseProjectSettings([]byte(doc))
				if err != nil {
					return nil, fmt.Errorf("project %d, revision %d, as it is stored: %w", p.ID, p.Revision, err)
				}
				read.HashKey = hashKey
				p.Settings = &read
			}
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
// there stays, and so do its keys.
func (s *Store) EnsureProject(ctx context.Context, slug, name string) (schemas.Project, error) {
	p := schemas.Project{Slug: slug, Name: name}
	document, err := check(&p)
	if err != nil {
		return schemas.Project{}, err
	}
	for range attempts {
		ps, err := s.projects(ctx, true, "WHERE p.slug = $1", slug)
		if err != nil {
			return schemas.Project{}, fmt.Errorf("cannot find project %q: %w", slug, err)
		}
		if len(ps) > 0 {
			return ps[0], nil
		}
		if _, err := s.makeProject(ctx, &p, document); err != nil {
			return schemas.Project{}, fmt.Errorf("cannot make project %q: %w", slug, classify(err))
		}
	}
	return schemas.Project{}, fmt.Errorf("cannot make project %q: %w: others took its id %d times", slug, exporters.ErrUnavailable, attempts)
}

// CreateProject makes a project with one new random key.
func (s *Store) CreateProject(ctx context.Context, p schemas.Project) (schemas.Project, error) {
	document, err := check(&p)
	if err != nil {
		return schemas.Project{}, err
	}
	for range attempts {
		ps, err := s.projects(ctx, false, "WHERE p.slug = $1", p.Slug)
		if err != nil {
			return schemas.Project{}, fmt.Errorf("cannot find project %q: %w", p.Slug, err)
		}
		if len(ps) > 0 {
			return schemas.Project{}, fmt.Errorf("project %q: %w, as project %d", p.Slug, exporters.ErrExists, ps[0].ID)
		}
		id, err := s.makeProject(ctx, &p, document)
		if err != nil {
			return schemas.Project{}, fmt.Errorf("cannot make project %q: %w", p.Slug, classify(err))
		}
		if id != 0 {
			return s.Project(ctx, id)
		}
	}
	return schemas.Project{}, fmt.Errorf("cannot make project %q: %w: others took its id %d times", p.Slug, exporters.ErrUnavailable, attempts)
}

// check names what is wrong with a project's slug and settings, and gives the
// settings' document.
func check(p *schemas.Project) (string, error) {
	var errs []error
	if !slugs.MatchString(p.Slug) {
		errs = append(errs, fmt.Errorf("project slug %q: want 1 to 50 of a-z, 0-9, - and _, beginning with a letter or digit", p.Slug))
	}
	document, err := documentOf(p.Settings)
	if errs = append(errs, err); errors.Join(errs...) != nil {
		return "", fmt.Errorf("%w: %w", exporters.ErrInvalid, errors.Join(errs...))
	}
	return document, nil
}

func documentOf(settings *schemas.ProjectSettings) (string, error) {
	if settings == nil {
		return "{}", nil
	}
	if err := settings.Validate(); err != nil {
		return "", err
	}
	return string(settings.Document()), nil
}

// makeProject makes the project with its key, or nothing, with id zero, when
// another did so at the same time.
func (s *Store) makeProject(ctx context.Context, p *schemas.Project, document string) (id uint64, err error) {
	err = s.change(ctx, func(tx *sql.Tx) error {
		now := time.Now().UnixNano()
		r, err := tx.ExecContext(ctx, `
INSERT INTO projects (id, slug, name, created, settings, hash_key)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5 FROM projects WHERE true
ON CONFLICT DO NOTHING`, p.Slug, nameOf(p.Name, p.Slug), now, document, random())
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errNothing)
		}
		if err := tx.QueryRowContext(ctx, "SELECT id FROM projects WHERE slug = $1", p.Slug).Scan(&id); err != nil {
			return err
		}
		_, err = insertKey(ctx, tx, &schemas.Key{Project: id, Label: "Default", Created: now})
		return err
	})
	if errors.Is(err, errNothing) {
		return 0, nil
	}
	return id, err
}

// errNothing ends a change that had nothing to change.
var errNothing = errors.New("nothing to change")

// change runs one transaction after which the projects' version is another
// one. The version's row comes first: writers wait for one another there, so
// that keys' ids are given one after the other.
func (s *Store) change(ctx context.Context, f func(*sql.Tx) error) (err error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreDone(tx.Rollback()))
		}
	}()
	if _, err = tx.ExecContext(ctx, "UPDATE projects_version SET version = version + 1 WHERE id = 1"); err != nil {
		return err
	}
	if err = f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// ignoreDone leaves out that a transaction has ended with its context.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func nameOf(name, fallback string) string {
	if name == "" {
		name = fallback
	}
	return clipTo(text(name), maxName)
}

// UpdateProject sets name, state and settings.
func (s *Store) UpdateProject(ctx context.Context, p schemas.Project) (schemas.Project, error) {
	document, err := documentOf(p.Settings)
	if err != nil {
		return schemas.Project{}, fmt.Errorf("%w: %w", exporters.ErrInvalid, err)
	}
	id, active := int64(p.ID), 1 //nolint:gosec // the bits are kept
	if p.Disabled {
		active = 0
	}
	err = s.change(ctx, func(tx *sql.Tx) error {
		var slug string
		var revision int64
		if err := tx.QueryRowContext(ctx, "SELECT slug, revision FROM projects WHERE id = $1", id).Scan(&slug, &revision); err != nil {
			return err
		}
		if p.Revision != 0 && p.Revision != revision {
			return fmt.Errorf("%w: its revision is %d, the change was made to %d", exporters.ErrConflict, revision, p.Revision)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE projects SET name = $1, active = $2, revision = revision + 1 WHERE id = $3", nameOf(p.Name, slug), active, id); err != nil {
			return err
		}
		if p.Settings == nil {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE projects SET settings = $1, hash_key = CASE WHEN hash_key = '' THEN $2 ELSE hash_key END WHERE id = $3", document, random(), id)
		return err
	})
	if err != nil {
		return schemas.Project{}, fmt.Errorf("cannot change project %d: %w", p.ID, notFound(err))
	}
	return s.Project(ctx, p.ID)
}

// notFound names what a query that must have found a row did not find.
func notFound(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return exporters.ErrNotFound
	}
	return classify(err)
}
