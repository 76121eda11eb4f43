package overload

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hoptrace/hoptrace/collector/policy"
	"github.com/hoptrace/hoptrace/schemas"
)

// open keeps everything.
type open struct{}

func (open) Admit(context.Context, *policy.Sender) ([]policy.RateLimit, bool) { return nil, true }
func (open) Limits(context.Context, *policy.Sender) []policy.RateLimit        { return nil }
func (open) Item(_ context.Context, _ *policy.Sender, it policy.Item) policy.Decision {
	return policy.Decision{Keep: true, Payload: it.Payload, Quantity: it.Quantity}
}

type recorder map[string]int64

func (r recorder) Record(_ uint64, _ string, c schemas.Category, o schemas.Outcome, reason string, n int64, _ schemas.EventID) {
	r[string(c)+" "+o.String()+" "+reason] += n
}

func TestAsTheSpoolFillsErrorsAreTakenLongest(t *testing.T) {
	pressure, told := 0.0, recorder{}
	g, err := NewGate(DefaultConfig(), Deps{Next: open{}, Pressure: func() float64 { return pressure }, Outcomes: told, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	keeps := func(c schemas.Category) bool {
		d := g.Item(t.Context(), &policy.Sender{Project: schemas.Project{ID: 1}}, policy.Item{Type: "x", Category: c, Quantity: 3, Size: 10})
		if !d.Keep && (d.Limit == nil || len(d.Limit.Categories) != 1 || d.Limit.Categories[0] != c || d.Limit.Scope != schemas.ScopeOrganization || d.Limit.RetryAfter <= 0) {
			t.Errorf("%s is refused with limit %+v; want one of its category alone", c, d.Limit)
		}
		return d.Keep
	}
	bulk := []schemas.Category{schemas.CategoryAttachment, schemas.CategoryReplay, schemas.CategoryProfile, schemas.CategoryProfileChunk}
	data := []schemas.Category{schemas.CategorySpan, schemas.CategoryTransaction, schemas.CategoryLogItem, schemas.CategoryTraceMetric, schemas.CategoryMetricBucket}
	rare := []schemas.Category{schemas.CategoryError, schemas.CategorySession, schemas.CategoryMonitor, schemas.CategoryFeedback, schemas.CategoryInternal}
	for _, c := range []struct {
		pressure         float64
		bulk, data, rare bool
	}{{0.79, true, true, true}, {0.8, false, true, true}, {0.9, false, false, true}, {1, false, false, true}} {
		pressure = c.pressure
		for _, group := range []struct {
			of   []schemas.Category
			want bool
		}{{bulk, c.bulk}, {data, c.data}, {rare, c.rare}} {
			for _, category := range group.of {
				if got := keeps(category); got != group.want {
					t.Errorf("at pressure %v %s is taken: %v", pressure, category, got)
				}
			}
		}
	}
	if n := told["replay rate_limited overload"]; n != 9 {
		t.Errorf("the ledger was told of %d replays, want 9", n)
	}
}

func TestTheOrderOfOverloadIsChecked(t *testing.T) {
	for _, y := range []YieldConfig{{}, {Bulk: 0.9, Data: 0.8}, {Bulk: 0.5, Data: 1.1}, {Bulk: -1, Data: 1}} {
		c := DefaultConfig()
		c.Yield = y
		if c.Validate() == nil {
			t.Errorf("%+v is taken", y)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
