package access

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func newService(t *testing.T, cfg Config, place Place) (*Service, *fakestore.Accounts) {
	t.Helper()
	store := &fakestore.Accounts{}
	s, err := New(cfg, place, Deps{Accounts: store, Tokens: store}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.hasher.cost = cost{memory: 64, time: 1, lanes: 1} // tests hash often
	return s, store
}

func addWithPassword(t *testing.T, s *Service, email, password string, role schemas.Role) exporters.Member {
	t.Helper()
	m, err := NewMember(email, "", role, s.now())
	if err != nil {
		t.Fatal(err)
	}
	if m.Password, err = s.HashPassword(t.Context(), password, email); err != nil {
		t.Fatal(err)
	}
	if m, err = s.deps.Accounts.AddMember(t.Context(), m, false); err != nil {
		t.Fatal(err)
	}
	return m
}

const good = "four words are best"

func TestSignInIsRequiredWhereOthersReachTheServer(t *testing.T) {
	f := func(auth string, beyond, member, want bool) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Auth = auth
		s, _ := newService(t, cfg, Place{Beyond: beyond})
		if member {
			addWithPassword(t, s, "a@example.com", good, schemas.RoleOwner)
		}
		if got, err := s.Required(t.Context()); got != want || err != nil {
			t.Errorf("auth %s, beyond %v, member %v: required %v, %v; want %v", auth, beyond, member, got, err, want)
		}
	}
	f("auto", false, false, false)
	f("auto", false, true, true)
	f("auto", true, false, true)
	f("required", false, false, true)
}

func TestAStoreThatDoesNotAnswerLetsNobodyIn(t *testing.T) {
	s, store := newService(t, DefaultConfig(), Place{})
	store.Err = exporters.ErrUnavailable
	if p, err := s.Who(httptest.NewRequest(http.MethodGet, "/", nil)); !errors.Is(err, exporters.ErrUnavailable) || p.Role != "" {
		t.Errorf("Who = %+v, %v; want nobody and that the store is away", p, err)
	}
}

func TestAMemberMadeElsewhereClosesTheServerWithinSeconds(t *testing.T) {
	s, _ := newService(t, DefaultConfig(), Place{})
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	if p, err := s.Who(httptest.NewRequest(http.MethodGet, "/", nil)); !p.Open || err != nil {
		t.Fatalf("Who = %+v, %v; want open", p, err)
	}
	addWithPassword(t, s, "a@example.com", good, schemas.RoleOwner)
	now = now.Add(noneFor)
	if p, _ := s.Who(httptest.NewRequest(http.MethodGet, "/", nil)); p.Open || p.Role != "" {
		t.Errorf("Who = %+v; want nobody", p)
	}
}

func TestPasswordsAreComparedAndHashedAnewWhenTheCostChanged(t *testing.T) {
	s, store := newService(t, DefaultConfig(), Place{})
	m := addWithPassword(t, s, "Ann@Example.com", good, schemas.RoleOwner)
	for _, bad := range []struct{ email, password string }{{"ann@example.com", "wrong wrong wrong"}, {"nobody@example.com", good}, {"ann@example.com", ""}, {"", good}} {
		if _, err := s.SignIn(t.Context(), bad.email, bad.password, "::1"); !errors.Is(err, ErrWrong) {
			t.Errorf("%+v: %v, want ErrWrong", bad, err)
		}
	}
	s.hasher.cost.time = 2
	if _, err := s.SignIn(t.Context(), " ANN@example.com ", good, "::1"); err != nil {
		t.Fatal(err)
	}
	after, _ := store.Member(t.Context(), m.ID)
	if after.Password == m.Password || !strings.Contains(after.Password, "t=2") {
		t.Errorf("kept %q, want it hashed anew", after.Password)
	}
	if _, err := s.SignIn(t.Context(), "ann@example.com", good, "::1"); err != nil {
		t.Errorf("after hashing anew: %v", err)
	}
}

