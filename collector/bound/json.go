package bound

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of CheckObject.
var (
	ErrNoObject = errors.New("not a JSON object")
	ErrNesting  = errors.New("JSON nested too deeply")
)

// CheckObject tells whether data is one valid JSON object with at most maxDepth
// levels. It fails with ErrNoObject, ErrNesting, or what the parser says.
func CheckObject(data []byte, maxDepth int) error {
	if first(data) != '{' {
		return ErrNoObject
	}
	if err := CheckDepth(data, maxDepth); err != nil {
		return err
	}
	if json.Valid(data) {
		return nil
	}
	var v json.RawMessage
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("broken JSON: %w", err)
	}
	return errors.New("broken JSON")
}

func first(data []byte) byte {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// CheckDepth bounds the nesting of JSON that may be broken, so that a parser
// that recurses can be let at it.
func CheckDepth(data []byte, maxDepth int) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		c := data[i]
		if inString {
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: more than %d levels", ErrNesting, maxDepth)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}
