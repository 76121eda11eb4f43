package normalize

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func good() schemas.Span {
	return schemas.Span{
		TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{1}, Name: "n", Service: "s",
		Start: now.UnixNano(), End: now.Add(time.Second).UnixNano(),
	}
}

func TestImpossibleSpansAreDroppedForTheirReasonAndTheOthersStayInOrder(t *testing.T) {
	f := func(want Reason, change func(*schemas.Span)) {
		t.Helper()
		spans := []schemas.Span{good(), good(), good()}
		spans[0].Position.Index, spans[2].Position.Index = 10, 12
		change(&spans[1])
		var dropped Dropped
		kept := Spans(Config{}, spans, now.UnixNano(), &dropped)
		var counted Dropped
		if want != Reasons {
			counted[want] = 1
		} else if len(kept) == 3 {
			return
		}
		if dropped != counted || len(kept) != 2 || kept[0].Position.Index != 10 || kept[1].Position.Index != 12 {
			t.Errorf("want %s: dropped %v, kept %d", want, dropped, len(kept))
		}
	}
	f(NoTraceID, func(s *schemas.Span) { s.TraceID = schemas.TraceID{} })
	f(NoSpanID, func(s *schemas.Span) { s.SpanID = schemas.SpanID{} })
	f(NoStart, func(s *schemas.Span) { s.Start = 0 })
	f(NoStart, func(s *schemas.Span) { s.Start, s.End = -5, -1 }) // beyond the year 2262 in OTLP
	f(EndBeforeStart, func(s *schemas.Span) { s.End = s.Start - 1 })
	f(EndBeforeStart, func(s *schemas.Span) { s.End = 0 })
	f(InFuture, func(s *schemas.Span) { s.End = now.Add(24*time.Hour + 1).UnixNano() })
	f(TooOld, func(s *schemas.Span) { s.Start = now.Add(-90*24*time.Hour - 1).UnixNano() })
	f(Reasons, func(s *schemas.Span) { s.End = s.Start })
	f(Reasons, func(s *schemas.Span) { s.End = now.Add(24 * time.Hour).UnixNano() })
	f(Reasons, func(s *schemas.Span) { s.Start = now.Add(-90 * 24 * time.Hour).UnixNano() })
	seen := map[string]bool{}
	for r := range Reasons {
		if s := r.String(); s == "unknown" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		} else {
			seen[s] = true
		}
	}
}

func TestSpansGetDefaultsAndBounds(t *testing.T) {
	s := good()
	s.Name, s.Service, s.ParentID = strings.Repeat("ä", MaxName), "", s.SpanID
	s.Events = []schemas.SpanEvent{{Name: "e"}, {Time: 5}}
	s.Links = []schemas.Link{{SpanID: schemas.SpanID{1}}, {TraceID: schemas.TraceID{2}, SpanID: schemas.SpanID{2}}, {TraceID: schemas.TraceID{1}}}
	unnamed := good()
	unnamed.Name = ""
	kept := Spans(Config{}, []schemas.Span{s, unnamed}, now.UnixNano(), &Dropped{})
	want := good()
	want.Name, want.Service = strings.Repeat("ä", MaxName/2), "unknown_service"
	want.Events = []schemas.SpanEvent{{Name: "e", Time: want.Start}, {Time: 5}}
	want.Links = []schemas.Link{{TraceID: schemas.TraceID{2}, SpanID: schemas.SpanID{2}}}
	if d := cmp.Diff(want, kept[0]); d != "" {
		t.Errorf("span (-want +got):\n%s", d)
	}
	if kept[1].Name != "unnamed" {
		t.Errorf("a span without a name is called %q", kept[1].Name)
	}
}

func from(t *testing.T, payload string) *Event {
	t.Helper()
	e, _ := kept(t, Input{Payload: []byte(payload)})
	return e
}

// kept gives an event and the document that is kept of it.
func kept(t testing.TB, in Input) (*Event, string) {
	t.Helper()
	if in.Received == 0 {
		in.Received = now.UnixNano()
	}
	n := NewNormalizer(Config{})
	e, err := n.Event(in)
	if err != nil {
		t.Fatal(err)
	}
	return e, string(n.AppendJSON(nil))
}

