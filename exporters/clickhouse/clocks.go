package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/clocktrack"
	"github.com/hoptrace/hoptrace/schemas"
)

var (
	_ exporters.ClockWriter = (*Store)(nil)
	_ exporters.ClockReader = (*Store)(nil)
)

// clockCell is how long a cell is, ns.
const clockCell = 10_000_000_000

const (
	maxClockTimes = 10_000
	maxClockRows  = 200_000
	// maxNamedTimes is maxNamed of the times around a few hops.
	maxNamedTimes = 256
)

// clockColumns holds one batch of cells. Its memory is reused.
type clockColumns struct {
	input  proto.Input
	insert string

	project               proto.ColUInt64
	host, broker, cluster lowCard
	node                  proto.ColInt32
	origin                proto.ColUInt8
	time                  *proto.ColDateTime64
	low, high             [3]proto.ColInt64
	seconds               proto.ColUInt16
	first, last           proto.ColInt64
	name, service         proto.ColStr
}

func newClockColumns() *clockColumns {
	c := &clockColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "host", Data: &c.host},
		{Name: "broker", Data: &c.broker},
		{Name: "cluster", Data: &c.cluster},
		{Name: "node", Data: &c.node},
		{Name: "origin", Data: &c.origin},
		{Name: "time", Data: c.time},
		{Name: "low_begin", Data: &c.low[0]},
		{Name: "low_middle", Data: &c.low[1]},
		{Name: "low_end", Data: &c.low[2]},
		{Name: "high_begin", Data: &c.high[0]},
		{Name: "high_middle", Data: &c.high[1]},
		{Name: "high_end", Data: &c.high[2]},
		{Name: "seconds", Data: &c.seconds},
		{Name: "first", Data: &c.first},
		{Name: "last", Data: &c.last},
		{Name: "name", Data: &c.name},
		{Name: "service", Data: &c.service},
	}
	c.insert = insertText("clock_intervals", c.input)
	return c
}

