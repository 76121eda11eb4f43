package group

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// serviceEvent is like one of a service of about 20 KB as JSON: a cause, and an
// error with that many frames, two thirds of them of libraries.
func serviceEvent(platform string, frames int) *normalize.Event {
	stack := make([]normalize.Frame, frames)
	for i := range stack {
		f := &stack[i]
		f.Line, f.Column = 100+i, 7
		switch platform {
		case "go":
			f.Module, f.Function = "example.com/shop/payments", fmt.Sprintf("(*Service).handle%d.func1", i)
			f.AbsPath, f.InApp = fmt.Sprintf("/srv/build/shop/payments/service_%d.go", i), true
			if i%3 != 0 {
				f.Module, f.Function = "github.com/gin-gonic/gin", fmt.Sprintf("(*Context).Next%d", i)
				f.AbsPath = "/go/pkg/mod/github.com/gin-gonic/gin@v1.10.0/context.go"
			}
		case "node":
			f.Function, f.ContextLine = fmt.Sprintf("Object.charge%d", i), "    const total = await  cart.total(order.id, { currency });"
			f.Filename, f.InApp = fmt.Sprintf("/srv/shop/dist/service-%d.js", i), true
			if i%3 != 0 {
				f.Filename = fmt.Sprintf("/srv/shop/node_modules/express/lib/router/layer%d.js", i)
			}
		}
	}
	return &normalize.Event{
		Event: schemas.Event{Platform: platform, Level: "error"},
		Exceptions: []normalize.Exception{
			{Type: "*net.OpError", Value: "dial tcp 10.1.2.3:9092: connect: connection refused"},
			{Type: "*fmt.wrapError", Value: "cannot charge order 17 of ann@example.com: dial tcp 10.1.2.3:9092: connect: connection refused", Frames: stack},
		},
	}
}

func BenchmarkGroup(b *testing.B) {
	for _, platform := range []string{"go", "node"} {
		for _, frames := range []int{10, 40} {
			for _, warm := range []bool{true, false} {
				b.Run(fmt.Sprintf("platform=%s/frames=%d/warm=%v", platform, frames, warm), func(b *testing.B) {
					g, err := New(Config{})
					if err != nil {
						b.Fatal(err)
					}
					e := serviceEvent(platform, frames)
					b.ReportAllocs()
					for b.Loop() {
						if !warm {
							g.frames.young, g.frames.old = nil, nil
						}
						g.Of(e)
					}
				})
			}
		}
	}
}

func BenchmarkTree(b *testing.B) {
	g, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	r := g.Of(serviceEvent("go", 40))
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = r.Tree.AppendJSON(buf[:0])
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{Enhancements: "function:a -app"}); err != nil {
			b.Fatal(err)
		}
	}
}

// chain is the other way to parameterise: one expression after the other, over
// what the last one left. RE2 has no look-around, so each takes its neighbours
// along and puts them back.
var chain = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}\b`), "<email>"},
	{regexp.MustCompile(`\b[a-z][a-z+.-]*://[^\s"'<>` + "`" + `]*[^\s"'<>.,;:!?)\]` + "`" + `]`), "<url>"},
	{regexp.MustCompile(`\b[0-9a-fA-F]{2}-[0-9a-fA-F]{32}-[0-9a-fA-F]{16}-[0-9a-fA-F]{2}\b`), "<traceparent>"},
	{regexp.MustCompile(`\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`\b[0-9a-fA-F]{40}\b`), "<sha1>"},
	{regexp.MustCompile(`\b[0-9a-fA-F]{32}\b`), "<md5>"},
	{regexp.MustCompile(`\b\d{4}-\d{2}-\d{2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?`), "<date>"},
	{regexp.MustCompile(`\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?\b`), "<date>"},
	{regexp.MustCompile(`\b(?:\d+(?:\.\d+)?(?:ms|us|ns|h|m|s))+\b`), "<duration>"},
	{regexp.MustCompile(`\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b`), "<mac>"},
	{regexp.MustCompile(`\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b`), "<ip>"},
	{regexp.MustCompile(`\b0[xX][0-9a-fA-F]+\b`), "<hex>"},
	{regexp.MustCompile(`(=)"[^"]*"`), "$1<quoted_str>"},
	{regexp.MustCompile(`(=)(?:true|false)\b`), "$1<bool>"},
	{regexp.MustCompile(`\b\d+\.\d+\b`), "<float>"},
	{regexp.MustCompile(`(^|[\s:=,;(\[/#-])\d+(\b)`), "$1<int>$2"},
}

func byExpressions(s string) string {
	for i := range chain {
		s = chain[i].re.ReplaceAllString(s, chain[i].to)
	}
	return s
}

const longMessage = `cannot charge order 17 of ann@example.com at https://pay.example.com/v1/charge?id=4: dial tcp 10.1.2.3:9092: timeout after 1m30.5s, ` +
	`request 6f9619ff-8b86-d011-b42d-00c04fc964ff, started 2026-11-23T10:11:12.5Z, retry=true, user="ann b", ratio 1.5, at 0xc000123abc`

// TestTheScannerAgreesWithExpressions is the oracle for the kinds that both know.
func TestTheScannerAgreesWithExpressions(t *testing.T) {
	for _, s := range []string{
		longMessage, "order 17 failed", "partition=7, offset=123456789", "sha 356a192b7913b04c54574d18c28d46e6395428ab of 5d41402abc4b2a76b9719d911017c592",
		"trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "eth0 00:1b:44:11:3a:b7 up", "at 10:11:12.345 sharp", "word without any value",
		"10.0.0.1 and 10.0.0.2: 5 of 6", "after 10ms and 2s and 1.5h",
	} {
		if got, want := Parameterise(s), byExpressions(s); got != want {
			t.Errorf("%q\nscanner     %q\nexpressions %q", s, got, want)
		}
	}
}

func BenchmarkParameterise(b *testing.B) {
	plain := strings.Repeat("cannot connect to the broker since it refused the connection of this client ", 4)
	for _, text := range []struct{ name, s string }{{"values", longMessage}, {"words", plain}, {"long", strings.Repeat(longMessage+" ", 20)}} {
		for _, how := range []struct {
			name string
			f    func(string) string
		}{{"scanner", Parameterise}, {"expressions", byExpressions}} {
			b.Run(fmt.Sprintf("text=%s/by=%s", text.name, how.name), func(b *testing.B) {
				b.SetBytes(int64(len(text.s)))
				b.ReportAllocs()
				for b.Loop() {
					how.f(text.s)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(text.s))/10, "µs/100B")
			})
		}
	}
}
