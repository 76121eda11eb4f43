// Command devserver serves the web role on made-up data, for work on the UI:
//
//	go run ./web/testdata/devserver -listen 127.0.0.1:8099 [-empty|-broken|-nodes 500]
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/web"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8099", "address")
	empty := flag.Bool("empty", false, "no data: the first-run page")
	broken := flag.Bool("broken", false, "every question fails")
	nodes := flag.Int("nodes", 0, "so many services, topics and groups more in the topology")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	store := fakestore.Orders(time.Now())
	if *empty {
		store = &fakestore.Store{AllProjects: store.AllProjects}
	}
	if *broken {
		store.Err = errors.New("the store is broken, as asked for")
	}
	if *nodes > 0 {
		store.AllFlows = fakestore.ManyFlows(*nodes, time.Now())
	}
	cfg := web.DefaultConfig()
	cfg.Listen = *listen
	cfg.Endpoints = api.Endpoints{OTLPGRPC: "127.0.0.1:4317", OTLPHTTP: "http://127.0.0.1:4318", Sentry: "http://127.0.0.1:4318", Kafka: "127.0.0.1:9092"}
	server, err := web.New(cfg, web.Deps{Spans: store, Messages: store, Metrics: store, Clocks: store, Events: store, Issues: store, IssueEvents: store, Projects: store, Blobs: store, Nodes: store, Logs: store, Ledger: store, Joined: store, Topology: store, Find: store, Search: store, Queries: store, TopicSums: store}, prometheus.NewRegistry(), log)
	if err != nil {
		log.Error("cannot make the web role", "err", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := server.Start(ctx); err != nil {
		log.Error("cannot start", "err", err)
		os.Exit(1)
	}
	<-ctx.Done()
	_ = server.Shutdown(context.Background())
}
