package exportertest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// MetadataStore is what Metadata tests.
type MetadataStore interface {
	exporters.Projects
	exporters.IssueStore
	exporters.IssueSighter
	exporters.IssueKeeper
	exporters.Pinger
}

// Metadata is the suite of Projects and Issues. open gives an empty store;
// reopen another one on the data of the store that open gave last; stop makes
// that store's Ping fail.
func Metadata(t *testing.T, open, reopen func(t *testing.T) MetadataStore, stop func(t *testing.T)) {
	run := func(name string, f func(t *testing.T, s MetadataStore)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("ProjectIsMadeOnceWithOneKey", projectOnce)
	run("ProjectMadeByManyAtOnceIsOne", projectByMany)
	run("KeysOfProjectsDiffer", projectKeys)
	run("UnknownKeyIsNotFound", unknownKey)
	run("BadSlugIsRefused", badSlug)
	run("ProjectIsCreatedOnceWithItsSettings", createProject)
	run("ProjectIsChangedAndTheSecondOfTwoIsTold", updateProject)
	run("BadSettingsAreRefusedAndNothingChanges", badSettings)
	run("KeysAreMadeChangedRotatedAndDeleted", keyLife)
	run("KeysMadeByManyAtOnceHaveTheirOwnIDs", keysByMany)
	run("EachChangeOfAProjectOrKeyChangesTheVersion", projectsVersion)
	run("IssueComesBackAsItWasSeen", issueRoundTrip)
	run("IssueSeenAgainMovesItsTimes", issueMoves)
	run("IssueSeenTwiceChangesNothing", issueTwice)
	run("IssueSeenByManyAtOnceIsOneAndNewOnce", issueByMany)
	run("IssuesOfManyAtOnceHaveTheirOwnIDs", issuesByMany)
	run("IssuesAreFilteredAndPaged", issueQueries)
	run("IssueOfAnotherProjectIsNotFound", issueOfOther)
	run("CancelledCallsFail", metadataCancelled)
	issueSuite(run)
	t.Run("WhatWasStoredIsThereAfterOpeningAgain", func(t *testing.T) {
		s := open(t)
		ctx := testContext(t)
		p, err := s.EnsureProject(ctx, "kept", "Kept")
		noError(t, "EnsureProject", err)
		id, _, err := s.SeeIssue(ctx, issue(p.ID, 1, 10))
		noError(t, "SeeIssue", err)
		s = reopen(t)
		got, _, err := s.ProjectByKey(ctx, p.Keys[0])
		noError(t, "ProjectByKey", err)
		equal(t, "project", got, p)
		if again, isNew, err := s.SeeIssue(ctx, issue(p.ID, 1, 10)); err != nil || isNew || again != id {
			t.Errorf("SeeIssue after opening again = %d, %v, %v; want %d, false, nil", again, isNew, err, id)
		}
	})
	t.Run("PingTellsWhetherItAnswers", func(t *testing.T) {
		s := open(t)
		noError(t, "Ping", s.Ping(testContext(t)))
		stop(t)
		down(t, s)
	})
}

var publicKey = regexp.MustCompile(`^[0-9a-f]{32}$`)

func projectOnce(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	p, err := s.EnsureProject(ctx, "orders", "Orders ☃ 'quoted'")
	noError(t, "EnsureProject", err)
	if p.ID == 0 || p.Slug != "orders" || p.Name != "Orders ☃ 'quoted'" || len(p.Keys) != 1 || !publicKey.MatchString(p.Keys[0]) {
		t.Fatalf("EnsureProject = %+v; want an id, the slug, the name and one key of 32 hex digits", p)
	}
	again, err := s.EnsureProject(ctx, "orders", "another name")
	noError(t, "EnsureProject again", err)
	equal(t, "project made again", again, p)
	byKey, _, err := s.ProjectByKey(ctx, p.Keys[0])
	noError(t, "ProjectByKey", err)
	equal(t, "project by key", byKey, p)
	all, err := s.Projects(ctx)
	noError(t, "Projects", err)
	equal(t, "all projects", all, []schemas.Project{listed(p)})
}

func projectByMany(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	const n = 8
	got, errs := make([]schemas.Project, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { got[i], errs[i] = s.EnsureProject(ctx, "one", "One") })
	}
	wg.Wait()
	for i := range n {
		noError(t, "EnsureProject", errs[i])
		equal(t, "project", got[i], got[0])
	}
}

func projectKeys(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	seen := make(map[string]string)
	want := make([]schemas.Project, 0, 20)
	for i := range 20 {
		p, err := s.EnsureProject(ctx, fmt.Sprintf("p-%d", i), "")
		noError(t, "EnsureProject", err)
		if other := seen[p.Keys[0]]; other != "" {
			t.Fatalf("projects %s and %s have one key", other, p.Slug)
		}
		seen[p.Keys[0]] = p.Slug
		want = append(want, listed(p))
	}
	all, err := s.Projects(ctx)
	noError(t, "Projects", err)
	equal(t, "all projects, by id", all, want)
}

