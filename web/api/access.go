package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

// Me is who asks, and how one signs in.
type Me struct {
	Required bool         `json:"required"` // one must sign in
	Setup    bool         `json:"setup"`    // nobody can yet: the link that the server's log has makes the first owner
	OIDC     string       `json:"oidc"`     // what the identity provider is called; empty without one
	Open     bool         `json:"open"`     // nobody signs in here: whoever sits at the machine may do everything
	Role     schemas.Role `json:"role"`     // empty: not signed in
	Member   *Member      `json:"member"`   // null when nobody is known
	Token    string       `json:"token"`    // name of the one that was shown
}

// Member is somebody who may sign in.
type Member struct {
	ID       string       `json:"id"`
	Email    string       `json:"email"`
	Name     string       `json:"name"`
	Role     schemas.Role `json:"role"`
	Password bool         `json:"password"` // it has one
	Linked   bool         `json:"linked"`   // with the identity provider
	Created  Nanos        `json:"created"`
	Seen     *Nanos       `json:"seen"` // exact to five minutes; null when never
}

// SignIn is what one signs in with.
type SignIn struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// SignOut ends a session.
type SignOut struct {
	Everywhere bool `json:"everywhere,omitempty"` // and all others of the member
}

// LinkLook asks whom a link to set a password is for.
type LinkLook struct {
	Link string `json:"link"` // what stands behind the #
}

// LinkFor is whom.
type LinkFor struct {
	Setup bool   `json:"setup"` // it makes the first owner
	Email string `json:"email"`
	Name  string `json:"name"`
}

// LinkUse sets a password by a link.
type LinkUse struct {
	Link     string `json:"link"`
	Password string `json:"password"`
	Email    string `json:"email,omitempty"` // of the first owner
	Name     string `json:"name,omitempty"`
}

// MeUpdate changes what one is called.
type MeUpdate struct {
	Name string `json:"name"`
}

// PasswordChange sets another password; the other sessions end.
type PasswordChange struct {
	Current  string `json:"current"`
	Password string `json:"password"`
}

// SessionList are the browsers that one is signed in with, last used first.
type SessionList struct {
	Sessions []SessionLine `json:"sessions"`
}

// SessionLine is one of them.
type SessionLine struct {
	ID      string `json:"id"`
	Created Nanos  `json:"created"`
	Used    Nanos  `json:"used"` // exact to five minutes
	Expires Nanos  `json:"expires"`
	Agent   string `json:"agent"` // as the browser calls itself
	Address string `json:"address"`
	Current bool   `json:"current"` // it is the one that asks
}

// TokenList are tokens, oldest first.
type TokenList struct {
	Tokens []TokenLine `json:"tokens"`
}

// TokenLine is one of them; what a program shows is told only when it is made.
type TokenLine struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Prefix   string       `json:"prefix"` // how it begins; empty for one made before that was kept
	Role     schemas.Role `json:"role"`   // empty: for sentry-cli only
	Scopes   []string     `json:"scopes"` // at /api/0/
	Member   string       `json:"member"` // e-mail of whose it is; empty for one of the command line
	Created  Nanos        `json:"created"`
	Expires  *Nanos       `json:"expires"`  // null when never
	LastUsed *Nanos       `json:"lastUsed"` // exact to a minute; null when never
}

// TokenCreate makes a token of one's own.
type TokenCreate struct {
	Name   string       `json:"name"`
	Role   schemas.Role `json:"role,omitempty"`   // at most one's own; empty: for sentry-cli only
	Scopes []string     `json:"scopes,omitempty"` // for sentry-cli: project:releases and its like
	Days   int          `json:"days"`             // that it is good for, 1 to 366
}

// TokenMade is the one time that a token is told.
type TokenMade struct {
	Secret string    `json:"secret"`
	Token  TokenLine `json:"token"`
}

// MemberList are all members, by e-mail.
type MemberList struct {
	Members []Member `json:"members"`
}

// MemberCreate invites somebody.
type MemberCreate struct {
	Email string       `json:"email"`
	Name  string       `json:"name,omitempty"` // what stands before the @ unless given
	Role  schemas.Role `json:"role"`           // at most one's own
}

// MemberUpdate changes a member.
type MemberUpdate struct {
	Name string       `json:"name,omitempty"`
	Role schemas.Role `json:"role,omitempty"`
}

// MemberLink is a member with a link by which a password is set, once.
type MemberLink struct {
	Member  Member `json:"member"`
	Link    string `json:"link"` // a path of this server
	Expires Nanos  `json:"expires"`
}

