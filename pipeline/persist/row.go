package persist

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hoptrace/hoptrace/schemas"
)

// Row is what the header "row" of a record on events tells: the event's row, but
// for where the record itself lies, and what post-processing wants to know.
type Row struct {
	schemas.Event
	Title               string
	IsNew, IsRegression bool
}

// The row is a JSON object of what is not at its default, in short names. Names
// that a reader does not know are passed over, so that rows may get more.

// AppendRow appends a row's text.
func AppendRow(dst []byte, r *Row) []byte {
	w := rowWriter{dst: append(dst, '{')}
	e := &r.Event
	w.uint("p", e.Project)
	w.raw("id", e.ID[:])
	w.int("t", e.Time)
	w.int("rc", e.Received)
	w.uint("is", uint64(e.Issue))
	w.raw("fp", e.Fingerprint[:])
	w.text("hv", e.HashVersion)
	w.text("l", e.Level)
	w.text("pl", e.Platform)
	w.text("ty", e.Type)
	w.text("v", e.Value)
	w.text("c", e.Culprit)
	w.text("tx", e.Transaction)
	w.text("r", e.Release)
	w.text("d", e.Dist)
	w.text("en", e.Environment)
	w.text("s", e.Server)
	w.text("lg", e.Logger)
	w.text("sdk", e.SDK)
	w.text("sn", e.SDKName)
	w.text("o", string(e.Origin))
	w.uint("h", uint64(e.Handled))
	w.text("ui", e.UserID)
	w.text("un", e.UserName)
	w.text("ue", e.UserEmail)
	w.text("ua", e.UserIP)
	w.uint("uh", e.UserHash)
	if !e.TraceID.IsZero() {
		w.raw("tr", e.TraceID[:])
	}
	if !e.SpanID.IsZero() {
		w.raw("sp", e.SpanID[:])
	}
	w.text("kt", e.Topic)
	w.known("kp", int64(e.Partition))
	w.known("ko", e.Offset)
	w.text("kg", e.Group)
	w.text("km", e.Member)
	w.text("kk", e.KeyHash)
	w.text("kr", e.ProducerRelease)
	w.uint("ka", uint64(e.Attempt))
	w.uint("kb", uint64(e.Batch))
	w.int("ks", e.RecordTime)
	w.known("kage", e.Age)
	w.text("ot", e.OriginalTopic)
	w.known("op", int64(e.OriginalPartition))
	w.known("oo", e.OriginalOffset)
	w.text("n", string(e.Node))
	w.uint("w", uint64(e.Weight))
	w.flag("rp", e.Repeat)
	w.uint("in", uint64(e.Ingest))
	w.int("io", e.IngestOffset)
	w.text("ti", r.Title)
	w.flag("new", r.IsNew)
	w.flag("reg", r.IsRegression)
	if len(e.Tags) > 0 {
		w.name("tg")
		w.dst = append(w.dst, '[')
		for i := range e.Tags {
			if i > 0 {
				w.dst = append(w.dst, ',')
			}
			w.quoted(e.Tags[i].Key)
			w.dst = append(w.dst, ',')
			w.quoted(e.Tags[i].Value)
		}
		w.dst = append(w.dst, ']')
	}
	return append(w.dst, '}')
}

type rowWriter struct {
	dst  []byte
	some bool
}

func (w *rowWriter) name(key string) {
	if w.some {
		w.dst = append(w.dst, ',')
	}
	w.some = true
	w.dst = append(append(append(w.dst, '"'), key...), '"', ':')
}

// quoted writes text; what is no character becomes U+FFFD, which is all that its
// error tells.
func (w *rowWriter) quoted(s string) { w.dst, _ = jsontext.AppendQuote(w.dst, s) }

func (w *rowWriter) text(key, s string) {
	if s != "" {
		w.name(key)
		w.quoted(s)
	}
}

func (w *rowWriter) uint(key string, v uint64) {
	if v != 0 {
		w.name(key)
		w.dst = strconv.AppendUint(w.dst, v, 10)
	}
}

func (w *rowWriter) int(key string, v int64) {
	if v != 0 {
		w.name(key)
		w.dst = strconv.AppendInt(w.dst, v, 10)
	}
}

