package bench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// BenchmarkQuery asks the web API of a whole process what the UI asks, over a day of
// ten million spans. It runs once (-benchtime 1x); the first run makes the day, about
// six minutes on two cores. What is asked for is picked at random, anew in each run.
func BenchmarkQuery(b *testing.B) {
	data, d := loadDay(b)
	h := harness.StartHoptrace(b, harness.Options{Data: data, ReadyWithin: 30 * time.Minute, Settings: map[string]string{
		"clickhouse.retention_days": "3650", // the day stays, however old
	}})
	q := &queries{b: b, h: h, d: d}
	q.settle()
	day := "from=" + strconv.FormatInt(d.Start.UnixNano(), 10) + "&to=" + strconv.FormatInt(d.end().UnixNano(), 10)
	q.measure("trace", 200, func() (string, func([]byte) error) {
		n := rand.IntN(d.traces())
		if n%linkedEvery == 5 {
			n++
		}
		return "traces/" + dayTraceID(n, false).String(), wantJourney(6, 2)
	})
	q.measure("trace-of-links", 100, func() (string, func([]byte) error) {
		n := rand.IntN(d.traces()/linkedEvery-1)*linkedEvery + 5
		return "traces/" + dayTraceID(n, rand.IntN(2) == 0).String(), wantJourney(6, 2)
	})
	// From a record's place to its trace; and the record's whole page.
	q.measure("offset", 200, func() (string, func([]byte) error) {
		topic, partition, offset := d.record()
		return "find?q=" + url.QueryEscape(fmt.Sprintf("%s/%d@%d", dayTopic(topic), partition, offset)), func(body []byte) error {
			var found struct {
				Records []struct {
					Offset  int64
					TraceID string
				}
			}
			if err := json.Unmarshal(body, &found); err != nil || len(found.Records) != 1 || found.Records[0].Offset != offset || found.Records[0].TraceID == "" {
				return fmt.Errorf("no trace of offset %d: %s, %w", offset, body, err)
			}
			return nil
		}
	})
	q.measure("record", 200, func() (string, func([]byte) error) {
		topic, partition, offset := d.record()
		return fmt.Sprintf("records/%s/%d/%d", url.PathEscape(dayTopic(topic)), partition, offset), func(body []byte) error {
			var found struct{ Traces []string }
			if err := json.Unmarshal(body, &found); err != nil || len(found.Traces) == 0 {
				return fmt.Errorf("no trace of the record, %w", err)
			}
			return nil
		}
	})
	q.measure("topology", 100, func() (string, func([]byte) error) { return "topology?" + day, notEmpty("edges") })
	q.measure("heatmap", 100, func() (string, func([]byte) error) {
		topic, _, _ := d.record()
		return "topics/" + url.PathEscape(dayTopic(topic)) + "/heatmap?" + day, notEmpty("rows")
	})
	q.measure("rare", 100, func() (string, func([]byte) error) {
		n := rand.IntN(d.traces()/rareEvery)*rareEvery + 77
		return "search/spans?" + day + "&q=" + url.QueryEscape(rareKey+":"+rareValue(n)), func(body []byte) error {
			var found struct{ Spans []json.RawMessage }
			if err := json.Unmarshal(body, &found); err != nil || len(found.Spans) != 1 {
				return fmt.Errorf("%d spans have the attribute, want 1 (%w)", len(found.Spans), err)
			}
			return nil
		}
	})
	q.measure("find-key", 100, func() (string, func([]byte) error) {
		return "find?" + day + "&q=" + url.QueryEscape("key:"+dayOrder(rand.IntN(d.traces()))), notEmpty("records")
	})
	q.measure("find-message-id", 100, func() (string, func([]byte) error) {
		n := rand.IntN(d.traces()/namedEvery)*namedEvery + 3
		return "find?" + day + "&q=" + url.QueryEscape("id:"+dayMessageID(n)), notEmpty("records")
	})
	q.measure("lag-slowest", 100, func() (string, func([]byte) error) {
		// What the lag desk asks: the slowest of the last 500 records that a group read.
		topic, partition, offset := d.record()
		from := max(offset-500, firstOffset)
		return fmt.Sprintf("hops?topic=%s&group=%s&partition=%d&offset_from=%d&offset_to=%d&order=slowest&limit=5",
			url.QueryEscape(dayTopic(topic)), url.QueryEscape(dayGroup(topic)), partition, from, offset+1), notEmpty("hops")
	})
	q.measure("issues", 50, func() (string, func([]byte) error) { return "issues?" + day, notEmpty("issues") })
	q.measure("topics", 20, func() (string, func([]byte) error) { return "topics?" + day, notEmpty("topics") })
	q.measure("traces", 100, func() (string, func([]byte) error) { return "traces?" + day, notEmpty("traces") })
	q.measure("slowest-hops-of-a-partition", 50, func() (string, func([]byte) error) {
		topic, partition, _ := d.record()
		return fmt.Sprintf("hops?%s&order=slowest&topic=%s&partition=%d", day, url.QueryEscape(dayTopic(topic)), partition), notEmpty("hops")
	})
}

