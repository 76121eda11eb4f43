package clickhouse

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// BenchmarkTopicSums asks for the list of topics of a day, for one topic in steps,
// and for the time × partition of its busiest topic.
func BenchmarkTopicSums(b *testing.B) {
	s, start := loadDay(b)
	r := exporters.Range{From: start, To: start.Add(24 * time.Hour)}
	b.Run("topics", func(b *testing.B) {
		percentiles(b, func() {
			if sums, err := s.TopicSums(b.Context(), exporters.TopicQuery{Project: 1, Range: r}); err != nil || len(sums) < 70 {
				b.Fatalf("%d sums, %v; want some 75", len(sums), err)
			}
		})
	})
	b.Run("topic/steps=15m", func(b *testing.B) {
		percentiles(b, func() {
			if sums, err := s.TopicSums(b.Context(), exporters.TopicQuery{Project: 1, Range: r, Topic: "topic-00", Step: 15 * time.Minute}); err != nil || len(sums) < 2*96 {
				b.Fatalf("%d sums, %v; want at least 192", len(sums), err)
			}
		})
	})
	group := "group-00"
	q := exporters.PartitionQuery{Project: 1, Range: r, Topic: "topic-00", Group: &group, Step: 15 * time.Minute, Part: exporters.PartResidence}
	b.Run("heatmap", func(b *testing.B) {
		percentiles(b, func() {
			if heat, err := s.PartitionHeat(b.Context(), q); err != nil || len(heat.Cells) != 96*12 || len(heat.Rows) != 12 || len(heat.Owners) < 96*12 {
				b.Fatalf("%d cells, %d rows, %d owners, %v; want 1,152 and 12", len(heat.Cells), len(heat.Rows), len(heat.Owners), err)
			}
		})
	})
	b.Run("heatmap/all-groups", func(b *testing.B) {
		q := q
		q.Group = nil
		percentiles(b, func() {
			if heat, err := s.PartitionHeat(b.Context(), q); err != nil || len(heat.Cells) != 96*12 {
				b.Fatalf("%d cells, %v; want 1,152", len(heat.Cells), err)
			}
		})
	})
	// What the heat map was read by before: three questions.
	b.Run("heatmap/apart", func(b *testing.B) {
		whole := q
		whole.Step = 0
		percentiles(b, func() {
			if _, err := s.PartitionSums(b.Context(), whole); err != nil {
				b.Fatal(err)
			}
			if _, err := s.PartitionSums(b.Context(), q); err != nil {
				b.Fatal(err)
			}
			if _, err := s.PartitionOwners(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("partitions", func(b *testing.B) {
		q := q
		q.Step, q.Part = 0, ""
		percentiles(b, func() {
			if sums, err := s.PartitionSums(b.Context(), q); err != nil || len(sums) != 12 {
				b.Fatalf("%d partitions, %v; want 12", len(sums), err)
			}
		})
	})
	b.Run("rows/steps=1m", func(b *testing.B) {
		end := r.To
		q := exporters.PartitionQuery{Project: 1, Range: exporters.Range{From: end.Add(-2 * time.Hour), To: end}, Topic: "topic-00", Step: time.Minute, Part: exporters.PartResidence}
		percentiles(b, func() {
			if sums, err := s.PartitionSums(b.Context(), q); err != nil || len(sums) < 120 {
				b.Fatalf("%d sums, %v", len(sums), err)
			}
		})
	})
}
