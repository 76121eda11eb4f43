package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// act does one action, whose answer must have status want.
func act[T any](t *testing.T, h http.Handler, method, path, body string, want int) T {
	t.Helper()
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != want {
		t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, w.Code, want, w.Body)
	}
	var out T
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return out
}

func listed(l IssueList) []string {
	out := []string{}
	for _, i := range l.Issues {
		out = append(out, i.ID)
	}
	return out
}

// shop has issues 1 to 20 in project 1: issue n has n events, the last of them
// n minutes ago, those of even issues on topic even; issue 20 has none.
func shop() *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1, Slug: "p"}}}
	for n := int64(1); n <= 20; n++ {
		last := testNow.Add(-time.Duration(n) * time.Minute)
		i := schemas.Issue{
			ID: schemas.IssueID(n), Project: 1, Title: "Issue", Level: "error", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusNew},
			FirstSeen: last.Add(-time.Hour).UnixNano(), LastSeen: last.UnixNano(),
		}
		if n%5 == 0 {
			i.Level = "warning"
		}
		s.AllIssues = append(s.AllIssues, i)
		for k := range n {
			if n == 20 {
				break
			}
			e := schemas.Event{Project: 1, ID: schemas.EventID{byte(n), byte(k)}, Issue: i.ID, Time: last.Add(-time.Duration(k) * time.Second).UnixNano(), Received: 1, Partition: schemas.Unknown, Offset: schemas.Unknown}
			if n%2 == 0 {
				e.Topic = "even"
			}
			e.Release = []string{"shop@1.9.0", "shop@1.10.0"}[n/10]
			e.UserID = string(rune('a' + k%3))
			s.AllEvents = append(s.AllEvents, e)
		}
	}
	return s
}

func TestIssuesAreSearchedAndPagedInEveryOrder(t *testing.T) {
	for _, most := range []int{0, 3} { // few hashes match, or more than are asked for
		store := shop()
		store.MostHashes = most
		h := newHandler(t, store)
		f := func(query, sort string, want ...string) {
			t.Helper()
			got := []string{}
			for before := ""; ; {
				v := url.Values{"limit": {"3"}, "query": {query}, "sort": {sort}}
				if before != "" {
					v.Set("before", before)
				}
				page := get[IssueList](t, h, "/issues?"+v.Encode(), http.StatusOK)
				got = append(got, listed(page)...)
				if page.Next == nil || len(got) > 100 {
					break
				}
				before = *page.Next
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q by %s (at most %d hashes): got %v, want %v", query, sort, most, got, want)
			}
		}
		f("is:unresolved level:warning", "date", "5", "10", "15", "20")
		f("level:warning", "freq", "15", "10", "5", "20")
		f("topic:even", "date", "2", "4", "6", "8", "10", "12", "14", "16", "18")
		f("topic:even", "freq", "18", "16", "14", "12", "10", "8", "6", "4", "2")
		f("topic:even level:warning", "new", "10")
		f("times_seen:>=17", "date", "17", "18", "19")
		f("times_seen:<3", "date", "1", "2", "20")
		f("times_seen:0", "freq", "20")
		f("topic:even times_seen:<5", "date", "2", "4")
		f("!topic:even times_seen:>14", "freq", "19", "17", "15")
		f("users:1", "date", "1")
		f("users:>2 times_seen:<6", "users", "5", "4", "3")
		f("release:latest times_seen:>17", "date", "18", "19")
		f("release:>=1.10.0 times_seen:<12", "date", "10", "11")
		f("release:<1.10.0 times_seen:>8", "date", "9")
		f("release:>other@1.0.0", "date")
		f("nothing", "date")
		f("level:warning OR -is:unresolved", "date", "5", "10", "15", "20")
		f("NOT level:warning topic=even", "date", "2", "4", "6", "8", "12", "14", "16", "18")
		f("topic:even (times_seen<3 OR times_seen>17)", "date", "2", "18")
		f("-(topic:even OR release:shop@1.9.0)", "date", "11", "13", "15", "17", "19")
	}
}

