package golden

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxBody bounds what is made of one body; the programs send far less.
const maxBody = 64 << 20

// Item is one of an envelope, as it came.
type Item struct {
	Header  []byte // without the line's end
	Type    string
	Payload []byte
	sized   bool // the header told the length
}

// Envelope is a parsed one that gives the same bytes again.
type Envelope struct {
	Header  []byte
	Items   []Item
	endLine bool // a line's end stands behind the last item
}

// ParseEnvelope reads what the SDKs write. It is no judge of what they may
// write: the collector's parser is.
func ParseEnvelope(body []byte) (Envelope, error) {
	header, rest, _ := bytes.Cut(body, []byte("\n"))
	e := Envelope{Header: header}
	for len(rest) > 0 {
		var item Item
		item.Header, rest, _ = bytes.Cut(rest, []byte("\n"))
		if len(item.Header) == 0 && len(rest) == 0 {
			break
		}
		var h struct {
			Type   string `json:"type"`
			Length *int   `json:"length"`
		}
		if err := json.Unmarshal(item.Header, &h); err != nil {
			return Envelope{}, fmt.Errorf("item %d has the header %.200q: %w", len(e.Items), item.Header, err)
		}
		item.Type = h.Type
		if h.Length != nil {
			if *h.Length > len(rest) {
				return Envelope{}, fmt.Errorf("item %d of type %q should have %d bytes, but %d are left", len(e.Items), h.Type, *h.Length, len(rest))
			}
			item.sized = true
			item.Payload, rest = rest[:*h.Length], rest[*h.Length:]
			e.endLine = len(rest) > 0
			if len(rest) > 0 && rest[0] == '\n' {
				rest = rest[1:]
			}
		} else {
			item.Payload, rest, e.endLine = bytes.Cut(rest, []byte("\n"))
		}
		e.Items = append(e.Items, item)
	}
	return e, nil
}

var lengthField = regexp.MustCompile(`("length"\s*:\s*)\d+`)

// Bytes writes it as it was read, with lengths that fit the payloads.
func (e Envelope) Bytes() []byte {
	out := bytes.NewBuffer(nil)
	out.Write(e.Header)
	out.WriteByte('\n')
	for i, item := range e.Items {
		header := item.Header
		if item.sized {
			header = lengthField.ReplaceAll(header, strconv.AppendInt([]byte("${1}"), int64(len(item.Payload)), 10))
		}
		out.Write(header)
		out.WriteByte('\n')
		out.Write(item.Payload)
		if i < len(e.Items)-1 || e.endLine {
			out.WriteByte('\n')
		}
	}
	return out.Bytes()
}

// decompress undoes a Content-Encoding.
func decompress(encoding string, body []byte) ([]byte, error) {
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch encoding {
	case "":
		return body, nil
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
			r = d
		}
	default:
		return nil, fmt.Errorf("unknown encoding %q", encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a body of encoding %s: %w", encoding, err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxBody))
	if err != nil {
		return nil, fmt.Errorf("cannot read a body of encoding %s: %w", encoding, err)
	}
	return out, nil
}

// compress is the way back, with the levels that the SDKs use.
func compress(encoding string, body []byte) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "":
		return body, nil
	case "gzip":
		w, err = gzip.NewWriterLevel(&out, flate.BestCompression)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "br":
		w = brotli.NewWriterLevel(&out, 4)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	default:
		return nil, fmt.Errorf("unknown encoding %q", encoding)
	}
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
