package load

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/internal/testevents"
)

const (
	// KnownKinds is how many errors the repeats are of.
	KnownKinds = 20
	// RepeatsOf of each MixOf events repeat one of those; the others are each an error
	// that never came before.
	RepeatsOf = 7
	// MixOf is how many events make one mix.
	MixOf = 10
)

// freshKind stands in the template of new errors where their number goes. No other
// text of an event has these digits.
const freshKind = 7_654_321

// Events makes requests with one error event each, as the Python SDK sends it: an
// envelope of about 20 KB by HTTP/1.1, not compressed. It is for one goroutine; two
// with different seeds never make the same event.
type Events struct {
	seed  uint64
	n     uint64
	made  uint64 // new errors among them
	known []*eventTemplate
	fresh *eventTemplate
	buf   []byte
	stamp []byte
}

// eventTemplate is a whole request, head included.
type eventTemplate struct {
	body    []byte
	id      []int // places of the event's id
	at      []int // places of times, to the microsecond
	lines   []int // places of line numbers, 3 digits
	hexes   [][2]int
	digits  [][2]int
	numbers []int // places of the number of a new error, 7 digits
}

// EventTemplates are encoded once, and shared by generators.
type EventTemplates struct {
	known [KnownKinds]*eventTemplate
	fresh *eventTemplate
}

// NewEventTemplates encodes the events for the project of a DSN.
func NewEventTemplates(dsn string) (*EventTemplates, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil || u.Host == "" {
		return nil, fmt.Errorf("cannot use %q as a DSN", dsn)
	}
	t := &EventTemplates{}
	for kind := range t.known {
		if t.known[kind], err = newEventTemplate(u, kind); err != nil {
			return nil, err
		}
	}
	t.fresh, err = newEventTemplate(u, freshKind)
	return t, err
}

// RequestBytes is the size of one request.
func (t *EventTemplates) RequestBytes() int { return len(t.fresh.body) }

// Generator makes one. Seeds are 0 to 255.
func (t *EventTemplates) Generator(seed uint8) *Events {
	return &Events{seed: uint64(seed), known: t.known[:], fresh: t.fresh}
}

var (
	eventIDs    = regexp.MustCompile(`"event_id":"([0-9a-f]{32})"`)
	eventTimes  = regexp.MustCompile(`"(?:timestamp|sent_at)":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z"`)
	lineNumbers = regexp.MustCompile(`"lineno":(\d{3})\b`)
	hexNumbers  = regexp.MustCompile(`(?:object at 0x|"(?:trace_id|span_id|key_hash)":")([0-9a-f]+)`)
	orderIDs    = regexp.MustCompile(`(?:'A-|card of order |"offset":)(\d+)`)
)

func newEventTemplate(dsn *url.URL, kind int) (*eventTemplate, error) {
	payload := testevents.Python(kind, uint64(kind)) //nolint:gosec // not negative
	id := eventIDs.FindSubmatch(payload)
	if id == nil {
		return nil, errors.New("the event tells no id")
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, `{"event_id":"%s","sent_at":"2026-11-30T11:00:00.123456Z"}`+"\n", id[1])
	fmt.Fprintf(&body, `{"type":"event","content_type":"application/json","length":%d}`+"\n", len(payload))
	body.Write(payload)
	body.WriteByte('\n')
	var all bytes.Buffer
	fmt.Fprintf(&all, "POST /api/%s/envelope/ HTTP/1.1\r\nHost: %s\r\nUser-Agent: sentry.python/2.68.0\r\n"+
		"X-Sentry-Auth: Sentry sentry_key=%s, sentry_version=7, sentry_client=sentry.python/2.68.0\r\n"+
		"Content-Type: application/x-sentry-envelope\r\nContent-Length: %d\r\n\r\n",
		strings.Trim(dsn.Path, "/"), dsn.Host, dsn.User.Username(), body.Len())
	all.Write(body.Bytes())
	t := &eventTemplate{body: all.Bytes()}
	find := func(re *regexp.Regexp) (out [][2]int) {
		for _, m := range re.FindAllSubmatchIndex(t.body, -1) {
			out = append(out, [2]int{m[2], m[3]})
		}
		return out
	}
	starts := func(re *regexp.Regexp) (out []int) {
		for _, place := range find(re) {
			out = append(out, place[0])
		}
		return out
	}
	t.id, t.at, t.lines = starts(eventIDs), starts(eventTimes), starts(lineNumbers)
	t.hexes, t.digits = find(hexNumbers), find(orderIDs)
	if kind == freshKind {
		t.numbers = starts(regexp.MustCompile(`(` + strconv.Itoa(freshKind) + `)`))
	}
	if len(t.id) != 2 || len(t.at) != 2 || len(t.lines) == 0 || len(t.hexes) == 0 || len(t.digits) == 0 || (kind == freshKind) != (len(t.numbers) > 0) {
		return nil, fmt.Errorf("the event is not what this generator knows: %d ids, %d times, %d lines, %d hexadecimal and %d decimal numbers, %d of its kind",
			len(t.id), len(t.at), len(t.lines), len(t.hexes), len(t.digits), len(t.numbers))
	}
	return t, nil
}

// Next gives the next request, stamped now, and its event's id. It is good until
// the following call.
func (g *Events) Next(now time.Time) (request []byte, id [16]byte) {
	n := g.n
	g.n++
	// Repeats and new errors in no run, and each known error as often as another.
	t := g.fresh
	if n*3%MixOf < RepeatsOf {
		t = g.known[mix(g.seed<<40|n)%KnownKinds]
	} else {
		g.made++
	}
	g.buf = append(g.buf[:0], t.body...)
	putUint64(id[:8], mix(g.seed<<40|n|1<<60))
	putUint64(id[8:], g.seed<<40|n|1<<62)
	for _, at := range t.id {
		hex.Encode(g.buf[at:at+32], id[:])
	}
	g.stamp = now.UTC().AppendFormat(g.stamp[:0], "2006-01-02T15:04:05.000000")
	for _, at := range t.at {
		copy(g.buf[at:], g.stamp)
	}
	random := mix(n ^ g.seed<<33)
	for _, at := range t.lines { // the same error, built another time
		digits(g.buf[at:at+3], 100+random%800)
	}
	for _, place := range t.hexes {
		random = mix(random)
		v := random
		for i := place[0]; i < place[1]; i++ {
			if (i-place[0])%16 == 0 {
				v = mix(v + 1)
			}
			g.buf[i] = "0123456789abcdef"[v&15]
			v >>= 4
		}
		if g.buf[place[0]] == '0' {
			g.buf[place[0]] = '1'
		}
	}
	for _, place := range t.digits {
		random = mix(random)
		digits(g.buf[place[0]:place[1]], random)
		if g.buf[place[0]] == '0' {
			g.buf[place[0]] = '1'
		}
	}
	for _, at := range t.numbers {
		digits(g.buf[at:at+7], g.seed*newPerSeed+g.made)
	}
	return g.buf, id
}

// newPerSeed is how many new errors a generator can make.
const newPerSeed = 30_000

// Made is how many requests were made, and how many of them are new errors.
func (g *Events) Made() (n, fresh uint64) { return g.n, g.made }

func digits(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
}

func putUint64(dst []byte, v uint64) {
	for i := range 8 {
		dst[i] = byte(v >> (56 - 8*i))
	}
}
