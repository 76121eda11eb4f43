package access

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// testProvider speaks OpenID Connect: discovery, keys, codes for tokens with PKCE.
type testProvider struct {
	*httptest.Server
	t      *testing.T
	key    *rsa.PrivateKey
	claims map[string]any // of who signs in next
	asked  url.Values     // of the last authorization
}

func newTestProvider(t *testing.T) *testProvider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &testProvider{t: t, key: key}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if r.FormValue("code") != "c0de" || base64.RawURLEncoding.EncodeToString(sum[:]) != p.asked.Get("code_challenge") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		claims := map[string]any{"iss": p.URL, "aud": "hoptrace", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "nonce": p.asked.Get("nonce")}
		for k, v := range p.claims {
			claims[k] = v
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Error(err)
			return
		}
		body, _ := json.Marshal(claims)
		signed, err := signer.Sign(body)
		if err != nil {
			t.Error(err)
			return
		}
		id, _ := signed.CompactSerialize()
		answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": id})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// walk goes to the provider and back; it returns where it ends and whether there is
// a session. change may alter the way back.
func (p *testProvider) walk(s *Service, to string, change func(back url.Values)) (end string, session bool) {
	p.t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/auth/oidc/start?to="+url.QueryEscape(to), nil))
	at, err := url.Parse(w.Header().Get("Location"))
	if err != nil || !strings.HasPrefix(at.String(), p.URL+"/authorize?") {
		return w.Header().Get("Location"), false
	}
	p.asked = at.Query()
	if p.asked.Get("code_challenge_method") != "S256" || p.asked.Get("state") == "" || p.asked.Get("nonce") == "" {
		p.t.Errorf("asked %v; want PKCE, state and nonce", p.asked)
	}
	back := url.Values{"code": {"c0de"}, "state": {p.asked.Get("state")}}
	if change != nil {
		change(back)
	}
	r := httptest.NewRequest(http.MethodGet, "/auth/oidc/callback?"+back.Encode(), nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if strings.HasSuffix(c.Name, "_session") {
			next := httptest.NewRequest(http.MethodGet, "/", nil)
			next.AddCookie(c)
			who, err := s.Who(next)
			session = err == nil && who.Role != ""
		}
	}
	return w.Header().Get("Location"), session
}

