package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/access"
)

// may is who may ask a route.
type may struct {
	// role is the least that is needed; anyone is for who is not signed in, too.
	role schemas.Role
	// audit is what the audit calls an action; empty: it is not noted.
	audit string
}

// Besides the roles: who is not signed in, and who is signed in as whatever.
const (
	anyone   schemas.Role = "anyone"
	signedIn schemas.Role = "signed-in"
)

var (
	viewer = may{role: schemas.RoleViewer}
	member = may{role: schemas.RoleMember}
)

func admin(audit string) may { return may{schemas.RoleAdmin, audit} }

// roles has each route: this is the one place where it is decided who may what. A
// route that is not here is an owner's.
var roles = map[string]may{
	"GET /api/v1/status":                                    viewer,
	"GET /api/v1/names":                                     viewer,
	"GET /api/v1/traces":                                    viewer,
	"GET /api/v1/traces/{id}":                               viewer,
	"GET /api/v1/topics":                                    viewer,
	"GET /api/v1/topics/{topic}":                            viewer,
	"GET /api/v1/topics/{topic}/heatmap":                    viewer,
	"GET /api/v1/hops":                                      viewer,
	"GET /api/v1/topology":                                  viewer,
	"GET /api/v1/topology/steps":                            viewer,
	"GET /api/v1/lag":                                       viewer,
	"GET /api/v1/lag/{group}":                               viewer,
	"GET /api/v1/ledger":                                    viewer,
	"GET /api/v1/logs":                                      viewer,
	"GET /api/v1/metrics":                                   viewer,
	"GET /api/v1/metrics/{name}":                            viewer,
	"GET /api/v1/advice":                                    viewer,
	"GET /api/v1/clocks":                                    viewer,
	"GET /api/v1/records/{topic}/{partition}/{offset}":      viewer,
	"GET /api/v1/events/{event}/attachments":                viewer,
	"GET /api/v1/attachments/{event}/{id}":                  viewer,
	"GET /api/v1/items":                                     viewer,
	"GET /api/v1/feedback":                                  viewer,
	"GET /api/v1/releases":                                  viewer,
	"GET /api/v1/releases/{version}/health":                 viewer,
	"GET /api/v1/monitors":                                  viewer,
	"GET /api/v1/monitors/{slug}":                           viewer,
	"GET /api/v1/monitors/{slug}/check-ins":                 viewer,
	"GET /api/v1/issues":                                    viewer,
	"GET /api/v1/issues/{id}":                               viewer,
	"GET /api/v1/issues/{id}/messages":                      viewer,
	"GET /api/v1/issues/{id}/events/{event}":                viewer,
	"GET /api/v1/discarded":                                 viewer,
	"GET /api/v1/search-fields":                             viewer,
	"GET /api/v1/projects":                                  viewer,
	"GET /api/v1/projects/{id}":                             viewer,
	"GET /api/v1/projects/{id}/events/{event}/grouping":     viewer,
	"GET /api/v1/find":                                      viewer,
	"GET /api/v1/traces/{id}/spans/{span}/batch":            viewer,
	"GET /api/v1/traces/{id}/spans/{span}/links":            viewer,
	"GET /api/v1/health":                                    viewer,
	"GET /api/v1/dead-letters":                              viewer,
	"GET /api/v1/dead-letters/{topic}/{partition}/{offset}": viewer,
	"POST /api/v1/dead-letters/retry":                       admin("dead-letter.retry"),
	"POST /api/v1/dead-letters/discard":                     admin("dead-letter.discard"),
	"GET /api/v1/search/spans":                              viewer,
	"GET /api/v1/search/spans/histogram":                    viewer,
	"GET /api/v1/search/hops":                               viewer,
	"GET /api/v1/search/hops/histogram":                     viewer,
	"GET /api/v1/search/complete":                           viewer,
	"GET /api/v1/queries":                                   viewer,
	"POST /api/v1/queries":                                  member,
	"PUT /api/v1/queries/{id}":                              member,
	"DELETE /api/v1/queries/{id}":                           member,
	"GET /api/v1/members":                                   viewer, // so that one sees whom to ask
	"PUT /api/v1/issues":                                    member,
	"PUT /api/v1/issues/{id}":                               member,
	"POST /api/v1/issues/{id}/unmerge":                      member,
	"POST /api/v1/discarded/restore":                        member,
	"POST /api/v1/feedback/status":                          member,
	"POST /api/v1/monitors":                                 member,
	"PUT /api/v1/monitors/{slug}":                           member,
	"DELETE /api/v1/monitors/{slug}":                        member,
	"POST /api/v1/projects/{id}/grouping/preview":           member,
	"POST /api/v1/projects":                                 admin("project.create"),
	"PUT /api/v1/projects/{id}":                             admin("project.change"),
	"POST /api/v1/projects/{id}/keys":                       admin("key.create"),
	"PUT /api/v1/projects/{id}/keys/{key}":                  admin("key.change"),
	"DELETE /api/v1/projects/{id}/keys/{key}":               admin("key.delete"),
	"POST /api/v1/projects/{id}/keys/{key}/rotate":          admin("key.rotate"),
	"POST /api/v1/members":                                  admin("member.create"),
	"PUT /api/v1/members/{id}":                              admin("member.change"),
	"DELETE /api/v1/members/{id}":                           admin("member.remove"),
	"POST /api/v1/members/{id}/link":                        admin("member.link"),
	"GET /api/v1/tokens":                                    admin(""),
	"DELETE /api/v1/tokens/{id}":                            admin("token.revoke"),
	"GET /api/v1/audit":                                     admin(""),
	"GET /api/v1/me":                                        {role: anyone},
	"POST /api/v1/sign-in":                                  {role: anyone},
	"POST /api/v1/links/look":                               {role: anyone},
	"POST /api/v1/links/use":                                {anyone, "member.password"},
	"POST /api/v1/sign-out":                                 {role: anyone},
	"PUT /api/v1/me":                                        {role: signedIn},
	"PUT /api/v1/me/password":                               {signedIn, "member.password"},
	"GET /api/v1/me/sessions":                               {role: signedIn},
	"DELETE /api/v1/me/sessions/{id}":                       {role: signedIn},
	"GET /api/v1/me/tokens":                                 {role: signedIn},
	"POST /api/v1/me/tokens":                                {signedIn, "token.create"},
	"DELETE /api/v1/me/tokens/{id}":                         {signedIn, "token.revoke"},
}

