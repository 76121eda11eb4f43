package harness

import (
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestApacheKafkaStartsTakesARecordAndEndsCleanly(t *testing.T) {
	k := StartKafka(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Address), kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("parts"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "parts", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatalf("cannot produce: %v", err)
	}
	fetches := client.PollFetches(t.Context())
	if err := fetches.Err(); err != nil {
		t.Fatalf("cannot consume: %v", err)
	}
	if got := fetches.NumRecords(); got != 1 {
		t.Fatalf("consumed %d records, want 1", got)
	}
	u := k.Process.Usage(t)
	if u.Processes < 1 || u.RSS < 50<<20 || u.Anonymous <= 0 || u.Anonymous > u.RSS || u.CPU <= 0 {
		t.Errorf("usage of Kafka is %+v, which cannot be", u)
	}
	t.Logf("Apache Kafka holds %d MB, %d MB of them anonymous, after %s of CPU", u.RSS>>20, u.Anonymous>>20, u.CPU)
	client.Close()
	start := time.Now()
	// Java ends with 143 after SIGTERM; what counts is that it had the time to.
	_ = k.Process.Stop(30 * time.Second)
	if took := time.Since(start); took > 25*time.Second {
		t.Errorf("Kafka took %s to end", took)
	}
	if !k.Process.LogContains("shut down completed") {
		t.Errorf("Kafka's log does not say that it shut down")
	}
}

func TestPostgresStartsAsAnUnprivilegedUser(t *testing.T) {
	p := StartPostgres(t)
	got := string(Output(t, 10*time.Second, Command{
		Name: "psql", Path: LookPath(t, "psql"), Args: []string{p.DSN, "-Atc", "select 40 + 2"},
	}))
	if got != "42\n" {
		t.Errorf("select 40 + 2 = %q, want 42", got)
	}
}

func TestAProcessThatIgnoresSIGTERMIsKilledAndNamed(t *testing.T) {
	p := Start(t, Command{Name: "stubborn", Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; echo up; while :; do sleep 1; done"}})
	Until(t, "it is up", 5*time.Second, func() error {
		if !p.LogContains("up") {
			return errNotYet
		}
		return nil
	})
	Until(t, "it has a child", 5*time.Second, func() error {
		if len(p.Descendants(t)) == 0 {
			return errNotYet
		}
		return nil
	})
	if err := p.Stop(100 * time.Millisecond); err == nil {
		t.Error("Stop of a process that ignores SIGTERM = nil, want an error")
	}
	if Alive(p.PID()) {
		t.Error("it is still alive")
	}
	if Alive(os.Getpid()) != true {
		t.Error("this process is not alive, says Alive")
	}
}
