package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/search"
)

// Completion is what may be written at a place of a query.
type Completion struct {
	Place string           `json:"place"` // key or value
	Key   string           `json:"key"`   // of the value
	From  int              `json:"from"`  // what is replaced, as a browser counts characters
	To    int              `json:"to"`
	Items []CompletionItem `json:"items"`
	Since *Nanos           `json:"since"` // when the rows that counts are of begin; null without counts
	Fault *QueryFault      `json:"fault"` // of the whole query; null when it can be asked
}

// CompletionItem is one.
type CompletionItem struct {
	Text   string  `json:"text"`
	Insert string  `json:"insert"`
	Kind   string  `json:"kind"` // field, attribute, operator, value, word
	Type   string  `json:"type"` // of a field's values: text, word, number, duration, id, yes; empty of others
	Does   string  `json:"does"`
	Rows   *uint64 `json:"rows"` // that have it; null when nobody counted
}

// QueryFault is what is wrong with a query, and the way out.
type QueryFault struct {
	From    int    `json:"from"` // as a browser counts characters
	To      int    `json:"to"`
	Message string `json:"message"`
	WayOut  string `json:"wayOut"`
}

// maxItems bounds a completion.
const maxItems = 20

var kindNamesOf = map[search.Kind]string{search.Text: "text", search.Word: "word", search.Number: "number", search.Duration: "duration", search.Hex: "id", search.Yes: "yes"}

// completeQuery answers /search/complete.
func (h *Handler) completeQuery(ctx context.Context, q *query) (any, error) {
	if err := h.hasSearch(); err != nil {
		return nil, err
	}
	subject := search.Subject(q.oneOf("subject", string(search.Spans), string(search.Hops), string(search.Logs)))
	text := q.text("q")
	units := utf16.Encode([]rune(text))
	at := len(units)
	if s := q.text("at"); s != "" {
		var err error
		if at, err = strconv.Atoi(s); err != nil || at < 0 || at > len(units) {
			q.refuse("at", s, "a place in q")
		}
	}
	stretch := q.timeRange()
	if q.fault != nil {
		return nil, q.fault
	}
	if stretch.To.IsZero() {
		stretch.To = q.now
	}
	browser := func(bytes int) int { return len(utf16.Encode([]rune(text[:bytes]))) }
	p := search.At(text, len(string(utf16.Decode(units[:at]))))
	out := Completion{Place: "key", Key: p.Key, From: browser(p.From), To: browser(p.To), Items: []CompletionItem{}}
	if _, err := parseRows(subject, text, "q"); err != nil {
		out.Fault = faultOf(subject, text, browser)
	}
	var err error
	if p.Value {
		out.Place = "value"
		err = h.completeValue(ctx, &out, q.project.ID, subject, stretch, p)
	} else {
		err = h.completeKey(ctx, &out, q.project.ID, subject, stretch, p)
	}
	if err != nil {
		return nil, err
	}
	out.Items = out.Items[:min(len(out.Items), maxItems)]
	return out, nil
}

func faultOf(subject search.Subject, text string, browser func(int) int) *QueryFault {
	_, err := search.ParseRows(subject, text)
	bad, ok := err.(*search.Error) //nolint:errorlint // as ParseRows says
	if !ok {
		return nil
	}
	return &QueryFault{From: browser(bad.Pos), To: browser(bad.End), Message: fmt.Sprintf("at %d: %s", browser(bad.Pos)+1, bad.Message), WayOut: bad.Hint}
}

// rank tells how well a text fits what is written: 0 begins with it, 1 contains it.
func rank(text, written string) int {
	text, written = strings.ToLower(text), strings.ToLower(written)
	switch {
	case strings.HasPrefix(text, written):
		return 0
	case strings.Contains(text, written):
		return 1
	}
	return 2
}

// signsOf are the operators of a field's values.
func signsOf(f *search.RowField) []struct{ sign, does string } {
	is := []struct{ sign, does string }{{":", "is"}, {"!=", "is not"}}
	if f != nil && f.Kind != search.Number && f.Kind != search.Duration {
		return is
	}
	more := []struct{ sign, does string }{{">", "more than"}, {">=", "at least"}, {"<", "less than"}, {"<=", "at most"}}
	if f == nil { // an attribute
		return slices.Concat(is, more)
	}
	return slices.Concat(more, is)
}

