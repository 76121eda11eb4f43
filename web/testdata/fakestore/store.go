// Package fakestore answers the contracts that the web reads from memory, for
// tests and for the server in devserver. It is in no product.
package fakestore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// Store holds everything. Its fields may be filled before it is used.
type Store struct {
	AllProjects []schemas.Project
	AllKeys     []schemas.Key
	AllSpans    []schemas.Span
	AllMessages []schemas.Message
	AllEvents   []schemas.Event
	AllPoints   []schemas.MetricPoint
	AllClocks   []schemas.ClockCell // beside those that AllPoints make
	AllIssues   []schemas.Issue
	AllQueries  []exporters.SavedQuery
	AllBlobs    map[string][]byte
	AllNodes    map[schemas.NodeRef][]byte
	AllFlows    []exporters.Flow // beside those that AllMessages make
	// Err is what every question fails with, when set.
	Err error
	// Block makes every question wait for the end of its context.
	Block bool
	// Asked counts questions by name; read it when none is under way.
	Asked map[string]int
	// Unmerged is what the web asked to take out of issues.
	Unmerged []exporters.Unmerge
	// MostHashes bounds the answers of HashesWith, when set.
	MostHashes int

	moved   map[schemas.Fingerprint]schemas.IssueID // hashes that were merged
	deleted map[schemas.IssueID]bool
	after   map[schemas.Fingerprint]int64 // of deleted issues
	marks   map[string]bool               // "issue who"
	log     []exporters.IssueActivity
	gone    []exporters.Discarded

	mu   sync.Mutex // guards Asked, and projects and keys while they change
	keys uint64     // made so far
}

func (s *Store) ask(ctx context.Context, name string) error {
	s.mu.Lock()
	if s.Asked == nil {
		s.Asked = map[string]int{}
	}
	s.Asked[name]++
	s.mu.Unlock()
	if s.Block {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Err
}

func within(ns int64, r exporters.Range) bool {
	return (r.From.IsZero() || ns >= r.From.UnixNano()) && (r.To.IsZero() || ns < r.To.UnixNano())
}

// FindTraces is exporters.SpanReader's.
func (s *Store) FindTraces(ctx context.Context, q exporters.TraceQuery) ([]exporters.TraceSummary, error) {
	if err := s.ask(ctx, "FindTraces"); err != nil {
		return nil, err
	}
	type gathered struct {
		exporters.TraceSummary
		end            int64
		rootStart      int64
		service, topic bool
		group, asked   bool
	}
	all := map[schemas.TraceID]*gathered{}
	for i := range s.AllSpans {
		p := &s.AllSpans[i]
		if p.Project != q.Project {
			continue
		}
		t := all[p.TraceID]
		if t == nil {
			t = &gathered{TraceSummary: exporters.TraceSummary{TraceID: p.TraceID, Start: p.Start}}
			all[p.TraceID] = t
		}
		t.Start, t.end = min(t.Start, p.Start), max(t.end, p.End)
		if t.Root == "" || p.Start < t.rootStart {
			t.Root, t.Service, t.rootStart = p.Name, p.Service, p.Start
		}
		if !slices.Contains(t.Services, p.Service) {
			t.Services = append(t.Services, p.Service)
		}
		t.Spans++
		if p.Status == schemas.StatusError {
			t.Errors++
		}
		t.service = t.service || p.Service == q.Service
		t.asked = t.asked || q.Where.Holds(func(term search.RowTerm) bool { return spanHolds(p, term) })
	}
	for i := range s.AllMessages {
		m := &s.AllMessages[i]
		if t := all[m.TraceID]; t != nil && m.Project == q.Project {
			if !slices.Contains(t.Topics, m.Topic) {
				t.Topics = append(t.Topics, m.Topic)
			}
			t.topic = t.topic || m.Topic == q.Topic
			t.group = t.group || m.Group == q.Group
		}
	}
	var out []exporters.TraceSummary
	for _, t := range all {
		t.Duration = time.Duration(t.end - t.Start)
		if !within(t.Start, q.Range) || !t.asked || q.Service != "" && !t.service || q.Topic != "" && !t.topic || q.Group != "" && !t.group ||
			t.Duration < q.MinLatency || q.ErrorsOnly && t.Errors == 0 || q.Before != 0 && (t.Start > q.Before || t.Start == q.Before && bytes.Compare(t.TraceID[:], q.BeforeTrace[:]) >= 0) {
			continue
		}
		slices.Sort(t.Services)
		slices.Sort(t.Topics)
		out = append(out, t.TraceSummary)
	}
	slices.SortFunc(out, func(a, b exporters.TraceSummary) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), bytes.Compare(b.TraceID[:], a.TraceID[:]))
	})
	return out[:min(len(out), cmp.Or(q.Limit, 50))], nil
}

