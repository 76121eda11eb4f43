// Orders is a shop in one program: four small services that pass each order on
// over three Kafka topics, traced by hoptrace.
//
//	POST /checkout → orders → [orders] → payments → [payments] → shipping → [shipping]
//
// Payments is slow, now and then very slow, and some cards are declined. Start it
// beside "hoptrace all" and look where the orders spend their time. Each service
// has its own tracing client, as if it were a program of its own; what a single
// service needs is hoptrace.Init and the two wrappers.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	cfg, err := parseFlags(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(2)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel}))
	slog.SetDefault(log)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	summary, err := run(ctx, cfg, log)
	stop()
	if err != nil {
		log.Error("the shop cannot run", "err", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		log.Error("cannot print the summary", "err", err)
		os.Exit(1)
	}
	if summary.Unfinished > 0 {
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	brokers       []string
	otlp          string
	protocol      string
	dsn           string
	rate          float64
	count         int
	paymentsDelay time.Duration
	failEvery     int
	slowEvery     int
	partitions    int
	workers       int
	links         bool
	linger        time.Duration
	drain         time.Duration
	logLevel      slog.Level
}

func parseFlags(args []string) (config, error) {
	var cfg config
	var brokers, level string
	fs := flag.NewFlagSet("orders", flag.ContinueOnError)
	fs.StringVar(&brokers, "brokers", "127.0.0.1:9092", "Kafka `addresses`, separated by commas")
	fs.StringVar(&cfg.otlp, "otlp", "", "`URL` of the collector (default: OTEL_EXPORTER_OTLP_ENDPOINT, else http://127.0.0.1:4317)")
	fs.StringVar(&cfg.protocol, "otlp-protocol", "grpc", "grpc or http")
	fs.StringVar(&cfg.dsn, "dsn", "", "Sentry `DSN` for errors; without one they are only counted")
	fs.Float64Var(&cfg.rate, "rate", 5, "orders a second")
	fs.IntVar(&cfg.count, "count", 0, "end after this many orders; 0 means run until stopped")
	fs.DurationVar(&cfg.paymentsDelay, "payments-delay", 120*time.Millisecond, "how long a payment takes")
	fs.IntVar(&cfg.failEvery, "fail-every", 20, "decline every n-th payment; 0 means none")
	fs.IntVar(&cfg.slowEvery, "slow-every", 40, "let every n-th payment take 20 times as long; 0 means none")
	fs.IntVar(&cfg.partitions, "partitions", 4, "partitions of each topic, when it has to be made")
	fs.IntVar(&cfg.workers, "workers", 0, "payments done at a time (default: 4, or 32 when a payment takes no time)")
	fs.BoolVar(&cfg.links, "links", false, "only link consumers to producers instead of making one trace of an order")
	fs.DurationVar(&cfg.linger, "linger", 10*time.Millisecond, "how long a producer waits for a batch to fill (kafka-go's default is 1s)")
	fs.DurationVar(&cfg.drain, "drain", time.Minute, "how long to wait for orders under way when stopped")
	fs.StringVar(&level, "log", "info", "log `level`: debug, info, warn or error")
	if err := fs.Parse(args); err != nil {
		return cfg, fmt.Errorf("cannot read the flags: %w", err)
	}
	for _, b := range strings.Split(brokers, ",") {
		if b = strings.TrimSpace(b); b != "" {
			cfg.brokers = append(cfg.brokers, b)
		}
	}
	if cfg.workers == 0 {
		cfg.workers = 4
		if cfg.paymentsDelay == 0 {
			cfg.workers = 32
		}
	}
	if err := cfg.logLevel.UnmarshalText([]byte(level)); err != nil {
		return cfg, fmt.Errorf("-log is %q; it must be debug, info, warn or error", level)
	}
	return cfg, cfg.validate()
}

func (c config) validate() error {
	var faults []string
	if len(c.brokers) == 0 {
		faults = append(faults, "-brokers names none")
	}
	if c.rate <= 0 || c.rate > 100_000 {
		faults = append(faults, "-rate must be above 0 and at most 100000")
	}
	if c.count < 0 || c.failEvery < 0 || c.slowEvery < 0 || c.paymentsDelay < 0 || c.linger < 0 || c.drain < 0 {
		faults = append(faults, "-count, -fail-every, -slow-every, -payments-delay, -linger and -drain must not be negative")
	}
	if c.partitions < 1 || c.partitions > 1000 {
		faults = append(faults, "-partitions must be from 1 to 1000")
	}
	if c.workers < 1 || c.workers > 1000 {
		faults = append(faults, "-workers must be from 1 to 1000")
	}
	if len(faults) > 0 {
		return fmt.Errorf("the flags are not valid: %s", strings.Join(faults, "; "))
	}
	return nil
}