func (h *Handler) completeKey(ctx context.Context, out *Completion, project uint64, subject search.Subject, r exporters.Range, p search.Place) error {
	type ranked struct {
		CompletionItem
		rank int
	}
	var fields []ranked
	exact := search.FieldOf(subject, p.Text)
	for _, f := range search.RowFields(subject) {
		if p.Has && f.Always {
			continue
		}
		n := rank(f.Name, p.Text)
		if n == 2 {
			continue
		}
		insert := f.Name + signsOf(&f)[0].sign
		if p.Has {
			insert = f.Name
		}
		fields = append(fields, ranked{CompletionItem{Text: f.Name, Insert: insert, Kind: "field", Type: kindNamesOf[f.Kind], Does: f.Does}, n})
	}
	slices.SortStableFunc(fields, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	if exact != nil && !p.Has {
		for _, s := range signsOf(exact) {
			out.Items = append(out.Items, CompletionItem{Text: exact.Name + s.sign, Insert: exact.Name + s.sign, Kind: "operator", Type: kindNamesOf[exact.Kind], Does: s.does})
		}
	}
	if !p.Has && p.Text != "" {
		for _, w := range []struct{ word, does string }{{"OR", "one side or the other"}, {"NOT", "what follows does not hold"}, {"has:", "the row has it"}} {
			if strings.HasPrefix(w.word, p.Text) {
				insert := w.word
				if !strings.HasSuffix(insert, ":") {
					insert += " "
				}
				out.Items = append(out.Items, CompletionItem{Text: w.word, Insert: insert, Kind: "word", Does: w.does})
			}
		}
	}
	keys, err := h.keysOf(ctx, project, subject, r)
	if err != nil {
		return err
	}
	var attrs []ranked
	for _, k := range keys.Values {
		n := rank(k.Text, p.Text)
		if n == 2 || len(k.Text) > 200 {
			continue
		}
		if strings.EqualFold(k.Text, p.Text) && !p.Has {
			for _, s := range signsOf(nil) {
				out.Items = append(out.Items, CompletionItem{Text: k.Text + s.sign, Insert: quotedKey(subject, k.Text) + s.sign, Kind: "operator", Does: s.does})
			}
		}
		rows := k.Rows
		insert := quotedKey(subject, k.Text) + ":"
		if p.Has {
			insert = quotedKey(subject, k.Text)
		}
		attrs = append(attrs, ranked{CompletionItem{Text: k.Text, Insert: insert, Kind: "attribute", Does: "attribute", Rows: &rows}, n})
	}
	slices.SortStableFunc(attrs, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	// Nothing is written: some of both, so that a person sees that attributes can be asked.
	if p.Text == "" && len(fields) > 12 && len(attrs) > 0 {
		fields = fields[:max(12, maxItems-len(attrs))]
	}
	for _, f := range fields {
		out.Items = append(out.Items, f.CompletionItem)
	}
	for _, a := range attrs {
		out.Items = append(out.Items, a.CompletionItem)
	}
	if len(attrs) > 0 {
		since := nanos(keys.Since)
		out.Since = &since
	}
	return nil
}

// quotedKey writes the key of an attribute as a query takes it.
func quotedKey(subject search.Subject, key string) string {
	e, err := search.ParseRows(subject, key+`:""`)
	if err == nil && e.Logic == search.Is && e.Term.Field == nil && (e.Term.Key == key || e.Term.Resource && search.ResourcePrefix+e.Term.Key == key) && !strings.EqualFold(key, "has") {
		return key
	}
	return quoted(key)
}

func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// quotedValue writes a value as a query takes it.
func quotedValue(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\r\n\"()[],*\\") || strings.HasPrefix(s, "<") || strings.HasPrefix(s, ">") || strings.HasPrefix(s, "=") || strings.HasPrefix(s, "/") && strings.HasPrefix(s, "//") || strings.HasPrefix(s, ":") {
		return quoted(s)
	}
	return s
}

// someLengths are suggested for a duration.
var someLengths = []string{"10ms", "100ms", "250ms", "1s", "10s", "1m", "10m", "1h"}

func (h *Handler) completeValue(ctx context.Context, out *Completion, project uint64, subject search.Subject, r exporters.Range, p search.Place) error {
	field := search.FieldOf(subject, p.Key)
	words := func(list []string, does string) {
		for _, n := range []int{0, 1} {
			for _, w := range list {
				if rank(w, p.Text) == n {
					out.Items = append(out.Items, CompletionItem{Text: w, Insert: w, Kind: "value", Does: does})
				}
			}
		}
	}
	if field != nil {
		switch field.Kind {
		case search.Word:
			words(field.Words, "")
			return nil
		case search.Yes:
			words([]string{"true", "false"}, "")
			return nil
		case search.Duration:
			words(someLengths, "")
			return nil
		case search.Hex:
			return nil
		}
	}
	vq := exporters.ValueQuery{Project: project, Subject: subject, Range: r, Field: field, Key: p.Key, Contains: strings.TrimRight(p.Text, "*"), Limit: maxItems}
	if rest, ok := strings.CutPrefix(p.Key, search.ResourcePrefix); ok && field == nil {
		vq.Key, vq.Resource = rest, true
	}
	if len(vq.Key) > 200 || len(vq.Contains) > 200 {
		return nil
	}
	seen, err := h.deps.Search.ValuesOf(ctx, vq)
	if err != nil {
		return err
	}
	for _, v := range seen.Values {
		if len(v.Text) > 200 {
			continue // no query takes it
		}
		rows := v.Rows
		out.Items = append(out.Items, CompletionItem{Text: v.Text, Insert: quotedValue(v.Text), Kind: "value", Rows: &rows})
	}
	if len(out.Items) > 0 {
		since := nanos(seen.Since)
		out.Since = &since
	}
	return nil
}

// keyCache keeps the keys of attributes for a short while: they are asked for at
// each letter.
type keyCache struct {
	mu   sync.Mutex // guards the following
	have map[string]cachedKeys
}

type cachedKeys struct {
	keys exporters.SeenValues
	at   time.Time
}

const (
	keysKept  = 30 * time.Second
	maxCached = 32
)

func (h *Handler) keysOf(ctx context.Context, project uint64, subject search.Subject, r exporters.Range) (exporters.SeenValues, error) {
	const about = int64(time.Minute)
	from := int64(0)
	if !r.From.IsZero() {
		from = r.From.UnixNano() / about
	}
	id := fmt.Sprint(project, subject, from, r.To.UnixNano()/about)
	h.keys.mu.Lock()
	c, ok := h.keys.have[id]
	h.keys.mu.Unlock()
	if now := time.Now(); ok && now.Sub(c.at) < keysKept {
		return c.keys, nil
	}
	keys, err := h.deps.Search.KeysOf(ctx, project, subject, r)
	if err != nil {
		return keys, err
	}
	h.keys.mu.Lock()
	defer h.keys.mu.Unlock()
	if h.keys.have == nil || len(h.keys.have) >= maxCached {
		h.keys.have = map[string]cachedKeys{}
	}
	h.keys.have[id] = cachedKeys{keys, time.Now()}
	return keys, nil
}
