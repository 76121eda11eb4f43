package api

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/instrumentation/messaging/clock"
	"github.com/hoptrace/hoptrace/schemas"
	"github.com/hoptrace/hoptrace/web/testdata/fakestore"
)

func metricStore() *fakestore.Store {
	at := testNow.Add(-10 * time.Minute)
	point := func(change func(p *schemas.MetricPoint)) schemas.MetricPoint {
		p := schemas.MetricPoint{Project: 1, Partition: schemas.Unknown, Time: at.UnixNano(), Service: "checkout"}
		change(&p)
		return p
	}
	histogram := func(topic string, group string, counts ...uint64) schemas.MetricPoint {
		return point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Temporality = "hoptrace.part", "s", schemas.MetricExponentialHistogram, schemas.TemporalityDelta
			p.Topic, p.Group, p.Description = topic, group, "a part"
			p.Histogram = schemas.Distribution{Positive: schemas.Buckets{Counts: counts}, Sum: math.NaN(), Min: math.NaN(), Max: math.NaN()}
			for _, n := range counts {
				p.Histogram.Count += n
			}
			p.Exemplars = []schemas.Exemplar{{Time: p.Time, Value: 1.5, TraceID: schemas.TraceID{1}, SpanID: schemas.SpanID{2}}}
		})
	}
	advice := func(id, text, topic string, value float64, unit string, after time.Duration, series uint64) schemas.MetricPoint {
		return point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.Topic, p.Value, p.Series = messaging.MetricAdvice, unit, schemas.MetricGauge, topic, value, series
			p.Time += int64(after)
			p.Attributes = []schemas.Attribute{{Key: messaging.AttrAdviceID, Value: id}, {Key: messaging.AttrAdviceText, Value: text}}
		})
	}
	sample := func(name, broker string, after time.Duration, value float64) schemas.MetricPoint {
		return point(func(p *schemas.MetricPoint) {
			p.Name, p.Unit, p.Kind, p.BootID, p.Broker, p.Value = name, "ns", schemas.MetricGauge, "host1", broker, value
			p.Time += int64(after)
		})
	}
	return &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}, AllPoints: []schemas.MetricPoint{
		histogram("orders", "g", 1, 2), histogram("orders", "h", 3), histogram("payments", "", 4),
		advice("linger", "93 % of p50 is BatchTimeout 1 s", "orders", 900, "ms", 0, 1),
		advice("linger", "94 % of p50 is BatchTimeout 1 s", "orders", 940, "ms", time.Second, 2),
		advice("acks-none", "nobody learns of lost records", "orders", 0, "ms", 0, 3),
		advice("behind", "read more", "orders", 2, "s", 0, 4),
		sample(clock.MetricOffsetLow, "b:9092", 0, -5), sample(clock.MetricOffsetHigh, "b:9092", 0, 7), sample(clock.MetricOffsetLow, "b:9092", 20*time.Second, -4),
		point(func(p *schemas.MetricPoint) {
			p.Name, p.Kind, p.Temporality, p.BootID, p.Value = clock.MetricSteps, schemas.MetricSum, schemas.TemporalityDelta, "host1", 2
		}),
	}}
}

func TestMetricsAreListedAndAddedUp(t *testing.T) {
	h := newHandler(t, metricStore())
	list := get[MetricList](t, h, "/metrics", http.StatusOK)
	if len(list.Metrics) != 5 || list.Metrics[4].Name != "hoptrace.part" || list.Metrics[4].Kind != "exponential_histogram" || list.Metrics[4].Unit != "s" {
		t.Errorf("metrics %+v", list.Metrics)
	}
	f := func(query string, want map[string]uint64) {
		t.Helper()
		d := get[MetricDetail](t, h, "/metrics/hoptrace.part"+query, http.StatusOK)
		got := map[string]uint64{}
		for _, s := range d.Series {
			for _, at := range s.Steps {
				got[s.Topic+"/"+s.Group] += at.Count
				if at.Sum != nil || at.P50 == nil || *at.P50 < 1 || *at.P50 > 4 || at.Exemplar == nil || at.Exemplar.TraceID != (schemas.TraceID{1}).String() {
					t.Errorf("step %+v", at)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	f("", map[string]uint64{"/": 10})
	f("?by=topic,group&step=10s", map[string]uint64{"orders/g": 3, "orders/h": 3, "payments/": 4})
	f("?topic=orders&by=group", map[string]uint64{"/g": 3, "/h": 3})
	f("?topic=orders&group=g&service=checkout", map[string]uint64{"/": 3})
	f("?from=-1m", map[string]uint64{})
	if d := get[MetricDetail](t, h, "/metrics/none", http.StatusOK); len(d.Series) != 0 || d.StepNs != int64(30*time.Second) {
		t.Errorf("a metric that nobody sent: %+v", d)
	}
	for _, bad := range []string{"?step=1ms", "?from=-100h&step=1s", "?by=host", "?by=topic,topic", "?partition=-1", "?limit=3"} {
		get[Problem](t, h, "/metrics/hoptrace.part"+bad, http.StatusBadRequest)
	}
}

func TestMetricsAreKeptApartByTheirAttributes(t *testing.T) {
	store := &fakestore.Store{AllProjects: []schemas.Project{{ID: 1}}}
	for i, cause := range []string{"start", "membership", "membership"} {
		store.AllPoints = append(store.AllPoints, schemas.MetricPoint{
			Project: 1, Name: messaging.MetricRebalances, Kind: schemas.MetricSum, Temporality: schemas.TemporalityDelta, Partition: schemas.Unknown,
			Time: testNow.Add(-time.Minute).UnixNano(), Value: float64(i + 1), Series: uint64(i), //nolint:gosec // small
			Attributes: []schemas.Attribute{{Key: "hoptrace.rebalance.cause", Value: cause}, {Key: messaging.AttrErrorType, Value: "timeout"}, {Key: messaging.AttrPathway, Value: "00ff"}},
		})
	}
	h := newHandler(t, store)
	for query, want := range map[string]map[string]float64{
		"?by=cause":                       {"start//": 1, "membership//": 5},
		"?cause=membership":               {"//": 5},
		"?by=cause,error.type,pathway":    {"start/timeout/00ff": 1, "membership/timeout/00ff": 5},
		"?error.type=timeout&by=pathway":  {"//00ff": 6},
		"?pathway=other&by=pathway":       {},
		"?error.type=refused&pathway=00f": {},
	} {
		got := map[string]float64{}
		for _, s := range get[MetricDetail](t, h, "/metrics/"+messaging.MetricRebalances+query, http.StatusOK).Series {
			for _, at := range s.Steps {
				got[s.Cause+"/"+s.ErrorType+"/"+s.Pathway] += *at.Sum
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

func TestTheNewestOfEachAdviceIsGivenByGain(t *testing.T) {
	got := get[AdviceList](t, newHandler(t, metricStore()), "/advice", http.StatusOK)
	var told []string
	for _, a := range got.Advice {
		told = append(told, a.ID+" "+time.Duration(a.GainNs).String()+" "+a.Text)
		if a.Service != "checkout" || a.Topic != "orders" {
			t.Errorf("advice %+v", a)
		}
	}
	want := []string{"behind 2s read more", "linger 940ms 94 % of p50 is BatchTimeout 1 s", "acks-none 0s nobody learns of lost records"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("advice (-want +got):\n%s", diff)
	}
}
