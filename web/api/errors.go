package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"github.com/hoptrace/hoptrace/exporters"
)

// Error is the one form in which the API says no.
type Error struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Hint      string `json:"hint"`                // the way out
	Parameter string `json:"parameter,omitempty"` // the one at fault
	status    int
}

// Error makes it an error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

type errorBody struct {
	Error *Error `json:"error"`
}

func errorf(status int, code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, status: status}
}

// WriteError sends an error in the API's form; package web uses it for what it
// refuses before the API is asked.
func WriteError(w http.ResponseWriter, r *http.Request, status int, code, message, hint string, log *slog.Logger) {
	writeJSON(w, r, status, errorBody{Error: &Error{Code: code, Message: message, Hint: hint}}, log)
}

func badParameter(name, value, want string) *Error {
	e := errorf(http.StatusBadRequest, "bad_parameter", "accepted: "+want, "parameter %q is %q", name, clip(value, 64))
	e.Parameter = name
	return e
}

// asError is the one place that turns errors of the stores into codes.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errorf(http.StatusGatewayTimeout, "query_timeout", "ask for a shorter time or add a filter", "the store did not answer in time")
	case errors.Is(err, context.Canceled):
		return errorf(499, "canceled", "ask again", "the reader left before the answer")
	case errors.Is(err, exporters.ErrUnavailable):
		return errorf(http.StatusServiceUnavailable, "store_unavailable", "try again; /readyz of the server says which store is missing", "the store cannot be reached now")
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
