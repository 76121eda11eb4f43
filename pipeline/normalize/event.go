package normalize

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of an event. Sizes are bytes.
const (
	MaxEventBytes  = 4 << 20 // as it comes; what is kept is at most MaxKeptBytes
	MaxKeptBytes   = 1 << 20
	MaxFrames      = 250 // a stack: both ends stay
	MaxExceptions  = 50
	MaxThreads     = 250
	MaxBreadcrumbs = 100 // the newest stay
	MaxTags        = 200
	MaxFingerprint = 32 // parts of a client's fingerprint
	MaxErrors      = 100

	maxType        = 512
	maxValue       = 1 << 10
	maxText        = 8 << 10 // of a message or an exception's value
	maxTitle       = 256
	maxCulprit     = 256
	maxTransaction = 512
	maxShort       = 256
	maxPlatform    = 64
	maxRelease     = 200
	maxEnvironment = 64
	maxDist        = 64
	maxTagKey      = 200
	maxTagValue    = 1 << 10
	maxURL         = 8 << 10
	maxPart        = 1 << 10 // of a fingerprint

	// eventFuture is how far ahead an SDK's clock may be before the time of
	// reception is taken instead.
	eventFuture = time.Minute
	// minDrift is by how much the sender's clock must differ from ours at the time
	// it sent before we move its times: less is the way of the request.
	minDrift = time.Minute
)

// Input is an event as it lies on a topic.
type Input struct {
	Payload []byte
	// Security: the payload is a browser's report.
	Security bool
	// ID is the envelope's, zero when it told none: then the payload's holds.
	ID       schemas.EventID
	Received int64 // Unix ns
	// SentAt is the sender's clock when it sent, Unix ns. Zero: not told.
	SentAt int64
	// Anew judges the frames of a document that was normalised before by what its
	// SDK said, as if no rule had been applied yet.
	Anew bool
	// RemoteAddr is the sender's address, for users that have "{{auto}}".
	RemoteAddr string
}

// Normalizer gives events one form: the document that is kept, and what the
// pipeline reads of it, in one pass. Strings of an Event may be parts of the
// payload, which must stay as it is. It is for one goroutine; an Event and its
// document are good until the next one, the Event's strings for ever.
type Normalizer struct {
	cfg Config

	doc      document.Document
	meta     *document.Node
	metaSize int
	paths    []path
	refs     []frameRef
	stacks   []*document.Node // of refs, in order
	modules  *document.Node
	in       Input
	e        *Event
	drift    int64
}

// NewNormalizer makes one.
func NewNormalizer(cfg Config) *Normalizer { return &Normalizer{cfg: cfg.withDefaults()} }

// fields are the parts of the root that we know.
type fields struct {
	eventID, timestamp, level, platform, logger, transaction, culprit, release, dist, environment, server *document.Node
	message, logentry, exception, threads, stacktrace, tags, contexts, sdk, fingerprint, user, request    *document.Node
	breadcrumbs, modules, extra, errors, debugMeta, csp, hpkp, expectCT, expectStaple, nel                *document.Node
}

// Event normalises one event. It fails when the payload is no JSON object, or
// too long; what lies inside may be anything.
func (n *Normalizer) Event(in Input) (*Event, error) {
	if len(in.Payload) > MaxEventBytes {
		return nil, fmt.Errorf("event of %d bytes is longer than %d", len(in.Payload), MaxEventBytes)
	}
	root, err := n.doc.Parse(in.Payload)
	if err != nil {
		return nil, fmt.Errorf("event is %w", err)
	}
	if in.Security && root.Is('[') && root.Len() > 0 {
		root.Become(root.First()) // what the Reporting API sends, one at a time
	}
	if !root.Is('{') {
		return nil, errors.New("event is not a JSON object")
	}
	n.in = in
	n.paths, n.refs, n.stacks, n.drift = n.paths[:0], n.refs[:0], n.stacks[:0], 0
	n.e = &Event{Event: schemas.Event{
		Received: in.Received, Origin: schemas.OriginSentry, Weight: 1,
		Partition: schemas.Unknown, Offset: schemas.Unknown, Age: schemas.Unknown,
		OriginalPartition: schemas.Unknown, OriginalOffset: schemas.Unknown,
	}}
	n.takeMeta(root.Get("_meta"))
	if in.Security {
		n.report(root)
	}
	f := n.fields(root)
	n.simple(root, &f)
	n.user(root, &f)
	n.sdk(f.sdk)
	n.contexts(f.contexts)
	n.tags(f.tags)
	n.message(root, &f)
	n.exceptions(root, &f)
	n.breadcrumbs(f.breadcrumbs)
	n.fingerprint(f.fingerprint)
	n.security(root, &f)
	n.e.RepeatOf, _ = EventID(root.Get("repeat_of").Scalar())
	n.rest(root)
	n.headline(&f)
	return n.e, nil
}

