package symbolicate

import "strings"

// GoInApp tells whether a Go frame's package is the program's own. module is the
// frame's package path ("github.com/shop/payments/charge", "main"), modules the
// event's list of Go modules with their versions, mainModule the module of the
// program, empty when nobody told. Then it is the one in modules without a
// released version, as the toolchain writes the main module.
func GoInApp(module string, modules map[string]string, mainModule string) bool {
	// sentry-go cuts the receiver off a function's path and escapes dots of the last element.
	module = strings.ReplaceAll(module, "%2e", ".")
	if module == "" || module == "runtime" {
		return false
	}
	if module == "main" || strings.HasPrefix(module, "main.") {
		return true
	}
	if strings.HasPrefix(module, "vendor/") || strings.Contains(module, "/vendor/") {
		return false
	}
	// The longest module whose path leads to the package is the package's.
	for of := module; ; {
		if mainModule != "" && of == mainModule {
			return true
		}
		if version, ok := modules[of]; ok {
			return mainModule == "" && isUnreleased(version)
		}
		i := strings.LastIndexByte(of, '/')
		if i < 0 {
			break
		}
		of = of[:i]
	}
	root, _, _ := strings.Cut(module, "/")
	if strings.IndexByte(root, '.') < 0 {
		// The standard library's paths have no dot in their first element. So have
		// those of programs that are not meant to be imported ("shop/payments").
		_, isStandard := standard[root]
		return !isStandard
	}
	// A list of modules that does not have it: the package is of the main module,
	// which not every SDK lists. Without a list only well-known ones are told.
	if len(modules) > 0 {
		return true
	}
	for _, p := range wellKnown {
		if strings.HasPrefix(module, p) {
			return false
		}
	}
	return true
}

func isUnreleased(version string) bool {
	return version == "" || version == "(devel)" || version == "v0.0.0" || strings.HasSuffix(version, "+dirty")
}

// standard are the first elements of the standard library's packages.
var standard = func() map[string]struct{} {
	m := make(map[string]struct{})
	for _, root := range strings.Fields(`archive arena bufio builtin bytes cmp compress container context crypto database debug embed encoding
		errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path plugin reflect regexp runtime slices sort
		strconv strings structs sync syscall testing text time unicode unique unsafe weak`) {
		m[root] = struct{}{}
	}
	return m
}()

// wellKnown begin packages that no program is.
var wellKnown = []string{
	"golang.org/x/", "google.golang.org/", "gopkg.in/", "go.opentelemetry.io/", "go.uber.org/",
	"github.com/getsentry/sentry-go", "github.com/segmentio/kafka-go", "github.com/twmb/franz-go", "github.com/IBM/sarama",
	"github.com/hoptrace/hoptrace/instrumentation",
}
