package exportertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// issueSuite is the part of Metadata about the life of issues.
func issueSuite(run func(name string, f func(t *testing.T, s MetadataStore))) {
	run("FirstKnownHashDecidesAndTheOthersAreAttached", hashesAttach)
	run("SightingsOfOneBatchShareTheirIssue", sightingsShare)
	run("SightingsOutOfOrderEndInTheSameIssue", sightingsOutOfOrder)
	run("SightingSeenAgainChangesNothing", sightingAgain)
	run("NewHashSeenByManyAtOnceMakesOneIssue", sightingsByMany)
	run("ManySightingsAreOneBatch", manySightings)
	run("ResolvedIssueComesBackAsRegressionOfLaterReleases", issueRegresses)
	run("ActionsChangeOnceAndStandInTheLog", issueActions)
	run("TimeMakesIssuesOngoing", issuesAge)
	run("SleepingIssuesWakeByCount", issuesWake)
	run("MergedIssuesUnmergeExactly", mergeUnmerge)
	run("MergesThatCannotBeAreRefused", badMerges)
	run("DeletedIssueIsGoneAndNewEventsMakeANewOne", deleteIssue)
	run("DiscardedHashesMakeNoIssueUntilRestored", discardIssue)
	run("ReplacementsAreToldInOrder", replacements)
	run("LeaseHasOneHolder", lease)
	run("IssuesAreFoundByTerms", issueTerms)
	run("IssuesArePagedByTimeAndID", issuePages)
}

func hash(n ...byte) (h schemas.Fingerprint) {
	copy(h[:], n)
	h[15] = 0xfe
	return h
}

// sighting is of hashes at second n.
func sighting(n int64, hashes ...byte) exporters.Sighting {
	s := exporters.Sighting{
		Project: 1, Version: "v1", Category: "error", Title: fmt.Sprintf("Title %d", n), Culprit: "a.b", Level: "error", Platform: "go",
		Tree: []byte(`["type E"]`), FirstSeen: n * 1e9, LastSeen: n * 1e9,
	}
	for _, h := range hashes {
		s.Hashes = append(s.Hashes, hash(h))
	}
	return s
}

func see(t testing.TB, s exporters.IssueSighter, sightings ...exporters.Sighting) []exporters.Seen {
	t.Helper()
	out, err := s.SeeIssues(testContext(t), sightings)
	noError(t, "SeeIssues", err)
	if len(out) != len(sightings) {
		t.Fatalf("SeeIssues of %d sightings gave %d answers", len(sightings), len(out))
	}
	return out
}

func issueOf(t testing.TB, s MetadataStore, id schemas.IssueID) schemas.Issue {
	t.Helper()
	i, err := s.Issue(testContext(t), 1, id)
	noError(t, "Issue", err)
	return i
}

func hashesOf(t testing.TB, s MetadataStore, id schemas.IssueID) (out []schemas.Fingerprint) {
	t.Helper()
	all, err := s.IssueHashes(testContext(t), 1, []schemas.IssueID{id})
	noError(t, "IssueHashes", err)
	for _, h := range all[id] {
		out = append(out, h.Hash)
	}
	slices.SortFunc(out, func(a, b schemas.Fingerprint) int { return slices.Compare(a[:], b[:]) })
	return out
}

// kinds are those of the issue's log, oldest first.
func kinds(t testing.TB, s MetadataStore, id schemas.IssueID) string {
	t.Helper()
	log, err := s.Activity(testContext(t), 1, id, 500)
	noError(t, "Activity", err)
	out := make([]string, 0, len(log))
	for _, a := range log {
		out = append(out, a.Kind)
	}
	slices.Reverse(out)
	return strings.Join(out, " ")
}

func hashesAttach(t *testing.T, s MetadataStore) {
	a := see(t, s, sighting(1, 1))[0]
	b := see(t, s, sighting(2, 2))[0]
	if !a.IsNew || !b.IsNew || a.Issue == b.Issue || a.Hash != hash(1) {
		t.Fatalf("two hashes gave %+v and %+v; want two new issues", a, b)
	}
	got := see(t, s, sighting(3, 3, 2, 1, 4))[0]
	want := exporters.Seen{Issue: b.Issue, Hash: hash(2)}
	equal(t, "seen with hashes 3, 2, 1, 4", got, want)
	equal(t, "hashes of the second issue", hashesOf(t, s, b.Issue), []schemas.Fingerprint{hash(2), hash(3), hash(4)})
	equal(t, "hashes of the first issue", hashesOf(t, s, a.Issue), []schemas.Fingerprint{hash(1)})
	if got := see(t, s, sighting(4, 4))[0]; got.Issue != b.Issue || got.IsNew {
		t.Errorf("an attached hash gave %+v, want issue %d", got, b.Issue)
	}
	owners, err := s.IssuesOfHashes(testContext(t), 1, []schemas.Fingerprint{hash(1), hash(4), hash(9)})
	noError(t, "IssuesOfHashes", err)
	equal(t, "owners", owners, map[schemas.Fingerprint]schemas.IssueID{hash(1): a.Issue, hash(4): b.Issue})
	tree, err := s.HashTree(testContext(t), 1, hash(4))
	noError(t, "HashTree", err)
	equal(t, "tree", string(tree), `["type E"]`)
	_, err = s.HashTree(testContext(t), 2, hash(4))
	isError(t, "HashTree of another project", err, exporters.ErrNotFound)
	other := sighting(1, 1)
	other.Project = 2
	if got := see(t, s, other)[0]; !got.IsNew {
		t.Error("the hash of another project's issue was known")
	}
	if _, err := s.SeeIssues(testContext(t), []exporters.Sighting{{Project: 1}}); err == nil {
		t.Error("a sighting without a hash was noted")
	}
}

