package group

import (
	"crypto/sha256"
	"encoding/binary"
	"path"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// version1 is the first algorithm. It stays as it is, so that the issues it made
// are found (see [Config.Secondary]); this file and v1_message.go hold all of it.
const version1 = "hoptrace:1"

// maxLines bounds the explanation, not the hash.
const maxLines = 64

// of1 gives an event's fingerprint and the components that went into it, in order.
//
// All exceptions of the chain contribute: the type, and the frames that are the
// program's own; when the whole event has none of these, all frames. Where an
// exception has no frames that count its value contributes instead, with numbers,
// ids and quoted text taken out. An event without an exception type contributes
// its message too: that is what it is about. A client's own fingerprint replaces
// all that, except where it says {{ default }}.
func of1(e *normalize.Event) (schemas.Fingerprint, []component) {
	switch fp := e.ClientFingerprint; {
	case len(fp) == 0, len(fp) == 1 && isDefault(fp[0]):
		return sum(components(e))
	}
	return custom(e)
}

// component is one contributing value.
type component struct{ kind, value string }

func sum(cs []component) (id schemas.Fingerprint, _ []component) {
	h := sha256.New()
	write := func(s string) {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	write(version1)
	for _, c := range cs {
		write(c.kind)
		write(c.value)
	}
	copy(id[:], h.Sum(nil))
	return id, cs
}

// explain1 is one line a component.
func explain1(cs []component) []string {
	var lines []string
	for _, c := range cs {
		if len(lines) == maxLines {
			return append(lines, "and more")
		}
		lines = append(lines, c.kind+" "+c.value)
	}
	return lines
}

func isDefault(s string) bool {
	s = strings.TrimSpace(s)
	if !strings.HasPrefix(s, "{{") || !strings.HasSuffix(s, "}}") || len(s) < 4 {
		return false
	}
	return strings.TrimSpace(s[2:len(s)-2]) == "default"
}

const maxFingerprintPart = 1 << 10

func custom(e *normalize.Event) (schemas.Fingerprint, []component) {
	var cs []component
	for _, part := range e.ClientFingerprint {
		if isDefault(part) {
			cs = append(cs, components(e)...)
			continue
		}
		if len(part) > maxFingerprintPart {
			part = part[:maxFingerprintPart]
		}
		cs = append(cs, component{"fingerprint", part})
	}
	return sum(cs)
}

func components(e *normalize.Event) []component {
	if len(e.Exceptions) == 0 {
		cs := stack1(nil, e.Frames, !anyInApp(e.Frames))
		return message1(cs, e)
	}
	all := true // no frame of the program anywhere: take every frame
	typed := false
	for i := range e.Exceptions {
		if anyInApp(e.Exceptions[i].Frames) {
			all = false
		}
		typed = typed || e.Exceptions[i].Type != ""
	}
	var cs []component
	for i := range e.Exceptions {
		x := &e.Exceptions[i]
		if x.Type != "" && !x.Synthetic {
			cs = append(cs, component{"type", x.Type})
		}
		n := len(cs)
		cs = stack1(cs, x.Frames, all)
		if len(cs) == n || !typed {
			if v := parameterise1(x.Value); v != "" {
				cs = append(cs, component{"value", v})
			}
		}
	}
	if len(cs) == 0 {
		return message1(nil, e)
	}
	return cs
}

func message1(cs []component, e *normalize.Event) []component {
	text := e.Template
	if text == "" {
		text = e.Message
	}
	if v := parameterise1(text); v != "" {
		return append(cs, component{"message", v})
	}
	if len(cs) == 0 {
		// Nothing is known of it. Level and place keep apart what can be.
		cs = append(cs, component{"level", e.Level})
		if e.Culprit != "" {
			cs = append(cs, component{"culprit", e.Culprit})
		}
	}
	return cs
}

func anyInApp(frames []normalize.Frame) bool {
	for i := range frames {
		if frames[i].InApp && frame1(&frames[i]) != "" {
			return true
		}
	}
	return false
}

// stack1 appends the frames that count, the outermost first. A frame like the
// one before it is recursion and counts once.
func stack1(cs []component, frames []normalize.Frame, all bool) []component {
	last := ""
	for i := range frames {
		if !all && !frames[i].InApp {
			continue
		}
		f := frame1(&frames[i])
		if f == "" || f == last {
			continue
		}
		last = f
		cs = append(cs, component{"frame", f})
	}
	return cs
}

// frame1 is where and what: the module, else the file's name, and the function.
// It has no line numbers, so a change above a function does not split an issue.
func frame1(f *normalize.Frame) string {
	where, what := f.Module, function1(f.Function)
	if where == "" {
		where = file1(f)
	}
	switch {
	case what == "":
		return where
	case where == "":
		return what
	}
	return where + "." + what
}

func file1(f *normalize.Frame) string {
	name := f.Filename
	if name == "" {
		name = f.AbsPath
	}
	name = strings.ReplaceAll(name, `\`, "/")
	if i := strings.IndexAny(name, "?#"); i >= 0 {
		name = name[:i]
	}
	if i := strings.Index(name, "://"); i >= 0 && strings.Count(name[i+3:], "/") == 0 {
		return "" // an origin names no file
	}
	if name == "" || strings.HasPrefix(name, "<") || name == "[native code]" {
		return ""
	}
	name = strings.ToLower(path.Base(name))
	// A bundler's content hash changes with each build.
	parts := strings.Split(name, ".")
	kept := parts[:1]
	for _, p := range parts[1:] {
		if len(p) < 7 || !isHexToken(p) {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, ".")
}

func function1(name string) string {
	name = strings.TrimSpace(name)
	if i := strings.IndexByte(name, '['); i > 0 && strings.HasSuffix(name, "]") {
		name = name[:i] // type arguments
	}
	name = strings.TrimPrefix(name, "async ")
	switch name {
	case "?", "<anonymous>", "<unknown>", "<redacted>", "anonymous", "Object.<anonymous>":
		return ""
	}
	return name
}
