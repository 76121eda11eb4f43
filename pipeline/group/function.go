package group

import (
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/group/rules"
)

// trimFunction takes out of a function's name what differs between builds and
// runtimes and not between places: arguments, generics, numbers of closures.
// Empty means that the name says nothing.
func trimFunction(family rules.Family, name string) string {
	name = strings.TrimSpace(name)
	if nameless(name) {
		return ""
	}
	switch family {
	case rules.Go:
		name = trimGo(name)
	case rules.JavaScript:
		name = trimJavaScript(name)
	case rules.Java:
		name = trimJVM(name)
	case rules.Python:
		name = trimPython(name)
	case rules.Ruby:
		name = trimRuby(name)
	case rules.PHP:
		name = trimPHP(name)
	case rules.DotNet:
		name = trimDotNet(name)
	case rules.Elixir:
		name = trimElixir(name)
	case rules.Native, rules.Rust:
		name = trimNative(name)
	}
	if nameless(name) {
		return ""
	}
	return name
}

func nameless(name string) bool {
	switch name {
	case "", "?", "??", "<anonymous>", "<unknown>", "<redacted>", "<invalid>", "anonymous", "unknown", "Anonymous function", "[anonymous]", "Object.<anonymous>",
		"(anonymous)", "eval", "global code", "null", "undefined":
		return true
	}
	return false
}

func allDigits(s string) bool { return s != "" && digits(s) }

// trimGo: Map[...].func1.2 is Map.func, (*T).Do-fm is T.Do, init.0 is init.
func trimGo(s string) string {
	s = strings.TrimSuffix(cutNested(s, '[', ']'), "-fm")
	if strings.HasPrefix(s, "(") {
		if receiver, method, ok := strings.Cut(s[1:], ")"); ok {
			s = strings.TrimPrefix(receiver, "*") + method
		}
	}
	if !strings.ContainsAny(s, "0123456789") {
		return s
	}
	parts := strings.Split(s, ".")
	kept := parts[:0]
	for _, part := range parts {
		if i := strings.LastIndex(part, "-range"); i >= 0 && digits(part[i+len("-range"):]) {
			part = part[:i] // the body of a range over a function
		}
		switch {
		case allDigits(part): // a closure in a closure, an init of many
		case strings.HasPrefix(part, "func") && allDigits(part[4:]):
			if len(kept) == 0 || kept[len(kept)-1] != "func" {
				kept = append(kept, "func")
			}
		case strings.HasPrefix(part, "gowrap") && allDigits(part[6:]), strings.HasPrefix(part, "deferwrap") && allDigits(part[9:]):
			// the compiler's wrapper around go and defer
		default:
			kept = append(kept, part)
		}
	}
	return strings.ReplaceAll(strings.Join(kept, "."), "..", ".")
}

// cutNested takes out everything between brackets, nested ones too.
func cutNested(s string, open, closing byte) string {
	if strings.IndexByte(s, open) < 0 {
		return s
	}
	var b strings.Builder
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == open:
			depth++
		case s[i] == closing && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(s[i])
		}
	}
	if depth > 0 {
		return s // never closed: not what it looked like
	}
	return b.String()
}

// trimJavaScript: the last dotted part, without async, new, get, [as x] and
// Firefox's marks.
func trimJavaScript(s string) string {
	for _, p := range [...]string{"async ", "new ", "get ", "set ", "static "} {
		s = strings.TrimPrefix(s, p)
	}
	if i := strings.Index(s, " [as "); i > 0 {
		s = s[:i]
	}
	s = strings.TrimRight(s, "/<*")
	if i := strings.LastIndexByte(s, '/'); i >= 0 { // outer/inner
		s = s[i+1:]
	}
	if strings.HasSuffix(s, "<anonymous>") || strings.HasSuffix(s, "(anonymous)") {
		return ""
	}
	if i := strings.LastIndexByte(s, '.'); i >= 0 && i+1 < len(s) {
		s = s[i+1:]
	}
	return s
}

