package search

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// told writes an expression so that a test can compare it.
func told(e Expr) string {
	var kids []string
	for _, k := range e.Kids {
		kids = append(kids, told(k))
	}
	switch e.Logic {
	case All:
		return "all(" + strings.Join(kids, " ") + ")"
	case Any:
		return "any(" + strings.Join(kids, " ") + ")"
	case Not:
		return "not(" + kids[0] + ")"
	}
	t := e.Term
	name := "text"
	switch {
	case t.Field != nil:
		name = t.Field.Name
	case t.Resource:
		name = "@@" + t.Key
	case t.Key != "":
		name = "@" + t.Key
	}
	out := name + []string{"=", "<", "<=", ">", ">=", "?"}[t.Op]
	for i, v := range t.Values {
		if i > 0 {
			out += ","
		}
		switch {
		case t.Field != nil && t.Field.Kind == Duration:
			out += time.Duration(v.Number).String()
		case t.Field != nil && t.Field.Kind == Number:
			out += fmt.Sprint(v.Number)
		case v.Pattern:
			out += "~" + v.Text
		default:
			out += v.Text
		}
	}
	return out
}

func TestParseRowsReadsEveryForm(t *testing.T) {
	f := func(s Subject, q, want string) {
		t.Helper()
		e, err := ParseRows(s, q)
		if err != nil {
			t.Errorf("ParseRows(%s): %v", q, err)
			return
		}
		if got := told(e); got != want {
			t.Errorf("ParseRows(%s) = %s, want %s", q, got, want)
		}
	}
	f(Spans, "", "all()")
	f(Spans, "  ", "all()")
	f(Spans, "service:payments", "service=payments")
	f(Spans, `name:"send orders"`, "name=send orders")
	f(Spans, `name="send orders"`, "name=send orders")
	f(Spans, "duration>250ms", "duration>250ms")
	f(Spans, "duration > 250ms", "duration>250ms")
	f(Spans, "duration:>=1m30s", "duration>=1m30s")
	f(Spans, "duration<=1d2h", "duration<=26h0m0s")
	f(Spans, "duration<2w", "duration<336h0m0s")
	f(Spans, "duration>0", "duration>0s")
	f(Spans, "status:ERROR kind:consumer", "all(status=error kind=consumer)")
	f(Spans, "topic:orders partition:3 offset>918000 group:billing", "all(topic=orders partition=3 offset>918000 group=billing)")
	f(Hops, "backlog>2s processing>1s residence>10m age>1h ack>100ms", "all(backlog>2s processing>1s residence>10m0s age>1h0m0s ack>100ms)")
	f(Hops, "backlog<-3ms", "backlog<-3ms")
	f(Hops, "e2e>1s trace_id:0102030405060708090A0b0c0d0e0f10", "all(end_to_end>1s trace=0102030405060708090a0b0c0d0e0f10)")
	f(Spans, "http.route:/orders order.id:4711", "all(@http.route=/orders @order.id=4711)")
	f(Spans, `"weird key":x "service":y`, "all(@weird key=x @service=y)")
	f(Spans, "resource.host.name:web-1 resource.:x", "all(@@host.name=web-1 @resource.=x)")
	f(Spans, "has:order.id has:topic", "all(@order.id? topic?)")
	f(Spans, "http.status_code>=500 x<-1.5e3", "all(@http.status_code>=500 @x<-1500)")
	f(Spans, "service:pay*", "service=~pay*")
	f(Spans, `service:"pay*"`, "service=pay*")
	f(Spans, "service:[a, \"b c\",d*]", "service=a,b c,~d*")
	f(Spans, "service!=a", "not(service=a)")
	f(Spans, "-service:a !service:b NOT service:c", "all(not(service=a) not(service=b) not(service=c))")
	f(Spans, "a OR b c", "any(text=a all(text=b text=c))")
	f(Spans, "(a OR b) c", "all(any(text=a text=b) text=c)")
	f(Spans, "(a)", "text=a")
	f(Spans, "NOT (a OR (b AND c))", "not(any(text=a all(text=b text=c)))")
	f(Spans, "-(a b)", "not(all(text=a text=b))")
	f(Spans, "a AND b", "all(text=a text=b)")
	f(Spans, "or and not", "all(text=or text=and text=not)")
	f(Spans, "http://x ORDER", "all(text=http://x text=ORDER)")
	f(Spans, `card "is \"declined\""`, `all(text=card text=is "declined")`)
	f(Spans, "(name:f(x) OR name:g())", "any(name=f(x) name=g())")
	f(Spans, "card*", "text=~card*")
	f(Logs, "level:warn severity>=13 trace:0102030405060708090a0b0c0d0e0f10 backlog:x", "all(level=warn severity>=13 trace=0102030405060708090a0b0c0d0e0f10 @backlog=x)")
	f(Spans, "заказ:да", "@заказ=да")
	f(Spans, "root:true", "root=true")
}

