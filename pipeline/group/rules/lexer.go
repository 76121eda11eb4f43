package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a text of rules.
const (
	MaxText     = 64 << 10 // bytes
	MaxRules    = 1000     // without those of the base
	maxMatchers = 16       // of a rule
	maxPattern  = 512      // bytes
	maxValues   = 32       // of a fingerprint
	maxErrors   = 10       // named at once
)

// Error is a fault in a text of rules.
type Error struct {
	Line, Column int // from 1; the column counts characters
	Message      string
}

// Error says where and what.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// lexer reads one line.
type lexer struct {
	text string
	line int
	at   int
}

func (l *lexer) errorf(at int, format string, args ...any) *Error {
	return &Error{Line: l.line, Column: utf8.RuneCountInString(l.text[:min(at, len(l.text))]) + 1, Message: fmt.Sprintf(format, args...)}
}

func (l *lexer) space() {
	for l.at < len(l.text) && (l.text[l.at] == ' ' || l.text[l.at] == '\t') {
		l.at++
	}
}

func (l *lexer) done() bool {
	l.space()
	return l.at == len(l.text)
}

func (l *lexer) peek() byte {
	if l.at < len(l.text) {
		return l.text[l.at]
	}
	return 0
}

// take steps over s when it stands here.
func (l *lexer) take(s string) bool {
	if strings.HasPrefix(l.text[l.at:], s) {
		l.at += len(s)
		return true
	}
	return false
}

// name reads a key: letters, digits, dots, dashes and underscores.
func (l *lexer) name() string {
	from := l.at
	for l.at < len(l.text) {
		c := l.text[l.at]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			break
		}
		l.at++
	}
	return l.text[from:l.at]
}

// value reads "text in quotes", in which \" and \\ stand for themselves, or what
// goes up to a space or one of stop.
func (l *lexer) value(stop string) (string, *Error) {
	from := l.at
	if l.peek() != '"' {
		for l.at < len(l.text) && l.text[l.at] != ' ' && l.text[l.at] != '\t' && strings.IndexByte(stop, l.text[l.at]) < 0 {
			l.at++
		}
		if l.at == from {
			return "", l.errorf(from, "a value is missing; write it plain or \"in quotes\"")
		}
		if l.at-from > maxPattern {
			return "", l.errorf(from, "a value has %d bytes; at most %d", l.at-from, maxPattern)
		}
		return l.text[from:l.at], nil
	}
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		switch c := l.text[l.at]; c {
		case '"':
			l.at++
			if b.Len() > maxPattern {
				return "", l.errorf(from, "a value has %d bytes; at most %d", b.Len(), maxPattern)
			}
			return b.String(), nil
		case '\\':
			// Only quote and backslash are escaped: `C:\app` needs no care.
			if l.at+1 < len(l.text) && (l.text[l.at+1] == '"' || l.text[l.at+1] == '\\') {
				l.at++
			}
			b.WriteByte(l.text[l.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", l.errorf(from, "the quote that begins here is not closed")
}

// lines calls f for each line that holds something besides a comment.
func lines(text string, f func(l *lexer)) error {
	if len(text) > MaxText {
		return fmt.Errorf("the text has %d bytes; at most %d", len(text), MaxText)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("the text is not UTF-8")
	}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimRight(line, "\r\t ")
		if trimmed := strings.TrimLeft(line, " \t"); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		l := &lexer{text: line, line: n}
		l.space()
		f(l)
	}
	return nil
}
