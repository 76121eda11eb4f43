package blobs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Dir, cfg.MaxBytes = dir, 8<<20
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestFilesPassTheContract(t *testing.T) {
	exportertest.Blobs(t, func(t *testing.T) exporters.Blobs { return open(t, filepath.Join(t.TempDir(), "new", "dir")) })
}

func TestFilesInChunksAreReadWhole(t *testing.T) {
	exportertest.ReadArtifact(t, open(t, t.TempDir()))
}

func TestPayloadIsThereAfterOpeningAgainAndCompressed(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte(`{"a":1}`), 10_000)
	if err := open(t, dir).Put(t.Context(), "a/b", want); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, dir).Get(t.Context(), "a/b")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Get = %d bytes, %v; want %d", len(got), err, len(want))
	}
	info, err := os.Stat(filepath.Join(dir, "a", "b.zst"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > int64(len(want)/10) {
		t.Errorf("the file has %d bytes, want less than a tenth of %d", info.Size(), len(want))
	}
}

func TestTooLargePayloadIsRefused(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.Put(t.Context(), "k", make([]byte, 8<<20+1)); !errors.Is(err, exporters.ErrTooLarge) {
		t.Errorf("Put: got error %v, want %v", err, exporters.ErrTooLarge)
	}
}

func TestDamagedFileIsAnErrorAndNotTheWrongPayload(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if err := s.Put(t.Context(), "k", bytes.Repeat([]byte("abc"), 1000)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "k.zst")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data[:len(data)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(t.Context(), "k"); err == nil || errors.Is(err, exporters.ErrNotFound) {
		t.Errorf("Get of a cut file = %d bytes, %v; want an error", len(got), err)
	}
}

func TestSymbolicLinksDoNotLeaveTheDirectory(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	s := open(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "link/x", []byte("x")); err == nil {
		t.Error("Put through a link out of the directory succeeded")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("%v lies outside of the directory", entries)
	}
}

func TestCleanRemovesOldPayloadsAndLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	now := time.Now()
	for _, key := range []string{"events/1/ab/old", "events/1/ab/new", "other/old", "chunks/ab/old"} {
		if err := s.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	leftover, fresh := filepath.Join(dir, "events", tempPrefix+"a"), filepath.Join(dir, "events", tempPrefix+"b")
	for _, f := range []string{leftover, fresh} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(dir, "events/1/ab/old.zst"), filepath.Join(dir, "other/old.zst"), filepath.Join(dir, "chunks/ab/old.zst"), leftover} {
		if err := os.Chtimes(f, now, now.Add(-48*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	removed, more, err := s.Clean(t.Context(), now.Add(-24*time.Hour), "chunks")
	if removed != 2 || more || err != nil {
		t.Errorf("Clean = %d, %v, %v; want 2, false, nil", removed, more, err)
	}
	if _, err := s.Get(t.Context(), "chunks/ab/old"); err != nil {
		t.Errorf("Get of an old payload in a folder apart: %v", err)
	}
	if _, err := s.Get(t.Context(), "events/1/ab/new"); err != nil {
		t.Errorf("Get of a new payload: %v", err)
	}
	for key, want := range map[string]error{"events/1/ab/old": exporters.ErrNotFound, "other/old": exporters.ErrNotFound} {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, want) {
			t.Errorf("Get(%q): got error %v, want %v", key, err, want)
		}
	}
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the leftover of a crash is still there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a file that is being written was removed: %v", err)
	}
}

func TestPingFailsWhenTheDirectoryIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	s := open(t, dir)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, exporters.ErrUnavailable) {
		t.Errorf("Ping: got error %v, want %v", err, exporters.ErrUnavailable)
	}
}

func TestConfigNamesEveryFault(t *testing.T) {
	if err := (Config{Dir: "x", MaxBytes: 1}).Validate(); err != nil {
		t.Errorf("Validate of a good one: %v", err)
	}
	err := Config{MaxBytes: -1}.Validate()
	for _, want := range []string{"blobs dir", "blobs max_bytes"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("Validate = %v; want it to name %s", err, want)
		}
	}
}