func TestAMemberWithoutPasswordCannotSignInByOne(t *testing.T) {
	s, _ := newService(t, DefaultConfig(), Place{})
	m, _ := NewMember("a@example.com", "", schemas.RoleOwner, s.now())
	if _, err := s.deps.Accounts.AddMember(t.Context(), m, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignIn(t.Context(), "a@example.com", "", "::1"); !errors.Is(err, ErrWrong) {
		t.Errorf("err = %v, want ErrWrong", err)
	}
}

func TestAKeptHashThatCannotBeReadIsSaid(t *testing.T) {
	h := newHasher(1)
	for _, kept := range []string{"x", "$bcrypt$a$b$c$d", "$argon2id$v=19$m=1,t=1$a$b", "$argon2id$v=19$m=99999999,t=1,p=1$YQ$YQ", "$argon2id$v=19$m=64,t=1,p=1$!$YQ", "$argon2id$v=19$m=64,t=1,p=1$YQ$"} {
		if same, _, err := h.compare(t.Context(), kept, "x"); same || err == nil {
			t.Errorf("compare(%q) = %v, %v; want an error", kept, same, err)
		}
	}
	h.slots <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.compare(ctx, "", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("with all slots taken: %v", err)
	}
}

func TestPasswordsHaveALeastLengthAndNoOtherRule(t *testing.T) {
	f := func(password string, ok bool) {
		t.Helper()
		if err := CheckPassword(password, "ann.lee@example.com"); (err == nil) != ok {
			t.Errorf("CheckPassword(%q) = %v", password, err)
		}
	}
	f("elevencharss", true)
	f("elevenchars", false)
	f("日本語のパスワードは十二文字", true)
	f("aaaaaaaaaaaaaaa", false)
	f("Ann.Lee@example.com", false)
	f(strings.Repeat("ab", 600), false)
	f("broken \xff\xff\xff\xff\xff\xff", false)
	f("all lower case words", true)
}

func TestAttemptsAreLimitedByAccountAndByAddress(t *testing.T) {
	s, _ := newService(t, DefaultConfig(), Place{})
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	addWithPassword(t, s, "a@example.com", good, schemas.RoleOwner)
	try := func(email, password, address string) error {
		_, err := s.SignIn(t.Context(), email, password, address)
		return err
	}
	for range accountBurst {
		if err := try("a@example.com", "wrong", "10.0.0.1"); !errors.Is(err, ErrWrong) {
			t.Fatal(err)
		}
	}
	many, ok := errors.AsType[*TooManyError](try("A@example.com", good, "10.0.0.2"))
	if !ok || many.After <= 0 || many.After > accountEvery {
		t.Fatalf("after %d attempts: %v; want to wait up to %s", accountBurst, many, accountEvery)
	}
	now = now.Add(many.After)
	if err := try("a@example.com", good, "10.0.0.2"); err != nil {
		t.Errorf("after waiting: %v", err)
	}
	if err := try("a@example.com", "wrong", "10.0.0.2"); !errors.Is(err, ErrWrong) {
		t.Errorf("having signed in gives the attempts back; got %v", err)
	}
	for i := range addressBurst {
		if err := try(strings.Repeat("x", i+1)+"@example.com", "wrong", "10.0.0.3"); !errors.Is(err, ErrWrong) {
			t.Fatal(err)
		}
	}
	if _, ok := errors.AsType[*TooManyError](try("b@example.com", "x", "10.0.0.3")); !ok {
		t.Error("an address may try as many accounts as it likes")
	}
	if err := try("b@example.com", "x", "10.0.0.4"); !errors.Is(err, ErrWrong) {
		t.Errorf("another address: %v", err)
	}
}

func TestTheLimiterForgets(t *testing.T) {
	var l limiter
	now := time.Unix(1000, 0)
	for i := range 3 * maxBuckets {
		l.take(now, strings.Repeat("x", i%7)+time.Duration(i).String(), time.Duration(i).String())
	}
	if n := len(l.buckets); n > maxBuckets+2 {
		t.Errorf("%d are remembered, want at most %d", n, maxBuckets)
	}
}

func TestAnAddressIsTakenFromAProxyOfThisMachineOnly(t *testing.T) {
	f := func(remote, forwarded, want string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", forwarded)
		if got := Address(r); got != want {
			t.Errorf("from %s, forwarded %q: %s, want %s", remote, forwarded, got, want)
		}
	}
	f("10.0.0.1:5", "9.9.9.9", "10.0.0.1")
	f("127.0.0.1:5", "9.9.9.9, 8.8.8.8", "8.8.8.8")
	f("[::1]:5", "junk", "::1")
	f("127.0.0.1:5", "", "127.0.0.1")
}

func TestTheSetupLinkMakesTheFirstOwnerOnce(t *testing.T) {
	s, _ := newService(t, DefaultConfig(), Place{Beyond: true})
	path, err := s.SetupPath(t.Context())
	link, ok := strings.CutPrefix(path, "/welcome#")
	if err != nil || !ok {
		t.Fatalf("SetupPath = %q, %v", path, err)
	}
	if w, err := s.Look(t.Context(), link, "::1"); !w.Setup || err != nil {
		t.Errorf("Look = %+v, %v", w, err)
	}
	if _, err := s.UseLink(t.Context(), link, "short", "a@example.com", "", "::1"); err == nil {
		t.Error("a short password is taken")
	}
	if _, err := s.UseLink(t.Context(), link+"x", good, "a@example.com", "", "::1"); !errors.Is(err, ErrUsed) {
		t.Errorf("another link: %v", err)
	}
	m, err := s.UseLink(t.Context(), link, good, "A@Example.com", "", "::1")
	if err != nil || m.Role != schemas.RoleOwner || m.Email != "a@example.com" || m.Name != "a" {
		t.Fatalf("UseLink = %+v, %v", m, err)
	}
	if _, err := s.UseLink(t.Context(), link, good, "b@example.com", "", "::1"); !errors.Is(err, ErrUsed) {
		t.Errorf("a second time: %v, want ErrUsed", err)
	}
	if path, _ := s.SetupPath(t.Context()); path != "" {
		t.Errorf("SetupPath = %q after there is an owner", path)
	}
	if here, _ := newService(t, DefaultConfig(), Place{}); true {
		if path, _ := here.SetupPath(t.Context()); path != "" {
			t.Errorf("SetupPath = %q where nobody must sign in", path)
		}
	}
}

func TestCookiesAreHeldToHTTPSWhereItIs(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s, _ := newService(t, DefaultConfig(), Place{Secure: secure})
		m := addWithPassword(t, s, "a@example.com", good, schemas.RoleOwner)
		c, err := s.NewSession(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil), m)
		if err != nil {
			t.Fatal(err)
		}
		if c.Secure != secure || !c.HttpOnly || c.SameSite != 2 || c.Path != "/" || strings.HasPrefix(c.Name, "__Host-") != secure || len(c.Value) < 64 {
			t.Errorf("secure %v: %+v", secure, c)
		}
	}
}

