package sentryapi

import (
	"context"
	"crypto/sha1" //nolint:gosec // the protocol's name of content; no secret
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
)

// assembler puts uploads together, one after the other. What is to be done
// stands in the store: another process goes on where this one was killed.
type assembler struct {
	h      *Handler
	wake   chan struct{}
	ok     prometheus.Counter
	faulty prometheus.Counter
	again  prometheus.Counter

	mu     sync.Mutex // guards the following
	done   chan struct{}
	cancel context.CancelFunc
	ended  chan struct{}
}

const (
	lookEvery   = 5 * time.Second  // for uploads that another process took and left
	claimFor    = 15 * time.Minute // longer than one may take
	assembleFor = 10 * time.Minute
	tryAgainIn  = 10 * time.Second
)

func (a *assembler) init(h *Handler, results *prometheus.CounterVec) {
	a.h, a.wake, a.done = h, make(chan struct{}, 1), make(chan struct{})
	a.ok, a.faulty, a.again = results.WithLabelValues("ok"), results.WithLabelValues("fault"), results.WithLabelValues("again")
}

// Start begins to put uploads together.
func (h *Handler) Start(context.Context) error {
	a := &h.assembler
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		return errors.New("cannot start putting uploads together: it was started before")
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel, a.ended = cancel, make(chan struct{})
	go a.run(ctx, a.ended)
	return nil
}

// Shutdown leaves off and waits. It is safe twice and without Start.
func (h *Handler) Shutdown(context.Context) error {
	a := &h.assembler
	a.mu.Lock()
	cancel, ended := a.cancel, a.ended
	a.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	return nil
}

// kick says that there is something to do.
func (a *assembler) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// finished is closed when the next upload is done with.
func (a *assembler) finished() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

func (a *assembler) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.done)
	a.done = make(chan struct{})
}

func (a *assembler) run(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		for a.one(ctx) {
			a.tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		case <-a.wake:
		}
	}
}

// one takes an upload and puts it together; false means that there is none, or
// that the store does not answer.
func (a *assembler) one(ctx context.Context) bool {
	artifacts, log := a.h.deps.Artifacts, a.h.log
	now := a.h.now()
	claimed, err := artifacts.ClaimAssembly(ctx, now.UnixNano(), now.Add(claimFor).UnixNano())
	if err != nil {
		if !errors.Is(err, exporters.ErrNotFound) && ctx.Err() == nil {
			log.Warn("cannot look for uploads to put together", "err", err)
		}
		return false
	}
	began := time.Now()
	working, cancel := context.WithTimeout(ctx, assembleFor)
	files, err := a.h.putTogether(working, claimed)
	cancel()
	now = a.h.now()
	// What follows must be noted although the process ends.
	noting, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	switch {
	case err == nil:
		a.ok.Inc()
		log.Info("put an upload together", "checksum", claimed.Checksum, "files", files, "took", time.Since(began).Round(time.Millisecond).String())
		return true
	case errors.Is(err, errChunkGone):
		a.faulty.Inc()
		log.Warn("an upload cannot be put together: its chunks are gone", "checksum", claimed.Checksum, "err", err)
		err = artifacts.FailAssembly(noting, claimed.Checksum, err.Error()+"; upload it again", 0) // at once, if the client likes
	case errors.As(err, new(bundleError)):
		a.faulty.Inc()
		log.Warn("an upload cannot be used", "checksum", claimed.Checksum, "err", err)
		err = artifacts.FailAssembly(noting, claimed.Checksum, err.Error(), now.UnixNano())
	default:
		a.again.Inc()
		if ctx.Err() == nil {
			log.Warn("cannot put an upload together; it is tried again", "checksum", claimed.Checksum, "err", err)
			now = now.Add(tryAgainIn)
		}
		err = artifacts.ReleaseAssembly(noting, claimed.Checksum, now.UnixNano())
	}
	if err != nil {
		log.Warn("cannot note what became of an upload; it is taken up again later", "checksum", claimed.Checksum, "after", claimFor, "err", err)
		return false
	}
	return true
}

// errChunkGone: the store has lost a chunk that it had.
var errChunkGone = errors.New("a chunk is gone")

