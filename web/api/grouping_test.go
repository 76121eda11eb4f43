package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

type fakeRegrouper struct {
	tried GroupingTry
	err   error
}

func (f *fakeRegrouper) Preview(_ context.Context, _ schemas.Project, try GroupingTry) (GroupingPreview, error) {
	f.tried = try
	return GroupingPreview{Events: try.Events, Splits: []GroupingChange{}, Merges: []GroupingChange{}, Moves: []GroupingMove{}}, f.err
}

func (f *fakeRegrouper) Explain(_ context.Context, p schemas.Project, id schemas.EventID) (GroupingOfEvent, error) {
	return GroupingOfEvent{Event: id.String(), Hashes: []string{}, Lines: []string{}}, f.err
}

func (f *fakeRegrouper) Check(settings *schemas.ProjectSettings) error {
	if strings.Contains(settings.FingerprintRules, "nonsense") {
		return &RulesError{Err: errors.Join(&schemas.SettingsError{Path: "fingerprintRules", Text: "line 1, column 1: there is no matcher"})}
	}
	return nil
}

func TestRulesThatCannotBeReadAreNotSaved(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	h.deps.Regrouper = &fakeRegrouper{}
	settings := schemas.DefaultProjectSettings()
	settings.FingerprintRules = "nonsense"
	raw, err := json.Marshal(map[string]any{"settings": settings})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPut, "/api/v1/projects/1", strings.NewReader(string(raw)))
	req.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, req)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "bad_rules") || !strings.Contains(w.Body.String(), `"faults":[{"field":"fingerprintRules","detail":"line 1, column 1`) {
		t.Errorf("PUT answers %d %s", w.Code, w.Body)
	}
}

func TestGroupingIsTriedAndExplained(t *testing.T) {
	r := &fakeRegrouper{}
	h := newHandler(t, fakestore.Orders(testNow))
	post := func(path, body string, status int, code string) {
		t.Helper()
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/api/v1"+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, req)
		var e Problem
		_ = json.Unmarshal(w.Body.Bytes(), &e)
		if w.Code != status || e.Code != code {
			t.Errorf("POST %s %s: %d %q; want %d %q: %s", path, body, w.Code, e.Code, status, code, w.Body)
		}
	}
	post("/projects/1/grouping/preview", `{"events":5}`, http.StatusNotImplemented, "no_grouping")
	h.deps.Regrouper = r
	post("/projects/1/grouping/preview", `{"events":5,"enhancements":""}`, http.StatusOK, "")
	if r.tried.Events != 5 || r.tried.Enhancements == nil || *r.tried.Enhancements != "" || r.tried.Fingerprinting != nil {
		t.Errorf("tried %+v; want empty enhancements and the project's fingerprints", r.tried)
	}
	post("/projects/1/grouping/preview", `{"events":0}`, http.StatusBadRequest, "bad_parameter")
	post("/projects/1/grouping/preview", `{"events":10001}`, http.StatusBadRequest, "bad_parameter")
	post("/projects/1/grouping/preview", `{"event":1}`, http.StatusBadRequest, "bad_body")
	post("/projects/x/grouping/preview", `{"events":1}`, http.StatusBadRequest, "bad_parameter")
	post("/projects/77/grouping/preview", `{"events":1}`, http.StatusNotFound, "project_not_found")
	r.err = &RulesError{Err: errors.New("line 2, column 1: there is no matcher")}
	post("/projects/1/grouping/preview", `{"events":1}`, http.StatusBadRequest, "bad_rules")
	r.err = errors.New("broken")
	post("/projects/1/grouping/preview", `{"events":1}`, http.StatusInternalServerError, "internal")

	r.err = nil
	id := "00000000000000000000000000000009"
	if got := get[GroupingOfEvent](t, h, "/projects/1/events/"+id+"/grouping", http.StatusOK); got.Event != id {
		t.Errorf("explained %+v", got)
	}
	get[Problem](t, h, "/projects/1/events/9/grouping", http.StatusBadRequest)
	r.err = exporters.ErrNotFound
	get[Problem](t, h, "/projects/1/events/"+id+"/grouping", http.StatusNotFound)
}
