package peers

import (
	"fmt"
	"reflect"
	"slices"
)

// natives are the messages of a batch in a client's own types.
type natives[M, H any] struct {
	sent    []M
	headers func(*M) []H
	body    func(*M) any // key and value, comparable by reflect.DeepEqual

	before []M
	arrays [][]H // the whole array behind each message's headers
	copies [][]H
}

// newNatives makes them by build, which gets the header slice to use.
func newNatives[M, H any](b *Batch, header func(Header) H, build func(*Message, []H) M, headers func(*M) []H, body func(*M) any) *natives[M, H] {
	n := &natives[M, H]{headers: headers, body: body}
	for i := range b.Messages {
		m := &b.Messages[i]
		if i > 0 && b.Shared {
			n.sent = append(n.sent, build(m, n.headers(&n.sent[0])))
			continue
		}
		var hs []H
		if len(m.Headers)+m.Spare > 0 {
			hs = make([]H, 0, len(m.Headers)+m.Spare)
			for _, h := range m.Headers {
				hs = append(hs, header(h))
			}
		}
		n.sent = append(n.sent, build(m, hs))
	}
	for i := range n.sent {
		all := n.headers(&n.sent[i])
		all = all[:cap(all)]
		n.arrays, n.copies = append(n.arrays, all), append(n.copies, slices.Clone(all))
	}
	n.before = slices.Clone(n.sent)
	return n
}

func (n *natives[M, H]) changes() (out []string) {
	for i := range n.sent {
		was, is := n.headers(&n.before[i]), n.headers(&n.sent[i])
		switch {
		case len(was) != len(is):
			out = append(out, fmt.Sprintf("message %d has %d headers, had %d", i, len(is), len(was)))
		case len(was) > 0 && &was[0] != &is[0]:
			out = append(out, fmt.Sprintf("message %d has another header slice", i))
		}
		if !reflect.DeepEqual(n.arrays[i], n.copies[i]) {
			out = append(out, fmt.Sprintf("the array behind the headers of message %d was written to", i))
		}
		if !reflect.DeepEqual(n.body(&n.before[i]), n.body(&n.sent[i])) {
			out = append(out, fmt.Sprintf("message %d has another key or value", i))
		}
	}
	return out
}
