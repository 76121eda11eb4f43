package bench

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/awkward/cases"
	"github.com/hoptrace/hoptrace/integration/harness"
)

// BenchmarkScroll scrolls through the waterfall of 10,000 spans, 200 rows a second, in a
// real browser, and tells how many frames a second were drawn, how many of those the
// page's own thread had made anew, and what it did for one: script, style, layout and
// paint in processor time, which other programs on the machine do not lengthen. A frame
// of 60 a second has 16.7 ms. Beside it stands a page of 10,000 lines of text without any
// script: what the browser can do on this machine, which paints without a GPU. It runs
// once (-benchtime 1x).
func BenchmarkScroll(b *testing.B) {
	h := harness.StartHoptrace(b, harness.Options{})
	told, err := cases.Send(b.Context(), cases.Config{OTLP: h.HTTP, Seed: 1})
	if err != nil {
		b.Fatalf("cannot send the spans: %v", err)
	}
	harness.WaitDrained(b, h.Kafka, time.Minute, "ingest-spans")
	i := slices.IndexFunc(told.Cases, func(c cases.Case) bool { return c.Name == "trace of 10,000 spans" })
	if i < 0 {
		b.Fatal("the awkward cases hold no trace of 10,000 spans")
	}
	dir := filepath.Join(harness.Root(b), "integration", "ui")
	harness.NodeModules(b, dir)
	b.Run("10000-spans", func(b *testing.B) { scroll(b, dir, h.Web+"/traces/"+told.Cases[i].Trace) })
	b.Run("peer-plain-text", func(b *testing.B) { scroll(b, dir, "plain") })
}

func scroll(b *testing.B, dir, page string) {
	b.Helper()
	var got struct {
		Timed     bool
		Processor []float64 // ms of each frame that the page's thread made
		Drawn     int       // frames
		Seconds   float64
		Moved     float64 // px
		Rows      int     // of the table in the page, at most
		By        map[string]float64
	}
	for range b.N {
		out := harness.Output(b, 5*time.Minute, harness.Command{
			Name: "scroll", Path: harness.LookPath(b, "node"), Dir: dir, Env: []string{"CHROMIUM=" + harness.Chromium(b)},
			Args: []string{"scroll.mjs", page},
		})
		if err := json.Unmarshal(out, &got); err != nil {
			b.Fatalf("cannot read what the browser told: %v: %.200s", err, out)
		}
	}
	frames := len(got.Processor)
	switch {
	case !got.Timed:
		b.Fatal("the browser tells no processor time of its tasks here")
	case frames < 50 || got.Drawn < 100 || got.Moved < 29_000:
		b.Fatalf("%d frames, %d made anew, moved %.0f px; that is no scroll", got.Drawn, frames, got.Moved)
	case got.Rows > 200:
		b.Fatalf("the page holds %d rows at once", got.Rows)
	}
	sum := 0.0
	for _, ms := range got.Processor {
		sum += ms
	}
	slices.Sort(got.Processor)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(got.Drawn)/got.Seconds, "frames/s")
	b.ReportMetric(float64(frames)/got.Seconds, "anew/s")
	b.ReportMetric(sum/float64(frames), "main-ms/frame")
	b.ReportMetric(got.Processor[frames*95/100], "p95-ms/frame")
	b.Logf("%d frames, %d made anew, %.0f px, at most %d rows in the page; ms a frame: %v", got.Drawn, frames, got.Moved, got.Rows, got.By)
}
