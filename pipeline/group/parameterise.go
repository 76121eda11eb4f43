package group

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

const (
	// MaxParameterised bounds what [Parameterise] reads and what it returns, in bytes.
	MaxParameterised = 8 << 10
	keptLines        = 2
)

// Parameterise takes out of a message what differs between events of one cause
// and leaves the name of its kind: <email>, <url>, <hostname>, <traceparent>,
// <uuid>, <sha1>, <md5>, <date>, <duration>, <mac>, <ip>, <hex>, <git_sha>,
// <random_id>, <float>, <int>, and after an equals sign <quoted_str> and
// <bool>. It keeps the first two lines that are not empty; "..." says that there
// was more. Parameterising the result again changes nothing.
//
// It is one pass by hand: RE2 has no look-around, and the chain of expressions
// that is the other way costs about thirty times as much (BenchmarkParameterise).
func Parameterise(s string) string {
	var buf [512]byte
	out := AppendParameterised(buf[:0], s)
	if string(out) == s {
		return s
	}
	return string(out)
}

// AppendParameterised appends [Parameterise] of s to dst.
func AppendParameterised(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "")
	}
	begin, lines, room := len(dst), 0, MaxParameterised
	for s != "" {
		line := s
		if i := strings.IndexAny(s, "\r\n"); i >= 0 {
			line, s = s[:i], s[i+1:]
		} else {
			s = ""
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if lines == keptLines {
			dst = append(dst, "\n..."...)
			break
		}
		if lines > 0 {
			dst = append(dst, '\n')
		}
		lines++
		full := len(line) > room
		if full {
			line = upToSpace(line, room)
		}
		room -= len(line) + 1
		p := scanner{in: line, out: dst}
		p.run()
		if dst = p.out; full {
			dst = append(dst, "..."...)
			break
		}
	}
	if len(dst)-begin > MaxParameterised { // the names of kinds may be longer than what they stand for
		n := begin + len(upToSpace(string(dst[begin:]), MaxParameterised-len("...")))
		dst = append(dst[:n], "..."...)
	}
	return dst
}

// upToSpace cuts s to at most n bytes behind a space, so that no word is cut:
// half of one could look like another kind.
func upToSpace(s string, n int) string {
	if n <= 0 {
		return ""
	}
	return s[:strings.LastIndexByte(s[:min(n, len(s))], ' ')+1]
}

// scanner reads one line. A value begins where a word begins, and what looks
// further than its own word must end hard (see [scanner.ends]): so no value
// comes into being only because its neighbour was replaced.
type scanner struct {
	in  string
	out []byte
	// Before these places no host and no address begins: a try from further left
	// found out.
	noHost, noMail int
}

// Classes of bytes.
const (
	digitClass = 1 << iota
	hexClass   // a hex letter
	letterClass
	wideClass  // part of a character beyond ASCII
	upperClass // an upper-case letter
	wordClass  = digitClass | hexClass | letterClass | wideClass
)

var classes = func() (t [256]uint8) {
	for c := range t {
		b := byte(c) //nolint:gosec // c is below 256
		switch {
		case isDigit(b):
			t[c] = digitClass
		case isHexDigit(b):
			t[c] = hexClass
		case isAlnum(b):
			t[c] = letterClass
		case b >= utf8.RuneSelf:
			t[c] = wideClass
		}
		if b >= 'A' && b <= 'Z' {
			t[c] |= upperClass
		}
	}
	return t
}()

func isWord(c byte) bool { return classes[c]&wordClass != 0 }

func (p *scanner) run() {
	s := p.in
	for i := 0; i < len(s); {
		c := s[i]
		if isWord(c) {
			e, flags := i, uint8(0)
			for e < len(s) && classes[s[e]]&wordClass != 0 {
				flags |= classes[s[e]]
				e++
			}
			i = p.word(i, e, flags)
			continue
		}
		switch c {
		case '=':
			p.out = append(p.out, '=')
			i = p.assigned(i + 1)
			continue
		case '<':
			if n := placeholder(s[i:]); n > 0 {
				p.out = append(p.out, s[i:i+n]...)
				i += n
				continue
			}
		case '-', '+':
			if i+1 < len(s) && isDigit(s[i+1]) && !p.joined(i) {
				if name, n := p.number(i + 1); n > 0 {
					i = p.put(name, n)
					continue
				}
			}
		case ':': // ::1
			if i+1 < len(s) && s[i+1] == ':' && !p.joined(i) {
				if n := p.ipv6(i); n > 0 {
					i = p.put("<ip>", n)
					continue
				}
			}
		}
		p.out = append(p.out, c)
		i++
	}
}

