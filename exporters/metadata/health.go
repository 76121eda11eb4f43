package metadata

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

var (
	_ exporters.HealthWriter = (*Store)(nil)
	_ exporters.HealthReader = (*Store)(nil)
)

// healthRing is one of the two rings that a process's reports lie in.
type healthRing struct {
	step   time.Duration
	length int64
}

var (
	healthFine   = healthRing{exporters.HealthEvery, int64(exporters.HealthFine / exporters.HealthEvery)}
	healthCoarse = healthRing{exporters.HealthCoarseEvery, int64(exporters.HealthCoarse / exporters.HealthCoarseEvery)}
)

// maxHealthBody bounds one report.
const maxHealthBody = 64 << 10

type healthBody struct {
	Values map[string]float64 `json:"values"`
	Notes  map[string]string  `json:"notes,omitempty"`
}

// WriteHealth keeps a report, and forgets processes that have not reported for as
// long as reports are kept.
func (s *Store) WriteHealth(ctx context.Context, r exporters.ProcessReport) error {
	body, err := json.Marshal(healthBody{r.Values, r.Notes})
	if err != nil {
		return fmt.Errorf("cannot keep the report of %s: %w", r.Instance, err)
	}
	if len(body) > maxHealthBody {
		return fmt.Errorf("cannot keep the report of %s: it has %d bytes, at most %d are kept", r.Instance, len(body), maxHealthBody)
	}
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		for _, ring := range []healthRing{healthFine, healthCoarse} {
			slot := r.At.UnixNano() / int64(ring.step) % ring.length
			if _, err := tx.ExecContext(ctx, `INSERT INTO health_reports (instance, step, slot, reported, started, role, host, version, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
				ON CONFLICT (instance, step, slot) DO UPDATE SET reported = excluded.reported, started = excluded.started, role = excluded.role, host = excluded.host, version = excluded.version, body = excluded.body
				WHERE health_reports.reported <= excluded.reported`,
				text(r.Instance), int64(ring.step/time.Second), slot, r.At.UnixNano(), r.Started.UnixNano(), text(r.Role), text(r.Host), text(r.Version), text(string(body))); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM health_reports WHERE step = $1 AND reported < $2", int64(ring.step/time.Second), r.At.Add(-2*time.Duration(ring.length)*ring.step).UnixNano()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot keep the report of %s: %w", r.Instance, classify(err))
	}
	return nil
}

// Health gives the reports of a stretch: fine ones where it is within an hour.
func (s *Store) Health(ctx context.Context, from, to time.Time) ([]exporters.ProcessReport, error) {
	ring := healthFine
	if to.Sub(from) > exporters.HealthFine {
		ring = healthCoarse
	}
	every := max(int64(to.Sub(from)/ring.step)/exporters.MaxHealthSteps+1, 1)
	fine := int64(healthFine.step / time.Second)
	// The last reports of each process are of the fine ring in any case: the present is
	// told by the difference of two of them.
	recent := to.Add(-6 * healthFine.step).UnixNano()
	rows, err := s.read.QueryContext(ctx, `SELECT instance, reported, started, role, host, version, body FROM health_reports WHERE instance IN (
			SELECT instance FROM health_reports WHERE step = $1 AND reported >= $2 AND reported < $3 GROUP BY instance ORDER BY MAX(reported) DESC LIMIT $4
		) AND reported < $3 AND ((step = $1 AND slot % $5 = 0 AND reported >= $2 AND reported < $6) OR (step = $7 AND reported >= $6))
		ORDER BY instance, reported LIMIT $8`,
		int64(ring.step/time.Second), from.UnixNano(), to.UnixNano(), exporters.MaxHealthProcesses, every, recent, fine, exporters.MaxHealthProcesses*(exporters.MaxHealthSteps+8))
	if err != nil {
		return nil, fmt.Errorf("cannot read what processes reported: %w", classify(err))
	}
	defer rows.Close()
	var out []exporters.ProcessReport
	for rows.Next() {
		var r exporters.ProcessReport
		var reported, started int64
		var raw string
		if err := rows.Scan(&r.Instance, &reported, &started, &r.Role, &r.Host, &r.Version, &raw); err != nil {
			return nil, fmt.Errorf("cannot read what processes reported: %w", classify(err))
		}
		var body healthBody
		if err := json.Unmarshal([]byte(raw), &body); err != nil {
			return nil, fmt.Errorf("cannot read what %s reported: %w", r.Instance, err)
		}
		r.At, r.Started, r.Values, r.Notes = time.Unix(0, reported), time.Unix(0, started), body.Values, body.Notes
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot read what processes reported: %w", classify(err))
	}
	return out, nil
}
