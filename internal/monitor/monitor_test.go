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
	f(every(1, "month"), "2026-01-31T12:00:00Z", "2026-02-28T12:00:00Z")
	f(every(1, "year"), "2028-02-29T12:00:00Z", "2029-02-28T12:00:00Z")
	// Clocks are put back at 3:00, so 2:30 comes twice: a job of that hour runs once, one
	// of every hour each time.
	f(cron("30 2 * * *", "Europe/Vienna"), "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z")
	f(cron("30 2 * * *", "Europe/Vienna"), "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z")
	f(cron("30 * * * *", "Europe/Vienna"), "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z")
	f(cron("45 1 * * *", "Australia/Lord_Howe"), "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z") // back by half an hour
	f(cron("30 * * * *", "Europe/Vienna"), "2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z")       // 2:30 is not there, 3:30 is
	f(cron("0 0 * * *", "Africa/Cairo"), "2026-04-23T12:00:00Z", "2026-04-24T21:00:00Z")         // nor is midnight of the 24th
	f(every(1, "day"), "2026-10-24T10:00:00Z", "2026-10-25T10:00:00Z")
	vienna := every(1, "day")
	vienna.Timezone = "Europe/Vienna"
	f(vienna, "2026-10-24T10:00:00Z", "2026-10-25T11:00:00Z") // at noon there, each day
}

func TestACrontabIsReadAsCronReadsIt(t *testing.T) {
	// The days of November and December 2026 from Monday the 23rd on.
	f := func(line string, want ...string) {
		t.Helper()
		s, err := Parse(WithDefaults(schemas.MonitorConfig{ScheduleType: "crontab", Crontab: line}))
		if err != nil {
			t.Error(err)
			return
		}
		at := time.Date(2026, 11, 22, 23, 59, 59, 0, time.UTC).UnixNano()
		for _, w := range want {
			at = s.Next(at)
			if got := time.Unix(0, at).UTC().Format("Mon 2 15:04"); got != w {
				t.Errorf("%s: got %s, want %s of %v", line, got, w, want)
				return
			}
		}
	}
	f("0 0 * * 7", "Sun 29 00:00", "Sun 6 00:00")
	f("0 0 * * 0", "Sun 29 00:00", "Sun 6 00:00")
	f("0 0 * * 0,7", "Sun 29 00:00", "Sun 6 00:00")
	f("0 0 * * SUN", "Sun 29 00:00", "Sun 6 00:00")
	f("0 0 * * 5-7", "Fri 27 00:00", "Sat 28 00:00", "Sun 29 00:00", "Fri 4 00:00")
	f("0 0 * * Fri-Sun", "Fri 27 00:00", "Sat 28 00:00", "Sun 29 00:00", "Fri 4 00:00")
	f("0 0 * * sun-tue", "Mon 23 00:00", "Tue 24 00:00", "Sun 29 00:00")
	f("0 0 * * 1-7/2", "Mon 23 00:00", "Wed 25 00:00", "Fri 27 00:00", "Sun 29 00:00", "Mon 30 00:00")
	f("0 0 * * 5-7/2", "Fri 27 00:00", "Sun 29 00:00", "Fri 4 00:00")
	f("0 0 * * 0-7", "Mon 23 00:00", "Tue 24 00:00")
	f("0 0 * * */3", "Wed 25 00:00", "Sat 28 00:00", "Sun 29 00:00", "Wed 2 00:00")
	f("0 0 * * 2/2", "Tue 24 00:00", "Thu 26 00:00", "Sat 28 00:00", "Tue 1 00:00")
	f("0 0 * * 7/2", "Sun 29 00:00", "Sun 6 00:00")
	f("0 0 * * mon,WED,5", "Mon 23 00:00", "Wed 25 00:00", "Fri 27 00:00", "Mon 30 00:00")
	f("0 0 1 DEC *", "Tue 1 00:00")
	f("0 0 2 jan-mar,Dec *", "Wed 2 00:00", "Sat 2 00:00")
	f("*/20 8-18/10 * * *", "Mon 23 08:00", "Mon 23 08:20", "Mon 23 08:40", "Mon 23 18:00")
	f("5,10-12,50/5 0 * * *", "Mon 23 00:05", "Mon 23 00:10", "Mon 23 00:11", "Mon 23 00:12", "Mon 23 00:50", "Mon 23 00:55")
	f("0\t0   1 * *", "Tue 1 00:00")
	f("0 0 25 * 5", "Wed 25 00:00", "Fri 27 00:00", "Fri 4 00:00") // one of the two days will do
	f("0 0 */2 * 5", "Fri 27 00:00", "Fri 11 00:00")               // with a star, both must be
	f("0 0 ? * 5", "Fri 27 00:00", "Fri 4 00:00")                  // any
	f("0 0 25 * ?", "Wed 25 00:00", "Fri 25 00:00")                // any
	f("@WEEKLY", "Sun 29 00:00")
	f("@hourly", "Mon 23 00:00", "Mon 23 01:00")
	f("@annually", "Fri 1 00:00")
}

