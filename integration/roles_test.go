package integration

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// Collector, pipeline and web as processes of their own, against a real Apache
// Kafka and a real Postgres; only the engine is the embedded one.
func TestRolesApartDoWhatAllDoes(t *testing.T) {
	kafka := harness.StartKafka(t)
	postgres := harness.StartPostgres(t)
	dir := t.TempDir()
	engine := harness.StartHoptrace(t, harness.Options{Role: "clickhouse", Data: filepath.Join(dir, "engine")})
	shared := func(role string) harness.Options {
		return harness.Options{
			Role: role, Brokers: kafka.Address, Data: filepath.Join(dir, role),
			Settings: map[string]string{
				"clickhouse.address":  engine.EngineAddress,
				"clickhouse.user":     harness.EngineUser,
				"clickhouse.password": harness.EnginePassword,
				"metadata.dsn":        postgres.DSN,
				"blobs.dir":           filepath.Join(dir, "blobs"),
			},
		}
	}
	// Started in no useful order: each waits for what it needs.
	web := shared("web")
	collector := shared("collector")
	web.Settings["collector.http"] = harness.FreeAddress(t)
	collector.Settings["collector.http"] = web.Settings["collector.http"] // what status tells SDKs
	w := harness.LaunchHoptrace(t, web)
	c := harness.LaunchHoptrace(t, collector)
	p := harness.LaunchHoptrace(t, shared("pipeline"))
	for _, h := range []*harness.Hoptrace{c, p, w} {
		h.WaitReady(t, time.Minute)
		t.Logf("%s is ready %s after its start", h.Process.Name, h.ReadyAfter.Round(time.Millisecond))
	}
	all := &harness.Hoptrace{}
	*all = *w
	all.GRPC, all.HTTP, all.Kafka = c.GRPC, c.HTTP, kafka.Address
	run := runOrders(t, all, ordersRun{count: 300, rate: 100})
	harness.WaitDrained(t, kafka.Address, time.Minute, "ingest-spans", "ingest-events", "events")
	run.check(t, all)

	// The pipeline away for a while: nothing is lost, it is only later.
	if err := p.Process.Stop(30 * time.Second); err != nil {
		t.Errorf("the pipeline did not end cleanly: %v", err)
	}
	spans := newLedger()
	sendRounds(t, c.GRPC, 90, 4, spans)
	again := shared("pipeline")
	again.Name = "hoptrace-pipeline-2"
	harness.StartHoptrace(t, again)
	took := harness.WaitDrained(t, kafka.Address, time.Minute, "ingest-spans", "ingest-events", "events")
	t.Logf("the pipeline caught up %s after it was ready again", took.Round(time.Millisecond))
	direct := harness.DialEngine(t, engine.EngineAddress)
	stored := countByID(direct, "SELECT lower(hex(span_id)), count() FROM spans GROUP BY span_id")
	for id := range stored {
		if !spans.sent[id] {
			delete(stored, id) // the example's own
		}
	}
	spans.check(t, "span", stored)
	c = kafkaAway(t, kafka, c, collector, direct)
	for _, h := range []*harness.Hoptrace{w, c} {
		if err := h.Process.Stop(30 * time.Second); err != nil {
			t.Errorf("%s did not end cleanly: %v", h.Process.Name, err)
		}
	}
}

// kafkaAway kills the broker, sends on, kills the collector, too, and starts one
// that finds no broker: what was acknowledged by either is stored in the end, once.
func kafkaAway(t *testing.T, kafka *harness.Kafka, c *harness.Hoptrace, options harness.Options, direct *harness.Engine) *harness.Hoptrace {
	t.Helper()
	kafka.Process.Kill()
	spans := newLedger()
	sendRounds(t, c.GRPC, 91, 2, spans)
	if _, acked, fails := spans.counts(); acked == 0 || fails > 0 {
		t.Errorf("without Kafka %d spans were acknowledged and %d requests failed; want all in the spool", acked, fails)
	}
	c.Process.Kill()
	options.Name = "hoptrace-collector-2"
	c = harness.StartHoptrace(t, options)
	t.Logf("without Kafka the collector is ready again after %s", c.ReadyAfter.Round(time.Millisecond))
	sendRounds(t, c.GRPC, 92, 2, spans)
	kafka.Restart()
	took := harness.Until(t, "the spool is handed on", time.Minute, func() error {
		if n := c.Metrics(t).Sum("hoptrace_collector_spool_requests"); n > 0 {
			return fmt.Errorf("it holds %v requests", n)
		}
		return nil
	})
	t.Logf("the spool was empty %s after Kafka was back", took.Round(time.Millisecond))
	harness.WaitDrained(t, kafka.Address, time.Minute, "ingest-spans")
	stored := countByID(direct, "SELECT lower(hex(span_id)), count() FROM spans GROUP BY span_id")
	for id := range stored {
		if !spans.sent[id] {
			delete(stored, id)
		}
	}
	for id := range spans.acked {
		if stored[id] == 0 {
			t.Errorf("span %s was acknowledged and is not stored", id)
			break
		}
	}
	sent, acked, _ := spans.counts()
	t.Logf("without Kafka: %d spans sent, %d acknowledged, %d in the store", sent, acked, len(stored))
	return c
}
