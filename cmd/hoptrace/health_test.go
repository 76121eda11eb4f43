package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/internal/kafka"
)

func TestReportsNameTopicsAsTheTableOfStagesDoes(t *testing.T) {
	names := kafka.Names{"ingest-spans": "eu.ingest-spans"}
	got := byLogicalTopic(map[string]float64{
		"consume_records_total/persist-spans/eu.ingest-spans": 3, "consume_lag_records/persist-spans/eu.ingest-spans": 1, "web_requests_total/200": 5, "process_cpu_seconds_total": 7,
	}, names.Logical)
	want := map[string]float64{"consume_records_total/persist-spans/ingest-spans": 3, "consume_lag_records/persist-spans/ingest-spans": 1, "web_requests_total/200": 5, "process_cpu_seconds_total": 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}
