package messaging

import (
	"context"
	"testing"
	"time"
)

// watch returns a consumer's partition, a way to hand records over, and counts.
func watch(t *testing.T) (p *Partition, hand func(offsets ...int64), count func(string) int64) {
	t.Helper()
	c, count := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{Group: "billing"})
	return co.Partition("orders", 0), func(offsets ...int64) {
		for _, o := range offsets {
			deliver(co, o)
		}
	}, count
}

func wantCount(t *testing.T, count func(string) int64, metric string, want int64) {
	t.Helper()
	if got := count(metric); got != want {
		t.Errorf("%s counts %d; want %d", metric, got, want)
	}
}

func TestWhatIsHandedOutOfALostPartitionIsStaleAndLagsNothing(t *testing.T) {
	p, hand, count := watch(t)
	hand(0, 1, 2)
	p.Revoked()
	hand(3, 4, 5)
	p.Watermark(500, 0)
	wantCount(t, count, MetricStale, 3)
	if lag, ok := p.Lag(); ok {
		t.Errorf("a lost partition lags by %d; want nothing told", lag)
	}
	p.Moved()
	hand(90, 91)
	wantCount(t, count, MetricStale, 3)
	wantCount(t, count, MetricGaps, 0)
}

func TestRecordsReadAgainAfterARebalanceAreDuplicates(t *testing.T) {
	p, hand, count := watch(t)
	hand(0, 1, 2, 3, 4, 5)
	p.Moved()
	hand(3, 4, 5, 6)
	wantCount(t, count, MetricDuplicates, 3)
}

func TestRecordsOfSeveralGapsMayArriveLate(t *testing.T) {
	_, hand, count := watch(t)
	hand(0, 10, 5, 3, 20, 15, 4, 5)
	wantCount(t, count, MetricGaps, 2)
	wantCount(t, count, MetricOutOfOrder, 4)
	wantCount(t, count, MetricDuplicates, 1)
}

func TestAGapListIsBounded(t *testing.T) {
	_, hand, count := watch(t)
	for i := range int64(100) {
		hand(i * 10)
	}
	hand(5, 985)
	wantCount(t, count, MetricGaps, 99)
	wantCount(t, count, MetricOutOfOrder, 1) // the other gap is forgotten
	wantCount(t, count, MetricDuplicates, 1)
}

func told(p *Partition, offset, watermark, answered, recordTime int64) {
	d := &Delivery{Partition: p, Offset: offset, HighWatermark: watermark, Answered: answered, Handed: answered + 1, RecordTime: recordTime}
	Deliver[Header](context.Background(), d, nil)
}

func TestATopicMadeAnewStartsAnew(t *testing.T) {
	p, _, count := watch(t)
	now := p.consumer.core.now()
	told(p, 999, 1000, now, now)
	p.consumer.Settle(context.Background(), &Settlement{Offsets: []Settled{{"orders", 0, 1000}}})
	for o := range int64(5) {
		told(p, o, 5, now+o+1, now)
	}
	if lag, ok := p.Lag(); !ok || lag != 0 {
		t.Errorf("Lag() = %d, %v; want 0, true", lag, ok)
	}
	wantCount(t, count, MetricStale, 0)
}

func TestLagTimeBeginsWhenEverythingWasReadLast(t *testing.T) {
	p, _, count := watch(t)
	now, hour := p.consumer.core.now(), int64(time.Hour)
	told(p, 0, 1, now-hour, now-hour) // all is read, an hour ago
	p.Watermark(1, 0)                 // and nothing came since
	p.Watermark(3, 0)                 // until now
	if got := count(MetricLagTime); got > 1000 {
		t.Errorf("two records that came just now make the group late by %d ms", got)
	}
	wantCount(t, count, MetricLag, 2)
}
