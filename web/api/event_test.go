package api

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestEventHasStackCrumbsAndTheMessageThatCausedIt(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	d := get[EventDetail](t, h, "/issues/7/events/latest", http.StatusOK)
	if d.Payload != "stored" || len(d.Exceptions) != 2 || d.Exceptions[0].Type != "payments.ChargeError" {
		t.Fatalf("payload %s, exceptions %+v; want two, the caught one first", d.Payload, d.Exceptions)
	}
	f := d.Exceptions[0].Frames[0]
	if f.Function != "payments.charge" || f.Line != 88 || !f.InApp || len(f.Context) != 5 || !f.Context[2].Hit || f.Context[0].Number != 86 {
		t.Errorf("newest frame %+v; want payments.charge:88 in app with five lines", f)
	}
	if len(d.Breadcrumbs) != 3 || d.Breadcrumbs[0].Category != "http" || d.Breadcrumbs[0].Time == nil {
		t.Errorf("breadcrumbs %+v; want the newest first", d.Breadcrumbs)
	}
	m := d.Message
	if m == nil || m.FoundBy != "event" || m.Hop.Topic != "payments" || m.AgeFrom != "appended" || !m.Age.Known || m.CrossesClock || m.Hop.Producer == nil {
		t.Fatalf("message %+v; want payments, its age since the append on one clock", m)
	}
	if m.Sent.Ns <= m.Age.Ns {
		t.Errorf("since sent %d, since appended %d; the record was sent first", m.Sent.Ns, m.Age.Ns)
	}
	if d.Number == nil || *d.Number != int(d.Issue.Events) || d.Newer != nil || d.Older == nil {
		t.Errorf("number %v newer %v older %v; the latest is the last and has an older one", d.Number, d.Newer, d.Older)
	}
	older := get[EventDetail](t, h, "/issues/7/events/"+*d.Older, http.StatusOK)
	if older.Newer == nil || *older.Newer != d.Event.ID {
		t.Errorf("newer of the older is %v, want %s", older.Newer, d.Event.ID)
	}
}

// onePlace has one record read by process span 2, below which span 3 fails.
func onePlace() (*fakestore.Store, *schemas.Event) {
	trace := fakestore.TraceID(1)
	s := &fakestore.Store{
		AllProjects: []schemas.Project{{ID: 1}},
		AllIssues:   []schemas.Issue{{ID: 5, Project: 1, Title: "it broke"}},
		AllSpans: []schemas.Span{
			{Project: 1, TraceID: trace, SpanID: schemas.SpanID{2}, Name: "process t", Start: 1000, End: 2000},
			{Project: 1, TraceID: trace, SpanID: schemas.SpanID{3}, ParentID: schemas.SpanID{2}, Name: "work", Start: 1100, End: 1900},
		},
		AllMessages: []schemas.Message{
			{
				Project: 1, Side: schemas.SideProduce, Topic: "t", Partition: 2, Offset: 9, BootID: "a", TraceID: fakestore.TraceID(9), SpanID: schemas.SpanID{1},
				Start: 100, Written: 150, Acked: 200, End: 200, HighWatermark: schemas.Unknown,
			},
			{
				Project: 1, Side: schemas.SideProcess, Topic: "t", Partition: 2, Offset: 9, Group: "g", BootID: "a", TraceID: trace, SpanID: schemas.SpanID{2},
				Start: 1000, Asked: 100, Answered: 900, Handed: 1000, End: 2000, RecordTime: 100, HighWatermark: 10,
			},
		},
		AllEvents: []schemas.Event{{Project: 1, ID: schemas.EventID{7}, Issue: 5, Time: 1500, TraceID: trace, SpanID: schemas.SpanID{3}, Partition: schemas.Unknown, Offset: schemas.Unknown}},
	}
	return s, &s.AllEvents[0]
}

func TestTheMessageIsFoundByTheSpanAboveTheEvent(t *testing.T) {
	s, _ := onePlace()
	d := get[EventDetail](t, newHandler(t, s), "/issues/5/events/latest", http.StatusOK)
	if m := d.Message; m == nil || m.FoundBy != "span" || m.Hop.Topic != "t" || m.Age != (Part{Known: true, Ns: 1300}) || m.Sent != (Part{Known: true, Ns: 1400}) {
		t.Errorf("message %+v; want t by its span, 1300 ns since the append, 1400 since it was sent", d.Message)
	}
	if d.Payload != "missing" {
		t.Errorf("payload %q, want missing", d.Payload)
	}
}

