package harness

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// RunOrders runs the example to its end and reads the JSON line that it prints
// last.
func RunOrders(t testing.TB, within time.Duration, into any, args ...string) {
	t.Helper()
	out := Output(t, within, Command{Name: "orders", Path: Orders(t), Args: args})
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	last := lines[len(lines)-1]
	if err := json.Unmarshal(last, into); err != nil {
		t.Fatalf("the example's last line is no summary: %v: %.500s", err, last)
	}
}
