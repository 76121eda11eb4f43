package metadata

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
)

// askedAtOnce is how many values one question lists.
const askedAtOnce = 500

// ReserveChunk notes a chunk that is about to be stored.
func (s *Store) ReserveChunk(ctx context.Context, sha1 string, size, now int64) error {
	_, err := s.write.ExecContext(ctx, `
INSERT INTO artifact_chunks (sha1, size, stored, used) VALUES ($1, $2, 0, $3)
ON CONFLICT (sha1) DO UPDATE SET used = CASE WHEN artifact_chunks.used < $3 THEN $3 ELSE artifact_chunks.used END`, sha1, size, now)
	if err != nil {
		return fmt.Errorf("cannot note chunk %s: %w", sha1, classify(err))
	}
	return nil
}

// ChunkStored notes that a chunk is durable.
func (s *Store) ChunkStored(ctx context.Context, sha1 string, now int64) error {
	n, err := affected(s.write.ExecContext(ctx, "UPDATE artifact_chunks SET stored = 1, used = $2 WHERE sha1 = $1", sha1, now))
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot note that chunk %s is stored: %w", sha1, classify(err))
	}
	return nil
}

// MissingChunks gives those that are not stored.
func (s *Store) MissingChunks(ctx context.Context, sha1s []string, now int64) ([]string, error) {
	have := make(map[string]bool, len(sha1s))
	for part := range slices.Chunk(sha1s, askedAtOnce) {
		args := make([]any, 0, 1+len(part))
		args = append(args, now)
		for _, c := range part {
			args = append(args, c)
		}
		// One statement, so that none is removed between the answer and the note.
		if err := each(ctx, s.write, func(rows *sql.Rows) error {
			var c string
			err := rows.Scan(&c)
			have[c] = true
			return err
		}, "UPDATE artifact_chunks SET used = CASE WHEN used < $1 THEN $1 ELSE used END WHERE stored = 1 AND sha1 IN ("+
			placeholders(2, len(part))+") RETURNING sha1", args...); err != nil {
			return nil, fmt.Errorf("cannot ask for %d chunks: %w", len(sha1s), classify(err))
		}
	}
	var missing []string
	for _, c := range sha1s {
		if !have[c] {
			have[c] = true
			missing = append(missing, c)
		}
	}
	return missing, nil
}

// each calls f for each row of the answer to query.
func each(ctx context.Context, db querier, f func(*sql.Rows) error, query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for err == nil && rows.Next() {
		err = f(rows)
	}
	return errors.Join(err, rows.Err(), rows.Close())
}

// ChunkLost notes that a chunk's bytes are gone.
func (s *Store) ChunkLost(ctx context.Context, sha1 string) error {
	if _, err := s.write.ExecContext(ctx, "UPDATE artifact_chunks SET stored = 0 WHERE sha1 = $1", sha1); err != nil {
		return fmt.Errorf("cannot note that chunk %s is lost: %w", sha1, classify(err))
	}
	return nil
}

const assemblyColumns = "checksum, chunks, holds, created, fault"

func scanAssembly(row interface{ Scan(...any) error }) (exporters.Assembly, string, error) {
	var a exporters.Assembly
	var chunks, holds string
	if err := row.Scan(&a.Checksum, &chunks, &holds, &a.Created, &a.Fault); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = exporters.ErrNotFound
		}
		return a, "", err
	}
	return a, holds, errors.Join(json.Unmarshal([]byte(chunks), &a.Chunks), json.Unmarshal([]byte(holds), &a.Holds))
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers only
	}
	return string(b)
}

// PutAssembly notes an upload to be put together.
func (s *Store) PutAssembly(ctx context.Context, a exporters.Assembly, retryBefore int64) error {
	err := s.putAssembly(ctx, a, retryBefore)
	if err != nil {
		return fmt.Errorf("cannot note upload %s: %w", a.Checksum, classify(err))
	}
	return nil
}

