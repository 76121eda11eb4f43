package group

import (
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/group/rules"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
)

// place says where a frame's code lies: its module, else its file's name. It
// leaves out what a build puts into either.
func place(family rules.Family, f *normalize.Frame) (name string, isModule bool) {
	if m := module(family, f.Module); m != "" {
		return m, true
	}
	return fileName(f), false
}

func module(family rules.Family, m string) string {
	if m == "" || nameless(m) {
		return ""
	}
	switch family {
	case rules.Go:
		return goPackage(m)
	case rules.Java:
		return trimJVM(m)
	case rules.DotNet:
		if i := strings.Index(m, "+<"); i > 0 { // a class that the compiler made
			m = m[:i]
		}
		m, _, _ = strings.Cut(m, "`")
		return m
	case rules.JavaScript:
		return cleanParts(m)
	}
	return m
}

// goPackage is an import path without major version and vendor directory: the
// same code stays the same when its module grows or is copied.
func goPackage(m string) string {
	if i := strings.LastIndex(m, "/vendor/"); i >= 0 {
		m = m[i+len("/vendor/"):]
	}
	if strings.Contains(m, "%2e") {
		m = strings.ReplaceAll(m, "%2e", ".")
	}
	if strings.IndexByte(m, '@') >= 0 || strings.Contains(m, "/v") {
		parts := strings.Split(m, "/")
		kept := parts[:1]
		for _, part := range parts[1:] {
			part, _, _ = strings.Cut(part, "@")
			if len(part) > 1 && part[0] == 'v' && digits(part[1:]) && part != "v1" {
				continue
			}
			kept = append(kept, part)
		}
		m = strings.Join(kept, "/")
	}
	if strings.HasPrefix(m, "gopkg.in/") {
		if i := strings.LastIndex(m, ".v"); i > 0 && allDigits(m[i+2:]) {
			m = m[:i]
		}
	}
	return m
}

// splitGo takes a function's full name apart, for SDKs that do not.
func splitGo(function string) (pack, name string) {
	slash := strings.LastIndexByte(cutTypeArguments(function), '/')
	dot := strings.IndexByte(function[slash+1:], '.')
	if slash < 0 || dot < 0 {
		return "", function
	}
	return function[:slash+1+dot], function[slash+dot+2:]
}

// cutTypeArguments ends before the first bracket: type arguments have slashes too.
func cutTypeArguments(s string) string {
	s, _, _ = strings.Cut(s, "[")
	return s
}

// fileName is the file's last part in lower case, without hashes and versions.
// Where no file is named it is empty.
func fileName(f *normalize.Frame) string {
	name := f.Filename
	if name == "" {
		name = f.AbsPath
	}
	if name == "" {
		return ""
	}
	if strings.IndexByte(name, '\\') >= 0 {
		name = strings.ReplaceAll(name, `\`, "/")
	}
	if i := strings.IndexAny(name, "?#"); i > 0 {
		name = name[:i]
	}
	if i := strings.Index(name, "://"); i >= 0 && (strings.IndexByte(name[i+3:], '/') < 0 || strings.HasSuffix(name, "/") && strings.Count(name[i+3:], "/") == 1) {
		return "" // an origin: the page itself
	}
	if name[0] == '<' || name[0] == '[' && name[len(name)-1] == ']' || name == "native" || name == "native code" {
		return ""
	}
	if i := strings.Index(name, ".php("); i > 0 { // eval()'d code
		name = name[:i+4]
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	return cleanParts(strings.ToLower(withoutBase32(name)))
}

// withoutBase32 takes the hash of esbuild out of main-NFXSAZGU.js. One in five
// has no digit, so nothing but its capitals tells it from a word.
func withoutBase32(name string) string {
	const length = 8
	dot := strings.LastIndexByte(name, '.')
	from := dot - length
	if from < 2 || name[from-1] != '-' {
		return name
	}
	for i := from; i < dot; i++ {
		if c := name[i]; (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return name
		}
	}
	return name[:from-1] + name[dot:]
}

// isURL tells a frame of a page's script.
func isURL(f *normalize.Frame) bool {
	return strings.Contains(f.AbsPath, "://") || strings.Contains(f.Filename, "://")
}

// cleanParts takes parts of a name out that look like a hash or a version:
// main.3f2a9c1b.js, index-B7x9aZk2.js, jackson-2.17.1.jar, node_modules/x@4.18.2.
func cleanParts(s string) string {
	if !strings.ContainsAny(s, "0123456789") {
		return s
	}
	// A part begins behind a separator, which goes with it. The first part of a
	// name stays: without it nothing would be left.
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		n := i
		if i > 0 || isSeparator(s[i]) {
			n++
		}
		for n < len(s) && !isSeparator(s[n]) {
			n++
		}
		part := s[i:n]
		if i > 0 && s[i] != '/' && s[i] != ':' {
			// A version has dots in it and ends before a letter: 2.17.1.jar
			if v := version(s[i+1:]); v > 0 && (s[i] == '-' || s[i] == '@' || s[i] == '_') {
				i += 1 + v
				continue
			}
			if looksHashed(part[1:]) {
				i = n
				continue
			}
		}
		b.WriteString(part)
		i = n
	}
	if b.Len() == 0 {
		return s
	}
	return b.String()
}

func isSeparator(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c == '@' || c == '/' || c == ':' || c == '~'
}

// version is the length of 1.2, v1.2.3 or v12 at the beginning of s, when
// nothing but a separator follows.
func version(s string) int {
	n, dots := 0, 0
	hasV := n < len(s) && s[n] == 'v'
	if hasV {
		n++
	}
	from := n
	for n < len(s) && (isDigit(s[n]) || s[n] == '.' && n+1 < len(s) && isDigit(s[n+1]) && n > from) {
		if s[n] == '.' {
			dots++
		}
		n++
	}
	if n == from || dots == 0 && !hasV || n < len(s) && isWord(s[n]) {
		return 0
	}
	return n
}

// looksHashed tells what a bundler puts into a name: hex with a digit in it, or
// letters and digits mixed that nobody would write.
func looksHashed(w string) bool {
	if len(w) < 7 {
		return false
	}
	if isHexToken(w) {
		return true
	}
	digit, changes := false, 0
	for i := range len(w) {
		if !isAlnum(w[i]) {
			return false
		}
		digit = digit || isDigit(w[i])
		if i > 0 && isDigit(w[i]) != isDigit(w[i-1]) {
			changes++
		}
	}
	return digit && len(w) >= 8 && changes >= 2
}