// roleOf is who may ask a route.
func roleOf(route string) may {
	if m, ok := roles[route]; ok {
		return m
	}
	return may{role: schemas.RoleOwner, audit: route}
}

// admit finds who asks, and refuses who may not.
func (h *Handler) admit(ctx context.Context, r *http.Request, need may) (access.Person, error) {
	who := access.Person{Role: schemas.RoleOwner, Open: true}
	if h.deps.Access != nil {
		var err error
		if who, err = h.deps.Access.Who(r.WithContext(ctx)); err != nil {
			return who, signInError(err)
		}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && who.Session.ID != 0 && r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		// sameSite lets programs pass, which send neither. Who comes with a session
		// is a browser, and all of them send one.
		return who, errorf(http.StatusForbidden, "other_site", "programs show a token: Authorization: Bearer hpt_…", "a session acts from a page of this server only")
	}
	switch {
	case need.role == anyone:
	case need.role == signedIn:
		if who.Member.ID == 0 || who.Session.ID == 0 {
			if who.Open {
				return who, errorf(http.StatusConflict, "no_accounts", "hoptrace members create --role owner makes the first member", "nobody signs in at this server yet: there is no account")
			}
			if who.Token != nil {
				return who, errorf(http.StatusForbidden, "no_permission", "sign in in a browser", "a token may not look after an account")
			}
			return who, signInError(nil)
		}
	case who.Role == "" && who.Token != nil:
		return who, errorf(http.StatusForbidden, "no_permission", "make a token with a role: in the UI, or hoptrace tokens create NAME --role viewer", "token %q has no role: it is for sentry-cli only", who.Token.Name)
	case who.Role == "":
		return who, signInError(nil)
	case !who.Role.AtLeast(need.role):
		return who, errorf(http.StatusForbidden, "no_permission", "an admin or owner can grant it: /api/v1/members lists them", "it needs role %s; yours is %s", need.role, who.Role).needing(need.role)
	}
	return who, nil
}

// signInError is what signing in, and not having done so, is refused with. nil
// means that nobody is known.
func signInError(err error) error {
	if err == nil {
		return errorf(http.StatusUnauthorized, "sign_in_required", "sign in, or show a token: Authorization: Bearer hpt_…", "this server answers only who is signed in")
	}
	if errors.Is(err, access.ErrNoSession) {
		return errorf(http.StatusUnauthorized, "token_unknown", "make another in the UI, or by hoptrace tokens create", "the token is not known: it was revoked, has expired, or is not written as Authorization: Bearer hpt_…")
	}
	if errors.Is(err, access.ErrWrong) {
		return errorf(http.StatusUnauthorized, "sign_in_wrong", "try again, or ask an admin for a link to set a new password", "%s", access.ErrWrong)
	}
	if errors.Is(err, access.ErrUsed) {
		return errorf(http.StatusGone, "link_used", "ask an admin for another", "%s", access.ErrUsed)
	}
	if e, ok := errors.AsType[*access.TooManyError](err); ok {
		return errorf(http.StatusTooManyRequests, "too_many_attempts", "wait, then try again", "too many attempts").after(e.After)
	}
	if e, ok := errors.AsType[*access.InvalidError](err); ok {
		return errorf(http.StatusBadRequest, "bad_field", "mend it and send it again", "%s", e.Reason).of(e.Field)
	}
	return err
}

// maxActor bounds a name in an issue's log, in bytes; the store takes 200.
const maxActor = 190

// actor is how an action is signed: by who is known, and else by the name that
// was sent along.
func (q *query) actor(given string) string {
	if name := q.who.Name(); name != "" {
		return clip(name, maxActor)
	}
	return given
}

// noted tells the audit what an action was about.
func (q *query) noted(target, detail string) { q.target, q.detail = target, detail }

// pathTarget is what an action was about when it did not say so itself.
func (q *query) pathTarget(route string) string {
	var parts []string
	for _, part := range strings.Split(route, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			parts = append(parts, q.path(strings.TrimSuffix(name, "}")))
		}
	}
	return strings.Join(parts, "/")
}
