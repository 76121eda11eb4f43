package metadata

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
)

// PutRelease makes or changes a release.
func (s *Store) PutRelease(ctx context.Context, version string, change exporters.ReleaseChange, now int64) (exporters.Release, error) {
	version = text(version)
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		if !change.OnlyExisting {
			made, err := affected(tx.ExecContext(ctx, `
INSERT INTO releases (version, ref, url, status, created, started, finalized, commits) VALUES ($1, '', '', 'open', $2, 0, 0, 0)
ON CONFLICT DO NOTHING`, version, now))
			if err != nil {
				return err
			}
			if made == 0 && change.OnlyAbsent {
				return exporters.ErrExists
			}
		}
		found, err := affected(tx.ExecContext(ctx, `
UPDATE releases SET ref = COALESCE($2, ref), url = COALESCE($3, url), status = COALESCE($4, status),
	started = COALESCE($5, started), finalized = COALESCE($6, finalized), commits = COALESCE($7, commits)
WHERE version = $1`, version, clipped(change.Ref), clipped(change.URL), clipped(change.Status), change.Started, change.Finalized, change.Commits))
		if err != nil {
			return err
		}
		if found == 0 {
			return exporters.ErrNotFound
		}
		for _, p := range change.Projects {
			if _, err := tx.ExecContext(ctx, "INSERT INTO release_projects (version, project) VALUES ($1, $2) ON CONFLICT DO NOTHING", version, int64(p)); err != nil { //nolint:gosec // the bits are kept
				return err
			}
		}
		return nil
	})
	if err != nil {
		return exporters.Release{}, fmt.Errorf("cannot keep release %q: %w", clip(version), classify(err))
	}
	return s.Release(ctx, version)
}

// clipped is what is stored of a text that may be absent.
func clipped(s *string) *string {
	if s == nil {
		return nil
	}
	t := clip(text(*s))
	return &t
}

// Release finds one.
func (s *Store) Release(ctx context.Context, version string) (exporters.Release, error) {
	rs, err := s.releases(ctx, "WHERE r.version = $1", text(version))
	if err != nil {
		return exporters.Release{}, fmt.Errorf("cannot read release %q: %w", clip(version), classify(err))
	}
	if len(rs) == 0 {
		return exporters.Release{}, fmt.Errorf("release %q: %w", clip(version), exporters.ErrNotFound)
	}
	return rs[0], nil
}

// Releases lists them, newest first.
func (s *Store) Releases(ctx context.Context, project uint64, skip, limit int) ([]exporters.Release, error) {
	where, args := "", []any{min(max(limit, 1), 500), max(skip, 0)}
	if project != 0 {
		where = "WHERE EXISTS (SELECT 1 FROM release_projects p WHERE p.version = r.version AND p.project = $3)"
		args = append(args, int64(project)) //nolint:gosec // the bits are kept
	}
	rs, err := s.releases(ctx, where+" ORDER BY r.created DESC, r.version LIMIT $1 OFFSET $2", args...)
	if err != nil {
		return nil, fmt.Errorf("cannot list releases: %w", classify(err))
	}
	return rs, nil
}

func (s *Store) releases(ctx context.Context, where string, args ...any) ([]exporters.Release, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT r.version, r.ref, r.url, r.status, r.created, r.started, r.finalized, r.commits FROM releases r "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.Release
	at := make(map[string]int)
	var names []any
	for rows.Next() {
		var r exporters.Release
		if err := rows.Scan(&r.Version, &r.Ref, &r.URL, &r.Status, &r.Created, &r.Started, &r.Finalized, &r.Commits); err != nil {
			return nil, err
		}
		at[r.Version] = len(out)
		names = append(names, r.Version)
		out = append(out, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(out) == 0 {
		return nil, err
	}
	projects, err := s.read.QueryContext(ctx, "SELECT version, project FROM release_projects WHERE version IN ("+placeholders(1, len(names))+") ORDER BY project", names...)
	if err != nil {
		return nil, err
	}
	defer projects.Close()
	for projects.Next() {
		var version string
		var project int64
		if err := projects.Scan(&version, &project); err != nil {
			return nil, err
		}
		r := &out[at[version]]
		r.Projects = append(r.Projects, uint64(project)) //nolint:gosec // the bits are kept
	}
	for i := range out {
		slices.Sort(out[i].Projects) // ids beyond 2^63 are stored below zero
	}
	return out, projects.Err()
}

// DeleteRelease removes it with its deploys and its hold on its artifacts.
func (s *Store) DeleteRelease(ctx context.Context, version string) error {
	version = text(version)
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, "DELETE FROM releases WHERE version = $1", version))
		if err != nil {
			return err
		}
		if n == 0 {
			return exporters.ErrNotFound
		}
		return letGo(ctx, tx, "version = $1", version)
	})
	if err != nil {
		return fmt.Errorf("cannot delete release %q: %w", clip(version), classify(err))
	}
	return nil
}

// AddDeploy notes where a release was put to work.
func (s *Store) AddDeploy(ctx context.Context, version string, d exporters.Deploy) (exporters.Deploy, error) {
	version = text(version)
	d.Environment, d.Name, d.URL = clip(text(d.Environment)), clip(text(d.Name)), clip(text(d.URL))
	fail := func(err error) (exporters.Deploy, error) {
		return exporters.Deploy{}, fmt.Errorf("cannot note a deploy of release %q: %w", clip(version), classify(err))
	}
	if _, err := s.Release(ctx, version); err != nil {
		return fail(err)
	}
	for range attempts {
		err := s.write.QueryRowContext(ctx, `
INSERT INTO release_deploys (id, version, environment, name, url, started, finished, created)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7 FROM release_deploys WHERE true
ON CONFLICT DO NOTHING RETURNING id`, version, d.Environment, d.Name, d.URL, d.Started, d.Finished, d.Created).Scan(&d.ID)
		if err == nil {
			return d, nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fail(err)
		}
	}
	return fail(fmt.Errorf("%w: others took its id %d times", exporters.ErrUnavailable, attempts))
}

// Deploys lists a release's, newest first.
func (s *Store) Deploys(ctx context.Context, version string) ([]exporters.Deploy, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT id, environment, name, url, started, finished, created FROM release_deploys
WHERE version = $1 ORDER BY created DESC, id DESC LIMIT 500`, text(version))
	if err != nil {
		return nil, fmt.Errorf("cannot list the deploys of release %q: %w", clip(version), classify(err))
	}
	defer rows.Close()
	var out []exporters.Deploy
	for rows.Next() {
		var d exporters.Deploy
		if err := rows.Scan(&d.ID, &d.Environment, &d.Name, &d.URL, &d.Started, &d.Finished, &d.Created); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, classify(rows.Err())
}