// aliases are names that old SDKs have for fields.
var aliases = map[string]string{
	"sentry.interfaces.Exception": "exception", "sentry.interfaces.Message": "logentry", "sentry.interfaces.Stacktrace": "stacktrace",
	"sentry.interfaces.Http": "request", "sentry.interfaces.User": "user", "sentry.interfaces.Breadcrumbs": "breadcrumbs",
	"sentry.interfaces.Threads": "threads", "sentry.interfaces.Contexts": "contexts", "sentry.interfaces.Csp": "csp",
	"threads.values": "threads", "debug_meta.images": "debug_meta",
}

// fields finds the parts. A field that comes twice, also under its old name, is
// the last one, and others are let go.
func (n *Normalizer) fields(root *document.Node) (f fields) {
	twice := false
	set := func(to **document.Node, v *document.Node) {
		twice = twice || *to != nil
		*to = v
	}
	for v := root.First(); v != nil; v = v.Next() {
		if strings.IndexByte(v.Name(), '.') >= 0 {
			if to := aliases[v.Name()]; to != "" {
				n.moveMeta(v.Name(), to)
				v.Rename(to)
			}
		}
		switch v.Name() {
		case "event_id":
			set(&f.eventID, v)
		case "timestamp":
			set(&f.timestamp, v)
		case "level":
			set(&f.level, v)
		case "platform":
			set(&f.platform, v)
		case "logger":
			set(&f.logger, v)
		case "transaction":
			set(&f.transaction, v)
		case "culprit":
			set(&f.culprit, v)
		case "release":
			set(&f.release, v)
		case "dist":
			set(&f.dist, v)
		case "environment":
			set(&f.environment, v)
		case "server_name":
			set(&f.server, v)
		case "message":
			set(&f.message, v)
		case "logentry":
			set(&f.logentry, v)
		case "exception":
			set(&f.exception, v)
		case "threads":
			set(&f.threads, v)
		case "stacktrace":
			set(&f.stacktrace, v)
		case "tags":
			set(&f.tags, v)
		case "contexts":
			set(&f.contexts, v)
		case "sdk":
			set(&f.sdk, v)
		case "fingerprint":
			set(&f.fingerprint, v)
		case "user":
			set(&f.user, v)
		case "request":
			set(&f.request, v)
		case "breadcrumbs":
			set(&f.breadcrumbs, v)
		case "modules":
			set(&f.modules, v)
		case "extra":
			set(&f.extra, v)
		case "errors":
			set(&f.errors, v)
		case "debug_meta":
			set(&f.debugMeta, v)
		case "csp":
			set(&f.csp, v)
		case "hpkp":
			set(&f.hpkp, v)
		case "expectct":
			set(&f.expectCT, v)
		case "expectstaple":
			set(&f.expectStaple, v)
		case "nel":
			set(&f.nel, v)
		}
	}
	if twice {
		last := make(map[string]*document.Node)
		for v := root.First(); v != nil; v = v.Next() {
			if isField(v.Name()) {
				last[v.Name()] = v
			}
		}
		root.Keep(func(v *document.Node) bool { return !isField(v.Name()) || last[v.Name()] == v })
		return n.fields(root)
	}
	return f
}

