package exporters

import "context"

// Bounds of saved queries.
const (
	MaxSavedQueries = 200  // of a project
	MaxSavedText    = 2000 // bytes of each of its texts
)

// SavedQuery is a search that people keep under a name.
type SavedQuery struct {
	ID      int64
	Project uint64
	Name    string // one of a project, whatever its subject
	Subject string // spans, hops, issues or logs
	Query   string
	View    string // how the page shows it: parameters of its address
	Owner   string // who saved it, as they say; empty when nobody says
	// Unix ns.
	Created, Changed int64
}

// SavedQueries keeps them.
type SavedQueries interface {
	// SavedQueries lists a project's, by name.
	SavedQueries(ctx context.Context, project uint64) ([]SavedQuery, error)
	// SaveQuery stores a new one and gives it its ID. It fails with ErrExists when
	// the project has one of that name, with ErrTooLarge when it has MaxSavedQueries.
	SaveQuery(ctx context.Context, q SavedQuery) (SavedQuery, error)
	// UpdateSavedQuery sets all but Owner and Created of the one with q's ID and Project.
	// It fails with ErrNotFound or ErrExists.
	UpdateSavedQuery(ctx context.Context, q SavedQuery) (SavedQuery, error)
	// DeleteSavedQuery forgets one, or fails with ErrNotFound.
	DeleteSavedQuery(ctx context.Context, project uint64, id int64) error
}
