package postprocess

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hoptrace/hoptrace/schemas"
)

func TestTheJournalTellsWhatBeganAndWhatCameBack(t *testing.T) {
	var out bytes.Buffer
	j, err := NewJournal(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	event := func(isNew, isRegression bool, title string) Event {
		return Event{
			Event: schemas.Event{Project: 7, Issue: 3, Level: "fatal", Topic: "orders", Partition: 2, Offset: 17, Release: "shop@1"},
			Title: title, IsNew: isNew, IsRegression: isRegression,
		}
	}
	if err := j.Stored(t.Context(), []Event{event(true, false, "one"), event(false, false, "two"), event(false, true, "three")}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `msg="new issue"`) || !strings.Contains(lines[0], "title=one") || !strings.Contains(lines[0], "record=orders/2@17") ||
		!strings.Contains(lines[1], "came back") || !strings.Contains(lines[1], "title=three") {
		t.Errorf("the journal says\n%s", out.String())
	}
	if b, c, f := testutil.ToFloat64(j.began), testutil.ToFloat64(j.came), testutil.ToFloat64(j.fatal); b != 1 || c != 1 || f != 3 {
		t.Errorf("counts are %v, %v, %v", b, c, f)
	}
}
