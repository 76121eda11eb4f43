package metadata

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
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
	changed  bool // by the update that is applied
}

func (m *monitorRow) margin() int64  { return m.schedule.Margin() }
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
func (s *Store) ApplyCheckIns(ctx context.Context, updates []exporters.CheckInUpdate, progress []exporters.Progress) (out []error, revived []exporters.CheckInUpdate, err error) {
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		out, revived = make([]error, len(updates)), nil
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
				if out[i], err = refusalOf(ctx, tx, &updates[i]); err != nil {
					return err
				}
				continue
			}
			u := &updates[i]
			refusal, err := applyCheckIn(ctx, tx, u)
			if err != nil {
				return err
			}
			out[i] = refusal
			switch {
			case errors.Is(refusal, exporters.ErrNoMonitor):
				err = hold(ctx, tx, u)
			case refusal == nil && u.Config != nil:
				var found []exporters.CheckInUpdate
				found, err = revive(ctx, tx, u)
				revived = append(revived, found...)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot apply %d check-ins: %w", len(updates), classify(err))
	}
	return out, revived, nil
}

// refusalOf tells of an update that comes again why it was left out, if it was: a crash
// may have come before that was counted.
func refusalOf(ctx context.Context, tx issueTx, u *exporters.CheckInUpdate) (refusal, err error) {
	var status string
	err = tx.QueryRowContext(ctx, "SELECT status FROM monitors WHERE project = $1 AND slug = $2", projectArg(u.Project), u.Slug).Scan(&status)
	switch {
	case errors.Is(err, sql.ErrNoRows) && u.Config != nil:
		return exporters.ErrTooManyMonitors, nil
	case errors.Is(err, sql.ErrNoRows):
		return exporters.ErrNoMonitor, nil
	case status == string(schemas.MonitorDisabled):
		return exporters.ErrMonitorDisabled, err
	}
	return nil, err
}

func sourceText(s schemas.Source) string { return strconv.FormatUint(uint64(s), 10) }

func applyCheckIn(ctx context.Context, tx issueTx, u *exporters.CheckInUpdate) (refusal, err error) {
	m, refusal, err := monitorOf(ctx, tx, u)
	if refusal != nil || err != nil {
		return refusal, err
	}
	env := clip(text(u.Environment))
	if u.ID != (schemas.EventID{}) { // a run stays where it began
		err := tx.QueryRowContext(ctx, "SELECT environment FROM check_ins WHERE monitor = $1 AND id = $2", m.id, u.ID.String()).Scan(&env)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
	}
	// The row of the environment is the lock of its check-ins.
	var known int64
	err = tx.QueryRowContext(ctx, "SELECT 1 FROM monitor_environments WHERE monitor = $1 AND name = $2"+tx.lock(), m.id, env).Scan(&known)
	if errors.Is(err, sql.ErrNoRows) {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitor_environments WHERE monitor = $1", m.id).Scan(&n); err != nil {
			return nil, err
		}
		if n >= exporters.MaxMonitorEnvironments {
			return exporters.ErrTooManyEnvirons, nil
		}
		next, taken := m.schedule.First(u.Received)
		_, err = tx.ExecContext(ctx, "INSERT INTO monitor_environments (monitor, name, status, last, next, due, taken) VALUES ($1, $2, '', 0, $3, $4, $5)", m.id, env, next, next+m.margin(), taken)
	} else if err == nil && m.changed {
		next, taken := m.schedule.First(u.Received)
		err = setNext(ctx, tx, m, env, next, taken)
	}
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE monitor_environments SET last = $1 WHERE monitor = $2 AND name = $3 AND last < $1", u.Received, m.id, env); err != nil {
		return nil, err
	}
	over, err := putCheckIn(ctx, tx, m, env, u)
	if err != nil || over == nil {
		return nil, err
	}
	return nil, judge(ctx, tx, m, env, *over)
}

