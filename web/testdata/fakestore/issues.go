package fakestore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// hashOf is an event's hash, or one that stands for its issue when it has none.
func hashOf(f schemas.Fingerprint, issue schemas.IssueID) schemas.Fingerprint {
	if f == (schemas.Fingerprint{}) {
		f = schemas.Fingerprint{0xff, byte(issue >> 8), byte(issue)}
	}
	return f
}

// fingerprint is an event's: that of its issue.
func (s *Store) fingerprint(e *schemas.Event) schemas.Fingerprint {
	for _, i := range s.AllIssues {
		if i.ID == e.Issue {
			return hashOf(i.Fingerprint, i.ID)
		}
	}
	return hashOf(e.Fingerprint, e.Issue)
}

// owner tells whose a hash is.
func (s *Store) owner(h schemas.Fingerprint) schemas.IssueID {
	if to, moved := s.moved[h]; moved {
		return to
	}
	for _, i := range s.AllIssues {
		if hashOf(i.Fingerprint, i.ID) == h {
			return i.ID
		}
	}
	return 0
}

func (s *Store) hashesOf(id schemas.IssueID) []exporters.IssueHash {
	var out []exporters.IssueHash
	for _, i := range s.AllIssues {
		if h := hashOf(i.Fingerprint, i.ID); s.owner(h) == id {
			x := exporters.IssueHash{Hash: h, Version: "test:1", FirstSeen: i.FirstSeen, After: s.after[h]}
			if i.ID != id {
				x.Former = i.ID
			}
			out = append(out, x)
		}
	}
	return out
}

// SeeIssue is exporters.Issues'; the web never calls it.
func (s *Store) SeeIssue(context.Context, schemas.Issue) (schemas.IssueID, bool, error) {
	panic("fakestore: the web wrote an issue")
}

// Issues is exporters.Issues'. Of the terms it knows is, level and message.
func (s *Store) Issues(ctx context.Context, q exporters.IssueQuery) ([]schemas.Issue, error) {
	if err := s.ask(ctx, "Issues"); err != nil {
		return nil, err
	}
	by := func(i schemas.Issue) int64 {
		if q.Newest {
			return i.FirstSeen
		}
		return i.LastSeen
	}
	var out []schemas.Issue
	text := strings.ToLower(q.Text)
	for _, i := range s.AllIssues {
		if i.Project != q.Project || i.MergedInto != 0 || s.deleted[i.ID] || q.IDs != nil && !slices.Contains(q.IDs, i.ID) ||
			!q.Range.From.IsZero() && i.LastSeen < q.Range.From.UnixNano() || !q.Range.To.IsZero() && i.FirstSeen >= q.Range.To.UnixNano() ||
			q.Before != 0 && (by(i) > q.Before || by(i) == q.Before && i.ID >= q.BeforeID) ||
			!strings.Contains(strings.ToLower(i.Title+"\n"+i.Culprit), text) {
			continue
		}
		if q.Where.Holds(func(t search.Term) bool { return matches(i, t) }) {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.Issue) int { return cmp.Or(cmp.Compare(by(b), by(a)), cmp.Compare(b.ID, a.ID)) })
	return out[:min(len(out), cmp.Or(q.Limit, 50))], nil
}

func matches(i schemas.Issue, t search.Term) bool {
	hit := false
	for _, v := range t.Values {
		switch t.Field.Name {
		case search.FieldIs:
			hit = hit || v.Text == i.Status || v.Text == i.Substatus || v.Text == "assigned" && i.Assignee != "" || v.Text == "unassigned" && i.Assignee == ""
		case search.FieldLevel:
			hit = hit || v.Text == i.Level
		case search.FieldMessage:
			hit = hit || strings.Contains(strings.ToLower(i.Title+"\n"+i.Culprit), strings.ToLower(v.Text))
		default:
			panic("fakestore: unknown term " + t.Field.Name)
		}
	}
	return hit
}

func (s *Store) find(project uint64, id schemas.IssueID) *schemas.Issue {
	for k := range s.AllIssues {
		if i := &s.AllIssues[k]; i.Project == project && i.ID == id && !s.deleted[id] {
			return i
		}
	}
	return nil
}

// Issue is exporters.Issues'.
func (s *Store) Issue(ctx context.Context, project uint64, id schemas.IssueID) (schemas.Issue, error) {
	if err := s.ask(ctx, "Issue"); err != nil {
		return schemas.Issue{}, err
	}
	if i := s.find(project, id); i != nil {
		return *i, nil
	}
	return schemas.Issue{}, exporters.ErrNotFound
}

