package metadata

import (
	"context"
	"fmt"

	"github.com/hoptrace/hoptrace/exporters"
)

var _ exporters.ReleaseIssues = (*Store)(nil)

// maxReleasesAsked bounds one question.
const maxReleasesAsked = 1000

// NewIssues tells how many issues were first seen in these releases.
func (s *Store) NewIssues(ctx context.Context, project uint64, releases []string) (map[string]int64, error) {
	if len(releases) == 0 {
		return nil, nil
	}
	if len(releases) > maxReleasesAsked {
		return nil, fmt.Errorf("cannot count the issues of %d releases, at most %d: %w", len(releases), maxReleasesAsked, exporters.ErrTooLarge)
	}
	var a args
	rows, err := s.read.QueryContext(ctx, "SELECT first_release, COUNT(*) FROM issues WHERE project = "+a.add(projectArg(project))+
		" AND merged_into = 0 AND deleted = 0 AND first_release IN "+in(&a, releases, func(r string) any { return text(r) })+" GROUP BY first_release", a...)
	if err != nil {
		return nil, fmt.Errorf("cannot count the issues of %d releases: %w", len(releases), classify(err))
	}
	defer rows.Close()
	out := make(map[string]int64)
	for rows.Next() {
		var release string
		var n int64
		if err := rows.Scan(&release, &n); err != nil {
			return nil, fmt.Errorf("cannot count the issues of %d releases: %w", len(releases), classify(err))
		}
		out[release] = n
	}
	return out, classify(rows.Err())
}
