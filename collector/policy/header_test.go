package policy

import (
	"net/http"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestLimitsAreToldInSentrysForm(t *testing.T) {
	f := func(want string, seconds int, limits ...RateLimit) {
		t.Helper()
		h := http.Header{}
		SetHeader(h, limits)
		if got := h.Get("X-Sentry-Rate-Limits"); got != want {
			t.Errorf("header %q; want %q", got, want)
		}
		if got := Seconds(limits); got != seconds {
			t.Errorf("%d seconds; want %d", got, seconds)
		}
	}
	f("", 0)
	f("60::organization:quota", 60, RateLimit{Scope: "organization", Reason: "quota", RetryAfter: time.Minute})
	f("2:error;transaction:key:too_many, 1:log_item:project", 2,
		RateLimit{Categories: []schemas.Category{schemas.CategoryError, schemas.CategoryTransaction}, Scope: "key", Reason: "too_many", RetryAfter: 1500 * time.Millisecond},
		RateLimit{Categories: []schemas.Category{schemas.CategoryLogItem}, Scope: "project", RetryAfter: time.Millisecond})
}
