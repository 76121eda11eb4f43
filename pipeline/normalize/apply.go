package normalize

import (
	"context"
	"fmt"
	"strings"

	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/pipeline/symbolicate"
)

// maxDebugIDs is how many maps an event may name.
const maxDebugIDs = 1000

// Symbolicate puts what source maps tell into the event and its document, for
// JavaScript's frames that have a file to ask for. A stack as it was stays under
// raw_stacktrace; title and culprit follow. An error is one that time may heal.
func (n *Normalizer) Symbolicate(ctx context.Context, frames symbolicate.Frames, project uint64) error {
	e := n.e
	if e.Platform != "javascript" && e.Platform != "node" {
		return nil
	}
	r := symbolicate.Request{Project: project, Release: e.Release, Dist: e.Dist, DebugIDs: n.debugIDs()}
	changed := false
	for from := 0; from < len(n.refs); {
		to := from
		for to < len(n.refs) && n.refs[to].stack == n.refs[from].stack {
			to++
		}
		stack := n.refs[from:to]
		from = to
		r.Frames = r.Frames[:0]
		ask := false
		for _, ref := range stack {
			f := ref.frame
			path := or(f.AbsPath, f.Filename)
			ask = ask || f.Line > 0 && (mappable(path) || r.DebugIDs[path] != "")
			r.Frames = append(r.Frames, symbolicate.Frame{AbsPath: path, Line: f.Line, Column: f.Column, Function: f.Function})
		}
		if !ask || n.isMapped(stack) {
			continue
		}
		results, err := frames.Resolve(ctx, r)
		if err != nil {
			return fmt.Errorf("cannot find the source of %d frames of event %s: %w", len(stack), e.ID, err)
		}
		changed = n.apply(stack, results) || changed
	}
	if changed {
		n.headline(&fields{culprit: n.doc.Root().Get("culprit")})
	}
	return nil
}

// isMapped tells a stack that was symbolicated before.
func (n *Normalizer) isMapped(stack []frameRef) bool {
	for _, ref := range stack {
		if ref.node.Get("data").Get("symbolicated") != nil {
			return true
		}
	}
	return false
}

// debugIDs are the source maps that the event names, by the file that was run.
func (n *Normalizer) debugIDs() map[string]string {
	var ids map[string]string
	for c := n.e.debug.Get("images").First(); c != nil && len(ids) < maxDebugIDs; c = c.Next() {
		if c.Get("type").Scalar() != "sourcemap" {
			continue
		}
		if file, id := c.Get("code_file").Scalar(), c.Get("debug_id").Scalar(); file != "" && id != "" {
			if ids == nil {
				ids = make(map[string]string)
			}
			ids[file] = id
		}
	}
	return ids
}

func mappable(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") || strings.HasPrefix(path, "app:")
}

// apply puts results into the frames of one stack, and tells whether there were any.
func (n *Normalizer) apply(stack []frameRef, results []symbolicate.Result) (changed bool) {
	for i, r := range results[:min(len(results), len(stack))] {
		ref := stack[i]
		f := ref.frame
		if !r.Found {
			if r.Reason != "" {
				n.child(ref.node, "data").Set("symbolication", n.doc.String(cut(r.Reason, maxShort)))
			}
			continue
		}
		if !changed {
			changed = true
			n.keepRaw(n.stacks[ref.stack])
		}
		f.Mapped = true
		f.Filename, f.Line, f.Column, f.ContextLine = cut(r.Source, maxType), r.Line, r.Column, cut(r.ContextLine, maxLineBytes)
		ref.node.Set("filename", n.doc.String(f.Filename))
		ref.node.Set("lineno", n.doc.Int(int64(r.Line)))
		ref.node.Set("colno", n.doc.Int(int64(r.Column)))
		if r.Function != "" {
			f.Function = cut(r.Function, maxType)
			ref.node.Set("function", n.doc.String(f.Function))
		}
		if f.ContextLine != "" || len(r.Pre)+len(r.Post) > 0 {
			ref.node.Set("context_line", n.doc.String(f.ContextLine))
			ref.node.Set("pre_context", n.strings(r.Pre))
			ref.node.Set("post_context", n.strings(r.Post))
		}
		n.child(ref.node, "data").Set("symbolicated", n.doc.Bool(true))
		switch {
		case r.InApp != nil:
			f.InApp = *r.InApp
		case f.OrigInApp < 0:
			source := *f
			source.AbsPath = f.Filename
			f.InApp = inAppOf(n.e.Platform, &source)
		}
	}
	return changed
}