// joined tells that what stands at i hangs on a word or a value before it: a
// minus is a hyphen there.
func (p *scanner) joined(i int) bool {
	if i == 0 {
		return false
	}
	c := p.in[i-1]
	return isWord(c) || c == '>' || c == '_' || c == ')' || c == '.' || c == ':'
}

func (p *scanner) put(name string, end int) int {
	p.out = append(p.out, name...)
	return end
}

// at is the byte at i, zero behind the end.
func (p *scanner) at(i int) byte {
	if i < len(p.in) {
		return p.in[i]
	}
	return 0
}

// ends tells that a value may end before i: neither a word nor another value
// goes on there.
func (p *scanner) ends(i int) bool {
	switch c := p.at(i); {
	case i >= len(p.in):
		return true
	case isWord(c), c == '-', c == '_', c == '@', c == '%':
		return false
	case c == '<':
		return placeholder(p.in[i:]) == 0
	case c == '.':
		n := p.at(i + 1)
		return !isWord(n) && n != '-' && n != '_' && (n != '<' || placeholder(p.in[i+1:]) == 0)
	}
	return true
}

// word handles the word [i, e), and returns where to go on.
func (p *scanner) word(i, e int, flags uint8) int {
	s, next := p.in, p.at(e)
	switch next {
	case ':':
		if e+2 < len(s) && s[e+1] == '/' && s[e+2] == '/' && flags&(digitClass|wideClass) == 0 {
			if n := p.url(e + 3); n > 0 {
				return p.put("<url>", n)
			}
		}
	case '@', '.', '_', '+', '-', '%':
		if n := p.email(i); n > 0 {
			return p.put("<email>", n)
		}
		if next == '.' || next == '-' {
			if n := p.hostname(i); n > 0 {
				return p.put("<hostname>", n)
			}
		}
	}
	if flags&digitClass == 0 {
		switch {
		case flags&wideClass != 0:
		case next == ':' && flags&letterClass == 0 && e-i <= 4: // hex letters only
			if n := p.ipv6(i); n > 0 {
				return p.put("<ip>", n)
			}
			if n := p.mac(i); n > 0 {
				return p.put("<mac>", n)
			}
		case next == '-' && flags&letterClass == 0:
			if name, n := p.dashed(i, e); n > 0 {
				return p.put(name, n)
			}
		case e-i == 3 && (next == ' ' || next == ',') && flags&upperClass != 0:
			if n := p.namedDate(i); n > 0 {
				return p.put("<date>", n)
			}
		case e-i == 9 && s[i:e] == "localhost" && p.ends(e):
			return p.put("<hostname>", e)
		}
		p.out = append(p.out, s[i:e]...)
		return e
	}
	if flags&letterClass == 0 && flags&wideClass == 0 { // hex, perhaps decimal
		if next == ':' && e-i <= 4 {
			if n := p.ipv6(i); n > 0 {
				return p.put("<ip>", n)
			}
			if n := p.mac(i); n > 0 {
				return p.put("<mac>", n)
			}
		}
		if next == '-' {
			if name, n := p.dashed(i, e); n > 0 {
				return p.put(name, n)
			}
		}
	}
	if isDigit(s[i]) {
		if name, n := p.figure(i, e, flags); n > 0 {
			return p.put(name, n)
		}
	}
	if name := opaque(s[i:e], flags); name != "" {
		return p.put(name, e)
	}
	p.out = append(p.out, s[i:e]...)
	return e
}

