package find

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestEachFormIsRead(t *testing.T) {
	f := func(s string, want Query) {
		t.Helper()
		got, err := Parse(s)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
		} else if d := cmp.Diff(want, got); d != "" {
			t.Errorf("Parse(%q): want -, got +:\n%s", s, d)
		}
	}
	record := func(topic string, p int32, o int64) Query {
		return Query{Record: &schemas.RecordRef{Topic: topic, Partition: p, Offset: o}}
	}
	for _, s := range []string{"orders/3@918273", " orders/3@918273\n", "orders 3 918273", "orders p3 918273", "orders p3 · 918\u202f273", "orders, 3, 918273", "orders/3/918273", "orders:3:918273", "record:orders/3@918273", "RECORD: orders 3 918273"} {
		f(s, record("orders", 3, 918273))
	}
	f("заказы/0@0", record("заказы", 0, 0))
	f("a.b_c-d/2147483647@9223372036854775807", record("a.b_c-d", 1<<31-1, 1<<63-1))
	sentry := record("orders-eu", 3, 918273)
	sentry.ID = "orders-eu-3@918273"
	f("orders-eu-3@918273", sentry)

	trace, span := schemas.TraceID{0x4b, 15: 0x36}, schemas.SpanID{0xf0, 7: 0xb7}
	f("trace:4B000000000000000000000000000036", Query{Trace: &trace})
	f("span:f0000000000000b7", Query{Span: &span})
	f("00-4b000000000000000000000000000036-f0000000000000b7-01", Query{Trace: &trace, Span: &span})
	word := func(s string) Query { return Query{ID: s, Conversation: s, Keys: []uint64{KeyHash(s)}} }
	q := word("4b000000000000000000000000000036")
	q.Trace = &trace
	f("4b000000000000000000000000000036", q)
	q = word("4b000000-0000-0000-0000-000000000036")
	q.Trace = &trace
	f("4b000000-0000-0000-0000-000000000036", q)
	f("f0000000000000b7", Query{ID: "f0000000000000b7", Conversation: "f0000000000000b7", Span: &span, Keys: []uint64{0xf0000000000000b7}})
	f("order-17", word("order-17"))
	f("https://shop/3@x", word("https://shop/3@x"))
	f("00000000000000000000000000000000", word("00000000000000000000000000000000"))

	f("key:3f2a91c04be57d10", Query{Keys: []uint64{0x3f2a91c04be57d10}})
	f(`key:"3f2a91c04be57d10"`, Query{Keys: []uint64{KeyHash("3f2a91c04be57d10")}})
	f("key:17", Query{Keys: []uint64{KeyHash("17")}})
	f("key:order 17", Query{Keys: []uint64{KeyHash("order 17")}})
	f("key:4551560132741594384", Query{Keys: []uint64{KeyHash("4551560132741594384"), 4551560132741594384}})
	f(`key:""`, Query{Keys: []uint64{KeyHash("")}})
	f("id:a:b", Query{ID: "a:b"})
	f("message:orders-3@9", Query{ID: "orders-3@9"})
	f("conversation:c 1", Query{Conversation: "c 1"})
	f("correlation:c", Query{Conversation: "c"})
}

func TestABadQueryIsRefusedWithTheWayOut(t *testing.T) {
	for s, want := range map[string]string{
		"": "orders/3@918273", "  ": "orders/3@918273", "key:": "key:", "id: ": "id:", "conversation:": "conversation:",
		"trace:12": "32 hex digits", "trace:" + strings.Repeat("0", 32): "not all zero", "span:xyz": "16 hex digits",
		"record:orders": "topic/partition@offset", "record:orders/-1@2": "topic/partition@offset", "record:orders/1@" + strings.Repeat("9", 20): "topic/partition@offset",
		strings.Repeat("a", MaxBytes+1): "at most 256", "a\xff": "UTF-8",
	} {
		_, err := Parse(s)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", s, err, want)
		}
	}
}

// The browser makes the same hashes (web/ui/src/lib/xxhash.test.ts).
func TestAKeyIsHashedAsTheInstrumentationDoes(t *testing.T) {
	for key, want := range map[string]uint64{
		"": 0xef46db3751d8e999, "a": 0xd24ec4f1a98c6e5b, "order-17": 0x93623b80df3c7a2d, "заказ 17": 0x73f5fd4d8d1b1c3a, "0123456789abcdef0123456789abcdef": 0x642a94958e71e6c5,
		"the quick brown fox jumps over the lazy dog, and then it jumps back": 0x526d70e4712a876c,
	} {
		if got := KeyHash(key); got != want {
			t.Errorf("KeyHash(%q) = %#016x, want %#016x", key, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"orders/3@918273", "orders p3 · 1", `key:"a"`, "id:x", "00-4b000000000000000000000000000036-f0000000000000b7-01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err == nil && q.Record == nil && q.Trace == nil && q.Span == nil && q.ID == "" && q.Conversation == "" && len(q.Keys) == 0 {
			t.Errorf("Parse(%q) looks for nothing", s)
		}
		if r := q.Record; r != nil && (r.Partition < 0 || r.Offset < 0 || r.Topic == "" || len(r.Topic) > MaxTopic) {
			t.Errorf("Parse(%q) = %v", s, *r)
		}
	})
}
