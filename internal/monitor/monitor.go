// Package monitor knows schedules of jobs: what is a valid one, and when the next run
// is due. It knows no store and no clock.
package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // schedules have time zones, also where the system has no database of them

	"github.com/robfig/cron/v3"

	"github.com/hoptrace/hoptrace/schemas"
)

// Defaults and bounds of a configuration.
const (
	DefaultMargin     = 1  // minutes
	DefaultMaxRuntime = 30 // minutes
	maxMinutes        = 40320
	MaxThreshold      = 720
	maxEvery          = 10_000
	maxCrontab        = 256
	maxSlug           = 50
)

var units = []string{"minute", "hour", "day", "week", "month", "year"}

// WithDefaults fills in what is zero.
func WithDefaults(c schemas.MonitorConfig) schemas.MonitorConfig {
	for _, f := range []struct {
		v *int64
		d int64
	}{{&c.CheckInMargin, DefaultMargin}, {&c.MaxRuntime, DefaultMaxRuntime}, {&c.FailureThreshold, 1}, {&c.RecoveryThreshold, 1}} {
		if *f.v == 0 {
			*f.v = f.d
		}
	}
	return c
}

// Schedule is when runs are due.
type Schedule struct {
	cron  cron.Schedule // nil: an interval
	zone  *time.Location
	every int
	unit  string
}

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Parse reads the schedule of a configuration and names every fault of it.
func Parse(c schemas.MonitorConfig) (*Schedule, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	s := &Schedule{zone: time.UTC}
	var err error
	if c.Timezone != "" {
		if len(c.Timezone) > 64 || c.Timezone == "Local" {
			bad("timezone: want a name of the tz database as Europe/Vienna, got %.80q", c.Timezone)
		} else if s.zone, err = time.LoadLocation(c.Timezone); err != nil {
			bad("timezone: want a name of the tz database as Europe/Vienna, got %.80q", c.Timezone)
			s.zone = time.UTC
		}
	}
	switch c.ScheduleType {
	case "crontab":
		text := strings.TrimSpace(c.Crontab)
		// The parser takes a zone in the text, and intervals; there are fields for both.
		if len(text) > maxCrontab || strings.Contains(text, "=") || strings.HasPrefix(text, "@every") {
			bad("crontab: want five fields as '*/5 * * * *', or @hourly, @daily, @weekly, @monthly, @yearly; got %.80q", text)
		} else if s.cron, err = parser.Parse(text); err != nil {
			bad("crontab %.80q: %w", text, err)
		} else if s.cron.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, s.zone)).IsZero() {
			bad("crontab %.80q: it never comes", text)
		}
	case "interval":
		if s.every, s.unit = int(c.Every), c.Unit; c.Every < 1 || c.Every > maxEvery {
			bad("every: want 1 to %d, got %d", maxEvery, c.Every)
		}
		if !slices.Contains(units, c.Unit) {
			bad("unit: want one of %s, got %.80q", strings.Join(units, ", "), c.Unit)
		}
	default:
		bad("schedule type: want crontab or interval, got %.80q", c.ScheduleType)
	}
	for _, f := range []struct {
		name    string
		v, most int64
	}{
		{"check-in margin", c.CheckInMargin, maxMinutes},
		{"max runtime", c.MaxRuntime, maxMinutes},
		{"failure threshold", c.FailureThreshold, MaxThreshold},
		{"recovery threshold", c.RecoveryThreshold, MaxThreshold},
	} {
		if f.v < 1 || f.v > f.most {
			bad("%s: want 1 to %d, got %d", f.name, f.most, f.v)
		}
	}
	return s, errors.Join(errs...)
}

// Interval tells that a run is due some time after the last one, rather than at times
// of the clock.
func (s *Schedule) Interval() bool { return s.cron == nil }

// Next is when a run is due after one at a time, both in Unix ns.
func (s *Schedule) Next(after int64) int64 {
	t := time.Unix(0, after).In(s.zone)
	if s.cron != nil {
		if n := s.cron.Next(t); !n.IsZero() {
			return n.UnixNano()
		}
		return t.AddDate(5, 0, 0).UnixNano() // the parser looks no further ahead
	}
	switch s.unit {
	case "minute":
		t = t.Add(time.Duration(s.every) * time.Minute)
	case "hour":
		t = t.Add(time.Duration(s.every) * time.Hour)
	case "day":
		t = t.AddDate(0, 0, s.every)
	case "week":
		t = t.AddDate(0, 0, 7*s.every)
	case "month":
		t = t.AddDate(0, min(s.every, 1200), 0)
	default:
		t = t.AddDate(min(s.every, 100), 0, 0)
	}
	return t.UnixNano()
}

// Slug makes of a name what can stand in a path: lower-case letters, digits, hyphens
// and underscores, at most 50. Empty when nothing of it can.
func Slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(name)) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			b.WriteRune(r)
		} else if n := b.Len(); n > 0 && b.String()[n-1] != '-' {
			b.WriteByte('-')
		}
		if b.Len() >= maxSlug {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}
