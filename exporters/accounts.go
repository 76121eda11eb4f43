package exporters

import (
	"context"
	"errors"

	"github.com/hoptrace/hoptrace/schemas"
)

// ErrLastOwner tells that the change would leave nobody who may do everything.
var ErrLastOwner = errors.New("the last owner stays one")

// Member is somebody who may sign in.
type Member struct {
	ID    int64
	Email string // lower case; one member has it
	Name  string
	Role  schemas.Role
	// Password is what is kept of it (see package access); empty when there is none.
	Password string
	// Issuer and Subject are who they are at an identity provider; empty when
	// they never came from one.
	Issuer, Subject string
	// Mapped tells that the role is that of a group at the identity provider, and goes
	// with it. A role that somebody gave stays.
	Mapped  bool
	Created int64 // Unix ns
	Seen    int64 // Unix ns of the last request or sign-in, exact to five minutes; zero when never
}

// Session is one browser that a member signed in with. What the browser sends is
// not kept, only its SHA-256.
type Session struct {
	ID      int64
	Member  int64
	Created int64 // Unix ns
	Used    int64 // Unix ns, exact to five minutes
	Expires int64 // Unix ns, whatever its use
	Agent   string
	Address string
}

// AuditEntry is one change of who may do what, or of a setting.
type AuditEntry struct {
	ID     int64
	At     int64  // Unix ns
	Actor  string // as it was called then
	Action string // as "member.create"
	Target string // what was changed
	Detail string // what it became
}

// MaxAudit is how many entries are kept; the oldest go.
const MaxAudit = 10_000

// Most of what one member has, and of members.
const (
	MaxMembers        = 10_000
	MaxMemberSessions = 50 // the one unused longest goes
	MaxMemberTokens   = 100
)

// Accounts keep who may sign in. A member that is removed takes its sessions,
// links and tokens along.
type Accounts interface {
	// CountMembers is how many there are.
	CountMembers(ctx context.Context) (int64, error)
	// Members lists all, by e-mail.
	Members(ctx context.Context) ([]Member, error)
	// Member, MemberByEmail and MemberBySubject fail with ErrNotFound.
	Member(ctx context.Context, id int64) (Member, error)
	MemberByEmail(ctx context.Context, email string) (Member, error)
	MemberBySubject(ctx context.Context, issuer, subject string) (Member, error)
	// AddMember fails with ErrExists when one has the e-mail or the subject, with
	// ErrTooLarge when there are MaxMembers, and, when first is set, with
	// ErrConflict unless there is none.
	AddMember(ctx context.Context, m Member, first bool) (Member, error)
	// UpdateMember lets change make of the member as it is what it shall be, in
	// one transaction. It fails with ErrNotFound, with ErrLastOwner, and as
	// change does. The e-mail and times stay.
	UpdateMember(ctx context.Context, id int64, change func(*Member) error) (Member, error)
	// RemoveMember asks allow about the member as it is, and removes it. It fails
	// with ErrNotFound, with ErrLastOwner, and as allow does.
	RemoveMember(ctx context.Context, id int64, allow func(Member) error) (Member, error)

	// AddSession stores a session under its hash, and forgets those that ended.
	AddSession(ctx context.Context, hash [32]byte, s Session) (Session, error)
	// SessionByHash finds a session that has not ended, with its member, and
	// notes its use, or fails with ErrNotFound. idle is after how long without
	// use one ends, in ns.
	SessionByHash(ctx context.Context, hash [32]byte, now, idle int64) (Session, Member, error)
	// Sessions lists a member's that have not ended, last used first.
	Sessions(ctx context.Context, member, now, idle int64) ([]Session, error)
	// EndSession ends one of a member's, or fails with ErrNotFound.
	EndSession(ctx context.Context, member, id int64) error
	// EndSessions ends all of a member's but one; zero spares none.
	EndSessions(ctx context.Context, member, but int64) (ended int64, err error)

	// PutLink stores the hash of a link by which a member sets a password once,
	// in place of the one it had.
	PutLink(ctx context.Context, hash [32]byte, member, created, expires int64) error
	// LinkMember tells whose link it is, or fails with ErrNotFound.
	LinkMember(ctx context.Context, hash [32]byte, now int64) (Member, error)
	// UseLink sets the password, and removes the link, the member's sessions and
	// any other way in that a password gave, in one transaction. It fails with ErrNotFound.
	UseLink(ctx context.Context, hash [32]byte, now int64, password string) (Member, error)

	// Audit lists entries with an id below before, newest first; zero means from the newest.
	Audit(ctx context.Context, before int64, limit int) ([]AuditEntry, error)
	// Note adds one; its id is not read.
	Note(ctx context.Context, e AuditEntry) error
}