func sightingsShare(t *testing.T, s MetadataStore) {
	out := see(t, s, sighting(5, 1, 2), sighting(3, 2, 3), sighting(9, 3), sighting(1, 7))
	if out[1].Issue != out[0].Issue || out[2].Issue != out[0].Issue || out[3].Issue == out[0].Issue {
		t.Fatalf("chained hashes gave %+v", out)
	}
	if !out[0].IsNew || out[1].IsNew || out[2].IsNew || !out[3].IsNew {
		t.Errorf("new once an issue, got %+v", out)
	}
	got := issueOf(t, s, out[0].Issue)
	if got.FirstSeen != 3e9 || got.LastSeen != 9e9 || got.Title != "Title 9" {
		t.Errorf("issue = %+v; want it from second 3 to 9", got)
	}
}

func sightingsOutOfOrder(t *testing.T, s MetadataStore) {
	release := func(x exporters.Sighting, name string) exporters.Sighting { x.Release = name; return x }
	all := []exporters.Sighting{release(sighting(5, 1), "b"), release(sighting(1, 1), "a"), release(sighting(9, 1), "c"), sighting(11, 1), sighting(0, 1)}
	all[3].Level, all[4].Level = "info", "fatal"
	for _, x := range all {
		see(t, s, x)
	}
	id := see(t, s, sighting(2, 1))[0].Issue
	got := issueOf(t, s, id)
	want := schemas.Issue{
		ID: id, Project: 1, Fingerprint: hash(1), Category: "error", Title: "Title 11", Culprit: "a.b", Level: "info", Platform: "go", FirstSeen: 0, LastSeen: 11e9,
		FirstRelease: "a", LastRelease: "c", Priority: schemas.PriorityLow, Grouping: []string{"type E"}, IssueState: got.IssueState,
	}
	equal(t, "issue", got, want)
	releases, err := s.ReleasesSeen(testContext(t), 1, 10)
	noError(t, "ReleasesSeen", err)
	equal(t, "releases", releases, []exporters.ReleaseSeen{
		{Name: "c", Created: 9e9, FirstSeen: 9e9, LastSeen: 9e9}, {Name: "b", Created: 5e9, FirstSeen: 5e9, LastSeen: 5e9}, {Name: "a", Created: 1e9, FirstSeen: 1e9, LastSeen: 1e9},
	})
}

func sightingAgain(t *testing.T, s MetadataStore) {
	batch := []exporters.Sighting{sighting(5, 1, 2), sighting(3, 2), sighting(9, 4)}
	batch[0].Release = "shop@1.0.0"
	first := see(t, s, batch...)
	before := []schemas.Issue{issueOf(t, s, first[0].Issue), issueOf(t, s, first[2].Issue)}
	for range 3 {
		again := see(t, s, batch...)
		for i := range again {
			first[i].IsNew = false
		}
		equal(t, "seen again", again, first)
	}
	equal(t, "issues", []schemas.Issue{issueOf(t, s, first[0].Issue), issueOf(t, s, first[2].Issue)}, before)
	if got := kinds(t, s, first[0].Issue); got != "first_seen" {
		t.Errorf("log: %s; want first_seen", got)
	}
}

func sightingsByMany(t *testing.T, s MetadataStore) {
	const n, each = 8, 20
	seen, errs := make([][]exporters.Seen, n), make([]error, n)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			batch := make([]exporters.Sighting, each)
			for k := range batch {
				// In another order each, and overlapping.
				batch[k] = sighting(int64(100+i), byte((k*7+i*3)%each), byte((k*7+i*3+1)%each))
			}
			seen[i], errs[i] = s.SeeIssues(ctx, batch)
		})
	}
	wg.Wait()
	fresh := map[schemas.IssueID]int{}
	for i := range n {
		noError(t, "SeeIssues", errs[i])
		for _, x := range seen[i] {
			if x.IsNew {
				fresh[x.Issue]++
			}
		}
	}
	hashes := make([]schemas.Fingerprint, each)
	for i := range hashes {
		hashes[i] = hash(byte(i))
	}
	owners, err := s.IssuesOfHashes(ctx, 1, hashes)
	noError(t, "IssuesOfHashes", err)
	if len(owners) != each {
		t.Errorf("%d hashes have an issue, want %d", len(owners), each)
	}
	for h, id := range owners {
		if fresh[id] != 1 {
			t.Errorf("issue %d of hash %v was new %d times, want once", id, h, fresh[id])
		}
		if got := issueOf(t, s, id); got.LastSeen < 100e9 || got.LastSeen > (100+n-1)*1e9 {
			t.Errorf("issue %d was last seen at %d", id, got.LastSeen)
		}
	}
	for id := range fresh {
		if len(hashesOf(t, s, id)) == 0 {
			t.Errorf("issue %d was made without a hash", id)
		}
	}
}

