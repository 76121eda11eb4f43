package group

import (
	"strings"
	"unicode/utf8"
)

const (
	maxMessage = 8 << 10 // bytes read of a message
	maxLinesIn = 2       // lines kept of it
	maxQuoted  = 256     // longer quoted text is no value but prose
)

// parameterise1 takes out of a message what differs between events of one cause,
// and leaves a word in its place: <email>, <url>, <uuid>, <date>, <time>, <ip>,
// <duration>, <hex>, <id>, <num>, <str> for quoted text. It keeps the first two
// lines that are not empty. One pass, no regular expressions.
func parameterise1(s string) string {
	if len(s) > maxMessage {
		s = s[:maxMessage]
	}
	var out strings.Builder
	lines := 0
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if lines == maxLinesIn {
			out.WriteString("\n...")
			break
		}
		if lines > 0 {
			out.WriteByte('\n')
		}
		lines++
		parameteriseLine(&out, line)
	}
	return strings.ToValidUTF8(out.String(), "")
}

func parameteriseLine(out *strings.Builder, s string) {
	boundary := true // the byte before is no letter or digit
	for i := 0; i < len(s); {
		c := s[i]
		// After a letter a quote is an apostrophe and a minus is a hyphen.
		joins := i > 0 && isAlnum(s[i-1]) && !isAlnum(c) && c != '['
		if boundary && !joins {
			if word, n := token(s[i:]); n > 0 {
				out.WriteString(word)
				i += n
				boundary = !isAlnum(s[i-1]) // a closing quote is a boundary
				continue
			}
		}
		if !isAlnum(c) {
			out.WriteByte(c)
			boundary = c < utf8.RuneSelf
			i++
			continue
		}
		// A word: copied whole, since nothing begins inside it.
		j := i + 1
		for j < len(s) && isAlnum(s[j]) {
			j++
		}
		out.WriteString(s[i:j])
		i, boundary = j, true
	}
}

// token tells what value s begins with and how long it is; 0 means none.
func token(s string) (string, int) {
	c := s[0]
	switch {
	case c == '"' || c == '\'' || c == '`':
		if n := strings.IndexByte(s[1:], c); n >= 0 && n <= maxQuoted {
			if end := n + 2; end == len(s) || !isAlnum(s[end]) {
				return "<str>", end
			}
		}
		return "", 0
	case c == '[':
		if n := strings.IndexByte(s, ']'); n > 3 && n < 48 && isIPv6(s[1:n]) {
			return "<ip>", port(s, n+1)
		}
		return "", 0
	case !isAlnum(c) && c != '-' && c != '+':
		return "", 0
	case !isAlnum(c):
		if len(s) < 2 || !isDigit(s[1]) {
			return "", 0
		}
		if n := duration(s[1:]); n > 0 {
			return "<duration>", n + 1
		}
		if n := number(s[1:]); n > 0 {
			return "<num>", n + 1
		}
		return "", 0
	}
	if w, n := address(s); n > 0 {
		return w, n
	}
	if n := uuid(s); n > 0 {
		return "<uuid>", n
	}
	n := alnum(s)
	if n > 2 && c == '0' && (s[1] == 'x' || s[1] == 'X') && isHex(s[2:n]) {
		return "<hex>", n
	}
	if isDigit(c) {
		if n := date(s); n > 0 {
			return "<date>", n
		}
		if n := clock(s); n > 0 {
			return "<time>", n
		}
		if n := ipv4(s); n > 0 {
			return "<ip>", port(s, n)
		}
		if n := duration(s); n > 0 {
			return "<duration>", n
		}
		if n >= 7 && isHex(s[:n]) && !digits(s[:n]) {
			return "<hex>", n
		}
		if n := number(s); n > 0 {
			return "<num>", n
		}
	}
	if n >= 7 && isHexToken(s[:n]) {
		return "<hex>", n
	}
	if n >= 12 && isRandom(s[:n]) {
		return "<id>", n
	}
	return "", 0
}

// address finds an e-mail address or a URL: both begin like a word.
func address(s string) (string, int) {
	i := 0
	for i < len(s) && i < 64 && (isAlnum(s[i]) || strings.IndexByte("._%+-", s[i]) >= 0) {
		i++
	}
	if i == len(s) || i == 0 {
		return "", 0
	}
	if strings.HasPrefix(s[i:], "://") {
		j := i + 3
		for j < len(s) && s[j] > ' ' && strings.IndexByte("\"'`<>)]}", s[j]) < 0 {
			j++
		}
		for j > i+3 && strings.IndexByte(".,:;!?", s[j-1]) >= 0 {
			j-- // the sentence's, not the URL's
		}
		if j > i+3 {
			return "<url>", j
		}
		return "", 0
	}
	if s[i] != '@' {
		return "", 0
	}
	j, dot := i+1, false
	for j < len(s) && (isAlnum(s[j]) || s[j] == '-' || s[j] == '.') {
		dot = dot || (s[j] == '.' && j > i+1 && j+1 < len(s) && isAlnum(s[j+1]))
		j++
	}
	for j > i && s[j-1] == '.' {
		j--
	}
	if !dot {
		return "", 0
	}
	return "<email>", j
}

