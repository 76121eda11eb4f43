package hoptrace

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryVariableIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/init.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	whole := regexp.MustCompile(`"(OTEL_[A-Z_]*[A-Z])"`)
	perSignal := regexp.MustCompile(`\.general\("([A-Z_]+)"\)`)
	found := make(map[string]bool)
	for _, file := range sources {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range whole.FindAllStringSubmatch(string(src), -1) {
			found[m[1]] = true
		}
		for _, m := range perSignal.FindAllStringSubmatch(string(src), -1) {
			found[envOTLP+m[1]] = true
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d variables were found in the sources", len(found))
	}
	for name := range found {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/init.md does not name %s", name)
		}
	}
}
