package search

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// text is a query as Parse understood it.
func text(q Query) string {
	var out []string
	for _, e := range q {
		var any []string
		for _, t := range e {
			any = append(any, termText(t))
		}
		out = append(out, strings.Join(any, " or "))
	}
	return strings.Join(out, " & ")
}

func termText(t Term) string {
	s := ""
	if t.Negated {
		s = "!"
	}
	s += t.Field.Name
	if t.Tag != "" {
		s += "[" + t.Tag + "]"
	}
	s += []string{"=", "<", "<=", ">", ">=", "?"}[t.Op]
	for i, v := range t.Values {
		if i > 0 {
			s += "|"
		}
		switch t.Field.Kind {
		case Number, Yes:
			s += fmt.Sprint(v.Number)
		case Time:
			s += time.Unix(0, v.Number).UTC().Format(time.RFC3339)
		default:
			s += v.Text
		}
		if v.Pattern {
			s += "~"
		}
	}
	return s
}

func TestQueriesAreRead(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		q, err := Parse(s, now)
		if err != nil {
			t.Errorf("Parse(%q): %v", s, err)
			return
		}
		if got := text(q); got != want {
			t.Errorf("Parse(%q) = %s; want %s", s, got, want)
		}
	}
	f("", "")
	f("  \t", "")
	f("is:unresolved level:error", "is=unresolved & level=error")
	f("is:ignored LEVEL:Warn", "is=archived & level=warning")
	f("card declined", "message=card & message=declined")
	f(`"card \"declined\" \\" x`, `message=card "declined" \ & message=x`)
	f(`!card !"not this"`, "!message=card & !message=not this")
	f(`environment:[prod, "eu west" ,dev] !env:test`, "environment=prod|eu west|dev & !environment=test")
	f("release:latest release:>=1.2.0 release:shop@1.* firstRelease:<2.0", "release=latest & release>=1.2.0 & release=shop@1.*~ & firstRelease<2.0")
	f(`release:"1.*"`, "release=1.*")
	f("topic:orders partition:7 offset:>=1k group:pay* key:#00ab00000000000F", "topic=orders & partition=7 & offset>=1000 & group=pay*~ & key=00ab00000000000f")
	f("age:-24h age:+7d age:>24h age:<1w", "firstSeen>=2026-11-29T12:00:00Z & firstSeen<2026-11-23T12:00:00Z & firstSeen<2026-11-29T12:00:00Z & firstSeen>2026-11-23T12:00:00Z")
	f("lastSeen:>2026-11-01 last_seen:<=2026-11-01T10:00:00+02:00", "lastSeen>2026-11-01T00:00:00Z & lastSeen<=2026-11-01T08:00:00Z")
	f("timesSeen:>100 times_seen:10k users:>=2m user_count:[1,2]", "times_seen>100 & times_seen=10000 & users>=2000000 & users=1|2")
	f("error.handled:no error.unhandled:true !error.unhandled:yes", "error.handled=0 & !error.handled=1 & error.handled=1")
	f("user.id:7 user.email:*@example.com", "user.id=7 & user.email=*@example.com~")
	f(`customer:acme tags[my key]:x tags[level]:high`, "tag[customer]=acme & tag[my key]=x & tag[level]=high")
	f(`has:release !has:customer has:user.id`, "release? & !tag[customer]? & user.id?")
	f(`customer:""`, "tag[customer]=")
	f("assigned:me bookmarks:ada", "assigned=me & bookmarks=ada")
	f("trace:0123456789abcdef0123456789ABCDEF", "trace=0123456789abcdef0123456789abcdef")
	f("http://x.y/z std::bad_alloc foo() a,b", "message=http://x.y/z & message=std::bad_alloc & message=foo() & message=a,b")
	f("time:12:30", "tag[time]=12:30")
	// As for spans and hops.
	f("-level:error NOT level:warning !level:info", "!level=error & !level=warning & !level=info")
	f("level!=error level:!=fatal -level!=info", "!level=error & !level=fatal & level=info")
	f("times_seen>5 users >= 2 offset<10 topic=orders release>=1.2", "times_seen>5 & users>=2 & offset<10 & topic=orders & release>=1.2")
	f("age>24h lastSeen>2026-11-01", "firstSeen<2026-11-29T12:00:00Z & lastSeen>2026-11-01T00:00:00Z")
	f("level:error AND is:new", "level=error & is=new")
	f("level:fatal OR card", "level=fatal or message=card")
	f("(card OR stock) -(level:info OR is:resolved)", "message=card or message=stock & !level=info & !is=resolved")
	f("(level:error is:new) OR assigned:me", "level=error or assigned=me & is=new or assigned=me")
	f("NOT (topic:orders group:pay)", "!topic=orders or !group=pay")
	f("level:error (topic:orders OR topic:payments) (times_seen>5 OR users>2)", "level=error & topic=orders or topic=payments & times_seen>5 or users>2")
	f(`("a b" OR f(x))`, "message=a b or message=f(x)")
	f(`"odd key":x "level":high tags[a b]!=c has:"level"`, "tag[odd key]=x & tag[level]=high & !tag[a b]=c & tag[level]?")
}

