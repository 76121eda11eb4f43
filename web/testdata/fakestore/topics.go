package fakestore

import (
	"context"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

// TopicSums is exporters.TopicReader's.
func (s *Store) TopicSums(ctx context.Context, q exporters.TopicQuery) ([]exporters.TopicSum, error) {
	if err := s.ask(ctx, "TopicSums"); err != nil {
		return nil, err
	}
	return exportertest.SumTopics(s.AllMessages, q), nil
}

// PartitionSums is exporters.TopicReader's.
func (s *Store) PartitionSums(ctx context.Context, q exporters.PartitionQuery) ([]exporters.PartitionSum, error) {
	if err := s.ask(ctx, "PartitionSums"); err != nil {
		return nil, err
	}
	return exportertest.SumPartitions(s.AllMessages, q), nil
}

// PartitionOwners is exporters.TopicReader's.
func (s *Store) PartitionOwners(ctx context.Context, q exporters.PartitionQuery) ([]exporters.PartitionOwner, error) {
	if err := s.ask(ctx, "PartitionOwners"); err != nil {
		return nil, err
	}
	return exportertest.OwnersOf(s.AllMessages, q), nil
}

// PartitionHeat is exporters.TopicReader's.
func (s *Store) PartitionHeat(ctx context.Context, q exporters.PartitionQuery) (exporters.PartitionHeat, error) {
	if err := s.ask(ctx, "PartitionHeat"); err != nil {
		return exporters.PartitionHeat{}, err
	}
	whole := q
	whole.Step = 0
	out := exporters.PartitionHeat{Rows: exportertest.SumPartitions(s.AllMessages, whole), Cells: exportertest.SumPartitions(s.AllMessages, q)}
	if !q.Writes {
		out.Owners = exportertest.OwnersOf(s.AllMessages, q)
	}
	return out, nil
}
