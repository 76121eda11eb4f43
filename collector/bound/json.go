package bound

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// Errors of CheckObject and the others.
var (
	ErrNoObject = errors.New("not a JSON object")
	ErrNoArray  = errors.New("not a JSON array")
	ErrNesting  = errors.New("JSON nested too deeply")
)

// maxLevels is the deepest nesting that can be asked for.
const maxLevels = 512

// CheckObject tells whether data is one valid JSON object with at most maxDepth
// levels. It fails with ErrNoObject, ErrNesting, or what is broken and where.
func CheckObject(data []byte, maxDepth int) error { return Members(data, maxDepth, nil) }

// Members is CheckObject, and calls f for each member of the object as it
// comes. value is its text; both alias data unless the key has escapes. What f
// returns ends the walk. One walk checks and reads: it allocates nothing.
func Members(data []byte, maxDepth int, f func(key, value []byte) error) error {
	i := space(data, 0)
	if i == len(data) || data[i] != '{' {
		return ErrNoObject
	}
	if maxDepth < 1 {
		return tooDeep(maxDepth)
	}
	if f == nil { // a loop less
		return whole(data, i, maxDepth)
	}
	i = space(data, i+1)
	if i < len(data) && data[i] == '}' {
		return end(data, i+1)
	}
	for {
		begin := space(data, i)
		i = text(data, begin)
		if i < 0 {
			return broken(data, begin, "no member's name")
		}
		key, err := unquoted(data[begin:i])
		if err != nil {
			return broken(data, begin, "no member's name")
		}
		if i = space(data, i); i == len(data) || data[i] != ':' {
			return broken(data, i, "no colon")
		}
		begin = space(data, i+1)
		if i, err = skip(data, begin, maxDepth-1, maxDepth); err != nil {
			return err
		}
		if err := f(key, data[begin:i]); err != nil {
			return err
		}
		i = space(data, i)
		if i < len(data) && data[i] == ',' {
			i++
			continue
		}
		if i < len(data) && data[i] == '}' {
			return end(data, i+1)
		}
		return broken(data, i, "neither comma nor brace after a member")
	}
}

// Elements is Members for an array.
func Elements(data []byte, maxDepth int, f func(value []byte) error) error {
	i := space(data, 0)
	if i == len(data) || data[i] != '[' {
		return ErrNoArray
	}
	if maxDepth < 1 {
		return tooDeep(maxDepth)
	}
	i = space(data, i+1)
	if i < len(data) && data[i] == ']' {
		return end(data, i+1)
	}
	for {
		begin := space(data, i)
		var err error
		if i, err = skip(data, begin, maxDepth-1, maxDepth); err != nil {
			return err
		}
		if err := f(data[begin:i]); err != nil {
			return err
		}
		i = space(data, i)
		if i < len(data) && data[i] == ',' {
			i++
			continue
		}
		if i < len(data) && data[i] == ']' {
			return end(data, i+1)
		}
		return broken(data, i, "neither comma nor bracket after an element")
	}
}

// Text gives the string that value is; ok is false for anything else.
func Text(value []byte) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	b, err := unquoted(value)
	return strings.ToValidUTF8(string(b), "\uFFFD"), err == nil
}

func whole(data []byte, i, maxDepth int) error {
	i, err := skip(data, i, maxDepth, maxDepth)
	if err != nil {
		return err
	}
	return end(data, i)
}

func end(data []byte, i int) error {
	if i = space(data, i); i != len(data) {
		return broken(data, i, "something after the end")
	}
	return nil
}

// unquoted is what a valid JSON string says.
func unquoted(quoted []byte) ([]byte, error) {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' {
			var s string
			err := json.Unmarshal(quoted, &s)
			return []byte(s), err
		}
	}
	return inner, nil
}

func tooDeep(limit int) error { return fmt.Errorf("%w: more than %d levels", ErrNesting, limit) }

func broken(data []byte, i int, what string) error {
	if i >= len(data) || i < 0 {
		return fmt.Errorf("broken JSON: it ends after %d bytes", len(data))
	}
	return fmt.Errorf("broken JSON: byte %d: %s", i, what)
}

// space is where the next byte that is no space stands.
func space(data []byte, i int) int {
	for i < len(data) {
		switch data[i] {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
	return i
}

// What skip looks for next.
const (
	aValue = iota
	aName
	afterValue
)

// skip gives the end of the value that begins at i and has at most room levels.
// It does not recurse.
func skip(data []byte, i, room, limit int) (int, error) {
	var objects [maxLevels / 64]uint64 // bit d: level d is an object
	room = min(room, maxLevels)
	depth := 0
	state := aValue
	for {
		i = space(data, i)
		if i == len(data) {
			if state == afterValue && depth == 0 {
				return i, nil
			}
			return 0, broken(data, i, "")
		}
		c := data[i]
		switch state {
		case aValue:
			state = afterValue
			switch {
			case c == '"':
				next := text(data, i)
				if next < 0 {
					return 0, broken(data, i, "a string that does not end or has a bare control character or a bad escape")
				}
				i = next
			case c == '{' || c == '[':
				if depth == room {
					return 0, tooDeep(limit)
				}
				i = space(data, i+1)
				if i < len(data) && (c == '{' && data[i] == '}' || c == '[' && data[i] == ']') {
					i++
					break
				}
				word, bit := depth/64, uint64(1)<<(depth%64)
				if c == '{' {
					objects[word] |= bit
					state = aName
				} else {
					objects[word] &^= bit
					state = aValue
				}
				depth++
			case c == '-' || c >= '0' && c <= '9':
				next := number(data, i)
				if next < 0 {
					return 0, broken(data, i, "a number that is none")
				}
				i = next
			default:
				next := literal(data, i)
				if next < 0 {
					return 0, broken(data, i, "no value")
				}
				i = next
			}
			if depth == 0 {
				return i, nil
			}
		case aName:
			next := -1
			if c == '"' {
				next = text(data, i)
			}
			if next < 0 {
				return 0, broken(data, i, "no member's name")
			}
			i = space(data, next)
			if i == len(data) || data[i] != ':' {
				return 0, broken(data, i, "no colon")
			}
			i++
			state = aValue
		case afterValue:
			isObject := objects[(depth-1)/64]>>((depth-1)%64)&1 == 1
			switch {
			case c == ',' && isObject:
				state = aName
			case c == ',':
				state = aValue
			case c == '}' && isObject, c == ']' && !isObject:
				depth--
				if depth == 0 {
					return i + 1, nil
				}
			default:
				return 0, broken(data, i, "neither comma nor bracket after a value")
			}
			i++
		}
	}
}

// text gives the end of the string that begins at i; negative when there is none.
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
				if i+6 > len(data) {
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
	digits := func() bool {
		begin := i
		for i < len(data) && data[i] >= '0' && data[i] <= '9' {
			i++
		}
		return i > begin
	}
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		i++
		if !digits() {
			return -1
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
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
