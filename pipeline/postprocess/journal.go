package postprocess

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/schemas"
)

// Journal is the hook that tells operators of issues that began or came back: in
// the log, and as counts that can be alerted on. Whoever follows the log finds the
// event that it names, since its row is durable by then.
type Journal struct {
	log                *slog.Logger
	began, came, fatal prometheus.Counter
}

var _ Hook = (*Journal)(nil)

// NewJournal registers the counts.
func NewJournal(reg prometheus.Registerer, log *slog.Logger) (*Journal, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "hoptrace", Subsystem: "pipeline", Name: name, Help: help})
	}
	j := &Journal{
		log:   log,
		began: counter("issues_begun_total", "Issues whose first event can be queried. A crash may leave some out, and a replay count some twice."),
		came:  counter("issues_regressed_total", "Resolved issues that came back, their event can be queried. A crash may leave some out, and a replay count some twice."),
		fatal: counter("events_fatal_total", "Events of level fatal that can be queried; a replay counts some twice."),
	}
	for _, c := range []prometheus.Collector{j.began, j.came, j.fatal} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register a metric of post-processing: %w", err)
		}
	}
	return j, nil
}

// Name is "journal".
func (*Journal) Name() string { return "journal" }

// maxLines bounds the lines about one batch: a program that makes a new issue of
// every event must not fill the log.
const maxLines = 20

// Stored tells of what is new among the events.
func (j *Journal) Stored(_ context.Context, events []Event) error {
	lines := 0
	tell := func(what string, e *Event) {
		if lines++; lines <= maxLines {
			j.tell(what, e)
		}
	}
	defer func() {
		if lines > maxLines {
			j.log.Info("more issues are new or came back", "issues", lines-maxLines)
		}
	}()
	for i := range events {
		e := &events[i]
		if e.Level == "fatal" {
			j.fatal.Inc()
		}
		switch {
		case e.IsNew:
			j.began.Inc()
			tell("new issue", e)
		case e.IsRegression:
			j.came.Inc()
			tell("a resolved issue came back", e)
		}
	}
	return nil
}

func (j *Journal) tell(what string, e *Event) {
	attrs := []any{"project", e.Project, "issue", uint64(e.Issue), "event", e.ID.String(), "title", e.Title, "culprit", e.Culprit, "level", e.Level}
	if e.Release != "" {
		attrs = append(attrs, "release", e.Release)
	}
	if e.Topic != "" && e.Partition != schemas.Unknown && e.Offset != schemas.Unknown {
		attrs = append(attrs, "record", fmt.Sprintf("%s/%d@%d", e.Topic, e.Partition, e.Offset))
	}
	j.log.Info(what, attrs...)
}
