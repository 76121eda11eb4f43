// Package monitor knows schedules of jobs: what is a valid one, when the next run is
// due, and which runs a check-in can stand for. It knows no store and no clock.
//
// # Which run a check-in stands for
//
// Each time of a crontab is a slot: a run is due then, and it is missed unless a check-in
// stands for it. A check-in stands for one slot at most, so that a job that runs at every
// second slot misses each other one. It may come late, by less than the margin, and a little
// early ([Schedule.Early]), as the job's clock may be ahead. Slots are judged in order of
// time, each once, when its margin is over: it takes the earliest check-in that is neither
// too early nor too late for it and that comes after what the slot before took. So as few
// are missed as can be when every check-in counts once. What comes between two slots and
// fits neither stands for none. The check-in that makes a monitor stands for the slot
// that it is late for, if there is one, else for the next if it is just early; slots before
// are not judged.
//
// A run of an interval is due that long after the last check-in, whenever that came, or
// after the run that was missed.
package monitor

import (
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
	cron  *cron.SpecSchedule // nil: an interval
	zone  *time.Location
	every int
	unit  string
	// margin is how late a run may be, ns.
	margin int64
}

// Fields of a configuration, as [schemas.MonitorConfig] writes them in JSON.
const (
	FieldType              = "scheduleType"
	FieldCrontab           = "crontab"
	FieldEvery             = "every"
	FieldUnit              = "unit"
	FieldTimezone          = "timezone"
	FieldMargin            = "checkInMargin"
	FieldMaxRuntime        = "maxRuntime"
	FieldFailureThreshold  = "failureThreshold"
	FieldRecoveryThreshold = "recoveryThreshold"
)

// FieldError is what is wrong with one field of a configuration.
type FieldError struct {
	Field string // one of the Field constants
	Err   error
}

// Error names the field.
func (f *FieldError) Error() string { return f.Field + ": " + f.Err.Error() }

// Unwrap gives the cause.
func (f *FieldError) Unwrap() error { return f.Err }

// FieldErrors joins what is wrong with fields of one configuration.
type FieldErrors []*FieldError

// Error names all fields.
func (fs FieldErrors) Error() string {
	texts := make([]string, len(fs))
	for i, f := range fs {
		texts[i] = f.Error()
	}
	return strings.Join(texts, "; ")
}

// Parse reads the schedule of a configuration and names every fault of it. An error is
// of type FieldErrors.
func Parse(c schemas.MonitorConfig) (*Schedule, error) {
	var faults FieldErrors
	bad := func(field, format string, args ...any) {
		faults = append(faults, &FieldError{field, fmt.Errorf(format, args...)})
	}
	s := &Schedule{zone: time.UTC}
	var err error
	if c.Timezone != "" {
		if len(c.Timezone) > 64 || c.Timezone == "Local" {
			bad(FieldTimezone, "want a name of the tz database as Europe/Vienna, got %.80q", c.Timezone)
		} else if s.zone, err = time.LoadLocation(c.Timezone); err != nil {
			bad(FieldTimezone, "want a name of the tz database as Europe/Vienna, got %.80q", c.Timezone)
			s.zone = time.UTC
		}
	}
	switch c.ScheduleType {
	case "crontab":
		line := strings.TrimSpace(c.Crontab)
		if len(line) > maxCrontab {
			bad(FieldCrontab, "%w; got %d bytes", errFields, len(line))
		} else if s.cron, err = parseCrontab(line); err != nil {
			bad(FieldCrontab, "%.80q: %w", line, err)
		} else if s.cron.Location = s.zone; s.cron.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, s.zone)).IsZero() {
			bad(FieldCrontab, "%.80q: it never comes", line)
		}
	case "interval":
		if s.every, s.unit = int(c.Every), c.Unit; c.Every < 1 || c.Every > maxEvery {
			bad(FieldEvery, "want 1 to %d, got %d", maxEvery, c.Every)
		}
		if !slices.Contains(units, c.Unit) {
			bad(FieldUnit, "want one of %s, got %.80q", strings.Join(units, ", "), c.Unit)
		}
	default:
		bad(FieldType, "want crontab or interval, got %.80q", c.ScheduleType)
	}
	for _, f := range []struct {
		name    string
		v, most int64
	}{
		{FieldMargin, c.CheckInMargin, maxMinutes},
		{FieldMaxRuntime, c.MaxRuntime, maxMinutes},
		{FieldFailureThreshold, c.FailureThreshold, MaxThreshold},
		{FieldRecoveryThreshold, c.RecoveryThreshold, MaxThreshold},
	} {
		if f.v < 1 || f.v > f.most {
			bad(f.name, "want 1 to %d, got %d", f.most, f.v)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	s.margin = c.CheckInMargin * int64(time.Minute)
	return s, nil
}

// Interval tells that a run is due some time after the last one, rather than at times
// of the clock.
func (s *Schedule) Interval() bool { return s.cron == nil }

// Next is when a run is due after one at a time, both in Unix ns.
func (s *Schedule) Next(after int64) int64 {
	t := time.Unix(0, after).In(s.zone)
	if s.cron != nil {
		n := s.cron.Next(t)
		for !n.IsZero() && s.cron.Hour&anyBit == 0 && repeated(n) {
			n = s.cron.Next(n)
		}
		if !n.IsZero() {
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
		t = addMonths(t, min(s.every, 1200))
	default:
		t = addMonths(t, 12*min(s.every, 100))
	}
	return t.UnixNano()
}

// repeated tells that clocks show a time for the second time, because they were put
// back: what is to run at an hour of the day ran the first time.
func repeated(t time.Time) bool {
	for _, back := range []time.Duration{time.Hour, 30 * time.Minute} { // half of one is Lord Howe's
		if was := t.Add(-back); was.Minute() == t.Minute() && was.Hour() == t.Hour() {
			return true
		}
	}
	return false
}

// addMonths keeps the day, or takes the last one of a month that has fewer.
func addMonths(t time.Time, n int) time.Time {
	out := t.AddDate(0, n, 0)
	if out.Day() != t.Day() {
		out = out.AddDate(0, 0, -out.Day())
	}
	return out
}

// Margin is how long after it is due a run is missed, ns.
func (s *Schedule) Margin() int64 { return s.margin }

// Early is how much before a slot of a crontab a check-in stands for it, ns: the margin,
// but at most a quarter of the time between the slot and those beside it.
func (s *Schedule) Early(slot int64) int64 {
	early := min(s.margin, (s.Next(slot)-slot)/4)
	for before := s.Next(slot - 4*early); before < slot; before = s.Next(before) {
		early = min(early, (slot-before)/4)
	}
	return early
}

// First is from where on slots are judged of which the first check-in came at a time:
// from next on, by check-ins after taken. All are Unix ns.
func (s *Schedule) First(at int64) (next, taken int64) {
	next = s.Next(at)
	if s.Interval() || s.Next(at-s.margin) <= at {
		return next, at // it is that of a slot before it
	}
	return next, at - 1
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
