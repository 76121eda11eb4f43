package blobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// NodesConfig bounds a node store.
type NodesConfig struct {
	// Dir is the directory; it is made if need be. Several processes may share it.
	Dir string
	// MaxBytes bounds one payload, uncompressed.
	MaxBytes int
	// BlockBytes and BlockPayloads bound what is compressed as one: a block is
	// read whole. A payload beyond BlockBytes is a block of its own.
	BlockBytes    int
	BlockPayloads int
	// SegmentBytes is about how long a file gets before the next is begun.
	SegmentBytes int64
	// CacheBytes bounds the decoded blocks that are kept for reading.
	CacheBytes int
}

// DefaultNodesConfig has blocks of 64 payloads or 1 MiB and files of 256 MiB;
// Dir is for the caller to say.
func DefaultNodesConfig() NodesConfig {
	return NodesConfig{MaxBytes: 8 << 20, BlockBytes: 1 << 20, BlockPayloads: 64, SegmentBytes: 256 << 20, CacheBytes: 32 << 20}
}

// Validate names every fault at once.
func (c NodesConfig) Validate() error {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("nodes dir: missing"))
	}
	if c.MaxBytes < 1 || c.MaxBytes > 64<<20 {
		faults = append(faults, fmt.Errorf("nodes max_bytes %d: want 1 to 64 MiB", c.MaxBytes))
	}
	if c.BlockBytes < 1 || c.BlockBytes > 64<<20 {
		faults = append(faults, fmt.Errorf("nodes block_bytes %d: want 1 to 64 MiB", c.BlockBytes))
	}
	if c.BlockPayloads < 1 || c.BlockPayloads > maxBlockPayloads {
		faults = append(faults, fmt.Errorf("nodes block_payloads %d: want 1 to %d", c.BlockPayloads, maxBlockPayloads))
	}
	if c.SegmentBytes < 1 || c.SegmentBytes > 1<<40 {
		faults = append(faults, fmt.Errorf("nodes segment_bytes %d: want 1 to 1 TiB", c.SegmentBytes))
	}
	if c.CacheBytes < 0 {
		faults = append(faults, fmt.Errorf("nodes cache_bytes %d: want 0 or more", c.CacheBytes))
	}
	return errors.Join(faults...)
}

// A segment is a file <day>/<writer>-<number>.nodes of blocks, one behind the
// other. Days are counted from 1970 and written, as are numbers, in base 36. The
// day is that of writing, so a day's directory goes whole. A block is a header
// and a zstd frame of count lengths (4 bytes each) and the payloads:
//
//	magic 4 · packed bytes 4 · plain bytes 4 · count 4 · crc32c of all that and the frame 4 · frame
//
// Nothing looks for blocks: a reference has the offset of its own, so what a
// crash leaves at the end of a file disturbs nobody, and a writer begins a file
// of its own when it starts.
const (
	blockMagic       = 0x31_42_4e_48 // "HNB1"
	blockHeader      = 20
	maxBlockPayloads = 1 << 16
	segmentSuffix    = ".nodes"
	nanosADay        = int64(24 * time.Hour)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Nodes keeps payloads in append-only files, many compressed as one, one fsync
// a call. It is safe for use by many goroutines.
type Nodes struct {
	cfg    NodesConfig
	root   *os.Root
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	writer string // of this process, in the names of its files
	now    func() time.Time

	mu     sync.Mutex // guards the following: one append at a time
	file   *os.File
	name   string
	day    int64
	offset int64
	number int64
	closed bool

	cache blockCache
}

var (
	_ exporters.Nodes  = (*Nodes)(nil)
	_ exporters.Pinger = (*Nodes)(nil)
)

// OpenNodes makes the directory if need be. Close the store.
func OpenNodes(cfg NodesConfig) (*Nodes, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make node directory: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open node directory: %w", err)
	}
	// The fastest level: of events of one program, most bytes repeat what is in
	// the block already, and a better one saves a tenth for twice the time
	// (BenchmarkNodes).
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(compressors), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(uint64(cfg.maxPlain())), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails
	n := &Nodes{cfg: cfg, root: root, enc: enc, dec: dec, writer: hex.EncodeToString(id[:]), now: time.Now}
	n.cache.most = cfg.CacheBytes
	return n, nil
}

