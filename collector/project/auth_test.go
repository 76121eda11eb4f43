package project

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
)

const key = "0123456789abcdef0123456789abcdef"

func TestCredentialsAreReadFromAllPlaces(t *testing.T) {
	f := func(authSentry, authorization, query string, want Credentials, wantErr error) {
		t.Helper()
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromRequest(authSentry, authorization, q)
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("FromRequest(%q, %q, %q) = %v, %v; want %v, %v", authSentry, authorization, query, got, err, want, wantErr)
		}
	}
	only := Credentials{Key: key}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"))
	f("Sentry sentry_key="+key, "", "", only, nil)
	f("Sentry sentry_key="+key+", sentry_version=7, sentry_client=sentry.go/0.50.0", "", "", Credentials{key, "sentry.go/0.50.0"}, nil)
	f("Sentry sentry_version=7,sentry_key="+strings.ToUpper(key)+",sentry_secret=x", "", "", only, nil)
	f("sentry sentry_key="+key, "", "", only, nil)
	f("sentry_key="+key, "", "", only, nil)
	f("", "Sentry sentry_key="+key, "", only, nil)
	f("", basic, "", only, nil)
	f("", "Bearer something", "", Credentials{}, ErrNoAuth)
	f("", "", "sentry_key="+key+"&sentry_version=7&sentry_client=js%2F1", Credentials{key, "js/1"}, nil)
	f("", "", "", Credentials{}, ErrNoAuth)
	f("Sentry sentry_key="+key, "Sentry sentry_key="+key, "", Credentials{}, ErrMultipleAuth)
	f("Sentry sentry_key="+key+", sentry_key="+strings.Repeat("0", len(key)), "", "", Credentials{}, ErrMultipleAuth)
	f("Sentry sentry_key="+key, "", "sentry_key="+key, Credentials{}, ErrMultipleAuth)
	f("Sentry sentry_version=7", "", "", Credentials{}, ErrBadAuth)
	f("Sentry sentry_key=short", "", "", Credentials{}, ErrBadAuth)
	f("Sentry sentry_key="+strings.Repeat("z", 32), "", "", Credentials{}, ErrBadAuth)
	f("Sentry sentry_version=8, sentry_key="+key, "", "", Credentials{}, ErrBadAuth)
	f("Sentry sentry_version=x, sentry_key="+key, "", "", Credentials{}, ErrBadAuth)
	f("", "Basic ???", "", Credentials{}, ErrBadAuth)
	f("", "", "sentry_key=", Credentials{}, ErrBadAuth)
}

func TestDSNsAreRead(t *testing.T) {
	f := func(dsn string, wantID uint64, ok bool) {
		t.Helper()
		k, id, err := ParseDSN(dsn)
		if ok && (err != nil || k != key || id != wantID) {
			t.Errorf("ParseDSN(%q) = %q, %d, %v", dsn, k, id, err)
		}
		if !ok && !errors.Is(err, ErrBadAuth) {
			t.Errorf("ParseDSN(%q) = %v; want ErrBadAuth", dsn, err)
		}
	}
	f("http://"+key+"@127.0.0.1:4318/1", 1, true)
	f("https://"+key+":secret@o1.example.com/some/path/42", 42, true)
	f("https://"+key+"@example.com/", 0, false)
	f("https://"+key+"@example.com/x", 0, false)
	f("https://"+key+"@example.com/0", 0, false)
	f("https://"+key+"@example.com/99999999999999999999", 0, false)
	f("https://example.com/1", 0, false)
	f("https://nokey@example.com/1", 0, false)
	f("http://[::1", 0, false)
}
