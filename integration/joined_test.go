package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	hoptrace "github.com/hoptrace/hoptrace/instrumentation"
	"github.com/hoptrace/hoptrace/instrumentation/otelkafkago"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// issueMessages is the answer to issues/{id}/messages, as far as this test asks.
type issueMessages struct {
	Finding struct {
		Rule  string `json:"rule"`
		Title []struct {
			Kind  string  `json:"kind"`
			Text  string  `json:"text"`
			Value float64 `json:"value"`
		} `json:"title"`
	} `json:"finding"`
	Events  int `json:"events"`
	Placed  int `json:"placed"`
	BySpan  int `json:"bySpan"`
	Records int `json:"records"`
	Worst   []struct {
		Topic     string `json:"topic"`
		Partition int    `json:"partition"`
		Offset    int64  `json:"offset"`
		Events    int    `json:"events"`
		Reads     int    `json:"reads"`
	} `json:"worst"`
	Age struct {
		Events int   `json:"events"`
		MinNs  int64 `json:"minNs"`
		MaxNs  int64 `json:"maxNs"`
	} `json:"age"`
	By []struct {
		Dimension string `json:"dimension"`
		Baseline  int    `json:"baseline"`
		Values    []struct {
			Value    string `json:"value"`
			Events   int    `json:"events"`
			Records  int    `json:"records"`
			Baseline int    `json:"baseline"`
		} `json:"values"`
	} `json:"by"`
}

