package exporters

import (
	"context"

	"github.com/hoptrace/hoptrace/schemas"
)

// FileWriter stores what is known of files. Their bytes are in [Blobs].
type FileWriter interface {
	// WriteFiles returns nil once all are durable. See SpanWriter.WriteSpans.
	WriteFiles(ctx context.Context, files []schemas.File) error
	// WrittenFiles is to files what WrittenSpans is to spans.
	WrittenFiles(ctx context.Context, source schemas.Source, from int64) (map[schemas.Position]struct{}, error)
}

// FileQuery selects files. Empty fields do not filter.
type FileQuery struct {
	Project uint64
	Range   Range
	Kinds   []schemas.FileKind
	// Before pages: only files before this time (Unix ns), and of those at it only
	// those after the Skip that were had already.
	Before int64
	Skip   int // at most 10,000
	Limit  int // 1 to 500; zero means 100
}

// FileReader reads back what is known of files. One that was stored twice comes once.
type FileReader interface {
	// Files lists files, newest first.
	Files(ctx context.Context, q FileQuery) ([]schemas.File, error)
	// FilesOfEvent gives the files under an event's id, of whatever kind, by time,
	// at most limit (1 to 500).
	FilesOfEvent(ctx context.Context, project uint64, event schemas.EventID, limit int) ([]schemas.File, error)
	// File finds one, or fails with ErrNotFound.
	File(ctx context.Context, project uint64, event schemas.EventID, id string) (schemas.File, error)
}

// BlobChecker is a [Blobs] that can tell whether a payload is there without
// reading it.
type BlobChecker interface {
	// Has tells whether something is stored under key.
	Has(ctx context.Context, key string) (bool, error)
}
