package schemas

import "testing"

func TestARoleMayDoWhatThoseBelowItMay(t *testing.T) {
	for i, r := range Roles {
		for k, other := range Roles {
			if got := r.AtLeast(other); got != (i >= k) {
				t.Errorf("%s.AtLeast(%s) = %v", r, other, got)
			}
			if want := Roles[min(i, k)]; LesserRole(r, other) != want {
				t.Errorf("LesserRole(%s, %s) = %s, want %s", r, other, LesserRole(r, other), want)
			}
		}
	}
	for _, bad := range []Role{"", "root", "Owner"} {
		if bad.Valid() || bad.AtLeast(RoleViewer) || RoleOwner.AtLeast(bad) || bad.AtLeast(bad) {
			t.Errorf("%q counts as a role", bad)
		}
	}
}
