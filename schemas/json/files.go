// Package json holds the JSON Schemas of what topics carry, one file a topic
// and version; topics/*.yaml name them. They are draft 2020-12 with few words
// more, which validators pass over:
//
//   - x-go-name is a field's name in Go where the rule would give another.
//   - x-null: zero reads null as Go's zero value, where there would be a pointer.
//   - x-write: always writes a field that is not required even when it is zero.
//   - format int, uint64 is the integer's type in Go; without it is int64.
//
// Package schemas/internal/gen makes package schemas/wire of them.
package json

import "embed"

// Files holds the schemas by file name.
//
//go:embed *.schema.json
var Files embed.FS