func (s *Store) putAssembly(ctx context.Context, a exporters.Assembly, retryBefore int64) error {
	for range attempts {
		n, err := affected(s.write.ExecContext(ctx, `
INSERT INTO artifact_assemblies (checksum, chunks, holds, created, changed, claimed, fault) VALUES ($1, $2, $3, $4, $4, 0, '')
ON CONFLICT DO NOTHING`, a.Checksum, encoded(a.Chunks), encoded(a.Holds), a.Created))
		if err != nil || n == 1 {
			return err
		}
		old, holds, err := scanAssembly(s.write.QueryRowContext(ctx, "SELECT "+assemblyColumns+" FROM artifact_assemblies WHERE checksum = $1", a.Checksum))
		if errors.Is(err, exporters.ErrNotFound) {
			continue // it has just become a bundle
		}
		if err != nil {
			return err
		}
		for _, h := range a.Holds {
			if !slices.Contains(old.Holds, h) {
				old.Holds = append(old.Holds, h)
			}
		}
		n, err = affected(s.write.ExecContext(ctx, `
UPDATE artifact_assemblies SET holds = $3,
	chunks  = CASE WHEN fault <> '' AND changed < $4 THEN $5 ELSE chunks END,
	claimed = CASE WHEN fault <> '' AND changed < $4 THEN 0 ELSE claimed END,
	created = CASE WHEN fault <> '' AND changed < $4 THEN $6 ELSE created END,
	fault   = CASE WHEN changed < $4 THEN '' ELSE fault END
WHERE checksum = $1 AND holds = $2`, a.Checksum, holds, encoded(old.Holds), retryBefore, encoded(a.Chunks), a.Created))
		if err != nil || n == 1 {
			return err
		}
	}
	return fmt.Errorf("%w: others changed it %d times", exporters.ErrUnavailable, attempts)
}

// Assembly finds one.
func (s *Store) Assembly(ctx context.Context, checksum string) (exporters.Assembly, error) {
	a, _, err := scanAssembly(s.read.QueryRowContext(ctx, "SELECT "+assemblyColumns+" FROM artifact_assemblies WHERE checksum = $1", checksum))
	if err != nil {
		return exporters.Assembly{}, fmt.Errorf("cannot read upload %s: %w", checksum, classify(err))
	}
	return a, nil
}

// ClaimAssembly gives the oldest one that nobody works on.
func (s *Store) ClaimAssembly(ctx context.Context, now, until int64) (exporters.Assembly, error) {
	for range attempts {
		a, _, err := scanAssembly(s.write.QueryRowContext(ctx, `
UPDATE artifact_assemblies SET claimed = $2
WHERE checksum = (SELECT checksum FROM artifact_assemblies WHERE fault = '' AND claimed <= $1 ORDER BY created, checksum LIMIT 1)
	AND fault = '' AND claimed <= $1
RETURNING `+assemblyColumns, now, until))
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, exporters.ErrNotFound) {
			return exporters.Assembly{}, fmt.Errorf("cannot claim an upload: %w", classify(err))
		}
		// None, or another took it in this moment.
		var n int64
		if err := s.write.QueryRowContext(ctx, "SELECT COUNT(*) FROM artifact_assemblies WHERE fault = '' AND claimed <= $1", now).Scan(&n); err != nil {
			return exporters.Assembly{}, fmt.Errorf("cannot count uploads: %w", classify(err))
		}
		if n == 0 {
			break
		}
	}
	return exporters.Assembly{}, fmt.Errorf("an upload to put together: %w", exporters.ErrNotFound)
}

// FailAssembly notes why it can never become a bundle.
func (s *Store) FailAssembly(ctx context.Context, checksum, fault string, now int64) error {
	if _, err := s.write.ExecContext(ctx, "UPDATE artifact_assemblies SET fault = $2, changed = $3 WHERE checksum = $1", checksum, clip(text(fault)), now); err != nil {
		return fmt.Errorf("cannot note the fault of upload %s: %w", checksum, classify(err))
	}
	return nil
}

// ReleaseAssembly lets others claim it from then on.
func (s *Store) ReleaseAssembly(ctx context.Context, checksum string, from int64) error {
	if _, err := s.write.ExecContext(ctx, "UPDATE artifact_assemblies SET claimed = $2 WHERE checksum = $1", checksum, from); err != nil {
		return fmt.Errorf("cannot let upload %s go: %w", checksum, classify(err))
	}
	return nil
}