func manySightings(t *testing.T, s MetadataStore) {
	batch := make([]exporters.Sighting, 3000)
	for i := range batch {
		batch[i] = sighting(int64(i), 0)
		batch[i].Hashes = []schemas.Fingerprint{hash(byte(i), byte(i>>8), 1), hash(byte(i), byte(i>>8), 2)}
		batch[i].Release = fmt.Sprint("r", i%50)
	}
	first := see(t, s, batch...)
	again := see(t, s, batch...)
	ids := map[schemas.IssueID]bool{}
	for i := range first {
		if !first[i].IsNew || again[i].IsNew || again[i].Issue != first[i].Issue {
			t.Fatalf("sighting %d: %+v, then %+v", i, first[i], again[i])
		}
		ids[first[i].Issue] = true
	}
	if len(ids) != len(batch) {
		t.Errorf("%d issues of %d sightings", len(ids), len(batch))
	}
}

func change(t testing.TB, s MetadataStore, id schemas.IssueID, c exporters.IssueChange, want bool) {
	t.Helper()
	changed, err := s.ChangeIssues(testContext(t), 1, []schemas.IssueID{id, id, 1 << 40}, c)
	noError(t, "ChangeIssues", err)
	if got := slices.Equal(changed, []schemas.IssueID{id}); got != want || len(changed) > 1 {
		t.Errorf("ChangeIssues(%+v) changed %v; want issue %d changed: %v", c, changed, id, want)
	}
}

func issueRegresses(t *testing.T, s MetadataStore) {
	at := time.Unix(1000, 0)
	in := func(n int64, release string) exporters.Sighting {
		x := sighting(n, 1)
		x.Release = release
		return x
	}
	id := see(t, s, in(900, "shop@1.2.0"), in(905, "shop@1.10.0"), in(901, "other@9.0.0"))[0].Issue
	change(t, s, id, exporters.IssueChange{By: "ada", At: at, Resolve: &schemas.Resolution{Kind: schemas.ResolvedInNextRelease}}, true)
	got := issueOf(t, s, id)
	if got.Status != schemas.StatusResolved || got.Resolution != (schemas.Resolution{Kind: schemas.ResolvedInNextRelease, Release: "shop@1.10.0", At: 1000e9, By: "ada"}) {
		t.Fatalf("resolved in the next release: %+v", got.IssueState)
	}
	for _, x := range []exporters.Sighting{in(1001, "shop@1.10.0"), in(1002, "shop@1.9.9"), in(999, "shop@1.11.0")} {
		if out := see(t, s, x)[0]; out.IsRegression || out.Issue != id {
			t.Errorf("%s at %d: %+v; want no regression", x.Release, x.LastSeen/1e9, out)
		}
	}
	later := in(1003, "shop@1.11.0")
	if out := see(t, s, later)[0]; !out.IsRegression {
		t.Error("a later release was no regression")
	}
	if out := see(t, s, later)[0]; out.IsRegression {
		t.Error("the same sighting was a regression twice")
	}
	if got := issueOf(t, s, id); got.Status != schemas.StatusUnresolved || got.Substatus != schemas.SubstatusRegressed {
		t.Errorf("after a regression: %+v", got.IssueState)
	}
	change(t, s, id, exporters.IssueChange{By: "ada", At: time.Unix(2000, 0), Resolve: &schemas.Resolution{Kind: schemas.ResolvedInRelease, Release: "shop@1.12.0"}}, true)
	if out := see(t, s, later, in(2001, "shop@1.11.5")); out[0].IsRegression || out[1].IsRegression {
		t.Error("an event from before, or of an older release, was a regression")
	}
	if out := see(t, s, in(2002, "shop@1.12.0+7"))[0]; !out.IsRegression {
		t.Error("the release that should hold the repair was no regression")
	}
	change(t, s, id, exporters.IssueChange{At: time.Unix(3000, 0), Resolve: &schemas.Resolution{Kind: schemas.ResolvedNow}}, true)
	if out := see(t, s, sighting(3001, 1), sighting(3002, 1)); !out[0].IsRegression || out[1].IsRegression {
		t.Errorf("of two sightings after it was resolved: %+v; want the first to be a regression", out)
	}
	if got, want := kinds(t, s, id), "first_seen set_resolved set_regression set_resolved set_regression set_resolved set_regression"; got != want {
		t.Errorf("log: %s; want %s", got, want)
	}
}

