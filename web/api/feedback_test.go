package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// memoryFeedback is a FeedbackStore of a few.
type memoryFeedback struct{ list []schemas.Feedback }

func (s *memoryFeedback) Feedback(_ context.Context, q exporters.FeedbackQuery) (out []schemas.Feedback, err error) {
	for _, f := range s.list {
		behind := q.Before == 0 || f.Received < q.Before || f.Received == q.Before && slices.Compare(f.ID[:], q.BeforeID[:]) < 0
		if f.Project == q.Project && behind && (q.Status == "" || f.Status == q.Status) && len(out) < q.Limit {
			out = append(out, f)
		}
	}
	return out, nil
}

func (s *memoryFeedback) SetFeedbackStatus(_ context.Context, project uint64, ids []schemas.EventID, status schemas.FeedbackStatus, now int64) (out []schemas.EventID, err error) {
	for i := range s.list {
		if f := &s.list[i]; f.Project == project && slices.Contains(ids, f.ID) {
			f.Status, f.Changed = status, now
			out = append(out, f.ID)
		}
	}
	return out, nil
}

func (s *memoryFeedback) ExpireFeedback(context.Context, int64, int) (int, error) { return 0, nil }

func TestFeedbackNamesTheIssueOfItsEvent(t *testing.T) {
	store := fakestore.Orders(testNow)
	h := newHandler(t, store)
	event := store.AllEvents[0]
	f := schemas.Feedback{Project: event.Project, ID: schemas.EventID{1}, Event: event.ID, Received: 9, Message: "it broke", Status: schemas.FeedbackUnresolved}
	lost := f
	lost.ID, lost.Event = schemas.EventID{2}, schemas.EventID{77}
	none := f
	none.ID, none.Event = schemas.EventID{3}, schemas.EventID{}
	h.deps.Feedback = &memoryFeedback{list: []schemas.Feedback{f, lost, none}}
	got := get[FeedbackList](t, h, "/feedback", http.StatusOK).Feedback
	if len(got) != 3 || got[0].Issue == nil || *got[0].Issue != strconv.FormatUint(uint64(event.Issue), 10) || got[0].Title == nil || *got[0].Title == "" {
		t.Fatalf("feedback = %+v", got)
	}
	if got[1].Issue != nil || got[1].Event != lost.Event.String() || got[2].Issue != nil || got[2].Event != "" {
		t.Errorf("feedback of no stored event = %+v, %+v", got[1], got[2])
	}
}

func TestFeedbackIsPagedAndMarked(t *testing.T) {
	store := fakestore.Orders(testNow)
	h := newHandler(t, store)
	memory := &memoryFeedback{}
	for i := range byte(7) {
		memory.list = append(memory.list, schemas.Feedback{Project: store.AllProjects[0].ID, ID: schemas.EventID{9 - i}, Received: 1000, Message: "x", Status: schemas.FeedbackUnresolved})
	}
	h.deps.Feedback = memory
	var ids []string
	for path := "/feedback?limit=3"; ; {
		page := get[FeedbackList](t, h, path, http.StatusOK)
		for _, f := range page.Feedback {
			ids = append(ids, f.ID)
		}
		if page.Next == nil {
			break
		}
		path = "/feedback?limit=3&before=" + *page.Next
	}
	if len(ids) != 7 || len(slices.Compact(slices.Clone(ids))) != 7 {
		t.Fatalf("paging gave %v", ids)
	}
	post := func(body string, want int) FeedbackChanged {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/api/v1/feedback/status", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("POST %s: status %d, want %d: %s", body, w.Code, want, w.Body)
		}
		var out FeedbackChanged
		_ = json.Unmarshal(w.Body.Bytes(), &out) // of an error it is empty
		return out
	}
	if done := post(`{"ids":["`+ids[0]+`","77000000000000000000000000000000"],"status":"spam"}`, http.StatusOK); len(done.IDs) != 1 || done.IDs[0] != ids[0] {
		t.Errorf("changed %v, want the one that is there", done)
	}
	got := get[FeedbackList](t, h, "/feedback?status=spam", http.StatusOK).Feedback
	if len(got) != 1 || got[0].ID != ids[0] || got[0].Changed == nil {
		t.Errorf("spam is %+v", got)
	}
	for _, body := range []string{`{"ids":[],"status":"spam"}`, `{"ids":["x"],"status":"spam"}`, `{"ids":["` + ids[0] + `"],"status":"great"}`, `{"status":"spam","who":1}`} {
		post(body, http.StatusBadRequest)
	}
	for _, path := range []string{"/feedback?before=9", "/feedback?event=1", "/feedback?status=new"} {
		if e := get[Problem](t, h, path, http.StatusBadRequest); e.Code != "bad_parameter" {
			t.Errorf("%s = %+v", path, e)
		}
	}
}