func TestParseRowsSaysWhatIsWrongWhereAndTheWayOut(t *testing.T) {
	f := func(s Subject, q string, at int, want string) {
		t.Helper()
		_, err := ParseRows(s, q)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("ParseRows(%s) = %v, want an error", q, err)
			return
		}
		if e.Pos != at || !strings.Contains(err.Error(), want) || e.Hint == "" || e.End < e.Pos || e.End > len(q) {
			t.Errorf("ParseRows(%s) = %v, at %d to %d; want at %d: %s", q, err, e.Pos, e.End, at, want)
		}
	}
	f(Spans, "service:a duration>fast", 19, `at 20: duration wants a number with a unit as 250ms, got "fast"`)
	f(Spans, "duration>5", 9, "a number with a unit")
	f(Spans, "duration>1e3s", 9, "a number with a unit")
	f(Spans, "duration>1d1w1d", 9, "a number with a unit")
	f(Spans, "status:bad", 7, "one of unset, ok, error")
	f(Spans, "partition:x", 10, "a whole number")
	f(Spans, "trace:xyz", 6, "32 hex digits")
	f(Spans, "root:maybe", 5, "true or false")
	f(Spans, "service>a", 0, "service cannot be compared")
	f(Spans, "x>abc", 2, "a number to be compared with")
	f(Spans, "x>NaN", 2, "a number to be compared with")
	f(Spans, "backlog>2s", 0, "search hops")
	f(Hops, "duration>2s", 0, "search spans")
	f(Spans, "order.id:", 0, `write "" for an empty value`)
	f(Spans, "has:", 0, "names no key")
	f(Spans, "has:service", 4, "every row has service")
	f(Spans, "has>x", 0, "has: cannot be compared")
	f(Spans, "(a", 0, "( is not closed")
	f(Spans, "a)b )", 1, "closes nothing")
	f(Spans, "service:(", 8, `( within "(" is not closed`)
	f(Spans, "x:[a,f(]", 6, "is not closed")
	f(Spans, "x y)", 3, "closes nothing")
	f(Spans, "a )", 2, "closes nothing")
	f(Spans, "()", 0, "() holds nothing")
	f(Spans, "a OR", 4, "joins nothing")
	f(Spans, "OR a", 0, "joins nothing")
	f(Spans, "a AND", 5, "joins nothing")
	f(Spans, "AND a", 0, "joins nothing")
	f(Spans, "a OR OR b", 5, "joins nothing")
	f(Spans, "-", 0, "nothing to negate")
	f(Spans, "NOT", 0, "nothing to negate")
	f(Spans, `"a`, 0, "has no end")
	f(Spans, `"a"b`, 3, "space after the quotes")
	f(Spans, "x:[a", 2, "close it with ]")
	f(Spans, "x:[a b]", 5, "a comma or ] is missing")
	f(Spans, "x:[a]b", 5, "something follows")
	f(Spans, "offset>[1,2]", 7, "a list cannot be compared")
	f(Spans, strings.Repeat("(", 12)+"a"+strings.Repeat(")", 12), 11, "more than 10 levels")
	f(Spans, strings.Repeat("-", 12)+"a", 11, "more than 10 levels")
	f(Spans, strings.Repeat("a ", 31), 60, "more than 30 terms")
	f(Spans, "x:["+strings.Repeat("a,", 51)+"a]", 103, "more than 50 values")
	f(Spans, "x:"+strings.Repeat("*", 21), 2, "more than 20 wildcards")
	f(Spans, "x:"+strings.Repeat("a", 201), 2, "at most 200")
	f(Spans, strings.Repeat("a", 1001), 1000, "at most 1000")
	f(Spans, "\xff", 0, "no UTF-8")
}

func TestHoldsIsTheLogicOfTheQuery(t *testing.T) {
	f := func(q string, row map[string]string, want bool) {
		t.Helper()
		e, err := ParseRows(Spans, q)
		if err != nil {
			t.Fatal(err)
		}
		got := e.Holds(func(t RowTerm) bool {
			v, ok := row[t.Key]
			return ok && (t.Op == Has || t.Values[0].Matches(v))
		})
		if got != want {
			t.Errorf("%s holds for %v: %v, want %v", q, row, got, want)
		}
	}
	row := map[string]string{"a": "1", "b": "two"}
	f("", row, true)
	f("a:1 b:two", row, true)
	f("a:1 b:x", row, false)
	f("a:2 OR b:t*o", row, true)
	f("-(a:1 b:two)", row, false)
	f("-c:1", row, true)
	f("has:a -has:c", row, true)
	f("b:TWO", row, false)
}

