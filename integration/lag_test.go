package integration

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// A group of a real Apache Kafka and what the lag desk must say of it.
type lagGroup struct {
	name       string
	serverSide bool // of the consumer protocol of KIP-848
	reads      int  // records, of the hundred there are
	stays      bool // as a member, after its last commit

	state   string
	members int
}

const (
	lagTopic     = "jobs"
	lagRecords   = 100
	lagRetention = time.Hour
)

var lagGroups = []lagGroup{
	{name: "classic-all", reads: 100, stays: true, state: "ok", members: 1},
	{name: "classic-stuck", reads: 40, stays: true, state: "stall", members: 1},
	{name: "classic-gone", reads: 10, state: "stop"},
	{name: "server-side-all", serverSide: true, reads: 100, stays: true, state: "ok", members: 1},
	{name: "server-side-stuck", serverSide: true, reads: 70, stays: true, state: "stall", members: 1},
	{name: "server-side-gone", serverSide: true, reads: 20, state: "stop"},
}

type lagDetail struct {
	Lines []struct {
		State   string `json:"state"`
		Members *int   `json:"members"`
		Lag     int64  `json:"lag"`
		Error   string `json:"error"`
	} `json:"lines"`
	Partitions []lagPartition `json:"partitions"`
}

type lagPartition struct {
	Topic     string `json:"topic"`
	Owner     string `json:"owner"`
	Committed int64  `json:"committed"`
	LogEnd    int64  `json:"logEnd"`
	Lag       int64  `json:"lag"`
	BehindNs  *int64 `json:"behindNs"`
	Spare     struct {
		When string `json:"when"`
		Ns   int64  `json:"ns"`
	} `json:"spare"`
}

// TestLagAndClocksOfASecuredApacheKafka runs the line on a broker that wants TLS and
// SASL, beside groups of both of Kafka's group protocols whose lag is known.
func TestLagAndClocksOfASecuredApacheKafka(t *testing.T) {
	kafka := harness.StartKafka(t)
	written := writeJobs(t, kafka.Address)
	for _, g := range lagGroups {
		g.run(t, kafka.Address)
	}
	h := harness.StartHoptrace(t, harness.Options{Brokers: kafka.Secure, Settings: map[string]string{
		"kafka.tls.enabled": "true", "kafka.tls.ca_file": kafka.CAFile,
		"kafka.sasl.mechanism": "plain", "kafka.sasl.username": harness.SecureUser, "kafka.sasl.password": harness.SecurePassword,
		"lagwatch.interval": "1s", "lagwatch.window": "5s",
	}})
	for _, g := range lagGroups {
		t.Run(g.name, func(t *testing.T) { g.check(t, h, written) })
	}
	t.Run("beacon", func(t *testing.T) { checkBeacon(t, h, kafka.Secure) })
	t.Run("line", func(t *testing.T) {
		h := *h
		h.Kafka = kafka.Address // the example speaks neither
		run := runOrders(t, &h, ordersRun{count: 300, rate: 100})
		harness.WaitDrained(t, kafka.Address, time.Minute, "ingest-spans", "ingest-events", "events")
		run.check(t, &h)
	})
	if kafka.Process.LogContains("Failed authentication") {
		t.Error("the broker refused a connection of ours")
	}
}

// writeJobs makes the topic of one partition and its records; the answer is when
// the last was stamped, at the earliest.
func writeJobs(t *testing.T, broker string) time.Time {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(lagTopic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	retention := fmt.Sprint(lagRetention.Milliseconds())
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": &retention}, lagTopic); err != nil {
		t.Fatalf("cannot make topic %s: %v", lagTopic, err)
	}
	now := time.Now()
	for i := range lagRecords {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(fmt.Sprint("job ", i))}).FirstErr(); err != nil {
			t.Fatalf("cannot produce: %v", err)
		}
	}
	return now
}

