package document

import "github.com/hoptrace/hoptrace/internal/jsonscan"

// read is the fast way to read one JSON value. It takes nothing that readSlowly
// would refuse or would make another tree of (FuzzDocument compares them).
func (d *Document) read(data []byte) (root *Node, ok bool) {
	d.stack = d.stack[:0]
	var top *Node
	name := ""
	i := 0
	for {
		// A value begins here, or an empty object or array ends.
		i = jsonscan.Space(data, i)
		if i == len(data) || d.used >= MaxNodes {
			return nil, false
		}
		c := data[i]
		begin := i
		n := d.node(Kind(c))
		n.name, name = name, ""
		if top != nil {
			top.add(n)
		} else {
			root = n
		}
		switch {
		case c == '"':
			if i = jsonscan.WholeText(data, i); i < 0 {
				return nil, false
			}
			n.raw = str(data[begin:i])
		case c == '{' || c == '[':
			if len(d.stack) >= MaxDepth-1 {
				return nil, false
			}
			i = jsonscan.Space(data, i+1)
			if i == len(data) {
				return nil, false
			}
			if data[i] == c+2 { // the closing one of either
				i++
				break
			}
			d.stack = append(d.stack, n)
			top = n
			if c == '{' {
				if name, i = member(data, i); i < 0 {
					return nil, false
				}
			}
			continue
		case c == '-' || c >= '0' && c <= '9':
			if i = jsonscan.Number(data, i); i < 0 {
				return nil, false
			}
			n.kind, n.raw = '0', str(data[begin:i])
		default:
			if i = jsonscan.Literal(data, i); i < 0 {
				return nil, false
			}
			n.raw = str(data[begin:i])
		}
		// A value has ended, and with it perhaps what it lies in.
		for {
			i = jsonscan.Space(data, i)
			if top == nil {
				return root, i == len(data)
			}
			if i == len(data) {
				return nil, false
			}
			c := data[i]
			i++
			if c == ',' {
				if top.kind == '{' {
					if name, i = member(data, jsonscan.Space(data, i)); i < 0 {
						return nil, false
					}
				}
				break
			}
			if c != byte(top.kind)+2 {
				return nil, false
			}
			d.stack = d.stack[:len(d.stack)-1]
			top = nil
			if len(d.stack) > 0 {
				top = d.stack[len(d.stack)-1]
			}
		}
	}
}

// member reads a member's name and the colon; next is where its value may begin,
// negative when there is no such thing.
func member(data []byte, i int) (name string, next int) {
	begin := i
	if i = jsonscan.WholeText(data, i); i < 0 {
		return "", -1
	}
	name = canonical(str(data[begin:i]))
	if i = jsonscan.Space(data, i); i == len(data) || data[i] != ':' {
		return "", -1
	}
	return name, i + 1
}
