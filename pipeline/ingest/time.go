package ingest

import (
	"strconv"
	"strings"
	"time"
)

// ParseTime reads what Sentry SDKs write as a time, Unix seconds with a fraction
// or not or RFC 3339, as Unix ns. Zero is what cannot be read.
func ParseTime(s string) int64 {
	if s == "" {
		return 0
	}
	if ns, ok := parseSeconds(s); ok {
		return ns
	}
	for _, layout := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if at, err := time.Parse(layout, s); err == nil {
			if y := at.Year(); y < 1970 || y > 2200 {
				return 0
			}
			return at.UnixNano()
		}
	}
	return 0
}

// parseSeconds keeps every digit of the fraction; a float would lose some.
func parseSeconds(s string) (int64, bool) {
	const most = 9_000_000_000 // the year 2255, before int64 of nanoseconds ends
	whole, fraction, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" { // an exponent
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f > 0 && f < most) {
			return 0, false
		}
		return int64(f * 1e9), true
	}
	if sec < 0 || sec > most {
		return 0, false
	}
	var ns int64
	for i := range 9 {
		ns *= 10
		if i < len(fraction) {
			ns += int64(fraction[i] - '0')
		}
	}
	return sec*1e9 + ns, true
}
