package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hoptrace/hoptrace/exporters"
	"github.com/hoptrace/hoptrace/instrumentation/messaging"
	"github.com/hoptrace/hoptrace/schemas"
)

// MetricList lists what clients measure.
type MetricList struct {
	Metrics []Metric `json:"metrics"`
}

// Metric is one name.
type Metric struct {
	Name        string   `json:"name"`
	Unit        string   `json:"unit"`
	Description string   `json:"description"`
	Kind        string   `json:"kind"`
	Points      uint64   `json:"points"`
	Series      uint64   `json:"series"` // different streams, estimated when they are many
	LastSeen    Nanos    `json:"lastSeen"`
	Topics      []string `json:"topics"`
	Groups      []string `json:"groups"`
}

// MetricDetail is one metric over time.
type MetricDetail struct {
	Name   string         `json:"name"`
	From   Nanos          `json:"from"`
	To     Nanos          `json:"to"`
	StepNs int64          `json:"stepNs"`
	Series []MetricSeries `json:"series"`
}

// MetricSeries is one line; labels that by does not name are empty.
type MetricSeries struct {
	Topic     string       `json:"topic"`
	Partition *int32       `json:"partition"`
	Group     string       `json:"group"`
	Service   string       `json:"service"`
	Client    string       `json:"client"`
	Cause     string       `json:"cause"`     // of a rebalance
	ErrorType string       `json:"errorType"` // empty when there was none
	Pathway   string       `json:"pathway"`   // its hash, or other
	Kind      string       `json:"kind"`
	Unit      string       `json:"unit"`
	Steps     []MetricStep `json:"steps"`
}

// MetricStep is what one step holds; steps without a point are left out.
type MetricStep struct {
	Time  Nanos    `json:"time"`
	Count uint64   `json:"count"` // observations of a histogram, otherwise streams that told a value
	Sum   *float64 `json:"sum"`   // of observations; what a sum rose by; a gauge's last values together
	Min   *float64 `json:"min"`
	Max   *float64 `json:"max"`
	// Quantiles of a histogram's observations, null for other kinds.
	P50      *float64  `json:"p50"`
	P95      *float64  `json:"p95"`
	P99      *float64  `json:"p99"`
	Exemplar *Exemplar `json:"exemplar"` // the largest observation that was told with a trace
}

// Exemplar is one observation.
type Exemplar struct {
	Time    Nanos   `json:"time"`
	Value   float64 `json:"value"`
	TraceID string  `json:"traceId"`
	SpanID  string  `json:"spanId"`
}

// AdviceList holds what clients advise, the largest gain first.
type AdviceList struct {
	Advice []Advice `json:"advice"`
}

// Advice is one finding of one client about its own settings.
type Advice struct {
	ID      string `json:"id"` // the finding; see docs/advice.md
	Text    string `json:"text"`
	Topic   string `json:"topic"`
	Group   string `json:"group"`
	Client  string `json:"client"`
	Service string `json:"service"`
	GainNs  int64  `json:"gainNs"` // on the median record; 0 when it is no matter of time
	Seen    Nanos  `json:"seen"`   // when it was said last
}

// metricNames answers /metrics.
func (h *Handler) metricNames(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	if q.fault != nil {
		return nil, q.fault
	}
	names, err := h.deps.Metrics.MetricNames(ctx, q.project.ID, r)
	if err != nil {
		return nil, fmt.Errorf("cannot list the metrics: %w", err)
	}
	out := MetricList{Metrics: make([]Metric, len(names))}
	for i, n := range names {
		out.Metrics[i] = Metric{
			Name: n.Name, Unit: n.Unit, Description: n.Description, Kind: n.Kind.String(), Points: n.Points, Series: n.Series,
			LastSeen: nanos(n.LastSeen), Topics: some(n.Topics), Groups: some(n.Groups),
		}
	}
	return out, nil
}

// metricSteps is about how many steps an answer has when step is not given.
const metricSteps = 120

