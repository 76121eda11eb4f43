package clock

import (
	"testing"
	"time"
)

func BenchmarkSampler(b *testing.B) {
	b.Run("call=produce", func(b *testing.B) {
		s := NewSampler(nil)
		now := time.Now().UnixNano()
		b.ReportAllocs()
		for b.Loop() {
			s.Produce("b1", 9092, now-ms, now, now/ms*ms)
		}
	})
	b.Run("call=fetch", func(b *testing.B) {
		s := NewSampler(nil)
		now := time.Now().UnixNano()
		b.ReportAllocs()
		for b.Loop() {
			s.Fetch("b1", 9092, now-ms, now, now/ms*ms, false)
		}
	})
	b.Run("call=produce/second=new", func(b *testing.B) { // every call opens another second
		now := time.Now().UnixNano()
		s := newSampler(func() int64 { return now }, func() int64 { return now })
		b.ReportAllocs()
		for b.Loop() {
			now += second
			s.Produce("b1", 9092, now-ms, now, now/ms*ms)
		}
	})
}

func BenchmarkTile(b *testing.B) {
	times := Times{epoch, epoch + ms, epoch + 3*ms, epoch + 2*ms, epoch + 9*ms, epoch + 10*ms, epoch + 11*ms, epoch + 20*ms}
	o := Offsets{Producer: Interval{-ms, ms}, Consumer: Interval{-ms, ms}}
	b.ReportAllocs()
	for b.Loop() {
		Tile(times, o)
	}
}
