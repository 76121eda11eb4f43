package fakestore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Accounts keeps members and tokens in memory, as the contract suite has it.
type Accounts struct {
	// Err makes every call fail.
	Err error

	mu       sync.Mutex // guards the following
	last     int64
	members  []exporters.Member
	sessions map[[32]byte]exporters.Session
	links    map[[32]byte]link
	tokens   map[[32]byte]exporters.Token
	audit    []exporters.AuditEntry
}

type link struct{ member, expires int64 }

var (
	_ exporters.Accounts = (*Accounts)(nil)
	_ exporters.Tokens   = (*Accounts)(nil)
)

func clean(s string) string { return strings.ReplaceAll(s, "\x00", "\uFFFD") }

// begin takes the lock, which the caller releases unless it fails.
func (a *Accounts) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	if a.Err != nil {
		a.mu.Unlock()
		return a.Err
	}
	if a.sessions == nil {
		a.sessions, a.links, a.tokens = map[[32]byte]exporters.Session{}, map[[32]byte]link{}, map[[32]byte]exporters.Token{}
	}
	return nil
}

func (a *Accounts) id() int64 { a.last++; return a.last }

func (a *Accounts) where(f func(*exporters.Member) bool) (int, error) {
	for i := range a.members {
		if f(&a.members[i]) {
			return i, nil
		}
	}
	return -1, fmt.Errorf("member: %w", exporters.ErrNotFound)
}

func (a *Accounts) at(id int64) (int, error) {
	return a.where(func(m *exporters.Member) bool { return m.ID == id })
}

func (a *Accounts) find(ctx context.Context, f func(*exporters.Member) bool) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	i, err := a.where(f)
	if err != nil {
		return exporters.Member{}, err
	}
	return a.members[i], nil
}

// CountMembers is how many there are.
func (a *Accounts) CountMembers(ctx context.Context) (int64, error) {
	if err := a.begin(ctx); err != nil {
		return 0, err
	}
	defer a.mu.Unlock()
	return int64(len(a.members)), nil
}

// Members lists all.
func (a *Accounts) Members(ctx context.Context) ([]exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	defer a.mu.Unlock()
	return slices.SortedFunc(slices.Values(a.members), func(x, y exporters.Member) int { return cmp.Compare(x.Email, y.Email) }), nil
}

// Member finds one.
func (a *Accounts) Member(ctx context.Context, id int64) (exporters.Member, error) {
	return a.find(ctx, func(m *exporters.Member) bool { return m.ID == id })
}

// MemberByEmail finds one.
func (a *Accounts) MemberByEmail(ctx context.Context, email string) (exporters.Member, error) {
	return a.find(ctx, func(m *exporters.Member) bool { return m.Email == strings.ToLower(email) })
}

// MemberBySubject finds one.
func (a *Accounts) MemberBySubject(ctx context.Context, issuer, subject string) (exporters.Member, error) {
	return a.find(ctx, func(m *exporters.Member) bool { return subject != "" && m.Issuer == issuer && m.Subject == subject })
}

// AddMember adds one.
func (a *Accounts) AddMember(ctx context.Context, m exporters.Member, first bool) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	if first && len(a.members) > 0 {
		return exporters.Member{}, exporters.ErrConflict
	}
	m.Email, m.Name, m.Seen = strings.ToLower(m.Email), clean(m.Name), 0
	if i, _ := a.where(func(x *exporters.Member) bool {
		return x.Email == m.Email || m.Subject != "" && x.Issuer == m.Issuer && x.Subject == m.Subject
	}); i >= 0 {
		return exporters.Member{}, exporters.ErrExists
	}
	m.ID = a.id()
	a.members = append(a.members, m)
	return m, nil
}

func (a *Accounts) keepsOwner(id int64) error {
	if i, _ := a.where(func(m *exporters.Member) bool { return m.Role == schemas.RoleOwner && m.ID != id }); i < 0 {
		return exporters.ErrLastOwner
	}
	return nil
}