func TestWhatIsUnmeasuredIsAskedForByTheSameConditions(t *testing.T) {
	f := func(query, part, want string) {
		t.Helper()
		got, q, _ := Unmeasured(query)
		name := ""
		if got != nil {
			name = got.Name
		}
		if name != part || q != want {
			t.Errorf("Unmeasured(%s) = %s, %s; want %s, %s", query, name, q, part, want)
		}
	}
	f("backlog>1s", "backlog", "-has:backlog")
	f(`topic:"a  b" AND backlog>1s (status:error OR age>1h)`, "backlog", `topic:"a  b" AND -has:backlog (status:error OR age>1h)`)
	f("(residence >= 1s residence<5s) processing>1s", "residence", "(-has:residence -has:residence) processing>1s")
	f("e2e>1m", "end_to_end", "-has:end_to_end")
	f("backlog>1s OR status:error", "", "")
	f("-backlog>1s", "", "")
	f("has:backlog age>1h", "", "")
	f("", "", "")
	f("backlog>fast", "", "")
}

func TestAtTellsWhatIsBeingWritten(t *testing.T) {
	// | is the place.
	f := func(q string, want Place) {
		t.Helper()
		at := strings.IndexByte(q, '|')
		if got := At(strings.Replace(q, "|", "", 1), at); got != want {
			t.Errorf("At(%s) = %+v, want %+v", q, got, want)
		}
	}
	f("|", Place{})
	f("ser|", Place{Text: "ser", To: 3})
	f("ser|vice", Place{Text: "ser", To: 7})
	f("a -ser|", Place{Text: "ser", From: 3, To: 6})
	f("(ser| OR", Place{Text: "ser", From: 1, To: 4})
	f("service:pa|", Place{Value: true, Key: "service", Sign: ":", Text: "pa", From: 8, To: 10})
	f("duration>=|", Place{Value: true, Key: "duration", Sign: ">=", From: 10, To: 10})
	f("duration:>2|", Place{Value: true, Key: "duration", Sign: ":>", Text: "2", From: 10, To: 11})
	f(`name:"send o|rders" x`, Place{Value: true, Key: "name", Sign: ":", Text: "send o", From: 5, To: 18})
	f(`"order id":4|`, Place{Value: true, Key: "order id", Sign: ":", Text: "4", From: 11, To: 12})
	f("service:[a, b|, c]", Place{Value: true, Key: "service", Sign: ":", Text: "b", From: 12, To: 13})
	f("has:ord|", Place{Has: true, Sign: ":", Text: "ord", From: 4, To: 7})
	f("(service:a|)", Place{Value: true, Key: "service", Sign: ":", Text: "a", From: 9, To: 10})
}

func FuzzParseRows(f *testing.F) {
	for _, s := range []string{
		"service:payments (duration>250ms OR status:error) -name:commit*", `a:[b,"c d"] has:e`, `"x y">=5 NOT (a`, "resource.host.name:web-1", `"q\"`, "x:[,]", "a)b(", "-(-(!x))", "has:[", "name:f(x))",
	} {
		for i := range 3 {
			f.Add(i, s, len(s)/2)
		}
	}
	f.Fuzz(func(t *testing.T, subject int, s string, at int) {
		p := At(s, at)
		if p.From < 0 || p.From > p.To || p.To > len(s) {
			t.Fatalf("At(%q, %d): %+v", s, at, p)
		}
		e, err := ParseRows([]Subject{Spans, Hops, Logs}[((subject%3)+3)%3], s)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Pos < 0 || bad.Pos > bad.End || bad.End > len(s) || bad.Hint == "" {
				t.Fatalf("ParseRows(%q): %#v", s, err)
			}
			return
		}
		terms := e.Terms()
		if len(terms) > MaxTerms {
			t.Fatalf("%d terms", len(terms))
		}
		for _, term := range terms {
			if (term.Op == Has) != (len(term.Values) == 0) || len(term.Values) > MaxValues || term.Pos >= term.End || term.End > len(s) {
				t.Fatalf("ParseRows(%q): %+v", s, term)
			}
			for _, v := range term.Values {
				v.Matches(s)
				v.PatternLike()
			}
		}
		e.Holds(func(RowTerm) bool { return false })
	})
}
