package metadata

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hoptrace/hoptrace/exporters"
)

func savedText(q *exporters.SavedQuery) {
	for _, s := range []*string{&q.Name, &q.Subject, &q.Query, &q.View, &q.Owner} {
		*s = clipTo(text(*s), exporters.MaxSavedText)
	}
}

// SavedQueries lists a project's, by name.
func (s *Store) SavedQueries(ctx context.Context, project uint64) ([]exporters.SavedQuery, error) {
	out, err := s.savedQueries(ctx, project)
	if err != nil {
		return nil, fmt.Errorf("cannot list the saved queries of project %d: %w", project, classify(err))
	}
	return out, nil
}

func (s *Store) savedQueries(ctx context.Context, project uint64) ([]exporters.SavedQuery, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT id, name, subject, query, view, owner, created, changed FROM saved_queries WHERE project = $1 ORDER BY name, id LIMIT $2`,
		int64(project), exporters.MaxSavedQueries) //nolint:gosec // the same bits
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.SavedQuery
	for rows.Next() {
		q := exporters.SavedQuery{Project: project}
		if err := rows.Scan(&q.ID, &q.Name, &q.Subject, &q.Query, &q.View, &q.Owner, &q.Created, &q.Changed); err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, rows.Err()
}

// SaveQuery stores a new one.
func (s *Store) SaveQuery(ctx context.Context, q exporters.SavedQuery) (exporters.SavedQuery, error) {
	savedText(&q)
	q.Changed = q.Created
	var err error
	for tries := 0; tries < attempts; tries++ {
		err = s.saveQuery(ctx, &q)
		if !errors.Is(err, errTaken) {
			break
		}
	}
	if errors.Is(err, errTaken) {
		err = fmt.Errorf("%w: others took its id %d times", exporters.ErrUnavailable, attempts)
	}
	if err != nil {
		return exporters.SavedQuery{}, fmt.Errorf("cannot save query %q: %w", clip(q.Name), classify(err))
	}
	return q, nil
}

// errTaken: another took the id meanwhile.
var errTaken = errors.New("the id is taken")

func (s *Store) saveQuery(ctx context.Context, q *exporters.SavedQuery) error {
	project := int64(q.Project) //nolint:gosec // the same bits
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var n, same int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(CASE WHEN name = $2 THEN 1 ELSE 0 END), 0) FROM saved_queries WHERE project = $1", project, q.Name).Scan(&n, &same); err != nil {
			return err
		}
		if same > 0 {
			return exporters.ErrExists
		}
		if n >= exporters.MaxSavedQueries {
			return fmt.Errorf("%w: the project has %d already", exporters.ErrTooLarge, n)
		}
		err := tx.QueryRowContext(ctx, `
INSERT INTO saved_queries (id, project, name, subject, query, view, owner, created, changed)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $7 FROM saved_queries WHERE true
ON CONFLICT DO NOTHING RETURNING id`, project, q.Name, q.Subject, q.Query, q.View, q.Owner, q.Created).Scan(&q.ID)
		if errors.Is(err, sql.ErrNoRows) {
			return errTaken
		}
		return err
	})
}

// UpdateSavedQuery sets what people may change.
func (s *Store) UpdateSavedQuery(ctx context.Context, q exporters.SavedQuery) (exporters.SavedQuery, error) {
	savedText(&q)
	project := int64(q.Project) //nolint:gosec // the same bits
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		var other int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM saved_queries WHERE project = $1 AND name = $2 AND id <> $3", project, q.Name, q.ID).Scan(&other); err != nil {
			return err
		}
		if other > 0 {
			return exporters.ErrExists
		}
		err := tx.QueryRowContext(ctx, `
UPDATE saved_queries SET name = $1, subject = $2, query = $3, view = $4, changed = $5 WHERE id = $6 AND project = $7 RETURNING owner, created`,
			q.Name, q.Subject, q.Query, q.View, q.Changed, q.ID, project).Scan(&q.Owner, &q.Created)
		if errors.Is(err, sql.ErrNoRows) {
			return exporters.ErrNotFound
		}
		return err
	})
	if err != nil {
		return exporters.SavedQuery{}, fmt.Errorf("cannot change saved query %d: %w", q.ID, classify(err))
	}
	return q, nil
}

// DeleteSavedQuery forgets one.
func (s *Store) DeleteSavedQuery(ctx context.Context, project uint64, id int64) error {
	n, err := affected(s.write.ExecContext(ctx, "DELETE FROM saved_queries WHERE id = $1 AND project = $2", id, int64(project))) //nolint:gosec // the same bits
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot delete saved query %d: %w", id, classify(err))
	}
	return nil
}