// PutBundle stores a bundle and its holds.
func (s *Store) PutBundle(ctx context.Context, b exporters.ArtifactBundle, holds []exporters.ArtifactHold) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		single := 0
		if b.Single {
			single = 1
		}
		made, err := affected(tx.ExecContext(ctx, "INSERT INTO artifact_bundles (bundle, note, dist, single, created, used) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING",
			b.Key, clip(text(b.Note)), clip(text(b.Dist)), single, b.Created))
		if err != nil {
			return err
		}
		if made == 1 {
			if err := putFiles(ctx, tx, b); err != nil {
				return err
			}
		}
		if err := putHolds(ctx, tx, b.Key, holds, b.Created); err != nil {
			return err
		}
		var more string
		err = tx.QueryRowContext(ctx, "DELETE FROM artifact_assemblies WHERE checksum = $1 RETURNING holds", b.Key).Scan(&more)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var late []exporters.ArtifactHold
		if err := json.Unmarshal([]byte(more), &late); err != nil {
			return err
		}
		return putHolds(ctx, tx, b.Key, late, b.Created)
	})
	if err != nil {
		return fmt.Errorf("cannot store bundle %s: %w", b.Key, classify(err))
	}
	return nil
}

func putFiles(ctx context.Context, tx *sql.Tx, b exporters.ArtifactBundle) error {
	file, err := tx.PrepareContext(ctx, "INSERT INTO artifact_files (bundle, path, kind, url, debug_id, headers, size, sha1, chunks) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
	if err != nil {
		return err
	}
	defer file.Close()
	chunk, err := tx.PrepareContext(ctx, "INSERT INTO artifact_file_chunks (bundle, sha1) VALUES ($1, $2) ON CONFLICT DO NOTHING")
	if err != nil {
		return err
	}
	defer chunk.Close()
	for _, f := range b.Files {
		if _, err := file.ExecContext(ctx, b.Key, text(f.Path), text(f.Kind), text(f.URL), f.DebugID, encoded(f.Headers), f.Size, f.SHA1, encoded(f.Chunks)); err != nil {
			return err
		}
		for _, c := range f.Chunks {
			if _, err := chunk.ExecContext(ctx, b.Key, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func putHolds(ctx context.Context, tx *sql.Tx, bundle string, holds []exporters.ArtifactHold, now int64) error {
	for _, h := range holds {
		statement := "VALUES ($1, $2, $3, $5, $4)"
		args := []any{bundle, int64(h.Project), text(h.Release), now} //nolint:gosec // the bits are kept
		if h.Dist == exporters.DistOfBundle {
			statement = "SELECT bundle, $2, $3, dist, $4 FROM artifact_bundles WHERE bundle = $1"
		} else {
			args = append(args, text(h.Dist))
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO artifact_holds (bundle, project, version, dist, created) "+statement+" ON CONFLICT DO NOTHING", args...); err != nil {
			return err
		}
	}
	return nil
}

// HoldBundle adds holds to a bundle that is there. It counts as a use.
func (s *Store) HoldBundle(ctx context.Context, key string, holds []exporters.ArtifactHold, now int64) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, "UPDATE artifact_bundles SET used = CASE WHEN used < $2 THEN $2 ELSE used END WHERE bundle = $1", key, now))
		if err != nil {
			return err
		}
		if n == 0 {
			return exporters.ErrNotFound
		}
		return putHolds(ctx, tx, key, holds, now)
	})
	if err != nil {
		return fmt.Errorf("cannot keep bundle %s: %w", key, classify(err))
	}
	return nil
}