func TestAnIdentityProviderSignsMembersIn(t *testing.T) {
	p := newTestProvider(t)
	cfg := DefaultConfig()
	cfg.PublicURL = "http://127.0.0.1:8090"
	cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.ClientSecret = p.URL, "hoptrace", "s"
	cfg.OIDC.AllowedDomains = []string{"example.com"}
	cfg.OIDC.RoleClaim, cfg.OIDC.RoleMap = "groups", []string{"ops=admin", "dev=member"}
	s, store := newService(t, cfg, Place{})
	addWithPassword(t, s, "owner@example.com", good, schemas.RoleOwner)
	f := func(what string, claims map[string]any, change func(url.Values), end string) {
		t.Helper()
		p.claims = claims
		s.limit = limiter{}
		got, session := p.walk(s, "/issues/7?from=-1h", change)
		if got != end || session != (end == "/issues/7?from=-1h") {
			t.Errorf("%s ends at %q, session %v; want %q", what, got, session, end)
		}
	}
	const home = "/issues/7?from=-1h"
	ann := func(more map[string]any) map[string]any {
		out := map[string]any{"sub": "1", "email": "Ann@example.com", "email_verified": true, "name": "Ann"}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	f("a stranger", ann(nil), nil, "/sign-in?refused=not-member")
	f("who is in a group", ann(map[string]any{"groups": []string{"x", "dev"}}), nil, home)
	f("who is in a greater one now", ann(map[string]any{"groups": []string{"dev", "ops"}, "email": "ann.new@example.com"}), nil, home)
	if m, err := store.MemberBySubject(t.Context(), p.URL, "1"); err != nil || m.Role != schemas.RoleAdmin || m.Email != "ann@example.com" || m.Name != "Ann" {
		t.Errorf("the member is %+v, %v; want Ann by her subject, admin", m, err)
	}
	f("an address that is not verified", ann(map[string]any{"email_verified": false}), nil, "/sign-in?refused=email")
	f("an address of another domain", ann(map[string]any{"sub": "9", "email": "ann@evil.example"}), nil, "/sign-in?refused=domain")
	f("somebody else with a member's address", ann(map[string]any{"sub": "2"}), nil, "/sign-in?refused=other")
	f("the last owner, whom the map makes less", ann(map[string]any{"sub": "3", "email": "owner@example.com", "groups": "dev"}), nil, home)
	if m, _ := store.MemberByEmail(t.Context(), "owner@example.com"); m.Role != schemas.RoleOwner || m.Subject != "3" {
		t.Errorf("the owner is %+v; want still owner, linked", m)
	}
	f("another state", ann(nil), func(v url.Values) { v.Set("state", "x") }, "/sign-in?refused=expired")
	f("another code", ann(nil), func(v url.Values) { v.Set("code", "x") }, "/sign-in?refused=provider")
	f("who said no", ann(nil), func(v url.Values) { v.Set("error", "access_denied") }, "/sign-in?refused=denied")
	f("another nonce", ann(map[string]any{"nonce": "x"}), nil, "/sign-in?refused=provider")
	f("a token for another", ann(map[string]any{"aud": "other"}), nil, "/sign-in?refused=provider")
	f("a token that is over", ann(map[string]any{"exp": 1}), nil, "/sign-in?refused=provider")
	p.Close()
	again, _ := newService(t, cfg, Place{})
	if got, _ := p.walk(again, "/", nil); got != "/sign-in?refused=provider" {
		t.Errorf("a provider that is away leads to %q", got)
	}
}

func TestARoleGoesWithTheGroupThatGaveIt(t *testing.T) {
	p := newTestProvider(t)
	cfg := DefaultConfig()
	cfg.PublicURL = "http://127.0.0.1:8090"
	cfg.OIDC.Issuer, cfg.OIDC.ClientID, cfg.OIDC.ClientSecret = p.URL, "hoptrace", "s"
	cfg.OIDC.RoleClaim, cfg.OIDC.RoleMap = "groups", []string{"ops=admin", "dev=member"}
	with := func(defaultRole string) (*Service, func(sub string, groups []string) string, func(sub string) schemas.Role) {
		c := cfg
		c.OIDC.DefaultRole = defaultRole
		s, store := newService(t, c, Place{})
		addWithPassword(t, s, "owner@example.com", good, schemas.RoleOwner)
		come := func(sub string, groups []string) string {
			t.Helper()
			p.claims = map[string]any{"sub": sub, "email": sub + "@example.com", "email_verified": true, "groups": groups}
			s.limit = limiter{}
			end, _ := p.walk(s, "/", nil)
			return end
		}
		role := func(sub string) schemas.Role {
			t.Helper()
			m, err := store.MemberByEmail(t.Context(), sub+"@example.com")
			if err != nil {
				t.Fatal(err)
			}
			return m.Role
		}
		return s, come, role
	}
	f := func(what, end string, got, want schemas.Role) {
		t.Helper()
		if end != "/" || got != want {
			t.Errorf("%s ends at %q as %s; want / as %s", what, end, got, want)
		}
	}

	_, come, role := with("viewer")
	f("in ops", come("ann", []string{"ops"}), role("ann"), schemas.RoleAdmin)
	f("in dev alone", come("ann", []string{"dev"}), role("ann"), schemas.RoleMember)
	f("in no group", come("ann", nil), role("ann"), schemas.RoleViewer)
	f("in ops again", come("ann", []string{"ops"}), role("ann"), schemas.RoleAdmin)

	s, come, role := with("")
	f("in ops", come("ann", []string{"ops"}), role("ann"), schemas.RoleAdmin)
	ann, err := s.deps.Accounts.MemberByEmail(t.Context(), "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if end := come("ann", nil); end != "/sign-in?refused=not-member" || role("ann") != schemas.RoleViewer {
			t.Errorf("in no group, without a default, ends at %q as %s; want refused, with no more than a viewer's role", end, role("ann"))
		}
	}
	if left, err := s.deps.Accounts.Sessions(t.Context(), ann.ID, s.now().UnixNano(), s.Idle().Nanoseconds()); err != nil || len(left) != 0 {
		t.Errorf("%d sessions are left, %v; want none", len(left), err)
	}
	f("in dev again", come("ann", []string{"dev"}), role("ann"), schemas.RoleMember)
	// A role that somebody gave is no group's.
	addWithPassword(t, s, "ben@example.com", good, schemas.RoleAdmin)
	f("invited, and in no group", come("ben", nil), role("ben"), schemas.RoleAdmin)
	f("invited, and in dev", come("ben", []string{"dev"}), role("ben"), schemas.RoleMember)
	ben, _ := s.deps.Accounts.MemberByEmail(t.Context(), "ben@example.com")
	if _, err := s.deps.Accounts.UpdateMember(t.Context(), ben.ID, func(m *exporters.Member) error { m.Role, m.Mapped = schemas.RoleAdmin, false; return nil }); err != nil {
		t.Fatal(err)
	}
	f("given a role by hand, and in no group", come("ben", nil), role("ben"), schemas.RoleAdmin)
}
