package clickhouse

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// joinedEvents are a million events over twelve partitions of the loaded store's
// records, in a thousand issues.
var joinedEvents struct {
	once    sync.Once
	records []schemas.RecordRef
}

const millionEvents = 1_000_000

func loadEvents(b *testing.B) (*Store, []schemas.RecordRef) {
	b.Helper()
	s, _, last := load(b)
	joinedEvents.once.Do(func() {
		events := make([]schemas.Event, 0, 20_000)
		for i := range millionEvents {
			issue := i % 1000
			e := schemas.Event{
				Project: 1, ID: schemas.EventID{byte(i), byte(i >> 8), byte(i >> 16), 1}, Issue: schemas.IssueID(issue + 1), Fingerprint: schemas.Fingerprint{byte(issue), byte(issue >> 8), 7}, //nolint:gosec // small
				Time: last.Add(-time.Duration(millionEvents-i) * 10 * time.Millisecond).UnixNano(), Level: "error", Type: "ChargeError", Value: fmt.Sprintf("card %d declined", i),
				Topic: "orders", Partition: int32(i % 12), Offset: 100_000 + int64(i/7), Group: "orders-worker", Age: schemas.Unknown, Weight: 1, //nolint:gosec // small
				Release: "orders@1.2", Source: 3, Position: schemas.Position{Offset: int64(i / 400), Index: uint32(i % 400)}, //nolint:gosec // small
			}
			if i%9973 == 0 {
				joinedEvents.records = append(joinedEvents.records, schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset})
			}
			if events = append(events, e); len(events) == cap(events) {
				if err := s.WriteEvents(context.Background(), events); err != nil {
					b.Fatal(err)
				}
				events = events[:0]
			}
		}
		settle(b, s)
	})
	return s, joinedEvents.records
}

// BenchmarkEventsOfRecord looks one record up among a million events.
func BenchmarkEventsOfRecord(b *testing.B) {
	s, records := loadEvents(b)
	i := 0
	defer engineTime(b)()
	for b.Loop() {
		events, err := s.EventsOfRecord(b.Context(), 1, records[i%len(records)], 100)
		i++
		if err != nil || len(events) == 0 {
			b.Fatalf("%d events, %v", len(events), err)
		}
	}
}

// BenchmarkMessagesOfRecord is the other half of a look-up by coordinates.
func BenchmarkMessagesOfRecord(b *testing.B) {
	s, records := loadEvents(b)
	i := 0
	defer engineTime(b)()
	for b.Loop() {
		if _, err := s.MessagesOfRecords(b.Context(), 1, records[i%len(records):i%len(records)+1], 1000); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkIssueMessages joins the events of one issue with two thirds of a
// million message rows.
func BenchmarkIssueMessages(b *testing.B) {
	s, _ := loadEvents(b)
	for _, issues := range []int{1, 100} { // of a thousand events each
		b.Run(fmt.Sprintf("events=%d", issues*1000), func(b *testing.B) {
			set := exporters.EventSet{Issue: 1}
			for i := range issues {
				set.Hashes = append(set.Hashes, exporters.IssueHash{Hash: schemas.Fingerprint{byte(i), byte(i >> 8), 7}}) //nolint:gosec // small
			}
			defer engineTime(b)()
			for b.Loop() {
				got, err := s.IssueMessages(b.Context(), 1, set, exporters.EventFilter{})
				if err != nil || got.Placed != uint64(issues*1000) {
					b.Fatalf("%d events placed, %v; want %d", got.Placed, err, issues*1000)
				}
			}
		})
	}
}
