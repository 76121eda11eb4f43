package metadata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// What of an issue is kept at most, in bytes.
const (
	maxText     = 2048
	maxGrouping = 64 << 10
)

// SeeIssue makes the issue or moves its times. Title, culprit, level, platform
// and grouping follow the event that happened last.
func (s *Store) SeeIssue(ctx context.Context, seen schemas.Issue) (id schemas.IssueID, isNew bool, err error) {
	id, isNew, err = s.seeIssue(ctx, seen)
	if err != nil {
		return 0, false, fmt.Errorf("cannot note issue %v of project %d: %w", seen.Fingerprint, seen.Project, classify(err))
	}
	return id, isNew, nil
}

func (s *Store) seeIssue(ctx context.Context, seen schemas.Issue) (schemas.IssueID, bool, error) {
	project, fingerprint := int64(seen.Project), seen.Fingerprint.String() //nolint:gosec // the bits are kept
	title, culprit := clip(text(seen.Title)), clip(text(seen.Culprit))
	level, platform, status := clip(text(seen.Level)), clip(text(seen.Platform)), clip(text(seen.Status))
	if status == "" {
		status = "unresolved"
	}
	grouping, err := components(seen.Grouping)
	if err != nil {
		return 0, false, err
	}
	search := strings.ToLower(title + "\n" + culprit)
	for range attempts {
		var known, first, last int64
		err := s.read.QueryRowContext(ctx, "SELECT id, first_seen, last_seen FROM issues WHERE project = $1 AND fingerprint = $2", project, fingerprint).Scan(&known, &first, &last)
		if err == nil && first <= seen.FirstSeen && last >= seen.LastSeen {
			return schemas.IssueID(known), false, nil //nolint:gosec // made positive
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, false, err
		}
		id, found, err := s.moveIssue(ctx, project, fingerprint, seen.FirstSeen, seen.LastSeen, title, culprit, search, level, platform, grouping)
		if err != nil {
			return 0, false, err
		}
		if found {
			return schemas.IssueID(id), false, nil //nolint:gosec // made positive
		}
		r, err := s.write.ExecContext(ctx, `
INSERT INTO issues (id, project, fingerprint, title, culprit, search, level, platform, status, first_seen, last_seen, components)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM issues WHERE true
ON CONFLICT DO NOTHING`, project, fingerprint, title, culprit, search, level, platform, status, seen.FirstSeen, seen.LastSeen, grouping)
		if err != nil {
			return 0, false, err
		}
		n, err := r.RowsAffected()
		if err != nil {
			return 0, false, err
		}
		if n == 1 {
			id, err := s.issueID(ctx, project, fingerprint)
			return id, true, err
		}
		// Another made it, or took the id.
	}
	return 0, false, fmt.Errorf("%w: others took its id %d times", exporters.ErrUnavailable, attempts)
}