func TestBadQueriesTellThePlace(t *testing.T) {
	h := newHandler(t, shop())
	f := func(query, want string) {
		t.Helper()
		e := get[Problem](t, h, "/issues?query="+url.QueryEscape(query), http.StatusBadRequest)
		if e.Code != "bad_query" || e.Param != "query" || !strings.Contains(e.Detail+" "+e.WayOut, want) {
			t.Errorf("%q: got %+v, want one with %q", query, e, want)
		}
	}
	f("is:unresolved is:broken", "at 18: ")
	f("ü is:broken", "at 6: ")
	f("release:>abc", "no version")
	f("level:error OR topic:even", "at 16: level and topic cannot be alternatives: two stores answer for them ask twice")
	f(strings.Repeat("x ", 40), "30 terms")
	if e := get[Problem](t, h, "/issues?sort=worst", http.StatusBadRequest); e.Param != "sort" {
		t.Errorf("bad sort: %+v", e)
	}
	if e := get[Problem](t, h, "/issues?before=1.x", http.StatusBadRequest); e.Param != "before" {
		t.Errorf("bad page: %+v", e)
	}
}

func TestIssueHasItsHashesActivityTagsAndPagesOfEvents(t *testing.T) {
	h := newHandler(t, shop())
	d := get[IssueDetail](t, h, "/issues/4?limit=3", http.StatusOK)
	if d.Issue.Events != 4 || d.Issue.Users != 3 || d.Issue.Substatus != "new" || len(d.Hashes) != 1 || len(d.Events) != 3 || d.NextEvents == nil || d.AskedFor != nil {
		t.Fatalf("issue 4: %+v", d)
	}
	if d.Events[0].User != "a" || d.Events[0].Fingerprint != d.Hashes[0].Hash {
		t.Errorf("its newest event: %+v", d.Events[0])
	}
	if i := slices.IndexFunc(d.Tags, func(x IssueTag) bool { return x.Key == "topic" }); i < 0 || d.Tags[i].Events != 4 || d.Tags[i].Values[0].Value != "even" {
		t.Errorf("tags: %+v", d.Tags)
	}
	older := get[IssueDetail](t, h, "/issues/4?limit=3&before="+*d.NextEvents, http.StatusOK)
	if len(older.Events) != 1 || older.NextEvents != nil {
		t.Errorf("older events: %+v", older.Events)
	}
	none := get[IssueDetail](t, h, "/issues/4?query="+url.QueryEscape("!topic:even"), http.StatusOK)
	if len(none.Events) != 0 {
		t.Errorf("events that do not match: %+v", none.Events)
	}
	get[Problem](t, h, "/issues/4?before=7", http.StatusBadRequest)
	get[Problem](t, h, "/issues/4?query=is:x", http.StatusBadRequest)
}

func TestActionsChangeIssues(t *testing.T) {
	h := newHandler(t, shop())
	do := func(id, body string) []string {
		t.Helper()
		return act[IssuesChanged](t, h, http.MethodPut, "/issues/"+id, body, http.StatusOK).Changed
	}
	for _, body := range []string{
		`{"resolve":{},"by":"ada"}`, `{"resolve":{"in":"in_release","release":"shop@1.11.0"}}`, `{"unresolve":true}`,
		`{"archive":{}}`, `{"archive":{"until":"time","time":"24h"}}`, `{"archive":{"until":"count","count":10,"windowSeconds":3600}}`,
		`{"assign":"ada"}`, `{"assign":""}`, `{"priority":"low"}`, `{"bookmark":true,"by":"ada"}`,
	} {
		if got := do("3", body); !slices.Equal(got, []string{"3"}) {
			t.Errorf("%s changed %v, want issue 3", body, got)
		}
		if got := do("3", body); len(got) != 0 {
			t.Errorf("%s again changed %v", body, got)
		}
	}
	do("3", `{"comment":"seen it","by":"ada"}`)
	d := get[IssueDetail](t, h, "/issues/3", http.StatusOK)
	if a := d.Issue.Archive; d.Issue.Status != "archived" || a == nil || a.Count != 10 || a.WindowNs != int64(time.Hour) || a.By != "user" || d.Issue.Priority != "low" || !slices.Equal(d.Bookmarks, []string{"ada"}) {
		t.Errorf("issue after all: %+v, bookmarks %v", d.Issue, d.Bookmarks)
	}
	if a := d.Activity[0]; a.Kind != "comment" || a.By != "ada" || !strings.Contains(string(a.Data), "seen it") {
		t.Errorf("last activity: %+v", a)
	}

	bad := func(path, body, want string) {
		t.Helper()
		if e := act[Problem](t, h, http.MethodPut, path, body, http.StatusBadRequest); !strings.Contains(e.Code+e.Detail+e.WayOut, want) {
			t.Errorf("%s: got %+v, want one with %q", body, e, want)
		}
	}
	bad("/issues/3", `{}`, "exactly one")
	bad("/issues/3", `{"resolve":{},"unresolve":true}`, "exactly one")
	bad("/issues/3", `{"ids":["3"],"unresolve":true}`, "PUT /api/v1/issues")
	bad("/issues/3", `{"resolve":{"in":"soon"}}`, "in_next_release")
	bad("/issues/3", `{"archive":{"until":"time","time":"tomorrow"}}`, "24h")
	bad("/issues/3", `{"archive":{"until":"count"}}`, "count must be")
	bad("/issues/3", `{"nonsense":1}`, "bad_body")
	bad("/issues", `{"unresolve":true}`, "ids")
	bad("/issues", `{"ids":["x"],"unresolve":true}`, "whole numbers")
	bad("/issues", `{"query":"is:x","unresolve":true}`, "at 4: ")
}

