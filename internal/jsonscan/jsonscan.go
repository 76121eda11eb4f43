// Package jsonscan finds where the pieces of JSON end (RFC 8259), without making
// anything of them: for those who walk JSON by its bytes because a general decoder
// costs too much. Every function takes the bytes and where the piece begins.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// Space is where the next byte that is no space stands.
func Space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// Text gives the end of the string that begins at i, quotes included; negative
// when there is none.
func Text(data []byte, i int) int {
	next, _ := text(data, i)
	return next
}

// WholeText is Text, but negative, too, when the string may hold half a character:
// an escaped surrogate, in a pair or alone.
func WholeText(data []byte, i int) int {
	next, surrogate := text(data, i)
	if surrogate {
		return -1
	}
	return next
}

func text(data []byte, i int) (next int, surrogate bool) {
	if i >= len(data) || data[i] != '"' {
		return -1, surrogate
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
			return -1, surrogate
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, surrogate
		case c < 0x20:
			return -1, surrogate
		case c == '\\':
			if i+1 >= len(data) {
				return -1, surrogate
			}
			switch data[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(data) {
					return -1, surrogate
				}
				surrogate = surrogate || data[i+2]|0x20 == 'd' && data[i+3] >= '8'
				for _, h := range data[i+2 : i+6] {
					if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
						return -1, surrogate
					}
				}
				i += 6
			default:
				return -1, surrogate
			}
		default:
			i++
		}
	}
}

// Number gives the end of the number that begins at i; negative when it is none.
func Number(data []byte, i int) int {
	if i < len(data) && data[i] == '-' {
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

// Literal gives the end of true, false or null at i; negative when it is none.
func Literal(data []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
			return i + len(word)
		}
	}
	return -1
}
