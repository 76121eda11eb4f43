package metadata

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// BenchmarkSeeIssues is what a batch of a thousand events costs, of which a share
// makes issues that are new.
func BenchmarkSeeIssues(b *testing.B) {
	for _, fresh := range []int{0, 300, 1000} {
		b.Run(fmt.Sprintf("new=%d", fresh), func(b *testing.B) {
			s, err := Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "x.db"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			tree := make([]byte, 2000)
			for i := range tree {
				tree[i] = 'x'
			}
			batch := make([]exporters.Sighting, 1000)
			n := uint64(0)
			fill := func(fresh int) {
				now := time.Now().UnixNano()
				for i := range batch {
					id := uint64(i)
					if i < fresh {
						n++
						id = 1<<32 + n
					}
					var app, system schemas.Fingerprint
					binary.BigEndian.PutUint64(app[:], id)
					binary.BigEndian.PutUint64(system[8:], id)
					batch[i] = exporters.Sighting{
						Project: 1, Hashes: []schemas.Fingerprint{app, system}, Version: "hoptrace:1", Tree: tree, Title: "CardDeclined: no funds", Culprit: "payments.charge",
						Level: "error", Platform: "go", Release: "shop@1.2.3", FirstSeen: now, LastSeen: now,
					}
				}
			}
			fill(0)
			if _, err := s.SeeIssues(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				fill(fresh)
				if _, err := s.SeeIssues(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "events/s")
		})
	}
}
