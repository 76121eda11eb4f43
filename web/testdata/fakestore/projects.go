package fakestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Projects is exporters.Projects'. It answers even while Err is set, so that a
// test sees the question behind it fail.
func (s *Store) Projects(context.Context) ([]schemas.Project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.AllProjects)
	for i := range out {
		out[i].Keys, out[i].Settings = slices.Clone(out[i].Keys), nil
	}
	return out, nil
}

// project finds one; the caller holds mu.
func (s *Store) project(id uint64) (*schemas.Project, error) {
	for i := range s.AllProjects {
		if s.AllProjects[i].ID == id {
			return &s.AllProjects[i], nil
		}
	}
	return nil, exporters.ErrNotFound
}

// ProjectByKey is exporters.Projects'.
func (s *Store) ProjectByKey(ctx context.Context, key string) (schemas.Project, schemas.Key, error) {
	for _, p := range s.AllProjects {
		if slices.Contains(p.Keys, key) {
			found, err := s.Project(ctx, p.ID)
			return found, schemas.Key{ID: 1, Project: p.ID, Public: key, Active: true}, err
		}
	}
	return schemas.Project{}, schemas.Key{}, exporters.ErrNotFound
}

// ProjectsVersion is exporters.Projects'.
func (s *Store) ProjectsVersion(context.Context) (int64, error) { return 1, nil }

// Project is exporters.Projects'.
func (s *Store) Project(ctx context.Context, id uint64) (schemas.Project, error) {
	if err := s.ask(ctx, "Project"); err != nil {
		return schemas.Project{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.project(id)
	if err != nil {
		return schemas.Project{}, err
	}
	out := *p
	if out.Settings == nil {
		settings := schemas.DefaultProjectSettings()
		out.Settings = &settings
	}
	return out, nil
}

// EnsureProject is exporters.Projects'; the web never calls it.
func (s *Store) EnsureProject(context.Context, string, string) (schemas.Project, error) {
	panic("fakestore: the web made sure of a project")
}

// CreateProject is exporters.Projects'.
func (s *Store) CreateProject(ctx context.Context, p schemas.Project) (schemas.Project, error) {
	if err := s.ask(ctx, "CreateProject"); err != nil {
		return schemas.Project{}, err
	}
	s.mu.Lock()
	for _, other := range s.AllProjects {
		if other.Slug == p.Slug {
			s.mu.Unlock()
			return schemas.Project{}, exporters.ErrExists
		}
	}
	if p.Slug == "" {
		s.mu.Unlock()
		return schemas.Project{}, fmt.Errorf("%w: project slug %q", exporters.ErrInvalid, p.Slug)
	}
	p.ID, p.Organization, p.Revision = uint64(len(s.AllProjects)+1), 1, 1
	p.Keys = []string{s.newKey()}
	s.AllProjects = append(s.AllProjects, p)
	s.AllKeys = append(s.AllKeys, schemas.Key{ID: s.keys, Project: p.ID, Public: p.Keys[0], Label: "Default", Active: true})
	s.mu.Unlock()
	return s.Project(ctx, p.ID)
}

// newKey makes one up; the caller holds mu.
func (s *Store) newKey() string {
	s.keys++
	return fmt.Sprintf("%032x", s.keys)
}

// UpdateProject is exporters.Projects'.
func (s *Store) UpdateProject(ctx context.Context, p schemas.Project) (schemas.Project, error) {
	if err := s.ask(ctx, "UpdateProject"); err != nil {
		return schemas.Project{}, err
	}
	s.mu.Lock()
	old, err := s.project(p.ID)
	switch {
	case err != nil:
	case p.Revision != 0 && p.Revision != old.Revision:
		err = exporters.ErrConflict
	default:
		old.Name, old.Disabled = p.Name, p.Disabled
		old.Revision++
		if p.Settings != nil {
			old.Settings = p.Settings
		}
	}
	s.mu.Unlock()
	if err != nil {
		return schemas.Project{}, err
	}
	return s.Project(ctx, p.ID)
}

// ListKeys is exporters.Projects'.
func (s *Store) ListKeys(ctx context.Context, project uint64) ([]schemas.Key, error) {
	if _, err := s.Project(ctx, project); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []schemas.Key{}
	for _, k := range s.AllKeys {
		if k.Project == project {
			out = append(out, k)
		}
	}
	return out, nil
}

// CreateKey is exporters.Projects'.
func (s *Store) CreateKey(ctx context.Context, k schemas.Key) (schemas.Key, error) {
	if _, err := s.Project(ctx, k.Project); err != nil {
		return schemas.Key{}, err
	}
	if err := k.Limit.Validate(); err != nil {
		return schemas.Key{}, fmt.Errorf("%w: %w", exporters.ErrInvalid, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k.Public, k.Active = s.newKey(), true
	k.ID = s.keys
	s.AllKeys = append(s.AllKeys, k)
	return k, nil
}

// key finds one; the caller holds mu.
func (s *Store) key(project uint64, public string) (int, error) {
	i := slices.IndexFunc(s.AllKeys, func(k schemas.Key) bool { return k.Project == project && k.Public == public })
	if i < 0 {
		return 0, exporters.ErrNotFound
	}
	return i, nil
}

// UpdateKey is exporters.Projects'.
func (s *Store) UpdateKey(ctx context.Context, k schemas.Key) (schemas.Key, error) {
	if err := s.ask(ctx, "UpdateKey"); err != nil {
		return schemas.Key{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.key(k.Project, k.Public)
	if err != nil {
		return schemas.Key{}, err
	}
	s.AllKeys[i].Label, s.AllKeys[i].Active, s.AllKeys[i].Limit = k.Label, k.Active, k.Limit
	return s.AllKeys[i], nil
}

// RotateKey is exporters.Projects'.
func (s *Store) RotateKey(ctx context.Context, project uint64, public string) (schemas.Key, error) {
	s.mu.Lock()
	i, err := s.key(project, public)
	if err != nil {
		s.mu.Unlock()
		return schemas.Key{}, err
	}
	s.AllKeys[i].Active = false
	next := schemas.Key{Project: project, Label: s.AllKeys[i].Label, Limit: s.AllKeys[i].Limit}
	s.mu.Unlock()
	return s.CreateKey(ctx, next)
}

// DeleteKey is exporters.Projects'.
func (s *Store) DeleteKey(ctx context.Context, project uint64, public string) error {
	if err := s.ask(ctx, "DeleteKey"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.key(project, public)
	if err != nil {
		return err
	}
	s.AllKeys = slices.Delete(s.AllKeys, i, i+1)
	return nil
}
