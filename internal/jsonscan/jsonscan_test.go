package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestEndsArePastThePiece(t *testing.T) {
	for _, c := range []struct {
		name string
		scan func([]byte, int) int
		in   string
		at   int
		want int
	}{
		{"space", Space, " \t\r\n1", 0, 4},
		{"space of nothing", Space, "", 0, 0},
		{"text", Text, `x"ab"y`, 1, 5},
		{"text of more than eight", Text, `"` + strings.Repeat("a", 21) + `\"b",`, 0, 26},
		{"text that does not end", Text, `"abc`, 0, -1},
		{"text that ends in a backslash", Text, `"abc\`, 0, -1},
		{"text with a control character", Text, "\"a\nb\"", 0, -1},
		{"text with a bad escape", Text, `"\x41"`, 0, -1},
		{"text with a bad code", Text, `"\u12g4"`, 0, -1},
		{"text with half a character", Text, `"\ud83d"`, 0, 8},
		{"whole text", WholeText, `"\u00e9"`, 0, 8},
		{"whole text refuses half a character", WholeText, `"\uD83D"`, 0, -1},
		{"whole text refuses a pair", WholeText, `"\ud83d\ude00"`, 0, -1},
		{"number", Number, "-12.5e+3,", 0, 8},
		{"number with a zero before it", Number, "012", 0, 1},
		{"number of nothing", Number, "", 0, -1},
		{"number without digits", Number, "-", 0, -1},
		{"number without a fraction", Number, "1.", 0, -1},
		{"number without an exponent", Number, "1e", 0, -1},
		{"literal", Literal, "[null]", 1, 5},
		{"no literal", Literal, "nul", 0, -1},
	} {
		if got := c.scan([]byte(c.in), c.at); got != c.want {
			t.Errorf("%s: %q at %d ends at %d, want %d", c.name, c.in, c.at, got, c.want)
		}
	}
}

// What encoding/json takes as one string, number or literal, is taken here to its
// end, and nothing else is.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`"a"`, `"\u00e9\n"`, "1", "-0.5e9", "true", "nul", `"`, "01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || strings.ContainsRune(" \t\r\n{[", rune(data[0])) || strings.ContainsRune(" \t\r\n", rune(data[len(data)-1])) {
			return
		}
		var end int
		switch c := data[0]; {
		case c == '"':
			end = Text(data, 0)
		case c == '-' || c >= '0' && c <= '9':
			end = Number(data, 0)
		default:
			end = Literal(data, 0)
		}
		if got, want := end == len(data), json.Valid(data); got != want {
			t.Fatalf("%q: one piece: %v, valid for encoding/json: %v", data, got, want)
		}
	})
}
