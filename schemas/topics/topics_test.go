package topics

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestEveryTopicFileIsSound(t *testing.T) {
	ts, err := load(files)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, topic := range ts {
		names = append(names, topic.Name)
	}
	want := []string{
		EventReplacements, EventReplacementsDLQ, Events, EventsDLQ, IngestAttachments, IngestAttachmentsDLQ, IngestEvents, IngestEventsDLQ,
		IngestFeedbackEvents, IngestFeedbackEventsDLQ, IngestLogs, IngestLogsDLQ, IngestMetrics, IngestMetricsDLQ, IngestMonitors, IngestMonitorsDLQ,
		IngestReplayEvents, IngestReplayEventsDLQ, IngestReplayRecordings, IngestReplayRecordingsDLQ, IngestSessions, IngestSessionsDLQ,
		IngestSpans, IngestSpansDLQ, IngestTransactions, IngestTransactionsDLQ, Outcomes, OutcomesDLQ, Profiles, ProfilesDLQ,
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
}

func TestGetNamesTheTopicsThereAre(t *testing.T) {
	spans, err := Get(IngestSpans)
	if err != nil || spans.Partitions != 4 || spans.DLQ != IngestSpansDLQ {
		t.Errorf("Get(%q) = %+v, %v", IngestSpans, spans, err)
	}
	if _, err := Get("ingest-span"); err == nil || !strings.Contains(err.Error(), IngestSpans) {
		t.Errorf("Get of an unknown topic = %v; want an error that lists %s", err, IngestSpans)
	}
}

func TestBrokenTopicFilesAreAllNamedAtOnce(t *testing.T) {
	_, err := load(fstest.MapFS{
		"a.yaml":     {Data: []byte("name: b\npartitions: 0\n")},
		"c.yaml":     {Data: []byte("name: c\ndescription: d\nkey: k\npartitions: 1\nretention.ms: 86400000\nmax.message.bytes: 4096\ncompression: lz4\ndlq: c-dlq\n")},
		"c-dlq.yaml": {Data: []byte("name: c-dlq\ndescription: d\nkey: k\npartitions: 1\nretention.ms: 86400000\nmax.message.bytes: 4096\ncompression: lz5\n")},
		"e.yaml":     {Data: []byte("name: e\npartition: 3\n")},
	})
	if err == nil {
		t.Fatal("broken files were accepted")
	}
	for _, want := range []string{
		`topic file a.yaml: name is "b"`, `topic "b": partitions is 0`, `topic "b": description is missing`,
		`a record of 4096 bytes and 65536 of headers must fit`, `compression is "lz5"`, "topic file e.yaml",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}
