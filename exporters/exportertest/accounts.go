package exportertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// AccountStore is what Accounts tests.
type AccountStore interface {
	exporters.Accounts
	exporters.Tokens
}

// Accounts is the suite of Accounts. open gives an empty store.
func Accounts(t *testing.T, open func(t *testing.T) AccountStore) {
	for name, f := range map[string]func(t *testing.T, s AccountStore){
		"MembersAreAddedFoundChangedAndRemoved": membersLive,
		"TheLastOwnerStays":                     lastOwner,
		"OfManyWhoWouldBeFirstOneIs":            firstOwner,
		"OwnersWhoDemoteEachOtherLeaveOne":      ownersAtOnce,
		"SessionsEndByTimeAndByHand":            sessions,
		"SessionsAreBounded":                    manySessions,
		"LinksAreUsedOnce":                      memberLinks,
		"TokensOfMembersGoWithThem":             memberTokens,
		"TheAuditIsPagedAndBounded":             audit,
		"CancelledCallsOfAccountsFail":          accountsCancelled,
	} {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
}

func addMember(t *testing.T, s AccountStore, email string, role schemas.Role) exporters.Member {
	t.Helper()
	m, err := s.AddMember(testContext(t), exporters.Member{Email: email, Name: "N", Role: role, Password: "kept", Created: 5}, false)
	noError(t, "AddMember", err)
	return m
}

func membersLive(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	ann := addMember(t, s, "Ann@Example.com", schemas.RoleOwner)
	ben, err := s.AddMember(ctx, exporters.Member{Email: "ben@example.com", Name: "Ben ☃\x00", Role: schemas.RoleViewer, Issuer: "https://id", Subject: "7", Mapped: true, Created: 6, Seen: 99}, false)
	noError(t, "AddMember", err)
	equal(t, "the second", ben, exporters.Member{ID: ben.ID, Email: "ben@example.com", Name: "Ben ☃\uFFFD", Role: schemas.RoleViewer, Issuer: "https://id", Subject: "7", Mapped: true, Created: 6})
	if ann.ID == ben.ID || ann.ID == 0 {
		t.Errorf("ids %d and %d", ann.ID, ben.ID)
	}
	_, err = s.AddMember(ctx, exporters.Member{Email: "ANN@example.com", Role: schemas.RoleViewer}, false)
	isError(t, "AddMember with the same e-mail", err, exporters.ErrExists)
	_, err = s.AddMember(ctx, exporters.Member{Email: "c@example.com", Role: schemas.RoleViewer, Issuer: "https://id", Subject: "7"}, false)
	isError(t, "AddMember with the same subject", err, exporters.ErrExists)
	_, err = s.AddMember(ctx, exporters.Member{Email: "c@example.com", Role: schemas.RoleOwner}, true)
	isError(t, "AddMember as the first", err, exporters.ErrConflict)

	for what, find := range map[string]func() (exporters.Member, error){
		"by id":      func() (exporters.Member, error) { return s.Member(ctx, ben.ID) },
		"by e-mail":  func() (exporters.Member, error) { return s.MemberByEmail(ctx, "BEN@example.com") },
		"by subject": func() (exporters.Member, error) { return s.MemberBySubject(ctx, "https://id", "7") },
	} {
		m, err := find()
		noError(t, what, err)
		equal(t, what, m, ben)
	}
	for what, find := range map[string]func() (exporters.Member, error){
		"by id":           func() (exporters.Member, error) { return s.Member(ctx, 999) },
		"by e-mail":       func() (exporters.Member, error) { return s.MemberByEmail(ctx, "nobody") },
		"by issuer":       func() (exporters.Member, error) { return s.MemberBySubject(ctx, "https://other", "7") },
		"without subject": func() (exporters.Member, error) { return s.MemberBySubject(ctx, "", "") },
	} {
		_, err := find()
		isError(t, what, err, exporters.ErrNotFound)
	}
	changed, err := s.UpdateMember(ctx, ben.ID, func(m *exporters.Member) error {
		m.Name, m.Role, m.Mapped, m.Email, m.Created, m.Password = "Benjamin", schemas.RoleAdmin, false, "other@example.com", 77, "p"
		return nil
	})
	noError(t, "UpdateMember", err)
	ben.Name, ben.Role, ben.Mapped, ben.Password = "Benjamin", schemas.RoleAdmin, false, "p"
	equal(t, "after the change", changed, ben)
	no := errors.New("no")
	_, err = s.UpdateMember(ctx, ben.ID, func(m *exporters.Member) error { m.Name = "Z"; return no })
	isError(t, "UpdateMember that is refused", err, no)
	_, err = s.UpdateMember(ctx, 999, func(*exporters.Member) error { return nil })
	isError(t, "UpdateMember of nobody", err, exporters.ErrNotFound)
	all, err := s.Members(ctx)
	noError(t, "Members", err)
	equal(t, "members", all, []exporters.Member{ann, ben})
	_, err = s.RemoveMember(ctx, ben.ID, func(exporters.Member) error { return no })
	isError(t, "RemoveMember that is refused", err, no)
	gone, err := s.RemoveMember(ctx, ben.ID, func(exporters.Member) error { return nil })
	noError(t, "RemoveMember", err)
	equal(t, "the removed one", gone, ben)
	_, err = s.RemoveMember(ctx, ben.ID, func(exporters.Member) error { return nil })
	isError(t, "RemoveMember again", err, exporters.ErrNotFound)
	if n, err := s.CountMembers(ctx); n != 1 || err != nil {
		t.Errorf("CountMembers = %d, %v; want 1", n, err)
	}
	if next := addMember(t, s, "dan@example.com", schemas.RoleViewer); next.ID == ben.ID {
		t.Errorf("id %d is given twice", next.ID)
	}
}

func lastOwner(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	ann := addMember(t, s, "ann@example.com", schemas.RoleOwner)
	addMember(t, s, "ben@example.com", schemas.RoleAdmin)
	demote := func(m *exporters.Member) error { m.Role = schemas.RoleAdmin; return nil }
	allow := func(exporters.Member) error { return nil }
	_, err := s.UpdateMember(ctx, ann.ID, demote)
	isError(t, "UpdateMember", err, exporters.ErrLastOwner)
	_, err = s.RemoveMember(ctx, ann.ID, allow)
	isError(t, "RemoveMember", err, exporters.ErrLastOwner)
	addMember(t, s, "cat@example.com", schemas.RoleOwner)
	_, err = s.UpdateMember(ctx, ann.ID, demote)
	noError(t, "UpdateMember with another owner", err)
}

func firstOwner(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			_, results[i] = s.AddMember(ctx, exporters.Member{Email: fmt.Sprintf("m%d@example.com", i), Role: schemas.RoleOwner}, true)
		})
	}
	wg.Wait()
	added := 0
	for _, err := range results {
		if err == nil {
			added++
		} else {
			isError(t, "AddMember", err, exporters.ErrConflict)
		}
	}
	if added != 1 {
		t.Errorf("%d became the first, want 1", added)
	}
}

