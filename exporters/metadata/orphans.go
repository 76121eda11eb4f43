package metadata

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// Bounds of check-ins that wait for their monitor.
const (
	maxOrphans = 1000 // of one project
	// orphanWait is how much earlier than the check-in that makes the monitor another may
	// have come.
	orphanWait = 30 * time.Second
)

// hold keeps a check-in of no monitor for a while.
func hold(ctx context.Context, tx issueTx, u *exporters.CheckInUpdate) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM check_in_orphans WHERE received < $1", u.Received-int64(orphanWait)); err != nil {
		return err
	}
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM check_in_orphans WHERE project = $1", projectArg(u.Project)).Scan(&n); err != nil || n >= maxOrphans {
		return err
	}
	body, err := json.Marshal(u)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO check_in_orphans (source, last_offset, project, slug, received, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
		sourceText(u.Source), u.Offset, projectArg(u.Project), u.Slug, u.Received, string(body))
	return err
}

// revive applies the check-ins that waited for a monitor which is there now.
func revive(ctx context.Context, tx issueTx, made *exporters.CheckInUpdate) (revived []exporters.CheckInUpdate, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT body FROM check_in_orphans WHERE project = $1 AND slug = $2 AND received >= $3 ORDER BY received, source, last_offset",
		projectArg(made.Project), made.Slug, made.Received-int64(orphanWait))
	if err != nil {
		return nil, err
	}
	var waiting []exporters.CheckInUpdate
	err = func() error {
		defer rows.Close()
		for rows.Next() {
			var body string
			var u exporters.CheckInUpdate
			if err := rows.Scan(&body); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(body), &u); err != nil {
				return fmt.Errorf("a check-in that waits for monitor %q is no JSON: %w", made.Slug, err)
			}
			waiting = append(waiting, u)
		}
		return rows.Err()
	}()
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	for i := range waiting {
		refusal, err := applyCheckIn(ctx, tx, &waiting[i])
		if err != nil {
			return nil, err
		}
		if refusal == nil {
			revived = append(revived, waiting[i])
		}
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM check_in_orphans WHERE project = $1 AND slug = $2", projectArg(made.Project), made.Slug)
	return revived, err
}
