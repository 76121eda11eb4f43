package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func TestTheMessagesBehindAnIssueAreToldWithASentence(t *testing.T) {
	s, e := onePlace()
	first := *e
	for i := range byte(9) { // all of the one record, by its span or told
		o := first
		o.ID, o.Time = schemas.EventID{8, i}, first.Time+int64(i)
		if i%2 == 0 {
			o.Topic, o.Partition, o.Offset, o.SpanID = "t", 2, 9, schemas.SpanID{99}
		} else {
			o.SpanID = schemas.SpanID{2}
		}
		s.AllEvents = append(s.AllEvents, o)
	}
	s.AllEvents = s.AllEvents[1:]
	got := get[IssueMessages](t, newHandler(t, s), "/issues/5/messages", http.StatusOK)
	if got.Finding.Rule != "one-record" || !strings.Contains(got.Finding.String(), "All 9 events come from one record") {
		t.Errorf("the sentence is %s", got.Finding)
	}
	if got.Events != 9 || got.Placed != 9 || got.BySpan != 4 || got.Records != 1 || len(got.Worst) != 1 || got.Worst[0].Events != 9 || got.Worst[0].Offset != 9 || got.Worst[0].Reads != 1 {
		t.Errorf("the counts are %+v", got)
	}
	if len(got.By) != 7 || got.By[1].Dimension != "partition" || got.By[1].Values[0] != (MessageValue{Topic: "t", Value: "2", Events: 9, Records: 1, Baseline: 1}) {
		t.Errorf("the dimensions are %+v", got.By)
	}
	if got.Baseline == nil || got.Age.Events != 9 || len(got.Age.Buckets) != 13 || got.Age.Buckets[12].BelowNs != nil || *got.Age.Buckets[0].BelowNs != 1e6 || len(got.Oldest) != 5 {
		t.Errorf("the ages are %+v, the baseline %+v", got.Age, got.Baseline)
	}
	none := get[IssueMessages](t, newHandler(t, s), "/issues/5/messages?to=100", http.StatusOK)
	if none.Finding.Rule != "no-events" || none.Baseline != nil || none.By == nil || none.Worst == nil {
		t.Errorf("before its first event: %+v", none)
	}
	for path, want := range map[string]int{"/issues/6/messages": http.StatusNotFound, "/issues/x/messages": http.StatusBadRequest, "/issues/5/messages?query=topic:": http.StatusBadRequest, "/issues/5/messages?from=x": http.StatusBadRequest} {
		get[Problem](t, newHandler(t, s), path, want)
	}
}

func TestFromARecordOneLookUpGivesTraceAndIssue(t *testing.T) {
	s, e := onePlace()
	told := *e
	told.ID, told.Topic, told.Partition, told.Offset, told.TraceID, told.SpanID, told.Time = schemas.EventID{8}, "t", 2, 9, schemas.TraceID{}, schemas.SpanID{}, 1600
	elsewhere := *e // in the trace, but not in the processing
	elsewhere.ID, elsewhere.SpanID = schemas.EventID{9}, schemas.SpanID{77}
	other := *e // in the processing, but about another record
	other.ID, other.Topic, other.Partition, other.Offset = schemas.EventID{10}, "t", 2, 10
	s.AllEvents = append(s.AllEvents, told, elsewhere, other)
	got := get[RecordDetail](t, newHandler(t, s), "/records/t/2/9", http.StatusOK)
	var events []string
	for _, e := range got.Events {
		events = append(events, e.Event.ID[:2]+" "+e.FoundBy+" "+e.Issue)
	}
	if !slices.Equal(events, []string{"08 event 5", "07 span 5"}) {
		t.Errorf("the events are %v; want the one that tells the record and the one below its processing", events)
	}
	if len(got.Issues) != 1 || got.Issues[0].ID != "5" || got.Issues[0].Events == 0 {
		t.Errorf("the issues are %+v", got.Issues)
	}
	if len(got.Hops) != 1 || got.Hops[0].Producer == nil || got.Hops[0].Consumer == nil || len(got.Hops[0].Parts) == 0 {
		t.Errorf("the hops are %+v", got.Hops)
	}
	if len(got.Traces) != 2 || got.Traces[0] != fakestore.TraceID(9).String() || got.Journey != "/traces/"+got.Traces[0]+"?row="+got.Hops[0].ID {
		t.Errorf("traces %v, journey %q; want the producer's first", got.Traces, got.Journey)
	}
}

