package fakestore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// IssueMessages is exporters.JoinedReader's, of events that name their record or
// happened in the span that processed it.
func (s *Store) IssueMessages(ctx context.Context, project uint64, set exporters.EventSet, f exporters.EventFilter) (exporters.IssueMessages, error) {
	if err := s.ask(ctx, "IssueMessages"); err != nil || set.Hashes == nil {
		return exporters.IssueMessages{}, err
	}
	var out exporters.IssueMessages
	counts := map[schemas.RecordRef]*exporters.RecordEvents{}
	by := make([]dimension, len(exporters.Dimensions))
	topics := map[string]bool{}
	var ages []time.Duration
	for _, e := range s.eventsOf(project, set, f) {
		out.Events++
		var c, p *schemas.Message
		ref := schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}
		for i := range s.AllMessages {
			switch m := &s.AllMessages[i]; {
			case m.Project != project:
			case m.Side.Reads() && (m.Record() == ref || m.TraceID == e.TraceID && m.SpanID == e.SpanID) && (c == nil || m.TraceID == e.TraceID):
				c = m
			}
		}
		if e.Topic == "" {
			if c == nil {
				continue
			}
			ref = c.Record()
			out.BySpan++
		}
		for i := range s.AllMessages {
			if m := &s.AllMessages[i]; m.Project == project && m.Side == schemas.SideProduce && m.Record() == ref {
				p = m
			}
		}
		out.Placed++
		topics[ref.Topic] = true
		out.First, out.Last = e.Time, max(out.Last, e.Time)
		r := counts[ref]
		if r == nil {
			r = &exporters.RecordEvents{Record: ref, Last: e.Time, TraceID: e.TraceID}
			counts[ref] = r
		}
		r.Events++
		r.First = e.Time
		values := valuesOf(ref, c, p)
		if c == nil {
			values[2], values[5], values[6] = e.Group, e.Release, e.Member
		}
		for d, v := range values {
			by[d].add(v, ref, true, e.Time)
		}
		if c != nil && c.RecordTime != 0 || p != nil {
			sent := int64(0)
			if c != nil {
				sent = c.RecordTime
			}
			if sent == 0 && p != nil {
				sent = p.Start
			}
			if sent != 0 {
				age := time.Duration(e.Time - sent)
				ages = append(ages, age)
				out.Age.Buckets[bucket(age)]++
				out.Oldest = append(out.Oldest, exporters.EventAge{ID: e.ID, Record: ref, Age: age, TraceID: e.TraceID, SpanID: e.SpanID})
			}
		}
	}
	for _, r := range counts {
		for i := range s.AllMessages {
			if m := &s.AllMessages[i]; m.Project == project && m.Side.Reads() && m.Record() == r.Record {
				r.Reads++
			}
		}
		out.Worst = append(out.Worst, *r)
		out.MostEvents = max(out.MostEvents, r.Events)
		if out.FewestEvents == 0 || r.Events < out.FewestEvents {
			out.FewestEvents = r.Events
		}
	}
	out.Records = uint64(len(counts))
	slices.SortFunc(out.Worst, func(a, b exporters.RecordEvents) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Record.Offset, b.Record.Offset))
	})
	out.Worst = out.Worst[:min(len(out.Worst), exporters.MaxWorstRecords)]
	slices.SortStableFunc(out.Oldest, func(a, b exporters.EventAge) int { return cmp.Compare(b.Age, a.Age) })
	out.Oldest = out.Oldest[:min(len(out.Oldest), exporters.MaxOldestEvents)]
	if slices.Sort(ages); len(ages) > 0 {
		n := len(ages)
		out.Age.Events, out.Age.KnownRecords = uint64(n), out.Records
		out.Age.Min, out.Age.Max, out.Age.P50, out.Age.P90, out.Age.P99 = ages[0], ages[n-1], ages[n/2], ages[n*9/10], ages[n*99/100]
	}
	if out.Placed == 0 {
		return out, nil
	}
	for _, hop := range s.allHops(project) {
		c := hop.Consume
		if c == nil || !topics[c.Topic] {
			continue
		}
		out.Sample, out.BaselineFrom, out.BaselineTo = 1, out.First-int64(time.Hour), out.Last
		for d, v := range valuesOf(c.Record(), c, hop.Produce) {
			by[d].add(v, c.Record(), false, c.Start)
		}
		sent := c.RecordTime
		if sent == 0 && hop.Produce != nil {
			sent = hop.Produce.Start
		}
		if sent != 0 {
			out.Age.Baseline[bucket(time.Duration(c.Start-sent))]++
			out.Age.KnownBaseline++
		}
	}
	for i, d := range exporters.Dimensions {
		out.By = append(out.By, by[i].list(d))
	}
	return out, nil
}

