package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// network is a real Kafka with hoptrace beside it.
type network struct {
	kafka   *harness.Kafka
	h       *harness.Hoptrace
	dsn     string
	with    languages
	goRoots map[string]trace.SpanContext // in which goFirst sent its orders
}

func startNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{with: installLanguages(t), kafka: harness.StartKafka(t)}
	n.h = harness.StartHoptrace(t, harness.Options{Brokers: n.kafka.Address})
	n.dsn = n.h.DSN(t)
	return n
}

// makeTopics makes topics of one partition and waits until they have a leader:
// who joins a group before that is given no partition.
func (n *network) makeTopics(t *testing.T, topics ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.kafka.Address), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	made, err := admin.CreateTopics(ctx, 1, 1, nil, topics...)
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		t.Fatalf("cannot make the topics %v: %v", topics, err)
	}
	harness.Until(t, fmt.Sprintf("the topics %v have leaders", topics), 30*time.Second, func() error {
		offsets, err := admin.ListEndOffsets(ctx, topics...)
		if err != nil {
			return err
		}
		return offsets.Error()
	})
}

// foreign is a program of another language, of the folders node, python and
// java: it sends each order in a trace of its own and then reads topics.
type foreign struct {
	service string // and its consumer group
	orders  []string
	command harness.Command

	joined, linked func(context.Context, *relay) error // clients of the Go services behind it

	sentry        bool // its instrumentation writes sentry-trace only, and sends its spans in Sentry's own form
	links         bool // its instrumentation links the consumer's span to the producer's
	noHandlerSpan bool // its instrumentation ends the consumer's span before the handler begins
}

// relayed is what such a program tells.
type relayed struct {
	Parts []string     `json:"parts"` // the libraries at work, with their versions
	Sent  []sentOrder  `json:"sent"`
	Read  []readRecord `json:"read"`

	// Of the Sentry SDK: the spans, in the shape of the web API, and the event
	// that it sent while it sent the first order.
	Spans []harness.Span `json:"spans"`
	Event string         `json:"event"`
	// Failed is the event of the first record that it read, with the span around it.
	Failed struct {
		Event   string `json:"event"`
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	} `json:"failed"`
}

// sentOrder is one order with the span around its sending.
type sentOrder struct {
	Order   string `json:"order"`
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

// readRecord is one record as the program's handler got it. The ids are of the
// span that was current then, empty without one.
type readRecord struct {
	Topic   string            `json:"topic"`
	Order   string            `json:"order"`
	Headers map[string]string `json:"headers"`
	TraceID string            `json:"traceId"`
	SpanID  string            `json:"spanId"`
}

// run runs the program to its end. With no topic to send to it only reads; from
// each topic it reads as many records as there are orders.
func (f foreign) run(t *testing.T, n *network, send string, read []string) relayed {
	t.Helper()
	expected := make([]string, 0, len(read))
	for _, topic := range read {
		expected = append(expected, fmt.Sprintf("%s=%d", topic, len(f.orders)))
	}
	c := f.command
	c.Name = f.service
	c.Env = append(
		slices.Clone(c.Env),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+n.h.HTTP, // for what an SDK exports beside spans
		"HOPTRACE_KAFKA="+n.kafka.Address, "HOPTRACE_OTLP="+n.h.HTTP, "HOPTRACE_DSN="+n.dsn, "HOPTRACE_SERVICE="+f.service,
		"HOPTRACE_SEND="+send, "HOPTRACE_ORDERS="+strings.Join(f.orders, ","), "HOPTRACE_READ="+strings.Join(expected, ","),
	)
	out := harness.Output(t, 2*time.Minute, c)
	var told relayed
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatalf("the program printed %q: %v", out, err)
	}
	t.Logf("real parts: %s", strings.Join(told.Parts, ", "))
	if send != "" && len(told.Sent) != len(f.orders) {
		t.Fatalf("the program sent %+v, want the orders %v", told.Sent, f.orders)
	}
	if len(told.Read) != len(read)*len(f.orders) {
		t.Fatalf("the program read %+v, want %v", told.Read, expected)
	}
	return told
}

// languages is what the programs need, installed before several of them start.
type languages struct {
	node, python, java string // folders of this one
	interpreter, jars  string // of Python, for Java
}

func installLanguages(t *testing.T) languages {
	t.Helper()
	root := filepath.Join(harness.Root(t), "integration")
	l := languages{node: filepath.Join(root, "node"), python: filepath.Join(root, "python"), java: filepath.Join(root, "java")}
	installNode(t, l.node)
	l.interpreter = harness.Python(t, l.python)
	l.jars = harness.Jars(t, l.java, "opentelemetry-kafka-clients-2.6-2.31.1-alpha.jar")
	return l
}

func (l languages) nodeProgram(t *testing.T, program string) harness.Command {
	t.Helper()
	return harness.Command{Path: harness.LookPath(t, "node"), Args: []string{program}, Dir: l.node}
}

func (l languages) pythonProgram(client string) harness.Command {
	return harness.Command{Path: l.interpreter, Args: []string{"relay.py"}, Dir: l.python, Env: []string{"HOPTRACE_CLIENT=" + client}}
}

func (l languages) javaProgram(t *testing.T) harness.Command {
	t.Helper()
	return harness.Command{
		Path: harness.LookPath(t, "java"), Dir: l.java,
		Args: []string{"-XX:TieredStopAtLevel=1", "-cp", filepath.Join(l.jars, "*"), "Relay.java"},
	}
}
