package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is why a record is not what its schema says.
type Error struct {
	// Of is the topic, or the first topic that carries the message.
	Of string

	// Path is where the fault lies, as "attachments[2].chunks"; empty means
	// the record itself.
	Path string

	// Problem says what is wrong: "want an integer, got str".
	Problem string
}

// Error is "topic: path: problem".
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Of + ": " + e.Problem
	}
	return e.Of + ": " + e.Path + ": " + e.Problem
}

// in puts the fault below a field.
func (e *Error) in(field string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		field += "."
	}
	e.Path = field + e.Path
	return e
}

// at puts the fault below an element.
func (e *Error) at(i int) *Error { return e.in("[" + strconv.Itoa(i) + "]") }

// finish names the topic and makes an error of it, nil of none.
func finish(of string, e *Error) error {
	if e == nil {
		return nil
	}
	e.Of = of
	return e
}

func problem(text string) *Error { return &Error{Problem: text} }

func wantGot(want, got string) *Error { return problem("want " + want + ", got " + got) }

// missing names the first field of required that seen lacks.
func missing(required, seen uint64, names ...string) *Error {
	for i, name := range names {
		if bit := uint64(1) << i; required&bit != 0 && seen&bit == 0 {
			return problem("is missing").in(name)
		}
	}
	return nil
}

// quote shows a value in an error, however long it is.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.Quote(s)
}

func oneOf(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = strconv.Quote(v)
	}
	switch n := len(quoted); n {
	case 0:
		return "nothing"
	case 1:
		return quoted[0]
	default:
		return strings.Join(quoted[:n-1], ", ") + " or " + quoted[n-1]
	}
}

func notOneOf(values []string, got string) *Error { return wantGot(oneOf(values), quote(got)) }

func outOfRange[T, B int64 | uint64 | int](low, high B, got T) *Error {
	return problem(fmt.Sprintf("want an integer from %d to %d, got %d", low, high, got))
}

func tooLong(most, got int) *Error {
	return problem(fmt.Sprintf("want at most %d characters, got %d", most, got))
}

func wrongCount(low, high, got int) *Error {
	if low == high {
		return problem(fmt.Sprintf("want %d elements, got %d", low, got))
	}
	return problem(fmt.Sprintf("want from %d to %d elements, got %d", low, high, got))
}
