package clickhouse

import (
	"context"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// tallyColumns holds one batch of tallies. Its memory is reused.
type tallyColumns struct {
	input  proto.Input
	insert string

	project, keyID   proto.ColUInt64
	time             *proto.ColDateTime64
	category, reason lowCard
	outcome          proto.ColUInt8
	quantity         proto.ColInt64
	source           proto.ColUInt64
	sourceOffset     proto.ColInt64
	sourceIndex      proto.ColUInt32
}

func newTallyColumns() *tallyColumns {
	c := &tallyColumns{time: newTime()}
	c.input = proto.Input{
		{Name: "project", Data: &c.project},
		{Name: "time", Data: c.time},
		{Name: "category", Data: &c.category},
		{Name: "outcome", Data: &c.outcome},
		{Name: "reason", Data: &c.reason},
		{Name: "key_id", Data: &c.keyID},
		{Name: "quantity", Data: &c.quantity},
		{Name: "source", Data: &c.source},
		{Name: "source_offset", Data: &c.sourceOffset},
		{Name: "source_index", Data: &c.sourceIndex},
	}
	c.insert = insertText("outcomes", c.input)
	return c
}

// WriteTallies stores lines of the ledger as one INSERT. See WriteSpans for its limits.
func (s *Store) WriteTallies(ctx context.Context, tallies []schemas.Tally) error {
	if len(tallies) == 0 {
		return nil
	}
	if len(tallies) > maxBatchRows {
		return fmt.Errorf("cannot write %d lines of the ledger, at most %d: %w", len(tallies), maxBatchRows, exporters.ErrTooLarge)
	}
	var days dayCount
	for i := range tallies {
		days.add(tallies[i].Time)
	}
	if err := days.check("lines of the ledger", len(tallies)); err != nil {
		return err
	}
	c := s.tallyColumns.get()
	defer func() { reset(c.input); s.tallyColumns.put(c) }()
	for i := range tallies {
		t := &tallies[i]
		c.project.Append(t.Project)
		c.time.AppendRaw(proto.DateTime64(t.Time))
		c.category.Append(string(t.Category))
		c.outcome.Append(uint8(t.Outcome))
		c.reason.Append(t.Reason)
		c.keyID.Append(t.KeyID)
		c.quantity.Append(t.Quantity)
		c.source.Append(uint64(t.Source))
		c.sourceOffset.Append(t.Position.Offset)
		c.sourceIndex.Append(t.Position.Index)
	}
	if err := s.write(ctx, c.insert, c.input); err != nil {
		return fmt.Errorf("cannot write %d lines of the ledger: %w", len(tallies), err)
	}
	return nil
}

// WrittenTallies tells which lines of a source are stored at or after an offset.
func (s *Store) WrittenTallies(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error) {
	return s.written(ctx, "outcomes", source, from)
}

// Ledger sums the tallies, each line once.
func (s *Store) Ledger(ctx context.Context, project uint64, r exporters.Range) ([]exporters.LedgerLine, error) {
	var ps params
	ps.stretch(r)
	where := inStretch
	if project != 0 {
		ps.uint("project", project)
		where += " AND project = {project:UInt64}"
	}
	category, reason := lowCardResult(), lowCardResult()
	var (
		outcome  proto.ColUInt8
		quantity proto.ColInt64
		out      []exporters.LedgerLine
	)
	err := s.query(ctx, `
SELECT category, outcome, reason, sum(quantity) AS total FROM outcomes FINAL
WHERE `+where+`
GROUP BY category, outcome, reason HAVING total != 0 ORDER BY category, outcome, total DESC, reason LIMIT 10000`, ps,
		proto.Results{{Name: "category", Data: category}, {Name: "outcome", Data: &outcome}, {Name: "reason", Data: reason}, {Name: "total", Data: &quantity}},
		func() { out = out[:0] },
		func() {
			for i := range outcome {
				out = append(out, exporters.LedgerLine{
					Category: schemas.Category(category.Row(i)), Outcome: schemas.Outcome(outcome[i]), Reason: reason.Row(i), Quantity: quantity[i],
				})
			}
		})
	if err != nil {
		return nil, fmt.Errorf("cannot add up the ledger: %w", err)
	}
	return out, nil
}
