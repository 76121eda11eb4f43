package metadata

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/internal/release"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// Bounds of what people write, in bytes.
const (
	maxWho     = 200
	maxComment = 10_000
)

func badChange(format string, args ...any) error {
	return fmt.Errorf("%w: %s", exporters.ErrBadChange, fmt.Sprintf(format, args...))
}

// ChangeIssues does one action to issues.
func (s *Store) ChangeIssues(ctx context.Context, project uint64, ids []schemas.IssueID, c exporters.IssueChange) (changed []schemas.IssueID, err error) {
	if len(ids) > exporters.MaxIssues {
		return nil, fmt.Errorf("cannot change %d issues, at most %d: %w", len(ids), exporters.MaxIssues, exporters.ErrTooLarge)
	}
	if len(c.By) > maxWho || c.Assign != nil && len(*c.Assign) > maxWho {
		return nil, badChange("a name has more than %d bytes", maxWho)
	}
	if len(c.Comment) > maxComment {
		return nil, badChange("a comment has %d bytes, at most %d", len(c.Comment), maxComment)
	}
	if c.Bookmark != nil && c.By == "" {
		return nil, badChange("a bookmark is somebody's: say who you are")
	}
	if c.At.IsZero() {
		c.At = time.Now()
	}
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		changed, err = s.changeIssues(ctx, tx, project, ids, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot change %d issues of project %d: %w", len(ids), project, classify(err))
	}
	return changed, nil
}

