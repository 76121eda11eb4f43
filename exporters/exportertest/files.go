package exportertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Files is what FileStore tests.
type Files interface {
	exporters.FileWriter
	exporters.FileReader
}

// FileStore is the suite of FileWriter and FileReader. open gives an empty store.
func FileStore(t *testing.T, open func(t *testing.T) Files) {
	run := func(name string, f func(t *testing.T, s Files)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("FileComesBackAsItWasWritten", fileRoundTrip)
	run("FilesAreFoundByEventAndOnce", filesOfEvent)
	run("FilesAreFilteredAndPaged", filePages)
	run("WrittenTellsWhichFilesAreStored", filesWritten)
}

func file(n int, kind schemas.FileKind, event byte, at time.Time) schemas.File {
	return schemas.File{
		Project: 1, Kind: kind, Event: schemas.EventID{event}, ID: fmt.Sprintf("%08d", n), Name: "a.txt", Size: int64(n), Chunks: 1, Time: at.UnixNano(),
		Source: 1, Position: schemas.Position{Offset: int64(n)},
	}
}

func fileRoundTrip(t *testing.T, s Files) {
	ctx := testContext(t)
	full := file(1, schemas.FileReplayVideo, 9, base())
	full.ContentType, full.Type, full.Size, full.Chunks, full.Trace = "video/mp4", "event.attachment", 1<<40, 1_000_000, traceID(3)
	full.Source, full.Position = 1<<64-1, schemas.Position{Offset: 1<<63 - 1, Index: 1<<32 - 1}
	all := []schemas.File{full}
	for i, text := range odd {
		f := file(10+i, schemas.FileAttachment, 9, base().Add(-time.Duration(i+1)*time.Second))
		f.Name, f.ContentType, f.Type = text, text, text
		all = append(all, f)
	}
	noError(t, "WriteFiles of nothing", s.WriteFiles(ctx, nil))
	noError(t, "WriteFiles", s.WriteFiles(ctx, all))
	got, err := s.Files(ctx, exporters.FileQuery{Project: 1})
	noError(t, "Files", err)
	equal(t, "files", got, all)
	one, err := s.File(ctx, 1, schemas.EventID{9}, full.ID)
	noError(t, "File", err)
	equal(t, "file", one, full)
}

func filesOfEvent(t *testing.T, s Files) {
	ctx, at := testContext(t), base()
	other := file(4, schemas.FileAttachment, 1, at)
	other.Project = 2
	for range 2 { // as a replay does
		noError(t, "WriteFiles", s.WriteFiles(ctx, []schemas.File{
			file(2, schemas.FileAttachment, 1, at.Add(time.Second)), file(1, schemas.FileAttachment, 1, at), file(3, schemas.FileAttachment, 2, at), other,
		}))
	}
	got, err := s.FilesOfEvent(ctx, 1, schemas.EventID{1}, 10)
	noError(t, "FilesOfEvent", err)
	equal(t, "files of the event", got, []schemas.File{file(1, schemas.FileAttachment, 1, at), file(2, schemas.FileAttachment, 1, at.Add(time.Second))})
	got, err = s.FilesOfEvent(ctx, 1, schemas.EventID{1}, 1)
	if err != nil || len(got) != 1 {
		t.Errorf("FilesOfEvent with limit 1 = %d files, %v", len(got), err)
	}
	for _, miss := range []schemas.File{{Project: 2, Event: schemas.EventID{2}, ID: "00000003"}, {Project: 1, Event: schemas.EventID{2}, ID: "00000001"}} {
		_, err = s.File(ctx, miss.Project, miss.Event, miss.ID)
		isError(t, "File that is not there", err, exporters.ErrNotFound)
	}
}

func filePages(t *testing.T, s Files) {
	ctx, at := testContext(t), base()
	var all []schemas.File
	for i := range 30 {
		kind := schemas.FileProfile
		if i%2 == 1 {
			kind = schemas.FileReplayEvent
		}
		all = append(all, file(i, kind, byte(i), at.Add(time.Duration(i/3)*time.Second))) // three at each time
	}
	for range 2 {
		noError(t, "WriteFiles", s.WriteFiles(ctx, all))
	}
	f := func(want int, q exporters.FileQuery) []schemas.File {
		t.Helper()
		q.Project = 1
		got, err := s.Files(ctx, q)
		noError(t, "Files", err)
		if len(got) != want {
			t.Errorf("%+v gave %d files, want %d", q, len(got), want)
		}
		return got
	}
	f(15, exporters.FileQuery{Kinds: []schemas.FileKind{schemas.FileProfile}})
	f(30, exporters.FileQuery{Kinds: []schemas.FileKind{schemas.FileProfile, schemas.FileReplayEvent}})
	f(0, exporters.FileQuery{Kinds: []schemas.FileKind{schemas.FileAttachment}})
	f(6, exporters.FileQuery{Range: exporters.Range{From: at, To: at.Add(2 * time.Second)}})
	seen := map[string]bool{}
	q := exporters.FileQuery{Limit: 7}
	for {
		page := f(min(7, 30-len(seen)), q)
		for _, one := range page {
			if seen[one.ID] {
				t.Fatalf("file %s comes on two pages", one.ID)
			}
			seen[one.ID] = true
		}
		if len(page) < 7 {
			break
		}
		last := page[len(page)-1].Time
		if last != q.Before {
			q.Skip = 0
		}
		q.Before = last
		for _, one := range page {
			if one.Time == last {
				q.Skip++
			}
		}
	}
	if len(seen) != 30 {
		t.Errorf("paging gave %d of 30 files", len(seen))
	}
	if _, err := s.Files(ctx, exporters.FileQuery{Project: 1, Skip: 10_001}); err == nil {
		t.Error("a page may skip 10,001 files")
	}
}

func filesWritten(t *testing.T, s Files) {
	ctx, at := testContext(t), base()
	noError(t, "WriteFiles", s.WriteFiles(ctx, []schemas.File{file(1, schemas.FileProfile, 1, at), file(2, schemas.FileProfile, 1, at), file(3, schemas.FileProfile, 1, at)}))
	got, err := s.WrittenFiles(ctx, 1, 2)
	noError(t, "WrittenFiles", err)
	equal(t, "written", got, map[schemas.Position]struct{}{{Offset: 2}: {}, {Offset: 3}: {}})
}
