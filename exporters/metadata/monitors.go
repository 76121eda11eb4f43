package metadata

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/monitor"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	_ exporters.MonitorKeeper = (*Store)(nil)
	_ exporters.MonitorStore  = (*Store)(nil)
)

const (
	// slotsAtOnce is how many runs of one environment are judged in one transaction.
	slotsAtOnce = 200
	// missedAtMost is how far back misses are looked for: a topic keeps check-ins for a
	// day, so what is older nobody can tell.
	missedAtMost = int64(24 * time.Hour)
)

type monitorRow struct {
	id       int64
	name     string
	status   schemas.MonitorStatus
	config   schemas.MonitorConfig
	schedule *monitor.Schedule
}

func (m *monitorRow) margin() int64  { return m.config.CheckInMargin * int64(time.Minute) }
func (m *monitorRow) runtime() int64 { return m.config.MaxRuntime * int64(time.Minute) }

func (m *monitorRow) read(config string) (err error) {
	if err = json.Unmarshal([]byte(config), &m.config); err != nil {
		return fmt.Errorf("monitor %d: %w", m.id, err)
	}
	if m.schedule, err = monitor.Parse(m.config); err != nil {
		return fmt.Errorf("monitor %d: %w", m.id, err)
	}
	return nil
}

// ApplyCheckIns applies updates, all in one transaction.
func (s *Store) ApplyCheckIns(ctx context.Context, updates []exporters.CheckInUpdate, progress []exporters.Progress) (out []error, err error) {
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		out = make([]error, len(updates))
		done := make(map[schemas.Source]int64)
		for _, p := range progress {
			// The row is also the lock that keeps one who lost the partition from writing.
			if _, err := tx.ExecContext(ctx, "INSERT INTO monitor_progress (source, last_offset, time) VALUES ($1, -1, 0) ON CONFLICT DO NOTHING", sourceText(p.Source)); err != nil {
				return err
			}
			var last int64
			if err := tx.QueryRowContext(ctx, "SELECT last_offset FROM monitor_progress WHERE source = $1"+tx.lock(), sourceText(p.Source)).Scan(&last); err != nil {
				return err
			}
			done[p.Source] = last
			if p.Offset > last {
				if _, err := tx.ExecContext(ctx, "UPDATE monitor_progress SET last_offset = $1, time = $2 WHERE source = $3", p.Offset, p.Time, sourceText(p.Source)); err != nil {
					return err
				}
			}
		}
		for i := range updates {
			if last, ok := done[updates[i].Source]; ok && updates[i].Offset <= last {
				continue
			}
			refusal, err := applyCheckIn(ctx, tx, &updates[i])
			if err != nil {
				return err
			}
			out[i] = refusal
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot apply %d check-ins: %w", len(updates), classify(err))
	}
	return out, nil
}

func sourceText(s schemas.Source) string { return strconv.FormatUint(uint64(s), 10) }

func applyCheckIn(ctx context.Context, tx issueTx, u *exporters.CheckInUpdate) (refusal, err error) {
	m, refusal, err := monitorOf(ctx, tx, u)
	if refusal != nil || err != nil {
		return refusal, err
	}
	env := clip(text(u.Environment))
	// The row of the environment is the lock of its check-ins.
	var next int64
	err = tx.QueryRowContext(ctx, "SELECT next FROM monitor_environments WHERE monitor = $1 AND name = $2"+tx.lock(), m.id, env).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitor_environments WHERE monitor = $1", m.id).Scan(&n); err != nil {
			return nil, err
		}
		if n >= exporters.MaxMonitorEnvironments {
			return exporters.ErrTooManyEnvirons, nil
		}
		next = m.schedule.Next(u.Received)
		_, err = tx.ExecContext(ctx, "INSERT INTO monitor_environments (monitor, name, status, last, next, due) VALUES ($1, $2, '', 0, $3, $4)", m.id, env, next, next+m.margin())
	}
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE monitor_environments SET last = $1 WHERE monitor = $2 AND name = $3 AND last < $1", u.Received, m.id, env); err != nil {
		return nil, err
	}
	over, err := putCheckIn(ctx, tx, m, env, u)
	if err != nil || !over {
		return nil, err
	}
	return nil, judge(ctx, tx, m, env)
}