func issueActions(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	at := time.Unix(5000, 0)
	id := see(t, s, sighting(1, 1))[0].Issue
	ada, nobody := "ada", ""
	yes, no := true, false
	twice := func(c exporters.IssueChange) {
		t.Helper()
		c.By, c.At = "ada", at
		change(t, s, id, c, true)
		c.At = at.Add(time.Second)
		change(t, s, id, c, false)
	}
	twice(exporters.IssueChange{Assign: &ada})
	twice(exporters.IssueChange{Priority: schemas.PriorityLow})
	twice(exporters.IssueChange{Archive: &schemas.Archive{Kind: schemas.UntilForever}})
	twice(exporters.IssueChange{Archive: &schemas.Archive{Kind: schemas.UntilCount, Count: 10, Window: int64(time.Hour)}})
	twice(exporters.IssueChange{Unresolve: true})
	twice(exporters.IssueChange{Resolve: &schemas.Resolution{Kind: schemas.ResolvedInRelease, Release: "1.0"}})
	twice(exporters.IssueChange{Bookmark: &yes})
	twice(exporters.IssueChange{Comment: "seen it ☃ \x00"})
	marks, err := s.Bookmarks(ctx, 1, id)
	noError(t, "Bookmarks", err)
	equal(t, "bookmarks", marks, []string{"ada"})
	twice(exporters.IssueChange{Bookmark: &no})
	twice(exporters.IssueChange{Assign: &nobody})
	change(t, s, id, exporters.IssueChange{By: "ada", At: at.Add(time.Hour), Comment: "seen it ☃ \x00"}, true) // said again later
	got := issueOf(t, s, id)
	if got.Assignee != "" || got.Priority != schemas.PriorityLow || got.Status != schemas.StatusResolved || got.Resolution.By != "ada" {
		t.Errorf("issue after all: %+v", got)
	}
	see(t, s, sighting(2, 1)) // an error, but the priority was set by a person
	if got := issueOf(t, s, id); got.Priority != schemas.PriorityLow || got.LastSeen != 2e9 {
		t.Errorf("after another event: %+v", got)
	}
	want := "first_seen assigned set_priority set_archived set_archived set_unresolved set_resolved comment unassigned comment"
	if got := kinds(t, s, id); got != want {
		t.Errorf("log: %s; want %s", got, want)
	}
	log, err := s.Activity(ctx, 1, id, 1)
	noError(t, "Activity", err)
	var said struct{ Text string }
	if len(log) != 1 || log[0].By != "ada" || log[0].At != at.Add(time.Hour).UnixNano() || json.Unmarshal(log[0].Data, &said) != nil || !strings.HasPrefix(said.Text, "seen it ☃") {
		t.Errorf("last activity: %+v", log)
	}
	for _, c := range []exporters.IssueChange{
		{},
		{Priority: "huge"},
		{Comment: strings.Repeat("x", 10_001)},
		{By: strings.Repeat("x", 201), Unresolve: true},
		{Bookmark: &yes},
		{Resolve: &schemas.Resolution{Kind: "soon"}},
		{Archive: &schemas.Archive{Kind: schemas.UntilCount}},
	} {
		_, err := s.ChangeIssues(ctx, 1, []schemas.IssueID{id}, c)
		isError(t, fmt.Sprintf("ChangeIssues(%+v)", c), err, exporters.ErrBadChange)
	}
	next := exporters.IssueChange{Resolve: &schemas.Resolution{Kind: schemas.ResolvedInNextRelease}}
	_, err = s.ChangeIssues(ctx, 1, []schemas.IssueID{id}, next)
	isError(t, "ChangeIssues for the next release where none is known", err, exporters.ErrBadChange)
	other := see(t, s, sighting(1, 2))[0].Issue
	if changed, err := s.ChangeIssues(ctx, 1, []schemas.IssueID{id, other}, next); err != nil || len(changed) != 0 {
		t.Errorf("resolving several in the next release where none is known = %v, %v; want none, and no error", changed, err)
	}
	_, err = s.ChangeIssues(ctx, 1, make([]schemas.IssueID, exporters.MaxIssues+1), exporters.IssueChange{Unresolve: true})
	isError(t, "ChangeIssues of too many", err, exporters.ErrTooLarge)
	if changed, err := s.ChangeIssues(ctx, 2, []schemas.IssueID{id}, exporters.IssueChange{Unresolve: true}); err != nil || len(changed) != 0 {
		t.Errorf("ChangeIssues of another project = %v, %v; want none", changed, err)
	}
}

func issuesAge(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	now := time.Now()
	var ids []schemas.IssueID
	for i := range 3 {
		ids = append(ids, see(t, s, sighting(1, byte(i)))[0].Issue)
	}
	age := func(after time.Duration, limit, want int) {
		t.Helper()
		n, err := s.AgeIssues(ctx, now.Add(after), limit)
		noError(t, "AgeIssues", err)
		if n != want {
			t.Errorf("AgeIssues after %v changed %d, want %d", after, n, want)
		}
	}
	change(t, s, ids[2], exporters.IssueChange{At: now, Archive: &schemas.Archive{Kind: schemas.UntilTime, Until: now.Add(time.Hour).UnixNano()}}, true)
	age(time.Minute, 10, 0)
	age(time.Hour, 10, 1)
	if got := issueOf(t, s, ids[2]); got.Status != schemas.StatusUnresolved || got.Substatus != schemas.SubstatusOngoing {
		t.Errorf("after its archive: %+v", got.IssueState)
	}
	age(issuestate.NewFor+time.Minute, 1, 1)
	age(issuestate.NewFor+time.Minute, 10, 1)
	age(issuestate.NewFor+time.Minute, 10, 0)
	for _, id := range ids[:2] {
		if got := issueOf(t, s, id); got.Substatus != schemas.SubstatusOngoing {
			t.Errorf("after 3 days: %+v", got.IssueState)
		}
		if got := kinds(t, s, id); got != "first_seen set_ongoing" {
			t.Errorf("log: %s", got)
		}
	}
}

