package collector

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAPortInUseNamesTheSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	f := func(setting string, change func(*Config)) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.GRPC, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
		change(&cfg)
		c, err := New(cfg, Deps{Kafka: &memory{}, Projects: &projects{}, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "collector."+setting+" "+taken.Addr().String()) || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("Start = %v; want it to name collector.%s", err, setting)
		}
		if err := c.Ready(t.Context()); err == nil {
			t.Error("a collector that could not start is ready")
		}
		if err := c.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown without Start = %v", err)
		}
	}
	f("grpc", func(c *Config) { c.GRPC = taken.Addr().String() })
	f("http", func(c *Config) { c.HTTP = taken.Addr().String() })
}

func TestEveryFaultOfTheConfigurationIsNamed(t *testing.T) {
	cfg := DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
	err := (&Config{GRPC: "nowhere", MaxRequestBytes: 1 << 40, MaxRecordBytes: 8 << 20, MaxEventBytes: 8 << 20, RetryAfter: -time.Second}).Validate()
	if err == nil {
		t.Fatal("nonsense is valid")
	}
	for _, want := range []string{
		"grpc: \"nowhere\" is no address", "http: \"\" is no address", "default_project is empty", "max_record_bytes is 8388608, want at most",
		"max_event_bytes is 8388608, want at most", "max_request_bytes is 1099511627776, want at most", "max_decompressed_bytes", "max_envelope_bytes", "max_in_flight_bytes",
		"max_header_bytes", "max_envelope_items", "max_connections", "max_streams", "header_timeout is 0s", "request_timeout", "idle_timeout", "produce_timeout", "retry_after is -1s",
	} {
		if !strings.Contains(err.Error(), "collector."+want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
	if _, err := New(Config{}, Deps{}); err == nil {
		t.Error("New takes a configuration that is not valid")
	}
}

func TestShutdownWaitsForRequestsUnderWay(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.ProduceTimeout = 300 * time.Millisecond })
	h.kafka.mu.Lock()
	h.kafka.hang = true
	h.kafka.mu.Unlock()
	answered := make(chan answer)
	go func() { answered <- h.post("/v1/traces", asProto, protoOf(t, request(1, nil))) }()
	h.eventually("the request is under way", func() bool { return h.metric("in_flight_bytes") > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	select {
	case a := <-answered:
		a.want(t, 503)
	case <-ctx.Done():
		t.Error("the request got no answer")
	}
	if _, err := net.DialTimeout("tcp", h.HTTPAddr().String(), time.Second); err == nil {
		t.Error("it still listens")
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.MaxConnections = 2 })
	var held []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", h.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	done := make(chan answer, 1)
	go func() { done <- h.do("GET", "/api/relay/healthcheck/live/", nil, nil) }()
	select {
	case <-done:
		t.Error("a third connection was served")
	case <-time.After(100 * time.Millisecond):
	}
	_ = held[0].Close()
	(<-done).want(t, 200)
	_ = held[1].Close()
}