func TestErrorsTellThePlaceAndWhatIsAllowed(t *testing.T) {
	f := func(s string, pos int, want string) {
		t.Helper()
		q, err := Parse(s, now)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("Parse(%q) = %s, %v; want an *Error", s, text(q), err)
			return
		}
		if e.Pos != pos || e.End < e.Pos || e.End > len(s) || !strings.Contains(e.Error(), want) {
			t.Errorf("Parse(%q): got %d to %d: %v; want it at %d with %q", s, e.Pos, e.End, e, pos, want)
		}
	}
	f("is:unresolved is:broken", 17, "unresolved, resolved, archived")
	f("level:loud", 6, "fatal, error")
	f("  partition:x", 12, "a whole number")
	f("partition:-1", 10, "a whole number")
	f("offset:99999999999b", 7, "a whole number")
	f("key:12", 4, "16 hex digits")
	f("error.handled:maybe", 14, "true or false")
	f("age:24h", 4, "-24h")
	f("age:-24x", 4, "-24h")
	f("lastSeen:>yesterday", 10, "2026-11-01")
	f("age:[-1h]", 5, "comparison")
	f("environment:>prod", 0, "numbers, times and releases")
	f("times_seen:>[1,2]", 12, "one value")
	f("environment:[a,b", 12, "close it with ]")
	f("environment:[a b]", 15, "comma")
	f("environment:[a,]", 0, "has no value")
	f("environment:[a]b", 15, "space after")
	f(`title:"x`, 6, "close it")
	f(`"x"y`, 3, "space after")
	f("release:", 0, "has no value")
	f("release:>1.*", 9, "pattern")
	f("a OR", 4, "both sides")
	f("OR a", 0, "both sides")
	f("!", 0, "nothing to negate")
	f("(is:resolved", 0, "not closed")
	f("is:resolved )", 12, "closes nothing")
	f("crashed (evaluating", 8, "is not closed")
	f("level:error ()", 12, "holds nothing")
	f("is:new OR topic:orders", 10, "is and topic cannot be alternatives: two stores answer for them (ask twice: once for what is kept of an issue, and once for what is kept of its events")
	f("card OR customer:acme", 8, "message and customer cannot")
	f("-(level:error times_seen>5)", 14, "once for how many they are")
	f(strings.Repeat("(a b) OR ", 8)+"c", 0, "too many choices")
	f(strings.Repeat("(", 12)+"a"+strings.Repeat(")", 12), 11, "10 levels")
	f("environment>prod", 0, "write environment:value")
	f("has:>x", 0, "has: cannot be compared")
	f("has:", 0, "names no key")
	f("has:times_seen", 4, "every issue")
	f("x:"+strings.Repeat("y", 201), 2, "201 bytes")
	f(strings.Repeat("a ", 31), 60, "30 terms")
	f("x:["+strings.Repeat("y,", 50)+"y]", 103, "50 values")
	f(strings.Repeat("a", 1001), 1000, "1001 bytes")
	f("\xff", 0, "UTF-8")
}

func TestPatternsMatchAsTheyAreWritten(t *testing.T) {
	f := func(pattern, s string, want bool) {
		t.Helper()
		q, err := Parse("x:"+pattern, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := q[0][0].Values[0].Match(s); got != want {
			t.Errorf("%s matches %q: %v, want %v", pattern, s, got, want)
		}
	}
	f("a*c", "abbc", true)
	f("a*c", "AC", true)
	f("a*c", "acd", false)
	f("a*a", "a", false)
	f("*b*", "abc", true)
	f("*b*b", "ab", false)
	f("*", "", true)
	f("abc", "ABC", true)
	f(`"a*c"`, "abc", false)
	if got := (Value{Text: `50%_\*x`, Pattern: true}).Like(); got != `50\%\_\\%x` {
		t.Errorf("Like = %s", got)
	}
}

// TestAQueryIsSpreadTruly compares what Parse gives with the tree it is made of.
func TestAQueryIsSpreadTruly(t *testing.T) {
	for _, s := range []string{"a", "-a", "a b", "a OR b c", "(a OR b) -(c d)", "NOT (a OR -(b c) OR d)", "-(-(a b) -(c d))", "(a OR b) (c OR d) OR -a", "((a b) OR c) ((c d) OR a)"} {
		p := &parser{s: s}
		tree, err := parseTree(p, p.issueTerm)
		if err != nil {
			t.Fatal(err)
		}
		q, ok := spread(tree, false)
		if !ok {
			t.Fatalf("%s has too many choices", s)
		}
		for bits := range 16 {
			is := func(x Term) bool { return bits>>(x.Values[0].Text[0]-'a')&1 == 1 }
			if got, want := q.Holds(is), tree.Holds(is); got != want {
				t.Errorf("%s with %04b: %v, want %v; it became %s", s, bits, got, want, text(q))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"is:unresolved level:error", `!a:[b,"c d"] has:e`, "age:-24h times_seen:>1k", `tags[x y]:z* "q\"`, "release:>=1.2.3 OR x", "-(a OR b) NOT (c d)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s, now)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Pos < 0 || e.Pos > e.End || e.End > len(s) || e.Hint == "" {
				t.Fatalf("Parse(%q): %#v", s, err)
			}
			return
		}
		if q.size() > maxSpread {
			t.Fatalf("%d terms", q.size())
		}
		for _, term := range slices.Concat(q...) {
			if (term.Op == Has) != (len(term.Values) == 0) || len(term.Values) > MaxValues {
				t.Fatalf("Parse(%q): %+v", s, term)
			}
			for _, v := range term.Values {
				v.Match(s)
			}
		}
	})
}