func TestManyIssuesAreChangedByIdsOrByAQuery(t *testing.T) {
	h := newHandler(t, shop())
	got := act[IssuesChanged](t, h, http.MethodPut, "/issues", `{"ids":["1","2","999"],"assign":"ada"}`, http.StatusOK)
	if !slices.Equal(got.Changed, []string{"1", "2"}) {
		t.Errorf("by ids: %v", got.Changed)
	}
	got = act[IssuesChanged](t, h, http.MethodPut, "/issues", `{"query":"topic:even times_seen:>15","resolve":{}}`, http.StatusOK)
	if !slices.Equal(got.Changed, []string{"16", "18"}) || got.More {
		t.Errorf("by a query: %+v", got)
	}
	if l := get[IssueList](t, h, "/issues?query=is:resolved", http.StatusOK); len(l.Issues) != 2 || l.Issues[0].Resolution == nil || l.Issues[0].Resolution.Kind != "now" {
		t.Errorf("resolved issues: %+v", l.Issues)
	}
}

func TestAnActionOnSeveralIssuesTellsTheOutcomeOfEach(t *testing.T) {
	store := shop()
	h := newHandler(t, store)
	// told is what became of each: id, outcome, and a piece of why.
	told := func(body string) string {
		t.Helper()
		out := act[IssuesChanged](t, h, http.MethodPut, "/issues", body, http.StatusOK)
		s, done := make([]string, len(out.Outcomes)), []string{}
		for i, o := range out.Outcomes {
			s[i] = o.ID + " " + o.Outcome
			if (o.Outcome == "done") != (o.Why == "") {
				t.Errorf("%s: outcome %+v; want a reason exactly when it was not done", body, o)
			}
			if o.Outcome == "done" {
				done = append(done, o.ID)
			}
		}
		if slices.Sort(done); !slices.Equal(done, slices.Sorted(slices.Values(out.Changed))) {
			t.Errorf("%s: changed %v, but of outcomes done %v", body, out.Changed, done)
		}
		return strings.Join(s, ", ")
	}
	f := func(body, want string) {
		t.Helper()
		if got := told(body); got != want {
			t.Errorf("%s: %s; want %s", body, got, want)
		}
	}
	f(`{"ids":["2","1","2","999"],"assign":"ada"}`, "2 done, 1 done, 999 refused")
	f(`{"ids":["1","3"],"assign":"ada"}`, "1 already, 3 done")
	f(`{"ids":["3","4","5","999"],"merge":"5"}`, "3 done, 4 done, 5 already, 999 refused")
	f(`{"ids":["3","6"],"merge":"5"}`, "3 already, 6 done")
	f(`{"ids":["3","7"],"resolve":{}}`, "3 refused, 7 done")
	for i := range store.AllIssues {
		store.AllIssues[i].LastRelease = map[bool]string{true: "shop@1.0"}[store.AllIssues[i].ID == 8]
	}
	f(`{"ids":["8","9"],"resolve":{"in":"in_next_release"}}`, "8 done, 9 refused")
	f(`{"ids":["8"],"resolve":{"in":"in_next_release"}}`, "8 already")
	f(`{"ids":["8","999"],"delete":true}`, "8 done, 999 refused")
	f(`{"ids":["8","9"],"unresolve":true}`, "8 refused, 9 already")
	out := act[IssuesChanged](t, h, http.MethodPut, "/issues", `{"ids":["3"],"delete":true}`, http.StatusOK)
	if o := out.Outcomes[0]; !strings.Contains(o.Why, "merged into issue 5") {
		t.Errorf("deleting an issue that was merged: %+v; want to hear into which", o)
	}
}

