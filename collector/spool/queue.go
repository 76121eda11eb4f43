// Package spool keeps on disk what Kafka does not take now, and hands it on in
// order when it does: so a sender whose SDK drops what is refused loses nothing
// while brokers are away. It knows no protocol and looks into no record.
package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hoptrace/hoptrace/internal/dirlock"
)

// Errors of Append.
var (
	// ErrFull means that the spool holds as much as it may.
	ErrFull = errors.New("the spool is full")
	// ErrClosed means that the spool was closed.
	ErrClosed = errors.New("the spool is closed")
)

// QueueConfig bounds a Queue.
type QueueConfig struct {
	Dir string
	// MaxBytes bounds what lies on disk. Zero means 512 MiB.
	MaxBytes int64
	// SegmentBytes is when a new file is begun. Zero means 16 MiB.
	SegmentBytes int64
}

// maxEntry bounds one entry: larger ones cannot be written, and a length beyond
// it in a file is a torn one.
const maxEntry = 64 << 20

const (
	entryHeader  = 8 // length, CRC-32C
	suffix       = ".spool"
	positionFile = "position"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Queue is a durable first-in-first-out queue of entries in one directory, which
// one process uses at a time. Any number of goroutines may append; one reads.
// After a crash entries come again from the last position that was noted, so some
// of them twice, and none is lost that Append answered for.
type Queue struct {
	cfg  QueueConfig
	log  *slog.Logger
	lock *dirlock.Lock

	mu       sync.Mutex // guards the following
	arrived  *sync.Cond // something can be read, or closed
	wanted   *sync.Cond // something is to be written, or closed
	pending  []*appending
	queued   int64 // bytes of pending
	segments []segment
	file     *os.File // the last segment, open for writing; nil: begin a new one
	next     uint64   // name of the next segment
	read     int64    // position in the first segment
	bytes    int64    // durable and unread
	entries  int64    // the same, counted
	closed   bool

	writer sync.WaitGroup
	// sync is (*os.File).Sync, or what a test puts there.
	sync func(*os.File) error
}

// segment is one file. durable is how much of it may be read.
type segment struct {
	name    uint64
	durable int64
}

type appending struct {
	entry []byte // with its header
	done  chan error
}

// OpenQueue opens the directory, which is made if need be, and mends what a crash
// left half written. Close the queue.
func OpenQueue(cfg QueueConfig, log *slog.Logger) (*Queue, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cannot open the spool: its directory is not named")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 512 << 20
	}
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = 16 << 20
	}
	lock, err := dirlock.Take(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the spool: %w", err)
	}
	q := &Queue{cfg: cfg, log: log, lock: lock, sync: (*os.File).Sync}
	q.arrived, q.wanted = sync.NewCond(&q.mu), sync.NewCond(&q.mu)
	if err := q.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the spool in %s: %w", cfg.Dir, err), lock.Release())
	}
	q.writer.Go(q.write)
	return q, nil
}

func (q *Queue) path(name uint64) string {
	return filepath.Join(q.cfg.Dir, fmt.Sprintf("%020d%s", name, suffix))
}

