// Awkward fills a running hoptrace with what a user interface must bear: waits of three
// hours, parts below zero, batches of 5,000, traces of 10,000 spans, forty services,
// names in any script, dead letters. See package cases.
//
//	go run ./integration/awkward --otlp http://127.0.0.1:4318 --dsn http://KEY@127.0.0.1:4318/1 --kafka 127.0.0.1:9092
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/hoptrace/hoptrace/integration/awkward/cases"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "awkward:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("awkward", flag.ContinueOnError)
	var cfg cases.Config
	flags.StringVar(&cfg.OTLP, "otlp", "http://127.0.0.1:4318", "`URL` of the collector's OTLP over HTTP")
	flags.StringVar(&cfg.DSN, "dsn", "", "`DSN` of the project that errors go to; without it none are sent")
	flags.StringVar(&cfg.Kafka, "kafka", "", "`address` of the broker for what needs real records; without it that is left out")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "the same `number` at the same time gives the same spans")
	now := flags.String("now", "", "the `time` before which all lies, as 2026-11-30T12:00:00Z; empty means now")
	told := flags.String("told", "", "`file` for what was sent, as JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *now != "" {
		at, err := time.Parse(time.RFC3339, *now)
		if err != nil {
			return fmt.Errorf("cannot read --now: %w", err)
		}
		cfg.Now = at
	}
	sent, err := cases.Send(ctx, cfg)
	if err != nil {
		return err
	}
	if *told != "" {
		text, err := json.MarshalIndent(sent, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(*told, append(text, '\n'), 0o600); err != nil {
			return fmt.Errorf("cannot keep what was sent: %w", err)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, c := range sent.Cases {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.Name, c.Trace, c.Says)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("%d spans in %d cases\n", sent.Spans, len(sent.Cases))
	return nil
}
