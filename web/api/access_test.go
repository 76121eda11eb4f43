package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// guarded is a handler on which one must sign in.
type guarded struct {
	*Handler
	t        *testing.T
	accounts *fakestore.Accounts
	access   *access.Service
}

const secret = "four words are best"

func newGuarded(t *testing.T, required bool) *guarded {
	t.Helper()
	store, accounts := fakestore.Orders(testNow), &fakestore.Accounts{}
	cfg := access.DefaultConfig()
	if required {
		cfg.Auth = "required"
	}
	who, err := access.New(cfg, access.Place{}, access.Deps{Accounts: accounts, Tokens: accounts}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Version: "test"}, Deps{
		Spans: store, Messages: store, Metrics: store, Clocks: store, Logs: store, Ledger: store, Events: store, Issues: store, IssueEvents: store, Joined: store, Projects: store, Blobs: store, Nodes: store, Find: store,
		Queries: store, Access: who, Accounts: accounts, Tokens: accounts,
	}, prometheus.NewRegistry(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return &guarded{h, t, accounts, who}
}

// member adds one with a password.
func (g *guarded) member(email string, role schemas.Role) exporters.Member {
	g.t.Helper()
	m, err := access.NewMember(email, "", role, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	if m.Password, err = g.access.HashPassword(context.Background(), secret, email); err != nil {
		g.t.Fatal(err)
	}
	if m, err = g.accounts.AddMember(context.Background(), m, false); err != nil {
		g.t.Fatal(err)
	}
	return m
}

// browser is one with or without a session.
type browser struct {
	g      *guarded
	cookie *http.Cookie
	bearer string
}

// do asks as a browser does, or as a program when it has a token.
func (b *browser) do(method, path, body string) *httptest.ResponseRecorder {
	r := request(method, path, body)
	if b.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+b.bearer)
	} else {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.g.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
		if c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return w
}

func (b *browser) want(method, path, body string, status int, code string) []byte {
	b.g.t.Helper()
	w := b.do(method, path, body)
	var p Problem
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	if w.Code != status || p.Code != code {
		b.g.t.Fatalf("%s %s %s: %d %q; want %d %q: %s", method, path, body, w.Code, p.Code, status, code, w.Body)
	}
	return w.Body.Bytes()
}

func as[T any](b *browser, method, path, body string) (out T) {
	b.g.t.Helper()
	if err := json.Unmarshal(b.want(method, path, body, 200, ""), &out); err != nil {
		b.g.t.Fatal(err)
	}
	return out
}

func (g *guarded) signIn(email string) *browser {
	g.t.Helper()
	b := &browser{g: g}
	b.want("POST", "/sign-in", fmt.Sprintf(`{"email":%q,"password":%q}`, email, secret), 200, "")
	if b.cookie == nil {
		g.t.Fatal("signing in sets no cookie")
	}
	return b
}

// Every route, asked by each role: who may not is refused before anything is read.
func TestEachRouteIsServedToItsRoleAndThoseAbove(t *testing.T) {
	g := newGuarded(t, true)
	people := []struct {
		role schemas.Role
		b    *browser
	}{{"", &browser{g: g}}}
	for _, role := range schemas.Roles {
		g.member(string(role)+"@example.com", role)
		people = append(people, struct {
			role schemas.Role
			b    *browser
		}{role, g.signIn(string(role) + "@example.com")})
	}
	for _, route := range g.routes {
		need, ok := roles[route]
		if !ok {
			t.Errorf("%s has no role in roles.go", route)
			continue
		}
		method, path, _ := strings.Cut(route, " ")
		path = strings.NewReplacer("{id}", "999", "{key}", "0", "{event}", "0", "{group}", "g", "{name}", "n", "{topic}", "t", "{partition}", "0", "{offset}", "0", "{slug}", "s", "{version}", "v").Replace(strings.TrimPrefix(path, "/api/v1"))
		if strings.Contains(path, "{") {
			path = strings.NewReplacer("{", "", "}", "").Replace(path)
		}
		for _, p := range people {
			switch route {
			case "POST /api/v1/sign-out": // it would end the session that is asked with
				continue
			}
			cookie := p.b.cookie
			w := p.b.do(method, path, "")
			p.b.cookie = cookie
			allowed := need.role == anyone || need.role == signedIn && p.role != "" || p.role.AtLeast(need.role)
			var got Problem
			_ = json.Unmarshal(w.Body.Bytes(), &got)
			refused := got.Code == "no_permission" && strings.HasPrefix(got.Detail, "it needs role") || got.Code == "sign_in_required"
			if refused == allowed {
				t.Errorf("%s by %q: %d %s; allowed should be %v", route, p.role, w.Code, got.Code, allowed)
			}
			if want := 403; refused && p.role != "" && w.Code != want {
				t.Errorf("%s by %q: status %d, want %d", route, p.role, w.Code, want)
			}
			if p.role == "" && refused && (w.Code != 401 || w.Header().Get("WWW-Authenticate") == "") {
				t.Errorf("%s by nobody: status %d, WWW-Authenticate %q", route, w.Code, w.Header().Get("WWW-Authenticate"))
			}
		}
	}
}

func TestTheContractSaysWhoMayAskWhat(t *testing.T) {
	c := readContract(t)
	for path, item := range c.Paths {
		for method, op := range item {
			route := strings.ToUpper(method) + " " + path
			need, ok := roles[route]
			if !ok {
				t.Errorf("%s has no role in roles.go", route)
			}
			if op.Role != string(need.role) {
				t.Errorf("openapi.yaml has x-role %q for %s; roles.go %q", op.Role, route, need.role)
			}
		}
	}
	for route := range roles {
		method, path, _ := strings.Cut(route, " ")
		if _, ok := c.Paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("roles.go has %s, which is not served", route)
		}
	}
}