// AuditList is what was changed of settings and accounts, newest first.
type AuditList struct {
	Entries []AuditLine `json:"entries"`
	Next    *string     `json:"next"` // before of the next page; null at the end
}

// AuditLine is one change.
type AuditLine struct {
	ID     string `json:"id"`
	At     Nanos  `json:"at"`
	Actor  string `json:"actor"`
	Action string `json:"action"` // as key.rotate
	Target string `json:"target"`
	Detail string `json:"detail"`
}

func (h *Handler) accessRoutes() {
	h.handle("/api/v1/me", nil, h.me)
	h.act(http.MethodPut, "/api/v1/me", h.updateMe)
	h.act(http.MethodPost, "/api/v1/sign-in", h.signIn)
	h.act(http.MethodPost, "/api/v1/sign-out", h.signOut)
	h.act(http.MethodPost, "/api/v1/links/look", h.lookAtLink)
	h.act(http.MethodPost, "/api/v1/links/use", h.useLink)
	h.act(http.MethodPut, "/api/v1/me/password", h.changePassword)
	h.handle("/api/v1/me/sessions", nil, h.mySessions)
	h.act(http.MethodDelete, "/api/v1/me/sessions/{id}", h.endSession)
	h.handle("/api/v1/me/tokens", nil, h.myTokens)
	h.act(http.MethodPost, "/api/v1/me/tokens", h.createToken)
	h.act(http.MethodDelete, "/api/v1/me/tokens/{id}", h.revokeMyToken)
	h.handle("/api/v1/members", nil, h.members)
	h.act(http.MethodPost, "/api/v1/members", h.createMember)
	h.act(http.MethodPut, "/api/v1/members/{id}", h.updateMember)
	h.act(http.MethodDelete, "/api/v1/members/{id}", h.removeMember)
	h.act(http.MethodPost, "/api/v1/members/{id}/link", h.memberLink)
	h.handle("/api/v1/tokens", nil, h.allTokens)
	h.act(http.MethodDelete, "/api/v1/tokens/{id}", h.revokeToken)
	h.handle("/api/v1/audit", []string{"before", "limit"}, h.audit)
}

// hasAccess fails in a process that keeps no accounts.
func (h *Handler) hasAccess() error {
	if h.deps.Access == nil || h.deps.Accounts == nil || h.deps.Tokens == nil {
		return errorf(http.StatusNotImplemented, "no_accounts", "ask the web role that people sign in at", "this process keeps no accounts")
	}
	return nil
}

func memberJSON(m *exporters.Member) Member {
	return Member{
		ID: strconv.FormatInt(m.ID, 10), Email: m.Email, Name: m.Name, Role: m.Role, Password: m.Password != "", Linked: m.Subject != "",
		Created: nanos(m.Created), Seen: known(m.Seen),
	}
}

// me answers GET /me, also to who is not signed in.
func (h *Handler) me(ctx context.Context, q *query) (any, error) {
	out := Me{Open: q.who.Open, Role: q.who.Role}
	if q.who.Member.ID != 0 {
		m := memberJSON(&q.who.Member)
		out.Member = &m
	}
	if q.who.Token != nil {
		out.Token = q.who.Token.Name
	}
	if h.deps.Access == nil {
		return out, nil
	}
	var err error
	if out.Required, err = h.deps.Access.Required(ctx); err == nil {
		out.Setup, err = h.deps.Access.SetupPending(ctx)
	}
	out.OIDC = h.deps.Access.OIDCName()
	return out, err
}

// enter begins a session and answers as me does.
func (h *Handler) enter(ctx context.Context, q *query, m exporters.Member) (any, error) {
	cookie, err := h.deps.Access.NewSession(ctx, q.request, m)
	if err != nil {
		return nil, err
	}
	if q.who.Session.ID != 0 && q.who.Member.ID == m.ID {
		// It is replaced: an old cookie that somebody kept is good for nothing.
		if err := h.deps.Accounts.EndSession(ctx, m.ID, q.who.Session.ID); err != nil && !errors.Is(err, exporters.ErrNotFound) {
			return nil, err
		}
	}
	q.cookie = cookie
	q.who = access.Person{Role: m.Role, Member: m}
	return h.me(ctx, q)
}

func (h *Handler) signIn(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	var in SignIn
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	m, err := h.deps.Access.SignIn(ctx, in.Email, in.Password, access.Address(q.request))
	if err != nil {
		return nil, signInError(err)
	}
	return h.enter(ctx, q, m)
}

