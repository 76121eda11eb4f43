package ingest

import (
	"fmt"

	"github.com/VictoriaMetrics/easyproto"

	"github.com/hoptrace/hoptrace/schemas"
)

// LogDecoder decodes OTLP ExportLogsServiceRequests as [SpanDecoder] does traces,
// into memory that it uses again. It is not safe for concurrent use.
type LogDecoder struct {
	base *SpanDecoder // attributes and texts
	next uint32       // records seen in the request
}

// NewLogDecoder makes a decoder. Zero fields of limits take their defaults;
// Limits.Spans bounds the records of a request.
func NewLogDecoder(limits Limits) *LogDecoder {
	return &LogDecoder{base: NewSpanDecoder(limits)}
}

// Reset takes back the memory of all records decoded so far.
func (d *LogDecoder) Reset() { d.base.Reset() }

// Decode appends the request's log records to dst, in the order of the encoding.
// Position.Index is a record's place in the request; the caller sets Project,
// Source and Position.Offset. Records alias value and the decoder's memory, as
// spans do. On error dst is returned with what it had.
func (d *LogDecoder) Decode(dst []schemas.Log, value []byte) ([]schemas.Log, error) {
	d.base.root, d.next = value, 0
	out, from := dst, len(dst)
	err := d.base.messages(value, "ExportLogsServiceRequest", 1, func(b []byte) (err error) {
		out, err = d.resourceLogs(out, b)
		return err
	})
	if err != nil {
		return dst[:from], err
	}
	return out, nil
}

// messages calls f for each field of that number, which must hold a message.
func (d *SpanDecoder) messages(src []byte, message string, number uint32, f func([]byte) error) error {
	return d.fields(src, message, func(fc *easyproto.FieldContext) (bool, error) {
		if fc.FieldNum != number {
			return true, nil
		}
		b, ok := fc.MessageData()
		if !ok {
			return false, nil
		}
		return true, f(b)
	})
}

// resourceLogs goes over the fields twice: the resource may follow what it
// belongs to.
func (d *LogDecoder) resourceLogs(dst []schemas.Log, src []byte) ([]schemas.Log, error) {
	const message = "ResourceLogs"
	template := schemas.Log{Origin: schemas.OriginOTel}
	var c counts
	d.base.attrs.begin()
	err := d.base.messages(src, message, 1, func(b []byte) error { return d.base.resource(b, &template.Service, &c) })
	if err != nil {
		return dst, err
	}
	d.base.mark(&c)
	template.Resource = d.base.attrs.finish()
	err = d.base.messages(src, message, 2, func(b []byte) (err error) {
		dst, err = d.scopeLogs(dst, b, template)
		return err
	})
	return dst, err
}

func (d *LogDecoder) scopeLogs(dst []schemas.Log, src []byte, template schemas.Log) ([]schemas.Log, error) {
	const message = "ScopeLogs"
	err := d.base.messages(src, message, 1, func(b []byte) error {
		return d.base.fields(b, "InstrumentationScope", func(fc *easyproto.FieldContext) (bool, error) {
			ok := true
			if fc.FieldNum == 1 {
				template.Scope, ok = fc.String()
			}
			return ok, nil
		})
	})
	if err != nil {
		return dst, err
	}
	err = d.base.messages(src, message, 2, func(b []byte) error {
		if int(d.next) >= d.base.limits.Spans {
			return fmt.Errorf("more than %d log records in one request: split it", d.base.limits.Spans)
		}
		l := template
		l.Position.Index = d.next
		d.next++
		if err := d.record(&l, b); err != nil {
			return err
		}
		dst = append(dst, l)
		return nil
	})
	return dst, err
}

func (d *LogDecoder) record(l *schemas.Log, src []byte) error {
	var c counts
	var observed uint64
	d.base.attrs.begin()
	err := d.base.fields(src, "LogRecord", func(fc *easyproto.FieldContext) (ok bool, err error) {
		ok = true
		var b []byte
		switch fc.FieldNum {
		case 1:
			var t uint64
			t, ok = fc.Fixed64()
			l.Time = int64(t) //nolint:gosec // beyond the year 2262 it is negative, and refused
		case 2:
			var n int32
			if n, ok = fc.Int32(); ok && n >= 0 && n <= 24 {
				l.Severity = uint8(n)
			}
		case 3:
			l.Level, ok = fc.String()
		case 5:
			if b, ok = fc.MessageData(); ok {
				l.Body, err = d.base.value(b, &c)
			}
		case 6:
			if b, ok = fc.MessageData(); ok {
				var a schemas.Attribute
				if a, err = d.base.keyValue(b, &c); err == nil {
					d.base.add(&d.base.attrs, a, &c)
				}
			}
		case 7:
			c.sdkAttrs, ok = fc.Uint32()
		case 9:
			if b, ok = fc.Bytes(); ok && len(b) == len(l.TraceID) {
				copy(l.TraceID[:], b)
			}
		case 10:
			if b, ok = fc.Bytes(); ok && len(b) == len(l.SpanID) {
				copy(l.SpanID[:], b)
			}
		case 11:
			observed, ok = fc.Fixed64()
		case 12:
			var name string
			if name, ok = fc.String(); ok && name != "" {
				d.base.add(&d.base.attrs, schemas.Attribute{Key: "event.name", Value: name}, &c)
			}
		}
		return ok, err
	})
	if err != nil {
		return err
	}
	if l.Time == 0 {
		l.Time = int64(observed) //nolint:gosec // as above
	}
	d.base.mark(&c)
	l.Attributes = d.base.attrs.finish()
	return nil
}