// monitorOf finds the monitor of an update, and makes or changes it when the update
// says how it is to be.
func monitorOf(ctx context.Context, tx issueTx, u *exporters.CheckInUpdate) (m *monitorRow, refusal, err error) {
	m = &monitorRow{}
	var status, config string
	err = tx.QueryRowContext(ctx, "SELECT id, name, status, config FROM monitors WHERE project = $1 AND slug = $2"+tx.lock(), projectArg(u.Project), u.Slug).Scan(&m.id, &m.name, &status, &config)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if u.Config == nil {
			return nil, exporters.ErrNoMonitor, nil
		}
		made, err := insertMonitor(ctx, tx, schemas.Monitor{Project: u.Project, Slug: u.Slug, Name: u.Slug, Status: schemas.MonitorActive, Config: *u.Config, Created: u.Received})
		if errors.Is(err, exporters.ErrTooLarge) {
			return nil, exporters.ErrTooManyMonitors, nil
		}
		if err != nil {
			return nil, nil, err
		}
		m.id, m.name, m.status, m.config = made, u.Slug, schemas.MonitorActive, *u.Config
		m.schedule, err = monitor.Parse(m.config)
		return m, nil, err
	case err != nil:
		return nil, nil, err
	}
	if m.status = schemas.MonitorStatus(status); m.status == schemas.MonitorDisabled {
		return nil, exporters.ErrMonitorDisabled, nil
	}
	if err := m.read(config); err != nil {
		return nil, nil, err
	}
	if u.Config != nil && *u.Config != m.config {
		m.config = *u.Config
		if m.schedule, err = monitor.Parse(m.config); err != nil {
			return nil, nil, err
		}
		return m, nil, setConfig(ctx, tx, m, u.Received)
	}
	return m, nil, nil
}

// insertMonitor fails with ErrTooLarge when the project has its fill.
func insertMonitor(ctx context.Context, tx issueTx, m schemas.Monitor) (int64, error) {
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitors WHERE project = $1", projectArg(m.Project)).Scan(&n); err != nil {
		return 0, err
	}
	if n >= exporters.MaxMonitors {
		return 0, fmt.Errorf("project %d has %d monitors: %w", m.Project, n, exporters.ErrTooLarge)
	}
	config, err := json.Marshal(m.Config)
	if err != nil {
		return 0, err
	}
	// Whoever gives ids out holds the row until the commit.
	id, err := take(ctx, tx, "monitors", 1)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO monitors (id, project, slug, name, status, config, created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		id, projectArg(m.Project), m.Slug, clip(text(m.Name)), string(m.Status), string(config), m.Created)
	return id, err
}

// setConfig stores a configuration, by which runs are due from now on.
func setConfig(ctx context.Context, tx issueTx, m *monitorRow, now int64) error {
	config, err := json.Marshal(m.config)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE monitors SET config = $1 WHERE id = $2", string(config), m.id); err != nil {
		return err
	}
	next := m.schedule.Next(now)
	_, err = tx.ExecContext(ctx, "UPDATE monitor_environments SET next = $1, due = $2 WHERE monitor = $3", next, next+m.margin(), m.id)
	return err
}

