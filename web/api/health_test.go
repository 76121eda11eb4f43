package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/internal/deadletter"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

type fakeHealth []exporters.ProcessReport

func (f fakeHealth) Health(context.Context, time.Time, time.Time) ([]exporters.ProcessReport, error) {
	return f, nil
}

type fakeStoreHealth struct{ err error }

func (f fakeStoreHealth) StoreHealth(context.Context) (exporters.StoreHealth, error) {
	return exporters.StoreHealth{Answered: time.Millisecond, Rows: 5, Parts: -1, Bytes: 7, Free: 40, Total: 100, Memory: -1}, f.err
}

// reportsOf are those of one process that handles so many records a second, and was
// started again once.
func reportsOf(instance string, perSecond float64, until time.Time) []exporters.ProcessReport {
	var out []exporters.ProcessReport
	begun, n := until.Add(-10*time.Minute), 1000.0
	for at := until.Add(-5 * time.Minute); !at.After(until); at = at.Add(10 * time.Second) {
		if at.Equal(until.Add(-2 * time.Minute)) {
			begun, n = at.Add(-time.Second), 0
		}
		n += 10 * perSecond
		out = append(out, exporters.ProcessReport{Instance: instance, Role: "pipeline", Started: begun, At: at, Values: map[string]float64{
			"consume_records_total/persist-spans/ingest-spans": n, "consume_items_total/persist-spans/ingest-spans": 50 * n, "consume_batches_total/persist-spans/ingest-spans": n / 10,
			"consume_lag_records/persist-spans/ingest-spans": 4, "pipeline_batch_items_count/persist-spans": n, "pipeline_batch_items_sum/persist-spans": 50 * n,
			"pipeline_write_seconds_sum/persist-spans": n / 10 * .2, "pipeline_write_seconds_count/persist-spans": n / 10,
		}})
	}
	return out
}

func healthHandler(t *testing.T, reports []exporters.ProcessReport, storeErr error) *Handler {
	t.Helper()
	h := newHandler(t, &fakestore.Store{})
	h.deps.Health, h.deps.StoreHealth = fakeHealth(reports), fakeStoreHealth{storeErr}
	h.deps.Stages = []LineStage{{Name: "persist-spans", Topic: "ingest-spans", DLQ: "ingest-spans-dlq", Group: "g"}, {Name: "persist-logs", Topic: "ingest-logs", Group: "h"}}
	return h
}

func TestRatesAreSummedOverProcessesAndMindRestarts(t *testing.T) {
	reports := append(reportsOf("pipeline@a:1", 3, testNow.Add(-2*time.Second)), reportsOf("pipeline@b:1", 5, testNow.Add(-3*time.Second))...)
	got := get[LineHealth](t, healthHandler(t, reports, nil), "/health?from=-5m", http.StatusOK)
	s := got.Stages[0]
	if s.Records == nil || *s.Records < 7.9 || *s.Records > 8.1 || s.Items == nil || *s.Items < 395 || *s.Items > 405 {
		t.Errorf("records and items a second are %v and %v, want 8 and 400", value(s.Records), value(s.Items))
	}
	if s.State != "ok" || s.LagRecords == nil || *s.LagRecords != 8 || s.WriteNs == nil || *s.WriteNs != 200e6 || s.LastBatch == nil || s.Processes != 2 {
		t.Errorf("the stage is %+v", s)
	}
	for i, v := range s.ItemsOver {
		if v != nil && (*v < 0 || *v > 410) {
			t.Errorf("slot %d has %v items a second; a restart is no burst and no fall below zero", i, *v)
		}
	}
	if got.Stages[1].State != "idle" || len(got.Processes) != 2 || got.Processes[0].Late {
		t.Errorf("the other stage is %s, processes are %+v", got.Stages[1].State, got.Processes)
	}
	if st := got.Stores[0]; st.Rows == nil || *st.Rows != 5 || st.Parts != nil || st.Memory != nil || *st.FreeBytes != 40 || st.Inserted == nil {
		t.Errorf("the store is %+v; what it does not know is null", st)
	}
	if got.Finding.Rule != "ok" || len(got.RuledOut) < 4 {
		t.Errorf("the finding is %s, %d are ruled out", got.Finding, len(got.RuledOut))
	}
}