// compressors is how many blocks of one call are compressed at once.
const compressors = 4

// maxPlain is the longest a block can be, uncompressed.
func (c *NodesConfig) maxPlain() int {
	return max(c.BlockBytes, c.MaxBytes) + 4*c.BlockPayloads
}

// Close closes the file at hand. It is safe twice.
func (n *Nodes) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.dec.Close()
	return errors.Join(n.leave(), n.enc.Close(), n.root.Close())
}

// Ping reads the directory and fails with ErrUnavailable.
func (n *Nodes) Ping(context.Context) error {
	if _, err := os.Stat(n.cfg.Dir); err != nil {
		return fmt.Errorf("cannot read node directory: %w: %w", exporters.ErrUnavailable, err)
	}
	return nil
}

// Append keeps payloads.
func (n *Nodes) Append(ctx context.Context, payloads [][]byte) ([]schemas.NodeRef, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(payloads) == 0 {
		return nil, nil
	}
	for i, p := range payloads {
		if len(p) > n.cfg.MaxBytes {
			return nil, fmt.Errorf("payload %d of %d has %d bytes, at most %d: %w", i, len(payloads), len(p), n.cfg.MaxBytes, exporters.ErrTooLarge)
		}
	}
	blocks := n.divide(payloads)
	var g errgroup.Group
	g.SetLimit(compressors)
	for i := range blocks {
		g.Go(func() error { blocks[i].pack(n.enc); return nil })
	}
	_ = g.Wait()
	refs, err := n.write(blocks, len(payloads))
	if err != nil {
		return nil, fmt.Errorf("cannot keep %d payloads: %w", len(payloads), unavailable(err))
	}
	return refs, nil
}

// block is some payloads on their way into a file.
type block struct {
	payloads [][]byte
	packed   []byte // with its header
}

// divide makes blocks of payloads, in order.
func (n *Nodes) divide(payloads [][]byte) []block {
	var blocks []block
	from, size := 0, 0
	for i, p := range payloads {
		if i > from && (i-from == n.cfg.BlockPayloads || size+len(p) > n.cfg.BlockBytes) {
			blocks = append(blocks, block{payloads: payloads[from:i]})
			from, size = i, 0
		}
		size += len(p)
	}
	return append(blocks, block{payloads: payloads[from:]})
}

var plains = sync.Pool{New: func() any { return new([]byte) }}

func (b *block) pack(enc *zstd.Encoder) {
	plain := plains.Get().(*[]byte)
	defer plains.Put(plain)
	buf := (*plain)[:0]
	for _, p := range b.payloads {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(p))) //nolint:gosec // bounded by MaxBytes
	}
	for _, p := range b.payloads {
		buf = append(buf, p...)
	}
	*plain = buf
	out := enc.EncodeAll(buf, make([]byte, blockHeader, blockHeader+len(buf)/4))
	binary.LittleEndian.PutUint32(out, blockMagic)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-blockHeader)) //nolint:gosec // bounded
	binary.LittleEndian.PutUint32(out[8:], uint32(len(buf)))             //nolint:gosec // bounded
	binary.LittleEndian.PutUint32(out[12:], uint32(len(b.payloads)))     //nolint:gosec // bounded
	binary.LittleEndian.PutUint32(out[16:], blockCRC(out, out[blockHeader:]))
	b.packed = out
}

// blockCRC is over a block's header, without the sum, and its frame.
func blockCRC(header, frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(header[:16], castagnoli), castagnoli, frame)
}