// WriteClocks stores cells as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteClocks(ctx context.Context, cells []schemas.ClockCell) error {
	if len(cells) == 0 {
		return nil
	}
	if len(cells) > maxBatchRows {
		return fmt.Errorf("cannot write %d intervals of clocks, at most %d: %w", len(cells), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range cells {
		days.add(cells[i].Time)
	}
	if err := days.check("intervals of clocks", len(cells)); err != nil {
		return err
	}
	c := s.clockColumns.get()
	defer func() { reset(c.input); s.clockColumns.put(c) }()
	for i := range cells {
		e := &cells[i]
		c.project.Append(e.Project)
		c.host.Append(e.Host)
		c.broker.Append(e.Broker)
		c.cluster.Append(e.Cluster)
		c.node.Append(e.Node)
		c.origin.Append(uint8(e.Origin))
		c.time.AppendRaw(proto.DateTime64(e.Time))
		for k := range e.Low {
			c.low[k].Append(e.Low[k])
			c.high[k].Append(e.High[k])
		}
		c.seconds.Append(e.Seconds)
		c.first.Append(e.First)
		c.last.Append(e.Last)
		c.name.Append(e.Name)
		c.service.Append(e.Service)
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d intervals of clocks: %w", len(cells), err)
	}
	return nil
}

// clockOwn are the rows of a project and those of beacons.
const clockOwn = "project IN ({project:UInt64}, 0)"

// ClockCells gives merged cells.
func (s *Store) ClockCells(ctx context.Context, q exporters.ClockQuery) ([]schemas.ClockCell, error) {
	if err := errors.Join(atMost("hosts", len(q.Hosts), maxRecords), atMost("times", len(q.Times), maxClockTimes)); err != nil {
		return nil, err
	}
	if len(q.Hosts) == 0 || len(q.Times) == 0 {
		return nil, nil
	}
	from, to := q.Times[0], q.Times[0]
	for _, t := range q.Times {
		from, to = min(from, t), max(to, t)
	}
	var ps params
	ps.uint("project", q.Project)
	ps.int("from", from)
	ps.int("to", to+1)
	hosts := "SELECT arrayJoin({hosts:Array(String)})"
	if len(q.Hosts) <= maxNamed {
		hosts = named(&ps, "h", "String", q.Hosts, func(ps *params, key, v string) { ps.text(key, v) })
	} else {
		list(&ps, "hosts", q.Hosts, literal)
	}
	times := "SELECT arrayJoin({times:Array(Int64)})"
	if len(q.Times) <= maxNamedTimes {
		times = named(&ps, "t", "Int64", q.Times, func(ps *params, key string, v int64) { ps.int(key, v) })
	} else {
		list(&ps, "times", q.Times, func(b *strings.Builder, v int64) { b.WriteString(strconv.FormatInt(v, 10)) })
	}
	// Rows of one key that the engine has not merged yet are few, and are merged here.
	most := limited(q.Limit, maxClockRows, maxClockRows)
	ps.int("limit", 2*maxClockRows)
	var (
		host, broker, cluster = lowCardResult(), lowCardResult(), lowCardResult()
		project               proto.ColUInt64
		node                  proto.ColInt32
		origin                proto.ColUInt8
		time                  = newTime()
		low, high             [3]proto.ColInt64
		seconds               proto.ColUInt16
		first, last           proto.ColInt64
		name, service         proto.ColStr
		out                   []schemas.ClockCell
	)
	err := s.query(ctx, `
SELECT project, host, broker, cluster, node, origin, time,
	toInt64(low_begin) AS lb, toInt64(low_middle) AS lm, toInt64(low_end) AS le, toInt64(high_begin) AS hb, toInt64(high_middle) AS hm, toInt64(high_end) AS he,
	toUInt16(seconds) AS seen, toInt64(first) AS since, toInt64(last) AS until, toString(name) AS called, toString(service) AS of_service
FROM clock_intervals
PREWHERE toUnixTimestamp64Nano(time) IN (`+times+`)
WHERE `+clockOwn+` AND host IN (`+hosts+`) AND `+inStretch+` LIMIT {limit:UInt64}`+oneThread, ps,
		proto.Results{
			{Name: "project", Data: &project},
			{Name: "host", Data: host},
			{Name: "broker", Data: broker},
			{Name: "cluster", Data: cluster},
			{Name: "node", Data: &node},
			{Name: "origin", Data: &origin},
			{Name: "time", Data: time},
			{Name: "lb", Data: &low[0]},
			{Name: "lm", Data: &low[1]},
			{Name: "le", Data: &low[2]},
			{Name: "hb", Data: &high[0]},
			{Name: "hm", Data: &high[1]},
			{Name: "he", Data: &high[2]},
			{Name: "seen", Data: &seconds},
			{Name: "since", Data: &first},
			{Name: "until", Data: &last},
			{Name: "called", Data: &name},
			{Name: "of_service", Data: &service},
		},
		func() { out = out[:0] },
		func() {
			for i := range project {
				out = append(out, schemas.ClockCell{
					Project: project[i], Host: host.Row(i), Broker: broker.Row(i), Cluster: cluster.Row(i), Node: node[i],
					Origin: schemas.ClockOrigin(origin[i]), Time: int64(time.Data[i]),
					Low: [3]int64{low[0][i], low[1][i], low[2][i]}, High: [3]int64{high[0][i], high[1][i], high[2][i]},
					Seconds: seconds[i], First: first[i], Last: last[i], Name: name.Row(i), Service: service.Row(i),
				})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot read the clock intervals of %d hosts: %w", len(q.Hosts), err)
	}
	out = mergedCells(out)
	return out[:min(int64(len(out)), most)], nil
}

// mergedCells puts cells in order, those of one key as one.
func mergedCells(cells []schemas.ClockCell) []schemas.ClockCell {
	compare := func(a, b schemas.ClockCell) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Broker, b.Broker), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Time, b.Time),
			strings.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Project, b.Project))
	}
	slices.SortFunc(cells, compare)
	out := cells[:0]
	for i := range cells {
		if n := len(out); n > 0 && compare(out[n-1], cells[i]) == 0 {
			clocktrack.Merge(&out[n-1], &cells[i])
			continue
		}
		out = append(out, cells[i])
	}
	return out
}