func (s *Store) changeIssues(ctx context.Context, tx issueTx, project uint64, ids []schemas.IssueID, c exporters.IssueChange) ([]schemas.IssueID, error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	rows, err := lockIssues(ctx, tx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	var releases []release.Release
	if c.Resolve != nil && c.Resolve.Kind == schemas.ResolvedInNextRelease && c.Resolve.Release == "" {
		seen, err := releasesSeen(ctx, tx, project, 10_000)
		if err != nil {
			return nil, err
		}
		for _, r := range seen {
			releases = append(releases, release.Release{Name: r.Name, Created: r.Created})
		}
	}
	var changed []schemas.IssueID
	var moved []*issueRow
	var log []activityRow
	by := text(c.By)
	for i := range rows {
		r := &rows[i]
		if r.Project != project || r.MergedInto != 0 || r.deleted != 0 {
			continue
		}
		was := r.IssueState
		var change issuestate.Change
		var did bool
		switch {
		case c.Resolve != nil:
			res := *c.Resolve
			res.At, res.By = c.At.UnixNano(), by
			res.Release = clip(text(res.Release))
			if res.Kind == schemas.ResolvedInNextRelease && res.Release == "" {
				res.Release = release.Latest(releases, r.LastRelease).Name
			}
			if res.Release == "" && res.Kind == schemas.ResolvedInNextRelease && len(rows) > 1 {
				continue
			}
			r.IssueState, change, did, err = issuestate.Resolve(was, res)
		case c.Unresolve:
			r.IssueState, change, did = issuestate.Unresolve(was, c.At)
		case c.Archive != nil:
			archive := *c.Archive
			archive.At, archive.By = c.At.UnixNano(), by
			r.IssueState, change, did, err = issuestate.Archived(was, archive)
			if did {
				r.forecast = ""
			}
		case c.Assign != nil:
			to := text(*c.Assign)
			if did = r.Assignee != to; did {
				change = issuestate.Change{Kind: issuestate.Assigned, Data: map[string]any{"to": to}}
				if to == "" {
					change = issuestate.Change{Kind: issuestate.Unassigned, Data: map[string]any{"was": r.Assignee}}
				}
				r.Assignee = to
			}
		case c.Priority != "":
			if !slices.Contains([]string{schemas.PriorityHigh, schemas.PriorityMedium, schemas.PriorityLow}, c.Priority) {
				return nil, badChange("priority %q: want high, medium or low", c.Priority)
			}
			if did = r.Priority != c.Priority; did {
				change = issuestate.Change{Kind: issuestate.SetPriority, Data: map[string]any{"to": c.Priority, "was": r.Priority}}
			}
			r.Priority = c.Priority
			r.prioritySet = 1
		case c.Bookmark != nil:
			did, err = setBookmark(ctx, tx, r.ID, by, *c.Bookmark)
			if err != nil {
				return nil, err
			}
			if did {
				changed = append(changed, r.ID)
			}
			continue
		case c.Comment != "":
			comment := text(c.Comment)
			same, err := commented(ctx, tx, r.ID, by, comment, c.At)
			if err != nil {
				return nil, err
			}
			if !same {
				changed = append(changed, r.ID)
				log = append(log, activityRow{r.ID, issuestate.Change{Kind: issuestate.Comment, Data: map[string]any{"text": comment}}, by, c.At})
			}
			continue
		default:
			return nil, badChange("the change says nothing")
		}
		if err != nil {
			return nil, badChange("%v", err)
		}
		if did {
			changed, moved = append(changed, r.ID), append(moved, r)
			log = append(log, activityRow{r.ID, change, by, c.At})
		}
	}
	if err := updateIssues(ctx, tx, moved); err != nil {
		return nil, err
	}
	return changed, addActivity(ctx, tx, log)
}

func setBookmark(ctx context.Context, tx issueTx, id schemas.IssueID, who string, set bool) (bool, error) {
	var n int64
	var err error
	if set {
		n, err = affected(tx.ExecContext(ctx, "INSERT INTO issue_bookmarks (issue, who) VALUES ($1, $2) ON CONFLICT DO NOTHING", issueArg(id), who))
	} else {
		n, err = affected(tx.ExecContext(ctx, "DELETE FROM issue_bookmarks WHERE issue = $1 AND who = $2", issueArg(id), who))
	}
	return n > 0, err
}

// commented tells that who wrote just that within the last minute: a request that
// was sent again.
func commented(ctx context.Context, tx issueTx, id schemas.IssueID, who, comment string, at time.Time) (bool, error) {
	var data string
	err := tx.QueryRowContext(ctx, "SELECT data FROM issue_activity WHERE issue = $1 AND kind = $2 AND by_whom = $3 AND at > $4 ORDER BY id DESC LIMIT 1",
		issueArg(id), issuestate.Comment, who, at.Add(-time.Minute).UnixNano()).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	var last struct{ Text string }
	if err == nil {
		err = json.Unmarshal([]byte(data), &last)
	}
	return last.Text == comment, err
}

// MergeIssues moves the hashes of others to target.
func (s *Store) MergeIssues(ctx context.Context, project uint64, target schemas.IssueID, others []schemas.IssueID, by string) error {
	err := s.inIssueTx(ctx, func(tx issueTx) error { return s.merge(ctx, tx, project, target, others, clipTo(text(by), maxWho)) })
	if err != nil {
		return fmt.Errorf("cannot merge %d issues into issue %d: %w", len(others), target, classify(err))
	}
	return nil
}

func (s *Store) merge(ctx context.Context, tx issueTx, project uint64, target schemas.IssueID, others []schemas.IssueID, by string) error {
	if len(others) == 0 || len(others) > exporters.MaxIssues {
		return badChange("name 1 to %d other issues", exporters.MaxIssues)
	}
	if _, err := take(ctx, tx, "issues", 0); err != nil { // the lock of hashes
		return err
	}
	ids := append(slices.Clone(others), target)
	slices.Sort(ids)
	rows, err := lockIssues(ctx, tx, slices.Compact(ids))
	if err != nil {
		return err
	}
	at := time.Now()
	byID := make(map[schemas.IssueID]*issueRow, len(rows))
	for i := range rows {
		if rows[i].Project == project && rows[i].deleted == 0 {
			byID[rows[i].ID] = &rows[i]
		}
	}
	into := byID[target]
	if into == nil {
		return fmt.Errorf("issue %d of project %d: %w", target, project, exporters.ErrNotFound)
	}
	if into.MergedInto != 0 {
		return badChange("issue %d was itself merged into issue %d: merge into that one", target, into.MergedInto)
	}
	var moved []*issueRow
	var gone []schemas.IssueID
	var log []activityRow
	for _, id := range others {
		r := byID[id]
		switch {
		case r == nil:
			return fmt.Errorf("issue %d of project %d: %w", id, project, exporters.ErrNotFound)
		case id == target:
			return badChange("issue %d cannot be merged into itself", id)
		case r.MergedInto == target:
			continue // it was done already
		case r.MergedInto != 0:
			return badChange("issue %d was merged into issue %d before: unmerge it there first", id, r.MergedInto)
		}
		if r.LastSeen > into.LastSeen {
			into.Title, into.Culprit, into.Level, into.Platform, into.Logger = r.Title, r.Culprit, r.Level, r.Platform, r.Logger
		}
		into.FirstSeen, into.LastSeen = min(into.FirstSeen, r.FirstSeen), max(into.LastSeen, r.LastSeen)
		if r.FirstRelease != "" && (into.FirstRelease == "" || r.firstReleaseAt < into.firstReleaseAt) {
			into.FirstRelease, into.firstReleaseAt = r.FirstRelease, r.firstReleaseAt
		}
		if r.LastRelease != "" && (into.LastRelease == "" || r.lastReleaseAt > into.lastReleaseAt) {
			into.LastRelease, into.lastReleaseAt = r.LastRelease, r.lastReleaseAt
		}
		r.MergedInto = target
		moved, gone = append(moved, r), append(gone, id)
		log = append(log, activityRow{id, issuestate.Change{Kind: issuestate.Merged, Data: map[string]any{"into": target}}, by, at})
	}
	if len(gone) == 0 {
		return nil
	}
	into.forecast = ""
	log = append(log, activityRow{target, issuestate.Change{Kind: issuestate.Merge, Data: map[string]any{"issues": gone}}, by, at})
	var a args
	to, p := a.add(issueArg(target)), a.add(projectArg(project))
	if _, err := tx.ExecContext(ctx, "UPDATE issue_hashes SET former = CASE WHEN former = 0 THEN issue ELSE former END, issue = "+to+
		" WHERE project = "+p+" AND issue IN "+in(&a, gone, issueArg), a...); err != nil {
		return err
	}
	var n int64
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM issue_hashes WHERE project = $1 AND issue = $2", projectArg(project), issueArg(target)).Scan(&n); err != nil {
		return err
	}
	if n > exporters.MaxHashes {
		return fmt.Errorf("issue %d would have %d hashes, at most %d: %w", target, n, exporters.MaxHashes, exporters.ErrTooLarge)
	}
	a = nil
	to = a.add(issueArg(target))
	if _, err := tx.ExecContext(ctx, "UPDATE issues SET merged_into = "+to+" WHERE merged_into IN "+in(&a, gone, issueArg), a...); err != nil {
		return err
	}
	a = nil
	to = a.add(issueArg(target))
	if _, err := tx.ExecContext(ctx, "INSERT INTO issue_bookmarks (issue, who) SELECT DISTINCT CAST("+to+" AS BIGINT), who FROM issue_bookmarks WHERE issue IN "+in(&a, gone, issueArg)+" ON CONFLICT DO NOTHING", a...); err != nil {
		return err
	}
	if err := updateIssues(ctx, tx, append(moved, into)); err != nil {
		return err
	}
	if err := addActivity(ctx, tx, log); err != nil {
		return err
	}
	m := wire.EndMerge{Change: wire.Merge{TransactionID: transactionID(), ProjectID: project, Datetime: datetime(at), PreviousGroupIDs: numbers(gone), NewGroupID: uint64(target)}}
	return addReplacement(ctx, tx, project, m.AppendJSON(nil))
}

