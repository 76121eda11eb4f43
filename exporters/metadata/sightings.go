package metadata

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/internal/release"
	"github.com/hoptrace/hoptrace/schemas"
)

// maxArgs bounds the values of one statement: SQLite takes 32,766.
const maxArgs = 8000

// errMoved: an issue was merged or deleted while sightings of it were noted.
var errMoved = errors.New("an issue was merged or deleted at the same time")

// SeeIssue is SeeIssues for one.
func (s *Store) SeeIssue(ctx context.Context, seen schemas.Issue) (id schemas.IssueID, isNew bool, err error) {
	tree, err := json.Marshal(seen.Grouping)
	if err != nil {
		return 0, false, err
	}
	out, err := s.SeeIssues(ctx, []exporters.Sighting{{
		Project: seen.Project, Hashes: []schemas.Fingerprint{seen.Fingerprint}, Tree: tree, Category: "error",
		Title: seen.Title, Culprit: seen.Culprit, Level: seen.Level, Platform: seen.Platform, Logger: seen.Logger,
		Release: seen.LastRelease, FirstSeen: seen.FirstSeen, LastSeen: seen.LastSeen,
	}})
	if err != nil {
		return 0, false, err
	}
	return out[0].Issue, out[0].IsNew, nil
}

// SeeIssues notes sightings, all in one transaction: one sync to disk however
// many issues are new.
func (s *Store) SeeIssues(ctx context.Context, sightings []exporters.Sighting) ([]exporters.Seen, error) {
	if len(sightings) == 0 {
		return nil, nil
	}
	for i := range sightings {
		if len(sightings[i].Hashes) == 0 {
			return nil, fmt.Errorf("cannot note %d sightings: number %d has no hash", len(sightings), i)
		}
	}
	var out []exporters.Seen
	err := errMoved
	for n := 0; n < attempts && errors.Is(err, errMoved); n++ {
		err = s.inIssueTx(ctx, func(tx issueTx) (err error) {
			b := sightingBatch{tx: tx, now: time.Now(), sightings: sightings}
			out, err = b.note(ctx)
			return err
		})
	}
	if errors.Is(err, errMoved) {
		err = fmt.Errorf("%w: %w", exporters.ErrUnavailable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot note %d sightings of issues: %w", len(sightings), classify(err))
	}
	return out, nil
}

// issueTx is a transaction that changes issues.
type issueTx struct {
	*sql.Tx
	lite bool
}

func (s *Store) inIssueTx(ctx context.Context, f func(tx issueTx) error) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return f(issueTx{tx, s.rowLock == ""}) })
}

// bulk is a statement that has each of its values once and in order. SQLite looks
// the name of each up among all before it, $1 too, so that thousands take seconds;
// ? has no name (BenchmarkSeeIssues).
func (tx issueTx) bulk(statement string) string {
	if !tx.lite {
		return statement
	}
	b := make([]byte, 0, len(statement))
	for i := 0; i < len(statement); i++ {
		if statement[i] != '$' {
			b = append(b, statement[i])
			continue
		}
		b = append(b, '?')
		for i+1 < len(statement) && statement[i+1] >= '0' && statement[i+1] <= '9' {
			i++
		}
	}
	return string(b)
}

// lock ends a SELECT whose rows stay locked until the commit. SQLite has one writer.
func (tx issueTx) lock() string {
	if tx.lite {
		return ""
	}
	return " FOR UPDATE"
}

type hashKey struct {
	project uint64
	hash    schemas.Fingerprint
}

type hashRow struct {
	issue     schemas.IssueID
	after     int64
	tombstone int64
}

type releaseKey struct {
	project uint64
	name    string
}

type releaseRow struct {
	exporters.ReleaseSeen
	made    int64 // when somebody made it, 0 unless somebody did
	changed bool
	isNew   bool
}

func (r *releaseRow) release() release.Release {
	return release.Release{Name: r.Name, Created: cmp.Or(r.made, r.Created)}
}

