package api

import (
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

// send acts and decodes an answer that must have status want.
func send[T any](t *testing.T, h http.Handler, method, path, body string, want int) T {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(w, r)
	if w.Code != want {
		t.Fatalf("%s %s: status %d, want %d: %s", method, path, w.Code, want, w.Body)
	}
	var out T
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return out
}

func TestProjectsAreMadeReadAndChanged(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	made := send[ProjectDetail](t, h, "POST", "/projects", `{"slug":"shop","name":"The shop","settings":{"filters":{"localhost":true}}}`, 200)
	if made.Slug != "shop" || made.Name != "The shop" || !made.Settings.Filters.Localhost || !made.Settings.Scrubbing.Enabled || len(made.Keys) != 1 {
		t.Fatalf("made %+v", made)
	}
	k := made.Keys[0]
	if want := "http://" + k.Public + "@127.0.0.1:4318/" + made.ID; k.DSN != want || !k.Active {
		t.Errorf("its key is %+v; want DSN %s", k, want)
	}
	list := get[ProjectList](t, h, "/projects", 200)
	if n := len(list.Projects); n != 2 || list.Projects[1] != (ProjectLine{ID: made.ID, Slug: "shop", Name: "The shop"}) {
		t.Errorf("projects %+v", list.Projects)
	}
	path := "/projects/" + made.ID
	changed := send[ProjectDetail](t, h, "PUT", path, fmt.Sprintf(`{"disabled":true,"revision":%d}`, made.Revision), 200)
	if !changed.Disabled || changed.Name != "The shop" || !changed.Settings.Filters.Localhost || changed.Revision == made.Revision {
		t.Errorf("changed %+v; want it disabled and else as it was", changed)
	}
	if e := send[Problem](t, h, "PUT", path, fmt.Sprintf(`{"name":"x","revision":%d}`, made.Revision), 409); e.Code != "project_changed" || e.WayOut == "" {
		t.Errorf("a change to an old revision: %+v", e)
	}
	settings := made.Settings
	settings.Filters.Localhost, settings.Filters.ErrorMessages = false, []string{"*x*"}
	changed = send[ProjectDetail](t, h, "PUT", path, `{"settings":`+string(settings.Document())+`,"disabled":false}`, 200)
	if changed.Disabled || changed.Settings.Filters.Localhost || len(changed.Settings.Filters.ErrorMessages) != 1 {
		t.Errorf("changed %+v", changed)
	}
	if again := get[ProjectDetail](t, h, path, 200); string(again.Settings.Document()) != string(changed.Settings.Document()) {
		t.Errorf("read back %+v", again)
	}
}

func TestBadProjectsAreRefusedWithEveryFault(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	f := func(method, path, body string, status int, code string, wants ...string) {
		t.Helper()
		e := send[Problem](t, h, method, path, body, status)
		if e.Code != code || e.WayOut == "" {
			t.Errorf("%s %s %s = %+v; want code %s", method, path, body, e, code)
		}
		for _, want := range wants {
			if !strings.Contains(e.Detail, want) {
				t.Errorf("%s %s: %q does not name %s", method, path, e.Detail, want)
			}
		}
	}
	bad := `{"retentionDays":-1,"filters":{"clientIPs":["x"]},"colour":1}`
	f("POST", "/projects", `{"slug":"a","settings":`+bad+`}`, 400, "bad_settings", "settings.retentionDays", "clientIPs[0]", "settings.colour")
	f("PUT", "/projects/1", `{"settings":`+bad+`}`, 400, "bad_settings", "settings.retentionDays", "clientIPs[0]", "settings.colour")
	f("POST", "/projects", `{}`, 400, "bad_project", "slug")
	f("POST", "/projects", `{"slag":"a"}`, 400, "bad_body", "slag")
	f("POST", "/projects", `{"slug":"default"}`, 409, "project_exists")
	f("GET", "/projects/99", ``, 404, "project_not_found", "99")
	f("GET", "/projects/x", ``, 400, "bad_parameter")
	f("PUT", "/projects/99", `{}`, 404, "project_not_found")
	f("POST", "/projects/99/keys", ``, 404, "project_not_found")
	f("POST", "/projects/1/keys", `{"limit":{"count":-1,"window":0}}`, 400, "bad_project", "count is -1", "window is 0")
	f("PUT", "/projects/1/keys/xyz", `{}`, 400, "bad_parameter")
	f("DELETE", "/projects/1/keys/"+strings.Repeat("f", 32), ``, 404, "project_not_found")
}

func TestKeysAreMadeChangedRotatedAndDeleted(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	k := send[ProjectKey](t, h, "POST", "/projects/1/keys", `{"label":"staging","limit":{"count":5,"window":60}}`, 200)
	if k.Label != "staging" || !k.Active || k.Limit == nil || k.Limit.Count != 5 || k.DSN == "" {
		t.Fatalf("made %+v", k)
	}
	path := "/projects/1/keys/" + k.Public
	off := send[ProjectKey](t, h, "PUT", path, `{"label":"off","active":false,"limit":null}`, 200)
	if off.Active || off.Label != "off" || off.Limit != nil {
		t.Errorf("changed %+v", off)
	}
	next := send[ProjectKey](t, h, "POST", path+"/rotate", ``, 200)
	if next.Public == k.Public || !next.Active || next.Label != "off" {
		t.Errorf("rotated %+v", next)
	}
	send[Done](t, h, "DELETE", path, ``, 200)
	for _, left := range get[ProjectDetail](t, h, "/projects/1", 200).Keys {
		if left.Public == k.Public {
			t.Error("a deleted key is listed")
		}
	}
}

func TestAStoreThatIsDownIsSaidForProjects(t *testing.T) {
	store := fakestore.Orders(testNow)
	store.Err = exporters.ErrUnavailable
	h := newHandler(t, store)
	for _, x := range [][2]string{{"GET", "/projects/1"}, {"PUT", "/projects/1"}, {"POST", "/projects"}, {"DELETE", "/projects/1/keys/" + strings.Repeat("f", 32)}} {
		if e := send[Problem](t, h, x[0], x[1], `{}`, 503); e.Code != "store_unavailable" {
			t.Errorf("%s %s: %+v", x[0], x[1], e)
		}
	}
}

func TestTheHashKeyOfAProjectIsNotTold(t *testing.T) {
	store := fakestore.Orders(testNow)
	settings := schemas.DefaultProjectSettings()
	settings.HashKey = "a-secret"
	store.AllProjects[0].Settings = &settings
	w := httptest.NewRecorder()
	newHandler(t, store).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/projects/1", nil))
	if w.Code != 200 || strings.Contains(w.Body.String(), "a-secret") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}
