package monitor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

// A crontabField is one of the five of a crontab line.
type crontabField struct {
	name        string
	least, most int
	names       []string // of least and those after it
	day         bool     // a question mark stands for any
	week        bool     // 7 is Sunday, as 0 is
}

var crontabFields = [...]crontabField{
	{name: "minute", most: 59},
	{name: "hour", most: 23},
	{name: "day of month", least: 1, most: 31, day: true},
	{name: "month", least: 1, most: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{name: "day of week", most: 6, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, day: true, week: true},
}

var macros = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// anyBit marks in a set of package cron that the field says nothing of the day: then
// both fields of days must match, else one will do.
const anyBit = uint64(1) << 63

var errFields = errors.New("want five fields as '*/5 * * * *', or @hourly, @daily, @weekly, @monthly, @yearly")

// parseCrontab reads a line as crontab(5) of the cron of Debian has it. Package cron's own
// parser takes no Sunday as 7, and combines */2 in a field of days otherwise.
func parseCrontab(line string) (*cron.SpecSchedule, error) {
	if strings.HasPrefix(line, "@") {
		known, ok := macros[strings.ToLower(line)]
		if !ok {
			return nil, errFields
		}
		line = known
	}
	parts := strings.Fields(line)
	if len(parts) != len(crontabFields) {
		return nil, fmt.Errorf("%w; got %d", errFields, len(parts))
	}
	var sets [len(crontabFields)]uint64
	var errs []error
	for i := range crontabFields {
		f := &crontabFields[i]
		var err error
		if sets[i], err = f.parse(parts[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s %.40q: %w", f.name, parts[i], err))
		}
	}
	return &cron.SpecSchedule{Second: 1, Minute: sets[0], Hour: sets[1], Dom: sets[2], Month: sets[3], Dow: sets[4]}, errors.Join(errs...)
}

// parse reads a list of values, ranges and steps.
func (f *crontabField) parse(s string) (set uint64, err error) {
	for part := range strings.SplitSeq(s, ",") {
		some, err := f.part(part)
		if err != nil {
			return 0, err
		}
		set |= some
	}
	if s[0] == '*' || s[0] == '?' {
		set |= anyBit
	}
	return set, nil
}

func (f *crontabField) part(s string) (set uint64, err error) {
	span, step, hasStep := strings.Cut(s, "/")
	every := 1
	if hasStep {
		if every, err = strconv.Atoi(step); err != nil || every < 1 || len(step) > 4 || step[0] == '+' {
			return 0, fmt.Errorf("a step is a number from 1 on, got %.20q", step)
		}
	}
	from, to := f.least, f.most
	switch first, last, isRange := strings.Cut(span, "-"); {
	case span == "*" || span == "?" && f.day:
	case isRange:
		if from, err = f.value(first); err == nil {
			to, err = f.value(last)
		}
		if f.week && to == 0 && from > 0 && last != "0" {
			to = 7 // fri-sun
		}
		if err == nil && from > to {
			err = fmt.Errorf("the range %.20q ends before it begins", span)
		}
	default:
		if from, err = f.value(span); !hasStep {
			to = from
		} else {
			to = max(from, to)
		}
	}
	if err != nil {
		return 0, err
	}
	for v := from; v <= to; v += every {
		if f.week && v == 7 {
			set |= 1
		} else {
			set |= 1 << v
		}
	}
	return set, nil
}

func (f *crontabField) value(s string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(s)); i >= 0 {
		return f.least + i, nil
	}
	most := f.most
	if f.week {
		most = 7
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && int(n) >= f.least && int(n) <= most {
		return int(n), nil
	}
	if err != nil && strings.ContainsAny(strings.ToUpper(s), "LW#?") {
		return 0, fmt.Errorf("%.20q is not of crontab: L, W, # and, but for a whole field of days, ? are of other schedulers", s)
	}
	want := fmt.Sprintf("%d to %d", f.least, most)
	if f.names != nil {
		want += fmt.Sprintf(" or %s to %s", f.names[0], f.names[len(f.names)-1])
	}
	return 0, fmt.Errorf("want %s, got %.20q", want, s)
}
