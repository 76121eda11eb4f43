// Package access decides who asks the web role and what they may do: members,
// passwords, sessions, tokens, and sign-in by an identity provider. It knows no
// route (package api has the table of who may ask which) and keeps nothing itself
// (see exporters.Accounts).
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Config is what a person writes under web.
type Config struct {
	// Auth is "auto" (sign-in is required once there is a member, or when the
	// server is reached from beyond this machine) or "required".
	Auth string
	// PublicURL is how people reach the server, as https://hoptrace.example.com.
	PublicURL string
	Session   SessionConfig
	OIDC      OIDCConfig
}

// SessionConfig is how long one need not sign in again.
type SessionConfig struct {
	Idle     time.Duration `yaml:"idle" help:"a session ends after this time without use"`
	Lifetime time.Duration `yaml:"lifetime" help:"a session ends after this time, whatever its use"`
}

// DefaultConfig asks for sign-in when it must.
func DefaultConfig() Config {
	c := Config{Auth: "auto"}
	c.Session.Idle, c.Session.Lifetime = 7*24*time.Hour, 30*24*time.Hour
	c.OIDC.Name = "single sign-on"
	return c
}

// Validate names every fault at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Auth != "auto" && c.Auth != "required" {
		bad("web.auth: %q; want auto or required", c.Auth)
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			bad("web.public_url: %q; want a scheme and a host, as https://hoptrace.example.com", c.PublicURL)
		}
	}
	if c.Session.Idle < time.Minute || c.Session.Idle > c.Session.Lifetime || c.Session.Lifetime > 366*24*time.Hour {
		bad("web.session: idle %s, lifetime %s; want 1m ≤ idle ≤ lifetime ≤ 366 days", c.Session.Idle, c.Session.Lifetime)
	}
	return errors.Join(append(faults, c.OIDC.validate(c.PublicURL)...)...)
}

// Place is where the server listens; it decides whether sign-in is required.
type Place struct {
	// Beyond tells that others than this machine's people reach it.
	Beyond bool
	// Secure tells that browsers reach it by https.
	Secure bool
}

// Faults of signing in and of what is sent for it.
var (
	// ErrWrong: no such member, or not that password; it does not say which.
	ErrWrong = errors.New("the e-mail address or the password is wrong")
	// ErrUsed: a link that was used, has ended, or never was.
	ErrUsed = errors.New("the link was used, or has ended")
	// ErrNoSession: what the browser or program showed is not known.
	ErrNoSession = errors.New("not signed in")
)

// TooManyError tells that attempts come too fast.
type TooManyError struct{ After time.Duration }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("too many attempts to sign in; again in %s", e.After.Round(time.Second))
}

// InvalidError tells that what was sent cannot be taken; Field names it.
type InvalidError struct{ Field, Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// Person is who asks.
type Person struct {
	Role schemas.Role // empty: nobody who may do anything
	// Open tells that no sign-in is required and none was shown: whoever sits at
	// this machine.
	Open bool
	// Member is who signed in; its ID is zero for others.
	Member exporters.Member
	// Session is the one of the browser; its ID is zero without one.
	Session exporters.Session
	// Token is set when a program showed one.
	Token *exporters.Token
}

// Name is how the person is called in logs of what was done: empty when nobody
// is known.
func (p Person) Name() string {
	switch {
	case p.Member.ID != 0 && p.Token != nil:
		return p.Member.Email + " (token " + p.Token.Name + ")"
	case p.Member.ID != 0:
		return p.Member.Email
	case p.Token != nil:
		return "token " + p.Token.Name
	}
	return ""
}

// Deps are the stores.
type Deps struct {
	Accounts exporters.Accounts
	Tokens   exporters.Tokens
}

// Service decides. It is safe for use by many goroutines.
type Service struct {
	cfg    Config
	place  Place
	deps   Deps
	log    *slog.Logger
	hasher *hasher
	limit  limiter
	oidc   *provider
	now    func() time.Time
	setup  string // of the link for the first owner; empty when none is made

	mu      sync.Mutex // guards the following
	members bool       // there is one; that does not change back
	asked   time.Time  // when there was none
}

// hashesAtOnce bounds memory: each takes 19 MiB.
const hashesAtOnce = 4

// New makes it. It asks nothing.
func New(cfg Config, place Place, deps Deps, log *slog.Logger) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	s := &Service{cfg: cfg, place: place, deps: deps, log: log, hasher: newHasher(hashesAtOnce), now: time.Now, setup: secret(setupPrefix)}
	s.place.Secure = place.Secure || strings.HasPrefix(cfg.PublicURL, "https://")
	if cfg.OIDC.Issuer != "" {
		s.oidc = newProvider(cfg)
	}
	return s, nil
}