func TestAFaultOfACrontabNamesItsField(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		_, err := Parse(WithDefaults(schemas.MonitorConfig{ScheduleType: "crontab", Crontab: line}))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got error %v, want one with %s", line, err, w)
			}
		}
	}
	f("60 * * * *", `minute "60"`, "0 to 59")
	f("-1 * * * *", `minute "-1"`)
	f("* 24 * * *", `hour "24"`, "0 to 23")
	f("* * 0 * *", `day of month "0"`, "1 to 31")
	f("* * * 13 *", `month "13"`, "1 to 12 or jan to dec")
	f("* * * * 8", `day of week "8"`, "0 to 7 or sun to sat")
	f("* * * * 5-8", `day of week "5-8"`)
	f("* * * mon *", `month "mon"`)
	f("* * * * funday", `day of week "funday"`)
	f("0 0 L * *", `day of month "L"`, "other schedulers")
	f("0 0 15W * *", `day of month "15W"`, "other schedulers")
	f("0 0 * * 5#2", `day of week "5#2"`, "other schedulers")
	f("0 0 * * 5L", `day of week "5L"`, "other schedulers")
	f("? * * * *", `minute "?"`, "other schedulers")
	f("0 0 ?/2,? * 1-?", `day of week "1-?"`)
	f("*/0 * * * *", `minute "*/0"`, "step")
	f("*/x * * * *", `minute "*/x"`, "step")
	f("*/99999 * * * *", `minute "*/99999"`, "step")
	f("1,,2 * * * *", `minute "1,,2"`)
	f("5-1 * * * *", `minute "5-1"`, "ends before it begins")
	f("* * * * 6-0", `day of week "6-0"`, "ends before it begins")
	f("1-2-3 * * * *", `minute "1-2-3"`)
	f("+5 * * * *", `minute "+5"`)
	f("x 25 * * 9", "minute", "hour", "day of week") // all at once
	f("* * * * * *", "five fields", "got 6")
	f("@reboot", "@hourly")
}

func TestTheNextRunIsNeverNow(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Vienna", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "Australia/Lord_Howe", "America/Havana", "Asia/Kathmandu", "Antarctica/Troll"} {
		for _, line := range []string{"* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * *", "15 1 * * 7", "59 23 31 * *"} {
			s, err := Parse(WithDefaults(schemas.MonitorConfig{ScheduleType: "crontab", Crontab: line, Timezone: zone}))
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Date(2018, 1, 1, 0, 0, 30, 0, time.UTC)
			for at := begin; at.Before(begin.AddDate(1, 0, 0)); at = at.Add(347 * time.Minute) {
				if next := s.Next(at.UnixNano()); next <= at.UnixNano() || s.Next(next-1) != next {
					t.Fatalf("%s in %s: after %s comes %s, and just before it %s", line, zone, at, time.Unix(0, next).UTC(), time.Unix(0, s.Next(next-1)).UTC())
				}
			}
		}
	}
}

func TestACheckInIsEarlyOrOfASlotBefore(t *testing.T) {
	parse := func(line string, margin int64) *Schedule {
		s, err := Parse(WithDefaults(schemas.MonitorConfig{ScheduleType: "crontab", Crontab: line, CheckInMargin: margin}))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	at := func(d time.Duration) int64 { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).Add(d).UnixNano() }
	early := func(s *Schedule, slot, want time.Duration) {
		t.Helper()
		if got := time.Duration(s.Early(at(slot))); got != want {
			t.Errorf("early for %v is %v, want %v", slot, got, want)
		}
	}
	early(parse("0 * * * *", 5), 12*time.Hour, 5*time.Minute)
	early(parse("* * * * *", 1), 12*time.Hour, 15*time.Second)
	early(parse("* * * * *", 500), 12*time.Hour, 15*time.Second)
	twice := parse("0,10 9 * * *", 60)
	early(twice, 9*time.Hour, 150*time.Second)
	early(twice, 9*time.Hour+10*time.Minute, 150*time.Second) // ten minutes before, though a day to the next
	first := func(s *Schedule, now, next, taken time.Duration) {
		t.Helper()
		n, k := s.First(at(now))
		if n != at(next) || k != at(taken) {
			t.Errorf("of a check-in at %v the next is %v and taken %v, want %v and %v", now, time.Duration(n-at(0)), time.Duration(k-at(0)), next, taken)
		}
	}
	first(parse("* * * * *", 1), 45*time.Second, time.Minute, 45*time.Second)
	first(parse("0 * * * *", 5), 5*time.Minute-1, time.Hour, 5*time.Minute-1)
	first(parse("0 * * * *", 5), 5*time.Minute, time.Hour, 5*time.Minute-1)
	first(parse("0 * * * *", 5), 59*time.Minute, time.Hour, 59*time.Minute-1)
	first(parse("0 * * * *", 5), time.Hour, 2*time.Hour, time.Hour)
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
	f(schemas.MonitorConfig{ScheduleType: "x", Timezone: "Mars/Olympus"}, `"x"`, `"Mars/Olympus"`, "checkInMargin", "maxRuntime", "failureThreshold", "recoveryThreshold")
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

func FuzzCrontab(f *testing.F) {
	for _, line := range []string{"*/5 1-7/2,9 ? jan-dec 5-7", "@weekly", "0 0 * * 5#2", "60 24 0 13 8", ",/- -/, / - ,"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse(WithDefaults(schemas.MonitorConfig{ScheduleType: "crontab", Crontab: line}))
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		const now = int64(1_790_000_000_000_000_000)
		if next := s.Next(now); next <= now {
			t.Errorf("%q: the next run is at %d", line, next)
		}
	})
}
