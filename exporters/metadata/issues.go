package metadata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/issuestate"
	"github.com/hoptrace/hoptrace/internal/search"
	"github.com/hoptrace/hoptrace/schemas"
)

// What of an issue is kept at most, in bytes.
const (
	maxText     = 2048
	maxGrouping = 64 << 10
)

// issueColumns are what scanIssue reads.
const issueColumns = `i.id, i.project, i.fingerprint, i.category, i.title, i.culprit, i.level, i.platform, i.logger, i.first_seen, i.last_seen,
i.first_release, i.first_release_at, i.last_release, i.last_release_at, i.status, i.substatus, i.since, i.resolution, i.archive,
i.forecast, i.assignee, i.priority, i.priority_set, i.merged_into, i.deleted, i.created`

// issueRow is an issue as it is stored.
type issueRow struct {
	schemas.Issue
	firstReleaseAt, lastReleaseAt int64
	forecast                      string
	prioritySet, deleted, created int64
}

func scanIssue(rows *sql.Rows) (r issueRow, err error) {
	var id, project, merged int64
	var fingerprint, resolution, archive string
	if err := rows.Scan(&id, &project, &fingerprint, &r.Category, &r.Title, &r.Culprit, &r.Level, &r.Platform, &r.Logger, &r.FirstSeen, &r.LastSeen,
		&r.FirstRelease, &r.firstReleaseAt, &r.LastRelease, &r.lastReleaseAt, &r.Status, &r.Substatus, &r.Since, &resolution, &archive,
		&r.forecast, &r.Assignee, &r.Priority, &r.prioritySet, &merged, &r.deleted, &r.created); err != nil {
		return r, err
	}
	r.ID, r.Project, r.MergedInto = schemas.IssueID(id), uint64(project), schemas.IssueID(merged) //nolint:gosec // the bits are kept
	if r.Fingerprint, err = parseHash(fingerprint); err != nil {
		return r, fmt.Errorf("issue %d: %w", id, err)
	}
	if resolution != "" {
		if err := json.Unmarshal([]byte(resolution), &r.Resolution); err != nil {
			return r, fmt.Errorf("issue %d has a resolution that is no JSON: %w", id, err)
		}
	}
	if archive != "" {
		if err := json.Unmarshal([]byte(archive), &r.Archive); err != nil {
			return r, fmt.Errorf("issue %d has an archive that is no JSON: %w", id, err)
		}
	}
	return r, nil
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readIssues reads rows; tail is what follows FROM issues i.
func readIssues(ctx context.Context, db querier, tail string, args ...any) ([]issueRow, error) {
	rows, err := db.QueryContext(ctx, "SELECT "+issueColumns+" FROM issues i "+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []issueRow
	for rows.Next() {
		r, err := scanIssue(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

func parseHash(s string) (f schemas.Fingerprint, err error) {
	if n, err := hex.Decode(f[:], []byte(s)); err != nil || n != len(f) {
		return f, fmt.Errorf("fingerprint %q: want 32 hex digits", s)
	}
	return f, nil
}

// args gathers the values of a statement.
type args []any

// add adds a value and gives its name in the statement.
func (a *args) add(v any) string {
	*a = append(*a, v)
	return "$" + strconv.Itoa(len(*a))
}

// in is a list of values as IN takes it.
func in[T any](a *args, values []T, as func(T) any) string {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(a.add(as(v)))
	}
	return "(" + b.String() + ")"
}

func issueArg(id schemas.IssueID) any   { return int64(id) } //nolint:gosec // the bits are kept
func hashArg(h schemas.Fingerprint) any { return h.String() }
func projectArg(project uint64) int64   { return int64(project) } //nolint:gosec // the bits are kept
func chunks[T any](all []T, n int) (out [][]T) {
	for len(all) > 0 {
		k := min(n, len(all))
		out, all = append(out, all[:k]), all[k:]
	}
	return out
}

// Issues lists a project's issues.
func (s *Store) Issues(ctx context.Context, q exporters.IssueQuery) ([]schemas.Issue, error) {
	out, err := s.issues(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("cannot list the issues of project %d: %w", q.Project, classify(err))
	}
	return out, nil
}

func (s *Store) issues(ctx context.Context, q exporters.IssueQuery) ([]schemas.Issue, error) {
	if len(q.IDs) > exporters.MaxIssues {
		return nil, fmt.Errorf("%d ids, at most %d: %w", len(q.IDs), exporters.MaxIssues, exporters.ErrTooLarge)
	}
	if q.IDs != nil && len(q.IDs) == 0 {
		return nil, nil
	}
	var a args
	where := "i.project = " + a.add(projectArg(q.Project)) + " AND i.merged_into = 0 AND i.deleted = 0"
	if !q.Range.From.IsZero() {
		where += " AND i.last_seen >= " + a.add(q.Range.From.UnixNano())
	}
	to := time.Now().UnixNano()
	if !q.Range.To.IsZero() {
		to = q.Range.To.UnixNano()
	}
	where += " AND i.first_seen < " + a.add(to)
	if q.IDs != nil {
		where += " AND i.id IN " + in(&a, q.IDs, issueArg)
	}
	if q.Text != "" {
		v := search.Value{Text: clip(text(q.Text))}
		where += " AND i.search LIKE " + a.add("%"+v.Like()+"%") + ` ESCAPE '\'`
	}
	for _, e := range q.Where {
		conds := make([]string, len(e))
		for i, t := range e {
			var err error
			if conds[i], err = issueTerm(&a, t, q.Me); err != nil {
				return nil, err
			}
		}
		where += " AND (" + strings.Join(conds, " OR ") + ")"
	}
	by := "i.last_seen"
	if q.Newest {
		by = "i.first_seen"
	}
	if q.Before != 0 {
		before := a.add(q.Before)
		where += " AND (" + by + " < " + before + " OR " + by + " = " + before + " AND i.id < " + a.add(issueArg(q.BeforeID)) + ")"
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 50
	}
	rows, err := readIssues(ctx, s.read, "WHERE "+where+" ORDER BY "+by+" DESC, i.id DESC LIMIT "+a.add(min(limit, exporters.MaxIssues)), a...)
	if err != nil {
		return nil, err
	}
	out := make([]schemas.Issue, len(rows))
	for i := range rows {
		out[i] = rows[i].Issue
	}
	return out, nil
}

// issueTerm is a term of search.OfIssue in SQL.
func issueTerm(a *args, t search.Term, me string) (string, error) {
	var any []string
	add := func(cond string) { any = append(any, cond) }
	like := func(column, pattern string) {
		add(column + " LIKE " + a.add(text(pattern)) + ` ESCAPE '\'`)
	}
	column := map[string]string{
		search.FieldLevel: "i.level", search.FieldPlatform: "i.platform", search.FieldLogger: "i.logger", search.FieldCategory: "i.category",
		search.FieldPriority: "i.priority", search.FieldAssigned: "i.assignee", search.FieldFirstSeen: "i.first_seen", search.FieldLastSeen: "i.last_seen",
		search.FieldFirstRelease: "i.first_release", search.FieldIssue: "i.id", search.FieldCulprit: "i.culprit", search.FieldTitle: "i.title",
	}[t.Field.Name]
	if t.Op == search.Has {
		if t.Field.Name == search.FieldBookmarks {
			add("EXISTS (SELECT 1 FROM issue_bookmarks b WHERE b.issue = i.id)")
		} else if column != "" {
			add(column + " <> ''")
		}
	}
	for _, v := range t.Values {
		switch t.Field.Name {
		case search.FieldIs:
			cond, ok := issueIs[v.Text]
			if !ok {
				return "", fmt.Errorf("is:%s is not known here", v.Text)
			}
			add(cond)
		case search.FieldMessage:
			like("i.search", "%"+v.Like()+"%")
		case search.FieldTitle:
			like("i.search", v.Like()+"\n%")
		case search.FieldCulprit:
			like("i.search", "%\n"+v.Like())
		case search.FieldAssigned, search.FieldBookmarks:
			who := v.Text
			switch {
			case strings.EqualFold(who, "me"):
				who = me
				if me == "" {
					add("1 = 0") // nobody asks
					continue
				}
			case strings.EqualFold(who, "none") && t.Field.Name == search.FieldAssigned:
				add("i.assignee = ''")
				continue
			}
			v.Text = who
			if t.Field.Name == search.FieldAssigned {
				like("LOWER(i.assignee)", v.Like())
			} else {
				add("EXISTS (SELECT 1 FROM issue_bookmarks b WHERE b.issue = i.id AND LOWER(b.who) LIKE " + a.add(text(v.Like())) + ` ESCAPE '\')`)
			}
		case search.FieldFirstRelease:
			if v.Pattern {
				like("LOWER(i.first_release)", v.Like())
			} else {
				add("i.first_release = " + a.add(text(v.Text)))
			}
		case search.FieldFirstSeen, search.FieldLastSeen, search.FieldIssue:
			sign, ok := map[search.Op]string{search.Eq: "=", search.Lt: "<", search.Le: "<=", search.Gt: ">", search.Ge: ">="}[t.Op]
			if !ok {
				continue
			}
			add(column + " " + sign + " " + a.add(v.Number))
		default:
			if column == "" {
				return "", fmt.Errorf("%s is no field of issues", t.Field.Name)
			}
			like("LOWER("+column+")", v.Like())
		}
	}
	if len(any) == 0 {
		any = []string{"1 = 0"}
	}
	cond := "(" + strings.Join(any, " OR ") + ")"
	if t.Negated {
		cond = "NOT " + cond
	}
	return cond, nil
}

// issueIs are the words of is:.
var issueIs = map[string]string{
	"unresolved": "i.status = 'unresolved'",
	"resolved":   "i.status = 'resolved'",
	"archived":   "i.status = 'archived'",
	"new":        "i.status = 'unresolved' AND i.substatus = 'new'",
	"ongoing":    "i.status = 'unresolved' AND i.substatus = 'ongoing'",
	"escalating": "i.status = 'unresolved' AND i.substatus = 'escalating'",
	"regressed":  "i.status = 'unresolved' AND i.substatus = 'regressed'",
	"assigned":   "i.assignee <> ''",
	"unassigned": "i.assignee = ''",
}

// Issue finds one, with why its events are one issue.
func (s *Store) Issue(ctx context.Context, project uint64, id schemas.IssueID) (schemas.Issue, error) {
	rows, err := readIssues(ctx, s.read, "WHERE i.project = $1 AND i.id = $2 AND i.deleted = 0", projectArg(project), issueArg(id))
	if err == nil && len(rows) == 1 {
		var tree string
		err = s.read.QueryRowContext(ctx, "SELECT tree FROM issue_hashes WHERE project = $1 AND hash = $2", projectArg(project), rows[0].Fingerprint.String()).Scan(&tree)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		if err == nil {
			var raw []byte
			if raw, err = unpackTree(tree); err == nil {
				rows[0].Grouping = exporters.GroupingLines(raw)
			}
		}
	}
	if err != nil {
		return schemas.Issue{}, fmt.Errorf("cannot read issue %d of project %d: %w", id, project, classify(err))
	}
	if len(rows) == 0 {
		return schemas.Issue{}, fmt.Errorf("issue %d of project %d: %w", id, project, exporters.ErrNotFound)
	}
	return rows[0].Issue, nil
}

// IssueHashes gives the hashes of issues, oldest first.
func (s *Store) IssueHashes(ctx context.Context, project uint64, ids []schemas.IssueID) (map[schemas.IssueID][]exporters.IssueHash, error) {
	out := make(map[schemas.IssueID][]exporters.IssueHash, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	if len(ids) > exporters.MaxIssues {
		return nil, fmt.Errorf("cannot list the hashes of %d issues, at most %d: %w", len(ids), exporters.MaxIssues, exporters.ErrTooLarge)
	}
	if err := readHashes(ctx, s.read, out, project, ids); err != nil {
		return nil, fmt.Errorf("cannot list the hashes of %d issues: %w", len(ids), classify(err))
	}
	return out, nil
}

func readHashes(ctx context.Context, db querier, out map[schemas.IssueID][]exporters.IssueHash, project uint64, ids []schemas.IssueID) error {
	var a args
	rows, err := db.QueryContext(ctx, "SELECT issue, hash, version, former, first_seen, after FROM issue_hashes WHERE project = "+a.add(projectArg(project))+
		" AND issue IN "+in(&a, ids, issueArg)+" ORDER BY issue, first_seen, hash", a...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var h exporters.IssueHash
		var issue, former int64
		var hash string
		if err := rows.Scan(&issue, &hash, &h.Version, &former, &h.FirstSeen, &h.After); err != nil {
			return err
		}
		if h.Hash, err = parseHash(hash); err != nil {
			return err
		}
		h.Former = schemas.IssueID(former)                                   //nolint:gosec // made positive
		out[schemas.IssueID(issue)] = append(out[schemas.IssueID(issue)], h) //nolint:gosec // made positive
	}
	return rows.Err()
}

// IssuesOfHashes tells whose hashes these are.
func (s *Store) IssuesOfHashes(ctx context.Context, project uint64, hashes []schemas.Fingerprint) (map[schemas.Fingerprint]schemas.IssueID, error) {
	if len(hashes) > exporters.MaxHashes {
		return nil, fmt.Errorf("cannot look up %d hashes, at most %d: %w", len(hashes), exporters.MaxHashes, exporters.ErrTooLarge)
	}
	out := make(map[schemas.Fingerprint]schemas.IssueID, len(hashes))
	if len(hashes) == 0 {
		return out, nil
	}
	err := func() error {
		var a args
		rows, err := s.read.QueryContext(ctx, "SELECT hash, issue FROM issue_hashes WHERE project = "+a.add(projectArg(project))+
			" AND issue > 0 AND hash IN "+in(&a, hashes, hashArg), a...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var hash string
			var issue int64
			if err := rows.Scan(&hash, &issue); err != nil {
				return err
			}
			h, err := parseHash(hash)
			if err != nil {
				return err
			}
			out[h] = schemas.IssueID(issue) //nolint:gosec // made positive
		}
		return rows.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot look up %d hashes: %w", len(hashes), classify(err))
	}
	return out, nil
}

// HashTree gives the component tree of a hash.
func (s *Store) HashTree(ctx context.Context, project uint64, hash schemas.Fingerprint) (json.RawMessage, error) {
	var tree string
	err := s.read.QueryRowContext(ctx, "SELECT tree FROM issue_hashes WHERE project = $1 AND hash = $2", projectArg(project), hash.String()).Scan(&tree)
	if errors.Is(err, sql.ErrNoRows) || err == nil && tree == "" {
		return nil, fmt.Errorf("tree of hash %v: %w", hash, exporters.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the tree of hash %v: %w", hash, classify(err))
	}
	raw, err := unpackTree(tree)
	if err != nil {
		return nil, fmt.Errorf("cannot read the tree of hash %v: %w", hash, err)
	}
	return raw, nil
}

// Activity gives what happened to an issue, newest first.
func (s *Store) Activity(ctx context.Context, project uint64, id schemas.IssueID, limit int) ([]exporters.IssueActivity, error) {
	out, err := s.activity(ctx, project, id, min(max(limit, 1), 500))
	if err != nil {
		return nil, fmt.Errorf("cannot read the activity of issue %d: %w", id, classify(err))
	}
	return out, nil
}

func (s *Store) activity(ctx context.Context, project uint64, id schemas.IssueID, limit int) ([]exporters.IssueActivity, error) {
	rows, err := s.read.QueryContext(ctx, `
SELECT a.id, a.kind, a.by_whom, a.at, a.data FROM issue_activity a JOIN issues i ON i.id = a.issue
WHERE i.project = $1 AND i.deleted = 0 AND a.issue = $2 ORDER BY a.id DESC LIMIT $3`, projectArg(project), issueArg(id), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.IssueActivity
	for rows.Next() {
		a := exporters.IssueActivity{Issue: id}
		var data string
		if err := rows.Scan(&a.ID, &a.Kind, &a.By, &a.At, &data); err != nil {
			return nil, err
		}
		a.Data = json.RawMessage(data)
		out = append(out, a)
	}
	if err := rows.Err(); err != nil || len(out) == limit {
		return out, err
	}
	// That it came up is kept with the issue itself.
	var created int64
	err = s.read.QueryRowContext(ctx, "SELECT created FROM issues WHERE project = $1 AND id = $2 AND deleted = 0", projectArg(project), issueArg(id)).Scan(&created)
	if errors.Is(err, sql.ErrNoRows) {
		return out, nil
	}
	return append(out, exporters.IssueActivity{Issue: id, Kind: issuestate.FirstSeen, At: created, Data: json.RawMessage("{}")}), err
}

// Bookmarks lists who has a bookmark on the issue.
func (s *Store) Bookmarks(ctx context.Context, project uint64, id schemas.IssueID) ([]string, error) {
	out, err := func() ([]string, error) {
		rows, err := s.read.QueryContext(ctx, `
SELECT b.who FROM issue_bookmarks b JOIN issues i ON i.id = b.issue WHERE i.project = $1 AND b.issue = $2 ORDER BY b.who LIMIT 1000`, projectArg(project), issueArg(id))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []string
		for rows.Next() {
			var who string
			if err := rows.Scan(&who); err != nil {
				return nil, err
			}
			out = append(out, who)
		}
		return out, rows.Err()
	}()
	if err != nil {
		return nil, fmt.Errorf("cannot read the bookmarks of issue %d: %w", id, classify(err))
	}
	return out, nil
}

// clip cuts s to maxText bytes, at a character.
func clip(s string) string { return clipTo(s, maxText) }

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
