package hoptrace

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// environment reads OTEL_* variables. What cannot be read of one is kept as a
// fault that names the variable, its value and what is accepted; the values of
// headers are secrets and are not told. What OpenTelemetry's specification allows
// and is not honoured here is a warning that says what is used instead. An empty
// variable counts as absent.
type environment struct {
	fault, warn func(format string, args ...any)
}

// warnings are kept until it is known what is used instead.
type warnings []string

func (w *warnings) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

func (w warnings) tell(e environment, instead string) {
	for _, s := range w {
		e.warn("%s; %s is used instead", s, instead)
	}
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

// milliseconds reads a time span. Zero is not honoured: what it would mean
// differs from variable to variable.
func (e environment) milliseconds(standard time.Duration, names ...string) time.Duration {
	var zero warnings
	d := standard
	for _, n := range names {
		name, v, ok := e.first(n)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 || n > int64(maxEnvDuration/time.Millisecond) {
			e.fault("%s is %q; it must be milliseconds from 1 to %d", name, v, maxEnvDuration/time.Millisecond)
			break
		}
		if n > 0 {
			d = time.Duration(n) * time.Millisecond
			break
		}
		zero.add("%s is %q, and must be 1 ms or more", name, v)
	}
	zero.tell(e, d.String())
	return d
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

// boolean reads true or false, in any case. Anything else is false, as the
// specification has it.
func (e environment) boolean(names ...string) (value, ok bool) {
	name, v, ok := e.first(names...)
	if !ok {
		return false, false
	}
	if strings.EqualFold(v, "true") {
		return true, true
	}
	if !strings.EqualFold(v, "false") {
		e.warn("%s is %q, neither true nor false; false is used instead", name, v)
	}
	return false, true
}

// word reads one of accepted, in any case. Without one it is "", which means
// what standard says.
func (e environment) word(accepted []string, standard string, names ...string) string {
	var unknown warnings
	for _, n := range names {
		name, v, ok := e.first(n)
		if !ok {
			continue
		}
		if w, known := match(accepted, v); known {
			unknown.tell(e, strconv.Quote(w))
			return w
		}
		unknown.add("%s is %q, none of %s", name, v, strings.Join(accepted, ", "))
	}
	unknown.tell(e, standard)
	return ""
}

// list reads words of accepted with commas between them, in any case; standard
// when there are none.
func (e environment) list(accepted, standard []string, name string) []string {
	_, v, _ := e.first(name)
	var words []string
	var unknown warnings
	for w := range strings.SplitSeq(v, ",") {
		if w = strings.TrimSpace(w); w == "" {
			continue
		}
		if a, known := match(accepted, w); known {
			words = append(words, a)
			continue
		}
		unknown.add("%s is %q, and %q is none of %s", name, v, w, strings.Join(accepted, ", "))
	}
	if len(words) == 0 {
		words = standard
	}
	unknown.tell(e, strconv.Quote(strings.Join(words, ",")))
	return words
}

func match(accepted []string, v string) (string, bool) {
	for _, a := range accepted {
		if strings.EqualFold(a, v) {
			return a, true
		}
	}
	return "", false
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