// ClockHistory sums cells up to stretches.
func (s *Store) ClockHistory(ctx context.Context, q exporters.ClockHistoryQuery) ([]exporters.ClockStretch, error) {
	var ps params
	ps.uint("project", q.Project)
	ps.stretch(q.Range)
	ps.int("every", max(int64(q.Every), clockCell))
	ps.int("limit", limited(q.Limit, maxClockRows, maxClockRows))
	where := clockOwn + " AND " + inStretch
	if q.Host != "" {
		ps.text("host", q.Host)
		where += " AND host = {host:String}"
	}
	var (
		host, broker                   = lowCardResult(), lowCardResult()
		name, service, cluster         proto.ColStr
		node                           proto.ColInt32
		time, low, high                proto.ColInt64
		trips, fetches, beacons, steps proto.ColUInt64
		first, last, stepped           proto.ColInt64
		out                            []exporters.ClockStretch
	)
	// Bounds are compared as floating point numbers: a side that is not known is the
	// least or the largest integer, and a sum with it would run over. lag* are of the cell
	// before; between the two the clocks may drift apart by 200 parts in a million.
	err := s.query(ctx, `
SELECT host, broker, max(n) AS called, max(sv) AS of_service, max(cl) AS of_cluster, max(nd) AS of_node,
	argMin(at + 5000000000, width) AS narrow_at, argMin(lm, width) AS narrow_low, argMin(hm, width) AS narrow_high,
	sum(bitCount(trip)) AS trips, sum(bitCount(fetch)) AS fetches, sum(bitCount(beacon)) AS beacons,
	min(f) AS since, max(l) AS until, countIf(step) AS steps, maxIf(f, step) AS stepped
FROM
(
	SELECT *, lb > hb OR lm > hm OR le > he AS broken, if(broken, inf, toFloat64(hm) - toFloat64(lm)) AS width,
		lagInFrame(toNullable(at)) OVER pair AS lag_at, lagInFrame(le) OVER pair AS lag_low, lagInFrame(he) OVER pair AS lag_high,
		(at - lag_at - `+strconv.Itoa(clockCell)+`) / 5000 + 1 AS drift,
		broken OR ifNull(lag_low <= lag_high AND (toFloat64(lb) > toFloat64(lag_high) + drift OR toFloat64(hb) < toFloat64(lag_low) - drift), 0) AS step
	FROM
	(
		SELECT host, broker, toUnixTimestamp64Nano(time) AS at, toString(max(c.name)) AS n, toString(max(c.service)) AS sv, max(c.cluster) AS cl, max(c.node) AS nd,
			toInt64(max(c.low_begin)) AS lb, toInt64(max(c.low_middle)) AS lm, toInt64(max(c.low_end)) AS le, toInt64(min(c.high_begin)) AS hb, toInt64(min(c.high_middle)) AS hm, toInt64(min(c.high_end)) AS he,
			groupBitOrIf(c.seconds, origin = 1) AS trip, groupBitOrIf(c.seconds, origin = 2) AS fetch, groupBitOrIf(c.seconds, origin = 3) AS beacon,
			toInt64(min(c.first)) AS f, toInt64(max(c.last)) AS l
		FROM clock_intervals AS c WHERE `+where+` GROUP BY host, broker, time
	)
	WINDOW pair AS (PARTITION BY host, broker ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
GROUP BY host, broker, intDiv(at, {every:Int64}) AS stretch ORDER BY host, broker, stretch LIMIT {limit:UInt64}`, ps,
		proto.Results{
			{Name: "host", Data: host},
			{Name: "broker", Data: broker},
			{Name: "called", Data: &name},
			{Name: "of_service", Data: &service},
			{Name: "of_cluster", Data: &cluster},
			{Name: "of_node", Data: &node},
			{Name: "narrow_at", Data: &time},
			{Name: "narrow_low", Data: &low},
			{Name: "narrow_high", Data: &high},
			{Name: "trips", Data: &trips},
			{Name: "fetches", Data: &fetches},
			{Name: "beacons", Data: &beacons},
			{Name: "since", Data: &first},
			{Name: "until", Data: &last},
			{Name: "steps", Data: &steps},
			{Name: "stepped", Data: &stepped},
		},
		func() { out = out[:0] },
		func() {
			for i := range time {
				out = append(out, exporters.ClockStretch{
					Host: host.Row(i), Broker: broker.Row(i), Name: name.Row(i), Service: service.Row(i), Cluster: cluster.Row(i), Node: node[i],
					Time: time[i], Low: low[i], High: high[i],
					RoundTrips: trips[i], Fetches: fetches[i], Beacons: beacons[i], First: first[i], Last: last[i], Steps: steps[i], Stepped: stepped[i],
				})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot read the history of clocks: %w", err)
	}
	return out, nil
}