// sightingBatch is one call of SeeIssues in its transaction.
type sightingBatch struct {
	tx        issueTx
	now       time.Time
	sightings []exporters.Sighting

	hashes   map[hashKey]*hashRow
	attached []attachedHash
	releases map[releaseKey]*releaseRow
	issues   map[schemas.IssueID]*issueRow
	isNew    map[schemas.IssueID]bool
	changed  map[schemas.IssueID]bool
	log      []activityRow
}

// attachedHash is a hash that an issue gets.
type attachedHash struct {
	hashKey
	issue    schemas.IssueID
	sighting int
	known    bool // it has a row, of no issue
}

func (b *sightingBatch) note(ctx context.Context) ([]exporters.Seen, error) {
	b.hashes = make(map[hashKey]*hashRow)
	all := make(map[hashKey]bool)
	for i := range b.sightings {
		for _, h := range b.sightings[i].Hashes {
			all[hashKey{b.sightings[i].Project, h}] = true
		}
	}
	if err := b.readHashes(ctx, all); err != nil {
		return nil, err
	}
	out := make([]exporters.Seen, len(b.sightings))
	if b.anyUnknown() {
		// Whoever gives a hash to an issue holds this row until the commit: what
		// others gave meanwhile is read after it.
		next, err := take(ctx, b.tx, "issues", int64(len(b.sightings)))
		if err != nil {
			return nil, err
		}
		if err := b.readHashes(ctx, all); err != nil {
			return nil, err
		}
		b.decide(out, schemas.IssueID(next)) //nolint:gosec // made positive
	} else {
		b.decide(out, 0)
	}
	if err := b.readReleases(ctx); err != nil {
		return nil, err
	}
	if err := b.readIssues(ctx, out); err != nil {
		return nil, err
	}
	for i := range b.sightings {
		if !out[i].Discard {
			b.apply(&b.sightings[i], &out[i])
		}
	}
	return out, b.write(ctx)
}

