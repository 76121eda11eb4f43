package normalize

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestWhatAPointIsAboutMovesToItsFields(t *testing.T) {
	received := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()
	point := func(at int64, attrs ...schemas.Attribute) schemas.MetricPoint {
		return schemas.MetricPoint{Name: "m", Partition: schemas.Unknown, Time: at, Attributes: attrs}
	}
	full := point(received, []schemas.Attribute{
		{Key: "messaging.destination.name", Value: "orders"},
		{Key: "x", Value: "1"},
		{Key: "messaging.destination.partition.id", Value: "11"},
		{Key: "messaging.consumer.group.name", Value: "g"},
		{Key: "messaging.client.id", Value: "c"},
		{Key: "server.port", Value: "9092"},
		{Key: "server.address", Value: "::1"},
	}...)
	full.Resource = []schemas.Attribute{{Key: "hoptrace.host.boot_id", Value: "b"}}
	bad := point(received, schemas.Attribute{Key: "messaging.destination.partition.id", Value: "-1"})
	var dropped Dropped
	got := Metrics(Config{}, []schemas.MetricPoint{
		point(0), full, point(received + int64(25*time.Hour)), point(received - int64(91*24*time.Hour)), bad,
	}, received, &dropped)
	want := []schemas.MetricPoint{
		{
			Name: "m", Service: "unknown_service", Topic: "orders", Partition: 11, Group: "g", ClientID: "c", Broker: "[::1]:9092", BootID: "b", Time: received,
			Resource: full.Resource, Attributes: []schemas.Attribute{{Key: "x", Value: "1"}},
		},
		{Name: "m", Service: "unknown_service", Partition: schemas.Unknown, Time: received, Attributes: bad.Attributes},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if want := (Dropped{NoStart: 1, InFuture: 1, TooOld: 1}); dropped != want {
		t.Errorf("dropped %v; want %v", dropped, want)
	}
}
