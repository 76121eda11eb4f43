package api

import (
	"context"
	"fmt"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/web/api/finding"
)

// maxTopicLines bounds the lines of /topics.
const maxTopicLines = 2_000

// topics answers /topics.
func (h *Handler) topics(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	if q.fault != nil {
		return nil, q.fault
	}
	stats, err := h.deps.Messages.Topics(ctx, q.project.ID, r)
	if err != nil {
		return nil, fmt.Errorf("cannot compute the parts of the topics: %w", err)
	}
	out := TopicList{Finding: finding.ForTopics(stats)}
	stats = stats[:min(len(stats), maxTopicLines)]
	out.Topics = make([]TopicStats, len(stats))
	for i, s := range stats {
		t := TopicStats{
			Topic: s.Topic, Group: s.Group, Produced: s.Produced, Consumed: s.Consumed, Failed: s.Failed,
			LastSeen: known(s.LastSeen), Parts: []Quantiles{},
		}
		for _, name := range append(partOrder[:len(partOrder):len(partOrder)], exporters.PartEndToEnd) {
			if p, ok := s.Parts[name]; ok {
				t.Parts = append(t.Parts, Quantiles{
					Name: string(name), Count: p.Count, P50Ns: int64(p.P50), P95Ns: int64(p.P95),
					P99Ns: int64(p.P99), Negative: p.Negative,
				})
			}
		}
		out.Topics[i] = t
	}
	return out, nil
}
