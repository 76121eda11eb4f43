package policy

import (
	"bytes"
	"strings"
)

// glob is a pattern in which * is any text; it matches the whole text without
// regard to case. Matching takes time linear in the text, for each *.
type glob struct {
	parts [][]byte // between the stars, in lower case
}

func newGlob(pattern string) glob {
	var g glob
	for part := range strings.SplitSeq(strings.ToLower(pattern), "*") {
		g.parts = append(g.parts, []byte(part))
	}
	return g
}

// match takes a text in lower case.
func (g *glob) match(text []byte) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return bytes.Equal(text, first)
	}
	if !bytes.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for _, part := range g.parts[1 : len(g.parts)-1] {
		i := bytes.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return bytes.HasSuffix(text, last)
}

// globs is a list of patterns of which one must match.
type globs []glob

func newGlobs(patterns []string) globs {
	gs := make(globs, 0, len(patterns))
	for _, p := range patterns {
		gs = append(gs, newGlob(strings.TrimSpace(p)))
	}
	return gs
}

func (gs globs) match(text []byte) bool {
	if len(gs) == 0 {
		return false
	}
	lower := bytes.ToLower(text)
	for i := range gs {
		if gs[i].match(lower) {
			return true
		}
	}
	return false
}
