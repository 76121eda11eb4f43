// Package collector is the role that stands beside applications: it receives
// OTLP traces, metrics and logs and what Sentry SDKs send, checks them, and answers when Kafka
// has them. It decodes nothing that it does not have to (see package pipeline
// for what the data means).
//
// What was answered with success is durable: in Kafka, or in the spool while Kafka
// does not take data (see package spool). What was not may be there even so: when
// Kafka acknowledges too late, the spool hands the same records on again and an OTLP
// sender's retry stores its spans twice. Sentry SDKs do not retry; they are told 429
// and to wait only when the spool is full or the disk fails, never 503.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/envelope"
	"github.com/hoptrace/hoptrace/collector/otlp"
	"github.com/hoptrace/hoptrace/collector/outcome"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
)

// Deps are what a collector works with. It closes none of them.
type Deps struct {
	// Kafka writes the records (see produce.FromKafka).
	Kafka produce.Client
	// Projects authenticates.
	Projects project.Store
	// Gate decides what is taken of whom. Nil means the settings of the projects.
	Gate policy.Gate
	// Quota holds senders to what they may send, when Gate is nil. Nil: none.
	Quota policy.Quota
	// Around puts another gate around that one. Nil: none.
	Around func(policy.Gate, outcome.Recorder) (policy.Gate, error)
	// Outcomes is told what became of what was handed over, besides the metrics.
	// It may be nil.
	Outcomes outcome.Recorder
	// Registerer gets the metrics hoptrace_collector_*.
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Collector is the role. Start and Shutdown may be called from any goroutine.
type Collector struct {
	cfg      Config
	log      *slog.Logger
	counts   *outcome.Counts
	producer *produce.Producer
	budget   *bound.Budget
	otlp     *otlp.Receiver
	envelope *envelope.Receiver

	mu       sync.Mutex // guards the following
	grpc     *grpc.Server
	http     *http.Server
	grpcAddr net.Addr
	httpAddr net.Addr
	failed   error // why a listener ended by itself
	running  sync.WaitGroup
}

// New wires the parts. It opens nothing before Start.
func New(cfg Config, deps Deps) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	budget := bound.NewBudget(int64(cfg.MaxInFlightBytes))
	counts, err := outcome.New(deps.Registerer, budget.InFlight)
	if err != nil {
		return nil, err
	}
	producer := produce.New(deps.Kafka, cfg.ProduceTimeout, counts.Produced)
	projects := project.NewResolver(deps.Projects, project.Config{Default: cfg.DefaultProject})
	gate, outcomes := deps.Gate, outcome.Fan{counts}
	if deps.Outcomes != nil {
		outcomes = append(outcomes, deps.Outcomes)
	}
	var scrub func(*policy.Sender, string, []byte) []byte
	if gate == nil {
		byProject, err := policy.New(policy.Config{MaxEventBytes: int(cfg.MaxEventBytes)}, policy.Deps{Quota: deps.Quota, Recorder: outcomes})
		if err != nil {
			return nil, err
		}
		gate, scrub = byProject, byProject.ScrubOTLP
	}
	if deps.Around != nil {
		if gate, err = deps.Around(gate, outcomes); err != nil {
			return nil, err
		}
	}
	from := project.From{Forwarded: cfg.TrustForwarded}
	return &Collector{
		cfg: cfg, log: deps.Log, counts: counts, producer: producer, budget: budget,
		otlp: otlp.New(otlp.Config{
			MaxRequestBytes: int64(cfg.MaxRequestBytes), MaxDecompressedBytes: int64(cfg.MaxDecompressedBytes),
			MaxRecordBytes: int(cfg.MaxRecordBytes), RequireAuth: cfg.RequireAuth, RetryAfter: cfg.RetryAfter, From: from,
		}, otlp.Deps{Projects: projects, Producer: producer, Budget: budget, Counts: counts, Outcomes: outcomes, Gate: gate, Scrub: scrub, Log: deps.Log}),
		envelope: envelope.New(envelope.Config{
			MaxBytes: int64(cfg.MaxEnvelopeBytes), MaxRaw: int64(cfg.MaxEnvelopeBytes), MaxRatio: int64(cfg.MaxEnvelopeRatio), MaxItems: cfg.MaxEnvelopeItems,
			MaxEventBytes: int64(cfg.MaxEventBytes), MaxAttachmentBytes: int64(cfg.MaxAttachmentBytes), MaxAttachments: cfg.MaxAttachments,
			MaxContainerBytes: int64(cfg.MaxContainerBytes), MaxSessionBytes: int64(cfg.MaxSessionBytes), MaxCheckInBytes: int64(cfg.MaxCheckInBytes),
			MaxProfileBytes: int64(cfg.MaxProfileBytes), MaxReplayBytes: int64(cfg.MaxReplayBytes), MaxClientReportBytes: int64(cfg.MaxClientReportBytes),
			MaxRecordBytes: int(cfg.MaxRecordBytes), RetryAfter: cfg.RetryAfter, From: from,
		}, envelope.Deps{Projects: projects, Producer: producer, Budget: budget, Counts: counts, Outcomes: outcomes, Gate: gate, Log: deps.Log}),
	}, nil
}

