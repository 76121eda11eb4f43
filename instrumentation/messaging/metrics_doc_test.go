package messaging

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/measure"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const (
	metricsDoc   = "../../docs/metrics.md"
	metricsBegin = "<!-- from here on written by: go test -run TestMetricsAreDocumented . -update -->\n"
)

// observeAll has every instrument of g's layout see something.
func observeAll(g *measure.Group, l *measure.Layout) {
	g.Lock()
	defer g.Unlock()
	for i, in := range l.Instruments() {
		switch in.Kind {
		case measure.Duration:
			g.Duration(i, 1, 1, nil)
		case measure.Histogram:
			g.Observe(i, 1, 1, nil)
		case measure.Counter:
			g.Add(i, 1)
		case measure.Gauge:
			g.Set(i, 1)
		case measure.Samples:
			g.Sample(i, 1, 1)
		}
	}
}

// documented are the measures by what they are about. exercise makes the groups
// of the layouts as clients do, with as little and as much known as there can be.
var documented = []struct {
	title    string
	layouts  []*measure.Layout
	exercise func(c *Core)
}{
	{"Sending", []*measure.Layout{sendMeasures}, func(c *Core) {
		observeAll(c.Producer(ProducerConfig{}).newPartition(partitionKey{"orders", -1}).at.get(Server{}).group, sendMeasures)
		k := partitionKey{"orders", 3}
		p := c.Producer(ProducerConfig{Server: Server{Host: "kafka", Port: 9092}}).newPartition(k)
		observeAll(p.errorGroup(k, Server{}, "timeout"), sendMeasures)
	}},
	{"Receiving", []*measure.Layout{receiveMeasures, positionMeasures}, func(c *Core) {
		for _, cfg := range []ConsumerConfig{{}, {Group: "billing", ClientID: "b"}} {
			p := c.Consumer(cfg).Partition("orders", 3)
			observeAll(p.got, positionMeasures)
			observeAll(p.at.get(Server{}).group, receiveMeasures)
			observeAll(p.at.get(Server{Host: "kafka", Port: 9092}).group, receiveMeasures)
		}
	}},
	{"Processing", []*measure.Layout{processMeasures}, func(c *Core) {
		observeAll(c.Consumer(ConsumerConfig{}).Partition("orders", 3).done, processMeasures)
		observeAll(c.Consumer(ConsumerConfig{Group: "billing"}).Partition("orders", 3).failedGroup("timeout"), processMeasures)
	}},
	{"Settling", []*measure.Layout{settleMeasures}, func(c *Core) {
		observeAll(c.Consumer(ConsumerConfig{}).newSettleTopic(settleKey{}).groups.get(""), settleMeasures)
		observeAll(c.Consumer(ConsumerConfig{Group: "billing"}).newSettleTopic(settleKey{topic: "orders"}).groups.get(""), settleMeasures)
	}},
	{"Rebalances", []*measure.Layout{rebalanceMeasures}, func(c *Core) {
		c.Consumer(ConsumerConfig{}).Rebalance("join", time.Second)
		c.Consumer(ConsumerConfig{Group: "billing"}).Rebalance("join", time.Second)
	}},
	{"Pathways", []*measure.Layout{pathwayMeasures, pathwayNode}, func(c *Core) {
		w := c.Consumer(ConsumerConfig{}).pathways
		observeAll(w.node(nodeKey{direction: directionIn, topic: "orders"}).group, pathwayMeasures)
		observeAll(w.node(nodeKey{direction: directionIn, topic: "orders", group: "billing"}).group, pathwayMeasures)
	}},
	{"Advice", []*measure.Layout{adviceMeasures}, func(c *Core) {
		a := c.Consumer(ConsumerConfig{}).advisor
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, f := range []finding{{id: "a"}, {id: "b", topic: "orders", group: "billing", client: "shop"}} {
			a.say(f)
		}
	}},
	{"Clocks", clock.Layouts(), func(c *Core) {
		for _, l := range clock.Layouts() {
			if in := l.Instruments(); in[0].Kind == measure.Counter {
				observeAll(c.meter.Group(l), l)
			}
		}
		for range 2 {
			now := c.Now()
			c.Clocks().Produce("kafka", 9092, now-1e6, now, now/1e6*1e6)
			c.Clocks().Collect(func(string, int64, int64, int64) {})
		}
	}},
}

// seen is what a metric's points had as attributes.
type seen struct {
	metricdata.Metrics
	kind              string
	always, sometimes []string
}

func exercised(t *testing.T, exercise func(*Core)) map[string]*seen {
	t.Helper()
	reader := sdk.NewManualReader()
	exercise(NewCore(Config{
		Scope: "test", Service: "shop", Pathways: true, Logger: slog.New(slog.DiscardHandler),
		TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)),
	}))
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]*seen{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			s := &seen{Metrics: m}
			var sets []attribute.Set
			switch d := m.Data.(type) {
			case metricdata.Histogram[float64]:
				s.kind = "histogram"
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Sum[int64]:
				s.kind = "counter"
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Gauge[int64]:
				s.kind = "gauge"
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			}
			count := map[string]int{}
			var keys []string
			for _, set := range sets {
				for _, kv := range set.ToSlice() {
					key := string(kv.Key)
					if count[key]++; count[key] == 1 {
						keys = append(keys, key)
					}
				}
			}
			slices.Sort(keys)
			for _, key := range keys {
				if count[key] == len(sets) {
					s.always = append(s.always, key)
				} else {
					s.sometimes = append(s.sometimes, key)
				}
			}
			out[m.Name] = s
		}
	}
	return out
}

// quoted joins names as Markdown code.
func quoted(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

func TestMetricsAreDocumented(t *testing.T) {
	var b strings.Builder
	for _, section := range documented {
		got := exercised(t, section.exercise)
		fmt.Fprintf(&b, "\n## %s\n", section.title)
		for _, l := range section.layouts {
			for i, in := range l.Instruments() {
				m := got[in.Name]
				if m == nil {
					t.Fatalf("%s: metric %s was not exercised", section.title, in.Name)
				}
				if m.Unit != in.Unit || m.Description == "" {
					t.Errorf("metric %s has unit %q and description %q; the layout says %q", in.Name, m.Unit, m.Description, in.Unit)
				}
				if i == 0 {
					b.WriteString("\nAttributes: ")
					switch {
					case len(m.always)+len(m.sometimes) == 0:
						b.WriteString("none")
					case len(m.sometimes) == 0:
						b.WriteString(quoted(m.always))
					case len(m.always) == 0:
						b.WriteString("where known " + quoted(m.sometimes))
					default:
						b.WriteString(quoted(m.always) + "; where known " + quoted(m.sometimes))
					}
					b.WriteString(".\n\n| metric | unit | kind | what |\n|---|---|---|---|\n")
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", in.Name, m.Unit, m.kind, m.Description)
			}
		}
	}
	doc, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, table, ok := strings.Cut(string(doc), metricsBegin)
	if !ok {
		t.Fatalf("%s lacks the line %q", metricsDoc, metricsBegin)
	}
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(head+metricsBegin+b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(b.String(), table); d != "" {
		t.Errorf("docs/metrics.md differs (-want +got); write it anew by: go test -run TestMetricsAreDocumented . -update\n%s", d)
	}
}
