package envelope

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

var (
	errMsgpackShort = errors.New("msgpack: it ends too early")
	errMsgpackDepth = errors.New("msgpack: nested too deeply")
	errMsgpackType  = errors.New("msgpack: an unknown type")
	errMsgpackKey   = errors.New("msgpack: a map's key is no text or number")
)

// msgpackToJSON appends the JSON of one msgpack value to dst and gives what
// follows the value. Bytes become text, or base64 when they are none;
// extensions and numbers that JSON has not become null. It takes at most depth
// levels.
func msgpackToJSON(dst, data []byte, depth int) (out, rest []byte, err error) {
	if len(data) == 0 {
		return dst, nil, errMsgpackShort
	}
	c, data := data[0], data[1:]
	switch {
	case c < 0x80:
		return strconv.AppendInt(dst, int64(c), 10), data, nil
	case c >= 0xe0:
		return strconv.AppendInt(dst, int64(int8(c)), 10), data, nil //nolint:gosec // what the format says
	case c < 0x90:
		return msgpackMap(dst, data, uint64(c&0x0f), depth)
	case c < 0xa0:
		return msgpackArray(dst, data, uint64(c&0x0f), depth)
	case c < 0xc0:
		return msgpackText(dst, data, uint64(c&0x1f))
	}
	// The bytes of a number, or of a length.
	size := map[byte]int{
		0xc4: 1, 0xc5: 2, 0xc6: 4, 0xc7: 1, 0xc8: 2, 0xc9: 4, 0xca: 4, 0xcb: 8, 0xcc: 1, 0xcd: 2, 0xce: 4, 0xcf: 8,
		0xd0: 1, 0xd1: 2, 0xd2: 4, 0xd3: 8, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4,
	}[c]
	if len(data) < size {
		return dst, nil, errMsgpackShort
	}
	var word [8]byte
	copy(word[8-size:], data[:size])
	n := binary.BigEndian.Uint64(word[:])
	data = data[size:]
	switch c {
	case 0xc0:
		return append(dst, "null"...), data, nil
	case 0xc2:
		return append(dst, "false"...), data, nil
	case 0xc3:
		return append(dst, "true"...), data, nil
	case 0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb:
		return msgpackText(dst, data, n)
	case 0xc7, 0xc8, 0xc9:
		return msgpackSkip(dst, data, n+1)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return msgpackSkip(dst, data, 1<<(c-0xd4)+1)
	case 0xca:
		return msgpackFloat(dst, float64(math.Float32frombits(uint32(n))), 32), data, nil //nolint:gosec // four bytes
	case 0xcb:
		return msgpackFloat(dst, math.Float64frombits(n), 64), data, nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return strconv.AppendUint(dst, n, 10), data, nil
	case 0xd0, 0xd1, 0xd2, 0xd3:
		shift := 64 - 8*size
		return strconv.AppendInt(dst, int64(n<<shift)>>shift, 10), data, nil //nolint:gosec // what the format says
	case 0xdc, 0xdd:
		return msgpackArray(dst, data, n, depth)
	case 0xde, 0xdf:
		return msgpackMap(dst, data, n, depth)
	}
	return dst, nil, errMsgpackType
}

func msgpackFloat(dst []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func msgpackSkip(dst, data []byte, n uint64) ([]byte, []byte, error) {
	if uint64(len(data)) < n {
		return dst, nil, errMsgpackShort
	}
	return append(dst, "null"...), data[n:], nil
}

func msgpackText(dst, data []byte, n uint64) ([]byte, []byte, error) {
	if uint64(len(data)) < n {
		return dst, nil, errMsgpackShort
	}
	b := data[:n]
	if !utf8.Valid(b) {
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, b)
		return append(dst, '"'), data[n:], nil
	}
	return appendText(dst, string(b)), data[n:], nil
}

func msgpackArray(dst, data []byte, n uint64, depth int) ([]byte, []byte, error) {
	if depth < 1 {
		return dst, nil, errMsgpackDepth
	}
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, data, err = msgpackToJSON(dst, data, depth-1); err != nil {
			return dst, nil, err
		}
	}
	return append(dst, ']'), data, nil
}

func msgpackMap(dst, data []byte, n uint64, depth int) ([]byte, []byte, error) {
	if depth < 1 {
		return dst, nil, errMsgpackDepth
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		begin := len(dst)
		var err error
		if dst, data, err = msgpackToJSON(dst, data, 0); err != nil {
			if errors.Is(err, errMsgpackDepth) {
				err = errMsgpackKey
			}
			return dst, nil, err
		}
		if dst[begin] != '"' {
			dst = appendText(dst[:begin], string(dst[begin:]))
		}
		dst = append(dst, ':')
		if dst, data, err = msgpackToJSON(dst, data, depth-1); err != nil {
			return dst, nil, err
		}
	}
	return append(dst, '}'), data, nil
}
