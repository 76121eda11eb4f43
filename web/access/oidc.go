package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// OIDCConfig is an identity provider; without an issuer there is none.
type OIDCConfig struct {
	Issuer         string   `yaml:"issuer" help:"address of an OpenID Connect provider; empty means none"`
	ClientID       string   `yaml:"client_id" help:"what the provider calls this server"`
	ClientSecret   string   `yaml:"client_secret" secret:"true" help:"what this server shows the provider"`
	Name           string   `yaml:"name" help:"what the button of the sign-in page calls the provider"`
	Scopes         []string `yaml:"scopes" help:"scopes asked for besides openid, email and profile"`
	AllowedDomains []string `yaml:"allowed_domains" help:"domains of e-mail addresses that may sign in; empty means all that the provider knows"`
	RoleClaim      string   `yaml:"role_claim" help:"claim whose values web.oidc.role_map turns into a role, as groups"`
	RoleMap        []string `yaml:"role_map" help:"value=role, as ops=admin; who has several gets the greatest"`
	DefaultRole    string   `yaml:"default_role" help:"role of who has none by the map; empty means that only members who were invited may sign in"`
}

func (c OIDCConfig) validate(publicURL string) (faults []error) {
	if c.Issuer == "" {
		return nil
	}
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("web.oidc."+format, args...)) }
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		bad("issuer: %q; want an address, as https://id.example.com", c.Issuer)
	case u.Scheme == "http" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1":
		bad("issuer: %q; want https, but on this machine", c.Issuer)
	}
	if c.ClientID == "" {
		bad("client_id: is empty; the provider gives it")
	}
	if publicURL == "" {
		bad("issuer: needs web.public_url, to which the provider sends people back (/auth/oidc/callback)")
	}
	if c.DefaultRole != "" && !schemas.Role(c.DefaultRole).Valid() {
		bad("default_role: %q; want viewer, member, admin or owner, or nothing", c.DefaultRole)
	}
	for _, entry := range c.RoleMap {
		value, role, ok := cutLast(entry, "=")
		if !ok || value == "" || !schemas.Role(role).Valid() {
			bad("role_map: %q; want value=role, as ops=admin", entry)
		}
	}
	if (c.RoleClaim == "") != (len(c.RoleMap) == 0) {
		bad("role_claim: goes with role_map; set both or neither")
	}
	for _, d := range c.AllowedDomains {
		if d == "" || strings.ContainsAny(d, "@ /") {
			bad("allowed_domains: %q; want a domain, as example.com", d)
		}
	}
	return faults
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+len(sep):], true
}

// roleOf is the greatest role that the claim's values have by the map, and
// whether there is one.
func (c OIDCConfig) roleOf(claim any) (role schemas.Role, mapped bool) {
	var values []string
	switch v := claim.(type) {
	case string:
		values = []string{v}
	case []any:
		for _, x := range v {
			if s, ok := x.(string); ok {
				values = append(values, s)
			}
		}
	}
	for _, entry := range c.RoleMap {
		value, to, _ := cutLast(entry, "=")
		if slices.Contains(values, value) && schemas.Role(to).AtLeast(cmpRole(role)) {
			role, mapped = schemas.Role(to), true
		}
	}
	return role, mapped
}

func cmpRole(r schemas.Role) schemas.Role {
	if r == "" {
		return schemas.RoleViewer
	}
	return r
}

// provider is one that is asked who somebody is. What it says of itself is read
// when it is first needed, and kept.
type provider struct {
	cfg      OIDCConfig
	redirect string
	client   *http.Client

	mu    sync.Mutex // guards the following
	known *oidc.Provider
}

const (
	oidcTimeout = 15 * time.Second
	// flowTime is how long somebody may take at the provider.
	flowTime = 10 * time.Minute
	oidcPath = "/auth/oidc/"
)

func newProvider(c Config) *provider {
	return &provider{cfg: c.OIDC, redirect: strings.TrimSuffix(c.PublicURL, "/") + oidcPath + "callback", client: &http.Client{Timeout: oidcTimeout}}
}

func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		return p.known, nil
	}
	// The provider keeps the context for reading keys later: it must outlive the request.
	lasting := oidc.ClientContext(context.WithoutCancel(ctx), p.client)
	known, err := oidc.NewProvider(lasting, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	p.known = known
	return known, nil
}

func (p *provider) oauth(known *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: known.Endpoint(), RedirectURL: p.redirect,
		Scopes: append([]string{oidc.ScopeOpenID, "email", "profile"}, p.cfg.Scopes...),
	}
}

// OIDCName is what the provider is called; empty when there is none.
func (s *Service) OIDCName() string {
	if s.oidc == nil {
		return ""
	}
	return s.cfg.OIDC.Name
}

// flow is what the browser holds while somebody is at the provider: nobody else
// can end what this browser began.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	To       string `json:"t"`
}

func (s *Service) flowCookie() string {
	if s.place.Secure {
		return "__Host-hoptrace_oidc"
	}
	return "hoptrace_oidc"
}

// refusal is why somebody who came from the provider is not signed in: a code
// that the sign-in page has a text for.
type refusal struct {
	code string
	err  error // for the log; nil when it is the person's matter
}

