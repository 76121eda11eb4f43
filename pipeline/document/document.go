// Package document is a JSON document that can be changed and written again:
// a tree of nodes over the text that it was read from. What nobody changes is
// written as it came. It knows nothing of what a document means (see package
// normalize).
//
// Sound JSON is read by a scanner that looks at eight bytes of a string at a time
// (read.go). Whatever that one does not take, jsontext, the token reader of the
// standard library's next encoding/json, reads again: it knows what is wrong and
// where, and the bounds of a tree (BenchmarkParse compares the two).
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a tree. What is beyond costs no node and no memory.
const (
	// MaxDepth is how deep nodes go; an object or array below is one opaque node.
	MaxDepth = 64
	// MaxNodes is how many nodes a tree has; what follows is left out.
	MaxNodes = 250_000
)

// Kind is the first byte of a value's text: n, t, f, ", 0, { or [.
type Kind = jsontext.Kind

// Node is one value. A nil node is one that is not there: methods that read
// give nothing.
type Node struct {
	kind    Kind
	opaque  bool // an object or array that was not looked into
	count   int32
	dropped int32 // children that were left out
	name    string
	raw     string // of scalars and opaque nodes: JSON
	first   *Node
	last    *Node
	next    *Node
}

const chunk = 1024 // nodes

// Document is a tree and the memory of its nodes, which the next Parse uses
// again. Strings that it gave stay good: they are parts of the payload, which
// must not be written to.
type Document struct {
	root   *Node
	buf    bytes.Buffer
	dec    jsontext.Decoder
	stack  []*Node
	chunks [][]Node
	used   int // nodes
}

// keptChunks is what a document keeps of its memory for the next.
const keptChunks = 32

// Parse reads one JSON value. It fails with the place of the first fault.
func (d *Document) Parse(payload []byte) (*Node, error) {
	d.Reset()
	if !utf8.Valid(payload) {
		payload = bytes.ToValidUTF8(payload, []byte("\uFFFD"))
	}
	if root, ok := d.read(payload); ok {
		d.root = root
		return root, nil
	}
	d.Reset()
	return d.readSlowly(payload)
}

// readSlowly reads what read does not take: JSON that is broken, deep or very
// large, and text with escaped halves of characters.
func (d *Document) readSlowly(payload []byte) (*Node, error) {
	d.buf = *bytes.NewBuffer(payload)
	d.dec.Reset(&d.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	root, err := d.parse()
	d.buf = bytes.Buffer{}
	if err != nil {
		return nil, d.describe(err)
	}
	d.root = root
	return root, nil
}

// Root is the value that was read last.
func (d *Document) Root() *Node { return d.root }

// Reset lets go of the tree.
func (d *Document) Reset() {
	for i := range d.chunks {
		if from := i * chunk; from < d.used {
			clear(d.chunks[i][:min(chunk, d.used-from)])
		}
	}
	if len(d.chunks) > keptChunks {
		clear(d.chunks[keptChunks:])
		d.chunks = d.chunks[:keptChunks]
	}
	d.root, d.used = nil, 0
}

func (d *Document) describe(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("broken JSON: it ends at byte %d, too early", d.dec.InputOffset())
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at := ""
		if syntax.JSONPointer != "" {
			at = fmt.Sprintf(" (%.200s)", syntax.JSONPointer)
		}
		return fmt.Errorf("broken JSON at byte %d%s: %w", syntax.ByteOffset, at, syntax.Err)
	}
	return fmt.Errorf("broken JSON: %w", err)
}

func (d *Document) parse() (*Node, error) {
	d.stack = d.stack[:0]
	var top, root *Node
	name := ""
	for {
		kind := d.dec.PeekKind()
		if kind == '}' || kind == ']' {
			if _, err := d.dec.ReadToken(); err != nil {
				return nil, err
			}
			d.stack = d.stack[:len(d.stack)-1]
			if len(d.stack) == 0 {
				return root, d.end()
			}
			top = d.stack[len(d.stack)-1]
			continue
		}
		if top != nil && top.kind == '{' && name == "" {
			v, err := d.dec.ReadValue()
			if err != nil {
				return nil, err
			}
			name = canonical(str(v))
			continue
		}
		if top != nil && d.used >= MaxNodes {
			if err := d.dec.SkipValue(); err != nil {
				return nil, err
			}
			top.dropped++
			name = ""
			continue
		}
		n := d.node(kind)
		n.name, name = name, ""
		if (kind == '{' || kind == '[') && len(d.stack) < MaxDepth {
			if _, err := d.dec.ReadToken(); err != nil {
				return nil, err
			}
			if top == nil {
				root = n
			} else {
				top.add(n)
			}
			d.stack = append(d.stack, n)
			top = n
			continue
		}
		v, err := d.dec.ReadValue()
		if err != nil {
			return nil, err
		}
		n.raw, n.opaque = str(v), kind == '{' || kind == '['
		if top == nil {
			return n, d.end()
		}
		top.add(n)
	}
}

