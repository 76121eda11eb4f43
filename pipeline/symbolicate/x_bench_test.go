package symbolicate

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkResolve resolves stacks whose files are known.
func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{1, 30} {
		b.Run(fmt.Sprintf("frames=%d", n), func(b *testing.B) {
			r := resolver(b, withShop(b), Config{})
			stack := frames("https://shop.example/static/app.min.js", "at c (1:40)\nat e.submit (1:256)\nat 1:388\nat u (1:363)\nat d (1:582)\nat Object.<anonymous> (1:732)")
			req := Request{Project: 7, Release: "v1"}
			for i := range n {
				req.Frames = append(req.Frames, stack[i%len(stack)])
			}
			b.ReportAllocs()
			for b.Loop() {
				rs, err := r.Resolve(b.Context(), req)
				if err != nil || !rs[0].Found {
					b.Fatal(rs, err)
				}
			}
		})
	}
}

// BenchmarkDecodeMap decodes a map of about a million mappings.
func BenchmarkDecodeMap(b *testing.B) {
	data := mapOf(randomLines(rand.New(rand.NewPCG(1, 1)), 70_000), nil)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := decodeMap(data)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(m.tokens)), "mappings")
	}
}

// BenchmarkLoad finds, reads and decodes a small file.
func BenchmarkLoad(b *testing.B) {
	f := withShop(b)
	k := key{project: 7, debugID: debugID}
	r := resolver(b, f, Config{})
	b.ReportAllocs()
	for b.Loop() {
		if e, err := r.find(b.Context(), k, nil); err != nil || e.script == nil {
			b.Fatal(e, err)
		}
	}
}
