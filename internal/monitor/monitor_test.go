package monitor

import (
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestNextIsWhenTheScheduleSays(t *testing.T) {
	f := func(c schemas.MonitorConfig, after, want string) {
		t.Helper()
		s, err := Parse(WithDefaults(c))
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, after)
		if err != nil {
			t.Fatal(err)
		}
		if got := time.Unix(0, s.Next(at.UnixNano())).UTC().Format(time.RFC3339); got != want {
			t.Errorf("after %s comes %s, want %s", after, got, want)
		}
	}
	cron := func(text, zone string) schemas.MonitorConfig {
		return schemas.MonitorConfig{ScheduleType: "crontab", Crontab: text, Timezone: zone}
	}
	every := func(n int64, unit string) schemas.MonitorConfig {
		return schemas.MonitorConfig{ScheduleType: "interval", Every: n, Unit: unit}
	}
	f(cron("*/5 * * * *", ""), "2026-11-23T12:00:00Z", "2026-11-23T12:05:00Z")
	f(cron("0 3 * * *", "Europe/Vienna"), "2026-11-23T12:00:00Z", "2026-11-24T02:00:00Z")
	f(cron("0 3 * * *", "Europe/Vienna"), "2026-07-23T12:00:00Z", "2026-07-24T01:00:00Z")  // summer
	f(cron("30 2 * * *", "Europe/Vienna"), "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z") // there is no 2:30 on the 29th
	f(cron("@daily", ""), "2026-11-23T12:00:00Z", "2026-11-24T00:00:00Z")
	f(cron("0 0 * * mon-fri", ""), "2026-11-27T12:00:00Z", "2026-11-30T00:00:00Z")
	f(every(90, "minute"), "2026-11-23T12:00:30Z", "2026-11-23T13:30:30Z")
	f(every(2, "hour"), "2026-11-23T12:00:00Z", "2026-11-23T14:00:00Z")
	f(every(1, "day"), "2026-11-23T12:00:00Z", "2026-11-24T12:00:00Z")
	f(every(1, "week"), "2026-11-23T12:00:00Z", "2026-11-30T12:00:00Z")
	f(every(1, "month"), "2026-11-23T12:00:00Z", "2026-12-23T12:00:00Z")
	f(every(1, "year"), "2026-11-23T12:00:00Z", "2027-11-23T12:00:00Z")
}

func TestEveryFaultOfAConfigurationIsNamed(t *testing.T) {
	f := func(c schemas.MonitorConfig, want ...string) {
		t.Helper()
		_, err := Parse(c)
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%+v: got error %v, want one with %q", c, err, w)
			}
		}
	}
	ok := schemas.MonitorConfig{CheckInMargin: 1, MaxRuntime: 1, FailureThreshold: 1, RecoveryThreshold: 1}
	with := func(text string) schemas.MonitorConfig {
		c := ok
		c.ScheduleType, c.Crontab = "crontab", text
		return c
	}
	f(schemas.MonitorConfig{ScheduleType: "x", Timezone: "Mars/Olympus"}, `"x"`, `"Mars/Olympus"`, "check-in margin", "max runtime", "failure threshold", "recovery threshold")
	for _, text := range []string{"", "* * * *", "* * * * * *", "61 * * * *", "@every 1s", "TZ=UTC * * * * *", "0 0 30 2 *", strings.Repeat("*", 300)} {
		f(with(text), "crontab")
	}
	c := ok
	c.ScheduleType, c.Unit = "interval", "second"
	f(c, "every", "unit")
	c.Every, c.Unit = 10_001, "minute"
	f(c, "every")
}

func TestSlugIsWhatCanStandInAPath(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := Slug(name); got != want {
			t.Errorf("Slug(%q) = %q, want %q", name, got, want)
		}
	}
	f("nightly_backup-2", "nightly_backup-2")
	f(" Nightly Backup! (EU) ", "nightly-backup-eu")
	f("☃", "")
	f("../../x", "x")
	f(strings.Repeat("a", 80), strings.Repeat("a", 50))
}
