package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// memoryMonitors is a MonitorStore of a few.
type memoryMonitors struct {
	list []schemas.Monitor
	runs []schemas.CheckIn
}

func (s *memoryMonitors) at(slug string) (*schemas.Monitor, error) {
	for i := range s.list {
		if s.list[i].Slug == slug {
			return &s.list[i], nil
		}
	}
	return nil, fmt.Errorf("monitor %q: %w", slug, exporters.ErrNotFound)
}

func (s *memoryMonitors) Monitors(context.Context, uint64) ([]schemas.Monitor, error) {
	return s.list, nil
}

func (s *memoryMonitors) Monitor(_ context.Context, _ uint64, slug string) (schemas.Monitor, error) {
	m, err := s.at(slug)
	if err != nil {
		return schemas.Monitor{}, err
	}
	return *m, nil
}

func (s *memoryMonitors) CreateMonitor(_ context.Context, m schemas.Monitor) (schemas.Monitor, error) {
	if _, err := s.at(m.Slug); err == nil {
		return m, exporters.ErrExists
	}
	if m.Config.ScheduleType == "" {
		return m, fmt.Errorf("%w: schedule type", exporters.ErrInvalid)
	}
	s.list = append(s.list, m)
	return m, nil
}

func (s *memoryMonitors) UpdateMonitor(_ context.Context, m schemas.Monitor, _ int64) (schemas.Monitor, error) {
	old, err := s.at(m.Slug)
	if err != nil {
		return m, err
	}
	*old = m
	return m, nil
}

func (s *memoryMonitors) DeleteMonitor(_ context.Context, _ uint64, slug string) error {
	if _, err := s.at(slug); err != nil {
		return err
	}
	s.list = nil
	return nil
}

func (s *memoryMonitors) CheckIns(_ context.Context, _ uint64, _, environment string, before int64, id schemas.EventID, limit int) (out []schemas.CheckIn, err error) {
	for _, c := range s.runs {
		if (environment == "" || c.Environment == environment) && (before == 0 || c.Time < before || c.Time == before && string(c.ID[:]) < string(id[:])) && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, nil
}

func TestMonitorsAreMadeChangedAndDeleted(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	h.deps.Monitors = &memoryMonitors{}
	send := func(method, path, body string, want int) Monitor {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, w.Code, want, w.Body)
		}
		var out Monitor
		_ = json.Unmarshal(w.Body.Bytes(), &out) // of an error or a deletion it is empty
		return out
	}
	m := send(http.MethodPost, "/monitors", `{"slug":"job","name":"Job","config":{"scheduleType":"crontab","crontab":"0 * * * *"}}`, http.StatusOK)
	if m.Slug != "job" || m.Status != "active" || m.Config.CheckInMargin != 1 || m.Config.MaxRuntime != 30 {
		t.Errorf("made %+v, want it with the defaults", m)
	}
	send(http.MethodPost, "/monitors", `{"slug":"job","config":{"scheduleType":"crontab"}}`, http.StatusConflict)
	send(http.MethodPost, "/monitors", `{"slug":"other","config":{}}`, http.StatusBadRequest)
	send(http.MethodPost, "/monitors", `{"slug":"other","who":1}`, http.StatusBadRequest)
	if m := send(http.MethodPut, "/monitors/job", `{"status":"muted"}`, http.StatusOK); m.Status != "muted" || m.Name != "Job" || m.Config.Crontab != "0 * * * *" {
		t.Errorf("changed to %+v, want only the status to change", m)
	}
	send(http.MethodPut, "/monitors/none", `{}`, http.StatusNotFound)
	if list := get[MonitorList](t, h, "/monitors", http.StatusOK).Monitors; len(list) != 1 || list[0].Status != "muted" {
		t.Errorf("monitors = %+v", list)
	}
	send(http.MethodDelete, "/monitors/job", "", http.StatusOK)
	send(http.MethodDelete, "/monitors/job", "", http.StatusNotFound)
	get[Problem](t, h, "/monitors/job", http.StatusNotFound)
}

func TestRunsOfAJobArePaged(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	s := &memoryMonitors{list: []schemas.Monitor{{Slug: "job"}}}
	for i := range byte(7) {
		s.runs = append(s.runs, schemas.CheckIn{ID: schemas.EventID{9 - i}, Environment: "production", Status: schemas.CheckInOK, Time: 1000, Duration: int64(i) - 1})
	}
	h.deps.Monitors = s
	var got []CheckIn
	for path := "/monitors/job/check-ins?limit=3"; ; {
		page := get[CheckInList](t, h, path, http.StatusOK)
		got = append(got, page.CheckIns...)
		if page.Next == nil {
			break
		}
		path = "/monitors/job/check-ins?limit=3&before=" + *page.Next
	}
	if len(got) != 7 || got[0].Duration != nil || got[1].Duration == nil {
		t.Errorf("paging gave %+v", got)
	}
	if list := get[CheckInList](t, h, "/monitors/job/check-ins?environment=staging", http.StatusOK); len(list.CheckIns) != 0 {
		t.Errorf("another environment has %+v", list)
	}
	get[Problem](t, h, "/monitors/none/check-ins", http.StatusNotFound)
	get[Problem](t, h, "/monitors/job/check-ins?before=x", http.StatusBadRequest)
	h.deps.Monitors = nil
	get[Problem](t, h, "/monitors", http.StatusNotImplemented)
}
