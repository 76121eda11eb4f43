// Package ui holds the built browser application, so that the binary needs no
// files beside it. The sources are TypeScript (see README.md); `make ui` builds
// them into dist, which is not kept in the repository.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files gives the built application, index.html at its root. Built is false
// when the binary was built before the application was: then there is no
// index.html.
func Files() (files fs.FS, built bool) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return dist, false
	}
	_, err = fs.Stat(files, "index.html")
	return files, err == nil
}
