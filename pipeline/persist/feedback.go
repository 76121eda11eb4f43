package persist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// writeFeedback is how many feedbacks one write has at most.
const writeFeedback = 500

// FeedbackRows is the handler behind topic ingest-feedback-events.
type FeedbackRows = Rows[feedbackRow]

// feedbackRow is a feedback and where its record lies.
type feedbackRow struct {
	schemas.Feedback
	source   schemas.Source
	position schemas.Position
}

// NewFeedback makes the handler.
func NewFeedback(w exporters.FeedbackWriter, m *Metrics, log *slog.Logger) *FeedbackRows {
	return newFeedback(w, m, log)
}

func newFeedback(w exporters.FeedbackWriter, m *Metrics, log *slog.Logger) *FeedbackRows {
	var doc document.Document
	var list []schemas.Feedback
	return newRows(RowsConfig[feedbackRow]{
		What: "feedbacks", Schemas: []string{schemas.SchemaIngestFeedbackEvents, schemas.SchemaIngestAttachments}, WriteRows: writeFeedback,
		Decode: func(dst []feedbackRow, r *consume.Record, schema string) ([]feedbackRow, error) {
			defer doc.Reset()
			var f schemas.Feedback
			var err error
			if schema == schemas.SchemaIngestAttachments {
				f, err = userReport(&doc, r)
			} else {
				f, err = feedbackEvent(&doc, r)
			}
			if err != nil {
				return dst, err
			}
			if f.Message == "" {
				return dst, errors.New("the feedback has no message")
			}
			f.Status = schemas.FeedbackUnresolved
			return append(dst, feedbackRow{Feedback: f}), nil
		},
		Place: func(f *feedbackRow, project uint64, received int64, source schemas.Source, offset int64) schemas.Position {
			f.Project, f.Received, f.source, f.position.Offset = project, received, source, offset
			return f.position
		},
		At: func(f *feedbackRow) (schemas.Source, schemas.Position) { return f.source, f.position },
		Write: func(ctx context.Context, rows []feedbackRow) error {
			list = list[:0]
			for i := range rows {
				list = append(list, rows[i].Feedback)
			}
			return w.WriteFeedback(ctx, list)
		},
		// One that is written twice is stored once: there is nothing to leave out.
		Written: func(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) { return nil, nil },
	}, &m.feedback, log)
}

// feedbackEvent reads an event that is a feedback: what counts is in its context
// "feedback".
func feedbackEvent(doc *document.Document, r *consume.Record) (f schemas.Feedback, err error) {
	var e wire.IngestEvent
	if err := e.DecodeMsgpack(r.Value); err != nil {
		return f, err
	}
	root, err := doc.Parse(e.Payload)
	if err != nil {
		return f, fmt.Errorf("%s: payload: %w", topics.IngestFeedbackEvents, err)
	}
	n := root.Get("contexts").Get("feedback")
	if !n.Is('{') {
		return f, fmt.Errorf("%s: payload: contexts.feedback: want an object", topics.IngestFeedbackEvents)
	}
	user := root.Get("user")
	f = schemas.Feedback{
		ID: eventIDOf(e.EventID), Event: eventIDOf(textOf(n, "associated_event_id")), Replay: eventIDOf(textOf(n, "replay_id")), Trace: traceOf(root),
		Name: cut(first(textOf(n, "name"), textOf(user, "username")), schemas.MaxFeedbackText), Email: cut(first(textOf(n, "contact_email"), textOf(user, "email")), schemas.MaxFeedbackText),
		Message: cut(textOf(n, "message"), schemas.MaxFeedbackMessage), URL: cut(textOf(n, "url"), schemas.MaxFeedbackURL),
		Source: cut(first(textOf(n, "source"), "feedback"), schemas.MaxFeedbackText), Release: cut(textOf(root, "release"), schemas.MaxFeedbackText),
		Environment: cut(textOf(root, "environment"), schemas.MaxFeedbackText),
	}
	if f.ID == (schemas.EventID{}) {
		f.ID = coordinateID(r)
	}
	return f, nil
}

// userReport reads the older form, which is always about an event.
func userReport(doc *document.Document, r *consume.Record) (f schemas.Feedback, err error) {
	var u wire.UserReport
	if err := u.DecodeMsgpack(r.Value); err != nil {
		return f, err
	}
	root, err := doc.Parse(u.Payload)
	if err != nil {
		return f, fmt.Errorf("%s: payload: %w", topics.IngestAttachments, err)
	}
	return schemas.Feedback{
		ID: coordinateID(r), Event: eventIDOf(u.EventID), Name: cut(textOf(root, "name"), schemas.MaxFeedbackText),
		Email: cut(textOf(root, "email"), schemas.MaxFeedbackText), Message: cut(textOf(root, "comments"), schemas.MaxFeedbackMessage), Source: "user_report",
	}, nil
}

// coordinateID is for what came without an id: the same at each reading.
func coordinateID(r *consume.Record) (id schemas.EventID) {
	var b [17]byte
	binary.BigEndian.PutUint64(b[:], uint64(Source(r.Topic, r.TopicID, r.Partition)))
	binary.BigEndian.PutUint64(b[8:], uint64(r.Offset)) //nolint:gosec // its bits are all that counts
	binary.BigEndian.PutUint64(id[:], xxhash.Sum64(b[:16]))
	b[16] = 1
	binary.BigEndian.PutUint64(id[8:], xxhash.Sum64(b[:]))
	return id
}

func textOf(n *document.Node, key string) string {
	text, _ := n.Get(key).Text()
	return text
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// cut keeps at most n bytes of a text, of whole characters, in memory of its own.
func cut(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(strings.Clone(s), "\uFFFD")
}