// keepRaw notes a stack as it was, whose frames are bounded already.
func (n *Normalizer) keepRaw(stack *document.Node) {
	holder := n.holder(stack)
	if holder == nil || holder.Get("raw_stacktrace") != nil {
		return
	}
	var text document.Document
	raw, err := text.Parse(stack.AppendJSON(nil))
	if err == nil {
		holder.Set("raw_stacktrace", n.graft(raw))
	}
}

// graft copies a tree of another document.
func (n *Normalizer) graft(v *document.Node) *document.Node {
	switch {
	case v.Is('{') && !v.Opaque():
		o := n.doc.Object()
		for c := v.First(); c != nil; c = c.Next() {
			o.Set(c.Key(), n.graft(c))
		}
		return o
	case v.Is('[') && !v.Opaque():
		l := n.doc.Array()
		for c := v.First(); c != nil; c = c.Next() {
			l.Append(n.graft(c))
		}
		return l
	}
	return n.doc.Copy(v)
}

// holder is the exception or thread of a stack.
func (n *Normalizer) holder(stack *document.Node) *document.Node {
	for _, name := range [...]string{"exception", "threads"} {
		for v := n.doc.Root().Get(name).Get("values").First(); v != nil; v = v.Next() {
			if v.Get("stacktrace") == stack {
				return v
			}
		}
	}
	return nil
}

func (n *Normalizer) strings(lines []string) *document.Node {
	l := n.doc.Array()
	for _, s := range lines[:min(len(lines), maxLines)] {
		l.Append(n.doc.String(cut(s, maxLineBytes)))
	}
	return l
}

// AppendJSON appends the document that is kept: as it was normalised, with what
// grouping and symbolication have made of the event since. It is at most
// [MaxKeptBytes] long.
func (n *Normalizer) AppendJSON(dst []byte) []byte {
	e, root := n.e, n.doc.Root()
	for _, ref := range n.refs {
		n.writeFrame(ref)
	}
	root.Set("event_id", n.doc.String(e.ID.String()))
	root.Set("type", n.doc.String(kind(e)))
	root.Set("title", n.doc.String(e.Title))
	root.Set("culprit", n.doc.String(e.Culprit))
	n.putMeta(root)
	from := len(dst)
	dst = root.AppendJSON(dst)
	for _, name := range [...]string{"extra", "breadcrumbs", "vars", "debug_meta", "modules", "request", "context", "threads", "unknown", "exception"} {
		if len(dst)-from <= MaxKeptBytes {
			break
		}
		n.shed(root, name)
		n.putMeta(root)
		dst = root.AppendJSON(dst[:from])
	}
	return dst
}

func (n *Normalizer) putMeta(root *document.Node) {
	if n.meta.Len() > 0 {
		root.Set("_meta", n.doc.Copy(n.meta))
	} else {
		root.Delete("_meta")
	}
}

// shed takes out what an event that is too large can best do without.
func (n *Normalizer) shed(root *document.Node, what string) {
	switch what {
	case "vars", "context":
		for _, name := range [...]string{"exception", "threads"} {
			for v := root.Get(name).Get("values").First(); v != nil; v = v.Next() {
				for _, stack := range [...]string{"stacktrace", "raw_stacktrace"} {
					for f := v.Get(stack).Get("frames").First(); f != nil; f = f.Next() {
						if what == "vars" {
							f.Delete("vars")
							continue
						}
						f.Keep(func(c *document.Node) bool {
							return !c.Named("pre_context") && !c.Named("post_context") && !c.Named("data")
						})
					}
				}
			}
		}
	case "unknown":
		root.Keep(func(c *document.Node) bool { return isField(c.Name()) })
	case "exception": // what is left then are one stack and names
		n.meta = nil
		for _, name := range [...]string{"exception", "contexts", "tags", "user", "csp", "hpkp", "expectct", "expectstaple", "nel", "errors"} {
			if v := root.Get(name); v.Size() > MaxKeptBytes/8 {
				v.Become(n.doc.Null())
			}
		}
		return
	default:
		if v := root.Get(what); v != nil {
			v.Become(n.doc.Null())
		}
	}
	n.gone(rootAt(what), 1)
}

// writeFrame writes what was found about a frame where it differs.
func (n *Normalizer) writeFrame(ref frameRef) {
	f := ref.frame
	v := ref.node.Get("in_app")
	if is, told := parseBool(v); !told || is != f.InApp || !v.Is('t') && !v.Is('f') {
		ref.node.Set("in_app", n.doc.Bool(f.InApp))
	}
	own := int8(0)
	if f.InApp {
		own = 1
	}
	if f.OrigInApp != own {
		n.child(ref.node, "data").Set("orig_in_app", n.doc.Int(int64(f.OrigInApp)))
	}
	if f.Category != "" {
		n.child(ref.node, "data").Set("category", n.doc.String(cut(f.Category, maxShort)))
	}
}
