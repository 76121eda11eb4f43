package messaging

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// deliveries are records of a log, of which one in three lacks a context.
func deliveries(t *testing.T, n int, change func(i int, d *Delivery)) (*Consumer, []Delivery) {
	t.Helper()
	c, _ := counted(t, Config{})
	co := c.Consumer(ConsumerConfig{})
	ds := make([]Delivery, n)
	for i := range ds {
		ds[i] = Delivery{Partition: co.Partition("orders", 3), Offset: 100 + int64(i), RecordTime: 1e15, Asked: 2e15, Answered: 3e15, Handed: 4e15, HighWatermark: 10_000}
		if i%3 != 0 {
			ds[i].creation = remote(byte(i))
		}
		if change != nil {
			change(i, &ds[i])
		}
	}
	return co, ds
}

// toldOf are the records that a batch's span names by offset.
func toldOf(t *testing.T, ds []Delivery) map[partitionKey]map[int64]Run {
	t.Helper()
	told := map[partitionKey]map[int64]Run{}
	one := partitionKey{ds[0].Partition.Topic, ds[0].Partition.ID}
	for i := range ds {
		if ds[i].Partition.Topic != one.topic {
			one.topic = ""
		}
	}
	links, dropped, without := batchLinks(ds, partitionKey{"", -1})
	if dropped+without != len(ds)-len(links) {
		t.Errorf("%d and %d have no link, but %d of %d have one", dropped, without, len(links), len(ds))
	}
	text := runsOf(ds, one.topic == "")
	runs, err := ParseRuns(text)
	if err != nil || len(runs) > maxRuns || len(text) > 10_000 {
		t.Fatalf("%d runs of %d bytes: %v", len(runs), len(text), err)
	}
	for _, r := range runs {
		topic := r.Topic
		if topic == "" {
			topic = one.topic
		}
		for o := r.First; o <= r.Last; o++ {
			k := partitionKey{topic, r.Partition}
			if told[k] == nil {
				told[k] = map[int64]Run{}
			}
			if _, twice := told[k][o]; twice {
				t.Errorf("%v at %d is told twice", k, o)
			}
			told[k][o] = r
		}
	}
	return told
}

func TestABatchNamesEachRecordByOffset(t *testing.T) {
	for name, change := range map[string]func(*Consumer, int, *Delivery){
		"one answer": nil,
		"times of their own": func(_ *Consumer, i int, d *Delivery) {
			d.RecordTime, d.Handed = int64(i+1)*1e6, int64(i+1)*1e3
		},
		"all times of their own": func(_ *Consumer, i int, d *Delivery) {
			d.RecordTime, d.Handed, d.Asked, d.Answered, d.HighWatermark = int64(i+1)*1e6, int64(i+1)*1e3, int64(i+1), int64(i+2), int64(i+3)
		},
		"two topics": func(co *Consumer, i int, d *Delivery) {
			if i >= 2000 {
				d.Partition = co.Partition("payments", int32(i%2))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			co, ds := deliveries(t, 5000, nil)
			for i := range ds {
				if change != nil {
					change(co, i, &ds[i])
				}
			}
			if name == "two topics" { // in offsets of their own, without gaps
				next := map[*Partition]int64{}
				for i := range ds {
					ds[i].Offset = next[ds[i].Partition]
					next[ds[i].Partition]++
				}
			}
			byRun := toldOf(t, ds)
			for i := range ds {
				d := &ds[i]
				k := partitionKey{d.Partition.Topic, d.Partition.ID}
				r, told := byRun[k][d.Offset]
				if !told {
					t.Fatalf("%v at %d is not told", k, d.Offset)
				}
				for what, pair := range map[string][2]int64{
					"asked": {r.Asked, d.Asked}, "answered": {r.Answered, d.Answered}, "handed": {r.Handed, d.Handed},
					"record time": {r.RecordTime, d.RecordTime}, "high watermark": {r.HighWatermark, d.HighWatermark},
				} {
					if pair[0] != 0 && pair[0] != pair[1] {
						t.Fatalf("%v at %d: %s %d, want %d or nothing", k, d.Offset, what, pair[0], pair[1])
					}
				}
				if name == "one answer" && (r.Handed == 0 || r.RecordTime == 0) {
					t.Fatalf("%+v; want the times that all share", r)
				}
				if name == "times of their own" && (r.Asked == 0 || r.Answered == 0 || r.HighWatermark == 0) {
					t.Fatalf("%+v; want the times of the answer", r)
				}
			}
		})
	}
}

func TestRunsAreBounded(t *testing.T) {
	_, ds := deliveries(t, 5000, func(i int, d *Delivery) { d.Offset = int64(2 * i) })
	if n := len(toldOf(t, ds)[partitionKey{"orders", 3}]); n != maxRuns {
		t.Errorf("%d by offset, want %d", n, maxRuns)
	}
}

func TestRunsAreReadBackOrRefused(t *testing.T) {
	for text, want := range map[string][]Run{
		"0:7":      {{First: 7, Last: 7}},
		"3:7-9::5": {{Partition: 3, First: 7, Last: 9, Answered: 5}},
		"a.b/1:0-9223372036854775807:1:2:3:4:5 2:1": {{Topic: "a.b", Partition: 1, Last: math.MaxInt64, Asked: 1, Answered: 2, Handed: 3, RecordTime: 4, HighWatermark: 5}, {Partition: 2, First: 1, Last: 1}},
	} {
		got, err := ParseRuns(text)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, d)
		}
		parts := make([]string, 0, len(got))
		for i := range got {
			parts = append(parts, string(got[i].append(nil)))
		}
		if again := strings.Join(parts, " "); again != text {
			t.Errorf("%q is written as %q", text, again)
		}
	}
	for _, text := range []string{"", " ", "7", "7-9", "x:7", "-1:7", "0:", "0:9-7", "0:-7", "0:7-", "0:7:x", "0:7:1:2:3:4:5:6", "0:7  0:8", "2147483648:1", "0:9223372036854775808", "0:+7"} {
		if got, err := ParseRuns(text); err == nil || !strings.Contains(err.Error(), AttrBatchRecords) {
			t.Errorf("%q is %+v, %v; want it refused by name", text, got, err)
		}
	}
}