// trimJVM takes the numbers and hashes out that compilers and proxies give:
// lambda$charge$0, access$000, fn__123, a$$Lambda$14/0x00…, X$$EnhancerBy…$$1a2b.
func trimJVM(s string) string {
	if i := strings.Index(s, "/0x"); i > 0 {
		s = s[:i]
	}
	if i := strings.Index(s, "__"); i > 0 && allDigits(s[i+2:]) {
		s = s[:i] // Clojure
	}
	if strings.HasPrefix(s, "eval") && allDigits(s[4:]) {
		return "eval"
	}
	for _, generated := range [...]string{"GeneratedMethodAccessor", "GeneratedConstructorAccessor", "GeneratedSerializationConstructorAccessor"} {
		if i := strings.Index(s, generated); i >= 0 {
			return s[:i+len(generated)]
		}
	}
	if i := strings.Index(s, "$Proxy"); i >= 0 && allDigits(s[i+6:]) {
		return "$Proxy" // its package has a number too
	}
	for _, mark := range [...]string{"_$$_jvst", "_$$_javassist", "$HibernateProxy$", "$ByteBuddy$", "$MockitoMock$", "$$EnhancerBy", "$$FastClassBy"} {
		if i := strings.Index(s, mark); i > 0 {
			return s[:i]
		}
	}
	if strings.IndexByte(s, '$') < 0 {
		return s
	}
	parts := strings.Split(s, "$")
	kept := parts[:1]
	for _, part := range parts[1:] {
		if part == "" || allDigits(part) || len(part) >= 6 && isHexToken(part) {
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "$")
}

func trimPython(s string) string {
	if i := strings.LastIndex(s, "<locals>."); i >= 0 {
		s = s[i+len("<locals>."):]
	}
	return s
}

// comprehension tells a frame that Python 3.12 and later do not have.
func comprehension(name string) bool {
	return strings.HasSuffix(name, "<listcomp>") || strings.HasSuffix(name, "<dictcomp>") || strings.HasSuffix(name, "<setcomp>")
}

// trimRuby: block (2 levels) in Orders#charge is charge; what ERB compiled loses
// the numbers of its process.
func trimRuby(s string) string {
	for {
		i := strings.Index(s, " in ")
		if i < 0 || !strings.HasPrefix(s, "block") && !strings.HasPrefix(s, "rescue") && !strings.HasPrefix(s, "ensure") {
			break
		}
		s = s[i+len(" in "):]
	}
	if i := strings.Index(s, "_erb__"); i >= 0 {
		return s[:i+len("_erb")]
	}
	for _, ending := range [...]string{"_haml__", "_slim__", "_jbuilder__"} {
		if i := strings.Index(s, ending); i >= 0 {
			return s[:i+len(ending)-2]
		}
	}
	if i := strings.LastIndexAny(s, "#."); i >= 0 && i+1 < len(s) {
		s = s[i+1:] // Ruby 3.4 names the class too
	}
	return s
}

// trimPHP: class@anonymous carries its file, {closure:…} its line.
func trimPHP(s string) string {
	s = strings.TrimPrefix(s, `\`)
	if i := strings.Index(s, "@anonymous"); i >= 0 {
		method := ""
		if k := strings.LastIndex(s, "::"); k > i {
			method = s[k:]
		}
		return s[:i+len("@anonymous")] + method
	}
	if i := strings.Index(s, "{closure:"); i >= 0 {
		return "{closure}"
	}
	if strings.HasSuffix(s, "{closure}") {
		return "{closure}" // its class is in the file's name
	}
	return s
}

// trimDotNet: <Charge>d__12.MoveNext is Charge, <Charge>b__0 its lambda.
func trimDotNet(s string) string {
	s = cutNested(s, '[', ']')
	if i := strings.IndexByte(s, '('); i > 0 {
		s = s[:i]
	}
	if i := strings.IndexByte(s, '<'); i >= 0 {
		if k := strings.IndexByte(s[i:], '>'); k > 1 {
			name, rest := s[i+1:i+k], s[i+k+1:]
			if strings.HasPrefix(rest, "b__") {
				return name + ".lambda"
			}
			if strings.HasPrefix(rest, "d__") || strings.HasPrefix(rest, "g__") {
				return name
			}
		}
	}
	if i := strings.IndexByte(s, '`'); i > 0 {
		n := i + 1
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		s = s[:i] + s[n:]
	}
	return s
}

// trimElixir: anonymous fn/2 in Shop.charge/1 and -charge/1-fun-0- are charge/1.
func trimElixir(s string) string {
	if i := strings.Index(s, " in "); i >= 0 && strings.HasPrefix(s, "anonymous fn") {
		s = s[i+len(" in "):]
	}
	if strings.HasPrefix(s, "-") && strings.HasSuffix(s, "-") && len(s) > 2 {
		s, _, _ = strings.Cut(s[1:], "-")
	}
	if i := strings.LastIndexByte(s, '.'); i >= 0 && i+1 < len(s) {
		s = s[i+1:]
	}
	return s
}

// trimNative: no arguments, no templates, no return type, no marks of the
// compiler.
func trimNative(s string) string {
	if strings.HasPrefix(s, "-[") || strings.HasPrefix(s, "+[") {
		return s // Objective-C says it short
	}
	for _, mark := range [...]string{" [clone", ".llvm.", ".isra.", ".part.", ".constprop.", ".cold"} {
		if i := strings.Index(s, mark); i > 0 {
			s = s[:i]
		}
	}
	if i := strings.LastIndex(s, "::h"); i > 0 && len(s)-i == 19 && isHex(s[i+3:]) {
		s = s[:i] // Rust's hash
	}
	if i := strings.IndexByte(s, '+'); i > 0 && strings.HasPrefix(s[i:], "+0x") {
		s = s[:i] // an offset
	}
	s = strings.TrimSpace(s)
	for _, q := range [...]string{" const", " volatile", " &&", " &", " noexcept"} {
		s = strings.TrimSuffix(s, q)
	}
	s = strings.ReplaceAll(s, "(anonymous namespace)", "{anon}")
	s = strings.ReplaceAll(s, "`anonymous namespace'", "{anon}")
	// Swift writes its module before a dot and arguments behind; so do all.
	var b strings.Builder
	angle, round, curly := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case strings.HasPrefix(s[i:], "operator") && angle+round+curly == 0 && (i == 0 || !isWord(s[i-1])):
			n := i + len("operator")
			for n < len(s) && (s[n] == '<' || s[n] == '>' || s[n] == '=' || s[n] == '-' || s[n] == '*') {
				n++
			}
			if strings.HasPrefix(s[n:], "()") {
				n += 2
			}
			b.WriteString(s[i:n])
			i = n - 1
		case c == '{':
			curly++
			if angle+round == 0 {
				b.WriteByte(c)
			}
		case c == '}' && curly > 0:
			curly--
			if angle+round == 0 {
				b.WriteByte(c)
			}
		case c == '<':
			if angle == 0 && round == 0 && b.Len() == 0 || angle == 0 && round == 0 && i > 0 && s[i-1] == ':' {
				// <T as Trait>::f is Rust, and its type is the name.
				if k := closing(s[i:], '<', '>'); k > 0 && strings.HasPrefix(s[i+k+1:], "::") {
					inner, _, _ := strings.Cut(s[i+1:i+k], " as ")
					b.WriteString(cutNested(inner, '<', '>'))
					i += k
					continue
				}
			}
			angle++
		case c == '>' && angle > 0 && (i == 0 || s[i-1] != '-'):
			angle--
		case c == '(':
			round++
		case c == ')' && round > 0:
			round--
		case angle+round > 0:
		default:
			b.WriteByte(c)
		}
	}
	if angle+round > 0 {
		return s // broken: as it came
	}
	out := strings.TrimSpace(b.String())
	if i := strings.IndexByte(out, '#'); i > 0 && strings.IndexByte(out, '{') >= 0 {
		// {lambda#1} counts from the beginning of its function
		if k := strings.IndexByte(out[i:], '}'); k > 0 && allDigits(out[i+1:i+k]) {
			out = out[:i] + out[i+k:]
		}
	}
	if i := strings.LastIndexByte(out, ' '); i >= 0 && strings.IndexByte(out, '{') < 0 && !strings.Contains(out, "operator") {
		out = out[i+1:] // the return type
	}
	return strings.TrimLeft(out, "*&")
}

// closing is where the bracket that s begins with is closed, 0 when nowhere.
func closing(s string, open, end byte) int {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == open:
			depth++
		case s[i] == end && (i == 0 || s[i-1] != '-'):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return 0
}