// end is nil when nothing but white space follows.
func (d *Document) end() error {
	_, err := d.dec.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return fmt.Errorf("something follows the value, before byte %d", d.dec.InputOffset())
	}
	return err
}

// str reads bytes that are never written to as a string.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// canonical gives a name one form, so that it can be compared as it stands.
func canonical(name string) string {
	if strings.IndexByte(name, '\\') < 0 {
		return name
	}
	return quote(unquote(name))
}

// unquote gives a JSON string's text; what is no character becomes U+FFFD.
func unquote(raw string) string {
	if len(raw) >= 2 && strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	b, _ := jsontext.AppendUnquote(nil, raw) // its error tells about U+FFFD only
	return str(b)
}

func quote(text string) string {
	b, _ := jsontext.AppendQuote(make([]byte, 0, len(text)+2), text) // the same
	return str(b)
}

func (d *Document) node(kind Kind) *Node {
	c := d.used / chunk
	if c == len(d.chunks) {
		d.chunks = append(d.chunks, make([]Node, chunk))
	}
	n := &d.chunks[c][d.used%chunk]
	d.used++
	n.kind = kind
	return n
}

func (n *Node) add(child *Node) {
	if n.last == nil {
		n.first = child
	} else {
		n.last.next = child
	}
	n.last = child
	n.count++
}

// New nodes. They belong to the document and to no object or array yet.

// String makes a string.
func (d *Document) String(text string) *Node {
	n := d.node('"')
	n.raw = quote(text)
	return n
}

// Raw makes a value of JSON text that holds no object or array.
func (d *Document) Raw(json string) *Node {
	n := d.node(Kind(json[0]))
	if c := json[0]; c == '-' || c >= '0' && c <= '9' {
		n.kind = '0'
	}
	n.raw = json
	return n
}

// Int makes a number.
func (d *Document) Int(v int64) *Node { return d.Raw(strconv.FormatInt(v, 10)) }

// Bool makes true or false.
func (d *Document) Bool(v bool) *Node { return d.Raw(strconv.FormatBool(v)) }

// Null makes null.
func (d *Document) Null() *Node { return d.Raw("null") }

// Object makes {}.
func (d *Document) Object() *Node { return d.node('{') }

// Array makes [].
func (d *Document) Array() *Node { return d.node('[') }

// Kind tells what a node is; zero when it is not there.
func (n *Node) Kind() Kind {
	if n == nil {
		return 0
	}
	return n.kind
}

// Is tells whether the node is of a kind.
func (n *Node) Is(k Kind) bool { return n != nil && n.kind == k }

// Opaque tells an object or array that lies too deep to be looked into.
func (n *Node) Opaque() bool { return n != nil && n.opaque }

// Key is the name under which an object holds the node.
func (n *Node) Key() string {
	if n == nil || n.name == "" {
		return ""
	}
	return unquote(n.name)
}

// Name is Key as it is written between the quotes: the same unless it has
// escapes, and for nothing to compare with plain names.
func (n *Node) Name() string {
	if len(n.name) < 2 {
		return ""
	}
	return n.name[1 : len(n.name)-1]
}

// Keyed tells whether an object holds the node.
func (n *Node) Keyed() bool { return n.name != "" }

// Named tells whether the node's name is that.
func (n *Node) Named(key string) bool {
	if len(n.name) == len(key)+2 && n.name[1:len(n.name)-1] == key {
		// A backslash in a name as it stands begins an escape: it is another name.
		return strings.IndexByte(key, '\\') < 0
	}
	return len(n.name) > len(key)+2 && strings.IndexByte(n.name, '\\') >= 0 && unquote(n.name) == key
}

