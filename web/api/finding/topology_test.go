package finding

import (
	"slices"
	"testing"
	"time"
)

func TestTopologyFindings(t *testing.T) {
	fine := Reading{Edge: "t:orders>g:payments", Topic: "orders", Group: "payments", Messages: 100, Wait: 9 * time.Millisecond, Lag: 40 * time.Millisecond}
	late := Reading{Edge: "t:orders>g:audit", Topic: "orders", Group: "audit", Messages: 10, Failed: 1, Wait: time.Hour, Lag: 2 * time.Hour}
	stopped := Reading{Edge: "t:orders>g:archive", Topic: "orders", Group: "archive", Lag: time.Hour}
	f := func(rule string, tone Tone, in Topology, want string) {
		t.Helper()
		in.Services, in.Groups = 2, len(in.Readings)
		if len(in.Readings)+len(in.Unread) > 0 {
			in.Topics = 1
		}
		got := ForTopology(in)
		if got.Rule != rule || got.Tone != tone || got.String() != want {
			t.Errorf("%s (%s): %s\nwant %s (%s): %s", got.Rule, got.Tone, got, rule, tone, want)
		}
	}
	f("nothing", ToneEmpty, Topology{}, "No message passed a topic in this time")
	f("no-match", ToneEmpty, Topology{Filtered: true}, "No message passed this way in this time")
	f("wait", ToneOK, Topology{Readings: []Reading{fine}},
		"No group is behind; records wait longest between orders and group payments: p99 9ms | 2 services, one topic, one group; nothing is left out.")
	f("behind", ToneWarn, Topology{Readings: []Reading{fine, late}, CutNodes: 12},
		"Group audit is 2h0m0s behind in orders | Records wait longest between orders and group audit: p99 1h0m0s. Group audit fails on 10.00% of what it reads from orders. 2 services, one topic, 2 groups; 12 of few messages are left out: filter to see them.")
	f("stopped", ToneBad, Topology{Readings: []Reading{fine, late, stopped}},
		"Group archive has read nothing of orders and is 1h0m0s behind | One more reading is behind by 10 seconds or more. Records wait longest between orders and group audit: p99 1h0m0s. Group audit fails on 10.00% of what it reads from orders. 2 services, one topic, 3 groups; nothing is left out.")
	stands := fine
	stands.Stands, stands.Lag = true, 150*time.Second
	f("stands", ToneBad, Topology{Readings: []Reading{fine, stands}},
		"Group payments stands still in orders, 2m30s behind | Records wait longest between orders and group payments: p99 9ms. 2 services, one topic, 2 groups; nothing is left out.")
	unseen := Reading{Topic: "clicks", Group: "sessions", Lag: 40 * time.Second, Unseen: "/lag/group?group=sessions"}
	f("behind", ToneWarn, Topology{Readings: []Reading{fine, unseen}},
		"Group sessions is 40s behind in clicks | Records wait longest between orders and group payments: p99 9ms. 2 services, one topic, 2 groups; nothing is left out.")
	unseen.Stands = true
	f("stands", ToneBad, Topology{Readings: []Reading{fine, unseen}},
		"Group sessions stands still in clicks, 40s behind | Records wait longest between orders and group payments: p99 9ms. 2 services, one topic, 2 groups; nothing is left out.")
	f("unread", ToneWarn, Topology{Unread: []string{"logs"}}, "Records are written, and nobody has been seen to read them | 2 services, one topic, 0 groups; nothing is left out.")
	f("read-nothing", ToneEmpty, Topology{Readings: []Reading{{Topic: "orders", Group: "audit"}}}, "No group read anything in this time | 2 services, one topic, one group; nothing is left out.")
	f("unknown", ToneOK, Topology{Readings: []Reading{{Topic: "orders", Messages: 3}}, Unread: []string{"logs", "more"}},
		"One group reads; how long records wait is unknown | 2 topics are written and nobody has been seen to read them: logs, more. 2 services, one topic, one group; nothing is left out.")
}

func TestAGroupThatNoMessageTellsOfLeadsToItsLag(t *testing.T) {
	got := ForTopology(Topology{Services: 1, Topics: 1, Groups: 1, Readings: []Reading{{Topic: "clicks", Group: "sessions", Lag: time.Minute, Unseen: "/lag/group?group=sessions"}}})
	if i := slices.IndexFunc(got.Title, func(p Piece) bool { return p.Href == "/lag/group?group=sessions" }); i < 0 {
		t.Errorf("%q leads nowhere", got)
	}
}

func TestWhatTheTopologyCountsLeadsThere(t *testing.T) {
	late := Reading{Edge: "e", Topic: "orders", Group: "audit", Messages: 10, Wait: time.Hour, Lag: 2 * time.Hour}
	got := ForTopology(Topology{Services: 4, Topics: 3, Groups: 2, Readings: []Reading{late, late, late}, Unread: []string{"a/b"}, From: "-1h"})
	want := map[string]bool{"/topology?from=-1h&view=table": false, "/topics?from=-1h": false, "/lag?state=not-ok": false, "/topics/a%2Fb?from=-1h": false}
	for _, p := range got.Text {
		if _, ok := want[p.Href]; ok {
			want[p.Href] = true
		}
	}
	for href, found := range want {
		if !found {
			t.Errorf("nothing of %q leads to %s", got, href)
		}
	}
}
