package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// errorName is schemas.SameErrorType's part of a type that is compared; package
// exportertest holds the two side by side.
const errorName = `replaceRegexpOne(replaceRegexpOne(toString(type), '^[*&]+', ''), '(?s)^.*[.:]', '')`

// ofOTel are the errors of OpenTelemetry in a range. Most installations have none, or
// few, so their column is read before all others.
const ofOTel = `FROM events PREWHERE origin = '` + string(schemas.OriginOTel) + `' WHERE ` + inStretch

// twinsQuery looks for SDKs' events in the traces of those, and joins the two. The
// filter on traces would be asked about each of them for each granule, and pass all.
const twinsQuery = `
SELECT DISTINCT project, id, at, received FROM
(
	SELECT project, trace_id, value, id, toUnixTimestamp64Nano(time) AS at, received, ` + errorName + ` AS name ` + ofOTel + `
) AS otel
INNER JOIN
(
	SELECT project, trace_id, value, groupUniqArray(100)(` + errorName + `) AS names FROM events
	WHERE ` + inStretch + ` AND origin != '` + string(schemas.OriginOTel) + `' AND value != '' AND trace_id != toFixedString('', 16)
		AND (project, trace_id) IN (SELECT project, trace_id ` + ofOTel + `)
	GROUP BY project, trace_id, value
) AS sdk USING (project, trace_id, value)
WHERE name = '' OR has(names, '') OR has(names, name)
LIMIT {limit:UInt64}` + oneThread + `, ignore_data_skipping_indices = 'trace_id_bloom'`

// Twins gives errors of OpenTelemetry of which an SDK's event is stored.
func (s *Store) Twins(ctx context.Context, r exporters.Range, limit int) ([]exporters.Twin, error) {
	var ps params
	ps.stretch(r)
	ps.int("limit", limited(limit, exporters.MaxTwins, exporters.MaxTwins))
	// Without any of OpenTelemetry nothing else is read.
	var one proto.ColUInt8
	some := false
	err := s.query(ctx, "SELECT 1 AS one "+ofOTel+" LIMIT 1"+oneThread, ps, proto.Results{{Name: "one", Data: &one}},
		func() { some = false }, func() { some = some || len(one) > 0 })
	if err != nil {
		return nil, fmt.Errorf("cannot look for errors of OpenTelemetry: %w", err)
	}
	if !some {
		return nil, nil
	}
	var (
		project      proto.ColUInt64
		id           proto.ColFixedStr16
		at, received proto.ColInt64
		out          []exporters.Twin
	)
	err = s.query(ctx, twinsQuery, ps,
		proto.Results{{Name: "project", Data: &project}, {Name: "id", Data: &id}, {Name: "at", Data: &at}, {Name: "received", Data: &received}},
		func() { out = out[:0] },
		func() {
			for i := range project {
				out = append(out, exporters.Twin{Project: project[i], ID: id[i], Time: at[i], Received: received[i]})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot look for errors that are stored twice: %w", err)
	}
	return out, nil
}

// RemoveTwins removes the rows of these in one statement, which looks only at parts
// that reach into their time.
func (s *Store) RemoveTwins(ctx context.Context, twins []exporters.Twin) error {
	if len(twins) == 0 {
		return nil
	}
	if err := atMost("twins", len(twins), exporters.MaxTwins); err != nil {
		return err
	}
	// A deletion is kept as a text, so it takes no bound values.
	from, to := twins[0].Time, twins[0].Time
	var ids strings.Builder
	for i, t := range twins {
		from, to = min(from, t.Time), max(to, t.Time)
		if i > 0 {
			ids.WriteByte(',')
		}
		ids.WriteString("(" + strconv.FormatUint(t.Project, 10) + ",unhex('" + t.ID.String() + "'))") // digits
	}
	err := s.exec(ctx, fmt.Sprintf("DELETE FROM events WHERE origin = '%s' AND time >= fromUnixTimestamp64Nano(%d) AND time <= fromUnixTimestamp64Nano(%d) AND (project, id) IN (%s)",
		schemas.OriginOTel, from, to, ids.String()), nil)
	if err != nil {
		return fmt.Errorf("cannot remove %d errors that are stored twice: %w", len(twins), err)
	}
	return nil
}
