package process

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/pipeline/persist"
	"github.com/hoptrace/hoptrace/schemas"
)

// StageEvents is the stage's name in metrics and logs.
const StageEvents = "process-events"

func clone(s string) string { return strings.Clone(s) }

// refusal is why a record can never become an event.
type refusal struct {
	label string // of the metric
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(label string, err error) error { return &refusal{label, err} }

// Events is the handler behind topic ingest-events. Its methods are called by
// one goroutine at a time.
type Events struct{ p *Processor }

// NewEvents makes the handler.
func NewEvents(p *Processor) *Events { return &Events{p} }

// Assigned has nothing to ask: reading again changes nothing.
func (e *Events) Assigned(context.Context, []consume.Partition) error { return nil }

// Revoked has nothing to forget.
func (e *Events) Revoked(context.Context, []consume.Partition) {}

// Handle hands the events of a batch on to topic events.
func (e *Events) Handle(ctx context.Context, batch []consume.Record) (dead []consume.DeadLetter, err error) {
	in := make([]Incoming, 0, len(batch))
	places := make([]int, 0, len(batch))
	for i := range batch {
		one, reason := Read(&batch[i])
		if reason != nil {
			dead = append(dead, e.p.Refuse(&batch[i], reason))
			continue
		}
		in, places = append(in, one), append(places, i)
	}
	refusals, err := e.p.Process(ctx, in)
	if err != nil {
		return nil, err
	}
	for _, r := range refusals {
		dead = append(dead, e.p.Refuse(&batch[places[r.Index]], r.Err))
	}
	return dead, nil
}

// Refuse counts a record that goes to the dead letters; the loop logs it.
func (p *Processor) Refuse(r *consume.Record, reason error) consume.DeadLetter {
	label := "other"
	if f, ok := errors.AsType[*refusal](reason); ok {
		label = f.label
	}
	p.metrics.refused.WithLabelValues(label).Inc()
	p.log.Debug("record refused", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "reason", label, "error", reason)
	return consume.DeadLetter{Record: r, Reason: label + ": " + reason.Error()}
}

// Read gives the event of a record: wire.IngestEvent, or an event's JSON alone
// as older collectors wrote it. Records of other kinds on ingest-attachments are
// for its stage.
func Read(r *consume.Record) (in Incoming, err error) {
	text := func(key string) string {
		v, _ := r.Header(key)
		return string(v)
	}
	switch schema := text(schemas.HeaderSchema); schema {
	case schemas.SchemaSentryEvent:
		in.Type, in.Payload = "event", r.Value
		if in.ProjectID, err = strconv.ParseUint(text(schemas.HeaderProject), 10, 64); err != nil || in.ProjectID == 0 {
			return in, refuse("project", fmt.Errorf("header %s is %.64q, not a project's id", schemas.HeaderProject, text(schemas.HeaderProject)))
		}
		in.ID, _ = normalize.EventID(text(schemas.HeaderEventID))
	case "", schemas.SchemaIngestEvents, schemas.SchemaIngestAttachments, schemas.SchemaIngestFeedbackEvents:
		if err := in.DecodeMsgpack(r.Value); err != nil {
			return in, refuse("undecodable", err)
		}
		in.ID, _ = normalize.EventID(in.EventID)
	default:
		return in, refuse("schema", fmt.Errorf("schema is %.64q, this stage reads %q", schema, schemas.SchemaIngestEvents))
	}
	in.Category = schemas.Category(text(schemas.HeaderCategory))
	if text(schemas.HeaderOrigin) == string(schemas.OriginOTel) {
		in.Origin = schemas.OriginOTel
	}
	if in.Received, err = strconv.ParseInt(text(schemas.HeaderReceived), 10, 64); err != nil || in.Received <= 0 {
		// Then what the record itself tells, which is the same at each reading.
		if in.Received = in.StartTime * 1e9; in.Received <= 0 || in.StartTime > 9e9 {
			in.Received = r.Timestamp.UnixNano()
		}
	}
	if at, err := strconv.ParseInt(text(schemas.HeaderSentAt), 10, 64); err == nil && at > 0 {
		in.SentAt = at
	}
	in.Weight = 1
	if w, ok := r.Header(schemas.HeaderWeight); ok {
		in.Weight = weightOf(w)
	}
	in.Topic, in.Ingest, in.Offset = r.Topic, persist.Source(r.Topic, r.TopicID, r.Partition), r.Offset
	if in.Type == "repeat" || in.Origin == schemas.OriginOTel {
		in.Deferred, _ = strconv.Atoi(text(headerDeferred))
		in.Key, in.Value = r.Key, r.Value
		for _, h := range r.Headers {
			in.Headers = append(in.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	return in, nil
}
