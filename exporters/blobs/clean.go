package blobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// What one Clean does at most; what is left waits for the next.
const (
	maxCleaned = 100_000
	readAtOnce = 256
)

// Clean removes payloads stored before olderThan, at most 100,000 at once, and
// what crashes left behind. Of the folders apart, at the top, it removes only
// the latter: others know how long what is in them is of use. It returns how
// many payloads it removed and whether there may be more.
func (s *Store) Clean(ctx context.Context, olderThan time.Time, apart ...string) (removed int, more bool, err error) {
	c := cleaner{store: s, olderThan: olderThan, leftBefore: time.Now().Add(-tempMaxAge), apart: apart}
	err = c.dir(ctx, ".", 0)
	if errors.Is(err, errEnough) {
		return c.removed, true, nil
	}
	if err != nil {
		err = fmt.Errorf("cannot clean blobs: %w", unavailable(err))
	}
	return c.removed, false, err
}

var errEnough = errors.New("enough removed")

type cleaner struct {
	store                 *Store
	olderThan, leftBefore time.Time
	apart                 []string
	removed               int
}

func (c *cleaner) dir(ctx context.Context, dir string, depth int) error {
	f, err := c.store.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(readAtOnce)
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			name := path.Join(dir, e.Name())
			if e.IsDir() {
				if depth < maxParts {
					if err := c.dir(ctx, name, depth+1); err != nil {
						return err
					}
				}
				continue
			}
			if err := c.file(name, e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// file removes one file if its time has come. Empty directories stay: another
// process may be about to put something there.
func (c *cleaner) file(name string, e fs.DirEntry) error {
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	temp := strings.HasPrefix(e.Name(), tempPrefix)
	switch {
	case temp && info.ModTime().Before(c.leftBefore):
	case !temp && strings.HasSuffix(e.Name(), suffix) && info.ModTime().Before(c.olderThan) && !c.isApart(name):
		if c.removed == maxCleaned {
			return errEnough
		}
		c.removed++
	default:
		return nil
	}
	if err := c.store.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *cleaner) isApart(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains(c.apart, top)
}

func randomName() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