// metricSeries answers /metrics/{name}.
func (h *Handler) metricSeries(ctx context.Context, q *query) (any, error) {
	mq := exporters.MetricQuery{
		Project: q.project.ID, Name: q.path("name"), Range: q.timeRange(), Topic: q.text("topic"), Group: q.text("group"),
		Service: q.text("service"), ClientID: q.text("client"),
		Cause: q.text("cause"), ErrorType: q.text("error.type"), Pathway: q.text("pathway"), Partition: q.partition("partition"), Step: q.duration("step"), By: q.labels("by"),
	}
	if q.fault != nil {
		return nil, q.fault
	}
	if mq.Range.To.IsZero() {
		mq.Range.To = q.now
	}
	if mq.Range.From.IsZero() {
		mq.Range.From = mq.Range.To.Add(-time.Hour)
	}
	length := mq.Range.To.Sub(mq.Range.From)
	if mq.Step == 0 {
		mq.Step = niceStep(length / metricSteps)
	}
	if mq.Step < time.Second || mq.Step > 366*24*time.Hour || length/mq.Step > 2000 {
		return nil, badParameter("step", q.text("step"), "at least 1s, and at most 2,000 of them in the range, which is "+length.String())
	}
	series, err := h.deps.Metrics.MetricSeries(ctx, mq)
	if errors.Is(err, exporters.ErrTooLarge) {
		return nil, errorf(http.StatusBadRequest, "bad_parameter", "ask for less time, a larger step, or one topic", "metric %q has too many points there", clip(mq.Name, 100))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot add up metric %q: %w", mq.Name, err)
	}
	out := MetricDetail{
		Name: mq.Name, From: nanos(mq.Range.From.UnixNano()), To: nanos(mq.Range.To.UnixNano()), StepNs: int64(mq.Step),
		Series: make([]MetricSeries, len(series)),
	}
	for i, s := range series {
		one := MetricSeries{
			Topic: s.Topic, Partition: told(s.Partition), Group: s.Group, Service: s.Service, Client: s.ClientID,
			Cause: s.Cause, ErrorType: s.ErrorType, Pathway: s.Pathway, Kind: s.Kind.String(), Unit: s.Unit, Steps: make([]MetricStep, len(s.Steps)),
		}
		for j, at := range s.Steps {
			one.Steps[j] = MetricStep{
				Time: nanos(at.Time), Count: at.Count, Sum: finite(at.Sum), Min: finite(at.Min), Max: finite(at.Max),
				P50: finite(at.P50), P95: finite(at.P95), P99: finite(at.P99),
			}
			if e := at.Exemplar; e != nil && finite(e.Value) != nil {
				one.Steps[j].Exemplar = &Exemplar{Time: nanos(e.Time), Value: e.Value, TraceID: e.TraceID.String(), SpanID: spanText(e.SpanID)}
			}
		}
		out.Series[i] = one
	}
	return out, nil
}

// niceStep is the next larger step that people use.
func niceStep(d time.Duration) time.Duration {
	for _, seconds := range []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 4 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600} {
		if s := time.Duration(seconds) * time.Second; s >= d {
			return s
		}
	}
	return 30 * 24 * time.Hour
}

// finite is nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// partition reads a partition's number; nil when it is not given.
func (p *params) partition(name string) *int32 {
	s := p.values.Get(name)
	if s == "" {
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 32)
	if err != nil || v < 0 {
		p.refuse(name, s, "a partition's number")
		return nil
	}
	n := int32(v)
	return &n
}

var metricLabels = []exporters.MetricLabel{
	exporters.LabelTopic, exporters.LabelPartition, exporters.LabelGroup, exporters.LabelService, exporters.LabelClient,
	exporters.LabelCause, exporters.LabelError, exporters.LabelPathway,
}

func (p *params) labels(name string) []exporters.MetricLabel {
	s := p.values.Get(name)
	if s == "" {
		return nil
	}
	var out []exporters.MetricLabel
	for l := range strings.SplitSeq(s, ",") {
		if !slices.Contains(metricLabels, exporters.MetricLabel(l)) || slices.Contains(out, exporters.MetricLabel(l)) {
			p.refuse(name, s, "labels separated by commas, each once: topic, partition, group, service, client, cause, error.type, pathway")
			return nil
		}
		out = append(out, exporters.MetricLabel(l))
	}
	return out
}

// maxAdvice bounds the lines of /advice, maxAdvicePoints what they are found among.
const (
	maxAdvice       = 500
	maxAdvicePoints = 20_000
)

// advice answers /advice. A client says a finding once, or, through somebody
// else's SDK, at each export: the newest of each counts.
func (h *Handler) advice(ctx context.Context, q *query) (any, error) {
	r := q.timeRange()
	if q.fault != nil {
		return nil, q.fault
	}
	points, err := h.deps.Metrics.MetricPoints(ctx, exporters.PointQuery{
		Project: q.project.ID, Names: []string{messaging.MetricAdvice}, Range: r, Newest: true, Limit: maxAdvicePoints,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the clients' advice: %w", err)
	}
	type finding struct{ id, topic, group, client, service string }
	newest := map[finding]Advice{}
	for i := range points { // by time: a later one replaces an earlier
		p := &points[i]
		id, _ := schemas.Lookup(p.Attributes, messaging.AttrAdviceID)
		if id == "" {
			continue
		}
		text, _ := schemas.Lookup(p.Attributes, messaging.AttrAdviceText)
		gain := p.Value * 1e9
		if p.Unit == "ms" {
			gain = p.Value * 1e6
		}
		if !(math.Abs(gain) < 1<<53) {
			gain = 0
		}
		newest[finding{id, p.Topic, p.Group, p.ClientID, p.Service}] = Advice{
			ID: id, Text: text, Topic: p.Topic, Group: p.Group, Client: p.ClientID, Service: p.Service, GainNs: int64(gain), Seen: nanos(p.Time),
		}
	}
	out := AdviceList{Advice: make([]Advice, 0, len(newest))}
	for _, a := range newest {
		out.Advice = append(out.Advice, a)
	}
	slices.SortFunc(out.Advice, func(a, b Advice) int {
		return cmp.Or(cmp.Compare(b.GainNs, a.GainNs), strings.Compare(a.ID, b.ID), strings.Compare(a.Topic, b.Topic),
			strings.Compare(a.Group, b.Group), strings.Compare(a.Service, b.Service), strings.Compare(a.Client, b.Client))
	})
	out.Advice = out.Advice[:min(len(out.Advice), maxAdvice)]
	return out, nil
}
