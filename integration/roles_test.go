package integration

import (
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
	for _, h := range []*harness.Hoptrace{w, c} {
		if err := h.Process.Stop(30 * time.Second); err != nil {
			t.Errorf("%s did not end cleanly: %v", h.Process.Name, err)
		}
	}
}