func (b *sightingBatch) readHashes(ctx context.Context, all map[hashKey]bool) error {
	byProject := make(map[uint64][]schemas.Fingerprint)
	for k := range all {
		byProject[k.project] = append(byProject[k.project], k.hash)
	}
	for project, hashes := range byProject {
		for _, some := range chunks(hashes, maxArgs-1) {
			var a args
			rows, err := b.tx.QueryContext(ctx, b.tx.bulk("SELECT hash, issue, after, tombstone FROM issue_hashes WHERE project = "+a.add(projectArg(project))+
				" AND hash IN "+in(&a, some, hashArg)), a...)
			if err != nil {
				return err
			}
			err = func() error {
				defer rows.Close()
				for rows.Next() {
					var hash string
					var issue int64
					var r hashRow
					if err := rows.Scan(&hash, &issue, &r.after, &r.tombstone); err != nil {
						return err
					}
					h, err := parseHash(hash)
					if err != nil {
						return err
					}
					r.issue = schemas.IssueID(issue) //nolint:gosec // made positive
					b.hashes[hashKey{project, h}] = &r
				}
				return rows.Err()
			}()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// anyUnknown tells that a sighting gives a hash to an issue.
func (b *sightingBatch) anyUnknown() bool {
	for i := range b.sightings {
		s := &b.sightings[i]
		if b.discards(s) {
			continue
		}
		for _, h := range s.Hashes {
			if r := b.hashes[hashKey{s.Project, h}]; r == nil || r.issue == 0 && r.tombstone == 0 {
				return true
			}
		}
	}
	return false
}

// discards tells that the sighting is of what was discarded, or of nothing but
// events that were deleted already.
func (b *sightingBatch) discards(s *exporters.Sighting) bool {
	if r := b.hashes[hashKey{s.Project, s.Hashes[0]}]; r != nil && s.LastReceived > 0 && s.LastReceived < r.after {
		return true
	}
	for _, h := range s.Hashes {
		if r := b.hashes[hashKey{s.Project, h}]; r != nil {
			if r.tombstone > 0 {
				return true
			}
			if r.issue > 0 {
				return false
			}
		}
	}
	return false
}

// decide finds or makes the issue of each sighting, and gives it the hashes that
// are of none. next is the first id to give.
func (b *sightingBatch) decide(out []exporters.Seen, next schemas.IssueID) {
	b.isNew = make(map[schemas.IssueID]bool)
	for i := range b.sightings {
		s := &b.sightings[i]
		if b.discards(s) {
			out[i] = exporters.Seen{Discard: true, Hash: s.Hashes[0]}
			continue
		}
		out[i].Hash = s.Hashes[0]
		for _, h := range s.Hashes {
			if r := b.hashes[hashKey{s.Project, h}]; r != nil && r.issue > 0 {
				out[i].Issue, out[i].Hash = r.issue, h
				break
			}
		}
		if out[i].Issue == 0 {
			out[i].Issue, out[i].IsNew = next, true
			b.isNew[next] = true
			next++
		}
		for _, h := range s.Hashes {
			k := hashKey{s.Project, h}
			r := b.hashes[k]
			switch {
			case r == nil:
				b.hashes[k] = &hashRow{issue: out[i].Issue}
				b.attached = append(b.attached, attachedHash{k, out[i].Issue, i, false})
			case r.issue == 0 && r.tombstone == 0:
				r.issue = out[i].Issue
				b.attached = append(b.attached, attachedHash{k, out[i].Issue, i, true})
			}
		}
	}
}

// readReleases reads what is known of the releases that were seen.
func (b *sightingBatch) readReleases(ctx context.Context) error {
	b.releases = make(map[releaseKey]*releaseRow)
	names := make(map[uint64][]string)
	for i := range b.sightings {
		s := &b.sightings[i]
		name := clip(text(s.Release))
		k := releaseKey{s.Project, name}
		if name == "" {
			continue
		}
		r := b.releases[k]
		if r == nil {
			r = &releaseRow{ReleaseSeen: exporters.ReleaseSeen{Name: name, Created: s.FirstSeen, FirstSeen: s.FirstSeen, LastSeen: s.LastSeen}, changed: true, isNew: true}
			b.releases[k] = r
			names[s.Project] = append(names[s.Project], name)
		}
		r.FirstSeen, r.LastSeen = min(r.FirstSeen, s.FirstSeen), max(r.LastSeen, s.LastSeen)
	}
	return b.moreReleases(ctx, names)
}

// moreReleases reads releases by name and joins them with what was seen.
func (b *sightingBatch) moreReleases(ctx context.Context, names map[uint64][]string) error {
	for project, list := range names {
		for _, some := range chunks(list, maxArgs-1) {
			found, err := readReleases(ctx, b.tx, project, some)
			if err != nil {
				return err
			}
			for _, f := range found {
				k := releaseKey{project, f.Name}
				r := b.releases[k]
				if r == nil {
					b.releases[k] = &f
					continue
				}
				r.isNew, r.made, r.Created = false, f.made, f.Created
				r.changed = r.FirstSeen < f.FirstSeen || r.LastSeen > f.LastSeen
				r.FirstSeen, r.LastSeen = min(r.FirstSeen, f.FirstSeen), max(r.LastSeen, f.LastSeen)
			}
		}
	}
	return nil
}

func readReleases(ctx context.Context, db querier, project uint64, names []string) ([]releaseRow, error) {
	var a args
	rows, err := db.QueryContext(ctx, `
SELECT s.name, COALESCE(r.created, 0), s.created, s.first_seen, s.last_seen
FROM releases_seen s LEFT JOIN releases r ON r.version = s.name
WHERE s.project = `+a.add(projectArg(project))+" AND s.name IN "+in(&a, names, func(n string) any { return n }), a...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []releaseRow
	for rows.Next() {
		var r releaseRow
		if err := rows.Scan(&r.Name, &r.made, &r.Created, &r.FirstSeen, &r.LastSeen); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// readIssues reads and locks the issues that were seen, and the releases that
// some of them were resolved in.
func (b *sightingBatch) readIssues(ctx context.Context, out []exporters.Seen) error {
	b.issues, b.changed = make(map[schemas.IssueID]*issueRow), make(map[schemas.IssueID]bool)
	var ids []schemas.IssueID
	for i := range out {
		if id := out[i].Issue; !out[i].Discard && !b.isNew[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	resolved := make(map[uint64][]string)
	for _, some := range chunks(ids, maxArgs) {
		rows, err := lockIssues(ctx, b.tx, some)
		if err != nil {
			return err
		}
		if len(rows) != len(some) {
			return errMoved
		}
		for i := range rows {
			r := &rows[i]
			if r.MergedInto != 0 || r.deleted != 0 {
				return errMoved
			}
			b.issues[r.ID] = r
			if name := r.Resolution.Release; name != "" && b.releases[releaseKey{r.Project, name}] == nil {
				resolved[r.Project] = append(resolved[r.Project], name)
			}
		}
	}
	return b.moreReleases(ctx, resolved)
}

// lockIssues reads issues in the order of their ids, so that two who lock the
// same do not wait for each other.
func lockIssues(ctx context.Context, tx issueTx, ids []schemas.IssueID) ([]issueRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var a args
	return readIssues(ctx, tx, tx.bulk("WHERE i.id IN "+in(&a, ids, issueArg)+" ORDER BY i.id"+tx.lock()), a...)
}

// apply moves an issue by one sighting.
func (b *sightingBatch) apply(s *exporters.Sighting, out *exporters.Seen) {
	r := b.issues[out.Issue]
	name := clip(text(s.Release))
	if r == nil {
		r = &issueRow{created: b.now.UnixNano()}
		r.ID, r.Project, r.Fingerprint = out.Issue, s.Project, s.Hashes[0]
		r.Category = cmp.Or(clip(text(s.Category)), "error")
		r.IssueState = issuestate.New(b.now)
		r.FirstSeen, r.LastSeen = s.FirstSeen, s.LastSeen
		r.setTexts(s)
		b.issues[out.Issue] = r
	} else {
		if s.FirstSeen < r.FirstSeen {
			r.FirstSeen = s.FirstSeen
			b.changed[r.ID] = true
		}
		if s.LastSeen > r.LastSeen {
			r.LastSeen = s.LastSeen
			r.setTexts(s)
			b.changed[r.ID] = true
		}
	}
	if name != "" && (r.FirstRelease == "" || s.FirstSeen < r.firstReleaseAt) {
		r.FirstRelease, r.firstReleaseAt = name, s.FirstSeen
		b.changed[r.ID] = true
	}
	if name != "" && (r.LastRelease == "" || s.LastSeen > r.lastReleaseAt) {
		r.LastRelease, r.lastReleaseAt = name, s.LastSeen
		b.changed[r.ID] = true
	}
	var seen, in release.Release
	if known := b.releases[releaseKey{s.Project, name}]; known != nil {
		seen = known.release()
	}
	in.Name = r.Resolution.Release
	if known := b.releases[releaseKey{r.Project, in.Name}]; known != nil {
		in = known.release()
	}
	next, change, changed := issuestate.See(r.IssueState, issuestate.Sighting{LastSeen: s.LastSeen, Release: seen}, in, b.now)
	if changed {
		r.IssueState = next
		b.changed[r.ID] = true
		b.log = append(b.log, activityRow{issue: r.ID, change: change, at: b.now})
		out.IsRegression = change.Kind == issuestate.SetRegression
	}
}

// setTexts takes over what is of the latest event.
func (r *issueRow) setTexts(s *exporters.Sighting) {
	r.Title, r.Culprit = clip(text(s.Title)), clip(text(s.Culprit))
	r.Level, r.Platform, r.Logger = clip(text(s.Level)), clip(text(s.Platform)), clip(text(s.Logger))
	if r.prioritySet == 0 {
		r.Priority = priorityOf(r.Level)
	}
}

func priorityOf(level string) string {
	switch level {
	case "fatal", "error", "":
		return schemas.PriorityHigh
	case "warning":
		return schemas.PriorityMedium
	}
	return schemas.PriorityLow
}

func (b *sightingBatch) write(ctx context.Context) error {
	var made, moved []*issueRow
	for id, r := range b.issues {
		switch {
		case b.isNew[id]:
			made = append(made, r)
		case b.changed[id]:
			moved = append(moved, r)
		}
	}
	byID := func(a, b *issueRow) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(made, byID)
	slices.SortFunc(moved, byID)
	if err := insertIssues(ctx, b.tx, made); err != nil {
		return err
	}
	if err := updateIssues(ctx, b.tx, moved); err != nil {
		return err
	}
	if err := b.writeHashes(ctx); err != nil {
		return err
	}
	if err := b.writeReleases(ctx); err != nil {
		return err
	}
	return addActivity(ctx, b.tx, b.log)
}

func (b *sightingBatch) writeHashes(ctx context.Context) error {
	rows := make([][]any, 0, len(b.attached))
	tree, of := "", -1 // a sighting's hashes follow each other
	for _, h := range b.attached {
		s := &b.sightings[h.sighting]
		if h.sighting != of {
			tree, of = packTree(s.Tree), h.sighting
		}
		if h.known {
			if _, err := b.tx.ExecContext(ctx, "UPDATE issue_hashes SET issue = $1, former = 0, version = $2, tree = $3, first_seen = $4 WHERE project = $5 AND hash = $6",
				issueArg(h.issue), clip(text(s.Version)), tree, b.now.UnixNano(), projectArg(h.project), h.hash.String()); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{projectArg(h.project), h.hash.String(), clip(text(s.Version)), issueArg(h.issue), 0, tree, b.now.UnixNano(), 0, 0, 0})
	}
	return insertRows(ctx, b.tx, "issue_hashes (project, hash, version, issue, former, tree, first_seen, after, removed, tombstone)", rows, "")
}

func (b *sightingBatch) writeReleases(ctx context.Context) error {
	var rows [][]any
	for k, r := range b.releases {
		if r.changed {
			rows = append(rows, []any{projectArg(k.project), r.Name, r.Created, r.FirstSeen, r.LastSeen})
		}
	}
	// In one order, so that two who write the same do not wait for each other.
	slices.SortFunc(rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[0].(int64), b[0].(int64)), strings.Compare(a[1].(string), b[1].(string)))
	})
	return insertRows(ctx, b.tx, "releases_seen (project, name, created, first_seen, last_seen)", rows, `
ON CONFLICT (project, name) DO UPDATE SET
	first_seen = CASE WHEN excluded.first_seen < releases_seen.first_seen THEN excluded.first_seen ELSE releases_seen.first_seen END,
	last_seen = CASE WHEN excluded.last_seen > releases_seen.last_seen THEN excluded.last_seen ELSE releases_seen.last_seen END`)
}

// insertRows inserts rows of equally many values.
func insertRows(ctx context.Context, tx issueTx, into string, rows [][]any, tail string) error {
	if len(rows) == 0 {
		return nil
	}
	for _, some := range chunks(rows, maxArgs/len(rows[0])) {
		var a args
		var b strings.Builder
		b.WriteString("INSERT INTO " + into + " VALUES ")
		for i, row := range some {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(in(&a, row, func(v any) any { return v }))
		}
		b.WriteString(tail)
		if _, err := tx.ExecContext(ctx, tx.bulk(b.String()), a...); err != nil {
			return err
		}
	}
	return nil
}

// take takes n numbers of a kind and gives the first; the row stays locked until
// the commit.
func take(ctx context.Context, tx issueTx, name string, n int64) (first int64, err error) {
	var last int64
	err = tx.QueryRowContext(ctx, "UPDATE issue_counters SET last = last + $1 WHERE name = $2 RETURNING last", n, name).Scan(&last)
	return last - n + 1, err
}

// values are what changes of an issue, in the order of issueSet.
func (r *issueRow) values() []any {
	return []any{
		r.Title, r.Culprit, searchText(r.Title, r.Culprit), r.Level, r.Platform, r.Logger, r.FirstSeen, r.LastSeen,
		r.FirstRelease, r.firstReleaseAt, r.LastRelease, r.lastReleaseAt, r.Status, r.Substatus, r.Since, r.resolution(), r.archive(), r.wakeAt(), r.sleeping(),
		r.forecast, r.Assignee, r.Priority, r.prioritySet, issueArg(r.MergedInto), r.deleted,
	}
}

// issueSet are the columns that change, with their types.
var issueSet = []struct{ name, typ string }{
	{"title", "TEXT"},
	{"culprit", "TEXT"},
	{"search", "TEXT"},
	{"level", "TEXT"},
	{"platform", "TEXT"},
	{"logger", "TEXT"},
	{"first_seen", "BIGINT"},
	{"last_seen", "BIGINT"},
	{"first_release", "TEXT"},
	{"first_release_at", "BIGINT"},
	{"last_release", "TEXT"},
	{"last_release_at", "BIGINT"},
	{"status", "TEXT"},
	{"substatus", "TEXT"},
	{"since", "BIGINT"},
	{"resolution", "TEXT"},
	{"archive", "TEXT"},
	{"wake_at", "BIGINT"},
	{"sleeping", "BIGINT"},
	{"forecast", "TEXT"},
	{"assignee", "TEXT"},
	{"priority", "TEXT"},
	{"priority_set", "BIGINT"},
	{"merged_into", "BIGINT"},
	{"deleted", "BIGINT"},
}

// The texts of the two statements that differ in the number of rows only.
var (
	issueNames  = func() string { return strings.Join(columnNames(""), ", ") }()
	issueInsert = "issues (id, project, fingerprint, category, created, " + issueNames + ")"
	issueMove   = func() string {
		sets := make([]string, len(issueSet))
		for i, c := range issueSet {
			sets[i] = c.name + " = v." + c.name
		}
		return ") UPDATE issues SET " + strings.Join(sets, ", ") + " FROM v WHERE issues.id = v.id"
	}()
)

func columnNames(prefix string) []string {
	out := make([]string, len(issueSet))
	for i, c := range issueSet {
		out[i] = prefix + c.name
	}
	return out
}

func insertIssues(ctx context.Context, tx issueTx, made []*issueRow) error {
	rows := make([][]any, len(made))
	for i, r := range made {
		rows[i] = append([]any{issueArg(r.ID), projectArg(r.Project), r.Fingerprint.String(), r.Category, r.created}, r.values()...)
	}
	return insertRows(ctx, tx, issueInsert, rows, "")
}

// updateIssues writes what changed of issues that are locked.
func updateIssues(ctx context.Context, tx issueTx, moved []*issueRow) error {
	for _, some := range chunks(moved, maxArgs/(len(issueSet)+1)) {
		var a args
		var b strings.Builder
		b.WriteString("WITH v (id, " + issueNames + ") AS (VALUES ")
		for i, r := range some {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("(CAST(" + a.add(issueArg(r.ID)) + " AS BIGINT)")
			for j, v := range r.values() {
				b.WriteString(",CAST(" + a.add(v) + " AS " + issueSet[j].typ + ")")
			}
			b.WriteByte(')')
		}
		b.WriteString(issueMove)
		if _, err := tx.ExecContext(ctx, tx.bulk(b.String()), a...); err != nil {
			return err
		}
	}
	return nil
}

// searchText is what a text is looked for in: neither part has a line feed.
func searchText(title, culprit string) string {
	line := strings.NewReplacer("\n", " ", "\r", " ")
	return strings.ToLower(line.Replace(title) + "\n" + line.Replace(culprit))
}

func (r *issueRow) resolution() string {
	if r.Status != schemas.StatusResolved {
		return ""
	}
	b, _ := json.Marshal(r.Resolution) // texts and numbers
	return string(b)
}

func (r *issueRow) archive() string {
	if r.Status != schemas.StatusArchived {
		return ""
	}
	b, _ := json.Marshal(r.Archive) // texts and numbers
	return string(b)
}

// wakeAt is when issuestate.Tick changes the state; 0 is never.
func (r *issueRow) wakeAt() int64 {
	if r.MergedInto != 0 || r.deleted != 0 {
		return 0
	}
	switch {
	case r.Status == schemas.StatusUnresolved && r.Substatus == schemas.SubstatusNew:
		return r.Since + int64(issuestate.NewFor)
	case r.Status == schemas.StatusUnresolved && r.Substatus == schemas.SubstatusRegressed:
		return r.Since + int64(issuestate.RegressedFor)
	case r.Status == schemas.StatusUnresolved && r.Substatus == schemas.SubstatusEscalating:
		return r.Since + int64(issuestate.EscalatesFor)
	case r.Status == schemas.StatusArchived && r.Archive.Kind == schemas.UntilTime:
		return r.Archive.Until
	}
	return 0
}

// sleeping is 1 when the events store decides about the end of the archive.
func (r *issueRow) sleeping() int64 {
	if r.Status != schemas.StatusArchived || r.MergedInto != 0 || r.deleted != 0 {
		return 0
	}
	switch r.Archive.Kind {
	case schemas.UntilEscalating, schemas.UntilCount, schemas.UntilUsers:
		return 1
	}
	return 0
}

// activityRow is a line of the log that is to be written.
type activityRow struct {
	issue  schemas.IssueID
	change issuestate.Change
	by     string
	at     time.Time
}

func addActivity(ctx context.Context, tx issueTx, log []activityRow) error {
	if len(log) == 0 {
		return nil
	}
	id, err := take(ctx, tx, "activity", int64(len(log)))
	if err != nil {
		return err
	}
	rows := make([][]any, len(log))
	for i, l := range log {
		data := []byte("{}")
		if len(l.change.Data) > 0 {
			if data, err = json.Marshal(l.change.Data); err != nil {
				return err
			}
		}
		rows[i] = []any{id + int64(i), issueArg(l.issue), l.change.Kind, l.by, l.at.UnixNano(), text(string(data))}
	}
	return insertRows(ctx, tx, "issue_activity (id, issue, kind, by_whom, at, data)", rows, "")
}

// ReleasesSeen lists the releases that events told, last created first.
func (s *Store) ReleasesSeen(ctx context.Context, project uint64, limit int) ([]exporters.ReleaseSeen, error) {
	out, err := releasesSeen(ctx, s.read, project, min(max(limit, 1), 10_000))
	if err != nil {
		return nil, fmt.Errorf("cannot list the releases of project %d: %w", project, classify(err))
	}
	return out, nil
}

func releasesSeen(ctx context.Context, db querier, project uint64, limit int) ([]exporters.ReleaseSeen, error) {
	rows, err := db.QueryContext(ctx, `
SELECT s.name, COALESCE(r.created, s.created) AS made, s.first_seen, s.last_seen
FROM releases_seen s LEFT JOIN releases r ON r.version = s.name
WHERE s.project = $1 ORDER BY made DESC, s.name LIMIT $2`, projectArg(project), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.ReleaseSeen
	for rows.Next() {
		var r exporters.ReleaseSeen
		if err := rows.Scan(&r.Name, &r.Created, &r.FirstSeen, &r.LastSeen); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}
