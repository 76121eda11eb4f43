package finding

import (
	"testing"
	"time"
)

func TestSearchFindings(t *testing.T) {
	f := func(s Search, want string) {
		t.Helper()
		if got := ForSearch(s).String(); got != want {
			t.Errorf("%+v:\n got %s\nwant %s", s, got, want)
		}
	}
	f(Search{Subject: "spans", Asked: true, Query: "x"}, "No span matches | Ask for a longer time, or for less.")
	f(Search{Subject: "hops"}, "No hop is here | Ask for a longer time, or for less.")
	f(Search{Subject: "hops", Total: 1}, "One hop is here, and did not fail")
	f(Search{Subject: "hops", Asked: true, Query: "x", Total: 1, Failed: 1, Busy: 1, WorstFailed: 1}, "One hop matches, and failed")
	f(Search{Subject: "spans", Asked: true, Query: "x", Total: 1200, Busy: 9}, "1200 spans match, and none failed")
	f(Search{Subject: "spans", Total: 4, Failed: 4, Busy: 2, WorstFailed: 3}, "4 spans are here, and all of them failed")
	f(Search{Subject: "spans", Asked: true, Query: "x", Total: 100, Failed: 4, Busy: 9, WorstFailed: 4}, "100 spans match, 4 of them failed | 4.00% failed; see those that did not.")
	f(Search{Subject: "spans", Asked: true, Query: "x", Total: 100, Failed: 10, Busy: 9, WorstFailed: 8, Step: time.Minute}, "8 of 10 failures fell within 1m0s | 100 spans match; 10.00% failed.")
	f(Search{Subject: "hops", Asked: true, Query: "backlog>1s", Unknown: 312, UnknownPart: "end_to_end"}, "No hop matches | Of 312 hops the end to end is unknown: nobody compared the clocks that it lies between, or their spans do not tell it. Ask for a longer time, or for less.")
	f(Search{Subject: "hops", Asked: true, Query: "backlog>1s", Total: 2, Unknown: 1, UnknownPart: "backlog"}, "2 hops match, and none failed | Of 1 more hop the backlog is unknown: nobody compared the clocks that it lies between, or their spans do not tell it.")
}

func TestEveryNumberOfASearchLeadsToItsRows(t *testing.T) {
	got := ForSearch(Search{Subject: "hops", Asked: true, Query: "a OR b", Total: 100, Failed: 10, Busy: 9, WorstFailed: 8, WorstFrom: 60e9, Step: time.Minute})
	if want := "?from=60000000000&in=hops&q=%28a+OR+b%29+status%3Aerror&to=120000000000&cursor="; got.Title[0].Href != want {
		t.Errorf("the worst stretch leads to %s, want %s", got.Title[0].Href, want)
	}
	if want := "?in=hops&q=%28a+OR+b%29+status%3Aerror&cursor="; got.Title[2].Href != want {
		t.Errorf("the failures lead to %s, want %s", got.Title[2].Href, want)
	}
}
