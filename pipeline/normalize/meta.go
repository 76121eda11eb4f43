package normalize

import (
	"strconv"

	"github.com/hoptrace/hoptrace/pipeline/document"
)

// path is a place in the document, from the root. An element of a list has no
// key.
type path struct {
	up    *path
	key   string
	index int
}

func (p *path) at(key string) path { return path{up: p, key: key} }
func (p *path) element(i int) path { return path{up: p, index: i} }
func rootAt(key string) path       { return path{key: key} }
func (p *path) name() string {
	if p.key == "" {
		return strconv.Itoa(p.index)
	}
	return p.key
}

// maxMeta bounds _meta. What is cut when it is full is cut without a note.
const maxMeta = 128 << 10

// What one note takes at most besides the names on its way.
const (
	remarkBytes = 160
	nameBytes   = 8 // quotes, colon, braces
)

// takeMeta takes what earlier stations noted out of the document.
func (n *Normalizer) takeMeta(v *document.Node) {
	n.meta, n.metaSize = nil, 0
	if size := v.Size(); v.Is('{') && size <= maxMeta {
		n.meta, n.metaSize = n.doc.Copy(v), size
	}
}

// note gives the object that tells about a place: the one under "". It is nil
// when there is no room.
func (n *Normalizer) note(p *path) *document.Node {
	size := remarkBytes
	for q := p; q != nil; q = q.up {
		size += len(q.name()) + nameBytes
	}
	if n.metaSize+size > maxMeta {
		return nil
	}
	n.metaSize += size
	if n.meta == nil {
		n.meta = n.doc.Object()
	}
	return n.child(n.metaNode(p, true), "")
}

// metaNode is the object that holds the notes of a place and below.
func (n *Normalizer) metaNode(p *path, make bool) *document.Node {
	if p == nil || n.meta == nil {
		return n.meta
	}
	up := n.metaNode(p.up, make)
	if make {
		return n.child(up, p.name())
	}
	return up.Get(p.name())
}

func (n *Normalizer) child(of *document.Node, key string) *document.Node {
	c := of.Get(key)
	if !c.Is('{') || c.Opaque() {
		of.Set(key, n.doc.Object())
		c = of.Get(key)
	}
	return c
}

func (n *Normalizer) list(of *document.Node, key string) *document.Node {
	c := of.Get(key)
	if !c.Is('[') || c.Opaque() {
		of.Set(key, n.doc.Array())
		c = of.Get(key)
	}
	return c
}

// maxRemarks bounds the notes about one place.
const maxRemarks = 8

// cutRemark notes that a text was had bytes long, and that what is now from
// from to to stands for the rest.
func (n *Normalizer) cutRemark(at path, had, from, to int) {
	n.remark(at, had, "s", int64(from), int64(to))
}

// gone notes that something of that size was removed, or a list shortened.
func (n *Normalizer) gone(at path, had int) { n.remark(at, had, "x") }

func (n *Normalizer) remark(at path, had int, kind string, at2 ...int64) {
	note := n.note(&at)
	if note == nil {
		return
	}
	if note.Get("len") == nil {
		note.Set("len", n.doc.Int(int64(had)))
	}
	rem := n.list(note, "rem")
	if rem.Len() >= maxRemarks {
		return
	}
	one := n.doc.Array()
	one.Append(n.doc.String("!limit"))
	one.Append(n.doc.String(kind))
	for _, v := range at2 {
		one.Append(n.doc.Int(v))
	}
	rem.Append(one)
}

// fault notes an error about a place.
func (n *Normalizer) fault(at path, reason string) {
	note := n.note(&at)
	if note == nil {
		return
	}
	if errs := n.list(note, "err"); errs.Len() < maxRemarks {
		errs.Append(n.doc.String(reason))
	}
}

// invalid takes a value out that is not what it should be.
func (n *Normalizer) invalid(v *document.Node, at path, reason string) {
	n.fault(at, reason)
	v.Become(n.doc.Null())
}

