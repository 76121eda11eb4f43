// Package pictures takes the pictures of README.md and docs/ (make pictures).
package pictures

import (
	"cmp"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/awkward/cases"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// most is the size in bytes that a picture may have.
const most = 150_000

// TestPictures takes them when PICTURES names their folder: first those of the
// example alone, then those that need what the example does not have.
func TestPictures(t *testing.T) {
	folder := os.Getenv("PICTURES")
	if folder == "" {
		t.Skip("PICTURES names no folder")
	}
	ui := filepath.Join(harness.Root(t), "integration", "ui")
	harness.NodeModules(t, ui)
	h := harness.StartHoptrace(t, harness.Options{Settings: map[string]string{"lagwatch.interval": "2s", "lagwatch.window": "20s"}})
	raw := t.TempDir()
	take := func(told string, names ...string) {
		t.Helper()
		harness.Output(t, 5*time.Minute, harness.Command{
			Name: "pictures", Path: harness.LookPath(t, "node"), Dir: ui, Args: append([]string{"pictures.mjs", raw}, names...),
			Env: []string{"HOPTRACE_WEB=" + h.Web, "HOPTRACE_AWKWARD=" + told, "CHROMIUM=" + harness.Chromium(t)},
		})
	}
	// They go on until the end, so that the pages of lag and health tell of work.
	orders := harness.Start(t, harness.Command{
		Name: "orders", Path: harness.Orders(t),
		Args: []string{"--brokers", h.Kafka, "--otlp", h.GRPC, "--dsn", h.DSN(t), "--rate", "5", "--partitions", "2"},
	})
	time.Sleep(100 * time.Second) // two samples of each minute's sums, and errors
	take("", "waterfall", "topology", "issue", "find")

	told, err := cases.Send(t.Context(), cases.Config{OTLP: h.HTTP, DSN: h.DSN(t), Kafka: h.Kafka, Seed: 1})
	if err != nil {
		t.Fatalf("cannot send the awkward cases: %v", err)
	}
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "awkward.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(90 * time.Second) // a group that nobody serves is called stopped, and lines have a length
	take(file, "journey", "topic", "lag", "group", "batch", "search", "clocks", "health")
	if err := orders.Stop(time.Minute); err != nil {
		t.Errorf("the example ended badly: %v", err)
	}

	taken, err := filepath.Glob(filepath.Join(raw, "*.png"))
	if err != nil || len(taken) == 0 {
		t.Fatalf("no picture was taken: %v", err)
	}
	for _, from := range taken {
		size, err := shrink(from, filepath.Join(folder, filepath.Base(from)))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KB", filepath.Base(from), size/1000)
		if size > most {
			t.Errorf("%s has %d bytes, more than %d", filepath.Base(from), size, most)
		}
	}
}

// shrink writes a picture again with its 256 most frequent colours; a page has few, and
// the rest are edges of letters, whose nearest colour no eye tells from them.
func shrink(from, to string) (size int64, err error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	full, err := png.Decode(in)
	if err != nil {
		return 0, err
	}
	few := reduce(full)
	out, err := os.Create(to)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(out, few); err != nil {
		return 0, err
	}
	info, err := out.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), out.Close()
}

func reduce(full image.Image) *image.Paletted {
	b := full.Bounds()
	times := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(full.At(x, y)).(color.RGBA) }
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			times[at(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(times), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	nearest := map[color.RGBA]uint8{}
	for _, c := range colours {
		nearest[c] = uint8(palette.Index(c))
	}
	few := image.NewPaletted(b, palette)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			few.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	return few
}

// A picture of few colours stays what it is; of more, each pixel keeps a near one.
func TestReduceKeepsWhatAPageShows(t *testing.T) {
	full := image.NewRGBA(image.Rect(0, 0, 300, 2))
	for x := range 300 {
		full.SetRGBA(x, 0, color.RGBA{R: uint8(x / 2), G: uint8(x % 2), A: 255})
		full.SetRGBA(x, 1, color.RGBA{R: 250, A: 255})
	}
	few := reduce(full)
	if len(few.Palette) != 256 {
		t.Fatalf("%d colours", len(few.Palette))
	}
	for x := range 300 {
		want, got := full.RGBAAt(x, 0), color.RGBAModel.Convert(few.At(x, 0)).(color.RGBA)
		if d := int(want.R) - int(got.R); d < -25 || d > 25 {
			t.Errorf("pixel %d: %v became %v", x, want, got)
		}
	}
	if got := color.RGBAModel.Convert(few.At(7, 1)); got != (color.RGBA{R: 250, A: 255}) {
		t.Errorf("the frequent colour became %v", got)
	}
}
