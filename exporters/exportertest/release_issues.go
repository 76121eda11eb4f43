package exportertest

import (
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// ReleaseIssueStore is what ReleaseIssues tests.
type ReleaseIssueStore interface {
	exporters.IssueStore
	exporters.IssueSighter
	exporters.ReleaseIssues
}

// ReleaseIssues is the suite of ReleaseIssues. open gives an empty store.
func ReleaseIssues(t *testing.T, open func(t *testing.T) ReleaseIssueStore) {
	t.Run("IssuesCountInTheReleaseThatTheyWereFirstSeenIn", func(t *testing.T) {
		ctx, s := testContext(t), open(t)
		see := func(project uint64, hash byte, release string, at int64) schemas.IssueID {
			t.Helper()
			seen, err := s.SeeIssues(ctx, []exporters.Sighting{{
				Project: project, Hashes: []schemas.Fingerprint{{hash}}, Category: "error", Title: "t", Level: "error", Release: release, FirstSeen: at, LastSeen: at, LastReceived: at,
			}})
			noError(t, "SeeIssues", err)
			return seen[0].Issue
		}
		one := see(1, 1, "shop@1", 10)
		see(1, 1, "shop@2", 20) // seen again: new in shop@1 still
		two := see(1, 2, "shop@2", 20)
		see(1, 3, "shop@2", 30)
		see(2, 4, "shop@2", 30)
		see(1, 5, "", 30)
		f := func(want map[string]int64) {
			t.Helper()
			got, err := s.NewIssues(ctx, 1, []string{"shop@1", "shop@2", "sho'p@9"})
			noError(t, "NewIssues", err)
			equal(t, "new issues", got, want)
		}
		f(map[string]int64{"shop@1": 1, "shop@2": 2})
		noError(t, "MergeIssues", s.MergeIssues(ctx, 1, one, []schemas.IssueID{two}, "ada"))
		f(map[string]int64{"shop@1": 1, "shop@2": 1})
		got, err := s.NewIssues(ctx, 1, nil)
		noError(t, "NewIssues of no release", err)
		equal(t, "new issues", got, map[string]int64(nil))
		_, err = s.NewIssues(ctx, 1, make([]string, 1001))
		isError(t, "NewIssues of too many", err, exporters.ErrTooLarge)
	})
}
