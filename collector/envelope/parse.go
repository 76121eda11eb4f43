// Package envelope receives what Sentry SDKs send: envelopes and the older
// single events. It reads envelopes, authenticates them and hands events on as
// the JSON they came in. What an event means is not its business (see
// pipeline/normalize).
package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/schemas"
)

// ErrMalformed means that the envelope breaks the grammar.
var ErrMalformed = errors.New("invalid envelope")

// Bounds of headers.
const (
	maxHeaderBytes = 64 << 10
	maxHeaderDepth = 32
)

// Header is the first line of an envelope.
type Header struct {
	EventID schemas.EventID // zero when there is none
	DSN     string
}

// Item is one item. Payload aliases the envelope.
type Item struct {
	Type    string
	Payload []byte
}

// Parse reads a whole envelope:
//
//	envelope = header "\n" *item
//	item     = header "\n" payload ( "\n" | EOF )
//
// A payload is as long as its header says, or reaches to the next line's end.
// It fails with ErrMalformed, or with a *bound.TooLargeError when there are
// more than maxItems.
func Parse(data []byte, maxItems int) (Header, []Item, error) {
	line, rest := cutLine(data)
	h, err := parseHeader(line)
	if err != nil {
		return Header{}, nil, err
	}
	var items []Item
	for len(rest) > 0 {
		if rest[0] == '\n' { // SDKs write empty lines between items and at the end
			rest = rest[1:]
			continue
		}
		if len(items) == maxItems {
			return Header{}, nil, &bound.TooLargeError{What: "the number of items", Limit: int64(maxItems), Unit: "items"}
		}
		var item Item
		if item, rest, err = parseItem(rest); err != nil {
			return Header{}, nil, fmt.Errorf("%w: item %d: %w", ErrMalformed, len(items), err)
		}
		items = append(items, item)
	}
	return h, items, nil
}

func parseHeader(line []byte) (Header, error) {
	var h Header
	err := eachField(line, func(key string, value json.RawMessage) error {
		switch key {
		case "event_id":
			id, err := parseIDField(value)
			if err != nil {
				return err
			}
			h.EventID = id
		case "dsn":
			var s *string
			if err := json.Unmarshal(value, &s); err != nil {
				return errors.New("dsn is no string")
			}
			if s != nil {
				h.DSN = *s
			}
		}
		return nil
	})
	if err != nil {
		return Header{}, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	return h, nil
}

func parseIDField(value json.RawMessage) (schemas.EventID, error) {
	var s *string
	if err := json.Unmarshal(value, &s); err != nil {
		return schemas.EventID{}, errors.New("event_id is no string")
	}
	if s == nil {
		return schemas.EventID{}, nil
	}
	return ParseID(*s)
}

// ParseID reads an event id: a UUID with or without dashes.
func ParseID(s string) (schemas.EventID, error) {
	var id schemas.EventID
	digits := s
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		digits = s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	}
	if len(digits) != 32 {
		return id, fmt.Errorf("event id %q is no UUID", clip(s, 64))
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return schemas.EventID{}, fmt.Errorf("event id %q is no UUID", clip(s, 64))
	}
	return id, nil
}

func parseItem(data []byte) (Item, []byte, error) {
	line, rest := cutLine(data)
	var item Item
	length := int64(-1)
	err := eachField(line, func(key string, value json.RawMessage) error {
		switch key {
		case "type":
			if err := json.Unmarshal(value, &item.Type); err != nil {
				return errors.New("type is no string")
			}
		case "length":
			if string(value) == "null" {
				return nil
			}
			if err := json.Unmarshal(value, &length); err != nil || length < 0 {
				return fmt.Errorf("length %s is no whole number", clip(string(value), 40))
			}
		}
		return nil
	})
	if err != nil {
		return Item{}, nil, fmt.Errorf("header: %w", err)
	}
	if item.Type == "" {
		return Item{}, nil, errors.New("header has no type")
	}
	if length < 0 {
		item.Payload, rest = cutLine(rest)
		return item, rest, nil
	}
	if length > int64(len(rest)) {
		return Item{}, nil, fmt.Errorf("length is %d where %d bytes are left", length, len(rest))
	}
	item.Payload, rest = rest[:length], rest[length:]
	if len(rest) > 0 {
		if rest[0] != '\n' {
			return Item{}, nil, fmt.Errorf("no line end after the %d bytes of its payload", length)
		}
		rest = rest[1:]
	}
	return item, rest, nil
}

func cutLine(data []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(data, []byte{'\n'})
	return line, rest
}

// eachField calls f for each member of the JSON object in line. A field
// sent_at that stands twice is an error, as in Sentry.
func eachField(line []byte, f func(key string, value json.RawMessage) error) error {
	if len(line) > maxHeaderBytes {
		return fmt.Errorf("longer than %d bytes", maxHeaderBytes)
	}
	if err := bound.CheckObject(line, maxHeaderDepth); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil {
		return err
	}
	sentAt := false
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if key == "sent_at" {
			if sentAt {
				return errors.New("sent_at stands twice")
			}
			sentAt = true
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