func setNext(ctx context.Context, tx issueTx, m *monitorRow, env string, next, taken int64) error {
	_, err := tx.ExecContext(ctx, "UPDATE monitor_environments SET next = $1, due = $2, taken = $3 WHERE monitor = $4 AND name = $5", next, next+m.margin(), taken, m.id, env)
	return err
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
		m.config, m.changed = *u.Config, true
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
	if _, err = tx.ExecContext(ctx, "UPDATE monitor_environments SET next = $1, due = $2 WHERE monitor = $3", next, next+m.margin(), m.id); err == nil && m.schedule.Interval() {
		_, err = tx.ExecContext(ctx, "UPDATE monitor_environments SET taken = $1 WHERE monitor = $2", now, m.id)
	}
	return err
}

// run is one that is over.
type run struct {
	id     string
	time   int64 // Unix ns, when it began or was due
	failed bool
	status string
}

// putCheckIn stores what an update says of a run, and gives the run when that made it
// end.
func putCheckIn(ctx context.Context, tx issueTx, m *monitorRow, env string, u *exporters.CheckInUpdate) (over *run, err error) {
	id, where := u.ID.String(), "id = $2"
	arg := any(id)
	if u.ID == (schemas.EventID{}) {
		id, where, arg = u.NewID.String(), "environment = $2 AND status = 'in_progress' ORDER BY time DESC, id DESC LIMIT 1", env
		if u.Status == schemas.CheckInInProgress {
			where, arg = "id = $2", id // a new run
		}
	}
	var found, status string
	var at, timeoutAt int64
	err = tx.QueryRowContext(ctx, "SELECT id, status, time, timeout_at FROM check_ins WHERE monitor = $1 AND "+where, m.id, arg).Scan(&found, &status, &at, &timeoutAt)
	until := int64(0)
	if u.Status == schemas.CheckInInProgress {
		until = u.Received + m.runtime()
	}
	end := func(id string, at int64, status schemas.CheckInStatus) *run {
		if status == schemas.CheckInInProgress {
			return nil
		}
		return &run{id, at, status.Failed(), string(status)}
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.ExecContext(ctx, `
INSERT INTO check_ins (monitor, id, environment, status, time, updated, timeout_at, duration, trace, release) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)`,
			m.id, id, env, string(u.Status), u.Received, until, u.Duration, hexOrNone(u.Trace), clip(text(u.Release)))
		return end(id, u.Received, u.Status), err
	case err != nil:
		return nil, err
	case status == string(schemas.CheckInTimeout): // it stays one; how long it took is worth knowing
		_, err = tx.ExecContext(ctx, "UPDATE check_ins SET duration = $1 WHERE monitor = $2 AND id = $3 AND duration < 0", u.Duration, m.id, found)
		return nil, err
	case status != string(schemas.CheckInInProgress):
		return nil, nil // it is over
	case u.Received > timeoutAt:
		_, err = tx.ExecContext(ctx, "UPDATE check_ins SET status = 'timeout', updated = timeout_at, timeout_at = 0, duration = $1 WHERE monitor = $2 AND id = $3", u.Duration, m.id, found)
		return end(found, at, schemas.CheckInTimeout), err
	}
	_, err = tx.ExecContext(ctx, "UPDATE check_ins SET status = $1, updated = $2, timeout_at = $3, duration = CASE WHEN CAST($4 AS BIGINT) >= 0 THEN CAST($4 AS BIGINT) ELSE duration END WHERE monitor = $5 AND id = $6",
		string(u.Status), u.Received, until, u.Duration, m.id, found)
	return end(found, at, u.Status), err
}

// aheadAtMost bounds the runs after one that are looked at when it ends: those that
// ended before the clock came to it.
const aheadAtMost = 2 * monitor.MaxThreshold

