package metadata

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

var _ exporters.Accounts = (*Store)(nil)

// accountUse is how exact the last use of a session is.
const accountUse = int64(5 * time.Minute)

// flag is how a truth is kept, the same in both databases.
func flag(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// maxAgent bounds what is kept of a browser's own description, in bytes.
const maxAgent = 300

// inAccountTx runs f in a transaction that no other change of accounts overlaps.
// id is a number that no other has.
func (s *Store) inAccountTx(ctx context.Context, f func(tx *sql.Tx, id int64) error) error {
	return s.inTx(ctx, func(tx *sql.Tx) error {
		var id int64
		if err := tx.QueryRowContext(ctx, "UPDATE account_changes SET n = n + 1 WHERE id = 1 RETURNING n").Scan(&id); err != nil {
			return err
		}
		return f(tx, id)
	})
}

type rowsQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const memberColumns = "m.id, m.email, m.name, m.role, m.password, m.issuer, m.subject, m.mapped <> 0, m.created, m.seen"

func memberFields(m *exporters.Member) []any {
	return []any{&m.ID, &m.Email, &m.Name, (*string)(&m.Role), &m.Password, &m.Issuer, &m.Subject, &m.Mapped, &m.Created, &m.Seen}
}

func members(ctx context.Context, from rowsQuerier, where string, args ...any) ([]exporters.Member, error) {
	rows, err := from.QueryContext(ctx, "SELECT "+memberColumns+" FROM members m "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []exporters.Member
	for rows.Next() {
		var m exporters.Member
		if err := rows.Scan(memberFields(&m)...); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, rows.Err()
}

func oneMember(ctx context.Context, from rowsQuerier, where string, args ...any) (exporters.Member, error) {
	all, err := members(ctx, from, where, args...)
	if err == nil && len(all) == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return exporters.Member{}, err
	}
	return all[0], nil
}

// CountMembers is how many there are.
func (s *Store) CountMembers(ctx context.Context) (n int64, err error) {
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM members").Scan(&n); err != nil {
		return 0, fmt.Errorf("cannot count the members: %w", classify(err))
	}
	return n, nil
}

// Members lists all, by e-mail.
func (s *Store) Members(ctx context.Context) ([]exporters.Member, error) {
	all, err := members(ctx, s.read, "ORDER BY m.email LIMIT $1", exporters.MaxMembers)
	if err != nil {
		return nil, fmt.Errorf("cannot list the members: %w", classify(err))
	}
	return all, nil
}

// Member finds one by its id.
func (s *Store) Member(ctx context.Context, id int64) (exporters.Member, error) {
	return foundMember(oneMember(ctx, s.read, "WHERE m.id = $1", id))
}

// MemberByEmail finds one; upper and lower case are the same.
func (s *Store) MemberByEmail(ctx context.Context, email string) (exporters.Member, error) {
	return foundMember(oneMember(ctx, s.read, "WHERE m.email = $1", strings.ToLower(text(email))))
}

// MemberBySubject finds who an identity provider means.
func (s *Store) MemberBySubject(ctx context.Context, issuer, subject string) (exporters.Member, error) {
	return foundMember(oneMember(ctx, s.read, "WHERE m.issuer = $1 AND m.subject = $2 AND m.subject <> ''", text(issuer), text(subject)))
}

func foundMember(m exporters.Member, err error) (exporters.Member, error) {
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot find a member: %w", classify(err))
	}
	return m, nil
}

// AddMember stores one.
func (s *Store) AddMember(ctx context.Context, m exporters.Member, first bool) (exporters.Member, error) {
	m.Email, m.Name = strings.ToLower(text(m.Email)), text(m.Name)
	err := s.inAccountTx(ctx, func(tx *sql.Tx, id int64) error {
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM members").Scan(&n); err != nil {
			return err
		}
		if first && n > 0 {
			return exporters.ErrConflict
		}
		if n >= exporters.MaxMembers {
			return fmt.Errorf("%w: there are %d members", exporters.ErrTooLarge, n)
		}
		m.ID = id
		added, err := affected(tx.ExecContext(ctx, `INSERT INTO members (id, email, name, role, password, issuer, subject, mapped, created, seen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0) ON CONFLICT DO NOTHING`,
			id, m.Email, m.Name, string(m.Role), m.Password, text(m.Issuer), text(m.Subject), flag(m.Mapped), m.Created))
		if err == nil && added == 0 {
			err = exporters.ErrExists
		}
		return err
	})
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot add member %s: %w", m.Email, classify(err))
	}
	m.Seen = 0
	return m, nil
}

// keepsOwner fails when member id is the last owner.
func keepsOwner(ctx context.Context, tx *sql.Tx, id int64) error {
	var others int64
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM members WHERE role = $1 AND id <> $2", string(schemas.RoleOwner), id).Scan(&others)
	if err == nil && others == 0 {
		err = exporters.ErrLastOwner
	}
	return err
}