// UnmergeIssue moves hashes out of an issue.
func (s *Store) UnmergeIssue(ctx context.Context, u exporters.Unmerge) (to schemas.IssueID, err error) {
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		to, err = s.unmerge(ctx, tx, u)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot take %d hashes out of issue %d: %w", len(u.Hashes), u.Issue, classify(err))
	}
	return to, nil
}

func (s *Store) unmerge(ctx context.Context, tx issueTx, u exporters.Unmerge) (schemas.IssueID, error) {
	by, at := clipTo(text(u.By), maxWho), time.Now()
	next, err := take(ctx, tx, "issues", 1) // and the lock of hashes
	if err != nil {
		return 0, err
	}
	all := make(map[schemas.IssueID][]exporters.IssueHash)
	if err := readHashes(ctx, tx, all, u.Project, []schemas.IssueID{u.Issue}); err != nil {
		return 0, err
	}
	former := schemas.IssueID(0)
	picked := make(map[schemas.Fingerprint]bool)
	for _, h := range u.Hashes {
		i := slices.IndexFunc(all[u.Issue], func(x exporters.IssueHash) bool { return x.Hash == h })
		if i < 0 {
			return 0, badChange("issue %d has no hash %v", u.Issue, h)
		}
		f := all[u.Issue][i].Former
		if u.Former && (f == 0 || former != 0 && f != former) {
			return 0, badChange("the hashes were not merged from one issue: choose those of one, or a new issue")
		}
		former = f
		picked[h] = true
	}
	if len(picked) == 0 || len(picked) == len(all[u.Issue]) {
		return 0, badChange("choose some of the %d hashes of issue %d, not all", len(all[u.Issue]), u.Issue)
	}
	to := schemas.IssueID(next) //nolint:gosec // made positive
	ids := []schemas.IssueID{u.Issue}
	if u.Former {
		to = former
		ids = append(ids, to)
	}
	slices.Sort(ids)
	rows, err := lockIssues(ctx, tx, ids)
	if err != nil {
		return 0, err
	}
	var from, into *issueRow
	for i := range rows {
		switch rows[i].ID {
		case u.Issue:
			from = &rows[i]
		case to:
			into = &rows[i]
		}
	}
	if from == nil || from.Project != u.Project || from.deleted != 0 {
		return 0, fmt.Errorf("issue %d of project %d: %w", u.Issue, u.Project, exporters.ErrNotFound)
	}
	if u.Former && (into == nil || into.deleted != 0 || into.MergedInto != u.Issue && into.MergedInto != 0) {
		return 0, badChange("issue %d, which the hashes were merged from, is not there any more: choose a new issue", former)
	}
	if into == nil {
		into = &issueRow{created: at.UnixNano()}
		into.Issue = from.Issue
		into.ID, into.Fingerprint, into.Assignee = to, u.Hashes[0], ""
		into.IssueState = schemas.IssueState{Status: schemas.StatusUnresolved, Substatus: schemas.SubstatusOngoing, Since: at.UnixNano()}
		into.FirstRelease, into.LastRelease = "", ""
		if err := insertIssues(ctx, tx, []*issueRow{into}); err != nil {
			return 0, err
		}
	}
	into.MergedInto = 0
	span := func(r *issueRow, s exporters.SeenSpan) {
		if s.First != 0 {
			r.FirstSeen = s.First
		}
		if s.Last != 0 {
			r.LastSeen = s.Last
		}
		r.forecast = ""
	}
	span(from, u.Stay)
	span(into, u.Go)
	if u.Title != "" {
		into.Title, into.Culprit, into.Level = clip(text(u.Title)), clip(text(u.Culprit)), clip(text(u.Level))
	}
	if u.StayTitle != "" {
		from.Title, from.Culprit, from.Level = clip(text(u.StayTitle)), clip(text(u.StayCulprit)), clip(text(u.StayLevel))
	}
	var a args
	target, p := a.add(issueArg(to)), a.add(projectArg(u.Project))
	if _, err := tx.ExecContext(ctx, "UPDATE issue_hashes SET issue = "+target+", former = 0 WHERE project = "+p+" AND hash IN "+in(&a, u.Hashes, hashArg), a...); err != nil {
		return 0, err
	}
	if err := updateIssues(ctx, tx, []*issueRow{from, into}); err != nil {
		return 0, err
	}
	hashes := make([]string, len(u.Hashes))
	for i, h := range u.Hashes {
		hashes[i] = h.String()
	}
	err = addActivity(ctx, tx, []activityRow{
		{u.Issue, issuestate.Change{Kind: issuestate.UnmergeOut, Data: map[string]any{"to": to, "hashes": hashes}}, by, at},
		{to, issuestate.Change{Kind: issuestate.UnmergeIn, Data: map[string]any{"from": u.Issue, "hashes": hashes}}, by, at},
	})
	if err != nil {
		return 0, err
	}
	m := wire.EndUnmerge{Change: wire.Unmerge{TransactionID: transactionID(), ProjectID: u.Project, Datetime: datetime(at), PreviousGroupID: uint64(u.Issue), NewGroupID: uint64(to), Hashes: hashes}}
	return to, addReplacement(ctx, tx, u.Project, m.AppendJSON(nil))
}