func (s *Store) artifactFiles(ctx context.Context, where string, args ...any) ([]exporters.ArtifactFile, error) {
	var out []exporters.ArtifactFile
	err := each(ctx, s.read, func(rows *sql.Rows) error {
		var f exporters.ArtifactFile
		var headers, chunks string
		var single int64
		if err := rows.Scan(&f.Bundle, &single, &f.Path, &f.Kind, &f.URL, &f.DebugID, &headers, &f.Size, &f.SHA1, &chunks, &f.Created); err != nil {
			return err
		}
		f.Single = single == 1
		if err := errors.Join(json.Unmarshal([]byte(headers), &f.Headers), json.Unmarshal([]byte(chunks), &f.Chunks)); err != nil {
			return fmt.Errorf("the row of %s in bundle %s is damaged: %w", f.Path, f.Bundle, err)
		}
		out = append(out, f)
		return nil
	}, `
SELECT f.bundle, b.single, f.path, f.kind, f.url, f.debug_id, f.headers, f.size, f.sha1, f.chunks, b.created
FROM artifact_files f JOIN artifact_bundles b ON b.bundle = f.bundle `+where, args...)
	return out, err
}

// FilesByDebugID gives a project's files with this debug id, newest first.
func (s *Store) FilesByDebugID(ctx context.Context, project uint64, debugID string) ([]exporters.ArtifactFile, error) {
	fs, err := s.artifactFiles(ctx, `
WHERE f.debug_id = $1 AND EXISTS (SELECT 1 FROM artifact_holds h WHERE h.bundle = f.bundle AND h.project = $2)
ORDER BY b.created DESC, f.bundle, f.path LIMIT 20`, text(debugID), int64(project)) //nolint:gosec // the bits are kept
	if err != nil {
		return nil, fmt.Errorf("cannot find files of debug id %q: %w", clip(debugID), classify(err))
	}
	return fs, nil
}

// FilesByURL gives a release's files with one of these URLs, newest first.
func (s *Store) FilesByURL(ctx context.Context, project uint64, release, dist string, urls []string) ([]exporters.ArtifactFile, error) {
	if len(urls) == 0 {
		return nil, nil
	}
	urls = urls[:min(len(urls), 20)]
	args := []any{int64(project), text(release), text(dist)} //nolint:gosec // the bits are kept
	for _, u := range urls {
		args = append(args, text(u))
	}
	fs, err := s.artifactFiles(ctx, `
JOIN artifact_holds h ON h.bundle = f.bundle
WHERE h.project = $1 AND h.version = $2 AND h.dist = $3 AND f.url IN (`+placeholders(4, len(urls))+`)
ORDER BY b.created DESC, f.bundle, f.path LIMIT 40`, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot find files of release %q: %w", clip(release), classify(err))
	}
	return fs, nil
}

// FilesOfRelease lists a release's files, by URL.
func (s *Store) FilesOfRelease(ctx context.Context, project uint64, release string, skip, limit int) ([]exporters.ArtifactFile, error) {
	fs, err := s.artifactFiles(ctx, `
WHERE EXISTS (SELECT 1 FROM artifact_holds h WHERE h.bundle = f.bundle AND h.project = $1 AND h.version = $2)
ORDER BY f.url, b.created DESC, f.bundle, f.path LIMIT $3 OFFSET $4`, int64(project), text(release), min(max(limit, 1), 1000), max(skip, 0)) //nolint:gosec // the bits are kept
	if err != nil {
		return nil, fmt.Errorf("cannot list the files of release %q: %w", clip(release), classify(err))
	}
	return fs, nil
}

// DropSingle takes a file that was uploaded by itself from a release.
func (s *Store) DropSingle(ctx context.Context, project uint64, release, key string) error {
	n, err := affected(s.write.ExecContext(ctx, `
DELETE FROM artifact_holds WHERE bundle = $1 AND project = $2 AND version = $3
	AND EXISTS (SELECT 1 FROM artifact_bundles b WHERE b.bundle = artifact_holds.bundle AND b.single = 1)`, text(key), int64(project), text(release))) //nolint:gosec // the bits are kept
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot take file %q from release %q: %w", clip(key), clip(release), classify(err))
	}
	return nil
}

// DropRelease takes all files from a project's release.
func (s *Store) DropRelease(ctx context.Context, project uint64, release string) error {
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		return letGo(ctx, tx, "version = $1 AND project = $2", text(release), int64(project)) //nolint:gosec // the bits are kept
	})
	if err != nil {
		return fmt.Errorf("cannot take the files from release %q: %w", clip(release), classify(err))
	}
	return nil
}