// simple reads the fields that are one text.
func (n *Normalizer) simple(root *document.Node, f *fields) {
	e := n.e
	e.ID = n.in.ID
	if e.ID == (schemas.EventID{}) {
		e.ID, _ = EventID(f.eventID.Scalar())
	}
	n.time(root, f.timestamp)
	e.Level = level(n.text(f.level, maxShort, rootAt("level")))
	root.Set("level", n.doc.String(e.Level))
	e.Platform = or(n.text(f.platform, maxPlatform, rootAt("platform")), "other")
	if f.platform == nil || f.platform.Is('n') {
		root.Set("platform", n.doc.String(e.Platform))
	}
	e.Logger = n.text(f.logger, maxShort, rootAt("logger"))
	e.Transaction = n.text(f.transaction, maxTransaction, rootAt("transaction"))
	e.Server = n.text(f.server, maxShort, rootAt("server_name"))
	e.Release = n.word(f.release, maxRelease, rootAt("release"), validRelease)
	e.Environment = n.word(f.environment, maxEnvironment, rootAt("environment"), validEnvironment)
	e.Dist = n.word(f.dist, maxDist, rootAt("dist"), validDist)
}

// word is a name that has rules: one that breaks them is dropped, and said so.
func (n *Normalizer) word(v *document.Node, most int, at path, valid func(string) bool) string {
	switch v.Kind() {
	case 0, 'n':
		return ""
	case '"', '0':
	default:
		n.invalid(v, at, "invalid_data")
		return ""
	}
	given := v.Scalar()
	s := strings.TrimSpace(given)
	if s == "" {
		v.Become(n.doc.Null())
		return ""
	}
	if len(s) > most {
		n.invalid(v, at, "value_too_long")
		return ""
	}
	if !valid(s) {
		n.invalid(v, at, "invalid_data")
		return ""
	}
	if s != given || v.Is('0') {
		v.Become(n.doc.String(s))
	}
	return s
}

func validRelease(s string) bool {
	return s != "." && s != ".." && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) < 0
}

func validEnvironment(s string) bool {
	return !strings.EqualFold(s, "none") && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }) < 0
}

func validDist(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' && r != '.' && r != '-'
	}) < 0
}

// time puts the event's time in order. A sender whose clock was wrong when it
// sent had it wrong before, too, so its times are moved by as much.
func (n *Normalizer) time(root, v *document.Node) {
	e := n.e
	at := rootAt("timestamp")
	told := parseTime(v.Scalar())
	t := told
	if n.in.SentAt > 0 {
		if d := e.Received - n.in.SentAt; d > int64(minDrift) || d < -int64(minDrift) {
			n.drift = d
			if t > 0 {
				t += d
				n.fault(at, "clock_drift")
			}
		}
	}
	switch {
	case told <= 0:
		if v != nil && !v.Is('n') {
			n.fault(at, "invalid_data")
		}
		t = e.Received
	case t > e.Received+int64(eventFuture):
		n.fault(at, "future_timestamp")
		t = e.Received
	case t < e.Received-int64(n.cfg.MaxAge):
		n.fault(at, "past_timestamp")
		t = e.Received
	}
	e.Time = t
	if t != told || !v.Is('"') && !v.Is('0') {
		root.Set("timestamp", n.doc.Raw(seconds(t)))
	}
	root.Set("received", n.doc.Raw(seconds(e.Received)))
}

func (n *Normalizer) sdk(v *document.Node) {
	if v == nil || v.Is('n') {
		return
	}
	at := rootAt("sdk")
	if !v.Is('{') || v.Opaque() {
		n.invalid(v, at, "invalid_data")
		return
	}
	n.bag(v, &at, 5, 16<<10)
	name := cut(v.Get("name").Scalar(), maxShort)
	n.e.SDKName = name
	if name != "" {
		n.e.SDK = name
		if version := v.Get("version").Scalar(); version != "" {
			n.e.SDK = cut(name+"/"+version, maxShort)
		}
	}
}