// Spans is exporters.SpanReader's.
func (s *Store) Spans(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Span, error) {
	if err := s.ask(ctx, "Spans"); err != nil {
		return nil, err
	}
	var out []schemas.Span
	for _, p := range s.AllSpans {
		if p.Project == project && slices.Contains(traces, p.TraceID) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Span) int { return cmp.Compare(a.Start, b.Start) })
	return out[:min(len(out), limit)], nil
}

// Names is exporters.SpanReader's.
func (s *Store) Names(ctx context.Context, project uint64, r exporters.Range) (exporters.Names, error) {
	if err := s.ask(ctx, "Names"); err != nil {
		return exporters.Names{}, err
	}
	var out exporters.Names
	add := func(to *[]string, v string) {
		if v != "" && !slices.Contains(*to, v) {
			*to = append(*to, v)
			slices.Sort(*to)
		}
	}
	for i := range s.AllSpans {
		if p := &s.AllSpans[i]; p.Project == project && within(p.Start, r) {
			add(&out.Services, p.Service)
		}
	}
	for i := range s.AllMessages {
		if m := &s.AllMessages[i]; m.Project == project && within(m.Start, r) {
			add(&out.Topics, m.Topic)
			add(&out.Groups, m.Group)
		}
	}
	return out, nil
}

func (s *Store) messages(limit int, keep func(*schemas.Message) bool) []schemas.Message {
	var out []schemas.Message
	for i := range s.AllMessages {
		if len(out) < limit && keep(&s.AllMessages[i]) {
			out = append(out, s.AllMessages[i])
		}
	}
	return out
}

// MessagesOfTraces is exporters.MessageReader's.
func (s *Store) MessagesOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Message, error) {
	if err := s.ask(ctx, "MessagesOfTraces"); err != nil {
		return nil, err
	}
	return s.messages(limit, func(m *schemas.Message) bool {
		return m.Project == project && slices.Contains(traces, m.TraceID)
	}), nil
}

// MessagesOfRecords is exporters.MessageReader's.
func (s *Store) MessagesOfRecords(ctx context.Context, project uint64, records []schemas.RecordRef, limit int) ([]schemas.Message, error) {
	if err := s.ask(ctx, "MessagesOfRecords"); err != nil {
		return nil, err
	}
	want := map[schemas.RecordRef]bool{}
	for _, r := range records {
		want[r] = true
	}
	return s.messages(limit, func(m *schemas.Message) bool { return m.Project == project && want[m.Record()] }), nil
}

// MessagesFrom is exporters.MessageReader's.
func (s *Store) MessagesFrom(ctx context.Context, project uint64, creation []schemas.SpanRef, limit int) ([]schemas.Message, error) {
	if err := s.ask(ctx, "MessagesFrom"); err != nil {
		return nil, err
	}
	want := map[schemas.SpanRef]bool{}
	for _, r := range creation {
		want[r] = true
	}
	return s.messages(limit, func(m *schemas.Message) bool {
		return m.Project == project && m.Side.Reads() && want[schemas.SpanRef{TraceID: m.CreationTrace, SpanID: m.CreationSpan}]
	}), nil
}

// MessagesSentOn is exporters.MessageReader's.
func (s *Store) MessagesSentOn(ctx context.Context, project uint64, originals []schemas.RecordRef, limit int) ([]schemas.Message, error) {
	if err := s.ask(ctx, "MessagesSentOn"); err != nil {
		return nil, err
	}
	return s.messages(limit, func(m *schemas.Message) bool {
		ref, ok := m.Original()
		return ok && m.Project == project && m.Side != schemas.SideSettle && slices.Contains(originals, ref)
	}), nil
}

// Settles is exporters.MessageReader's.
func (s *Store) Settles(ctx context.Context, project uint64, consumers []schemas.Message) ([]schemas.Message, error) {
	if err := s.ask(ctx, "Settles"); err != nil {
		return nil, err
	}
	var out []schemas.Message
	for _, c := range consumers {
		var next *schemas.Message
		for i := range s.AllMessages {
			m := &s.AllMessages[i]
			if m.Side != schemas.SideSettle || m.Project != project || m.Failed {
				continue
			}
			if m.CreationTrace == c.TraceID && m.CreationSpan == c.SpanID && !m.CreationSpan.IsZero() {
				out = append(out, *m)
			}
			if m.Topic == c.Topic && m.Partition == c.Partition && m.Group == c.Group && m.Offset >= c.Offset && (next == nil || m.Offset < next.Offset) {
				next = m
			}
		}
		if next != nil {
			out = append(out, *next)
		}
	}
	return out, nil
}