func (n *Nodes) write(blocks []block, count int) ([]schemas.NodeRef, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fs.ErrClosed
	}
	if err := n.segment(); err != nil {
		return nil, err
	}
	refs := make([]schemas.NodeRef, 0, count)
	var ref []byte
	at := n.offset
	for i := range blocks {
		if _, err := n.file.Write(blocks[i].packed); err != nil {
			return nil, errors.Join(err, n.leave())
		}
		ref = append(append(ref[:0], n.name...), '.')
		ref = append(strconv.AppendInt(ref, at, 36), '.')
		for k := range blocks[i].payloads {
			refs = append(refs, schemas.NodeRef(strconv.AppendInt(ref, int64(k), 36)))
		}
		at += int64(len(blocks[i].packed))
	}
	// What was synced after a failure of fsync may not be there: a new file then.
	if err := n.file.Sync(); err != nil {
		return nil, errors.Join(err, n.leave())
	}
	n.offset = at
	return refs, nil
}

// segment sees to it that there is a file with room, of today.
func (n *Nodes) segment() error {
	today := n.now().UnixNano() / nanosADay
	if n.file != nil && n.day == today && n.offset < n.cfg.SegmentBytes {
		return nil
	}
	if err := n.leave(); err != nil {
		return err
	}
	dir := strconv.FormatInt(today, 36)
	if err := n.root.Mkdir(dir, 0o750); err == nil {
		if err := syncDir(n.root, "."); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	n.number++
	name := n.writer + "-" + strconv.FormatInt(n.number, 36)
	f, err := n.root.OpenFile(path.Join(dir, name+segmentSuffix), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	if err := syncDir(n.root, dir); err != nil {
		return errors.Join(err, f.Close())
	}
	n.file, n.day, n.offset = f, today, 0
	n.name = dir + "." + name
	return nil
}

// leave closes the file at hand; the next append begins another.
func (n *Nodes) leave() error {
	if n.file == nil {
		return nil
	}
	f := n.file
	n.file = nil
	return f.Close()
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// place is what a reference tells.
type place struct {
	file   string // below the directory
	offset int64
	index  int
}

func parseRef(ref schemas.NodeRef) (p place, ok bool) {
	parts := strings.Split(string(ref), ".")
	if len(ref) > 100 || len(parts) != 4 {
		return p, false
	}
	for _, c := range parts[0] + parts[1] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' {
			return p, false
		}
	}
	if parts[0] == "" || parts[1] == "" {
		return p, false
	}
	offset, err := strconv.ParseUint(parts[2], 36, 48)
	if err != nil {
		return p, false
	}
	index, err := strconv.ParseUint(parts[3], 36, 17)
	if err != nil {
		return p, false
	}
	return place{file: parts[0] + "/" + parts[1] + segmentSuffix, offset: int64(offset), index: int(index)}, true //nolint:gosec // 48 and 17 bits
}

// Read gives a payload.
func (n *Nodes) Read(ctx context.Context, ref schemas.NodeRef) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, ok := parseRef(ref)
	if !ok {
		return nil, fmt.Errorf("%.100q is no reference of a payload: %w", ref, exporters.ErrNotFound)
	}
	plain, count, err := n.block(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("payload %s: %w", ref, exporters.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read payload %s: %w", ref, unavailable(err))
	}
	if p.index >= count {
		return nil, fmt.Errorf("payload %s: its block has %d: %w", ref, count, exporters.ErrNotFound)
	}
	at := 4 * count
	for i := range p.index {
		at += int(binary.LittleEndian.Uint32(plain[4*i:]))
	}
	size := int(binary.LittleEndian.Uint32(plain[4*p.index:]))
	if at+size > len(plain) {
		return nil, fmt.Errorf("cannot read payload %s: its block is damaged: it says %d bytes at %d of %d", ref, size, at, len(plain))
	}
	return slices.Clone(plain[at : at+size]), nil
}

// block reads and checks one block, or takes it from the cache.
func (n *Nodes) block(p place) (plain []byte, count int, err error) {
	key := blockKey{p.file, p.offset}
	if plain, count = n.cache.get(key); plain != nil {
		return plain, count, nil
	}
	f, err := n.root.Open(p.file)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	damaged := func(format string, args ...any) error {
		return fmt.Errorf("the block at byte %d of %s is damaged: %s", p.offset, path.Join(n.cfg.Dir, p.file), fmt.Sprintf(format, args...))
	}
	var header [blockHeader]byte
	if _, err := f.ReadAt(header[:], p.offset); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, 0, damaged("the file ends before it")
		}
		return nil, 0, err
	}
	packed, size := binary.LittleEndian.Uint32(header[4:]), binary.LittleEndian.Uint32(header[8:])
	count = int(binary.LittleEndian.Uint32(header[12:]))
	if binary.LittleEndian.Uint32(header[:]) != blockMagic || count > maxBlockPayloads || int64(packed) > int64(n.cfg.maxPlain())+maxOverhead || int64(size) > int64(n.cfg.maxPlain()) || int64(size) < 4*int64(count) {
		return nil, 0, damaged("it has no header")
	}
	frame := make([]byte, packed)
	if _, err := f.ReadAt(frame, p.offset+blockHeader); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, 0, damaged("the file ends within it")
		}
		return nil, 0, err
	}
	if blockCRC(header[:], frame) != binary.LittleEndian.Uint32(header[16:]) {
		return nil, 0, damaged("its checksum is wrong")
	}
	if plain, err = n.dec.DecodeAll(frame, make([]byte, 0, size)); err != nil {
		return nil, 0, damaged("%v", err)
	}
	if len(plain) != int(size) {
		return nil, 0, damaged("%d bytes, want %d", len(plain), size)
	}
	n.cache.put(key, plain, count)
	return plain, count, nil
}