func valuesOf(ref schemas.RecordRef, c, p *schemas.Message) []string {
	out := []string{ref.Topic, ref.Topic + ":" + strconv.Itoa(int(ref.Partition)), "", "", "", "", ""}
	key := uint64(0)
	if p != nil {
		out[4], key = p.Release, p.KeyHash
	}
	if c != nil {
		out[2], out[5], out[6] = c.Group, c.Release, c.ClientID
		key = cmp.Or(c.KeyHash, key)
	}
	if key != 0 {
		out[3] = fmt.Sprintf("%016x", key)
	}
	return out
}

func bucket(age time.Duration) int {
	for i, b := range exporters.AgeBounds {
		if age < b {
			return i
		}
	}
	return len(exporters.AgeBounds)
}

type dimension struct {
	order  []string
	values map[string]*value
}

type value struct {
	events            uint64
	records, baseline map[schemas.RecordRef]bool
	since             int64
}

func (d *dimension) add(v string, ref schemas.RecordRef, event bool, at int64) {
	if v == "" {
		return
	}
	if d.values == nil {
		d.values = map[string]*value{}
	}
	x := d.values[v]
	if x == nil {
		x = &value{records: map[schemas.RecordRef]bool{}, baseline: map[schemas.RecordRef]bool{}}
		d.values[v] = x
		d.order = append(d.order, v)
	}
	if event {
		x.events++
		x.records[ref] = true
		return
	}
	x.baseline[ref] = true
	if x.since == 0 || at < x.since {
		x.since = at
	}
}

func (d *dimension) list(name exporters.Dimension) exporters.MessageDimension {
	out := exporters.MessageDimension{Dimension: name}
	slices.SortStableFunc(d.order, func(a, b string) int {
		return cmp.Or(cmp.Compare(d.values[b].events, d.values[a].events), cmp.Compare(len(d.values[b].baseline), len(d.values[a].baseline)))
	})
	for _, v := range d.order {
		x := d.values[v]
		out.Events += x.events
		out.Records += uint64(len(x.records))
		out.Baseline += uint64(len(x.baseline))
		if len(out.Values) == exporters.MaxMessageValues {
			out.Others++
			continue
		}
		m := exporters.MessageValue{Value: v, Events: x.events, Records: uint64(len(x.records)), Baseline: uint64(len(x.baseline)), Since: x.since}
		if name == exporters.DimPartition {
			i := strings.LastIndexByte(v, ':')
			m.Topic, m.Value = v[:i], v[i+1:]
		}
		out.Values = append(out.Values, m)
	}
	return out
}

// EventsOfRecord is exporters.JoinedReader's.
func (s *Store) EventsOfRecord(ctx context.Context, project uint64, record schemas.RecordRef, limit int) ([]schemas.Event, error) {
	if err := s.ask(ctx, "EventsOfRecord"); err != nil {
		return nil, err
	}
	var out []schemas.Event
	for _, e := range s.AllEvents {
		if e.Project == project && e.Topic != "" && (schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset} == record ||
			e.OriginalTopic != "" && schemas.RecordRef{Topic: e.OriginalTopic, Partition: e.OriginalPartition, Offset: e.OriginalOffset} == record) {
			e.Fingerprint = s.fingerprint(&e)
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Event) int { return cmp.Compare(b.Time, a.Time) })
	return out[:min(len(out), limit)], nil
}
