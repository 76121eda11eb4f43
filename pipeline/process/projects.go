package process

import (
	"context"
	"errors"
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

// maxOwn bounds the projects whose rules are kept ready.
const maxOwn = 10_000

// ProjectGrouper groups the events of each project by its own rules.
type ProjectGrouper struct {
	projects exporters.Projects
	groupers *group.Cache
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex // guards the following
	asked   time.Time  // when the version was
	version int64
	by      map[uint64]own
}

// own are the rules of one project as they were at a version of all projects.
type own struct {
	version int64
	grouper *group.Grouper
}

// NewProjectGrouper makes one.
func NewProjectGrouper(projects exporters.Projects, log *slog.Logger) *ProjectGrouper {
	return &ProjectGrouper{projects: projects, groupers: group.NewCache(0), log: log, now: time.Now, by: map[uint64]own{}}
}

// For gives a project's grouper. A project that has no rules, or wrong ones, is
// grouped by the default ones: no event is lost for a fault in rules. While the
// store is away the rules from before hold.
func (g *ProjectGrouper) For(ctx context.Context, project uint64) (*group.Grouper, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, is := g.by[project]
	if g.now().Sub(g.asked) > settingsAge {
		version, err := g.projects.ProjectsVersion(ctx)
		switch {
		case err == nil:
			g.asked, g.version = g.now(), version
		case is:
			g.asked = g.now() // spare the store for a while
			g.log.Warn("cannot ask whether the grouping rules of projects have changed: those from before hold", "error", err)
		default:
			return nil, fmt.Errorf("cannot ask for the grouping rules of project %d: %w", project, err)
		}
	}
	if is && known.version == g.version {
		return known.grouper, nil
	}
	fresh, err := g.read(ctx, project)
	switch {
	case err == nil:
		if !is && len(g.by) >= maxOwn {
			clear(g.by)
		}
		g.by[project] = own{g.version, fresh}
		return fresh, nil
	case is:
		g.log.Warn("cannot read a project's grouping rules: those from before hold", "project", project, "error", err)
		return known.grouper, nil
	}
	return nil, fmt.Errorf("cannot read the grouping rules of project %d: %w", project, err)
}

func (g *ProjectGrouper) read(ctx context.Context, project uint64) (*group.Grouper, error) {
	p, err := g.projects.Project(ctx, project)
	if errors.Is(err, exporters.ErrNotFound) {
		return g.groupers.For(group.Config{})
	}
	if err != nil {
		return nil, err
	}
	byRules, err := g.groupers.For(rulesOf(&p))
	if err != nil {
		g.log.Warn("a project's grouping rules are wrong: its events are grouped by the default ones", "project", project, "error", err)
		return g.groupers.For(group.Config{})
	}
	return byRules, nil
}

func rulesOf(p *schemas.Project) (cfg group.Config) {
	if p.Settings != nil {
		cfg.Enhancements, cfg.Fingerprints = p.Settings.GroupingRules, p.Settings.FingerprintRules
	}
	return cfg
}