// UpdateMember changes one.
func (a *Accounts) UpdateMember(ctx context.Context, id int64, change func(*exporters.Member) error) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	i, err := a.at(id)
	if err != nil {
		return exporters.Member{}, err
	}
	before, m := a.members[i], a.members[i]
	if err := change(&m); err != nil {
		return exporters.Member{}, err
	}
	if before.Role == schemas.RoleOwner && m.Role != schemas.RoleOwner {
		if err := a.keepsOwner(id); err != nil {
			return exporters.Member{}, err
		}
	}
	m.ID, m.Email, m.Created, m.Seen = before.ID, before.Email, before.Created, before.Seen
	a.members[i] = m
	return m, nil
}

// RemoveMember removes one.
func (a *Accounts) RemoveMember(ctx context.Context, id int64, allow func(exporters.Member) error) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	i, err := a.at(id)
	if err != nil {
		return exporters.Member{}, err
	}
	m := a.members[i]
	if err := allow(m); err != nil {
		return exporters.Member{}, err
	}
	if m.Role == schemas.RoleOwner {
		if err := a.keepsOwner(id); err != nil {
			return exporters.Member{}, err
		}
	}
	a.members = slices.Delete(a.members, i, i+1)
	for h, s := range a.sessions {
		if s.Member == id {
			delete(a.sessions, h)
		}
	}
	for h, l := range a.links {
		if l.member == id {
			delete(a.links, h)
		}
	}
	for h, t := range a.tokens {
		if t.Member == id {
			delete(a.tokens, h)
		}
	}
	return m, nil
}

// AddSession adds one.
func (a *Accounts) AddSession(ctx context.Context, hash [32]byte, s exporters.Session) (exporters.Session, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Session{}, err
	}
	defer a.mu.Unlock()
	i, err := a.at(s.Member)
	if err != nil {
		return exporters.Session{}, err
	}
	a.members[i].Seen = max(a.members[i].Seen, s.Created)
	s.ID, s.Used = a.id(), s.Created
	a.sessions[hash] = s
	mine := a.sessionsOf(func(x exporters.Session) bool { return x.Member == s.Member })
	for _, old := range mine[min(len(mine), exporters.MaxMemberSessions):] {
		for h, x := range a.sessions {
			if x.ID == old.ID {
				delete(a.sessions, h)
			}
		}
	}
	return s, nil
}

func (a *Accounts) sessionsOf(keep func(exporters.Session) bool) (out []exporters.Session) {
	for _, s := range a.sessions {
		if keep(s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(x, y exporters.Session) int { return cmp.Or(cmp.Compare(y.Used, x.Used), cmp.Compare(y.ID, x.ID)) })
	return out
}

// SessionByHash finds one.
func (a *Accounts) SessionByHash(ctx context.Context, hash [32]byte, now, idle int64) (exporters.Session, exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Session{}, exporters.Member{}, err
	}
	defer a.mu.Unlock()
	s, ok := a.sessions[hash]
	if !ok || s.Expires <= now || s.Used <= now-idle {
		return exporters.Session{}, exporters.Member{}, exporters.ErrNotFound
	}
	i, err := a.at(s.Member)
	if err != nil {
		return exporters.Session{}, exporters.Member{}, err
	}
	if now-s.Used > min(5*60e9, idle/2) {
		s.Used, a.members[i].Seen = now, now
		a.sessions[hash] = s
	}
	return s, a.members[i], nil
}

// Sessions lists a member's.
func (a *Accounts) Sessions(ctx context.Context, member, now, idle int64) ([]exporters.Session, error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	defer a.mu.Unlock()
	return a.sessionsOf(func(s exporters.Session) bool { return s.Member == member && s.Expires > now && s.Used > now-idle }), nil
}

// EndSession ends one.
func (a *Accounts) EndSession(ctx context.Context, member, id int64) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	defer a.mu.Unlock()
	for h, s := range a.sessions {
		if s.Member == member && s.ID == id {
			delete(a.sessions, h)
			return nil
		}
	}
	return exporters.ErrNotFound
}

// EndSessions ends all but one.
func (a *Accounts) EndSessions(ctx context.Context, member, but int64) (n int64, err error) {
	if err := a.begin(ctx); err != nil {
		return 0, err
	}
	defer a.mu.Unlock()
	for h, s := range a.sessions {
		if s.Member == member && s.ID != but {
			delete(a.sessions, h)
			n++
		}
	}
	return n, nil
}

