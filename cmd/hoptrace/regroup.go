package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/group"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/api"
)

// regrouper groups stored events once more, for the web: what its API asks of the
// pipeline.
type regrouper struct {
	events interface {
		exporters.RecentEvents
		Event(ctx context.Context, project uint64, id schemas.EventID) (schemas.Event, error)
	}
	nodes    exporters.Nodes
	blobs    exporters.Blobs
	groupers *group.Cache
}

func (r *regrouper) own(p schemas.Project) (*group.Grouper, group.Config, error) {
	var cfg group.Config
	if p.Settings != nil {
		cfg.Enhancements, cfg.Fingerprints = p.Settings.GroupingRules, p.Settings.FingerprintRules
	}
	g, err := r.groupers.For(cfg)
	if err != nil { // as the stage does: events are not lost for a fault in rules
		g, err = r.groupers.For(group.Config{})
	}
	return g, cfg, err
}

// read normalises an event's payload as it was when it came, before any rule.
func (r *regrouper) read(ctx context.Context, row *schemas.Event) (*normalize.Event, error) {
	var payload []byte
	var err error
	if row.Node != "" {
		payload, err = r.nodes.Read(ctx, row.Node)
	} else { // from before there were nodes
		payload, err = r.blobs.Get(ctx, schemas.EventBlobKey(row.Project, row.ID))
	}
	if err != nil {
		return nil, err
	}
	e, err := normalize.NewNormalizer(normalize.DefaultConfig()).Event(normalize.Input{Payload: payload, ID: row.ID, Received: row.Received, Anew: true})
	if err != nil {
		return nil, fmt.Errorf("cannot read the payload of event %s: %w", row.ID, errors.Join(errUnreadable, err))
	}
	e.Project = row.Project
	return e, nil
}

// Check implements api.Regrouper.
func (r *regrouper) Check(settings *schemas.ProjectSettings) error { return checkRules(settings) }

// checkRules reads the grouping rules of settings that are to be saved: the stage
// would group by the default ones instead of wrong ones.
func checkRules(settings *schemas.ProjectSettings) error {
	if settings == nil {
		return nil
	}
	var faults []error
	for _, text := range []struct {
		field string
		cfg   group.Config
	}{
		{"groupingRules", group.Config{Enhancements: settings.GroupingRules}},
		{"fingerprintRules", group.Config{Fingerprints: settings.FingerprintRules}},
	} {
		if err := text.cfg.Validate(); err != nil {
			faults = append(faults, &schemas.SettingsError{Path: text.field, Text: err.Error()})
		}
	}
	if len(faults) > 0 {
		return &api.RulesError{Err: errors.Join(faults...)}
	}
	return nil
}

var errUnreadable = errors.New("payload unreadable")

// Preview implements api.Regrouper.
func (r *regrouper) Preview(ctx context.Context, p schemas.Project, try api.GroupingTry) (api.GroupingPreview, error) {
	before, cfg, err := r.own(p)
	if err != nil {
		return api.GroupingPreview{}, err
	}
	if try.Enhancements != nil {
		cfg.Enhancements = *try.Enhancements
	}
	if try.Fingerprinting != nil {
		cfg.Fingerprints = *try.Fingerprinting
	}
	if err := checkRules(&schemas.ProjectSettings{GroupingRules: cfg.Enhancements, FingerprintRules: cfg.Fingerprints}); err != nil {
		return api.GroupingPreview{}, err
	}
	after, err := group.New(cfg) // not kept: it is one of many tries
	if err != nil {
		return api.GroupingPreview{}, err
	}
	rows, err := r.events.RecentEvents(ctx, p.ID, min(try.Events, group.MaxPreviewEvents))
	if err != nil {
		return api.GroupingPreview{}, err
	}
	unreadable := 0
	found, err := group.Preview(ctx, before, after, r.each(ctx, rows, &unreadable))
	if err != nil {
		return api.GroupingPreview{}, err
	}
	out := api.GroupingPreview{
		Events: found.Events, Unreadable: unreadable, Moved: found.Moved, IssuesBefore: found.IssuesBefore, IssuesAfter: found.IssuesAfter,
		Renamed: found.Renamed, Splits: previewChanges(found.Splits), SplitsAll: found.SplitsAll, Merges: previewChanges(found.Merges), MergesAll: found.MergesAll,
		Moves: make([]api.GroupingMove, len(found.Moves)),
	}
	for i, m := range found.Moves {
		out.Moves[i] = api.GroupingMove{Event: m.Event.String(), Title: m.Title, Before: m.Before.String(), After: m.After.String(), Was: notNil(m.Was), Is: notNil(m.Is)}
	}
	return out, nil
}

// each reads payloads one at a time; what retention took meanwhile is passed over.
func (r *regrouper) each(ctx context.Context, rows []schemas.Event, unreadable *int) iter.Seq2[*normalize.Event, error] {
	return func(yield func(*normalize.Event, error) bool) {
		for i := range rows {
			e, err := r.read(ctx, &rows[i])
			if errors.Is(err, exporters.ErrNotFound) || errors.Is(err, errUnreadable) {
				*unreadable++
				continue
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func previewChanges(in []group.PreviewChange) []api.GroupingChange {
	out := make([]api.GroupingChange, len(in))
	for i, c := range in {
		out[i] = api.GroupingChange{Issue: previewIssue(c.Issue), Parts: make([]api.GroupingIssue, len(c.Parts)), PartsAll: c.PartsAll}
		for k, p := range c.Parts {
			out[i].Parts[k] = previewIssue(p)
		}
	}
	return out
}

func previewIssue(i group.PreviewIssue) api.GroupingIssue {
	return api.GroupingIssue{Hash: i.Hash.String(), Title: i.Title, Events: i.Events, Example: i.Example.String()}
}

// Explain implements api.Regrouper.
func (r *regrouper) Explain(ctx context.Context, p schemas.Project, id schemas.EventID) (api.GroupingOfEvent, error) {
	g, _, err := r.own(p)
	if err != nil {
		return api.GroupingOfEvent{}, err
	}
	row, err := r.events.Event(ctx, p.ID, id)
	if err != nil {
		return api.GroupingOfEvent{}, err
	}
	e, err := r.read(ctx, &row)
	if err != nil {
		return api.GroupingOfEvent{}, err
	}
	found := g.Of(e)
	out := api.GroupingOfEvent{
		Event: id.String(), Title: e.Title, Hash: found.Hashes[0].String(), Stored: row.Fingerprint.String(), Lines: notNil(found.Tree.Lines()),
	}
	if found.Title != "" {
		out.Title = found.Title
	}
	for _, h := range found.Hashes {
		out.Hashes = append(out.Hashes, h.String())
	}
	if err := json.Unmarshal(found.Tree.AppendJSON(nil), &out.Tree); err != nil {
		return out, fmt.Errorf("cannot read the tree of event %s: %w", id, err)
	}
	return out, nil
}

func notNil(lines []string) []string {
	if lines == nil {
		return []string{}
	}
	return lines
}