// run reads and commits what the group is to, and leaves or stays until the test ends.
func (g lagGroup) run(t *testing.T, broker string) {
	t.Helper()
	opts := []kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ClientID(g.name + "-1"), kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(lagTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
	}
	if g.serverSide {
		opts = append(opts, kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer())
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	if g.stays {
		t.Cleanup(client.Close)
	} else {
		defer client.Close()
	}
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for left := g.reads; left > 0; {
		records := client.PollRecords(within, left)
		if err := errors.Join(records.Err(), within.Err()); err != nil {
			t.Fatalf("%s cannot read: %v", g.name, err)
		}
		left -= records.NumRecords()
		if err := client.CommitRecords(within, records.Records()...); err != nil {
			t.Fatalf("%s cannot commit: %v", g.name, err)
		}
	}
}

func (g lagGroup) check(t *testing.T, h *harness.Hoptrace, written time.Time) {
	var d lagDetail
	harness.Until(t, g.name+" is "+g.state, 30*time.Second, func() error {
		if err := h.Get("/lag/"+url.PathEscape(g.name)+"?topic="+lagTopic, &d); err != nil {
			return err
		}
		if len(d.Lines) != 1 || d.Lines[0].State != g.state {
			return fmt.Errorf("it is %+v", d)
		}
		if len(d.Partitions) == 1 && d.Partitions[0].BehindNs == nil { // each round dates one group's
			return fmt.Errorf("its first unread record has no age yet: %+v", d)
		}
		return nil
	})
	line := d.Lines[0]
	if line.Error != "" || line.Members == nil || *line.Members != g.members || len(d.Partitions) != 1 {
		t.Fatalf("%+v; want no error, %d members, one partition", d, g.members)
	}
	p := d.Partitions[0]
	if p.Topic != lagTopic || p.Committed != int64(g.reads) || p.LogEnd != lagRecords || p.Lag != int64(lagRecords-g.reads) || line.Lag != p.Lag {
		t.Errorf("%+v; want %d committed of %d", p, g.reads, lagRecords)
	}
	owner := ""
	if g.stays {
		owner = g.name + "-1"
	}
	if p.Owner != owner {
		t.Errorf("its owner is %q, want %q", p.Owner, owner)
	}
	if g.reads == lagRecords {
		return
	}
	// The oldest unread record is no older than the first of all.
	if age := time.Since(written); p.BehindNs == nil || *p.BehindNs <= 0 || time.Duration(*p.BehindNs) > age {
		t.Errorf("behind %v ns; want some, at most %s", p.BehindNs, age)
	}
	if p.Spare.When != "in" || p.Spare.Ns <= int64(lagRetention-5*time.Minute) || p.Spare.Ns > int64(lagRetention) {
		t.Errorf("retention deletes the first unread record %+v; want in nearly %s", p.Spare, lagRetention)
	}
}

// checkBeacon wants the broker's clock, which is this host's, in a narrow interval
// around zero that the beacon found.
func checkBeacon(t *testing.T, h *harness.Hoptrace, broker string) {
	var list struct {
		Clocks []struct {
			Broker           string  `json:"broker"`
			Cluster          string  `json:"cluster"`
			State            string  `json:"state"`
			LowNs            *int64  `json:"lowNs"`
			HighNs           *int64  `json:"highNs"`
			BeaconsPerMinute float64 `json:"beaconsPerMinute"`
		} `json:"clocks"`
	}
	harness.Until(t, "the beacon knows the clock of "+broker, 30*time.Second, func() error {
		if err := h.Get("/clocks", &list); err != nil {
			return err
		}
		for _, c := range list.Clocks {
			if c.Broker == broker && c.State == "known" && c.BeaconsPerMinute > 0 {
				// Apache Kafka stamps in whole milliseconds.
				if c.Cluster == "" || c.LowNs == nil || c.HighNs == nil || *c.LowNs > 0 || *c.HighNs < 0 || *c.HighNs-*c.LowNs > int64(5*time.Second) {
					return fmt.Errorf("it is %+v; want a narrow interval around 0", c)
				}
				t.Logf("broker's clock − ours is in [%s, %s]", time.Duration(*c.LowNs), time.Duration(*c.HighNs))
				return nil
			}
		}
		return fmt.Errorf("there are %+v", list.Clocks)
	})
}
