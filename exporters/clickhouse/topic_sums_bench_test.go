package clickhouse

import (
	"fmt"
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
	for _, part := range []exporters.PartName{exporters.PartResidence, exporters.PartProcessing} {
		b.Run(fmt.Sprintf("heatmap/part=%s", part), func(b *testing.B) {
			q := exporters.PartitionQuery{Project: 1, Range: r, Topic: "topic-00", Step: 15 * time.Minute, Part: part}
			percentiles(b, func() {
				if sums, err := s.PartitionSums(b.Context(), q); err != nil || len(sums) != 96*12 {
					b.Fatalf("%d sums, %v; want 1,152", len(sums), err)
				}
			})
		})
	}
	b.Run("owners", func(b *testing.B) {
		q := exporters.PartitionQuery{Project: 1, Range: r, Topic: "topic-00", Step: 15 * time.Minute}
		percentiles(b, func() {
			if owners, err := s.PartitionOwners(b.Context(), q); err != nil || len(owners) < 96*12 {
				b.Fatalf("%d owners, %v; want at least 1,152", len(owners), err)
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