func TestMergedIssuesAnswerUnderTheirOldIdsAndUnmerge(t *testing.T) {
	store := shop()
	h := newHandler(t, store)
	act[IssuesChanged](t, h, http.MethodPut, "/issues", `{"ids":["3","4"],"merge":"5"}`, http.StatusOK)
	d := get[IssueDetail](t, h, "/issues/3", http.StatusOK)
	if d.Issue.ID != "5" || d.AskedFor == nil || *d.AskedFor != "3" || d.Issue.Events != 12 || len(d.Hashes) != 3 {
		t.Fatalf("issue 3 after it was merged: %+v", d)
	}
	if e := get[EventDetail](t, h, "/issues/5/events/"+(schemas.EventID{3, 1}).String(), http.StatusOK); e.Issue.ID != "5" {
		t.Errorf("an event of issue 3 is of issue %s", e.Issue.ID)
	}
	i := slices.IndexFunc(d.Hashes, func(x IssueHash) bool { return x.Former == "4" })
	if i < 0 {
		t.Fatalf("no hash came from issue 4: %+v", d.Hashes)
	}
	to := act[Unmerged](t, h, http.MethodPost, "/issues/5/unmerge", `{"hashes":["`+d.Hashes[i].Hash+`"],"former":true}`, http.StatusOK)
	if to.Issue != "4" {
		t.Errorf("unmerged into %s, want 4", to.Issue)
	}
	u := store.Unmerged[0]
	last := testNow.Add(-4 * time.Minute).UnixNano()
	if want := (exporters.SeenSpan{First: last - 3e9, Last: last}); u.Go != want || u.Stay.Last != testNow.Add(-3*time.Minute).UnixNano() {
		t.Errorf("unmerge of %+v, want those that go %+v", u, want)
	}
	if d := get[IssueDetail](t, h, "/issues/4", http.StatusOK); d.Issue.Events != 4 || d.AskedFor != nil {
		t.Errorf("issue 4 after it was unmerged: %+v", d.Issue)
	}
	if d := get[IssueDetail](t, h, "/issues/5", http.StatusOK); d.Issue.Events != 8 {
		t.Errorf("issue 5 has %d events, want 8", d.Issue.Events)
	}
	act[Problem](t, h, http.MethodPost, "/issues/5/unmerge", `{"hashes":[]}`, http.StatusBadRequest)
	act[Problem](t, h, http.MethodPost, "/issues/5/unmerge", `{"hashes":["xyz"]}`, http.StatusBadRequest)
	act[Problem](t, h, http.MethodPost, "/issues/5/unmerge", `{"hashes":["00000000000000000000000000000000"]}`, http.StatusBadRequest)
	act[Problem](t, h, http.MethodPut, "/issues/5", `{"merge":"999"}`, http.StatusNotFound)
}

func TestDeletedAndDiscardedIssuesAreGone(t *testing.T) {
	h := newHandler(t, shop())
	act[IssuesChanged](t, h, http.MethodPut, "/issues/3", `{"delete":true}`, http.StatusOK)
	act[IssuesChanged](t, h, http.MethodPut, "/issues/4", `{"discard":true,"by":"ada"}`, http.StatusOK)
	for _, id := range []string{"3", "4"} {
		get[Problem](t, h, "/issues/"+id, http.StatusNotFound)
	}
	if l := get[IssueList](t, h, "/issues?limit=500", http.StatusOK); len(l.Issues) != 18 {
		t.Errorf("%d issues are listed, want 18", len(l.Issues))
	}
	d := get[DiscardedList](t, h, "/discarded", http.StatusOK)
	if len(d.Discarded) != 1 || d.Discarded[0].By != "ada" || len(d.Discarded[0].Hashes) != 1 {
		t.Fatalf("discarded: %+v", d)
	}
	act[IssuesChanged](t, h, http.MethodPost, "/discarded/restore", `{"hashes":["`+d.Discarded[0].Hashes[0]+`"]}`, http.StatusOK)
	if d := get[DiscardedList](t, h, "/discarded", http.StatusOK); len(d.Discarded) != 0 {
		t.Errorf("discarded after it was restored: %+v", d)
	}
	if f := get[SearchFields](t, h, "/search-fields", http.StatusOK); len(f.Fields) < 30 || len(f.Fields[0].Words) == 0 {
		t.Errorf("fields of the query language: %+v", f)
	}
}
