package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

// batchOf is a batch of n records, the i-th sent i seconds before the batch was
// handed over, but for the last, whose producer nobody knows.
func batchOf(n int) *fakestore.Store {
	s := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	const handed = int64(1e15)
	span := schemas.Span{
		Project: 1, TraceID: fakestore.TraceID(1000), SpanID: schemas.SpanID{1}, Name: "process orders", Service: "orders", Kind: schemas.KindConsumer, Start: handed, End: handed + 1e6,
		Attributes: []schemas.Attribute{{Key: "messaging.batch.message_count", Value: "100"}},
	}
	for i := range n {
		ref := schemas.SpanRef{TraceID: fakestore.TraceID(uint64(i + 1)), SpanID: schemas.SpanID{2}}
		c := schemas.Message{
			Project: 1, Side: schemas.SideProcess, Topic: "orders", Group: "g", Offset: int64(i), TraceID: span.TraceID, SpanID: span.SpanID, BootID: "b", BodySize: int64(n - i), HighWatermark: schemas.Unknown,
			Start: handed, End: handed + 1e6, Asked: handed - 3e6, Answered: handed - 2e6, Handed: handed, CreationTrace: ref.TraceID, CreationSpan: ref.SpanID,
		}
		if i < n-1 {
			sent := handed - int64(i+1)*1e9
			s.AllSpans = append(s.AllSpans, schemas.Span{Project: 1, TraceID: ref.TraceID, SpanID: ref.SpanID, Name: "send orders", Service: "checkout", Start: sent, End: sent + 3e6})
			s.AllMessages = append(s.AllMessages, schemas.Message{
				Project: 1, Side: schemas.SideProduce, Topic: "orders", Offset: int64(i), TraceID: ref.TraceID, SpanID: ref.SpanID, BootID: "b",
				Start: sent, Written: sent + 1e6, Acked: sent + 3e6, End: sent + 3e6,
			})
		}
		s.AllMessages = append(s.AllMessages, c)
		span.Links = append(span.Links, schemas.Link{TraceID: ref.TraceID, SpanID: ref.SpanID, Attributes: []schemas.Attribute{{Key: "messaging.kafka.offset", Value: "7"}, {Key: "messaging.destination.partition.id", Value: "3"}}})
	}
	s.AllSpans = append(s.AllSpans, span)
	return s
}

func TestABatchIsADistributionOfAgesAndAPage(t *testing.T) {
	h := newHandler(t, batchOf(61))
	path := "/traces/" + fakestore.TraceID(1000).String() + "/spans/0100000000000000/batch"
	b := get[BatchDetail](t, h, path+"?limit=10", http.StatusOK)
	if b.Records != 61 || b.Told == nil || *b.Told != 100 || b.Ages.Known != 60 || b.Ages.Unknown != 1 || b.Ages.Negative != 0 || b.Span.Name != "process orders" {
		t.Fatalf("the batch: %d records, told %v, ages %+v", b.Records, b.Told, b.Ages)
	}
	if b.Ages.MinNs != 1e9 || b.Ages.P50Ns != 30e9 || b.Ages.MaxNs != 60e9 || !b.Ages.Log {
		t.Errorf("ages from %d over %d to %d; want 1, 30 and 60 s", b.Ages.MinNs, b.Ages.P50Ns, b.Ages.MaxNs)
	}
	count, end := 0, b.Ages.Buckets[0].FromNs
	for _, bar := range b.Ages.Buckets {
		if bar.FromNs != end {
			t.Errorf("a bar begins at %d; the one before ended at %d", bar.FromNs, end)
		}
		sum := int64(0)
		for _, p := range bar.Parts {
			sum += p.Ns
		}
		if bar.Count > 0 && (sum < bar.FromNs*int64(bar.Count) || sum > bar.ToNs*int64(bar.Count)) {
			t.Errorf("the parts of %d ages in [%d, %d] sum to %d", bar.Count, bar.FromNs, bar.ToNs, sum)
		}
		count, end = count+bar.Count, bar.ToNs
	}
	if count != 60 || end != b.Ages.MaxNs {
		t.Errorf("the bars hold %d ages and end at %d; want 60 and the oldest", count, end)
	}
	if len(b.Messages) != 10 || b.Messages[0].Age.Ns != 60e9 || b.Messages[0].Hop.Producer == nil || b.Messages[0].AgeFrom != "sent" {
		t.Errorf("the first page has %d, the oldest %+v", len(b.Messages), b.Messages[0].Age)
	}
	last := get[BatchDetail](t, h, path+"?limit=10&skip=60", http.StatusOK)
	if len(last.Messages) != 1 || last.Messages[0].Age.Known {
		t.Errorf("the last page: %+v; want the record of unknown age", last.Messages)
	}
	for order, first := range map[string]int64{"youngest": 0, "place": 0, "size": 0, "backlog": 59, "oldest": 59} {
		if got := get[BatchDetail](t, h, path+"?limit=1&order="+order, http.StatusOK).Messages[0].Hop.Offset; *got != first {
			t.Errorf("by %s the first is %d, want %d", order, *got, first)
		}
	}
	get[Problem](t, h, path+"?order=colour", http.StatusBadRequest)
	get[Problem](t, h, strings.Replace(path, "0100000000000000", "0900000000000000", 1), http.StatusNotFound)
	get[Problem](t, h, strings.Replace(path, "0100000000000000", "x", 1), http.StatusBadRequest)
}

