// Package project tells for which project a request is meant: it reads the
// credentials of Sentry SDKs and resolves a DSN's key, with a cache in front
// of the metadata store. It makes no limits and counts nothing.
package project

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Errors of credentials and of resolving. Each is wrapped with what was wrong.
var (
	// ErrNoAuth means that nobody said who sends.
	ErrNoAuth = errors.New("no DSN key: send X-Sentry-Auth, Authorization, or sentry_key in the query")
	// ErrMultipleAuth means that it was said twice.
	ErrMultipleAuth = errors.New("credentials given more than once")
	// ErrBadAuth means that what was said cannot be read.
	ErrBadAuth = errors.New("bad credentials")
	// ErrUnknownKey means that no project has this key.
	ErrUnknownKey = errors.New("event submission rejected: unknown DSN key")
	// ErrDisabled means that the key or its project was switched off.
	ErrDisabled = errors.New("event submission rejected")
	// ErrMismatch means that the key belongs to another project than the one addressed.
	ErrMismatch = errors.New("event submission rejected: the DSN key belongs to another project")
	// ErrUnavailable means that the metadata store does not answer and the key is not cached.
	ErrUnavailable = errors.New("cannot look up the project now")
)

// Credentials are what an SDK says about itself.
type Credentials struct {
	Key    string // 32 lower-case hex digits
	Client string // name/version, may be empty
}

// maxVersion is the newest Sentry protocol.
const maxVersion = 7

// Sources are where a request may say who sends. Empty ones say nothing.
type Sources struct {
	Sentry        []string // its headers X-Sentry-Auth
	Authorization []string
	Query         url.Values
	Path          string // a key in the path
}

// Credentials reads them. They may stand in one place only; another scheme of
// Authorization than Sentry and Basic is somebody else's. It fails with
// ErrNoAuth, ErrMultipleAuth or ErrBadAuth.
func (s Sources) Credentials() (Credentials, error) {
	var found Credentials
	n := 0
	add := func(c Credentials, err error) error {
		found = c
		n++
		return err
	}
	for _, v := range s.Sentry {
		if v == "" {
			continue
		}
		if err := add(parseSentry(v)); err != nil {
			return Credentials{}, err
		}
	}
	for _, v := range s.Authorization {
		scheme, rest, _ := strings.Cut(v, " ")
		var err error
		switch {
		case strings.EqualFold(scheme, "sentry"):
			err = add(parseSentry(v))
		case strings.EqualFold(scheme, "basic"):
			err = add(parseBasic(rest))
		}
		if err != nil {
			return Credentials{}, err
		}
	}
	for _, key := range s.Query["sentry_key"] {
		if err := add(credentials(key, s.Query.Get("sentry_version"), s.Query.Get("sentry_client"))); err != nil {
			return Credentials{}, err
		}
	}
	if s.Path != "" {
		if err := add(credentials(s.Path, "", "")); err != nil {
			return Credentials{}, err
		}
	}
	switch n {
	case 0:
		return Credentials{}, ErrNoAuth
	case 1:
		return found, nil
	}
	return Credentials{}, ErrMultipleAuth
}

// FromRequest is Credentials of the headers X-Sentry-Auth and Authorization and
// the query, which may be nil.
func FromRequest(authSentry, authorization string, query url.Values) (Credentials, error) {
	s := Sources{Query: query}
	if authSentry != "" {
		s.Sentry = []string{authSentry}
	}
	if authorization != "" {
		s.Authorization = []string{authorization}
	}
	return s.Credentials()
}

// parseSentry reads "Sentry sentry_key=…, sentry_version=7, …". The scheme may
// be missing.
func parseSentry(s string) (Credentials, error) {
	if scheme, rest, ok := strings.Cut(s, " "); ok && strings.EqualFold(scheme, "sentry") {
		s = rest
	}
	var key, version, client string
	keys := 0
	for pair := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(name) {
		case "sentry_key":
			if keys++; keys > 1 && value != key {
				return Credentials{}, ErrMultipleAuth
			}
			key = value
		case "sentry_version":
			version = value
		case "sentry_client":
			client = value
		}
	}
	return credentials(key, version, client)
}

func parseBasic(s string) (Credentials, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: Authorization is no base64", ErrBadAuth)
	}
	key, _, _ := strings.Cut(string(raw), ":")
	return credentials(key, "", "")
}

func credentials(key, version, client string) (Credentials, error) {
	key, err := CheckKey(key)
	if err != nil {
		return Credentials{}, err
	}
	if version != "" {
		v, err := strconv.ParseUint(strings.TrimSuffix(version, ".0"), 10, 16)
		if err != nil || v > maxVersion {
			return Credentials{}, fmt.Errorf("%w: protocol version %q, want at most %d", ErrBadAuth, clip(version, 20), maxVersion)
		}
	}
	return Credentials{Key: key, Client: clip(client, 128)}, nil
}

// CheckKey gives a DSN's public key in lower case, or fails with ErrBadAuth.
func CheckKey(key string) (string, error) {
	if len(key) != 32 {
		return "", fmt.Errorf("%w: the DSN key has %d characters, want 32 hex digits", ErrBadAuth, len(key))
	}
	for _, c := range []byte(key) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return "", fmt.Errorf("%w: the DSN key %q is not hex", ErrBadAuth, key)
		}
	}
	return strings.ToLower(key), nil
}

// ParseDSN reads a DSN's key and project id. It fails with ErrBadAuth.
func ParseDSN(dsn string) (key string, id uint64, err error) {
	u, err := url.Parse(dsn)
	if err != nil || u.User == nil {
		return "", 0, fmt.Errorf("%w: %q is no DSN", ErrBadAuth, clip(dsn, 100))
	}
	if key, err = CheckKey(u.User.Username()); err != nil {
		return "", 0, err
	}
	if id, err = ParseID(u.Path[strings.LastIndexByte(u.Path, '/')+1:]); err != nil {
		return "", 0, err
	}
	return key, id, nil
}

// ParseID reads a project id as it stands in a path. It fails with ErrBadAuth.
func ParseID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Errorf("%w: project id %q is no positive number", ErrBadAuth, clip(s, 40))
	}
	return id, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