// tags reads {"k":"v"}, [["k","v"]] and [{"key":"k","value":"v"}] and writes the second.
func (n *Normalizer) tags(v *document.Node) {
	at := rootAt("tags")
	switch {
	case v == nil || v.Is('n'):
		return
	case v.Opaque() || !v.Is('{') && !v.Is('['):
		n.invalid(v, at, "invalid_data")
		return
	}
	e := n.e
	had, taken := v.Len()+v.Dropped(), 0
	out := n.doc.Array()
	e.Tags = make([]schemas.Attribute, 0, min(v.Len(), MaxTags))
	notes := n.metaNode(&at, false)
	var moved *document.Node
	i := -1
	for c := v.First(); c != nil; c = c.Next() {
		i++
		var key string
		var value, told *document.Node
		switch {
		case v.Is('{'):
			key, value = c.Key(), c
			if notes != nil {
				told = notes.Get(c.Name())
			}
		case c.Is('[') && c.Len() == 2:
			key, value = c.First().Scalar(), c.First().Next()
		case c.Is('{'):
			key, value = c.Get("key").Scalar(), c.Get("value")
		}
		if told == nil && notes != nil && v.Is('[') {
			element := at.element(i)
			if told = n.metaNode(&element, false).Get("1"); told == nil {
				told = n.metaNode(&element, false).Get("value")
			}
		}
		text := value.Scalar()
		if key == "" || text == "" || hasTag(e.Tags, key) {
			continue
		}
		if taken++; len(e.Tags) == MaxTags {
			continue
		}
		key = cut(key, maxTagKey)
		if hasTag(e.Tags, key) {
			continue
		}
		if len(text) > maxTagValue {
			text = cut(text, maxTagValue)
		}
		if told != nil {
			if moved == nil {
				moved = n.doc.Object()
			}
			n.child(moved, strconv.Itoa(len(e.Tags))).Set("1", n.doc.Copy(told))
			n.metaSize += 2 * nameBytes
		}
		e.Tags = append(e.Tags, schemas.Attribute{Key: key, Value: text})
		pair := n.doc.Array()
		pair.Append(n.doc.String(key))
		pair.Append(n.doc.String(text))
		out.Append(pair)
	}
	if notes != nil {
		if whole := notes.Get(""); whole != nil {
			if moved == nil {
				moved = n.doc.Object()
			}
			moved.Set("", n.doc.Copy(whole))
		}
		if moved == nil {
			moved = n.doc.Object()
		}
		notes.Become(moved)
	}
	if taken > MaxTags {
		n.gone(at, had)
	}
	if len(e.Tags) == 0 {
		e.Tags = nil
	}
	v.Become(out)
}

func hasTag(tags []schemas.Attribute, key string) bool {
	for i := range tags {
		if tags[i].Key == key {
			return true
		}
	}
	return false
}

func (n *Normalizer) fingerprint(v *document.Node) {
	at := rootAt("fingerprint")
	switch {
	case v == nil || v.Is('n'):
		return
	case v.Is('"') || v.Is('0'):
		n.e.ClientFingerprint = []string{n.text(v, maxPart, at)}
		list := n.doc.Array()
		list.Append(n.doc.Copy(v))
		v.Become(list)
		return
	case !v.Is('[') || v.Opaque():
		n.invalid(v, at, "invalid_data")
		return
	}
	n.keep(v, at, func(_ int, c *document.Node) bool { return c.Is('"') || c.Is('0') || c.Is('t') || c.Is('f') })
	n.ends(v, at, MaxFingerprint, 0)
	i := 0
	for c := v.First(); c != nil; c = c.Next() {
		n.e.ClientFingerprint = append(n.e.ClientFingerprint, n.text(c, maxPart, at.element(i)))
		i++
	}
}

// freely are the fields that a program fills as it likes, and how much of each
// is kept.
var freely = map[string]struct{ depth, bytes int }{
	"extra": {8, 64 << 10}, "modules": {2, 64 << 10}, "debug_meta": {8, 256 << 10}, "errors": {4, 16 << 10},
	"csp": {3, 16 << 10}, "hpkp": {4, 16 << 10}, "expectct": {4, 32 << 10}, "expectstaple": {4, 32 << 10}, "nel": {4, 16 << 10},
}

// seen are the fields that are in order when rest is called, or that rest must
// not take for something unknown.
var seen = func() map[string]struct{} {
	m := map[string]struct{}{}
	for _, name := range []string{
		"event_id", "timestamp", "received", "level", "platform", "logger", "transaction", "release", "dist", "environment", "server_name", "message", "logentry",
		"exception", "threads", "stacktrace", "tags", "contexts", "sdk", "fingerprint", "user", "request", "breadcrumbs", "culprit", "title", "type", "_meta",
	} {
		m[name] = struct{}{}
	}
	return m
}()

func isField(name string) bool {
	_, known := seen[name]
	_, free := freely[name]
	return known || free
}

// maxUnknown is how many fields that we do not know are kept.
const maxUnknown = 50