// IssueHashes is exporters.IssueStore's.
func (s *Store) IssueHashes(ctx context.Context, _ uint64, ids []schemas.IssueID) (map[schemas.IssueID][]exporters.IssueHash, error) {
	if err := s.ask(ctx, "IssueHashes"); err != nil {
		return nil, err
	}
	out := map[schemas.IssueID][]exporters.IssueHash{}
	for _, id := range ids {
		out[id] = s.hashesOf(id)
	}
	return out, nil
}

// IssuesOfHashes is exporters.IssueStore's.
func (s *Store) IssuesOfHashes(ctx context.Context, _ uint64, hashes []schemas.Fingerprint) (map[schemas.Fingerprint]schemas.IssueID, error) {
	if err := s.ask(ctx, "IssuesOfHashes"); err != nil {
		return nil, err
	}
	out := map[schemas.Fingerprint]schemas.IssueID{}
	for _, h := range hashes {
		if id := s.owner(h); id != 0 && !s.deleted[id] {
			out[h] = id
		}
	}
	return out, nil
}

// HashTree is exporters.IssueStore's.
func (s *Store) HashTree(ctx context.Context, _ uint64, h schemas.Fingerprint) (json.RawMessage, error) {
	if err := s.ask(ctx, "HashTree"); err != nil {
		return nil, err
	}
	for _, i := range s.AllIssues {
		if hashOf(i.Fingerprint, i.ID) != h || len(i.Grouping) == 0 {
			continue
		}
		type component struct {
			ID          string      `json:"id"`
			Contributes bool        `json:"contributes"`
			Hint        string      `json:"hint,omitempty"`
			Value       string      `json:"value,omitempty"`
			Values      []component `json:"values,omitempty"`
		}
		stack := component{ID: "stacktrace", Contributes: true}
		root := component{ID: "exception", Contributes: true, Values: []component{}}
		for _, g := range i.Grouping {
			id, value, _ := strings.Cut(g, " ")
			leaf := component{ID: id, Contributes: true, Value: value}
			if id == "frame" {
				stack.Values = append(stack.Values, component{ID: "frame", Contributes: true, Values: []component{{ID: "function", Contributes: true, Value: value}}})
				continue
			}
			root.Values = append(root.Values, leaf)
		}
		stack.Values = append(stack.Values, component{ID: "frame", Hint: "not the program's own", Values: []component{{ID: "function", Value: "runtime.goexit"}}})
		root.Values = append(root.Values, component{ID: "value", Hint: "the stack counts instead", Value: i.Title}, stack)
		return json.Marshal(map[string]any{"version": "test:1", "strategy": "exception", "variants": []any{
			map[string]any{"name": "app", "contributes": true, "hash": h.String(), "component": root},
		}})
	}
	return nil, exporters.ErrNotFound
}

// Activity is exporters.IssueStore's.
func (s *Store) Activity(ctx context.Context, _ uint64, id schemas.IssueID, limit int) ([]exporters.IssueActivity, error) {
	if err := s.ask(ctx, "Activity"); err != nil {
		return nil, err
	}
	var out []exporters.IssueActivity
	for _, a := range s.log {
		if a.Issue == id {
			out = append(out, a)
		}
	}
	slices.Reverse(out)
	return out[:min(len(out), limit)], nil
}

func (s *Store) note(id schemas.IssueID, kind, by string, data map[string]any) {
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	s.log = append(s.log, exporters.IssueActivity{ID: int64(len(s.log) + 1), Issue: id, Kind: kind, By: by, At: time.Now().UnixNano(), Data: raw})
}

// Bookmarks is exporters.IssueStore's.
func (s *Store) Bookmarks(ctx context.Context, _ uint64, id schemas.IssueID) ([]string, error) {
	if err := s.ask(ctx, "Bookmarks"); err != nil {
		return nil, err
	}
	var out []string
	for k := range s.marks {
		if of, who, _ := strings.Cut(k, " "); of == fmt.Sprint(id) {
			out = append(out, who)
		}
	}
	slices.Sort(out)
	return out, nil
}

