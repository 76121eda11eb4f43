package symbolicate

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A source map says little about functions: a name stands at most where the
// minifier changed an identifier. But the engine tells the minified name of a
// frame's function, and the minified script is there: so the declaration of that
// name before the frame's position is looked for, and what the map says of its
// position. Where the script is not there, or has no such declaration, the
// caller's frame tells the name by which it called.

// How far before a position a declaration is looked for, and how many answers
// are kept of one file.
const (
	maxLookBack = 128 << 10
	maxKept     = 4096
)

// script is a minified file with its map. Either may be missing.
type script struct {
	m    *sourceMap
	code *text

	mu   sync.Mutex // guards the following
	kept map[place]string
}

// place is where a frame is and what its function is called there, or, of a
// call, what function is called there.
type place struct {
	line, column uint32
	function     string
	isCall       bool
}

// function gives the name in the source of the function that a frame is in, or
// "" when nothing tells it. line and column are the frame's (from 0), minified
// what the engine calls the function.
func (s *script) function(line, column uint32, minified string) string {
	if s.code == nil || s.m == nil || minified == "" {
		return ""
	}
	return s.keep(place{line, column, minified, false}, s.declared)
}

// calledAs gives the name that a caller calls a function by: the one in the
// source where the caller's frame stands. minified is what the engine calls the
// function; where the script shows that another is called there, as when a
// library calls back, the answer is "".
func (s *script) calledAs(line, column uint32, minified string) string {
	if s.m == nil || minified == "" {
		return ""
	}
	return s.keep(place{line, column, minified, true}, s.called)
}

func (s *script) keep(key place, find func(line, column uint32, minified string) string) string {
	s.mu.Lock()
	name, ok := s.kept[key]
	s.mu.Unlock()
	if ok {
		return name
	}
	if len(key.function) > maxIdentifier {
		return ""
	}
	name = find(key.line, key.column, key.function)
	key.function = strings.Clone(key.function) // the caller's is part of an event
	s.mu.Lock()
	if s.kept == nil || len(s.kept) >= maxKept {
		s.kept = make(map[place]string)
	}
	s.kept[key] = name
	s.mu.Unlock()
	return name
}

// engineWords are what engines write before a function's name.
var engineWords = [...]string{"async ", "new ", "get ", "set ", "bound ", "static "}

// declared looks up each part of a name as "e.submit": the function's own, and
// the class before it.
func (s *script) declared(line, column uint32, minified string) string {
	name, prefix := minified, ""
	if i := strings.Index(name, " [as "); i >= 0 {
		name = name[:i]
	}
	for again := true; again; {
		again = false
		for _, w := range engineWords {
			if rest, ok := strings.CutPrefix(name, w); ok {
				if w == "new " {
					prefix = w
				}
				name, again = rest, true
			}
		}
	}
	owner, own := "", name
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		owner, own = name[:i], name[i+1:]
		if j := strings.LastIndexByte(owner, '.'); j >= 0 {
			owner = owner[j+1:]
		}
	}
	if !isIdentifier(own) {
		return ""
	}
	own2, ok := s.declaration(line, column, own)
	if !ok {
		return ""
	}
	if owner != "" && isIdentifier(owner) {
		if class, ok := s.declaration(line, column, owner); ok {
			return prefix + class + "." + own2
		}
		if !engineObjects[owner] {
			return prefix + owner + "." + own2
		}
	}
	return prefix + own2
}

// engineObjects are owners that engines name and no source does.
var engineObjects = map[string]bool{"Object": true, "Module": true, "Function": true, "Array": true, "Promise": true, "Window": true, "global": true, "globalThis": true}

// declaration finds the last declaration of a minified name before a position
// and gives its name in the source.
func (s *script) declaration(line, column uint32, name string) (string, bool) {
	code, ok := s.code.line(int(line))
	if !ok {
		return "", false
	}
	// The text before the position; a position beyond its line's end is at it.
	offset := s.code.byteOffset(code, column)
	if offset < 0 {
		offset = len(code)
	}
	end := int(s.code.starts[line]) + offset
	begin := max(0, end-maxLookBack)
	all := s.code.s[begin:end]
	at := int(line)
	for i := len(all); ; {
		if i = strings.LastIndex(all[:i], name); i < 0 {
			return "", false
		}
		if !isDeclaration(s.code.s, begin+i, len(name)) {
			continue
		}
		for at > 0 && int(s.code.starts[at]) > begin+i {
			at--
		}
		declaredAt := s.code.column(s.code.s[s.code.starts[at] : begin+i])
		t, ok := s.m.find(uint32(at), declaredAt) //nolint:gosec // a line of the text
		if !ok || t.source < 0 || t.generated != declaredAt {
			return "", false // the map does not tell: better none than a neighbour's
		}
		if t.name >= 0 {
			return s.m.names[t.name], true
		}
		if src := s.m.sources[t.source].text; src != nil {
			if original := identifierAt(src, t.line, t.column); original != "" {
				return original, true
			}
		}
		return "", false
	}
}

