package group

import (
	"strings"
	"sync"

	"github.com/hoptrace/hoptrace/pipeline/group/rules"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// frameInfo is what follows from a frame's texts alone. It is shared by all
// frames with the same ones.
type frameInfo struct {
	set      rules.Set
	where    string // module or file, cleaned; empty when neither says something
	isModule bool
	what     string // the function, trimmed
	fnHint   hint   // why what is empty or does not count
	whole    hint   // why the frame never counts
	pageOnly bool   // a page's URL without a function
}

// frameKey are the texts.
type frameKey struct {
	module, function, filename, absPath, pack string
	family                                    rules.Family
	mapped                                    bool
}

// maxFrameInfos bounds each of the two generations of a cache. A frame costs
// about half a kilobyte.
const maxFrameInfos = 8 << 10

// frameCache keeps what was found out about frames: of a hundred events ninety
// have only frames seen before. When a generation is full it becomes the old one,
// and what is still used moves on.
type frameCache struct {
	mu         sync.RWMutex // guards the following
	young, old map[frameKey]*frameInfo
}

func (c *frameCache) get(k frameKey) *frameInfo {
	c.mu.RLock()
	info, isYoung := c.young[k]
	if !isYoung {
		info = c.old[k]
	}
	c.mu.RUnlock()
	if info != nil && !isYoung {
		c.put(k, info)
	}
	return info
}

func (c *frameCache) put(k frameKey, info *frameInfo) {
	// The event's strings may be parts of a payload that must not stay.
	k.module, k.function, k.filename = strings.Clone(k.module), strings.Clone(k.function), strings.Clone(k.filename)
	k.absPath, k.pack = strings.Clone(k.absPath), strings.Clone(k.pack)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= maxFrameInfos {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = make(map[frameKey]*frameInfo)
	}
	c.young[k] = info
}

func (g *Grouper) info(f *normalize.Frame, family rules.Family) *frameInfo {
	k := frameKey{f.Module, f.Function, f.Filename, f.AbsPath, f.Package, family, f.Mapped}
	if info := g.frames.get(k); info != nil {
		return info
	}
	info := newFrameInfo(f, family)
	info.where, info.what = strings.Clone(info.where), strings.Clone(info.what)
	info.set = g.enhancements.SetOf(splitFrame(f, family), family)
	g.frames.put(k, info)
	return info
}

// splitFrame gives a Go frame its module, when the SDK left it in the function.
func splitFrame(f *normalize.Frame, family rules.Family) *normalize.Frame {
	if family != rules.Go || f.Module != "" {
		return f
	}
	pack, name := splitGo(f.Function)
	if pack == "" {
		return f
	}
	split := *f
	split.Module, split.Function = pack, name
	return &split
}

func newFrameInfo(f *normalize.Frame, family rules.Family) *frameInfo {
	f = splitFrame(f, family)
	info := &frameInfo{what: trimFunction(family, f.Function)}
	info.where, info.isModule = place(family, f)
	if info.what == "" {
		info.fnHint = hintNoFunction
	}
	switch {
	case family == rules.JavaScript && len(info.what) <= 2 && info.what != "" && !f.Mapped && isBuilt(f):
		info.what, info.fnHint = "", hintMinified
	case family == rules.Python && comprehension(f.Function):
		info.whole = hintComprehension
	}
	info.pageOnly = family == rules.JavaScript && info.what == "" && isURL(f)
	return info
}

// isBuilt tells a script that a bundler wrote: names of two letters change with
// each build of it.
func isBuilt(f *normalize.Frame) bool {
	name := f.Filename
	if name == "" {
		name = f.AbsPath
	}
	if i := strings.IndexAny(name, "?#"); i > 0 {
		name = name[:i]
	}
	name = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	return strings.Contains(name, ".min.") || cleanParts(name) != name || isURL(f)
}

// maxContextLine is the longest line that a person wrote.
const maxContextLine = 120

// contextLine is the source line when it counts, else why not.
func contextLine(family rules.Family, f *normalize.Frame) (string, hint) {
	const withSource = rules.JavaScript | rules.Python | rules.PHP | rules.Ruby
	if f.ContextLine == "" || family&withSource == 0 {
		return "", 0
	}
	if len(f.ContextLine) > 8*maxContextLine { // no indentation is that deep
		return "", hintLongLine
	}
	line := collapse(f.ContextLine)
	switch {
	case line == "":
		return "", 0
	case len(line) > maxContextLine:
		return "", hintLongLine
	case strings.HasPrefix(line, "{snip}"), strings.HasSuffix(line, "{snip}"):
		return "", hintMinified
	}
	return line, 0
}

// collapse makes runs of white space one space, and none at the ends.
func collapse(s string) string {
	s = strings.TrimSpace(s)
	clean := true
	for i := range len(s) {
		if s[i] == '\t' || s[i] == '\n' || s[i] == '\r' || s[i] == ' ' && i > 0 && s[i-1] == ' ' {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	gap := false
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\r':
			gap = true
		default:
			if gap {
				b.WriteByte(' ')
				gap = false
			}
			b.WriteByte(c)
		}
	}
	return b.String()
}

// repeats tells a frame that is the one before it, called again.
func repeats(a, b *normalize.Frame) bool {
	return a.Line == b.Line && a.Column == b.Column && a.Function == b.Function && a.Module == b.Module && a.Filename == b.Filename &&
		a.AbsPath == b.AbsPath && a.Package == b.Package
}
