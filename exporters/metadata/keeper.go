package metadata

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/schemas"
)

// keepDeleted is how long the row of a deleted issue stays.
const keepDeleted = time.Hour

// Lease makes holder the only one to do what is named.
func (s *Store) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now := time.Now()
	n, err := affected(s.write.ExecContext(ctx, `
INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE leases.holder = excluded.holder OR leases.until < $4`, name, holder, now.Add(ttl).UnixNano(), now.UnixNano()))
	if err != nil {
		return false, fmt.Errorf("cannot take the lease of %s: %w", name, classify(err))
	}
	return n == 1, nil
}

// AgeIssues does what time does to issues.
func (s *Store) AgeIssues(ctx context.Context, now time.Time, limit int) (n int, err error) {
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		n, err = s.age(ctx, tx, now, limit)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot age issues: %w", classify(err))
	}
	return n, nil
}

func (s *Store) age(ctx context.Context, tx issueTx, now time.Time, limit int) (int, error) {
	due, err := ids(ctx, tx, "SELECT id FROM issues WHERE wake_at > 0 AND wake_at <= $1 ORDER BY id LIMIT $2", now.UnixNano(), limit)
	if err != nil {
		return 0, err
	}
	rows, err := lockIssues(ctx, tx, due)
	if err != nil {
		return 0, err
	}
	var moved []*issueRow
	var log []activityRow
	for i := range rows {
		next, change, changed := issuestate.Tick(rows[i].IssueState, now)
		if !changed || rows[i].MergedInto != 0 || rows[i].deleted != 0 {
			continue // it changed since
		}
		rows[i].IssueState = next
		moved = append(moved, &rows[i])
		log = append(log, activityRow{issue: rows[i].ID, change: change, at: now})
	}
	if err := updateIssues(ctx, tx, moved); err != nil {
		return 0, err
	}
	if err := addActivity(ctx, tx, log); err != nil {
		return 0, err
	}
	gone, err := ids(ctx, tx, "SELECT id FROM issues WHERE deleted > 0 AND deleted <= $1 ORDER BY id LIMIT $2", now.Add(-keepDeleted).UnixNano(), limit)
	if err != nil || len(gone) == 0 {
		return len(moved), err
	}
	for _, from := range []string{"issue_activity WHERE issue", "issue_bookmarks WHERE issue", "issues WHERE id"} {
		var a args
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+from+" IN "+in(&a, gone, issueArg), a...); err != nil {
			return 0, err
		}
	}
	return max(len(moved), len(gone)), nil
}

func ids(ctx context.Context, db querier, query string, args ...any) ([]schemas.IssueID, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schemas.IssueID
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, schemas.IssueID(id)) //nolint:gosec // made positive
	}
	return out, rows.Err()
}

// SleepingIssues lists archived issues whose end the events store decides.
func (s *Store) SleepingIssues(ctx context.Context, after schemas.IssueID, limit int) ([]exporters.SleepingIssue, error) {
	out, err := func() ([]exporters.SleepingIssue, error) {
		rows, err := readIssues(ctx, s.read, "WHERE i.sleeping = 1 AND i.id > $1 ORDER BY i.id LIMIT $2", issueArg(after), min(max(limit, 1), exporters.MaxIssues))
		if err != nil {
			return nil, err
		}
		byProject := make(map[uint64][]schemas.IssueID)
		for i := range rows {
			byProject[rows[i].Project] = append(byProject[rows[i].Project], rows[i].ID)
		}
		hashes := make(map[schemas.IssueID][]exporters.IssueHash, len(rows))
		for project, some := range byProject {
			if err := readHashes(ctx, s.read, hashes, project, some); err != nil {
				return nil, err
			}
		}
		out := make([]exporters.SleepingIssue, len(rows))
		for i := range rows {
			r := &rows[i]
			out[i] = exporters.SleepingIssue{ID: r.ID, Project: r.Project, FirstSeen: r.FirstSeen, State: r.IssueState, Hashes: hashes[r.ID]}
			if r.forecast != "" {
				if err := json.Unmarshal([]byte(r.forecast), &out[i].Forecast); err != nil {
					return nil, fmt.Errorf("issue %d has a forecast that is no JSON: %w", r.ID, err)
				}
			}
		}
		return out, nil
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot list archived issues: %w", classify(err))
	}
	return out, nil
}

