package measure

import (
	"math"
	"time"
)

// maxBuckets bounds the buckets of one histogram, as in the OpenTelemetry SDK.
const maxBuckets = 160

// startScale is the finest scale: 64 buckets an octave, so that a value is known
// to 0.54 %. Latencies of one part rarely span less than the 2.5 octaves that fit
// into 160 of them, so a finer start would only be merged away.
const startScale = 6

// bounds[j] is the greatest 52-bit mantissa that is not above 2^(j/64). All but
// the first of these bounds are irrational, so no float64 ever lies on one and
// comparing integers is exact.
var bounds = [1 << startScale]uint64{
	0x0000000000000, 0x02c9a3e778060, 0x059b0d3158574, 0x0874518759bc8,
	0x0b5586cf9890f, 0x0e3ec32d3d1a2, 0x11301d0125b50, 0x1429aaea92ddf,
	0x172b83c7d517a, 0x1a35beb6fcb75, 0x1d4873168b9aa, 0x2063b88628cd6,
	0x2387a6e756238, 0x26b4565e27cdd, 0x29e9df51fdee1, 0x2d285a6e4030b,
	0x306fe0a31b715, 0x33c08b26416ff, 0x371a7373aa9ca, 0x3a7db34e59ff6,
	0x3dea64c123422, 0x4160a21f72e29, 0x44e086061892d, 0x486a2b5c13cd0,
	0x4bfdad5362a27, 0x4f9b2769d2ca6, 0x5342b569d4f81, 0x56f4736b527da,
	0x5ab07dd485429, 0x5e76f15ad2148, 0x6247eb03a5584, 0x6623882552224,
	0x6a09e667f3bcc, 0x6dfb23c651a2e, 0x71f75e8ec5f73, 0x75feb564267c8,
	0x7a11473eb0186, 0x7e2f336cf4e62, 0x82589994cce12, 0x868d99b4492ec,
	0x8ace5422aa0db, 0x8f1ae99157736, 0x93737b0cdc5e4, 0x97d829fde4e4f,
	0x9c49182a3f090, 0xa0c667b5de564, 0xa5503b23e255c, 0xa9e6b5579fdbf,
	0xae89f995ad3ad, 0xb33a2b84f15fa, 0xb7f76f2fb5e46, 0xbcc1e904bc1d2,
	0xc199bdd85529c, 0xc67f12e57d14b, 0xcb720dcef9069, 0xd072d4a07897b,
	0xd5818dcfba487, 0xda9e603db3285, 0xdfc97337b9b5e, 0xe502ee78b3ff6,
	0xea4afa2a490d9, 0xefa1bee615a27, 0xf50765b6e4540, 0xfa7c1819e90d8,
}

// slots leads from a mantissa's top seven bits to the bucket of the slot's first
// value. A slot is narrower than the narrowest bucket, so at most one bound lies
// inside it.
var slots = makeSlots()

func makeSlots() (s [1 << slotBits]int8) {
	for i := range s {
		first, j := uint64(i)<<(52-slotBits), -1
		for j+1 < len(bounds) && bounds[j+1] < first {
			j++
		}
		s[i] = int8(j)
	}
	return s
}

const slotBits = startScale + 1

// bucket returns the index of v's bucket at startScale: bucket i holds
// (2^(i/64), 2^((i+1)/64)], so a power of two belongs to the bucket below. v is
// positive and finite; subnormal numbers count as the smallest normal one.
func bucket(v float64) int32 {
	b := math.Float64bits(v)
	exponent, mantissa := int32(b>>52)-1023, b&(1<<52-1)
	if exponent == -1023 {
		exponent, mantissa = -1022, 0
	}
	j := int32(slots[mantissa>>(52-slotBits)])
	if next := uint32(j + 1); next < uint32(len(bounds)) && mantissa > bounds[next] {
		j++
	}
	return exponent<<startScale + j
}

// worst is the exemplar of a histogram's greatest observation that had one. A
// zero time means none.
type worst struct {
	value float64
	at    int64 // Unix ns
	Exemplar
}