func issuesWake(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	now := time.Now()
	asleep := func() []exporters.SleepingIssue {
		t.Helper()
		out, err := s.SleepingIssues(ctx, 0, 10)
		noError(t, "SleepingIssues", err)
		return out
	}
	var ids []schemas.IssueID
	for i, a := range []schemas.Archive{{Kind: schemas.UntilForever}, {Kind: schemas.UntilEscalating}, {Kind: schemas.UntilCount, Count: 10}, {Kind: schemas.UntilUsers, Count: 3}} {
		id := see(t, s, sighting(7, byte(i), byte(100+i)))[0].Issue
		ids = append(ids, id)
		change(t, s, id, exporters.IssueChange{At: now, Archive: &a}, true)
	}
	got := asleep()
	if len(got) != 3 || got[0].ID != ids[1] || len(got[0].Hashes) != 2 || got[0].FirstSeen != 7e9 || got[0].Project != 1 {
		t.Fatalf("asleep: %+v; want all but the one that sleeps for ever", got)
	}
	forecast := exporters.IssueForecast{First: 5, Ceilings: []uint64{10, 20}}
	noError(t, "KeepForecast", s.KeepForecast(ctx, ids[1], forecast))
	got = asleep()
	equal(t, "forecast", got[0].Forecast, forecast)
	if after, err := s.SleepingIssues(ctx, ids[1], 10); err != nil || len(after) != 2 {
		t.Errorf("SleepingIssues after the first = %d, %v", len(after), err)
	}
	count := func(i int, n, ceiling uint64, want bool) {
		t.Helper()
		woken, err := s.CountIssue(ctx, got[i], n, ceiling, now)
		noError(t, "CountIssue", err)
		if woken != want {
			t.Errorf("CountIssue of %s with %d: %v, want %v", got[i].State.Archive.Kind, n, woken, want)
		}
	}
	count(0, 10, 10, false)
	count(0, 11, 10, true)
	count(0, 12, 10, false) // it is awake
	count(1, 9, 0, false)
	count(1, 10, 0, true)
	change(t, s, ids[3], exporters.IssueChange{At: now, Unresolve: true}, true)
	count(2, 5, 0, false) // somebody was faster
	if rest := asleep(); len(rest) != 0 {
		t.Errorf("still asleep: %+v", rest)
	}
	if got := issueOf(t, s, ids[1]); got.Substatus != schemas.SubstatusEscalating {
		t.Errorf("after more events than forecast: %+v", got.IssueState)
	}
	if got := kinds(t, s, ids[1]); got != "first_seen set_archived set_escalating" {
		t.Errorf("log: %s", got)
	}
}

func mergeUnmerge(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	a := see(t, s, sighting(10, 1))[0].Issue
	b := see(t, s, sighting(20, 2, 3))[0].Issue
	c := see(t, s, sighting(5, 4))[0].Issue
	yes := true
	change(t, s, b, exporters.IssueChange{By: "ada", Bookmark: &yes}, true)
	for range 2 {
		noError(t, "MergeIssues", s.MergeIssues(ctx, 1, a, []schemas.IssueID{b}, "ada"))
	}
	noError(t, "MergeIssues", s.MergeIssues(ctx, 1, c, []schemas.IssueID{a}, "bob"))
	got := issueOf(t, s, c)
	if got.FirstSeen != 5e9 || got.LastSeen != 20e9 || got.Title != "Title 20" || got.MergedInto != 0 {
		t.Errorf("merged issue: %+v", got)
	}
	for _, id := range []schemas.IssueID{a, b} {
		if got := issueOf(t, s, id); got.MergedInto != c {
			t.Errorf("issue %d was merged into %d, want %d", id, got.MergedInto, c)
		}
	}
	equal(t, "hashes", hashesOf(t, s, c), []schemas.Fingerprint{hash(1), hash(2), hash(3), hash(4)})
	list, err := s.Issues(ctx, exporters.IssueQuery{Project: 1})
	noError(t, "Issues", err)
	if len(list) != 1 || list[0].ID != c {
		t.Errorf("the list has %+v, want the one that is left", list)
	}
	if marks, err := s.Bookmarks(ctx, 1, c); err != nil || len(marks) != 1 {
		t.Errorf("bookmarks of the merged issue = %v, %v", marks, err)
	}
	if got := see(t, s, sighting(30, 2))[0]; got.Issue != c {
		t.Errorf("an event of a merged hash went to issue %d, want %d", got.Issue, c)
	}
	u := exporters.Unmerge{Project: 1, Issue: c, By: "ada"}
	for what, hashes := range map[string][]schemas.Fingerprint{"none": nil, "all": {hash(1), hash(2), hash(3), hash(4)}, "another's": {hash(9)}} {
		u.Hashes = hashes
		_, err := s.UnmergeIssue(ctx, u)
		isError(t, "UnmergeIssue of "+what, err, exporters.ErrBadChange)
	}
	u.Hashes, u.Former = []schemas.Fingerprint{hash(4)}, true
	_, err = s.UnmergeIssue(ctx, u)
	isError(t, "UnmergeIssue of what was never merged", err, exporters.ErrBadChange)
	u.Hashes, u.Stay, u.Go = []schemas.Fingerprint{hash(2), hash(3)}, exporters.SeenSpan{First: 5e9, Last: 10e9}, exporters.SeenSpan{First: 20e9, Last: 30e9}
	u.StayTitle = "Title 5"
	to, err := s.UnmergeIssue(ctx, u)
	noError(t, "UnmergeIssue", err)
	if to != b {
		t.Errorf("unmerged into %d, want the former issue %d", to, b)
	}
	got = issueOf(t, s, b)
	if got.MergedInto != 0 || got.FirstSeen != 20e9 || got.LastSeen != 30e9 || got.Title != "Title 20" {
		t.Errorf("issue that is back: %+v", got)
	}
	if got := issueOf(t, s, c); got.FirstSeen != 5e9 || got.LastSeen != 10e9 || got.Title != "Title 5" {
		t.Errorf("issue that stayed: %+v", got)
	}
	equal(t, "hashes that stayed", hashesOf(t, s, c), []schemas.Fingerprint{hash(1), hash(4)})
	equal(t, "hashes that are back", hashesOf(t, s, b), []schemas.Fingerprint{hash(2), hash(3)})
	if got := see(t, s, sighting(40, 3))[0]; got.Issue != b {
		t.Errorf("an event of an unmerged hash went to issue %d, want %d", got.Issue, b)
	}
	u = exporters.Unmerge{Project: 1, Issue: b, Hashes: []schemas.Fingerprint{hash(3)}, By: "ada", Go: exporters.SeenSpan{First: 40e9, Last: 40e9}, Title: "split"}
	to, err = s.UnmergeIssue(ctx, u)
	noError(t, "UnmergeIssue to a new one", err)
	if got := issueOf(t, s, to); to == a || to == b || to == c || got.Title != "split" || got.FirstSeen != 40e9 || got.Status != schemas.StatusUnresolved {
		t.Errorf("new issue %d: %+v", to, got)
	}
	if got := kinds(t, s, b); got != "first_seen merged unmerged unmerge" {
		t.Errorf("log: %s", got)
	}
}