// putCheckIn stores what an update says of a run, and tells whether it made one end.
func putCheckIn(ctx context.Context, tx issueTx, m *monitorRow, env string, u *exporters.CheckInUpdate) (over bool, err error) {
	id, where := u.ID.String(), "id = $2"
	arg := any(id)
	if u.ID == (schemas.EventID{}) {
		id, where, arg = u.NewID.String(), "environment = $2 AND status = 'in_progress' ORDER BY time DESC, id DESC LIMIT 1", env
		if u.Status == schemas.CheckInInProgress {
			where, arg = "id = $2", id // a new run
		}
	}
	var found, status string
	var timeoutAt int64
	err = tx.QueryRowContext(ctx, "SELECT id, status, timeout_at FROM check_ins WHERE monitor = $1 AND "+where, m.id, arg).Scan(&found, &status, &timeoutAt)
	until := int64(0)
	if u.Status == schemas.CheckInInProgress {
		until = u.Received + m.runtime()
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.ExecContext(ctx, `
INSERT INTO check_ins (monitor, id, environment, status, time, updated, timeout_at, duration, trace, release) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)`,
			m.id, id, env, string(u.Status), u.Received, until, u.Duration, hexOrNone(u.Trace), clip(text(u.Release)))
		return u.Status != schemas.CheckInInProgress, err
	case err != nil:
		return false, err
	case status != string(schemas.CheckInInProgress):
		return false, nil // it is over
	case u.Received > timeoutAt:
		_, err = tx.ExecContext(ctx, "UPDATE check_ins SET status = 'timeout', updated = timeout_at, timeout_at = 0 WHERE monitor = $1 AND id = $2", m.id, found)
		return true, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE check_ins SET status = $1, updated = $2, timeout_at = $3, duration = CASE WHEN CAST($4 AS BIGINT) >= 0 THEN CAST($4 AS BIGINT) ELSE duration END WHERE monitor = $5 AND id = $6",
		string(u.Status), u.Received, until, u.Duration, m.id, found)
	return u.Status != schemas.CheckInInProgress, err
}

