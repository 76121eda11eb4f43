package otelerrors

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestStacksOfEachLanguageAreRead(t *testing.T) {
	f := func(language, text string, want ...exception) {
		t.Helper()
		if d := cmp.Diff(want, parseStack(language, text)); d != "" {
			t.Errorf("%s (-want +got):\n%s", language, d)
		}
		if language != "go" { // its form is not told apart from others by a word
			if d := cmp.Diff(want, parseStack("", text)); d != "" {
				t.Errorf("%s, not told (-want +got):\n%s", language, d)
			}
		}
	}
	f("go", "goroutine 7 [running]:\nshop/pay.(*Client).Charge(0xc000012345, {0x1, 0x2})\n\t/src/shop/pay/client.go:31 +0x1d\ngithub.com/acme/v2/kafka.Run[...](0x1)\n\t/src/kafka/run.go:12 +0x2\ncreated by main.main in goroutine 1\n\t/src/main.go:9 +0x3\n",
		exception{Frames: []frame{
			{Module: "main", Function: "main", File: "/src/main.go", Line: 9},
			{Module: "github.com/acme/v2/kafka", Function: "Run[...]", File: "/src/kafka/run.go", Line: 12},
			{Module: "shop/pay", Function: "(*Client).Charge", File: "/src/shop/pay/client.go", Line: 31},
		}})
	f("java", "java.lang.IllegalStateException: cannot charge: 7\n\tat com.shop.Pay.charge(Pay.java:31)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\n\tSuppressed: java.io.IOException: x\n\t\tat com.shop.Other.close(Other.java:1)\nCaused by: com.shop.CardDeclined: expired\n\tat com.shop.Card.check(Card.java:5)\n\t... 2 more\n",
		exception{Type: "CardDeclined", Module: "com.shop", Value: "expired", Frames: []frame{{Module: "com.shop.Card", Function: "check", File: "Card.java", Line: 5}}},
		exception{Type: "IllegalStateException", Module: "java.lang", Value: "cannot charge: 7", Frames: []frame{
			{Module: "java.lang.Thread", Function: "run", File: "Thread.java", Line: 840},
			{Module: "com.shop.Pay", Function: "charge", File: "Pay.java", Line: 31},
		}})
	f("python", "Traceback (most recent call last):\n  File \"/app/card.py\", line 5, in check\n    raise CardDeclined(\"expired\")\nshop.CardDeclined: expired\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"/app/main.py\", line 9, in <module>\n    charge()\n  File \"/app/pay.py\", line 31, in charge\n    raise RuntimeError(\"x\") from e\nRuntimeError: cannot charge\n",
		exception{Type: "CardDeclined", Module: "shop", Value: "expired", Frames: []frame{{Module: "card", Function: "check", File: "/app/card.py", Line: 5, Context: `raise CardDeclined("expired")`}}},
		exception{Type: "RuntimeError", Value: "cannot charge", Frames: []frame{
			{Module: "main", Function: "<module>", File: "/app/main.py", Line: 9, Context: "charge()"},
			{Module: "pay", Function: "charge", File: "/app/pay.py", Line: 31, Context: `raise RuntimeError("x") from e`},
		}})
	f("nodejs", "TypeError: x is not a function\n    at Client.charge [as pay] (/app/pay.js:31:7)\n    at async file:///app/main.mjs:9:1\n    at new Promise (<anonymous>)\n",
		exception{Frames: []frame{
			{Function: "new Promise", File: "<anonymous>"},
			{File: "/app/main.mjs", Line: 9, Column: 1},
			{Function: "Client.charge", File: "/app/pay.js", Line: 31, Column: 7},
		}})
	f("ruby", "/app/pay.rb:31:in `charge': expired (CardDeclined)\n\tfrom /app/main.rb:9:in '<main>'\n",
		exception{Frames: []frame{{Function: "<main>", File: "/app/main.rb", Line: 9}, {Function: "charge", File: "/app/pay.rb", Line: 31}}})
	f("php", "#0 /app/pay.php(31): Shop\\Card->check('x')\n#1 /app/main.php(9): charge()\n#2 {main}\n",
		exception{Frames: []frame{{Function: "charge", File: "/app/main.php", Line: 9}, {Function: `Shop\Card->check`, File: "/app/pay.php", Line: 31}}})
	f("dotnet", "System.Exception: x\n   at Shop.Pay.Charge(String id) in /app/Pay.cs:line 31\n   at System.Threading.Task.Run()\n",
		exception{Frames: []frame{{Module: "System.Threading.Task", Function: "Run"}, {Module: "Shop.Pay", Function: "Charge", File: "/app/Pay.cs", Line: 31}}})
}

