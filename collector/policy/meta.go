package policy

import (
	"bytes"
	"encoding/json"
	"maps"
	"strconv"
)

// writeMeta gives _meta of an object: at the path of each change
//
//	{"": {"rem": [[rule, kind, from, to], …], "len": length before}}
//
// kind is s (another text stands there), x (removed), m (masked) or p (hashed);
// places and lengths count characters. Changes come in the order of the
// document, so one walk writes the tree. The result holds until the next call.
func (p *pass) writeMeta(changes []change) []byte {
	out := p.meta[:0]
	out = append(out, '{')
	var open []step
	fresh := true // the innermost object has no member yet
	for _, c := range changes {
		if len(out) > p.growth/2 {
			break
		}
		path := p.steps[c.stepFrom:c.stepTo]
		if len(path) == 0 {
			continue
		}
		same := 0
		for same < len(open) && same < len(path)-1 && same < len(open)-1 && equalSteps(open[same], path[same]) {
			same++
		}
		for n := len(open); n > same; n-- {
			out = append(out, '}')
			fresh = false
		}
		for _, s := range path[same:] {
			if !fresh {
				out = append(out, ',')
			}
			out = append(out, '"')
			if s.key != nil {
				out = append(out, s.key...)
			} else {
				out = strconv.AppendInt(out, int64(s.index), 10)
			}
			out = append(out, `":{`...)
			fresh = true
		}
		open = path
		out = append(out, `"":{"rem":[`...)
		for i, r := range p.remarks[c.remarkFrom:c.remarkTo] {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, `["`...)
			out = appendEscaped(out, []byte(r.rule))
			out = append(out, `","`...)
			out = append(out, r.kind, '"')
			if r.from >= 0 {
				out = append(out, ',')
				out = strconv.AppendInt(out, int64(r.from), 10)
				out = append(out, ',')
				out = strconv.AppendInt(out, int64(r.to), 10)
			}
			out = append(out, ']')
		}
		out = append(out, `],"len":`...)
		out = strconv.AppendInt(out, int64(c.length), 10)
		out = append(out, '}')
		fresh = false
	}
	for range open {
		out = append(out, '}')
	}
	out = append(out, '}')
	p.meta = out
	if len(open) == 0 {
		return nil
	}
	return p.meta
}

func equalSteps(a, b step) bool {
	if a.key == nil || b.key == nil {
		return a.key == nil && b.key == nil && a.index == b.index
	}
	return bytes.Equal(a.key, b.key)
}

// mergeMeta puts two _meta together: the remarks of both, and what only old
// tells. An old one that is no object, or broken, is replaced.
func mergeMeta(old, new []byte) []byte {
	var a, b map[string]any
	for _, x := range []struct {
		from []byte
		to   *map[string]any
	}{{old, &a}, {new, &b}} {
		d := json.NewDecoder(bytes.NewReader(x.from))
		d.UseNumber()
		_ = d.Decode(x.to) // nil then
	}
	if a == nil || b == nil {
		return bytes.Clone(new)
	}
	merge(a, b)
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if e.Encode(a) != nil {
		return bytes.Clone(new)
	}
	return bytes.TrimSpace(out.Bytes())
}

// merge adds what b has to a.
func merge(a, b map[string]any) {
	for key, to := range b {
		into, isObject := a[key].(map[string]any)
		add, _ := to.(map[string]any)
		switch {
		case !isObject || add == nil:
			a[key] = to
		case key == "":
			rem, _ := into["rem"].([]any)
			more, _ := add["rem"].([]any)
			length, hasLength := into["len"]
			maps.Copy(into, add)
			into["rem"] = append(rem, more...)
			if hasLength { // the first length is that of the original
				into["len"] = length
			}
		default:
			merge(into, add)
		}
	}
}
