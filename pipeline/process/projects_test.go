package process

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
)

// noProjects has another name than its method.
type noProjects interface{ exporters.Projects }

// projects is a store that lists no settings, as the real one.
type projects struct {
	noProjects
	all     []schemas.Project
	version int64
	err     error
	asked   int
}

func (p *projects) ProjectsVersion(context.Context) (int64, error) {
	p.asked++
	return p.version, p.err
}

func (p *projects) Project(_ context.Context, id uint64) (schemas.Project, error) {
	for _, one := range p.all {
		if one.ID == id {
			return one, p.err
		}
	}
	return schemas.Project{}, errors.Join(p.err, exporters.ErrNotFound)
}

func TestEachProjectIsGroupedByItsOwnRulesOfAMomentAgo(t *testing.T) {
	store := &projects{all: []schemas.Project{
		{ID: 1, Settings: &schemas.ProjectSettings{FingerprintRules: "type:E -> own"}}, {ID: 2}, {ID: 3, Settings: &schemas.ProjectSettings{FingerprintRules: "what -> "}},
	}}
	g := NewProjectGrouper(store, slog.New(slog.DiscardHandler))
	now := time.Now()
	g.now = func() time.Time { return now }
	hash := func(project uint64) schemas.Fingerprint {
		t.Helper()
		r, err := GroupBy(g.For).Group(t.Context(), project, &normalize.Event{Exceptions: []normalize.Exception{{Type: "E", Value: "v"}}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Hashes[0]
	}
	plain := hash(2)
	if hash(1) == plain || hash(3) != plain || hash(4) != plain {
		t.Error("rules of one project are another's, or wrong ones stop events")
	}
	store.all[0].Settings = nil
	store.version++
	if hash(1) == plain || store.asked != 1 {
		t.Errorf("the store was asked %d times within %s", store.asked, settingsAge)
	}
	now = now.Add(settingsAge + 1)
	if hash(1) != plain {
		t.Error("new rules are not seen")
	}
	store.err = exporters.ErrUnavailable
	now = now.Add(settingsAge + 1)
	if hash(1) != plain {
		t.Error("while the store is away the rules from before do not hold")
	}
	fresh := NewProjectGrouper(store, slog.New(slog.DiscardHandler))
	if _, err := fresh.For(t.Context(), 1); err == nil {
		t.Error("rules that were never read are taken for none")
	}
}