func isCancelled(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// putTogether checks an upload and stores its files. Doing it twice is harmless.
func (h *Handler) putTogether(ctx context.Context, a exporters.Assembly) (files int, err error) {
	r, err := h.openChunks(ctx, a)
	if err != nil {
		return 0, err
	}
	b, err := readBundle(r, r.size, h.cfg.MaxFileBytes)
	if err != nil {
		return 0, err
	}
	out := exporters.ArtifactBundle{Key: a.Checksum, Note: b.note, Dist: b.dist, Created: h.now().UnixNano()}
	total, most := int64(0), max(freeUnpacked, r.size*maxUnpacked)
	for _, f := range b.files {
		if err := h.unpack(ctx, &f); err != nil {
			return 0, err
		}
		// Sizes in the directory may lie.
		if total += f.Size; total > most {
			return 0, fault("the archive's files have more than %d bytes, %d times the archive", most, maxUnpacked)
		}
		out.Files = append(out.Files, f.ArtifactFile)
	}
	return len(out.Files), h.deps.Artifacts.PutBundle(ctx, out, a.Holds)
}

func (h *Handler) unpack(ctx context.Context, f *bundleFile) error {
	rc, err := f.packed.Open()
	if err != nil {
		if isStoreError(err) {
			return err
		}
		return fault("%.200s cannot be read: %w", f.Path, err)
	}
	err = h.putFile(ctx, rc, h.cfg.MaxFileBytes, &f.ArtifactFile)
	closed := rc.Close()
	switch {
	case errors.Is(err, errTooLong):
		return fault("%.200s has more than %d bytes", f.Path, h.cfg.MaxFileBytes)
	case errors.As(err, new(readError)) && !isStoreError(err):
		return fault("%.200s cannot be read: %w", f.Path, err)
	case err != nil:
		return err
	case closed != nil:
		return fault("%.200s cannot be read: %w", f.Path, closed)
	}
	return nil
}

// chunkReader reads an upload through its chunks, and keeps two of them: one for
// the directory at the end, and one for the file that is being read.
type chunkReader struct {
	h      *Handler
	ctx    context.Context
	chunks []string
	starts []int64 // of each, and the end of all
	size   int64
	kept   [2]struct {
		index int
		data  []byte
	}
	next int
}

// openChunks reads all once, to know their sizes and to compare the checksum.
func (h *Handler) openChunks(ctx context.Context, a exporters.Assembly) (*chunkReader, error) {
	r := &chunkReader{h: h, ctx: ctx, chunks: a.Chunks, starts: []int64{0}}
	r.kept[0].index, r.kept[1].index = -1, -1
	whole := sha1.New() //nolint:gosec // see above
	for i := range a.Chunks {
		b, err := r.load(i)
		if err != nil {
			return nil, err
		}
		if r.size += int64(len(b)); r.size > h.cfg.MaxBundleBytes {
			return nil, fault("the upload has more than %d bytes", h.cfg.MaxBundleBytes)
		}
		_, _ = whole.Write(b) // never fails
		r.starts = append(r.starts, r.size)
	}
	if sum := hex.EncodeToString(whole.Sum(nil)); sum != a.Checksum {
		return nil, fault("the chunks together have the SHA-1 %s, not %s", sum, a.Checksum)
	}
	return r, nil
}

func (r *chunkReader) load(i int) ([]byte, error) {
	for _, k := range r.kept {
		if k.index == i {
			return k.data, nil
		}
	}
	b, err := r.h.deps.Blobs.Get(r.ctx, exporters.ChunkKey(r.chunks[i]))
	if errors.Is(err, exporters.ErrNotFound) {
		if err := r.h.deps.Artifacts.ChunkLost(r.ctx, r.chunks[i]); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("chunk %s: %w", r.chunks[i], errChunkGone)
	}
	if err != nil {
		return nil, err
	}
	r.kept[r.next].index, r.kept[r.next].data = i, b
	r.next = 1 - r.next
	return b, nil
}

// ReadAt makes it an io.ReaderAt.
func (r *chunkReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fault("a position before the begin of the archive")
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		i := sort.Search(len(r.chunks), func(i int) bool { return r.starts[i+1] > at })
		b, err := r.load(i)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[at-r.starts[i]:])
	}
	return n, nil
}