// keep leaves the elements of a list for which want is true; the notes about
// them follow.
func (n *Normalizer) keep(list *document.Node, at path, want func(i int, v *document.Node) bool) {
	notes := n.metaNode(&at, false)
	var moved map[string]string
	i, kept, all := -1, 0, true
	list.Keep(func(v *document.Node) bool {
		i++
		if !want(i, v) {
			all = false
			return false
		}
		if notes != nil {
			if moved == nil {
				moved = make(map[string]string)
			}
			moved[strconv.Itoa(i)] = strconv.Itoa(kept)
		}
		kept++
		return true
	})
	if all || notes == nil {
		return
	}
	notes.Keep(func(c *document.Node) bool {
		if c.Name() == "" {
			return true
		}
		to, is := moved[c.Name()]
		if is {
			c.Rename(to)
		}
		return is
	})
}

// ends leaves at most most elements of a list: first ones and last ones.
func (n *Normalizer) ends(list *document.Node, at path, first, last int) {
	had := list.Len()
	if had+list.Dropped() <= first+last {
		return
	}
	n.keep(list, at, func(i int, _ *document.Node) bool { return i < first || i >= had-last })
	n.gone(at, had+list.Dropped())
}

// objects leaves the objects of a list.
func (n *Normalizer) objects(list *document.Node, at path) {
	for v := list.First(); v != nil; v = v.Next() {
		if !v.Is('{') || v.Opaque() {
			n.keep(list, at, func(_ int, v *document.Node) bool { return v.Is('{') && !v.Opaque() })
			return
		}
	}
}

// values gives the list of objects that stands for a field which comes as
// {"values": [...]}, as [...] or as one object, and gives it the first form. It
// is nil when there is none.
func (n *Normalizer) values(v *document.Node, at path) (*document.Node, path) {
	below := path{up: n.keepPath(at), key: "values"}
	switch {
	case v.Is('{') && !v.Opaque():
		if list := v.Get("values"); list != nil {
			if !list.Is('[') || list.Opaque() {
				if !list.Is('n') {
					n.invalid(list, below, "invalid_data")
				}
				return nil, below
			}
			if v.Len() > 1 {
				v.Keep(func(c *document.Node) bool { return c == list })
			}
			n.objects(list, below)
			return list, below
		}
		if v.Len() == 0 {
			return nil, below
		}
		one := n.doc.Copy(v)
		list := n.doc.Array()
		list.Append(one)
		n.wrapMeta(at, "values", "0")
		v.Become(n.doc.Object())
		v.Set("values", list)
		return v.Get("values"), below
	case v.Is('[') && !v.Opaque():
		list := n.doc.Copy(v)
		n.wrapMeta(at, "values")
		v.Become(n.doc.Object())
		v.Set("values", list)
		list = v.Get("values")
		n.objects(list, below)
		return list, below
	case v == nil || v.Is('n'):
	default:
		n.invalid(v, at, "invalid_data")
	}
	return nil, below
}

// keepPath gives a place a home beyond the call. Paths that are built in loops
// live here: the compiler would give each a place of its own on the heap.
func (n *Normalizer) keepPath(at path) *path {
	if len(n.paths) == cap(n.paths) {
		n.paths = make([]path, 0, max(2*cap(n.paths), 512)) // those handed out stay where they are
	}
	n.paths = append(n.paths, at)
	return &n.paths[len(n.paths)-1]
}

// wrapMeta moves the notes below a place further down.
func (n *Normalizer) wrapMeta(at path, keys ...string) {
	notes := n.metaNode(&at, false)
	if notes == nil {
		return
	}
	inner := n.doc.Copy(notes)
	for i := len(keys) - 1; i >= 0; i-- {
		outer := n.doc.Object()
		outer.Set(keys[i], inner)
		n.metaSize += len(keys[i]) + nameBytes
		inner = outer
	}
	notes.Become(inner)
}

// moveMeta moves the notes about a field of the root to another one.
func (n *Normalizer) moveMeta(from, to string) {
	if notes := n.meta.Get(from); notes != nil {
		if n.meta.Get(to) == nil {
			n.meta.Set(to, n.doc.Copy(notes))
		}
		n.meta.Delete(from)
	}
}