// judge opens or closes an incident by a run that is over now. Others that began later
// may be over already, as what is missed is found out late: the incidents are those that
// would be if all had ended in the order in which they began.
func judge(ctx context.Context, tx issueTx, m *monitorRow, env string, over run) error {
	before, err := runsBeside(ctx, tx, m, env, over, false, max(m.config.FailureThreshold, m.config.RecoveryThreshold)-1)
	if err != nil {
		return err
	}
	after, err := runsBeside(ctx, tx, m, env, over, true, aheadAtMost)
	if err != nil {
		return err
	}
	slices.Reverse(before)
	start := len(before)
	runs := append(append(before, over), after...)
	if len(after) < aheadAtMost {
		if _, err := tx.ExecContext(ctx, "UPDATE monitor_environments SET status = $1 WHERE monitor = $2 AND name = $3", runs[len(runs)-1].status, m.id, env); err != nil {
			return err
		}
	}
	// The runs beside it that ended alike.
	end := start
	for start > 0 && runs[start-1].failed == over.failed {
		start--
	}
	for end+1 < len(runs) && runs[end+1].failed == over.failed {
		end++
	}
	if !over.failed {
		if end-start+1 < int(m.config.RecoveryThreshold) {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE monitor_incidents SET closed = $1 WHERE monitor = $2 AND environment = $3 AND closed = 0 AND opened <= $4",
			runs[start+int(m.config.RecoveryThreshold)-1].time, m.id, env, runs[start].time)
		return err
	}
	if end-start+1 < int(m.config.FailureThreshold) {
		return nil
	}
	at := start + int(m.config.FailureThreshold) - 1
	var closed, well int64
	until := int64(math.MaxInt64) // the end of the incident
	for i := at + 1; i < len(runs) && closed == 0; i++ {
		if well++; runs[i].failed {
			well = 0
		}
		if well == m.config.RecoveryThreshold {
			closed, until = runs[i].time, runs[i].time
		}
	}
	// One that began before and goes on, or that began later and is the same.
	var there int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM monitor_incidents WHERE monitor = $1 AND environment = $2 AND opened < $3 AND (closed = 0 OR closed > $4)",
		m.id, env, until, runs[start].time).Scan(&there); err != nil || there > 0 {
		return err
	}
	id, err := take(ctx, tx, "monitor_incidents", 1)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `
INSERT INTO monitor_incidents (id, monitor, environment, check_in, failures, opened, closed, event) VALUES ($1, $2, $3, $4, $5, $6, $7, '') ON CONFLICT DO NOTHING`,
		id, m.id, env, runs[at].id, m.config.FailureThreshold, runs[at].time, closed)
	return err
}