func TestAProcessThatStoppedReportingIsFound(t *testing.T) {
	got := get[LineHealth](t, healthHandler(t, reportsOf("pipeline@a:1", 3, testNow.Add(-90*time.Second)), nil), "/health", http.StatusOK)
	if got.Finding.Rule != "silent" || !got.Processes[0].Late || got.Stages[0].State != "silent" {
		t.Errorf("finding %s, process %+v, stage %s", got.Finding, got.Processes[0], got.Stages[0].State)
	}
	got = get[LineHealth](t, healthHandler(t, reportsOf("pipeline@a:1", 3, testNow), errors.New("connection refused")), "/health", http.StatusOK)
	if got.Finding.Rule != "store-away" || got.Stores[0].Error == "" {
		t.Errorf("finding %s, store %+v", got.Finding, got.Stores[0])
	}
	got = get[LineHealth](t, healthHandler(t, nil, nil), "/health", http.StatusOK)
	if got.Finding.Rule != "no-reports" || got.Stages[0].State != "unknown" {
		t.Errorf("without reports the finding is %s, the stage %s", got.Finding, got.Stages[0].State)
	}
}

func TestStagesOfOneNameAreToldApartByTheirTopics(t *testing.T) {
	var reports []exporters.ProcessReport
	for i := range 6 {
		n := float64(i)
		reports = append(reports, exporters.ProcessReport{Instance: "pipeline@a:1", Role: "pipeline", Started: testNow.Add(-time.Hour), At: testNow.Add(time.Duration(i-5) * 10 * time.Second), Values: map[string]float64{
			"consume_records_total/persist-replays/a": 10 * n, "consume_records_total/persist-replays/b": 30 * n, "consume_dead_letters_total/persist-replays/b": n,
		}})
	}
	h := healthHandler(t, reports, nil)
	h.deps.Stages = []LineStage{{Name: "persist-replays", Topic: "a", Group: "a"}, {Name: "persist-replays", Topic: "b", Group: "b"}}
	got := get[LineHealth](t, h, "/health", http.StatusOK).Stages
	if a, b := value(got[0].Records), value(got[1].Records); a < .9 || a > 1.1 || b < 2.9 || b > 3.1 || got[0].DeadLetters != 0 || got[1].DeadLetters != 5 {
		t.Errorf("%g and %g records a second, %d and %d letters; want 1 and 3, none and 5", a, b, got[0].DeadLetters, got[1].DeadLetters)
	}
}

func TestAProcessThatWasShutDownIsNotMissed(t *testing.T) {
	gone := reportsOf("pipeline@a:1", 3, testNow.Add(-90*time.Second))
	gone[len(gone)-1].Notes = map[string]string{exporters.HealthEnded: "it was shut down"}
	got := get[LineHealth](t, healthHandler(t, append(gone, reportsOf("pipeline@b:1", 5, testNow)...), nil), "/health", http.StatusOK)
	if s := got.Stages[0]; got.Finding.Rule != "ok" || len(got.Processes) != 1 || s.State != "ok" || s.Processes != 1 || s.Batches < 80 {
		t.Errorf("finding %s, processes %+v, stage %+v; want all well, one process, and the batches of both", got.Finding, got.Processes, s)
	}
	// The last of a stage is missed all the same.
	got = get[LineHealth](t, healthHandler(t, gone, nil), "/health", http.StatusOK)
	if got.Stages[0].State != "unknown" || got.Finding.Rule == "silent" {
		t.Errorf("finding %s, stage %s; want nobody that runs it", got.Finding, got.Stages[0].State)
	}
}

