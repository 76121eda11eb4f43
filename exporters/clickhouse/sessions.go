package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	_ exporters.SessionWriter = (*Store)(nil)
	_ exporters.SessionReader = (*Store)(nil)
)

// sessionColumns holds one batch of sessions. Its memory is reused.
type sessionColumns struct {
	input  proto.Input
	insert string

	project, seq, user           proto.ColUInt64
	id                           proto.ColFixedStr16
	release, environment, status lowCard
	time                         *proto.ColDateTime64
	received, duration           proto.ColInt64
	errors, quantity             proto.ColUInt32
	first                        proto.ColUInt8
	source                       proto.ColUInt64
	sourceOffset                 proto.ColInt64
	sourceIndex                  proto.ColUInt32
}

func newSessionColumns() *sessionColumns {
	c := &sessionColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "id", Data: &c.id},
		{Name: "seq", Data: &c.seq},
		{Name: "release", Data: &c.release},
		{Name: "environment", Data: &c.environment},
		{Name: "time", Data: c.time},
		{Name: "received", Data: &c.received},
		{Name: "status", Data: &c.status},
		{Name: "errors", Data: &c.errors},
		{Name: "duration", Data: &c.duration},
		{Name: "user", Data: &c.user},
		{Name: "init", Data: &c.first},
		{Name: "quantity", Data: &c.quantity},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("sessions", c.input)
	return c
}

