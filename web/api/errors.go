package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Problem is the one form in which the API says no: application/problem+json
// (RFC 9457).
type Problem struct { //nolint:errname // the word of RFC 9457
	Type     string `json:"type"`   // urn:hoptrace:problem:, then the code
	Title    string `json:"title"`  // the same for every problem of its type
	Status   int    `json:"status"` // as the answer's
	Detail   string `json:"detail"` // what is wrong this time
	Instance string `json:"instance"`
	Code     string `json:"code"`
	WayOut   string `json:"wayOut"`
	// Param is the parameter at fault, or the field of the body.
	Param string `json:"param,omitempty"`
	// RetryAfter is when to ask again, in seconds, as the header of that name.
	RetryAfter int `json:"retryAfter,omitempty"`
	// Faults are all that is wrong with the settings in a body.
	Faults []Fault `json:"faults,omitempty"`
	// Needs is the least role that is not refused, of no_permission.
	Needs schemas.Role `json:"needs,omitempty"`
}

// Fault is one thing that is wrong with a body.
type Fault struct {
	Field  string `json:"field"` // as filters.clientIPs[1]; empty: the whole of it
	Detail string `json:"detail"`
}

// Error makes it an error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// problemType is what a type begins with: an identifier and no address, since a
// server of one's own has no page on the web.
const problemType = "urn:hoptrace:problem:"

// contentProblem is the media type of a problem.
const contentProblem = "application/problem+json"

// statusLeft is what a request is counted under whose reader left; nobody sees it.
const statusLeft = 499

func errorf(status int, code, wayOut, format string, args ...any) *Problem {
	title := strings.ReplaceAll(code, "_", " ")
	return &Problem{
		Type: problemType + code, Title: strings.ToUpper(title[:1]) + title[1:], Status: status, Code: code,
		Detail: fmt.Sprintf(format, args...), WayOut: wayOut,
	}
}

// of says which parameter it is about.
func (p *Problem) of(param string) *Problem {
	p.Param = param
	return p
}

// after says when to ask again; less than a second becomes one.
func (p *Problem) after(d time.Duration) *Problem {
	p.RetryAfter = max(1, int((d+time.Second-1)/time.Second))
	return p
}

// maxFaults bounds how many faults a problem names one by one.
const maxFaults = 100

// withFaults names the faults of settings one by one, beside the detail that has
// them as text.
func (p *Problem) withFaults(err error) *Problem {
	for i, f := range schemas.SettingsFaults(err) {
		if i == maxFaults {
			break
		}
		p.Faults = append(p.Faults, Fault{Field: clip(f.Path, 200), Detail: clip(f.Text, 1<<10)})
	}
	return p
}

// needing says which role would do.
func (p *Problem) needing(role schemas.Role) *Problem {
	p.Needs = role
	return p
}

// WriteError sends an error in the API's form; package web uses it for what it
// refuses before the API is asked.
func WriteError(w http.ResponseWriter, r *http.Request, status int, code, detail, wayOut string, log *slog.Logger) {
	writeProblem(w, r, errorf(status, code, wayOut, "%s", detail), log)
}

// maxInstance bounds the path and query that a problem repeats, in bytes.
const maxInstance = 512

func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem, log *slog.Logger) int {
	told := *p // an answer may share its problem with another
	told.Instance = clip(r.URL.RequestURI(), maxInstance)
	if told.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="hoptrace"`)
	}
	if told.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(told.RetryAfter))
	}
	return writeJSON(w, r, told.Status, contentProblem, &told, log)
}

func badParameter(name, value, want string) *Problem {
	return errorf(http.StatusBadRequest, "bad_parameter", "accepted: "+want, "parameter %q is %q", name, clip(value, 64)).of(name)
}

// asProblem is the one place that turns errors of the stores into codes.
func asProblem(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errorf(http.StatusGatewayTimeout, "query_timeout", "ask for a shorter time or add a filter", "the store did not answer in time")
	case errors.Is(err, context.Canceled):
		return errorf(statusLeft, "canceled", "ask again", "the reader left before the answer")
	case errors.Is(err, exporters.ErrUnavailable):
		return errorf(http.StatusServiceUnavailable, "store_unavailable", "try again; /readyz of the server says which store is missing", "the store cannot be reached now").after(time.Second)
	case errors.Is(err, exporters.ErrNotFound):
		return errorf(http.StatusNotFound, "not_found", "it may have been deleted by retention", "nothing is stored under that name")
	}
	return errorf(http.StatusInternalServerError, "internal", "the server's log says why", "the server failed on it")
}

// clip cuts s to n bytes without breaking a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