func TestWhatFailsAndWhatStandsStillIsSaid(t *testing.T) {
	reports := reportsOf("pipeline@a:1", 3, testNow)
	reports[len(reports)-1].Values["consume_retries_total/persist-spans/ingest-spans"] = 4
	got := get[LineHealth](t, healthHandler(t, reports, nil), "/health", http.StatusOK)
	if s := got.Stages[0]; s.State != "failing" || s.Retries != 4 {
		t.Errorf("the stage is %s with %d tries, want failing with 4", s.State, s.Retries)
	}
	note := func(ago time.Duration, says string) string {
		return strconv.FormatInt(testNow.Add(-ago).UnixNano(), 10) + " " + says
	}
	reports[len(reports)-1].Notes = map[string]string{
		"stands/persist-spans/ingest-spans/2":          "records 7 to 9 of partition 2 were deleted unread",
		"failed/persist-spans/ingest-spans/handling":   note(time.Minute, "the store: connection refused"),
		"failed/persist-spans/ingest-spans/committing": note(2*time.Minute, "not the coordinator"),
		"failed/persist-spans/ingest-spans/fetching":   note(48*time.Hour, "long ago"),
		"failed/persist-spans/other/panic":             note(time.Minute, "of another topic"),
	}
	got = get[LineHealth](t, healthHandler(t, reports, nil), "/health", http.StatusOK)
	want := []HealthFailure{
		{Kind: "handling", At: nanos(testNow.Add(-time.Minute).UnixNano()), Says: "the store: connection refused", Process: "pipeline@a:1"},
		{Kind: "committing", At: nanos(testNow.Add(-2 * time.Minute).UnixNano()), Says: "not the coordinator", Process: "pipeline@a:1"},
	}
	if diff := cmp.Diff(want, got.Stages[0].Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if s := got.Stages[0]; s.State != "stopped" || s.Why != "records 7 to 9 of partition 2 were deleted unread" || len(s.Standing) != 1 {
		t.Errorf("the stage is %+v", s)
	}
}

// fakeLetters is a dead-letter topic and what became of its letters.
type fakeLetters struct {
	mu      sync.Mutex
	letters []deadletter.Letter
	ends    map[exporters.DeadLetterRef]exporters.DeadLetterEnd
	put     []string
	fail    error // of PutBack, after the record was written
}

func (f *fakeLetters) Ends(context.Context, ...string) (map[deadletter.Place]deadletter.Ends, error) {
	return map[deadletter.Place]deadletter.Ends{{Topic: "ingest-spans-dlq"}: {TopicID: "0a", End: int64(len(f.letters))}}, nil
}

func (f *fakeLetters) List(ctx context.Context, _ []string, before map[deadletter.Place]int64, limit int) (deadletter.Page, error) {
	ends, _ := f.Ends(ctx)
	page := deadletter.Page{Ends: ends}
	place := deadletter.Place{Topic: "ingest-spans-dlq"}
	end := int64(len(f.letters))
	if at, ok := before[place]; ok {
		end = at
	}
	for i := end - 1; i >= 0 && len(page.Letters) < limit; i-- {
		page.Letters = append(page.Letters, f.letters[i])
		end = i
	}
	if end > 0 {
		page.Next = map[deadletter.Place]int64{place: end}
	}
	return page, nil
}

func (f *fakeLetters) Get(_ context.Context, p deadletter.Place, offset int64) (deadletter.Letter, error) {
	if p.Topic != "ingest-spans-dlq" || p.Partition != 0 || offset >= int64(len(f.letters)) {
		return deadletter.Letter{}, deadletter.ErrGone
	}
	return f.letters[offset], nil
}

func (f *fakeLetters) PutBack(_ context.Context, l *deadletter.Letter) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put = append(f.put, l.Name())
	return f.fail
}

func (f *fakeLetters) WasPutBack(_ context.Context, l *deadletter.Letter, _ time.Time) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.put {
		if name == l.Name() {
			return true, nil
		}
	}
	return false, nil
}

func (f *fakeLetters) DeadLetterEnds(_ context.Context, refs []exporters.DeadLetterRef) (map[exporters.DeadLetterRef]exporters.DeadLetterEnd, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[exporters.DeadLetterRef]exporters.DeadLetterEnd{}
	for _, r := range refs {
		if e, ok := f.ends[r]; ok {
			out[r] = e
		}
	}
	return out, nil
}

func (f *fakeLetters) SetDeadLetterEnd(_ context.Context, ref exporters.DeadLetterRef, from exporters.DeadLetterState, end exporters.DeadLetterEnd) (exporters.DeadLetterEnd, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, ok := f.ends[ref]
	if !ok {
		now.State = exporters.DeadLetterOpen
	}
	if now.State != from {
		return now, false, nil
	}
	f.ends[ref] = end
	return end, true, nil
}

func (f *fakeLetters) CountDeadLetterEnds(context.Context, exporters.DeadLetterRef) (int64, error) {
	return int64(len(f.ends)), nil
}

func (f *fakeLetters) ForgetDeadLetterEnds(context.Context, exporters.DeadLetterRef) error {
	return nil
}

func lettersHandler(t *testing.T, n int) (*Handler, *fakeLetters) {
	t.Helper()
	f := &fakeLetters{ends: map[exporters.DeadLetterRef]exporters.DeadLetterEnd{}}
	for i := range n {
		f.letters = append(f.letters, deadletter.Letter{
			Place: deadletter.Place{Topic: "ingest-spans-dlq"}, Offset: int64(i), TopicID: "0a", Stage: "persist-spans", Reason: "undecodable: token=abcdef", OriginalTopic: "ingest-spans", OriginalOffset: int64(100 + i),
			Value: []byte("password=hunter2"), WholeBytes: 16, Headers: []deadletter.Header{{Key: "authorization", Value: []byte("x")}}, PutAside: testNow, Time: testNow,
		})
	}
	h := newHandler(t, &fakestore.Store{})
	h.deps.Letters, h.deps.LetterEnds = f, f
	return h, f
}