// recover finds the segments, cuts torn ends and goes to the noted position.
func (q *Queue) recover() error {
	files, err := os.ReadDir(q.cfg.Dir)
	if err != nil {
		return err
	}
	var names []uint64
	for _, f := range files {
		base, isSegment := strings.CutSuffix(f.Name(), suffix)
		if name, err := strconv.ParseUint(base, 10, 64); isSegment && err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	at, offset, err := q.readPosition()
	if err != nil {
		return err
	}
	q.next = at
	for _, name := range names {
		q.next = max(q.next, name+1)
		if name < at { // read before, and not removed any more
			if err := os.Remove(q.path(name)); err != nil {
				return err
			}
			continue
		}
		from := int64(0)
		if name == at {
			from = offset
		}
		size, entries, err := q.mend(name, from)
		if err != nil {
			return err
		}
		if len(q.segments) == 0 {
			q.read = min(from, size)
		}
		q.segments = append(q.segments, segment{name, size})
		q.bytes += size - min(from, size)
		q.entries += entries
	}
	if q.entries > 0 {
		q.log.Info("the spool holds what an earlier run could not hand on", "dir", q.cfg.Dir, "requests", q.entries, "bytes", q.bytes)
	}
	return nil
}

// mend cuts a segment after its last whole entry, and counts those from a
// position on.
func (q *Queue) mend(name uint64, from int64) (size, entries int64, err error) {
	f, err := os.OpenFile(q.path(name), os.O_RDWR, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = min(from, info.Size())
	for {
		entry, err := readEntry(f, size, info.Size())
		if errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		size += entryHeader + int64(len(entry))
		entries++
	}
	if size == info.Size() {
		return size, entries, nil
	}
	q.log.Warn("cut off what a crash left half written in the spool; nothing of it was acknowledged", "file", f.Name(), "bytes", info.Size()-size)
	if err := f.Truncate(size); err != nil {
		return 0, 0, err
	}
	return size, entries, f.Sync()
}

// errTorn means that no whole entry lies at a position.
var errTorn = errors.New("no whole entry")

// readEntry reads the entry at a position of a file that may be read up to end.
func readEntry(f io.ReaderAt, at, end int64) ([]byte, error) {
	var header [entryHeader]byte
	if end-at < entryHeader {
		return nil, errTorn
	}
	if _, err := f.ReadAt(header[:], at); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(header[:]))
	if n == 0 || n > maxEntry || end-at-entryHeader < n {
		return nil, errTorn
	}
	entry := make([]byte, n)
	if _, err := f.ReadAt(entry, at+entryHeader); err != nil {
		return nil, err
	}
	if crc32.Checksum(entry, castagnoli) != binary.LittleEndian.Uint32(header[4:]) {
		return nil, errTorn
	}
	return entry, nil
}

func (q *Queue) readPosition() (name uint64, offset int64, err error) {
	raw, err := os.ReadFile(filepath.Join(q.cfg.Dir, positionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(string(raw), "%d %d\n", &name, &offset); err != nil || offset < 0 {
		return 0, 0, fmt.Errorf("the file %s is damaged (%.40q): remove it to hand on again all that the spool holds", positionFile, raw)
	}
	return name, offset, nil
}

// Append returns once the entry is durable: written and synced, together with
// those of others. It fails with ErrFull, ErrClosed, or what the disk says; then
// nothing was kept. It keeps no part of entry.
func (q *Queue) Append(entry []byte) error {
	if len(entry) == 0 || len(entry) > maxEntry {
		return fmt.Errorf("cannot spool an entry of %d bytes: want 1 to %d", len(entry), maxEntry)
	}
	a := &appending{entry: make([]byte, entryHeader, entryHeader+len(entry)), done: make(chan error, 1)}
	binary.LittleEndian.PutUint32(a.entry, uint32(len(entry))) //nolint:gosec // at most maxEntry
	binary.LittleEndian.PutUint32(a.entry[4:], crc32.Checksum(entry, castagnoli))
	a.entry = append(a.entry, entry...)
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	size := int64(len(a.entry))
	if held := q.bytes + q.queued + size; held > q.cfg.MaxBytes {
		q.mu.Unlock()
		return fmt.Errorf("%w: it holds %d of %d bytes", ErrFull, held-size, q.cfg.MaxBytes)
	}
	q.queued += size
	q.pending = append(q.pending, a)
	q.wanted.Signal()
	q.mu.Unlock()
	return <-a.done
}

// write is the goroutine that writes: all that waits, then one sync.
func (q *Queue) write() {
	for {
		q.mu.Lock()
		for len(q.pending) == 0 && !q.closed {
			q.wanted.Wait()
		}
		batch := q.pending
		q.pending = nil
		q.mu.Unlock()
		if len(batch) == 0 {
			return // closed
		}
		err := q.writeBatch(batch)
		var size int64
		for _, a := range batch {
			size += int64(len(a.entry))
		}
		q.mu.Lock()
		q.queued -= size
		if err == nil {
			q.segments[len(q.segments)-1].durable += size
			q.bytes += size
			q.entries += int64(len(batch))
			q.arrived.Broadcast()
		}
		q.mu.Unlock()
		for _, a := range batch {
			a.done <- err
		}
	}
}

// writeBatch appends to the last segment. Only the writing goroutine calls it.
func (q *Queue) writeBatch(batch []*appending) (err error) {
	q.mu.Lock()
	f := q.file
	var at int64
	if f != nil {
		at = q.segments[len(q.segments)-1].durable
		if at >= q.cfg.SegmentBytes {
			err = f.Close()
			f, q.file = nil, nil
		}
	}
	q.mu.Unlock()
	if err != nil {
		return fmt.Errorf("cannot end a file of the spool: %w", err)
	}
	if f == nil {
		if f, err = q.begin(); err != nil {
			return fmt.Errorf("cannot begin a file of the spool: %w", err)
		}
		at = 0
	}
	for _, a := range batch {
		if _, err = f.WriteAt(a.entry, at); err != nil {
			break
		}
		at += int64(len(a.entry))
	}
	if err == nil {
		err = q.sync(f)
	}
	if err == nil {
		return nil
	}
	// What was written is unknown now, and after a failed sync even reading it back
	// tells nothing. Nobody reads beyond the durable size, and the next batch begins
	// another file, so it is never mistaken for something.
	q.mu.Lock()
	q.file = nil
	durable := q.segments[len(q.segments)-1].durable
	q.mu.Unlock()
	return errors.Join(fmt.Errorf("cannot write to the spool: %w", err), f.Truncate(durable), f.Close())
}

// begin makes the next segment.
func (q *Queue) begin() (*os.File, error) {
	q.mu.Lock()
	name := q.next
	q.next++
	q.mu.Unlock()
	f, err := os.OpenFile(q.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(q.cfg.Dir); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	q.mu.Lock()
	q.segments = append(q.segments, segment{name: name})
	q.file = f
	q.mu.Unlock()
	return f, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Position is where a reader stands.
type Position struct {
	segment uint64
	offset  int64
	bytes   int64 // read up to here
	entries int64
}

// Next waits until there is something and gives the oldest entries, at most
// maxBytes of them but at least one. Hand the position to Done when they are taken
// care of; until then Next gives the same ones again. It fails with ErrClosed, and
// when a file cannot be read.
func (q *Queue) Next(maxBytes int) ([][]byte, Position, error) {
	q.mu.Lock()
	for q.entries == 0 && !q.closed {
		q.arrived.Wait()
	}
	if q.closed {
		q.mu.Unlock()
		return nil, Position{}, ErrClosed
	}
	segments, at := slices.Clone(q.segments), q.read
	q.mu.Unlock()
	for i, s := range segments {
		if i > 0 {
			at = 0
		}
		if at >= s.durable {
			continue
		}
		return q.readSegment(s, at, maxBytes)
	}
	return nil, Position{}, errors.New("cannot read the spool: it counts entries that its files have not")
}

func (q *Queue) readSegment(s segment, at int64, maxBytes int) (entries [][]byte, p Position, err error) {
	f, err := os.Open(q.path(s.name))
	if err != nil {
		return nil, Position{}, fmt.Errorf("cannot read the spool: %w", err)
	}
	defer f.Close()
	from, size := at, 0
	for at < s.durable {
		entry, err := readEntry(f, at, s.durable)
		if err != nil {
			return nil, Position{}, fmt.Errorf("cannot read the spool: file %s at byte %d: %w", f.Name(), at, err)
		}
		if size += len(entry); len(entries) > 0 && size > maxBytes {
			break
		}
		entries = append(entries, entry)
		at += entryHeader + int64(len(entry))
	}
	return entries, Position{segment: s.name, offset: at, bytes: at - from, entries: int64(len(entries))}, nil
}

// Done notes durably that the entries before a position are taken care of, and
// removes the files that are read.
func (q *Queue) Done(p Position) error {
	if err := q.notePosition(p); err != nil {
		return fmt.Errorf("cannot note how far the spool is read: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var errs []error
	for len(q.segments) > 0 && q.segments[0].name < p.segment {
		errs = append(errs, q.removeFirst())
	}
	q.read = p.offset
	q.bytes -= p.bytes
	q.entries -= p.entries
	// The last file too, when nobody writes to it.
	if len(q.segments) > 0 && p.offset >= q.segments[0].durable && (len(q.segments) > 1 || q.file == nil) {
		errs = append(errs, q.removeFirst())
	}
	return errors.Join(errs...)
}

func (q *Queue) removeFirst() error {
	name := q.segments[0].name
	q.segments = q.segments[1:]
	q.read = 0
	return os.Remove(q.path(name))
}

func (q *Queue) notePosition(p Position) (err error) {
	path := filepath.Join(q.cfg.Dir, positionFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(f, "%d %d\n", p.segment, p.offset); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(q.cfg.Dir)
}

// Size is what was appended and not taken care of yet, in bytes and entries,
// those that are being written included in the bytes.
func (q *Queue) Size() (bytes, entries int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes + q.queued, q.entries
}

// Max is how many bytes it may hold.
func (q *Queue) Max() int64 { return q.cfg.MaxBytes }

// Close finishes what is being written and wakes the reader. It is safe twice.
func (q *Queue) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.closed = true
	q.wanted.Broadcast()
	q.arrived.Broadcast()
	q.mu.Unlock()
	q.writer.Wait()
	var err error
	if q.file != nil {
		err = q.file.Close()
	}
	return errors.Join(err, q.lock.Release())
}