// judge opens or closes the incident of an environment by its last runs that are over.
func judge(ctx context.Context, tx issueTx, m *monitorRow, env string) error {
	need := max(m.config.FailureThreshold, m.config.RecoveryThreshold)
	rows, err := tx.QueryContext(ctx, "SELECT id, status, time FROM check_ins WHERE monitor = $1 AND environment = $2 AND status <> 'in_progress' ORDER BY time DESC, id DESC LIMIT $3", m.id, env, need)
	if err != nil {
		return err
	}
	var last, lastStatus string
	var lastTime, n, failed, well int64
	err = func() error {
		defer rows.Close()
		for rows.Next() {
			var id, status string
			var at int64
			if err := rows.Scan(&id, &status, &at); err != nil {
				return err
			}
			if n == 0 {
				last, lastStatus, lastTime = id, status, at
			}
			if bad := schemas.CheckInStatus(status).Failed(); bad && failed == n {
				failed++
			} else if !bad && well == n {
				well++
			}
			n++
		}
		return rows.Err()
	}()
	if err != nil || n == 0 {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE monitor_environments SET status = $1 WHERE monitor = $2 AND name = $3", lastStatus, m.id, env); err != nil {
		return err
	}
	switch {
	case failed >= m.config.FailureThreshold:
		var open int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitor_incidents WHERE monitor = $1 AND environment = $2 AND closed = 0", m.id, env).Scan(&open); err != nil || open > 0 {
			return err
		}
		id, err := take(ctx, tx, "monitor_incidents", 1)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
INSERT INTO monitor_incidents (id, monitor, environment, check_in, failures, opened, closed, event) VALUES ($1, $2, $3, $4, $5, $6, 0, '') ON CONFLICT DO NOTHING`,
			id, m.id, env, last, failed, lastTime)
		return err
	case well >= m.config.RecoveryThreshold:
		_, err := tx.ExecContext(ctx, "UPDATE monitor_incidents SET closed = $1 WHERE monitor = $2 AND environment = $3 AND closed = 0", lastTime, m.id, env)
		return err
	}
	return nil
}

// CheckInProgress gives the progress of all sources.
func (s *Store) CheckInProgress(ctx context.Context) (map[schemas.Source]exporters.Progress, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT source, last_offset, time FROM monitor_progress")
	if err != nil {
		return nil, fmt.Errorf("cannot read how far check-ins are applied: %w", classify(err))
	}
	defer rows.Close()
	out := make(map[schemas.Source]exporters.Progress)
	for rows.Next() {
		var source string
		var p exporters.Progress
		if err := rows.Scan(&source, &p.Offset, &p.Time); err != nil {
			return nil, fmt.Errorf("cannot read how far check-ins are applied: %w", classify(err))
		}
		n, err := strconv.ParseUint(source, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cannot read how far check-ins are applied: %w", err)
		}
		p.Source = schemas.Source(n)
		out[p.Source] = p
	}
	return out, classify(rows.Err())
}

// AdvanceMonitors marks what was missed and what timed out up to clock.
func (s *Store) AdvanceMonitors(ctx context.Context, clock int64, limit int) (more bool, err error) {
	type due struct {
		monitor int64
		env, id string
	}
	var list []due
	collect := func(query string, withID bool) error {
		rows, err := s.read.QueryContext(ctx, query, clock, limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d due
			to := []any{&d.monitor, &d.env}
			if withID {
				to = append(to, &d.id)
			}
			if err := rows.Scan(to...); err != nil {
				return err
			}
			list = append(list, d)
		}
		return rows.Err()
	}
	// Time-outs come first: they are runs that began before what is missed now.
	err = collect("SELECT monitor, environment, id FROM check_ins WHERE timeout_at > 0 AND timeout_at <= $1 ORDER BY timeout_at, monitor, id LIMIT $2", true)
	more = len(list) == limit
	if err == nil && !more {
		err = collect(`SELECT e.monitor, e.name FROM monitor_environments e JOIN monitors m ON m.id = e.monitor
WHERE e.due <= $1 AND m.status <> 'disabled' ORDER BY e.due, e.monitor, e.name LIMIT $2`, false)
	}
	for i := 0; err == nil && i < len(list); i++ {
		d := list[i]
		var left bool
		err = s.inIssueTx(ctx, func(tx issueTx) (err error) {
			left, err = advance(ctx, tx, d.monitor, d.env, d.id, clock)
			return err
		})
		more = more || left
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for check-ins that are missing: %w", classify(err))
	}
	return more || len(list) >= limit, nil
}

// advance judges one run that timed out, or the runs of an environment that are due.
func advance(ctx context.Context, tx issueTx, id int64, env, checkIn string, clock int64) (more bool, err error) {
	m := &monitorRow{id: id}
	var status, config string
	// The order of locks is that of check-ins: monitor, then environment.
	err = tx.QueryRowContext(ctx, "SELECT status, config FROM monitors WHERE id = $1"+tx.lock(), id).Scan(&status, &config)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil // deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	if err := m.read(config); err != nil {
		return false, err
	}
	var last, next, wasDue int64
	err = tx.QueryRowContext(ctx, "SELECT last, next, due FROM monitor_environments WHERE monitor = $1 AND name = $2"+tx.lock(), id, env).Scan(&last, &next, &wasDue)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if checkIn != "" {
		n, err := affected(tx.ExecContext(ctx, `UPDATE check_ins SET status = 'timeout', updated = timeout_at, timeout_at = 0
WHERE monitor = $1 AND id = $2 AND timeout_at > 0 AND timeout_at <= $3`, id, checkIn, clock))
		if err != nil || n == 0 {
			return false, err
		}
		return false, judge(ctx, tx, m, env)
	}
	if status == string(schemas.MonitorDisabled) {
		return false, nil
	}
	if next < clock-missedAtMost {
		next = m.schedule.Next(clock - missedAtMost)
	}
	slots := 0
	for ; next+m.margin() <= clock && slots < slotsAtOnce; slots++ {
		if next, err = m.slot(ctx, tx, env, next); err != nil {
			return false, err
		}
	}
	_, err = tx.ExecContext(ctx, "UPDATE monitor_environments SET next = $1, due = $2 WHERE monitor = $3 AND name = $4", next, next+m.margin(), id, env)
	return slots == slotsAtOnce, err
}

// slot judges the run that was due at a time and gives the one after it.
func (m *monitorRow) slot(ctx context.Context, tx issueTx, env string, at int64) (next int64, err error) {
	next = m.schedule.Next(at)
	early := (next - at) / 2 // a job's clock may be ahead of ours
	if !m.schedule.Interval() {
		early = min(early, m.margin())
	}
	var latest sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT MAX(time) FROM check_ins WHERE monitor = $1 AND environment = $2 AND status <> 'missed' AND time > $3 AND time <= $4",
		m.id, env, at-early, at+m.margin()).Scan(&latest); err != nil {
		return 0, err
	}
	if latest.Valid {
		if m.schedule.Interval() { // counts from the run
			return max(m.schedule.Next(latest.Int64), at+1), nil
		}
		return next, nil
	}
	if _, err := tx.ExecContext(ctx, `
INSERT INTO check_ins (monitor, id, environment, status, time, updated, timeout_at, duration, trace, release) VALUES ($1, $2, $3, 'missed', $4, $4, 0, -1, '', '') ON CONFLICT DO NOTHING`,
		m.id, missedID(m.id, env, at).String(), env, at); err != nil {
		return 0, err
	}
	return next, judge(ctx, tx, m, env)
}

// missedID names the run that did not come: the same whoever finds it.
func missedID(id int64, env string, at int64) (out schemas.EventID) {
	b := binary.BigEndian.AppendUint64(nil, uint64(id)) //nolint:gosec // its bits are all that counts
	b = binary.BigEndian.AppendUint64(b, uint64(at))    //nolint:gosec // the same
	b = append(b, env...)
	binary.BigEndian.PutUint64(out[:], xxhash.Sum64(b))
	binary.BigEndian.PutUint64(out[8:], xxhash.Sum64(append(b, 1)))
	return out
}

// UntoldIncidents lists those whose issue nobody has made yet.
func (s *Store) UntoldIncidents(ctx context.Context, limit int) ([]exporters.MonitorIncident, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT i.id, m.project, m.slug, m.name, i.environment, i.failures, i.opened, c.id, c.status, c.time, c.updated, c.duration, c.trace, c.release
FROM monitor_incidents i JOIN monitors m ON m.id = i.monitor JOIN check_ins c ON c.monitor = i.monitor AND c.id = i.check_in
WHERE i.event = '' AND m.status = 'active' ORDER BY i.id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot list the incidents of monitors: %w", classify(err))
	}
	defer rows.Close()
	var out []exporters.MonitorIncident
	for rows.Next() {
		var i exporters.MonitorIncident
		var project int64
		if err := rows.Scan(&i.ID, &project, &i.Slug, &i.Name, &i.Environment, &i.Failures, &i.Opened,
			hexInto{(*[16]byte)(&i.CheckIn.ID)}, &i.CheckIn.Status, &i.CheckIn.Time, &i.CheckIn.Updated, &i.CheckIn.Duration, hexInto{(*[16]byte)(&i.CheckIn.Trace)}, &i.CheckIn.Release); err != nil {
			return nil, fmt.Errorf("cannot read an incident of a monitor: %w", classify(err))
		}
		i.Project, i.CheckIn.Environment = uint64(project), i.Environment //nolint:gosec // the bits are kept
		out = append(out, i)
	}
	return out, classify(rows.Err())
}

// hexInto reads what hexOrNone wrote.
type hexInto struct{ to *[16]byte }

// Scan is sql.Scanner's.
func (h hexInto) Scan(v any) (err error) {
	switch t := v.(type) {
	case string:
		*h.to, err = parseHexOrNone(t)
	case []byte:
		*h.to, err = parseHexOrNone(string(t))
	default:
		err = fmt.Errorf("got a %T, want text", v)
	}
	return err
}

// IncidentTold notes that the issue was made.
func (s *Store) IncidentTold(ctx context.Context, id int64, event schemas.EventID) error {
	if _, err := s.write.ExecContext(ctx, "UPDATE monitor_incidents SET event = $1 WHERE id = $2", event.String(), id); err != nil {
		return fmt.Errorf("cannot note that incident %d was told: %w", id, classify(err))
	}
	return nil
}

// ExpireCheckIns removes old ones, and the closed incidents of that time.
func (s *Store) ExpireCheckIns(ctx context.Context, before int64, limit int) (n int, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM monitor_incidents WHERE closed > 0 AND closed < $1", before); err != nil {
			return err
		}
		removed, err := affected(tx.ExecContext(ctx, `
DELETE FROM check_ins WHERE time < $1 AND (monitor, id) IN (SELECT monitor, id FROM check_ins WHERE time < $1 ORDER BY time LIMIT $2)`, before, limit))
		n = int(removed)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot remove old check-ins: %w", classify(err))
	}
	return n, nil
}

// Monitors lists a project's.
func (s *Store) Monitors(ctx context.Context, project uint64) ([]schemas.Monitor, error) {
	out, err := s.monitors(ctx, "m.project = $1", projectArg(project))
	if err != nil {
		return nil, fmt.Errorf("cannot list the monitors of project %d: %w", project, classify(err))
	}
	return out, nil
}

// Monitor finds one.
func (s *Store) Monitor(ctx context.Context, project uint64, slug string) (schemas.Monitor, error) {
	out, err := s.monitors(ctx, "m.project = $1 AND m.slug = $2", projectArg(project), text(slug))
	if err == nil && len(out) == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return schemas.Monitor{}, fmt.Errorf("cannot find monitor %.64q of project %d: %w", slug, project, classify(err))
	}
	return out[0], nil
}

func (s *Store) monitors(ctx context.Context, where string, args ...any) ([]schemas.Monitor, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT m.id, m.project, m.slug, m.name, m.status, m.config, m.created, e.name, e.status, e.last, e.next, i.event
FROM monitors m LEFT JOIN monitor_environments e ON e.monitor = m.id
LEFT JOIN monitor_incidents i ON i.monitor = m.id AND i.environment = e.name AND i.closed = 0
WHERE `+where+" ORDER BY m.slug, e.name", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schemas.Monitor
	for rows.Next() {
		var m schemas.Monitor
		var id, project int64
		var config string
		var env, status, event sql.NullString
		var last, next sql.NullInt64
		if err := rows.Scan(&id, &project, &m.Slug, &m.Name, &m.Status, &config, &m.Created, &env, &status, &last, &next, &event); err != nil {
			return nil, err
		}
		if m.ID = uint64(id); len(out) == 0 || out[len(out)-1].ID != m.ID { //nolint:gosec // made positive
			m.Project = uint64(project) //nolint:gosec // the bits are kept
			if err := json.Unmarshal([]byte(config), &m.Config); err != nil {
				return nil, fmt.Errorf("monitor %d: %w", m.ID, err)
			}
			out = append(out, m)
		}
		if env.Valid {
			e := schemas.MonitorEnvironment{Name: env.String, Status: schemas.CheckInStatus(status.String), Last: last.Int64, Next: next.Int64, Failing: event.Valid}
			if e.Event, err = parseHexOrNone(event.String); err != nil {
				return nil, err
			}
			to := &out[len(out)-1]
			to.Environments = append(to.Environments, e)
		}
	}
	return out, rows.Err()
}

