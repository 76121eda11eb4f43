package peers

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Normal is a span without what differs from run to run: ids are numbers in the
// order of the spans, times and ports are gone once they were found plausible.
type Normal struct {
	Scope string // name, version and schema URL
	Span  *traces.Span
}

// timeKeys are attributes of Unix nanoseconds. They must lie within the run.
var timeKeys = []string{
	"hoptrace.produce.first_written", "hoptrace.produce.written", "hoptrace.produce.acked", "hoptrace.produce.appended",
	"hoptrace.consume.asked", "hoptrace.consume.answered", "hoptrace.consume.handed", "hoptrace.consume.record_time", "hoptrace.retry.first_seen",
}

// window bounds the times of a run, in Unix nanoseconds.
type window struct{ from, to int64 }

// holds allows for record times, which are whole milliseconds.
func (w window) holds(t int64) bool { return t >= w.from-1e6 && t <= w.to }

// known are the contexts that a scenario gives: span id to name, trace id to name.
var known = map[string]string{
	"0200000000000000": "app", "01000000000000000000000000000009": "app",
}

func init() {
	for i := range 10 {
		parts := strings.Split(remote(i), "-")
		known[parts[1]], known[parts[2]] = "remote "+strconv.Itoa(i), "remote "+strconv.Itoa(i)
	}
	given := strings.Split(givenContext, "-")
	known[given[1]], known[given[2]] = "given", "given"
}

// Normalise takes what was exported, keeps nothing of it, and names every time
// that cannot be.
func Normalise(scopes []*traces.ScopeSpans, w window) (out []Normal, faults []string) {
	for _, sc := range scopes {
		scope := fmt.Sprintf("%s %s %s", sc.Scope.GetName(), sc.Scope.GetVersion(), sc.SchemaUrl)
		for _, s := range sc.Spans {
			c := proto.Clone(s).(*traces.Span)
			faults = append(faults, plausible(c, w)...)
			out = append(out, Normal{scope, c})
		}
	}
	sortByContent(out)
	number := map[string]uint64{}
	id := func(b []byte) []byte {
		if len(b) == 0 || known[hex.EncodeToString(b)] != "" {
			return b
		}
		n := number[string(b)]
		if n == 0 {
			n = uint64(len(number) + 1)
			number[string(b)] = n
		}
		short := make([]byte, len(b))
		binary.BigEndian.PutUint64(short[len(b)-8:], n)
		return short
	}
	for _, n := range out {
		n.Span.SpanId = id(n.Span.SpanId)
	}
	for _, n := range out {
		n.Span.TraceId = id(n.Span.TraceId)
	}
	for _, n := range out {
		n.Span.ParentSpanId = id(n.Span.ParentSpanId)
		for _, l := range n.Span.Links {
			l.SpanId, l.TraceId = id(l.SpanId), id(l.TraceId)
		}
	}
	return out, faults
}

// sortByContent orders spans by what they say without ids, and those that say the
// same by what they belong and link to, so that the order is no chance.
func sortByContent(all []Normal) {
	rank := map[string]int{} // by span id, equal for spans not told apart yet
	text := func(n Normal) string {
		return n.Scope + render(n.Span, func(id []byte) string {
			if k := known[hex.EncodeToString(id)]; k != "" {
				return k
			}
			if string(id) == string(n.Span.SpanId) {
				return ""
			}
			return strconv.Itoa(rank[string(id)])
		})
	}
	for range 4 { // a link, its span's link, and so on
		texts := make(map[*traces.Span]string, len(all))
		for _, n := range all {
			texts[n.Span] = text(n)
		}
		slices.SortStableFunc(all, func(a, b Normal) int { return cmp.Compare(texts[a.Span], texts[b.Span]) })
		for i, n := range all {
			if i > 0 && texts[n.Span] == texts[all[i-1].Span] {
				rank[string(n.Span.SpanId)] = rank[string(all[i-1].Span.SpanId)]
				continue
			}
			rank[string(n.Span.SpanId)] = i + 1
		}
	}
}