func badMerges(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	a, b, c := see(t, s, sighting(1, 1))[0].Issue, see(t, s, sighting(1, 2))[0].Issue, see(t, s, sighting(1, 3))[0].Issue
	noError(t, "MergeIssues", s.MergeIssues(ctx, 1, a, []schemas.IssueID{b}, ""))
	f := func(what string, target schemas.IssueID, others []schemas.IssueID, want error) {
		t.Helper()
		isError(t, "merge of "+what, s.MergeIssues(ctx, 1, target, others, ""), want)
	}
	f("nothing", a, nil, exporters.ErrBadChange)
	f("itself", a, []schemas.IssueID{a}, exporters.ErrBadChange)
	f("what is not there", a, []schemas.IssueID{1 << 40}, exporters.ErrNotFound)
	f("into what is not there", 1<<40, []schemas.IssueID{a}, exporters.ErrNotFound)
	f("into what was merged", b, []schemas.IssueID{c}, exporters.ErrBadChange)
	f("what was merged elsewhere", c, []schemas.IssueID{b}, exporters.ErrBadChange)
	isError(t, "merge of another project", s.MergeIssues(ctx, 2, a, []schemas.IssueID{c}, ""), exporters.ErrNotFound)
	equal(t, "hashes", hashesOf(t, s, a), []schemas.Fingerprint{hash(1), hash(2)})
}

func deleteIssue(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	id := see(t, s, sighting(1, 1, 2))[0].Issue
	other := see(t, s, sighting(1, 3))[0].Issue
	noError(t, "MergeIssues", s.MergeIssues(ctx, 1, id, []schemas.IssueID{other}, ""))
	before := time.Now().UnixNano()
	gone, err := s.DeleteIssues(ctx, 1, []schemas.IssueID{id, 1 << 40}, false, "ada")
	noError(t, "DeleteIssues", err)
	equal(t, "deleted", gone, []schemas.IssueID{id})
	gone, err = s.DeleteIssues(ctx, 1, []schemas.IssueID{id}, false, "ada")
	noError(t, "DeleteIssues again", err)
	if len(gone) > 0 {
		t.Errorf("deleted again: %v", gone)
	}
	for _, x := range []schemas.IssueID{id, other} {
		_, err = s.Issue(ctx, 1, x)
		isError(t, "Issue that was deleted", err, exporters.ErrNotFound)
	}
	late := sighting(2, 1)
	late.LastReceived = before
	if got := see(t, s, late)[0]; !got.Discard {
		t.Errorf("events received before the deletion: %+v; want them discarded", got)
	}
	late.LastReceived = time.Now().Add(time.Second).UnixNano()
	got := see(t, s, late)[0]
	if got.Discard || !got.IsNew || got.Issue == id {
		t.Fatalf("events received after it: %+v; want a new issue", got)
	}
	hashes, err := s.IssueHashes(ctx, 1, []schemas.IssueID{got.Issue})
	noError(t, "IssueHashes", err)
	if h := hashes[got.Issue]; len(h) != 1 || h[0].After < before {
		t.Errorf("hashes of the new issue: %+v; want one that hides what came before", h)
	}
	deleted, err := s.DeletedHashes(ctx, 10)
	noError(t, "DeletedHashes", err)
	if len(deleted) != 3 {
		t.Fatalf("%d hashes are to be removed, want 3", len(deleted))
	}
	noError(t, "HashesRemoved", s.HashesRemoved(ctx, deleted[:2]))
	noError(t, "HashesRemoved", s.HashesRemoved(ctx, deleted[:2]))
	deleted, err = s.DeletedHashes(ctx, 10)
	noError(t, "DeletedHashes", err)
	if len(deleted) != 1 {
		t.Errorf("%d hashes are still to be removed, want 1", len(deleted))
	}
	if n, err := s.AgeIssues(ctx, time.Now().Add(2*time.Hour), 10); err != nil || n != 2 {
		t.Errorf("AgeIssues removed %d rows, error %v; want the 2 that were deleted", n, err)
	}
}