// record picks one.
func (d *day) record() (topic, partition int, offset int64) {
	for {
		topic, partition = rand.IntN(dayTopics), rand.IntN(dayPartitions)
		if n := d.Records[topic][partition]; n > 0 {
			return topic, partition, firstOffset + rand.Int64N(n)
		}
	}
}

func wantJourney(spans, hops int) func([]byte) error {
	return func(body []byte) error {
		var j harness.Journey
		if err := json.Unmarshal(body, &j); err != nil {
			return err
		}
		if len(j.Spans) != spans || len(j.Hops) != hops {
			return fmt.Errorf("the journey has %d spans and %d hops, want %d and %d", len(j.Spans), len(j.Hops), spans, hops)
		}
		return nil
	}
}

// notEmpty wants a list in the answer.
func notEmpty(list string) func([]byte) error {
	return func(body []byte) error {
		var answer map[string]json.RawMessage
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		var all []json.RawMessage
		if err := json.Unmarshal(answer[list], &all); err != nil || len(all) == 0 {
			return fmt.Errorf("the answer has no %s (%w)", list, err)
		}
		return nil
	}
}

type queries struct {
	b *testing.B
	h *harness.Hoptrace
	d *day
}

// settle waits until the process has come to rest after its start.
func (q *queries) settle() {
	(&line{b: q.b, h: q.h}).settle(5 * time.Minute)
}

// measure asks n times, after five times to warm up, and reports how long it took.
func (q *queries) measure(name string, n int, next func() (path string, check func([]byte) error)) {
	q.b.Run(name, func(b *testing.B) {
		b.ReportMetric(0, "ns/op") // of an empty loop: leave it out
		var took []float64
		before := q.h.Process.Usage(b)
		for i := range n + 5 {
			path, check := next()
			var body json.RawMessage
			began := time.Now()
			if err := q.h.Get(path, &body); err != nil {
				b.Fatalf("%s: %v", path, err)
			}
			if i >= 5 {
				took = append(took, float64(time.Since(began).Microseconds())/1000)
			}
			if err := check(body); err != nil {
				b.Errorf("%s: %v", path, err)
			}
		}
		after := q.h.Process.Usage(b)
		slices.Sort(took)
		at := func(p float64) float64 { return took[min(int(p*float64(len(took))), len(took)-1)] }
		b.ReportMetric(at(0.50), "p50-ms")
		b.ReportMetric(at(0.95), "p95-ms")
		// With what the process does beside it; less than the time on the wall disturbed.
		b.ReportMetric(float64((after.CPU-before.CPU).Microseconds())/1000/float64(n+5), "cpu-ms")
	})
}
