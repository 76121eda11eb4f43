// Package floors holds the rule of who may import whom (ARCHITECTURE.md,
// "Floors"), so that a part can be read, replaced and tested without the parts
// above it. It has only a test.
package floors

import (
	"slices"
	"strings"
)

const module = "github.com/hoptrace/hoptrace/"

// rule is one floor. The first rule whose folder contains a package decides.
type rule struct {
	folder string
	// may lists the folders of ours that its packages may import, besides
	// their own folder. "*" means all.
	may []string
	// apart: sub-folders of folder may not import each other (backends).
	apart bool
}

var rules = []rule{
	{folder: "schemas"},
	{folder: "instrumentation/messaging"},
	{folder: "instrumentation/otelkafkago", may: []string{"instrumentation/messaging"}},
	{folder: "instrumentation/otelfranz", may: []string{"instrumentation/messaging"}},
	{folder: "instrumentation/otelsarama", may: []string{"instrumentation/messaging"}},
	{folder: "instrumentation/sentrykafka", may: []string{"instrumentation/messaging"}},
	{folder: "instrumentation", may: []string{"instrumentation/messaging"}, apart: true},
	{folder: "internal", may: []string{"schemas", "instrumentation/messaging"}},
	{folder: "exporters/exportertest", may: []string{"exporters=", "schemas", "internal"}},
	{folder: "exporters", may: []string{"exporters=", "schemas", "internal"}, apart: true},
	{folder: "collector", may: []string{"schemas", "internal", "exporters=", "instrumentation"}},
	{folder: "pipeline", may: []string{"schemas", "internal", "exporters=", "instrumentation"}},
	{folder: "web", may: []string{"schemas", "internal", "exporters=", "instrumentation"}},
	{folder: "examples", may: []string{"instrumentation"}},
	{folder: "integration", may: []string{"*"}},
	{folder: "cmd", may: []string{"*"}},
}

func within(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}

// contains tells whether pkg lies in one of the folders; "x=" is x alone,
// without what is below it.
func contains(folders []string, pkg string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		if exact, ok := strings.CutSuffix(f, "="); ok {
			return pkg == exact
		}
		return f == "*" || within(pkg, f)
	})
}

// breach says why pkg may not import imported (both relative to the module
// root), or "". inTest is for imports of _test files: those of a backend may
// use the contract suite and the embedded engines.
func breach(pkg, imported string, inTest bool) string {
	if inTest && imported == "exporters/exportertest" && (within(pkg, "exporters") || within(pkg, "collector/quota")) {
		return "" // who fulfils a contract passes its suite
	}
	if inTest && within(pkg, "instrumentation/sentrykafka") && within(imported, "instrumentation") {
		return "" // an integration is tested with what it integrates
	}
	for _, r := range rules {
		if !within(pkg, r.folder) {
			continue
		}
		if within(imported, r.folder) && !contains(r.may, imported) {
			if r.apart && top(pkg, r.folder) != top(imported, r.folder) && imported != r.folder && pkg != r.folder {
				return "backends stay apart: " + pkg + " may not import " + imported
			}
			if r.apart && pkg == r.folder && imported != r.folder {
				return "contracts know no backend: " + pkg + " may not import " + imported
			}
			return ""
		}
		if !contains(r.may, imported) {
			return r.folder + " may import only " + strings.Join(append([]string{"itself"}, r.may...), ", ") + ", not " + imported + " (from " + pkg + ")"
		}
		return ""
	}
	return "no floor is written down for the folder of " + pkg
}

// top is the folder right below base that pkg lies in.
func top(pkg, base string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(pkg, base), "/")
	first, _, _ := strings.Cut(rest, "/")
	return first
}
