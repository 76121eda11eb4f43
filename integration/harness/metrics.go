package harness

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Metrics are the samples of one scrape, by name and labels as written:
// `name{a="b"}`.
type Metrics map[string]float64

// Metrics scrapes the process.
func (h *Hoptrace) Metrics(t testing.TB) Metrics {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.Own+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := probe.Do(req)
	if err != nil {
		t.Fatalf("cannot scrape %s: %v", h.Process.Name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		t.Fatalf("cannot read the metrics of %s: %v", h.Process.Name, err)
	}
	m, err := parseMetrics(string(body))
	if err != nil {
		t.Fatalf("cannot understand the metrics of %s: %v", h.Process.Name, err)
	}
	return m
}

func parseMetrics(text string) (Metrics, error) {
	out := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("line %q has no value", line)
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		out[line[:i]] = v
	}
	return out, nil
}

// Sum adds the samples of one name whose labels contain all of these texts, as
// `reason="no_key"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	var sum float64
next:
	for k, v := range m {
		base, rest, _ := strings.Cut(k, "{")
		if base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		sum += v
	}
	return sum
}

// Grown lists the samples that are larger than before, with the difference.
func (m Metrics) Grown(before Metrics) Metrics {
	out := Metrics{}
	for k, v := range m {
		if d := v - before[k]; d > 0 {
			out[k] = d
		}
	}
	return out
}