// letGo ends holds of a release. Bundles with debug ids stay with their projects.
func letGo(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	if _, err := tx.ExecContext(ctx, `
INSERT INTO artifact_holds (bundle, project, version, dist, created)
SELECT bundle, project, '', '', MIN(created) FROM artifact_holds
WHERE `+where+` AND EXISTS (SELECT 1 FROM artifact_files f WHERE f.bundle = artifact_holds.bundle AND f.debug_id <> '')
GROUP BY bundle, project
ON CONFLICT DO NOTHING`, args...); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM artifact_holds WHERE version <> '' AND "+where, args...)
	return err
}

// UsedBundles notes that these were of use.
func (s *Store) UsedBundles(ctx context.Context, keys []string, now int64) error {
	for part := range slices.Chunk(keys, askedAtOnce) {
		args := make([]any, 0, 1+len(part))
		args = append(args, now)
		for _, k := range part {
			args = append(args, k)
		}
		if _, err := s.write.ExecContext(ctx, "UPDATE artifact_bundles SET used = $1 WHERE used < $1 AND bundle IN ("+placeholders(2, len(part))+")", args...); err != nil {
			return fmt.Errorf("cannot note the use of %d bundles: %w", len(keys), classify(err))
		}
	}
	return nil
}

// unreferred are chunks that nothing refers to and no upload has asked for since $1.
const unreferred = "used < $1 AND NOT EXISTS (SELECT 1 FROM artifact_file_chunks f WHERE f.sha1 = artifact_chunks.sha1)"

// ExpireArtifacts removes what was not used.
func (s *Store) ExpireArtifacts(ctx context.Context, unusedSince, now int64, limit int, remove func(sha1 string) error) (removed int, more bool, err error) {
	removed, more, err = s.expireArtifacts(ctx, unusedSince, now, max(limit, 1), remove)
	if err != nil {
		err = fmt.Errorf("cannot remove unused artifacts: %w", classify(err))
	}
	return removed, more, err
}

func (s *Store) expireArtifacts(ctx context.Context, unusedSince, now int64, limit int, remove func(sha1 string) error) (removed int, more bool, err error) {
	grace := now - int64(exporters.ChunkGrace)
	if _, err := s.write.ExecContext(ctx, "DELETE FROM artifact_assemblies WHERE created < $1", grace); err != nil {
		return 0, false, err
	}
	n, err := affected(s.write.ExecContext(ctx, `
DELETE FROM artifact_bundles WHERE bundle IN (SELECT b.bundle FROM artifact_bundles b
	WHERE b.used < $1 OR NOT EXISTS (SELECT 1 FROM artifact_holds h WHERE h.bundle = b.bundle) LIMIT $2)`, unusedSince, limit))
	if err != nil {
		return 0, false, err
	}
	more = n == int64(limit)
	var chunks []string
	if err := each(ctx, s.read, func(rows *sql.Rows) error {
		var c string
		err := rows.Scan(&c)
		chunks = append(chunks, c)
		return err
	}, "SELECT sha1 FROM artifact_chunks WHERE "+unreferred+" LIMIT $2", grace, limit); err != nil {
		return 0, false, err
	}
	for _, c := range chunks {
		// First nobody may count on it, then its bytes go, then its row: a crash
		// between two leaves a row that is found again.
		n, err := affected(s.write.ExecContext(ctx, "UPDATE artifact_chunks SET stored = 0 WHERE "+unreferred+" AND sha1 = $2", grace, c))
		if err != nil {
			return removed, false, err
		}
		if n == 0 {
			continue
		}
		if err := remove(c); err != nil {
			return removed, false, err
		}
		if _, err := s.write.ExecContext(ctx, "DELETE FROM artifact_chunks WHERE sha1 = $1 AND stored = 0 AND used < $2", c, grace); err != nil {
			return removed, false, err
		}
		removed++
	}
	return removed, more || len(chunks) == limit, nil
}

var (
	_ exporters.Artifacts = (*Store)(nil)
	_ exporters.Releases  = (*Store)(nil)
	_ exporters.Tokens    = (*Store)(nil)
)