func TestEveryFaultOfTheSettingsIsNamed(t *testing.T) {
	c := DefaultConfig()
	c.Auth, c.PublicURL, c.Session.Idle = "off", "hoptrace.example.com/x", time.Second
	c.OIDC.Issuer, c.OIDC.DefaultRole, c.OIDC.RoleMap, c.OIDC.AllowedDomains = "http://id.example.com", "root", []string{"ops"}, []string{"@example.com"}
	err := c.Validate()
	for _, want := range []string{"web.auth", "web.public_url", "web.session", "oidc.issuer", "oidc.client_id", "oidc.default_role", "oidc.role_map", "oidc.role_claim", "oidc.allowed_domains"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in %v", want, err)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhereToGoAfterSignInIsAPathOfThisServer(t *testing.T) {
	f := func(to, want string) {
		t.Helper()
		if got := LocalPath(to); got != want {
			t.Errorf("LocalPath(%q) = %q, want %q", to, got, want)
		}
	}
	f("/issues/7?from=-1h#x", "/issues/7?from=-1h#x")
	for _, bad := range []string{"", "https://evil.example/", "//evil.example", `/\evil.example`, "evil", "/a\r\nSet-Cookie: x", "javascript:alert(1)", "/" + strings.Repeat("x", 3000)} {
		f(bad, "/")
	}
}
