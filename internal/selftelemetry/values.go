package selftelemetry

import (
	"errors"
	"math"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Kept is one metric that [Values] gives.
type Kept struct {
	Name string   // with its prefix
	By   []string // labels that are told apart; over the others it is summed up
}

// slowAfter is from how long on an observation of a histogram of seconds is slow.
const slowAfter = 1.0

// maxValues bounds what Values gives: labels may take values that nobody foresaw.
const maxValues = 1500

// Values gives the present values of some metrics by name without the prefix
// "hoptrace_", each label's value after a slash. A histogram gives three: _count, _sum
// and _slow, the observations of more than a second. What is not there is left out, and
// so is what is no finite number.
func Values(g prometheus.Gatherer, kept []Kept) (map[string]float64, error) {
	families, err := g.Gather()
	by := make(map[string]*dto.MetricFamily, len(families))
	for _, f := range families {
		by[f.GetName()] = f
	}
	out := map[string]float64{}
	left := false
	for _, k := range kept {
		f := by[k.Name]
		if f == nil {
			continue
		}
		name := strings.TrimPrefix(k.Name, "hoptrace_")
		for _, m := range f.GetMetric() {
			at := ""
			for _, label := range k.By {
				at += "/" + labelOf(m, label)
			}
			add := func(key string, v float64) {
				if _, known := out[key]; !known && len(out) >= maxValues {
					left = true
					return
				}
				if !math.IsNaN(v) && !math.IsInf(v, 0) {
					out[key] += v
				}
			}
			switch {
			case m.Counter != nil:
				add(name+at, m.Counter.GetValue())
			case m.Gauge != nil:
				add(name+at, m.Gauge.GetValue())
			case m.Histogram != nil:
				quick := uint64(0)
				for _, b := range m.Histogram.GetBucket() {
					if b.GetUpperBound() <= slowAfter {
						quick = max(quick, b.GetCumulativeCount())
					}
				}
				add(name+"_count"+at, float64(m.Histogram.GetSampleCount()))
				add(name+"_sum"+at, m.Histogram.GetSampleSum())
				add(name+"_slow"+at, float64(m.Histogram.GetSampleCount()-quick))
			}
		}
	}
	if left {
		err = errors.Join(err, errors.New("metrics have more values than a report holds; the last are left out"))
	}
	return out, err
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
