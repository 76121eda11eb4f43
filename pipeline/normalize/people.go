package normalize

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/pipeline/document"
)

// auto stands for the address that the collector saw.
const auto = "{{auto}}"

// user reads who it happened to, and the request, which may tell the address.
func (n *Normalizer) user(root *document.Node, f *fields) {
	e := n.e
	peer := n.request(f.request)
	at := rootAt("user")
	v := f.user
	switch {
	case v == nil || v.Is('n'):
		if peer == "" && !n.inferAddress(f) {
			return
		}
		root.Set("user", n.doc.Object())
		v = root.Get("user")
		f.user = v
	case v.Is('"') || v.Is('0'): // an id alone
		id := n.doc.Copy(v)
		v.Become(n.doc.Object())
		v.Set("id", id)
	case !v.Is('{') || v.Opaque():
		n.invalid(v, at, "invalid_data")
		return
	}
	for c := v.First(); c != nil; c = c.Next() {
		switch c.Name() {
		case "id":
			e.UserID = n.text(c, maxShort, at.at("id"))
		case "username":
			e.UserName = n.text(c, maxShort, at.at("username"))
		case "email":
			e.UserEmail = n.text(c, maxShort, at.at("email"))
		case "name":
			n.text(c, maxShort, at.at("name"))
		}
	}
	ip := v.Get("ip_address")
	given := ip.Scalar()
	told := given
	switch {
	case given == auto || given == "" && n.inferAddress(f):
		told = or(peer, n.in.RemoteAddr)
		if a, ok := address(n.in.RemoteAddr); ok {
			told = a
		}
	case given == "":
		told = peer
	}
	a, ok := address(told)
	switch {
	case ok && a != given:
		v.Set("ip_address", n.doc.String(a))
	case !ok && ip != nil && !ip.Is('n'):
		if given == auto {
			v.Delete("ip_address")
		} else {
			n.invalid(ip, at.at("ip_address"), "invalid_data")
		}
	}
	if ok {
		e.UserIP = a
	}
	n.bag(v, &at, 5, 16<<10)
	for _, who := range [...]struct{ kind, value string }{{"id:", e.UserID}, {"username:", e.UserName}, {"email:", e.UserEmail}, {"ip:", e.UserIP}} {
		if who.value != "" {
			var h xxhash.Digest
			h.Reset()
			_, _ = h.WriteString(who.kind)
			_, _ = h.WriteString(who.value)
			e.UserHash = max(h.Sum64(), 1)
			break
		}
	}
}

// inferAddress tells whether the SDK leaves the address to us.
func (n *Normalizer) inferAddress(f *fields) bool {
	return f.sdk.Get("settings").Get("infer_ip").Scalar() == "auto"
}

// request bounds an HTTP request, and gives the address that its environment tells.
func (n *Normalizer) request(v *document.Node) (peer string) {
	at := rootAt("request")
	if v == nil || v.Is('n') {
		return ""
	}
	if !v.Is('{') || v.Opaque() {
		n.invalid(v, at, "invalid_data")
		return ""
	}
	for c := v.First(); c != nil; c = c.Next() {
		below := n.keepPath(at.at(c.Key()))
		switch c.Name() {
		case "url":
			n.text(c, maxURL, *below)
		case "method":
			if m := n.text(c, 64, *below); m != strings.ToUpper(m) {
				c.Become(n.doc.String(strings.ToUpper(m)))
			}
		case "fragment":
			n.text(c, 1<<10, *below)
		case "query_string":
			if c.Is('"') {
				s, _ := c.Text()
				if len(s) > maxURL {
					n.shorten(c, s, maxURL, *below)
				}
				continue
			}
			n.pairs(c, *below)
		case "headers", "cookies":
			if c.Is('"') && c.Name() == "cookies" {
				n.text(c, maxURL, *below)
				continue
			}
			n.pairs(c, *below)
		case "env":
			if c.Is('{') {
				peer = c.Get("REMOTE_ADDR").Scalar()
			}
			n.bag(c, below, 3, 16<<10)
		case "data":
			n.bag(c, below, 8, 32<<10)
		default:
			n.bag(c, below, 4, 4<<10)
		}
	}
	if v.Len() > maxUnknown {
		n.ends(v, at, maxUnknown, 0)
	}
	if a, ok := address(peer); ok {
		return a
	}
	return ""
}

// pairs gives names and values, which come as an object or a list of pairs, the
// form of a list.
func (n *Normalizer) pairs(v *document.Node, at path) {
	switch {
	case v.Is('n'):
		return
	case v.Opaque() || !v.Is('{') && !v.Is('['):
		n.invalid(v, at, "invalid_data")
		return
	case v.Is('{'):
		out := n.doc.Array()
		i := 0
		notes := n.metaNode(&at, false)
		var moved *document.Node
		for c := v.First(); c != nil; c = c.Next() {
			if notes != nil {
				if told := notes.Get(c.Name()); told != nil {
					if moved == nil {
						moved = n.doc.Object()
					}
					n.child(moved, strconv.Itoa(i)).Set("1", n.doc.Copy(told))
					n.metaSize += 2 * nameBytes
				}
			}
			pair := n.doc.Array()
			pair.Append(n.doc.String(cut(c.Key(), maxKey)))
			pair.Append(n.doc.Copy(c))
			out.Append(pair)
			i++
		}
		if moved != nil {
			notes.Become(moved)
		}
		v.Become(out)
	}
	n.bag(v, &at, 3, 32<<10)
}