func (s *Store) allHops(project uint64) []schemas.Hop {
	producers := map[schemas.RecordRef]*schemas.Message{}
	for i := range s.AllMessages {
		if m := &s.AllMessages[i]; m.Side == schemas.SideProduce && m.Offset != schemas.Unknown && m.Project == project {
			producers[m.Record()] = m
		}
	}
	var out []schemas.Hop
	read := map[*schemas.Message]bool{}
	for i := range s.AllMessages {
		if m := &s.AllMessages[i]; m.Side.Reads() && m.Project == project {
			p := producers[m.Record()]
			read[p] = true
			out = append(out, schemas.Hop{Produce: p, Consume: m})
		}
	}
	for i := range s.AllMessages {
		if m := &s.AllMessages[i]; m.Side == schemas.SideProduce && !read[m] && m.Project == project {
			out = append(out, schemas.Hop{Produce: m})
		}
	}
	return out
}

// Hops is exporters.MessageReader's.
func (s *Store) Hops(ctx context.Context, q exporters.HopQuery) ([]schemas.Hop, error) {
	if err := s.ask(ctx, "Hops"); err != nil {
		return nil, err
	}
	var out []schemas.Hop
	if q.Sent {
		for i := range s.AllMessages {
			m := &s.AllMessages[i]
			if m.Side == schemas.SideProduce && m.Project == q.Project && within(m.End, q.Range) && (q.Topic == "" || m.Topic == q.Topic) && ofRecords(q, m) {
				out = append(out, schemas.Hop{Produce: m})
			}
		}
		slices.SortStableFunc(out, func(a, b schemas.Hop) int { return cmp.Compare(a.Produce.Start, b.Produce.Start) })
		return out[:min(len(out), cmp.Or(q.Limit, 50))], nil
	}
	for _, h := range s.allHops(q.Project) {
		if c := h.Consume; c != nil && within(c.End, q.Range) && (q.Topic == "" || c.Topic == q.Topic) && (q.Group == "" || c.Group == q.Group) && ofRecords(q, c) {
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Hop) int {
		if q.Slowest {
			return cmp.Compare(b.Parts().EndToEnd.Duration, a.Parts().EndToEnd.Duration)
		}
		return cmp.Compare(b.Consume.End, a.Consume.End)
	})
	return out[:min(len(out), cmp.Or(q.Limit, 50))], nil
}

// ofRecords tells whether a row is about one of the records of a query.
func ofRecords(q exporters.HopQuery, m *schemas.Message) bool {
	return (q.Partition == nil || m.Partition == *q.Partition) && (q.OffsetFrom == 0 && q.OffsetTo == 0 || m.Offset >= q.OffsetFrom) && (q.OffsetTo == 0 || m.Offset < q.OffsetTo)
}

// Topics is exporters.MessageReader's.
func (s *Store) Topics(ctx context.Context, project uint64, r exporters.Range) ([]exporters.TopicStats, error) {
	if err := s.ask(ctx, "Topics"); err != nil {
		return nil, err
	}
	type key struct{ topic, group string }
	lines := map[key]*exporters.TopicStats{}
	values := map[key]map[exporters.PartName][]time.Duration{}
	for _, h := range s.allHops(project) {
		k := key{}
		var seen int64
		if h.Consume != nil {
			k, seen = key{h.Consume.Topic, h.Consume.Group}, h.Consume.End
		} else {
			k, seen = key{h.Produce.Topic, ""}, h.Produce.End
		}
		if !within(seen, r) {
			continue
		}
		if lines[k] == nil {
			lines[k] = &exporters.TopicStats{Topic: k.topic, Group: k.group, Parts: map[exporters.PartName]exporters.Quantiles{}}
			values[k] = map[exporters.PartName][]time.Duration{}
		}
		line := lines[k]
		if h.Produce != nil {
			line.Produced++
		}
		if h.Consume != nil {
			line.Consumed++
			if h.Consume.Failed {
				line.Failed++
			}
		}
		line.LastSeen = max(line.LastSeen, seen)
		p := h.Parts()
		for name, part := range map[exporters.PartName]schemas.Part{
			exporters.PartBatchQueue: p.BatchQueue, exporters.PartRetry: p.Retry, exporters.PartAck: p.Ack, exporters.PartBacklog: p.Backlog,
			exporters.PartLongPoll: p.LongPoll, exporters.PartFetchQueue: p.FetchQueue, exporters.PartProcessing: p.Processing, exporters.PartEndToEnd: p.EndToEnd,
		} {
			if part.Known {
				values[k][name] = append(values[k][name], part.Duration)
			}
		}
	}
	var out []exporters.TopicStats
	for k, line := range lines {
		for name, v := range values[k] {
			slices.Sort(v)
			q := exporters.Quantiles{Count: uint64(len(v)), P50: v[len(v)/2], P90: v[len(v)*9/10], P95: v[len(v)*95/100], P99: v[len(v)*99/100]}
			for _, d := range v {
				if d < 0 {
					q.Negative++
				}
			}
			line.Parts[name] = q
		}
		out = append(out, *line)
	}
	slices.SortFunc(out, func(a, b exporters.TopicStats) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group))
	})
	return out, nil
}

