package clock

import (
	"encoding/binary"
	"math"
	"testing"
)

// numbers reads int64s of data, the interesting ones more often than by chance.
type numbers []byte

func (n *numbers) next() int64 {
	if len(*n) < 9 {
		*n = nil
		return 0
	}
	kind, v := (*n)[0], int64(binary.LittleEndian.Uint64((*n)[1:]))
	*n = (*n)[9:]
	switch kind % 8 {
	case 0:
		return math.MinInt64 + v&3
	case 1:
		return math.MaxInt64 - v&3
	case 2, 3, 4:
		return epoch + v%(100*second)
	case 5:
		return v % (10 * second)
	}
	return v
}

func seeds(f *testing.F) {
	f.Add([]byte("nothing"))
	b := make([]byte, 0, 900)
	for i := range 100 {
		b = append(b, byte(i))
		b = binary.LittleEndian.AppendUint64(b, uint64(i)*0x9e3779b97f4a7c15)
	}
	f.Add(b)
}

// FuzzTracker feeds it any numbers, then samples that hold the truth of two
// clocks that drift: the truth is never outside.
func FuzzTracker(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		n := numbers(data)
		var wild, honest Tracker
		slope := float64(n.next()%200) * 1e-6
		truth := func(at int64) int64 { return 7*second + int64(slope*float64(at-epoch)) }
		for len(n) > 0 {
			at, lo, hi := n.next(), n.next(), n.next()
			wild.Add(at, lo, hi)
			if i, ok := wild.At(hi); i.Lo > i.Hi || ok != i.Known() {
				t.Fatalf("At(%d) = %v, %v", hi, i, ok)
			}
			at = epoch + at%(1000*second)
			below, above := truth(at)-(lo&math.MaxInt64)%second-1, truth(at)+(hi&math.MaxInt64)%second+1
			switch lo & 7 {
			case 0:
				below = Below
			case 1:
				above = Above
			}
			if honest.Add(at, below, above) {
				t.Fatalf("a step where none was, at %d", at)
			}
			when := epoch + hi%(1000*second)
			if i, _ := honest.At(when); !i.Contains(truth(when)) {
				t.Fatalf("At(%d) = %v does not hold %d", when, i, truth(when))
			}
		}
	})
}

func FuzzSampler(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		n := numbers(data)
		wall, mono := epoch, int64(0)
		s := newSampler(func() int64 { return wall }, func() int64 { return mono })
		for len(n) > 0 {
			switch v := n.next(); v & 3 {
			case 0:
				s.Produce("a", int(n.next()), n.next(), n.next(), n.next())
			case 1:
				s.Fetch("b", int(n.next()), n.next(), n.next(), n.next(), v&4 != 0)
			case 2:
				wall += n.next() % (1000 * second)
				mono += (v >> 2) & math.MaxInt64 % (1000 * second)
			case 3:
				s.Collect(func(broker string, _, lo, hi int64) {
					if lo > hi || broker == "" {
						t.Fatalf("collected %q [%d, %d]", broker, lo, hi)
					}
				})
			}
		}
	})
}

// FuzzTile lays out any times: nothing overflows into a panic, and what is known
// sums exactly.
func FuzzTile(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		n := numbers(data)
		for len(n) > 0 {
			times := Times{n.next(), n.next(), n.next(), n.next(), n.next(), n.next(), n.next(), n.next()}
			o := Offsets{Interval{n.next(), n.next()}, Interval{n.next(), n.next()}, n.next()&1 == 0}
			tile := Tile(times, o)
			sum, all := int64(0), true
			for p, known := range tile.Known {
				sum += tile.Length[p]
				all = all && known
				if !known && tile.Length[p] != 0 {
					t.Fatalf("part %d is unknown and %d", p, tile.Length[p])
				}
			}
			if all && tile.EndToEndKnown && sum != tile.EndToEnd {
				t.Fatalf("%+v, %+v: the parts sum to %d; end to end is %d", times, o, sum, tile.EndToEnd)
			}
		}
	})
}