// rest bounds what is left of the root.
func (n *Normalizer) rest(root *document.Node) {
	n.e.debug = root.Get("debug_meta")
	unknown := 0
	clean := true
	for v := root.First(); v != nil; v = v.Next() {
		name := v.Name()
		if _, is := seen[name]; is {
			continue
		}
		at := rootAt(v.Key())
		if b, is := freely[name]; is {
			if (name == "extra" || name == "modules" || name == "debug_meta") && !v.Is('{') && !v.Is('n') {
				n.invalid(v, at, "invalid_data")
			}
			if name == "errors" && v.Is('[') {
				n.ends(v, at, MaxErrors, 0)
			}
			n.bag(v, &at, b.depth, b.bytes)
			continue
		}
		if unknown++; unknown > maxUnknown || len(name) > maxKey {
			clean = false
			continue
		}
		n.bag(v, &at, 6, 8<<10)
	}
	if !clean {
		unknown = 0
		root.Keep(func(v *document.Node) bool {
			if isField(v.Name()) {
				return true
			}
			unknown++
			return unknown <= maxUnknown && len(v.Name()) <= maxKey
		})
	}
}

// headline sets Type, Value, Culprit and Title from the last exception, else
// from the message.
func (n *Normalizer) headline(f *fields) {
	e := n.e
	shown := e.Frames
	if k := len(e.Exceptions); k > 0 {
		x := &e.Exceptions[k-1]
		e.Type, e.Value, shown = cut(x.Type, maxType), firstLine(x.Value), x.Frames
	}
	if e.Value == "" {
		e.Value = firstLine(e.Message)
	}
	e.Value = cut(e.Value, maxValue)
	if e.Culprit == "" {
		e.Culprit = e.Transaction
	}
	told := f.culprit.Scalar()
	for i := len(shown) - 1; i >= 0; i-- {
		if fr := &shown[i]; fr.InApp {
			if c := culprit(fr); c != "" {
				e.Culprit = c
				break
			}
		}
	}
	e.Culprit = cut(or(e.Culprit, told), maxCulprit)
	e.Title = Title(&e.Event)
}

// Title is what an event is called, at most 256 bytes; never empty.
func Title(e *schemas.Event) string { return cut(title(e), maxTitle) }

func title(e *schemas.Event) string {
	switch {
	case e.Type != "" && e.Value != "":
		return e.Type + ": " + e.Value
	case e.Type != "":
		return e.Type
	case e.Value != "":
		return e.Value
	case e.Culprit != "":
		return e.Culprit
	}
	return "event without a message"
}

// kind is what Sentry calls an event's type.
func kind(e *Event) string {
	switch {
	case e.Security.Kind != "":
		return e.Security.Kind
	case len(e.Exceptions) > 0:
		return "error"
	}
	return "default"
}

func culprit(f *Frame) string {
	where := or(f.Module, f.Filename)
	switch {
	case where == "":
		return f.Function
	case f.Function == "":
		return where
	}
	return where + " in " + f.Function
}

func firstLine(s string) string {
	s = strings.TrimLeft(s, " \t\r\n")
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimRight(s, " \t")
}

func level(s string) string {
	switch s {
	case "fatal", "error", "warning", "info", "debug":
		return s
	}
	switch s = strings.ToLower(s); s {
	case "fatal", "error", "warning", "info", "debug":
		return s
	case "critical":
		return "fatal"
	case "warn":
		return "warning"
	case "log":
		return "info"
	case "trace":
		return "debug"
	}
	// Old SDKs write Python's numbers.
	switch s {
	case "50":
		return "fatal"
	case "30":
		return "warning"
	case "20":
		return "info"
	case "10":
		return "debug"
	}
	return "error"
}

// EventID reads 32 hex digits, with or without the dashes of a UUID.
func EventID(s string) (id schemas.EventID, ok bool) {
	if len(s) == 36 {
		s = strings.ReplaceAll(s, "-", "")
	}
	t, err := schemas.ParseTraceID(s)
	if err != nil || t.IsZero() {
		return id, false
	}
	return schemas.EventID(t), true
}

// address reads an IP address, with a port or not.
func address(s string) (string, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone("").String(), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone("").String(), true
	}
	return "", false
}