// opaque names a word that nobody wrote: a hash or a random id.
func opaque(w string, flags uint8) string {
	if flags&wideClass != 0 || flags&digitClass == 0 {
		return ""
	}
	if flags&letterClass == 0 {
		switch {
		case flags&hexClass == 0:
			return "" // a number
		case len(w) == 40:
			return "<sha1>"
		case len(w) == 32:
			return "<md5>"
		case len(w) >= 7 && len(w) <= 12 && flags&upperClass == 0:
			return "<git_sha>"
		case len(w) >= 8:
			return "<hex>"
		}
		return ""
	}
	if len(w) >= 12 && isRandom(w) {
		return "<random_id>"
	}
	return ""
}

// figure reads what begins with a digit.
func (p *scanner) figure(i, e int, flags uint8) (string, int) {
	s := p.in
	if s[i] == '0' && e-i > 2 && s[i+1]|0x20 == 'x' && isHex(s[i+2:e]) {
		return "<hex>", e
	}
	if !p.after(i, '.') {
		if n := p.date(i, e); n > 0 {
			return "<date>", n
		}
		if n := p.ipv4(i); n > 0 {
			return "<ip>", n
		}
		if flags&(letterClass|hexClass|wideClass) != 0 || p.at(e) == '.' {
			if n := p.duration(i); n > 0 {
				return "<duration>", n
			}
		}
	}
	if name := opaque(s[i:e], flags); name != "" {
		return name, e
	}
	return p.number(i)
}

// after tells that c joins what stands at i to a word or a value before it.
func (p *scanner) after(i int, c byte) bool {
	return i >= 2 && p.in[i-1] == c && (isWord(p.in[i-2]) || p.in[i-2] == '>')
}

// number reads an integer or a float at i; it may stand before a unit ("10MB")
// but not before a longer word. Of more than two parts joined by dots each is an
// integer: a version.
func (p *scanner) number(i int) (string, int) {
	s, n, name := p.in, i, "<int>"
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if whole := n; p.at(n) == '.' && isDigit(p.at(n+1)) && !p.after(i, '.') {
		for n++; n < len(s) && isDigit(s[n]); n++ {
		}
		if p.at(n) == '.' && isDigit(p.at(n+1)) {
			return "<int>", whole
		}
		name = "<float>"
		if !p.unit(n) && !p.exponent(n) {
			return "<int>", whole // 1.5x7: no number behind the dot
		}
	}
	if p.exponent(n) {
		for n += 2; n < len(s) && isDigit(s[n]); n++ {
		}
		return "<float>", n
	}
	if !p.unit(n) {
		return "", 0
	}
	return name, n
}

// exponent tells that e10 or E-10 begins at n, and nothing follows it.
func (p *scanner) exponent(n int) bool {
	if p.at(n)|0x20 != 'e' {
		return false
	}
	n++
	if c := p.at(n); c == '-' || c == '+' {
		n++
	}
	from := n
	for isDigit(p.at(n)) {
		n++
	}
	return n > from && !isWord(p.at(n))
}

// unit tells that at most three letters follow, and no digit.
func (p *scanner) unit(n int) bool {
	for letters := 0; n < len(p.in) && isWord(p.in[n]); n++ {
		if letters++; isDigit(p.in[n]) || p.in[n] >= utf8.RuneSelf || letters > 3 {
			return false
		}
	}
	return true
}

// assigned reads what stands right of an equals sign, when it is quoted or a
// boolean; i is behind the sign.
func (p *scanner) assigned(i int) int {
	at := i
	if p.at(at) == ' ' {
		at++
	}
	name, end := "", 0
	switch c := p.at(at); c {
	case '"', '\'', '`':
		for j := at + 1; j < len(p.in); j++ {
			if p.in[j] == '\\' {
				j++
			} else if p.in[j] == c {
				name, end = "<quoted_str>", j+1
				break
			}
		}
	case 't', 'f', 'T', 'F':
		for _, w := range [...]string{"true", "false"} {
			if n := at + len(w); n <= len(p.in) && strings.EqualFold(p.in[at:n], w) {
				name, end = "<bool>", n
			}
		}
	}
	if name == "" || name == "<bool>" && (isWord(p.at(end)) || p.at(end) == '_' || placeholder(p.in[end:]) > 0) {
		return i
	}
	p.out = append(p.out, p.in[i:at]...)
	return p.put(name, end)
}

