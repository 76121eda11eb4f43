package dirlock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecondHolderIsRefusedByNameUntilRelease(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(dir)
	var inUse *InUseError
	if !errors.As(err, &inUse) || inUse.PID != os.Getpid() || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second Take = %v; want an InUseError with pid %d and the directory", err, os.Getpid())
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	second, err := Take(dir)
	if err != nil {
		t.Fatalf("Take after Release = %v", err)
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
}
