package exportertest

import (
	"slices"
	"testing"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/schemas"
)

// Twins is what TwinStore tests.
type Twins interface {
	exporters.EventWriter
	exporters.EventReader
	exporters.TwinKeeper
}

// TwinStore is the suite of TwinKeeper. open gives an empty store.
func TwinStore(t *testing.T, open func(t *testing.T) Twins) {
	run := func(name string, f func(t *testing.T, s Twins)) {
		t.Run(name, func(t *testing.T) { f(t, open(t)) })
	}
	run("TwinsAreOfOneTraceAndTellTheSame", twinsFound)
	run("TypesAreComparedAsEverywhere", twinsByType)
	run("RemovedTwinsAreGoneAndNothingElse", twinsRemoved)
	run("AsManyTwinsAsAllowedAreRemoved", twinsMany)
}

// told is event n of a trace, n seconds after a time.
func told(from time.Time, n, trace int, kind, value string, origin schemas.Origin) schemas.Event {
	e := event(n, from.Add(time.Duration(n)*time.Second))
	e.TraceID, e.Type, e.Value, e.Origin = traceID(trace), kind, value, origin
	return e
}

// twinIDs are those of the twins of a range.
func twinIDs(t *testing.T, s Twins, r exporters.Range, limit int) []schemas.EventID {
	t.Helper()
	found, err := s.Twins(testContext(t), r, limit)
	noError(t, "Twins", err)
	ids := []schemas.EventID{}
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	slices.SortFunc(ids, func(a, b schemas.EventID) int { return slices.Compare(a[:], b[:]) })
	return ids
}

func twinsFound(t *testing.T, s Twins) {
	ctx, at := testContext(t), base()
	const otel, sdk = schemas.OriginOTel, schemas.Origin("")
	always := exporters.Range{To: at.Add(time.Hour)}
	noError(t, "WriteEvents", s.WriteEvents(ctx, []schemas.Event{told(at, 0, 9, "E", "alone", otel)}))
	equal(t, "twins where no SDK sent anything", twinIDs(t, s, always, 10), []schemas.EventID{})

	foreign := told(at, 5, 1, "E", "no stock", otel)
	foreign.Project = 2
	nowhere, nowhereSDK := told(at, 6, 1, "E", "no trace", otel), told(at, 7, 1, "E", "no trace", sdk)
	nowhere.TraceID, nowhereSDK.TraceID = schemas.TraceID{}, schemas.TraceID{}
	first, last := told(at, 1, 1, "shop.E", "no stock", otel), told(at, 12, 1, "E", "no stock", otel)
	first.Received = 77
	all := []schemas.Event{
		first, last, // before the SDK's and after it
		told(at, 2, 1, "E", "no stock", sdk),
		told(at, 3, 2, "E", "no stock", otel), // of another trace
		told(at, 4, 1, "E", "no money", otel), // with another text
		foreign,                               // of another project
		nowhere, nowhereSDK,                   // without a trace
		told(at, 8, 1, "E", "", otel), // that tells nothing
		told(at, 9, 1, "E", "", sdk),
		told(at, 10, 1, "Other", "no stock", otel), // of another type
		told(at, 11, 3, "E", "no stock", sdk),      // that OpenTelemetry did not tell
		told(at, 20, 4, "E", "late", otel), told(at, 40, 4, "E", "late", sdk),
	}
	for range 2 { // as a replay does
		noError(t, "WriteEvents", s.WriteEvents(ctx, all))
	}
	equal(t, "twins", twinIDs(t, s, always, 10), []schemas.EventID{eventID(1), eventID(12), eventID(20)})
	equal(t, "twins of which both happened early", twinIDs(t, s, exporters.Range{To: at.Add(30 * time.Second)}, 10), []schemas.EventID{eventID(1), eventID(12)})
	equal(t, "twins of which both happened late", twinIDs(t, s, exporters.Range{From: at.Add(20 * time.Second), To: always.To}, 10), []schemas.EventID{eventID(20)})
	equal(t, "twins of which one happened before", twinIDs(t, s, exporters.Range{From: at.Add(21 * time.Second), To: always.To}, 10), []schemas.EventID{})
	if n := len(twinIDs(t, s, always, 2)); n != 2 {
		t.Errorf("Twins with limit 2 gave %d", n)
	}
	found, err := s.Twins(ctx, exporters.Range{From: at, To: at.Add(5 * time.Second)}, 10)
	noError(t, "Twins", err)
	equal(t, "the twin", found, []exporters.Twin{{Project: 1, ID: eventID(1), Time: first.Time, Received: 77}})
}

