package normalize

import "strings"

// ownModule tells whether a Go frame lies in the program's own module, by the
// modules that the SDK says the program was built from; sure is false when they
// do not tell. It overrules the SDK, which takes all outside of the standard
// library for the program's own.
func (n *Normalizer) ownModule(f *Frame) (own, sure bool) {
	if n.modules == nil || f.Module == "" {
		return false, false
	}
	if f.Module == "main" || strings.HasPrefix(f.Module, "main.") {
		return true, true // a build without paths has SDKs say otherwise
	}
	var module, version string
	for m := n.modules.First(); m != nil; m = m.Next() {
		name := m.Name()
		if len(name) > len(module) && strings.HasPrefix(f.Module, name) && (len(name) == len(f.Module) || f.Module[len(name)] == '/' || f.Module[len(name)] == '.') {
			module, version = name, m.Scalar()
		}
	}
	switch {
	case module == "":
		return false, false
	case version == "" || version == "(devel)" || strings.Contains(version, "+dirty"):
		return true, true
	}
	// The program's own module may have a version, too: its checkout's. What was
	// fetched lies below a directory of that version.
	path := or(f.AbsPath, f.Filename)
	if path == "" {
		return false, false
	}
	if strings.Contains(path, "@"+version) || strings.Contains(path, "/vendor/") || strings.Contains(path, "/pkg/mod/") {
		return false, true
	}
	return false, false
}

// inAppOf tells for a frame whose SDK did not say whether it belongs to the
// program or to what the program is built from.
func inAppOf(platform string, f *Frame) bool {
	path := or(f.AbsPath, f.Filename)
	if strings.IndexByte(path, '\\') >= 0 {
		path = strings.ReplaceAll(path, `\`, "/")
	}
	for _, part := range librariesIn {
		if strings.Contains(path, part) {
			return false
		}
	}
	switch platform {
	case "go":
		return !goLibrary(f.Module, path)
	case "node", "javascript":
		return !strings.HasPrefix(path, "node:") && !strings.HasPrefix(path, "internal/") && path != "<anonymous>" && path != "native"
	case "python":
		return !strings.HasPrefix(path, "<frozen ")
	case "java":
		for _, p := range javaLibraries {
			if strings.HasPrefix(f.Module, p) {
				return false
			}
		}
	}
	return f.Module != "" || path != "" || f.Function != ""
}

// librariesIn are parts of paths under which package managers and languages
// put what is not the program's own.
var librariesIn = [...]string{
	"/node_modules/", "/site-packages/", "/dist-packages/", "/vendor/", "/pkg/mod/",
	"/lib/python", "/usr/lib/", "/usr/local/go/src/", "/libexec/src/", "/gems/", "/rubygems/",
	"/.cargo/registry/", "/rustc/",
}

var javaLibraries = [...]string{
	"java.", "javax.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.",
	"org.springframework.", "org.apache.", "io.netty.", "io.sentry.", "reactor.",
}

// goLibrary tells a package of the language or of our own instrumentation: the
// standard library's first path element has no dot. A program outside any host
// ("main", "shop/payments") is told from it by the list of the library's roots.
func goLibrary(module, path string) bool {
	if module == "" {
		return strings.HasSuffix(path, "/src/runtime/proc.go")
	}
	root, _, _ := strings.Cut(module, "/")
	if strings.IndexByte(root, '.') < 0 {
		_, std := goRoots[root]
		return std
	}
	for _, p := range [...]string{"github.com/getsentry/sentry-go", "github.com/segmentio/kafka-go", "github.com/twmb/franz-go", "go.opentelemetry.io/", "golang.org/x/", "google.golang.org/", "github.com/hoptrace/hoptrace/instrumentation"} {
		if strings.HasPrefix(module, p) {
			return true
		}
	}
	return false
}

var goRoots = set("archive", "bufio", "bytes", "cmp", "compress", "container", "context", "crypto", "database", "debug",
	"embed", "encoding", "errors", "expvar", "flag", "fmt", "go", "hash", "html", "image", "index", "internal", "io", "iter",
	"log", "maps", "math", "mime", "net", "os", "path", "plugin", "reflect", "regexp", "runtime", "slices", "sort", "strconv",
	"strings", "structs", "sync", "syscall", "testing", "text", "time", "unicode", "unique", "unsafe", "vendor", "weak")

func set(names ...string) map[string]struct{} {
	m := make(map[string]struct{}, len(names))
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}
