package exportertest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// listed is a project as it stands in a list.
func listed(p schemas.Project) schemas.Project {
	p.Settings = nil
	return p
}

// settings are some that are not the defaults.
func settings() *schemas.ProjectSettings {
	s := schemas.DefaultProjectSettings()
	s.AllowedOrigins = []string{"https://shop.example", "*.☃.example"}
	s.Filters.Localhost, s.Filters.ErrorMessages = true, []string{`it's "quoted" \ *`}
	s.Sampling = []schemas.SamplingRule{{ID: "half", Type: schemas.SampleTrace, Rate: 0.5, Releases: []string{}, Environments: []string{"prod*"}, Transactions: []string{}, Levels: []string{}, Platforms: []string{}}}
	s.GroupingRules = "stack.function:log_* -app\n"
	return &s
}

// sameSettings compares without the store's secret.
func sameSettings(t *testing.T, what string, got, want *schemas.ProjectSettings) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s: no settings", what)
	}
	if len(got.HashKey) < 32 {
		t.Errorf("%s: the hash key is %q, want 32 digits or more", what, got.HashKey)
	}
	equal(t, what, string(got.Document()), string(want.Document()))
}

func createProject(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	p, err := s.CreateProject(ctx, schemas.Project{Slug: "shop", Name: "The shop", Settings: settings()})
	noError(t, "CreateProject", err)
	if p.ID == 0 || p.Organization != 1 || p.Slug != "shop" || p.Name != "The shop" || len(p.Keys) != 1 || !publicKey.MatchString(p.Keys[0]) || p.Disabled || p.Revision == 0 {
		t.Fatalf("CreateProject = %+v", p)
	}
	sameSettings(t, "settings", p.Settings, settings())
	got, err := s.Project(ctx, p.ID)
	noError(t, "Project", err)
	equal(t, "project", got, p)
	got, key, err := s.ProjectByKey(ctx, p.Keys[0])
	noError(t, "ProjectByKey", err)
	equal(t, "project by key", got, p)
	if key.ID == 0 || key.Project != p.ID || key.Public != p.Keys[0] || !key.Active || key.Created == 0 || key.Limit != nil {
		t.Errorf("its key is %+v", key)
	}
	_, err = s.CreateProject(ctx, schemas.Project{Slug: "shop"})
	isError(t, "CreateProject again", err, exporters.ErrExists)
	_, err = s.CreateProject(ctx, schemas.Project{Slug: "No Slug"})
	isError(t, "CreateProject with a bad slug", err, exporters.ErrInvalid)
	_, err = s.Project(ctx, 1<<63+5)
	isError(t, "Project that is not there", err, exporters.ErrNotFound)

	plain, err := s.CreateProject(ctx, schemas.Project{Slug: "plain"})
	noError(t, "CreateProject", err)
	defaults := schemas.DefaultProjectSettings()
	sameSettings(t, "settings of a project without", plain.Settings, &defaults)
	if plain.Name != "plain" || plain.Settings.HashKey == p.Settings.HashKey {
		t.Errorf("another project is %+v; want the slug for a name and a hash key of its own", plain)
	}
}

func updateProject(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	p, err := s.EnsureProject(ctx, "shop", "Shop")
	noError(t, "EnsureProject", err)
	change := p
	change.Name, change.Disabled, change.Settings = "Shop 2", true, settings()
	got, err := s.UpdateProject(ctx, change)
	noError(t, "UpdateProject", err)
	if got.Name != "Shop 2" || !got.Disabled || got.Revision <= p.Revision || !slices.Equal(got.Keys, p.Keys) || got.Settings.HashKey != p.Settings.HashKey {
		t.Errorf("UpdateProject = %+v", got)
	}
	sameSettings(t, "settings", got.Settings, settings())
	_, err = s.UpdateProject(ctx, change) // made to the revision before
	isError(t, "UpdateProject of an old revision", err, exporters.ErrConflict)

	again, err := s.UpdateProject(ctx, schemas.Project{ID: p.ID, Name: "Shop 3"})
	noError(t, "UpdateProject without settings", err)
	if again.Name != "Shop 3" || again.Disabled {
		t.Errorf("UpdateProject = %+v", again)
	}
	sameSettings(t, "settings that were not given", again.Settings, settings())
	_, err = s.UpdateProject(ctx, schemas.Project{ID: 99, Name: "x"})
	isError(t, "UpdateProject of none", err, exporters.ErrNotFound)
}

func badSettings(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	p, err := s.EnsureProject(ctx, "shop", "Shop")
	noError(t, "EnsureProject", err)
	bad := settings()
	bad.RetentionDays, bad.Filters.ClientIPs = -1, []string{"nowhere"}
	change := p
	change.Settings = bad
	_, err = s.UpdateProject(ctx, change)
	isError(t, "UpdateProject", err, exporters.ErrInvalid)
	_, createErr := s.CreateProject(ctx, schemas.Project{Slug: "new", Settings: bad})
	isError(t, "CreateProject", createErr, exporters.ErrInvalid)
	for _, want := range []string{"retentionDays", "clientIPs[0]"} {
		for _, err := range []error{err, createErr} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not name %s", err, want)
			}
		}
	}
	all, err := s.Projects(ctx)
	noError(t, "Projects", err)
	equal(t, "projects", all, []schemas.Project{listed(p)})
}

