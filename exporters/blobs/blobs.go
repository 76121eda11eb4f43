// Package blobs keeps payloads as compressed files in a directory. A key is a
// path below it. It knows nothing of what a payload means.
package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/hoptrace/hoptrace/exporters"
)

// Config bounds what is kept.
type Config struct {
	// Dir is the directory; it is made if need be.
	Dir string
	// MaxBytes bounds one payload, uncompressed.
	MaxBytes int
}

// DefaultConfig keeps payloads of up to 32 MiB; Dir is for the caller to say.
func DefaultConfig() Config { return Config{MaxBytes: 32 << 20} }

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("blobs dir: missing"))
	}
	if c.MaxBytes < 1 || c.MaxBytes > 1<<30 {
		faults = append(faults, fmt.Errorf("blobs max_bytes %d: want 1 to 1 GiB", c.MaxBytes))
	}
	return errors.Join(faults...)
}

const (
	maxKey      = 200
	maxParts    = 8
	suffix      = ".zst"
	tempPrefix  = ".tmp-"
	tempMaxAge  = time.Hour // older ones were left by a crash
	maxOverhead = 1 << 16   // of a frame over what it holds
)

// Store is one directory. It is safe for use by many goroutines, and several
// processes may share the directory.
type Store struct {
	cfg  Config
	root *os.Root // nothing outside can be reached
	enc  *zstd.Encoder
	dec  *zstd.Decoder
}

var (
	_ exporters.Blobs       = (*Store)(nil)
	_ exporters.BlobChecker = (*Store)(nil)
	_ exporters.Pinger      = (*Store)(nil)
)

// Open makes the directory if need be. Close the store.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make blob directory: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open blob directory: %w", err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(cfg.MaxBytes)), zstd.WithDecoderLowmem(true)) //nolint:gosec // positive
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Store{cfg: cfg, root: root, enc: enc, dec: dec}, nil
}

// Close closes the directory. It is safe twice.
func (s *Store) Close() error {
	s.dec.Close()
	return errors.Join(s.enc.Close(), s.root.Close())
}

// Ping reads the directory and fails with ErrUnavailable.
func (s *Store) Ping(context.Context) error {
	// By its path: a directory that was removed is still open.
	if _, err := os.Stat(s.cfg.Dir); err != nil {
		return fmt.Errorf("cannot read blob directory: %w: %w", exporters.ErrUnavailable, err)
	}
	if _, err := s.root.Stat("."); err != nil {
		return fmt.Errorf("cannot read blob directory: %w: %w", exporters.ErrUnavailable, err)
	}
	return nil
}

// checkKey refuses what is no plain relative path of a-z, 0-9, /, _, - and
// dots, of at most 200 bytes and 8 parts.
func checkKey(key string) error {
	bad := key == "" || len(key) > maxKey || strings.Count(key, "/") >= maxParts
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '/' && c != '_' && c != '-' && c != '.' {
			bad = true
		}
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part[0] == '.' {
			bad = true
		}
	}
	if bad {
		return fmt.Errorf("blob key %q: want 1 to %d of a-z, 0-9, _, -, . in at most %d parts between single slashes, none beginning with a dot", key[:min(len(key), maxKey)], maxKey, maxParts)
	}
	return nil
}

// Put stores data under key. It fails with ErrTooLarge beyond MaxBytes.
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(data) > s.cfg.MaxBytes {
		return fmt.Errorf("blob %q has %d bytes, at most %d: %w", key, len(data), s.cfg.MaxBytes, exporters.ErrTooLarge)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.put(key+suffix, s.enc.EncodeAll(data, nil)); err != nil {
		return fmt.Errorf("cannot store blob %q: %w", key, unavailable(err))
	}
	return nil
}

func (s *Store) put(name string, data []byte) (err error) {
	dir := path.Dir(name)
	if err := s.makeDirs(dir); err != nil {
		return err
	}
	temp := path.Join(dir, tempPrefix+randomName())
	f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = s.root.Rename(temp, name)
	}
	if err != nil {
		_ = s.root.Remove(temp)
		return err
	}
	return s.syncDir(dir)
}

// makeDirs makes a directory and makes its name durable.
func (s *Store) makeDirs(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := s.root.Stat(dir); err == nil {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.makeDirs(parent); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.syncDir(parent)
}

func (s *Store) syncDir(dir string) error {
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Get reads what was stored under key.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := s.get(key + suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %q: %w", key, exporters.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read blob %q: %w", key, unavailable(err))
	}
	return data, nil
}

func (s *Store) get(name string) ([]byte, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	packed, err := io.ReadAll(io.LimitReader(f, int64(s.cfg.MaxBytes)+maxOverhead))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	data, err := s.dec.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("the file %s is damaged: %w", filepath.Join(s.cfg.Dir, name), err)
	}
	return data, nil
}

// Has tells whether something is stored under key.
func (s *Store) Has(ctx context.Context, key string) (bool, error) {
	if err := checkKey(key); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	_, err := s.root.Stat(key + suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for blob %q: %w", key, unavailable(err))
	}
	return true, nil
}

// Delete removes what was stored under key.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.root.Remove(key + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot delete blob %q: %w", key, unavailable(err))
	}
	return nil
}

// unavailable adds ErrUnavailable: what a file system refuses, time or a
// person may heal.
func unavailable(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
	}
	return err
}