const (
	sessionPrefix = "hps_"
	linkPrefix    = "hpl_"
	setupPrefix   = "hpu_"
	// TokenPrefix begins every token, so that people and scanners know one.
	TokenPrefix = "hpt_"
	// shownOfToken is how much of one is kept to know it by.
	shownOfToken = len(TokenPrefix) + 6
)

// secret is 256 random bits behind a prefix.
func secret(prefix string) string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + hex.EncodeToString(b[:])
}

// Hash is what is kept of a secret.
func Hash(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// noneFor is how long it is believed that there is no member: a role in another
// process, or a command, may have made one.
const noneFor = 2 * time.Second

// Required tells whether one must sign in.
func (s *Service) Required(ctx context.Context) (bool, error) {
	if s.cfg.Auth == "required" || s.place.Beyond {
		return true, nil
	}
	return s.hasMembers(ctx)
}

func (s *Service) hasMembers(ctx context.Context) (bool, error) {
	s.mu.Lock()
	known, fresh := s.members, s.now().Sub(s.asked) < noneFor
	s.mu.Unlock()
	if known || fresh {
		return known, nil
	}
	n, err := s.deps.Accounts.CountMembers(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members = s.members || n > 0; !s.members {
		s.asked = s.now()
	}
	return s.members, nil
}

// Idle is after how long without use a session ends.
func (s *Service) Idle() time.Duration { return s.cfg.Session.Idle }

// sawMember spares asking whether there is one.
func (s *Service) sawMember() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = true
}

// SetupPath is the path of the link that makes the first owner; empty when there
// is a member, or none is needed.
func (s *Service) SetupPath(ctx context.Context) (string, error) {
	required, err := s.Required(ctx)
	if err != nil || !required {
		return "", err
	}
	if has, err := s.hasMembers(ctx); err != nil || has {
		return "", err
	}
	return "/welcome#" + s.setup, nil
}

// SetupPending tells that nobody can sign in yet.
func (s *Service) SetupPending(ctx context.Context) (bool, error) {
	path, err := s.SetupPath(ctx)
	return path != "", err
}

// Who finds who asks. Nobody known is a Person without role and no error;
// ErrNoSession is a token that is not known.
func (s *Service) Who(r *http.Request) (Person, error) {
	ctx := r.Context()
	if header := r.Header.Get("Authorization"); header != "" {
		return s.byToken(ctx, header)
	}
	required, err := s.Required(ctx)
	if err != nil {
		return Person{}, err
	}
	if c, err := r.Cookie(s.cookieName()); err == nil && len(c.Value) < 200 {
		session, m, err := s.deps.Accounts.SessionByHash(ctx, Hash(c.Value), s.now().UnixNano(), s.cfg.Session.Idle.Nanoseconds())
		if err == nil {
			return Person{Role: m.Role, Member: m, Session: session}, nil
		}
		if !errors.Is(err, exporters.ErrNotFound) {
			return Person{}, err
		}
	}
	if !required {
		return Person{Role: schemas.RoleOwner, Open: true}, nil
	}
	return Person{}, nil
}

func (s *Service) byToken(ctx context.Context, header string) (Person, error) {
	kind, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	if !strings.EqualFold(kind, "Bearer") || value == "" || len(value) > 1024 {
		return Person{}, ErrNoSession
	}
	t, err := s.deps.Tokens.TokenByHash(ctx, Hash(value), s.now().UnixNano())
	if errors.Is(err, exporters.ErrNotFound) {
		return Person{}, ErrNoSession
	}
	if err != nil {
		return Person{}, err
	}
	p := Person{Role: t.Role, Token: &t}
	if t.Member == 0 {
		return p, nil
	}
	if p.Member, err = s.deps.Accounts.Member(ctx, t.Member); err != nil {
		if errors.Is(err, exporters.ErrNotFound) {
			return Person{}, ErrNoSession
		}
		return Person{}, err
	}
	if t.Role != "" {
		p.Role = schemas.LesserRole(t.Role, p.Member.Role)
	}
	return p, nil
}

// cookieName has the prefix that browsers hold to https and to this host.
func (s *Service) cookieName() string {
	if s.place.Secure {
		return "__Host-hoptrace_session"
	}
	return "hoptrace_session"
}

func (s *Service) cookie(name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, Secure: s.place.Secure, SameSite: http.SameSiteLaxMode}
}

// SignOutCookie makes the browser forget its session.
func (s *Service) SignOutCookie() *http.Cookie { return s.cookie(s.cookieName(), "", -time.Second) }

// NewSession begins one for a member, and gives the cookie.
func (s *Service) NewSession(ctx context.Context, r *http.Request, m exporters.Member) (*http.Cookie, error) {
	value, now := secret(sessionPrefix), s.now()
	x := exporters.Session{Member: m.ID, Created: now.UnixNano(), Expires: now.Add(s.cfg.Session.Lifetime).UnixNano(), Agent: r.UserAgent(), Address: Address(r)}
	if _, err := s.deps.Accounts.AddSession(ctx, Hash(value), x); err != nil {
		return nil, err
	}
	s.sawMember()
	return s.cookie(s.cookieName(), value, s.cfg.Session.Lifetime), nil
}