func unknownKey(t *testing.T, s MetadataStore) {
	for _, key := range []string{"", "x", strings.Repeat("0", 32), strings.Repeat("0", 33), "' OR '1'='1'; --", strings.Repeat("\x00", 32), strings.Repeat("\xff", 32)} {
		_, _, err := s.ProjectByKey(testContext(t), key)
		isError(t, fmt.Sprintf("ProjectByKey(%q)", key), err, exporters.ErrNotFound)
	}
}

func badSlug(t *testing.T, s MetadataStore) {
	for _, slug := range []string{"", "A", "a b", "-a", "ä", strings.Repeat("a", 51), "a'"} {
		if p, err := s.EnsureProject(testContext(t), slug, "n"); err == nil {
			t.Errorf("EnsureProject(%q) = %+v; want an error", slug, p)
		}
	}
}

// issue is an issue as the group stage sees it, at second n.
func issue(project uint64, fingerprint byte, n int64) schemas.Issue {
	return schemas.Issue{
		Project: project, Fingerprint: schemas.Fingerprint{fingerprint, 15: 0xff}, Title: fmt.Sprintf("CardDeclined: card %d", fingerprint),
		Culprit: "payments.charge", Level: "error", Platform: "go", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved},
		FirstSeen: n * 1e9, LastSeen: n * 1e9, Grouping: []string{"type CardDeclined", "frame payments.charge"},
	}
}

func issueRoundTrip(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	for i, want := range []schemas.Issue{
		issue(7, 1, 100),
		{Project: 7, Fingerprint: schemas.Fingerprint{2}, Title: "ünï ☃ \"'`\\%_", Culprit: "日本", Level: "fatal", Platform: "node", IssueState: schemas.IssueState{Status: schemas.StatusUnresolved}, FirstSeen: 1, LastSeen: 1<<62 + 1},
		{Project: 1<<63 + 5, Fingerprint: schemas.Fingerprint{}, IssueState: schemas.IssueState{Status: schemas.StatusUnresolved}},
	} {
		id, isNew, err := s.SeeIssue(ctx, want)
		noError(t, "SeeIssue", err)
		if id == 0 || id > 1<<53 || !isNew {
			t.Fatalf("SeeIssue %d = %d, %v; want an id that JavaScript can hold, and new", i, id, isNew)
		}
		want.ID = id
		got, err := s.Issue(ctx, want.Project, id)
		noError(t, "Issue", err)
		equal(t, "issue", got, kept(got, want))
	}
}

// kept is want as it is after it was seen: new, with what is derived.
func kept(got, want schemas.Issue) schemas.Issue {
	want.Category, want.Priority = "error", schemas.PriorityHigh
	want.IssueState = schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusNew, Since: got.Since}
	return want
}

func issueMoves(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	id, _, err := s.SeeIssue(ctx, issue(1, 1, 100))
	noError(t, "SeeIssue", err)
	later := issue(1, 1, 200)
	later.Title, later.Level, later.Culprit = "CardDeclined: later", "fatal", "payments.retry"
	early := issue(1, 1, 50)
	early.Title, early.Level = "CardDeclined: early", "info"
	for _, seen := range []schemas.Issue{later, early} {
		again, isNew, err := s.SeeIssue(ctx, seen)
		noError(t, "SeeIssue", err)
		if again != id || isNew {
			t.Fatalf("SeeIssue again = %d, %v; want %d, false", again, isNew, id)
		}
	}
	got, err := s.Issue(ctx, 1, id)
	noError(t, "Issue", err)
	want := later
	want.ID, want.FirstSeen = id, early.FirstSeen
	equal(t, "issue: the texts of the last event, the times of all", got, kept(got, want))
}

func issueTwice(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	a, b := issue(1, 1, 100), issue(1, 1, 100)
	b.Title = "another at the same time"
	id, _, err := s.SeeIssue(ctx, a)
	noError(t, "SeeIssue", err)
	for _, seen := range []schemas.Issue{b, a, b, a} {
		_, _, err = s.SeeIssue(ctx, seen)
		noError(t, "SeeIssue", err)
		got, err := s.Issue(ctx, 1, id)
		noError(t, "Issue", err)
		want := a
		want.ID = id
		equal(t, "issue", got, kept(got, want))
	}
}

func issueByMany(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	const n = 16
	ids, news, errs := make([]schemas.IssueID, n), make([]bool, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { ids[i], news[i], errs[i] = s.SeeIssue(ctx, issue(1, 9, int64(100+i))) })
	}
	wg.Wait()
	fresh := 0
	for i := range n {
		noError(t, "SeeIssue", errs[i])
		if ids[i] != ids[0] {
			t.Errorf("ids differ: %d and %d", ids[i], ids[0])
		}
		if news[i] {
			fresh++
		}
	}
	if fresh != 1 {
		t.Errorf("the issue was new %d times, want once", fresh)
	}
	got, err := s.Issue(ctx, 1, ids[0])
	noError(t, "Issue", err)
	if got.FirstSeen != 100e9 || got.LastSeen != (100+n-1)*1e9 {
		t.Errorf("seen from %d to %d, want from the first to the last of all", got.FirstSeen, got.LastSeen)
	}
}

