// Package dirlock keeps a second process out of a directory that one process
// alone may write.
package dirlock

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

// Lock is held until Release, or until the process ends, however it ends.
type Lock struct{ f *os.File }

// InUseError says that another process holds the directory.
type InUseError struct {
	Dir string
	PID int // zero when it could not be read
}

// Error names the directory, the holder and the way out.
func (e *InUseError) Error() string {
	holder := "another process"
	if e.PID != 0 {
		holder = "the process with pid " + strconv.Itoa(e.PID)
	}
	return fmt.Sprintf("the directory %s is in use by %s; stop it, or choose another directory", e.Dir, holder)
}

// Take makes the directory (mode 0700) when it is missing and locks it. It
// fails with an *InUseError at once when another process holds it.
func Take(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the directory %s: %w", dir, err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of %s: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		inUse := &InUseError{Dir: dir}
		if raw, readErr := io.ReadAll(io.LimitReader(f, 32)); readErr == nil {
			inUse.PID, _ = strconv.Atoi(strings.TrimSpace(string(raw)))
		}
		_ = f.Close()
		return nil, inUse
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	// The pid is for the message above; failing to write it stops nobody.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return &Lock{f}, nil
}

// Release frees the directory. The lock file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Release() error {
	if err := l.f.Close(); err != nil {
		return fmt.Errorf("cannot free the lock %s: %w", l.f.Name(), err)
	}
	return nil
}
