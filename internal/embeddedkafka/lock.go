package embeddedkafka

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dirLock keeps other processes out of a directory. The kernel frees it when
// the process ends, however it ends.
type dirLock struct{ f *os.File }

// lockDir takes the lock of dir, or says who holds it.
func lockDir(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of %q: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder := "another process"
		if raw, readErr := io.ReadAll(io.LimitReader(f, 32)); readErr == nil {
			if pid, convErr := strconv.Atoi(strings.TrimSpace(string(raw))); convErr == nil {
				holder = fmt.Sprintf("the process with pid %d", pid)
			}
		}
		_ = f.Close()
		return nil, fmt.Errorf("the broker's directory %q is in use by %s: stop it, or choose another directory", dir, holder)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %q: %w", dir, err)
	}
	// The pid is only for the message above, so failing to write it is no
	// reason not to start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &dirLock{f}, nil
}

func (l *dirLock) release() error {
	if err := l.f.Close(); err != nil { // closing frees the lock
		return fmt.Errorf("cannot free the lock %q: %w", l.f.Name(), err)
	}
	return nil
}
