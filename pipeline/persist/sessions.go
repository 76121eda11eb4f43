package persist

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/pipeline/document"
	"github.com/hoptrace/hoptrace/pipeline/normalize"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

const (
	// writeSessions is how many sessions one write has at most.
	writeSessions = 20_000
	// maxAggregates bounds the counts of one item.
	maxAggregates = 10_000
	// sessionMaxAge is how long after its start a session is still told about.
	sessionMaxAge = 5 * 24 * time.Hour
)

// Sessions is the handler behind topic ingest-sessions.
type Sessions = Rows[schemas.Session]

// NewSessions makes the handler.
func NewSessions(w exporters.SessionWriter, m *Metrics, log *slog.Logger) *Sessions {
	var doc document.Document
	return newRows(RowsConfig[schemas.Session]{
		What: "sessions", Schemas: []string{schemas.SchemaIngestSessions}, WriteRows: writeSessions,
		Decode: func(dst []schemas.Session, r *consume.Record, _ string) ([]schemas.Session, error) {
			defer doc.Reset()
			var s wire.Session
			if err := s.DecodeMsgpack(r.Value); err != nil {
				return dst, err
			}
			root, err := doc.Parse(s.Payload)
			if err != nil {
				return dst, fmt.Errorf("%s: payload: %w", topics.IngestSessions, err)
			}
			if s.Type == "sessions" {
				dst, err = countedSessions(dst, root, r)
			} else {
				dst, err = oneSession(dst, root)
			}
			if err != nil {
				return dst, fmt.Errorf("%s: payload: %w", topics.IngestSessions, err)
			}
			return dst, nil
		},
		Normalize: normalizeSessions,
		Place: func(s *schemas.Session, project uint64, received int64, source schemas.Source, offset int64) schemas.Position {
			s.Project, s.Received, s.Source, s.Position.Offset = project, received, source, offset
			return s.Position
		},
		At:    func(s *schemas.Session) (schemas.Source, schemas.Position) { return s.Source, s.Position },
		Write: w.WriteSessions,
		// A row that is written twice counts once: there is nothing to leave out.
		Written: func(context.Context, schemas.Source, int64) (map[schemas.Position]struct{}, error) { return nil, nil },
	}, &m.sessions, log)
}

// normalizeSessions leaves out what is too old, and takes what starts in
// the future, by the client's clock, for now. An item of many counts is dropped when none of them is kept.
func normalizeSessions(rows []schemas.Session, received int64, dropped *normalize.Dropped) []schemas.Session {
	n := len(rows)
	rows = slices.DeleteFunc(rows, func(s schemas.Session) bool { return s.Started < received-int64(sessionMaxAge) })
	if len(rows) == 0 && n > 0 {
		dropped[normalize.TooOld] += n
	}
	for i := range rows {
		s := &rows[i]
		s.Started = min(s.Started, received)
		s.Started -= s.Started % int64(time.Minute)
		if s.Seq == 0 && !s.Init { // it told no place among its updates: the last one to come counts
			s.Seq = uint64(received / int64(time.Millisecond)) //nolint:gosec // positive
		}
	}
	return rows
}

var sessionStatuses = []schemas.SessionStatus{
	schemas.SessionOK, schemas.SessionExited, schemas.SessionCrashed, schemas.SessionAbnormal, schemas.SessionErrored, schemas.SessionUnhandled,
}

// sessionAttributes reads what all sessions of an item have.
func sessionAttributes(root *document.Node) (s schemas.Session, err error) {
	attrs := root.Get("attrs")
	s.Release = cut(textOf(attrs, "release"), normalize.MaxName)
	if s.Release == "" {
		return s, errors.New("attrs.release: want the release, without which nothing can be told of it")
	}
	if s.Environment = cut(textOf(attrs, "environment"), normalize.MaxName); s.Environment == "" {
		s.Environment = "production"
	}
	s.Duration, s.Quantity = -1, 1
	return s, nil
}