func TestARecordIsFoundWhateverIsStoredOfIt(t *testing.T) {
	f := func(name string, change func(*fakestore.Store, *schemas.Event), hops, events int) {
		t.Helper()
		s, e := onePlace()
		change(s, e)
		got := get[RecordDetail](t, newHandler(t, s), "/records/t/2/9", http.StatusOK)
		if len(got.Hops) != hops || len(got.Events) != events || len(got.Traces) == 0 || got.Journey == "" {
			t.Errorf("%s: %d hops, %d events, traces %v, journey %q; want %d and %d", name, len(got.Hops), len(got.Events), got.Traces, got.Journey, hops, events)
		}
	}
	f("an event alone", func(s *fakestore.Store, e *schemas.Event) {
		s.AllMessages, s.AllSpans = nil, nil
		e.Topic, e.Partition, e.Offset = "t", 2, 9
	}, 0, 1)
	f("rows alone", func(s *fakestore.Store, _ *schemas.Event) { s.AllEvents = nil }, 1, 0)
	f("an event of a deleted issue", func(s *fakestore.Store, _ *schemas.Event) { s.AllIssues = nil }, 1, 0)
	f("a batch does not tell which record", func(s *fakestore.Store, _ *schemas.Event) {
		second := s.AllMessages[1]
		second.Offset = 10
		s.AllMessages = append(s.AllMessages, second)
	}, 1, 0)
	f("its retry is its way, too", func(s *fakestore.Store, e *schemas.Event) {
		again := s.AllMessages[1]
		again.Topic, again.Offset, again.RetryTopic, again.RetryPartition, again.RetryOffset, again.RetryAttempt = "t.retry", 1, "t", 2, 9, 1
		again.TraceID, again.SpanID, again.Start = fakestore.TraceID(4), schemas.SpanID{44}, 5000
		s.AllMessages = append(s.AllMessages, again)
		o := *e
		o.ID, o.Topic, o.Partition, o.Offset, o.OriginalTopic, o.OriginalPartition, o.OriginalOffset = schemas.EventID{8}, "t.retry", 2, 1, "t", 2, 9
		s.AllEvents = append(s.AllEvents, o)
	}, 2, 2)
	f("a producer that was told no offset", func(s *fakestore.Store, _ *schemas.Event) {
		s.AllMessages[0].Partition, s.AllMessages[0].Offset = schemas.Unknown, schemas.Unknown
		s.AllMessages[1].CreationTrace, s.AllMessages[1].CreationSpan = s.AllMessages[0].TraceID, s.AllMessages[0].SpanID
	}, 1, 1)
}

func TestWhatIsNoRecordIsRefusedByName(t *testing.T) {
	f := func(path string, status int, code, parameter string) {
		t.Helper()
		s, _ := onePlace()
		got := get[Problem](t, newHandler(t, s), path, status)
		if got.Code != code || got.Param != parameter || got.WayOut == "" {
			t.Errorf("%s: %+v, want code %s parameter %q", path, got, code, parameter)
		}
	}
	f("/records/t/2/8", http.StatusNotFound, "record_not_found", "")
	f("/records/u/2/9", http.StatusNotFound, "record_not_found", "")
	f("/records/t/-1/9", http.StatusBadRequest, "bad_parameter", "partition")
	f("/records/t/2147483648/9", http.StatusBadRequest, "bad_parameter", "partition")
	f("/records/t/2/x", http.StatusBadRequest, "bad_parameter", "offset")
	f("/records/t/2/-1", http.StatusBadRequest, "bad_parameter", "offset")
	f("/records/"+strings.Repeat("t", 250)+"/2/9", http.StatusBadRequest, "bad_parameter", "topic")
	for _, path := range []string{"/records/t/2/9", "/issues/5/messages"} {
		s, _ := onePlace()
		s.Err = errors.New("the disk is gone")
		get[Problem](t, newHandler(t, s), path, http.StatusInternalServerError)
	}
}
