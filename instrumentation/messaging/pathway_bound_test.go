package messaging

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

func TestPathwaysAboveTheBoundAreToldOnceAndMarked(t *testing.T) {
	var mu sync.Mutex
	var told []string
	var sent bytes.Buffer
	r := measure.NewRegistry(measure.Options{
		OnOverflow: func(instrument string, bound int) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(instrument, " ", bound))
		},
		Export: func(_ context.Context, b measure.Batch) error {
			mu.Lock()
			defer mu.Unlock()
			sent.Write(b.Body)
			return nil
		},
	})
	c := service("shop")
	c.meter = r.Meter(measure.Scope{Name: "test"})
	w := c.newPathways()
	for i := range uint64(maxPathways + 100) {
		n := w.node(nodeKey{parent: i, topic: "orders", group: "g", direction: directionIn})
		n.group.Lock()
		n.group.Add(pathwayFanIn, 1)
		n.group.Unlock()
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(told) != "[hoptrace.pathway.latency 512]" {
		t.Errorf("told %v; want the bound of pathways once", told)
	}
	if n := bytes.Count(sent.Bytes(), []byte("otel.metric.overflow")); n != 1 {
		t.Errorf("%d points are marked as an overflow; want that of the other pathways", n)
	}
	if len(w.nodes) != maxPathways {
		t.Errorf("%d pathways are remembered; want %d", len(w.nodes), maxPathways)
	}
}