// WriteSessions stores sessions as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteSessions(ctx context.Context, sessions []schemas.Session) error {
	if len(sessions) == 0 {
		return nil
	}
	if len(sessions) > maxBatchRows {
		return fmt.Errorf("cannot write %d sessions, at most %d: %w", len(sessions), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range sessions {
		days.add(sessions[i].Started)
	}
	if err := days.check("sessions", len(sessions)); err != nil {
		return err
	}
	c := s.sessionColumns.get()
	defer func() { reset(c.input); s.sessionColumns.put(c) }()
	for i := range sessions {
		e := &sessions[i]
		c.project.Append(e.Project)
		c.id.Append(e.ID)
		c.seq.Append(e.Seq)
		c.release.Append(e.Release)
		c.environment.Append(e.Environment)
		c.time.AppendRaw(proto.DateTime64(e.Started))
		c.received.Append(e.Received)
		c.status.Append(string(e.Status))
		c.errors.Append(e.Errors)
		c.duration.Append(e.Duration)
		c.user.Append(e.User)
		c.first.Append(bit(e.Init))
		c.quantity.Append(e.Quantity)
		c.source.Append(uint64(e.Source))
		c.sourceOffset.Append(e.Position.Offset)
		c.sourceIndex.Append(e.Position.Index)
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d sessions: %w", len(sessions), err)
	}
	return nil
}

// sessionSums are the counts of SessionCounts, in its order.
const sessionSums = `sum(quantity) AS total, sumIf(quantity, status = 'crashed') AS crashed, sumIf(quantity, status = 'abnormal') AS abnormal,
	sumIf(quantity, status = 'unhandled') AS unhandled, sumIf(quantity, status = 'errored' OR errors > 0 AND status IN ('ok', 'exited')) AS errored,
	uniqExactIf(user, user != 0) AS users, uniqExactIf(user, user != 0 AND status = 'crashed') AS crashed_users`

// sessionResults hold a block of counts.
type sessionResults [7]proto.ColUInt64

func (c *sessionResults) results() proto.Results {
	out := make(proto.Results, 0, len(c))
	for i, name := range []string{"total", "crashed", "abnormal", "unhandled", "errored", "users", "crashed_users"} {
		out = append(out, proto.ResultColumn{Name: name, Data: &c[i]})
	}
	return out
}

func (c *sessionResults) row(i int) exporters.SessionCounts {
	return exporters.SessionCounts{Sessions: c[0][i], Crashed: c[1][i], Abnormal: c[2][i], Unhandled: c[3][i], Errored: c[4][i], Users: c[5][i], CrashedUsers: c[6][i]}
}

func sessionsWhere(ps *params, q *exporters.SessionQuery) string {
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	where := "project = {project:UInt64} AND " + inStretch
	if q.Environment != "" {
		ps.text("environment", q.Environment)
		where += " AND environment = {environment:String}"
	}
	if q.Release != "" {
		ps.text("release", q.Release)
		where += " AND release = {release:String}"
	}
	return where
}

// ReleaseHealth gives the releases with sessions.
func (s *Store) ReleaseHealth(ctx context.Context, q exporters.SessionQuery) ([]exporters.ReleaseHealth, exporters.SessionCounts, error) {
	var ps params
	where := sessionsWhere(&ps, &q)
	var counts sessionResults
	var all exporters.SessionCounts
	err := s.query(ctx, "SELECT "+sessionSums+" FROM sessions FINAL WHERE "+where, ps, counts.results(),
		func() { all = exporters.SessionCounts{} },
		func() {
			for i := range counts[0] {
				all = counts.row(i)
			}
		})
	if err != nil {
		return nil, all, fmt.Errorf("cannot count sessions: %w", err)
	}
	ps.int("limit", limited(q.Limit, 50, 500))
	release := lowCardResult()
	var out []exporters.ReleaseHealth
	err = s.query(ctx, "SELECT release, "+sessionSums+" FROM sessions FINAL WHERE "+where+" GROUP BY release ORDER BY max(time) DESC, release LIMIT {limit:UInt64}", ps,
		append(proto.Results{{Name: "release", Data: release}}, counts.results()...),
		func() { out = out[:0] },
		func() {
			for i := range counts[0] {
				out = append(out, exporters.ReleaseHealth{Release: release.Row(i), SessionCounts: counts.row(i)})
			}
		})
	if err != nil {
		return nil, all, fmt.Errorf("cannot count the sessions of releases: %w", err)
	}
	if len(out) == 0 {
		return out, all, nil
	}
	return out, all, s.sessionTimes(ctx, q.Project, out)
}

// sessionTimes fills in when sessions of releases started first and last.
func (s *Store) sessionTimes(ctx context.Context, project uint64, of []exporters.ReleaseHealth) error {
	at := make(map[string]int, len(of))
	for i := range of {
		at[of[i].Release] = i
	}
	var ps params
	ps.uint("project", project)
	list(&ps, "releases", of, func(b *strings.Builder, r exporters.ReleaseHealth) { literal(b, r.Release) })
	release := lowCardResult()
	var first, last proto.ColInt64
	err := s.query(ctx, `SELECT release, toUnixTimestamp64Nano(min(time)) AS first, toUnixTimestamp64Nano(max(time)) AS last FROM sessions
WHERE project = {project:UInt64} AND release IN ({releases:Array(String)}) GROUP BY release`, ps,
		proto.Results{{Name: "release", Data: release}, {Name: "first", Data: &first}, {Name: "last", Data: &last}},
		func() {},
		func() {
			for i := range first {
				if k, ok := at[release.Row(i)]; ok {
					of[k].FirstSeen, of[k].LastSeen = first[i], last[i]
				}
			}
		})
	if err != nil {
		return fmt.Errorf("cannot tell when releases were seen: %w", err)
	}
	return nil
}

// HealthOverTime gives the steps that have sessions.
func (s *Store) HealthOverTime(ctx context.Context, q exporters.SessionQuery, step time.Duration) ([]exporters.HealthPoint, error) {
	if step < time.Minute || step%time.Minute != 0 {
		return nil, fmt.Errorf("cannot count sessions by %v: want whole minutes", step)
	}
	from, to := nanos(q.Range)
	if (to-from)/int64(step) > exporters.MaxHealthPoints {
		return nil, fmt.Errorf("cannot count sessions in more than %d steps of %v: %w", exporters.MaxHealthPoints, step, exporters.ErrTooLarge)
	}
	var ps params
	where := sessionsWhere(&ps, &q)
	ps.int("step", int64(step/time.Second))
	ps.int("limit", exporters.MaxHealthPoints+2)
	var counts sessionResults
	var at proto.ColInt64
	var out []exporters.HealthPoint
	err := s.query(ctx, "SELECT intDiv(toInt64(toUnixTimestamp(toDateTime(time, 'UTC'))), {step:Int64}) * {step:Int64} AS at, "+sessionSums+" FROM sessions FINAL WHERE "+where+
		" GROUP BY at ORDER BY at LIMIT {limit:UInt64}", ps,
		append(proto.Results{{Name: "at", Data: &at}}, counts.results()...),
		func() { out = out[:0] },
		func() {
			for i := range at {
				out = append(out, exporters.HealthPoint{Time: at[i] * int64(time.Second), SessionCounts: counts.row(i)})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot count sessions over time: %w", err)
	}
	return out, nil
}