// DeleteIssues hides issues and their events.
func (s *Store) DeleteIssues(ctx context.Context, project uint64, ids []schemas.IssueID, discard bool, by string) (gone []schemas.IssueID, err error) {
	if len(ids) > exporters.MaxIssues {
		return nil, fmt.Errorf("cannot delete %d issues, at most %d: %w", len(ids), exporters.MaxIssues, exporters.ErrTooLarge)
	}
	err = s.inIssueTx(ctx, func(tx issueTx) error {
		gone, err = s.remove(ctx, tx, project, ids, discard, clipTo(text(by), maxWho))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot delete %d issues of project %d: %w", len(ids), project, classify(err))
	}
	return gone, nil
}

func (s *Store) remove(ctx context.Context, tx issueTx, project uint64, ids []schemas.IssueID, discard bool, by string) ([]schemas.IssueID, error) {
	if _, err := take(ctx, tx, "issues", 0); err != nil { // the lock of hashes
		return nil, err
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	rows, err := lockIssues(ctx, tx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	at := time.Now()
	var gone []schemas.IssueID
	var moved []*issueRow
	var log []activityRow
	kind := issuestate.DeletedTo
	if discard {
		kind = issuestate.DiscardedTo
	}
	for i := range rows {
		r := &rows[i]
		if r.Project != project || r.MergedInto != 0 || r.deleted != 0 {
			continue
		}
		r.deleted = at.UnixNano()
		gone, moved = append(gone, r.ID), append(moved, r)
		log = append(log, activityRow{r.ID, issuestate.Change{Kind: kind}, by, at})
		tombstone := int64(0)
		if discard {
			if tombstone, err = take(ctx, tx, "tombstones", 1); err != nil {
				return nil, err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO issue_tombstones (id, project, title, culprit, by_whom, at) VALUES ($1, $2, $3, $4, $5, $6)",
				tombstone, projectArg(project), r.Title, r.Culprit, by, at.UnixNano()); err != nil {
				return nil, err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE issue_hashes SET issue = 0, former = 0, after = $1, tombstone = $2 WHERE project = $3 AND issue = $4",
			at.UnixNano(), tombstone, projectArg(project), issueArg(r.ID)); err != nil {
			return nil, err
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	if err := updateIssues(ctx, tx, moved); err != nil {
		return nil, err
	}
	var a args
	when := a.add(at.UnixNano())
	if _, err := tx.ExecContext(ctx, "UPDATE issues SET deleted = "+when+" WHERE merged_into IN "+in(&a, gone, issueArg), a...); err != nil {
		return nil, err
	}
	if err := addActivity(ctx, tx, log); err != nil {
		return nil, err
	}
	m := wire.EndDeleteGroups{Change: wire.DeleteGroups{TransactionID: transactionID(), ProjectID: project, Datetime: datetime(at), GroupIDs: numbers(gone)}}
	return gone, addReplacement(ctx, tx, project, m.AppendJSON(nil))
}

// Discarded lists what was discarded, newest first.
func (s *Store) Discarded(ctx context.Context, project uint64, limit int) ([]exporters.Discarded, error) {
	out, err := func() ([]exporters.Discarded, error) {
		rows, err := s.read.QueryContext(ctx, `
SELECT t.id, t.title, t.culprit, t.by_whom, t.at, h.hash
FROM (SELECT * FROM issue_tombstones x WHERE x.project = $1 AND EXISTS (SELECT 1 FROM issue_hashes y WHERE y.tombstone = x.id) ORDER BY x.id DESC LIMIT $2) t
JOIN issue_hashes h ON h.tombstone = t.id ORDER BY t.id DESC, h.hash`, projectArg(project), min(max(limit, 1), 500))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []exporters.Discarded
		last := int64(0)
		for rows.Next() {
			var d exporters.Discarded
			var id int64
			var hash string
			if err := rows.Scan(&id, &d.Title, &d.Culprit, &d.By, &d.At, &hash); err != nil {
				return nil, err
			}
			h, err := parseHash(hash)
			if err != nil {
				return nil, err
			}
			if id != last {
				out, last = append(out, d), id
			}
			out[len(out)-1].Hashes = append(out[len(out)-1].Hashes, h)
		}
		return out, rows.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot list what was discarded in project %d: %w", project, classify(err))
	}
	return out, nil
}

// RestoreHashes takes back that hashes are discarded.
func (s *Store) RestoreHashes(ctx context.Context, project uint64, hashes []schemas.Fingerprint) error {
	if len(hashes) > exporters.MaxHashes {
		return fmt.Errorf("cannot restore %d hashes, at most %d: %w", len(hashes), exporters.MaxHashes, exporters.ErrTooLarge)
	}
	if len(hashes) == 0 {
		return nil
	}
	err := s.inIssueTx(ctx, func(tx issueTx) error {
		if _, err := take(ctx, tx, "issues", 0); err != nil { // the lock of hashes
			return err
		}
		var a args
		_, err := tx.ExecContext(ctx, "UPDATE issue_hashes SET tombstone = 0 WHERE tombstone > 0 AND project = "+a.add(projectArg(project))+" AND hash IN "+in(&a, hashes, hashArg), a...)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot restore %d hashes: %w", len(hashes), classify(err))
	}
	return nil
}

func addReplacement(ctx context.Context, tx issueTx, project uint64, value []byte) error {
	id, err := take(ctx, tx, "replacements", 1)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO event_replacements (id, project, value) VALUES ($1, $2, $3)", id, projectArg(project), string(value))
	return err
}

// transactionID is a random UUID without dashes, as Sentry writes it.
func transactionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return schemas.EventID(b).String()
}

// datetime is a time as Sentry writes it on its topics.
func datetime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func numbers(ids []schemas.IssueID) []uint64 {
	out := make([]uint64, len(ids))
	for i, id := range ids {
		out[i] = uint64(id)
	}
	return out
}