func TestAgesOfABatchOfOneAge(t *testing.T) {
	f := func(name string, ages []int64, wantBars ...int) {
		t.Helper()
		var all []aged
		for _, a := range ages {
			x := aged{}
			x.age = schemas.Between(1e15, 1e15+a)
			all = append(all, x)
		}
		got := agesOf(all)
		var bars []int
		for _, b := range got.Buckets {
			bars = append(bars, b.Count)
		}
		if len(bars) != len(wantBars) {
			t.Errorf("%s: bars %v, want %v", name, bars, wantBars)
			return
		}
		for i := range bars {
			if bars[i] != wantBars[i] {
				t.Errorf("%s: bars %v, want %v", name, bars, wantBars)
				return
			}
		}
	}
	f("none", nil)
	f("one", []int64{5e9}, 1)
	f("all the same", []int64{5e9, 5e9, 5e9}, 3)
	f("all negative", []int64{-5, -7}, 2)
	f("some negative", []int64{-5, 10e9, 20e9, 30e9, 40e9}, 1, 1, 1, 1, 1)
	f("far apart", []int64{1e6, 1e9, 1e12}, 1, 0, 1, 1)
}

func TestLinksHaveNamesAndLeadBothWays(t *testing.T) {
	h := newHandler(t, batchOf(61))
	batch := "/traces/" + fakestore.TraceID(1000).String() + "/spans/0100000000000000/links"
	to := get[LinkList](t, h, batch+"?limit=50", http.StatusOK)
	if len(to.Links) != 50 || !to.More || to.Total == nil || *to.Total != 61 {
		t.Fatalf("%d links, more %v, total %v; want 50 of 61", len(to.Links), to.More, to.Total)
	}
	if l := to.Links[0]; l.Span == nil || l.Span.Name != "send orders" || l.Span.Service != "checkout" || l.Partition == nil || *l.Partition != 3 || *l.Offset != 7 {
		t.Errorf("the first link is %+v", l)
	}
	end := get[LinkList](t, h, batch+"?limit=50&skip=50", http.StatusOK)
	if len(end.Links) != 11 || end.More || end.Links[10].Span != nil {
		t.Errorf("the last page has %d links; the last one's span %+v; want 11 and one that is not stored", len(end.Links), end.Links[10].Span)
	}
	from := get[LinkList](t, h, "/traces/"+to.Links[4].TraceID+"/spans/"+to.Links[4].SpanID+"/links?direction=from", http.StatusOK)
	if len(from.Links) != 1 || from.Links[0].Span.Name != "process orders" || from.More || *from.Total != 1 {
		t.Errorf("linked from %+v; want the batch", from)
	}
	get[Problem](t, h, batch+"?direction=up", http.StatusBadRequest)
	get[Problem](t, h, strings.Replace(batch, "0100000000000000", "0900000000000000", 1), http.StatusNotFound)
}