const letterBody = `{"letters": [{"topic": "ingest-spans-dlq", "partition": 0, "offset": %d}], "by": "ann"}`

func retry(t *testing.T, h *Handler, offset int) DeadLetterOutcome {
	t.Helper()
	return act[DeadLetterOutcomes](t, h, http.MethodPost, "/dead-letters/retry", fmt.Sprintf(letterBody, offset), http.StatusOK).Outcomes[0]
}

func TestALetterIsPutBackOnceHoweverOftenThatIsAsked(t *testing.T) {
	h, f := lettersHandler(t, 2)
	for i, want := range []string{"retried", "already", "already"} {
		if got := retry(t, h, 1); got.Outcome != want {
			t.Errorf("retry %d gives %+v; want %s", i+1, got, want)
		}
	}
	// The record is written and the answer is lost: nobody knows how it ended.
	f.fail = errors.New("connection reset")
	if got := retry(t, h, 0); got.Outcome != "failed" {
		t.Errorf("a retry that breaks off gives %+v", got)
	}
	if got := retry(t, h, 0); got.Outcome != "busy" {
		t.Errorf("another one at once gives %+v; want busy", got)
	}
	h.now = func() time.Time { return testNow.Add(2 * time.Minute) }
	if got := retry(t, h, 0); got.Outcome != "retried" {
		t.Errorf("the next one gives %+v; want retried", got)
	}
	if len(f.put) != 2 {
		t.Errorf("records were put back %v; want each once", f.put)
	}
}

func TestLettersThatCannotBePutBackSaySo(t *testing.T) {
	h, f := lettersHandler(t, 2)
	f.letters[0].WholeBytes = 9000
	if got := retry(t, h, 0); got.Outcome != "not_whole" {
		t.Errorf("a letter that was cut gives %+v", got)
	}
	if got := retry(t, h, 7); got.Outcome != "gone" {
		t.Errorf("a letter that is gone gives %+v", got)
	}
	if len(f.put) != 0 || len(f.ends) != 0 {
		t.Errorf("something was done: %v, %v", f.put, f.ends)
	}
	act[Problem](t, h, http.MethodPost, "/dead-letters/retry", `{"letters": []}`, http.StatusBadRequest)
	act[Problem](t, h, http.MethodPost, "/dead-letters/retry", `{"letters": [{"topic": "orders", "partition": 0, "offset": 1}]}`, http.StatusBadRequest)
	get[Problem](t, h, "/dead-letters?topic=orders", http.StatusBadRequest)
	get[Problem](t, h, "/dead-letters?before=x", http.StatusBadRequest)
	get[Problem](t, h, "/dead-letters?limit=101", http.StatusBadRequest)
	get[Problem](t, h, "/dead-letters/ingest-spans-dlq/0/99", http.StatusNotFound)
}

func TestDiscardedLettersLeaveTheListAndCanBeRetried(t *testing.T) {
	h, _ := lettersHandler(t, 5)
	discard := func(offset int) string {
		return act[DeadLetterOutcomes](t, h, http.MethodPost, "/dead-letters/discard", fmt.Sprintf(letterBody, offset), http.StatusOK).Outcomes[0].Outcome
	}
	if a, b := discard(4), discard(4); a != "discarded" || b != "already" {
		t.Errorf("discard twice gives %s and %s", a, b)
	}
	var seen []int64
	for before := ""; ; {
		page := get[DeadLetterList](t, h, "/dead-letters?limit=2&before="+before, http.StatusOK)
		for _, l := range page.Letters {
			seen = append(seen, l.Offset)
			if l.Reason != "undecodable: token=[scrubbed]" {
				t.Errorf("the reason reads %q", l.Reason)
			}
		}
		if page.Next == nil {
			break
		}
		before = *page.Next
	}
	if fmt.Sprint(seen) != "[3 2 1 0]" {
		t.Errorf("open letters are %v; want [3 2 1 0], each once", seen)
	}
	if got := retry(t, h, 4); got.Outcome != "retried" {
		t.Errorf("a discarded letter is retried with %+v", got)
	}
	d := get[DeadLetterDetail](t, h, "/dead-letters/ingest-spans-dlq/0/2", http.StatusOK)
	if d.Preview != "password=[scrubbed]" || d.Headers[0].Value != deadletter.Scrubbed || d.Letter.State != "open" {
		t.Errorf("the letter reads %+v", d)
	}
}