// known writes what is schemas.Unknown by default.
func (w *rowWriter) known(key string, v int64) {
	if v != schemas.Unknown {
		w.name(key)
		w.dst = strconv.AppendInt(w.dst, v, 10)
	}
}

func (w *rowWriter) flag(key string, v bool) {
	if v {
		w.name(key)
		w.dst = append(w.dst, "true"...)
	}
}

func (w *rowWriter) raw(key string, b []byte) {
	w.name(key)
	w.dst = append(w.dst, '"')
	w.dst = base64.RawURLEncoding.AppendEncode(w.dst, b)
	w.dst = append(w.dst, '"')
}

var errRow = errors.New("not a row")

// ParseRow reads what AppendRow wrote. The row's strings are its own.
func ParseRow(text []byte) (r Row, err error) {
	r.Partition, r.Offset, r.Age, r.OriginalPartition, r.OriginalOffset = schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown
	p := rowReader{in: string(text)}
	if !p.take('{') {
		return r, fmt.Errorf("%w: it begins with %.20q", errRow, text)
	}
	for first := true; !p.take('}'); first = false {
		if !first && !p.take(',') {
			return r, p.fault()
		}
		key, ok := p.quoted()
		if !ok || !p.take(':') || !p.field(&r, key) {
			return r, p.fault()
		}
	}
	if p.i != len(p.in) {
		return r, p.fault()
	}
	return r, nil
}

type rowReader struct {
	in string
	i  int
}

func (p *rowReader) fault() error { return fmt.Errorf("%w: at byte %d", errRow, p.i) }

func (p *rowReader) take(c byte) bool {
	if p.i < len(p.in) && p.in[p.i] == c {
		p.i++
		return true
	}
	return false
}

// quoted reads a string.
func (p *rowReader) quoted() (string, bool) {
	if p.i >= len(p.in) || p.in[p.i] != '"' {
		return "", false
	}
	escaped := false
	for i := p.i + 1; i < len(p.in); i++ {
		switch p.in[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			s := p.in[p.i+1 : i]
			if escaped {
				b, err := jsontext.AppendUnquote(nil, p.in[p.i:i+1])
				if err != nil {
					return "", false
				}
				s = string(b)
			}
			p.i = i + 1
			return s, true
		}
	}
	return "", false
}

// word reads a number, true or false.
func (p *rowReader) word() string {
	from := p.i
	for p.i < len(p.in) && p.in[p.i] != ',' && p.in[p.i] != '}' && p.in[p.i] != ']' {
		p.i++
	}
	return p.in[from:p.i]
}

func (p *rowReader) int(bits int) (int64, bool) {
	v, err := strconv.ParseInt(p.word(), 10, bits)
	return v, err == nil
}

func (p *rowReader) uint(bits int) (uint64, bool) {
	v, err := strconv.ParseUint(p.word(), 10, bits)
	return v, err == nil
}

func (p *rowReader) raw(to []byte) bool {
	s, ok := p.quoted()
	if !ok || base64.RawURLEncoding.DecodedLen(len(s)) != len(to) {
		return false
	}
	_, err := base64.RawURLEncoding.Decode(to, []byte(s))
	return err == nil
}

// set reads a value into a field.
func set[T any](to *T, v T, ok bool) bool {
	if ok {
		*to = v
	}
	return ok
}

