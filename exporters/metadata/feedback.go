package metadata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	_ exporters.FeedbackWriter = (*Store)(nil)
	_ exporters.FeedbackStore  = (*Store)(nil)
)

// feedbackAtOnce is how many feedbacks one statement stores: each has 15 values.
const feedbackAtOnce = 200

// hexOrNone is 16 bytes in hex; empty when they are zero.
func hexOrNone(b [16]byte) string {
	if b == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(b[:])
}

// parseHexOrNone reads what hexOrNone wrote.
func parseHexOrNone(s string) (b [16]byte, err error) {
	if s == "" {
		return b, nil
	}
	if len(s) != 32 {
		return b, fmt.Errorf("%q is not 32 hex digits", s)
	}
	_, err = hex.Decode(b[:], []byte(s))
	return b, err
}

// WriteFeedback stores those that are not there yet.
func (s *Store) WriteFeedback(ctx context.Context, list []schemas.Feedback) error {
	err := s.inIssueTx(ctx, func(tx issueTx) error {
		for _, some := range chunks(list, feedbackAtOnce) {
			var a args
			values := ""
			for i := range some {
				f := &some[i]
				if i > 0 {
					values += ", "
				}
				row := []any{
					projectArg(f.Project), hexOrNone(f.ID), hexOrNone(f.Event), hexOrNone(f.Replay), hexOrNone(f.Trace), f.Received, text(f.Name), text(f.Email),
					text(f.Message), text(f.URL), text(f.Source), text(f.Release), text(f.Environment), string(f.Status), f.Changed,
				}
				values += "(" + placeholders(len(a)+1, len(row)) + ")"
				a = append(a, row...)
			}
			if _, err := tx.ExecContext(ctx, tx.bulk(`INSERT INTO feedback (project, id, event, replay, trace, received, name, email, message, url, source, release, environment, status, changed) VALUES `+
				values+" ON CONFLICT DO NOTHING"), a...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot store %d feedbacks: %w", len(list), classify(err))
	}
	return nil
}

// Feedback lists, newest first.
func (s *Store) Feedback(ctx context.Context, q exporters.FeedbackQuery) ([]schemas.Feedback, error) {
	var a args
	where := "project = " + a.add(projectArg(q.Project))
	if !q.Range.From.IsZero() {
		where += " AND received >= " + a.add(q.Range.From.UnixNano())
	}
	to := time.Now().UnixNano()
	if !q.Range.To.IsZero() {
		to = q.Range.To.UnixNano()
	}
	where += " AND received < " + a.add(to)
	if q.Status != "" {
		where += " AND status = " + a.add(string(q.Status))
	}
	if q.Event != (schemas.EventID{}) {
		where += " AND event = " + a.add(q.Event.String())
	}
	if q.Before != 0 {
		before := a.add(q.Before)
		where += " AND (received < " + before + " OR received = " + before + " AND id < " + a.add(q.BeforeID.String()) + ")"
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	rows, err := s.read.QueryContext(ctx, `
SELECT project, id, event, replay, trace, received, name, email, message, url, source, release, environment, status, changed FROM feedback
WHERE `+where+" ORDER BY received DESC, id DESC LIMIT "+a.add(min(limit, 500)), a...)
	if err != nil {
		return nil, fmt.Errorf("cannot list feedback: %w", classify(err))
	}
	defer rows.Close()
	var out []schemas.Feedback
	for rows.Next() {
		f, err := scanFeedback(rows)
		if err != nil {
			return nil, fmt.Errorf("cannot read a feedback: %w", classify(err))
		}
		out = append(out, f)
	}
	return out, classify(rows.Err())
}

func scanFeedback(rows *sql.Rows) (f schemas.Feedback, err error) {
	var project int64
	var id, event, replay, trace, status string
	if err := rows.Scan(&project, &id, &event, &replay, &trace, &f.Received, &f.Name, &f.Email, &f.Message, &f.URL, &f.Source, &f.Release, &f.Environment, &status, &f.Changed); err != nil {
		return f, err
	}
	f.Project, f.Status = uint64(project), schemas.FeedbackStatus(status) //nolint:gosec // the bits are kept
	for _, part := range []struct {
		text string
		to   *[16]byte
	}{{id, (*[16]byte)(&f.ID)}, {event, (*[16]byte)(&f.Event)}, {replay, (*[16]byte)(&f.Replay)}, {trace, (*[16]byte)(&f.Trace)}} {
		if *part.to, err = parseHexOrNone(part.text); err != nil {
			return f, err
		}
	}
	return f, nil
}

// SetFeedbackStatus sets the status of these.
func (s *Store) SetFeedbackStatus(ctx context.Context, project uint64, ids []schemas.EventID, status schemas.FeedbackStatus, now int64) ([]schemas.EventID, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > exporters.MaxFeedbackChange {
		return nil, fmt.Errorf("cannot change %d feedbacks, at most %d: %w", len(ids), exporters.MaxFeedbackChange, exporters.ErrTooLarge)
	}
	var a args
	set := "UPDATE feedback SET status = " + a.add(string(status)) + ", changed = " + a.add(now)
	rows, err := s.write.QueryContext(ctx, set+" WHERE project = "+a.add(projectArg(project))+" AND id IN "+
		in(&a, ids, func(id schemas.EventID) any { return id.String() })+" RETURNING id", a...)
	if err != nil {
		return nil, fmt.Errorf("cannot change %d feedbacks: %w", len(ids), classify(err))
	}
	defer rows.Close()
	var out []schemas.EventID
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("cannot change %d feedbacks: %w", len(ids), classify(err))
		}
		b, err := parseHexOrNone(id)
		if err != nil {
			return nil, fmt.Errorf("cannot change %d feedbacks: %w", len(ids), err)
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b schemas.EventID) int { return slices.Compare(a[:], b[:]) })
	return out, classify(rows.Err())
}

// ExpireFeedback removes old ones.
func (s *Store) ExpireFeedback(ctx context.Context, before int64, limit int) (int, error) {
	n, err := affected(s.write.ExecContext(ctx, `
DELETE FROM feedback WHERE received < $1 AND (project, id) IN (SELECT project, id FROM feedback WHERE received < $1 ORDER BY received LIMIT $2)`, before, limit))
	if err != nil {
		return 0, fmt.Errorf("cannot remove old feedback: %w", classify(err))
	}
	return int(n), nil
}
