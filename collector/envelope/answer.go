package envelope

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/collector/bound"
	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/collector/produce"
	"github.com/hoptrace/hoptrace/collector/project"
	"github.com/hoptrace/hoptrace/schemas"
)

// CORS lets browsers send from any origin.
func CORS(h http.Header) {
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
}

// They are the same for every answer, and shared by all.
var (
	anyOrigin = []string{"*"}
	exposed   = []string{"x-sentry-error, x-sentry-rate-limits, retry-after"}
)

// Preflight answers a browser that asks whether it may send.
func Preflight(w http.ResponseWriter) {
	h := w.Header()
	CORS(h)
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, content-type, "+
		"authentication, authorization, content-encoding, transfer-encoding, baggage, sentry-trace, traceparent, tracestate")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

// Error answers in Sentry's form.
func Error(w http.ResponseWriter, code int, err error) {
	detail, causes := split(err)
	body, _ := json.Marshal(struct { // strings always marshal
		Detail string   `json:"detail"`
		Causes []string `json:"causes,omitempty"`
	}{detail, causes})
	h := w.Header()
	CORS(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Sentry-Error", headerText(strings.Join(append([]string{detail}, causes...), ": ")))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body) // a sender that is gone learns nothing
}

// split takes the sentinel in front for the detail and the rest for its cause.
func split(err error) (detail string, causes []string) {
	text := strings.ToValidUTF8(clip(err.Error(), 1<<10), "\uFFFD")
	for _, sentinel := range []error{
		ErrMalformed, ErrHeaderMismatch, ErrBadEvent, ErrBadForm, ErrBadReport, ErrBadCheckIn,
		project.ErrBadAuth, project.ErrUnknownKey, project.ErrMismatch, project.ErrDisabled, project.ErrUnavailable,
	} {
		if !errors.Is(err, sentinel) {
			continue
		}
		if rest, ok := strings.CutPrefix(text, sentinel.Error()); ok && rest != "" {
			return sentinel.Error(), []string{strings.TrimLeft(rest, ": ")}
		}
	}
	return text, nil
}

// headerText makes text fit for a header line.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 500)]
}

// refuse counts an error and answers it. Sentry SDKs drop what was refused, so
// a 5xx would be no invitation to come again: it is 429 where waiting helps. in
// may be nil.
func (r *Receiver) refuse(w http.ResponseWriter, protocol string, err error, in *intake, wire int64) {
	code, reason := codeOf(err)
	r.deps.Counts.Refused(reason)
	var limits []policy.RateLimit
	if in != nil {
		limits = in.allLimits()
	}
	switch {
	case code == http.StatusTooManyRequests:
		if !errors.Is(err, ErrRateLimited) {
			r.deps.Log.Warn("cannot take events", "protocol", protocol, "reason", reason, "err", err)
		}
		if !errors.Is(err, ErrRateLimited) || len(limits) == 0 {
			// No category: all of them.
			limits = append(limits, policy.RateLimit{Scope: schemas.ScopeOrganization, Reason: reason, RetryAfter: max(r.cfg.RetryAfter, time.Second)})
		}
		// By what refused it, where that is told: what else holds is about other categories.
		by := limits
		if in != nil && len(in.limits) > 0 {
			by = in.limits
		}
		w.Header().Set("Retry-After", strconv.Itoa(policy.Seconds(by)))
	case code >= http.StatusInternalServerError:
		r.deps.Log.Error("cannot take events", "protocol", protocol, "reason", reason, "err", err)
	default:
		r.deps.Log.Debug("refused a request", "protocol", protocol, "reason", reason, "err", err)
	}
	policy.SetHeader(w.Header(), limits)
	Error(w, code, err)
	r.deps.Counts.Request(protocol, strconv.Itoa(code), wire)
}

func codeOf(err error) (code int, reason string) {
	if e, ok := errors.AsType[*bound.TooLargeError](err); ok {
		reason = "too_large"
		if _, known := kinds[e.What]; known {
			reason += ":" + e.What
		}
		return http.StatusRequestEntityTooLarge, reason
	}
	if _, ok := errors.AsType[*bound.EncodingError](err); ok {
		return http.StatusUnsupportedMediaType, "content_encoding"
	}
	if _, ok := errors.AsType[*bound.CorruptError](err); ok {
		return http.StatusBadRequest, "invalid_compression"
	}
	switch {
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest, "invalid_envelope"
	case errors.Is(err, ErrBadEvent):
		return http.StatusBadRequest, "invalid_json"
	case errors.Is(err, ErrBadForm), errors.Is(err, ErrNoMinidump), errors.Is(err, ErrBadMinidump):
		reason = "invalid_multipart"
		if !errors.Is(err, ErrBadForm) {
			reason = "invalid_minidump"
		}
		return http.StatusBadRequest, reason
	case errors.Is(err, ErrBadReport):
		return http.StatusBadRequest, "invalid_report"
	case errors.Is(err, ErrBadCheckIn):
		return http.StatusBadRequest, "invalid_check_in"
	case errors.Is(err, ErrOrigin):
		return http.StatusForbidden, "cors"
	case errors.Is(err, ErrRateLimited):
		return http.StatusTooManyRequests, "rate_limited"
	case errors.Is(err, ErrHeaderMismatch):
		return http.StatusBadRequest, "header_mismatch"
	case errors.Is(err, project.ErrNoAuth), errors.Is(err, project.ErrMultipleAuth):
		return http.StatusUnauthorized, "auth"
	case errors.Is(err, project.ErrBadAuth):
		return http.StatusBadRequest, "bad_auth"
	case errors.Is(err, project.ErrUnknownKey):
		return http.StatusForbidden, "unknown_key"
	case errors.Is(err, project.ErrDisabled):
		return http.StatusForbidden, "disabled"
	case errors.Is(err, project.ErrMismatch):
		return http.StatusForbidden, "project_id"
	case errors.Is(err, produce.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "too_large"
	case errors.Is(err, bound.ErrOverload):
		return http.StatusTooManyRequests, "overload"
	case errors.Is(err, produce.ErrUnavailable):
		return http.StatusTooManyRequests, "kafka_unavailable"
	case errors.Is(err, project.ErrUnavailable):
		return http.StatusTooManyRequests, "metadata_unavailable"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusTooManyRequests, "canceled"
	}
	return http.StatusInternalServerError, "internal"
}
