package embeddedclickhouse

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLibraryWithoutStreamedInsertIsRefusedByName(t *testing.T) {
	var found []string
	for _, pattern := range []string{"/lib/*/libm.so.6", "/lib64/libm.so.6", "/usr/lib/*/libm.so.6", "/usr/lib64/libm.so.6"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names...)
	}
	if len(found) == 0 {
		t.Fatal("no libm.so.6 in /lib or /usr/lib to stand for an old library")
	}
	cfg := testConfig(t.TempDir())
	cfg.Library = found[0]
	p, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Shutdown(testContext(t)); err != nil {
			t.Error(err)
		}
	}()
	err = p.Ready(testContext(t))
	for _, want := range []string{found[0], "chdb_stream_insert_with_params_n", LibraryVersion, "make libchdb"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ready = %v; want %q in it", err, want)
		}
	}
}