func TestARealGoStackIsRead(t *testing.T) {
	got := parseStack("go", string(debug.Stack()))
	if len(got) != 1 || len(got[0].Frames) < 3 {
		t.Fatalf("got %+v", got)
	}
	last := got[0].Frames[len(got[0].Frames)-2] // the innermost is debug.Stack itself
	if last.Function != "TestARealGoStackIsRead" || !strings.HasSuffix(last.Module, "pipeline/otelerrors") || last.Line == 0 {
		t.Errorf("the frame of this test is %+v", last)
	}
}

func span() *schemas.Span {
	return &schemas.Span{
		Project: 7, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{2}, Name: "process orders", Service: "payments", Scope: "otelkafkago",
		Resource: []schemas.Attribute{{Key: "telemetry.sdk.language", Value: "java"}, {Key: "service.version", Value: "1.2.3"}, {Key: "deployment.environment.name", Value: "prod"}, {Key: "host.name", Value: "h1"}},
		Attributes: []schemas.Attribute{
			{Key: "messaging.system", Value: "kafka"},
			{Key: "messaging.destination.name", Value: "orders"},
			{Key: "messaging.destination.partition.id", Value: "3"},
			{Key: "messaging.kafka.offset", Value: "17"},
			{Key: "messaging.consumer.group.name", Value: "payments"},
		},
		Events: []schemas.SpanEvent{
			{Time: 5, Name: "retry"},
			{Time: 1795435190_000000005, Name: "exception", Attributes: []schemas.Attribute{{Key: "exception.type", Value: "com.shop.CardDeclined"}, {Key: "exception.message", Value: "expired"}, {Key: "exception.stacktrace", Value: "com.shop.CardDeclined: expired\n\tat com.shop.Card.check(Card.java:5)\n"}, {Key: "exception.escaped", Value: "true"}}},
			{Time: 6, Name: "exception"},
		},
	}
}

func TestAnExceptionOfASpanIsAnEventThatKnowsItsRecord(t *testing.T) {
	got := OfSpan(nil, span())
	if len(got) != 1 {
		t.Fatalf("%d events, want 1", len(got))
	}
	var e struct {
		EventID   string      `json:"event_id"`
		Timestamp json.Number `json:"timestamp"`
		Release   string
		Exception struct {
			Values []struct {
				Type, Value, Module string
				Mechanism           struct{ Handled bool }
				Stacktrace          struct {
					Frames []struct{ Function, Module string }
				}
			}
		}
		Contexts struct {
			Kafka struct {
				Topic             string
				Partition, Offset int64
				Group             string `json:"consumer_group"`
			}
			Trace struct {
				ID string `json:"trace_id"`
			}
		}
	}
	if err := json.Unmarshal(got[0].Payload, &e); err != nil {
		t.Fatal(err)
	}
	k := e.Contexts.Kafka
	if e.EventID != got[0].ID.String() || e.Timestamp != "1795435190.000000005" || e.Release != "payments@1.2.3" || k.Topic != "orders" || k.Partition != 3 || k.Offset != 17 || k.Group != "payments" ||
		e.Contexts.Trace.ID != span().TraceID.String() || len(e.Exception.Values) != 1 {
		t.Errorf("the event is %s", got[0].Payload)
	}
	if x := e.Exception.Values[0]; x.Type != "CardDeclined" || x.Module != "com.shop" || x.Value != "expired" || x.Mechanism.Handled || len(x.Stacktrace.Frames) != 1 || x.Stacktrace.Frames[0].Function != "check" {
		t.Errorf("the exception is %+v", x)
	}
	if again := OfSpan(nil, span()); again[0].ID != got[0].ID {
		t.Error("the same span read again makes another event")
	}
	other := span()
	other.SpanID = schemas.SpanID{3}
	if o := OfSpan(nil, other); o[0].ID == got[0].ID {
		t.Error("two spans make one event")
	}
}