func keyLife(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	p, err := s.EnsureProject(ctx, "shop", "Shop")
	noError(t, "EnsureProject", err)
	made, err := s.CreateKey(ctx, schemas.Key{Project: p.ID, Label: "staging ☃", Limit: &schemas.KeyLimit{Count: 100, Window: 60}})
	noError(t, "CreateKey", err)
	if made.ID == 0 || !publicKey.MatchString(made.Public) || made.Public == p.Keys[0] || !made.Active || made.Label != "staging ☃" || made.Limit == nil || *made.Limit != (schemas.KeyLimit{Count: 100, Window: 60}) {
		t.Fatalf("CreateKey = %+v", made)
	}
	keys, err := s.ListKeys(ctx, p.ID)
	noError(t, "ListKeys", err)
	if len(keys) != 2 || keys[0].Public != p.Keys[0] {
		t.Fatalf("keys %+v; want the first and the one made", keys)
	}
	equal(t, "the key in the list", keys[1], made)

	made.Active, made.Label, made.Limit = false, "off", nil
	off, err := s.UpdateKey(ctx, made)
	noError(t, "UpdateKey", err)
	equal(t, "changed key", off, made)
	got, key, err := s.ProjectByKey(ctx, made.Public)
	noError(t, "ProjectByKey of a disabled key", err)
	if key.Active || got.ID != p.ID || slices.Contains(got.Keys, made.Public) {
		t.Errorf("a disabled key gives %+v, %+v; want it inactive and not among the project's", got, key)
	}

	next, err := s.RotateKey(ctx, p.ID, p.Keys[0])
	noError(t, "RotateKey", err)
	if !next.Active || next.Public == p.Keys[0] || next.Label != keys[0].Label || next.ID == keys[0].ID {
		t.Errorf("RotateKey = %+v", next)
	}
	_, key, err = s.ProjectByKey(ctx, p.Keys[0])
	noError(t, "ProjectByKey of a rotated key", err)
	if key.Active {
		t.Error("the old key is active still")
	}

	noError(t, "DeleteKey", s.DeleteKey(ctx, p.ID, next.Public))
	_, _, err = s.ProjectByKey(ctx, next.Public)
	isError(t, "ProjectByKey of a deleted key", err, exporters.ErrNotFound)
	fresh, err := s.CreateKey(ctx, schemas.Key{Project: p.ID})
	noError(t, "CreateKey", err)
	if fresh.ID <= next.ID {
		t.Errorf("id %d was given again after %d", fresh.ID, next.ID)
	}

	for name, err := range map[string]error{
		"DeleteKey again":               s.DeleteKey(ctx, p.ID, next.Public),
		"DeleteKey of another project":  s.DeleteKey(ctx, p.ID+1, fresh.Public),
		"UpdateKey of a deleted one":    second(s.UpdateKey(ctx, next)),
		"RotateKey of a deleted one":    second(s.RotateKey(ctx, p.ID, next.Public)),
		"CreateKey of no project":       second(s.CreateKey(ctx, schemas.Key{Project: 99})),
		"ListKeys of no project":        second(s.ListKeys(ctx, 99)),
		"UpdateKey of another project":  second(s.UpdateKey(ctx, schemas.Key{Project: p.ID + 1, Public: fresh.Public})),
		"RotateKey of hostile text":     second(s.RotateKey(ctx, p.ID, "' OR '1'='1\x00\xff")),
		"UpdateKey with a NUL for text": second(s.UpdateKey(ctx, schemas.Key{Project: p.ID, Public: "\x00"})),
	} {
		if !errors.Is(err, exporters.ErrNotFound) {
			t.Errorf("%s: %v; want %v", name, err, exporters.ErrNotFound)
		}
	}
	bad := &schemas.KeyLimit{Count: -1}
	isError(t, "CreateKey with a bad limit", second(s.CreateKey(ctx, schemas.Key{Project: p.ID, Limit: bad})), exporters.ErrInvalid)
	fresh.Limit = bad
	isError(t, "UpdateKey with a bad limit", second(s.UpdateKey(ctx, fresh)), exporters.ErrInvalid)
}

func second[T any](_ T, err error) error { return err }

func keysByMany(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	const n = 16
	p, err := s.EnsureProject(ctx, "shop", "Shop")
	noError(t, "EnsureProject", err)
	keys, errs := make([]schemas.Key, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { keys[i], errs[i] = s.CreateKey(ctx, schemas.Key{Project: p.ID}) })
	}
	wg.Wait()
	seen := map[uint64]bool{}
	for i := range n {
		noError(t, "CreateKey", errs[i])
		if seen[keys[i].ID] {
			t.Errorf("id %d was given twice", keys[i].ID)
		}
		seen[keys[i].ID] = true
	}
}

func projectsVersion(t *testing.T, s MetadataStore) {
	ctx := testContext(t)
	version := func() int64 {
		t.Helper()
		v, err := s.ProjectsVersion(ctx)
		noError(t, "ProjectsVersion", err)
		return v
	}
	last := version()
	changed := func(what string, err error) {
		t.Helper()
		noError(t, what, err)
		now := version()
		if now == last {
			t.Errorf("%s did not change the version", what)
		}
		last = now
	}
	p, err := s.EnsureProject(ctx, "shop", "Shop")
	changed("EnsureProject", err)
	_, err = s.EnsureProject(ctx, "shop", "Shop")
	noError(t, "EnsureProject again", err)
	if version() != last {
		t.Error("EnsureProject of what is there changed the version")
	}
	changed("UpdateProject", second(s.UpdateProject(ctx, schemas.Project{ID: p.ID})))
	k, err := s.CreateKey(ctx, schemas.Key{Project: p.ID})
	changed("CreateKey", err)
	changed("UpdateKey", second(s.UpdateKey(ctx, k)))
	k, err = s.RotateKey(ctx, p.ID, k.Public)
	changed("RotateKey", err)
	changed("DeleteKey", s.DeleteKey(ctx, p.ID, k.Public))
	changed("CreateProject", second(s.CreateProject(ctx, schemas.Project{Slug: "other"})))
}
