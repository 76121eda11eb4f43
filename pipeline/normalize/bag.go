package normalize

import (
	"github.com/hoptrace/hoptrace/pipeline/document"
)

// Bounds of what a program may put in freely.
const (
	maxKey       = 200     // of a name
	maxBagString = 8 << 10 // of one text
)

// bag bounds a value of any form: depth levels of objects and lists, bytes in
// all. What is deeper is taken out; when the bytes are used up texts are cut and
// the rest is left out.
func (n *Normalizer) bag(v *document.Node, at *path, depth, bytes int) {
	if v == nil {
		return
	}
	left := bytes
	switch v.Kind() {
	case '"':
		n.text(v, min(maxBagString, bytes), *at)
	case '{', '[':
		n.pack(v, at, depth, &left)
	}
}

// below is the place of a child: of an element when its index counts.
func (n *Normalizer) below(at *path, c *document.Node, index int) path {
	if c.Keyed() {
		return path{up: at, key: c.Key()}
	}
	return path{up: at, index: index}
}

// least is what a value needs to be worth keeping.
const least = 16

func (n *Normalizer) pack(v *document.Node, at *path, depth int, left *int) {
	if depth == 0 || v.Opaque() {
		if v.Len() == 0 && !v.Opaque() { // an empty one tells nothing and costs nothing
			*left -= 3
			return
		}
		n.gone(*at, max(v.Len(), 1))
		v.Become(n.doc.Null())
		*left -= 5
		return
	}
	*left -= 2
	isObject := v.Is('{')
	had := v.Len() + v.Dropped()
	kept := 0
	for c := v.First(); c != nil; c = c.Next() {
		if *left < least && kept > 0 {
			break
		}
		if isObject {
			if len(c.Name()) > maxKey {
				c.Rename(cut(c.Key(), maxKey/6)) // whatever escapes it takes
			}
			*left -= len(c.Name()) + 4
		}
		switch c.Kind() {
		case '{', '[':
			n.pack(c, n.keepPath(n.below(at, c, kept)), depth-1, left)
		case '"':
			if most := min(maxBagString, max(*left, least)); c.TextBytes() > most {
				if s, _ := c.Text(); len(s) > most {
					n.shorten(c, s, most, n.below(at, c, kept))
				}
			}
			*left -= c.TextBytes() + 3
		default:
			*left -= len(c.Raw()) + 1
		}
		kept++
	}
	if kept == had {
		return
	}
	if isObject {
		i := 0
		v.Keep(func(*document.Node) bool { i++; return i <= kept })
	} else {
		n.keep(v, *at, func(i int, _ *document.Node) bool { return i < kept })
	}
	n.gone(*at, had)
}
