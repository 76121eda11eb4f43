package floors

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.work")); err != nil {
		t.Fatalf("this test reads the source tree: %v", err)
	}
	return dir
}

func TestNoPackageImportsAFloorAboveIt(t *testing.T) {
	dir, files := root(t), 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != dir && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" || name == "tools") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, ok := strings.CutPrefix(imported, module)
			if !ok {
				continue
			}
			if why := breach(filepath.ToSlash(rel), ours, strings.HasSuffix(name, "_test.go")); why != "" {
				t.Errorf("%s: %s", path, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("only %d files were read: the walk is broken", files)
	}
}

func TestBreachesAreFound(t *testing.T) {
	f := func(pkg, imported string, inTest, want bool) {
		t.Helper()
		if why := breach(pkg, imported, inTest); (why != "") != want {
			t.Errorf("breach(%q, %q, %v) = %q; want a breach: %v", pkg, imported, inTest, why, want)
		}
	}
	f("schemas", "internal/config", false, true)
	f("schemas/topics", "schemas", false, false)
	f("instrumentation/otelkafkago", "instrumentation", false, true)
	f("instrumentation/otelkafkago", "instrumentation/messaging", false, false)
	f("instrumentation", "instrumentation/otelkafkago", false, true)
	f("internal/kafka", "exporters", false, true)
	f("internal/kafka", "schemas/topics", false, false)
	f("exporters", "exporters/clickhouse", false, true)
	f("exporters/clickhouse", "exporters/metadata", false, true)
	f("exporters/clickhouse", "exporters", false, false)
	f("exporters/clickhouse", "exporters/exportertest", true, false)
	f("exporters/clickhouse", "exporters/exportertest", false, true)
	f("collector/otlp", "pipeline/ingest", false, true)
	f("pipeline/persist", "exporters/clickhouse", false, true)
	f("pipeline/persist", "exporters/clickhouse", true, true)
	f("web/api", "exporters", false, false)
	f("web/api", "collector", false, true)
	f("cmd/hoptrace", "exporters/clickhouse", false, false)
	f("unheard/of", "schemas", false, true)
}

func TestApplicationsMayStayOnThePreviousGo(t *testing.T) {
	for _, m := range []string{"instrumentation/messaging", "instrumentation/otelkafkago", "instrumentation"} {
		data, err := os.ReadFile(filepath.Join(root(t), m, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "\ngo 1.25") {
			t.Errorf("%s/go.mod does not say go 1.25: a newer requirement (or go work sync) raised it", m)
		}
	}
}
