package metadata

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxKeys bounds the keys of one project, disabled ones, too.
const maxKeys = 1000

func (s *Store) keys(ctx context.Context, where string, args ...any) ([]schemas.Key, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT k.id, k.project, k.public_key, k.label, k.active, k.created, k.limit_count, k.limit_window
FROM project_keys k `+where+` AND k.deleted = 0 ORDER BY k.id`, args...)
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	out := []schemas.Key{}
	for rows.Next() {
		var k schemas.Key
		var active int64
		var limit schemas.KeyLimit
		if err := rows.Scan(&k.ID, &k.Project, &k.Public, &k.Label, &active, &k.Created, &limit.Count, &limit.Window); err != nil {
			return nil, classify(err)
		}
		k.Active = active != 0
		if limit.Window > 0 {
			k.Limit = &limit
		}
		out = append(out, k)
	}
	return out, classify(rows.Err())
}

// ListKeys lists a project's, by time of making.
func (s *Store) ListKeys(ctx context.Context, project uint64) ([]schemas.Key, error) {
	if _, err := s.Project(ctx, project); err != nil {
		return nil, err
	}
	keys, err := s.keys(ctx, "WHERE k.project = $1", int64(project)) //nolint:gosec // the bits are kept
	if err != nil {
		return nil, fmt.Errorf("cannot list the keys of project %d: %w", project, err)
	}
	return keys, nil
}

// CreateKey makes a new random key.
func (s *Store) CreateKey(ctx context.Context, k schemas.Key) (schemas.Key, error) {
	if err := k.Limit.Validate(); err != nil {
		return schemas.Key{}, fmt.Errorf("%w: %w", exporters.ErrInvalid, err)
	}
	k.Created = time.Now().UnixNano()
	var made schemas.Key
	err := s.change(ctx, func(tx *sql.Tx) (err error) {
		made, err = insertKey(ctx, tx, &k)
		return err
	})
	if err != nil {
		return schemas.Key{}, fmt.Errorf("cannot make a key of project %d: %w", k.Project, notFound(err))
	}
	return made, nil
}

// insertKey gives k an id and a random public key. The caller holds the
// version's row (see change).
func insertKey(ctx context.Context, tx *sql.Tx, k *schemas.Key) (schemas.Key, error) {
	var count int64
	project := int64(k.Project) //nolint:gosec // the bits are kept
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM project_keys k WHERE k.project = p.id AND k.deleted = 0) FROM projects p WHERE p.id = $1", project).Scan(&count); err != nil {
		return schemas.Key{}, err
	}
	if count >= maxKeys {
		return schemas.Key{}, fmt.Errorf("%w: it has %d keys already; delete some", exporters.ErrInvalid, count)
	}
	made := schemas.Key{Project: k.Project, Public: random(), Label: nameOf(k.Label, "Key"), Active: true, Created: k.Created, Limit: k.Limit}
	limit := limitOf(k)
	err := tx.QueryRowContext(ctx, `
INSERT INTO project_keys (id, public_key, project, created, label, limit_count, limit_window)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6 FROM project_keys
RETURNING id`, made.Public, project, made.Created, made.Label, limit.Count, limit.Window).Scan(&made.ID)
	return made, err
}

func limitOf(k *schemas.Key) schemas.KeyLimit {
	if k.Limit == nil {
		return schemas.KeyLimit{}
	}
	return *k.Limit
}

// UpdateKey sets label, state and limit.
func (s *Store) UpdateKey(ctx context.Context, k schemas.Key) (schemas.Key, error) {
	if err := k.Limit.Validate(); err != nil {
		return schemas.Key{}, fmt.Errorf("%w: %w", exporters.ErrInvalid, err)
	}
	active := 0
	if k.Active {
		active = 1
	}
	limit := limitOf(&k)
	err := s.change(ctx, func(tx *sql.Tx) error {
		return changeOne(ctx, tx, "UPDATE project_keys SET label = $1, active = $2, limit_count = $3, limit_window = $4 WHERE project = $5 AND public_key = $6 AND deleted = 0",
			nameOf(k.Label, "Key"), active, limit.Count, limit.Window, int64(k.Project), text(k.Public)) //nolint:gosec // the bits are kept
	})
	if err != nil {
		return schemas.Key{}, fmt.Errorf("cannot change key %q of project %d: %w", k.Public, k.Project, notFound(err))
	}
	return s.key(ctx, k.Project, k.Public)
}

func (s *Store) key(ctx context.Context, project uint64, public string) (schemas.Key, error) {
	keys, err := s.keys(ctx, "WHERE k.project = $1 AND k.public_key = $2", int64(project), text(public)) //nolint:gosec // the bits are kept
	if err == nil && len(keys) == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return schemas.Key{}, fmt.Errorf("cannot find key %q of project %d: %w", public, project, err)
	}
	return keys[0], nil
}

// changeOne fails with sql.ErrNoRows when there was no row to change.
func changeOne(ctx context.Context, tx *sql.Tx, query string, args ...any) error {
	r, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return sql.ErrNoRows
}

// RotateKey disables a key and makes one that follows it.
func (s *Store) RotateKey(ctx context.Context, project uint64, public string) (schemas.Key, error) {
	var made schemas.Key
	err := s.change(ctx, func(tx *sql.Tx) error {
		old := schemas.Key{Project: project, Created: time.Now().UnixNano()}
		var limit schemas.KeyLimit
		if err := tx.QueryRowContext(ctx, `
UPDATE project_keys SET active = 0 WHERE project = $1 AND public_key = $2 AND deleted = 0
RETURNING label, limit_count, limit_window`, int64(project), text(public)).Scan(&old.Label, &limit.Count, &limit.Window); err != nil { //nolint:gosec // the bits are kept
			return err
		}
		if limit.Window > 0 {
			old.Limit = &limit
		}
		var err error
		made, err = insertKey(ctx, tx, &old)
		return err
	})
	if err != nil {
		return schemas.Key{}, fmt.Errorf("cannot rotate key %q of project %d: %w", public, project, notFound(err))
	}
	return made, nil
}

// DeleteKey forgets a key. Its row stays, so that its id is never given again.
func (s *Store) DeleteKey(ctx context.Context, project uint64, public string) error {
	err := s.change(ctx, func(tx *sql.Tx) error {
		return changeOne(ctx, tx, "UPDATE project_keys SET deleted = 1, active = 0 WHERE project = $1 AND public_key = $2 AND deleted = 0", int64(project), text(public)) //nolint:gosec // the bits are kept
	})
	if err != nil {
		return fmt.Errorf("cannot delete key %q of project %d: %w", public, project, notFound(err))
	}
	return nil
}