// Address is where a request comes from. What a proxy on this machine says of it
// is believed.
func Address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		all := strings.Split(r.Header.Get("X-Forwarded-For"), ",")
		if last := net.ParseIP(strings.TrimSpace(all[len(all)-1])); last != nil {
			return last.String()
		}
	}
	return host
}

// SignIn finds a member by e-mail and password. It takes as long for a member
// that is not there.
func (s *Service) SignIn(ctx context.Context, email, password, address string) (exporters.Member, error) {
	account := strings.ToLower(strings.TrimSpace(email))
	if len(account) > maxEmail || len(password) > MaxPassword {
		return exporters.Member{}, ErrWrong
	}
	if wait := s.limit.take(s.now(), account, address); wait > 0 {
		return exporters.Member{}, &TooManyError{wait}
	}
	m, err := s.deps.Accounts.MemberByEmail(ctx, account)
	if err != nil && !errors.Is(err, exporters.ErrNotFound) {
		return exporters.Member{}, err
	}
	same, stale, err := s.hasher.compare(ctx, m.Password, password)
	if err != nil {
		return exporters.Member{}, fmt.Errorf("cannot compare the password of member %d: %w", m.ID, err)
	}
	if !same {
		return exporters.Member{}, ErrWrong
	}
	s.limit.succeeded(account)
	if stale {
		if m, err = s.rehash(ctx, m, password); err != nil {
			return exporters.Member{}, err
		}
	}
	return m, nil
}

// rehash keeps a password under today's cost, unless it was changed meanwhile.
func (s *Service) rehash(ctx context.Context, m exporters.Member, password string) (exporters.Member, error) {
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return exporters.Member{}, err
	}
	return s.deps.Accounts.UpdateMember(ctx, m.ID, func(now *exporters.Member) error {
		if now.Password == m.Password {
			now.Password = hash
		}
		return nil
	})
}

// Bounds of texts, in bytes.
const (
	maxEmail = 254
	maxName  = 200
)

// NewMember checks what a member is made of. The name is what stands before the @
// unless one is given.
func NewMember(email, name string, role schemas.Role, now time.Time) (exporters.Member, error) {
	email, name = strings.ToLower(strings.TrimSpace(email)), strings.TrimSpace(name)
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > maxEmail || strings.ContainsAny(email, " \t\r\n<>\"") {
		return exporters.Member{}, &InvalidError{"email", fmt.Sprintf("%.80q is no e-mail address", email)}
	}
	if name == "" {
		name, _, _ = strings.Cut(email, "@")
	}
	if name, err = CheckName(name); err != nil {
		return exporters.Member{}, err
	}
	if !role.Valid() {
		return exporters.Member{}, &InvalidError{"role", fmt.Sprintf("there is no role %.40q; there are viewer, member, admin and owner", role)}
	}
	return exporters.Member{Email: email, Name: name, Role: role, Created: now.UnixNano()}, nil
}

// CheckName checks what a member is called.
func CheckName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return "", &InvalidError{"name", fmt.Sprintf("a name has 1 to %d bytes and no control characters", maxName)}
	}
	return name, nil
}

// HashPassword checks a new password and makes what is kept of it.
func (s *Service) HashPassword(ctx context.Context, password, email string) (string, error) {
	if err := CheckPassword(password, email); err != nil {
		return "", &InvalidError{"password", err.Error()}
	}
	return s.hasher.hash(ctx, password)
}

// ChangePassword sets a new one for who knows the old one, and ends the other
// sessions.
func (s *Service) ChangePassword(ctx context.Context, p Person, current, password, address string) error {
	if wait := s.limit.take(s.now(), p.Member.Email, address); wait > 0 {
		return &TooManyError{wait}
	}
	same, _, err := s.hasher.compare(ctx, p.Member.Password, current)
	if err != nil {
		return err
	}
	if !same {
		return &InvalidError{"current", "the current password is wrong"}
	}
	hash, err := s.HashPassword(ctx, password, p.Member.Email)
	if err != nil {
		return err
	}
	s.limit.succeeded(p.Member.Email)
	if _, err := s.deps.Accounts.UpdateMember(ctx, p.Member.ID, func(m *exporters.Member) error {
		if m.Password != p.Member.Password {
			return exporters.ErrConflict
		}
		m.Password = hash
		return nil
	}); err != nil {
		return err
	}
	_, err = s.deps.Accounts.EndSessions(ctx, p.Member.ID, p.Session.ID)
	return err
}

// linkLifetime is how long a link to set a password is good for.
const linkLifetime = 72 * time.Hour