// Events is exporters.EventReader's.
func (s *Store) Events(ctx context.Context, project uint64, issue schemas.IssueID, limit int) ([]schemas.Event, error) {
	if err := s.ask(ctx, "Events"); err != nil {
		return nil, err
	}
	var out []schemas.Event
	for _, e := range s.AllEvents {
		if e.Project == project && e.Issue == issue {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Event) int { return cmp.Compare(b.Time, a.Time) })
	return out[:min(len(out), limit)], nil
}

// Event is exporters.EventReader's.
func (s *Store) Event(ctx context.Context, project uint64, id schemas.EventID) (schemas.Event, error) {
	if err := s.ask(ctx, "Event"); err != nil {
		return schemas.Event{}, err
	}
	for _, e := range s.AllEvents {
		if e.Project == project && e.ID == id {
			e.Fingerprint = s.fingerprint(&e)
			return e, nil
		}
	}
	return schemas.Event{}, exporters.ErrNotFound
}

// EventsOfTraces is exporters.EventReader's.
func (s *Store) EventsOfTraces(ctx context.Context, project uint64, traces []schemas.TraceID, limit int) ([]schemas.Event, error) {
	if err := s.ask(ctx, "EventsOfTraces"); err != nil {
		return nil, err
	}
	var out []schemas.Event
	for _, e := range s.AllEvents {
		if e.Project == project && slices.Contains(traces, e.TraceID) && len(out) < limit {
			e.Fingerprint = s.fingerprint(&e)
			out = append(out, e)
		}
	}
	return out, nil
}

// IssueStats is exporters.EventReader's.
func (s *Store) IssueStats(ctx context.Context, project uint64, issues []schemas.IssueID, r exporters.Range) (map[schemas.IssueID]exporters.IssueStats, error) {
	if err := s.ask(ctx, "IssueStats"); err != nil {
		return nil, err
	}
	to := r.To
	if to.IsZero() {
		to = time.Now()
	}
	out := map[schemas.IssueID]exporters.IssueStats{}
	records := map[schemas.IssueID]map[schemas.RecordRef]bool{}
	for _, e := range s.AllEvents {
		if e.Project != project || !slices.Contains(issues, e.Issue) || !within(e.Time, r) {
			continue
		}
		st := out[e.Issue]
		st.Events++
		if e.Topic != "" {
			if records[e.Issue] == nil {
				records[e.Issue] = map[schemas.RecordRef]bool{}
			}
			records[e.Issue][schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}] = true
			st.Records = uint64(len(records[e.Issue]))
		}
		if hour := 23 - int(to.Sub(time.Unix(0, e.Time))/time.Hour); hour >= 0 && hour < 24 {
			st.Hours[hour]++
		}
		out[e.Issue] = st
	}
	return out, nil
}

// Put is exporters.Blobs'.
func (s *Store) Put(_ context.Context, key string, data []byte) error {
	if s.AllBlobs == nil {
		s.AllBlobs = map[string][]byte{}
	}
	s.AllBlobs[key] = data
	return nil
}

// Get is exporters.Blobs'.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.ask(ctx, "Get"); err != nil {
		return nil, err
	}
	data, ok := s.AllBlobs[key]
	if !ok {
		return nil, exporters.ErrNotFound
	}
	return data, nil
}

// Append is exporters.Nodes'.
func (s *Store) Append(_ context.Context, payloads [][]byte) ([]schemas.NodeRef, error) {
	if s.AllNodes == nil {
		s.AllNodes = map[schemas.NodeRef][]byte{}
	}
	refs := make([]schemas.NodeRef, len(payloads))
	for i, p := range payloads {
		refs[i] = schemas.NodeRef(fmt.Sprint("node-", len(s.AllNodes)))
		s.AllNodes[refs[i]] = p
	}
	return refs, nil
}

// Read is exporters.Nodes'.
func (s *Store) Read(ctx context.Context, ref schemas.NodeRef) ([]byte, error) {
	if err := s.ask(ctx, "Read"); err != nil {
		return nil, err
	}
	data, ok := s.AllNodes[ref]
	if !ok {
		return nil, exporters.ErrNotFound
	}
	return data, nil
}

// Delete is exporters.Blobs'.
func (s *Store) Delete(_ context.Context, key string) error {
	delete(s.AllBlobs, key)
	return nil
}
