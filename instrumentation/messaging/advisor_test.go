package messaging

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// advised runs f on a Core whose findings are logged, and returns the log.
func advised(t *testing.T, f func(*Core)) string {
	t.Helper()
	var log bytes.Buffer
	f(NewCore(Config{
		Scope: "test", TracerProvider: tracenoop.NewTracerProvider(), MeterProvider: metricnoop.NewMeterProvider(),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}))
	return log.String()
}

func wants(t *testing.T, log, id string, texts ...string) {
	t.Helper()
	if n := strings.Count(log, "finding="+id+" "); n != 1 {
		t.Errorf("finding %q was said %d times; want once in:\n%s", id, n, log)
	}
	for _, text := range texts {
		if !strings.Contains(log, text) {
			t.Errorf("the log lacks %q:\n%s", text, log)
		}
	}
}

const ms = int64(time.Millisecond)

func send(c *Core, facts ProducerFacts, n int, o func(start int64) Outcome) {
	p := c.Producer(ProducerConfig{ClientID: "shop", Facts: facts})
	for i := range int64(400) {
		start := 1_700_000_000_000*ms + i*1000*ms
		out := o(start)
		call := Call{producer: p, start: start}
		var f Finisher
		p.Finish(&f, "orders", 0, &out)
		for range n {
			var s Send
			call.Measure(&s)
			f.Add(&s, &Sent{})
		}
		f.Done()
	}
}

func quick(start int64) Outcome {
	return Outcome{Written: start + ms/2, Acked: start + ms}
}

func TestAdvisorSaysThatLingerIsMostOfTheTime(t *testing.T) {
	log := advised(t, func(c *Core) {
		send(c, ProducerFacts{BatchTimeout: time.Second, BatchSize: 100}, 3, func(start int64) Outcome {
			return Outcome{Written: start + 930*ms, Acked: start + 1000*ms}
		})
	})
	wants(t, log, AdviceLinger, `93 % of the median time to send to \"orders\" is BatchTimeout 1s at 3 messages a batch: set 10ms`, "gain=920ms", "topic=orders", "client=shop")
}

func TestAdvisorSaysNothingOfASteadyClient(t *testing.T) {
	log := advised(t, func(c *Core) {
		send(c, ProducerFacts{BatchTimeout: 10 * time.Millisecond, BatchSize: 100, Acks: "all"}, 50, quick)
		read(c, ConsumerFacts{QueueCapacity: 100, MinBytes: 1, MaxWait: time.Second}, func(d *Delivery, at int64) {
			d.RecordTime, d.Asked, d.Answered, d.Handed = at-3*ms, at-4*ms, at-2*ms, at-ms
		}, ms)
	})
	if log != "" {
		t.Errorf("the advisor said %s; want nothing", log)
	}
}

func TestAdvisorSaysThatNobodyLearnsOfLostRecords(t *testing.T) {
	log := advised(t, func(c *Core) { send(c, ProducerFacts{Acks: "none"}, 50, quick) })
	wants(t, log, AdviceAcksNone, "RequiredAcks is none")
}

func TestAdvisorSaysThatRequestsAreRetried(t *testing.T) {
	log := advised(t, func(c *Core) {
		send(c, ProducerFacts{}, 50, func(start int64) Outcome {
			return Outcome{FirstWritten: start, Written: start + ms, Acked: start + 2*ms, Attempts: 2}
		})
	})
	wants(t, log, AdviceRetries, "were written more than once")
}

func TestAdvisorSaysThatTheBrokerThrottles(t *testing.T) {
	log := advised(t, func(c *Core) {
		send(c, ProducerFacts{}, 50, func(start int64) Outcome {
			o := quick(start)
			o.Throttle = 40 * time.Millisecond
			return o
		})
	})
	wants(t, log, AdviceThrottled, "for 40ms on average", "gain=40ms")
}

func TestAdvisorSaysThatBatchesAreTiny(t *testing.T) {
	log := advised(t, func(c *Core) { send(c, ProducerFacts{BatchTimeout: time.Microsecond}, 1, quick) })
	wants(t, log, AdviceTinyBatches, "carry 1 messages")
}

// read processes 400 records, each for work nanoseconds.
func read(c *Core, facts ConsumerFacts, times func(d *Delivery, at int64), work int64) {
	co := c.Consumer(ConsumerConfig{Group: "billing", Facts: facts})
	p := co.Partition("orders", 0)
	for i := range int64(400) {
		at := 1_700_000_000_000*ms + i*1000*ms
		d := Delivery{Partition: p, Offset: i}
		times(&d, at)
		co.advisor.received(co, &d)
		co.advisor.processed("orders", at, at+work)
	}
}

func TestAdvisorSaysThatFetchedRecordsWait(t *testing.T) {
	log := advised(t, func(c *Core) {
		read(c, ConsumerFacts{QueueCapacity: 100}, func(d *Delivery, at int64) { d.Answered, d.Handed = at-500*ms, at }, 5*ms)
	})
	wants(t, log, AdviceFetchQueue, "wait 500ms in the client before 5ms of processing (QueueCapacity 100)", "group=billing")
}

func TestAdvisorSaysThatAGroupIsBehind(t *testing.T) {
	log := advised(t, func(c *Core) {
		read(c, ConsumerFacts{}, func(d *Delivery, at int64) {
			d.RecordTime, d.Asked, d.Answered, d.Handed = at-90_000*ms, at-2*ms, at-ms, at
		}, ms)
	})
	wants(t, log, AdviceBehind, "wait 1m30s in the log")
}

func TestAdvisorSaysThatTheBrokerHoldsRecordsBack(t *testing.T) {
	log := advised(t, func(c *Core) {
		read(c, ConsumerFacts{MinBytes: 10_000, MaxWait: 10 * time.Second}, func(d *Delivery, at int64) {
			d.RecordTime, d.Asked, d.Answered, d.Handed = at-9000*ms, at-10_000*ms, at-ms, at
		}, ms)
	})
	wants(t, log, AdviceMinBytes, "to fill MinBytes 10000, up to MaxWait 10s: set MinBytes 1")
}

func TestAdvisorSaysThatEachCommitCosts(t *testing.T) {
	log := advised(t, func(c *Core) {
		co := c.Consumer(ConsumerConfig{Group: "billing"})
		for i := range int64(300) {
			co.Settle(t.Context(), &Settlement{Start: i * 10 * ms, End: i*10*ms + 2*ms + ms/10, Count: 1, Offsets: []Settled{{"orders", 0, i + 1}}})
		}
	})
	wants(t, log, AdviceCommitEach, `a commit for each message of \"orders\" costs 2.1ms`)
}

func TestAdvisorSaysThatAGroupIsNotSteady(t *testing.T) {
	log := advised(t, func(c *Core) {
		co := c.Consumer(ConsumerConfig{Group: "billing"})
		for range 6 {
			co.Rebalance("member left", time.Second)
		}
	})
	wants(t, log, AdviceManyRebalances, "last because of member left")
}

func TestAdvisorCountsNoFailedRequestAsTime(t *testing.T) {
	log := advised(t, func(c *Core) {
		send(c, ProducerFacts{BatchTimeout: time.Second}, 3, func(start int64) Outcome {
			return Outcome{Written: start + 930*ms, Err: errors.New("no"), ErrorType: "_OTHER"}
		})
	})
	if strings.Contains(log, AdviceLinger) {
		t.Errorf("failed requests were taken for slow ones: %s", log)
	}
}
