// Command gen makes the types and codecs of package schemas/wire from the JSON
// Schemas, and docs/formats/topics.md from the topics' files. It is run by
// `go generate ./schemas/...`; a test fails when what it makes is not what is
// committed.
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	schemajson "github.com/hoptrace/hoptrace/schemas/json"
	"github.com/hoptrace/hoptrace/schemas/topics"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const wireDir = "schemas/wire"

// generate makes all files, by their path below the repository's root.
func generate(schemas fs.FS, ts []topics.Topic) (map[string][]byte, error) {
	m, err := build(&loader{fsys: schemas, files: map[string]*schema{}}, ts)
	if err != nil {
		return nil, err
	}
	files, err := m.emit()
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(files)+1)
	for name, src := range files {
		out[wireDir+"/"+name] = src
	}
	out[docsFile] = docs(ts)
	return out, nil
}

// run writes the files and removes those that are made no more.
func run(root string) error {
	files, err := generate(schemajson.Files, topics.All())
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(root, wireDir, "*_gen*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := files[wireDir+"/"+filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, want := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, want) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, want, 0o644); err != nil { //nolint:gosec // source
			return err
		}
		fmt.Println(strings.TrimPrefix(path, "./"))
	}
	return nil
}