// runsBeside gives those that are over and began before a run, or after it, the nearest
// first.
func runsBeside(ctx context.Context, tx issueTx, m *monitorRow, env string, of run, after bool, limit int64) ([]run, error) {
	if limit <= 0 {
		return nil, nil
	}
	query := "SELECT id, status, time FROM check_ins WHERE monitor = $1 AND environment = $2 AND status <> 'in_progress' AND (time < $3 OR time = $3 AND id < $4) ORDER BY time DESC, id DESC LIMIT $5"
	if after {
		query = "SELECT id, status, time FROM check_ins WHERE monitor = $1 AND environment = $2 AND status <> 'in_progress' AND (time > $3 OR time = $3 AND id > $4) ORDER BY time, id LIMIT $5"
	}
	rows, err := tx.QueryContext(ctx, query, m.id, env, of.time, of.id, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []run
	for rows.Next() {
		var r run
		if err := rows.Scan(&r.id, &r.status, &r.time); err != nil {
			return nil, err
		}
		r.failed = schemas.CheckInStatus(r.status).Failed()
		out = append(out, r)
	}
	return out, rows.Err()
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
	var next, taken int64
	err = tx.QueryRowContext(ctx, "SELECT next, taken FROM monitor_environments WHERE monitor = $1 AND name = $2"+tx.lock(), id, env).Scan(&next, &taken)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if checkIn != "" {
		over := run{id: checkIn, failed: true, status: string(schemas.CheckInTimeout)}
		err := tx.QueryRowContext(ctx, `UPDATE check_ins SET status = 'timeout', updated = timeout_at, timeout_at = 0
WHERE monitor = $1 AND id = $2 AND timeout_at > 0 AND timeout_at <= $3 RETURNING time`, id, checkIn, clock).Scan(&over.time)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return false, judge(ctx, tx, m, env, over)
	}
	if status == string(schemas.MonitorDisabled) {
		return false, nil
	}
	if oldest := clock - missedAtMost - m.margin(); next < oldest {
		if next = oldest; !m.schedule.Interval() {
			next = m.schedule.Next(oldest)
		}
	}
	slots := 0
	for ; next+m.margin() <= clock && slots < slotsAtOnce; slots++ {
		if next, taken, err = m.slot(ctx, tx, env, next, taken); err != nil {
			return false, err
		}
	}
	return slots == slotsAtOnce, setNext(ctx, tx, m, env, next, taken)
}

// slot judges the run that was due at a time, and gives the one after it and the last
// check-in that stands for one; taken is the last before. See package monitor.
func (m *monitorRow) slot(ctx context.Context, tx issueTx, env string, at, taken int64) (next, by int64, err error) {
	from, which := taken, "MAX"
	if next = m.schedule.Next(at); !m.schedule.Interval() {
		from, which = max(taken, at-m.schedule.Early(at)-1), "MIN"
	}
	var found sql.NullInt64
	if err := tx.QueryRowContext(ctx, "SELECT "+which+"(time) FROM check_ins WHERE monitor = $1 AND environment = $2 AND status <> 'missed' AND time > $3 AND time < $4",
		m.id, env, from, at+m.margin()).Scan(&found); err != nil {
		return 0, 0, err
	}
	if found.Valid {
		if m.schedule.Interval() { // counts from the run
			next = max(m.schedule.Next(found.Int64), at+1)
		}
		return next, found.Int64, nil
	}
	over := run{id: missedID(m.id, env, at).String(), time: at, failed: true, status: string(schemas.CheckInMissed)}
	if _, err := tx.ExecContext(ctx, `
INSERT INTO check_ins (monitor, id, environment, status, time, updated, timeout_at, duration, trace, release) VALUES ($1, $2, $3, 'missed', $4, $5, 0, -1, '', '') ON CONFLICT DO NOTHING`,
		m.id, over.id, env, at, at+m.margin()); err != nil {
		return 0, 0, err
	}
	return next, taken, judge(ctx, tx, m, env, over)
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
WHERE i.event = '' AND m.status = 'active'
AND NOT EXISTS (SELECT 1 FROM monitor_incidents b JOIN check_ins d ON d.monitor = b.monitor AND d.id = b.check_in WHERE b.monitor = i.monitor AND b.environment = i.environment AND b.event = '' AND b.id < i.id)
ORDER BY i.id LIMIT $1`, limit)
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
func (s *Store) IncidentTold(ctx context.Context, id int64, event schemas.EventID, hash schemas.Fingerprint) error {
	by := ""
	if hash != (schemas.Fingerprint{}) {
		by = hash.String()
	}
	if _, err := s.write.ExecContext(ctx, "UPDATE monitor_incidents SET event = $1, hash = $2 WHERE id = $3", event.String(), by, id); err != nil {
		return fmt.Errorf("cannot note that incident %d was told: %w", id, classify(err))
	}
	return nil
}

// ResolveIncidents resolves the issues of what is over.
func (s *Store) ResolveIncidents(ctx context.Context, now time.Time, limit int) (n int, err error) {
	list, err := func() (list []int64, err error) {
		rows, err := s.read.QueryContext(ctx, `
SELECT i.id FROM monitor_incidents i JOIN monitors m ON m.id = i.monitor
WHERE i.closed > 0 AND i.resolved = 0 AND i.event <> '' AND m.status = 'active' ORDER BY i.id LIMIT $1`, limit)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var id int64
			if err := rows.Scan(&id); err != nil {
				return nil, err
			}
			list = append(list, id)
		}
		return list, rows.Err()
	}()
	if err != nil {
		return 0, fmt.Errorf("cannot list incidents of monitors that are over: %w", classify(err))
	}
	for _, id := range list {
		err := errMoved
		for try := 0; try < attempts && errors.Is(err, errMoved); try++ {
			err = s.inIssueTx(ctx, func(tx issueTx) error { return resolveIncident(ctx, tx, id, now) })
		}
		if errors.Is(err, errMoved) {
			err = fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
		}
		if err != nil {
			return n, fmt.Errorf("cannot resolve the issue of incident %d: %w", id, classify(err))
		}
		n++
	}
	return n, nil
}

// resolveIncident sees to one, in the transaction that notes it.
func resolveIncident(ctx context.Context, tx issueTx, id int64, now time.Time) error {
	n, err := affected(tx.ExecContext(ctx, "UPDATE monitor_incidents SET resolved = $1 WHERE id = $2 AND closed > 0 AND resolved = 0", now.UnixNano(), id))
	if err != nil || n == 0 {
		return err // another process was faster, or the monitor was deleted
	}
	var project, at int64
	var slug, env, hash string
	// The event of what was found out late has a later time than the run that went well.
	err = tx.QueryRowContext(ctx, `
SELECT m.project, m.slug, i.environment, i.hash, CASE WHEN c.updated > i.closed THEN c.updated ELSE i.closed END
FROM monitor_incidents i JOIN monitors m ON m.id = i.monitor JOIN check_ins c ON c.monitor = i.monitor AND c.id = i.check_in WHERE i.id = $1`, id).
		Scan(&project, &slug, &env, &hash, &at)
	if errors.Is(err, sql.ErrNoRows) || err == nil && hash == "" {
		return nil // it has expired, or no issue came of it
	}
	if err != nil {
		return err
	}
	issueOf := func() (issue int64, err error) {
		err = tx.QueryRowContext(ctx, "SELECT issue FROM issue_hashes WHERE project = $1 AND hash = $2", project, hash).Scan(&issue)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return issue, err
	}
	issue, err := issueOf()
	if err != nil || issue == 0 {
		return err
	}
	rows, err := lockIssues(ctx, tx, []schemas.IssueID{schemas.IssueID(issue)}) //nolint:gosec // made positive
	if err != nil {
		return err
	}
	if again, err := issueOf(); err != nil {
		return err
	} else if again != issue || len(rows) == 1 && rows[0].MergedInto != 0 {
		return errMoved
	}
	if len(rows) == 0 || rows[0].deleted != 0 || rows[0].Category != exporters.MonitorIssues {
		return nil
	}
	var others int64
	err = tx.QueryRowContext(ctx, `
SELECT COUNT(*) FROM monitor_incidents i JOIN monitors m ON m.id = i.monitor JOIN issue_hashes h ON h.project = m.project AND h.hash = i.hash
WHERE i.closed = 0 AND i.hash <> '' AND h.project = $1 AND h.issue = $2`, project, issue).Scan(&others)
	if err != nil || others > 0 {
		return err
	}
	next, change, changed := issuestate.Recovered(rows[0].IssueState, at, slug, env)
	if !changed {
		return nil
	}
	rows[0].IssueState = next
	if err := updateIssues(ctx, tx, []*issueRow{&rows[0]}); err != nil {
		return err
	}
	return addActivity(ctx, tx, []activityRow{{issue: rows[0].ID, change: change, at: now}})
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
		if status != string(schemas.MonitorActive) && m.Status == schemas.MonitorActive {
			// What began and ended while nobody wanted to hear of it is not told now.
			if _, err := tx.ExecContext(ctx, "DELETE FROM monitor_incidents WHERE monitor = $1 AND closed > 0 AND event = ''", row.id); err != nil {
				return err
			}
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
