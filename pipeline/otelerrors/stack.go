package otelerrors

import (
	"path"
	"strconv"
	"strings"
)

// Bounds of a stack's text.
const (
	maxStackBytes = 64 << 10
	maxFrames     = 250
	maxCauses     = 20
)

// exception is one of a chain, as its text tells it.
type exception struct {
	Type, Value, Module string
	Frames              []frame // the outermost caller first
}

// frame is one call.
type frame struct {
	Function string
	Module   string
	File     string // as written
	Line     int
	Column   int
	Context  string // the line of source, where the language prints it
}

// parseStack reads the text of a stack trace in the form of a language (the
// attribute telemetry.sdk.language): the chain of exceptions, the oldest cause
// first, the last of which is the one that was recorded. A form that is not known
// is tried as all known ones; text that is none gives no frames.
func parseStack(language, text string) []exception {
	if len(text) > maxStackBytes {
		text = text[:maxStackBytes]
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	lines := strings.Split(text, "\n")
	switch language {
	case "go":
		return one(goFrames(lines))
	case "java", "kotlin", "scala":
		return javaChain(lines)
	case "python":
		return pythonChain(lines)
	case "nodejs", "webjs", "javascript":
		return one(jsFrames(lines))
	case "ruby":
		return one(rubyFrames(lines))
	case "php":
		return one(phpFrames(lines))
	case "dotnet":
		return one(dotnetFrames(lines))
	}
	var best []exception
	for _, known := range []string{"go", "java", "python", "nodejs", "ruby", "php", "dotnet"} {
		if got := parseStack(known, text); count(got) > count(best) {
			best = got
		}
	}
	return best
}

func count(chain []exception) (n int) {
	for i := range chain {
		n += len(chain[i].Frames)
	}
	return n
}

func one(frames []frame) []exception { return []exception{{Frames: frames}} }

// outermostFirst turns frames around and keeps the innermost of too many.
func outermostFirst(frames []frame) []frame {
	if len(frames) > maxFrames {
		frames = frames[:maxFrames]
	}
	out := make([]frame, len(frames))
	for i := range frames {
		out[len(frames)-1-i] = frames[i]
	}
	return out
}

// goFrames reads what debug.Stack and runtime/debug print: a line with the function and
// its arguments, then one with the place.
func goFrames(lines []string) []frame {
	var out []frame
	for i := 0; i+1 < len(lines); i++ {
		place := lines[i+1]
		if !strings.HasPrefix(place, "\t") {
			continue
		}
		call := strings.TrimPrefix(lines[i], "created by ")
		call, _, _ = strings.Cut(call, " in goroutine ")
		place, _, _ = strings.Cut(strings.TrimSpace(place), " ") // +0x1d
		file, line := placeOf(place)
		if file == "" || call == "" {
			continue
		}
		f := frame{File: file, Line: line}
		f.Module, f.Function = goFunction(call)
		out = append(out, f)
		i++
	}
	return outermostFirst(out)
}

// goFunction cuts "shop/pay.(*Client).Charge(0xc000…)" into package and function.
func goFunction(call string) (module, function string) {
	if n := len(call); n > 0 && call[n-1] == ')' { // the arguments: the last bracket that is opened at the end
		depth := 0
		for i := n - 1; i >= 0; i-- {
			if call[i] == ')' {
				depth++
			} else if call[i] == '(' {
				if depth--; depth == 0 {
					call = call[:i]
					break
				}
			}
		}
	}
	slash := strings.LastIndexByte(call, '/')
	dot := strings.IndexByte(call[slash+1:], '.')
	if dot < 0 {
		return "", call
	}
	dot += slash + 1
	return strings.ReplaceAll(call[:dot], "%2e", "."), call[dot+1:]
}

// placeOf reads "file:12" and "file:12:7".
func placeOf(s string) (file string, line int) {
	file, line, _ = fullPlaceOf(s)
	return file, line
}

func fullPlaceOf(s string) (file string, line, column int) {
	number := func() (int, bool) {
		i := strings.LastIndexByte(s, ':')
		if i <= 0 {
			return 0, false
		}
		n, err := strconv.Atoi(s[i+1:])
		if err != nil || n < 0 {
			return 0, false
		}
		s = s[:i]
		return n, true
	}
	last, ok := number()
	if !ok {
		return "", 0, 0
	}
	if before, ok := number(); ok {
		return s, before, last
	}
	return s, last, 0
}

// javaChain reads what Throwable.printStackTrace prints.
func javaChain(lines []string) []exception {
	var chain []exception // as printed: the recorded one first
	var frames []frame
	head := ""
	skip := false // within a suppressed exception
	end := func() {
		if head == "" && len(frames) == 0 || len(chain) >= maxCauses {
			return
		}
		x := exception{Frames: outermostFirst(frames)}
		x.Type, x.Value, _ = strings.Cut(head, ": ")
		x.Type = strings.TrimSpace(x.Type)
		if i := strings.LastIndexByte(x.Type, '.'); i >= 0 {
			x.Module, x.Type = x.Type[:i], x.Type[i+1:]
		}
		chain = append(chain, x)
		frames = nil
	}
	for i, line := range lines {
		t := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "Caused by: "):
			end()
			head, skip = strings.TrimPrefix(line, "Caused by: "), false
		case strings.HasPrefix(t, "Suppressed: "), strings.HasPrefix(t, "Caused by: "):
			skip = true
		case strings.HasPrefix(t, "at ") && !skip:
			if f, ok := javaFrame(t[3:]); ok {
				frames = append(frames, f)
			}
		case i == 0:
			head = strings.TrimPrefix(t, "Exception in thread ")
			if strings.HasPrefix(head, `"`) {
				_, head, _ = strings.Cut(head[1:], `" `)
			}
		}
	}
	end()
	for i, j := 0, len(chain)-1; i < j; i, j = i+1, j-1 {
		chain[i], chain[j] = chain[j], chain[i]
	}
	return chain
}

