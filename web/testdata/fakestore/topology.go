package fakestore

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

type flowName struct {
	topic, group, service string
	reads                 bool
}

func measure(l exporters.Latencies, d time.Duration) exporters.Latencies {
	return l.Add(exporters.Latencies{{Class: exporters.LatencyClassOf(d), Count: 1}})
}

func waited(m *schemas.Message) (time.Duration, bool) {
	if !m.Side.Reads() {
		return time.Duration(m.Acked - m.Written), m.Acked != 0 && m.Written != 0
	}
	from := cmp.Or(m.RecordTime, m.Appended)
	return time.Duration(cmp.Or(m.Answered, m.Start) - from), from != 0
}

// Topology is exporters.TopologyReader's.
func (s *Store) Topology(ctx context.Context, q exporters.TopologyQuery) ([]exporters.Flow, error) {
	if err := s.ask(ctx, "Topology"); err != nil {
		return nil, err
	}
	flows := make(map[flowName]*exporters.Flow)
	for i := range s.AllMessages {
		m := &s.AllMessages[i]
		inRange := within(m.End, q.Range)
		if m.Project != q.Project || m.Side == schemas.SideSettle || !inRange && !within(m.End, exporters.Range{From: q.Range.From.Add(-q.LookBack), To: q.Range.From}) {
			continue
		}
		k := flowName{topic: m.Topic, service: m.Service, reads: m.Side.Reads()}
		if k.reads {
			k.group = m.Group
		}
		f := flows[k]
		if f == nil {
			f = &exporters.Flow{Topic: k.topic, Service: k.service, Reads: k.reads, Group: k.group}
			flows[k] = f
		}
		f.LastSeen, f.NewestRecord = max(f.LastSeen, m.End), max(f.NewestRecord, m.RecordTime)
		if !inRange {
			continue
		}
		f.Messages++
		if m.Failed {
			f.Failed++
		}
		if f.FirstSeen == 0 || m.End < f.FirstSeen {
			f.FirstSeen = m.End
		}
		if d, ok := waited(m); ok {
			f.Wait = measure(f.Wait, d)
		}
		if m.Side == schemas.SideProcess {
			f.Work = measure(f.Work, time.Duration(m.End-cmp.Or(m.Handed, m.Start)))
		}
	}
	out := slices.Clone(s.AllFlows)
	for _, f := range flows {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b exporters.Flow) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Topic, b.Topic), strings.Compare(a.Group, b.Group), strings.Compare(a.Service, b.Service))
	})
	return out, nil
}

// TopologySteps is exporters.TopologyReader's.
func (s *Store) TopologySteps(ctx context.Context, q exporters.TopologyQuery) ([]exporters.TopologyStep, error) {
	if err := s.ask(ctx, "TopologySteps"); err != nil {
		return nil, err
	}
	from := int64(0)
	if !q.Range.From.IsZero() {
		from = q.Range.From.UnixNano()
	}
	steps := make(map[int64]*exporters.TopologyStep)
	for i := range s.AllMessages {
		m := &s.AllMessages[i]
		if m.Project != q.Project || m.Side == schemas.SideSettle || !within(m.End, q.Range) || q.Topic != "" && q.Topic != m.Topic ||
			q.Service != "" && q.Service != m.Service || q.Group != "" && m.Side.Reads() && q.Group != m.Group {
			continue
		}
		at := from + (m.End-from)/int64(q.Step)*int64(q.Step)
		st := steps[at]
		if st == nil {
			st = &exporters.TopologyStep{Start: at}
			steps[at] = st
		}
		if !m.Side.Reads() {
			st.Written++
			continue
		}
		st.Read++
		if m.Failed {
			st.Failed++
		}
		if d, ok := waited(m); ok {
			st.Wait = measure(st.Wait, d)
		}
	}
	out := make([]exporters.TopologyStep, 0, len(steps))
	for _, st := range steps {
		out = append(out, *st)
	}
	slices.SortFunc(out, func(a, b exporters.TopologyStep) int { return cmp.Compare(a.Start, b.Start) })
	return out, nil
}

// ManyFlows are the flows of a large company: about so many nodes, ending at now.
func ManyFlows(nodes int, now time.Time) (out []exporters.Flow) {
	r := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // made-up data
	domains := []string{"orders", "payments", "shipping", "stock", "users", "search", "prices", "mail", "audit", "rechnungen", "注文", "доставка"}
	topics := nodes * 3 / 10
	service := func(n int) string {
		return fmt.Sprintf("%s-%s-%d", domains[n%len(domains)], []string{"api", "worker", "sync"}[n%3], n/len(domains))
	}
	spread := func(typical time.Duration, n int) (l exporters.Latencies) {
		for range n {
			l = measure(l, time.Duration(float64(typical)*(0.3+r.ExpFloat64())))
		}
		return l
	}
	last := now.Add(-2 * time.Second).UnixNano()
	for t := range topics {
		topic := fmt.Sprintf("%s.%s.v%d", domains[t%len(domains)], []string{"created", "changed", "failed", "retry", "dlq"}[t%5], 1+t/60)
		rate := uint64(10 + r.ExpFloat64()*40_000) //nolint:gosec // positive
		f := exporters.Flow{Topic: topic, Messages: rate, FirstSeen: now.Add(-24 * time.Hour).UnixNano(), LastSeen: last, NewestRecord: last, Service: service(t % (nodes / 3))}
		f.Wait = spread(3*time.Millisecond, 50)
		out = append(out, f)
		if r.IntN(3) == 0 {
			f.Service, f.Messages = service(r.IntN(nodes/3)), f.Messages/7
			out = append(out, f)
		}
		for g := range 1 + r.IntN(3) {
			n := (t*2 + 1 + g*17) % (nodes / 3)
			c := f
			c.Reads, c.Service, c.Group, c.Messages = true, service(n), service(n), rate
			if g == 2 {
				c.Group = service(n) + "-replay"
			}
			wait := time.Duration(1+r.IntN(20)) * time.Millisecond
			if r.IntN(15) == 0 {
				wait = time.Duration(1+r.IntN(100)) * time.Minute
				c.NewestRecord -= int64(wait)
			}
			c.Wait, c.Work = spread(wait, 60), spread(8*time.Millisecond, 60)
			if r.IntN(10) == 0 {
				c.Failed = rate / uint64(20+r.IntN(400)) //nolint:gosec // positive
			}
			out = append(out, c)
		}
	}
	return out
}
