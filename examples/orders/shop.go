package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	topicOrders   = "orders"
	topicPayments = "payments"
	topicShipping = "shipping"
)

// finishTimeout bounds how long handlers may finish after the last order.
const finishTimeout = 10 * time.Second

// Order is the value of every message.
type Order struct {
	ID       string `json:"id"`
	Number   int    `json:"number"` // counts from 1 in each run
	Customer string `json:"customer"`
	Amount   int    `json:"amount_cents"`
	Currency string `json:"currency"`
	Paid     bool   `json:"paid"`
}

// Summary is printed at the end.
type Summary struct {
	// Sent counts messages acknowledged by the broker, by topic.
	Sent map[string]int64 `json:"sent"`
	// Processed counts messages processed, by consumer group; a redelivered
	// message counts again.
	Processed      map[string]int64 `json:"processed"`
	Failed         int64            `json:"failed"`          // payments declined
	ErrorsReported int64            `json:"errors_reported"` // handed to Sentry's SDK
	SpansExported  uint64           `json:"spans_exported"`
	SpansDropped   uint64           `json:"spans_dropped"`
	Unfinished     int              `json:"unfinished"` // orders of this run that did not reach the end
}

// shop is what the services share: nothing but counters, and the orders that are
// under way, so that the program knows when it may stop.
type shop struct {
	cfg config
	log *slog.Logger
	run string

	sent      map[string]*atomic.Int64
	processed map[string]*atomic.Int64
	failed    atomic.Int64
	reported  atomic.Int64

	mu       sync.Mutex
	underWay map[string]struct{}
	changed  chan struct{} // closed and replaced whenever an order reaches the end
}

func run(ctx context.Context, cfg config, log *slog.Logger) (Summary, error) {
	if err := createTopics(ctx, cfg, log); err != nil {
		return Summary{}, err
	}
	var id [4]byte
	if _, err := rand.Read(id[:]); err != nil {
		return Summary{}, fmt.Errorf("cannot draw an id: %w", err)
	}
	s := &shop{
		cfg: cfg, log: log, run: hex.EncodeToString(id[:]),
		sent:      map[string]*atomic.Int64{topicOrders: {}, topicPayments: {}, topicShipping: {}},
		processed: map[string]*atomic.Int64{topicOrders: {}, topicPayments: {}, topicShipping: {}},
		underWay:  make(map[string]struct{}),
		changed:   make(chan struct{}),
	}
	services := make(map[string]*service, 4)
	defer func() { closeAll(services) }() // what is left is sent after the end too
	for _, name := range []string{"checkout", "orders", "payments", "shipping"} {
		svc, err := newService(s, name) // its clients live until they are closed
		if err != nil {
			return Summary{}, err
		}
		services[name] = svc
	}

	// The consumers outlive ctx: what is under way when the program is stopped
	// still goes through. When they stop, they stop fetching first.
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	fetching, stopFetching := context.WithCancel(working)
	defer stopFetching()
	var consumers sync.WaitGroup
	ready := 0 // when a payment takes its time, it is to be seen who waits for it
	if cfg.paymentsDelay == 0 {
		ready = 8
	}
	for _, c := range []consumer{
		{service: services["orders"], topic: topicOrders, workers: 32, ready: 8, handle: services["orders"].acceptOrder},
		{service: services["payments"], topic: topicPayments, workers: cfg.workers, ready: ready, handle: services["payments"].takePayment},
		{service: services["shipping"], topic: topicShipping, workers: 32, ready: 8, handle: services["shipping"].ship},
	} {
		consumers.Add(1)
		go func() {
			defer consumers.Done()
			c.run(fetching, working)
		}()
	}

	log.Info("the shop is open", "brokers", cfg.brokers, "rate", cfg.rate, "count", cfg.count)
	// Requests begun before the end are finished, but not for ever.
	sending, stopSending := context.WithCancel(working)
	defer stopSending()
	defer context.AfterFunc(ctx, func() {
		timeout := time.AfterFunc(cfg.drain, stopSending)
		context.AfterFunc(sending, func() { timeout.Stop() })
	})()
	services["checkout"].takeOrders(ctx, sending)
	log.Info("no more orders; waiting for those under way", "orders", s.countUnderWay())
	left := s.waitForAll(cfg.drain)
	stopFetching()
	// An order is at its end when shipping has it, perhaps a moment before
	// payments hears that the broker took it.
	timeout := time.AfterFunc(finishTimeout, stopWorking)
	consumers.Wait()
	timeout.Stop()

	summary := Summary{Sent: map[string]int64{}, Processed: map[string]int64{}, Failed: s.failed.Load(), ErrorsReported: s.reported.Load(), Unfinished: left}
	closeAll(services) // as above
	for _, svc := range services {
		counts := svc.tracing.Counts()
		summary.SpansExported += counts.Exported
		summary.SpansDropped += counts.Dropped
	}
	for topic, n := range s.sent {
		summary.Sent[topic] = n.Load()
	}
	for group, n := range s.processed {
		summary.Processed[group] = n.Load()
	}
	return summary, nil
}

// closeAll closes the services side by side: each may wait for a collector that
// is away.
func closeAll(services map[string]*service) {
	var closing sync.WaitGroup
	for _, svc := range services {
		closing.Add(1)
		go func() {
			defer closing.Done()
			svc.close()
		}()
	}
	closing.Wait()
}

func (s *shop) begin(id string) {
	s.mu.Lock()
	s.underWay[id] = struct{}{}
	s.mu.Unlock()
}

func (s *shop) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.underWay[id]; !ok {
		return // of an earlier run, or delivered twice
	}
	delete(s.underWay, id)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shop) countUnderWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.underWay)
}

// waitForAll waits until no order is under way, at most for limit, and returns
// how many are left.
func (s *shop) waitForAll(limit time.Duration) int {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		left, changed := len(s.underWay), s.changed
		s.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-changed:
		case <-timeout.C:
			s.log.Warn("orders are left under way", "orders", left)
			return left
		}
	}
}
