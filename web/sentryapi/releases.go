package sentryapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

type releaseJSON struct {
	Version      string        `json:"version"`
	ShortVersion string        `json:"shortVersion"`
	Status       string        `json:"status"`
	Ref          *string       `json:"ref"`
	URL          *string       `json:"url"`
	DateCreated  *string       `json:"dateCreated"`
	DateStarted  *string       `json:"dateStarted"`
	DateReleased *string       `json:"dateReleased"`
	NewGroups    int           `json:"newGroups"`
	CommitCount  int           `json:"commitCount"`
	LastEvent    *string       `json:"lastEvent"`
	Projects     []projectJSON `json:"projects"`
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// shortVersion is a version without its package: "shop@1.0" is "1.0".
func shortVersion(v string) string { return v[strings.LastIndexByte(v, '@')+1:] }

func (h *Handler) releasesOf(ctx context.Context, rs []exporters.Release) ([]releaseJSON, error) {
	all, err := h.deps.Projects.Projects(ctx)
	if err != nil {
		return nil, err
	}
	byID := make(map[uint64]projectJSON, len(all))
	for _, p := range all {
		byID[p.ID] = projectOf(p)
	}
	out := make([]releaseJSON, 0, len(rs))
	for _, r := range rs {
		j := releaseJSON{
			Version: r.Version, ShortVersion: shortVersion(r.Version), Status: r.Status, Ref: optional(r.Ref), URL: optional(r.URL),
			DateCreated: timeText(r.Created), DateStarted: timeText(r.Started), DateReleased: timeText(r.Finalized), CommitCount: r.Commits, Projects: []projectJSON{},
		}
		for _, id := range r.Projects {
			if p, ok := byID[id]; ok {
				j.Projects = append(j.Projects, p)
			}
		}
		out = append(out, j)
	}
	return out, nil
}

func (h *Handler) releaseOf(ctx context.Context, r exporters.Release) (releaseJSON, error) {
	rs, err := h.releasesOf(ctx, []exporters.Release{r})
	if err != nil {
		return releaseJSON{}, err
	}
	return rs[0], nil
}

func (h *Handler) listReleases(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	skip, err := r.skip()
	if err != nil {
		return nil, err
	}
	of, err := h.pathProject(ctx, r)
	if err != nil {
		return nil, err
	}
	project := uint64(0)
	if len(of) > 0 {
		project = of[0]
	}
	rs, err := h.deps.Releases.Releases(ctx, project, skip, perPage+1)
	if err != nil {
		return nil, err
	}
	out, err := h.releasesOf(ctx, rs)
	if err != nil {
		return nil, err
	}
	return page(r, skip, out), nil
}

// releaseBody is what creates or changes a release. Of commits only the number
// is kept: hoptrace reads no repositories.
type releaseBody struct {
	Version      string     `json:"version"`
	Projects     []string   `json:"projects"`
	Ref          *string    `json:"ref"`
	URL          *string    `json:"url"`
	Status       *string    `json:"status"`
	DateStarted  *time.Time `json:"dateStarted"`
	DateReleased *time.Time `json:"dateReleased"`
	Commits      []struct{} `json:"commits"`
}

const maxProjects = 100

func (h *Handler) change(ctx context.Context, r *request, b releaseBody) (c exporters.ReleaseChange, err error) {
	if c.Projects, err = h.pathProject(ctx, r); err != nil {
		return c, err
	}
	if len(b.Projects) > maxProjects {
		return c, badRequest("%d projects: at most %d", len(b.Projects), maxProjects)
	}
	for _, name := range b.Projects {
		p, err := h.findProject(ctx, name)
		if err != nil {
			return c, err
		}
		c.Projects = append(c.Projects, p.ID)
	}
	if b.Status != nil && *b.Status != "open" && *b.Status != "archived" {
		return c, badRequest("status %.20q: want open or archived", *b.Status)
	}
	c.Ref, c.URL, c.Status = b.Ref, b.URL, b.Status
	for _, x := range []struct {
		from *time.Time
		to   **int64
	}{{b.DateStarted, &c.Started}, {b.DateReleased, &c.Finalized}} {
		if x.from != nil {
			ns := x.from.UnixNano()
			*x.to = &ns
		}
	}
	if b.Commits != nil {
		n := len(b.Commits)
		c.Commits = &n
	}
	return c, nil
}

func (h *Handler) createRelease(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	var b releaseBody
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	version, err := checkVersion(b.Version)
	if err != nil {
		return nil, err
	}
	c, err := h.change(ctx, r, b)
	if err != nil {
		return nil, err
	}
	was, err := h.deps.Releases.Release(ctx, version)
	if err != nil && !errors.Is(err, exporters.ErrNotFound) {
		return nil, err
	}
	if len(was.Projects) == 0 && len(c.Projects) == 0 {
		return nil, badRequest("release %q is of no project: name one (sentry-cli -p)", version)
	}
	release, err := h.deps.Releases.PutRelease(ctx, version, c, h.now().UnixNano())
	if err != nil {
		return nil, err
	}
	out, err := h.releaseOf(ctx, release)
	if was.Version != "" {
		return out, err
	}
	return created{out}, err
}

func (h *Handler) getRelease(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	release, err := h.deps.Releases.Release(ctx, version)
	if err != nil {
		return nil, err
	}
	return h.releaseOf(ctx, release)
}

// updateRelease makes the release if need be: `sentry-cli releases finalize` of
// a version that only events have named is no mistake.
func (h *Handler) updateRelease(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	var b releaseBody
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	c, err := h.change(ctx, r, b)
	if err != nil {
		return nil, err
	}
	c.OnlyExisting = len(c.Projects) == 0
	release, err := h.deps.Releases.PutRelease(ctx, version, c, h.now().UnixNano())
	if err != nil {
		return nil, err
	}
	return h.releaseOf(ctx, release)
}

func (h *Handler) deleteRelease(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	return nil, h.deps.Releases.DeleteRelease(ctx, version)
}

type deployJSON struct {
	ID           string  `json:"id"`
	Environment  string  `json:"environment"`
	Name         *string `json:"name"`
	URL          *string `json:"url"`
	DateStarted  *string `json:"dateStarted"`
	DateFinished *string `json:"dateFinished"`
}

func deployOf(d exporters.Deploy) deployJSON {
	return deployJSON{
		ID: strconv.FormatInt(d.ID, 10), Environment: d.Environment, Name: optional(d.Name), URL: optional(d.URL),
		DateStarted: timeText(d.Started), DateFinished: timeText(d.Finished),
	}
}

func (h *Handler) listDeploys(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	if _, err := h.deps.Releases.Release(ctx, version); err != nil {
		return nil, err
	}
	ds, err := h.deps.Releases.Deploys(ctx, version)
	if err != nil {
		return nil, err
	}
	out := make([]deployJSON, 0, len(ds))
	for _, d := range ds {
		out = append(out, deployOf(d))
	}
	return out, nil
}

func (h *Handler) createDeploy(r *request) (any, error) {
	ctx, cancel := r.timed()
	defer cancel()
	version, err := r.version()
	if err != nil {
		return nil, err
	}
	var b struct {
		Environment  string     `json:"environment"`
		Name         string     `json:"name"`
		URL          string     `json:"url"`
		DateStarted  *time.Time `json:"dateStarted"`
		DateFinished *time.Time `json:"dateFinished"`
	}
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	if b.Environment == "" || len(b.Environment) > 64 || len(b.Name) > 64 || len(b.URL) > 2048 {
		return nil, badRequest("want an environment of 1 to 64 bytes, a name of at most 64 and a URL of at most 2048")
	}
	now := h.now().UnixNano()
	d := exporters.Deploy{Environment: b.Environment, Name: b.Name, URL: b.URL, Finished: now, Created: now}
	if b.DateStarted != nil {
		d.Started = b.DateStarted.UnixNano()
	}
	if b.DateFinished != nil {
		d.Finished = b.DateFinished.UnixNano()
	}
	if d, err = h.deps.Releases.AddDeploy(ctx, version, d); err != nil {
		return nil, err
	}
	return created{deployOf(d)}, nil
}

// refuseDebugFiles answers for each file, in the shape in which clients expect it.
func (h *Handler) refuseDebugFiles(r *request) (any, error) {
	var b map[string]struct {
		Name string `json:"name"`
	}
	if err := r.decode(&b); err != nil {
		return nil, err
	}
	return nil, problem{http.StatusNotImplemented, "hoptrace takes source maps only; debug files of native programs are not supported"}
}
