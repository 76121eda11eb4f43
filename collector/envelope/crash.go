package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/policy"
)

// crashParts is what crash reporters send instead of an event, or beside one:
// the event and its breadcrumbs as msgpack, fields of a form, and a crash
// report that says by its being there that the program died.
type crashParts struct {
	payload []byte   // msgpack of an event
	crumbs  [][]byte // each a file of breadcrumbs, one msgpack value behind the other
	fields  []field
	bytes   int    // of all fields
	report  string // the attachment type of the crash report
}

type field struct{ name, value string }

// maxFields bounds the fields of a form, and maxCrumbs the breadcrumbs kept.
const (
	maxFields = 1000
	maxCrumbs = 100
)

func (p *crashParts) any() bool {
	return p.payload != nil || len(p.crumbs) > 0 || len(p.fields) > 0 || p.report != ""
}

// crash notes that an attachment of this type is there.
func (p *crashParts) crash(what string) {
	if what == minidump || what == appleCrash && p.report == "" {
		p.report = what
	}
}

// part takes one of the msgpack attachments.
func (in *intake) part(k *kind, name, what string, src io.Reader, length int64) error {
	limit := in.r.cfg.MaxEventBytes
	if length > limit {
		in.invalidAttachment(k, length, "too_large:"+k.name, &bound.TooLargeError{What: k.name, Limit: limit})
		return nil
	}
	data, err := readWhole(src, nil, length, k.name, int(limit), in.lease)
	if e, ok := errors.AsType[*bound.TooLargeError](err); ok && e.What == k.name {
		in.invalidAttachment(k, length, "too_large:"+k.name, err)
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case what == eventPayload && in.parts.payload == nil:
		in.parts.payload = data
	case what == eventCrumbs && len(in.parts.crumbs) < 2:
		in.parts.crumbs = append(in.parts.crumbs, data)
	default:
		in.invalidAttachment(k, int64(len(data)), "duplicate_item", fmt.Errorf("%w: a further attachment %q of type %s", ErrMalformed, clip(name, 64), what))
	}
	return nil
}

// addField keeps a field of a form.
func (in *intake) addField(name, value string) error {
	p := &in.parts
	p.bytes += len(name) + len(value)
	if int64(p.bytes) > in.r.cfg.MaxEventBytes {
		return &bound.TooLargeError{What: "form", Limit: in.r.cfg.MaxEventBytes}
	}
	if len(p.fields) == maxFields {
		return &bound.TooLargeError{What: "form", Limit: maxFields, Unit: "fields"}
	}
	p.fields = append(p.fields, field{strings.ToValidUTF8(name, "\uFFFD"), strings.ToValidUTF8(value, "\uFFFD")})
	return nil
}

// formData takes an item form_data: a JSON object of texts, or a list of pairs.
func (in *intake) formData(k *kind, payload []byte) error {
	bad := func(err error) error {
		in.invalid(k, 1, in.id, "invalid_json", fmt.Errorf("%w: %s: %w", ErrMalformed, k.name, err))
		return nil
	}
	err := bound.Members(payload, maxHeaderDepth, func(key, value []byte) error {
		text, ok := bound.Text(value)
		if !ok {
			text = string(value)
		}
		return in.addField(string(key), text)
	})
	if errors.Is(err, bound.ErrNoObject) {
		err = bound.Elements(payload, maxHeaderDepth, func(pair []byte) error {
			var p [2]string
			if err := json.Unmarshal(pair, &p); err != nil {
				return errors.New("an entry is no pair of texts")
			}
			return in.addField(p[0], p[1])
		})
	}
	if err != nil {
		return bad(err)
	}
	return nil
}

// assemble makes an event of the parts, or puts them into the one that is held.
func (in *intake) assemble() error {
	p := &in.parts
	if !p.any() {
		return nil
	}
	var e *held
	for i := range in.held {
		if in.held[i].kind.name == "event" {
			e = &in.held[i]
		}
	}
	k := kinds["event"]
	if e == nil && p.payload == nil && p.report == "" {
		return nil // breadcrumbs or fields of no event
	}
	if e != nil && (e.dropped || e.repeat) {
		return nil
	}
	// Objects take a multiple of their text.
	size := len(p.payload) + p.bytes
	if e != nil {
		size += len(e.payload)
	}
	for _, c := range p.crumbs {
		size += len(c)
	}
	if err := in.lease.Grow(8 * size); err != nil {
		return err
	}
	merged, err := p.merge(e)
	if err != nil {
		quantity := int64(0)
		if e == nil && p.report == "" {
			quantity = 1 // nothing is left of it
		}
		in.invalid(k, quantity, in.id, "invalid_crash_part", fmt.Errorf("%w: %w", ErrBadEvent, err))
		if quantity > 0 {
			return nil
		}
	}
	if e == nil {
		return in.event(k, merged)
	}
	if int64(len(merged)) > in.r.cfg.MaxEventBytes {
		in.invalid(k, 0, e.id, "too_large:event", &bound.TooLargeError{What: k.name, Limit: in.r.cfg.MaxEventBytes})
		return nil // the event is kept as it was
	}
	// The event was charged for; what came to it is still to be scrubbed.
	d := in.r.deps.Gate.Item(in.ctx, &in.from, policy.Item{Type: k.name, Category: k.category, Quantity: 0, Size: int64(len(merged)), EventID: e.id, Payload: merged})
	if d.Keep {
		e.payload = d.Payload
	}
	return nil
}