func checkMonitor(m *schemas.Monitor) error {
	var errs []error
	if m.Slug == "" || m.Slug != monitor.Slug(m.Slug) {
		errs = append(errs, fmt.Errorf("slug: want 1 to 50 of a-z, 0-9, hyphens and underscores, got %.80q", m.Slug))
	}
	if m.Status != schemas.MonitorActive && m.Status != schemas.MonitorMuted && m.Status != schemas.MonitorDisabled {
		errs = append(errs, fmt.Errorf("status: want active, muted or disabled, got %.80q", m.Status))
	}
	if _, err := monitor.Parse(m.Config); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", exporters.ErrInvalid, err)
	}
	return nil
}

// CreateMonitor makes one.
func (s *Store) CreateMonitor(ctx context.Context, m schemas.Monitor) (schemas.Monitor, error) {
	if m.Name == "" {
		m.Name = m.Slug
	}
	if err := checkMonitor(&m); err != nil {
		return schemas.Monitor{}, fmt.Errorf("cannot make the monitor: %w", err)
	}
	err := s.inIssueTx(ctx, func(tx issueTx) error {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitors WHERE project = $1 AND slug = $2", projectArg(m.Project), m.Slug).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return exporters.ErrExists
		}
		_, err := insertMonitor(ctx, tx, m)
		return err
	})
	if err != nil {
		return schemas.Monitor{}, fmt.Errorf("cannot make monitor %q: %w", m.Slug, classify(err))
	}
	return s.Monitor(ctx, m.Project, m.Slug)
}

