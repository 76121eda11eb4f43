package schemas

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Scopes of a quota.
const (
	ScopeOrganization = "organization"
	ScopeProject      = "project"
	ScopeKey          = "key"
)

// Quota bounds how much of some categories one organisation, project or key may
// send in a window of time. Names and meaning are Sentry's.
type Quota struct {
	// ID tells the quotas of one scope apart; it names the counter.
	ID string `json:"id"`
	// Categories that it is about; empty means all.
	Categories []Category `json:"categories,omitempty"`
	// Scope says of what: "organization", "project" or "key".
	Scope string `json:"scope"`
	// ScopeID is the one that it is about: a project's or organisation's id in
	// decimal, or a public key. Empty means each by itself.
	ScopeID string `json:"scopeId,omitempty"`
	// Limit is the most that a window takes: spans, events, bytes of attachments …
	// Zero takes nothing. Nil counts only.
	Limit *int64 `json:"limit"`
	// Window in seconds. It means nothing when Limit is zero.
	Window int64 `json:"window,omitempty"`
	// Reason stands in rate limits and outcomes; [a-z0-9_-], at most 64 bytes.
	Reason string `json:"reasonCode,omitempty"`
}

// MaxQuotaWindow bounds a window: the length of the longest month.
const MaxQuotaWindow = 31 * 24 * time.Hour

// Matches tells whether the quota is about a category of a sender.
func (q *Quota) Matches(organization, project uint64, key string, c Category) bool {
	if len(q.Categories) > 0 && !slices.Contains(q.Categories, c) {
		return false
	}
	switch q.Scope {
	case ScopeOrganization:
		return q.ScopeID == "" || q.ScopeID == decimal(organization)
	case ScopeProject:
		return q.ScopeID == "" || q.ScopeID == decimal(project)
	case ScopeKey:
		return key != "" && (q.ScopeID == "" || q.ScopeID == key)
	}
	return false
}

// Validate names every fault of a quota at once.
func (q *Quota) Validate() error {
	faults := q.faults()
	errs := make([]error, 0, len(faults))
	for _, f := range faults {
		errs = append(errs, fmt.Errorf("quota %.64q: %s %s", q.ID, f.Path, f.Text))
	}
	return errors.Join(errs...)
}

func (q *Quota) faults() (out []SettingsError) {
	bad := func(field, format string, args ...any) {
		out = append(out, SettingsError{Path: field, Text: fmt.Sprintf(format, args...)})
	}
	if !isName(q.ID) {
		bad("id", "is %.80q; it must be 1 to 64 of a-z, 0-9, - and _", q.ID)
	}
	if q.Reason != "" && !isName(q.Reason) {
		bad("reasonCode", "is %.80q; it must be 1 to 64 of a-z, 0-9, - and _", q.Reason)
	}
	for _, c := range q.Categories {
		if _, ok := c.ID(); !ok {
			bad("categories", "has %.64q, which is none that is counted", string(c))
		}
	}
	switch q.Scope {
	case ScopeOrganization, ScopeProject, ScopeKey:
	default:
		bad("scope", "is %.64q; it must be organization, project or key", q.Scope)
	}
	if len(q.ScopeID) > 64 {
		bad("scopeId", "has %d bytes, at most 64", len(q.ScopeID))
	}
	if q.Limit != nil && *q.Limit < 0 {
		bad("limit", "is %d; it must be null (count only), 0 (take nothing) or more", *q.Limit)
	}
	if q.Limit == nil || *q.Limit > 0 {
		if q.Window < 1 || q.Window > int64(MaxQuotaWindow/time.Second) {
			bad("window", "is %d; it must be from 1 to %d seconds", q.Window, int64(MaxQuotaWindow/time.Second))
		}
	}
	return out
}

func isName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