// isDeclaration tells whether the identifier at code[i:i+n] is where a function
// or class gets its name: "function x", "class x", "x=function", "x=(a)=>",
// "x=a=>", "x=class", "x:function", "x(a){".
func isDeclaration(code string, i, n int) bool {
	if i > 0 && isIdentifierByte(code[i-1]) || i+n < len(code) && isIdentifierByte(code[i+n]) {
		return false
	}
	// Most are neither: told apart before anything is searched.
	if i+n < len(code) {
		switch code[i+n] {
		case '=', ':', '(', '{', ' ', '\t', '\r', '\n':
		default:
			return false
		}
	}
	before := strings.TrimRight(code[max(0, i-16):i], " \t\r\n*")
	for _, word := range [...]string{"function", "class"} {
		if rest, ok := strings.CutSuffix(before, word); ok && (rest == "" || !isIdentifierByte(rest[len(rest)-1])) {
			return true
		}
	}
	after := strings.TrimLeft(code[i+n:min(len(code), i+n+1024)], " \t\r\n")
	if after == "" {
		return false
	}
	switch after[0] {
	case '=', ':':
		value := strings.TrimLeft(after[1:], " \t\r\n")
		value = strings.TrimPrefix(value, "async ")
		value = strings.TrimPrefix(value, "async")
		if startsWithWord(value, "function") || startsWithWord(value, "class") {
			return true
		}
		if strings.HasPrefix(value, "(") {
			rest, ok := afterParentheses(value)
			return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "=>")
		}
		j := 0
		for j < len(value) && isIdentifierByte(value[j]) {
			j++
		}
		return j > 0 && strings.HasPrefix(strings.TrimLeft(value[j:], " \t"), "=>")
	case '(':
		// A method, unless it is a call before a block: "if(x){" is none of ours,
		// since no function is called so.
		if before != "" && strings.IndexByte(".=(!&|?:+-<>[~%^/", before[len(before)-1]) >= 0 {
			return false
		}
		rest, ok := afterParentheses(after)
		return ok && strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), "{")
	}
	return false
}

func startsWithWord(s, word string) bool {
	return strings.HasPrefix(s, word) && (len(s) == len(word) || !isIdentifierByte(s[len(word)]))
}

// afterParentheses is what follows the parenthesis that closes the first one.
func afterParentheses(s string) (string, bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth == 0 {
				return s[i+1:], true
			}
		case '"', '\'', '`':
			q := s[i]
			for i++; i < len(s) && s[i] != q; i++ {
				if s[i] == '\\' {
					i++
				}
			}
		}
	}
	return "", false
}

// called is what calledAs keeps.
func (s *script) called(line, column uint32, minified string) string {
	own := minified[strings.LastIndexAny(minified, ". ")+1:]
	if !isIdentifier(own) {
		return ""
	}
	if s.code != nil {
		code, ok := s.code.line(int(line))
		if !ok {
			return ""
		}
		i := s.code.byteOffset(code, column)
		if i < 0 {
			return ""
		}
		there := strings.TrimPrefix(code[i:], "new ")
		if !strings.HasPrefix(there, own) || len(there) > len(own) && isIdentifierByte(there[len(own)]) {
			return ""
		}
	}
	t, ok := s.m.find(line, column)
	if !ok || t.source < 0 || t.generated != column {
		return ""
	}
	if t.name >= 0 {
		return s.m.names[t.name]
	}
	if src := s.m.sources[t.source].text; src != nil {
		return identifierAt(src, t.line, t.column)
	}
	return ""
}

// maxIdentifier bounds a name that is read from a source.
const maxIdentifier = 256

// notNames stand in sources where a map points to a whole declaration.
var notNames = map[string]bool{
	"function": true, "class": true, "async": true, "await": true, "const": true, "let": true, "var": true, "export": true, "default": true, "import": true,
	"new": true, "return": true, "throw": true, "if": true, "for": true, "while": true, "switch": true, "try": true, "yield": true, "typeof": true, "void": true,
	"public": true, "private": true, "protected": true, "static": true, "get": true, "set": true, "readonly": true, "this": true, "super": true, "null": true, "true": true, "false": true,
}

// identifierAt reads the identifier of a source at a position; columns count
// UTF-16 units.
func identifierAt(src *text, line, column uint32) string {
	l, ok := src.line(int(line))
	if !ok {
		return ""
	}
	i := src.byteOffset(l, column)
	if i < 0 {
		return ""
	}
	l = strings.TrimPrefix(l[i:], "#")
	n := 0
	for n < len(l) && n < maxIdentifier {
		r, size := utf8.DecodeRuneInString(l[n:])
		if r != '$' && r != '_' && !unicode.IsLetter(r) && (n == 0 || !unicode.IsDigit(r)) {
			break
		}
		n += size
	}
	if notNames[l[:n]] {
		return ""
	}
	return l[:n]
}

func isIdentifierByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

func isIdentifier(s string) bool {
	if s == "" || len(s) > maxIdentifier || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if !isIdentifierByte(s[i]) {
			return false
		}
	}
	return true
}