// javaFrame reads "module/pkg.Class.method(File.java:12)".
func javaFrame(s string) (f frame, ok bool) {
	call, place, ok := strings.Cut(s, "(")
	if !ok || !strings.HasSuffix(place, ")") {
		return f, false
	}
	if place = strings.TrimSuffix(place, ")"); place != "Native Method" && place != "Unknown Source" && strings.ContainsAny(place, " /") {
		return f, false // another language's
	}
	if i := strings.LastIndexByte(call, '/'); i >= 0 { // loader and module
		call = call[i+1:]
	}
	i := strings.LastIndexByte(call, '.')
	if i < 0 {
		return f, false
	}
	f.Module, f.Function = call[:i], call[i+1:]
	if file, line := placeOf(place); file != "" {
		f.File, f.Line = file, line
	} else if place != "Native Method" && place != "Unknown Source" {
		f.File = place
	}
	return f, true
}

// pythonChain reads what traceback.format_exc prints.
func pythonChain(lines []string) []exception {
	var chain []exception
	var frames []frame
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, `  File "`):
			file, rest, ok := strings.Cut(line[len(`  File "`):], `", line `)
			if !ok {
				continue
			}
			number, function, _ := strings.Cut(rest, ", in ")
			n, _ := strconv.Atoi(strings.TrimSpace(number))
			f := frame{File: file, Line: n, Function: strings.TrimSpace(function), Module: pythonModule(file)}
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "    ") && !strings.HasPrefix(lines[i+1], `  File "`) {
				f.Context = strings.TrimSpace(lines[i+1])
				i++
			}
			frames = append(frames, f)
		case strings.HasPrefix(line, "Traceback "):
			frames = nil
		case line != "" && line[0] != ' ' && len(frames) > 0 && len(chain) < maxCauses:
			x := exception{Frames: frames}
			x.Type, x.Value, _ = strings.Cut(line, ": ")
			if i := strings.LastIndexByte(x.Type, '.'); i >= 0 {
				x.Module, x.Type = x.Type[:i], x.Type[i+1:]
			}
			if len(x.Frames) > maxFrames {
				x.Frames = x.Frames[len(x.Frames)-maxFrames:]
			}
			chain = append(chain, x)
			frames = nil
		}
	}
	if len(frames) > 0 && len(chain) == 0 {
		return one(frames)
	}
	return chain
}