func (h *Handler) signOut(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	var in SignOut
	if len(q.body) > 0 {
		if err := q.decode(&in); err != nil {
			return nil, err
		}
	}
	q.cookie = h.deps.Access.SignOutCookie()
	if q.who.Session.ID == 0 {
		return Done{Done: true}, nil
	}
	var err error
	if in.Everywhere {
		_, err = h.deps.Accounts.EndSessions(ctx, q.who.Member.ID, 0)
	} else if err = h.deps.Accounts.EndSession(ctx, q.who.Member.ID, q.who.Session.ID); errors.Is(err, exporters.ErrNotFound) {
		err = nil // it ended meanwhile
	}
	return Done{Done: true}, err
}

func (h *Handler) lookAtLink(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	var in LinkLook
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	w, err := h.deps.Access.Look(ctx, in.Link, access.Address(q.request))
	if err != nil {
		return nil, signInError(err)
	}
	return LinkFor{Setup: w.Setup, Email: w.Member.Email, Name: w.Member.Name}, nil
}

func (h *Handler) useLink(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	var in LinkUse
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	m, err := h.deps.Access.UseLink(ctx, in.Link, in.Password, in.Email, in.Name, access.Address(q.request))
	if err != nil {
		return nil, signInError(err)
	}
	q.noted(m.Email, "by a link")
	return h.enter(ctx, q, m)
}

func (h *Handler) updateMe(ctx context.Context, q *query) (any, error) {
	var in MeUpdate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	name, err := access.CheckName(in.Name)
	if err != nil {
		return nil, signInError(err)
	}
	if q.who.Member, err = h.deps.Accounts.UpdateMember(ctx, q.who.Member.ID, func(m *exporters.Member) error { m.Name = name; return nil }); err != nil {
		return nil, memberError(err)
	}
	return h.me(ctx, q)
}

func (h *Handler) changePassword(ctx context.Context, q *query) (any, error) {
	var in PasswordChange
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if q.who.Member.Password == "" {
		return nil, errorf(http.StatusConflict, "no_password", "ask an admin for a link to set one", "this member has no password: it comes from the identity provider")
	}
	if err := h.deps.Access.ChangePassword(ctx, q.who, in.Current, in.Password, access.Address(q.request)); err != nil {
		return nil, memberError(signInError(err))
	}
	q.noted(q.who.Member.Email, "changed; other sessions ended")
	return Done{Done: true}, nil
}

func (h *Handler) mySessions(ctx context.Context, q *query) (any, error) {
	all, err := h.deps.Accounts.Sessions(ctx, q.who.Member.ID, q.now.UnixNano(), h.deps.Access.Idle().Nanoseconds())
	if err != nil {
		return nil, err
	}
	out := SessionList{Sessions: make([]SessionLine, len(all))}
	for i, s := range all {
		out.Sessions[i] = SessionLine{
			ID: strconv.FormatInt(s.ID, 10), Created: nanos(s.Created), Used: nanos(s.Used), Expires: nanos(s.Expires), Agent: s.Agent, Address: s.Address, Current: s.ID == q.who.Session.ID,
		}
	}
	return out, nil
}

// pathNumber reads the id in the path.
func (q *query) pathNumber(of string) (int64, error) {
	id, err := strconv.ParseInt(q.path("id"), 10, 64)
	if err != nil || id <= 0 {
		return 0, badParameter("id", q.path("id"), "the positive number of a "+of)
	}
	return id, nil
}

func (h *Handler) endSession(ctx context.Context, q *query) (any, error) {
	id, err := q.pathNumber("session")
	if err == nil {
		err = h.deps.Accounts.EndSession(ctx, q.who.Member.ID, id)
	}
	if errors.Is(err, exporters.ErrNotFound) {
		err = errorf(http.StatusNotFound, "session_not_found", "/api/v1/me/sessions lists yours", "you have no session %d; it may have ended", id)
	}
	return Done{Done: true}, err
}

func (h *Handler) tokens(ctx context.Context, of int64) (any, error) {
	all, err := h.deps.Tokens.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	members, err := h.deps.Accounts.Members(ctx)
	if err != nil {
		return nil, err
	}
	emails := map[int64]string{}
	for i := range members {
		emails[members[i].ID] = members[i].Email
	}
	out := TokenList{Tokens: []TokenLine{}}
	for i := range all {
		if of == 0 || all[i].Member == of {
			out.Tokens = append(out.Tokens, tokenJSON(&all[i], emails[all[i].Member]))
		}
	}
	return out, nil
}