func TestARouteThatHasNoRoleIsAnOwners(t *testing.T) {
	if got := roleOf("GET /api/v1/forgotten"); got.role != schemas.RoleOwner {
		t.Errorf("role %q, want owner", got.role)
	}
}

func TestWithoutMembersWhoeverSitsThereIsOwnerUntilThereIsOne(t *testing.T) {
	g := newGuarded(t, false)
	b := &browser{g: g}
	if me := as[Me](b, "GET", "/me", ""); !me.Open || me.Role != schemas.RoleOwner || me.Required || me.Setup || me.Member != nil {
		t.Errorf("me = %+v; want open, as owner", me)
	}
	b.want("GET", "/me/tokens", "", 409, "no_accounts")
	b.want("POST", "/members", `{"email":"v@example.com","role":"viewer"}`, 409, "owner_first")
	made := as[MemberLink](b, "POST", "/members", `{"email":"Ann@example.com","role":"owner"}`)
	b.want("GET", "/status", "", 401, "sign_in_required")
	if me := as[Me](b, "GET", "/me", ""); me.Open || me.Role != "" || !me.Required || me.Setup {
		t.Errorf("me = %+v; want that one must sign in", me)
	}
	link, _ := strings.CutPrefix(made.Link, "/welcome#")
	if to := as[LinkFor](b, "POST", "/links/look", fmt.Sprintf(`{"link":%q}`, link)); to.Setup || to.Email != "ann@example.com" {
		t.Errorf("the link is for %+v", to)
	}
	b.want("POST", "/links/use", fmt.Sprintf(`{"link":%q,"password":"short"}`, link), 400, "bad_field")
	me := as[Me](b, "POST", "/links/use", fmt.Sprintf(`{"link":%q,"password":%q}`, link, secret))
	if me.Role != schemas.RoleOwner || me.Member == nil || !me.Member.Password {
		t.Errorf("me = %+v after the link", me)
	}
	b.want("GET", "/status", "", 200, "")
	(&browser{g: g}).want("POST", "/links/use", fmt.Sprintf(`{"link":%q,"password":%q}`, link, secret), 410, "link_used")
}

