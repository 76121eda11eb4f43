package schemas

import "slices"

// Role is what somebody may do, each more than the one before: a viewer reads; a
// member also acts on issues; an admin also sets projects, members and tokens; an
// owner also owners.
type Role string

// The roles. The zero value may do nothing.
const (
	RoleViewer Role = "viewer"
	RoleMember Role = "member"
	RoleAdmin  Role = "admin"
	RoleOwner  Role = "owner"
)

// Roles are all of them, the least first.
var Roles = []Role{RoleViewer, RoleMember, RoleAdmin, RoleOwner}

// Valid tells that it is one of Roles.
func (r Role) Valid() bool { return slices.Contains(Roles, r) }

// AtLeast tells that r may do all that other may. What is no role may do
// nothing, and nobody may do what needs it.
func (r Role) AtLeast(other Role) bool {
	return other.Valid() && slices.Index(Roles, r) >= slices.Index(Roles, other)
}

// LesserRole is the one of two that may do less.
func LesserRole(a, b Role) Role {
	if a.AtLeast(b) {
		return b
	}
	return a
}