func discardIssue(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	id := see(t, s, sighting(1, 1, 2))[0].Issue
	_, err := s.DeleteIssues(ctx, 1, []schemas.IssueID{id}, true, "ada")
	noError(t, "DeleteIssues", err)
	for _, x := range []exporters.Sighting{sighting(9, 1), sighting(9, 5, 2)} {
		if got := see(t, s, x)[0]; !got.Discard || got.Issue != 0 {
			t.Errorf("sighting of a discarded hash: %+v", got)
		}
	}
	other := see(t, s, sighting(9, 6))[0].Issue
	if got := see(t, s, sighting(9, 6, 1))[0]; got.Discard || got.Issue != other {
		t.Errorf("a known hash before a discarded one: %+v; want issue %d", got, other)
	}
	list, err := s.Discarded(ctx, 1, 10)
	noError(t, "Discarded", err)
	if len(list) != 1 || len(list[0].Hashes) != 2 || list[0].Title != "Title 1" || list[0].By != "ada" {
		t.Fatalf("Discarded = %+v", list)
	}
	for range 2 {
		noError(t, "RestoreHashes", s.RestoreHashes(ctx, 1, list[0].Hashes))
	}
	if list, err = s.Discarded(ctx, 1, 10); err != nil || len(list) != 0 {
		t.Errorf("Discarded after all were restored = %+v, %v", list, err)
	}
	if got := see(t, s, sighting(10, 1))[0]; got.Discard || !got.IsNew {
		t.Errorf("sighting of a restored hash: %+v; want a new issue", got)
	}
}

func replacements(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	a, b := see(t, s, sighting(1, 1))[0].Issue, see(t, s, sighting(1, 2))[0].Issue
	noError(t, "MergeIssues", s.MergeIssues(ctx, 1, a, []schemas.IssueID{b}, ""))
	noError(t, "MergeIssues again", s.MergeIssues(ctx, 1, a, []schemas.IssueID{b}, ""))
	_, err := s.UnmergeIssue(ctx, exporters.Unmerge{Project: 1, Issue: a, Hashes: []schemas.Fingerprint{hash(2)}, Former: true})
	noError(t, "UnmergeIssue", err)
	_, err = s.DeleteIssues(ctx, 1, []schemas.IssueID{a, b}, false, "")
	noError(t, "DeleteIssues", err)
	read := func(limit int) []exporters.Replacement {
		t.Helper()
		out, err := s.Replacements(ctx, limit)
		noError(t, "Replacements", err)
		return out
	}
	all := read(10)
	var told []string
	for _, r := range all {
		var message []json.RawMessage
		noError(t, "the value", json.Unmarshal(r.Value, &message))
		told = append(told, string(message[0])+" "+string(message[1]))
		if r.Project != 1 {
			t.Errorf("replacement of project %d", r.Project)
		}
	}
	equal(t, "told", told, []string{`2 "end_merge"`, `2 "end_unmerge"`, `2 "end_delete_groups"`})
	noError(t, "ReplacementsSent", s.ReplacementsSent(ctx, []int64{all[0].ID}))
	if rest := read(1); len(rest) != 1 || rest[0].ID != all[1].ID {
		t.Errorf("after the first was sent: %+v", rest)
	}
}

