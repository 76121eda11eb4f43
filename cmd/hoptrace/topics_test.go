package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/internal/embeddedkafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

func topicsCommand(stdin []byte, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = runTopics(args, nil, bytes.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestTopicsArePlannedAndAppliedByTheNamesOfTheConfiguration(t *testing.T) {
	cfg := embeddedkafka.DefaultConfig()
	cfg.Dir, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	b, err := embeddedkafka.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Shutdown(context.Background()) }()
	flags := []string{"--kafka.brokers", b.Addr(), "--kafka.topics", "events=acme.events"}
	f := func(command string, want ...string) {
		t.Helper()
		code, stdout, stderr := topicsCommand(nil, append([]string{command}, flags...)...)
		if code != 0 {
			t.Fatalf("%s ended with %d: %s", command, code, stderr)
		}
		for _, w := range want {
			if !strings.Contains(stdout, w) {
				t.Errorf("%s does not print %q:\n%s", command, w, stdout)
			}
		}
	}
	f("list", "acme.events", "those of events", "otlp-traces/1 protobuf, sentry-spans/2 json", "process-events")
	f("plan", "create topic acme.events with 4 partitions", "create topic outcomes-dlq", "32 changes")
	f("apply", "done: create topic acme.events")
	f("plan", "nothing differs")
}

func TestARecordIsDecodedToJSON(t *testing.T) {
	raw := (&wire.UserReport{Payload: []byte(`{"comments":"broken"}`), StartTime: 1, EventID: strings.Repeat("ab", 16), ProjectID: 7}).AppendMsgpack(nil)
	code, stdout, stderr := topicsCommand(raw, "decode", topics.IngestAttachments)
	if code != 0 || !strings.Contains(stdout, `"type": "user_report"`) || !strings.Contains(stdout, `"$bytes": "{\"comments\":\"broken\"}"`) {
		t.Errorf("decode ended with %d: %s%s", code, stdout, stderr)
	}
	code, stdout, _ = topicsCommand(nil, "decode", topics.IngestSpans, "otlp-traces/1")
	if code != 0 || strings.TrimSpace(stdout) != "{}" {
		t.Errorf("decode of an empty request ended with %d: %s", code, stdout)
	}
	code, _, stderr = topicsCommand(raw[:20], "decode", topics.IngestAttachments)
	if code != 1 || !strings.Contains(stderr, "ingest-attachments: ") {
		t.Errorf("decode of half a record ended with %d: %s; want 1 and the place", code, stderr)
	}
}

func TestAWrongTopicsCommandEndsWithTwoAndSaysTheWayOut(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		code, _, stderr := topicsCommand(nil, args...)
		if code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("hoptrace topics %q ended with %d; want 2 and %q:\n%s", args, code, want, stderr)
		}
	}
	f("list, plan, apply or decode")
	f(`no command "drop"`, "drop")
	f("needs a topic", "decode")
	f(`unknown topic "evnts": there are clock-samples`, "decode", "evnts")
	f(`not "c"`, "decode", topics.Events, "b", "c")
	f(`there is no topic "evnts"`, "plan", "--kafka.topics", "evnts=x")
	f("no such setting", "list", "--kafka.broker", "x")
	code, _, stderr := topicsCommand(nil, "decode", topics.Events, "events/9")
	if code != 1 || !strings.Contains(stderr, `has no schema "events/9": there are events/1`) {
		t.Errorf("decode by an unknown schema ended with %d: %s", code, stderr)
	}
}
