package hoptrace

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// environment reads OTEL_* variables. What is wrong with one is kept as a fault
// that names the variable, its value and what is accepted; the values of headers
// are secrets and are not told. An empty variable counts as absent.
type environment struct {
	fault func(format string, args ...any)
}

// first returns the first of names that is set, and its value.
func (environment) first(names ...string) (name, value string, ok bool) {
	for _, n := range names {
		if v := strings.TrimSpace(os.Getenv(n)); v != "" {
			return n, v, true
		}
	}
	return "", "", false
}

// milliseconds reads a time span. Zero is not accepted: what it would mean
// differs from variable to variable.
func (e environment) milliseconds(names ...string) (time.Duration, bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 || n > int64(maxEnvDuration/time.Millisecond) {
		e.fault("%s is %q; it must be milliseconds from 1 to %d", name, v, maxEnvDuration/time.Millisecond)
		return 0, false
	}
	return time.Duration(n) * time.Millisecond, true
}

const maxEnvDuration = 24 * time.Hour

// count reads a positive number.
func (e environment) count(names ...string) (int, bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n <= 0 || n > maxEnvCount {
		e.fault("%s is %q; it must be a whole number from 1 to %d", name, v, maxEnvCount)
		return 0, false
	}
	return n, true
}

const maxEnvCount = 1 << 26

// boolean reads true or false, in any case.
func (e environment) boolean(names ...string) (value, ok bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return false, false
	}
	switch strings.ToLower(v) {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	e.fault("%s is %q; it must be true or false", name, v)
	return false, false
}

// word reads one of accepted.
func (e environment) word(accepted []string, names ...string) (string, bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return "", false
	}
	for _, a := range accepted {
		if v == a {
			return v, true
		}
	}
	e.fault("%s is %q; it must be one of %s", name, v, strings.Join(accepted, ", "))
	return "", false
}

// list reads words of accepted with commas between them.
func (e environment) list(accepted []string, names ...string) (words []string, ok bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return nil, false
	}
	for w := range strings.SplitSeq(v, ",") {
		w = strings.TrimSpace(w)
		known := false
		for _, a := range accepted {
			known = known || w == a
		}
		if !known {
			e.fault("%s has %q in %q; it must be a list of %s", name, w, v, strings.Join(accepted, ", "))
			return nil, false
		}
		words = append(words, w)
	}
	return words, true
}

// pairs reads key=value with commas between, percent-encoded, as W3C baggage
// without properties. The values are not told in faults.
func (e environment) pairs(name string) map[string]string {
	_, v, ok := e.first(name)
	if !ok {
		return nil
	}
	out := make(map[string]string)
	for i, p := range strings.Split(v, ",") {
		if strings.TrimSpace(p) == "" {
			continue
		}
		key, value, found := strings.Cut(p, "=")
		key = strings.TrimSpace(key)
		k, errKey := url.PathUnescape(key)
		val, errValue := url.PathUnescape(strings.TrimSpace(value))
		if !found || k == "" || errKey != nil || errValue != nil {
			e.fault("%s: its part %d is not key=value, percent-encoded; it must look like k1=v1,k2=v2", name, i+1)
			continue
		}
		out[k] = val
	}
	return out
}

// file reads a file that a variable names.
func (e environment) file(names ...string) []byte {
	name, path, ok := e.first(names...)
	if !ok {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		e.fault("%s: %w; it must name a readable PEM file", name, err)
		return nil
	}
	return raw
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