func lease(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	f := func(holder string, ttl time.Duration, want bool) {
		t.Helper()
		got, err := s.Lease(ctx, "keep", holder, ttl)
		noError(t, "Lease", err)
		if got != want {
			t.Errorf("Lease for %s = %v, want %v", holder, got, want)
		}
	}
	f("a", time.Hour, true)
	f("b", time.Hour, false)
	f("a", -time.Second, true) // given back
	f("b", time.Hour, true)
	f("a", time.Hour, false)
	held := make([]bool, 8)
	var wg sync.WaitGroup
	for i := range held {
		wg.Go(func() { held[i], _ = s.Lease(ctx, "other", fmt.Sprint(i), time.Hour) })
	}
	wg.Wait()
	n := 0
	for _, h := range held {
		if h {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d hold one lease", n)
	}
}

func issueTerms(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	ada, yes := "Ada", true
	for i, x := range []exporters.Sighting{
		{Title: "CardDeclined: 50%_off", Culprit: "payments.charge", Level: "error", Platform: "go", Logger: "shop", Release: "1.0"},
		{Title: "Timeout", Culprit: "orders.send", Level: "warning", Platform: "python", Release: "2.0"},
		{Title: "Übel\nzwei", Culprit: "", Level: "fatal", Platform: "go", Category: "feedback"},
	} {
		x.Project, x.Hashes, x.FirstSeen, x.LastSeen = 1, []schemas.Fingerprint{hash(byte(i))}, int64(i+1)*1e9, int64(i+1)*10e9
		see(t, s, x)
	}
	change(t, s, 1, exporters.IssueChange{By: "bob", Assign: &ada}, true)
	change(t, s, 2, exporters.IssueChange{By: "bob", Resolve: &schemas.Resolution{Kind: schemas.ResolvedNow}}, true)
	change(t, s, 3, exporters.IssueChange{By: "bob", Archive: &schemas.Archive{Kind: schemas.UntilForever}}, true)
	change(t, s, 3, exporters.IssueChange{By: "bob", Bookmark: &yes}, true)
	f := func(query string, want ...schemas.IssueID) {
		t.Helper()
		q, err := search.Parse(query, time.Unix(100, 0))
		noError(t, "Parse", err)
		got, err := s.Issues(ctx, exporters.IssueQuery{Project: 1, Where: q.Of(search.OfIssue), Me: "bob"})
		noError(t, "Issues of "+query, err)
		ids := make([]schemas.IssueID, 0, len(got))
		for _, i := range got {
			ids = append(ids, i.ID)
		}
		slices.Sort(ids)
		equal(t, query, ids, want)
	}
	f("", 1, 2, 3)
	f("is:unresolved", 1)
	f("is:new", 1)
	f("is:resolved", 2)
	f("!is:resolved", 1, 3)
	f("is:[resolved,archived]", 2, 3)
	f("is:archived is:unassigned", 3)
	f("is:assigned", 1)
	f("is:[ongoing,escalating,regressed]")
	f("level:error", 1)
	f("level:[error,warning] !platform:python", 1)
	f("platform:G*", 1, 3)
	f("logger:shop", 1)
	f("has:logger", 1)
	f("!has:logger", 2, 3)
	f("category:feedback", 3)
	f("priority:medium", 2)
	f("assigned:ada", 1)
	f("assigned:none", 2, 3)
	f("assigned:me")
	f("bookmarks:me", 3)
	f("!bookmarks:BOB", 1, 2)
	f("card", 1)
	f("ÜBEL", 3)
	f(`"übel zwei"`, 3)
	f("50%_OFF", 1)
	f("50__off")
	f("!card", 2, 3)
	f("title:timeout", 2)
	f("title:time")
	f("title:time*", 2)
	f("culprit:payments.*", 1)
	f(`culprit:""`, 3)
	f("title:payments*")
	f("firstSeen:>1970-01-01T00:00:01Z", 2, 3)
	f("firstSeen:>=1970-01-01T00:00:01Z", 1, 2, 3)
	f("lastSeen:<1970-01-01T00:00:30Z", 1, 2)
	f("lastSeen:-85s", 2, 3)
	f("firstRelease:1.0", 1)
	f("has:firstRelease", 1, 2)
	f("firstRelease:[1.0,2.*]", 1, 2)
	f("issue:2", 2)
	f("issue:>=2", 2, 3)
	f("title:\"' OR 1=1 --\"")
	f("level:warning OR platform:go", 1, 2, 3)
	f("-(level:warning OR logger:shop)", 3)
	f("NOT is:resolved level!=fatal", 1)
	f("(is:archived bookmarks:me) OR issue:2", 2, 3)
	f("-(card OR timeout)", 3)
	_, err := s.Issues(ctx, exporters.IssueQuery{Project: 1, Where: search.Query{{{Field: &search.Field{Name: "topic"}, Values: []search.Value{{Text: "x"}}}}}})
	if err == nil {
		t.Error("a term of events was answered")
	}
}

func issuePages(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	batch := make([]exporters.Sighting, 25)
	for i := range batch {
		batch[i] = sighting(int64(1+i/5), byte(i))
		batch[i].LastSeen = 100e9 - batch[i].FirstSeen
	}
	see(t, s, batch...)
	for _, newest := range []bool{false, true} {
		var got []schemas.IssueID
		q := exporters.IssueQuery{Project: 1, Limit: 4, Newest: newest}
		for page := 0; ; page++ {
			list, err := s.Issues(ctx, q)
			noError(t, "Issues", err)
			for _, i := range list {
				got = append(got, i.ID)
				q.Before, q.BeforeID = i.LastSeen, i.ID
				if newest {
					q.Before = i.FirstSeen
				}
			}
			if len(list) < 4 || page > 10 {
				break
			}
		}
		seen := map[schemas.IssueID]bool{}
		for _, id := range got {
			seen[id] = true
		}
		if len(got) != 25 || len(seen) != 25 {
			t.Errorf("newest %v: pages gave %d issues, %d different; want 25", newest, len(got), len(seen))
		}
	}
	got, err := s.Issues(ctx, exporters.IssueQuery{Project: 1, IDs: []schemas.IssueID{3, 5, 999}})
	noError(t, "Issues by id", err)
	if len(got) != 2 {
		t.Errorf("Issues by id gave %d, want 2", len(got))
	}
	got, err = s.Issues(ctx, exporters.IssueQuery{Project: 1, IDs: []schemas.IssueID{}})
	noError(t, "Issues of no id", err)
	if len(got) != 0 {
		t.Errorf("Issues of no id gave %d", len(got))
	}
	_, err = s.Issues(context.Background(), exporters.IssueQuery{Project: 1, IDs: make([]schemas.IssueID, exporters.MaxIssues+1)})
	isError(t, "Issues of too many ids", err, exporters.ErrTooLarge)
}