func oneSession(dst []schemas.Session, root *document.Node) ([]schemas.Session, error) {
	s, err := sessionAttributes(root)
	if err != nil {
		return dst, err
	}
	if s.ID = eventIDOf(textOf(root, "sid")); s.ID == [16]byte{} {
		return dst, fmt.Errorf("sid: want a UUID, got %.80q", root.Get("sid").Scalar())
	}
	if s.Started, err = sessionTime(root, "started"); err != nil {
		return dst, err
	}
	s.Status = schemas.SessionOK
	if text := textOf(root, "status"); text != "" {
		if s.Status = schemas.SessionStatus(text); !slices.Contains(sessionStatuses, s.Status) {
			return dst, fmt.Errorf("status: want one of %q, got %.80q", sessionStatuses, text)
		}
	}
	s.Init = root.Get("init").Scalar() == "true"
	s.Seq = wholeNumber(root, "seq", math.MaxInt64)
	s.Errors = uint32(wholeNumber(root, "errors", math.MaxUint32)) //nolint:gosec // bounded
	if seconds, err := strconv.ParseFloat(root.Get("duration").Scalar(), 64); err == nil && seconds >= 0 && seconds < 1e9 {
		s.Duration = int64(seconds * 1e9)
	}
	s.User = userHash(textOf(root, "did"))
	return append(dst, s), nil
}

// countedSessions reads what an SDK counted itself: of each minute and user how many
// sessions ended how.
func countedSessions(dst []schemas.Session, root *document.Node, r *consume.Record) ([]schemas.Session, error) {
	common, err := sessionAttributes(root)
	if err != nil {
		return dst, err
	}
	list := root.Get("aggregates")
	if !list.Is('[') || list.Len() == 0 || list.Len() > maxAggregates {
		return dst, fmt.Errorf("aggregates: want a list of 1 to %d", maxAggregates)
	}
	before, i := len(dst), 0
	id := coordinateID(r)
	for n := list.First(); n != nil; n, i = n.Next(), i+1 {
		s := common
		if s.Started, err = sessionTime(n, "started"); err != nil {
			return dst, fmt.Errorf("aggregates[%d].%w", i, err)
		}
		s.User = userHash(textOf(n, "did"))
		for k, status := range sessionStatuses[1:] {
			if s.Quantity = uint32(wholeNumber(n, string(status), math.MaxUint32)); s.Quantity == 0 { //nolint:gosec // bounded
				continue
			}
			// The id of what was counted: the same at each reading.
			s.Position.Index, s.Status, s.ID, s.Init = uint32(i*len(sessionStatuses)+k), status, id, true //nolint:gosec // bounded
			binary.BigEndian.PutUint32(s.ID[12:], binary.BigEndian.Uint32(id[12:])^s.Position.Index)
			dst = append(dst, s)
		}
	}
	if len(dst) == before {
		return dst, errors.New("aggregates: none of them counts a session")
	}
	return dst, nil
}

// sessionTime reads when a session started: RFC 3339 or Unix seconds.
func sessionTime(n *document.Node, key string) (int64, error) {
	text := n.Get(key).Scalar()
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Year() >= 1970 && at.Year() < 2262 {
		return at.UnixNano(), nil
	}
	if at, err := strconv.ParseFloat(text, 64); err == nil && at > 0 && at < 9e9 {
		return int64(at * 1e9), nil
	}
	return 0, fmt.Errorf("%s: want a time as 2026-11-23T14:02:00Z, got %.80q", key, text)
}

// wholeNumber reads a number from 0 to most; what is none is 0.
func wholeNumber(n *document.Node, key string, most uint64) uint64 {
	text := n.Get(key).Scalar()
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		return min(v, most)
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 && v < 1<<53 {
		return min(uint64(v), most)
	}
	return 0
}

// userHash keeps users apart and is all that is stored of their ids.
func userHash(id string) uint64 {
	if id == "" {
		return 0
	}
	return max(xxhash.Sum64String(id), 1)
}