// moveIssue moves an issue that is there. It is atomic by itself.
func (s *Store) moveIssue(ctx context.Context, args ...any) (id int64, found bool, err error) {
	err = s.write.QueryRowContext(ctx, `
UPDATE issues SET
	first_seen = CASE WHEN $3 < first_seen THEN $3 ELSE first_seen END,
	title      = CASE WHEN $4 > last_seen THEN $5 ELSE title END,
	culprit    = CASE WHEN $4 > last_seen THEN $6 ELSE culprit END,
	search     = CASE WHEN $4 > last_seen THEN $7 ELSE search END,
	level      = CASE WHEN $4 > last_seen THEN $8 ELSE level END,
	platform   = CASE WHEN $4 > last_seen THEN $9 ELSE platform END,
	components = CASE WHEN $4 > last_seen THEN $10 ELSE components END,
	last_seen  = CASE WHEN $4 > last_seen THEN $4 ELSE last_seen END
WHERE project = $1 AND fingerprint = $2
RETURNING id`, args...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return id, err == nil, err
}

func (s *Store) issueID(ctx context.Context, project int64, fingerprint string) (schemas.IssueID, error) {
	var id int64
	err := s.write.QueryRowContext(ctx, "SELECT id FROM issues WHERE project = $1 AND fingerprint = $2", project, fingerprint).Scan(&id)
	return schemas.IssueID(id), err //nolint:gosec // made positive
}

// Issues lists a project's issues, last seen first.
func (s *Store) Issues(ctx context.Context, q exporters.IssueQuery) ([]schemas.Issue, error) {
	from, to := int64(math.MinInt64), time.Now().UnixNano()
	if !q.Range.From.IsZero() {
		from = q.Range.From.UnixNano()
	}
	if !q.Range.To.IsZero() {
		to = q.Range.To.UnixNano()
	}
	if q.Before != 0 {
		to = min(to, q.Before)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	where := "project = $1 AND last_seen >= $2 AND last_seen < $3"
	args := []any{int64(q.Project), from, to} //nolint:gosec // the bits are kept
	if q.Text != "" {
		args = append(args, "%"+likeEscaper.Replace(strings.ToLower(clip(text(q.Text))))+"%")
		where += ` AND search LIKE $4 ESCAPE '\'`
	}
	args = append(args, min(limit, 500))
	out, err := s.issues(ctx, where+" ORDER BY last_seen DESC, id DESC LIMIT $"+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("cannot list the issues of project %d: %w", q.Project, classify(err))
	}
	return out, nil
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// Issue finds one.
func (s *Store) Issue(ctx context.Context, project uint64, id schemas.IssueID) (schemas.Issue, error) {
	out, err := s.issues(ctx, "project = $1 AND id = $2", int64(project), int64(id)) //nolint:gosec // the bits are kept
	if err != nil {
		return schemas.Issue{}, fmt.Errorf("cannot read issue %d of project %d: %w", id, project, classify(err))
	}
	if len(out) == 0 {
		return schemas.Issue{}, fmt.Errorf("issue %d of project %d: %w", id, project, exporters.ErrNotFound)
	}
	return out[0], nil
}

func (s *Store) issues(ctx context.Context, where string, args ...any) ([]schemas.Issue, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT id, project, fingerprint, title, culprit, level, platform, status, first_seen, last_seen, components
FROM issues WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schemas.Issue
	for rows.Next() {
		var i schemas.Issue
		var id, project int64
		var fingerprint, grouping string
		if err := rows.Scan(&id, &project, &fingerprint, &i.Title, &i.Culprit, &i.Level, &i.Platform, &i.Status, &i.FirstSeen, &i.LastSeen, &grouping); err != nil {
			return nil, err
		}
		i.ID, i.Project = schemas.IssueID(id), uint64(project) //nolint:gosec // the bits are kept
		if n, err := hex.Decode(i.Fingerprint[:], []byte(fingerprint)); err != nil || n != len(i.Fingerprint) {
			return nil, fmt.Errorf("issue %d has the fingerprint %q, want 32 hex digits", id, fingerprint)
		}
		if err := json.Unmarshal([]byte(grouping), &i.Grouping); err != nil {
			return nil, fmt.Errorf("issue %d has a grouping that is no JSON: %w", id, err)
		}
		if len(i.Grouping) == 0 {
			i.Grouping = nil
		}
		out = append(out, i)
	}
	return out, rows.Err()
}

// components is a grouping as it is stored: as much of it as fits.
func components(grouping []string) (string, error) {
	size, n := 0, 0
	for _, g := range grouping {
		if size += len(g) + 8; size > maxGrouping {
			break
		}
		n++
	}
	if n == 0 {
		return "[]", nil
	}
	kept := make([]string, n)
	for i := range kept {
		kept[i] = text(grouping[i])
	}
	b, err := json.Marshal(kept)
	return string(b), err
}

// clip cuts s to maxText bytes, at a character.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