func TestAgeSaysWhatItIsMeasuredFrom(t *testing.T) {
	f := func(change func(*fakestore.Store, *schemas.Event), age Part, from string, crosses bool) {
		t.Helper()
		s, e := onePlace()
		change(s, e)
		m := get[EventDetail](t, newHandler(t, s), "/issues/5/events/latest", http.StatusOK).Message
		if m == nil {
			t.Fatal("no message")
		}
		if m.Age != age || m.AgeFrom != from || m.CrossesClock != crosses {
			t.Errorf("age %+v from %q crosses %v; want %+v from %q crosses %v", m.Age, m.AgeFrom, m.CrossesClock, age, from, crosses)
		}
	}
	f(func(s *fakestore.Store, _ *schemas.Event) { s.AllMessages[1].BootID = "b" }, Part{Known: true, Ns: 1300}, "appended", true)
	f(func(s *fakestore.Store, _ *schemas.Event) { s.AllMessages[0].Written = 0 }, Part{Known: true, Ns: 1400}, "sent", false)
	f(func(s *fakestore.Store, _ *schemas.Event) { s.AllMessages = s.AllMessages[1:] }, Part{Known: true, Ns: 1400}, "timestamp", true)
	f(func(s *fakestore.Store, _ *schemas.Event) {
		s.AllMessages = s.AllMessages[1:]
		s.AllMessages[0].RecordTime = 0
	}, Part{}, "", false)
	f(func(s *fakestore.Store, e *schemas.Event) { e.Time = 150 }, Part{Known: true, Ns: -50}, "appended", false)
	f(func(s *fakestore.Store, e *schemas.Event) {
		s.AllMessages = nil
		e.Topic, e.Partition, e.Offset = "t", 2, 9
	}, Part{}, "", false)
}

func TestNoMessageIsGuessed(t *testing.T) {
	f := func(name string, change func(*fakestore.Store, *schemas.Event)) {
		t.Helper()
		s, e := onePlace()
		change(s, e)
		if m := get[EventDetail](t, newHandler(t, s), "/issues/5/events/latest", http.StatusOK).Message; m != nil {
			t.Errorf("%s: message %+v, want none", name, m)
		}
	}
	f("an event without trace", func(_ *fakestore.Store, e *schemas.Event) { e.TraceID = schemas.TraceID{} })
	f("a span beside the processing", func(s *fakestore.Store, _ *schemas.Event) { s.AllSpans[1].ParentID = schemas.SpanID{} })
	f("parents in a ring", func(s *fakestore.Store, _ *schemas.Event) { s.AllSpans[1].ParentID = schemas.SpanID{3} })
	f("a batch of two records", func(s *fakestore.Store, _ *schemas.Event) {
		other := s.AllMessages[1]
		other.Offset++
		s.AllMessages = append(s.AllMessages, other)
	})
}