// NewLink makes a link by which a member sets a password once: its path.
func (s *Service) NewLink(ctx context.Context, member int64) (path string, expires time.Time, err error) {
	value, now := secret(linkPrefix), s.now()
	expires = now.Add(linkLifetime)
	if err := s.deps.Accounts.PutLink(ctx, Hash(value), member, now.UnixNano(), expires.UnixNano()); err != nil {
		return "", time.Time{}, err
	}
	s.sawMember()
	// Behind #: it is in no log of a proxy, and no page that is opened from here is told it.
	return "/welcome#" + value, expires, nil
}

// Welcome is whom a link is for.
type Welcome struct {
	Setup  bool // it makes the first owner
	Member exporters.Member
}

// Look tells whom a link is for, or fails with ErrUsed.
func (s *Service) Look(ctx context.Context, link, address string) (Welcome, error) {
	if wait := s.limit.take(s.now(), "link "+address, address); wait > 0 {
		return Welcome{}, &TooManyError{wait}
	}
	if s.isSetup(link) {
		pending, err := s.SetupPending(ctx)
		if err == nil && !pending {
			err = ErrUsed
		}
		return Welcome{Setup: true}, err
	}
	m, err := s.deps.Accounts.LinkMember(ctx, Hash(link), s.now().UnixNano())
	if errors.Is(err, exporters.ErrNotFound) {
		err = ErrUsed
	}
	return Welcome{Member: m}, err
}

func (s *Service) isSetup(link string) bool {
	return subtle.ConstantTimeCompare([]byte(link), []byte(s.setup)) == 1
}

// UseLink sets the password that a link is for. With the setup link it makes the
// first owner of email and name.
func (s *Service) UseLink(ctx context.Context, link, password, email, name, address string) (exporters.Member, error) {
	w, err := s.Look(ctx, link, address)
	if err != nil {
		return exporters.Member{}, err
	}
	if !w.Setup {
		hash, err := s.HashPassword(ctx, password, w.Member.Email)
		if err != nil {
			return exporters.Member{}, err
		}
		m, err := s.deps.Accounts.UseLink(ctx, Hash(link), s.now().UnixNano(), hash)
		if errors.Is(err, exporters.ErrNotFound) {
			err = ErrUsed
		}
		return m, err
	}
	m, err := NewMember(email, name, schemas.RoleOwner, s.now())
	if err != nil {
		return exporters.Member{}, err
	}
	if m.Password, err = s.HashPassword(ctx, password, m.Email); err != nil {
		return exporters.Member{}, err
	}
	m, err = s.deps.Accounts.AddMember(ctx, m, true)
	if err == nil || errors.Is(err, exporters.ErrConflict) {
		s.sawMember()
	}
	if errors.Is(err, exporters.ErrConflict) {
		err = ErrUsed
	}
	return m, err
}

// maxTokenLife bounds how long a token of a member is good for.
const maxTokenLife = 366 * 24 * time.Hour

// NewToken makes a token; what it gives is shown once. life of zero means that
// it does not expire, which is for tokens of nobody only.
func (s *Service) NewToken(ctx context.Context, t exporters.Token, life time.Duration) (token string, made exporters.Token, err error) {
	if t.Member != 0 && (life <= 0 || life > maxTokenLife) {
		return "", exporters.Token{}, &InvalidError{"days", "a token is good for 1 to 366 days"}
	}
	now := s.now()
	if life > 0 {
		t.Expires = now.Add(life).UnixNano()
	}
	return MakeToken(ctx, s.deps.Tokens, t, now)
}

// MakeToken stores a token and gives what is shown once.
func MakeToken(ctx context.Context, store exporters.Tokens, t exporters.Token, now time.Time) (token string, made exporters.Token, err error) {
	if t.Name, err = CheckName(t.Name); err != nil || len(t.Name) > 100 {
		return "", exporters.Token{}, &InvalidError{"name", "a token's name has 1 to 100 bytes and no control characters"}
	}
	if t.Role != "" && !t.Role.Valid() {
		return "", exporters.Token{}, &InvalidError{"role", fmt.Sprintf("there is no role %.40q; there are viewer, member, admin and owner", t.Role)}
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(exporters.TokenScopes, scope) {
			return "", exporters.Token{}, &InvalidError{"scopes", fmt.Sprintf("there is no scope %.40q; there are %s", scope, strings.Join(exporters.TokenScopes, ", "))}
		}
	}
	if t.Role == "" && len(t.Scopes) == 0 {
		return "", exporters.Token{}, &InvalidError{"role", "a token needs a role, or scopes for sentry-cli"}
	}
	token = secret(TokenPrefix)
	t.Created, t.Prefix = now.UnixNano(), token[:shownOfToken]
	made, err = store.AddToken(ctx, Hash(token), t)
	return token, made, err
}
