package fakestore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// FindRecords is exporters.FindReader's.
func (s *Store) FindRecords(ctx context.Context, q exporters.FindQuery) ([]exporters.FoundRecord, error) {
	if err := s.ask(ctx, "FindRecords"); err != nil {
		return nil, err
	}
	out := found(s.messages(exporters.MaxFoundRows, func(m *schemas.Message) bool {
		if m.Project != q.Project || m.Side == schemas.SideSettle || !within(m.End, q.Range) {
			return false
		}
		switch q.By {
		case exporters.FindByKey:
			return slices.Contains(q.Keys, m.KeyHash)
		case exporters.FindByMessageID:
			return q.Text != "" && m.MessageID == q.Text
		case exporters.FindByConversation:
			return q.Text != "" && m.Conversation == q.Text
		case exporters.FindBySpan:
			return m.CreationSpan == q.Span
		}
		return false
	}))
	slices.SortStableFunc(out, func(a, b exporters.FoundRecord) int { return cmp.Compare(b.Last, a.Last) })
	return page(out, q), nil
}

func page[T any](all []T, q exporters.FindQuery) []T {
	all = all[min(q.Skip, len(all)):]
	return all[:min(len(all), cmp.Or(q.Limit, 50))]
}

// found makes records of rows, in the order of their first row.
func found(rows []schemas.Message) (out []exporters.FoundRecord) {
	type key struct {
		record schemas.RecordRef
		span   schemas.SpanRef
	}
	at := map[key]int{}
	firsts := map[key]*schemas.Message{}
	for i := range rows {
		m := &rows[i]
		span := schemas.SpanRef{TraceID: m.TraceID, SpanID: m.SpanID}
		k := key{record: m.Record()}
		if m.Partition < 0 || m.Offset < 0 {
			k.span = span
		}
		n, ok := at[k]
		if !ok {
			n, at[k] = len(out), len(out)
			out = append(out, exporters.FoundRecord{Record: m.Record(), First: m.Start, Last: m.End})
		}
		f := &out[n]
		f.First, f.Last, f.Failed, f.KeyHash = min(f.First, m.Start), max(f.Last, m.End), f.Failed || m.Failed, max(f.KeyHash, m.KeyHash)
		f.MessageID = max(f.MessageID, m.MessageID)
		if first := firsts[k]; first == nil || m.Side < first.Side || m.Side == first.Side && m.Start < first.Start {
			firsts[k], f.Span = m, span
		}
		if m.Side == schemas.SideProduce {
			f.Sent, f.Producer = true, m.Service
			continue
		}
		f.Reads++
		if m.Group != "" && !slices.Contains(f.Groups, m.Group) {
			f.Groups = append(f.Groups, m.Group)
			slices.Sort(f.Groups)
		}
	}
	return out
}

// FindSpans is exporters.FindReader's.
func (s *Store) FindSpans(ctx context.Context, q exporters.FindQuery) ([]schemas.Span, error) {
	if err := s.ask(ctx, "FindSpans"); err != nil {
		return nil, err
	}
	names := []string{"messaging.message.id", "messaging.message_id"}
	if q.By == exporters.FindByConversation {
		names = []string{"messaging.message.conversation_id", "messaging.conversation_id"}
	}
	var out []schemas.Span
	for i := range s.AllSpans {
		sp := &s.AllSpans[i]
		if sp.Project != q.Project || !within(sp.Start, q.Range) {
			continue
		}
		match := q.By == exporters.FindBySpan && sp.SpanID == q.Span
		for _, a := range sp.Attributes {
			match = match || q.By != exporters.FindBySpan && q.By != exporters.FindByKey && q.Text != "" && a.Value == q.Text && slices.Contains(names, a.Key)
		}
		if match {
			out = append(out, *sp)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Span) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), bytes.Compare(a.TraceID[:], b.TraceID[:]))
	})
	return page(out, q), nil
}

// NearRecords is exporters.FindReader's.
func (s *Store) NearRecords(ctx context.Context, project uint64, record schemas.RecordRef) (near exporters.NearRecords, err error) {
	if err := s.ask(ctx, "NearRecords"); err != nil {
		return near, err
	}
	all := found(s.messages(exporters.MaxFoundRows, func(m *schemas.Message) bool {
		return m.Project == project && m.Side != schemas.SideSettle && m.Topic == record.Topic
	}))
	near.Topic = len(all) > 0
	for i := range all {
		f := &all[i]
		switch at := f.Record.Offset; {
		case f.Record.Partition != record.Partition || at < 0:
		case at == record.Offset:
			near.Record = f
		case at < record.Offset && (near.Before == nil || at > near.Before.Record.Offset):
			near.Before = f
		case at > record.Offset && (near.After == nil || at < near.After.Record.Offset):
			near.After = f
		}
	}
	return near, nil
}
