package api

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// sameTime holds n log records of one time.
type sameTime struct {
	n     int
	asked []exporters.LogQuery
}

func (s *sameTime) Logs(_ context.Context, q exporters.LogQuery) ([]schemas.Log, error) {
	s.asked = append(s.asked, q)
	var out []schemas.Log
	for i := q.Skip; i < s.n && len(out) < q.Limit; i++ {
		out = append(out, schemas.Log{Time: 1000, Body: strconv.Itoa(i), Level: "info", Severity: 9, Attributes: []schemas.Attribute{{Key: "a", Value: "b"}}})
	}
	return out, nil
}

func TestLogsOfOneTimeArePagedWithoutLoss(t *testing.T) {
	store := &sameTime{n: 7}
	h := newHandler(t, fakestore.Orders(testNow))
	h.deps.Logs = store
	var got []string
	for path := "/logs?limit=3&level=warn&service=shop"; ; {
		page := get[LogList](t, h, path, http.StatusOK)
		for _, l := range page.Logs {
			got = append(got, l.Body)
		}
		if page.Next == nil {
			break
		}
		path = "/logs?limit=3&level=warn&service=shop&before=" + string(page.Next.Before) + "&skip=" + strconv.Itoa(page.Next.Skip)
	}
	if len(got) != 7 || got[0] != "0" || got[6] != "6" {
		t.Errorf("paging gave %v", got)
	}
	if q := store.asked[0]; q.MinSeverity != 13 || q.Service != "shop" || q.Limit != 3 {
		t.Errorf("asked %+v", q)
	}
}

func TestBadParametersOfLogsAreNamed(t *testing.T) {
	h := newHandler(t, fakestore.Orders(testNow))
	for _, path := range []string{"/logs?trace=1", "/logs?level=loud", "/logs?skip=-1", "/logs?skip=10001", "/logs?limit=501"} {
		if e := get[Problem](t, h, path, http.StatusBadRequest); e.Code != "bad_parameter" || e.Param == "" {
			t.Errorf("%s = %+v", path, e)
		}
	}
}