// placeholder is the length of the name of a kind that s begins with.
func placeholder(s string) int {
	if len(s) < 4 || s[0] != '<' {
		return 0
	}
	for _, name := range placeholders[s[1]&31] {
		if strings.HasPrefix(s, name) {
			return len(name)
		}
	}
	return 0
}

// placeholders by their first letter.
var placeholders = func() (t [32][]string) {
	for _, name := range [...]string{
		"<email>", "<url>", "<hostname>", "<traceparent>", "<uuid>", "<sha1>", "<md5>", "<date>", "<duration>", "<mac>", "<ip>",
		"<hex>", "<git_sha>", "<random_id>", "<float>", "<int>", "<quoted_str>", "<bool>",
	} {
		t[name[1]&31] = append(t[name[1]&31], name)
	}
	return t
}()

// url reads what follows "://".
func (p *scanner) url(i int) int {
	from := i
	for i < len(p.in) && p.in[i] > ' ' && strings.IndexByte("\"'`<>{}|\\^", p.in[i]) < 0 {
		i++
	}
	for i > from && strings.IndexByte(".,;:!?)]", p.in[i-1]) >= 0 {
		i--
	}
	if i == from {
		return 0
	}
	return i
}

// email reads local@domain.tld.
func (p *scanner) email(i int) int {
	if i < p.noMail {
		return 0
	}
	s, at := p.in, i
	for at < len(s) && (isAlnum(s[at]) || s[at] == '.' || s[at] == '_' || s[at] == '%' || s[at] == '+' || s[at] == '-') {
		at++
	}
	if p.at(at) != '@' || at-i > 64 {
		if p.at(at) != '@' {
			p.noMail = at
		}
		return 0
	}
	end, tld := p.domain(at + 1)
	if end == 0 || len(tld) < 2 || !letters(tld) || !p.ends(end) {
		return 0
	}
	return end
}

// domain reads labels joined by dots, at least two, and gives the last.
func (p *scanner) domain(i int) (end int, last string) {
	s, n := p.in, i
	for n < len(s) && (isAlnum(s[n]) || s[n] == '-' || s[n] == '.' && (n == i || s[n-1] != '.')) { // two dots end it
		n++
	}
	for n > i && (s[n-1] == '-' || s[n-1] == '.') {
		n--
	}
	name := s[i:n]
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || name[0] == '-' || name[0] == '.' || n-i > 253 {
		return 0, ""
	}
	return n, name[dot+1:]
}

func letters(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) || isDigit(s[i]) {
			return false
		}
	}
	return true
}

// topLevel are the last labels that make a dotted word a host's name. Those
// that are also endings of files or of names in programs are left out.
var topLevel = map[string]bool{
	"com": true, "net": true, "org": true, "io": true, "dev": true, "app": true, "co": true, "cloud": true, "internal": true,
	"local": true, "localdomain": true, "lan": true, "corp": true, "intra": true, "edu": true, "gov": true, "mil": true, "biz": true, "eu": true, "de": true,
	"uk": true, "fr": true, "nl": true, "ch": true, "us": true, "ca": true, "au": true, "jp": true, "cn": true, "br": true,
	"se": true, "es": true, "pt": true, "cz": true, "dk": true, "fi": true, "ru": true, "kr": true, "example": true, "invalid": true,
}

func (p *scanner) hostname(i int) int {
	if i < p.noHost || p.after(i, '.') {
		return 0
	}
	end, tld := p.domain(i)
	if end == 0 || !topLevel[tld] || !p.ends(end) {
		n := i
		for n < len(p.in) && (isAlnum(p.in[n]) || p.in[n] == '-' || p.in[n] == '.') {
			n++
		}
		p.noHost = n
		return 0
	}
	return end
}

