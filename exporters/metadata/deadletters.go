package metadata

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

var _ exporters.DeadLetterEnds = (*Store)(nil)

// lettersAtOnce is how many letters one statement names: each has four values.
const lettersAtOnce = 200

// DeadLetterEnds gives those of refs that are not open.
func (s *Store) DeadLetterEnds(ctx context.Context, refs []exporters.DeadLetterRef) (map[exporters.DeadLetterRef]exporters.DeadLetterEnd, error) {
	out := map[exporters.DeadLetterRef]exporters.DeadLetterEnd{}
	if len(refs) > exporters.MaxDeadLetterRefs {
		return nil, fmt.Errorf("cannot ask for %d dead letters at once, at most %d", len(refs), exporters.MaxDeadLetterRefs)
	}
	for some := range slices.Chunk(refs, lettersAtOnce) {
		var a args
		where := ""
		for i, ref := range some {
			if i > 0 {
				where += " OR "
			}
			where += "topic = " + a.add(text(ref.Topic)) + " AND topic_id = " + a.add(text(ref.TopicID)) + " AND part = " + a.add(int64(ref.Partition)) + " AND place = " + a.add(ref.Offset)
		}
		err := s.readLetters(ctx, out, `SELECT topic, topic_id, part, place, state, by_whom, changed FROM dead_letter_ends WHERE state <> 'open' AND (`+where+")", a)
		if err != nil {
			return nil, fmt.Errorf("cannot read what became of %d dead letters: %w", len(refs), classify(err))
		}
	}
	return out, nil
}

func (s *Store) readLetters(ctx context.Context, out map[exporters.DeadLetterRef]exporters.DeadLetterEnd, query string, a args) error {
	rows, err := s.read.QueryContext(ctx, query, a...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ref exporters.DeadLetterRef
		var end exporters.DeadLetterEnd
		var state string
		var changed int64
		if err := rows.Scan(&ref.Topic, &ref.TopicID, &ref.Partition, &ref.Offset, &state, &end.By, &changed); err != nil {
			return err
		}
		end.State, end.At = exporters.DeadLetterState(state), time.Unix(0, changed)
		out[ref] = end
	}
	return rows.Err()
}

// SetDeadLetterEnd changes the state of one letter if it is from.
func (s *Store) SetDeadLetterEnd(ctx context.Context, ref exporters.DeadLetterRef, from exporters.DeadLetterState, end exporters.DeadLetterEnd) (now exporters.DeadLetterEnd, changed bool, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		a := []any{text(ref.Topic), text(ref.TopicID), int64(ref.Partition), ref.Offset}
		if from == exporters.DeadLetterOpen {
			// An open letter has no row until somebody touches it.
			if _, err := tx.ExecContext(ctx, "INSERT INTO dead_letter_ends (topic, topic_id, part, place, state, by_whom, changed) VALUES ($1, $2, $3, $4, 'open', '', 0) ON CONFLICT DO NOTHING", a...); err != nil {
				return err
			}
		}
		n, err := affected(tx.ExecContext(ctx, "UPDATE dead_letter_ends SET state = $5, by_whom = $6, changed = $7 WHERE topic = $1 AND topic_id = $2 AND part = $3 AND place = $4 AND state = $8",
			append(a, string(end.State), text(end.By), end.At.UnixNano(), string(from))...))
		if err != nil {
			return err
		}
		changed = n > 0
		var state string
		var at int64
		err = tx.QueryRowContext(ctx, "SELECT state, by_whom, changed FROM dead_letter_ends WHERE topic = $1 AND topic_id = $2 AND part = $3 AND place = $4", a...).Scan(&state, &now.By, &at)
		if errors.Is(err, sql.ErrNoRows) {
			now = exporters.DeadLetterEnd{State: exporters.DeadLetterOpen}
			return nil
		}
		now.State, now.At = exporters.DeadLetterState(state), time.Unix(0, at)
		return err
	})
	if err != nil {
		return now, false, fmt.Errorf("cannot note what became of dead letter %s/%d@%d: %w", ref.Topic, ref.Partition, ref.Offset, classify(err))
	}
	return now, changed, nil
}

// CountDeadLetterEnds counts the letters from an offset on that are not open.
func (s *Store) CountDeadLetterEnds(ctx context.Context, from exporters.DeadLetterRef) (n int64, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM dead_letter_ends WHERE topic = $1 AND topic_id = $2 AND part = $3 AND place >= $4 AND state <> 'open'",
		text(from.Topic), text(from.TopicID), int64(from.Partition), from.Offset).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("cannot count what became of the dead letters of %s: %w", from.Topic, classify(err))
	}
	return n, nil
}

// ForgetDeadLetterEnds forgets what became of records that are gone.
func (s *Store) ForgetDeadLetterEnds(ctx context.Context, before exporters.DeadLetterRef) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM dead_letter_ends WHERE topic = $1 AND (topic_id <> $2 OR (part = $3 AND place < $4))",
		text(before.Topic), text(before.TopicID), int64(before.Partition), before.Offset)
	if err != nil {
		return fmt.Errorf("cannot forget the dead letters of %s that are gone: %w", before.Topic, classify(err))
	}
	return nil
}