// PutLink keeps one.
func (a *Accounts) PutLink(ctx context.Context, hash [32]byte, member, _, expires int64) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	defer a.mu.Unlock()
	if _, err := a.at(member); err != nil {
		return err
	}
	for h, l := range a.links {
		if l.member == member {
			delete(a.links, h)
		}
	}
	a.links[hash] = link{member, expires}
	return nil
}

func (a *Accounts) linkAt(hash [32]byte, now int64) (int, error) {
	l, ok := a.links[hash]
	if !ok || l.expires <= now {
		return 0, exporters.ErrNotFound
	}
	return a.at(l.member)
}

// LinkMember tells whose it is.
func (a *Accounts) LinkMember(ctx context.Context, hash [32]byte, now int64) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	i, err := a.linkAt(hash, now)
	if err != nil {
		return exporters.Member{}, err
	}
	return a.members[i], nil
}

// UseLink sets a password.
func (a *Accounts) UseLink(ctx context.Context, hash [32]byte, now int64, password string) (exporters.Member, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Member{}, err
	}
	defer a.mu.Unlock()
	i, err := a.linkAt(hash, now)
	if err != nil {
		return exporters.Member{}, err
	}
	delete(a.links, hash)
	m := &a.members[i]
	m.Password = password
	for h, s := range a.sessions {
		if s.Member == m.ID {
			delete(a.sessions, h)
		}
	}
	return *m, nil
}

// Audit lists entries.
func (a *Accounts) Audit(ctx context.Context, before int64, limit int) (out []exporters.AuditEntry, err error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	defer a.mu.Unlock()
	for _, e := range slices.Backward(a.audit) {
		if (before == 0 || e.ID < before) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

// Note adds one.
func (a *Accounts) Note(ctx context.Context, e exporters.AuditEntry) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	defer a.mu.Unlock()
	e.ID, e.Detail = a.id(), clean(e.Detail)
	a.audit = append(a.audit, e)
	return nil
}

// AddToken adds one.
func (a *Accounts) AddToken(ctx context.Context, hash [32]byte, t exporters.Token) (exporters.Token, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Token{}, err
	}
	defer a.mu.Unlock()
	if t.Member != 0 {
		if _, err := a.at(t.Member); err != nil {
			return exporters.Token{}, err
		}
	}
	n := 0
	for _, x := range a.tokens {
		if x.Member == t.Member && t.Member != 0 {
			n++
		}
	}
	if n >= exporters.MaxMemberTokens {
		return exporters.Token{}, exporters.ErrTooLarge
	}
	t.ID = a.id()
	a.tokens[hash] = t
	return t, nil
}

// TokenByHash finds one.
func (a *Accounts) TokenByHash(ctx context.Context, hash [32]byte, now int64) (exporters.Token, error) {
	if err := a.begin(ctx); err != nil {
		return exporters.Token{}, err
	}
	defer a.mu.Unlock()
	t, ok := a.tokens[hash]
	if !ok || t.Expires != 0 && t.Expires <= now {
		return exporters.Token{}, exporters.ErrNotFound
	}
	if now-t.LastUsed > 60e9 {
		t.LastUsed = now
		a.tokens[hash] = t
	}
	return t, nil
}

// Tokens lists all.
func (a *Accounts) Tokens(ctx context.Context) (out []exporters.Token, err error) {
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	defer a.mu.Unlock()
	for _, t := range a.tokens {
		out = append(out, t)
	}
	slices.SortFunc(out, func(x, y exporters.Token) int { return cmp.Compare(x.ID, y.ID) })
	return out, nil
}

// RevokeToken removes one.
func (a *Accounts) RevokeToken(ctx context.Context, id int64) error {
	if err := a.begin(ctx); err != nil {
		return err
	}
	defer a.mu.Unlock()
	for h, t := range a.tokens {
		if t.ID == id {
			delete(a.tokens, h)
			return nil
		}
	}
	return exporters.ErrNotFound
}
