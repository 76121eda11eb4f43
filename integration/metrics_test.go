package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// postCounts sends a request with n points of value 1 and waits until it is
// acknowledged.
func postCounts(t *testing.T, h *harness.Hoptrace, n int) {
	t.Helper()
	points := make([]string, n)
	for i := range points {
		points[i] = fmt.Sprintf(`{"timeUnixNano":"%d","asInt":"1","attributes":[{"key":"messaging.destination.name","value":{"stringValue":"orders"}},`+
			`{"key":"messaging.destination.partition.id","value":{"stringValue":"%d"}}]}`, time.Now().UnixNano(), i%3)
	}
	body := `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"counted","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[` +
		strings.Join(points, ",") + `]}}]}]}]}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.HTTP+"/v1/metrics", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the collector answers %s", resp.Status)
	}
}

// TestEachAcknowledgedPointIsStoredOnceThroughKillNine kills the product right
// after it has acknowledged points, three times, and adds up what is stored.
func TestEachAcknowledgedPointIsStoredOnceThroughKillNine(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	sent := 0
	for round := range 4 {
		h := harness.StartHoptrace(t, harness.Options{Name: "round-" + strconv.Itoa(round), Data: data})
		if round > 0 {
			harness.WaitDrained(t, h.Kafka, 30*time.Second, "ingest-metrics")
			var d struct {
				Series []struct {
					Partition *int
					Steps     []struct{ Sum *float64 }
				}
			}
			h.MustGet(t, "metrics/counted?topic=orders&by=partition&step=1m", &d)
			stored := 0.0
			for _, s := range d.Series {
				for _, at := range s.Steps {
					stored += *at.Sum
				}
			}
			if len(d.Series) != 3 || int(stored) != sent {
				t.Errorf("after %d kills %v points are stored on %d partitions; %d were acknowledged on 3", round, stored, len(d.Series), sent)
			}
		}
		if round == 3 {
			stopClean(t, h)
			break
		}
		// Some are read and stored while others come; how far it gets differs.
		for range 150 * (round + 1) {
			postCounts(t, h, 12)
			sent += 12
		}
		h.Process.Kill()
	}
	// Behind the API's back, which would count a point that is there twice once.
	engine := harness.OpenEngine(t, data)
	if rows := engine.Number("SELECT count() FROM metric_points WHERE name = 'counted'"); rows != int64(sent) {
		t.Errorf("the store has %d rows of %d points", rows, sent)
	}
}