// Name is "collector".
func (c *Collector) Name() string { return "collector" }

// Start listens and serves. It fails when an address is taken; it must not be
// called twice.
func (c *Collector) Start(ctx context.Context) error {
	grpcListener, err := listen(ctx, "grpc", c.cfg.GRPC, c.cfg.MaxConnections)
	if err != nil {
		return err
	}
	httpListener, err := listen(ctx, "http", c.cfg.HTTP, c.cfg.MaxConnections)
	if err != nil {
		_ = grpcListener.Close()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.grpcAddr, c.httpAddr = grpcListener.Addr(), httpListener.Addr()
	grpcServer := c.otlp.NewGRPCServer(otlp.GRPCConfig{
		MaxHeaderBytes: int(c.cfg.MaxHeaderBytes), HardHeaderBytes: uint32(max(hardHeaderBytes, c.cfg.MaxHeaderBytes)), MaxConcurrentStreams: uint32(c.cfg.MaxStreams), //nolint:gosec // Validate bounds them
		Timeout: c.cfg.RequestTimeout + c.cfg.ProduceTimeout, IdleTimeout: c.cfg.IdleTimeout,
	})
	httpServer := c.newHTTPServer()
	c.grpc, c.http = grpcServer, httpServer
	c.serve("grpc", func() error { return grpcServer.Serve(grpcListener) }, grpc.ErrServerStopped)
	c.serve("http", func() error { return httpServer.Serve(httpListener) }, http.ErrServerClosed)
	c.log.Info("collector listens", "otlp_grpc", c.grpcAddr.String(), "otlp_http_and_sentry", c.httpAddr.String())
	return nil
}

func (c *Collector) serve(name string, run func() error, stopped error) {
	c.running.Go(func() {
		if err := run(); err != nil && !errors.Is(err, stopped) {
			c.log.Error("a collector listener ended", "listener", name, "err", err)
			c.mu.Lock()
			c.failed = fmt.Errorf("collector's %s listener ended: %w", name, err)
			c.mu.Unlock()
		}
	})
}

// hardHeaderBytes is where a server stops to read headers.
const hardHeaderBytes = 2 << 20

func (c *Collector) newHTTPServer() *http.Server {
	return &http.Server{
		Handler:           c.handler(),
		ReadHeaderTimeout: c.cfg.HeaderTimeout,
		ReadTimeout:       c.cfg.RequestTimeout,
		WriteTimeout:      c.cfg.RequestTimeout + c.cfg.ProduceTimeout + 10*time.Second,
		IdleTimeout:       c.cfg.IdleTimeout,
		// The handler refuses less, by name; beyond this net/http does, unseen.
		MaxHeaderBytes: max(hardHeaderBytes, int(c.cfg.MaxHeaderBytes)),
		ErrorLog:       slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
}

// GRPCAddr is where OTLP over gRPC is served; nil before Start.
func (c *Collector) GRPCAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.grpcAddr
}

// HTTPAddr is where OTLP over HTTP and the Sentry endpoints are served; nil
// before Start.
func (c *Collector) HTTPAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.httpAddr
}

// Pressure is how much of the bytes that may be in flight is, from 0 to 1.
func (c *Collector) Pressure() float64 {
	return min(1, float64(c.budget.InFlight())/float64(c.cfg.MaxInFlightBytes))
}

// Ready tells whether the collector can take data: it listens and Kafka answers.
func (c *Collector) Ready(ctx context.Context) error {
	c.mu.Lock()
	started, failed := c.grpc != nil, c.failed
	c.mu.Unlock()
	if failed != nil {
		return failed
	}
	if !started {
		return errors.New("the collector does not run")
	}
	return c.producer.Ping(ctx)
}

// Shutdown takes no new requests and waits for those under way, at most as
// long as ctx lives; then it cuts them off. What was acknowledged is durable.
func (c *Collector) Shutdown(ctx context.Context) error {
	c.mu.Lock()
	grpcServer, httpServer := c.grpc, c.http
	c.grpc, c.http = nil, nil
	c.mu.Unlock()
	if grpcServer == nil {
		return nil
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		grpcServer.GracefulStop()
	}()
	err := httpServer.Shutdown(ctx)
	if err != nil {
		_ = httpServer.Close()
	}
	select {
	case <-stopped:
	case <-ctx.Done():
		grpcServer.Stop()
		<-stopped
		err = errors.Join(err, ctx.Err())
	}
	c.running.Wait()
	if err != nil {
		return fmt.Errorf("cannot finish the collector's requests: %w", err)
	}
	return nil
}