func TestTheSetupLinkIsSaidToBeNeeded(t *testing.T) {
	g := newGuarded(t, true)
	b := &browser{g: g}
	if me := as[Me](b, "GET", "/me", ""); !me.Setup || !me.Required || me.Role != "" {
		t.Errorf("me = %+v; want setup", me)
	}
	path, _ := g.access.SetupPath(t.Context())
	me := as[Me](b, "POST", "/links/use", fmt.Sprintf(`{"link":%q,"password":%q,"email":"a@example.com"}`, strings.TrimPrefix(path, "/welcome#"), secret))
	if me.Setup || me.Role != schemas.RoleOwner {
		t.Errorf("me = %+v; want the first owner", me)
	}
}

func TestSessionsAreListedEndedAndGoWithThePassword(t *testing.T) {
	g := newGuarded(t, true)
	g.member("a@example.com", schemas.RoleOwner)
	one, two, three := g.signIn("a@example.com"), g.signIn("a@example.com"), g.signIn("a@example.com")
	g.now = time.Now
	list := as[SessionList](one, "GET", "/me/sessions", "")
	if len(list.Sessions) != 3 {
		t.Fatalf("%d sessions, want 3", len(list.Sessions))
	}
	for _, s := range list.Sessions {
		if s.Current {
			continue
		}
		one.want("DELETE", "/me/sessions/"+s.ID, "", 200, "")
		one.want("DELETE", "/me/sessions/"+s.ID, "", 404, "session_not_found")
		break
	}
	left := 0
	for _, b := range []*browser{two, three} {
		if b.do("GET", "/status", "").Code == 200 {
			left++
		}
	}
	if left != 1 {
		t.Errorf("%d of two other sessions are left, want 1", left)
	}
	one.want("PUT", "/me/password", `{"current":"wrong wrong wrong","password":"another four good words"}`, 400, "bad_field")
	one.want("PUT", "/me/password", fmt.Sprintf(`{"current":%q,"password":"short"}`, secret), 400, "bad_field")
	one.want("PUT", "/me/password", fmt.Sprintf(`{"current":%q,"password":"another four good words"}`, secret), 200, "")
	one.want("GET", "/status", "", 200, "")
	for _, b := range []*browser{two, three} {
		b.want("GET", "/status", "", 401, "sign_in_required")
	}
	kept := *one
	one.want("POST", "/sign-out", `{"everywhere":true}`, 200, "")
	if one.cookie != nil {
		t.Error("the cookie stays")
	}
	kept.want("GET", "/status", "", 401, "sign_in_required")
	one.want("POST", "/sign-out", "", 200, "")
	one.want("POST", "/sign-in", fmt.Sprintf(`{"email":"a@example.com","password":%q}`, secret), 401, "sign_in_wrong")
	one.want("POST", "/sign-in", `{"email":"a@example.com","password":"another four good words"}`, 200, "")
}

func TestASessionActsFromThisServersPagesOnly(t *testing.T) {
	g := newGuarded(t, true)
	g.member("a@example.com", schemas.RoleOwner)
	b := g.signIn("a@example.com")
	f := func(method, header, value string, status int) {
		t.Helper()
		r := request(method, "/me", `{"name":"Ann"}`)
		r.AddCookie(b.cookie)
		if header != "" {
			r.Header.Set(header, value)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s with %s: %s: %d, want %d: %s", method, header, value, w.Code, status, w.Body)
		}
	}
	f("PUT", "", "", 403)
	f("PUT", "Origin", "https://evil.example", 403)
	f("PUT", "Origin", "null", 403)
	f("PUT", "Sec-Fetch-Site", "cross-site", 403)
	f("PUT", "Sec-Fetch-Site", "same-site", 403)
	f("PUT", "Origin", "http://example.com", 200)
	f("PUT", "Sec-Fetch-Site", "same-origin", 200)
	r := request("POST", "/sign-in", fmt.Sprintf(`{"email":"a@example.com","password":%q}`, secret))
	r.Header.Set("Origin", "https://evil.example")
	problemOf(t, g, r, 403, "other_site")
}

