package exportertest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
)

// SavedQueries is the suite of its contract. open gives an empty store.
func SavedQueries(t *testing.T, open func(t *testing.T) exporters.SavedQueries) {
	run := func(name string, f func(t *testing.T, s exporters.SavedQueries)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("SavedQueryComesBackAndCanBeChanged", savedQueryLife)
	run("SavedQueriesAreBounded", savedQueriesBounded)
}

func savedQueryLife(t *testing.T, s exporters.SavedQueries) {
	ctx := testContext(t)
	q := exporters.SavedQuery{Project: 1<<64 - 1, Name: "slow ☃ 'hops' \x00", Subject: "hops", Query: `backlog>2s "it's"`, View: "sort=-age", Owner: "ada", Created: 7}
	want := q
	want.Name, want.Changed = "slow ☃ 'hops' \uFFFD", 7
	got, err := s.SaveQuery(ctx, q)
	noError(t, "SaveQuery", err)
	want.ID = got.ID
	equal(t, "what was saved", got, want)
	other, err := s.SaveQuery(ctx, exporters.SavedQuery{Project: q.Project, Name: "errors", Subject: "spans", Query: "status:error", Created: 8})
	noError(t, "SaveQuery of another", err)
	if other.ID == got.ID {
		t.Errorf("two queries have the id %d", got.ID)
	}
	_, err = s.SaveQuery(ctx, q)
	isError(t, "SaveQuery of a name that is taken", err, exporters.ErrExists)
	q.Project = 2
	if _, err = s.SaveQuery(ctx, q); err != nil {
		t.Errorf("SaveQuery of another project: %v", err)
	}
	list, err := s.SavedQueries(ctx, want.Project)
	noError(t, "SavedQueries", err)
	equal(t, "saved queries", list, []exporters.SavedQuery{other, want})
	changed := want
	changed.Name, changed.Query, changed.View, changed.Subject, changed.Changed, changed.Owner = "a", "b", "c", "spans", 9, "nobody"
	got, err = s.UpdateSavedQuery(ctx, changed)
	noError(t, "UpdateSavedQuery", err)
	changed.Owner = "ada" // stays
	equal(t, "what was changed", got, changed)
	list, err = s.SavedQueries(ctx, want.Project)
	noError(t, "SavedQueries", err)
	equal(t, "saved queries", list, []exporters.SavedQuery{changed, other})
	clash := changed
	clash.Name = "errors"
	_, err = s.UpdateSavedQuery(ctx, clash)
	isError(t, "UpdateSavedQuery to a name that is taken", err, exporters.ErrExists)
	changed.Project = 2
	_, err = s.UpdateSavedQuery(ctx, changed)
	isError(t, "UpdateSavedQuery of another project", err, exporters.ErrNotFound)
	isError(t, "DeleteSavedQuery of another project", s.DeleteSavedQuery(ctx, 2, changed.ID), exporters.ErrNotFound)
	noError(t, "DeleteSavedQuery", s.DeleteSavedQuery(ctx, want.Project, changed.ID))
	isError(t, "DeleteSavedQuery again", s.DeleteSavedQuery(ctx, want.Project, changed.ID), exporters.ErrNotFound)
}

func savedQueriesBounded(t *testing.T, s exporters.SavedQueries) {
	ctx := testContext(t)
	for i := range exporters.MaxSavedQueries {
		_, err := s.SaveQuery(ctx, exporters.SavedQuery{Project: 1, Name: fmt.Sprint("q", i), Query: strings.Repeat("x", 3000)})
		noError(t, "SaveQuery", err)
	}
	_, err := s.SaveQuery(ctx, exporters.SavedQuery{Project: 1, Name: "one more"})
	isError(t, "SaveQuery beyond the bound", err, exporters.ErrTooLarge)
	list, err := s.SavedQueries(ctx, 1)
	noError(t, "SavedQueries", err)
	if len(list) != exporters.MaxSavedQueries || len(list[0].Query) != exporters.MaxSavedText {
		t.Errorf("%d queries, the first of %d bytes", len(list), len(list[0].Query))
	}
}