func uuid(s string) int {
	const length = 36
	if len(s) < length || (len(s) > length && isAlnum(s[length])) {
		return 0
	}
	for i := range length {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return 0
			}
		default:
			if !isHexDigit(s[i]) {
				return 0
			}
		}
	}
	return length
}

// date finds 2026-11-23, perhaps with a time and a zone after it.
func date(s string) int {
	if len(s) < 10 || !digits(s[:4]) || !digits(s[5:7]) || !digits(s[8:10]) || s[4] != s[7] || (s[4] != '-' && s[4] != '/') {
		return 0
	}
	n := 10
	if n+1 < len(s) && (s[n] == 'T' || s[n] == ' ') {
		if t := clock(s[n+1:]); t > 0 {
			n += 1 + t
			if n < len(s) && s[n] == 'Z' {
				n++
			} else if n+6 <= len(s) && (s[n] == '+' || s[n] == '-') && digits(s[n+1:n+3]) && s[n+3] == ':' && digits(s[n+4:n+6]) {
				n += 6
			}
		}
	}
	if n < len(s) && isAlnum(s[n]) {
		return 0
	}
	return n
}

// clock finds 10:11, 10:11:12 and 10:11:12.345.
func clock(s string) int {
	if len(s) < 5 || !digits(s[:2]) || s[2] != ':' || !digits(s[3:5]) {
		return 0
	}
	n := 5
	if len(s) >= 8 && s[5] == ':' && digits(s[6:8]) {
		n = 8
		if len(s) > 9 && (s[8] == '.' || s[8] == ',') && isDigit(s[9]) {
			for n = 9; n < len(s) && isDigit(s[n]); n++ {
			}
		}
	}
	if n < len(s) && (isDigit(s[n]) || s[n] == ':') {
		return 0
	}
	return n
}

func ipv4(s string) int {
	n := 0
	for part := range 4 {
		if part > 0 {
			if n >= len(s) || s[n] != '.' {
				return 0
			}
			n++
		}
		from := n
		for n < len(s) && isDigit(s[n]) && n-from < 3 {
			n++
		}
		if n == from {
			return 0
		}
	}
	if n < len(s) && (isAlnum(s[n]) || (s[n] == '.' && n+1 < len(s) && isDigit(s[n+1]))) {
		return 0
	}
	return n
}

func isIPv6(s string) bool {
	colons := 0
	for i := range len(s) {
		switch {
		case s[i] == ':':
			colons++
		case !isHexDigit(s[i]) && s[i] != '.':
			return false
		}
	}
	return colons >= 2
}

// port takes a ":9092" after an address along.
func port(s string, n int) int {
	if n+1 < len(s) && s[n] == ':' && isDigit(s[n+1]) {
		for n++; n < len(s) && isDigit(s[n]); n++ {
		}
	}
	return n
}

// duration finds what time.Duration prints, and a number with one unit.
func duration(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		d := decimal(s[n:])
		u := unit(s[n+d:])
		if u == 0 {
			return 0
		}
		n += d + u
	}
	if n < len(s) && isAlnum(s[n]) {
		return 0
	}
	return n
}

func unit(s string) int {
	for _, u := range [...]string{"ms", "us", "µs", "μs", "ns", "h", "m", "s"} {
		if strings.HasPrefix(s, u) {
			return len(u)
		}
	}
	return 0
}

func decimal(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) {
		for n++; n < len(s) && isDigit(s[n]); n++ {
		}
	}
	return n
}

// number finds an integer or a float. It may stand before a unit ("10MB") but
// not before a longer word.
func number(s string) int {
	n := decimal(s)
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		j := n + 1
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for n = j; n < len(s) && isDigit(s[n]); n++ {
			}
		}
	}
	letters := 0
	for j := n; j < len(s) && isAlnum(s[j]); j++ {
		if isDigit(s[j]) {
			return 0
		}
		if letters++; letters > 3 {
			return 0
		}
	}
	return n
}

// isRandom tells an id made by chance: letters and digits that alternate often.
func isRandom(s string) bool {
	changes := 0
	for i := 1; i < len(s); i++ {
		if isDigit(s[i]) != isDigit(s[i-1]) {
			changes++
		}
	}
	return changes >= 3
}

// isHexToken tells a hash written in hex: with a digit, else it may be a word.
func isHexToken(s string) bool {
	return isHex(s) && strings.ContainsAny(s, "0123456789")
}

func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func alnum(s string) int {
	n := 0
	for n < len(s) && isAlnum(s[n]) {
		n++
	}
	return n
}

func digits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHexDigit(c byte) bool {
	return isDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
}

func isAlnum(c byte) bool {
	return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
}
