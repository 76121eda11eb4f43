package symbolicate

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// candidates are the names under which the file that a frame names may have been
// uploaded, best first: the whole URL, and "~" for its scheme and host; each
// with its query, then without. A path of a file counts as one of a URL.
func candidates(absPath string) []string {
	absPath, _, _ = strings.Cut(absPath, "#")
	if len(absPath) > maxURL {
		return nil
	}
	var out []string
	add := func(u string) {
		if u != "" && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	whole, query, hasQuery := strings.Cut(absPath, "?")
	for _, u := range []string{absPath, whole} {
		add(u)
		add(anyHost(u))
		if !hasQuery || query == "" && u == whole {
			break
		}
	}
	if hasQuery {
		add(whole)
		add(anyHost(whole))
	}
	return out
}

// maxURL bounds what is looked for.
const maxURL = 2048

// anyHost is "~" and the path of a URL or of a file. Windows' paths lose their drive.
func anyHost(u string) string {
	if strings.HasPrefix(u, "~/") {
		return u
	}
	if scheme, rest, ok := strings.Cut(u, "://"); ok && isScheme(scheme) {
		_, p, ok := strings.Cut(rest, "/")
		if !ok {
			return ""
		}
		p = strings.TrimLeft(p, "/")
		if scheme == "file" {
			p = withoutDrive(p)
		}
		return "~/" + trimDot(p)
	}
	u = withoutDrive(strings.ReplaceAll(u, `\`, "/"))
	return "~/" + trimDot(strings.TrimLeft(u, "/"))
}

func trimDot(p string) string {
	for strings.HasPrefix(p, "./") {
		p = strings.TrimLeft(p[2:], "/")
	}
	return p
}

func withoutDrive(p string) string {
	if len(p) >= 3 && p[1] == ':' && p[2] == '/' && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z') {
		return p[3:]
	}
	return p
}

func isScheme(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.') {
			continue
		}
		return false
	}
	return true
}

// hasFile tells whether a frame can have a file at all.
func hasFile(absPath string) bool {
	switch {
	case absPath == "", absPath == "native", absPath[0] == '<', absPath[0] == '[':
		return false
	case strings.HasPrefix(absPath, "node:"), strings.HasPrefix(absPath, "internal/"), strings.HasPrefix(absPath, "chrome-extension:"),
		strings.HasPrefix(absPath, "moz-extension:"), strings.HasPrefix(absPath, "safari-web-extension:"), strings.HasPrefix(absPath, "data:"), strings.HasPrefix(absPath, "blob:"):
		return false
	}
	return true
}

// referred resolves a reference in a file (a "Sourcemap" header, a
// sourceMappingURL comment) against the URL of the file, which may begin with "~".
func referred(base, ref string) string {
	if ref == "" || len(ref) > maxURL {
		return ""
	}
	if scheme, _, ok := strings.Cut(ref, "://"); ok && isScheme(scheme) || strings.HasPrefix(ref, "~/") {
		return ref
	}
	base, _, _ = strings.Cut(base, "?")
	if rest, ok := strings.CutPrefix(base, "~/"); ok {
		ref = path.Clean(strings.ReplaceAll(ref, `\`, "/"))
		if strings.HasPrefix(ref, "/") {
			return "~" + ref
		}
		// Clean of a rooted path: no reference leaves the root.
		return "~" + path.Join("/", path.Dir("/"+rest), ref)
	}
	b, err := url.Parse(base)
	if err != nil || b.Scheme == "" {
		return referred(anyHost(base), ref)
	}
	r, err := url.Parse(ref)
	if err != nil {
		return ""
	}
	return b.ResolveReference(r).String()
}

// mappingURL is what the last sourceMappingURL comment of a script says.
func mappingURL(script string) string {
	for end := len(script); ; {
		i := strings.LastIndex(script[:end], "sourceMappingURL=")
		if i < 0 {
			return ""
		}
		before := script[:i]
		if strings.HasSuffix(before, "//# ") || strings.HasSuffix(before, "//@ ") || strings.HasSuffix(before, "/*# ") || strings.HasSuffix(before, "//#") {
			ref := script[i+len("sourceMappingURL="):]
			if j := strings.IndexAny(ref, " \t\r\n'\"*"); j >= 0 {
				ref = ref[:j]
			}
			return ref
		}
		end = i
	}
}
