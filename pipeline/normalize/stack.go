package normalize

import (
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
)

// frameRef is a frame in the document and in the event.
type frameRef struct {
	node  *document.Node
	frame *Frame
	stack int // in Normalizer.stacks
}

// maxModules is how many modules are looked through for each frame.
const maxModules = 2000

// exceptions reads exceptions, threads and stacks.
func (n *Normalizer) exceptions(root *document.Node, f *fields) {
	e := n.e
	if e.Platform == "go" && f.modules.Is('{') && f.modules.Len() <= maxModules {
		n.modules = f.modules
	} else {
		n.modules = nil
	}
	list, at := n.values(f.exception, rootAt("exception"))
	threads, threadsAt := n.values(f.threads, rootAt("threads"))
	if f.stacktrace.Is('{') || f.stacktrace.Is('[') {
		n.lone(root, f, list, threads)
		if threads == nil {
			threads, threadsAt = n.values(root.Get("threads"), rootAt("threads"))
		}
	} else if f.stacktrace != nil {
		root.Delete("stacktrace")
	}
	if list != nil {
		n.ends(list, at, MaxExceptions/2, MaxExceptions-MaxExceptions/2)
		e.Exceptions = make([]Exception, list.Len())
		i := 0
		for v := list.First(); v != nil; v = v.Next() {
			n.exception(v, n.keepPath(at.element(i)), &e.Exceptions[i])
			i++
		}
		if i == 0 {
			e.Exceptions = nil
		}
		if i > 0 {
			m := &e.Exceptions[i-1].Mechanism
			switch {
			case m.Told && m.Handled:
				e.Handled = schemas.HandledYes
			case m.Told:
				e.Handled = schemas.HandledNo
			}
		}
	}
	if threads == nil {
		return
	}
	n.ends(threads, threadsAt, MaxThreads/2, MaxThreads-MaxThreads/2)
	telling := tellingThread(threads)
	if id, name := telling.Get("id").Scalar(), telling.Get("name").Scalar(); len(e.Exceptions) == 0 && (id != "" || name != "") {
		e.Thread = Thread{Told: true, ID: cut(id, maxShort), Name: cut(name, maxShort), State: cut(telling.Get("state").Scalar(), maxShort)}
		e.Thread.Crashed, _ = parseBool(telling.Get("crashed"))
		e.Thread.Current, _ = parseBool(telling.Get("current"))
	}
	i := 0
	for v := threads.First(); v != nil; v = v.Next() {
		thread := n.keepPath(threadsAt.element(i))
		i++
		for c := v.First(); c != nil; c = c.Next() {
			below := n.keepPath(thread.at(c.Key()))
			switch c.Name() {
			case "stacktrace":
				if fs := n.stack(c, below, v == telling && len(e.Exceptions) == 0); fs != nil {
					e.Frames = fs
				}
			case "raw_stacktrace":
				n.stack(c, below, false)
			default:
				n.bag(c, below, 4, 4<<10)
			}
		}
	}
}

// lone gives a stack at the root its place: the one exception that has none, or
// a thread.
func (n *Normalizer) lone(root *document.Node, f *fields, list, threads *document.Node) {
	stack := n.doc.Copy(f.stacktrace)
	root.Delete("stacktrace")
	n.meta.Delete("stacktrace")
	if list.Len() == 1 && list.First().Get("stacktrace") == nil {
		list.First().Set("stacktrace", stack)
		return
	}
	if list.Len() > 0 || threads.Len() > 0 && tellingThread(threads).Get("stacktrace") != nil {
		return
	}
	thread := n.doc.Object()
	thread.Set("current", n.doc.Bool(true))
	thread.Set("stacktrace", stack)
	if threads == nil {
		holder := n.doc.Object()
		holder.Set("values", n.doc.Array())
		root.Set("threads", holder)
		threads = root.Get("threads").Get("values")
	}
	threads.Append(thread)
}