// UpdateMonitor changes one.
func (s *Store) UpdateMonitor(ctx context.Context, m schemas.Monitor, now int64) (schemas.Monitor, error) {
	if err := checkMonitor(&m); err != nil {
		return schemas.Monitor{}, fmt.Errorf("cannot change the monitor: %w", err)
	}
	err := s.inIssueTx(ctx, func(tx issueTx) error {
		row := &monitorRow{config: m.Config}
		var status, config string
		err := tx.QueryRowContext(ctx, "SELECT id, status, config FROM monitors WHERE project = $1 AND slug = $2"+tx.lock(), projectArg(m.Project), m.Slug).Scan(&row.id, &status, &config)
		if errors.Is(err, sql.ErrNoRows) {
			return exporters.ErrNotFound
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE monitors SET name = $1, status = $2 WHERE id = $3", clip(text(m.Name)), string(m.Status), row.id); err != nil {
			return err
		}
		var old schemas.MonitorConfig
		if err := json.Unmarshal([]byte(config), &old); err != nil {
			return err
		}
		if old == m.Config && (status != string(schemas.MonitorDisabled) || m.Status == schemas.MonitorDisabled) {
			return nil
		}
		if row.schedule, err = monitor.Parse(m.Config); err != nil {
			return err
		}
		return setConfig(ctx, tx, row, now)
	})
	if err != nil {
		return schemas.Monitor{}, fmt.Errorf("cannot change monitor %q: %w", m.Slug, classify(err))
	}
	return s.Monitor(ctx, m.Project, m.Slug)
}

