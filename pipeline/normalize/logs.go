package normalize

import (
	"strings"

	"github.com/hoptrace/hoptrace/schemas"
)

// MaxBody bounds the text of a log record, in bytes.
const MaxBody = 32 << 10

// Logs drops the impossible log records and puts the others in order, in place, in
// their order. Received is Unix ns, when the collector had them. Reasons are
// NoStart (no time), InFuture and TooOld.
func Logs(cfg Config, logs []schemas.Log, received int64, dropped *Dropped) []schemas.Log {
	cfg = cfg.withDefaults()
	latest, earliest := received+int64(cfg.MaxFuture), received-int64(cfg.MaxAge)
	n := 0
	for i := range logs {
		l := &logs[i]
		reason := Reasons
		switch {
		case l.Time <= 0:
			reason = NoStart
		case l.Time > latest:
			reason = InFuture
		case l.Time < earliest:
			reason = TooOld
		}
		if reason != Reasons {
			dropped[reason]++
			continue
		}
		l.Service, l.Scope, l.Body = or(cut(l.Service, MaxName), unknownService), cut(l.Scope, MaxName), cut(l.Body, MaxBody)
		l.Level, l.Severity = logLevel(l.Level, l.Severity)
		if n != i {
			logs[n] = *l
		}
		n++
	}
	return logs[:n]
}

// severities are the first of OTLP's four numbers of each level.
var severities = map[string]uint8{"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}

// logLevel makes the text and the number of a level agree. The number decides; a
// text that is no level of ours stands when there is no number.
func logLevel(text string, severity uint8) (string, uint8) {
	if severity == 0 {
		switch text = strings.ToLower(cut(text, maxShort)); text {
		case "warning":
			text = "warn"
		case "critical", "emergency", "alert", "panic":
			text = "fatal"
		case "err":
			text = "error"
		case "notice", "information", "log", "":
			text = "info"
		}
		return text, severities[text]
	}
	for _, level := range [...]string{"fatal", "error", "warn", "info", "debug", "trace"} {
		if severity >= severities[level] {
			return level, severity
		}
	}
	return "info", severity
}