func (m *issueMessages) sentence() string {
	var b strings.Builder
	for _, p := range m.Finding.Title {
		if p.Kind == "count" {
			fmt.Fprint(&b, p.Value)
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// TestAnIssueSaysThatItIsOfFewRecordsAndARecordLeadsToItsIssue lets a worker try 4
// poisoned records among 60 good ones twelve times each.
func TestAnIssueSaysThatItIsOfFewRecordsAndARecordLeadsToItsIssue(t *testing.T) {
	const good, bad, attempts = 60, 4, 12
	h := harness.StartHoptrace(t, harness.Options{})
	admin, err := kgo.NewClient(kgo.SeedBrokers(h.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopics(t.Context(), 4, 1, nil, "payments"); err != nil {
		t.Fatal(err)
	}
	shop, err := hoptrace.New(hoptrace.Options{ServiceName: "shop", ServiceVersion: "1.7.0", Endpoint: "http://" + h.GRPC, SampleRatio: 1, OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := otelkafkago.NewWriter(&kafka.Writer{Addr: kafka.TCP(h.Kafka), Topic: "payments", Balancer: &kafka.RoundRobin{}, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Transport: transport},
		otelkafkago.WithTracerProvider(shop.TracerProvider()))
	var messages []kafka.Message
	for i := range good + bad {
		m := kafka.Message{Key: []byte("customer-" + strconv.Itoa(i%7)), Value: []byte("order " + strconv.Itoa(i))}
		if i%17 == 5 {
			m.Value = []byte("poison")
		}
		messages = append(messages, m)
	}
	if err := w.WriteMessages(t.Context(), messages...); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if !shop.Flush(10 * time.Second) {
		t.Fatalf("not all was exported: %+v", shop.Counts())
	}
	runProgram(t, "./poisoned", "HOPTRACE_DSN="+h.DSN(t), "HOPTRACE_GRPC="+h.GRPC, "HOPTRACE_KAFKA="+h.Kafka, "HOPTRACE_FROM=payments", "HOPTRACE_RECORDS="+strconv.Itoa(good+bad))
	harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-spans", "ingest-events", "events")

	told := waitIssue(t, h, "card declined", bad*attempts)         // by sentry-go, which knows the record
	found := waitIssue(t, h, "gateway answered 402", bad*attempts) // by a span below the processing, which does not
	var m issueMessages
	h.MustGet(t, "issues/"+told.ID+"/messages", &m)
	t.Logf("it says: %s", m.sentence())
	if want := "All 48 events come from 4 records, retried 12 times each"; m.sentence() != want || m.Placed != 48 || m.BySpan != 0 || m.Records != bad {
		t.Errorf("the sentence is %q, want %q: %+v", m.sentence(), want, m)
	}
	if m.Age.Events != 48 || m.Age.MinNs <= 0 || m.Age.MaxNs <= m.Age.MinNs {
		t.Errorf("the ages are %+v", m.Age)
	}
	for _, by := range m.By {
		switch v := by.Values; by.Dimension {
		case "topic":
			if len(v) != 1 || v[0].Value != "payments" || v[0].Baseline != good+bad {
				t.Errorf("the topics are %+v, want all %d records of payments as the baseline", v, good+bad)
			}
		case "partition":
			sum := 0
			for _, p := range v {
				sum += p.Records
			}
			if len(v) != 4 || sum != bad || by.Baseline != good+bad {
				t.Errorf("the partitions are %+v", by)
			}
		case "producer_release", "release", "group":
			want := map[string]string{"producer_release": "shop@1.7.0", "release": "worker@2.0.0", "group": "payments"}[by.Dimension]
			if len(v) != 1 || v[0].Value != want || v[0].Events != 48 || v[0].Baseline != good+bad {
				t.Errorf("%s is %+v, want %s", by.Dimension, v, want)
			}
		case "key":
			if len(v) == 0 || len(v[0].Value) != 16 || v[0].Baseline == 0 {
				t.Errorf("the keys are %+v", v)
			}
		}
	}
	var below issueMessages
	h.MustGet(t, "issues/"+found.ID+"/messages", &below)
	if below.Placed != 48 || below.BySpan != 48 || below.Records != bad || below.Finding.Rule != "few-records" {
		t.Errorf("errors below the processing: %+v, want all found by their span", below)
	}

	// And from a record back.
	ref := m.Worst[0]
	if ref.Events != attempts || ref.Reads != attempts {
		t.Errorf("the worst record is %+v, want %d events and readings", ref, attempts)
	}
	path := fmt.Sprintf("records/%s/%d/%d", ref.Topic, ref.Partition, ref.Offset)
	var record struct {
		Hops    []harness.Hop `json:"hops"`
		Traces  []string      `json:"traces"`
		Journey string        `json:"journey"`
		Events  []struct {
			Issue   string `json:"issue"`
			FoundBy string `json:"foundBy"`
		} `json:"events"`
		Issues []harness.Issue `json:"issues"`
	}
	began := time.Now()
	h.MustGet(t, path, &record)
	t.Logf("looked up in %s", time.Since(began).Round(time.Millisecond))
	by := map[string]int{}
	for _, e := range record.Events {
		by[e.Issue+" "+e.FoundBy]++
	}
	if len(record.Hops) != attempts || record.Hops[0].Producer == nil || len(record.Traces) == 0 || !strings.HasPrefix(record.Journey, "/traces/"+record.Traces[0]) ||
		by[told.ID+" event"] != attempts || by[found.ID+" span"] != attempts || len(record.Issues) != 2 {
		t.Errorf("%s: %d hops, traces %v, journey %q, events %v, issues %+v", path, len(record.Hops), record.Traces, record.Journey, by, record.Issues)
	}
	if err := h.Get("records/payments/0/1000000", &record); !harness.IsStatus(err, http.StatusNotFound) || !strings.Contains(err.Error(), "record_not_found") {
		t.Errorf("a record that is not there: %v", err)
	}
}

// runProgram builds and runs a program of this module to its end.
func runProgram(t *testing.T, dir string, env ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	binary := filepath.Join(t.TempDir(), filepath.Base(dir))
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, dir).CombinedOutput(); err != nil { //nolint:gosec // of this module
		t.Fatalf("cannot build %s: %v\n%s", dir, err, out)
	}
	cmd := exec.CommandContext(ctx, binary) //nolint:gosec // just built
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s failed: %v\n%s", dir, err, out)
	}
}