// plausible checks times, takes them out and orders attributes.
func plausible(s *traces.Span, w window) (faults []string) {
	start, end := int64(s.StartTimeUnixNano), int64(s.EndTimeUnixNano) //nolint:gosec // times of this century
	if !w.holds(start) || !w.holds(end) || end < start {
		faults = append(faults, fmt.Sprintf("%s lasts from %d to %d, in a run from %d to %d", s.Name, start, end, w.from, w.to))
	}
	s.StartTimeUnixNano, s.EndTimeUnixNano = 0, 0
	attributes := func(all []*common.KeyValue) {
		for _, a := range all {
			switch {
			case slices.Contains(timeKeys, a.Key):
				t := a.Value.GetIntValue()
				if !w.holds(t) {
					faults = append(faults, fmt.Sprintf("%s has %s = %s, in a run from %d to %d", s.Name, a.Key, textOf(a.Value), w.from, w.to))
				}
				a.Value = word("time")
			case a.Key == "messaging.message.receive.latency":
				if _, ok := a.Value.GetValue().(*common.AnyValue_DoubleValue); !ok {
					faults = append(faults, fmt.Sprintf("%s has %s = %v, not a number of milliseconds", s.Name, a.Key, a.Value))
				}
				a.Value = word("milliseconds")
			case strings.HasSuffix(a.Key, ".port"):
				a.Value = word("port")
			case a.Key == "exception.stacktrace":
				a.Value = word("stack")
			case a.Key == "exception.message", a.Key == "error.message":
				a.Value = &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: withoutAddress(a.Value.GetStringValue())}}
			}
		}
		slices.SortFunc(all, func(a, b *common.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	}
	attributes(s.Attributes)
	for _, l := range s.Links {
		attributes(l.Attributes)
	}
	slices.SortStableFunc(s.Links, func(a, b *traces.Span_Link) int {
		return cmp.Or(bytes.Compare(knownID(a.SpanId), knownID(b.SpanId)), cmp.Compare(fmt.Sprint(a.Attributes), fmt.Sprint(b.Attributes)))
	})
	for _, e := range s.Events {
		if !w.holds(int64(e.TimeUnixNano)) { //nolint:gosec // a time of this century
			faults = append(faults, fmt.Sprintf("%s has an event at %d", s.Name, e.TimeUnixNano))
		}
		e.TimeUnixNano = 0
		attributes(e.Attributes)
	}
	if s.Status != nil {
		s.Status.Message = withoutAddress(s.Status.Message)
	}
	return faults
}

func knownID(b []byte) []byte {
	if known[hex.EncodeToString(b)] == "" {
		return nil
	}
	return b
}

func word(w string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: "<" + w + ">"}}
}

// withoutAddress takes ports out of an error's words.
func withoutAddress(s string) string {
	const host = "127.0.0.1:"
	for from := 0; ; {
		i := strings.Index(s[from:], host)
		if i < 0 {
			return s
		}
		i += from + len(host)
		end := i
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		s = s[:i] + "<port>" + s[end:]
		from = i
	}
}

// Render writes spans as text, for golden files.
func Render(spans []Normal) string {
	var out strings.Builder
	if len(spans) == 0 {
		return "no spans\n"
	}
	for _, n := range spans {
		fmt.Fprintf(&out, "%s", render(n.Span, name))
	}
	return out.String()
}

func name(id []byte) string {
	if len(id) == 0 {
		return "none"
	}
	if k := known[hex.EncodeToString(id)]; k != "" {
		return k
	}
	return strconv.FormatUint(binary.BigEndian.Uint64(id[len(id)-8:]), 10)
}

func render(s *traces.Span, name func([]byte) string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s) span %s, parent %s, trace %s, flags %#x\n", s.Name, kindOf(s), name(s.SpanId), name(s.ParentSpanId), name(s.TraceId), s.Flags)
	if s.TraceState != "" {
		fmt.Fprintf(&out, "\ttracestate %s\n", s.TraceState)
	}
	if s.Status.GetCode() != 0 || s.Status.GetMessage() != "" {
		fmt.Fprintf(&out, "\tstatus %s %q\n", strings.TrimPrefix(s.Status.GetCode().String(), "STATUS_CODE_"), s.Status.GetMessage())
	}
	for _, l := range s.Links {
		fmt.Fprintf(&out, "\tlink to %s, trace %s, flags %#x", name(l.SpanId), name(l.TraceId), l.Flags)
		if l.TraceState != "" {
			fmt.Fprintf(&out, ", tracestate %s", l.TraceState)
		}
		for _, a := range l.Attributes {
			fmt.Fprintf(&out, ", %s", attributeText(a))
		}
		fmt.Fprintln(&out)
	}
	for _, a := range s.Attributes {
		fmt.Fprintf(&out, "\t%s\n", attributeText(a))
	}
	for _, e := range s.Events {
		fmt.Fprintf(&out, "\tevent %s", e.Name)
		for _, a := range e.Attributes {
			fmt.Fprintf(&out, ", %s", attributeText(a))
		}
		fmt.Fprintln(&out)
	}
	if n := s.DroppedAttributesCount + s.DroppedEventsCount + s.DroppedLinksCount; n > 0 {
		fmt.Fprintf(&out, "\tdropped %d attributes, %d events, %d links\n", s.DroppedAttributesCount, s.DroppedEventsCount, s.DroppedLinksCount)
	}
	return out.String()
}

func attributeText(a *common.KeyValue) string {
	v := textOf(a.Value)
	switch a.Value.GetValue().(type) {
	case *common.AnyValue_StringValue:
		if !strings.HasPrefix(v, "<") {
			v = strconv.Quote(v)
		}
	case *common.AnyValue_DoubleValue:
		v += " (double)"
	}
	return a.Key + " = " + v
}