func (r *refusal) Error() string { return r.code }

// refusals of sign-in by a provider.
const (
	refusedProvider = "provider"   // it does not answer, or not as it should
	refusedDenied   = "denied"     // it, or the person, said no
	refusedExpired  = "expired"    // it took too long, or another tab began anew
	refusedNoEmail  = "email"      // no e-mail address that the provider has verified
	refusedDomain   = "domain"     // of no domain that may
	refusedStranger = "not-member" // nobody invited them
	refusedOther    = "other"      // the member is linked with somebody else there
	refusedStore    = "store"      // ours does not answer
)

// ServeHTTP serves /auth/oidc/start and /auth/oidc/callback, which browsers are
// sent to.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet || s.oidc == nil {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), oidcTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	var err error
	switch r.URL.Path {
	case oidcPath + "start":
		err = s.startOIDC(w, r)
	case oidcPath + "callback":
		err = s.endOIDC(w, r)
	default:
		http.NotFound(w, r)
		return
	}
	if err == nil {
		return
	}
	refused, ok := errors.AsType[*refusal](err)
	if !ok {
		refused = &refusal{refusedStore, err}
	}
	if refused.err != nil {
		s.log.Warn("web: sign-in by the identity provider failed", "why", refused.code, "err", refused.err)
	}
	http.Redirect(w, r, "/sign-in?refused="+url.QueryEscape(refused.code), http.StatusSeeOther)
}

// LocalPath is to when it is a path of this server, and else the first page.
func LocalPath(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || len(to) > 2000 {
		return "/"
	}
	return to
}

func (s *Service) startOIDC(w http.ResponseWriter, r *http.Request) error {
	if wait := s.limit.take(s.now(), "oidc "+Address(r), Address(r)); wait > 0 {
		return &refusal{refusedDenied, &TooManyError{wait}}
	}
	known, err := s.oidc.discover(r.Context())
	if err != nil {
		return &refusal{refusedProvider, err}
	}
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: LocalPath(r.URL.Query().Get("to"))}
	kept, err := json.Marshal(f)
	if err != nil {
		return err
	}
	http.SetCookie(w, s.cookie(s.flowCookie(), base64.RawURLEncoding.EncodeToString(kept), flowTime))
	http.Redirect(w, r, s.oidc.oauth(known).AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), http.StatusSeeOther)
	return nil
}

func (s *Service) endOIDC(w http.ResponseWriter, r *http.Request) error {
	var f flow
	c, err := r.Cookie(s.flowCookie())
	if err != nil {
		return &refusal{refusedExpired, nil}
	}
	http.SetCookie(w, s.cookie(s.flowCookie(), "", -time.Second))
	kept, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(kept, &f) != nil || f.State == "" {
		return &refusal{refusedExpired, nil}
	}
	q := r.URL.Query()
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(f.State)) != 1 {
		return &refusal{refusedExpired, nil}
	}
	if q.Get("error") != "" {
		return &refusal{refusedDenied, fmt.Errorf("the provider says %.100q: %.300q", q.Get("error"), q.Get("error_description"))}
	}
	m, err := s.memberOfCode(r.Context(), q.Get("code"), f)
	if err != nil {
		return err
	}
	cookie, err := s.NewSession(r.Context(), r, m)
	if err != nil {
		return err
	}
	http.SetCookie(w, cookie)
	http.Redirect(w, r, LocalPath(f.To), http.StatusSeeOther)
	return nil
}

// claims are what is read of an identity token.
type claims struct {
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // some send a text
	Name     string `json:"name"`
	all      map[string]any
}

func (s *Service) memberOfCode(ctx context.Context, code string, f flow) (exporters.Member, error) {
	known, err := s.oidc.discover(ctx)
	if err != nil {
		return exporters.Member{}, &refusal{refusedProvider, err}
	}
	ctx = oidc.ClientContext(ctx, s.oidc.client)
	tokens, err := s.oidc.oauth(known).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return exporters.Member{}, &refusal{refusedProvider, fmt.Errorf("cannot change the code for tokens: %w", err)}
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := known.Verifier(&oidc.Config{ClientID: s.cfg.OIDC.ClientID}).Verify(ctx, raw)
	if err != nil {
		return exporters.Member{}, &refusal{refusedProvider, fmt.Errorf("cannot verify the identity token: %w", err)}
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(f.Nonce)) != 1 {
		return exporters.Member{}, &refusal{refusedProvider, errors.New("the identity token has another nonce")}
	}
	var c claims
	if err := errors.Join(id.Claims(&c), id.Claims(&c.all)); err != nil {
		return exporters.Member{}, &refusal{refusedProvider, fmt.Errorf("cannot read the claims: %w", err)}
	}
	if c.Email == "" || s.cfg.OIDC.RoleClaim != "" && c.all[s.cfg.OIDC.RoleClaim] == nil {
		// Some providers tell these only when asked for them.
		if err := s.oidc.askUser(ctx, known, tokens, id.Subject, &c); err != nil {
			return exporters.Member{}, &refusal{refusedProvider, err}
		}
	}
	return s.memberOf(ctx, id.Issuer, id.Subject, c)
}

