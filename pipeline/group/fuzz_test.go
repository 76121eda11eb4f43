package group

import (
	"encoding/json"
	"testing"

	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// FuzzOf groups events of any shape: it must not panic, must give the same hash
// twice, and its tree must be JSON.
func FuzzOf(f *testing.F) {
	for _, platform := range []string{"go", "java", "javascript", "python", "ruby", "php", "csharp", "rust", "native", "elixir", "other"} {
		f.Add(platform, "E", "order 17", "a.b.(*T).c[...].func1", "shop/v2/x", "/srv/main.3f2a9c1b.js", "  x = 1  ", uint16(0x1234))
	}
	f.Add("native", "", "", "void a<b(c)>::{lambda(int)#1}::operator()(d) const", "", `C:\x\y-1.2.3.dll`, "", uint16(7))
	f.Fuzz(func(t *testing.T, platform, typ, value, function, module, file, line string, shape uint16) {
		event := func() *normalize.Event {
			frame := normalize.Frame{Function: function, Module: module, Filename: file, AbsPath: file, ContextLine: line, InApp: shape&1 != 0, Mapped: shape&2 != 0}
			e := &normalize.Event{Event: schemas.Event{Platform: platform, Level: typ, Culprit: function}, Message: value, Template: line}
			n := int(shape >> 2 & 7)
			for i := range n {
				e.Exceptions = append(e.Exceptions, normalize.Exception{
					Type: typ, Value: value, Module: module, Synthetic: shape>>5&1 != 0, Frames: []normalize.Frame{frame, frame, {Function: function}},
					// Trees that fit together, and all that do not.
					Mechanism: normalize.Mechanism{ExceptionID: int(shape>>6&3) * i, ParentID: i - int(shape>>8&3), IsExceptionGroup: shape>>(10+uint(i))&1 != 0},
				})
			}
			if n == 0 {
				e.Frames = []normalize.Frame{frame}
			}
			if shape>>15 != 0 {
				e.ClientFingerprint = []string{value, "{{ default }}", "{{ " + typ + " }}"}
			}
			return e
		}
		g := fuzzed
		r := g.Of(event())
		if again := g.Of(event()); again.Hashes[0] != r.Hashes[0] {
			t.Fatal("not the same twice")
		}
		if tree := r.Tree.AppendJSON(nil); !json.Valid(tree) {
			t.Fatalf("no JSON: %s", tree)
		}
		r.Tree.Lines()
	})
}

var fuzzed = func() *Grouper {
	g, err := New(Config{Enhancements: "function:a* max-frames=1 invert-stacktrace=1\n[ module:shop* ] | app:yes -group", Secondary: version1})
	if err != nil {
		panic(err)
	}
	return g
}()
