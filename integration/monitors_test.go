package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/integration/harness"
)

// TestAJobFailsRecoversAndFailsAgain checks in as a shell script does. Meanwhile another
// job, of each minute, checks in once and is then silent for a minute.
func TestAJobFailsRecoversAndFailsAgain(t *testing.T) {
	h := harness.StartHoptrace(t, harness.Options{})
	dsn, err := url.Parse(h.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	project := strings.TrimPrefix(dsn.Path, "/")
	checkIn := func(job, query, body string, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.HTTP+"/api/"+project+"/cron/"+job+"/"+dsn.User.Username()+"/?"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
			t.Fatalf("the check-in of %s is answered %s: %s; want %d", job, resp.Status, answer, want)
		}
	}
	config := func(crontab string) string {
		text, err := json.Marshal(crontab)
		if err != nil {
			t.Fatal(err)
		}
		return `{"monitor_config":{"schedule":{"type":"crontab","value":` + string(text) + `},"checkin_margin":1}}`
	}
	began := time.Now()
	checkIn("each-minute", "status=ok", config("* * * * *"), http.StatusAccepted)
	slot := began.Truncate(time.Minute).Add(time.Minute) // nobody checks in for it

	// What is wrong costs no check-in of a monitor that is there, and makes no other.
	checkIn("nightly", "status=ok", config("0 3 * * 5-7"), http.StatusAccepted)
	checkIn("nightly", "status=error", config("0 3 * * 5-8"), http.StatusAccepted)
	checkIn("unknown", "status=ok", config("0 3 * * 5#2"), http.StatusAccepted)
	checkIn("nightly", "status=great", "", http.StatusBadRequest)
	checkIn("night%20ly", "status=ok", "", http.StatusBadRequest)
	var detail struct {
		Activity []struct {
			Kind string
			Data map[string]any
		}
	}
	// issue waits until the one issue of the job is as wanted, and its log, newest first.
	issue := func(status string, log ...string) {
		t.Helper()
		harness.Until(t, "an issue that is "+status, time.Minute, func() error {
			var list struct {
				Issues []struct{ ID, Status, Title string }
			}
			if err := h.Get("issues?text=nightly&project="+project, &list); err != nil {
				return err
			}
			if len(list.Issues) != 1 || list.Issues[0].Status != status {
				return fmt.Errorf("there are %+v", list.Issues)
			}
			if err := h.Get("issues/"+list.Issues[0].ID+"?project="+project, &detail); err != nil {
				return err
			}
			var kinds []string
			for _, a := range detail.Activity {
				kinds = append(kinds, a.Kind)
			}
			if !slices.Equal(kinds, log) {
				return fmt.Errorf("its log has %q, want %q", kinds, log)
			}
			return nil
		})
	}
	issue("unresolved", "first_seen")
	checkIn("nightly", "status=ok", "", http.StatusAccepted)
	issue("resolved", "set_resolved", "first_seen")
	if d := detail.Activity[0].Data; d["because"] != "recovered" || d["monitor"] != "nightly" || d["environment"] != "production" {
		t.Errorf("the log says of the resolution %v", d)
	}
	checkIn("nightly", "status=error", "", http.StatusAccepted)
	issue("unresolved", "set_regression", "set_resolved", "first_seen")
	ledgerBalances(t, h, project, harness.LedgerLine{Category: "monitor", Received: 8, Stored: 5, Invalid: 3})
	ledgerBalances(t, h, project, harness.LedgerLine{Category: "error", Received: 2, Stored: 2})

	time.Sleep(time.Until(began.Add(2 * time.Minute)))
	checkIn("each-minute", "status=ok", "", http.StatusAccepted)
	var runs harness.CheckInList
	harness.Until(t, "the run that was missed", 2*time.Minute, func() error {
		if err := h.Get("monitors/each-minute/check-ins", &runs); err != nil {
			return err
		}
		if len(runs.CheckIns) != 3 {
			return fmt.Errorf("there are %+v", runs.CheckIns)
		}
		return nil
	})
	if run := runs.CheckIns[1]; run.Status != "missed" || run.Time != strconv.FormatInt(slot.UnixNano(), 10) {
		t.Errorf("the run between is %+v, want that of %s, missed", run, slot)
	}
	stopClean(t, h)
}