func pythonModule(file string) string {
	if strings.HasPrefix(file, "<") {
		return ""
	}
	return strings.TrimSuffix(path.Base(file), ".py")
}

// jsFrames reads the stacks of V8 ("at f (file:1:2)") and of Firefox and Safari
// ("f@file:1:2").
func jsFrames(lines []string) []frame {
	var out []frame
	for _, line := range lines {
		t := strings.TrimSpace(line)
		var f frame
		var place string
		if rest, ok := strings.CutPrefix(t, "at "); ok {
			rest = strings.TrimPrefix(rest, "async ")
			if call, in, ok := strings.Cut(rest, " ("); ok {
				f.Function, place = call, strings.TrimSuffix(in, ")")
				f.Function, _, _ = strings.Cut(f.Function, " [as ")
			} else {
				place = rest
			}
		} else if call, in, ok := strings.Cut(t, "@"); ok && !strings.ContainsAny(call, " :") {
			f.Function, place = call, in
		} else {
			continue
		}
		if f.File, f.Line, f.Column = fullPlaceOf(place); f.File == "" {
			if place != "<anonymous>" && place != "native" {
				continue
			}
			f.File = place
		}
		f.File = strings.TrimPrefix(f.File, "file://")
		out = append(out, f)
	}
	return outermostFirst(out)
}

// rubyFrames reads "file.rb:12:in 'method'", innermost first.
func rubyFrames(lines []string) []frame {
	var out []frame
	for _, line := range lines {
		place, call, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "from "), ":in ")
		if !ok {
			continue
		}
		if file, line := placeOf(place); file != "" {
			call, _, _ = strings.Cut(strings.TrimLeft(call, "`'"), "'")
			out = append(out, frame{File: file, Line: line, Function: call})
		}
	}
	return outermostFirst(out)
}

// phpFrames reads "#0 /app/a.php(12): Class->method()", innermost first.
func phpFrames(lines []string) []frame {
	var out []frame
	for _, line := range lines {
		t := strings.TrimSpace(line)
		if !strings.HasPrefix(t, "#") {
			continue
		}
		_, rest, ok := strings.Cut(t, " ")
		if !ok {
			continue
		}
		place, call, _ := strings.Cut(rest, ": ")
		file, number, ok := strings.Cut(strings.TrimSuffix(place, ")"), "(")
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		call, _, _ = strings.Cut(call, "(")
		out = append(out, frame{File: file, Line: n, Function: call})
	}
	return outermostFirst(out)
}

// dotnetFrames reads "at Name.Space.Class.Method(T x) in /a/b.cs:line 12".
func dotnetFrames(lines []string) []frame {
	var out []frame
	for _, line := range lines {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "at ")
		if !ok {
			continue
		}
		call, place, _ := strings.Cut(rest, " in ")
		call, args, ok := strings.Cut(call, "(")
		if !ok || strings.ContainsAny(args, ":/") { // another language's
			continue
		}
		var f frame
		if i := strings.LastIndexByte(call, '.'); i > 0 {
			f.Module, f.Function = call[:i], call[i+1:]
		} else {
			f.Function = call
		}
		if file, number, ok := strings.Cut(place, ":line "); ok {
			f.File = file
			f.Line, _ = strconv.Atoi(strings.TrimSpace(number))
		}
		out = append(out, f)
	}
	return outermostFirst(out)
}