// dashed reads hex joined by dashes: a UUID, W3C's traceparent, Sentry's
// sentry-trace, a MAC address. [i, e) is the first part.
func (p *scanner) dashed(i, e int) (string, int) {
	if e-i == 2 {
		if n := p.mac(i); n > 0 {
			return "<mac>", n
		}
	}
	f := func(name string, sizes ...int) (string, int) {
		n := i
		for k, size := range sizes {
			if k > 0 {
				if p.at(n) != '-' {
					return "", 0
				}
				n++
			}
			if n+size > len(p.in) || !isHex(p.in[n:n+size]) {
				return "", 0
			}
			n += size
		}
		if !p.ends(n) {
			return "", 0
		}
		return name, n
	}
	switch e - i {
	case 8:
		return f("<uuid>", 8, 4, 4, 4, 12)
	case 2:
		return f("<traceparent>", 2, 32, 16, 2)
	case 32:
		if name, n := f("<traceparent>", 32, 16, 1); n > 0 {
			return name, n
		}
		return f("<traceparent>", 32, 16)
	}
	return "", 0
}

func (p *scanner) mac(i int) int {
	sep := p.at(i + 2)
	if sep != ':' && sep != '-' {
		return 0
	}
	for k := range 6 {
		if !isHexDigit(p.at(i)) || !isHexDigit(p.at(i+1)) {
			return 0
		}
		if i += 2; k < 5 {
			if p.at(i) != sep {
				return 0
			}
			i++
		}
	}
	if !p.ends(i) || p.at(i) == ':' {
		return 0
	}
	return i
}

func (p *scanner) ipv4(i int) int {
	s, n := p.in, i
	for part := range 4 {
		if part > 0 {
			if p.at(n) != '.' {
				return 0
			}
			n++
		}
		from, v := n, 0
		for n < len(s) && isDigit(s[n]) && n-from < 3 {
			v = v*10 + int(s[n]-'0')
			n++
		}
		if n == from || v > 255 {
			return 0
		}
	}
	if !p.ends(n) {
		return 0
	}
	return n
}

// ipv6 reads an address that has a digit: a::b alone is more likely C++.
func (p *scanner) ipv6(i int) int {
	n, colons, pair, digit := i, 0, false, false
	for n < len(p.in) && n-i < 46 && (isHexDigit(p.in[n]) || p.in[n] == ':' || (p.in[n] == '.' && isDigit(p.at(n+1)))) {
		if p.in[n] == ':' {
			colons++
			pair = pair || p.at(n+1) == ':'
		}
		digit = digit || isDigit(p.in[n])
		n++
	}
	for n > i+2 && p.in[n-1] == ':' && p.in[n-2] != ':' {
		n--
	}
	if !digit || (!pair && colons != 7) || colons > 8 || !p.ends(n) || p.at(n) == ':' {
		return 0
	}
	if _, err := netip.ParseAddr(p.in[i:n]); err != nil {
		return 0
	}
	return n
}

// date reads a day, a time of day, or both.
func (p *scanner) date(i, e int) int {
	s, n := p.in, 0
	switch next := p.at(e); {
	case e-i == 4 && (next == '-' || next == '/') && p.is(e, "-00-00", "/00/00"): // 2026-11-23
		n = e + 6
		if c := p.at(n); c == 'T' || c == ' ' {
			if t := p.clock(n + 1); t > 0 {
				n = t
			}
		}
	case e-i == 2 && next == '/' && e+9 <= len(s) && month(s[e+1:e+4]) && p.is(e+4, "/0000"): // 23/Nov/2026:10:11:12 +0000
		n = e + 9
		if p.at(n) == ':' {
			if t := p.clock(n + 1); t > 0 {
				n = t
			}
		}
	case e-i <= 2 && (next == '/' || next == '-') && p.is(e, "/00/0000", "-00-0000"): // 11/23/2026
		n = e + 8
	case e-i == 2 && next == ' ' && e+9 <= len(s) && month(s[e+1:e+4]) && p.is(e+4, " 0000"): // 23 Nov 2026
		n = e + 9
		if p.at(n) == ' ' {
			if t := p.clock(n + 1); t > 0 {
				n = t
			}
		}
	case e-i <= 2 && next == ':':
		n = p.clock(i)
	}
	if n == 0 {
		// 2026-11-23T10:11:12Z: the word ends behind the T only.
		if e-i >= 4 && p.is(i, "0000-00-00T") {
			return p.endOfDate(p.clock(i + 11))
		}
		return 0
	}
	return p.endOfDate(n)
}