func TestPayloadsOfAnyFormAreRead(t *testing.T) {
	f := func(raw string, want payload) {
		t.Helper()
		got, ok := readPayload([]byte(raw))
		if !ok {
			t.Fatalf("%s is not read", raw)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(payload{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
	none := func(change func(*payload)) payload {
		p := payload{
			exceptions: []Exception{}, breadcrumbs: []Breadcrumb{}, tags: []Attribute{}, contexts: []Context{},
			user: []Attribute{}, request: []Attribute{}, notes: []Note{},
		}
		if change != nil {
			change(&p)
		}
		return p
	}
	f(`{}`, none(nil))
	f(`{"exception": 7, "breadcrumbs": "x", "tags": [1], "contexts": []}`, none(nil))
	f(`{"exception": [{"type": "A", "value": "b", "mechanism": {"type": "m", "handled": false}}]}`, none(func(p *payload) {
		no := false
		p.exceptions = []Exception{{Type: "A", Value: "b", Mechanism: "m", Handled: &no, Frames: []Frame{}}}
	}))
	f(`{"exception": {"values": [{"type": "cause"}, null, {"type": "caught"}]}}`, none(func(p *payload) {
		p.exceptions = []Exception{{Type: "caught", Frames: []Frame{}}, {Type: "cause", Frames: []Frame{}}}
	}))
	f(`{"tags": [["a", "1"], ["b", 2], ["odd"]]}`, none(func(p *payload) { p.tags = []Attribute{{"a", "1"}, {"b", "2"}} }))
	f(`{"tags": {"b": true, "a": "1", "n": null}}`, none(func(p *payload) { p.tags = []Attribute{{"a", "1"}, {"b", "true"}} }))
	f(`{"contexts": {"kafka": {"offset": 42, "nested": {"x": [1]}}, "empty": {}}}`, none(func(p *payload) {
		p.contexts = []Context{{Name: "kafka", Data: []Attribute{{"nested", `{"x": [1]}`}, {"offset", "42"}}}}
	}))
	f(`{"breadcrumbs": [{"timestamp": 1600000000.25, "message": "m"}, {"timestamp": "2026-11-23T14:00:00Z"}, {"timestamp": -5}]}`, none(func(p *payload) {
		first, second := Nanos("1600000000250000000"), Nanos("1795442400000000000")
		p.breadcrumbs = []Breadcrumb{{Data: []Attribute{}}, {Time: &second, Data: []Attribute{}}, {Time: &first, Message: "m", Data: []Attribute{}}}
	}))
	f(`{"logentry": {"message": "%s broke", "formatted": "it broke"}, "user": {"id": 7, "email": "a@example.com"}, "extra": {"n": 1}}`, none(func(p *payload) {
		p.text, p.user = "it broke", []Attribute{{"email", "a@example.com"}, {"id", "7"}}
		p.contexts = []Context{{Name: "extra", Data: []Attribute{{"n", "1"}}}}
	}))
	f(`{"message": "hello", "request": {"url": "http://shop/", "method": "GET", "query_string": [["a", "1"], ["b", 2]], "headers": [["Accept", "*/*"]], "env": {"REMOTE_ADDR": "10.0.0.1"}}}`, none(func(p *payload) {
		p.text = "hello"
		p.request = []Attribute{{"method", "GET"}, {"url", "http://shop/"}, {"query_string", "a=1&b=2"}, {"header Accept", "*/*"}, {"env REMOTE_ADDR", "10.0.0.1"}}
	}))
	f(`{"exception": {"values": [{"stacktrace": {"frames": [
		{"function": "t", "data": {"symbolication": "no map is there"}},
		{"function": "pay", "vars": {"card": "[Filtered]"}, "data": {"symbolicated": true}}]}}]}}`, none(func(p *payload) {
		p.exceptions = []Exception{{Frames: []Frame{
			{Function: "pay", Mapped: true, Context: []SourceLine{}, Vars: []Attribute{{"card", "[Filtered]"}}},
			{Function: "t", Unmapped: "no map is there", Context: []SourceLine{}, Vars: []Attribute{}},
		}}}
	}))
	f(`{"_meta": {"request": {"headers": {"10": {"1": {"": {"rem": [["@token", "s", 0, 10]], "len": 36}}}, "2": {"": {"rem": [["mine", "x"], ["mine", "m"], ["mine", "p"]]}}}},
		"message": {"": {"len": 9000, "rem": [["!limit", "s", 8000, 8003]]}}, "extra": {"": {"rem": [["!limit", "x"]]}}, "level": {"": {"err": ["no level", ["other", {"a": 1}]]}}, "odd": 7}}`, none(func(p *payload) {
		p.notes = []Note{
			{Path: "extra", What: "removed"},
			{Path: "level", What: "refused", Rule: "no level"},
			{Path: "level", What: "refused", Rule: "other"},
			{Path: "message", What: "cut", Length: 9000},
			{Path: "request.headers.2", What: "removed", Rule: "mine"},
			{Path: "request.headers.2", What: "masked", Rule: "mine"},
			{Path: "request.headers.2", What: "hashed", Rule: "mine"},
			{Path: "request.headers.10.1", What: "replaced", Rule: "@token", Length: 36},
		}
	}))
	for _, raw := range []string{``, `[]`, `{"a":`, `null x`} {
		if _, ok := readPayload([]byte(raw)); ok {
			t.Errorf("%q was read", raw)
		}
	}
}

func FuzzReadPayload(f *testing.F) {
	f.Add([]byte(`{"exception":{"values":[{"stacktrace":{"frames":[{"context_line":"x","pre_context":["a"],"lineno":1}]}}]}}`))
	f.Add([]byte(`{"_meta":{"a":{"1":{"":{"rem":[["r","s"]],"err":["e",["f"]],"len":3}}}},"request":{"headers":[["a","b"]],"query_string":"x"}}`))
	f.Add([]byte(`{"threads":[{"crashed":true,"name":"t"}],"tags":[["a","b"]],"breadcrumbs":{"values":[{"timestamp":1e300}]}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, ok := readPayload(raw)
		if ok && (len(p.exceptions) > maxExceptions || len(p.breadcrumbs) > maxBreadcrumbs || len(p.tags) > maxData || len(p.notes) > maxNotes || len(p.request) > maxData) {
			t.Errorf("limits exceeded: %d exceptions, %d breadcrumbs, %d tags", len(p.exceptions), len(p.breadcrumbs), len(p.tags))
		}
	})
}