// merge gives the JSON of the event that the parts and e, which may be nil, are.
// What e says counts most, then the form's, then the msgpack payload's. A part
// that is broken is left out; the error tells which.
func (p *crashParts) merge(e *held) ([]byte, error) {
	event := map[string]any{}
	var errs []error
	over := func(what string, text []byte, err error) {
		if err == nil {
			err = decodeObject(text, &event)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	if p.payload != nil {
		text, rest, err := msgpackToJSON(nil, p.payload, maxEventDepth)
		if err == nil && len(rest) > 0 {
			err = errors.New("msgpack: something after the end")
		}
		over("the payload", text, err)
	}
	if text := p.form(); len(text) > 0 {
		over("the form's field sentry", text, nil)
	}
	p.fill(event)
	if e != nil {
		over("the event", e.payload, nil)
	}
	if _, has := event["breadcrumbs"]; !has && len(p.crumbs) > 0 {
		crumbs, err := p.breadcrumbs()
		if err != nil {
			errs = append(errs, err)
		}
		if len(crumbs) > 0 {
			event["breadcrumbs"] = map[string]any{"values": crumbs}
		}
	}
	if p.report != "" {
		kind := map[string]string{minidump: "Minidump", appleCrash: "AppleCrashReport"}[p.report]
		setDefault(event, "platform", "native")
		setDefault(event, "level", "fatal")
		setDefault(event, "exception", map[string]any{"values": []any{map[string]any{
			"type": kind, "value": "the process crashed",
			"mechanism": map[string]any{"type": strings.ToLower(kind), "handled": false, "synthetic": true},
		}}})
	}
	merged, err := json.Marshal(event)
	return merged, errors.Join(append(errs, err)...)
}

func setDefault(m map[string]any, key string, value any) {
	if v, has := m[key]; !has || v == nil {
		m[key] = value
	}
}

// decodeObject reads JSON over what is in to. Numbers keep their text.
func decodeObject(data []byte, to *map[string]any) error {
	if err := bound.CheckObject(data, maxEventDepth); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(to)
}

// breadcrumbs gives those of all files, the file that ends earlier first, and
// of one that is broken those before the fault.
func (p *crashParts) breadcrumbs() ([]json.RawMessage, error) {
	files := make([][]json.RawMessage, 0, len(p.crumbs))
	var broken error
	for _, data := range p.crumbs {
		var file []json.RawMessage
		for len(data) > 0 {
			text, rest, err := msgpackToJSON(nil, data, maxEventDepth)
			if err != nil {
				broken = fmt.Errorf("breadcrumbs: %w", err)
				break
			}
			if data = rest; text[0] == '{' {
				file = append(file, text)
			}
		}
		files = append(files, file)
	}
	if len(files) == 2 && lastTime(files[0]) > lastTime(files[1]) {
		files[0], files[1] = files[1], files[0]
	}
	var all []json.RawMessage
	for _, f := range files {
		all = append(all, f...)
	}
	return all[max(0, len(all)-maxCrumbs):], broken
}

// lastTime is when the last breadcrumb happened, as text that sorts: crash
// reporters write RFC 3339 in UTC.
func lastTime(crumbs []json.RawMessage) (last string) {
	if len(crumbs) == 0 {
		return ""
	}
	_ = bound.Members(crumbs[len(crumbs)-1], maxEventDepth, func(key, value []byte) error {
		if string(key) == "timestamp" {
			last, _ = bound.Text(value)
		}
		return nil
	})
	return last
}

// form is the JSON of the field "sentry", or of sentry__1, sentry__2 and so on.
func (p *crashParts) form() []byte {
	var whole []byte
	for _, f := range p.fields {
		if f.name == "sentry" || strings.HasPrefix(f.name, "sentry__") {
			whole = append(whole, f.value...)
		}
	}
	return whole
}

// fill puts the other fields into the event: sentry[release] is one member of
// it, and what has another name is extra.
func (p *crashParts) fill(event map[string]any) {
	extra := map[string]any{}
	for _, f := range p.fields {
		path, isMember := strings.CutPrefix(f.name, "sentry[")
		switch {
		case isMember && strings.HasSuffix(path, "]"):
			put(event, strings.Split(strings.TrimSuffix(path, "]"), "]["), f.value)
		case isMember, f.name == "sentry", strings.HasPrefix(f.name, "sentry__"):
		default:
			extra[f.name] = f.value
		}
	}
	if len(extra) == 0 {
		return
	}
	if m, ok := event["extra"].(map[string]any); ok {
		for k, v := range extra {
			setDefault(m, k, v)
		}
		return
	}
	event["extra"] = extra
}

const maxPath = 16

// put sets a member of a member. It leaves alone what is no object on the way.
func put(m map[string]any, path []string, value string) {
	if len(path) > maxPath {
		return
	}
	for _, key := range path[:len(path)-1] {
		next, has := m[key]
		if !has {
			next = map[string]any{}
			m[key] = next
		}
		child, ok := next.(map[string]any)
		if !ok {
			return
		}
		m = child
	}
	m[path[len(path)-1]] = value
}

// magics are how minidumps begin: as they are by either byte order, and
// compressed by gzip, zstd, bzip2 and xz.
var magics = []string{"MDMP", "PMDM", "\x1f\x8b", "\x28\xb5\x2f\xfd", "BZh", "\xfd7zXZ\x00"}

func isMinidump(head []byte) bool {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m)) {
			return true
		}
	}
	return false
}