// KeepForecast stores the ceilings of an issue.
func (s *Store) KeepForecast(ctx context.Context, id schemas.IssueID, f exporters.IssueForecast) error {
	b, err := json.Marshal(f)
	if err == nil {
		_, err = s.write.ExecContext(ctx, "UPDATE issues SET forecast = $1 WHERE id = $2 AND sleeping = 1", string(b), issueArg(id))
	}
	if err != nil {
		return fmt.Errorf("cannot keep the forecast of issue %d: %w", id, classify(err))
	}
	return nil
}

// CountIssue tells what was counted of a sleeping issue.
func (s *Store) CountIssue(ctx context.Context, sleeping exporters.SleepingIssue, n, ceiling uint64, now time.Time) (woken bool, err error) {
	wake := func(state schemas.IssueState) (schemas.IssueState, issuestate.Change, bool) {
		if state.Archive.Kind == schemas.UntilEscalating {
			return issuestate.Escalate(state, n, ceiling, now)
		}
		return issuestate.Count(state, n, now)
	}
	if _, _, would := wake(sleeping.State); !would {
		return false, nil // without asking for the lock
	}
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		rows, err := lockIssues(ctx, tx, []schemas.IssueID{sleeping.ID})
		if err != nil || len(rows) == 0 {
			return err
		}
		r := &rows[0]
		if r.IssueState != sleeping.State || r.MergedInto != 0 || r.deleted != 0 {
			return nil
		}
		next, change, changed := wake(r.IssueState)
		if !changed {
			return nil
		}
		r.IssueState, woken = next, true
		if err := updateIssues(ctx, tx, []*issueRow{r}); err != nil {
			return err
		}
		return addActivity(ctx, tx, []activityRow{{issue: r.ID, change: change, at: now}})
	})
	if err != nil {
		return false, fmt.Errorf("cannot wake issue %d: %w", sleeping.ID, classify(err))
	}
	return woken, nil
}

// Replacements gives the oldest messages that are not out yet.
func (s *Store) Replacements(ctx context.Context, limit int) ([]exporters.Replacement, error) {
	out, err := func() ([]exporters.Replacement, error) {
		rows, err := s.read.QueryContext(ctx, "SELECT id, project, value FROM event_replacements ORDER BY id LIMIT $1", min(max(limit, 1), 1000))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []exporters.Replacement
		for rows.Next() {
			var r exporters.Replacement
			var project int64
			var value string
			if err := rows.Scan(&r.ID, &project, &value); err != nil {
				return nil, err
			}
			r.Project, r.Value = uint64(project), []byte(value) //nolint:gosec // the bits are kept
			out = append(out, r)
		}
		return out, rows.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot read event replacements: %w", classify(err))
	}
	return out, nil
}

// ReplacementsSent removes messages that are out.
func (s *Store) ReplacementsSent(ctx context.Context, sent []int64) error {
	for _, some := range chunks(sent, maxArgs) {
		var a args
		if _, err := s.write.ExecContext(ctx, "DELETE FROM event_replacements WHERE id IN "+in(&a, some, func(id int64) any { return id }), a...); err != nil {
			return fmt.Errorf("cannot remove %d event replacements that were sent: %w", len(sent), classify(err))
		}
	}
	return nil
}

// DeletedHashes gives hashes whose deleted events have not been removed.
func (s *Store) DeletedHashes(ctx context.Context, limit int) ([]exporters.DeletedHash, error) {
	out, err := func() ([]exporters.DeletedHash, error) {
		rows, err := s.read.QueryContext(ctx, "SELECT project, hash, after FROM issue_hashes WHERE after > removed ORDER BY project, after, hash LIMIT $1", min(max(limit, 1), 1000))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []exporters.DeletedHash
		for rows.Next() {
			var d exporters.DeletedHash
			var project int64
			var hash string
			if err := rows.Scan(&project, &hash, &d.Before); err != nil {
				return nil, err
			}
			d.Project = uint64(project) //nolint:gosec // the bits are kept
			if d.Hash, err = parseHash(hash); err != nil {
				return nil, err
			}
			out = append(out, d)
		}
		return out, rows.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot list deleted hashes: %w", classify(err))
	}
	return out, nil
}

// HashesRemoved notes that the deleted events of hashes were removed.
func (s *Store) HashesRemoved(ctx context.Context, removed []exporters.DeletedHash) error {
	err := s.inIssueTx(ctx, func(tx issueTx) error {
		for _, d := range removed {
			if _, err := tx.ExecContext(ctx, "UPDATE issue_hashes SET removed = $1 WHERE project = $2 AND hash = $3 AND removed < $4",
				d.Before, projectArg(d.Project), d.Hash.String(), d.Before); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot note that events of %d hashes were removed: %w", len(removed), classify(err))
	}
	return nil
}