// ReleasesSeen is exporters.IssueStore's: those of the events.
func (s *Store) ReleasesSeen(ctx context.Context, project uint64, limit int) ([]exporters.ReleaseSeen, error) {
	if err := s.ask(ctx, "ReleasesSeen"); err != nil {
		return nil, err
	}
	seen := map[string]exporters.ReleaseSeen{}
	for _, e := range s.AllEvents {
		if e.Project != project || e.Release == "" {
			continue
		}
		r, ok := seen[e.Release]
		if !ok {
			r = exporters.ReleaseSeen{Name: e.Release, Created: e.Time, FirstSeen: e.Time, LastSeen: e.Time}
		}
		r.FirstSeen, r.LastSeen = min(r.FirstSeen, e.Time), max(r.LastSeen, e.Time)
		seen[e.Release] = r
	}
	var out []exporters.ReleaseSeen
	for _, r := range seen {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b exporters.ReleaseSeen) int { return cmp.Compare(b.Created, a.Created) })
	return out[:min(len(out), limit)], nil
}

// ChangeIssues is exporters.IssueStore's.
func (s *Store) ChangeIssues(ctx context.Context, project uint64, ids []schemas.IssueID, c exporters.IssueChange) ([]schemas.IssueID, error) {
	if err := s.ask(ctx, "ChangeIssues"); err != nil {
		return nil, err
	}
	var out []schemas.IssueID
	for _, id := range ids {
		i := s.find(project, id)
		if i == nil || i.MergedInto != 0 {
			continue
		}
		var change issuestate.Change
		var did bool
		var err error
		switch {
		case c.Resolve != nil:
			r := *c.Resolve
			r.At, r.By = c.At.UnixNano(), c.By
			if r.Kind == schemas.ResolvedInNextRelease && r.Release == "" {
				r.Release = i.LastRelease
				if r.Release == "" && len(ids) > 1 {
					continue
				}
			}
			i.IssueState, change, did, err = issuestate.Resolve(i.IssueState, r)
		case c.Unresolve:
			i.IssueState, change, did = issuestate.Unresolve(i.IssueState, c.At)
		case c.Archive != nil:
			a := *c.Archive
			a.At, a.By = c.At.UnixNano(), c.By
			i.IssueState, change, did, err = issuestate.Archived(i.IssueState, a)
		case c.Assign != nil:
			did, change = i.Assignee != *c.Assign, issuestate.Change{Kind: issuestate.Assigned, Data: map[string]any{"to": *c.Assign}}
			i.Assignee = *c.Assign
		case c.Priority != "":
			did, change = i.Priority != c.Priority, issuestate.Change{Kind: issuestate.SetPriority, Data: map[string]any{"to": c.Priority}}
			i.Priority = c.Priority
		case c.Bookmark != nil:
			k := fmt.Sprint(id) + " " + c.By
			if s.marks == nil {
				s.marks = map[string]bool{}
			}
			if did = s.marks[k] != *c.Bookmark; *c.Bookmark {
				s.marks[k] = true
			} else {
				delete(s.marks, k)
			}
		case c.Comment != "":
			did, change = true, issuestate.Change{Kind: issuestate.Comment, Data: map[string]any{"text": c.Comment}}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", exporters.ErrBadChange, err)
		}
		if did {
			out = append(out, id)
			if change.Kind != "" {
				s.note(id, change.Kind, c.By, change.Data)
			}
		}
	}
	return out, nil
}

// MergeIssues is exporters.IssueStore's.
func (s *Store) MergeIssues(ctx context.Context, project uint64, target schemas.IssueID, others []schemas.IssueID, by string) error {
	if err := s.ask(ctx, "MergeIssues"); err != nil {
		return err
	}
	if s.find(project, target) == nil {
		return exporters.ErrNotFound
	}
	if s.moved == nil {
		s.moved = map[schemas.Fingerprint]schemas.IssueID{}
	}
	for _, id := range others {
		i := s.find(project, id)
		if i == nil {
			return exporters.ErrNotFound
		}
		for _, h := range s.hashesOf(id) {
			s.moved[h.Hash] = target
		}
		i.MergedInto = target
		s.note(target, issuestate.Merge, by, map[string]any{"issues": []schemas.IssueID{id}})
	}
	return nil
}

