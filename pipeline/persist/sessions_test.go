package persist

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/pipeline/consume"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/schemas/topics"
	"github.com/hoptrace/hoptrace/schemas/wire"
)

// sessionStore keeps what counts, as its contract says.
type sessionStore struct {
	rows map[[16]byte]schemas.Session
}

func (s *sessionStore) WriteSessions(_ context.Context, sessions []schemas.Session) error {
	for _, one := range sessions {
		if old, is := s.rows[one.ID]; !is || one.Seq >= old.Seq {
			s.rows[one.ID] = one
		}
	}
	return nil
}

func sessionRecord(offset int64, kind, payload string) consume.Record {
	m := wire.Session{ProjectID: 42, Type: kind, Received: received.Unix(), Payload: []byte(payload)}
	return consume.Record{Topic: topics.IngestSessions, TopicID: topicID, Offset: offset, Value: m.AppendMsgpack(nil), Headers: headers("42", schemas.SchemaIngestSessions), Timestamp: received}
}

func TestSessionsAreReadAndCountOnce(t *testing.T) {
	const sid = "7c7b6585-f901-4351-bf8d-02711b721929"
	at := received.Add(-90 * time.Second).Format(time.RFC3339)
	batch := []consume.Record{
		sessionRecord(1, "session", `{"sid":"`+sid+`","did":"user-1","seq":0,"init":true,"started":"`+at+`","status":"ok","attrs":{"release":"shop@1"}}`),
		sessionRecord(2, "session", `{"sid":"`+sid+`","did":"user-1","seq":7,"started":"`+at+`","duration":1.5,"errors":3,"status":"crashed","attrs":{"release":"shop@1","environment":"staging"}}`),
		sessionRecord(3, "sessions", `{"aggregates":[{"started":"`+at+`","exited":40,"errored":2},{"started":"`+at+`","did":"user-2","crashed":1}],"attrs":{"release":"shop@2"}}`),
		sessionRecord(4, "session", `{"sid":"`+sid+`","started":"`+at+`","attrs":{}}`),
		sessionRecord(5, "session", `{"sid":"x","started":"`+at+`","attrs":{"release":"r"}}`),
		sessionRecord(6, "session", `{"sid":"`+sid+`","started":"yesterday","attrs":{"release":"r"}}`),
		sessionRecord(7, "session", `{"sid":"`+sid+`","started":"`+at+`","status":"fine","attrs":{"release":"r"}}`),
		sessionRecord(8, "sessions", `{"aggregates":[{"started":"`+at+`"}],"attrs":{"release":"r"}}`),
		sessionRecord(9, "sessions", `{"aggregates":[`+strings.Repeat(`{},`, maxAggregates)+`{}],"attrs":{"release":"r"}}`),
	}
	s := &sessionStore{rows: map[[16]byte]schemas.Session{}}
	for range 2 { // the second time after a crash before the commit
		h := NewSessions(s, metrics(), quiet())
		assign(t, h, partition(topics.IngestSessions, 0, 1))
		dead, err := h.Handle(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]int64{4, 5, 6, 7, 8, 9}, deadOffsets(t, batch, dead)); d != "" {
			t.Fatalf("dead letters (-want +got):\n%s", d)
		}
	}
	started := received.Add(-90 * time.Second).Truncate(time.Minute).UnixNano()
	byStatus := map[schemas.SessionStatus]schemas.Session{}
	for _, one := range s.rows {
		if one.Started != started || one.Project != 42 {
			t.Errorf("session %+v, want one of project 42 at %d", one, started)
		}
		byStatus[one.Status] = one
	}
	if len(s.rows) != 4 {
		t.Fatalf("%d rows count, want 4: %+v", len(s.rows), s.rows)
	}
	if c := s.rows[eventIDOf(sid)]; c.Status != schemas.SessionCrashed || c.Release != "shop@1" || c.Errors != 3 || c.Duration != 1.5e9 || c.Environment != "staging" || c.User == 0 || c.Quantity != 1 {
		t.Errorf("the last update is %+v", c)
	}
	if e := byStatus[schemas.SessionExited]; e.Quantity != 40 || e.Release != "shop@2" || e.Environment != "production" || e.User != 0 {
		t.Errorf("counted sessions are %+v", e)
	}
	if e := byStatus[schemas.SessionErrored]; e.Quantity != 2 {
		t.Errorf("counted errored sessions are %+v", e)
	}
}

func TestSessionsOfAnotherTimeAreSetRightOrDropped(t *testing.T) {
	s := &sessionStore{rows: map[[16]byte]schemas.Session{}}
	h := NewSessions(s, metrics(), quiet())
	assign(t, h, partition(topics.IngestSessions, 0, 0))
	f := func(offset int64, sid byte, at time.Time) {
		t.Helper()
		id := strings.Repeat(string('a'+rune(sid)), 32)
		if dead, err := h.Handle(t.Context(), []consume.Record{
			sessionRecord(offset, "session", `{"sid":"`+id+`","started":"`+at.Format(time.RFC3339Nano)+`","attrs":{"release":"r"}}`),
		}); err != nil || len(dead) > 0 {
			t.Fatalf("Handle = %v, %v", dead, err)
		}
	}
	f(0, 0, received.Add(time.Hour))
	f(1, 1, received.Add(-sessionMaxAge-time.Minute))
	if len(s.rows) != 1 {
		t.Fatalf("%d sessions are stored, want only the one that is not too old", len(s.rows))
	}
	for _, one := range s.rows {
		if want := received.Truncate(time.Minute).UnixNano(); one.Started != want || one.Seq == 0 {
			t.Errorf("a session of the future started at %d with seq %d, want %d and the time of reception", one.Started, one.Seq, want)
		}
	}
}
