package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-faster/jx"

	"github.com/hoptrace/hoptrace/schemas/topics"
)

// Message is a record of a topic, decoded: a pointer to one of the types of
// this package.
type Message interface {
	// Validate tells the first fault, as an *Error.
	Validate() error

	// AppendJSON appends it as JSON.
	AppendJSON(b []byte) []byte
}

// codec decodes one version of what a topic carries.
type codec struct {
	topic   string
	version int
	kind    string // json, msgpack or protobuf
	header  string // of the record, "schema"
	decode  func(b []byte) (any, *Error)
}

// Decode reads a record of a topic by the highest version of its schema. A
// dead-letter topic has its topic's records. The result is a pointer to a type
// of this package; json.RawMessage where a schema describes no fields; or a
// request of package pdata for protobuf. It keeps parts of b.
func Decode(topic string, b []byte) (any, error) { return DecodeRecord(topic, "", b) }

// DecodeRecord is Decode by the version that the record's header "schema"
// names; an empty one means the highest.
func DecodeRecord(topic, header string, b []byte) (any, error) {
	t, err := topics.Get(topic)
	if err != nil {
		return nil, err
	}
	if t.IsDLQ() {
		if t, err = topics.Get(strings.TrimSuffix(topic, "-dlq")); err != nil {
			return nil, err
		}
	}
	s, ok := t.ByHeader(header)
	if !ok {
		known := make([]string, len(t.Schemas))
		for i, s := range t.Schemas {
			known[i] = s.Header
		}
		return nil, fmt.Errorf("topic %q has no schema %q: there are %s", topic, cutText(header), strings.Join(known, ", "))
	}
	return DecodeVersion(t.Name, s.Version, b)
}

// DecodeVersion is Decode by a version of the schema.
func DecodeVersion(topic string, version int, b []byte) (any, error) {
	for _, c := range codecs {
		if c.topic == topic && c.version == version {
			m, e := c.decode(b)
			if e != nil {
				return nil, finish(topic, e)
			}
			return m, nil
		}
	}
	return nil, fmt.Errorf("topic %q has no version %d", topic, version)
}

// asError undoes finish, so that the topic can be named that the record is of.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return problem(err.Error())
}

// decodeAnyObject reads a record whose fields no schema describes.
func decodeAnyObject(b []byte) (any, *Error) {
	var raw json.RawMessage
	e := jsonRecord(b, func(d *jx.Decoder) (e *Error) {
		raw, e = jsonObject(d)
		return e
	})
	if e != nil {
		return nil, e
	}
	return raw, nil
}

// JSON renders what a decoder of this package gave: for people, and for those
// who compare it with a schema.
func JSON(decoded any) ([]byte, error) {
	switch m := decoded.(type) {
	case Message:
		return m.AppendJSON(nil), nil
	case json.RawMessage:
		return m, nil
	case json.Marshaler: // the requests of pdata
		return m.MarshalJSON()
	}
	return nil, fmt.Errorf("no rendering of %T", decoded)
}