func ownersAtOnce(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	var owners []exporters.Member
	for i := range 4 {
		owners = append(owners, addMember(t, s, fmt.Sprintf("m%d@example.com", i), schemas.RoleOwner))
	}
	var wg sync.WaitGroup
	for _, o := range owners {
		wg.Go(func() {
			_, err := s.UpdateMember(ctx, o.ID, func(m *exporters.Member) error { m.Role = schemas.RoleViewer; return nil })
			if err != nil && !errors.Is(err, exporters.ErrLastOwner) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := s.Members(ctx)
	noError(t, "Members", err)
	left := 0
	for _, m := range all {
		if m.Role == schemas.RoleOwner {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d owners are left, want 1", left)
	}
}

const day = int64(24 * time.Hour)

func sessions(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	ann := addMember(t, s, "ann@example.com", schemas.RoleOwner)
	ben := addMember(t, s, "ben@example.com", schemas.RoleViewer)
	add := func(n byte, m exporters.Member) exporters.Session {
		t.Helper()
		x, err := s.AddSession(ctx, [32]byte{n}, exporters.Session{Member: m.ID, Created: day, Expires: 10 * day, Agent: "Browser ☃", Address: "::1"})
		noError(t, "AddSession", err)
		return x
	}
	one, two := add(1, ann), add(2, ann)
	other := add(3, ben)
	find := func(n byte, now int64) error { _, _, err := s.SessionByHash(ctx, [32]byte{n}, now, 2*day); return err }
	got, m, err := s.SessionByHash(ctx, [32]byte{1}, day+1, 2*day)
	noError(t, "SessionByHash", err)
	equal(t, "session", got, exporters.Session{ID: one.ID, Member: ann.ID, Created: day, Used: day, Expires: 10 * day, Agent: "Browser ☃", Address: "::1"})
	ann.Seen = day // signing in is being seen
	equal(t, "its member", m, ann)
	isError(t, "unknown", find(9, day), exporters.ErrNotFound)
	// It is used, so it lasts; the other is not, and ends.
	got, m, err = s.SessionByHash(ctx, [32]byte{1}, 2*day, 2*day)
	noError(t, "SessionByHash", err)
	if got.Used != 2*day || m.Seen != 2*day {
		t.Errorf("used %d, seen %d; want both %d", got.Used, m.Seen, 2*day)
	}
	noError(t, "used within the idle time", find(1, 4*day-1))
	isError(t, "idle", find(2, 3*day), exporters.ErrNotFound)
	list, err := s.Sessions(ctx, ann.ID, 4*day, 2*day)
	noError(t, "Sessions", err)
	if len(list) != 1 || list[0].ID != one.ID {
		t.Errorf("sessions %+v, want the one that has not ended", list)
	}
	list, _ = s.Sessions(ctx, ann.ID, day, 9*day)
	if len(list) != 2 || list[0].ID != one.ID || list[1].ID != two.ID {
		t.Errorf("sessions %+v, want the last used first", list)
	}
	for now := 4 * day; now < 10*day; now += day {
		noError(t, "used daily", find(1, now))
	}
	isError(t, "past its lifetime", find(1, 10*day), exporters.ErrNotFound)

	isError(t, "EndSession of another's", s.EndSession(ctx, ann.ID, other.ID), exporters.ErrNotFound)
	noError(t, "EndSession", s.EndSession(ctx, ben.ID, other.ID))
	isError(t, "ended", find(3, day), exporters.ErrNotFound)
	isError(t, "EndSession again", s.EndSession(ctx, ben.ID, other.ID), exporters.ErrNotFound)
	if n, err := s.EndSessions(ctx, ann.ID, two.ID); n != 1 || err != nil {
		t.Errorf("EndSessions = %d, %v; want 1", n, err)
	}
	noError(t, "the spared one", find(2, day+1))
	_, err = s.AddSession(ctx, [32]byte{7}, exporters.Session{Member: 999, Expires: day})
	isError(t, "AddSession of nobody", err, exporters.ErrNotFound)
	_, err = s.RemoveMember(ctx, ben.ID, func(exporters.Member) error { return nil })
	noError(t, "RemoveMember", err)
}

func manySessions(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	ann := addMember(t, s, "ann@example.com", schemas.RoleOwner)
	for i := range exporters.MaxMemberSessions + 3 {
		_, err := s.AddSession(ctx, [32]byte{byte(i), 1}, exporters.Session{Member: ann.ID, Created: int64(i + 1), Expires: day})
		noError(t, "AddSession", err)
	}
	list, err := s.Sessions(ctx, ann.ID, 100, day)
	noError(t, "Sessions", err)
	if len(list) != exporters.MaxMemberSessions || list[len(list)-1].Created != 4 {
		t.Errorf("%d sessions, the oldest of %d; want %d without the first three", len(list), list[len(list)-1].Created, exporters.MaxMemberSessions)
	}
}

func memberLinks(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	ann := addMember(t, s, "ann@example.com", schemas.RoleOwner)
	isError(t, "PutLink of nobody", s.PutLink(ctx, [32]byte{1}, 999, 1, day), exporters.ErrNotFound)
	noError(t, "PutLink", s.PutLink(ctx, [32]byte{1}, ann.ID, 1, day))
	noError(t, "PutLink again", s.PutLink(ctx, [32]byte{2}, ann.ID, 1, day))
	_, err := s.LinkMember(ctx, [32]byte{1}, 2)
	isError(t, "the link before", err, exporters.ErrNotFound)
	m, err := s.LinkMember(ctx, [32]byte{2}, 2)
	noError(t, "LinkMember", err)
	equal(t, "whose it is", m, ann)
	_, err = s.UseLink(ctx, [32]byte{2}, day, "late")
	isError(t, "UseLink too late", err, exporters.ErrNotFound)
	_, err = s.AddSession(ctx, [32]byte{5}, exporters.Session{Member: ann.ID, Created: 1, Expires: day})
	noError(t, "AddSession", err)
	m, err = s.UseLink(ctx, [32]byte{2}, 3, "new")
	noError(t, "UseLink", err)
	if m.Password != "new" {
		t.Errorf("password %q, want new", m.Password)
	}
	_, err = s.UseLink(ctx, [32]byte{2}, 3, "newer")
	isError(t, "UseLink twice", err, exporters.ErrNotFound)
	_, _, err = s.SessionByHash(ctx, [32]byte{5}, 2, day)
	isError(t, "a session from before", err, exporters.ErrNotFound)
}

func memberTokens(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	addMember(t, s, "ann@example.com", schemas.RoleOwner)
	ben := addMember(t, s, "ben@example.com", schemas.RoleMember)
	want := exporters.Token{Name: "ci", Scopes: []string{"project:releases"}, Role: schemas.RoleViewer, Member: ben.ID, Prefix: "hpt_ab", Created: 5, Expires: day}
	made, err := s.AddToken(ctx, [32]byte{1}, want)
	noError(t, "AddToken", err)
	want.ID = made.ID
	got, err := s.TokenByHash(ctx, [32]byte{1}, 1)
	noError(t, "TokenByHash", err)
	equal(t, "token", got, want)
	_, err = s.TokenByHash(ctx, [32]byte{1}, day)
	isError(t, "TokenByHash of one that expired", err, exporters.ErrNotFound)
	_, err = s.AddToken(ctx, [32]byte{2}, exporters.Token{Name: "x", Member: 999})
	isError(t, "AddToken of nobody", err, exporters.ErrNotFound)
	for i := 1; i < exporters.MaxMemberTokens; i++ {
		_, err := s.AddToken(ctx, [32]byte{3, byte(i)}, exporters.Token{Name: "x", Member: ben.ID})
		noError(t, "AddToken", err)
	}
	_, err = s.AddToken(ctx, [32]byte{4}, exporters.Token{Name: "x", Member: ben.ID})
	isError(t, "AddToken of too many", err, exporters.ErrTooLarge)
	_, err = s.RemoveMember(ctx, ben.ID, func(exporters.Member) error { return nil })
	noError(t, "RemoveMember", err)
	all, err := s.Tokens(ctx)
	noError(t, "Tokens", err)
	if len(all) != 0 {
		t.Errorf("%d tokens of a removed member are left", len(all))
	}
}

func audit(t *testing.T, s AccountStore) {
	ctx := testContext(t)
	for i := range 5 {
		noError(t, "Note", s.Note(ctx, exporters.AuditEntry{At: int64(i + 1), Actor: "ann", Action: "key.create", Target: "shop", Detail: fmt.Sprint(i, "\x00")}))
	}
	page, err := s.Audit(ctx, 0, 3)
	noError(t, "Audit", err)
	if len(page) != 3 || page[0].At != 5 || page[2].Detail != "2\uFFFD" {
		t.Fatalf("the newest three = %+v", page)
	}
	page, err = s.Audit(ctx, page[2].ID, 3)
	noError(t, "Audit", err)
	if len(page) != 2 || page[0].At != 2 || page[1].At != 1 {
		t.Errorf("the next page = %+v", page)
	}
}

func accountsCancelled(t *testing.T, s AccountStore) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	nothing := func(*exporters.Member) error { return nil }
	for name, f := range map[string]func() error{
		"CountMembers":  func() error { _, err := s.CountMembers(ctx); return err },
		"Members":       func() error { _, err := s.Members(ctx); return err },
		"MemberByEmail": func() error { _, err := s.MemberByEmail(ctx, "x"); return err },
		"AddMember":     func() error { _, err := s.AddMember(ctx, exporters.Member{Email: "x"}, false); return err },
		"UpdateMember":  func() error { _, err := s.UpdateMember(ctx, 1, nothing); return err },
		"AddSession":    func() error { _, err := s.AddSession(ctx, [32]byte{}, exporters.Session{}); return err },
		"SessionByHash": func() error { _, _, err := s.SessionByHash(ctx, [32]byte{}, 1, 1); return err },
		"UseLink":       func() error { _, err := s.UseLink(ctx, [32]byte{}, 1, "x"); return err },
		"Audit":         func() error { _, err := s.Audit(ctx, 0, 1); return err },
		"Note":          func() error { return s.Note(ctx, exporters.AuditEntry{}) },
	} {
		if err := f(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: got error %v, want %v", name, err, context.Canceled)
		}
	}
}
