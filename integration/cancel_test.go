package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters/clickhouse"
	"github.com/hoptrace/hoptrace/integration/harness"
	"github.com/hoptrace/hoptrace/web/api"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// A browser that leaves a page closes its request. What was asked of the engine ends
// then, too, and the one place for questions is free for the next.
func TestAQuestionThatNobodyWaitsForEndsInTheEngine(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{Role: "clickhouse"})
	cfg := clickhouse.DefaultConfig()
	cfg.Address, cfg.User, cfg.Password, cfg.Database = h.EngineAddress, harness.EngineUser, harness.EnginePassword, "hoptrace"
	store, err := clickhouse.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := harness.DialEngine(t, h.EngineAddress)
	e.Table(`INSERT INTO messages (project, topic, partition, offset, side, consumer_group, span_id, time, duration, known, d_written)
SELECT 1, concat('t', toString(number % 16)), intDiv(number, 16) % 16, intDiv(number, 512), 1 + 2 * (intDiv(number, 256) % 2), if(intDiv(number, 256) % 2 = 1, concat('g', toString(number % 7)), ''),
	reinterpretAsFixedString(number), now64(9) - toIntervalMillisecond(number % 3600000), 1000000, 127, 1000 FROM numbers(3000000)`)

	other := fakestore.Orders(time.Now())
	handler, err := api.New(api.Config{MaxConcurrent: 1, QueryTimeout: time.Minute}, api.Deps{
		Spans: other, Messages: store, Metrics: other, Clocks: other, Logs: other, Ledger: other, Events: other, Issues: other,
		IssueEvents: other, Joined: other, Projects: other, Blobs: other, Nodes: other, Find: other,
	}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	running := func() int64 {
		return e.Number("SELECT count() FROM system.processes WHERE query LIKE '%messages%' AND query NOT LIKE '%system.processes%'")
	}

	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/hops?order=slowest&from="+strconv.FormatInt(time.Now().Add(-2*time.Hour).UnixNano(), 10), nil)
		if err == nil {
			var resp *http.Response
			if resp, err = http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				err = fmt.Errorf("it was answered with %s before it could be left", resp.Status)
			}
		}
		ended <- err
	}()
	harness.Until(t, "the engine works on the question", 20*time.Second, func() error {
		select {
		case err := <-ended:
			t.Fatalf("the question ended by itself: %v", err)
		default:
		}
		if n := running(); n == 0 {
			return fmt.Errorf("%d statements run", n)
		}
		return nil
	})
	leave()
	left := time.Now()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the request ended with %v, want %v", err, context.Canceled)
	}
	harness.Until(t, "the statement is gone from the engine", 10*time.Second, func() error {
		if n := running(); n > 0 {
			return fmt.Errorf("%d statements run", n)
		}
		return nil
	})
	if took := time.Since(left); took > time.Second {
		t.Errorf("the engine worked on for %s after the reader had left, want at most 1s", took)
	}
	harness.Until(t, "the place for questions is free", time.Second, func() error {
		resp, err := http.Get(server.URL + "/api/v1/names")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the next question is answered with %s", resp.Status)
		}
		return nil
	})
}
