package deadletter

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPreview bounds the text that is shown of a value.
const maxPreview = 2 << 10

// Scrubbed stands where a secret was.
const Scrubbed = "[scrubbed]"

var (
	secretName   = regexp.MustCompile(`(?i)(auth|cookie|token|secret|passw|pwd|passphrase|api.?key|private.?key|session|credential|signature|sentry.?key|^pin$)`)
	bearer       = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}`)
	assigned     = regexp.MustCompile(`(?i)("?[\w.-]*(?:passw(?:or)?d|pwd|secret|token|api_?-?key|credential|cookie|authorization|session_?id)[\w.-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|[^\s,;&"'}\]]+)`)
	inURL        = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`)
	cardNumber   = regexp.MustCompile(`\b(?:\d[ -]?){12,18}\d\b`)
	longHexOrB64 = regexp.MustCompile(`\b(?:eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*|(?:AKIA|ghp_|xox[abp]-|sk_live_)[A-Za-z0-9_-]{10,})`)
)

// Preview is what may be shown of a value: its text without what looks like a secret.
// Of bytes that are no text it gives the runs of characters in them, one a line, and says
// that binary. It is cut at maxPreview bytes.
func Preview(value []byte) (text string, binary, cut bool) {
	// More than is shown is looked at, so that a secret is not cut in the middle and
	// missed, but not without bound.
	if limit := 4 * maxPreview; len(value) > limit {
		value, cut = value[:limit], true
	}
	if binary = !readable(value); binary {
		text = runs(value)
	} else {
		text = strings.ToValidUTF8(string(value), "\uFFFD")
	}
	text = Scrub(text)
	if len(text) > maxPreview {
		end := maxPreview
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text, cut = text[:end], true
	}
	return text, binary, cut
}

// Scrub puts [Scrubbed] where a text has what looks like a secret.
func Scrub(s string) string {
	s = inURL.ReplaceAllString(s, "${1}"+Scrubbed+"@")
	s = bearer.ReplaceAllString(s, "$1 "+Scrubbed)
	s = assigned.ReplaceAllString(s, "${1}"+Scrubbed)
	s = longHexOrB64.ReplaceAllString(s, Scrubbed)
	return cardNumber.ReplaceAllStringFunc(s, func(m string) string {
		if luhn(m) {
			return Scrubbed
		}
		return m
	})
}

// HeaderText is what may be shown of a header.
func HeaderText(h Header) string {
	if secretName.MatchString(h.Key) {
		return Scrubbed
	}
	v := h.Value
	if len(v) > 256 {
		v = v[:256]
	}
	if !readable(v) {
		return "binary"
	}
	s := Scrub(strings.ToValidUTF8(string(v), "\uFFFD"))
	if len(h.Value) > len(v) {
		s += "…"
	}
	return s
}

// readable tells that bytes are text; a character that a cut broke is no reason against.
func readable(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 && len(b) >= utf8.UTFMax {
			return false
		}
		if r < ' ' && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
		b = b[size:]
	}
	return true
}

// minRun is how many characters in a row are taken for text.
const minRun = 4

func runs(b []byte) string {
	var out strings.Builder
	var run bytes.Buffer
	end := func() {
		if utf8.RuneCount(run.Bytes()) >= minRun {
			if out.Len() > 0 {
				out.WriteByte('\n')
			}
			out.Write(run.Bytes())
		}
		run.Reset()
	}
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			end()
		} else {
			run.Write(b[:size])
		}
		b = b[size:]
	}
	end()
	return out.String()
}

// luhn tells that digits are a card's number.
func luhn(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		d := int(s[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return n >= 13 && sum%10 == 0
}
