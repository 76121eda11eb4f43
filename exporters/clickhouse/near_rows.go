package clickhouse

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxNear bounds the records whose rows are read all at once, for all the questions of
// one answer; beyond it each question reads its own.
const maxNear = 128

// storedRecord is all that is stored of a record. all is false when that is too much.
type storedRecord struct {
	rows []schemas.Message
	// commits are those of the settleNear offsets from the record's on; committed tells
	// that they were looked for.
	commits   []schemas.Message
	committed bool
	all       bool
}

// rowsOfRecords reads what is stored of records, and of few of them the commits that
// follow. A journey asks for its own rows, those of the other sides, those that carried
// its contexts and the commits: they lie side by side, and each statement for some of
// them would take as long as one for all. In one look each record is read once.
func (s *Store) rowsOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef) (map[schemas.RecordRef]storedRecord, error) {
	return exporters.OnceEach(ctx, "rows of records of "+strconv.FormatUint(project, 10), records, func(records []schemas.RecordRef) (map[schemas.RecordRef]storedRecord, error) {
		var ps params
		ps.uint("project", project)
		ps.int("few", fewRows+1)
		committed := len(records) <= maxNamed
		var where string
		if committed {
			where = ps.withCommits(records)
		} else {
			where = ps.inRecords(records)
		}
		rows, err := s.messages(ctx, "WHERE project = {project:UInt64} AND "+where+" LIMIT {few:UInt64}"+oneThread+keyLeads, ps)
		if err != nil {
			return nil, err
		}
		all := len(rows) <= fewRows
		rows = onceOf(rows)
		out := make(map[schemas.RecordRef]storedRecord, len(records))
		for _, r := range records {
			out[r] = storedRecord{committed: committed, all: all}
		}
		for i := range rows {
			m := &rows[i]
			if r, ok := out[m.Record()]; ok {
				r.rows = append(r.rows, *m)
				out[m.Record()] = r
			}
			if m.Side != schemas.SideSettle || !committed {
				continue
			}
			for _, ref := range records {
				if m.Topic == ref.Topic && m.Partition == ref.Partition && m.Offset >= ref.Offset && m.Offset-ref.Offset < settleNear {
					r := out[ref]
					r.commits = append(r.commits, *m)
					out[ref] = r
				}
			}
		}
		return out, nil
	})
}

// withCommits binds records and gives the condition that a row is of one of them, or a
// commit of one of the offsets that follow.
func (p *params) withCommits(records []schemas.RecordRef) string {
	var b strings.Builder
	for i, r := range records {
		if i > 0 {
			b.WriteString(" OR ")
		}
		n := strconv.Itoa(i)
		p.text("rt"+n, r.Topic)
		p.int("rp"+n, int64(r.Partition))
		p.int("ro"+n, r.Offset)
		p.int("ru"+n, r.Offset+min(settleNear-1, math.MaxInt64-r.Offset))
		b.WriteString("topic = {rt" + n + ":String} AND partition = {rp" + n + ":Int32} AND offset >= {ro" + n + ":Int64} AND offset <= {ru" + n + ":Int64} AND (side = 4 OR offset = {ro" + n + ":Int64})")
	}
	return "(" + b.String() + ")"
}

// near gives what is stored of the records where places of these keys are, by start
// time; ok is false when they are too many, or one has no place in the order of the
// table. With ahead it looks up meanwhile what was made of the records after they had
// failed, which a journey asks next.
func (s *Store) near(ctx context.Context, project uint64, keys []uint64, ahead bool) (rows []schemas.Message, ok bool, err error) {
	places, all, err := s.boundsOf(ctx, keys)
	if err != nil {
		return nil, false, err
	}
	records, _ := recordsOf(places)
	if !all || len(records) > maxNear || slices.ContainsFunc(records, func(r schemas.RecordRef) bool { return !placed(r) }) {
		return nil, false, nil
	}
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		rows, ok, err = s.allOf(ctx, project, records)
		return err
	})
	if ahead && exporters.InLook(ctx) {
		both.Go(func() error {
			sentOn := make([]uint64, len(records))
			for i, r := range records {
				sentOn[i] = recordKey(r)
			}
			_, _, err := s.boundsOf(ctx, sentOn)
			return err
		})
	}
	err = both.Wait()
	return rows, ok, err
}

// allOf gives what is stored of these records, by start time; ok is false when that is
// too much.
func (s *Store) allOf(ctx context.Context, project uint64, records []schemas.RecordRef) (rows []schemas.Message, ok bool, err error) {
	if len(records) == 0 {
		return nil, true, nil
	}
	of, err := s.rowsOfRecords(ctx, project, records)
	if err != nil {
		return nil, false, err
	}
	for _, r := range records {
		if !of[r].all {
			return nil, false, nil
		}
		rows = append(rows, of[r].rows...)
	}
	return onceOf(rows), true, nil
}

// firstOf keeps the first rows that fulfil a condition.
func firstOf(rows []schemas.Message, limit int64, keep func(*schemas.Message) bool) []schemas.Message {
	out := rows[:0]
	for i := range rows {
		if int64(len(out)) < limit && keep(&rows[i]) {
			out = append(out, rows[i])
		}
	}
	return out
}