func (p *scanner) endOfDate(n int) int {
	if n == 0 || !p.ends(n) {
		return 0
	}
	return n
}

// clock reads 10:11, 10:11:12 or 10:11:12.345 with what may follow: Z, a zone,
// Go's monotonic clock. It returns the end.
func (p *scanner) clock(i int) int {
	n := i
	for n < len(p.in) && isDigit(p.in[n]) {
		n++
	}
	if n == i || n-i > 2 || !p.is(n, ":00") {
		return 0
	}
	n += 3
	if p.is(n, ":00") {
		n += 3
		if c := p.at(n); (c == '.' || c == ',') && isDigit(p.at(n+1)) {
			for n++; isDigit(p.at(n)); n++ {
			}
		}
	}
	switch c := p.at(n); {
	case c == 'Z':
		n++
	case (c == '+' || c == '-') && p.is(n+1, "00:00"):
		n += 6
	case (c == '+' || c == '-') && p.is(n+1, "0000"):
		n += 5
	case c == ' ' && (p.at(n+1) == '+' || p.at(n+1) == '-') && p.is(n+2, "0000"):
		if n += 6; strings.HasPrefix(p.in[n:], " UTC") {
			n += 4
		}
		if strings.HasPrefix(p.in[n:], " m=") {
			m := n + 3
			for m < len(p.in) && (isDigit(p.in[m]) || p.in[m] == '.' || p.in[m] == '+' || p.in[m] == '-') {
				m++
			}
			n = m
		}
	case strings.HasPrefix(p.in[n:], " GMT"), strings.HasPrefix(p.in[n:], " UTC"):
		n += 4
	}
	if p.at(n) == ':' && isDigit(p.at(n+1)) {
		return 0
	}
	return n
}

// is tells that one of the shapes stands at i: 0 is any digit, others are themselves.
func (p *scanner) is(i int, shapes ...string) bool {
shape:
	for _, shape := range shapes {
		if i+len(shape) > len(p.in) {
			continue
		}
		for k := range len(shape) {
			if c := p.in[i+k]; shape[k] == '0' && !isDigit(c) || shape[k] != '0' && c != shape[k] {
				continue shape
			}
		}
		return true
	}
	return false
}

func month(s string) bool {
	switch s {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

func weekday(s string) bool {
	switch s {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

// namedDate reads what begins with a weekday or a month: RFC 1123, ANSI C, and
// the time stamps of syslog.
func (p *scanner) namedDate(i int) int {
	s, n := p.in, i+3
	if weekday(s[i:n]) {
		if p.at(n) == ',' {
			n++
		}
		if p.at(n) != ' ' {
			return 0
		}
		n++
		if p.is(n, "00 ") && n+6 <= len(s) && month(s[n+3:n+6]) && p.is(n+6, " 0000") { // 23 Nov 2026
			if n += 11; p.at(n) == ' ' {
				if t := p.clock(n + 1); t > 0 {
					n = t
				}
			}
			return p.endOfDate(n)
		}
		if n+3 > len(s) || !month(s[n:n+3]) {
			return 0
		}
		n += 3
	} else if !month(s[i:n]) {
		return 0
	}
	if p.at(n) != ' ' {
		return 0
	}
	if n++; p.at(n) == ' ' {
		n++
	}
	day := n
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == day || n-day > 2 {
		return 0
	}
	switch {
	case p.is(n, ", 0000"):
		return p.endOfDate(n + 6)
	case p.at(n) == ' ':
		if t := p.clock(n + 1); t > 0 {
			if p.is(t, " 0000") {
				t += 5
			}
			return p.endOfDate(t)
		}
	}
	return 0
}

// duration reads what time.Duration prints, and a number with one unit.
func (p *scanner) duration(i int) int {
	n := i
	for isDigit(p.at(n)) {
		for isDigit(p.at(n)) {
			n++
		}
		if p.at(n) == '.' && isDigit(p.at(n+1)) {
			for n++; isDigit(p.at(n)); n++ {
			}
		}
		u := unit(p.in[n:])
		if u == 0 {
			return 0
		}
		n += u
	}
	if !p.ends(n) {
		return 0
	}
	return n
}
