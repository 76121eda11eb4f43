package group

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParameteriseTakesOutValuesAndLeavesTheirKinds(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Parameterise(in); got != want {
			t.Errorf("Parameterise(%q)\n got %q\nwant %q", in, got, want)
		}
		if again := Parameterise(want); again != want {
			t.Errorf("Parameterise(%q) again\n got %q", want, again)
		}
	}
	f("", "")
	f("connection refused", "connection refused")
	f("order 17 failed", "order <int> failed")
	f("order-17 failed", "order-<int> failed")
	f("orders_7", "orders_<int>")
	f("partition=7, offset=123456789", "partition=<int>, offset=<int>")
	f("balance -3.5e10 is low, -4 too, 1.5 not", "balance <float> is low, <int> too, <float> not")
	f("can't open it; won't try", "can't open it; won't try")
	f("utf8 sha256 ipv4 h2 order17", "utf8 sha256 ipv4 h2 order17")
	f("10MB of 12 MB", "<int>MB of <int> MB")
	f("version 1.2.3.4.5 or v1.22.3", "version <int>.<int>.<int>.<int>.<int> or v1.<int>.<int>")
	// Only what stands right of an equals sign is a value by its quotes.
	f(`user "ann" not found`, `user "ann" not found`)
	f(`user="ann \"b\" c" ok=true no = false`, `user=<quoted_str> ok=<bool> no = <bool>`)
	f(`true or false, "5"`, `true or false, "<int>"`)
	f(`x="never closed 5`, `x="never closed <int>`)
	// Addresses.
	f("mail to ann.b+c@example.com.", "mail to <email>.")
	f("GET https://a.example/x?y=1: 500", "GET <url>: <int>")
	f("see (http://a.example/b), then", "see (<url>), then")
	f("lookup broker-1.kafka.internal: no such host", "lookup <hostname>: no such host")
	f("localhost:9092 and kafka.svc.cluster.local:9092", "<hostname>:<int> and <hostname>:<int>")
	f("java.lang.NullPointerException in shop.py at fmt.Errorf", "java.lang.NullPointerException in shop.py at fmt.Errorf")
	f("dial tcp 10.1.2.3:9092: refused", "dial tcp <ip>:<int>: refused")
	f("dial tcp [::1]:9092 or [fe80::1]:80 or 2001:db8::8a2e:370:7334", "dial tcp [<ip>]:<int> or [<ip>]:<int> or <ip>")
	f("std::vector<a::b> 999.1.1.1", "std::vector<a::b> <int>.<int>.<int>.<int>")
	f("eth0 00:1b:44:11:3a:b7 up", "eth0 <mac> up")
	// Ids.
	f("id 6f9619ff-8b86-d011-b42d-00c04fc964ff gone", "id <uuid> gone")
	f("trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "trace <traceparent>")
	f("sha 356a192b7913b04c54574d18c28d46e6395428ab md5 5d41402abc4b2a76b9719d911017c592", "sha <sha1> md5 <md5>")
	f("commit 3f2a9c1 and 92718d9e0a1b0c1d", "commit <git_sha> and <hex>")
	f("decade facade defaced", "decade facade defaced")
	f("at 0xc000123abc", "at <hex>")
	f("session a8f3k2j9x0q1 ended", "session <random_id> ended")
	// Times.
	f("after 1m30.5s or 10ms or 5µs", "after <duration> or <duration> or <duration>")
	f("on 2026-11-23T10:11:12.5Z or 2026-11-23 10:11:12+02:00 or 2026-11-23", "on <date> or <date> or <date>")
	f("at 10:11:12.345 sharp", "at <date> sharp")
	f("Mon, 23 Nov 2026 10:11:12 GMT; Nov 23 10:11:12; 23/Nov/2026:10:11:12 +0000; Nov 23, 2026", "<date>; <date>; <date>; <date>")
	f("2026-11-23 10:11:12.000001 +0000 UTC m=+0.000123 now", "<date> now")
	f("größe 5µs und 5 ä5", "größe <duration> und <int> ä5")
	// Form.
	f("first 1\n\n second 2\nthird 3\n", "first <int>\nsecond <int>\n...")
	f("broken \xff\xfe utf", "broken  utf")
	f("word "+strings.Repeat("x", 100_000), "word ...")
	f("kept <uuid> and <int>, a < b > c", "kept <uuid> and <int>, a < b > c")
}

func FuzzParameterise(f *testing.F) {
	for _, s := range []string{
		"order 17", `a="b" 'c`, "0x1 1e9 [::1]:80", "x@y.z http://a", "2026-11-23T10:11:12+0", "\xff5", "foo.com-5", `="a"5`, "1.2.3MB", "Mon, 23 Nov 2026 10:11",
		"a@b.com-5", "00:1b:44:11:3a:b7:5", "::1.2.3.4", "6f9619ff-8b86-d011-b42d-00c04fc964ff-1", `="http://x\" 5`, "1m30.5x", "<int>.5.5", strings.Repeat("1 ", 5000),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Parameterise(s)
		if len(got) > MaxParameterised+len("\n...")+4 {
			t.Fatalf("%d bytes became %d", len(s), len(got))
		}
		if !utf8.ValidString(got) {
			t.Fatalf("%q is no UTF-8", got)
		}
		if again := Parameterise(got); again != got {
			t.Fatalf("%q\nonce  %q\ntwice %q", s, got, again)
		}
	})
}
