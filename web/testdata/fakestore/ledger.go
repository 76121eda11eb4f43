package fakestore

import (
	"context"

	"github.com/hoptrace/hoptrace/exporters"
)

// Ledger has no lines.
func (s *Store) Ledger(ctx context.Context, _ uint64, _ exporters.Range) ([]exporters.LedgerLine, error) {
	return nil, s.ask(ctx, "Ledger")
}
