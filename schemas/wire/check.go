package wire

import (
	"time"
	"unicode/utf8"
)

// longer tells whether s has more than most characters.
func longer(s string, most int) bool {
	return len(s) > most && utf8.RuneCountInString(s) > most
}

// isHex32 is the pattern ^[0-9a-f]{32}$.
func isHex32(s string) bool {
	if len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isNoneOrHex32 is the pattern ^([0-9a-f]{32})?$.
func isNoneOrHex32(s string) bool { return s == "" || isHex32(s) }

// isDateTime is the format date-time.
func isDateTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}
