package record

import (
	"bytes"
	"hash/maphash"
	"math/bits"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hoptrace/hoptrace/instrumentation/messaging/internal/protowire"
)

// Scope is the instrumentation that makes spans.
type Scope struct {
	Name, Version, SchemaURL string
}

// Stream is what many spans have in common: scope, name, kind, layout and
// attributes, encoded once. It is made by [Recorder.Stream] and is of use with
// that recorder only: others drop its spans.
type Stream struct {
	recorder *Recorder
	index    uint32 // in Recorder.streams
	scope    int    // in Recorder.scopes
	name     string
	kind     trace.SpanKind
	layout   *Layout
	attrs    []attribute.KeyValue
	dropped  int // attributes above the limit

	nameField []byte // of a Span
	kindField []byte
	attrField []byte
	shadowed  bool // the layout has fields with keys of attrs
	spilled   bool // one too many: index is that of a stream without name and attributes, which each span brings
	lost      bool // one too many of those even: its spans are dropped
	size      int  // no span without extras takes more bytes
}

// maxStreams bounds the streams of a recorder, which live as long as it does.
// Those above it write their name and attributes with each span.
const maxStreams = 1 << 15

// maxBare bounds what the streams above maxStreams refer to: kinds, scopes and
// layouts, of which programs have few. The spans of what is above it are dropped.
const maxBare = 1 << 8

// Stream makes a stream, or returns the one that was made of the same before:
// they live as long as the recorder. Callers keep them, since finding one costs
// more than a span. Of attributes with the same key the last counts; a known
// field of layout counts more.
func (r *Recorder) Stream(scope Scope, name string, kind trace.SpanKind, layout *Layout, attrs ...attribute.KeyValue) *Stream {
	st := &Stream{recorder: r, name: name, kind: trace.ValidateSpanKind(kind), layout: layout}
	st.attrs, st.dropped = dedupe(attrs, maxAttributes, nil)
	st.nameField = protowire.AppendString(nil, spanName, name)
	st.kindField = protowire.AppendUint(nil, spanKind, uint64(st.kind))
	st.attrField = protowire.AppendKeyValues(nil, spanAttributes, st.attrs)
	st.size = fixedSize + len(st.nameField) + len(st.kindField) + len(st.attrField)
	if layout != nil {
		st.size += layout.size
		for i := range st.attrs {
			st.shadowed = st.shadowed || layout.index(st.attrs[i].Key) >= 0
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st.scope = r.scope(scope)
	if old := r.known(st); old != nil {
		return old
	}
	if len(r.streams) < maxStreams {
		r.addStream(st)
		return st
	}
	bare := &Stream{recorder: r, scope: st.scope, kind: st.kind, kindField: st.kindField, layout: layout, size: fixedSize + len(st.kindField)}
	if layout != nil {
		bare.size += layout.size
	}
	if old := r.known(bare); old != nil {
		bare = old
	} else if len(r.streams) < maxStreams+maxBare {
		r.addStream(bare)
	} else {
		st.lost = true
		return st
	}
	st.spilled, st.index = true, bare.index
	return st
}

// scope returns the index of a scope. r.mu is locked.
func (r *Recorder) scope(scope Scope) int {
	for i := range r.scopes {
		if r.scopes[i].Scope == scope {
			return i
		}
	}
	r.scopes = append(r.scopes, encodedScope{scope, scope.encode()})
	return len(r.scopes) - 1
}

// known returns the stream that was made of the same as st, if there is one. r.mu
// is locked.
func (r *Recorder) known(st *Stream) *Stream {
	for _, i := range r.byHash[r.hash(st)] {
		o := r.streams[i]
		if o.scope == st.scope && o.kind == st.kind && o.layout == st.layout && o.dropped == st.dropped &&
			bytes.Equal(o.nameField, st.nameField) && bytes.Equal(o.attrField, st.attrField) {
			return o
		}
	}
	return nil
}

func (r *Recorder) addStream(st *Stream) {
	st.index = uint32(len(r.streams))
	r.streams = append(r.streams, st)
	h := r.hash(st)
	r.byHash[h] = append(r.byHash[h], st.index)
}

func (r *Recorder) hash(st *Stream) uint64 {
	return maphash.Bytes(r.seed, st.nameField) ^ bits.RotateLeft64(maphash.Bytes(r.seed, st.attrField), 1)
}

// spill returns x with the name of st, for a span whose stream has none.
func (st *Stream) spill(x *Extra) *Extra {
	var out Extra
	if x != nil {
		out = *x
	}
	if out.Name == "" && !out.renamed {
		out.Name, out.renamed = st.name, true
	}
	return &out
}

// Name returns the name of the stream's spans.
func (st *Stream) Name() string { return st.name }

// Kind returns the kind of the stream's spans.
func (st *Stream) Kind() trace.SpanKind { return st.kind }

// Layout returns what the values of the stream's spans mean. It may be nil.
func (st *Stream) Layout() *Layout { return st.layout }

// Attributes returns what the stream's spans have in common. The caller must not
// change it.
func (st *Stream) Attributes() []attribute.KeyValue { return st.attrs }

// has tells whether the stream or its layout name key.
func (st *Stream) has(key attribute.Key) bool {
	return indexKey(st.attrs, key) >= 0 || st.layout.index(key) >= 0
}

// dedupe returns kvs with the last value of each key in the place of its first,
// and how many were left out because they are invalid or above limit. Keys
// that free names do not count.
func dedupe(kvs []attribute.KeyValue, limit int, free func(attribute.Key) bool) (kept []attribute.KeyValue, dropped int) {
	at := make(map[attribute.Key]int, min(len(kvs), limit))
	for _, kv := range kvs {
		i, known := at[kv.Key]
		switch {
		case !kv.Valid():
			dropped++
		case known:
			kept[i] = kv
		case free != nil && free(kv.Key):
			at[kv.Key] = len(kept)
			kept = append(kept, kv)
		case limit <= 0:
			dropped++
		default:
			limit--
			at[kv.Key] = len(kept)
			kept = append(kept, kv)
		}
	}
	return kept, dropped
}

func indexKey(kvs []attribute.KeyValue, key attribute.Key) int {
	for i := range kvs {
		if kvs[i].Key == key {
			return i
		}
	}
	return -1
}

// encodedScope is a scope and the fields that it is in a ScopeSpans message.
type encodedScope struct {
	Scope
	fields []byte
}

func (s Scope) encode() (b []byte) {
	if s == (Scope{}) {
		return nil
	}
	b, at := protowire.Open(b, 1)
	b = protowire.AppendString(b, 1, s.Name)
	b = protowire.AppendString(b, 2, s.Version)
	b = protowire.Close(b, at)
	return protowire.AppendString(b, 3, s.SchemaURL)
}
