package policy

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Seconds is the longest that anything must wait, in whole seconds rounded up;
// zero when nothing must.
func Seconds(limits []RateLimit) int {
	longest := 0
	for _, l := range limits {
		longest = max(longest, seconds(l.RetryAfter))
	}
	return longest
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// SetHeader tells a sender of limits, in the form
//
//	retry_after:category;category:scope:reason, …
//
// Without limits it sets nothing.
func SetHeader(h http.Header, limits []RateLimit) {
	if len(limits) == 0 {
		return
	}
	var b strings.Builder
	for i, l := range limits {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(seconds(l.RetryAfter)))
		b.WriteByte(':')
		for j, c := range l.Categories {
			if j > 0 {
				b.WriteByte(';')
			}
			b.WriteString(string(c))
		}
		b.WriteByte(':')
		b.WriteString(l.Scope)
		if l.Reason != "" {
			b.WriteByte(':')
			b.WriteString(l.Reason)
		}
	}
	h.Set("X-Sentry-Rate-Limits", b.String())
}