func TestAnEventHasOneFormWhateverTheSDKWrote(t *testing.T) {
	e := from(t, `{"event_id":"5C4F1B0A-9d3e-4f7a-8b6c-5d4e3f2a1b0c","timestamp":"2026-11-23T11:59:58.5Z","level":"CRITICAL","platform":"go","logger":"x",
		"transaction":"GET /","release":"r1","environment":"prod","server_name":"h1","sdk":{"name":"sentry.go","version":"0.50.0"},"tags":{"a":"b"},
		"contexts":{"trace":{"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"},"kafka":{"topic":"orders","partition":"3","offset":0,"consumer_group":"g"}},
		"exception":{"values":[{"type":"Cause","value":"c"},{"type":"Shown","value":"\n first line \nsecond","stacktrace":{"frames":[{"function":"own","module":"shop"},{"function":"Read","module":"net"}]}}]}}`)
	trace, _ := schemas.ParseTraceID("0af7651916cd43dd8448eb211c80319c")
	span, _ := schemas.ParseSpanID("b7ad6b7169203331")
	id, _ := EventID("5c4f1b0a9d3e4f7a8b6c5d4e3f2a1b0c")
	want := schemas.Event{
		ID: id, Time: now.Add(-1500 * time.Millisecond).UnixNano(), Received: now.UnixNano(), Level: "fatal", Platform: "go",
		Type: "Shown", Value: "first line", Culprit: "shop in own", Transaction: "GET /", Release: "r1", Environment: "prod",
		Server: "h1", SDK: "sentry.go/0.50.0", SDKName: "sentry.go", Logger: "x", Origin: schemas.OriginSentry, Weight: 1,
		TraceID: trace, SpanID: span, Topic: "orders", Partition: 3, Offset: 0, Group: "g", Age: schemas.Unknown, OriginalPartition: schemas.Unknown, OriginalOffset: schemas.Unknown,
		Tags: []schemas.Attribute{{Key: "a", Value: "b"}},
	}
	if d := cmp.Diff(want, e.Event); d != "" {
		t.Errorf("event (-want +got):\n%s", d)
	}
	if e.Title != "Shown: first line" {
		t.Errorf("title %q", e.Title)
	}
}

func TestWhatAnEventDoesNotTellHasADefault(t *testing.T) {
	e := from(t, `{"contexts":{"kafka":{"partition":1,"offset":2}}}`)
	want := schemas.Event{
		Time: now.UnixNano(), Received: now.UnixNano(), Level: "error", Platform: "other", Origin: schemas.OriginSentry, Weight: 1,
		Partition: schemas.Unknown, Offset: schemas.Unknown, Age: schemas.Unknown, OriginalPartition: schemas.Unknown, OriginalOffset: schemas.Unknown,
	}
	if d := cmp.Diff(want, e.Event); d != "" {
		t.Errorf("event (-want +got):\n%s", d)
	}
	if e.Title == "" {
		t.Error("an event without a title")
	}
	e = from(t, `{"contexts":{"kafka":{"topic":"t","group":"g"}}}`)
	if e.Topic != "t" || e.Group != "g" {
		t.Errorf("topic %q and group %q; want t and g", e.Topic, e.Group)
	}
	e = from(t, `{"contexts":{"kafka":{"topic":"t","partition":-1,"offset":"x"},"trace":{"trace_id":"short","span_id":"b7ad6b7169203331"}}}`)
	if e.Topic != "t" || e.Partition != schemas.Unknown || e.Offset != schemas.Unknown || !e.TraceID.IsZero() || !e.SpanID.IsZero() {
		t.Errorf("got %+v", e.Event)
	}
}

func TestTimesThatCannotBeAreTheTimeOfReception(t *testing.T) {
	f := func(at time.Time, want time.Time) {
		t.Helper()
		if e := from(t, `{"timestamp":"`+at.Format(time.RFC3339Nano)+`"}`); e.Time != want.UnixNano() {
			t.Errorf("sent %v: got %v, want %v", at, time.Unix(0, e.Time).UTC(), want)
		}
	}
	f(now.Add(-time.Hour), now.Add(-time.Hour))
	f(now.Add(time.Minute), now.Add(time.Minute))
	f(now.Add(time.Minute+1), now)
	f(now.Add(-91*24*time.Hour), now)
}