// Len is the number of children.
func (n *Node) Len() int {
	if n == nil {
		return 0
	}
	return int(n.count)
}

// Dropped is how many children were left out while it was read.
func (n *Node) Dropped() int {
	if n == nil {
		return 0
	}
	return int(n.dropped)
}

// First is the first child, Next the sibling after a node.
func (n *Node) First() *Node {
	if n == nil {
		return nil
	}
	return n.first
}

// Next is the sibling after the node, nil after the last.
func (n *Node) Next() *Node {
	if n == nil {
		return nil
	}
	return n.next
}

// Get finds a child of an object by its name: the last one, when there are two.
func (n *Node) Get(key string) *Node {
	if n == nil || n.kind != '{' {
		return nil
	}
	var found *Node
	for c := n.first; c != nil; c = c.next {
		if c.Named(key) {
			found = c
		}
	}
	return found
}

// Text is a string's text; ok is false for what is no string.
func (n *Node) Text() (text string, ok bool) {
	if n == nil || n.kind != '"' {
		return "", false
	}
	return unquote(n.raw), true
}

// TextBytes is an upper bound of the length of a string's text, for the asking.
func (n *Node) TextBytes() int { return max(len(n.raw)-2, 0) }

// Raw is the JSON of a scalar or opaque node as it stands.
func (n *Node) Raw() string {
	if n == nil {
		return ""
	}
	return n.raw
}

// Scalar is the text of a string, number or boolean; "" for all else.
func (n *Node) Scalar() string {
	switch n.Kind() {
	case '"':
		return unquote(n.raw)
	case '0', 't', 'f':
		return n.raw
	}
	return ""
}

// Append adds a child to an array.
func (n *Node) Append(child *Node) {
	child.name, child.next = "", nil
	n.add(child)
}

// Set puts a child under a name, in the place of one that is there.
func (n *Node) Set(key string, child *Node) {
	if old := n.Get(key); old != nil {
		old.Become(child)
		return
	}
	child.name, child.next = quote(key), nil
	n.add(child)
}

// Become makes the node what another one is, at its own place and under its own
// name. The other one must not be used any more.
func (n *Node) Become(other *Node) {
	n.kind, n.opaque, n.count, n.dropped = other.kind, other.opaque, other.count, other.dropped
	n.raw, n.first, n.last = other.raw, other.first, other.last
}

// Copy makes a node that is what another one is, to be put elsewhere. Both
// have the same children: go on with one of them.
func (d *Document) Copy(n *Node) *Node {
	c := d.node(n.kind)
	c.Become(n)
	return c
}

// Rename gives the node another name.
func (n *Node) Rename(key string) { n.name = quote(key) }

// Delete removes every child of that name.
func (n *Node) Delete(key string) {
	n.Keep(func(c *Node) bool { return !c.Named(key) })
}

// Keep removes the children for which keep is false. It is asked in order.
func (n *Node) Keep(keep func(*Node) bool) {
	if n == nil || n.opaque {
		return
	}
	c := n.first
	n.first, n.last, n.count = nil, nil, 0
	for c != nil {
		next := c.next
		if keep(c) {
			c.next = nil
			n.add(c)
		}
		c = next
	}
}

// AppendJSON appends the node's text.
func (n *Node) AppendJSON(dst []byte) []byte {
	if n.opaque || n.kind != '{' && n.kind != '[' {
		return append(dst, n.raw...)
	}
	if n.kind == '{' {
		dst = append(dst, '{')
		for c := n.first; c != nil; c = c.next {
			if c != n.first {
				dst = append(dst, ',')
			}
			dst = append(append(dst, c.name...), ':')
			dst = c.AppendJSON(dst)
		}
		return append(dst, '}')
	}
	dst = append(dst, '[')
	for c := n.first; c != nil; c = c.next {
		if c != n.first {
			dst = append(dst, ',')
		}
		dst = c.AppendJSON(dst)
	}
	return append(dst, ']')
}

// Size is about how long the node's text is.
func (n *Node) Size() int {
	if n == nil {
		return 0
	}
	if n.opaque || n.kind != '{' && n.kind != '[' {
		return len(n.raw)
	}
	size := 2
	for c := n.first; c != nil; c = c.next {
		size += len(c.name) + 2 + c.Size()
	}
	return size
}
