package normalize

import (
	"cmp"
	"math"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/pipeline/ingest"
	"github.com/hoptrace/hoptrace/schemas"
)

// Bounds of an event's text, in bytes.
const (
	maxType        = 512
	maxValue       = 1 << 10
	maxTitle       = 256
	maxCulprit     = 256
	maxTransaction = 512
	maxShort       = 256
	maxTagKey      = 200
	maxTagValue    = 1 << 10

	// eventFuture is how far ahead an SDK's clock may be before the time of
	// reception is taken instead.
	eventFuture = time.Minute
)

// FromSentry normalises an event that the collector received at that time (Unix
// ns). ID is that of the payload, zero when it has none that can be read.
func FromSentry(cfg Config, in *ingest.Event, received int64) *Event {
	cfg = cfg.withDefaults()
	e := &Event{Event: schemas.Event{
		Time:        int64(in.Timestamp),
		Received:    received,
		Level:       level(string(in.Level)),
		Platform:    or(cut(string(in.Platform), maxShort), "other"),
		Transaction: cut(string(in.Transaction), maxTransaction),
		Release:     cut(string(in.Release), maxShort),
		Environment: cut(string(in.Environment), maxShort),
		Server:      cut(string(in.ServerName), maxShort),
		Partition:   schemas.Unknown,
		Offset:      schemas.Unknown,
	}}
	e.ID, _ = EventID(string(in.EventID))
	if e.Time <= 0 || e.Time > received+int64(eventFuture) || e.Time < received-int64(cfg.MaxAge) {
		e.Time = received
	}
	if in.SDK.Name != "" {
		e.SDK = cut(string(in.SDK.Name), maxShort)
		if in.SDK.Version != "" {
			e.SDK = cut(e.SDK+"/"+string(in.SDK.Version), maxShort)
		}
	}
	if id, err := schemas.ParseTraceID(string(in.Contexts.Trace.TraceID)); err == nil {
		e.TraceID = id
		e.SpanID, _ = schemas.ParseSpanID(string(in.Contexts.Trace.SpanID))
	}
	kafka(e, in)
	for _, t := range in.Tags {
		if t.Key != "" {
			e.Tags = append(e.Tags, schemas.Attribute{Key: cut(t.Key, maxTagKey), Value: cut(t.Value, maxTagValue)})
		}
	}
	e.ClientFingerprint = in.Fingerprint
	message(e, in)
	for i := range in.Exceptions {
		x := &in.Exceptions[i]
		e.Exceptions = append(e.Exceptions, Exception{
			Type: cut(string(x.Type), maxType), Value: string(x.Value), Synthetic: x.Mechanism.Synthetic.True,
			Frames: frames(e.Platform, x.Stacktrace.Frames),
		})
	}
	if len(e.Exceptions) == 0 {
		e.Frames = frames(e.Platform, stack(in))
	}
	headline(e)
	return e
}

func kafka(e *Event, in *ingest.Event) {
	k := &in.Contexts.Kafka
	e.Topic = cut(string(k.Topic), maxShort)
	if e.Topic == "" {
		return
	}
	e.Group = cut(string(cmp.Or(k.Group, k.ConsumerGroup)), maxShort)
	if p := k.Partition; p.Told && p.Value >= 0 && p.Value <= math.MaxInt32 {
		e.Partition = int32(p.Value)
	}
	if o := k.Offset; o.Told && o.Value >= 0 {
		e.Offset = o.Value
	}
}

func message(e *Event, in *ingest.Event) {
	for _, m := range [...]ingest.Message{in.LogEntry, in.Message} {
		if e.Message == "" {
			e.Message = or(m.Formatted, m.Template)
			e.Template = m.Template
		}
	}
}

// stack is that of the one thread which tells about the event: the only one
// that crashed, else the only current one, else the only one.
func stack(in *ingest.Event) []ingest.Frame {
	if len(in.Stacktrace.Frames) > 0 {
		return in.Stacktrace.Frames
	}
	only := func(want func(*ingest.Thread) bool) *ingest.Thread {
		var found *ingest.Thread
		for i := range in.Threads {
			if t := &in.Threads[i]; want(t) {
				if found != nil {
					return nil
				}
				found = t
			}
		}
		return found
	}
	for _, want := range [...]func(*ingest.Thread) bool{
		func(t *ingest.Thread) bool { return t.Crashed.True },
		func(t *ingest.Thread) bool { return t.Current.True },
		func(*ingest.Thread) bool { return true },
	} {
		if t := only(want); t != nil {
			return t.Stacktrace.Frames
		}
	}
	return nil
}

func frames(platform string, in []ingest.Frame) []Frame {
	if len(in) == 0 {
		return nil
	}
	out := make([]Frame, len(in))
	for i := range in {
		f := &in[i]
		out[i] = Frame{
			Module: cut(string(f.Module), maxShort), Function: cut(string(f.Function), maxShort),
			Filename: cut(string(f.Filename), maxType), AbsPath: cut(string(f.AbsPath), maxType),
		}
		if f.InApp.Told {
			out[i].InApp = f.InApp.True
		} else {
			out[i].InApp = inApp(platform, &out[i])
		}
	}
	return out
}

// headline sets Type, Value, Culprit and Title from the last exception, else
// from the message.
func headline(e *Event) {
	shown := e.Frames
	if n := len(e.Exceptions); n > 0 {
		x := &e.Exceptions[n-1]
		e.Type, e.Value, shown = x.Type, firstLine(x.Value), x.Frames
	}
	if e.Value == "" {
		e.Value = firstLine(e.Message)
	}
	e.Value = cut(e.Value, maxValue)
	e.Culprit = e.Transaction
	for i := len(shown) - 1; i >= 0; i-- {
		if f := &shown[i]; f.InApp {
			if c := culprit(f); c != "" {
				e.Culprit = c
				break
			}
		}
	}
	e.Culprit = cut(e.Culprit, maxCulprit)
	switch {
	case e.Type != "" && e.Value != "":
		e.Title = e.Type + ": " + e.Value
	case e.Type != "":
		e.Title = e.Type
	case e.Value != "":
		e.Title = e.Value
	case e.Culprit != "":
		e.Title = e.Culprit
	default:
		e.Title = "event without a message"
	}
	e.Title = cut(e.Title, maxTitle)
}

func culprit(f *Frame) string {
	where := or(f.Module, f.Filename)
	switch {
	case where == "":
		return f.Function
	case f.Function == "":
		return where
	}
	return where + " in " + f.Function
}

func firstLine(s string) string {
	s = strings.TrimLeft(s, " \t\r\n")
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimRight(s, " \t")
}

func level(s string) string {
	switch s = strings.ToLower(s); s {
	case "fatal", "error", "warning", "info", "debug":
		return s
	case "critical":
		return "fatal"
	case "warn":
		return "warning"
	case "log":
		return "info"
	case "trace":
		return "debug"
	}
	return "error"
}

// EventID reads 32 hex digits, with or without the dashes of a UUID.
func EventID(s string) (id schemas.EventID, ok bool) {
	if len(s) == 36 {
		s = strings.ReplaceAll(s, "-", "")
	}
	t, err := schemas.ParseTraceID(s)
	if err != nil || t.IsZero() {
		return id, false
	}
	return schemas.EventID(t), true
}