func TestTheStackIsOfTheOneThreadThatTells(t *testing.T) {
	f := func(threads, want string) {
		t.Helper()
		e := from(t, `{"platform":"go","message":"m","threads":`+threads+`}`)
		got := ""
		for _, fr := range e.Frames {
			got += fr.Function
		}
		if got != want {
			t.Errorf("%s: stack of %q, want %q", threads, got, want)
		}
	}
	thread := func(flags, fn string) string {
		return `{` + flags + `"stacktrace":{"frames":[{"function":"` + fn + `"}]}}`
	}
	a, b, c := thread("", "a"), thread(`"current":true,`, "b"), thread(`"crashed":true,`, "c")
	f(`[`+a+`]`, "a")
	f(`{"values":[`+a+`,`+b+`]}`, "b")
	f(`[`+a+`,`+b+`,`+c+`]`, "c")
	f(`[`+c+`,`+c+`,`+b+`]`, "b")
	f(`[`+a+`,`+a+`]`, "")
}

func TestTheSDKSaysWhatIsTheProgramsOwnElseRulesDo(t *testing.T) {
	f := func(platform string, fr Frame, want bool) {
		t.Helper()
		if got := inAppOf(platform, &fr); got != want {
			t.Errorf("%s %+v: in app is %v, want %v", platform, fr, got, want)
		}
	}
	f("go", Frame{Module: "main", Function: "main"}, true)
	f("go", Frame{Module: "example.com/shop/payments", AbsPath: "/src/payments/a.go"}, true)
	f("go", Frame{Module: "shop/payments"}, true)
	f("go", Frame{Module: "net/http", AbsPath: "/usr/local/go/src/net/http/server.go"}, false)
	f("go", Frame{Module: "runtime"}, false)
	f("go", Frame{Module: "github.com/x/y", AbsPath: "/home/app/go/pkg/mod/github.com/x/y@v1/a.go"}, false)
	f("go", Frame{Module: "github.com/x/y", AbsPath: "/src/vendor/github.com/x/y/a.go"}, false)
	f("go", Frame{Module: "github.com/segmentio/kafka-go"}, false)
	f("node", Frame{Filename: "/app/dist/a.js"}, true)
	f("node", Frame{Filename: "/app/node_modules/kafkajs/a.js"}, false)
	f("node", Frame{Filename: "node:events"}, false)
	f("python", Frame{AbsPath: "/srv/shop/a.py"}, true)
	f("python", Frame{AbsPath: "/usr/lib/python3.12/site-packages/celery/a.py"}, false)
	f("python", Frame{AbsPath: `C:\Python\Lib\site-packages\x.py`}, false)
	f("java", Frame{Module: "org.apache.kafka.clients.Consumer"}, false)
	f("java", Frame{Module: "com.acme.Shop"}, true)
	f("other", Frame{}, false)
	e := from(t, `{"platform":"go","exception":[{"type":"E","stacktrace":{"frames":[{"module":"runtime","in_app":true},{"module":"main","in_app":false}]}}]}`)
	if fr := e.Exceptions[0].Frames; !fr[0].InApp || fr[1].InApp {
		t.Errorf("the SDK's word was not taken: %+v", fr)
	}
}

func TestTextIsBounded(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	e := from(t, `{"level":"`+long+`","platform":"`+long+`","release":"`+long+`","transaction":"`+long+`","server_name":"`+long+`","environment":"`+long+`",
		"tags":{"`+long+`":"`+long+`"},"sdk":{"name":"`+long+`","version":"`+long+`"},"contexts":{"kafka":{"topic":"`+long+`","consumer_group":"`+long+`"}},
		"exception":[{"type":"`+long+`","value":"`+long+`","stacktrace":{"frames":[{"function":"`+long+`","module":"`+long+`","in_app":true}]}}]}`)
	for name, s := range map[string]string{
		"level": e.Level, "platform": e.Platform, "transaction": e.Transaction, "server": e.Server,
		"tag": e.Tags[0].Key, "value of tag": e.Tags[0].Value, "sdk": e.SDK, "topic": e.Topic, "group": e.Group, "type": e.Type, "value": e.Value, "culprit": e.Culprit,
	} {
		if len(s) > 1<<10 || s == "" {
			t.Errorf("%s has %d bytes", name, len(s))
		}
	}
	if len(e.Title) > 256 {
		t.Errorf("title has %d bytes", len(e.Title))
	}
}
