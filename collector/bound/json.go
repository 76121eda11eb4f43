package bound

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hoptrace/hoptrace/internal/jsonscan"
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
	i := jsonscan.Space(data, 0)
	if i == len(data) || data[i] != '{' {
		return ErrNoObject
	}
	if maxDepth < 1 {
		return tooDeep(maxDepth)
	}
	if f == nil { // a loop less
		return whole(data, i, maxDepth)
	}
	i = jsonscan.Space(data, i+1)
	if i < len(data) && data[i] == '}' {
		return end(data, i+1)
	}
	for {
		begin := jsonscan.Space(data, i)
		i = jsonscan.Text(data, begin)
		if i < 0 {
			return broken(data, begin, "no member's name")
		}
		key, err := unquoted(data[begin:i])
		if err != nil {
			return broken(data, begin, "no member's name")
		}
		if i = jsonscan.Space(data, i); i == len(data) || data[i] != ':' {
			return broken(data, i, "no colon")
		}
		begin = jsonscan.Space(data, i+1)
		if i, err = skip(data, begin, maxDepth-1, maxDepth); err != nil {
			return err
		}
		if err := f(key, data[begin:i]); err != nil {
			return err
		}
		i = jsonscan.Space(data, i)
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
	i := jsonscan.Space(data, 0)
	if i == len(data) || data[i] != '[' {
		return ErrNoArray
	}
	if maxDepth < 1 {
		return tooDeep(maxDepth)
	}
	i = jsonscan.Space(data, i+1)
	if i < len(data) && data[i] == ']' {
		return end(data, i+1)
	}
	for {
		begin := jsonscan.Space(data, i)
		var err error
		if i, err = skip(data, begin, maxDepth-1, maxDepth); err != nil {
			return err
		}
		if err := f(data[begin:i]); err != nil {
			return err
		}
		i = jsonscan.Space(data, i)
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
	if i = jsonscan.Space(data, i); i != len(data) {
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
		i = jsonscan.Space(data, i)
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
				next := jsonscan.Text(data, i)
				if next < 0 {
					return 0, broken(data, i, "a string that does not end or has a bare control character or a bad escape")
				}
				i = next
			case c == '{' || c == '[':
				if depth == room {
					return 0, tooDeep(limit)
				}
				i = jsonscan.Space(data, i+1)
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
				next := jsonscan.Number(data, i)
				if next < 0 {
					return 0, broken(data, i, "a number that is none")
				}
				i = next
			default:
				next := jsonscan.Literal(data, i)
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
				next = jsonscan.Text(data, i)
			}
			if next < 0 {
				return 0, broken(data, i, "no member's name")
			}
			i = jsonscan.Space(data, next)
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