// DeleteMonitor forgets one.
func (s *Store) DeleteMonitor(ctx context.Context, project uint64, slug string) error {
	n, err := affected(s.write.ExecContext(ctx, "DELETE FROM monitors WHERE project = $1 AND slug = $2", projectArg(project), text(slug)))
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot delete monitor %.64q of project %d: %w", slug, project, classify(err))
	}
	return nil
}

// CheckIns lists those of a monitor.
func (s *Store) CheckIns(ctx context.Context, project uint64, slug, environment string, before int64, beforeID schemas.EventID, limit int) ([]schemas.CheckIn, error) {
	var a args
	where := "m.project = " + a.add(projectArg(project)) + " AND m.slug = " + a.add(text(slug))
	if environment != "" {
		where += " AND c.environment = " + a.add(text(environment))
	}
	if before != 0 {
		at := a.add(before)
		where += " AND (c.time < " + at + " OR c.time = " + at + " AND c.id < " + a.add(beforeID.String()) + ")"
	}
	rows, err := s.read.QueryContext(ctx, `
SELECT c.id, c.environment, c.status, c.time, c.updated, c.duration, c.trace, c.release FROM check_ins c JOIN monitors m ON m.id = c.monitor
WHERE `+where+" ORDER BY c.time DESC, c.id DESC LIMIT "+a.add(min(max(limit, 1), 500)), a...)
	if err != nil {
		return nil, fmt.Errorf("cannot list the check-ins of monitor %.64q: %w", slug, classify(err))
	}
	defer rows.Close()
	var out []schemas.CheckIn
	for rows.Next() {
		var c schemas.CheckIn
		if err := rows.Scan(hexInto{(*[16]byte)(&c.ID)}, &c.Environment, &c.Status, &c.Time, &c.Updated, &c.Duration, hexInto{(*[16]byte)(&c.Trace)}, &c.Release); err != nil {
			return nil, fmt.Errorf("cannot read a check-in of monitor %.64q: %w", slug, classify(err))
		}
		out = append(out, c)
	}
	return out, classify(rows.Err())
}