func TestAnExceptionTellsTheWayOfItsRecord(t *testing.T) {
	kafka := func(more ...schemas.Attribute) map[string]any {
		t.Helper()
		s := span()
		s.Attributes = append(s.Attributes, more...)
		var e struct {
			Contexts struct{ Kafka map[string]any }
		}
		if err := json.Unmarshal(OfSpan(nil, s)[0].Payload, &e); err != nil {
			t.Fatal(err)
		}
		return e.Contexts.Kafka
	}
	want := map[string]any{"topic": "orders", "partition": 3.0, "offset": 17.0, "consumer_group": "payments"}
	if d := cmp.Diff(want, kafka()); d != "" {
		t.Errorf("a span of the conventions alone (-want +got):\n%s", d)
	}
	for k, v := range map[string]any{
		"key_hash": "255", "client_id": "c-1", "record_time": "2026-11-23T11:58:50Z", "age_ms": 60_000.000005, "batch_count": 10.0, "attempt": 3.0,
		"original_topic": "orders-0", "original_partition": 1.0, "original_offset": 7.0,
	} {
		want[k] = v
	}
	got := kafka(
		schemas.Attribute{Key: "hoptrace.key_hash", Value: "255"}, schemas.Attribute{Key: "messaging.client.id", Value: "c-1"},
		schemas.Attribute{Key: "hoptrace.consume.record_time", Value: "1795435130000000000"}, schemas.Attribute{Key: "messaging.batch.message_count", Value: "10"},
		schemas.Attribute{Key: "hoptrace.retry.attempt", Value: "2"}, schemas.Attribute{Key: "hoptrace.retry.original_topic", Value: "orders-0"},
		schemas.Attribute{Key: "hoptrace.retry.original_partition", Value: "1"}, schemas.Attribute{Key: "hoptrace.retry.original_offset", Value: "7"},
	)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a span of ours (-want +got):\n%s", d)
	}
	odd := kafka(schemas.Attribute{Key: "hoptrace.consume.record_time", Value: "soon"}, schemas.Attribute{Key: "messaging.batch.message_count", Value: "1"},
		schemas.Attribute{Key: "hoptrace.retry.attempt", Value: "-1"}, schemas.Attribute{Key: "hoptrace.retry.original_offset", Value: "7"})
	for _, k := range []string{"record_time", "age_ms", "batch_count", "attempt", "original_offset"} {
		if v, is := odd[k]; is {
			t.Errorf("%s is %v of what tells nothing", k, v)
		}
	}
}

func TestOneSpanMakesFewEvents(t *testing.T) {
	s := span()
	for range 100 {
		s.Events = append(s.Events, s.Events[1])
	}
	if got := OfSpan(nil, s); len(got) != maxOfSpan {
		t.Errorf("%d events, want %d", len(got), maxOfSpan)
	}
}

func TestALogOfAnExceptionIsAnEventAndOthersAreNot(t *testing.T) {
	l := &schemas.Log{Project: 7, Time: 5, Origin: schemas.OriginOTel, Severity: 21, Body: "payment failed", Attributes: []schemas.Attribute{{Key: "exception.type", Value: "E"}, {Key: "exception.message", Value: "m"}}}
	got := OfLog(nil, l)
	if len(got) != 1 || !strings.Contains(string(got[0].Payload), `"level":"fatal"`) || !strings.Contains(string(got[0].Payload), "payment failed") {
		t.Errorf("got %+v", got)
	}
	l.Origin = schemas.OriginSentry
	if got := OfLog(nil, l); got != nil {
		t.Error("a log of a Sentry SDK makes an event")
	}
	if got := OfLog(nil, &schemas.Log{Origin: schemas.OriginOTel, Severity: 21, Body: "x"}); got != nil {
		t.Error("a log without an exception makes an event")
	}
}

func FuzzParseStack(f *testing.F) {
	f.Add("go", string(debug.Stack()))
	f.Add("java", "a.B: c\n\tat d.E.f(G.java:1)\nCaused by: h\n")
	f.Add("python", "Traceback (most recent call last):\n  File \"a\", line 1, in b\n    c\nD: e")
	f.Add("", "#0 a(1): b()\n at x (y:1:2)")
	f.Fuzz(func(t *testing.T, language, text string) {
		chain := parseStack(language, text)
		if len(chain) > maxCauses {
			t.Fatalf("%d exceptions", len(chain))
		}
		for _, x := range chain {
			if len(x.Frames) > maxFrames {
				t.Fatalf("%d frames", len(x.Frames))
			}
		}
	})
}

func BenchmarkOfSpan(b *testing.B) {
	s := span()
	s.Events[1].Attributes[2].Value = "E: " + fmt.Sprint(errors.New("x")) + strings.Repeat("\n\tat com.shop.Card.check(Card.java:5)", 40)
	b.ReportAllocs()
	for b.Loop() {
		OfSpan(nil, s)
	}
}
