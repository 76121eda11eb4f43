package exportertest

import (
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// FeedbackStore is what Feedback tests.
type FeedbackStore interface {
	exporters.FeedbackWriter
	exporters.FeedbackStore
}

// Feedback is the suite of FeedbackWriter and FeedbackStore. open gives an empty store.
func Feedback(t *testing.T, open func(t *testing.T) FeedbackStore) {
	run := func(name string, f func(t *testing.T, s FeedbackStore)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("FeedbackComesBackAsItWasWritten", feedbackRoundTrip)
	run("WritingAgainKeepsWhatPeopleMadeOfIt", feedbackAgain)
	run("FeedbackIsFilteredAndPaged", feedbackPages)
	run("OldFeedbackGoes", feedbackExpires)
}

func feedback(n byte, at time.Time) schemas.Feedback {
	return schemas.Feedback{Project: 1, ID: schemas.EventID{n, 1}, Received: at.UnixNano(), Message: "it broke", Status: schemas.FeedbackUnresolved}
}

func feedbackRoundTrip(t *testing.T, s FeedbackStore) {
	ctx, at := testContext(t), base()
	full := feedback(1, at)
	full.Project = 1<<64 - 1
	full.Event, full.Replay, full.Trace = schemas.EventID{2}, schemas.EventID{3}, traceID(4)
	full.Name, full.Email, full.Message, full.URL, full.Source = "Ünïque ☃", "a@b.example", "quote ' and \" and \\", "https://x.example/?a=b", "widget"
	full.Release, full.Environment, full.Status, full.Changed = "shop@1.0", "prod", schemas.FeedbackSpam, 7
	noError(t, "WriteFeedback of nothing", s.WriteFeedback(ctx, nil))
	noError(t, "WriteFeedback", s.WriteFeedback(ctx, []schemas.Feedback{full, feedback(1, at)}))
	got, err := s.Feedback(ctx, exporters.FeedbackQuery{Project: full.Project})
	noError(t, "Feedback", err)
	equal(t, "feedback", got, []schemas.Feedback{full})
	broken := feedback(9, at)
	broken.Message = "a\x00b\xff"
	noError(t, "WriteFeedback of what no database takes", s.WriteFeedback(ctx, []schemas.Feedback{broken}))
	many := make([]schemas.Feedback, 900)
	for i := range many {
		many[i] = feedback(0, at)
		many[i].Project, many[i].ID = 5, schemas.EventID{byte(i), byte(i >> 8), 7}
	}
	noError(t, "WriteFeedback of many", s.WriteFeedback(ctx, many))
	got, err = s.Feedback(ctx, exporters.FeedbackQuery{Project: 5, Limit: 10_000})
	if err != nil || len(got) != 500 {
		t.Errorf("a page has %d, %v; want 500", len(got), err)
	}
}

func feedbackAgain(t *testing.T, s FeedbackStore) {
	ctx, at := testContext(t), base()
	all := []schemas.Feedback{feedback(1, at), feedback(2, at)}
	noError(t, "WriteFeedback", s.WriteFeedback(ctx, all))
	done, err := s.SetFeedbackStatus(ctx, 1, []schemas.EventID{{1, 1}, {7}}, schemas.FeedbackResolved, 99)
	noError(t, "SetFeedbackStatus", err)
	equal(t, "changed", done, []schemas.EventID{{1, 1}})
	if done, err := s.SetFeedbackStatus(ctx, 2, []schemas.EventID{{1, 1}}, schemas.FeedbackSpam, 100); err != nil || len(done) != 0 {
		t.Errorf("the feedback of another project was changed: %v, %v", done, err)
	}
	noError(t, "WriteFeedback again", s.WriteFeedback(ctx, all)) // as a replay does
	all[0].Status, all[0].Changed = schemas.FeedbackResolved, 99
	got, err := s.Feedback(ctx, exporters.FeedbackQuery{Project: 1})
	noError(t, "Feedback", err)
	equal(t, "feedback", got, []schemas.Feedback{all[1], all[0]})
	_, err = s.SetFeedbackStatus(ctx, 1, make([]schemas.EventID, exporters.MaxFeedbackChange+1), schemas.FeedbackSpam, 1)
	isError(t, "SetFeedbackStatus of too many", err, exporters.ErrTooLarge)
}

func feedbackPages(t *testing.T, s FeedbackStore) {
	ctx, at := testContext(t), base()
	var all []schemas.Feedback
	for i := range byte(30) {
		f := feedback(i+1, at.Add(time.Duration(i/3)*time.Second)) // three at each time
		if i%2 == 1 {
			f.Status, f.Event = schemas.FeedbackSpam, schemas.EventID{5}
		}
		all = append(all, f)
	}
	noError(t, "WriteFeedback", s.WriteFeedback(ctx, all))
	f := func(want int, q exporters.FeedbackQuery) []schemas.Feedback {
		t.Helper()
		q.Project = 1
		got, err := s.Feedback(ctx, q)
		noError(t, "Feedback", err)
		if len(got) != want {
			t.Errorf("%+v gave %d, want %d", q, len(got), want)
		}
		return got
	}
	f(15, exporters.FeedbackQuery{Status: schemas.FeedbackSpam})
	f(15, exporters.FeedbackQuery{Event: schemas.EventID{5}})
	f(6, exporters.FeedbackQuery{Range: exporters.Range{From: at, To: at.Add(2 * time.Second)}})
	seen := map[schemas.EventID]bool{}
	q := exporters.FeedbackQuery{Limit: 7}
	for {
		page := f(min(7, 30-len(seen)), q)
		for _, one := range page {
			if seen[one.ID] {
				t.Fatalf("feedback %s comes on two pages", one.ID)
			}
			seen[one.ID] = true
			q.Before, q.BeforeID = one.Received, one.ID
		}
		if len(page) < 7 {
			break
		}
	}
	if len(seen) != 30 {
		t.Errorf("paging gave %d of 30", len(seen))
	}
}

func feedbackExpires(t *testing.T, s FeedbackStore) {
	ctx, at := testContext(t), base()
	noError(t, "WriteFeedback", s.WriteFeedback(ctx, []schemas.Feedback{feedback(1, at), feedback(2, at.Add(time.Second)), feedback(3, at.Add(2*time.Second))}))
	for want := range 3 { // two are old enough, one a call
		n, err := s.ExpireFeedback(ctx, at.Add(2*time.Second).UnixNano(), 1)
		if err != nil || n != min(1, 2-want) {
			t.Errorf("ExpireFeedback number %d removed %d, %v", want, n, err)
		}
	}
	got, err := s.Feedback(ctx, exporters.FeedbackQuery{Project: 1})
	noError(t, "Feedback", err)
	equal(t, "feedback", got, []schemas.Feedback{feedback(3, at.Add(2*time.Second))})
}
