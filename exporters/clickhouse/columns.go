package clickhouse

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/hoptrace/hoptrace/schemas"
)

// lowCard is a LowCardinality(String) column to insert. Unlike ch-go's it
// looks a value up once, when it is appended, and not at all when it repeats
// the one before.
type lowCard struct {
	values proto.ColStr
	seen   map[string]uint32
	keys   []uint32
	last   string
}

func (c *lowCard) Append(v string) {
	if n := len(c.keys); n > 0 && v == c.last {
		c.keys = append(c.keys, c.keys[n-1])
		return
	}
	k, ok := c.seen[v]
	if !ok {
		if c.seen == nil {
			c.seen = make(map[string]uint32)
		}
		k = uint32(c.values.Rows()) //nolint:gosec // a batch has fewer rows
		c.seen[v] = k
		c.values.Append(v)
	}
	c.keys = append(c.keys, k)
	c.last = v
}

// Reset forgets the values, whose memory is the caller's.
func (c *lowCard) Reset() {
	clear(c.seen)
	c.values.Reset()
	c.keys = c.keys[:0]
	c.last = ""
}

func (c *lowCard) Type() proto.ColumnType { return "LowCardinality(String)" }
func (c *lowCard) Rows() int              { return len(c.keys) }

func (c *lowCard) EncodeState(b *proto.Buffer) { b.PutInt64(1) } // keys follow their dictionary

func (c *lowCard) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	const hasAdditionalKeys, updateDictionary = 1 << 9, 1 << 10
	n := c.values.Rows()
	width := int64(2)
	switch {
	case n <= math.MaxUint8+1:
		width = 0
	case n <= math.MaxUint16+1:
		width = 1
	}
	b.PutInt64(hasAdditionalKeys | updateDictionary | width)
	b.PutInt64(int64(n))
	c.values.EncodeColumn(b)
	b.PutInt64(int64(len(c.keys)))
	switch width {
	case 0:
		for _, k := range c.keys {
			b.Buf = append(b.Buf, byte(k))
		}
	case 1:
		for _, k := range c.keys {
			b.Buf = binary.LittleEndian.AppendUint16(b.Buf, uint16(k)) //nolint:gosec // checked above
		}
	default:
		for _, k := range c.keys {
			b.Buf = binary.LittleEndian.AppendUint32(b.Buf, k)
		}
	}
}

func (c *lowCard) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// attributeMap is a Map(LowCardinality(String), String) column to insert.
type attributeMap struct {
	ends   proto.ColUInt64
	keys   lowCard
	values proto.ColStr
}

func (c *attributeMap) Append(attrs []schemas.Attribute) {
	for i := range attrs {
		c.keys.Append(attrs[i].Key)
		c.values.Append(attrs[i].Value)
	}
	c.ends.Append(uint64(c.values.Rows()))
}

func (c *attributeMap) Reset() {
	c.ends.Reset()
	c.keys.Reset()
	c.values.Reset()
}

func (c *attributeMap) Type() proto.ColumnType      { return "Map(LowCardinality(String), String)" }
func (c *attributeMap) Rows() int                   { return len(c.ends) }
func (c *attributeMap) EncodeState(b *proto.Buffer) { c.keys.EncodeState(b) }

func (c *attributeMap) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	c.keys.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

func (c *attributeMap) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// lowCards is an Array(LowCardinality(String)) column to insert: Append to
// values, then End the row.
type lowCards struct {
	ends   proto.ColUInt64
	values lowCard
}

func (c *lowCards) End() { c.ends.Append(uint64(c.values.Rows())) }

func (c *lowCards) Reset() {
	c.ends.Reset()
	c.values.Reset()
}

func (c *lowCards) Type() proto.ColumnType      { return "Array(LowCardinality(String))" }
func (c *lowCards) Rows() int                   { return len(c.ends) }
func (c *lowCards) EncodeState(b *proto.Buffer) { c.values.EncodeState(b) }

func (c *lowCards) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

func (c *lowCards) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }

// newTime is a DateTime64(9, 'UTC') column.
// resourceTexts are the resources of a batch as they are stored. Rows of one
// resource share its slice, so its address tells it within a batch.
type resourceTexts struct {
	texts   map[resourceKey]string
	scratch []byte
}

// of gives the text, and adds a new one's length to bytes.
func (r *resourceTexts) of(attrs []schemas.Attribute, bytes *int) string {
	if len(attrs) == 0 {
		return "{}"
	}
	key := resourceKey{unsafe.SliceData(attrs), len(attrs)}
	text, ok := r.texts[key]
	if !ok {
		r.scratch = appendAttributes(r.scratch[:0], attrs)
		text = string(r.scratch)
		if r.texts == nil {
			r.texts = make(map[resourceKey]string)
		}
		r.texts[key] = text
		*bytes += len(text)
	}
	return text
}

// reset forgets them; a huge scratch too.
func (r *resourceTexts) reset() {
	clear(r.texts)
	if cap(r.scratch) > 1<<20 {
		r.scratch = nil
	}
}

func newTime() *proto.ColDateTime64 {
	return new(proto.ColDateTime64).WithPrecision(proto.PrecisionNano)
}

// lowCardResult is a LowCardinality(String) column to read.
func lowCardResult() *proto.ColLowCardinality[string] {
	return new(proto.ColStr).LowCardinality()
}

// mapResult is a Map(LowCardinality(String), String) column to read.
func mapResult() *proto.ColMap[string, string] {
	return proto.NewMap[string, string](lowCardResult(), new(proto.ColStr))
}

// mapRow gives a row's attributes; nil when it has none.
func mapRow(c *proto.ColMap[string, string], i int) []schemas.Attribute {
	from := 0
	if i > 0 {
		from = int(c.Offsets[i-1]) //nolint:gosec // bounded by the result
	}
	to := int(c.Offsets[i]) //nolint:gosec // bounded by the result
	if from == to {
		return nil
	}
	out := make([]schemas.Attribute, 0, to-from)
	for ; from < to; from++ {
		out = append(out, schemas.Attribute{Key: c.Keys.Row(from), Value: c.Values.Row(from)})
	}
	return out
}

// reset empties input columns for the next batch.
func reset(input proto.Input) {
	for _, c := range input {
		c.Data.(interface{ Reset() }).Reset()
	}
}

func bit(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}
