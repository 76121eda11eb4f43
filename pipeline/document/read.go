package document

import (
	"encoding/binary"
	"math/bits"
)

// read is the fast way to read one JSON value. It takes nothing that readSlowly
// would refuse or would make another tree of (FuzzDocument compares them).
func (d *Document) read(data []byte) (root *Node, ok bool) {
	d.stack = d.stack[:0]
	var top *Node
	name := ""
	i := 0
	for {
		// A value begins here, or an empty object or array ends.
		i = space(data, i)
		if i == len(data) || d.used >= MaxNodes {
			return nil, false
		}
		c := data[i]
		begin := i
		n := d.node(Kind(c))
		n.name, name = name, ""
		if top != nil {
			top.add(n)
		} else {
			root = n
		}
		switch {
		case c == '"':
			if i = text(data, i); i < 0 {
				return nil, false
			}
			n.raw = str(data[begin:i])
		case c == '{' || c == '[':
			if len(d.stack) >= MaxDepth-1 {
				return nil, false
			}
			i = space(data, i+1)
			if i == len(data) {
				return nil, false
			}
			if data[i] == c+2 { // the closing one of either
				i++
				break
			}
			d.stack = append(d.stack, n)
			top = n
			if c == '{' {
				if name, i = member(data, i); i < 0 {
					return nil, false
				}
			}
			continue
		case c == '-' || c >= '0' && c <= '9':
			if i = number(data, i); i < 0 {
				return nil, false
			}
			n.kind, n.raw = '0', str(data[begin:i])
		default:
			if i = literal(data, i); i < 0 {
				return nil, false
			}
			n.raw = str(data[begin:i])
		}
		// A value has ended, and with it perhaps what it lies in.
		for {
			i = space(data, i)
			if top == nil {
				return root, i == len(data)
			}
			if i == len(data) {
				return nil, false
			}
			c := data[i]
			i++
			if c == ',' {
				if top.kind == '{' {
					if name, i = member(data, space(data, i)); i < 0 {
						return nil, false
					}
				}
				break
			}
			if c != byte(top.kind)+2 {
				return nil, false
			}
			d.stack = d.stack[:len(d.stack)-1]
			top = nil
			if len(d.stack) > 0 {
				top = d.stack[len(d.stack)-1]
			}
		}
	}
}

// member reads a member's name and the colon; next is where its value may begin,
// negative when there is no such thing.
func member(data []byte, i int) (name string, next int) {
	begin := i
	if i = text(data, i); i < 0 {
		return "", -1
	}
	name = canonical(str(data[begin:i]))
	if i = space(data, i); i == len(data) || data[i] != ':' {
		return "", -1
	}
	return name, i + 1
}

// space is where the next byte that is no space stands.
func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// text gives the end of the string that begins at i; negative when there is none,
// or when it may hold half a character.
func text(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	i++
	for {
		// Eight at a time, as long as none of them is a quote, a backslash or a
		// control character.
		for i+8 <= len(data) {
			const ones, highs = 0x0101010101010101, 0x8080808080808080
			v := binary.LittleEndian.Uint64(data[i:])
			quote, slash := v^(ones*'"'), v^(ones*'\\')
			special := ((quote-ones)&^quote | (slash-ones)&^slash | (v-ones*0x20)&^v) & highs
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			return -1
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -1
		case c == '\\':
			if i+1 >= len(data) {
				return -1
			}
			switch data[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(data) || data[i+2]|0x20 == 'd' && data[i+3] >= '8' {
					return -1
				}
				for _, h := range data[i+2 : i+6] {
					if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
						return -1
					}
				}
				i += 6
			default:
				return -1
			}
		default:
			i++
		}
	}
}

// number gives the end of the number that begins at i; negative when it is none.
func number(data []byte, i int) int {
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if i = digits(data, i); i < 0 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		if i = digits(data, i+1); i < 0 {
			return -1
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		return digits(data, i)
	}
	return i
}

// digits gives the end of at least one digit; negative when there is none.
func digits(data []byte, i int) int {
	begin := i
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	if i == begin {
		return -1
	}
	return i
}

// literal gives the end of true, false or null at i; negative when it is none.
func literal(data []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
			return i + len(word)
		}
	}
	return -1
}
