package embeddedclickhouse

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse means that another process has the data directory.
var ErrInUse = errors.New("the directory is in use")

const (
	lockFile     = "lock"
	socketPrefix = "hoptrace-ch-"
	socketName   = "s"

	// handOver is how long a lock is waited for whose holder is dead: its
	// child lets go of it when it sees that the parent has gone.
	handOver = 5 * time.Second
)

// lockDir takes the directory for this process, until the file is closed
// here and in the child, which inherits it: so no second engine opens the
// data while a child still lives whose parent was killed.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock of %q: %w", dir, err)
	}
	for began := time.Now(); ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		pid, _ := readLock(f)
		if !errors.Is(err, syscall.EWOULDBLOCK) || alive(pid) || time.Since(began) > handOver {
			_ = f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: %q is used by process %d; stop that one, or choose another directory", ErrInUse, dir, pid)
			}
			return nil, fmt.Errorf("cannot lock %q: %w", dir, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	// What a killed process left behind.
	if _, sockets := readLock(f); strings.HasPrefix(filepath.Base(sockets), socketPrefix) {
		removeSocketDir(sockets)
	}
	return f, nil
}

// writeLock notes the holder and its socket's directory.
func writeLock(f *os.File, socketDir string) error {
	text := fmt.Sprintf("%d\n%s\n", os.Getpid(), socketDir)
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func readLock(f *os.File) (pid int, socketDir string) {
	if _, err := f.Seek(0, 0); err != nil {
		return 0, ""
	}
	lines := bufio.NewScanner(f)
	if lines.Scan() {
		pid, _ = strconv.Atoi(lines.Text())
	}
	if lines.Scan() {
		socketDir = lines.Text()
	}
	return pid, socketDir
}

func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// makeSocketDir makes the private directory of the socket, apart from the
// data: a socket's path may have about 100 bytes only.
func makeSocketDir() (string, error) {
	const longest = 100 - len("/") - len(socketName)
	var last error
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(parent, socketPrefix) // mode 0700
		if err != nil {
			last = err
			continue
		}
		if len(dir) <= longest {
			return dir, nil
		}
		_ = os.Remove(dir)
		last = fmt.Errorf("%q is longer than the %d bytes a socket's directory may have", dir, longest)
	}
	return "", fmt.Errorf("cannot make a directory for the engine's socket (TMPDIR names where): %w", last)
}

func removeSocketDir(dir string) {
	// Not RemoveAll: the name may come from a file.
	_ = os.Remove(filepath.Join(dir, socketName))
	_ = os.Remove(dir)
}