func issuesByMany(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	const n = 16
	ids, errs := make([]schemas.IssueID, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { ids[i], _, errs[i] = s.SeeIssue(ctx, issue(1, byte(i), 100)) })
	}
	wg.Wait()
	seen := make(map[schemas.IssueID]bool)
	for i := range n {
		noError(t, "SeeIssue", errs[i])
		if seen[ids[i]] {
			t.Errorf("id %d was given twice", ids[i])
		}
		seen[ids[i]] = true
	}
}

func issueQueries(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	for i := range 60 {
		x := issue(1, byte(i), int64(1000+i))
		if i%10 == 3 {
			x.Title = fmt.Sprintf("100%%_sure Ärger %d", i)
		}
		if i == 7 {
			x.Culprit = "Shipping.Pack"
		}
		_, _, err := s.SeeIssue(ctx, x)
		noError(t, "SeeIssue", err)
	}
	_, _, err := s.SeeIssue(ctx, issue(2, 200, 1030))
	noError(t, "SeeIssue", err)
	f := func(q exporters.IssueQuery, want ...int) {
		t.Helper()
		got, err := s.Issues(ctx, q)
		noError(t, fmt.Sprintf("Issues(%+v)", q), err)
		seconds := make([]int, 0, len(got))
		for _, i := range got {
			seconds = append(seconds, int(i.LastSeen/1e9)-1000)
		}
		equal(t, fmt.Sprintf("Issues(%+v)", q), seconds, want)
	}
	from := func(high, low int) (out []int) {
		for ; high >= low; high-- {
			out = append(out, high)
		}
		return out
	}
	f(exporters.IssueQuery{Project: 1}, from(59, 10)...) // 50 by default
	f(exporters.IssueQuery{Project: 1, Limit: 500}, from(59, 0)...)
	f(exporters.IssueQuery{Project: 1, Limit: 3}, 59, 58, 57)
	f(exporters.IssueQuery{Project: 1, Limit: 3, Before: 1057e9}, 56, 55, 54)
	f(exporters.IssueQuery{Project: 1, Range: exporters.Range{From: time.Unix(1010, 0), To: time.Unix(1013, 0)}}, 12, 11, 10)
	f(exporters.IssueQuery{Project: 1, Text: "SHIPPING.pack"}, 7)
	f(exporters.IssueQuery{Project: 1, Text: "%_SURE äRGER"}, 53, 43, 33, 23, 13, 3)
	f(exporters.IssueQuery{Project: 1, Text: "100__sure"})
	f(exporters.IssueQuery{Project: 1, Text: `\`})
	f(exporters.IssueQuery{Project: 1, Text: "' OR 1=1"})
	f(exporters.IssueQuery{Project: 2}, 30)
	f(exporters.IssueQuery{Project: 3})
}

func issueOfOther(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	id, _, err := s.SeeIssue(ctx, issue(1, 1, 100))
	noError(t, "SeeIssue", err)
	_, err = s.Issue(ctx, 2, id)
	isError(t, "Issue of another project", err, exporters.ErrNotFound)
	_, err = s.Issue(ctx, 1, id+1)
	isError(t, "Issue that is not there", err, exporters.ErrNotFound)
}

func metadataCancelled(t *testing.T, s MetadataStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, f := range map[string]func() error{
		"Projects":      func() error { _, err := s.Projects(ctx); return err },
		"ProjectByKey":  func() error { _, _, err := s.ProjectByKey(ctx, strings.Repeat("0", 32)); return err },
		"Project":       func() error { _, err := s.Project(ctx, 1); return err },
		"ListKeys":      func() error { _, err := s.ListKeys(ctx, 1); return err },
		"CreateProject": func() error { _, err := s.CreateProject(ctx, schemas.Project{Slug: "y"}); return err },
		"UpdateProject": func() error { _, err := s.UpdateProject(ctx, schemas.Project{ID: 1}); return err },
		"CreateKey":     func() error { _, err := s.CreateKey(ctx, schemas.Key{Project: 1}); return err },
		"RotateKey":     func() error { _, err := s.RotateKey(ctx, 1, strings.Repeat("0", 32)); return err },
		"EnsureProject": func() error { _, err := s.EnsureProject(ctx, "x", "x"); return err },
		"SeeIssue":      func() error { _, _, err := s.SeeIssue(ctx, issue(1, 1, 1)); return err },
		"Issues":        func() error { _, err := s.Issues(ctx, exporters.IssueQuery{Project: 1}); return err },
		"Issue":         func() error { _, err := s.Issue(ctx, 1, 1); return err },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
}
