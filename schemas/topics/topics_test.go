package topics

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
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
		ClockSamples, ClockSamplesDLQ, EventReplacements, EventReplacementsDLQ, Events, EventsDLQ, IngestAttachments, IngestAttachmentsDLQ, IngestEvents, IngestEventsDLQ,
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

func TestTheConfigurationMayStandUnderAnyOfItsNames(t *testing.T) {
	f := func(config, want string) {
		t.Helper()
		ts, err := load(fstest.MapFS{"t.yaml": {Data: []byte("name: t\n" + config)}})
		if err == nil || len(ts) != 1 { // the rest of the file is missing
			t.Fatalf("load = %v, %v", ts, err)
		}
		if ts[0].RetentionMs == 60000 && ts[0].MaxMessageBytes == 4096 && ts[0].Compression == "lz4" {
			if want != "" {
				t.Errorf("%s was taken; want %q", config, want)
			}
			if got := ts[0].Configs(); len(got) != 2 || got["retention.ms"] != "60000" || got["max.message.bytes"] != "4096" {
				t.Errorf("the broker is to have %v; want retention and bound, but not the compression", got)
			}
			return
		}
		if want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v; want %q", config, err, want)
		}
	}
	const all = "{retention.ms: 60000, max.message.bytes: 4096, compression.type: lz4}\n"
	f("topic_creation_config: "+all, "")
	f("topic_configuration: "+all, "")
	f("topic_configuration_config: "+all, "")
	f("retention.ms: 60000\nmax.message.bytes: 4096\ncompression: lz4\n", "")
	f("retention.ms: 60000\ntopic_creation_config: {retention.ms: 60000, max.message.bytes: 4096, compression.type: lz4}\n", "")
	f("retention.ms: 7\ntopic_creation_config: {retention.ms: 60000}\n", "retention.ms is said twice, as 60000 and as 7")
	f("topic_creation_config: {retention.ms: long}\n", `retention.ms is "long"; it must be a whole number`)
	f("topic_creation_config: {max.message.bytes: 99999999999}\n", `max.message.bytes is "99999999999"`)
	f("topic_creation_config: {Retention: 1}\n", `"Retention", which is no name of a topic configuration`)
	if _, err := load(fstest.MapFS{"t.yaml": {Data: []byte("name: t\ntopic_config: {}\n")}}); err == nil || !strings.Contains(err.Error(), "topic_config not found") {
		t.Errorf("a fourth name gives %v", err)
	}
}

func TestFaultsOfSchemasAndStagesAreNamed(t *testing.T) {
	_, err := load(fstest.MapFS{"t.yaml": {Data: []byte(`
name: t
producers: [A]
schemas:
  - {version: 2, type: xml, compatibility_mode: sideways, resource: x.json, header: t}
  - {version: 2, type: protobuf, compatibility_mode: none, resource: a file, header: t/1}
  - {version: 3, type: json, compatibility_mode: none, resource: t.v3.schema.json, header: t/1}
`)}, "t-dlq.yaml": {Data: []byte("name: t-dlq\nschemas: [{version: 1}]\n")}})
	if err == nil {
		t.Fatal("broken files were accepted")
	}
	for _, want := range []string{
		"owner is missing", `producers has "A", which is no stage's name`, "consumers is missing",
		"schemas[0]: version is 2; versions count up from 1, so it must be 1", `type is "xml"`, `compatibility_mode is "sideways"`,
		`resource is "x.json"; it must be "t.v2.schema.json"`, `header is "t"`, `resource is "a file"; it must be the full name of a protobuf message`,
		`schemas[2]: header "t/1" is that of version 2 already`, `topic "t-dlq": a dead-letter topic has no schemas`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestEveryHeaderOfASchemaHasItsConstant(t *testing.T) {
	constants := []string{
		schemas.SchemaOTLPTraces, schemas.SchemaOTLPMetrics, schemas.SchemaOTLPLogs, schemas.SchemaSentrySpans, schemas.SchemaSentryTraceMetrics,
		schemas.SchemaSentryLogs, schemas.SchemaSentryEvent, schemas.SchemaIngestEvents, schemas.SchemaIngestAttachments, schemas.SchemaIngestTransactions,
		schemas.SchemaIngestSessions, schemas.SchemaIngestMonitors, schemas.SchemaIngestFeedbackEvents, schemas.SchemaProfiles,
		schemas.SchemaIngestReplayEvents, schemas.SchemaIngestReplayRecordings, schemas.SchemaEvents, schemas.SchemaEventReplacements, schemas.SchemaOutcomes, schemas.SchemaClockSamples,
	}
	var headers []string
	for _, topic := range All() {
		for _, s := range topic.Schemas {
			headers = append(headers, s.Header)
			if got, ok := topic.ByHeader(s.Header); !ok || got.Version != s.Version {
				t.Errorf("topic %s: ByHeader(%q) = %+v, %v; want version %d", topic.Name, s.Header, got, ok, s.Version)
			}
		}
		if _, ok := topic.ByHeader("none/1"); ok {
			t.Errorf("topic %s knows the header none/1", topic.Name)
		}
		last, ok := topic.Latest()
		if newest, _ := topic.ByHeader(""); ok == topic.IsDLQ() || newest != last {
			t.Errorf("topic %s: newest is %+v, %v", topic.Name, last, ok)
		}
	}
	slices.Sort(constants)
	slices.Sort(headers)
	if diff := cmp.Diff(constants, headers); diff != "" {
		t.Errorf("headers (-constants +topics):\n%s", diff)
	}
}