// UpdateMember changes one.
func (s *Store) UpdateMember(ctx context.Context, id int64, change func(*exporters.Member) error) (out exporters.Member, err error) {
	err = s.inAccountTx(ctx, func(tx *sql.Tx, _ int64) error {
		m, err := oneMember(ctx, tx, "WHERE m.id = $1", id)
		if err != nil {
			return err
		}
		before := m
		if err := change(&m); err != nil {
			return err
		}
		if before.Role == schemas.RoleOwner && m.Role != schemas.RoleOwner {
			if err := keepsOwner(ctx, tx, id); err != nil {
				return err
			}
		}
		m.ID, m.Email, m.Created, m.Seen = before.ID, before.Email, before.Created, before.Seen
		m.Name, m.Issuer, m.Subject = text(m.Name), text(m.Issuer), text(m.Subject)
		out = m
		_, err = tx.ExecContext(ctx, "UPDATE members SET name = $1, role = $2, password = $3, issuer = $4, subject = $5, mapped = $6 WHERE id = $7",
			m.Name, string(m.Role), m.Password, m.Issuer, m.Subject, flag(m.Mapped), id)
		return err
	})
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot change member %d: %w", id, classify(err))
	}
	return out, nil
}

// RemoveMember removes one and all that is its.
func (s *Store) RemoveMember(ctx context.Context, id int64, allow func(exporters.Member) error) (out exporters.Member, err error) {
	err = s.inAccountTx(ctx, func(tx *sql.Tx, _ int64) error {
		if out, err = oneMember(ctx, tx, "WHERE m.id = $1", id); err != nil {
			return err
		}
		if err := allow(out); err != nil {
			return err
		}
		if out.Role == schemas.RoleOwner {
			if err := keepsOwner(ctx, tx, id); err != nil {
				return err
			}
		}
		for _, from := range []string{"member_sessions WHERE member", "member_links WHERE member", "api_tokens WHERE member", "members WHERE id"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+from+" = $1", id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot remove member %d: %w", id, classify(err))
	}
	return out, nil
}

// AddSession stores one.
func (s *Store) AddSession(ctx context.Context, hash [32]byte, x exporters.Session) (exporters.Session, error) {
	err := s.inAccountTx(ctx, func(tx *sql.Tx, id int64) error {
		if _, err := oneMember(ctx, tx, "WHERE m.id = $1", x.Member); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM member_sessions WHERE expires <= $1", x.Created); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM member_sessions WHERE member = $1 AND id NOT IN
(SELECT id FROM member_sessions WHERE member = $1 ORDER BY used DESC, id DESC LIMIT $2)`, x.Member, exporters.MaxMemberSessions-1); err != nil {
			return err
		}
		x.ID, x.Used, x.Agent, x.Address = id, x.Created, clipText(x.Agent, maxAgent), clipText(x.Address, maxAgent)
		if _, err := tx.ExecContext(ctx, "INSERT INTO member_sessions (hash, id, member, created, used, expires, agent, address) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			hex.EncodeToString(hash[:]), id, x.Member, x.Created, x.Used, x.Expires, x.Agent, x.Address); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE members SET seen = $1 WHERE id = $2 AND seen < $1", x.Created, x.Member)
		return err
	})
	if err != nil {
		return exporters.Session{}, fmt.Errorf("cannot store a session of member %d: %w", x.Member, classify(err))
	}
	return x, nil
}

// clipText is text cut to n bytes.
func clipText(s string, n int) string {
	if s = text(s); len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// SessionByHash finds one and notes its use.
func (s *Store) SessionByHash(ctx context.Context, hash [32]byte, now, idle int64) (x exporters.Session, m exporters.Member, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT s.id, s.member, s.created, s.used, s.expires, s.agent, s.address, `+memberColumns+`
FROM member_sessions s JOIN members m ON m.id = s.member WHERE s.hash = $1 AND s.expires > $2 AND s.used > $3`, hex.EncodeToString(hash[:]), now, now-idle).
		Scan(append([]any{&x.ID, &x.Member, &x.Created, &x.Used, &x.Expires, &x.Agent, &x.Address}, memberFields(&m)...)...)
	if errors.Is(err, sql.ErrNoRows) {
		err = exporters.ErrNotFound
	}
	if err == nil && now-x.Used > min(accountUse, idle/2) {
		x.Used, m.Seen = now, now
		if _, err = s.write.ExecContext(ctx, "UPDATE member_sessions SET used = $1 WHERE id = $2", now, x.ID); err == nil {
			_, err = s.write.ExecContext(ctx, "UPDATE members SET seen = $1 WHERE id = $2", now, m.ID)
		}
	}
	if err != nil {
		return exporters.Session{}, exporters.Member{}, fmt.Errorf("cannot find a session: %w", classify(err))
	}
	return x, m, nil
}

// Sessions lists a member's.
func (s *Store) Sessions(ctx context.Context, member, now, idle int64) ([]exporters.Session, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, member, created, used, expires, agent, address FROM member_sessions
WHERE member = $1 AND expires > $2 AND used > $3 ORDER BY used DESC, id DESC LIMIT $4`, member, now, now-idle, exporters.MaxMemberSessions)
	if err != nil {
		return nil, fmt.Errorf("cannot list the sessions of member %d: %w", member, classify(err))
	}
	defer rows.Close()
	var out []exporters.Session
	for rows.Next() {
		var x exporters.Session
		if err := rows.Scan(&x.ID, &x.Member, &x.Created, &x.Used, &x.Expires, &x.Agent, &x.Address); err != nil {
			return nil, fmt.Errorf("cannot read a session of member %d: %w", member, classify(err))
		}
		out = append(out, x)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot list the sessions of member %d: %w", member, classify(err))
	}
	return out, nil
}

// EndSession ends one.
func (s *Store) EndSession(ctx context.Context, member, id int64) error {
	n, err := affected(s.write.ExecContext(ctx, "DELETE FROM member_sessions WHERE member = $1 AND id = $2", member, id))
	if err == nil && n == 0 {
		err = exporters.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("cannot end session %d of member %d: %w", id, member, classify(err))
	}
	return nil
}

// EndSessions ends all but one.
func (s *Store) EndSessions(ctx context.Context, member, but int64) (int64, error) {
	n, err := affected(s.write.ExecContext(ctx, "DELETE FROM member_sessions WHERE member = $1 AND id <> $2", member, but))
	if err != nil {
		return 0, fmt.Errorf("cannot end the sessions of member %d: %w", member, classify(err))
	}
	return n, nil
}

// PutLink stores one in place of another.
func (s *Store) PutLink(ctx context.Context, hash [32]byte, member, created, expires int64) error {
	err := s.inAccountTx(ctx, func(tx *sql.Tx, _ int64) error {
		if _, err := oneMember(ctx, tx, "WHERE m.id = $1", member); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO member_links (member, hash, created, expires) VALUES ($1, $2, $3, $4)
ON CONFLICT (member) DO UPDATE SET hash = excluded.hash, created = excluded.created, expires = excluded.expires`, member, hex.EncodeToString(hash[:]), created, expires)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot make a link for member %d: %w", member, classify(err))
	}
	return nil
}

const ofLink = "JOIN member_links l ON l.member = m.id WHERE l.hash = $1 AND l.expires > $2"

// LinkMember tells whose it is.
func (s *Store) LinkMember(ctx context.Context, hash [32]byte, now int64) (exporters.Member, error) {
	return foundMember(oneMember(ctx, s.read, ofLink, hex.EncodeToString(hash[:]), now))
}

// UseLink sets a password once.
func (s *Store) UseLink(ctx context.Context, hash [32]byte, now int64, password string) (m exporters.Member, err error) {
	err = s.inAccountTx(ctx, func(tx *sql.Tx, _ int64) error {
		if m, err = oneMember(ctx, tx, ofLink, hex.EncodeToString(hash[:]), now); err != nil {
			return err
		}
		m.Password = password
		if _, err := tx.ExecContext(ctx, "UPDATE members SET password = $1 WHERE id = $2", password, m.ID); err != nil {
			return err
		}
		for _, table := range []string{"member_links", "member_sessions"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE member = $1", m.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot use a link: %w", classify(err))
	}
	return m, nil
}

// Audit lists entries.
func (s *Store) Audit(ctx context.Context, before int64, limit int) ([]exporters.AuditEntry, error) {
	var a args
	where := ""
	if before > 0 {
		where = "WHERE id < " + a.add(before) + " "
	}
	rows, err := s.read.QueryContext(ctx, "SELECT id, at, actor, action, target, detail FROM audit "+where+"ORDER BY id DESC LIMIT "+a.add(limit), a...)
	if err != nil {
		return nil, fmt.Errorf("cannot list the audit: %w", classify(err))
	}
	defer rows.Close()
	var out []exporters.AuditEntry
	for rows.Next() {
		var e exporters.AuditEntry
		if err := rows.Scan(&e.ID, &e.At, &e.Actor, &e.Action, &e.Target, &e.Detail); err != nil {
			return nil, fmt.Errorf("cannot read the audit: %w", classify(err))
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("cannot list the audit: %w", classify(err))
	}
	return out, nil
}

// maxAuditText bounds each text of an entry, in bytes.
const maxAuditText = 2000

// Note adds an entry, and forgets the oldest.
func (s *Store) Note(ctx context.Context, e exporters.AuditEntry) error {
	err := s.inAccountTx(ctx, func(tx *sql.Tx, id int64) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit (id, at, actor, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6)",
			id, e.At, clipText(e.Actor, maxAuditText), clipText(e.Action, maxAuditText), clipText(e.Target, maxAuditText), clipText(e.Detail, maxAuditText)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM audit WHERE id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET $1)", exporters.MaxAudit)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot note %s in the audit: %w", e.Action, classify(err))
	}
	return nil
}