// tellingThread is the one that tells about the event: the only one that
// crashed, else the only current one, else the only one.
func tellingThread(threads *document.Node) *document.Node {
	for _, flag := range [...]string{"crashed", "current", ""} {
		var found *document.Node
		several := false
		for v := threads.First(); v != nil; v = v.Next() {
			if is, _ := parseBool(v.Get(flag)); is || flag == "" {
				several = found != nil
				found = v
				if several {
					break
				}
			}
		}
		if found != nil && !several {
			return found
		}
	}
	return nil
}

func (n *Normalizer) exception(v *document.Node, at *path, x *Exception) {
	x.Mechanism = Mechanism{ExceptionID: schemas.Unknown, ParentID: schemas.Unknown}
	for c := v.First(); c != nil; c = c.Next() {
		below := n.keepPath(at.at(c.Key()))
		switch c.Name() {
		case "type":
			x.Type = n.text(c, maxType, *below)
		case "value":
			if c.Is('{') || c.Is('[') { // what was thrown is no text
				c.Become(n.doc.String(cut(string(c.AppendJSON(nil)), maxText)))
			}
			x.Value = n.text(c, maxText, *below)
		case "module":
			x.Module = n.text(c, maxShort, *below)
		case "mechanism":
			n.mechanism(c, below, &x.Mechanism)
			x.Synthetic, _ = parseBool(c.Get("synthetic"))
		case "stacktrace":
			x.Frames = n.stack(c, below, true)
		case "raw_stacktrace":
			n.stack(c, below, false)
		default:
			n.bag(c, below, 3, 1<<10)
		}
	}
	if v.Len() > maxUnknown {
		n.bag(v, at, 20, 256<<10)
	}
}

func (n *Normalizer) mechanism(v *document.Node, at *path, m *Mechanism) {
	if !v.Is('{') || v.Opaque() {
		if !v.Is('n') {
			n.invalid(v, *at, "invalid_data")
		}
		return
	}
	m.Type = cut(v.Get("type").Scalar(), maxShort)
	m.Handled, m.Told = parseBool(v.Get("handled"))
	m.IsExceptionGroup, _ = parseBool(v.Get("is_exception_group"))
	if id, ok := parseInt(v.Get("exception_id")); ok && id >= 0 && id < 1<<31 {
		m.ExceptionID = int(id)
	}
	if id, ok := parseInt(v.Get("parent_id")); ok && id >= 0 && id < 1<<31 {
		m.ParentID = int(id)
	}
	n.bag(v, at, 5, 4<<10)
}

// stack bounds a stack and, when wanted, reads its frames.
func (n *Normalizer) stack(v *document.Node, at *path, wanted bool) []Frame {
	switch {
	case v.Is('n'):
		return nil
	case v.Opaque() || !v.Is('{') && !v.Is('['):
		n.invalid(v, *at, "invalid_data")
		return nil
	case v.Is('['): // frames alone
		frames := n.doc.Copy(v)
		n.wrapMeta(*at, "frames")
		v.Become(n.doc.Object())
		v.Set("frames", frames)
	}
	list := v.Get("frames")
	below := n.keepPath(at.at("frames"))
	for c := v.First(); c != nil; c = c.Next() {
		if c != list {
			n.bag(c, n.keepPath(at.at(c.Key())), 2, 1<<10)
		}
	}
	if v.Len() > maxUnknown {
		v.Keep(func(c *document.Node) bool { return c.Named("frames") })
	}
	if list == nil || list.Is('n') {
		return nil
	}
	if !list.Is('[') || list.Opaque() {
		n.invalid(list, *below, "invalid_data")
		return nil
	}
	n.objects(list, *below)
	n.ends(list, *below, MaxFrames/2, MaxFrames-MaxFrames/2)
	var out []Frame
	var scratch Frame
	stack := len(n.stacks)
	if wanted {
		n.stacks = append(n.stacks, v)
		out = make([]Frame, list.Len())
	}
	i := 0
	for c := list.First(); c != nil; c = c.Next() {
		to := &scratch
		if wanted {
			to = &out[i]
			n.refs = append(n.refs, frameRef{c, to, stack})
		} else {
			scratch = Frame{}
		}
		n.frame(c, n.keepPath(below.element(i)), to)
		i++
	}
	if i == 0 {
		return nil
	}
	return out
}