func twinsByType(t *testing.T, s Twins) {
	ctx, at := testContext(t), base()
	kinds := []string{"", "E", "e", "shop.E", "*shop.E", "&shop::E", "**E", "shop.*E", "*", "E.", "a\n.E", "a\nE", "ü.É", "É", "main.(*T).E", "x:E"}
	var all []schemas.Event
	want := []schemas.EventID{}
	for i, a := range kinds {
		for j, b := range kinds {
			n := i*len(kinds) + j
			otel, sdk := told(at, n, 1, a, "v", schemas.OriginOTel), told(at, 1000+n, 1, b, "v", "")
			otel.TraceID[8], otel.TraceID[9] = byte(i+1), byte(j+1)
			sdk.TraceID = otel.TraceID
			all = append(all, otel, sdk)
			if schemas.SameErrorType(a, b) {
				want = append(want, otel.ID)
			}
		}
	}
	noError(t, "WriteEvents", s.WriteEvents(ctx, all))
	got := twinIDs(t, s, exporters.Range{To: at.Add(time.Hour)}, exporters.MaxTwins)
	for i, a := range kinds {
		for j, b := range kinds {
			id := eventID(i*len(kinds) + j)
			if is := slices.Contains(got, id); is != schemas.SameErrorType(a, b) {
				t.Errorf("type %q of OpenTelemetry and %q of an SDK: the store takes them for the same: %v", a, b, is)
			}
		}
	}
	if len(want) < 20 {
		t.Errorf("only %d pairs are the same: the test is broken", len(want))
	}
}

func twinsRemoved(t *testing.T, s Twins) {
	ctx, at := testContext(t), base()
	otel, other := told(at, 1, 1, "E", "v", schemas.OriginOTel), told(at, 2, 2, "E", "v", schemas.OriginOTel)
	sdk := told(at, 3, 1, "E", "v", "")
	foreign, same := otel, otel // of another project, and an SDK's with the same id
	foreign.Project, same.Project, same.Origin = 2, 3, ""
	events := []schemas.Event{otel, other, sdk, foreign, same}
	remove := func() {
		t.Helper()
		noError(t, "RemoveTwins", s.RemoveTwins(ctx, []exporters.Twin{
			{Project: 1, ID: otel.ID, Time: otel.Time}, {Project: 3, ID: same.ID, Time: same.Time}, {Project: 1, ID: sdk.ID, Time: sdk.Time}, {Project: 9, ID: other.ID, Time: other.Time},
		}))
		_, err := s.Event(ctx, 1, otel.ID)
		isError(t, "Event that was removed", err, exporters.ErrNotFound)
		for _, e := range events[1:] {
			got, err := s.Event(ctx, e.Project, e.ID)
			noError(t, "Event", err)
			equal(t, "event that stays", got, e)
		}
	}
	noError(t, "RemoveTwins of none", s.RemoveTwins(ctx, nil))
	for range 2 { // as a replay does
		noError(t, "WriteEvents", s.WriteEvents(ctx, events))
	}
	remove()
	remove()
	noError(t, "WriteEvents", s.WriteEvents(ctx, events)) // a replay brings it back
	equal(t, "twins after a replay", twinIDs(t, s, exporters.Range{To: at.Add(time.Hour)}, 10), []schemas.EventID{otel.ID})
	remove()
	equal(t, "twins in the end", twinIDs(t, s, exporters.Range{To: at.Add(time.Hour)}, 10), []schemas.EventID{})
}

func twinsMany(t *testing.T, s Twins) {
	ctx, at := testContext(t), base()
	var all []schemas.Event
	for n := range exporters.MaxTwins {
		all = append(all, told(at, n, 1, "E", "v", schemas.OriginOTel))
	}
	all = append(all, told(at, exporters.MaxTwins, 1, "E", "v", ""))
	noError(t, "WriteEvents", s.WriteEvents(ctx, all))
	found, err := s.Twins(ctx, exporters.Range{To: at.Add(time.Hour)}, exporters.MaxTwins)
	noError(t, "Twins", err)
	if len(found) != exporters.MaxTwins {
		t.Fatalf("%d twins, want %d", len(found), exporters.MaxTwins)
	}
	noError(t, "RemoveTwins", s.RemoveTwins(ctx, found))
	left, err := s.EventsOfTraces(ctx, 1, []schemas.TraceID{traceID(1)}, 10)
	noError(t, "EventsOfTraces", err)
	equal(t, "events that are left", left, all[exporters.MaxTwins:])
	if err := s.RemoveTwins(ctx, make([]exporters.Twin, exporters.MaxTwins+1)); err == nil {
		t.Error("RemoveTwins of too many succeeded")
	}
}
