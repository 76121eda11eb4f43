package metadata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
)

// tokenUse is how exact a token's last use is: a write a request is too much.
const tokenUse = int64(time.Minute)

// AddToken stores a token under its hash.
func (s *Store) AddToken(ctx context.Context, hash [32]byte, t exporters.Token) (exporters.Token, error) {
	t.Name, t.Prefix, t.Scopes = clip(text(t.Name)), text(t.Prefix), sortedScopes(t.Scopes)
	scopes, err := json.Marshal(t.Scopes)
	if err == nil {
		err = s.inAccountTx(ctx, func(tx *sql.Tx, _ int64) error { return s.addToken(ctx, tx, hash, string(scopes), &t) })
	}
	if err != nil {
		return exporters.Token{}, fmt.Errorf("cannot store token %q: %w", t.Name, classify(err))
	}
	return t, nil
}

// addToken is within a transaction of the accounts: no other token gets its id.
func (s *Store) addToken(ctx context.Context, tx *sql.Tx, hash [32]byte, scopes string, t *exporters.Token) error {
	if t.Member != 0 {
		if _, err := oneMember(ctx, tx, "WHERE m.id = $1", t.Member); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM api_tokens WHERE member = $1", t.Member).Scan(&n); err != nil {
			return err
		}
		if n >= exporters.MaxMemberTokens {
			return fmt.Errorf("%w: the member has %d tokens", exporters.ErrTooLarge, n)
		}
	}
	return tx.QueryRowContext(ctx, `
INSERT INTO api_tokens (id, hash, name, scopes, role, member, prefix, created, expires, last_used)
SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, 0 FROM api_tokens WHERE true
RETURNING id`, hex.EncodeToString(hash[:]), t.Name, scopes, string(t.Role), t.Member, t.Prefix, t.Created, t.Expires).Scan(&t.ID)
}

func sortedScopes(scopes []string) []string {
	if len(scopes) == 0 {
		return []string{}
	}
	return slices.Sorted(slices.Values(scopes))
}

// TokenByHash finds the one and notes its use.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte, now int64) (exporters.Token, error) {
	ts, err := s.tokens(ctx, "WHERE hash = $1 AND (expires = 0 OR expires > $2)", hex.EncodeToString(hash[:]), now)
	if err != nil {
		return exporters.Token{}, fmt.Errorf("cannot find a token: %w", classify(err))
	}
	if len(ts) == 0 {
		return exporters.Token{}, fmt.Errorf("token: %w", exporters.ErrNotFound)
	}
	t := ts[0]
	if now-t.LastUsed > tokenUse {
		if _, err := s.write.ExecContext(ctx, "UPDATE api_tokens SET last_used = $1 WHERE id = $2", now, t.ID); err != nil {
			return exporters.Token{}, fmt.Errorf("cannot note the use of token %d: %w", t.ID, classify(err))
		}
		t.LastUsed = now
	}
	return t, nil
}

// Tokens lists all, oldest first.
func (s *Store) Tokens(ctx context.Context) ([]exporters.Token, error) {
	ts, err := s.tokens(ctx, "ORDER BY id")
	if err != nil {
		return nil, fmt.Errorf("cannot list tokens: %w", classify(err))
	}
	return ts, nil
}

func (s *Store) tokens(ctx context.Context, where string, args ...any) ([]exporters.Token, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, name, scopes, role, member, prefix, created, expires, last_used FROM api_tokens "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.Token
	for rows.Next() {
		var t exporters.Token
		var scopes string
		if err := rows.Scan(&t.ID, &t.Name, &scopes, (*string)(&t.Role), &t.Member, &t.Prefix, &t.Created, &t.Expires, &t.LastUsed); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(scopes), &t.Scopes); err != nil {
			return nil, fmt.Errorf("token %d has scopes that are no JSON: %w", t.ID, err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// RevokeToken removes one.
func (s *Store) RevokeToken(ctx context.Context, id int64) error {
	n, err := affected(s.write.ExecContext(ctx, "DELETE FROM api_tokens WHERE id = $1", id))
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot revoke token %d: %w", id, classify(err))
	}
	return nil
}