// UnmergeIssue is exporters.IssueStore's: back to where the hash came from.
func (s *Store) UnmergeIssue(ctx context.Context, u exporters.Unmerge) (schemas.IssueID, error) {
	if err := s.ask(ctx, "UnmergeIssue"); err != nil {
		return 0, err
	}
	s.Unmerged = append(s.Unmerged, u)
	for _, h := range u.Hashes {
		for k := range s.AllIssues {
			if i := &s.AllIssues[k]; hashOf(i.Fingerprint, i.ID) == h && i.MergedInto == u.Issue {
				delete(s.moved, h)
				i.MergedInto = 0
				return i.ID, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: the hashes were not merged", exporters.ErrBadChange)
}

// DeleteIssues is exporters.IssueStore's.
func (s *Store) DeleteIssues(ctx context.Context, project uint64, ids []schemas.IssueID, discard bool, by string) ([]schemas.IssueID, error) {
	if err := s.ask(ctx, "DeleteIssues"); err != nil {
		return nil, err
	}
	if s.deleted == nil {
		s.deleted, s.after = map[schemas.IssueID]bool{}, map[schemas.Fingerprint]int64{}
	}
	var out []schemas.IssueID
	for _, id := range ids {
		i := s.find(project, id)
		if i == nil || i.MergedInto != 0 {
			continue
		}
		d := exporters.Discarded{Title: i.Title, Culprit: i.Culprit, By: by, At: time.Now().UnixNano()}
		for _, h := range s.hashesOf(id) {
			s.after[h.Hash] = d.At
			d.Hashes = append(d.Hashes, h.Hash)
		}
		s.deleted[id] = true
		if discard {
			s.gone = append(s.gone, d)
		}
		out = append(out, id)
	}
	return out, nil
}

// Discarded is exporters.IssueStore's.
func (s *Store) Discarded(ctx context.Context, _ uint64, limit int) ([]exporters.Discarded, error) {
	if err := s.ask(ctx, "Discarded"); err != nil {
		return nil, err
	}
	return s.gone[:min(len(s.gone), limit)], nil
}

// RestoreHashes is exporters.IssueStore's.
func (s *Store) RestoreHashes(ctx context.Context, _ uint64, hashes []schemas.Fingerprint) error {
	if err := s.ask(ctx, "RestoreHashes"); err != nil {
		return err
	}
	s.gone = slices.DeleteFunc(s.gone, func(d exporters.Discarded) bool {
		return slices.ContainsFunc(d.Hashes, func(h schemas.Fingerprint) bool { return slices.Contains(hashes, h) })
	})
	return nil
}

// eventsOf gives the events of one set that match, newest first.
func (s *Store) eventsOf(project uint64, set exporters.EventSet, f exporters.EventFilter) []schemas.Event {
	var out []schemas.Event
	for _, e := range s.AllEvents {
		e.Fingerprint = s.fingerprint(&e)
		if e.Project != project || !within(e.Time, f.Range) ||
			set.Hashes != nil && !slices.ContainsFunc(set.Hashes, func(h exporters.IssueHash) bool { return h.Hash == e.Fingerprint && e.Received >= h.After }) ||
			!f.Where.Holds(func(t search.Term) bool { return eventMatches(&e, t) }) {
			continue
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b schemas.Event) int { return cmp.Compare(b.Time, a.Time) })
	return out
}

// eventMatches knows topic, release and environment.
func eventMatches(e *schemas.Event, t search.Term) bool {
	value, ok := map[string]string{search.FieldTopic: e.Topic, search.FieldRelease: e.Release, search.FieldEnvironment: e.Environment}[t.Field.Name]
	if !ok {
		panic("fakestore: unknown term " + t.Field.Name)
	}
	return t.Op == search.Has && value != "" || slices.ContainsFunc(t.Values, func(v search.Value) bool { return v.Match(value) })
}

// EventsOf is exporters.IssueEventReader's.
func (s *Store) EventsOf(ctx context.Context, project uint64, set exporters.EventSet, p exporters.EventPage) ([]schemas.Event, error) {
	if err := s.ask(ctx, "EventsOf"); err != nil || set.Hashes == nil {
		return nil, err
	}
	out := s.eventsOf(project, set, p.EventFilter)
	out = slices.DeleteFunc(out, func(e schemas.Event) bool {
		return p.Before != 0 && (e.Time > p.Before || e.Time == p.Before && slices.Compare(e.ID[:], p.BeforeID[:]) <= 0)
	})
	return out[:min(len(out), cmp.Or(p.Limit, 50))], nil
}

// StatsOf is exporters.IssueEventReader's.
func (s *Store) StatsOf(ctx context.Context, project uint64, sets []exporters.EventSet, f exporters.EventFilter) (map[schemas.IssueID]exporters.EventStats, error) {
	if err := s.ask(ctx, "StatsOf"); err != nil {
		return nil, err
	}
	to := f.Range.To
	if to.IsZero() {
		to = time.Now()
	}
	out := map[schemas.IssueID]exporters.EventStats{}
	for _, set := range sets {
		if set.Hashes == nil {
			continue
		}
		st := exporters.EventStats{}
		records, users := map[schemas.RecordRef]bool{}, map[string]bool{}
		for _, e := range s.eventsOf(project, set, f) {
			st.Events++
			st.First, st.FirstID = e.Time, e.ID
			if st.Last == 0 {
				st.Last, st.LastID = e.Time, e.ID
			}
			if e.Topic != "" {
				records[schemas.RecordRef{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}] = true
			}
			if e.UserID != "" {
				users[e.UserID] = true
			}
			before := to.Sub(time.Unix(0, e.Time))
			if hour := 23 - int(before/time.Hour); hour >= 0 && hour < 24 {
				st.Hours[hour]++
			}
			if day := 13 - int(before/(24*time.Hour)); day >= 0 && day < 14 {
				st.Days[day]++
			}
		}
		if st.Records, st.Users = uint64(len(records)), uint64(len(users)); st.Events > 0 {
			out[set.Issue] = st
		}
	}
	return out, nil
}

// HourlyOf is exporters.IssueEventReader's; the web never calls it.
func (s *Store) HourlyOf(context.Context, uint64, []exporters.EventSet, time.Time, int) (map[schemas.IssueID][]uint64, error) {
	panic("fakestore: the web made a forecast")
}

// MostWithin is exporters.IssueEventReader's; the web never calls it.
func (s *Store) MostWithin(context.Context, uint64, exporters.EventSet, time.Time, time.Duration, bool) (uint64, error) {
	panic("fakestore: the web woke an issue")
}

// TagsOf is exporters.IssueEventReader's: the tags of the events.
func (s *Store) TagsOf(ctx context.Context, project uint64, set exporters.EventSet, f exporters.EventFilter, limit int) ([]exporters.EventTag, error) {
	if err := s.ask(ctx, "TagsOf"); err != nil {
		return nil, err
	}
	byKey := map[string]*exporters.EventTag{}
	for _, e := range s.eventsOf(project, set, f) {
		pairs := append([]schemas.Attribute{{Key: "release", Value: e.Release}, {Key: "environment", Value: e.Environment}, {Key: "server", Value: e.Server}, {Key: "topic", Value: e.Topic}}, e.Tags...)
		for _, p := range pairs {
			if p.Value == "" {
				continue
			}
			t := byKey[p.Key]
			if t == nil {
				t = &exporters.EventTag{Key: p.Key}
				byKey[p.Key] = t
			}
			t.Events++
			k := slices.IndexFunc(t.Values, func(v exporters.EventTagValue) bool { return v.Value == p.Value })
			if k < 0 {
				k = len(t.Values)
				t.Values = append(t.Values, exporters.EventTagValue{Value: p.Value, First: e.Time, Last: e.Time})
			}
			v := &t.Values[k]
			v.Events++
			v.First, v.Last = min(v.First, e.Time), max(v.Last, e.Time)
		}
	}
	var out []exporters.EventTag
	for _, t := range byKey {
		slices.SortStableFunc(t.Values, func(a, b exporters.EventTagValue) int { return cmp.Compare(b.Events, a.Events) })
		if len(t.Values) > limit {
			t.Others = uint64(len(t.Values) - limit)
			t.Values = t.Values[:limit]
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b exporters.EventTag) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), strings.Compare(a.Key, b.Key))
	})
	return out, nil
}

// HashesWith is exporters.IssueEventReader's.
func (s *Store) HashesWith(ctx context.Context, project uint64, f exporters.EventFilter, limit int) ([]schemas.Fingerprint, bool, error) {
	if err := s.ask(ctx, "HashesWith"); err != nil {
		return nil, false, err
	}
	if s.MostHashes > 0 {
		limit = min(limit, s.MostHashes)
	}
	var out []schemas.Fingerprint
	for _, e := range s.eventsOf(project, exporters.EventSet{}, f) {
		if !slices.Contains(out, e.Fingerprint) {
			out = append(out, e.Fingerprint)
		}
	}
	return out[:min(len(out), limit)], len(out) > limit, nil
}

// RemoveEvents is exporters.IssueEventReader's; the web never calls it.
func (s *Store) RemoveEvents(context.Context, []exporters.DeletedHash) error {
	panic("fakestore: the web removed events")
}