func TestGuessingPasswordsIsSlowedDown(t *testing.T) {
	g := newGuarded(t, true)
	g.member("a@example.com", schemas.RoleOwner)
	b := &browser{g: g}
	for range 10 {
		b.want("POST", "/sign-in", `{"email":"a@example.com","password":"wrong"}`, 401, "sign_in_wrong")
	}
	w := b.do("POST", "/sign-in", fmt.Sprintf(`{"email":"a@example.com","password":%q}`, secret))
	var p Problem
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	if w.Code != 429 || p.Code != "too_many_attempts" || p.RetryAfter < 1 || w.Header().Get("Retry-After") == "" {
		t.Errorf("the 11th: %d %+v, Retry-After %q", w.Code, p, w.Header().Get("Retry-After"))
	}
}

func TestTokensDoNoMoreThanTheirMember(t *testing.T) {
	g := newGuarded(t, true)
	g.member("o@example.com", schemas.RoleOwner)
	m := g.member("m@example.com", schemas.RoleMember)
	b, owner := g.signIn("m@example.com"), g.signIn("o@example.com")
	b.want("POST", "/me/tokens", `{"name":"x","role":"admin","days":30}`, 403, "no_permission")
	b.want("POST", "/me/tokens", `{"name":"x","role":"boss","days":30}`, 400, "bad_field")
	b.want("POST", "/me/tokens", `{"name":"","role":"viewer","days":30}`, 400, "bad_field")
	b.want("POST", "/me/tokens", `{"name":"x","role":"viewer","days":0}`, 400, "bad_field")
	b.want("POST", "/me/tokens", `{"name":"x","role":"viewer","days":9999999999}`, 400, "bad_field")
	b.want("POST", "/me/tokens", `{"name":"x","days":3}`, 400, "bad_field")
	b.want("POST", "/me/tokens", `{"name":"x","scopes":["root"],"days":3}`, 400, "bad_field")
	made := as[TokenMade](b, "POST", "/me/tokens", `{"name":"ci","role":"member","scopes":["project:releases"],"days":30}`)
	if !strings.HasPrefix(made.Secret, "hpt_") || !strings.HasPrefix(made.Secret, made.Token.Prefix) || len(made.Token.Prefix) > 12 || made.Token.Expires == nil || made.Token.Member != "m@example.com" {
		t.Errorf("made %+v", made)
	}
	program := &browser{g: g, bearer: made.Secret}
	program.want("GET", "/status", "", 200, "")
	if me := as[Me](program, "GET", "/me", ""); me.Token != "ci" || me.Role != schemas.RoleMember || me.Member.Email != "m@example.com" {
		t.Errorf("me = %+v", me)
	}
	program.want("PUT", "/issues/7", `{"by":"somebody else","resolve":{}}`, 200, "")
	if d := as[IssueDetail](program, "GET", "/issues/7", ""); d.Activity[0].By != "m@example.com (token ci)" {
		t.Errorf("the log says %q did it", d.Activity[0].By)
	}
	program.want("POST", "/projects", `{"slug":"x"}`, 403, "no_permission")
	program.want("GET", "/me/tokens", "", 403, "no_permission")

	// Its member becomes a viewer, and so does it.
	owner.want("PUT", fmt.Sprintf("/members/%d", m.ID), `{"role":"viewer"}`, 200, "")
	program.want("PUT", "/issues/7", `{"unresolve":true}`, 403, "no_permission")
	program.want("GET", "/status", "", 200, "")
	b.want("POST", "/me/tokens", `{"name":"x","scopes":["project:releases"],"days":3}`, 403, "no_permission")

	if l := as[TokenList](b, "GET", "/me/tokens", ""); len(l.Tokens) != 1 || l.Tokens[0].LastUsed == nil {
		t.Errorf("tokens %+v; want the one, used", l.Tokens)
	}
	if l := as[TokenList](owner, "GET", "/me/tokens", ""); len(l.Tokens) != 0 {
		t.Errorf("the owner's own tokens %+v, want none", l.Tokens)
	}
	owner.want("DELETE", "/me/tokens/"+made.Token.ID, "", 404, "token_not_found")
	if l := as[TokenList](owner, "GET", "/tokens", ""); len(l.Tokens) != 1 || l.Tokens[0].Member != "m@example.com" {
		t.Errorf("all tokens %+v", l.Tokens)
	}
	owner.want("DELETE", "/tokens/"+made.Token.ID, "", 200, "")
	program.want("GET", "/status", "", 401, "token_unknown")
	// Who shows a token that is not known is told so, whatever else would let them in.
	(&browser{g: newGuarded(t, false), bearer: "hpt_x"}).want("GET", "/status", "", 401, "token_unknown")

	cli, _, err := access.MakeToken(t.Context(), g.accounts, exporters.Token{Name: "cli", Scopes: []string{exporters.ScopeProjectReleases}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	(&browser{g: g, bearer: cli}).want("GET", "/status", "", 403, "no_permission")
}

func TestOnlyOwnersReachOwners(t *testing.T) {
	g := newGuarded(t, true)
	o := g.member("o@example.com", schemas.RoleOwner)
	a := g.member("a@example.com", schemas.RoleAdmin)
	owner, adm := g.signIn("o@example.com"), g.signIn("a@example.com")
	at := func(m exporters.Member) string { return fmt.Sprintf("/members/%d", m.ID) }
	adm.want("POST", "/members", `{"email":"x@example.com","role":"owner"}`, 403, "no_permission")
	adm.want("PUT", at(a), `{"role":"owner"}`, 403, "no_permission")
	adm.want("PUT", at(o), `{"name":"Z"}`, 403, "no_permission")
	adm.want("DELETE", at(o), "", 403, "no_permission")
	adm.want("POST", at(o)+"/link", "", 403, "no_permission")
	owner.want("PUT", at(o), `{"role":"admin"}`, 409, "last_owner")
	owner.want("DELETE", at(o), "", 409, "last_owner")
	owner.want("PUT", at(o), `{"role":"boss"}`, 400, "bad_body")
	owner.want("PUT", "/members/999", `{"role":"admin"}`, 404, "member_not_found")
	owner.want("PUT", "/members/x", `{"role":"admin"}`, 400, "bad_parameter")
	adm.want("POST", "/members", `{"email":"nobody","role":"viewer"}`, 400, "bad_field")
	adm.want("POST", "/members", `{"email":"a@example.com","role":"viewer"}`, 409, "member_exists")
	made := as[MemberLink](adm, "POST", "/members", `{"email":"v@example.com","name":"Vic","role":"viewer"}`)
	if made.Member.Name != "Vic" || made.Member.Password {
		t.Errorf("made %+v", made)
	}
	again := as[MemberLink](adm, "POST", "/members/"+made.Member.ID+"/link", "")
	b := &browser{g: g}
	b.want("POST", "/links/look", fmt.Sprintf(`{"link":%q}`, strings.TrimPrefix(made.Link, "/welcome#")), 410, "link_used")
	b.want("POST", "/links/use", fmt.Sprintf(`{"link":%q,"password":%q}`, strings.TrimPrefix(again.Link, "/welcome#"), secret), 200, "")
	b.want("GET", "/status", "", 200, "")
	if l := as[MemberList](b, "GET", "/members", ""); len(l.Members) != 3 {
		t.Errorf("members %+v", l)
	}
	adm.want("DELETE", "/members/"+made.Member.ID, "", 200, "")
	b.want("GET", "/status", "", 401, "sign_in_required")
	owner.want("PUT", at(a), `{"role":"owner"}`, 200, "")
	owner.want("PUT", at(o), `{"role":"viewer"}`, 200, "")
	owner.want("GET", "/audit", "", 403, "no_permission")
}

func TestTheAuditSaysWhoChangedWhat(t *testing.T) {
	g := newGuarded(t, true)
	g.member("o@example.com", schemas.RoleOwner)
	b := g.signIn("o@example.com")
	b.want("POST", "/projects", `{"slug":"shop"}`, 200, "")
	b.want("POST", "/projects", `{"slug":"shop"}`, 409, "project_exists")
	b.want("POST", "/projects/1/keys", `{"label":"web"}`, 200, "")
	made := as[MemberLink](b, "POST", "/members", `{"email":"v@example.com","role":"viewer"}`)
	b.want("PUT", "/members/"+made.Member.ID, `{"role":"member"}`, 200, "")
	l := as[AuditList](b, "GET", "/audit?limit=3", "")
	var got []string
	for _, e := range l.Entries {
		got = append(got, e.Actor+" "+e.Action+" "+e.Target+" "+e.Detail)
	}
	want := []string{"o@example.com member.change v@example.com role viewer → member", "o@example.com member.create v@example.com role viewer", "o@example.com key.create default web"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || l.Next == nil {
		t.Fatalf("the audit says:\n%s\nwant:\n%s\nand a next page: %v", strings.Join(got, "\n"), strings.Join(want, "\n"), l.Next)
	}
	if rest := as[AuditList](b, "GET", "/audit?before="+*l.Next, ""); len(rest.Entries) != 1 || rest.Entries[0].Action != "project.create" || rest.Entries[0].Target != "shop" || rest.Next != nil {
		t.Errorf("the next page is %+v", rest)
	}
}

func TestWithoutTheStoreOfAccountsNobodyIsLetIn(t *testing.T) {
	g := newGuarded(t, true)
	g.member("o@example.com", schemas.RoleOwner)
	b := g.signIn("o@example.com")
	g.accounts.Err = exporters.ErrUnavailable
	b.want("GET", "/status", "", 503, "store_unavailable")
	b.want("POST", "/sign-in", fmt.Sprintf(`{"email":"o@example.com","password":%q}`, secret), 503, "store_unavailable")
}

func TestAProcessWithoutAccountsSaysSo(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	for _, path := range []string{"/members", "/tokens", "/audit"} {
		problemOf(t, h, request("GET", path, ""), 501, "no_accounts")
	}
	if me := get[Me](t, h, "/me", 200); !me.Open || me.Role != schemas.RoleOwner {
		t.Errorf("me = %+v", me)
	}
}

func TestASavedQueryIsItsOwnersAndAnAdmins(t *testing.T) {
	g := newGuarded(t, true)
	for _, role := range schemas.Roles {
		g.member(string(role)+"@example.com", role)
	}
	g.member("second@example.com", schemas.RoleMember)
	one, other, admin, viewer := g.signIn("member@example.com"), g.signIn("second@example.com"), g.signIn("admin@example.com"), g.signIn("viewer@example.com")
	body := func(name string) string {
		return fmt.Sprintf(`{"name":%q,"subject":"spans","query":"","view":"","owner":"owner@example.com"}`, name)
	}
	mine := as[SavedQuery](one, "POST", "/queries", body("slow"))
	if mine.Owner != "member@example.com" || !mine.Yours {
		t.Fatalf("saved %+v; want the member as its owner, whatever they say", mine)
	}
	yours := func(b *browser) bool {
		t.Helper()
		list := as[SavedQueryList](b, "GET", "/queries", "").Queries
		if len(list) != 1 || list[0].Owner != "member@example.com" {
			t.Fatalf("queries %+v", list)
		}
		return list[0].Yours
	}
	if !yours(one) || yours(other) || !yours(admin) || yours(viewer) {
		t.Errorf("yours: owner %v, other %v, admin %v, viewer %v; want true, false, true, false", yours(one), yours(other), yours(admin), yours(viewer))
	}
	at := "/queries/" + mine.ID
	other.want("PUT", at, body("theirs"), 403, "not_yours")
	other.want("DELETE", at, "", 403, "not_yours")
	viewer.want("DELETE", at, "", 403, "no_permission")
	other.want("DELETE", "/queries/99", "", 404, "query_not_found")
	if renamed := as[SavedQuery](admin, "PUT", at, body("slow spans")); renamed.Owner != "member@example.com" {
		t.Errorf("an admin's change makes %s the owner", renamed.Owner)
	}
	as[SavedQuery](one, "PUT", at, body("slow"))

	// Who is a member no more owns nothing: what they saved is everybody's.
	members := as[MemberList](admin, "GET", "/members", "").Members
	for _, m := range members {
		if m.Email == "member@example.com" {
			admin.want("DELETE", "/members/"+m.ID, "", 200, "")
		}
	}
	if !yours(other) {
		t.Error("nobody but admins may change what a removed member saved")
	}
	other.want("DELETE", at, "", 200, "")
}