func (n *Normalizer) frame(v *document.Node, at *path, f *Frame) {
	var inApp, data *document.Node
	for c := v.First(); c != nil; c = c.Next() {
		switch c.Name() {
		case "module":
			f.Module = n.text(c, maxShort, at.at("module"))
		case "function":
			f.Function = n.text(c, maxType, at.at("function"))
		case "filename":
			f.Filename = n.text(c, maxType, at.at("filename"))
		case "abs_path":
			f.AbsPath = n.text(c, 2<<10, at.at("abs_path"))
		case "package":
			f.Package = n.text(c, maxType, at.at("package"))
		case "context_line":
			f.ContextLine = n.text(c, 2<<10, at.at("context_line"))
		case "lineno":
			f.Line = n.place(c, at.at("lineno"))
		case "colno":
			f.Column = n.place(c, at.at("colno"))
		case "in_app":
			inApp = c
		case "pre_context", "post_context":
			if c.Is('[') && !c.Opaque() {
				n.lines(c, at)
				continue
			}
			if !c.Is('n') {
				n.invalid(c, at.at(c.Key()), "invalid_data")
			}
		case "vars":
			n.bag(c, n.keepPath(at.at("vars")), 4, 4<<10)
		case "data":
			data = c
			n.bag(c, n.keepPath(at.at("data")), 3, 1<<10)
		default:
			if c.Is('{') || c.Is('[') || c.Is('"') {
				n.bag(c, n.keepPath(at.at(c.Key())), 2, 1<<10)
			}
		}
	}
	if v.Len() > maxUnknown {
		n.bag(v, at, 6, 32<<10)
	}
	is, told := parseBool(inApp)
	f.OrigInApp = -1
	if told {
		f.OrigInApp = 0
		if is {
			f.OrigInApp = 1
		}
	}
	if !told && inApp != nil && !inApp.Is('n') {
		n.invalid(inApp, at.at("in_app"), "invalid_data")
	}
	f.InApp = is
	f.Mapped, _ = parseBool(data.Get("symbolicated"))
	if before, ok := parseInt(data.Get("orig_in_app")); ok && told && before >= -1 && before <= 1 {
		f.OrigInApp = int8(before) // it was judged before
		if !n.in.Anew {
			f.Category = data.Get("category").Scalar()
			return
		}
		f.InApp, told = before == 1, before >= 0
	} else if !n.in.Anew {
		f.Category = data.Get("category").Scalar()
	}
	platform := n.e.Platform
	if p := v.Get("platform"); p != nil {
		platform = or(p.Scalar(), platform)
	}
	if own, sure := n.ownModule(f); sure {
		f.InApp = own
	} else if !told {
		judged := *f
		if f.Mapped {
			judged.AbsPath = f.Filename // of the source
		}
		f.InApp = inAppOf(platform, &judged)
	}
}

// place is a line or a column, zero when not told.
func (n *Normalizer) place(v *document.Node, at path) int {
	i, ok := parseInt(v)
	if !ok || i < 0 || i > 1<<31-1 {
		if !v.Is('n') {
			n.invalid(v, at, "invalid_data")
		}
		return 0
	}
	return int(i)
}

// Bounds of the source around a frame.
const (
	maxLines     = 40
	maxLineBytes = 512
)

func (n *Normalizer) lines(v *document.Node, at *path) {
	long := v.Len() > maxLines
	for c := v.First(); c != nil && !long; c = c.Next() {
		long = !c.Is('"') || c.TextBytes() > maxLineBytes
	}
	if !long {
		return
	}
	below := at.at(v.Key())
	if v.Named("pre_context") {
		n.ends(v, below, 0, maxLines)
	} else {
		n.ends(v, below, maxLines, 0)
	}
	i := 0
	for c := v.First(); c != nil; c = c.Next() {
		n.text(c, maxLineBytes, below.element(i))
		i++
	}
}