func (p *rowReader) field(r *Row, key string) bool {
	e := &r.Event
	text := func(to *string) bool { s, ok := p.quoted(); return set(to, s, ok) }
	number := func(to *int64) bool { v, ok := p.int(64); return set(to, v, ok) }
	unsigned := func(to *uint64) bool { v, ok := p.uint(64); return set(to, v, ok) }
	small := func(to *int32) bool { v, ok := p.int(32); return set(to, int32(v), ok) } //nolint:gosec // of 32 bits
	flag := func(to *bool) bool { w := p.word(); return set(to, w == "true", w == "true" || w == "false") }
	switch key {
	case "p":
		return unsigned(&e.Project)
	case "id":
		return p.raw(e.ID[:])
	case "t":
		return number(&e.Time)
	case "rc":
		return number(&e.Received)
	case "is":
		v, ok := p.uint(64)
		return set(&e.Issue, schemas.IssueID(v), ok)
	case "fp":
		return p.raw(e.Fingerprint[:])
	case "hv":
		return text(&e.HashVersion)
	case "l":
		return text(&e.Level)
	case "pl":
		return text(&e.Platform)
	case "ty":
		return text(&e.Type)
	case "v":
		return text(&e.Value)
	case "c":
		return text(&e.Culprit)
	case "tx":
		return text(&e.Transaction)
	case "r":
		return text(&e.Release)
	case "d":
		return text(&e.Dist)
	case "en":
		return text(&e.Environment)
	case "s":
		return text(&e.Server)
	case "lg":
		return text(&e.Logger)
	case "sdk":
		return text(&e.SDK)
	case "sn":
		return text(&e.SDKName)
	case "o":
		s, ok := p.quoted()
		return set(&e.Origin, schemas.Origin(s), ok)
	case "h":
		v, ok := p.uint(8)
		return set(&e.Handled, schemas.Handled(v), ok) //nolint:gosec // of 8 bits
	case "ui":
		return text(&e.UserID)
	case "un":
		return text(&e.UserName)
	case "ue":
		return text(&e.UserEmail)
	case "ua":
		return text(&e.UserIP)
	case "uh":
		return unsigned(&e.UserHash)
	case "tr":
		return p.raw(e.TraceID[:])
	case "sp":
		return p.raw(e.SpanID[:])
	case "kt":
		return text(&e.Topic)
	case "kp":
		return small(&e.Partition)
	case "ko":
		return number(&e.Offset)
	case "kg":
		return text(&e.Group)
	case "km":
		return text(&e.Member)
	case "kk":
		return text(&e.KeyHash)
	case "kr":
		return text(&e.ProducerRelease)
	case "ka":
		v, ok := p.uint(16)
		return set(&e.Attempt, uint16(v), ok) //nolint:gosec // of 16 bits
	case "kb":
		v, ok := p.uint(32)
		return set(&e.Batch, uint32(v), ok) //nolint:gosec // of 32 bits
	case "ks":
		return number(&e.RecordTime)
	case "kage":
		return number(&e.Age)
	case "ot":
		return text(&e.OriginalTopic)
	case "op":
		return small(&e.OriginalPartition)
	case "oo":
		return number(&e.OriginalOffset)
	case "n":
		s, ok := p.quoted()
		return set(&e.Node, schemas.NodeRef(s), ok)
	case "w":
		v, ok := p.uint(32)
		return set(&e.Weight, uint32(v), ok) //nolint:gosec // of 32 bits
	case "rp":
		return flag(&e.Repeat)
	case "in":
		v, ok := p.uint(64)
		return set(&e.Ingest, schemas.Source(v), ok)
	case "io":
		return number(&e.IngestOffset)
	case "ti":
		return text(&r.Title)
	case "new":
		return flag(&r.IsNew)
	case "reg":
		return flag(&r.IsRegression)
	case "tg":
		return p.tags(e)
	}
	return p.skip()
}

// maxRowTags bounds what a row's tags may take.
const maxRowTags = 1000

func (p *rowReader) tags(e *schemas.Event) bool {
	if !p.take('[') {
		return false
	}
	for first := true; !p.take(']'); first = false {
		if !first && !p.take(',') || len(e.Tags) == maxRowTags {
			return false
		}
		key, ok := p.quoted()
		if !ok || !p.take(',') {
			return false
		}
		value, ok := p.quoted()
		if !ok {
			return false
		}
		e.Tags = append(e.Tags, schemas.Attribute{Key: key, Value: value})
	}
	return true
}

// skip passes over a text, a number or a word of a newer row.
func (p *rowReader) skip() bool {
	if p.i < len(p.in) && p.in[p.i] == '"' {
		_, ok := p.quoted()
		return ok
	}
	w := p.word()
	return w != "" && w[0] != '[' && w[0] != '{'
}

// parseHash reads 32 hex digits.
func parseHash(s string) (f schemas.Fingerprint, ok bool) {
	if len(s) != 2*len(f) {
		return f, false
	}
	_, err := hex.Decode(f[:], []byte(s))
	return f, err == nil
}
