package rules

import "strings"

// glob is a compiled pattern. "*" is any run of characters, "?" one of them; in
// a path neither goes over a slash, and "**" does. Most patterns are plain text
// with stars at the ends, which needs no walk.
type glob struct {
	kind    globKind
	literal string // of all kinds but walk
	pattern string // of walk
	path    bool
}

type globKind uint8

const (
	exact globKind = iota
	prefix
	suffix
	contains
	anything
	walk
)

func newGlob(pattern string, path bool) glob {
	if path {
		pattern = normalPath(pattern)
	}
	g := glob{kind: walk, pattern: pattern, path: path}
	star := "*"
	if path {
		star = "**"
	}
	middle := strings.TrimPrefix(pattern, star)
	front := len(middle) < len(pattern)
	short := strings.TrimSuffix(middle, star)
	back := len(short) < len(middle)
	if !path {
		short = strings.Trim(short, "*") // "**" is "*" where nothing is a path
		front, back = strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	}
	switch {
	case strings.ContainsAny(short, "*?"):
		return g
	case short == "" && (front || back):
		return glob{kind: anything}
	case front && back:
		return glob{kind: contains, literal: short}
	case front:
		return glob{kind: suffix, literal: short}
	case back:
		return glob{kind: prefix, literal: short}
	}
	return glob{kind: exact, literal: short}
}

// normalPath is how paths are compared: lower case, slashes.
func normalPath(s string) string {
	if strings.IndexByte(s, '\\') >= 0 {
		s = strings.ReplaceAll(s, `\`, "/")
	}
	return strings.ToLower(s)
}

func (g *glob) match(s string) bool {
	switch g.kind {
	case exact:
		return s == g.literal
	case prefix:
		return strings.HasPrefix(s, g.literal)
	case suffix:
		return strings.HasSuffix(s, g.literal)
	case contains:
		return strings.Contains(s, g.literal)
	case anything:
		return true
	}
	return g.walk(s)
}

// walk goes back to the last star when it is stuck, and to the last double star
// when the single one may not go on. Patterns and texts are bounded, so is the
// product of their lengths.
func (g *glob) walk(s string) bool {
	p := g.pattern
	star, starAt := -1, 0     // behind the last "*" in the pattern, and what it has eaten up to
	double, doubleAt := -1, 0 // the same of "**"
	i, k := 0, 0
	for {
		switch {
		case k < len(p) && p[k] == '*':
			if !g.path || k+1 < len(p) && p[k+1] == '*' {
				for k < len(p) && p[k] == '*' {
					k++
				}
				double, doubleAt, star = k, i, -1
			} else {
				k++
				star, starAt = k, i
			}
			continue
		case i == len(s):
			if k == len(p) {
				return true
			}
		case k < len(p) && (p[k] == s[i] || p[k] == '?' && (!g.path || s[i] != '/')):
			i++
			k++
			continue
		}
		switch {
		case star >= 0 && starAt < len(s) && s[starAt] != '/':
			starAt++
			i, k = starAt, star
		case double >= 0 && doubleAt < len(s):
			doubleAt++
			i, k, star = doubleAt, double, -1
		default:
			return false
		}
	}
}