func tokenJSON(t *exporters.Token, email string) TokenLine {
	scopes := t.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	return TokenLine{
		ID: strconv.FormatInt(t.ID, 10), Name: t.Name, Prefix: t.Prefix, Role: t.Role, Scopes: scopes, Member: email,
		Created: nanos(t.Created), Expires: known(t.Expires), LastUsed: known(t.LastUsed),
	}
}

func (h *Handler) myTokens(ctx context.Context, q *query) (any, error) {
	return h.tokens(ctx, q.who.Member.ID)
}

func (h *Handler) allTokens(ctx context.Context, _ *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	return h.tokens(ctx, 0)
}

func (h *Handler) createToken(ctx context.Context, q *query) (any, error) {
	var in TokenCreate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Role != "" && in.Role.Valid() && !q.who.Role.AtLeast(in.Role) {
		return nil, errorf(http.StatusForbidden, "no_permission", "make it with role "+string(q.who.Role)+" or less", "a token may not do more than you").of("role")
	}
	if len(in.Scopes) > 0 && !q.who.Role.AtLeast(schemas.RoleMember) {
		return nil, errorf(http.StatusForbidden, "no_permission", "an admin or owner can make you a member", "uploading releases needs role member; yours is %s", q.who.Role).of("scopes")
	}
	token, made, err := h.deps.Access.NewToken(ctx, exporters.Token{Name: in.Name, Role: in.Role, Scopes: in.Scopes, Member: q.who.Member.ID}, time.Duration(min(max(in.Days, 0), 400))*24*time.Hour)
	if errors.Is(err, exporters.ErrTooLarge) {
		return nil, errorf(http.StatusConflict, "too_many_tokens", "revoke one that is not used", "you have %d tokens, and no more are kept", exporters.MaxMemberTokens)
	}
	if err != nil {
		return nil, signInError(err)
	}
	q.noted(made.Name, "of "+q.who.Member.Email+", role "+or(string(made.Role), "none")+", for "+strconv.Itoa(in.Days)+" days")
	return TokenMade{Secret: token, Token: tokenJSON(&made, q.who.Member.Email)}, nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (h *Handler) revokeMyToken(ctx context.Context, q *query) (any, error) {
	return h.revoke(ctx, q, q.who.Member.ID)
}

func (h *Handler) revokeToken(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	return h.revoke(ctx, q, 0)
}

// revoke ends a token; of a member's only when of is not zero.
func (h *Handler) revoke(ctx context.Context, q *query, of int64) (any, error) {
	id, err := q.pathNumber("token")
	if err != nil {
		return nil, err
	}
	all, err := h.deps.Tokens.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		t := &all[i]
		if t.ID != id || of != 0 && t.Member != of {
			continue
		}
		if t.Role != "" && !q.who.Role.AtLeast(t.Role) {
			return nil, errorf(http.StatusForbidden, "no_permission", "an owner can", "the token may do more than you: its role is %s", t.Role)
		}
		if err = h.deps.Tokens.RevokeToken(ctx, id); err == nil {
			q.noted(t.Name, t.Prefix)
			return Done{Done: true}, nil
		}
		if !errors.Is(err, exporters.ErrNotFound) {
			return nil, err
		}
	}
	return nil, errorf(http.StatusNotFound, "token_not_found", "/api/v1/me/tokens lists yours", "there is no token %d", id)
}

func (h *Handler) members(ctx context.Context, _ *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	all, err := h.deps.Accounts.Members(ctx)
	if err != nil {
		return nil, err
	}
	out := MemberList{Members: make([]Member, len(all))}
	for i := range all {
		out.Members[i] = memberJSON(&all[i])
	}
	return out, nil
}

// memberError says what the store refused about a member.
func memberError(err error) error {
	switch {
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "member_not_found", "/api/v1/members lists them", "there is no such member; somebody may have removed it")
	case errors.Is(err, exporters.ErrExists):
		return errorf(http.StatusConflict, "member_exists", "change the member that is there", "a member with that e-mail address is there already").of("email")
	case errors.Is(err, exporters.ErrLastOwner):
		return errorf(http.StatusConflict, "last_owner", "make another member an owner first", "%s: without one, nobody may do everything", exporters.ErrLastOwner)
	case errors.Is(err, exporters.ErrTooLarge):
		return errorf(http.StatusConflict, "too_many_members", "remove some", "there are %d members, and no more are kept", exporters.MaxMembers)
	case errors.Is(err, exporters.ErrConflict):
		return errorf(http.StatusConflict, "member_changed", "read it again", "the member was changed by somebody else meanwhile")
	}
	return err
}

