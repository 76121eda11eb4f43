package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// Sentry's numbers of outcomes and of the category of errors.
const (
	rateLimited     = 2
	clientDiscard   = 5
	categoryOfError = 1
)

// TestWhatAQuotaRefusesIsAccountedFor lets @sentry/node send more errors than its
// project takes. The SDK obeys the 429, drops the rest and reports that; stored,
// refused and reported together are what the program sent.
func TestWhatAQuotaRefusesIsAccountedFor(t *testing.T) {
	const sent, taken = 12, 4
	h := harness.StartHoptrace(t, harness.Options{})
	first := h.DSN(t)
	settings := filepath.Join(t.TempDir(), "settings.json")
	quota := fmt.Sprintf(`{"quotas":[{"id":"errors","categories":["error"],"scope":"project","limit":%d,"window":3600,"reasonCode":"few_errors"}]}`, taken)
	if err := os.WriteFile(settings, []byte(quota), 0o600); err != nil {
		t.Fatal(err)
	}
	harness.Output(t, time.Minute, harness.Command{
		Name: "projects-create", Path: harness.Binary(t), Args: []string{"projects", "create", "limited", "--settings", settings, "--data", h.Data},
	})
	var status harness.Status
	h.MustGet(t, "status", &status)
	var project, dsn string
	for _, p := range status.Projects {
		if len(p.DSNs) == 1 && p.DSNs[0] != first {
			project, dsn = p.ID, p.DSNs[0]
		}
	}
	if dsn == "" {
		t.Fatalf("the new project is not in %+v", status)
	}

	var told struct {
		SDK   string `json:"sdk"`
		Count int    `json:"count"`
	}
	out := node(t, "limited.mjs", "HOPTRACE_DSN="+dsn, fmt.Sprintf("HOPTRACE_COUNT=%d", sent))
	if err := json.Unmarshal(out, &told); err != nil || told.Count != sent {
		t.Fatalf("the program printed %q: %v", out, err)
	}
	t.Logf("real part: @sentry/node %s", told.SDK)

	var stored, refused, dropped int
	harness.Until(t, fmt.Sprintf("what became of %d errors", sent), 30*time.Second, func() error {
		var list harness.IssueList
		if err := h.Get("issues?project="+project, &list); err != nil {
			return err
		}
		stored = 0
		for _, i := range list.Issues {
			stored += i.Events
		}
		var err error
		if refused, dropped, err = outcomesOf(t.Context(), h.Kafka, project); err != nil {
			return err
		}
		if stored+refused+dropped < sent {
			return fmt.Errorf("%d are stored, %d refused, %d reported as dropped", stored, refused, dropped)
		}
		return nil
	})
	t.Logf("%d sent = %d stored + %d refused + %d dropped by the SDK", sent, stored, refused, dropped)
	if stored != taken || refused == 0 || dropped == 0 || stored+refused+dropped != sent {
		t.Errorf("%d are stored, want %d; %d were refused and %d reported as dropped, want some of each and %d together", stored, taken, refused, dropped, sent)
	}
	ledgerBalances(t, h, project, harness.LedgerLine{
		Category: "error", Received: sent, Stored: int64(stored), Limited: int64(refused), ClientDiscard: int64(dropped),
	})
	stopClean(t, h)
}

// ledgerBalances waits until the ledger says of a project's category what it
// should, and that it balances.
func ledgerBalances(t *testing.T, h *harness.Hoptrace, project string, want harness.LedgerLine) {
	t.Helper()
	harness.Until(t, "the ledger of project "+project, 30*time.Second, func() error {
		var ledger harness.Ledger
		if err := h.Get("ledger?project="+project, &ledger); err != nil {
			return err
		}
		if !slices.Contains(ledger.Lines, want) {
			return fmt.Errorf("it has %+v, want %+v", ledger.Lines, want)
		}
		if !ledger.Balanced {
			return fmt.Errorf("it does not balance: %s: %+v", ledger.Verdict, ledger.Lines)
		}
		return nil
	})
}

// outcomesOf reads the topic of outcomes as any Kafka tool would, and adds up
// the errors of a project.
func outcomesOf(ctx context.Context, broker, project string) (refused, dropped int, err error) {
	const topic = "outcomes"
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, 0, err
	}
	var left int64
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, 0, err
		}
		for _, r := range fetches.Records() {
			left--
			var o struct {
				Project  json.Number `json:"project_id"`
				Outcome  int         `json:"outcome"`
				Category int         `json:"category"`
				Quantity *int        `json:"quantity"`
			}
			if err := json.Unmarshal(r.Value, &o); err != nil {
				return 0, 0, fmt.Errorf("an outcome is %.200q: %w", r.Value, err)
			}
			if o.Project.String() != project || o.Category != categoryOfError {
				continue
			}
			n := 1
			if o.Quantity != nil {
				n = *o.Quantity
			}
			switch o.Outcome {
			case rateLimited:
				refused += n
			case clientDiscard:
				dropped += n
			}
		}
	}
	return refused, dropped, nil
}
