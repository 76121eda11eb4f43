package blobs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/exporters/exportertest"
	"github.com/hoptrace/hoptrace/internal/testevents"
	"github.com/hoptrace/hoptrace/schemas"
)

func openNodes(t testing.TB, cfg NodesConfig) *Nodes {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "nodes")
	}
	n, err := OpenNodes(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Close(), n.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func TestNodesKeepTheirContract(t *testing.T) {
	exportertest.Nodes(t, func(t *testing.T) func() exporters.Nodes {
		cfg := DefaultNodesConfig()
		cfg.Dir, cfg.MaxBytes = filepath.Join(t.TempDir(), "nodes"), 2<<20
		cfg.SegmentBytes, cfg.CacheBytes = 100_000, 4<<20 // many files, few blocks
		return func() exporters.Nodes { return openNodes(t, cfg) }
	})
}

func files(t *testing.T, n *Nodes) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(n.cfg.Dir, "*", "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustAppend(t testing.TB, n *Nodes, payloads ...[]byte) []schemas.NodeRef {
	t.Helper()
	refs, err := n.Append(t.Context(), payloads)
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func TestATornOrDamagedBlockIsToldAndHurtsNoOther(t *testing.T) {
	n := openNodes(t, DefaultNodesConfig())
	n.cache.most = 0
	first := mustAppend(t, n, []byte("first"), []byte("with it"))
	size := n.offset
	torn := mustAppend(t, n, bytes.Repeat([]byte("torn"), 1000))
	name := files(t, n)[0]
	fails := func(ref schemas.NodeRef, want string) {
		t.Helper()
		if got, err := n.Read(t.Context(), ref); err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, exporters.ErrNotFound) {
			t.Errorf("Read gave %q, %v; want an error with %q", got, err, want)
		}
	}
	if err := os.Truncate(name, size+blockHeader+3); err != nil {
		t.Fatal(err)
	}
	fails(torn[0], "ends within it")
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	fails(torn[0], "ends before it")
	if got, err := n.Read(t.Context(), first[1]); err != nil || string(got) != "with it" {
		t.Errorf("the payload before gives %q, %v", got, err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1]++
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(first[0], "checksum")
	raw[0]++
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(first[0], "no header")
}

func TestFilesEndWithTheirSizeAndTheirDay(t *testing.T) {
	cfg := DefaultNodesConfig()
	cfg.SegmentBytes = 1
	n := openNodes(t, cfg)
	now := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	n.now = func() time.Time { return now }
	a := mustAppend(t, n, []byte("a"))
	b := mustAppend(t, n, []byte("b"))
	if got := files(t, n); len(got) != 2 || filepath.Dir(got[0]) != filepath.Dir(got[1]) {
		t.Fatalf("files %v, want two of one day", got)
	}
	now = now.Add(time.Second)
	c := mustAppend(t, n, []byte("c"))
	removed, err := n.Clean(t.Context(), now.Add(-time.Nanosecond))
	if err != nil || removed != 0 {
		t.Fatalf("a day that is not over lost %d files, %v", removed, err)
	}
	if removed, err = n.Clean(t.Context(), now); err != nil || removed != 2 {
		t.Fatalf("%d files were removed, %v; want 2", removed, err)
	}
	for _, ref := range []schemas.NodeRef{a[0], b[0]} {
		if _, err := n.Read(t.Context(), ref); !errors.Is(err, exporters.ErrNotFound) {
			t.Errorf("a payload whose time has passed: %v", err)
		}
	}
	if got, err := n.Read(t.Context(), c[0]); err != nil || string(got) != "c" {
		t.Errorf("the payload of today gives %q, %v", got, err)
	}
}

func TestAFileThatCannotBeWrittenIsLeftForANewOne(t *testing.T) {
	n := openNodes(t, DefaultNodesConfig())
	mustAppend(t, n, []byte("a"))
	if err := n.file.Close(); err != nil { // as a disk that went away
		t.Fatal(err)
	}
	if refs, err := n.Append(t.Context(), [][]byte{[]byte("b")}); !errors.Is(err, exporters.ErrUnavailable) {
		t.Fatalf("Append gave %v, %v; want ErrUnavailable", refs, err)
	}
	ref := mustAppend(t, n, []byte("c"))
	if got, err := n.Read(t.Context(), ref[0]); err != nil || string(got) != "c" {
		t.Errorf("after the failure: %q, %v", got, err)
	}
	if got := files(t, n); len(got) != 2 {
		t.Errorf("files %v, want a second one", got)
	}
}

func TestTheCacheOfBlocksIsBounded(t *testing.T) {
	cfg := DefaultNodesConfig()
	cfg.BlockPayloads, cfg.CacheBytes = 1, 3000
	n := openNodes(t, cfg)
	var refs []schemas.NodeRef
	for i := range 10 {
		refs = append(refs, mustAppend(t, n, bytes.Repeat([]byte{byte(i)}, 990))...)
	}
	for _, ref := range append(refs, refs[9], refs[8]) {
		if _, err := n.Read(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if n.cache.bytes > 3000 || len(n.cache.held) != 3 {
		t.Errorf("%d blocks of %d bytes are held, want 3 of at most 3000", len(n.cache.held), n.cache.bytes)
	}
	for _, ref := range refs[7:] {
		p, _ := parseRef(ref)
		if plain, _ := n.cache.get(blockKey{p.file, p.offset}); plain == nil {
			t.Errorf("%s, which was read last, is not held", ref)
		}
	}
}

func TestANodeStoresFaultsAreNamedAtOnce(t *testing.T) {
	err := NodesConfig{CacheBytes: -1}.Validate()
	for _, want := range []string{"dir", "max_bytes", "block_bytes", "block_payloads", "segment_bytes", "cache_bytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named: %v", want, err)
		}
	}
}

// BenchmarkNodes appends batches of events of 20 KB, 70 % of which repeat one of
// ten errors.
func BenchmarkNodes(b *testing.B) {
	for _, batch := range []int{64, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			n := openNodes(b, DefaultNodesConfig())
			payloads := make([][]byte, batch)
			for i := range payloads {
				kind := i % 10
				if i%10 >= 7 {
					kind = 10 + i
				}
				payloads[i] = testevents.Python(kind, uint64(i)) //nolint:gosec // small
			}
			var plain int
			for _, p := range payloads {
				plain += len(p)
			}
			b.ReportAllocs()
			var stored int64
			for b.Loop() {
				mustAppend(b, n, payloads...)
				stored = n.offset
			}
			per := float64(batch)
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/per, "µs/event")
			b.ReportMetric(float64(plain)/per, "plain-B/event")
			_ = stored
			one := n.divide(payloads)
			packed := 0
			for i := range one {
				one[i].pack(n.enc)
				packed += len(one[i].packed)
			}
			b.ReportMetric(float64(packed)/per, "B/event")
		})
	}
}