// reaches refuses to change who may do more than oneself.
func (q *query) reaches(role schemas.Role) error {
	if q.who.Role.AtLeast(role) {
		return nil
	}
	return errorf(http.StatusForbidden, "no_permission", "an owner can", "only an owner may make, change or remove an owner; your role is %s", q.who.Role)
}

func (h *Handler) createMember(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	var in MemberCreate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	m, err := access.NewMember(in.Email, in.Name, in.Role, q.now)
	if err != nil {
		return nil, signInError(err)
	}
	if err := q.reaches(m.Role); err != nil {
		return nil, err
	}
	if q.who.Open && m.Role != schemas.RoleOwner {
		// From now on one must sign in: nobody could make an owner any more.
		return nil, errorf(http.StatusConflict, "owner_first", "make yourself the first, as owner", "the first member must be an owner: from then on one must sign in").of("role")
	}
	if m, err = h.deps.Accounts.AddMember(ctx, m, q.who.Open); err != nil {
		return nil, memberError(err)
	}
	q.noted(m.Email, "role "+string(m.Role))
	return h.link(ctx, m)
}

func (h *Handler) link(ctx context.Context, m exporters.Member) (any, error) {
	path, expires, err := h.deps.Access.NewLink(ctx, m.ID)
	if err != nil {
		return nil, memberError(err)
	}
	return MemberLink{Member: memberJSON(&m), Link: path, Expires: nanos(expires.UnixNano())}, nil
}

func (h *Handler) updateMember(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	id, err := q.pathNumber("member")
	if err != nil {
		return nil, err
	}
	var in MemberUpdate
	if err := q.decode(&in); err != nil {
		return nil, err
	}
	if in.Role != "" && !in.Role.Valid() {
		return nil, badBody("role", "viewer, member, admin or owner")
	}
	name := ""
	if in.Name != "" {
		if name, err = access.CheckName(in.Name); err != nil {
			return nil, signInError(err)
		}
	}
	var changed []string
	m, err := h.deps.Accounts.UpdateMember(ctx, id, func(m *exporters.Member) error {
		if err := q.reaches(m.Role); err != nil {
			return err
		}
		changed = nil
		if in.Role != "" && in.Role != m.Role {
			if err := q.reaches(in.Role); err != nil {
				return err
			}
			changed = append(changed, "role "+string(m.Role)+" → "+string(in.Role))
			m.Role, m.Mapped = in.Role, false
		}
		if name != "" && name != m.Name {
			changed = append(changed, "name "+m.Name+" → "+name)
			m.Name = name
		}
		return nil
	})
	if err != nil {
		return nil, memberError(err)
	}
	q.noted(m.Email, strings.Join(changed, ", "))
	return memberJSON(&m), nil
}

func (h *Handler) removeMember(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	id, err := q.pathNumber("member")
	if err != nil {
		return nil, err
	}
	m, err := h.deps.Accounts.RemoveMember(ctx, id, func(m exporters.Member) error { return q.reaches(m.Role) })
	if err != nil {
		return nil, memberError(err)
	}
	q.noted(m.Email, "had role "+string(m.Role))
	return Done{Done: true}, nil
}

func (h *Handler) memberLink(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	id, err := q.pathNumber("member")
	if err != nil {
		return nil, err
	}
	m, err := h.deps.Accounts.Member(ctx, id)
	if err != nil {
		return nil, memberError(err)
	}
	if err := q.reaches(m.Role); err != nil {
		return nil, err
	}
	q.noted(m.Email, "a link to set a password")
	return h.link(ctx, m)
}

func (h *Handler) audit(ctx context.Context, q *query) (any, error) {
	if err := h.hasAccess(); err != nil {
		return nil, err
	}
	before, limit := q.uint("before"), q.limit(100)
	if q.fault != nil {
		return nil, q.fault
	}
	list, err := h.deps.Accounts.Audit(ctx, int64(min(before, 1<<62)), limit+1) //nolint:gosec // bounded
	if err != nil {
		return nil, fmt.Errorf("cannot list the audit: %w", err)
	}
	out := AuditList{Entries: make([]AuditLine, 0, len(list))}
	for i, e := range list {
		if i == limit {
			next := out.Entries[limit-1].ID
			out.Next = &next
			break
		}
		out.Entries = append(out.Entries, AuditLine{ID: strconv.FormatInt(e.ID, 10), At: nanos(e.At), Actor: e.Actor, Action: e.Action, Target: e.Target, Detail: e.Detail})
	}
	return out, nil
}
