package process

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/schemas"
)

// settingsAge is how old the rules of projects may be that events are grouped by.
const settingsAge = 5 * time.Second

// ProjectGrouper groups the events of each project by its own rules.
type ProjectGrouper struct {
	projects exporters.Projects
	groupers *group.Cache
	log      *slog.Logger
	now      func() time.Time

	mu   sync.Mutex // guards the following
	read time.Time
	by   map[uint64]*group.Grouper
}

// NewProjectGrouper makes one.
func NewProjectGrouper(projects exporters.Projects, log *slog.Logger) *ProjectGrouper {
	return &ProjectGrouper{projects: projects, groupers: group.NewCache(0), log: log, now: time.Now}
}

// For gives a project's grouper. A project that has no rules, or wrong ones, is
// grouped by the default ones: no event is lost for a fault in rules.
func (g *ProjectGrouper) For(ctx context.Context, project uint64) (*group.Grouper, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.by == nil || g.now().Sub(g.read) > settingsAge {
		if err := g.refresh(ctx); err != nil && g.by == nil {
			return nil, fmt.Errorf("cannot read the grouping rules of projects: %w", err)
		} else if err != nil {
			g.log.Warn("cannot read the grouping rules of projects: those from before hold", "error", err)
		}
		g.read = g.now()
	}
	if own := g.by[project]; own != nil {
		return own, nil
	}
	return g.groupers.For(group.Config{})
}

func (g *ProjectGrouper) refresh(ctx context.Context) error {
	projects, err := g.projects.Projects(ctx)
	if err != nil {
		return err
	}
	by := make(map[uint64]*group.Grouper, len(projects))
	for i := range projects {
		own, err := g.groupers.For(rulesOf(&projects[i]))
		if err != nil {
			g.log.Warn("a project's grouping rules are wrong: its events are grouped by the default ones", "project", projects[i].ID, "error", err)
			continue
		}
		by[projects[i].ID] = own
	}
	g.by = by
	return nil
}

func rulesOf(p *schemas.Project) (cfg group.Config) {
	if p.Settings != nil {
		cfg.Enhancements, cfg.Fingerprints = p.Settings.GroupingRules, p.Settings.FingerprintRules
	}
	return cfg
}
