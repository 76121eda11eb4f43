package fakestore

import (
	"context"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Logs has none.
func (s *Store) Logs(ctx context.Context, _ exporters.LogQuery) ([]schemas.Log, error) {
	return nil, s.ask(ctx, "Logs")
}