// histogram is a base-2 exponential histogram of values that are not negative.
// The zero value is empty.
type histogram struct {
	count, zero   uint64
	sum, min, max float64
	shift         uint8    // startScale − scale: every downscaling merges pairs of buckets
	offset        int32    // index of counts[0]
	counts        []uint64 // at most maxBuckets; beyond the length there may be old counts
	worst         worst
}

func (h *histogram) scale() int32 { return startScale - int32(h.shift) }

// observe counts v, which is finite and not negative, n times.
func (h *histogram) observe(v float64, n uint64, ex *Exemplar) {
	switch {
	case h.count == 0:
		h.min, h.max = v, v
	case v < h.min:
		h.min = v
	case v > h.max:
		h.max = v
	}
	h.count += n
	h.sum += v * float64(n)
	if v == 0 {
		h.zero += n
	} else {
		i := bucket(v) >> (h.shift & 31)
		if p := uint(i - h.offset); p < uint(len(h.counts)) {
			h.counts[p] += n
		} else {
			h.room(i, i)
			// room may have merged buckets.
			h.counts[(bucket(v)>>(h.shift&31))-h.offset] += n
		}
	}
	if ex != nil && (h.worst.at == 0 || v > h.worst.value) {
		h.worst = worst{value: v, at: time.Now().UnixNano(), Exemplar: *ex}
	}
}

// room makes the buckets low to high, indexes at the present scale, part of
// counts, downscaling as far as maxBuckets asks for.
func (h *histogram) room(low, high int32) {
	if len(h.counts) > 0 {
		low, high = min(low, h.offset), max(high, h.offset+int32(len(h.counts))-1)
	}
	var by uint8
	for high-low >= maxBuckets {
		low, high, by = low>>1, high>>1, by+1
	}
	h.downscale(by)
	have, size := len(h.counts), int(high-low)+1
	if size <= have {
		return // after merging, all fits
	}
	if size > cap(h.counts) {
		grown := make([]uint64, have, min(maxBuckets, max(2*size, 32)))
		copy(grown, h.counts)
		h.counts = grown
	}
	h.counts = h.counts[:size]
	if have == 0 {
		clear(h.counts)
	} else {
		// What was counts[0] moves up when lower buckets come in front of it.
		front := int(h.offset - low)
		copy(h.counts[front:], h.counts[:have])
		clear(h.counts[:front])
		clear(h.counts[front+have:])
	}
	h.offset = low
}

// downscale merges each 2^by neighbouring buckets into one.
func (h *histogram) downscale(by uint8) {
	if by == 0 {
		return
	}
	h.shift += by
	if len(h.counts) == 0 {
		return
	}
	offset := h.offset >> by
	last := (h.offset+int32(len(h.counts))-1)>>by - offset
	for i, n := range h.counts {
		// The target is never behind i, and is cleared before its first count.
		to := (h.offset+int32(i))>>by - offset
		if i > 0 {
			h.counts[i] = 0
		}
		if to == int32(i) {
			h.counts[i] = n
		} else {
			h.counts[to] += n
		}
	}
	h.counts, h.offset = h.counts[:last+1], offset
}

// merge adds what o counted; o is not changed but for its scale.
func (h *histogram) merge(o *histogram) {
	if o.count == 0 {
		return
	}
	if h.count == 0 {
		h.min, h.max = o.min, o.max
	} else {
		h.min, h.max = min(h.min, o.min), max(h.max, o.max)
	}
	h.count += o.count
	h.zero += o.zero
	h.sum += o.sum
	if len(o.counts) > 0 {
		if h.shift < o.shift {
			h.downscale(o.shift - h.shift)
		}
		by := h.shift - o.shift
		h.room(o.offset>>by, (o.offset+int32(len(o.counts))-1)>>by)
		by = h.shift - o.shift
		for i, n := range o.counts {
			h.counts[(o.offset+int32(i))>>by-h.offset] += n
		}
	}
	if o.worst.at != 0 && (h.worst.at == 0 || o.worst.value > h.worst.value) {
		h.worst = o.worst
	}
}

// reset empties the histogram and keeps its memory.
func (h *histogram) reset() { *h = histogram{counts: h.counts[:0]} }
