package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/internal/kafka"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

const topicsUsage = `hoptrace topics looks after the topics between the stations.

  hoptrace topics list                    what each carries, who writes and who reads it
  hoptrace topics plan                    what differs at the brokers
  hoptrace topics apply                   make and change topics so that nothing differs
  hoptrace topics decode TOPIC [SCHEMA]   print the record on standard input as JSON; SCHEMA is
                                          its header "schema", without it the newest is meant

plan and apply take settings as every role does, for example --kafka.brokers broker-1:9092.
`

// maxRecordBytes bounds what decode reads: the largest record that a topic may
// be set up for.
const maxRecordBytes = 64 << 20

// topicsTimeout bounds plan and apply.
const topicsTimeout = time.Minute

// runTopics is `hoptrace topics`; it returns the exit code as run does.
func runTopics(args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	wrong := func(format string, a ...any) int {
		fmt.Fprintf(stderr, "hoptrace topics: "+format+"\n\n%s", append(a, topicsUsage)...)
		return 2
	}
	failed := func(err error) int {
		fmt.Fprintln(stderr, "hoptrace topics:", err)
		return 1
	}
	if len(args) == 0 {
		return wrong("say which: list, plan, apply or decode")
	}
	command, args := args[0], args[1:]
	switch command {
	case "list", "plan", "apply":
		s, _, err := load(roleTopics, args, environ)
		if err != nil {
			return report(stderr, err)
		}
		if command == "list" {
			err = listTopics(stdout, s.Kafka.Topics)
		} else {
			err = planTopics(stdout, s, command == "apply")
		}
		if err != nil {
			return failed(err)
		}
		return 0
	case "decode":
		switch {
		case len(args) == 0:
			return wrong("decode needs a topic: hoptrace topics decode TOPIC < file")
		case len(args) > 2:
			return wrong("decode takes a topic and a schema, not %q", strings.Join(args[2:], " "))
		}
		if _, err := topics.Get(args[0]); err != nil {
			return wrong("%v", err)
		}
		schema := ""
		if len(args) == 2 {
			schema = args[1]
		}
		if err := decodeRecord(args[0], schema, stdin, stdout); err != nil {
			return failed(err)
		}
		return 0
	}
	return wrong("no command %q", command)
}

func listTopics(w io.Writer, names kafka.Names) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "TOPIC\tAT THE BROKERS\tSCHEMAS\tFROM\tTO\tOWNER\tPARTITIONS\tKEPT\tLARGEST")
	for _, t := range topics.All() {
		schemas := make([]string, len(t.Schemas))
		for i, s := range t.Schemas {
			schemas[i] = s.Header + " " + s.Type
		}
		carries := strings.Join(schemas, ", ")
		if t.IsDLQ() {
			carries = "those of " + strings.TrimSuffix(t.Name, "-dlq")
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%d\n", t.Name, names.Physical(t.Name), carries,
			strings.Join(t.Producers, ", "), strings.Join(t.Consumers, ", "), t.Owner, t.Partitions, t.Retention(), t.MaxMessageBytes)
	}
	return tab.Flush()
}

// planTopics prints what differs, and makes it so when apply says.
func planTopics(w io.Writer, s *settings, apply bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, topicsTimeout)
	defer cancel()
	cfg := s.Kafka
	if len(cfg.Brokers) == 0 {
		cfg.Brokers = []string{s.EmbeddedKafka.Listen}
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "hoptrace-topics"
	}
	quiet := slog.New(slog.DiscardHandler)
	client, err := kafka.NewClient(cfg, quiet, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	ready, cancelReady := context.WithTimeout(ctx, 10*time.Second)
	defer cancelReady()
	if err := kafka.WaitReady(ready, client, cfg.Brokers); err != nil {
		return err
	}
	admin := kafka.NewAdmin(client, quiet)
	changes, err := admin.Plan(ctx, cfg.Topics.Rename(topics.All()))
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		_, err := fmt.Fprintln(w, "nothing differs")
		return err
	}
	if !apply {
		for _, c := range changes {
			fmt.Fprintln(w, c)
		}
		_, err := fmt.Fprintf(w, "%d changes; `hoptrace topics apply` makes them\n", len(changes))
		return err
	}
	return admin.Apply(ctx, changes, func(c kafka.Change) { fmt.Fprintln(w, "done:", c) })
}

func decodeRecord(topic, schema string, from io.Reader, to io.Writer) error {
	raw, err := io.ReadAll(io.LimitReader(from, maxRecordBytes+1))
	if err != nil {
		return fmt.Errorf("cannot read the record: %w", err)
	}
	if len(raw) > maxRecordBytes {
		return fmt.Errorf("the record is larger than %d bytes", maxRecordBytes)
	}
	message, err := wire.DecodeRecord(topic, schema, raw)
	if err != nil {
		return err
	}
	text, err := wire.JSON(message)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return errors.Join(errors.New("the record has no JSON"), err)
	}
	out.WriteByte('\n')
	_, err = out.WriteTo(to)
	return err
}
