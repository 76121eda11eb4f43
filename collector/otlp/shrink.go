package otlp

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// maxText is what is left of a text that had to be cut, valueText of one that
// is all there is to say.
const (
	maxText   = 4 << 10
	valueText = 16 << 10
)

// cutting tells how a message may be made smaller.
type cutting struct {
	// counters maps a repeated field, which may lose elements, to the field
	// that counts the lost ones.
	counters map[uint32]uint32
	// texts may be cut to maxText when that was not enough.
	texts []uint32
	// values are AnyValues; one that is a text may be cut to valueText then.
	values []uint32
	// bones are never touched; whatever is not named goes last.
	bones []uint32
}

var (
	spanParts = cutting{
		counters: map[uint32]uint32{9: 10, 11: 12, 13: 14},
		texts:    []uint32{5},
		bones:    []uint32{1, 2, 4, 6, 7, 8, 10, 12, 14, 16},
	}
	resourceParts = cutting{counters: map[uint32]uint32{1: 2}, bones: []uint32{2}}
	scopeParts    = cutting{counters: map[uint32]uint32{3: 4}, texts: []uint32{1, 2}, bones: []uint32{4}}
)

// What surrounds the spans of a resource or of a scope: field 1 is the
// resource or scope, field 3 the schema URL.
var (
	resourceRest = resourceParts
	scopeRest    = scopeParts
)

// piece is one field of a message being cut.
type piece struct {
	num  uint32
	raw  []byte
	data []byte
	gone bool
}

// shrink makes a well-formed message smaller: elements of repeated fields go,
// largest first and no more than needed; if that is not enough, long texts are
// cut and everything that is not part of the bones goes.
func shrink(data []byte, limit int, how cutting) []byte {
	var pieces []piece
	last := map[uint32]int{} // of each field
	dropped := map[uint32]uint64{}
	c := cursor{rest: data}
	for c.next() {
		p := piece{num: c.num, raw: c.raw}
		if c.typ == wireBytes {
			p.data = c.data
		} else if slices.Contains(counterFields(how), c.num) {
			dropped[c.num] = c.value // the last one counts
		}
		last[p.num] = len(pieces)
		pieces = append(pieces, p)
	}
	// Each counter, written anew at the end, takes at most 11 bytes.
	size := len(data) + 11*len(how.counters)
	order := make([]int, 0, len(pieces))
	for i := range pieces {
		if _, ok := how.counters[pieces[i].num]; ok {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(pieces[b].raw) - len(pieces[a].raw) })
	counted := map[uint32]bool{}
	for _, i := range order {
		if size <= limit {
			break
		}
		size -= len(pieces[i].raw)
		pieces[i].gone = true
		counter := how.counters[pieces[i].num]
		dropped[counter]++
		counted[counter] = true
	}
	// Now the texts, and what nobody needs.
	for i := range pieces {
		if size <= limit {
			break
		}
		p := &pieces[i]
		if p.gone || slices.Contains(how.bones, p.num) {
			continue
		}
		size -= len(p.raw)
		if slices.Contains(how.texts, p.num) && last[p.num] == i {
			kept := cutText(p.data, maxText)
			p.raw = append(appendTag(nil, p.num, len(kept)), kept...)
			size += len(p.raw)
			continue
		}
		if slices.Contains(how.values, p.num) && last[p.num] == i {
			if kept, ok := cutValue(p.data, valueText); ok {
				p.raw = append(appendTag(nil, p.num, len(kept)), kept...)
				size += len(p.raw)
				continue
			}
		}
		p.gone = true
	}
	// The bones repeated over and over: only the last of each counts.
	for i := range pieces {
		if size <= limit {
			break
		}
		if p := &pieces[i]; !p.gone && last[p.num] != i {
			size -= len(p.raw)
			p.gone = true
		}
	}
	out := make([]byte, 0, max(size, 0))
	for i := range pieces {
		if !pieces[i].gone {
			out = append(out, pieces[i].raw...)
		}
	}
	for _, counter := range counterFields(how) {
		if counted[counter] {
			out = binary.AppendUvarint(out, uint64(counter)<<3|wireVarint)
			out = binary.AppendUvarint(out, min(dropped[counter], 1<<32-1))
		}
	}
	return out
}

func counterFields(how cutting) []uint32 {
	out := make([]uint32, 0, len(how.counters))
	for _, counter := range how.counters {
		out = append(out, counter)
	}
	slices.Sort(out)
	return out
}

// shrinkRest cuts the message in field 1 and keeps a schema URL that is not
// too long; other fields go.
func shrinkRest(rest []byte, limit int, how cutting) []byte {
	var inner, url []byte
	c := cursor{rest: rest}
	for c.next() {
		switch c.num {
		case 1: // two of them are merged by laying one behind the other
			inner = append(inner, c.data...)
		case 3:
			url = c.raw
		}
	}
	if len(url) > 1<<10 {
		url = nil
	}
	inner = shrink(inner, limit-len(url)-10, how)
	out := append(appendTag(nil, 1, len(inner)), inner...)
	return append(out, url...)
}

// cutValue cuts an AnyValue that is a text.
func cutValue(data []byte, n int) (kept []byte, ok bool) {
	c := cursor{rest: data}
	for c.next() {
		if c.num != 1 || c.typ != wireBytes {
			return nil, false
		}
		text := cutText(c.data, n)
		kept, ok = append(appendTag(nil, 1, len(text)), text...), true
	}
	return kept, ok
}

// cutText is at most n bytes of b, not ending within a character.
func cutText(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return b[:n]
}