// Clean removes the payloads of days that were over before olderThan. It
// returns how many files it removed.
func (n *Nodes) Clean(ctx context.Context, olderThan time.Time) (removed int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot clean the node store: %w", unavailable(err))
		}
	}()
	d, err := n.root.Open(".")
	if err != nil {
		return 0, err
	}
	days, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil {
		return 0, err
	}
	for _, day := range days {
		number, err := strconv.ParseInt(day.Name(), 36, 32)
		if err != nil || !day.IsDir() || (number+1)*nanosADay > olderThan.UnixNano() {
			continue
		}
		dir, err := n.root.Open(day.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process was faster
		}
		if err != nil {
			return removed, err
		}
		files, err := dir.ReadDir(-1)
		if err = errors.Join(err, dir.Close()); err != nil {
			return removed, err
		}
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			if err := n.root.Remove(path.Join(day.Name(), f.Name())); err == nil {
				removed++
			} else if !errors.Is(err, fs.ErrNotExist) {
				return removed, err
			}
		}
		if err := n.root.Remove(day.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
	}
	return removed, nil
}

type blockKey struct {
	file   string
	offset int64
}

// blockCache keeps the blocks that were read last, most bytes of them.
type blockCache struct {
	most int

	mu    sync.Mutex // guards the following
	bytes int
	clock uint64
	held  map[blockKey]*heldBlock
}

type heldBlock struct {
	plain []byte
	count int
	used  uint64
}

func (c *blockCache) get(k blockKey) ([]byte, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.held[k]
	if b == nil {
		return nil, 0
	}
	c.clock++
	b.used = c.clock
	return b.plain, b.count
}

func (c *blockCache) put(k blockKey, plain []byte, count int) {
	if len(plain) > c.most {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = make(map[blockKey]*heldBlock)
	}
	if c.held[k] != nil {
		return
	}
	c.clock++
	c.held[k] = &heldBlock{plain, count, c.clock}
	for c.bytes += len(plain); c.bytes > c.most; {
		oldest := slices.MinFunc(keys(c.held), func(a, b blockKey) int { return cmp.Compare(c.held[a].used, c.held[b].used) })
		c.bytes -= len(c.held[oldest].plain)
		delete(c.held, oldest)
	}
}

func keys(m map[blockKey]*heldBlock) []blockKey {
	out := make([]blockKey, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}