// askUser adds what the provider tells of a subject beyond its identity token. Where it
// has no endpoint for that, nothing.
func (p *provider) askUser(ctx context.Context, known *oidc.Provider, tokens *oauth2.Token, subject string, c *claims) error {
	if known.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := known.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err == nil && info.Subject != subject {
		err = errors.New("it is about another subject")
	}
	if err == nil {
		err = errors.Join(info.Claims(c), info.Claims(&c.all))
	}
	if err != nil {
		// Without it nobody knows of a group: a role would be taken that is theirs.
		return fmt.Errorf("cannot read the user information: %w", err)
	}
	return nil
}

// memberOf finds or makes the member whom a provider vouches for.
func (s *Service) memberOf(ctx context.Context, issuer, subject string, c claims) (exporters.Member, error) {
	if verified := c.Verified == true || c.Verified == "true"; !verified || c.Email == "" {
		return exporters.Member{}, &refusal{refusedNoEmail, nil}
	}
	email := strings.ToLower(c.Email)
	if _, domain, _ := cutLast(email, "@"); len(s.cfg.OIDC.AllowedDomains) > 0 && !slices.ContainsFunc(s.cfg.OIDC.AllowedDomains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return exporters.Member{}, &refusal{refusedDomain, nil}
	}
	role, mapped := s.cfg.OIDC.roleOf(c.all[s.cfg.OIDC.RoleClaim])
	m, err := s.deps.Accounts.MemberBySubject(ctx, issuer, subject)
	if errors.Is(err, exporters.ErrNotFound) {
		m, err = s.deps.Accounts.MemberByEmail(ctx, email)
	}
	if errors.Is(err, exporters.ErrNotFound) {
		if !mapped {
			role = schemas.Role(s.cfg.OIDC.DefaultRole)
		}
		if role == "" {
			return exporters.Member{}, &refusal{refusedStranger, nil}
		}
		name := c.Name
		if _, err := CheckName(name); err != nil {
			name = ""
		}
		if m, err = NewMember(email, name, role, s.now()); err != nil {
			return exporters.Member{}, &refusal{refusedNoEmail, err}
		}
		m.Issuer, m.Subject, m.Mapped = issuer, subject, mapped
		if m, err = s.deps.Accounts.AddMember(ctx, m, false); err != nil {
			return exporters.Member{}, err
		}
		s.note(ctx, m.Email, "member.create", m.Email, "role "+string(m.Role)+", by the identity provider")
		return m, nil
	}
	if err != nil {
		return exporters.Member{}, err
	}
	if m.Subject != "" && (m.Issuer != issuer || m.Subject != subject) {
		return exporters.Member{}, &refusal{refusedOther, fmt.Errorf("member %s is linked with another subject", m.Email)}
	}
	// The map takes what it gave: who is in none of its groups any more has the role of
	// everybody, and without one the provider lets them in no more.
	lost := m.Mapped && !mapped && s.cfg.OIDC.RoleClaim != ""
	stranger := false
	if lost {
		role, stranger = schemas.Role(s.cfg.OIDC.DefaultRole), s.cfg.OIDC.DefaultRole == ""
		if stranger {
			role = schemas.RoleViewer
		}
	}
	if m.Subject == subject && !lost && (!mapped || m.Mapped && m.Role == role) {
		return m, nil
	}
	id, before := m.ID, m.Role
	m, err = s.deps.Accounts.UpdateMember(ctx, id, func(m *exporters.Member) error {
		m.Issuer, m.Subject = issuer, subject
		if mapped || lost {
			m.Role, m.Mapped = role, mapped || stranger
		}
		return nil
	})
	if errors.Is(err, exporters.ErrLastOwner) {
		// The map may not leave nobody who may do everything.
		return s.deps.Accounts.UpdateMember(ctx, id, func(m *exporters.Member) error {
			m.Issuer, m.Subject = issuer, subject
			return nil
		})
	}
	if err != nil {
		return m, err
	}
	if m.Role != before {
		s.note(ctx, m.Email, "member.role", m.Email, string(before)+" → "+string(m.Role)+", by the identity provider")
	}
	if stranger {
		if _, err := s.deps.Accounts.EndSessions(ctx, id, 0); err != nil {
			return m, err
		}
		return m, &refusal{refusedStranger, nil}
	}
	return m, nil
}

// note writes the audit; what cannot be noted is logged, since it has happened.
func (s *Service) note(ctx context.Context, actor, action, target, detail string) {
	e := exporters.AuditEntry{At: s.now().UnixNano(), Actor: actor, Action: action, Target: target, Detail: detail}
	if err := s.deps.Accounts.Note(context.WithoutCancel(ctx), e); err != nil {
		s.log.Warn("web: cannot note a change in the audit", "action", action, "target", target, "actor", actor, "err", err)
	}
}

// Note writes into the audit what a person did.
func (s *Service) Note(ctx context.Context, p Person, action, target, detail string) {
	actor := p.Name()
	if actor == "" {
		actor = "whoever is at the server's machine"
	}
	s.note(ctx, actor, action, target, detail)
}
